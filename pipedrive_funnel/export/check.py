"""Check the CSV files of a Pipedrive export against their contract, before anything reads them.

    python -m pipedrive_funnel check          # the six files in seeds/
    python -m pipedrive_funnel check DIR      # an export somewhere else

A plan does it, too (linter/export_files.py), for every file that SQLMesh can read at all. The
contract is external_models.yaml; a file has all columns of its table but ``loaded_at``. More
columns, any order and any case of the header are fine. An empty value is NULL and fine as well:
the audits say whether keys are filled.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.contract import FUNNEL_STEPS, file_columns, read_tables
from pipedrive_funnel.export.judge import Judge, Unreadable

LISTED = 5  # defects of a file that are described; the others are counted
STEPS_FILE = "funnel_steps.csv"


def check_file(path: Path, columns: Mapping[str, str], name: str) -> list[str]:
    """Say what is wrong with a file and what to do, one text a defect; nothing if it is fine.

    Args:
        path: the CSV file.
        columns: lower-case name and type of the columns of the table that the file is for.
        name: what to call the file.

    Raises:
        ValueError: `columns` has a type that is not in TYPES.

    """
    return _described(name, find_defects(path, columns))


def find_defects(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) for every defect of a file, row by row. See `check_file`."""
    try:
        judge = Judge(path, file_columns(columns))
        for row in judge.rows():
            yield from ((row.line, defect.reason) for defect in judge.defects(row))
    except Unreadable as error:
        yield from ((defect.line, defect.reason) for defect in error.defects)


def _described(name: str, defects: Iterator[tuple[int, str]]) -> list[str]:
    """Describe the first defects of a file, and count them all."""
    described = [f"{name}, line {line}: {defect}" for line, defect in islice(defects, LISTED)]
    if more := sum(1 for _ in defects):
        described.append(f"{name} has {LISTED + more} defects; these are the first {LISTED}.")
    return described


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
    """Print the defects of the files in a directory. Return 1 if there are any."""
    checked, defects = check_export(options.directory)
    directory = os.path.relpath(options.directory)
    print(*(defects or [f"{checked} files in {directory}: no defects"]), sep="\n")
    return 1 if defects else 0


def check_export(directory: Path) -> tuple[int, list[str]]:
    """Check the files in a directory.

    The six files of an export must be there; funnel_steps.csv, which is no part of it, may be.

    Returns:
        The number of files, and their defects.

    """
    columns = {
        f"{table.name}.csv": table.columns for table in read_tables().values() if table.has_file
    }
    steps = directory / STEPS_FILE
    if steps.exists():
        columns[STEPS_FILE] = FUNNEL_STEPS
    defects = [
        defect for name in columns for defect in _check_if_there(directory / name, columns[name])
    ]
    return len(columns), defects


def _check_if_there(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Check a file that may be missing."""
    name = os.path.relpath(path)
    return check_file(path, columns, name) if path.is_file() else [f"{name} is missing."]
