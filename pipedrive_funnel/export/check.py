"""Check the CSV files of a Pipedrive export against their contract, before anything reads them.

    python -m pipedrive_funnel check          # the six files in seeds/
    python -m pipedrive_funnel check DIR      # an export somewhere else

A plan does it, too (linter/export_files.py), for every file that SQLMesh can read at all. The
contract is external_models.yaml; a file has all columns of its table but ``loaded_at``. More
columns, any order and any case of the header are fine. An empty value is NULL and fine as well:
that keys are filled is for the audits to say.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import os
import re
import reprlib
import textwrap
import typing as t
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from pipedrive_funnel import PROJECT

LISTED = 5  # defects of a file that are described; the others are counted
# The mapping of stages and call types to steps is no part of an export, but is edited like one.
FUNNEL_STEPS = {"funnel_step": "DECIMAL(4, 1)", "kpi_name": "TEXT", "source": "TEXT", "key": "TEXT"}
ARRIVAL = "loaded_at"  # added by what lands the rows: no file has it
REJECTED = "rejected_rows"  # what landing puts aside: no file is for it
NO_FILE = (REJECTED, "removed_changes")


# --- values ---------------------------------------------------------------------------------------


# Pandas writes and reads the integers of a column with gaps as 12.0, exactly up to 15 digits.
_INTEGER = re.compile(r"-?(?:[0-9]{1,18}|[0-9]{1,15}\.0)")
_STEP = re.compile(r"[0-9]{1,3}(?:\.[0-9])?")
_BOOLEAN = re.compile(r"True|TRUE|true|False|FALSE|false")
# The forms that DuckDB and PostgreSQL cast to the same time: they differ in a Z without seconds
# and in more than six decimals, for example.
_TIMESTAMP = re.compile(
    r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?Z?)?)?"
)
_TEXT = re.compile(r"[^\x00]*")


def is_integer(text: str) -> bool:
    """Tell whether `text` is a whole number that a BIGINT holds."""
    return _INTEGER.fullmatch(text) is not None


def is_step(text: str) -> bool:
    """Tell whether `text` is a funnel step: a database would round a second decimal off."""
    return _STEP.fullmatch(text) is not None


def is_boolean(text: str) -> bool:
    """Tell whether `text` is True or False."""
    return _BOOLEAN.fullmatch(text) is not None


def is_timestamp(text: str) -> bool:
    """Tell whether `text` is a day of the calendar, alone or with a time of day in UTC."""
    if not _TIMESTAMP.fullmatch(text):
        return False
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def is_text(text: str) -> bool:
    """Tell whether databases hold `text`: a NUL character cuts it off."""
    return _TEXT.fullmatch(text) is not None


@dataclass(frozen=True)
class Type:
    """What a value of a column type looks like.

    Attributes:
        accepts: whether a text is such a value.
        example: what to write instead of one that is not.
        pattern: a regular expression for all of the text, which Python and RE2 read alike.
            A time must, beyond it, be one of the calendar.

    """

    accepts: Callable[[str], bool]
    example: str
    pattern: str


TYPES = {
    "BIGINT": Type(is_integer, "a whole number such as 1042", _INTEGER.pattern),
    "DECIMAL(4, 1)": Type(is_step, "a number with one decimal at most, such as 2.1", _STEP.pattern),
    "BOOLEAN": Type(is_boolean, "True or False", _BOOLEAN.pattern),
    "TEXT": Type(is_text, "it without the NUL character", _TEXT.pattern),
    "TIMESTAMP": Type(
        is_timestamp, "a time in UTC such as 2024-01-31 23:59:59, or a day", _TIMESTAMP.pattern
    ),
}


# --- the contract ---------------------------------------------------------------------------------


def read_contract(project: Path = PROJECT) -> dict[str, dict[str, t.Any]]:
    """Return what external_models.yaml says of each raw table, by the table's name."""
    from sqlmesh.utils.yaml import load  # takes a second to import, and the checks need none of it

    models = load(project / "external_models.yaml")
    return {model["name"].split(".")[-1]: model for model in models}


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


# --- files ----------------------------------------------------------------------------------------


def check_file(path: Path, columns: Mapping[str, str], name: str) -> list[str]:
    """Say what is wrong with a file and what to do, one text a defect; nothing if it is fine.

    Args:
        path: the CSV file.
        columns: lower-case name and type of the columns of the table that the file is for.
        name: what to call the file.

    Raises:
        ValueError: `columns` has a type that is not in TYPES.

    """
    defects = find_defects(path, columns)
    described = [f"{name}, line {line}: {defect}" for line, defect in islice(defects, LISTED)]
    if more := sum(1 for _ in defects):
        described.append(f"{name} has {LISTED + more} defects; these are the first {LISTED}.")
    return described


def find_defects(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) for every defect of a file, row by row. See `check_file`."""
    types = file_columns(columns)
    line = 1
    with path.open(encoding="utf-8-sig") as file:  # a byte order mark is no part of the header
        reader = csv.reader(file, strict=True)
        try:
            header = next(filter(None, reader), [])  # blank lines are nowhere an error
            for defect in header_defects(header, types):
                yield max(1, reader.line_num), defect
            checks = _checks(header, types)
            line = reader.line_num + 1
            for row in reader:
                for defect in _row_defects(row, len(header), checks):
                    yield line, defect
                line = reader.line_num + 1  # a row with line breaks in its texts takes several
        except UnicodeDecodeError:
            yield _undecodable(path)
        except csv.Error as error:
            yield line, f"{error}. Close the quotes of this row, and double those inside a text."


def header_defects(header: Sequence[str], types: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the names of a file's columns, given those that it must have."""
    if not header:
        yield "the file is empty. Export it again: a table without rows still has a header."
    elif len(header) == 1 < len(types):
        yield f"{header[0]!r} is a single column. Separate the columns with commas."
    else:
        names = normalized(header)
        for column in types:
            if column not in names:
                yield f"column {column} is missing, {_found(column, header, types)}"
            elif names.count(column) > 1:
                yield f"column {column} is there {names.count(column)} times. Keep one."


def _found(missing: str, header: Sequence[str], types: Mapping[str, str]) -> str:
    """Say which columns a file has instead, and which of them may be the missing one."""
    found = f"the file has {textwrap.shorten(', '.join(header), 200, placeholder=' ...')}."
    others = [name for name in normalized(header) if name not in types]
    similar = difflib.get_close_matches(missing, others, n=1)
    advice = f"Rename {similar[0]} if that is it." if similar else "Add it to the export."
    return f"{found} {advice}"


def _checks(header: Sequence[str], types: Mapping[str, str]) -> list[tuple[int, str, str]]:
    """Return (position, column, type) of the columns of a file that have a type to check."""
    names = normalized(header)
    return [(names.index(column), column, types[column]) for column in types if column in names]


def normalized(header: Sequence[str]) -> list[str]:
    """Return a header's names as SQLMesh reads them: without blanks around them, lower-case."""
    return [name.strip().lower() for name in header]


def _row_defects(
    row: Sequence[str], width: int, checks: Sequence[tuple[int, str, str]]
) -> Iterator[str]:
    """Yield what is wrong with a row: its length, or else its values."""
    if row and len(row) != width:
        yield length_defect(len(row), width)
    elif row:
        for position, column, type_ in checks:
            value = row[position]
            if value and not TYPES[type_].accepts(value):
                yield value_defect(column, value, type_)


def value_defect(column: str, value: str, type_: str) -> str:
    """Say what is wrong with a value that its column's type does not accept."""
    return (
        f"column {column} holds {reprlib.repr(value)}, which is no {type_}. "
        f"Write {TYPES[type_].example}."
    )


def length_defect(fields: int, expected: int) -> str:
    """Say what is wrong with a row that has more or fewer fields than the header."""
    advice = "Complete it." if fields < expected else "Put texts that hold a comma in quotes."
    return f"the row has {fields} fields, the header {expected}. {advice}"


def _undecodable(path: Path) -> tuple[int, str]:
    """Return where a file stops being UTF-8."""
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return line, f"byte {content[error.start]:#x} is not UTF-8. Save the file as UTF-8."
    raise AssertionError("the file has changed while it was read")


# --- the command ----------------------------------------------------------------------------------


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` to the command line."""
    command = commands.add_parser(
        "check",
        help="check the CSV files of an export",
        description="Check the CSV files of a Pipedrive export against external_models.yaml.",
    )
    command.add_argument("directory", nargs="?", type=Path, default=PROJECT / "seeds")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the defects of the files in a directory. Return 1 if there are any.

    The six files of an export must be there; funnel_steps.csv, which is no part of it, may be.
    """
    contract = {
        name: model["columns"] for name, model in read_contract().items() if name not in NO_FILE
    }
    if (options.directory / "funnel_steps.csv").exists():
        contract["funnel_steps"] = FUNNEL_STEPS
    defects = [
        defect
        for table, columns in contract.items()
        for defect in _check_if_there(options.directory / f"{table}.csv", columns)
    ]
    directory = os.path.relpath(options.directory)
    print(*(defects or [f"{len(contract)} files in {directory}: no defects"]), sep="\n")
    return 1 if defects else 0


def _check_if_there(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Check a file that may be missing."""
    name = os.path.relpath(path)
    return check_file(path, columns, name) if path.is_file() else [f"{name} is missing."]
