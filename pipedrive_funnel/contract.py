"""What is landed: the tables of external_models.yaml, and how rows of each are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.export.check import REJECTED, file_columns, read_contract

SCHEMA = "pipedrive_raw"
REMOVED = "removed_changes"  # the deals whose log has lost rows: landing notes them, no source does
# A change of a deal stays when a later export or answer does not have it; the other tables are
# snapshots, and a row that a newer snapshot does not have is gone.
LOGS = {"deal_changes"}
# What identifies a row; in a log the value does, too.
KEYS = {
    "activity": ("activity_id", "deal_id"),
    "activity_types": ("id",),
    "deal_changes": ("deal_id", "change_time", "changed_field_key"),
    "fields": ("field_key",),
    "stages": ("stage_id",),
    "users": ("id",),
    REJECTED: ("table_name", "file_name", "raw_text"),
    REMOVED: ("deal_id",),
}
# What else must be filled in a row
REQUIRED = {"activity_types": ("type",)}

# Fields of a deal whose changes hold an id; audits/input/changes_hold_ids.sql guards any source
FIELDS_WITH_IDS = ("stage_id", "user_id")
ID = "0|[1-9][0-9]{0,17}"


@dataclass(frozen=True)
class Table:
    """A landed table.

    Attributes:
        name: without its schema.
        description: what one row is.
        columns: names and types, `loaded_at` the last of them.
        column_descriptions: what they hold.

    """

    name: str
    description: str
    columns: dict[str, str]
    column_descriptions: dict[str, str]

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
        """The columns that a row cannot do without, its key among them."""
        return self.key + REQUIRED.get(self.name, ())

    @property
    def is_log(self) -> bool:
        """Whether rows stay when the source no longer has them."""
        return self.name in LOGS


def read_tables(project: Path = PROJECT) -> dict[str, Table]:
    """Return the tables of external_models.yaml that a source fills, by name."""
    return {name: table for name, table in _all_tables(project).items() if name != REMOVED}


def removals_table(project: Path = PROJECT) -> Table:
    """Return the table in which landing notes the deals whose log has lost rows."""
    return _all_tables(project)[REMOVED]


def _all_tables(project: Path) -> dict[str, Table]:
    return {
        name: Table(name, model["description"], model["columns"], model["column_descriptions"])
        for name, model in read_contract(project).items()
    }
