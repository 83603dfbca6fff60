"""Say whether data arrive and prod is kept up to date, for a cron or a monitor.

Landings are in the log of runs. When prod was last run and promoted is in SQLMesh's state, whoever
did it; that it failed, if one of our commands did, is in the log. No models are loaded, and nothing
is written.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta

from pipedrive_funnel import runs
from pipedrive_funnel.contract import ARRIVAL, SCHEMA, read_tables
from pipedrive_funnel.errors import DONE, FAILED, FunnelError
from pipedrive_funnel.runs import LANDING, PROMOTION, RUN, Query, Run
from pipedrive_funnel.terminal import say_command
from pipedrive_funnel.warehouse import Database, DatabaseError

UNKNOWN = 2  # the exit code when health cannot be told

STATE = "sqlmesh"
NOT_RUN = ("SEED", "EXTERNAL", "EMBEDDED")  # kinds of models that a run passes by

# The status of an item
OK, OLD, BAD, NEVER = "ok", "old", "failed", "never"
NOT_EXPECTED = "not expected"  # a landing, while the models read the sample
UNDER_WAY = "under way"  # a promotion, now
UNFINISHED = "unfinished"  # a promotion: its plan was killed
HEALTHY = (OK, NOT_EXPECTED, UNDER_WAY)


class HealthError(FunnelError):
    """The health cannot be told."""

    code = UNKNOWN


class Item(t.NamedTuple):
    """A landing, run or promotion: how it is, when it last went well, and what went wrong since."""

    status: str
    at: datetime | None = None
    reason: str | None = None


def health(gateway: str | None = None, *, max_age_hours: float, as_json: bool = False) -> int:
    """Print how old the last landing and the last run and promotion of prod are.

    Args:
        gateway: the gateway of config.yaml; the default one when None.
        max_age_hours: the age at which a landing or run is too old. A promotion never is: it is
            as old as the last release.
        as_json: print one line of JSON, also when the health cannot be told.

    Returns:
        The exit code.

    Raises:
        HealthError: the database cannot be reached or read, and that is not printed as JSON.

    """
    now = datetime.now(UTC).replace(tzinfo=None)
    items: dict[str, Item] = {}
    address, problem = None, None
    try:
        with closing(Database(gateway)) as database:
            address = database.address
            items = _items(database, now, timedelta(hours=max_age_hours))
    except DatabaseError as error:
        problem = str(error)
        if not as_json:
            raise HealthError(problem) from error
    is_healthy = problem is None and all(item.status in HEALTHY for item in items.values())
    if as_json:
        result = {"healthy": is_healthy, "checked_at": _iso(now), "database": address}
        result |= {"max_age_hours": max_age_hours, "error": problem}
        result |= {
            name: _as_json(items[name], now) if name in items else None
            for name in (LANDING, RUN, PROMOTION)
        }
        print(json.dumps(result))
    else:
        for name, item in items.items():
            say_command(_as_text(name, item, now), indent=0)
    return UNKNOWN if problem else DONE if is_healthy else FAILED


def _items(database: Database, now: datetime, max_age: timedelta) -> dict[str, Item]:
    """Return the items by name.

    Raises:
        DatabaseError: the database cannot be reached or read.

    """
    import duckdb
    import psycopg2
    import psycopg2.errors

    def rows(statement: str) -> list[tuple]:
        """Return the rows of a query; none if its table is not there."""
        try:
            return query(statement)
        except (duckdb.CatalogException, psycopg2.errors.UndefinedTable):
            return []

    if database.is_missing:
        items = {name: Item(NEVER) for name in (LANDING, RUN, PROMOTION)}
    else:
        try:
            with database.reading() as query:
                items = {
                    LANDING: _landing(rows, read_tables(database.project)),
                    RUN: _run(rows),
                    PROMOTION: _promotion(rows, on_postgres=database.engine == "postgres"),
                }
        except psycopg2.errors.InsufficientPrivilege as error:
            raise DatabaseError(
                f"The role of gateway {database.gateway} may not read the log of runs or SQLMesh's "
                'state: grant it what "Alerts and health" in docs/operations.md lists.'
            ) from error
        except (duckdb.Error, psycopg2.Error) as error:
            raise DatabaseError(f"The database says: {' '.join(str(error).split())}") from error
    if not database.reads_raw_tables:
        items[LANDING] = Item(NOT_EXPECTED, items[LANDING].at)
    for name in (LANDING, RUN):
        item = items[name]
        if item.status == OK and item.at and now - item.at > max_age:
            items[name] = item._replace(status=OLD)
    return items


def _landing(query: Query, tables: Iterable[str]) -> Item:
    """Return the last landing: of the log, or without any in it, the arrival of the newest row."""
    last, good = runs.last(query, LANDING), runs.last(query, LANDING, succeeded=True)
    if last:
        return _judged(last, good and good.ended_at)
    newest = [
        time
        for name in tables
        for (time,) in query(f"SELECT CAST(MAX({ARRIVAL}) AS TIMESTAMP) FROM {SCHEMA}.{name}")
        if time
    ]
    return _judged(None, max(newest, default=None))


def _run(query: Query) -> Item:
    """Return the last run: the time since which every model of prod has been computed.

    A run that failed half way has computed some. SQLMesh rewrites `created_ts` of intervals when it
    compacts them, but keeps `last_altered_ts`.
    """
    computed = {
        (name, version): time
        for name, version, time in query(
            f"SELECT name, version, MAX(last_altered_ts) FROM {STATE}._intervals "
            "WHERE NOT is_dev AND NOT is_removed AND NOT is_pending_restatement "
            "GROUP BY name, version"
        )
    }
    times = [
        computed.get((model["name"], model["version"]))
        for (models,) in query(f"SELECT snapshots FROM {STATE}._environments WHERE name = 'prod'")
        for model in json.loads(models)
        if model["node_type"] == "model" and model["kind_name"] not in NOT_RUN
    ]
    is_complete = times and all(times)
    return _judged(runs.last(query, RUN), _from_milliseconds(min(times)) if is_complete else None)


def _promotion(query: Query, *, on_postgres: bool) -> Item:
    """Return the last promotion."""
    last = runs.last(query, PROMOTION)
    for (time,) in query(f"SELECT finalized_ts FROM {STATE}._environments WHERE name = 'prod'"):
        if time:
            return _judged(last, _from_milliseconds(time))
        # macros/writer.py names the session of each plan and run; DuckDB lets one process in
        is_under_way = on_postgres and query(
            "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'prod since %' "
            "AND datname = CURRENT_DATABASE()"
        )
        return Item(UNDER_WAY if is_under_way else UNFINISHED)
    return _judged(last, None)


def _judged(last: Run | None, succeeded_at: datetime | None) -> Item:
    """Return an item from its latest row in the log, and from the time when it last went well."""
    if last and last.error is not None and (not succeeded_at or last.ended_at > succeeded_at):
        return Item(BAD, succeeded_at, last.error)
    return Item(OK if succeeded_at else NEVER, succeeded_at)


def _from_milliseconds(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC).replace(tzinfo=None)


# --- output ---------------------------------------------------------------------------------------


def _as_text(name: str, item: Item, now: datetime) -> str:
    """Return an item as a line."""
    parts = [f"{name:<11}{item.status:<14}"]
    if item.at:
        hours = (now - item.at).total_seconds() / 3600
        age = f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
        parts.append(f"last good one {age} ago, {item.at:%Y-%m-%d %H:%M} UTC  ")
    return "".join([*parts, item.reason or ""]).rstrip()


def _as_json(item: Item, now: datetime) -> dict[str, t.Any]:
    """Return an item as it is written in JSON."""
    hours = round((now - item.at).total_seconds() / 3600, 2) if item.at else None
    at = _iso(item.at) if item.at else None
    return {"status": item.status, "at": at, "age_hours": hours, "reason": item.reason}


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
