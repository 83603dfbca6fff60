"""Dev, prod and what happens between them: promotion, a second plan, a failing gate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.support.warehouse import MODELS, REPORT, Warehouse

SQLMESH = Path(sys.executable).with_name("sqlmesh")
FEBRUARY = ["194", "74", "64", "27", "59", "17", "10", "8", "1", "2"]


def command(warehouse: Warehouse, *arguments: str | Path) -> str:
    """Run a command in the warehouse's project as a person would; return what it prints."""
    done = subprocess.run(
        arguments,
        cwd=warehouse.path,
        env=os.environ | warehouse.settings | {"COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def february(warehouse: Warehouse, environment: str) -> list[str]:
    report = warehouse.table(REPORT, environment).sort_values("funnel_step")
    return list(report.loc[report["month"] == "2024-02-01", "deals_count"])


def physical_tables(warehouse: Warehouse) -> set[str]:
    """Return the names of all physical tables in the database."""
    found = warehouse.fetch(
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables "
        "WHERE table_schema LIKE 'sqlmesh\\_\\_%' ESCAPE '\\'"
    )
    return set(found["name"])


def test_the_whole_way_on_the_command_line(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Plan dev, then prod, with a unit test of each model and linter, and print the funnel."""
    warehouse = new_warehouse(gateway, with_tests=True)
    sqlmesh = (SQLMESH, "--gateway", gateway)
    dev = command(warehouse, *sqlmesh, "plan", "dev", "--auto-apply", "--no-prompts")
    prod = command(warehouse, *sqlmesh, "plan", "prod", "--auto-apply", "--no-prompts")
    assert "Virtual layer updated" in dev
    assert "SKIP: No model batches to execute" in prod
    for printed in (dev, prod):
        assert not re.search(r"Warning:|Deprecat|Traceback|Error:", printed), printed
    for environment in ("dev", "prod"):
        shown = command(
            warehouse,
            *(sys.executable, "-m", "pipedrive_funnel", "show", environment),
            *("--gateway", gateway, "--months", "13"),
        )
        assert re.search(r"Step 1: Lead Generation +(30 +)?194 +199 +230", shown), shown
        assert "Warning" not in shown
    for environment in ("dev", "prod"):  # last: the test now holds the DuckDB file
        assert february(warehouse, environment) == FEBRUARY


def test_audit_on_the_command_line_finds_what_the_readme_says(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """Also without dates, where SQLMesh stands at 1970."""
    warehouse = new_warehouse("duckdb", with_tests=True)
    command(warehouse, SQLMESH, "plan", "dev", "--auto-apply", "--no-prompts")
    audit = subprocess.run(
        [SQLMESH, "audit"],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings | {"COLUMNS": "500"},
        capture_output=True,
        text=True,
    )
    failed = dict(re.findall(r"^(\w+) on model \S+ ❌ FAIL \[(\d+)\]", audit.stdout, re.M))
    assert failed == {
        "funnel_completeness": "5",
        "funnel_progression_logic": "5",
        "stage_activity_consistency": "2",
        "data_quality_warnings": "7",
    }


def test_promotion_recomputes_nothing(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse(gateway)
    warehouse.plan("dev")
    tables = physical_tables(warehouse)
    marker = warehouse.snapshot(REPORT).table_name()
    warehouse.execute(f"UPDATE {marker} SET deals_count = deals_count + 1000")
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    assert "No model batches to execute" in outcome.output
    assert physical_tables(warehouse) == tables
    # a row that only the old table has shows in both: prod is a view of what dev computed
    assert february(warehouse, "prod")[0] == february(warehouse, "dev")[0] == "1194"


def test_a_second_plan_has_nothing_to_do(sample: Warehouse) -> None:
    outcome = sample.plan("dev")
    assert outcome.error is None
    assert "No changes to plan: project files match the `dev` environment" in outcome.output


def test_a_bare_plan_goes_to_dev(sample: Warehouse) -> None:
    assert sample.context.config.default_target_environment == "dev"


@pytest.fixture(scope="module")
def in_prod(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan the core of the project in prod; a test may add environments, and leaves prod alone."""
    warehouse = new_warehouse(gateway, core=True)
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    return warehouse


def test_dev_can_be_made_when_only_prod_exists(in_prod: Warehouse) -> None:
    environments = in_prod.context.state_reader.get_environments_summary()
    assert [environment.name for environment in environments] == ["prod"]
    outcome = in_prod.plan("dev")
    assert outcome.error is None, outcome.output
    assert february(in_prod, "dev") == FEBRUARY


BAD_CHANGES = {
    "a key is NULL": "900001,,stage_id,1",
    "a stage is no id": "900001,2024-05-01 10:00:00,stage_id,first",
}


@pytest.mark.parametrize("bad_row", BAD_CHANGES.values(), ids=BAD_CHANGES.keys())
def test_a_blocking_audit_leaves_prod_as_it_was(in_prod: Warehouse, bad_row: str) -> None:
    """The gate is upstream: no mart is touched, and prod keeps every row."""
    warehouse = in_prod
    before = {model: warehouse.table(model, "prod") for model in MODELS}
    changes = warehouse.path / "seeds" / "deal_changes.csv"
    changes.write_text(changes.read_text() + bad_row + "\n900002,2024-05-01 10:00:00,stage_id,1\n")
    warehouse.close()
    outcome = warehouse.plan("prod")
    assert outcome.error is not None
    assert "audit error: 1 row failed" in outcome.output
    assert "rep_sales_funnel_monthly" in outcome.output.split("Skipped models")[1]
    for model in MODELS:
        assert warehouse.table(model, "prod").equals(before[model]), model
    changes.write_text(changes.read_text().replace(bad_row + "\n", ""))
    warehouse.close()
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    assert february(warehouse, "prod") == FEBRUARY


def test_a_plan_that_fails_in_dev_can_be_repaired_and_planned_again(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    warehouse = new_warehouse("duckdb", core=True)
    steps = warehouse.path / "seeds" / "funnel_steps.csv"
    good = steps.read_text()
    steps.write_text(good + "9,Step 9 again,stage,10\n")
    assert "unique_values" in warehouse.plan("dev").output
    steps.write_text(good)
    warehouse.close()
    assert warehouse.plan("dev").error is None
    assert february(warehouse, "dev") == FEBRUARY
