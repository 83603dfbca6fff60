"""What a change does to the numbers, as `diff` says it: worked out by hand on few rows."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipedrive_funnel import data_diff
from tests.support.command import Done, edit_file, run_command
from tests.support.other_pipeline import FILES
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.again_on("postgres")

MARTS = "models/marts/core"
MODEL = """MODEL (
  name pipedrive_analytics.{name},
  kind FULL,
  grain {grain}
);

SELECT
  {columns}
FROM (VALUES {rows}) AS hand({names})
"""
KEYED = {"grain": "(number, place)", "names": "number, place, amount"}
KEYED |= {"columns": "number::INT AS number, place::TEXT AS place, amount::INT AS amount"}
BEFORE = """
  (1, 'equal', 10), (2, 'changed', 20), (3, 'removed', 30), (NULL, 'changed', 40),
  (5, 'twice', 50), (5, 'twice', 50), (7, 'changed', NULL)
"""
AFTER = """
  (1, 'equal', 10), (2, 'changed', 21), (6, 'added', 60), (NULL, 'changed', 41),
  (5, 'twice', 50), (5, 'twice', 50), (5, 'twice', 50), (7, 'changed', 70)
"""
COLUMNS = {"grain": "id", "rows": "(1, 2, 3), (4, 5, 6)", "names": "id, amount, other"}


@dataclass(frozen=True)
class Said:
    """What the command said in the states that a warehouse went through."""

    without_environments: Done
    without_prod: Done
    of_equals: Done
    of_changes: Done
    of_changes_against_dev: Done
    file: str
    of_most: Done
    of_another_report: Done


def write_model(warehouse: Warehouse, name: str, **parts: str) -> None:
    """Write a mart with rows that stand in the model."""
    text = MODEL.format(name=name, **parts)
    (warehouse.path / MARTS / f"{name}.sql").write_text(text)


def plan(warehouse: Warehouse, environment: str) -> None:
    """Plan the files as they are now."""
    warehouse.close()
    outcome = warehouse.plan(environment, execution_time="2024-01-01")
    assert outcome.error is None, outcome.output


@pytest.fixture(scope="module")
def said(
    gateway: str,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
) -> Said:
    """Plan few rows in prod, and others in dev, and ask for the difference on the way."""
    warehouse = new_warehouse(gateway, core=True, audited=False)
    for name, text in FILES.items():
        lines = "\n".join(line.strip() for line in text.splitlines())
        (warehouse.path / "seeds" / f"{name}.csv").write_text(lines)
    write_model(warehouse, "rep_keyed", rows=BEFORE, **KEYED)
    columns = "id::INT AS id, amount::INT AS amount, other::INT AS gone"
    write_model(warehouse, "rep_columns", columns=columns, **COLUMNS)
    write_model(warehouse, "rep_replaced", columns="id::INT AS old", **COLUMNS)
    write_model(warehouse, "rep_gone", rows=BEFORE, **KEYED)
    without_environments = run_command(warehouse, "diff")

    plan(warehouse, "dev")
    without_prod = run_command(warehouse, "diff", "dev")
    plan(warehouse, "prod")
    of_equals = run_command(warehouse, "diff")

    log = warehouse.path / "seeds" / "deal_changes.csv"
    edit_file(log, "100,2023-06-03 09:00:00,stage_id,90\n", "")
    log.write_text(log.read_text().rstrip("\n") + "\n200,2023-05-13 10:00:00,stage_id,45\n")
    write_model(warehouse, "rep_keyed", rows=AFTER, **KEYED)
    columns = "id::INT AS id, amount::TEXT AS amount, other::INT AS fresh"
    write_model(warehouse, "rep_columns", columns=columns, **COLUMNS)
    write_model(warehouse, "rep_replaced", columns="id::INT AS new", **COLUMNS)
    write_model(warehouse, "rep_new", rows=AFTER, **KEYED)
    (warehouse.path / MARTS / "rep_gone.sql").unlink()
    plan(warehouse, "PR_12")
    file = tmp_path_factory.mktemp("diff") / "summary.md"
    of_changes = run_command(warehouse, "diff", "PR_12", "--markdown", file)
    against_dev = run_command(warehouse, "diff", "PR_12", "--against", "dev")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_diff, "CELLS_SHOWN", 1)
        of_most = run_command(warehouse, "diff", "PR_12")

    report = warehouse.path / "models/marts/reports/rep_sales_funnel_monthly.sql"
    edit_file(report, "deals_count", "reached")
    plan(warehouse, "PR_12")
    of_another_report = run_command(warehouse, "diff", "PR_12")
    return Said(
        without_environments,
        without_prod,
        of_equals,
        of_changes,
        against_dev,
        file.read_text(),
        of_most,
        of_another_report,
    )


def cells(done: Done, start: str) -> list[str]:
    """Return the cells of the row of a table that begins with a text."""
    assert (done.code, done.err) == (0, "")
    (line,) = [line for line in done.lines if line.startswith(f"| {start} ")]
    return [cell.strip() for cell in line.replace("\\|", "<pipe>").strip("|").split("|")][1:]


def test_rows_of_each_mart(said: Said) -> None:
    """A key may be NULL or not unique, and a value may be NULL."""
    header = cells(said.of_changes, "mart")
    assert header == ["prod", "PR_12", "added", "removed", "changed"]
    assert cells(said.of_changes, "`rep_keyed`") == ["7", "8", "2", "1", "3"]
    assert cells(said.of_changes, "`rep_new`") == ["", "8", "8", "", ""]
    assert cells(said.of_changes, "`rep_gone`") == ["7", "", "", "7", ""]
    assert cells(said.of_changes, "`dim_stages`") == ["7", "7", "", "", ""]


def test_columns_that_differ_are_named_and_the_others_compared(said: Said) -> None:
    assert cells(said.of_changes, "`rep_columns`") == ["2", "2", "", "", ""]
    assert said.of_changes.part("- `rep_columns`").split("\n")[0] == (
        "- `rep_columns`: `amount` is TEXT, was INT, `fresh` is new, `gone` is gone"
    )
    assert cells(said.of_changes, "`rep_replaced`") == ["2", "2", "2", "2", ""]
    assert "\n- `rep_replaced`: `new` is new, `old` is gone\n" in said.of_changes.out
    assert "\n- `rep_new`: is new\n" in said.of_changes.out
    assert "\n- `rep_gone`: is gone\n" in said.of_changes.out


def test_marts_that_differ_come_first(said: Said) -> None:
    names = [line.split("`")[1] for line in said.of_changes.lines if line.startswith("| `")]
    differing = [
        "fct_deal_stage_history",
        "rep_columns",
        "rep_gone",
        "rep_keyed",
        "rep_new",
        "rep_replaced",
    ]
    assert names[:7] == [*differing, "rep_sales_funnel_monthly"]
    assert names[7:] == sorted(names[7:])
    assert "\n7 of 11 marts differ.\n" in said.of_changes.out


def test_cells_of_the_report(said: Said) -> None:
    """A second deal reaches the third step in May, and the only one that was won in June is not."""
    assert cells(said.of_changes, "`rep_sales_funnel_monthly`") == ["6", "5", "", "1", "1"]
    assert "\n2 cells differ:\n" in said.of_changes.out
    odd_name = r"Trial <pipe> \<b\> \$x^2\$ \& \*y\*"
    assert cells(said.of_changes, "2023-05") == [odd_name, "1", "2", "+1"]
    assert cells(said.of_changes, "2023-06") == ["Won", "1", "0", "-1"]


def test_only_the_largest_differences_are_listed(said: Said) -> None:
    assert "\n2 cells differ, here the 1 that differ most:\n" in said.of_most.out
    assert "2023-05" in said.of_most.out
    assert "2023-06" not in said.of_most.out


def test_equal_environments(said: Said) -> None:
    assert "\n0 of 10 marts differ.\n" in said.of_equals.out
    assert "\nNo cell differs.\n" in said.of_equals.out
    assert cells(said.of_equals, "`rep_keyed`") == ["7", "7", "", "", ""]


def test_the_file_has_what_was_printed(said: Said) -> None:
    assert said.file == said.of_changes.out
    assert said.file.startswith("## PR_12 against prod\n")


def test_against_another_environment(said: Said) -> None:
    header = cells(said.of_changes_against_dev, "mart")
    assert header == ["dev", "PR_12", "added", "removed", "changed"]
    assert cells(said.of_changes_against_dev, "`rep_keyed`") == ["7", "8", "2", "1", "3"]


def test_a_report_of_other_columns_is_compared_as_a_mart_only(said: Said) -> None:
    assert "- `rep_sales_funnel_monthly`: `reached` is new, `deals_count` is gone\n" in (
        said.of_another_report.out
    )
    assert "Its cells are not compared" in said.of_another_report.out


def test_a_missing_environment_is_said(said: Said) -> None:
    for done, name in ((said.without_environments, "dev"), (said.without_prod, "prod")):
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"There is no environment {name} to compare: run `sqlmesh plan {name}` first.\n"
        )


@pytest.mark.plans_nothing
@pytest.mark.parametrize("gateway", ["duckdb"], indirect=True)
def test_an_environment_is_not_compared_with_itself(
    gateway: str, new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    done = run_command(new_warehouse(gateway, core=True), "diff", "Dev", "--against", "dev")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Dev cannot be compared with itself: name two environments.\n"
