"""The two ways to land. Both publish what dlt has loaded, in one transaction."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pipedrive_funnel.contract import REJECTED, Table
from pipedrive_funnel.export.reader import CsvFile, rejects_table
from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.publish import Change, publish
from pipedrive_funnel.warehouse import Database

if t.TYPE_CHECKING:
    import dlt
    import pyarrow

LANDING = "pipedrive_landing"  # the schema where an export waits to be published
# The formats that dlt loads fastest: with COPY on PostgreSQL, a scan on DuckDB
FILE_FORMATS = {"postgres": "csv", "duckdb": "parquet"}
DLT_TYPES = {
    "BIGINT": {"data_type": "bigint"},
    "BOOLEAN": {"data_type": "bool"},
    "DECIMAL(18, 3)": {"data_type": "decimal", "precision": 18, "scale": 3},
    "TEXT": {"data_type": "text"},
    "TIMESTAMP": {"data_type": "timestamp", "timezone": False},
}


def land_export(
    database: Database,
    tables: Mapping[str, Table],
    files: Sequence[CsvFile],
    loaded_at: datetime,
    *,
    allow_removals: bool = False,
    replace: bool = False,
) -> dict[str, Change]:
    """Land the rows of files that have been read, and note those that were rejected.

    Args:
        database: where to land.
        tables: the raw tables by name.
        files: one for each table of an export, already read.
        loaded_at: the time of this landing, UTC without time zone.
        allow_removals: see `publish`.
        replace: see `publish`.

    Raises:
        TooManyRemovals, DatabaseError: see `publish`.

    """
    rejects = [reject for file in files for reject in file.rejects]
    file_format = FILE_FORMATS[database.adapter.dialect]
    sources = {file.table.name: file.batches() for file in files}
    sources[REJECTED] = iter([rejects_table(rejects)])
    with _landing_schema(database), database.pipeline(LANDING) as pipeline:
        pipeline.run(
            [_resource(tables[name], rows, file_format) for name, rows in sources.items()]
        ).raise_on_failed_jobs()
        with database.transaction():
            return publish(
                database,
                tables,
                {
                    name: f"SELECT {', '.join(tables[name].data_columns)} FROM {LANDING}.{name}"
                    for name in sources
                },
                loaded_at,
                incomplete={reject.table_name for reject in rejects},
                allow_removals=allow_removals,
                replace=replace,
            )


def _resource(
    table: Table, batches: Iterator[pyarrow.Table], file_format: str
) -> dlt.sources.DltResource:
    """Return batches of a table's rows as a resource of dlt, with no columns but the table's."""
    import dlt

    return dlt.resource(
        batches,
        name=table.name,
        write_disposition="replace",
        file_format=file_format,
        columns={
            name: {"name": name, "nullable": True} | DLT_TYPES[type_]
            for name, type_ in table.data_columns.items()
        },
        schema_contract={"columns": "freeze", "data_type": "freeze"},
    )


@contextmanager
def _landing_schema(database: Database) -> Iterator[None]:
    """Drop the schema where an export waits: one left by a killed landing, and ours at the end."""
    drop = f"DROP SCHEMA IF EXISTS {LANDING} CASCADE"
    database.adapter.execute(drop)
    try:
        yield
    finally:
        database.adapter.execute(drop)


@dataclass(frozen=True)
class LandedMirror:
    """What became of the mirror.

    Attributes:
        changes: by table.
        skipped: the numbers of rows that have no place in the contract, by reason.
        coverage: how many of the deals are landed.

    """

    changes: dict[str, Change]
    skipped: dict[str, int]
    coverage: api.Coverage


def land_mirror(
    database: Database,
    tables: Mapping[str, Table],
    settings: api.Settings,
    loaded_at: datetime,
    *,
    allow_removals: bool = False,
    replace: bool = False,
) -> LandedMirror:
    """Land the mirror of the API, which `api.Mirror` brings up to date, with what it has so far.

    Raises:
        TooManyRemovals, DatabaseError: see `publish`.

    """
    from sqlglot import transpile

    def native(query: str) -> str:
        return transpile(query, read="postgres", write=database.adapter.dialect)[0]

    queries = {name: native(query) for name, query in api.contract_queries(settings).items()}
    with database.transaction():
        changes = publish(
            database,
            tables,
            queries,
            loaded_at,
            allow_removals=allow_removals,
            replace=replace,
            whole={"deal_changes": "deal_id"},  # rows derived for a deal may turn out wrong
        )
        api.note_published(database)
    skipped = {
        reason: database.adapter.fetchone(native(query))[0]
        for reason, query in api.skipped(settings).items()
    }
    covered = database.adapter.fetchone(native(api.coverage(settings)))
    return LandedMirror(changes, skipped, api.Coverage(*covered))
