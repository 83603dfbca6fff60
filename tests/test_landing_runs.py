"""From a landing to prod: in halves, twice a day, interrupted, and while others look on.

A landing brings all of an export or nothing, so nobody ever sees a part of it, and a run after it
rebuilds what was touched and no more.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from landed import LANDED
from landing import (
    TABLES,
    Row,
    State,
    connect,
    land_command,
    land_files,
    landing_database,
    raw_state,
)
from oracle import Funnel, funnel, modelled_funnel, read_export
from random_export import random_export
from test_numbers import ROWS, assert_report_is_the_funnel
from warehouse import EXPORT_TABLES, MODELS, PROJECT, Warehouse

from pipedrive_funnel.landing.contract import Table

HISTORY = "pipedrive_intermediate.int_deal_stage_history"
FIRST_ENTRIES = "pipedrive_analytics.fct_deal_stage_history"
NEW_DEAL = 77_000_000
DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 10)


# --- exports --------------------------------------------------------------------------------------


def edit(directory: Path, table: str, change: t.Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the rows of a file, which are read as text."""
    path = directory / f"{table}.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def add_changes(directory: Path, *changes: Row) -> None:
    """Append rows (deal, time, field, value) to the log of an export."""
    edit(
        directory,
        "deal_changes",
        lambda log: pd.concat([log, pd.DataFrame(changes, columns=log.columns)]),
    )


def with_first(column: str, value: str) -> t.Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a change that sets a column of the first row."""
    return lambda rows: rows.assign(**{column: [value, *rows[column][1:]]})


def change_export(directory: Path, number: int) -> None:
    """Change something in all six files; `number` makes it another change each time.

    Labels, a due date and an address change; an activity and a user go, others come.
    """
    for table, column in (("activity_types", "name"), ("fields", "NAME"), ("stages", "stage_name")):
        edit(directory, table, with_first(column, f"Label {number}"))
    newcomer = str(NEW_DEAL + number)
    for table, key, column, value in (
        ("activity", "activity_id", "due_to", str(START + number * DAY)),
        ("users", "id", "email", f"{number}@example.com"),
    ):
        edit(directory, table, with_first(key, newcomer))
        edit(directory, table, lambda rows: pd.concat([rows[1:], rows[:1]]))
        edit(directory, table, with_first(column, value))
    add_changes(directory, (newcomer, START, "stage_id", "1"))


def first_half(export: Path, to: Path) -> Path:
    """Write an export as it was before: half of the log, and some of the activities.

    Of those some are open still or have another due date, and some will be gone. A stage has
    another name.
    """
    draw = np.random.default_rng(1)

    def earlier(activity: pd.DataFrame) -> pd.DataFrame:
        chance = pd.Series(draw.random(len(activity)), index=activity.index)
        done = activity["done"].where(chance > 0.1, "False")
        due = activity["due_to"].where((chance < 0.1) | (chance > 0.2), str(START))
        vanishing = activity[:9].assign(activity_id=range(NEW_DEAL, NEW_DEAL + 9))
        return pd.concat([activity.assign(done=done, due_to=due)[chance < 0.6], vanishing])

    shutil.copytree(export, to)
    edit(
        to,
        "deal_changes",
        lambda log: log[log["change_time"] < sorted(log["change_time"])[len(log) // 2]],
    )
    edit(to, "activity", earlier)
    edit(to, "stages", with_first("stage_name", "Old name"))
    return to


@pytest.fixture(scope="module")
def new_export(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[int], Path]:
    """Return a function that writes a random export for a number of deals."""

    def new_export(deals: int) -> Path:
        return random_export(tmp_path_factory.mktemp("export"), np.random.default_rng(3), deals)

    return new_export


@pytest.fixture(scope="module")
def real_export() -> Path:
    if not (export := os.environ.get("PIPEDRIVE_EXPORT_DIR")):
        if os.environ.get("CI"):
            pytest.fail("PIPEDRIVE_EXPORT_DIR is not set: CI must test the real export")
        pytest.skip("PIPEDRIVE_EXPORT_DIR is not set")
    return Path(export)


@pytest.fixture(scope="module")
def a_random_export(new_export: t.Callable[[int], Path]) -> Path:
    return new_export(150)


@pytest.fixture(scope="module", params=["a_random_export", "real_export"])
def export(request: pytest.FixtureRequest) -> Path:
    """Run the test with a random export, and with the real one if it is there."""
    return request.getfixturevalue(request.param)


# --- at once, and in halves -----------------------------------------------------------------------


def prod_of(warehouse: Warehouse) -> Funnel:
    return modelled_funnel(warehouse, "prod")


def assert_prod_shows(warehouse: Warehouse, export: Path) -> None:
    steps = read_export(warehouse.path / "seeds")["funnel_steps"]
    expected = funnel(read_export(export) | {"funnel_steps": steps})
    found = prod_of(warehouse)
    assert found.history == expected.history
    assert found.first_entries == expected.first_entries
    assert found.calls == expected.calls
    assert found.report == expected.report


@pytest.fixture(scope="module")
def at_once(new_warehouse: t.Callable[..., Warehouse]) -> t.Callable[[str, Path], Warehouse]:
    """Return a function that lands an export as a user does, and plans prod by the wall clock."""

    @functools.cache
    def at_once(gateway: str, export: Path) -> Warehouse:
        warehouse = new_warehouse(gateway, **LANDED)
        done = land_command(warehouse, "csv", export)
        assert done.returncode == 0, done.stderr
        outcome = warehouse.plan("prod")
        assert outcome.error is None, outcome.output
        return warehouse

    return at_once


@dataclass
class InHalves:
    """A warehouse to which an export came in two parts.

    Attributes:
        warehouse: the warehouse.
        tables: the models in prod after the second part.
        rows: of the history, after the first part.

    """

    warehouse: Warehouse
    tables: dict[str, pd.DataFrame]
    rows: int


@pytest.fixture(scope="module")
def in_halves(
    gateway: str,
    export: Path,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
) -> InHalves:
    """Land half of an export, plan prod the next day, land all of it some days later and run."""
    warehouse = new_warehouse(gateway, **LANDED)
    half = first_half(export, tmp_path_factory.mktemp("half") / "export")
    land_files(warehouse, half, START)
    outcome = warehouse.plan("prod", execution_time=START + DAY)
    assert outcome.error is None, outcome.output
    rows = len(warehouse.table(HISTORY, "prod"))
    land_files(warehouse, export, START + 4 * DAY)
    outcome = warehouse.run("prod", execution_time=START + 8 * DAY, ignore_cron=True)
    assert outcome.error is None, outcome.output
    return InHalves(warehouse, {model: warehouse.table(model, "prod") for model in MODELS}, rows)


def without_arrivals(table: pd.DataFrame) -> pd.DataFrame:
    kept = table.drop(columns="loaded_at", errors="ignore")
    return kept.sort_values(list(kept.columns)).reset_index(drop=True)


def test_a_plan_right_after_a_landing_shows_it(
    gateway: str, export: Path, at_once: t.Callable[[str, Path], Warehouse]
) -> None:
    """By the wall clock: rows that arrived today, seconds ago."""
    assert_prod_shows(at_once(gateway, export), export)


def test_the_real_export_gives_the_known_figures(
    gateway: str, real_export: Path, at_once: t.Callable[[str, Path], Warehouse]
) -> None:
    warehouse = at_once(gateway, real_export)
    assert_report_is_the_funnel(warehouse, "prod")
    assert {model: len(warehouse.table(model, "prod")) for model in MODELS} == ROWS


def test_two_halves_are_the_whole(
    gateway: str, export: Path, at_once: t.Callable[[str, Path], Warehouse], in_halves: InHalves
) -> None:
    whole = at_once(gateway, export)
    assert 0 < in_halves.rows < len(whole.table(HISTORY, "prod"))
    for model in MODELS:
        pd.testing.assert_frame_equal(
            without_arrivals(in_halves.tables[model]), without_arrivals(whole.table(model, "prod"))
        )


def test_a_run_rewrites_the_deals_with_landed_changes_and_no_others(
    in_halves: InHalves, export: Path, tmp_path: Path
) -> None:
    """The run before was days after the second landing: no lookback reaches it any more."""
    warehouse = in_halves.warehouse
    deals = [int(deal) for deal in in_halves.tables[FIRST_ENTRIES]["deal_id"].drop_duplicates()]
    touched = {*deals[:6], NEW_DEAL}
    longer = Path(shutil.copytree(export, tmp_path / "export"))
    add_changes(
        longer,
        *((deal, START, "stage_id", "3") for deal in (*deals[:5], NEW_DEAL)),
        (deals[5], START, "lost_reason", "1"),  # says nothing about stages, and is a change
    )
    tables = [warehouse.snapshot(model).table_name() for model in (HISTORY, FIRST_ENTRIES)]
    for table in tables:
        warehouse.execute(f"UPDATE {table} SET stage_name = 'untouched'")
    landed = land_files(warehouse, longer, START + 11 * DAY)
    assert sum(change.landed for change in landed.values()) == 7
    outcome = warehouse.run("prod", execution_time=START + 11.1 * DAY, ignore_cron=True)
    assert outcome.error is None, outcome.output
    for table in tables:
        deals_where = f"SELECT DISTINCT deal_id FROM {table} WHERE stage_name"
        marked = warehouse.fetch(f"{deals_where} = 'untouched'")["deal_id"]
        unmarked = warehouse.fetch(f"{deals_where} IS DISTINCT FROM 'untouched'")["deal_id"]
        assert set(unmarked) == touched
        assert set(marked) == set(deals) - touched


# --- refresh --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refreshed(
    gateway: str, new_warehouse: t.Callable[..., Warehouse], new_export: t.Callable[[int], Path]
) -> tuple[Warehouse, Path]:
    """Land an export on an empty database, and refresh prod with it."""
    warehouse, export = new_warehouse(gateway, **LANDED), new_export(60)
    done = land_command(warehouse, "csv", export, "--refresh")
    assert done.returncode == 0, done.stderr
    return warehouse, export


def test_refresh_shows_what_it_landed_twice_on_one_day(refreshed: tuple[Warehouse, Path]) -> None:
    warehouse, export = refreshed
    assert_prod_shows(warehouse, export)
    change_export(export, 1)
    edit(export, "activity", lambda rows: rows.assign(done="True"))
    done = land_command(warehouse, "csv", export, "--refresh")
    assert done.returncode == 0, done.stderr
    assert_prod_shows(warehouse, export)


def test_refresh_fails_when_an_audit_blocks_and_keeps_what_it_landed(
    refreshed: tuple[Warehouse, Path],
) -> None:
    """Landing rejects such a value, so the row is one that somebody else has put there."""
    warehouse, export = refreshed
    before = prod_of(warehouse)
    warehouse.execute(
        "INSERT INTO pipedrive_raw.deal_changes "
        f"VALUES ({NEW_DEAL}, '{START}', 'stage_id', 'Won', '{START}')"
    )
    add_changes(export, (NEW_DEAL, START, "stage_id", "1"))
    done = land_command(warehouse, "csv", export, "--refresh")
    assert done.returncode == 1
    assert "What was landed is kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert "changes_hold_ids" in done.stdout + done.stderr
    assert "prod shows" not in done.stdout
    found = {row[3] for row in raw_state(warehouse)["deal_changes"] if row[0] == NEW_DEAL}
    assert found == {"Won", "1"}
    assert prod_of(warehouse) == before
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = 'Won'")
    assert warehouse.run("prod", ignore_cron=True).error is None
    assert_prod_shows(warehouse, export)


def test_refresh_is_refused_while_the_models_read_the_sample(
    new_warehouse: t.Callable[..., Warehouse], a_random_export: Path
) -> None:
    warehouse = new_warehouse("duckdb")
    done = land_command(warehouse, "csv", a_random_export, "--refresh")
    assert done.returncode == 1
    assert "echo SQLMESH__VARIABLES__RAW_SCHEMA=pipedrive_raw >> .env" in done.stderr
    assert raw_state(warehouse) == {}


def test_refresh_plans_a_prod_anew_that_reads_the_sample(
    new_warehouse: t.Callable[..., Warehouse], new_export: t.Callable[[int], Path]
) -> None:
    warehouse, export = new_warehouse("duckdb", new_export(30)), new_export(40)
    assert warehouse.plan("prod").error is None
    warehouse.close()
    warehouse.settings |= LANDED
    done = land_command(warehouse, "csv", export, "--refresh")
    assert done.returncode == 0, done.stderr
    assert_prod_shows(warehouse, export)


# Stops a command when it comes to the database, as Ctrl-C on a terminal or `kill` does
STOPPER = """
import signal, sys

from pipedrive_funnel.__main__ import main
from pipedrive_funnel.landing import command, refresh

number, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
command.Database = refresh.Database = lambda *_: signal.raise_signal(int(number))
sys.exit(main(arguments))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=("Ctrl-C", "kill"))
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["land", "api"], "Stopped. Landing again is safe.\n"),
        (["refresh", "prod"], "Stopped.\n"),
    ],
    ids=("land", "refresh"),
)
def test_a_command_that_is_stopped_says_so(
    arguments: list[str], said: str, stop: signal.Signals
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPER, str(int(stop)), *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, said)


# --- the landed tables ----------------------------------------------------------------------------


def query(warehouse: Warehouse, sql: str) -> list[Row]:
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


PARSERS: dict[str, t.Callable[[str], t.Any]] = {
    "BIGINT": int,
    "BOOLEAN": lambda text: text.lower() == "true",
    "TEXT": str,
    "TIMESTAMP": datetime.fromisoformat,
}


def file_rows(rows: pd.DataFrame, table: Table) -> set[Row]:
    """Return the rows of a file as a database gives them."""
    columns = [
        [value if value is None else PARSERS[type_](value) for value in rows[name]]
        for name, type_ in table.data_columns.items()
    ]
    return set(zip(*columns, strict=True))


def state_after(before: State, export: Path, at: datetime) -> State:
    """Return what a landing makes of the tables: new rows are from now, others from when they were.

    The log keeps what the export no longer has.
    """
    files = read_export(export)
    state: State = {"rejected_rows": {}}
    for name in EXPORT_TABLES:
        landed = before.get(name, {})
        rows = file_rows(files[name], TABLES[name])
        if name == "deal_changes":
            rows |= landed.keys()
        state[name] = {row: landed.get(row, at) for row in rows}
    return state


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def latest_arrival(state: State) -> datetime:
    return max(max(rows.values()) for rows in state.values() if rows)


# --- kill -9 --------------------------------------------------------------------------------------

# Lands in children of its own, which are ready at once, and kills them as it is told to.
KILLER = """
import json, os, signal, sys, time
from contextlib import contextmanager

import dlt.pipeline.pipeline, pandas, pyarrow.csv, pyarrow.dataset  # once, and not in each child
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from dlt.destinations.impl.postgres.postgres import PostgresCsvCopyJob
from sqlmesh.core.engine_adapter import EngineAdapter

from pipedrive_funnel.__main__ import main
from pipedrive_funnel.landing.csv_export import CsvFile
from pipedrive_funnel.landing.database import Database


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_reading(table, batches=CsvFile.batches):
    def dying(self):
        for number, batch in enumerate(batches(self)):
            yield batch
            if self.table.name == table and number == 1:  # 0 is empty
                die()

    CsvFile.batches = dying


def die_after_loading(table):
    for job in (DuckDbCopyJob, PostgresCsvCopyJob):
        def dying(self, run=job.run):
            run(self)
            if self.load_table_name == table:
                die()

        job.run = dying


def die_after_statement(statement, execute=EngineAdapter.execute):
    def dying(self, sql, *args, **options):
        execute(self, sql, *args, **options)
        if str(sql).startswith(statement):
            die()

    EngineAdapter.execute = dying


def die_after_inserting(table):
    die_after_statement(f"INSERT INTO pipedrive_raw.{table} ")


def die_before_commit(table):
    die_after_statement("ANALYZE pipedrive_raw.rejected_rows")


def die_after_commit(table, transaction=Database.transaction):
    @contextmanager
    def dying(self):
        with transaction(self):
            yield
        die()

    Database.transaction = dying


for line in sys.stdin:
    arguments, moment, table, seconds = json.loads(line)
    start = time.monotonic()
    child = os.fork()
    if not child:
        signal.alarm(100)
        log = os.open("landing.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        if moment:
            globals()[f"die_{moment}"](table)
        code = main(arguments)
        sys.stdout.flush()
        os._exit(code)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - start]), flush=True)
"""
KILLED = -signal.SIGKILL


@dataclass
class Victim:
    """A database in which landings are killed.

    Attributes:
        warehouse: the database, and a copy of the project that lands in it.
        export: what is landed; changed for each landing.
        process: the killer.
        changes: how often the export was changed.

    """

    warehouse: Warehouse
    export: Path
    process: subprocess.Popen[str]
    changes: int = 0

    def land(self, moment: str = "", table: str = "", seconds: float = 0) -> tuple[int, float]:
        """Land in a child that is killed, and return its exit code and how long it lived."""
        arguments = ["land", "csv", str(self.export), "--gateway", self.warehouse.gateway]
        assert self.process.stdin and self.process.stdout
        print(json.dumps([arguments, moment, table, seconds]), file=self.process.stdin, flush=True)
        code, lived = json.loads(self.process.stdout.readline())
        wait_until(lambda: self.is_alone, "the killed landing still has a session")
        return code, lived

    def kill(self, moment: str, table: str = "") -> None:
        """Kill a landing at a moment that it surely comes to."""
        code, _ = self.land(moment, table)
        assert code == KILLED, f"not killed {moment} {table}: {self.log}"

    @property
    def log(self) -> str:
        """What the last landing printed."""
        return (self.warehouse.path / "landing.log").read_text()

    @property
    def is_alone(self) -> bool:
        """Whether the database has seen that the killed process is gone."""
        others = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = CURRENT_DATABASE()"
        return self.warehouse.gateway == "duckdb" or query(self.warehouse, others) == [(1,)]

    def change(self) -> State:
        """Change the export, and return the state of the tables before it is landed."""
        if not raw_state(self.warehouse):
            assert self.land()[0] == 0
        self.changes += 1
        change_export(self.export, self.changes)
        edit(self.export, "deal_changes", lambda log: log[1:])  # the log must keep it
        return raw_state(self.warehouse)

    def empty(self) -> None:
        """Make the next landing the first one."""
        with closing(connect(self.warehouse)) as connection:
            connection.cursor().execute("DROP SCHEMA IF EXISTS pipedrive_raw CASCADE")
            connection.commit()

    def assert_landing_again_completes(self, before: State) -> None:
        """Land after a kill; all must be as if that had been the only landing."""
        start = now()
        assert self.land()[0] == 0, self.log
        after = raw_state(self.warehouse)
        at = latest_arrival(after)
        assert after == state_after(before, self.export, at)
        assert after == before or start < at < now()
        schemas = query(self.warehouse, "SELECT schema_name FROM information_schema.schemata")
        assert [name for (name,) in schemas if "landing" in name] == []


def wait_until(condition: t.Callable[[], bool], failure: str, seconds: float = 60) -> None:
    for _ in range(int(seconds * 20)):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(failure)


@pytest.fixture(scope="module")
def victim(
    gateway: str,
    new_warehouse: t.Callable[..., Warehouse],
    new_export: t.Callable[[int], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[Victim]:
    warehouse = new_warehouse(gateway)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLER],
        cwd=warehouse.path,
        env=os.environ
        | warehouse.settings
        | {"TMPDIR": str(tmp_path_factory.mktemp("left_by_the_killed"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Victim(warehouse, new_export(60), process)
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize("table", EXPORT_TABLES)
def test_a_landing_killed_after_a_table_has_changed_nothing(victim: Victim, table: str) -> None:
    before = victim.change()
    victim.kill("after_inserting", table)
    assert raw_state(victim.warehouse) == before
    victim.assert_landing_again_completes(before)


def test_a_first_landing_killed_after_any_table_leaves_none(victim: Victim) -> None:
    victim.empty()
    for table in EXPORT_TABLES:
        victim.kill("after_inserting", table)
        assert raw_state(victim.warehouse) == {}
    victim.assert_landing_again_completes({})


def test_a_landing_killed_while_it_loads_has_changed_nothing(victim: Victim) -> None:
    before = victim.change()
    for moment, table in (
        ("after_reading", "deal_changes"),
        *(("after_loading", table) for table in EXPORT_TABLES),
    ):
        victim.kill(moment, table)
        assert raw_state(victim.warehouse) == before
    victim.assert_landing_again_completes(before)


def test_a_landing_killed_before_its_commit_has_changed_nothing(victim: Victim) -> None:
    before = victim.change()
    victim.kill("before_commit")
    assert raw_state(victim.warehouse) == before
    victim.assert_landing_again_completes(before)


def test_a_landing_killed_after_its_commit_has_changed_everything(victim: Victim) -> None:
    before = victim.change()
    victim.kill("after_commit")
    after = raw_state(victim.warehouse)
    assert after == state_after(before, victim.export, latest_arrival(after))
    victim.assert_landing_again_completes(after)


def test_a_landing_killed_at_any_moment_has_changed_everything_or_nothing(victim: Victim) -> None:
    victim.change()
    code, whole = victim.land()
    assert code == 0, victim.log
    chance = random.Random(7)
    before = victim.change()
    for part in range(6):
        victim.land(seconds=whole * (part + chance.random()) / 6)
        after = raw_state(victim.warehouse)
        if after != before:
            at = latest_arrival(after)
            assert after == state_after(before, victim.export, at)
            before = victim.change()
    victim.assert_landing_again_completes(before)


def test_what_an_older_version_left_when_it_was_killed_is_no_obstacle(victim: Victim) -> None:
    before = victim.change()
    with closing(connect(victim.warehouse)) as connection:
        connection.cursor().execute(
            "CREATE SCHEMA pipedrive_landing; "
            "CREATE TABLE pipedrive_landing.users (id TEXT, name TEXT, email TEXT, modified TEXT)"
        )
        connection.commit()
    victim.assert_landing_again_completes(before)


# --- others at the same time ----------------------------------------------------------------------


def test_nobody_sees_a_part_of_a_landing_and_no_second_one_joins_in(
    new_warehouse: t.Callable[..., Warehouse], new_export: t.Callable[[int], Path]
) -> None:
    """PostgreSQL: a DuckDB file is open for one process only."""
    warehouse, export = new_warehouse("postgres"), new_export(60)
    land_files(warehouse, export, START)
    before = raw_state(warehouse)
    change_export(export, 1)
    waits = (
        "SELECT 1 FROM pg_locks WHERE relation = 'pipedrive_raw.users'::REGCLASS AND NOT granted"
    )
    with ThreadPoolExecutor() as threads, closing(connect(warehouse)) as blocker:
        # Readers pass, but who writes must wait: with five of the six tables written
        blocker.cursor().execute("LOCK TABLE pipedrive_raw.users IN EXCLUSIVE MODE")
        first = threads.submit(land_command, warehouse, "csv", export)
        wait_until(lambda: query(warehouse, waits) != [], "the landing does not come to users")
        assert raw_state(warehouse) == before
        second = land_command(warehouse, "csv", export)
        assert second.returncode == 1
        assert "Another landing writes to this database" in second.stderr
        assert raw_state(warehouse) == before
        blocker.rollback()
        assert first.result().returncode == 0, first.result().stderr
    after = raw_state(warehouse)
    assert after == state_after(before, export, latest_arrival(after))


def test_a_database_that_is_closed_is_free_for_others(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """A DuckDB file is locked while a process has it open."""
    warehouse = new_warehouse("duckdb")
    with landing_database(warehouse) as database:
        database.adapter.execute("CREATE TABLE a_table (id INT)")
    path = warehouse.settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"]
    other = [sys.executable, "-c", f"import duckdb; duckdb.connect({path!r})"]
    done = subprocess.run(other, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
