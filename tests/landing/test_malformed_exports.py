"""Whatever the files hold: one clear error and nothing written, or each row accounted for."""

from __future__ import annotations

import re
import shutil
import tempfile
import typing as t
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from pipedrive_funnel.export.check import find_defects
from pipedrive_funnel.export.reader import CsvFile, ExportError
from tests.support import malformed_export as malformed
from tests.support.command import Done, run_command
from tests.support.landing import State, connect, land_files, raw_state
from tests.support.malformed_export import TABLES, Export, File
from tests.support.warehouse import Warehouse

BEFORE = datetime(2024, 5, 1, 12)  # when what is there was landed
NO_TEXT = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)

of_files = st.sampled_from(sorted(TABLES)).flatmap(
    lambda name: st.tuples(st.just(name), malformed.files(name))
)


def some(examples: int) -> settings:
    return settings(
        max_examples=examples,
        phases=[Phase.generate],  # looking for a smaller failing export would take minutes
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# --- the files ------------------------------------------------------------------------------------


def read(file: CsvFile) -> list[tuple[t.Any, ...]]:
    rows = [tuple(row.values()) for batch in file.batches() for row in batch.to_pylist()]
    return [malformed.shortened(row) for row in rows]


def check_reading(directory: Path, name: str, drawn: File) -> None:
    """Read a file as DuckDB does, if it may, and row by row: both give what the file says."""
    path = directory / f"{name}.csv"
    malformed.write({name: drawn}, directory)
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as scratch:
        try:
            file = CsvFile(path, TABLES[name], connection, Path(scratch))
        except ExportError as error:
            assert drawn.refused and drawn.refused in str(error)
            assert str(error).startswith(str(path))
            event("refused")
            return
        assert not drawn.refused, drawn.refused
        expected = [row.values for row in drawn.rows if row.values]
        if file._read_at_once():
            event("at once")
            assert (file.rows_read, read(file)) == (len(drawn.rows), expected)
        file._read_row_by_row()
        assert (file.rows_read, read(file)) == (len(drawn.rows), expected)
        assert [reject.line for reject in file.rejects] == [
            row.line for row in drawn.rows if not row.values
        ]
    if drawn.content is not None:
        assert {line for line, _ in find_defects(path, TABLES[name].columns)} == {
            row.line for row in drawn.rows if not row.passes_check
        }


@some(60)
@given(of_files)
def test_a_file_is_read_alike_at_once_and_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, File]
):
    check_reading(tmp_path_factory.getbasetemp(), *drawn)


@pytest.mark.faults
@some(1_500)
@given(of_files)
def test_thousands_of_files_are_read_alike_at_once_and_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, File]
):
    check_reading(tmp_path_factory.getbasetemp(), *drawn)


def test_a_row_of_two_lines_and_10_mb_is_put_aside_and_no_other(tmp_path: Path):
    """More than a million characters in several lines look like an open quote."""
    path = tmp_path / "stages.csv"
    path.write_text(f'stage_id,stage_name\n1,a\n2,"{"x" * 10**7}\nb"\n3,{"y" * 10**7}\n')
    (scratch := tmp_path / "scratch").mkdir()
    with duckdb.connect() as connection:
        file = CsvFile(path, TABLES["stages"], connection, scratch)
        file.read()
        assert read(file) == [(1, "a"), (3, "y" * 10**7)]
    assert [(reject.line, len(reject.raw_text)) for reject in file.rejects] == [(3, 10_000), (4, 2)]


# --- the commands ---------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)  # hypothesis prints it
class Landed:
    """A database in which something has landed, and a canary that code in a file would kill.

    Attributes:
        warehouse: the database.
        before: the raw tables.
        renew: brings the database back to that.

    """

    warehouse: Warehouse
    before: State
    renew: Callable[[], object]


def execute(warehouse: Warehouse, *statements: str) -> None:
    with closing(connect(warehouse)) as connection:
        for statement in statements:
            connection.cursor().execute(statement)
        connection.commit()


def landed_in(new_warehouse: Callable[..., Warehouse], gateway: str, directory: Path) -> Landed:
    """Land good files, and a row that is put aside, in a new database."""
    warehouse = new_warehouse(gateway, core=True)
    malformed.write({name: malformed.good_file(name) for name in TABLES}, directory)
    with (directory / "users.csv").open("a") as users:
        users.write("x,put aside,,\n")
    land_files(warehouse, directory, BEFORE)
    execute(
        warehouse,
        "CREATE SCHEMA canary",
        "CREATE TABLE canary.alive AS SELECT 42 AS answer",
        "CREATE SCHEMA kept",
    )
    if gateway == "duckdb":
        path = Path(warehouse.settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"])
        kept = shutil.copyfile(path, directory / "kept.duckdb")
        return Landed(warehouse, raw_state(warehouse), lambda: shutil.copyfile(kept, path))
    tables = sorted(raw_state(warehouse))
    execute(warehouse, *(f"CREATE TABLE kept.{n} AS TABLE pipedrive_raw.{n}" for n in tables))

    def renew() -> None:
        for name in tables:
            execute(
                warehouse,
                f"TRUNCATE pipedrive_raw.{name}",
                f"INSERT INTO pipedrive_raw.{name} TABLE kept.{name}",
            )

    return Landed(warehouse, raw_state(warehouse), renew)


@pytest.fixture(scope="module")
def on_duckdb(
    new_warehouse: Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Landed:
    return landed_in(new_warehouse, "duckdb", tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def on_postgres(
    new_warehouse: Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Landed:
    return landed_in(new_warehouse, "postgres", tmp_path_factory.mktemp("good"))


def check_landing(landed: Landed, export: Export, directory: Path) -> None:
    """Check an export and land it, as a person does, and account for all of its rows."""
    landed.renew()
    malformed.write(export, directory)
    refused = {name: file.refused for name, file in export.items() if file.refused}

    done = run_command(landed.warehouse, "check", directory)
    has_defect = any(not row.passes_check for file in export.values() for row in file.rows)
    assert done.code == int(bool(refused or has_defect)), done.out
    assert_clear(done)
    if not refused:
        for name, file in export.items():
            assert (f"/{name}.csv" in done.out) == any(not row.passes_check for row in file.rows)

    done = run_command(landed.warehouse, "land", "csv", directory)
    assert_clear(done)
    assert look(landed.warehouse) == CANARY
    after = {
        name: {malformed.shortened(row): at for row, at in rows.items()}
        for name, rows in raw_state(landed.warehouse).items()
    }
    expected = {
        name: malformed.rows_after(TABLES[name], set(landed.before[name]), file.rows)
        for name, file in export.items()
    }
    if refused:
        event("files refused")
        assert done.code == 2, done.err
        *defects, last = done.err.splitlines()
        assert last == "Nothing was written."
        assert {Path(line.split(".csv")[0]).name for line in defects} == set(refused)
        assert all(said in done.err for said in refused.values())
        assert after == landed.before
    elif None in expected.values():
        event("too many removals")
        assert done.code == 2, done.err
        assert "rows that are landed are not in this source" in done.err
        assert expected[done.err.split(":")[0]] is None
        assert after == landed.before
    else:
        event("landed")
        assert (done.code, done.err) == (0, "")
        check_accounts(done, export, landed.before, after)
        assert {name: set(after[name]) for name in export} == expected


def check_accounts(done: Done, export: Export, before: State, after: State) -> None:
    """Assert that each row of the files is in a raw table, is a repeat, or was put aside."""
    lines = [line.split() for line in done.out.splitlines()]
    put_aside = after["rejected_rows"]
    for name, file in export.items():
        (counts,) = [line[1:] for line in lines if line[:1] == [name] and len(line) == 7]
        read, landed, unchanged, repeated, rejected, _ = map(int, counts)
        fitting = Counter(row.values for row in file.rows if row.values)
        assert read == len(file.rows) == landed + unchanged + repeated + rejected
        assert (landed + unchanged, repeated) == (len(fitting), fitting.total() - len(fitting))
        assert fitting.keys() <= after[name].keys()
        assert landed == sum(row not in before[name] for row in fitting)
        assert all(after[name][row] == BEFORE for row in after[name] if row in before[name])
        places = [row[2] for row in put_aside if row[:2] == (name, f"{name}.csv")]
        assert sorted(places) == [row.line for row in file.rows if not row.values]
        assert rejected == len(places)
    assert all(reason.endswith(".") for _, _, _, _, reason, _ in put_aside)


def assert_clear(done: Done) -> None:
    """Assert that what is said is for people: no traceback, and nothing that a terminal obeys."""
    assert "Traceback" not in done.out + done.err
    assert not NO_TEXT.search(done.out + done.err)


CANARY = [(42,)], {"canary", "kept", "pipedrive_raw"}


def look(warehouse: Warehouse) -> tuple[list[tuple[int]], set[str]]:
    """Return what the canary says, and the schemas that are there, but for the diary of runs."""
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM canary.alive")
        answer = cursor.fetchall()
        cursor.execute("SELECT schema_name FROM information_schema.schemata")
        schemas = {name for (name,) in cursor.fetchall()}
    usual = ("pipedrive_ops", "information_schema", "main", "public")
    return answer, {name for name in schemas if name not in usual and not name.startswith("pg_")}


@some(6)
@given(malformed.exports())
def test_each_row_is_accounted_for(on_duckdb: Landed, tmp_path_factory, export: Export):
    check_landing(on_duckdb, export, tmp_path_factory.getbasetemp())


@some(2)
@given(malformed.exports())
def test_each_row_is_accounted_for_on_postgres(
    on_postgres: Landed, tmp_path_factory, export: Export
):
    check_landing(on_postgres, export, tmp_path_factory.getbasetemp())


@pytest.mark.faults
@some(100)
@given(malformed.exports())
def test_each_row_of_many_exports_is_accounted_for(
    on_duckdb: Landed, tmp_path_factory, export: Export
):
    check_landing(on_duckdb, export, tmp_path_factory.getbasetemp())


@pytest.mark.faults
@some(30)
@given(malformed.exports())
def test_each_row_of_many_exports_is_accounted_for_on_postgres(
    on_postgres: Landed, tmp_path_factory, export: Export
):
    check_landing(on_postgres, export, tmp_path_factory.getbasetemp())
