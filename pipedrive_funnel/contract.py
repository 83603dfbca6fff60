"""The contract: the raw tables that the models read, their types and their keys.

Tables and columns are defined in external_models.yaml, which SQLMesh reads, too. This module has
the rest of the contract: the texts that are valid for each type, the columns that identify a row,
and the tables that have a file in an export.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from pipedrive_funnel import PROJECT

SCHEMA = "pipedrive_raw"
ARRIVAL = "loaded_at"  # set when a row lands: no file has it
REJECTED = "rejected_rows"
REMOVED = "removed_changes"
NOTED_BY_LANDING = {REJECTED, REMOVED}  # landing itself writes their rows: no file has any
# A change of a deal stays when a later export lacks it: only the API, which gives whole logs of
# deals, takes changes back. The others are snapshots: rows that a newer one lacks are removed.
LOGS = {"deal_changes"}
# The columns that identify a row; in a log, the new value does, too.
KEYS = {
    "activity": ("activity_id", "deal_id"),
    "activity_types": ("id",),
    "deal_changes": ("deal_id", "change_time", "changed_field_key"),
    "deals": ("deal_id",),
    "fields": ("field_key",),
    "pipeline_stages": ("stage_id",),
    "pipelines": ("pipeline_id",),
    "stages": ("stage_id",),
    "users": ("id",),
    REJECTED: ("table_name", "file_name", "raw_text"),
    REMOVED: ("deal_id",),
}
# Tables that an export may lack: what they do not tell is unknown, and no number of the funnel
OPTIONAL = {"deals", "pipelines", "pipeline_stages"}
# Columns besides the key that must not be empty
REQUIRED = {"activity_types": ("type",)}

# Fields of a deal whose changes hold an id; audits/input/changes_are_valid.sql guards any source
FIELDS_WITH_IDS = ("stage_id", "user_id")
ID = "0|[1-9][0-9]{0,17}"

# JSON is read by both engines, and neither survives any depth; options of a field need two levels
JSON_COLUMNS = ("field_value_options", "custom_fields")
JSON_LEVELS_AT_MOST = 64

# The states of a deal. That it was deleted is said by a column of its own
STATUSES = ("open", "won", "lost")

# The mapping of stages and call types to steps, and exchange rates, are not part of an export, but
# are edited like one.
FUNNEL_STEPS = {"funnel_step": "DECIMAL(4, 1)", "kpi_name": "TEXT", "source": "TEXT", "key": "TEXT"}
EXCHANGE_RATES = {
    **{"currency": "TEXT", "reporting_currency": "TEXT"},
    **{"valid_from": "TIMESTAMP", "rate": "DECIMAL(18, 8)"},
}


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A landed table.

    Attributes:
        name: without its schema.
        description: what one row is.
        columns: names and types; `loaded_at` is the last one.
        column_descriptions: what each column holds.

    """

    name: str
    description: str
    columns: dict[str, str]
    column_descriptions: dict[str, str]

    @property
    def raw_name(self) -> str:
        """Its name with the schema."""
        return f"{SCHEMA}.{self.name}"

    @property
    def definition(self) -> str:
        """The statement that creates it."""
        columns = ", ".join(f"{name} {type_}" for name, type_ in self.columns.items())
        return f"CREATE TABLE IF NOT EXISTS {self.raw_name} ({columns});"

    @property
    def data_columns(self) -> dict[str, str]:
        """Names and types of the columns that come from the source."""
        return file_columns(self.columns)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return KEYS[self.name]

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that must not be empty, including the key."""
        return self.key + REQUIRED.get(self.name, ())

    @property
    def is_log(self) -> bool:
        """Whether rows stay when a later export no longer has them."""
        return self.name in LOGS

    @property
    def is_by_deal(self) -> bool:
        """Whether its rows belong to deals, which a run rebuilds when one arrives or goes."""
        return self.has_file and "deal_id" in self.columns

    @property
    def has_file(self) -> bool:
        """Whether an export has a file for this table, or may have one."""
        return self.name not in NOTED_BY_LANDING

    @property
    def is_optional(self) -> bool:
        """Whether an export may lack the file."""
        return self.name in OPTIONAL

    @property
    def may_be_empty(self) -> bool:
        """Whether a database that lacks it loses nothing by an empty one."""
        return self.is_optional or not self.has_file

    def is_expected_in(self, directory: Path) -> bool:
        """Tell whether an export in a directory has the file, or must have it."""
        return self.has_file and (not self.is_optional or (directory / f"{self.name}.csv").exists())


def read_tables(project: Path = PROJECT) -> dict[str, Table]:
    """Return the tables of external_models.yaml by name."""
    from ruamel.yaml import YAML

    models = YAML(typ="safe").load(project / "external_models.yaml")
    tables = [
        Table(
            model["name"].removeprefix(f"{SCHEMA}."),
            model["description"],
            model["columns"],
            model["column_descriptions"],
        )
        for model in models
    ]
    return {table.name: table for table in tables}


def file_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a table that its file must have, and their types.

    Raises:
        ValueError: `columns` has a type that is not in TYPES.

    """
    for column, type_ in columns.items():
        if type_ not in TYPES:
            raise ValueError(
                f"Column {column}: a file cannot hold {type_}, only {', '.join(TYPES)}"
            )
    return {column: type_ for column, type_ in columns.items() if column != ARRIVAL}


# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Type:
    """The texts that are valid values of a column type.

    Attributes:
        pattern: a regular expression for the whole text; Python and RE2 read it alike.
        example: what to write instead of an invalid text.
        has_day: whether the text begins with a day, which must exist in the calendar.

    """

    pattern: str
    example: str
    has_day: bool = False

    def accepts(self, text: str) -> bool:
        """Tell whether a text is a valid value."""
        is_one = self._regex.fullmatch(text) is not None
        return is_one and (not self.has_day or _is_day(text[:10]))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(self.pattern)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


TYPES = {
    # Pandas writes and reads the integers of a column with gaps as 12.0, exactly up to 15 digits.
    "BIGINT": Type(r"-?(?:[0-9]{1,18}|[0-9]{1,15}\.0)", "a whole number such as 1042"),
    # A database would round off a second decimal.
    "DECIMAL(4, 1)": Type(
        r"[0-9]{1,3}(?:\.[0-9])?", "a number with one decimal at most, such as 2.1"
    ),
    # Amounts: no currency has more decimals, and what has more digits is no price.
    "DECIMAL(18, 3)": Type(
        r"-?[0-9]{1,15}(?:\.[0-9]{1,3})?", "an amount with three decimals at most, such as 1250.00"
    ),
    "DECIMAL(18, 8)": Type(
        r"[0-9]{1,10}(?:\.[0-9]{1,8})?",
        "a positive number with eight decimals at most, such as 0.92",
    ),
    "BOOLEAN": Type(r"True|TRUE|true|False|FALSE|false", "True or False"),
    # A NUL character would cut off the text.
    "TEXT": Type(r"[^\x00]*", "it without the NUL character"),
    # Only the forms that DuckDB and PostgreSQL cast to the same time. The two read a Z without
    # seconds and more than six decimals differently, for example. The years are those that a CRM
    # can mean, and macros/gates.py has them, too: the months between 0202 and today are many.
    "TIMESTAMP": Type(
        r"(?:19[7-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}"
        r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?Z?)?)?",
        "a time in UTC from 1970 to 2099 such as 2024-01-31 23:59:59, or a day",
        has_day=True,
    ),
}

_CURRENCY = Type(r"[A-Z]{3}", "the three letters of a currency, such as EUR")
_PERCENT = Type(r"(?:[0-9]{1,2}|100)(?:\.0)?", "whole per cent from 0 to 100, such as 35")

# Columns whose texts are fewer than those of their type
FORMATS = {
    "probability": _PERCENT,
    "deal_probability": _PERCENT,
    "status": Type("|".join(STATUSES), f"{', '.join(STATUSES[:-1])} or {STATUSES[-1]}"),
    "currency": _CURRENCY,
    "reporting_currency": _CURRENCY,
}


def format_of(column: str, type_: str) -> Type:
    """Return the texts that are valid in a column of a type."""
    return FORMATS.get(column, TYPES[type_])
