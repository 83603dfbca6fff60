"""What `make audit` says: one table, and an exit code that only errors change."""

from __future__ import annotations

import typing as t

import pytest

from tests.support.command import run_command
from tests.support.warehouse import REPORT, Outcome, Warehouse

DBT_TESTS = {  # the twelve tests of the dbt report; four columns are in one not_null
    ("not_null", "rep_sales_funnel_monthly"): "PASS",
    ("accepted_values", "rep_sales_funnel_monthly"): "PASS",
    ("deals_count_non_negative", "rep_sales_funnel_monthly"): "PASS",
    ("monthly_grain_unique", "rep_sales_funnel_monthly"): "PASS",
    ("kpi_names_valid", "rep_sales_funnel_monthly"): "PASS",
    ("data_freshness", "fct_data_quality_findings"): "PASS",
    ("funnel_completeness", "fct_data_quality_findings"): "WARN",
    ("funnel_progression_logic", "fct_data_quality_findings"): "WARN",
    ("stage_activity_consistency", "fct_data_quality_findings"): "WARN",
}


def results(out: str) -> dict[tuple[str, str], tuple[str, int, str]]:
    """Return result, rows and severity by audit and model, as a person reads them."""
    lines = [line.split() for line in out.split("\n\n")[0].splitlines()]
    assert lines[0] == ["result", "rows", "severity", "audit", "model"]
    return {
        (audit, model): (result, int(rows.replace(",", "")), severity)
        for result, rows, severity, audit, model in lines[1:]
    }


@pytest.mark.again_on("postgres")
def test_audits_that_warn_do_not_change_the_exit_code(sample: Warehouse) -> None:
    done = run_command(sample, "audit")
    assert (done.code, done.err) == (0, "")
    found = results(done.out)
    warned = {audit: rows for (audit, _), (result, rows, _) in found.items() if result == "WARN"}
    assert warned == {
        "funnel_completeness": 5,
        "funnel_progression_logic": 5,
        "stage_activity_consistency": 2,
        "data_quality_warnings": 7,
    }
    assert max(map(len, done.out.splitlines())) <= 80
    assert " 0 would block." in done.out


@pytest.mark.again
def test_an_audit_that_blocks_changes_it(samples: t.Callable[[str], Warehouse]) -> None:
    sample = samples("duckdb")
    report = sample.snapshot(REPORT).table_name()
    change = f"UPDATE {report} SET deals_count = -deals_count WHERE funnel_step = 9"
    sample.execute(change)
    done = run_command(sample, "audit", "dev")
    sample.execute(change)
    assert done.code == 1
    found = results(done.out)
    result, rows, severity = found["deals_count_non_negative", "rep_sales_funnel_monthly"]
    assert (result, severity) == ("ERROR", "blocks") and rows > 1
    assert next(iter(found.values()))[0] == "ERROR", "errors come first"
    assert "operations.md says what to do" in done.err


def test_of_the_tests_of_dbt_three_warn_on_the_real_export(
    real: tuple[Warehouse, Outcome],
) -> None:
    done = run_command(real[0], "audit", "prod")
    assert done.code == 0, done.out + done.err
    found = results(done.out)
    assert {key: found[key][0] for key in DBT_TESTS} == DBT_TESTS


def test_an_environment_that_is_not_there_is_said(sample: Warehouse) -> None:
    done = run_command(sample, "audit", "nowhere")
    assert done.code == 1
    assert done.err == "There is no environment nowhere to audit. Make it first.\n"
