"""A company at work: the export of its account, as it is on any day of a simulated time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.random_export import random_export
from tests.support.warehouse import EXPORT_TABLES

PLANNED_AHEAD = timedelta(days=14)  # so long before it is due, an activity is in the account
LATE, LATEST = 0.1, 8  # of the log: the share that arrives late, and by how many days at most


@dataclass
class Company:
    """A random export, of which each day shows what had happened and arrived by then.

    Attributes:
        directory: where the export is written.
        tables: all of it, as text.
        arrivals: when each row of the log arrives.
        labels: by table and key, the label that a row has got meanwhile.
        removed: the rows of the log that are gone from the account.

    """

    directory: Path
    tables: dict[str, pd.DataFrame]
    arrivals: pd.Series
    labels: dict[tuple[str, str], str] = field(default_factory=dict)
    removed: pd.Index = field(default_factory=lambda: pd.Index([]))

    @classmethod
    def founded(cls, directory: Path, seed: int, deals: int) -> Company:
        """Return the company of a seed."""
        random = np.random.default_rng(seed)
        random_export(directory, random, deals)
        tables = {
            name: pd.read_csv(directory / f"{name}.csv", dtype=str, keep_default_na=False)
            for name in EXPORT_TABLES
        }
        happened = pd.to_datetime(tables["deal_changes"]["change_time"], format="ISO8601")
        days = random.uniform(0, LATEST, len(happened)) * (random.random(len(happened)) < LATE)
        return cls(directory, tables, happened + pd.to_timedelta(days, "D"))

    def arrived(self, at: datetime) -> pd.DataFrame:
        """Return the rows of the log that the account has at a time."""
        return self.tables["deal_changes"][self.arrivals <= at].drop(self.removed, errors="ignore")

    def remove_changes(self, at: datetime) -> None:
        """Remove all changes of one deal, and the last entry into a stage of another."""
        log = self.arrived(at)
        entries = log[log["changed_field_key"] == "stage_id"]
        whole, partly = entries["deal_id"].value_counts().index[:2]
        last = log.eq(entries[entries["deal_id"] == partly].iloc[-1]).all(axis=1)
        self.removed = log.index[log["deal_id"].eq(whole) | last]

    def write(self, at: datetime) -> Path:
        """Write the export as it is at a time, and return its directory."""
        activity = self.tables["activity"]
        due = pd.to_datetime(activity["due_to"], format="ISO8601")
        activity = activity[due.isna() | (due <= at + PLANNED_AHEAD)]
        done = activity["done"].where(due.isna() | (due <= at), "False")
        now = {"deal_changes": self.arrived(at), "activity": activity.assign(done=done)}
        for name, rows in (self.tables | now).items():
            rows = rows.copy()
            for (table, key), label in self.labels.items():
                if table == name:
                    rows.loc[rows.iloc[:, 0] == key, rows.columns[1]] = label
            rows.to_csv(self.directory / f"{name}.csv", index=False)
        return self.directory
