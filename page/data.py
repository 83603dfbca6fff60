"""The snapshot that the page shows: Parquet files of the marts, asked through DuckDB.

`python -m pipedrive_funnel snapshot` writes them. `current` leads to the latest; a click asks it
again where that is, so a newer snapshot is shown whole or not at all.
"""

from __future__ import annotations

import json
import os
import typing as t
from datetime import date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import streamlit as st

HERE = Path(__file__).resolve().parent
ANSWERS_KEPT = 500  # results of queries, of all visitors


class Snapshot:
    """The marts of one moment.

    Attributes:
        environment: whose marts they are.
        taken_at: when they were read from the database, UTC.

    """

    def __init__(self, directory: Path) -> None:
        """Read what is said of the snapshot."""
        about = json.loads((directory / "snapshot.json").read_text())
        self.directory = directory
        self.environment: str = about["environment"]
        self.taken_at = datetime.fromisoformat(about["taken_at"])

    def ask(self, query: str, *values: t.Any) -> pd.DataFrame:
        """Return the rows of a query over the marts; `?` in it stand for the values."""
        return _ask(str(self.directory), query, values)

    def value(self, query: str, *values: t.Any) -> t.Any:
        """Return the only value of a query; None when it is NULL."""
        found = self.ask(query, *values).iat[0, 0]
        return None if pd.isna(found) else found


def latest() -> Snapshot | None:
    """Return the latest snapshot, or None as long as none was taken."""
    current = Path(os.environ.get("PIPEDRIVE_SNAPSHOTS") or HERE / "snapshot") / "current"
    return Snapshot(current.resolve()) if (current / "snapshot.json").exists() else None


@st.cache_resource(max_entries=2, show_spinner=False)
def _marts(directory: str) -> duckdb.DuckDBPyConnection:
    """Open the files of a snapshot as views; a query reads the columns and rows it needs."""
    connection = duckdb.connect(config={"threads": 2})
    for file in Path(directory).glob("*.parquet"):
        quoted = str(file).replace("'", "''")
        connection.execute(f"CREATE VIEW {file.stem} AS SELECT * FROM read_parquet('{quoted}')")
    return connection


@st.cache_data(max_entries=ANSWERS_KEPT, show_spinner=False)
def _ask(directory: str, query: str, values: tuple[t.Any, ...]) -> pd.DataFrame:
    return _marts(directory).cursor().execute(query, list(values)).df()


def milestones(snapshot: Snapshot) -> pd.DataFrame:
    """Return number and name of the first stage of the funnel, of the middle one and the last."""
    stages = snapshot.ask(
        "SELECT funnel_step, kpi_name FROM dim_funnel_steps WHERE source = 'stage' ORDER BY 1"
    )
    last = len(stages) - 1
    return stages.iloc[sorted({0, last // 2, last}) if last >= 0 else []]


def last_complete_month(snapshot: Snapshot) -> pd.Timestamp:
    """Return the first day of the last month that is over; no time when there is none."""
    return pd.Timestamp(
        snapshot.value("SELECT MAX(month) FROM rep_sales_funnel_trends WHERE is_complete_month")
    )


def month_name(month: date | str) -> str:
    """Return a month as people write it, such as `Feb 2024`."""
    return pd.Timestamp(month).strftime("%b %Y")
