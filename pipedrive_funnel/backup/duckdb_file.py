"""Backups of a DuckDB database: a copy of its file.

The name of the file is the catalog's, and SQLMesh's state repeats it in the name of each model. In
a file of another name the state is dead, so that one gets what was landed, and nothing else.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import typing as t
from pathlib import Path

from pipedrive_funnel.backup.contents import LANDED, STATE, BackupError, Contents, contents_of
from pipedrive_funnel.backup.programs import run
from pipedrive_funnel.backup.whole_file import whole_file
from pipedrive_funnel.warehouse import Database

if t.TYPE_CHECKING:
    import duckdb

MAGIC = (8, b"DUCK")  # where a file has it, and what
SUFFIX = "duckdb"


def name_of(database: Database) -> str:
    """Return the name that DuckDB gives to the catalog in the file of a database."""
    import duckdb

    with (
        tempfile.TemporaryDirectory() as directory,
        duckdb.connect(Path(directory) / database.file.name) as namesake,
    ):
        return _name(namesake)


def tables(database: Database) -> dict[str, int]:
    """Return the number of tables and views by schema: all, for the file is replaced as a whole."""
    if not database.file.exists():
        return {}
    return dict(
        database.adapter.fetchall(
            "SELECT table_schema, COUNT(*) FROM information_schema.tables "
            "WHERE table_catalog = CURRENT_DATABASE() GROUP BY table_schema ORDER BY table_schema"
        )
    )


def write(database: Database, copy: t.BinaryIO) -> None:
    """Copy the database to a file. Nobody else writes to it: it is open, and so locked.

    Another process copies, since POSIX takes a lock away when its process closes any descriptor of
    the file.

    Raises:
        BackupError: the disk is full.

    """
    database.adapter.execute("CHECKPOINT")  # what is in the .wal goes to the file
    run("cat", database.file.resolve(), to=copy)


def read(backup: Path) -> Contents:
    """Read all of a backup, and return what it holds.

    Raises:
        BackupError: it is broken, or of something else.

    """
    import duckdb

    wal = backup.with_name(f"{backup.name}.wal")
    if wal.exists():
        raise BackupError(f"{wal.name} beside it has a part of it: open it in DuckDB once")
    try:
        with duckdb.connect(backup, read_only=True) as connection:
            tables = connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal "
                "AND database_name = CURRENT_DATABASE()"
            ).fetchall()
            for schema, table in tables:  # each block has a checksum
                name = f"{_quoted(schema)}.{_quoted(table)}"
                connection.execute(f"SELECT BIT_XOR(HASH(t)) FROM {name} AS t")
            names = set()
            if (STATE, "_environments") in tables:
                names = {
                    name
                    for (name,) in connection.execute(
                        "SELECT DISTINCT TRIM(SPLIT_PART(UNNEST(snapshots ->> '$[*].name'), '.', 1)"
                        f", '\"') FROM {STATE}._environments"
                    ).fetchall()
                }
    except duckdb.Error as error:
        raise BackupError(f"DuckDB says: {' '.join(str(error).split())}") from error
    return contents_of(names, {schema for schema, _ in tables})


def restore(database: Database, backup: Path, contents: Contents, *, whole: bool) -> str:
    """Put a copy of a backup in place of a database, which is open and so locked.

    The old file is there until the new one is complete.

    Returns:
        Nothing, since there is nothing that could not be restored.

    """
    import duckdb

    target = database.file.resolve()
    database.adapter.execute("CHECKPOINT")  # or the new file would find the .wal of the old one
    with whole_file(target, stat.S_IMODE(target.stat().st_mode)) as copy:
        with backup.open("rb") as file:
            shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        if not whole:
            with duckdb.connect(copy.name) as connection:
                _keep_landed(connection)
    return ""


def settle(_: Database) -> None:
    """Leave it alone: what is still open is the file that was replaced."""


def _keep_landed(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop all schemas but those with what was landed."""
    database = _quoted(_name(connection))
    schemas = connection.execute(
        "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal "
        "AND database_name = CURRENT_DATABASE()"
    ).fetchall()
    for (schema,) in schemas:
        if schema not in LANDED:
            connection.execute(f"DROP SCHEMA {database}.{_quoted(schema)} CASCADE")


def _quoted(name: str) -> str:
    """Return a name as SQL takes it for one, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def _name(connection: duckdb.DuckDBPyConnection) -> str:
    return connection.execute("SELECT CURRENT_DATABASE()").fetchall()[0][0]
