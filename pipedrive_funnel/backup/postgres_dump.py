"""Backups of a PostgreSQL database: a dump of the project's schemas, made by `pg_dump`.

SQLMesh's state repeats the database's name in the name of each model. In a database of another name
the state is dead, so that one gets what was landed, and nothing else.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipedrive_funnel.backup.contents import LANDED, STATE, BackupError, Contents, contents_of
from pipedrive_funnel.backup.programs import environment, find, run, why_failed
from pipedrive_funnel.warehouse import Database, DatabaseError

MAGIC = (0, b"PGDMP")  # where a file has it, and what
SUFFIX = "dump"

# The schemas of the project. What others keep in the same database is neither dumped nor dropped.
_OURS = (STATE, f"{STATE}__*", "pipedrive_*")
_PASSING = ("pipedrive_landing", "pipedrive_api_staging")  # where rows wait while they are landed
_OF_READERS = "pipedrive_analytics"  # docker/create_roles.sh makes it, and gives it to readers

# Before the checksum at the end of a dump, which pg_restore does not read
_SEAL = b"\npipedrive_funnel sha256 "
_CHECKSUM_LENGTH = 64

_FAILED_STATEMENT = 3  # the exit code of psql

# `pg_restore --clean` would leave what the dump does not have
_EMPTY_SCHEMA_OF_READERS = f"""
CREATE SCHEMA IF NOT EXISTS {_OF_READERS};
DO $$
DECLARE
  relation RECORD;
BEGIN
  FOR relation IN
    SELECT oid::REGCLASS AS name, CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
    FROM pg_class
    WHERE relnamespace = '{_OF_READERS}'::REGNAMESPACE AND relkind IN ('r', 'p', 'v')
  LOOP
    EXECUTE FORMAT('DROP %s IF EXISTS %s CASCADE', relation.kind, relation.name);
  END LOOP;
END
$$;
"""


def name_of(database: Database) -> str:
    """Return the name of a database."""
    return database.libpq["PGDATABASE"]


def tables(database: Database) -> dict[str, int]:
    """Return the number of tables and views by schema of the project."""
    rows = database.adapter.fetchall(
        "SELECT nspname, COUNT(pg_class.oid) FROM pg_namespace "
        "LEFT JOIN pg_class ON relnamespace = pg_namespace.oid AND relkind IN ('r', 'p', 'v', 'm') "
        "GROUP BY nspname ORDER BY nspname"
    )
    ours = re.compile("|".join(pattern.replace("*", ".*") for pattern in _OURS))
    return {name: count for name, count in rows if ours.fullmatch(name)}


def write(database: Database, dump: t.BinaryIO) -> None:
    """Dump the database to a file.

    The dump is one snapshot. Plans and runs are kept out all the same, because each is many
    transactions: between two of them, views of two versions stand side by side, and the state does
    not know all rows. A landing need not be kept out: what it publishes is one transaction, and
    for all else it is one that was killed at that moment.

    Raises:
        BackupError: `pg_dump` is missing, too old, or has failed.

    """
    (number,) = database.adapter.fetchone("SHOW server_version_num")
    server = int(number) // 10_000
    said = run("pg_dump", "--version", settings=database.libpq).decode()
    version = re.search(r"\d+", said)
    if version and int(version[0]) < server:
        raise BackupError(
            f"The first pg_dump on PATH is of version {version[0]}, and the server of {server}: "
            f"install PostgreSQL's client programs of version {server}, or use those of the "
            "container: docs/operations.md, Backup and recovery"
        )
    run(
        "pg_dump",
        "--format=custom",
        "--compress=1",  # a third of the time, while plans wait, and a quarter more bytes
        "--no-password",
        "--lock-wait-timeout=5min",
        *(f"--schema={pattern}" for pattern in _OURS),
        *(f"--exclude-schema={name}" for name in _PASSING),
        f"--file={dump.name}",
        settings=database.libpq,
    )
    path = Path(dump.name)
    _read_through(path)
    seal = _SEAL + _checksum(dump, path.stat().st_size)
    dump.write(seal)  # where the reading has ended
    dump.flush()


def read(backup: Path) -> Contents:
    """Read all of a backup, and return what it holds.

    Raises:
        BackupError: it is broken, or of something else, or `pg_restore` is missing or too old.

    """
    if not _is_sealed(backup):  # somebody has called pg_dump
        _read_through(backup)
    listed = _list(backup)
    names = re.findall(r"^; +dbname: (.*)$", listed, re.M)
    return contents_of(names, re.findall(r"^\d+; \d+ \d+ SCHEMA - (\S+) ", listed, re.M))


def _is_sealed(backup: Path) -> bool:
    """Tell whether a dump ends with its checksum.

    Raises:
        BackupError: it does, and was altered since.

    """
    with backup.open("rb") as file:
        checksum = _checksum(file, backup.stat().st_size - len(_SEAL) - _CHECKSUM_LENGTH)
        seal = file.read()
    if not seal.startswith(_SEAL):
        return False
    if seal != _SEAL + checksum:
        raise BackupError("it was altered since it was written: its checksum is another")
    return True


def _checksum(file: t.BinaryIO, length: int) -> bytes:
    """Read a file from its start, and return the checksum of so many bytes."""
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(length, 1 << 20))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest().encode()


def _read_through(backup: Path) -> None:
    """Read a dump to its end, whose data have checksums, and whose table of contents has none."""
    _pg_restore("--file=/dev/null", backup)


def _list(backup: Path) -> str:
    """Return the table of contents of a dump."""
    return _pg_restore("--list", backup).decode(errors="surrogateescape")


def _pg_restore(*arguments: str | Path) -> bytes:
    """Look into a dump.

    Raises:
        BackupError: it is broken, or `pg_restore` is missing or too old.

    """
    try:
        return run("pg_restore", *arguments)
    except BackupError as error:
        if "unsupported version" in str(error):
            raise BackupError(
                "a newer pg_dump has made it than the first pg_restore on PATH can read: install "
                "PostgreSQL's client programs of that version"
            ) from error
        raise


def restore(database: Database, backup: Path, contents: Contents, *, whole: bool) -> str:
    """Put a dump in place of the project's schemas, in one transaction.

    Whoever restores owns all of it. The schema of readers stays, and with it their rights; those of
    the dump are added, for the roles that this server has.

    Returns:
        What could not be restored, and what to do about it.

    Raises:
        BackupError: a program is missing or has failed.

    """
    dropped = ", ".join(f'"{name}"' for name in tables(database) if name != _OF_READERS)
    with tempfile.TemporaryDirectory() as directory, _Psql(database.libpq) as psql:
        psql.write("BEGIN; SET client_min_messages = warning; SET lock_timeout = '60s';\n")
        if dropped:
            psql.write(f"DROP SCHEMA {dropped} CASCADE;\n")
        psql.write(_EMPTY_SCHEMA_OF_READERS)
        if whole:
            objects, rights = Path(directory) / "objects", Path(directory) / "rights"
            _divide(_list(backup), objects, rights)
            psql.restore(f"--use-list={objects}", backup)
            psql.forgive()
            psql.restore(f"--use-list={rights}", backup)
        else:
            for name in contents.landed:
                psql.write(f"CREATE SCHEMA {name};\n")
            psql.restore("--no-acl", *(f"--schema={name}" for name in LANDED), backup)
        refused = psql.commit()
    if not refused:
        return ""
    return (
        f"Rights of readers are missing ({', '.join(dict.fromkeys(refused))}): run "
        "docker/create_roles.sh, which makes their roles and gives them their rights."
    )


def settle(database: Database) -> None:
    """Count what is there, so that a plan right after knows how large the tables are."""
    with database.transaction():
        database.adapter.execute("ANALYZE")


def _divide(listed: str, objects: Path, rights: Path) -> None:
    """Divide a table of contents into what there is, and who may do what with it."""
    entries = [
        entry
        for entry in listed.splitlines()
        if not re.match(rf"\d+; \d+ \d+ SCHEMA - {_OF_READERS} ", entry)  # it is there
    ]
    is_right = re.compile(r"\d+; \d+ \d+ (DEFAULT )?ACL ").match
    for path, wanted in ((objects, False), (rights, True)):
        chosen = [entry for entry in entries if bool(is_right(entry)) is wanted]
        path.write_text("\n".join(chosen), "utf-8", "surrogateescape")


class _Psql:
    """A session of psql that runs the scripts of `pg_restore`, and undoes all before `commit`.

    psql itself would commit a script that ends in the middle.
    """

    _FORGIVING, _DONE = "--- forgiving ---", "--- done ---"  # where in what psql says

    def __init__(self, settings: dict[str, str]) -> None:
        """Look for the programs.

        Args:
            settings: of the database, for the environment.

        """
        self._command = [find("psql"), "--no-psqlrc", "--quiet", "--no-password"]
        self._settings = settings

    def __enter__(self) -> _Psql:
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [*self._command, "--set=ON_ERROR_STOP=1"],
            env=environment(self._settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )
        self._input = t.cast(t.BinaryIO, self._process.stdin)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):
            self._input.close()
        self._process.wait()
        self._said.close()

    def write(self, script: str) -> None:
        """Run statements."""
        with self._explained():
            self._input.write(script.encode())

    def restore(self, *arguments: str | Path) -> None:
        """Run the script that `pg_restore` makes of a dump."""
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                [find("pg_restore"), "--no-owner", "--file=-", *arguments],
                env=environment(None),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            ) as program,
            self._explained(),
        ):
            script = t.cast(t.BinaryIO, program.stdout)
            for line in script:  # of settings, up to the last one
                if b"transaction_timeout" not in line:  # which no server before 17 knows
                    self._input.write(line)
                if b"set_config('search_path'" in line:
                    break
            shutil.copyfileobj(script, self._input)
            if program.wait():
                said.seek(0)
                raise BackupError(why_failed("pg_restore", program.returncode, said.read()))

    def forgive(self) -> None:
        """Go on after errors from now on."""
        self.write(
            f"\\warn '{self._FORGIVING}'\n\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n"
        )

    def commit(self) -> list[str]:
        """Keep what was done, and return the errors that were forgiven.

        Raises:
            BackupError: an error was not forgiven.

        """
        self.write(f"\\set ON_ERROR_STOP on\nCOMMIT;\n\\warn '{self._DONE}'\n")
        with self._explained():
            self._input.close()
        code = self._process.wait()
        said, done, _ = self._text().partition(self._DONE)
        if not done and code == _FAILED_STATEMENT:
            raise self._error()
        if not done:
            raise DatabaseError(
                f"{why_failed('psql', code, said.encode())}. It was lost at the end: the database "
                "is as it was, or restored. Restore it again with --replace."
            )
        return said.partition(self._FORGIVING)[2].strip().splitlines()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say why psql reads no more. `main` takes a broken pipe for a reader that has enough."""
        try:
            yield
        except BrokenPipeError:
            self._process.wait()
            raise self._error() from None

    def _error(self) -> BackupError:
        return BackupError(why_failed("psql", self._process.returncode, self._text().encode()))

    def _text(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")
