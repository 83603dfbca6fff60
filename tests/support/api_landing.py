"""Landing from an imitation of Pipedrive's API, and a look at what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.api.tables import TABLES as MIRRORED
from pipedrive_funnel.landing.land import land_mirror
from pipedrive_funnel.landing.publish import Change
from pipedrive_funnel.warehouse import DatabaseError
from tests.support.command import Done
from tests.support.landing import TABLES, Row, State, landing_database, raw_state
from tests.support.pipedrive_account import Account
from tests.support.pipedrive_server import PipedriveServer
from tests.support.warehouse import Warehouse

TOKEN = "5ec7e7f00d5ec7e7f00d5ec7e7f00d5ec7e7f00d"
LONG_AGO = datetime(2025, 1, 1)
NO_BURST = 100_000  # requests in two seconds: as fast as it goes


def restated(
    account: Account, before: dict[int, tuple[t.Any, ...]] | None = None
) -> dict[int, tuple[t.Any, ...]]:
    """Return, by deal, what tells of a change in its log; only of those that differ from before."""
    fields = ("stage_id", "owner_id", "stage_change_time", "lost_reason", "status")
    state = {deal: tuple(row[name] for name in fields) for deal, row in account.deals.items()}
    return {deal: now for deal, now in state.items() if (before or {}).get(deal) != now}


def changelogs(server: PipedriveServer) -> list[int]:
    """Return the deals whose change log was asked for, page by page."""
    return [int(path.split("/")[3]) for path in server.paths("/v1/deals/")]


@dataclass(frozen=True)
class Landed:
    """What a landing says that it did.

    Attributes:
        read: rows read by list.
        changes: by table.
        skipped: rows left out, by reason.
        coverage: how many of the deals are landed.
        reading: all that is known of the reading.

    """

    read: dict[str, int]
    changes: dict[str, Change]
    skipped: dict[str, int]
    coverage: api.Coverage
    reading: api.Read

    @property
    def rows(self) -> int:
        """The rows that were landed or removed."""
        return sum(change.landed + change.removed for change in self.changes.values())


def land(
    warehouse: Warehouse,
    server: PipedriveServer,
    at: datetime = LONG_AGO,
    *,
    pipeline_id: int | None = None,
    url: str | None = None,
    full: bool = False,
    **options: bool,
) -> Landed:
    """Land what a server has, in this process."""
    settings = settings_of(server, url=url, pipeline_id=pipeline_id)
    with landing_database(warehouse) as database:
        mirror = api.Mirror(settings, database, replace=options.get("replace", False))
        read = mirror.read(full=full, report=lambda name, rows: None)
        landed = land_mirror(database, TABLES, settings, at, **options)
    if read.has_failed:
        assert read.stopped
        raise read.stopped
    return Landed(dict(read.rows), landed.changes, landed.skipped, landed.coverage, read)


def let_days_pass(warehouse: Warehouse, days: int = 1) -> None:
    """Put back what the mirror knows of when it read something, so that it was days ago."""
    times = {
        "lists": ("began_at", "ended_at", "whole_at"),
        "logs": ("asked_at", "read_at"),
        "rejects": ("seen_at",),
        **{table: ("seen_at",) for table in MIRRORED},
    }
    with landing_database(warehouse) as database, database.transaction():
        for table, columns in times.items():
            past = ", ".join(f"{name} = {name} - INTERVAL '{days} day'" for name in columns)
            database.adapter.execute(f"UPDATE {api.MIRROR}.{table} SET {past}")
        database.adapter.execute(f"DELETE FROM {api.MIRROR}.tokens")


def settings_of(
    server: PipedriveServer, *, url: str | None = None, pipeline_id: int | None = None
) -> api.Settings:
    return api.Settings(TOKEN, url or server.url, pipeline_id, burst=NO_BURST)


def plain(value: t.Any) -> t.Any:
    """Return a value of pandas or of a database as Python's own."""
    if value is None or pd.isna(value):
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def comparable(table: str, row: t.Iterable[t.Any]) -> Row:
    """Return a row of a table; of JSON counts what it says, not how it is written."""
    *others, last = map(plain, row)
    if table == "fields" and last is not None:
        last = tuple((option["id"], option["label"]) for option in json.loads(last))
    return *others, last


def landed_rows(warehouse: Warehouse) -> State:
    """Return the raw tables that are there, in rows that can be compared."""
    return {
        name: {comparable(name, row): at for row, at in rows.items()}
        for name, rows in raw_state(warehouse).items()
    }


def truth(account: Account, pipeline_id: int | None = None) -> dict[str, set[Row]]:
    """Return the rows that the raw tables must hold."""
    export = account.export(pipeline_id)
    return {
        name: {comparable(name, row) for row in table.astype(object).itertuples(index=False)}
        for name, table in export.items()
    } | {"rejected_rows": set()}


def rows_of(state: State) -> dict[str, set[Row]]:
    return {name: set(rows) for name, rows in state.items()}


def assert_raw_is(warehouse: Warehouse, account: Account, pipeline_id: int | None = None) -> None:
    found, expected = rows_of(landed_rows(warehouse)), truth(account, pipeline_id)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert found[name] == rows, name


def landed_at(state: State, at: datetime) -> dict[str, set[Row]]:
    """Return the rows that were landed at a time."""
    return {name: {row for row in rows if rows[row] == at} for name, rows in state.items()}


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def environment(server: PipedriveServer, **variables: str) -> dict[str, str]:
    """Return the variables that a landing from a server needs."""
    return {
        "PIPEDRIVE_API_TOKEN": TOKEN,
        "PIPEDRIVE_API_URL": server.url,
        "PIPEDRIVE_PIPELINE_ID": "",
        "PIPEDRIVE_BURST": str(NO_BURST),
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
    } | variables


# --- kill -9 --------------------------------------------------------------------------------------

KILLED = -signal.SIGKILL

# Lands in children of its own, which are ready at once: exit code and output are the command's.
LANDER = """
import json, os, signal, sys

import dlt.sources.helpers.requests
from sqlmesh.core.engine_adapter import EngineAdapter

from pipedrive_funnel.__main__ import main
from pipedrive_funnel.landing import command


def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_publishing():
    command.land_mirror = die


def die_while_publishing(execute=EngineAdapter.execute):
    def dying(self, sql, *args, **options):
        execute(self, sql, *args, **options)
        if str(sql).startswith("INSERT INTO pipedrive_raw.deal_changes "):
            die()

    EngineAdapter.execute = dying


for line in sys.stdin:
    arguments, environment, death = json.loads(line)
    child = os.fork()
    if not child:
        signal.alarm(100)
        for number, name in enumerate(("stdout", "stderr"), start=1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ.update(environment)
        if death:
            globals()[death]()
        try:
            code = main(arguments)
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 99
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Lander:
    """A process that lands in any database.

    Attributes:
        path: the copy of the project in which it works.
        process: it.
        child: the landing at work.

    """

    path: Path
    process: subprocess.Popen[str]
    child: int = 0
    _ready: threading.Event = field(default_factory=threading.Event)

    def land(
        self,
        warehouse: Warehouse,
        *arguments: str,
        dying: str = "",
        **variables: str,
    ) -> Done:
        """Do what `python -m pipedrive_funnel land api` does."""
        warehouse.close()
        arguments = ("land", "api", *arguments, "--gateway", warehouse.gateway)
        assert self.process.stdin and self.process.stdout
        self._ready.clear()
        job = [arguments, warehouse.settings | variables, dying]
        print(json.dumps(job), file=self.process.stdin, flush=True)
        self.child = int(self.process.stdout.readline())
        self._ready.set()
        code = int(self.process.stdout.readline())
        return Done(code, *((self.path / name).read_text() for name in ("stdout", "stderr")))

    def kill(self) -> None:
        """Kill the landing at work."""
        self._ready.wait()
        os.kill(self.child, signal.SIGKILL)


@contextmanager
def lander_in(path: Path, scratch: Path) -> Iterator[Lander]:
    """Give a process that lands from a copy of the project, and leaves its files in `scratch`."""
    process = subprocess.Popen(
        [sys.executable, "-c", LANDER],
        cwd=path,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Lander(path, process)
        assert process.stdin
        process.stdin.close()


def wait_until_free(warehouse: Warehouse) -> None:
    """Wait until PostgreSQL has seen that the killed process is gone."""
    for _ in range(200):
        with suppress(DatabaseError), landing_database(warehouse):
            return
        time.sleep(0.05)
    pytest.fail("the killed landing still has the database")
