"""The marts beside the monthly report against the oracle, and one engine against the other."""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from tests.support.landed import LANDED
from tests.support.landing import land_files
from tests.support.marts_oracle import DAY, MARTS, Mart, differences, marts
from tests.support.oracle import read_export
from tests.support.warehouse import GATEWAYS, PROJECT, Warehouse

SHOWN = 5  # differences, of what may be thousands
ENTRIES, DEALS = "pipedrive_analytics.fct_stage_entries", "pipedrive_analytics.fct_deals"
TIMES = "pipedrive_analytics.rep_time_in_stage"
TRENDS = "pipedrive_analytics.rep_sales_funnel_trends"
COHORTS = "pipedrive_analytics.rep_funnel_cohorts"
OWNERS = "pipedrive_analytics.rep_owner_outcomes_monthly"
PERFORMANCE = "pipedrive_analytics.rep_owner_performance_monthly"


@pytest.fixture(scope="module")
def expected(planned: t.Callable[[str], Warehouse], execution_date: date) -> dict[str, Mart]:
    """Work out the marts of a planned export."""
    return marts(read_export(planned("postgres").path / "seeds"), execution_date)


@pytest.mark.again_on("1", "duckdb")
@pytest.mark.parametrize("engine", GATEWAYS)
@pytest.mark.parametrize("model", MARTS)
def test_marts_equal_the_oracle(
    planned: t.Callable[[str], Warehouse], expected: dict[str, Mart], model: str, engine: str
) -> None:
    assert differences(planned(engine), model, expected[model])[:SHOWN] == []
    assert expected[model].rows


@pytest.mark.again_on("1")
@pytest.mark.parametrize("model", MARTS)
def test_engines_give_identical_marts(planned: t.Callable[[str], Warehouse], model: str) -> None:
    duckdb, postgres = (planned(engine).table(model) for engine in GATEWAYS)
    pd.testing.assert_frame_equal(duckdb, postgres)


def assert_all_marts_equal(warehouse: Warehouse, expected: dict[str, Mart]) -> None:
    found = [line for model in MARTS for line in differences(warehouse, model, expected[model])]
    assert found[:SHOWN] == []


@pytest.mark.parametrize("engine", GATEWAYS)
@pytest.mark.again
def test_marts_in_the_midst_of_the_log(
    engine: str,
    random_exports: t.Callable[[int], Path],
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """The sample's changes arrive when they happen, and the day of the plan has not ended."""
    warehouse = new_warehouse(engine, random_exports(1))
    outcome = warehouse.plan("dev", execution_time="2024-04-08 18:00:00")
    assert outcome.error is None, outcome.output
    export = read_export(warehouse.path / "seeds")
    log = export["deal_changes"]
    at = pd.to_datetime(log["change_time"], format="ISO8601")
    today = log.loc[(at >= "2024-04-08") & (at < "2024-04-08 18:00:00"), "changed_field_key"]
    fields = {"add_time", "stage_id", "user_id", "lost_reason", "status"}
    assert {*today} - {"value"} == fields, "nothing to leave out"
    until_today = export | {"deal_changes": log[at < "2024-04-08"]}
    expected = marts(until_today, date(2024, 4, 8))
    assert any(row["still_there_count"] == 0 for row in expected[TIMES].rows), "no stage is left"
    measures = {row["measure"] for row in expected[PERFORMANCE].rows}
    assert {"completed activities", "planned activities", "overdue activities"} <= measures
    assert_all_marts_equal(warehouse, expected)


@pytest.mark.parametrize("engine", GATEWAYS)
@pytest.mark.again
def test_marts_of_landed_changes_that_come_after_the_plan(
    engine: str,
    random_exports: t.Callable[[int], Path],
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """What has landed counts, whenever it happened; nothing is younger than no days."""
    warehouse = new_warehouse(engine, **LANDED)
    at = datetime(2024, 6, 30, 10)
    land_files(warehouse, random_exports(2), at)
    outcome = warehouse.plan("dev", execution_time="2024-06-30 18:00:00")
    assert outcome.error is None, outcome.output
    own = read_export(warehouse.path / "seeds")
    edited = {name: own[name] for name in ("funnel_steps", "exchange_rates")}
    export = read_export(random_exports(2)) | edited
    assert_all_marts_equal(warehouse, marts(export, date(2024, 6, 30), landed_at=at))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_exports_have_what_the_rules_speak_of(
    random_exports: t.Callable[[int], Path], seed: int
) -> None:
    """An export without an oddity would prove nothing about it."""
    steps = read_export(PROJECT / "seeds")["funnel_steps"]
    expected = marts(read_export(random_exports(seed)) | {"funnel_steps": steps}, date(2025, 4, 10))
    moves = Counter(row["move"] for row in expected[ENTRIES].rows)
    assert {*moves} == {"first", "forward", "skipped", "backward", "repeated", "outside"}
    assert min(moves.values()) > 10
    deals = pd.DataFrame(expected[DEALS].rows)
    changed = deals["owner_user_id"] != deals["creation_owner_user_id"]
    assert 10 < changed.sum() < len(deals) - 10
    for column in ("owner_user_id", "current_stage", "lost_reason", "days_to_first_stage"):
        assert 10 < deals[column].isna().sum() < len(deals) - 10
    cohorts = pd.DataFrame(expected[COHORTS].rows)
    reached = cohorts.groupby("funnel_step")[
        ["reached_in_order_deals_count", "reached_deals_count"]
    ].sum()
    assert reached["reached_in_order_deals_count"].min() > 3
    assert (reached.diff(axis=1)["reached_deals_count"][1:] > 10).all()
    trends = pd.DataFrame(expected[TRENDS].rows)
    for column in ("rolling_12_months_deals_count", "year_over_year_change"):
        assert trends[column].notna().any()
    assert trends["quarter_to_date_deals_count"].isna().any()
    counts = trends.groupby("month")["is_complete_month"].agg(["any", "size"])
    assert not counts["any"].all()
    assert counts.loc[counts.index[-1], "size"] == 1, "no call is due long after the log"
    won = pd.DataFrame(expected[OWNERS].rows).groupby("user_id")["won_deals_count"].sum()
    won_today = deals[deals["won_at"].notna()].groupby("owner_user_id").size()
    assert (won.reindex(won_today.index) != won_today).any(), "no deal was handed on when won"


def test_oracle_agrees_with_marts_worked_out_by_hand(tmp_path: Path) -> None:
    """One deal that skips, goes back and returns, whose owner changes, and which is lost."""
    (tmp_path / "deal_changes.csv").write_text(
        "deal_id,change_time,changed_field_key,new_value\n"
        "7,2024-01-30 00:00:00,add_time,2024-01-30T00:00:00\n"
        "7,2024-01-30 06:00:00,user_id,5\n"
        "7,2024-01-31 12:00:00,stage_id,1\n"
        "7,2024-02-01 00:00:00,user_id,9\n"
        "7,2024-02-01 00:00:00,stage_id,4\n"
        "7,2024-02-03 00:00:00,stage_id,3\n"
        "7,2024-03-03 00:00:00,stage_id,4\n"
        "7,2024-03-04 00:00:00,lost_reason,2\n"
    )
    (tmp_path / "activity.csv").write_text(
        "activity_id,type,assigned_to_user,deal_id,done,due_to\n"
        "1,meeting,3,7,True,2024-02-10T00:00:00\n"
        "2,meeting,3,7,False,2024-02-01T00:00:00\n"
    )
    for file, text in {
        "activity_types": "id,name,active,type\n1,Call,Yes,meeting\n",
        "fields": 'ID,FIELD_KEY,NAME,FIELD_VALUE_OPTIONS\n1,lost_reason,,"[{""id"": 2, ""label"": '
        '""Too dear""}]"\n',
        "stages": "stage_id,stage_name\n1,A\n3,C\n4,D\n",
        "users": "id,name,email,modified\n5,Ann,,\n",
    }.items():
        (tmp_path / f"{file}.csv").write_text(text)
    (tmp_path / "funnel_steps.csv").write_bytes(
        (PROJECT / "seeds" / "funnel_steps.csv").read_bytes()
    )
    worked_out = marts(read_export(tmp_path), date(2024, 3, 13))

    def values(model: str, *columns: str, **where: t.Any) -> list[tuple]:
        rows = worked_out[f"pipedrive_analytics.{model}"].rows
        return [
            tuple(row[column] for column in columns) for row in rows if where.items() <= row.items()
        ]

    assert values(
        "fct_stage_entries",
        *("stage_id", "stage_entry_num", "user_id", "move", "skipped_stages_count"),
        *("seconds_in_stage", "seconds_in_previous_stage"),
    ) == [
        (1, 1, 5, "first", 0, DAY // 2, None),
        (4, 1, 9, "skipped", 2, 2 * DAY, DAY // 2),
        (3, 1, 9, "backward", 0, 29 * DAY, 2 * DAY),
        (4, 2, 9, "forward", 0, None, 29 * DAY),
    ]
    assert values("dim_deal_owner_history", "user_id", "valid_from", "valid_to") == [
        (5, datetime(2024, 1, 30), datetime(2024, 2, 1)),
        (9, datetime(2024, 2, 1), None),
    ]
    assert values(
        "fct_deals",
        *("first_stage", "current_stage", "furthest_funnel_step", "lost_reason"),
        *("days_to_first_stage", "forward_moves_count", "backward_moves_count"),
    ) == [("A", "D", 4, "Too dear", Fraction(3, 2), 2, 1)]
    assert values("rep_lost_reasons_monthly", "month", "furthest_funnel_step", "deals_count") == [
        (date(2024, 3, 1), 4, 1)
    ]
    assert values(
        "rep_funnel_cohorts", "funnel_step", "median_days_to_reach", reached_deals_count=1
    ) == [(1, 1.5), (Decimal("2.1"), 11), (3, 4), (4, 2)]
    assert values("rep_funnel_cohorts", "funnel_step", reached_in_order_deals_count=1) == [(1,)]
    assert values(
        "rep_time_in_stage",
        *("exits_count", "average_days", "still_there_count", "average_age_days"),
        stage_id=4,
    ) == [(1, 2, None, None), (0, None, 1, 10)]
    assert values(
        "rep_owner_performance_monthly", "user_id", "user_name", "item", month=date(2024, 3, 1)
    ) == [(9, None, "Too dear")]
    assert values("rep_owner_performance_monthly", "user_id", measure="overdue activities") == [
        (3,)
    ]
    assert sorted(values("rep_stage_transitions", "from_stage", "to_stage", "share_of_exits")) == [
        ("A", "D", 1),
        ("C", "D", 1),
        ("D", "C", 1),
    ]
