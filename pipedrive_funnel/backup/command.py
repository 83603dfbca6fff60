"""Write a database to a file, and bring it back: for `make backup` and `make restore`."""

from __future__ import annotations

import os
import re
import typing as t
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from pipedrive_funnel.backup import duckdb_file, postgres_dump
from pipedrive_funnel.backup.contents import STATE, BackupError, Contents
from pipedrive_funnel.backup.whole_file import whole_file
from pipedrive_funnel.errors import advising
from pipedrive_funnel.landing.command import USE_LANDED
from pipedrive_funnel.terminal import make, say, say_command, say_next
from pipedrive_funnel.warehouse import Database

ENGINES: dict[str, ModuleType] = {"duckdb": duckdb_file, "postgres": postgres_dump}
UNCHANGED = "Nothing was changed."
_FOR_ITS_OWNER = 0o600  # a backup holds personal data
_LONGEST_MAGIC = 16


def backup(directory: Path | None = None, gateway: str | None = None) -> None:
    """Write the database to one file, while no plan or run writes to it.

    Args:
        directory: where to; the project's backups/ when None.
        gateway: of config.yaml; the default one when None.

    Raises:
        FunnelError: there is nothing to back up, or it cannot be written.

    """
    with advising("No backup was written."), closing(Database(gateway)) as database:
        engine = ENGINES[database.engine]
        if not any(engine.tables(database).values()):
            raise BackupError(f"{database.address} is empty: there is nothing to back up.")
        with database.writing("backup"):
            directory = directory or database.project / "backups"
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = re.sub(r"[^\w.-]", "_", engine.name_of(database))
            path = directory / f"{name}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.{engine.SUFFIX}"
            try:
                with whole_file(path, _FOR_ITS_OWNER) as file:
                    engine.write(database, file)
                    engine.read(Path(file.name))  # what cannot be read is no backup
            except BackupError as error:
                raise BackupError(f"No backup was written: {error}.") from error
    say_command(f"Wrote {os.path.relpath(path)}, {_size(path)}. It holds personal data.", indent=0)
    options = {} if database.is_default else {"GATEWAY": database.gateway}
    say_next([(make("restore", **options, BACKUP=os.path.relpath(path)), "bring it back")])


def restore(backup: Path, gateway: str | None = None, *, replace: bool = False) -> None:
    """Put a backup in place of a database: all of it, or in one of another name what was landed.

    Args:
        backup: the file.
        gateway: of config.yaml; the default one when None.
        replace: also if the database is not empty.

    Raises:
        FunnelError: the file is broken or of something else, or the database is not empty, or
            cannot be written to.

    """
    with closing(Database(gateway)) as database:
        engine = ENGINES[database.engine]
        with advising(UNCHANGED):
            contents = _read(backup, database)
            name = engine.name_of(database)
            whole = contents.is_whole_in(name)
            if not whole and not contents.landed:
                raise BackupError(
                    f"{backup} is of a database named {contents.named}, and this one is {name}. "
                    "It would get what was landed, and nothing was: build it, "
                    f"{make('dev', None if database.is_default else gateway)}. {UNCHANGED}"
                )
            with database.exclusively(), database.writing("restore"):
                there = {
                    schema: count for schema, count in engine.tables(database).items() if count
                }
                if there and not replace:
                    raise BackupError(
                        f"{database.address} is not empty: it has {_counted(there)}. To replace "
                        f"them all, say --replace (REPLACE=1 with make). {UNCHANGED}"
                    )
                try:
                    missing = engine.restore(database, backup, contents, whole=whole)
                except BackupError as error:
                    raise BackupError(f"{backup} was not restored: {error}. {UNCHANGED}") from error
        engine.settle(database)
    database.forget_snapshots()
    if there:
        say(f"Replaced {_counted(there)}.")
    _say_restored(database, backup, contents, name, whole=whole)
    if missing:
        say(f"\n{missing}")


def _read(backup: Path, database: Database) -> Contents:
    """Read a backup before anything is touched.

    Raises:
        BackupError: it is broken, or not for this database.

    """
    with backup.open("rb") as file:
        start = file.read(_LONGEST_MAGIC)
    made_by = [
        name
        for name, engine in ENGINES.items()
        for offset, magic in [engine.MAGIC]
        if start[offset:].startswith(magic)
    ]
    if not made_by:
        raise BackupError(f"{backup} is no backup. {UNCHANGED}")
    if made_by != [database.engine]:
        raise BackupError(
            f"{backup} is of {made_by[0]}, and gateway {database.gateway} is {database.engine}: "
            f"choose another one. {UNCHANGED}"
        )
    if database.engine == "duckdb" and database.file.exists() and backup.samefile(database.file):
        raise BackupError(f"{backup} is the database itself. {UNCHANGED}")
    try:
        return t.cast(Contents, ENGINES[database.engine].read(backup))
    except BackupError as error:
        raise BackupError(f"{backup} cannot be restored: {error}. {UNCHANGED}") from error


def _counted(there: Mapping[str, int]) -> str:
    """Say how many tables and views there are, and where a person sees them."""
    seen = ", ".join(name for name in there if not name.startswith(f"{STATE}_"))
    return f"{sum(there.values())} tables and views ({seen})"


def _say_restored(
    database: Database, backup: Path, contents: Contents, name: str, *, whole: bool
) -> None:
    """Say what the database has now, and what to type next."""
    gateway = None if database.is_default else database.gateway
    if whole and STATE in contents.schemas:
        say(f"Restored {database.address} as it was.")
        finds = "finds no changed model, if the project's files are those of that time"
        say_next([(make("prod", gateway), finds)])
        return
    if not whole:
        say(f"{backup} is of a database named {contents.named}, and this one is {name}.")
    say(
        f"Restored what was landed ({', '.join(contents.landed)}). "
        f"{make('dev', gateway)} and {make('prod', gateway)} rebuild the rest."
    )
    if not database.reads_raw_tables:
        say("The models read the sample. Let them read what was landed first:")
        say_command(USE_LANDED)


def _size(path: Path) -> str:
    """Return the size of a file as people say it."""
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} GB"
