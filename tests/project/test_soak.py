"""Thirty days of a company at work: landings, refreshes and releases, and what they leave behind.

The clock of the process is moved from day to day, so that all of it, and what the janitor deems too
old, happens at its time.
"""

from __future__ import annotations

import shutil
import typing as t
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import psycopg2
import pytest
import time_machine
from sqlmesh.core.snapshot import SnapshotId

from tests.support.command import edit_file, run_command
from tests.support.company import Company
from tests.support.landed import LANDED
from tests.support.reliability import note
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.faults

SEED, DEALS = 5, 60
DAYS = 30
SECOND, WARM = 2, 10  # the first refresh after the first plan; models have changed twice
FIRST = datetime(2024, 9, 10, 6, 15)  # most of the deals are in the log by then
RAW, MARTS = "pipedrive\\_raw", "pipedrive\\_analytics"  # the schemas, as patterns
NEW_MART = """MODEL (
  name pipedrive_analytics.dim_deal_ages,
  kind FULL,
  grain deal_id
);

SELECT
  deal_id,
  created_at
FROM pipedrive_intermediate.int_deals
"""


def morning(day: int) -> datetime:
    """Return the time of the refresh of a day; the first one is day 1."""
    return FIRST + timedelta(days=day - 1)


@dataclass(frozen=True)
class Size:
    """What a database holds.

    Attributes:
        raw: rows of the landed tables.
        state: rows of SQLMesh's state.
        tables: the names of the tables and views below the environments.
        megabytes: what all of it takes on the disk.

    """

    raw: int
    state: int
    tables: frozenset[str]
    megabytes: float


def names_in(warehouse: Warehouse, schemas: str) -> frozenset[str]:
    """Return the names of tables and views in schemas whose names are like a pattern."""
    found = warehouse.fetch(
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables "
        f"WHERE table_schema LIKE '{schemas}' ESCAPE '\\'"
    )
    return frozenset(found["name"])


def rows_in(warehouse: Warehouse, schema: str) -> int:
    """Return the number of rows in all tables of a schema."""
    counts = [f"SELECT COUNT(*) AS n FROM {table}" for table in names_in(warehouse, schema)]
    return int(warehouse.fetch(" UNION ALL ".join(counts))["n"].sum())


@dataclass
class Soak:
    """A project, whose prod is refreshed daily, and its database.

    Attributes:
        warehouse: both of them.
        company: whose data is landed.
        admin_uri: the address of the server for an administrator, if it is one.
        sizes: the size of the database in the evening of each day, and after the janitor.

    """

    warehouse: Warehouse
    company: Company
    admin_uri: str | None
    sizes: dict[int, Size] = field(default_factory=dict)
    _undo: dict[str, t.Callable[[], t.Any]] = field(default_factory=dict)

    def live(self, day: int) -> None:
        """Do what happens on a day."""
        with time_machine.travel(morning(day)):
            if happens := EVENTS.get(day):
                happens(self)
            export = self.company.write(morning(day))
            options = ["--replace"] if day == REMOVAL else []
            self.do("land", "csv", export, "--refresh", *options)
            if release := RELEASES.get(day):
                for environment in release(self):
                    self.do("build", environment)
            self.sizes[day] = self.measured()

    def do(self, *arguments: str | Path) -> None:
        """Give one of our commands."""
        done = run_command(self.warehouse, *arguments)
        assert done.code == 0, done.out + done.err

    def clean_up(self, day: int) -> None:
        """Let the janitor work as `sqlmesh janitor` does."""
        with time_machine.travel(morning(day)):
            self.warehouse.context.run_janitor(ignore_ttl=False)
            self.sizes[day] = self.measured()

    # --- releases -------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """Return a file of the project."""
        return self.warehouse.path / name

    def rename_a_step(self) -> list[str]:
        """Edit the mapping, of which all facts and reports are made."""
        edit_file(self.file("seeds/funnel_steps.csv"), "Lead Generation", "Inbound")
        return ["dev", "prod"]

    def let_the_last_creation_count(self) -> list[str]:
        """Edit an incremental model, and so all below it."""
        self._undo["creation"] = edit_file(
            self.file("models/intermediate/int_deals.sql"),
            "MIN(CASE WHEN field_key = 'add_time'",
            "MAX(CASE WHEN field_key = 'add_time'",
        )
        return ["dev", "prod"]

    def roll_back(self) -> list[str]:
        """Take that back: prod gets tables that nobody has refreshed since."""
        self._undo["creation"]()
        return ["prod"]

    def open_a_pull_request(self) -> list[str]:
        """Plan an environment that is then forgotten."""
        model = self.file("models/marts/core/dim_users.sql")
        self._undo["request"] = edit_file(model, "One row per", "A row per")
        return ["pr_7"]

    def add_a_mart(self) -> list[str]:
        """Take back what only the pull request had, and release a new mart."""
        self._undo["request"]()
        self.file("models/marts/core/dim_deal_ages.sql").write_text(NEW_MART)
        return ["dev", "prod"]

    def drop_the_mart_and_change_the_log(self) -> list[str]:
        """Remove the mart, and edit the model that everything about deals is made of."""
        self.file("models/marts/core/dim_deal_ages.sql").unlink()
        edit_file(
            self.file("models/intermediate/int_deal_changes.sql"),
            "MAX(new_value::BIGINT) AS owner_user_id",
            "MIN(new_value::BIGINT) AS owner_user_id",
        )
        return ["dev", "prod"]

    # --- size -----------------------------------------------------------------------------------

    def measured(self) -> Size:
        """Return the size of the database, once its own housekeeping has been there."""
        raw, state = rows_in(self.warehouse, RAW), rows_in(self.warehouse, "sqlmesh")
        tables = names_in(self.warehouse, "sqlmesh\\_\\_%")
        self.warehouse.close()
        return Size(raw, state, tables, self._bytes() / 1e6)

    def _bytes(self) -> int:
        settings = self.warehouse.settings
        if not self.admin_uri:
            file = Path(settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"])
            return sum(path.stat().st_size for path in file.parent.iterdir())
        with closing(psycopg2.connect(self.admin_uri, dbname=settings["POSTGRES_DB"])) as admin:
            admin.autocommit = True
            with admin.cursor() as cursor:
                cursor.execute("VACUUM")  # the servers of the tests have no autovacuum
                cursor.execute("SELECT PG_DATABASE_SIZE(CURRENT_DATABASE())")
                return t.cast(int, cursor.fetchone()[0])

    def tables_of_state(self) -> frozenset[str]:
        """Return the names of the tables and views of all snapshots in the state."""
        rows = self.warehouse.fetch("SELECT name, identifier FROM sqlmesh._snapshots")
        ids = [SnapshotId(name=row.name, identifier=row.identifier) for row in rows.itertuples()]
        found = self.warehouse.context.state_reader.get_snapshots(ids)
        return frozenset(
            ".".join(part.strip('"') for part in snapshot.table_name().split(".")[-2:])
            for snapshot in found.values()
            if snapshot.is_model and not snapshot.is_symbolic
        )


REMOVAL = 18
EVENTS: dict[int, t.Callable[[Soak], t.Any]] = {
    8: lambda soak: soak.company.labels.update({("stages", "3"): "Talks"}),
    REMOVAL: lambda soak: soak.company.remove_changes(morning(REMOVAL)),
    23: lambda soak: soak.company.labels.update({("users", "4"): "Zoe"}),
}
RELEASES: dict[int, t.Callable[[Soak], list[str]]] = {
    5: Soak.rename_a_step,
    9: Soak.let_the_last_creation_count,
    11: Soak.open_a_pull_request,
    13: Soak.roll_back,
    16: Soak.add_a_mart,
    21: Soak.drop_the_mart_and_change_the_log,
}
LAST = DAYS + 8  # a week after the last day, all that nobody uses is too old


@pytest.fixture(scope="module")
def soak(
    gateway: str,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Soak:
    """Let thirty days pass, and the janitor clean up a week later."""
    server = request.getfixturevalue("postgres_server") if gateway == "postgres" else {}
    company = Company.founded(tmp_path_factory.mktemp("export"), SEED, DEALS)
    warehouse = new_warehouse(gateway, audited=False, **LANDED)
    soak = Soak(warehouse, company, server.get("admin_uri"))
    for day in range(1, DAYS + 1):
        soak.live(day)
    soak.clean_up(LAST)
    return soak


def test_prod_is_what_one_build_of_the_last_day_gives(
    soak: Soak, gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Of the last export, with the last models, in an empty database."""
    at_once = new_warehouse(gateway, audited=False, **LANDED)
    for name in ("models", "seeds"):
        shutil.rmtree(at_once.path / name)
        shutil.copytree(soak.warehouse.path / name, at_once.path / name)
    with time_machine.travel(morning(DAYS)):
        done = run_command(at_once, "land", "csv", soak.company.directory, "--refresh")
    assert done.code == 0, done.out + done.err
    marts = names_in(at_once, MARTS)
    assert len(marts) > 20 and marts == names_in(soak.warehouse, MARTS)
    for mart in sorted(marts):
        found, expected = soak.warehouse.table(mart, "prod"), at_once.table(mart, "prod")
        pd.testing.assert_frame_equal(found, expected, obj=mart)


def test_the_janitor_leaves_the_tables_of_the_state_and_no_others(soak: Soak) -> None:
    assert soak.sizes[LAST].tables == soak.tables_of_state()


def test_the_size_follows_the_data(soak: Soak, gateway: str) -> None:
    """What releases add is gone a week after nobody uses it, and a day's refresh adds nothing."""
    sizes, report = soak.sizes, page(soak.sizes)
    note(f"soak {gateway}", report)
    for day in range(SECOND + 1, DAYS + 1):
        if day not in RELEASES:
            assert sizes[day].state <= sizes[day - 1].state, f"day {day}:\n{report}"
            assert sizes[day].tables <= sizes[day - 1].tables, f"day {day}:\n{report}"
    for end in (DAYS, LAST):
        assert len(sizes[end].tables) == len(sizes[SECOND].tables), report
        assert sizes[end].state <= 1.1 * sizes[SECOND].state, report
        assert sizes[end].megabytes <= 1.5 * sizes[SECOND].megabytes, report
        data = sizes[end].raw / sizes[WARM].raw
        assert data > 1.1 and sizes[end].megabytes <= data * sizes[WARM].megabytes, report


def page(sizes: dict[int, Size]) -> str:
    """Return what the page says of the size."""
    head = "| after day | landed rows | tables and views | rows of the state | MB |\n"
    return f"{head}|---|---|---|---|---|\n" + "".join(
        f"| {day}{', and the janitor' if day == LAST else ''} | {size.raw:,} | {len(size.tables)} "
        f"| {size.state} | {size.megabytes:.1f} |\n"
        for day, size in sizes.items()
        if day in (SECOND, WARM, *RELEASES, DAYS, LAST)
    )
