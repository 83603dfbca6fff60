"""The marts of an environment as files: what the page shows.

The page (page/app.py) knows no database. It reads Parquet files that are written here, of one
state of all marts, and put in place in one step: who looks at the page neither waits for a plan nor
makes one wait, and sees no half of a promotion.
"""

from __future__ import annotations

import json
import os
import shutil
import typing as t
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ruamel.yaml import YAML

from pipedrive_funnel import PROJECT
from pipedrive_funnel.errors import FunnelError, said_by_database
from pipedrive_funnel.show import NO_PROD, latest_environment, open_funnel
from pipedrive_funnel.terminal import say
from pipedrive_funnel.warehouse import Database, DatabaseError

if t.TYPE_CHECKING:
    import duckdb

CURRENT = "current"  # the link to the latest one
ABOUT = "snapshot.json"
READERS = {"bi_reader": "BI_READER_PASSWORD", "analyst": "ANALYST_PASSWORD"}  # of prod, of all


class Writer(t.Protocol):
    """Writes the rows of a query into a Parquet file."""

    def __call__(self, query: str, columns: dict[str, str], file: Path) -> None:
        """Write the rows of `query`, which has `columns` of PostgreSQL's types."""


def directory_of_snapshots() -> Path:
    """Return where snapshots lie: the page looks there, too."""
    return Path(os.environ.get("PIPEDRIVE_SNAPSHOTS") or PROJECT / "page" / "snapshot")


def marts() -> dict[str, dict[str, str]]:
    """Return the columns of each mart, and their types, as models/marts/contract.yaml has them."""
    return YAML(typ="safe").load(PROJECT / "models" / "marts" / "contract.yaml")


def take_snapshot(environment: str | None = None, gateway: str | None = None) -> Path:
    """Write the marts of an environment, and put them in the place of the last snapshot.

    Args:
        environment: prod when None, or dev as long as there is no prod.
        gateway: of config.yaml; the default one when None.

    Returns:
        The new snapshot's directory.

    Raises:
        FunnelError: the environment lacks a mart, or the database cannot be read.

    """
    with closing(Database(gateway)) as database:
        shown = environment or latest_environment(database)
        if environment is None and shown == "dev":
            say(NO_PROD)
    columns = marts()
    with open_funnel(shown, gateway, tuple(columns)) as database:
        new = _next(directory_of_snapshots())
        try:
            with _writing(database, shown) as write:
                for mart, types in columns.items():
                    names = ", ".join(types)
                    order = " ORDER BY deal_id" if "deal_id" in types else ""
                    query = f"SELECT {names} FROM {database.schema_of(shown)}.{mart}{order}"
                    write(query, types, new / f"{mart}.parquet")
            about = {"environment": shown, "taken_at": datetime.now(UTC).isoformat(" ", "seconds")}
            (new / ABOUT).write_text(json.dumps(about))
            _put_in_place(new)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    return new


def renew_snapshot(database: Database, environment: str) -> None:
    """Take a snapshot anew if there is one of the environment; say why it cannot be taken."""
    about = directory_of_snapshots() / CURRENT / ABOUT
    if not about.exists() or json.loads(about.read_text())["environment"] != environment:
        return
    if database.engine == "duckdb":  # its file lets one in at a time; PostgreSQL keeps our locks
        database.close()
    try:
        take_snapshot(environment, database.gateway)
    except FunnelError as error:
        say(f"The page still shows what it did: {error}")
    else:
        say("The page shows it, too.")


def _next(directory: Path) -> Path:
    """Make a directory for a new snapshot."""
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    new.mkdir()
    return new


def _put_in_place(new: Path) -> None:
    """Let `current` lead to the new snapshot, in one step. The last one stays for who reads it."""
    link, last = new.parent / CURRENT, None
    if link.is_symlink():
        last = link.resolve()
    waiting = new.parent / f"{new.name}.link"
    waiting.symlink_to(new.name)
    os.replace(waiting, link)
    for old in new.parent.iterdir():
        if old.is_dir() and not old.is_symlink() and old not in (new, last):
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _writing(database: Database, environment: str) -> Iterator[Writer]:
    """Give a writer of one state of the database."""
    import duckdb
    import psycopg2

    try:
        if database.engine == "duckdb":
            database.adapter.close()
            with closing(duckdb.connect(str(database.file), read_only=True)) as connection:
                connection.execute("BEGIN TRANSACTION")
                yield lambda query, columns, file: _copy(connection, query, file)
        else:
            with _as_reader(database, environment) as cursor, closing(duckdb.connect()) as local:
                yield lambda query, columns, file: _copy_csv(cursor, local, query, columns, file)
    except (duckdb.Error, psycopg2.Error) as error:
        raise DatabaseError(
            f"The marts of {environment} cannot be read: {said_by_database(error)}"
        ) from error


@contextmanager
def _as_reader(database: Database, environment: str) -> Iterator[t.Any]:
    """Give a cursor of a role that can only read, if .env has its password, on one state."""
    import psycopg2

    settings = database.libpq
    role = "bi_reader" if environment == "prod" else "analyst"
    if password := os.environ.get(READERS[role]):
        settings |= {"PGUSER": role, "PGPASSWORD": password}
        settings.pop("PGOPTIONS", None)
    names = {name: name.removeprefix("PG").lower() for name in settings} | {"PGDATABASE": "dbname"}
    try:
        connection = psycopg2.connect(**{names[name]: value for name, value in settings.items()})
    except psycopg2.OperationalError as error:
        reason = str(error).rpartition("FATAL:")[2].strip().splitlines()[0].rstrip(".")
        raise DatabaseError(
            f"PostgreSQL at {database.address} turns {settings['PGUSER']} away: {reason}. "
            f"Compare {READERS[role]} in .env with the server."
        ) from error
    with closing(connection):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout TO 0")  # the limit is for people's queries
            yield cursor


def _copy(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    connection.execute(f"COPY ({query}) TO '{_quoted(file)}' (FORMAT parquet, COMPRESSION zstd)")


def _copy_csv(
    cursor: t.Any,
    local: duckdb.DuckDBPyConnection,
    query: str,
    columns: dict[str, str],
    file: Path,
) -> None:
    """Write what PostgreSQL sends as CSV; an empty text is quoted there, and NULL is nothing."""
    rows = file.with_suffix(".csv")
    with rows.open("wb") as copied:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", copied)
    types = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    read = (
        f"SELECT * FROM read_csv('{_quoted(rows)}', header = FALSE, delim = ',', quote = '\"', "
        f"escape = '\"', nullstr = '', allow_quoted_nulls = FALSE, columns = {{{types}}}, "
        "auto_detect = FALSE)"  # which fails where there are no rows
    )
    _copy(local, read, file)
    rows.unlink()


def _quoted(file: Path) -> str:
    return str(file).replace("'", "''")
