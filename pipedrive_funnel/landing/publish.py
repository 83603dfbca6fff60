"""Publish loaded rows to the raw tables that the models read: all of them, or none.

A landing compares sets of rows. A row of the source that the raw table already has is left alone
and keeps its `loaded_at`; any other row is inserted with the time of this landing. A row of a
snapshot that the source no longer has is deleted: it has changed, or it is gone. So landing twice
changes nothing, and a run rebuilds only the deals for which rows arrived. A deal whose log or
activities lose rows is noted in `removed_changes`, since no row need arrive for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipedrive_funnel.contract import ARRIVAL, REMOVED, SCHEMA, Table
from pipedrive_funnel.errors import BAD_INPUT, LandingError
from pipedrive_funnel.warehouse import Database, DatabaseError

COMPATIBLE = {"VARCHAR": "TEXT", "INT": "BIGINT"}  # types accepted for those of the contract
_OTHER_TABLE = "Rename the table, land again, and copy over what you miss."


class TooManyRemovals(LandingError):
    """A snapshot lacks so many of the landed rows that it has probably been cut off."""

    code = BAD_INPUT


@dataclass(frozen=True)
class Change:
    """The changes of a landing to one table, in rows.

    Attributes:
        read: rows of the source; read = landed + unchanged + repeated.
        landed: new and changed rows of the source.
        unchanged: rows of the source that had been landed before.
        repeated: further copies of rows that the source holds more than once.
        removed: rows of the raw table whose key the source no longer has.

    """

    read: int
    landed: int
    unchanged: int
    repeated: int
    removed: int


NO_CHANGE = Change(0, 0, 0, 0, 0)


def publish(
    database: Database,
    tables: Mapping[str, Table],
    queries: Mapping[str, str],
    loaded_at: datetime,
    *,
    incomplete: Collection[str] = (),
    allow_removals: bool = False,
    replace: bool = False,
    whole: Mapping[str, str] | None = None,
) -> dict[str, Change]:
    """Publish the rows of each query to its raw table, in the open transaction.

    Args:
        database: the database of the raw tables; missing ones are created.
        tables: the raw tables by name.
        queries: by table name, a SELECT of the table's columns without `loaded_at`, which runs on
            the database; a table without a query is emptied.
        loaded_at: the time of this landing, UTC without time zone. If the clock was set back, the
            rows get a later one: a run takes what is later than the latest that it has seen.
        incomplete: snapshots of which rows were rejected; nothing is removed from their tables.
        allow_removals: whether more than half of a table's rows may be removed.
        replace: whether rows that the source lacks are removed from logs, too, and in any number.
        whole: by name of a log, a column. For each of its values, the source has all rows or none;
            if it has them, the log's other rows with that value are removed.

    Raises:
        TooManyRemovals: more than half would be removed, and that is not allowed.
        DatabaseError: a raw table exists and has other columns.

    """
    create_raw_tables(database, tables)
    loaded_at = max(loaded_at, _latest_arrival(database, tables) + timedelta(microseconds=1))
    return {
        name: _publish_table(
            database,
            table,
            queries.get(name)
            or f"SELECT {', '.join(table.data_columns)} FROM {table.raw_name} LIMIT 0",
            loaded_at,
            is_snapshot=replace or not table.is_log,
            whole=(whole or {}).get(name),
            is_complete=name not in incomplete,
            allow_removals=allow_removals or replace,
        )
        for name, table in tables.items()
        if name != REMOVED
    }


def create_raw_tables(database: Database, tables: Mapping[str, Table]) -> None:
    """Create the missing raw tables, with the descriptions of the contract.

    Raises:
        DatabaseError: a raw table exists and has other columns.

    """
    adapter = database.adapter
    adapter.create_schema(SCHEMA)
    for table in tables.values():
        database.create_raw_table(table)
        missing = dict(table.columns)
        for name, type_ in adapter.columns(table.raw_name).items():
            found = type_.sql("postgres")
            if name in missing and COMPATIBLE.get(found, found) != table.columns[name]:
                raise DatabaseError(
                    f"Column {name} of {table.raw_name} is {found}, and the contract "
                    f"(external_models.yaml) says {table.columns[name]}. {_OTHER_TABLE}"
                )
            missing.pop(name, None)
        if missing:
            raise DatabaseError(
                f"{table.raw_name} has no column {', '.join(missing)}. {_OTHER_TABLE}"
            )


def _latest_arrival(database: Database, tables: Mapping[str, Table]) -> datetime:
    """Return the time of the latest landing that the raw tables know of."""
    times = " UNION ALL ".join(
        f"SELECT MAX({ARRIVAL}) AS latest FROM {table.raw_name}" for table in tables.values()
    )
    (latest,) = database.adapter.fetchone(f"SELECT MAX(latest) FROM ({times}) AS times")
    return latest or datetime.min


def _publish_table(
    database: Database,
    table: Table,
    query: str,
    loaded_at: datetime,
    *,
    is_snapshot: bool,
    whole: str | None,
    is_complete: bool,
    allow_removals: bool,
) -> Change:
    """Publish the rows of a query to one raw table."""
    raw = table.raw_name
    columns = ", ".join(table.data_columns)
    execute, fetch = database.adapter.execute, database.adapter.fetchone

    execute(
        "CREATE TEMPORARY TABLE source_rows AS "
        f"SELECT {columns}, COUNT(*) AS copies FROM ({query}) AS q GROUP BY {columns}"
    )
    execute("ANALYZE source_rows")
    execute(
        "CREATE TEMPORARY TABLE arrived AS "
        f"SELECT {columns} FROM source_rows EXCEPT SELECT {columns} FROM {raw}"
    )
    removed = 0
    if is_snapshot or whole:
        known = "" if is_snapshot else f" WHERE {whole} IN (SELECT {whole} FROM source_rows)"
        execute(
            "CREATE TEMPORARY TABLE gone AS "
            f"SELECT {columns} FROM {raw}{known} EXCEPT SELECT {columns} FROM source_rows"
        )
        same_key = " AND ".join(f"source_rows.{name} = gone.{name}" for name in table.key)
        is_replaced = f"EXISTS (SELECT 1 FROM source_rows WHERE {same_key})"
        if is_complete:
            removed, before = fetch(
                f"SELECT COUNT(*), (SELECT COUNT(*) FROM {raw}) FROM gone WHERE NOT {is_replaced}"
            )
            is_suspicious = is_snapshot and table.has_file and removed > before / 2
            if is_suspicious and not allow_removals:
                raise TooManyRemovals(
                    f"{table.name}: {removed:,} of the {before:,} rows that are landed are not in "
                    "this source. If they are really gone, say --allow-removals; "
                    "nothing was written."
                )
        same_row = " AND ".join(
            f"{raw}.{name} {'=' if name in table.key else 'IS NOT DISTINCT FROM'} gone.{name}"
            for name in table.data_columns
        )
        condition = same_row if is_complete else f"{same_row} AND {is_replaced}"
        execute(f"DELETE FROM {raw} USING gone WHERE {condition}")
        if table.is_by_deal:
            removals = f"{SCHEMA}.{REMOVED}"
            execute(f"DELETE FROM {removals} WHERE deal_id IN (SELECT deal_id FROM gone)")
            execute(
                f"INSERT INTO {removals} (deal_id, {ARRIVAL}) "
                f"SELECT DISTINCT deal_id, {_timestamp(loaded_at)} FROM gone"
            )
        execute("DROP TABLE gone")
    landed, distinct, read = fetch(
        "SELECT (SELECT COUNT(*) FROM arrived), COUNT(*), "
        "CAST(COALESCE(SUM(copies), 0) AS BIGINT) FROM source_rows"
    )
    execute(
        f"INSERT INTO {raw} ({columns}, {ARRIVAL}) "
        f"SELECT {columns}, {_timestamp(loaded_at)} FROM arrived"
    )
    execute("DROP TABLE arrived")
    execute("DROP TABLE source_rows")
    execute(f"ANALYZE {raw}")
    return Change(read, landed, distinct - landed, read - distinct, removed)


def _timestamp(time: datetime) -> str:
    """Return a time as an SQL expression."""
    return f"CAST('{time:%Y-%m-%d %H:%M:%S.%f}' AS TIMESTAMP)"
