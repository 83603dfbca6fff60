"""An export, and the changes made in Pipedrive until the next one."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.landing import Row
from tests.support.random_export import random_export

NEW_DEAL = 77_000_000
DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 10)


def new_export(directory: Path, deals: int = 60) -> Path:
    """Write a random export, the same one each time."""
    directory.mkdir(exist_ok=True)
    return random_export(directory, np.random.default_rng(3), deals)


def edit(directory: Path, table: str, change: t.Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the rows of a file, which are read as text."""
    path = directory / f"{table}.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def add_changes(directory: Path, *changes: Row) -> None:
    """Append rows (deal, time, field, value) to the log of an export."""
    edit(
        directory,
        "deal_changes",
        lambda log: pd.concat([log, pd.DataFrame(changes, columns=log.columns)]),
    )


def with_first(column: str, value: str) -> t.Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a change that sets a column of the first row."""
    return lambda rows: rows.assign(**{column: [value, *rows[column][1:]]})


def change_export(directory: Path, number: int) -> None:
    """Change something in all six files; each `number` gives another change.

    Labels, a due date and an address change; an activity and a user are replaced by others.
    """
    for table, column in (("activity_types", "name"), ("fields", "NAME"), ("stages", "stage_name")):
        edit(directory, table, with_first(column, f"Label {number}"))
    newcomer = str(NEW_DEAL + number)
    for table, key, column, value in (
        ("activity", "activity_id", "due_to", str(START + number * DAY)),
        ("users", "id", "email", f"{number}@example.com"),
    ):
        edit(directory, table, with_first(key, newcomer))
        edit(directory, table, lambda rows: pd.concat([rows[1:], rows[:1]]))
        edit(directory, table, with_first(column, value))
    add_changes(directory, (newcomer, START, "stage_id", "1"))
