"""Landing in a test's database: the functions behind `python -m pipedrive_funnel land`, or it."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from warehouse import Warehouse

from pipedrive_funnel.landing.contract import read_tables
from pipedrive_funnel.landing.csv_export import open_export
from pipedrive_funnel.landing.database import Database
from pipedrive_funnel.landing.land import land_export
from pipedrive_funnel.landing.publish import Change


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
    tables = read_tables(warehouse.path)
    with open_export(directory, tables) as files, landing_database(warehouse) as database:
        for file in files:
            file.read()
        return land_export(database, tables, files, at, allow_removals=allow_removals)


def land_command(
    warehouse: Warehouse, *arguments: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m pipedrive_funnel land ARGUMENTS` in a warehouse's copy of the project."""
    warehouse.close()
    return subprocess.run(
        [
            *(sys.executable, "-m", "pipedrive_funnel", "land"),
            *map(str, arguments),
            *("--gateway", warehouse.gateway),
        ],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings | {"SQLMESH__LINTER__ENABLED": "false"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
