"""The numbers of the report and of the tables below it, on the sample and on the real export."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from tests.support.figures import ROWS, assert_report_is_the_funnel
from tests.support.marts_oracle import MARTS, differences, marts
from tests.support.oracle import read_export
from tests.support.warehouse import MODELS, Outcome, Warehouse

WARNINGS = {
    "unknown_deals": 4571,
    "funnel_completeness": 5,
    "funnel_progression_logic": 5,
    "stage_activity_consistency": 2,
    # a feed that has ended
    "report_recency": 1,
    "no_recent_changes": 1,
    "steps_gone_silent": 8,
}


def rows(warehouse: Warehouse, model: str) -> int:
    return int(warehouse.fetch(f"SELECT COUNT(*) AS n FROM {warehouse.view(model)}")["n"][0])


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_real_export_gives_the_known_funnel(
    real: tuple[Warehouse, Outcome], environment: str
) -> None:
    assert_report_is_the_funnel(real[0], environment)


@pytest.mark.parametrize("model", MODELS)
def test_real_export_gives_the_known_rows(real: tuple[Warehouse, Outcome], model: str) -> None:
    assert rows(real[0], model) == ROWS[model]


def test_real_export_gives_the_known_warnings(real: tuple[Warehouse, Outcome]) -> None:
    assert real[0].found() == WARNINGS
    findings, quality = "fct_data_quality_findings", "rep_data_quality"
    tests = ("funnel_completeness", "funnel_progression_logic", "stage_activity_consistency")
    assert real[1].warnings == {
        **{(f"pipedrive_analytics.{findings}", test): WARNINGS[test] for test in tests},
        (f"pipedrive_analytics.{quality}", "data_quality_warnings"): len(WARNINGS),
    }


def test_real_export_gives_the_marts_of_the_oracle(real: tuple[Warehouse, Outcome]) -> None:
    expected = marts(read_export(real[0].path / "seeds"), date(2026, 11, 23))
    found = [line for model in MARTS for line in differences(real[0], model, expected[model])]
    assert found[:5] == []


def test_real_export_gives_the_known_moves(real: tuple[Warehouse, Outcome]) -> None:
    entries = real[0].table("pipedrive_analytics.fct_stage_entries")
    assert sum(entries["move"] == "backward") == 8
    skipped = entries[entries["move"] == "skipped"]
    assert (len(skipped), skipped["deal_id"].nunique()) == (2502, 1684)
    assert sum(entries["stage_entry_num"] != "1") == 15


def test_real_export_gives_the_known_deals(real: tuple[Warehouse, Outcome]) -> None:
    deals = real[0].table("pipedrive_analytics.fct_deals")
    waits = deals["days_to_first_stage"].map(Decimal)
    assert len(deals) == deals["deal_id"].nunique() == 1995
    assert (round(waits.min()), round(waits.median()), round(waits.max())) == (2, 35, 83)
    assert deals["lost_reason"].notna().all(), "set for every deal: it is no sign of a loss"
    cohorts = real[0].table("pipedrive_analytics.rep_funnel_cohorts")
    first_step = cohorts[cohorts["funnel_step"].map(Decimal) == 1]
    assert first_step["cohort_deals_count"].astype(int).sum() == 1995


def test_real_export_gives_the_known_countings(real: tuple[Warehouse, Outcome]) -> None:
    """Ever in the step, and in it or in a later one: worked out by others."""
    cohorts = real[0].table("pipedrive_analytics.rep_funnel_cohorts")
    cohorts = cohorts.assign(step=cohorts["funnel_step"].map(float))
    columns = ["reached_deals_count", "reached_at_least_deals_count"]
    totals = cohorts[columns].astype(int).groupby(cohorts["step"]).sum()
    assert [*totals.loc[5]] == [894, 1693]
    assert [*totals.loc[7]] == [588, 1081]


def test_real_export_gives_the_known_shares(real: tuple[Warehouse, Outcome]) -> None:
    """February 2024, as the business knows it: per cent of the first step."""
    conversion = real[0].table("pipedrive_analytics.rep_sales_funnel_conversion")
    shares = {
        float(row.funnel_step): round(100 * Decimal(row.share_of_first_step))
        for row in conversion[conversion["month"] == "2024-02-01"].itertuples()
        if float(row.funnel_step) < 7
    }
    assert shares == {1: 100, 2: 38, 2.1: 33, 3: 14, 3.1: 30, 4: 9, 5: 5, 6: 4}


def test_sample_gives_the_known_funnel(sample: Warehouse) -> None:
    assert_report_is_the_funnel(sample, "dev")


def test_sample_counts(sample: Warehouse) -> None:
    assert rows(sample, "pipedrive_analytics.dim_users") == 1787
    assert rows(sample, "pipedrive_analytics.fct_activities") == 1128
    assert rows(sample, "pipedrive_analytics.fct_deal_stage_history") == 8891
