"""Check the CSV files of a Pipedrive export against their contract, before anything reads them.

    python -m pipedrive_funnel check          # the files in seeds/
    python -m pipedrive_funnel check DIR      # an export somewhere else

A plan runs the check, too (linter/export_files.py), for every file that SQLMesh can read at all.
The contract is external_models.yaml; a file must have all columns of its table except
``loaded_at``. Further columns, any order and any case of the header are accepted. So is an empty
value, which is NULL: the audits say whether keys are filled. The steps in funnel_steps.csv must be
stages and activity types of the files beside it; for landed data, the check steps_without_deals
says which steps have no deals.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.contract import EXCHANGE_RATES, FUNNEL_STEPS, file_columns, read_tables
from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.export.judge import Judge, Unreadable, printable

LISTED = 5  # defects of a file that are described; the others are counted
STEPS_FILE = "funnel_steps.csv"
# Files beside an export that are no part of it, but are edited by hand
EDITED = {STEPS_FILE: FUNNEL_STEPS, "exchange_rates.csv": EXCHANGE_RATES}
FEW_DEALS = 20  # of fewer, nobody can say whether they are of another export than the log
# The files that hold the keys of the funnel's steps: source -> table, column, name of a key
KEYS_OF_STEPS = {
    "stage": ("stages", "stage_id", "stage"),
    "activity": ("activity_types", "type", "activity type"),
}


def check_file(path: Path, columns: Mapping[str, str], name: str) -> list[str]:
    """Return what is wrong with a file and what to do, one text per defect; none if it is fine.

    Args:
        path: the CSV file.
        columns: the columns of the file's table, by lower-case name, with their types.
        name: what to call the file.

    Raises:
        ValueError: `columns` has a type that is not in TYPES.

    """
    return _described(name, find_defects(path, columns))


def find_defects(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) for every defect of a file, row by row. See `check_file`."""
    try:
        judge = Judge(path, file_columns(columns))
        for row in judge.rows():
            yield from ((row.line, defect.reason) for defect in judge.defects(row))
    except Unreadable as error:
        yield from ((defect.line, defect.reason) for defect in error.defects)


def check_steps(path: Path, name: str, *, outside: Collection[str] | None = None) -> list[str]:
    """Return the steps of the funnel whose key is not in the export beside their file.

    Args:
        path: the mapping of steps. The files of stages and activity types are in its directory. If
            one is missing, cannot be read or has no rows, all of its keys are accepted.
        name: what to call the file.
        outside: the stages that are meant to have no step, for the others must have one; None when
            that is not to be checked.

    """
    described = _described(name, _unknown_keys(path))
    if outside is not None:
        mapped = {key for _, (source, key) in _values(path, "source", "key") if source == "stage"}
        stages = _values(path.with_name("stages.csv"), "stage_id", "stage_name")
        described += [
            f"{name}: stage {printable(f'{stage} ({label})')} has no step. "
            "Add one, or list the stage in stages_outside_funnel in config.yaml."
            for stage, label in ((key.removesuffix(".0"), text) for _, (key, text) in stages)
            if stage not in mapped and stage not in outside
        ]
    return described


def check_deals(path: Path, name: str) -> list[str]:
    """Return that a list of deals is of another export than the log beside it, if it is.

    Ids of one company can be those of other deals at another, whose status would then count.

    Args:
        path: the list of deals.
        name: what to call the file.

    """
    deals, logged = _deals(path), _deals(path.with_name("deal_changes.csv"))
    missing = len(deals - logged)
    if not logged or len(deals) < FEW_DEALS or missing <= len(deals) / 2:
        return []
    return [
        f"{name}: {missing:,} of {len(deals):,} deals are not in deal_changes.csv, so it is of "
        "another export. Put yours in its place, or leave nothing but its header."
    ]


def _deals(path: Path) -> set[str]:
    """Return the ids of the deals of a file; none if it cannot be read."""
    import duckdb

    with duckdb.connect() as connection:
        try:
            rows = connection.execute(
                "SELECT DISTINCT deal_id FROM read_csv(?, header = TRUE, all_varchar = TRUE, "
                "delim = ',', ignore_errors = TRUE) WHERE deal_id IS NOT NULL",
                [str(path)],
            ).fetchall()
        except duckdb.Error:
            return set()
    return {deal.removesuffix(".0") for (deal,) in rows}


def _unknown_keys(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) for every step whose stage or activity type does not exist."""
    known = {}
    for source, (table, column, _) in KEYS_OF_STEPS.items():
        keys = _values(path.with_name(f"{table}.csv"), column)
        if keys:  # pandas writes the ids of a column with gaps as 12.0
            known[source] = dict.fromkeys(key.removesuffix(".0") for _, (key,) in keys)
    for line, (source, key) in _values(path, "source", "key"):
        if source in known and key and key not in known[source]:
            there = textwrap.shorten(", ".join(known[source]), 200, placeholder=" ...")
            reason = f"no {KEYS_OF_STEPS[source][2]} {key}; there are {there or 'none'}"
            yield line, printable(reason)


def _values(path: Path, *columns: str) -> list[tuple[int, list[str]]]:
    """Return the line and some values of each row of a file; no rows if it cannot be read."""
    try:
        judge = Judge(path, dict.fromkeys(columns, "TEXT"))
        places = [judge.names.index(column) for column in columns]
        return [
            (row.line, [row.values[place] for place in places])
            for row in judge.rows()
            if not any(judge.defects(row))
        ]
    except (OSError, Unreadable):
        return []


def _described(name: str, defects: Iterator[tuple[int, str]]) -> list[str]:
    """Describe the first defects of a file, and count them all."""
    described = [f"{name}, line {line}: {defect}" for line, defect in islice(defects, LISTED)]
    if more := sum(1 for _ in defects):
        described.append(f"{name} has {LISTED + more} defects; these are the first {LISTED}.")
    return described


# --- the command ----------------------------------------------------------------------------------


def check(directory: Path) -> None:
    """Print the defects of the files in a directory, or that there are none.

    The steps of the funnel are compared with the files. The exception is seeds/ when the models
    may read landed data: its steps then belong to that data.

    Raises:
        FunnelError: there are defects.

    """
    is_sample = directory.resolve() == PROJECT / "seeds"
    files = check_files(directory, with_steps=not (is_sample and _may_read_landed()))
    print(f"{files} files in {os.path.relpath(directory)}: no defects")


def check_files(directory: Path, *, with_steps: bool) -> int:
    """Check the files in a directory, and return their number; see `check_export`.

    Raises:
        FunnelError: there are defects. They are printed.

    """
    checked, defects = check_export(directory, with_steps=with_steps)
    if defects:
        print(*defects, sep="\n")
        raise FunnelError(f"Repair the files in {os.path.relpath(directory)} first.")
    return checked


def check_export(directory: Path, *, with_steps: bool) -> tuple[int, list[str]]:
    """Check the files in a directory.

    Six files of an export are required; those of the deals' state and of pipelines may be missing,
    and so may the steps of the funnel and exchange rates, which are not part of it.

    Args:
        directory: where the files are.
        with_steps: whether the steps of the funnel belong to this export.

    Returns:
        The number of files, and their defects.

    """
    columns = {
        f"{table.name}.csv": table.columns
        for table in read_tables().values()
        if table.is_expected_in(directory)
    }
    columns |= {name: types for name, types in EDITED.items() if (directory / name).exists()}
    defects = [
        defect for name in columns for defect in _check_if_there(directory / name, columns[name])
    ]
    if "deals.csv" in columns:
        defects += check_deals(directory / "deals.csv", os.path.relpath(directory / "deals.csv"))
    if with_steps:
        steps = directory / STEPS_FILE
        defects += check_steps(steps, os.path.relpath(steps))
    return len(columns), defects


def _may_read_landed() -> bool:
    """Tell whether the models may read landed tables, and not the sample's stages.

    SQLMesh would need seconds to tell for sure. So any setting of raw_schema counts, whichever
    gateway it is for.
    """
    settings = [f"{name}={value}" for name, value in os.environ.items()]
    for name in ("config.yaml", ".env"):
        if (path := PROJECT / name).exists():
            settings += path.read_text(encoding="utf-8").splitlines()
    found = (
        re.search(r"raw_schema\s*[:=]\s*[\"']?(\w+)", setting.split("#")[0], re.IGNORECASE)
        for setting in settings
    )
    return any(match and match[1] != "pipedrive_seed" for match in found)


def _check_if_there(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Check a file that may be missing."""
    name = os.path.relpath(path)
    return check_file(path, columns, name) if path.is_file() else [f"{name} is missing."]
