"""`health`: a landing, run or promotion that is too old, failed or never happened is noticed."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from tests.support.command import Done, edit_file, run_command
from tests.support.exports import NEW_DEAL, START, new_export
from tests.support.landed import LANDED
from tests.support.landing import connect
from tests.support.receivers import closed_port
from tests.support.small_project import shrink
from tests.support.warehouse import PROJECT, Warehouse

LOG = "pipedrive_ops.runs"
DAY_AND_MORE = 27  # hours
WRITER_LOCK = 7_331_206
KEYS = ["healthy", "checked_at", "database", "max_age_hours", "error"]
KEYS += ["landing", "run", "promotion"]


on_duckdb = pytest.mark.parametrize("engine", ["duckdb"])
on_postgres = pytest.mark.parametrize("engine", ["postgres"])


@pytest.fixture(scope="module")
def refreshed(
    new_warehouse: t.Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> t.Callable[[str], Warehouse]:
    """Return a function that lands an export on an engine and refreshes prod with it, once."""

    @functools.cache
    def refreshed(engine: str) -> Warehouse:
        warehouse = shrink(new_warehouse(engine, core=True, **LANDED))
        export = new_export(tmp_path_factory.mktemp("export"), deals=20)
        done = run_command(warehouse, "land", "csv", export, "--refresh")
        assert done.code == 0, done.err
        return warehouse

    return refreshed


@pytest.fixture
def warehouse(gateway: str, refreshed: t.Callable[[str], Warehouse]) -> Warehouse:
    return refreshed(gateway)


@contextmanager
def changed(warehouse: Warehouse, *statements: str) -> Iterator[None]:
    """Change the log and the state for a while."""
    tables = (LOG, "sqlmesh._intervals", "sqlmesh._environments")

    def run(*statements: str) -> None:
        with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("COMMIT")

    run(*(f"CREATE TABLE {table}_kept AS SELECT * FROM {table}" for table in tables), *statements)
    try:
        yield
    finally:
        for table in tables:
            run(
                f"DELETE FROM {table}",
                f"INSERT INTO {table} SELECT * FROM {table}_kept",
                f"DROP TABLE {table}_kept",
            )


def check(warehouse: Warehouse, *arguments: str, **variables: str) -> tuple[Done, dict[str, t.Any]]:
    """Ask for the health as text and as JSON, and compare the two."""
    done = run_command(warehouse, "health", *arguments, **variables)
    as_json = run_command(warehouse, "health", "--json", *arguments, **variables)
    assert as_json.code == done.code
    assert as_json.err == ""
    assert as_json.out.count("\n") == 1
    told = json.loads(as_json.out)
    assert list(told) == KEYS
    assert told["healthy"] == (done.code == 0)
    items = {name: told[name] for name in ("landing", "run", "promotion") if told[name]}
    found = re.findall(r"^(\w+) +(\w+(?: \w+)?)(?:  .*)?$", done.out, re.M)
    assert found == [(name, item["status"]) for name, item in items.items()]
    return done, told


def statuses(told: dict[str, t.Any]) -> list[str]:
    return [told[name]["status"] for name in ("landing", "run", "promotion")]


# --- how it is ------------------------------------------------------------------------------------


def test_what_has_just_been_refreshed_is_healthy(warehouse: Warehouse) -> None:
    done, told = check(warehouse)
    assert (done.code, done.err) == (0, "")
    assert statuses(told) == ["ok", "ok", "ok"]
    for name in ("landing", "run", "promotion"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told[name]["at"])
        assert told[name]["reason"] is None
        assert 0 <= told[name]["age_hours"] < 0.5
    assert re.search(r"^run +ok +last good one 0\.\d hours ago, 20\d\d-.* UTC$", done.out, re.M)


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("landing", f"UPDATE {LOG} SET ended_at = ended_at - INTERVAL '27 hours'"),
        (
            "run",
            "UPDATE sqlmesh._intervals "
            "SET last_altered_ts = last_altered_ts - 27 * 3600 * 1000 "
            "WHERE name LIKE '%rep_sales_funnel_monthly%'",  # the others were computed since
        ),
    ],
)
def test_what_is_too_old_is_noticed(name: str, statement: str, warehouse: Warehouse) -> None:
    with changed(warehouse, statement):
        done, told = check(warehouse)
        assert done.code == 1
        assert {key for key in KEYS[5:] if told[key]["status"] == "old"} == {name}
        assert DAY_AND_MORE <= told[name]["age_hours"] < DAY_AND_MORE + 0.5
        done, told = check(warehouse, "--max-age-hours", "28")
        assert done.code == 0
    assert check(warehouse)[0].code == 0


def test_a_promotion_is_as_old_as_the_last_release(warehouse: Warehouse) -> None:
    month = "UPDATE sqlmesh._environments SET finalized_ts = finalized_ts - 2592000000"
    with changed(warehouse, month):
        done, told = check(warehouse)
    assert done.code == 0
    assert told["promotion"]["age_hours"] >= 720
    assert re.search(r"^promotion +ok +last good one 30 days ago", done.out, re.M)


@pytest.mark.parametrize("name", ["landing", "run", "promotion"])
def test_what_has_failed_is_noticed_until_it_succeeds(name: str, warehouse: Warehouse) -> None:
    failure = (
        f"INSERT INTO {LOG} SELECT '{name}', 'refresh prod', ended_at + INTERVAL '{{}}', "
        f"ended_at + INTERVAL '{{}}', 'An audit has blocked.', NULL, NULL FROM {LOG} "
        "WHERE kind = 'promotion'"
    )
    with changed(warehouse, failure.format("1 minute", "1 minute")):
        done, told = check(warehouse)
    assert done.code == 1
    assert {key for key in KEYS[5:] if told[key]["status"] == "failed"} == {name}
    assert told[name]["reason"] == "An audit has blocked."
    assert told[name]["at"]  # of the last good one
    assert done.out.count("An audit has blocked.\n") == 1
    with changed(warehouse, failure.format("-1 hour", "-1 hour")):
        assert check(warehouse)[0].code == 0


def test_a_blocked_run_is_unhealthy_until_any_run_succeeds(warehouse: Warehouse) -> None:
    """Plain `sqlmesh run` writes no log: SQLMesh's state tells."""
    warehouse.execute(
        "INSERT INTO pipedrive_raw.deal_changes "
        f"VALUES ({NEW_DEAL}, '{START}', 'stage_id', 'Won', '{START}')"
    )
    assert run_command(warehouse, "refresh", "prod").code == 1
    done, told = check(warehouse)
    assert done.code == 1
    assert statuses(told) == ["ok", "failed", "ok"]
    assert "has 1 row against changes_are_valid." in told["run"]["reason"]
    before = told["run"]["at"]
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = 'Won'")
    assert warehouse.run("prod", ignore_cron=True).error is None
    done, told = check(warehouse)
    assert done.code == 0
    assert told["run"]["at"] > before


def test_an_export_that_is_not_there_is_a_failed_landing(warehouse: Warehouse) -> None:
    with changed(warehouse):
        assert run_command(warehouse, "land", "csv", "nowhere").code == 2
        done, told = check(warehouse)
    assert done.code == 1
    assert statuses(told) == ["failed", "ok", "ok"]
    assert told["landing"]["reason"] == "nowhere is no directory. Name the one with the six files."


def test_a_promotion_that_was_killed_is_noticed(warehouse: Warehouse) -> None:
    with changed(warehouse, "UPDATE sqlmesh._environments SET finalized_ts = NULL"):
        done, told = check(warehouse)
    assert done.code == 1
    assert statuses(told) == ["ok", "ok", "unfinished"]


def test_landings_are_not_expected_while_the_models_read_the_sample(warehouse: Warehouse) -> None:
    """Only the settings are read, so that another setting is as good as another warehouse."""
    with changed(warehouse, f"DELETE FROM {LOG}"):
        done, told = check(warehouse, SQLMESH__VARIABLES__RAW_SCHEMA="pipedrive_seed")
    assert done.code == 0
    assert statuses(told) == ["not expected", "ok", "ok"]


def test_what_another_tool_lands_is_as_old_as_its_newest_row(warehouse: Warehouse) -> None:
    """It does not write our log."""
    with changed(warehouse, f"DELETE FROM {LOG}"):
        done, told = check(warehouse)
        assert done.code == 0
        newest = warehouse.fetch("SELECT MAX(loaded_at) AS at FROM pipedrive_raw.users")["at"][0]
        assert told["landing"]["at"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"


def test_nothing_happened_yet(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> None:
    warehouse = new_warehouse(gateway, core=True, **LANDED)
    done, told = check(warehouse)
    assert done.code == 1
    assert statuses(told) == ["never", "never", "never"]
    assert told["run"] == {"status": "never", "at": None, "age_hours": None, "reason": None}
    if gateway == "duckdb":  # asking makes no file
        file = Path(warehouse.settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"])
        assert not file.exists()


# --- how it looks ---------------------------------------------------------------------------------


def test_models_are_not_loaded(warehouse: Warehouse) -> None:
    (model,) = (warehouse.path / "models").rglob("dim_funnel_steps.sql")
    undo = edit_file(model, "MODEL (", "NO MODEL (")
    done, _ = check(warehouse)
    undo()
    assert done.code == 0


def test_nothing_is_written(warehouse: Warehouse) -> None:
    query = f"SELECT (SELECT COUNT(*) FROM {LOG}), (SELECT COUNT(*) FROM sqlmesh._intervals)"
    before = warehouse.fetch(query)
    check(warehouse)
    assert warehouse.fetch(query).equals(before)


# --- databases that cannot be read ----------------------------------------------------------------


def unknown(warehouse: Warehouse, **variables: str) -> str:
    """Ask for a health that cannot be told, and return why."""
    done = run_command(warehouse, "health", **variables)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    as_json = run_command(warehouse, "health", "--json", **variables)
    assert (as_json.code, as_json.err, as_json.out.count("\n")) == (2, "", 1)
    told = json.loads(as_json.out)
    assert list(told) == KEYS
    assert told["healthy"] is False
    assert told["error"] == done.err.strip()
    assert (told["landing"], told["run"], told["promotion"]) == (None, None, None)
    return told["error"]


@on_postgres
def test_a_server_that_is_down_is_no_health(
    engine: str, refreshed: t.Callable[[str], Warehouse]
) -> None:
    warehouse = refreshed(engine)
    with closed_port() as port:
        why = unknown(warehouse, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=str(port))
    assert "does not answer: Connection refused." in why


@on_duckdb
def test_a_gateway_that_is_not_there_is_no_health(
    engine: str, refreshed: t.Callable[[str], Warehouse]
) -> None:
    assert unknown(replace(refreshed(engine), gateway="nowhere")).startswith("config.yaml: ")


HOLDER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(60)
"""


@on_duckdb
def test_a_file_that_is_open_elsewhere_is_no_health(
    engine: str, refreshed: t.Callable[[str], Warehouse]
) -> None:
    warehouse = refreshed(engine)
    warehouse.close()
    file = warehouse.settings["SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"]
    with subprocess.Popen([sys.executable, "-c", HOLDER, file], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"open\n"
        why = unknown(warehouse)
        holder.kill()
    assert "DuckDB lets one in at a time" in why


@on_duckdb
def test_a_file_is_not_kept_open(engine: str, refreshed: t.Callable[[str], Warehouse]) -> None:
    """The next command must be able to open it."""
    warehouse = refreshed(engine)
    check(warehouse)
    with closing(connect(warehouse)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# --- PostgreSQL -----------------------------------------------------------------------------------


@on_postgres
def test_a_run_at_work_is_not_waited_for(
    engine: str, refreshed: t.Callable[[str], Warehouse]
) -> None:
    warehouse = refreshed(engine)
    with closing(connect(warehouse)) as writer, writer.cursor() as cursor:
        cursor.execute(f"SELECT PG_ADVISORY_LOCK({WRITER_LOCK})")
        cursor.execute(f"INSERT INTO {LOG} (kind) VALUES ('run')")
        begun = time.monotonic()
        assert check(warehouse)[0].code == 0
        assert time.monotonic() - begun < 5
        writer.rollback()


@on_postgres
def test_a_promotion_at_work_is_healthy(
    engine: str, refreshed: t.Callable[[str], Warehouse]
) -> None:
    warehouse = refreshed(engine)
    with (
        changed(warehouse, "UPDATE sqlmesh._environments SET finalized_ts = NULL"),
        closing(connect(warehouse)) as writer,
        writer.cursor() as cursor,
    ):
        name = "prod since 2026-11-01 03:00:00 UTC, 4711@nightly"
        cursor.execute("SELECT SET_CONFIG('application_name', %s, FALSE)", [name])
        writer.commit()
        done, told = check(warehouse)
    assert done.code == 0
    assert statuses(told) == ["ok", "ok", "under way"]


@on_postgres
def test_a_monitor_may_be_a_role_of_its_own(
    engine: str, refreshed: t.Callable[[str], Warehouse], postgres_server: dict[str, str]
) -> None:
    """With what docs/operations.md grants it, and not without."""
    warehouse = refreshed(engine)
    page = (PROJECT / "docs" / "operations.md").read_text()
    statements = page.split("CREATE ROLE monitor", 1)[1].split("```", 1)[0]
    statements = statements.replace("ON DATABASE pipedrive ", "ON DATABASE {} ")
    create, *grants = f"CREATE ROLE monitor{statements}".strip().split("\n")
    database = warehouse.settings["POSTGRES_DB"]
    admin_uri = postgres_server["admin_uri"].replace("/postgres?", f"/{database}?")
    with closing(psycopg2.connect(admin_uri)) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute(create)
        cursor.execute(grants[0].format(database))
        why = unknown(warehouse, POSTGRES_USER="monitor")
        assert why.startswith("The role of gateway postgres may not read the log of runs")
        for grant in grants[1:]:
            cursor.execute(grant)
    done, told = check(warehouse, POSTGRES_USER="monitor")
    assert done.code == 0
    assert statuses(told) == ["ok", "ok", "ok"]


# --- make -----------------------------------------------------------------------------------------


def test_make_health_asks_the_gateway() -> None:
    done = subprocess.run(
        [
            *("make", "--no-print-directory", "--just-print", "--assume-old", ".venv/installed"),
            *("health", "GATEWAY=postgres"),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ".venv/bin/python -m pipedrive_funnel health --gateway postgres\n"
