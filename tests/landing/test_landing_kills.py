"""A landing brings all of an export or nothing: interrupted, and while others look on.

So nobody ever sees a part of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from pipedrive_funnel.contract import Table
from tests.support.command import run_in_a_process
from tests.support.exports import START, change_export, edit, new_export
from tests.support.landing import (
    TABLES,
    Row,
    State,
    connect,
    land_files,
    landing_database,
    raw_state,
)
from tests.support.oracle import read_export
from tests.support.warehouse import EXPORT_TABLES, OPTIONAL_TABLES, Warehouse

pytestmark = pytest.mark.faults


# --- the landed tables ----------------------------------------------------------------------------


def query(warehouse: Warehouse, sql: str) -> list[Row]:
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


PARSERS: dict[str, t.Callable[[str], t.Any]] = {
    "BIGINT": int,
    "DECIMAL(18, 3)": Decimal,
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
    for name in (*EXPORT_TABLES, *OPTIONAL_TABLES):
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
from pipedrive_funnel.export.reader import CsvFile
from pipedrive_funnel.warehouse import Database


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
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[Victim]:
    warehouse = new_warehouse(gateway, core=True)
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
        yield Victim(warehouse, new_export(tmp_path_factory.mktemp("export")), process)
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
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    """PostgreSQL: a DuckDB file is open for one process only."""
    warehouse, export = new_warehouse("postgres", core=True), new_export(tmp_path)
    land_files(warehouse, export, START)
    before = raw_state(warehouse)
    change_export(export, 1)
    waits = (
        "SELECT 1 FROM pg_locks WHERE relation = 'pipedrive_raw.users'::REGCLASS AND NOT granted"
    )
    with ThreadPoolExecutor() as threads, closing(connect(warehouse)) as blocker:
        # Readers pass, but who writes must wait: with five of the six tables written
        blocker.cursor().execute("LOCK TABLE pipedrive_raw.users IN EXCLUSIVE MODE")
        first = threads.submit(run_in_a_process, warehouse, "land", "csv", export)
        wait_until(lambda: query(warehouse, waits) != [], "the landing does not come to users")
        assert raw_state(warehouse) == before
        second = run_in_a_process(warehouse, "land", "csv", export)
        assert second.code == 1
        assert "Another landing writes to this database" in second.err
        assert raw_state(warehouse) == before
        blocker.rollback()
        assert first.result().code == 0, first.result().err
    after = raw_state(warehouse)
    assert after == state_after(before, export, latest_arrival(after))


def test_a_database_that_is_closed_is_free_for_others(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """A DuckDB file is locked while a process has it open."""
    warehouse = new_warehouse("duckdb", core=True)
    with landing_database(warehouse) as database:
        database.adapter.execute("CREATE TABLE a_table (id INT)")
    path = warehouse.settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"]
    other = [sys.executable, "-c", f"import duckdb; duckdb.connect({path!r})"]
    done = subprocess.run(other, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
