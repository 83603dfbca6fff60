"""A company at work: the export of its account, as it is on any day of a simulated time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.random_export import random_export
from tests.support.warehouse import EXPORT_TABLES, OPTIONAL_TABLES

PLANNED_AHEAD = timedelta(days=14)  # so long before it is due, an activity is in the account
LATE, LATEST = 0.1, 8  # of the log: the share that arrives late, and by how many days at most
MERGED_AFTER = timedelta(days=3)  # its last change, if the random export calls a deal deleted
LISTED_FOR = timedelta(days=12)  # so long after it was deleted, a deal is still in the list
MOVED_AFTER = timedelta(days=20)  # its first change, each fifth deal goes to another pipeline
CLOSED_WITHIN = 120  # days after its first change
OTHER_PIPELINE = "2"


@dataclass
class Company:
    """A random export, of which each day shows what had happened and arrived by then.

    The list of deals shows at once what the log may be late to tell: a deal is won, lost or
    reopened, worth more or less, in another pipeline, deleted or merged, and no longer listed.

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
            for name in (*EXPORT_TABLES, *OPTIONAL_TABLES)
        }
        tables["deal_changes"] = _with_closings(
            tables["deal_changes"], np.random.default_rng([seed])
        )
        happened = pd.to_datetime(tables["deal_changes"]["change_time"], format="ISO8601")
        days = random.uniform(0, LATEST, len(happened)) * (random.random(len(happened)) < LATE)
        return cls(directory, tables, happened + pd.to_timedelta(days, "D"))

    def arrived(self, at: datetime) -> pd.DataFrame:
        """Return the rows of the log that the account has at a time."""
        return self.tables["deal_changes"][self.arrivals <= at].drop(self.removed, errors="ignore")

    def listed(self, at: datetime) -> pd.DataFrame:
        """Return the list of deals that the account has at a time."""
        log = self.tables["deal_changes"]
        log = log.assign(at=pd.to_datetime(log["change_time"], format="ISO8601"))
        lives = dict(iter(log.sort_values(["at", "new_value"]).groupby("deal_id")))
        rows = []
        for row in self.tables["deals"].to_dict("records"):
            life = lives.get(row["deal_id"])
            if life is None:  # of a deal that the log does not know, nothing changes
                rows.append(row)
            elif life["at"].min() <= at:
                rows += _listed(row, life, at)
        return pd.DataFrame(rows, columns=self.tables["deals"].columns)

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
        now = {
            "deal_changes": self.arrived(at),
            "activity": activity.assign(done=done),
            "deals": self.listed(at),
        }
        for name, rows in (self.tables | now).items():
            rows = rows.copy()
            for (table, key), label in self.labels.items():
                if table == name:
                    rows.loc[rows.iloc[:, 0] == key, rows.columns[1]] = label
            rows.to_csv(self.directory / f"{name}.csv", index=False)
        return self.directory


def _with_closings(log: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Add to a log that most deals are closed some time, and some of them reopened or deleted."""
    began = pd.to_datetime(log["change_time"], format="ISO8601").groupby(log["deal_id"]).min()
    closings = [
        (deal, str(at + timedelta(days=int(days))), "status", str(status))
        for deal, at in began.items()
        for days, status in zip(
            sorted(random.integers(1, CLOSED_WITHIN, random.integers(0, 5))),
            random.choice(["open", "won", "won", "lost", "deleted"], 5),
            strict=False,
        )
    ]
    return pd.concat([log, pd.DataFrame(closings, columns=log.columns)], ignore_index=True)


def _listed(row: dict[str, str], life: pd.DataFrame, at: datetime) -> list[dict[str, str]]:
    """Return the row of a deal in the list at a time, if it has one, by the changes of its life."""
    happened = life[life["at"] <= at]
    statuses = happened[happened["changed_field_key"] == "status"]
    values = happened[happened["changed_field_key"] == "value"]["new_value"]
    known = statuses[statuses["new_value"].isin(["open", "won", "lost"])]
    status, since = ("open", None) if known.empty else known.iloc[-1][["new_value", "at"]]
    ends = []
    if row["is_deleted"] == "True":
        ends.append(life["at"].max() + MERGED_AFTER)
    if not statuses.empty and statuses.iloc[-1]["new_value"] == "deleted":
        ends.append(statuses.iloc[-1]["at"])
    deleted_at = min(ends, default=None)
    if deleted_at is not None and deleted_at + LISTED_FOR < at:
        return []
    is_moved = int(row["deal_id"]) % 5 == 0 and life["at"].min() + MOVED_AFTER <= at
    return [
        row
        | {
            "status": status,
            "won_time": str(since) if status == "won" else "",
            "lost_time": str(since) if status == "lost" else "",
            "close_time": str(since) if status != "open" else "",
            "value": row["value"] if values.empty else values.iloc[-1],
            "pipeline_id": OTHER_PIPELINE if is_moved else row["pipeline_id"],
            "is_deleted": str(deleted_at is not None and deleted_at <= at),
        }
    ]
