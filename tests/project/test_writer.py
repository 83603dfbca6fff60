"""Plans and runs of one PostgreSQL database follow each other, whoever starts them."""

from __future__ import annotations

import multiprocessing
import re
import threading
import typing as t
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from pipedrive_funnel.console import FunnelConsole
from pipedrive_funnel.warehouse import BuildError
from tests.support.command import edit_file, run_command
from tests.support.exports import START, change_export, new_export
from tests.support.landed import ANY_STAGES, LANDED
from tests.support.landing import assert_prod_shows, connect, land_files, landing_database
from tests.support.warehouse import REPORT, Warehouse

HISTORY = "pipedrive_intermediate.int_deal_stage_history"
LOCK = 7_331_206
NAME = "prod since 2026-11-01 03:00:00 UTC, 4711@nightly"


@pytest.fixture(scope="module")
def warehouse(
    new_warehouse: t.Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Warehouse:
    """Plan the core of the project in prod, which waits for seconds only."""
    export = new_export(tmp_path_factory.mktemp("export"))
    variables = ANY_STAGES | {
        "SQLMESH__VARIABLES__WRITER_WAIT_MINUTES": "0.05",
        "SQLMESH__LINTER__ENABLED": "false",
    }
    warehouse = new_warehouse("postgres", export, core=True, **variables)
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    return warehouse


@contextmanager
def another_writer(
    warehouse: Warehouse, name: str = NAME
) -> t.Iterator[psycopg2.extensions.connection]:
    """Hold the lock in a session of its own."""
    with closing(connect(warehouse)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT SET_CONFIG('application_name', %s, FALSE)", [name])
            cursor.execute(f"SELECT PG_TRY_ADVISORY_LOCK({LOCK})")
            assert cursor.fetchone() == (True,), "the last plan or run has kept the lock"
        yield connection


@pytest.mark.parametrize("action", ["run", "plan"])
def test_another_writer_is_waited_for_and_named(warehouse: Warehouse, action: str) -> None:
    with another_writer(warehouse) as writer:
        threading.Timer(2, writer.close).start()
        if action == "run":
            outcome = warehouse.run("prod", ignore_cron=True)
        else:
            outcome = warehouse.plan("another")
    assert outcome.error is None, outcome.output
    assert f"Waiting for another plan or run: {NAME} (role pipedrive, " in outcome.output


@pytest.mark.parametrize("action", ["run", "plan"])
def test_a_writer_that_does_not_end_is_not_waited_for_forever(
    warehouse: Warehouse, action: str
) -> None:
    before = warehouse.table(REPORT, "prod")
    with another_writer(warehouse):
        if action == "run":
            outcome = warehouse.run("prod", ignore_cron=True)
        else:
            outcome = warehouse.plan("third")
    assert f"Another plan or run has not ended in 0.05 minutes: {NAME}" in str(outcome.error)
    assert len(str(outcome.error).splitlines()) < 10
    assert warehouse.table(REPORT, "prod").equals(before)
    assert warehouse.run("prod", ignore_cron=True).error is None


def test_our_own_commands_say_so_in_one_sentence(warehouse: Warehouse) -> None:
    with (
        another_writer(warehouse),
        landing_database(warehouse) as database,
        pytest.raises(BuildError) as raised,
    ):
        database.run("prod")
    said = f"Another plan or run has not ended in 0.05 minutes: {NAME} (role pipedrive, backend "
    assert said in str(raised.value)
    assert "before_all" not in str(raised.value)


@pytest.mark.parametrize("name", ["$$; CREATE TABLE public.t (i INT); --", "it's 100 % mine", ""])
def test_the_name_of_another_session_is_no_statement(warehouse: Warehouse, name: str) -> None:
    """Whoever may connect can take the lock and call the session anything."""
    warehouse.execute("CREATE SCHEMA IF NOT EXISTS own")
    hostile = name.replace("public.t", "own.t")
    with another_writer(warehouse, hostile):
        outcome = warehouse.run("prod", ignore_cron=True)
    raised = outcome.error and outcome.error.__context__
    assert isinstance(raised, psycopg2.errors.RaiseException), outcome.error
    assert "(role pipedrive, backend " in str(raised.diag.message_primary)
    assert not warehouse.context.engine_adapter.table_exists("own.t")


def test_a_build_that_another_plan_has_overtaken_plans_once_more(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other plan applies the same change between this one's diff and its promotion."""
    (model,) = (warehouse.path / "models").rglob("dim_stages.sql")
    undo = edit_file(model, "One row per stage", "A row per stage")
    other, show_changes = replace(warehouse), FunnelConsole.show_changes
    overtaken = []

    def overtake(console: FunnelConsole, plan: t.Any) -> None:
        show_changes(console, plan)
        if not overtaken:
            overtaken.append(other.plan("prod"))
            other.close()

    monkeypatch.setattr(FunnelConsole, "show_changes", overtake)
    with landing_database(warehouse) as database:
        built = database.plan("prod")
    undo()
    assert overtaken[0].error is None, overtaken[0].output
    assert not built.has_changed
    assert "Another plan of prod was applied meanwhile" in capsys.readouterr().out


def test_a_run_repairs_what_a_plan_has_left_that_was_killed(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.execute("UPDATE sqlmesh._environments SET finalized_ts = NULL WHERE name = 'prod'")
    with landing_database(warehouse) as database:
        database.run("prod")
    assert "The last plan of prod did not end: planning once more." in capsys.readouterr().out
    planned = warehouse.context.state_reader.get_environment("prod")
    assert planned and planned.finalized_ts


def test_a_history_that_was_doubled_is_found_and_healed(warehouse: Warehouse) -> None:
    """As docs/operations.md says."""
    before = warehouse.table(HISTORY, "prod")
    doubled = warehouse.snapshot(HISTORY).table_name()
    warehouse.execute(f"INSERT INTO {doubled} SELECT * FROM {doubled}")
    assert warehouse.run("prod", ignore_cron=True).error is None, "it touches none of the deals"
    warehouse.close()
    audit = run_command(warehouse, "audit", "prod")
    assert audit.code == 1
    assert re.search(r"ERROR .* stage_changes_conserved ", audit.out)
    log = "pipedrive_intermediate.int_deal_changes"
    assert warehouse.plan("prod", restate_models=[log]).error is None
    assert warehouse.table(HISTORY, "prod").equals(before)


def at_once(warehouse: Warehouse, actions: list[str]) -> list[tuple[str, str | None]]:
    """Plan and run prod in as many processes, and return the error of each action, if any."""
    warehouse.close()
    context = multiprocessing.get_context("fork")
    ready, ended = context.Barrier(len(actions)), context.SimpleQueue()

    def act(action: str) -> None:
        own = replace(warehouse)
        assert own.context  # loaded
        ready.wait()
        done = own.plan("prod") if action == "plan" else own.run("prod", ignore_cron=True)
        ended.put((action, done.error and f"{done.output} {done.error}"))

    processes = [context.Process(target=act, args=(action,)) for action in actions]
    for process in processes:
        process.start()
    found = [ended.get() for _ in actions]
    for process in processes:
        process.join()
    return found


@pytest.mark.faults
def test_ten_at_once_give_what_one_alone_gives(
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    """Seven runs of what has landed, and three plans of a change that rebuilds the first fact."""
    warehouse = new_warehouse("postgres", core=True, **LANDED)
    export = new_export(tmp_path / "export")
    land_files(warehouse, export, START)
    assert warehouse.plan("prod", execution_time=START + timedelta(days=1)).error is None
    change_export(export, 1)
    land_files(warehouse, export, datetime.now(UTC).replace(tzinfo=None))
    edit_file(warehouse.path / "seeds" / "funnel_steps.csv", "Lead Generation", "Inbound")
    ended = at_once(warehouse, [*["run"] * 7, *["plan"] * 3])
    assert [error for action, error in ended if action == "run" and error] == []
    overtaken = [error for action, error in ended if action == "plan" and error]
    assert len(overtaken) < 3
    for error in overtaken:
        assert "another plan" in error.lower(), error
    assert warehouse.run("prod", ignore_cron=True).error is None
    assert_prod_shows(warehouse, export)
