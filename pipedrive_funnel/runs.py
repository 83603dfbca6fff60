"""The log of runs, `pipedrive_ops.runs`: what our own commands have landed, run and promoted.

It has one row per landing and per run or promotion of prod, when it has ended, and one per summary
that was sent. Plain `sqlmesh` writes none: SQLMesh's state tells when it has run or promoted.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from datetime import datetime

if t.TYPE_CHECKING:
    from pipedrive_funnel.warehouse import Database

LANDING, RUN, PROMOTION, SUMMARY = "landing", "run", "promotion", "summary"

SCHEMA = "pipedrive_ops"
TABLE = f"{SCHEMA}.runs"
COLUMNS = {
    "kind": "TEXT",  # landing, run, promotion or summary
    "command": "TEXT",
    "started_at": "TIMESTAMP",  # UTC
    "ended_at": "TIMESTAMP",  # UTC
    "error": "TEXT",  # empty when all went well
    "rows_landed": "BIGINT",
    "warnings": "TEXT",  # of a summary: the names of the checks that warned, as JSON
}

Query = Callable[[str], list[tuple]]  # returns the rows of a query


class Run(t.NamedTuple):
    """A row of the log."""

    kind: str
    command: str
    started_at: datetime
    ended_at: datetime
    error: str | None = None
    rows_landed: int | None = None
    warnings: str | None = None

    @property
    def checks(self) -> frozenset[str]:
        """The names of the checks that warned, of a summary."""
        return frozenset(json.loads(self.warnings or "[]"))


def write(database: Database, run: Run) -> None:
    """Add a row to the log, and make the log if it is missing: but not for what has failed.

    A command that cannot do anything leaves a database as it is, and the first failure needs no
    row: there is no good landing, run or promotion, either.
    """
    if run.error is not None and database.is_missing:
        return
    adapter = database.adapter
    values = ", ".join(
        f"CAST({_literal(value)} AS {type_})"
        for value, type_ in zip(run, COLUMNS.values(), strict=True)
    )
    columns = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    with database.transaction():
        if adapter.dialect == "postgres":
            adapter.execute("SET LOCAL statement_timeout TO '5s'")  # somebody may lock the table
        if not adapter.table_exists(TABLE):
            if run.error is not None:
                return
            adapter.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            adapter.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({columns})")
        adapter.execute(f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({values})")


def last(query: Query, kind: str, *, succeeded: bool = False) -> Run | None:
    """Return the latest row of a kind, if there is one; only a good one if `succeeded`."""
    good = " AND error IS NULL" if succeeded else ""
    rows = query(
        f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE kind = '{kind}'{good} "
        "ORDER BY ended_at DESC LIMIT 1"
    )
    return Run(*rows[0]) if rows else None


def rows_landed(query: Query, after: datetime | None) -> int | None:
    """Return the rows landed after a time, or ever; None if there was no landing."""
    since = f" AND ended_at > '{after}'" if after else ""
    ((rows,),) = query(
        f"SELECT CAST(SUM(rows_landed) AS BIGINT) FROM {TABLE} WHERE kind = '{LANDING}'{since}"
    )
    return rows


def _literal(value: object) -> str:
    """Return a value as an SQL literal."""
    if value is None:
        return "NULL"
    text = str(value).replace("\0", "").replace("'", "''")
    return f"'{text}'"
