"""Dev, prod and what happens between them: promotion, a second plan, a failing gate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing as t
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.command import edit_file, run_command
from tests.support.exports import NEW_DEAL, START, add_changes, new_export
from tests.support.landed import ANY_STAGES, LANDED
from tests.support.landing import assert_prod_shows, land_files
from tests.support.warehouse import MODELS, REPORT, Warehouse

SQLMESH = Path(sys.executable).with_name("sqlmesh")
FEBRUARY = ["194", "74", "64", "27", "59", "17", "10", "8", "1", "2"]


def command(warehouse: Warehouse, *arguments: str | Path, code: int = 0) -> str:
    """Run a command in the warehouse's project as a person would; return what it prints."""
    warehouse.close()
    settings = warehouse.settings | {"COLUMNS": "500"}
    if not (warehouse.path / "tests").exists():
        settings["SQLMESH__LINTER__ENABLED"] = "false"  # it wants unit tests
    done = subprocess.run(
        arguments,
        cwd=warehouse.path,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == code, done.stdout
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


@pytest.mark.again_on("postgres")
def test_the_whole_way_on_the_command_line(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Plan dev, then prod, which recomputes nothing, and print the funnel.

    On one engine the core, with a unit test of each model and the linter: neither knows the
    gateway. On the other one everything.
    """
    core = gateway == "duckdb"
    warehouse = new_warehouse(gateway, core=core, with_tests=core)
    sqlmesh = (SQLMESH, "--gateway", gateway)
    dev = command(warehouse, *sqlmesh, "plan", "dev", "--auto-apply", "--no-prompts")
    tables = physical_tables(warehouse)
    report = warehouse.snapshot(REPORT).table_name()
    warehouse.execute(f"UPDATE {report} SET deals_count = 1000 WHERE funnel_step = 9")
    prod = command(warehouse, *sqlmesh, "plan", "prod", "--auto-apply", "--no-prompts")
    assert "Virtual layer updated" in dev
    assert "SKIP: No model batches to execute" in prod
    for printed in (dev, prod):
        assert not re.search(r"Warning:|Deprecat|Traceback|Error:", printed), printed
    assert physical_tables(warehouse) == tables
    for environment in ("dev", "prod"):
        shown = run_command(warehouse, "show", environment, "--months", "13")
        assert re.search(r"Step 1: Lead Generation +(30 +)?194 +199 +230", shown.out), shown
        assert "Warning" not in shown.out and shown.err == ""
        # what only the old table has shows in both: prod is a view of what dev computed
        assert february(warehouse, environment) == [*FEBRUARY[:-1], "1000"]


@pytest.mark.again
def test_audit_on_the_command_line_finds_what_the_readme_says(
    samples: t.Callable[[str], Warehouse],
) -> None:
    """Also without dates, where SQLMesh stands at 1970."""
    printed = command(samples("duckdb"), SQLMESH, "audit", code=1)
    failed = dict(re.findall(r"^(\w+) on model \S+ ❌ FAIL \[(\d+)\]", printed, re.M))
    assert failed == {
        "funnel_completeness": "5",
        "funnel_progression_logic": "5",
        "stage_activity_consistency": "2",
        "data_quality_warnings": "7",
    }


def test_a_second_plan_has_nothing_to_do(sample: Warehouse) -> None:
    outcome = sample.plan("dev")
    assert outcome.error is None
    assert "No changes to plan: project files match the `dev` environment" in outcome.output


def test_a_bare_plan_goes_to_dev(sample: Warehouse) -> None:
    assert sample.context.config.default_target_environment == "dev"


@pytest.fixture(scope="module")
def in_prod(
    gateway: str,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
) -> Warehouse:
    """Plan the core of the project in prod; a test may add environments, and leaves prod alone."""
    export = new_export(tmp_path_factory.mktemp("export"))
    warehouse = new_warehouse(gateway, export, core=True, **ANY_STAGES)
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    return warehouse


@pytest.mark.again
def test_dev_can_be_made_when_only_prod_exists(in_prod: Warehouse) -> None:
    environments = in_prod.context.state_reader.get_environments_summary()
    assert [environment.name for environment in environments] == ["prod"]
    outcome = in_prod.plan("dev")
    assert outcome.error is None, outcome.output
    assert in_prod.table(REPORT, "dev").equals(in_prod.table(REPORT, "prod"))


def counts(report: pd.DataFrame) -> pd.Series:
    """Return the deals of the report by month and step."""
    return report.set_index(["month", "funnel_step"])["deals_count"].astype(int)


@pytest.mark.again_on("duckdb")
def test_a_blocking_audit_leaves_prod_as_it_was(in_prod: Warehouse) -> None:
    """The gate is upstream: no mart is touched, and prod keeps every row."""
    warehouse = in_prod
    before = {model: warehouse.table(model, "prod") for model in MODELS}
    changes = warehouse.path / "seeds" / "deal_changes.csv"
    good = changes.read_text()
    for audit, bad_row in {
        "not_null": "900001,,stage_id,1\n",
        "changes_are_valid": "900001,2024-05-01 10:00:00,stage_id,first\n",
    }.items():
        changes.write_text(good + bad_row + "900002,2024-05-01 10:00:00,stage_id,1\n")
        warehouse.close()
        outcome = warehouse.plan("prod")
        assert outcome.error is not None
        assert f"'{audit}' audit error: 1 row failed" in outcome.output
        assert "rep_sales_funnel_monthly" in outcome.output.split("Skipped models")[1]
        for model in MODELS:
            assert warehouse.table(model, "prod").equals(before[model]), model
    changes.write_text(good + "900002,2024-05-01 10:00:00,stage_id,1\n")
    warehouse.close()
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    more = counts(warehouse.table(REPORT, "prod")).sub(counts(before[REPORT]), fill_value=0)
    assert more[more != 0].to_dict() == {("2024-05-01", "1.0"): 1}


@pytest.mark.parametrize("audit", ["log_is_not_halved", "log_is_not_empty"])
@pytest.mark.again_on("duckdb")
def test_an_emptied_log_does_not_reach_prod(in_prod: Warehouse, audit: str) -> None:
    """Not even where a shorter log is said to be meant."""
    before = in_prod.table(REPORT, "prod")
    changes = in_prod.path / "seeds" / "deal_changes.csv"
    good = changes.read_text()
    changes.write_text(good.splitlines()[0] + "\n")
    in_prod.close()
    meant = str(audit == "log_is_not_empty").lower()
    settings = in_prod.settings | {"SQLMESH__VARIABLES__ALLOW_HALVED_LOG": meant}
    emptied = replace(in_prod, settings=settings)
    outcome = emptied.plan("prod")
    emptied.close()
    changes.write_text(good)
    assert outcome.error is not None
    assert f"'{audit}' audit error: 1 row failed" in outcome.output
    assert in_prod.table(REPORT, "prod").equals(before)


@pytest.mark.again
def test_a_log_that_was_cut_off_does_not_reach_prod_unless_it_is_meant(in_prod: Warehouse) -> None:
    before = in_prod.table(REPORT, "prod")
    changes = in_prod.path / "seeds" / "deal_changes.csv"
    good = changes.read_text()
    lines = good.splitlines(keepends=True)
    changes.write_text("".join(lines[: len(lines) // 3]))
    in_prod.close()
    outcome = in_prod.plan("prod")
    assert outcome.error is not None
    assert "'log_is_not_halved' audit error: 1 row failed" in outcome.output
    assert in_prod.table(REPORT, "prod").equals(before)
    settings = in_prod.settings | {"SQLMESH__VARIABLES__ALLOW_HALVED_LOG": "true"}
    meant = replace(in_prod, settings=settings)
    in_prod.close()
    outcome = meant.plan("dev")
    meant.close()
    changes.write_text(good)
    assert outcome.error is None, outcome.output


LOST = [("2,Step 2: Qualified Lead,stage,2\n", "")]
SWAPPED = [
    ("Needs Assessment,stage,3\n", "Needs Assessment,stage,5\n"),
    ("Negotiation,stage,5\n", "Negotiation,stage,3\n"),
]


@pytest.mark.again
@pytest.mark.parametrize(
    ("edits", "said", "variable", "meant"),
    [
        (LOST, "'entries_are_in_funnel' audit error: 1 row", "STAGES_OUTSIDE_FUNNEL", "2, 14"),
        (
            *(SWAPPED, "'steps_bear_own_names' audit error: 2 rows"),
            *("STEPS_WITH_OTHER_NAMES", "3, 5"),
        ),
    ],
    ids=("lost", "swapped"),
)
def test_steps_that_were_lost_or_swapped_do_not_reach_prod_unless_it_is_meant(
    new_warehouse: t.Callable[..., Warehouse],
    edits: list[tuple[str, str]],
    said: str,
    variable: str,
    meant: str,
) -> None:
    warehouse = new_warehouse("duckdb", core=True)
    for old, new in edits:
        edit_file(warehouse.path / "seeds" / "funnel_steps.csv", old, new)
    outcome = warehouse.plan("prod")
    assert outcome.error is not None
    assert f"{said} failed" in outcome.output
    warehouse.close()
    settings = warehouse.settings | {f"SQLMESH__VARIABLES__{variable}": meant}
    as_meant = replace(warehouse, settings=settings)
    outcome = as_meant.plan("prod")
    assert outcome.error is None, outcome.output
    as_meant.close()


@pytest.mark.again
def test_rolling_back_a_release_shows_its_definition_with_the_data_of_today(
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    """Release B loses the first step, and a deal arrives meanwhile. No table is made anew."""
    warehouse = new_warehouse("duckdb", core=True, audited=False, **LANDED)
    export = new_export(tmp_path / "export", deals=40)
    land_files(warehouse, export, START)
    assert run_command(warehouse, "build", "prod").code == 0
    release_a = {model: warehouse.snapshot(model).table_name() for model in MODELS}
    (model,) = (warehouse.path / "models").rglob("int_deal_stage_history.sql")
    entries = "field_key = 'stage_id'"
    undo = edit_file(model, f"{entries}\n), ord", f"{entries} AND new_value <> '1'\n), ord")
    warehouse.close()
    assert run_command(warehouse, "build", "prod").code == 0
    first_step = f"SELECT COUNT(*) AS n FROM {REPORT} WHERE funnel_step = 1"
    assert warehouse.fetch(first_step)["n"].item() == 0
    add_changes(export, (NEW_DEAL, START, "add_time", ""), (NEW_DEAL, START, "stage_id", "1"))
    assert run_command(warehouse, "land", "csv", export, "--refresh").code == 0
    assert warehouse.fetch(first_step)["n"].item() == 0
    tables = physical_tables(warehouse)
    undo()
    done = run_command(warehouse, "build", "prod")
    assert done.code == 0, done.err
    assert_prod_shows(warehouse, export)
    history = warehouse.table("pipedrive_analytics.fct_deal_stage_history", "prod")
    assert str(NEW_DEAL) in set(history["deal_id"])
    assert physical_tables(warehouse) == tables
    assert {model: warehouse.snapshot(model).table_name() for model in MODELS} == release_a


@pytest.mark.again
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
