"""Landing in a test's database at a time of its choice, and a look at the result."""

from __future__ import annotations

import typing as t
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import duckdb
import psycopg2

from pipedrive_funnel.contract import REMOVED, read_tables
from pipedrive_funnel.export.reader import open_export
from pipedrive_funnel.landing.land import land_export
from pipedrive_funnel.landing.publish import Change
from pipedrive_funnel.warehouse import Database
from tests.support.oracle import funnel, modelled_funnel, read_export
from tests.support.warehouse import Warehouse

TABLES = read_tables()

Row = tuple[t.Any, ...]
State = dict[str, dict[Row, datetime]]  # by landed table: its rows, and when each arrived


@contextmanager
def landing_database(warehouse: Warehouse) -> t.Iterator[Database]:
    """Give a warehouse's database as a landing opens it."""
    warehouse.close()
    with (
        warehouse._environment(),
        closing(Database(warehouse.gateway, project=warehouse.path)) as database,
        database.exclusively(),
    ):
        yield database


def land_files(
    warehouse: Warehouse, directory: Path, at: datetime, *, allow_removals: bool = False
) -> dict[str, Change]:
    """Land an export at a time of the test's choice, in this process."""
    with open_export(directory, TABLES) as files, landing_database(warehouse) as database:
        for file in files:
            file.read()
        return land_export(database, TABLES, files, at, allow_removals=allow_removals)


def connect(warehouse: Warehouse) -> t.Any:
    """Connect to a warehouse's database, past SQLMesh, as somebody who waits for nobody."""
    warehouse.close()
    settings = warehouse.settings
    if warehouse.gateway == "duckdb":
        return duckdb.connect(settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"])
    return psycopg2.connect(
        host=settings["POSTGRES_HOST"],
        user=settings["POSTGRES_USER"],
        password=settings["POSTGRES_PASSWORD"],
        dbname=settings["POSTGRES_DB"],
        options="-c statement_timeout=5000",
    )


def raw_state(warehouse: Warehouse) -> State:
    """Return what anybody who connects now sees in the landed tables."""
    state: State = {}
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        for name, table in TABLES.items():
            if name == REMOVED:  # tells what went, not what is there
                continue
            cursor.execute(
                "SELECT COUNT(*) FROM information_schema.tables "
                f"WHERE table_schema = 'pipedrive_raw' AND table_name = '{name}'"
            )
            if cursor.fetchone() != (0,):
                cursor.execute(f"SELECT {', '.join(table.columns)} FROM pipedrive_raw.{name}")
                rows = cursor.fetchall()
                state[name] = {tuple(row): loaded_at for *row, loaded_at in rows}
                assert len(state[name]) == len(rows), f"{name} repeats a row"
    return state


def assert_prod_shows(warehouse: Warehouse, export: Path) -> None:
    """Compare prod with the funnel that pandas works out from an export."""
    steps = read_export(warehouse.path / "seeds")["funnel_steps"]
    expected = funnel(read_export(export) | {"funnel_steps": steps})
    found = modelled_funnel(warehouse, "prod")
    assert found.history == expected.history
    assert found.first_entries == expected.first_entries
    assert found.calls == expected.calls
    assert found.report == expected.report
