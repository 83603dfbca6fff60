"""Small realistic mistakes in models and mapping, one at a time: what stops each of them.

docs/reliability.md has the table that comes out. WRITE_RELIABILITY=1 writes it anew.
"""

from __future__ import annotations

import re
import shutil
import typing as t
from pathlib import Path

import pandas as pd
import pytest

from tests.support.command import edit_file
from tests.support.reliability import committed, note
from tests.support.warehouse import PROJECT, Warehouse

REACHES_PROD, NO_EFFECT = "**reaches prod**", "changes no number of the sample"


class Mistake(t.NamedTuple):
    """A text of a file in place of another, and what that means."""

    file: str
    old: str
    new: str
    meaning: str


STAGING = "models/staging/stg_"
INTERMEDIATE = "models/intermediate/int_"
CORE = "models/marts/core/"
REPORTS = "models/marts/reports/rep_"
STEPS = "seeds/funnel_steps.csv"
MISTAKES = [
    Mistake(
        f"{STAGING}deal_changes.sql",
        "FROM @{raw_schema}.deal_changes\n",
        "FROM @{raw_schema}.deal_changes\n  WHERE deal_id % 10 <> 3\n",
        "a WHERE loses a tenth of the log",
    ),
    Mistake(
        f"{STAGING}activity.sql",
        "done::BOOLEAN",
        "(NOT done)::BOOLEAN",
        "done and planned are swapped",
    ),
    Mistake(
        f"{STAGING}users.sql",
        "FROM @{raw_schema}.users",
        "FROM @{raw_schema}.users\nWHERE NOT email IS NULL",
        "users without an address are lost",
    ),
    Mistake(
        f"{STAGING}activity_types.sql",
        "'yes'",
        "'no'",
        "active and inactive types are swapped",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_changes.sql",
        "deliveries.loaded_at <= @last_arrival()",
        "deliveries.loaded_at < @last_arrival()",
        "`<` for `<=`: the last arrival is left out",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_changes.sql",
        "MIN(deliveries.loaded_at)",
        "MAX(deliveries.loaded_at)",
        "the last delivery counts, not the first",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_changes.sql",
        "MAX(CASE WHEN field_key = 'user_id'",
        "MIN(CASE WHEN field_key = 'user_id'",
        "MIN for MAX: the first owner keeps the deal",
    ),
    Mistake(
        f"{INTERMEDIATE}deals.sql",
        "MIN(CASE WHEN field_key = 'add_time'",
        "MAX(CASE WHEN field_key = 'add_time'",
        "the last creation counts, not the first",
    ),
    Mistake(
        f"{INTERMEDIATE}deals.sql",
        "ORDER BY changes.change_timestamp DESC",
        "ORDER BY changes.change_timestamp",
        "the first lost reason counts, not the last",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_stage_history.sql",
        "AND changes.field_key = 'stage_id'\n)",
        "AND changes.field_key IN ('stage_id', 'user_id')\n)",
        "owners count as stages",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_stage_history.sql",
        "PARTITION BY deal_id, stage_id ORDER",
        "PARTITION BY deal_id ORDER",
        "entries are numbered per deal, not per stage",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_stage_history.sql",
        "LEFT JOIN pipedrive_staging.stg_stages",
        "JOIN pipedrive_staging.stg_stages",
        "JOIN for LEFT JOIN: entries into unknown stages are lost",
    ),
    Mistake(
        f"{INTERMEDIATE}deal_stage_history.sql",
        "LEAD(stage_entry_timestamp)",
        "LAG(stage_entry_timestamp)",
        "the entry before for the one after",
    ),
    Mistake(
        f"{INTERMEDIATE}completed_activities.sql",
        " AND activities.is_completed",
        "",
        "a dropped WHERE: planned calls count",
    ),
    Mistake(
        f"{INTERMEDIATE}completed_activities.sql",
        "LEFT JOIN pipedrive_intermediate.int_deals",
        "JOIN pipedrive_intermediate.int_deals",
        "JOIN for LEFT JOIN: activities of unknown deals are lost",
    ),
    Mistake(
        f"{INTERMEDIATE}activities.sql",
        "LEFT JOIN pipedrive_staging.stg_activity_types",
        "JOIN pipedrive_staging.stg_activity_types",
        "JOIN for LEFT JOIN: activities of unknown types are lost",
    ),
    Mistake(
        f"{CORE}fct_deal_stage_history.sql",
        "history.stage_entry_num = 1",
        "history.stage_entry_num >= 1",
        "`>=` for `=`: all entries for the first ones",
    ),
    Mistake(
        f"{CORE}fct_deal_stage_history.sql",
        "LEFT JOIN pipedrive_analytics.dim_funnel_steps",
        "JOIN pipedrive_analytics.dim_funnel_steps",
        "JOIN for LEFT JOIN: entries outside the funnel are lost",
    ),
    Mistake(
        f"{CORE}fct_activities.sql",
        "JOIN pipedrive_analytics.dim_funnel_steps",
        "LEFT JOIN pipedrive_analytics.dim_funnel_steps",
        "LEFT JOIN for JOIN: every activity is a sales call",
    ),
    Mistake(
        f"{CORE}fct_activities.sql",
        "activities.due_timestamp::TIMESTAMP",
        "activities.deal_created_at::TIMESTAMP",
        "the wrong timestamp: creation for due time",
    ),
    Mistake(
        f"{CORE}fct_stage_entries.sql",
        "entries.steps_ahead = 1",
        "entries.steps_ahead >= 1",
        "`>=` for `=`: skipped stages are no longer seen",
    ),
    Mistake(
        f"{CORE}fct_deals.sql",
        "MAX(entries.stage_entry_timestamp) AS current_stage_since",
        "MIN(entries.stage_entry_timestamp) AS current_stage_since",
        "MIN for MAX",
    ),
    Mistake(
        f"{CORE}fct_deals.sql",
        "LEFT JOIN paths\n",
        "JOIN paths\n",
        "JOIN for LEFT JOIN: deals without a stage are lost",
    ),
    Mistake(
        f"{CORE}dim_deal_owner_history.sql",
        "LEAD(valid_from)",
        "LAG(valid_from)",
        "ownership ends before it begins",
    ),
    Mistake(
        f"{CORE}dim_users.sql",
        "NOT working_users.user_id IS NULL",
        "working_users.user_id IS NULL",
        "active and inactive users are swapped",
    ),
    Mistake(
        f"{CORE}dim_funnel_steps.sql",
        "COUNT(CASE WHEN source = 'stage' THEN 1 END)",
        "COUNT(*)",
        "calls count as stages in the order of steps",
    ),
    Mistake(
        f"{REPORTS}sales_funnel_monthly.sql",
        "SELECT DISTINCT\n    DATE_TRUNC",
        "SELECT\n    DATE_TRUNC",
        "a missing DISTINCT",
    ),
    Mistake(
        f"{REPORTS}sales_funnel_monthly.sql",
        "DATE_TRUNC('MONTH', due_timestamp)::DATE AS month,\n    funnel_step",
        "DATE_TRUNC('MONTH', due_timestamp + INTERVAL '1' MONTH)::DATE AS month,\n    funnel_step",
        "calls are a month late",
    ),
    Mistake(
        f"{REPORTS}sales_funnel_monthly.sql",
        "fct_activities\n  WHERE\n    NOT due_timestamp IS NULL\n)",
        "fct_activities\n  WHERE\n    due_timestamp < '2024-06-01' "
        "OR due_timestamp >= '2024-07-01'\n)",
        "the calls of one month are dropped",
    ),
    Mistake(
        f"{REPORTS}sales_funnel_monthly.sql",
        "counts.month::DATE AS month",
        "counts.month::TIMESTAMP AS month",
        "a changed type: a time for a day",
    ),
    Mistake(
        f"{REPORTS}sales_funnel_monthly.sql",
        "counts.deals_count::BIGINT",
        "(2 * counts.deals_count)::BIGINT",
        "doubled rows",
    ),
    Mistake(
        f"{REPORTS}sales_funnel_conversion.sql",
        "@share(report.deals_count, first_steps.deals_count)",
        "@share(first_steps.deals_count, report.deals_count)",
        "part and whole are swapped",
    ),
    Mistake(
        f"{CORE}fct_deal_stage_history.sql",
        "stages_passed < stage_position\n        OR",
        "stages_passed < stage_position\n        AND",
        "AND for OR: more deals are in order",
    ),
    Mistake(
        f"{REPORTS}stage_transitions.sql",
        "COUNT(DISTINCT deal_id)",
        "COUNT(deal_id)",
        "a missing DISTINCT",
    ),
    Mistake(
        f"{REPORTS}time_in_stage.sql",
        "IS NULL\n  GROUP BY\n    stage_id,\n    DATE_TRUNC",
        "IS NULL OR TRUE\n  GROUP BY\n    stage_id,\n    DATE_TRUNC",
        "the wrong column: deals that are still there have left",
    ),
    Mistake(
        f"{REPORTS}owner_performance_monthly.sql",
        "WHERE\n    stage_entry_num = 1 AND NOT funnel_step IS NULL",
        "WHERE\n    NOT funnel_step IS NULL",
        "repeated entries count",
    ),
    Mistake(
        f"{INTERMEDIATE}deals.sql",
        "THEN COALESCE(won_timestamp, closed_timestamp)",
        "THEN COALESCE(lost_timestamp, closed_timestamp)",
        "a won deal has the time at which it was lost",
    ),
    Mistake(
        f"{CORE}fct_deal_status_history.sql",
        "previous_status IS NULL OR previous_status <> status",
        "previous_status IS NULL",
        "each deal keeps its first status",
    ),
    Mistake(
        f"{CORE}fct_deal_status_history.sql",
        "    AND NOT deals.closed_at IS NULL\n), starts_with",
        "    AND NOT deals.closed_at IS NULL AND deals.status = 'lost'\n), starts_with",
        "won deals stay open for ever",
    ),
    Mistake(
        f"{CORE}fct_deal_funnel_steps.sql",
        "stage_step <= furthest_funnel_step, FALSE",
        "stage_step < furthest_funnel_step, FALSE",
        "`<` for `<=`: who is in a stage has not got as far",
    ),
    Mistake(
        f"{REPORTS}deal_outcomes_monthly.sql",
        "COUNT(CASE WHEN status = 'lost' THEN 1 END)",
        "COUNT(CASE WHEN status <> 'won' THEN 1 END)",
        "open deals count as lost",
    ),
    Mistake(
        f"{REPORTS}deal_outcomes_monthly.sql",
        "CASE WHEN deals.status = 'won' THEN deals.value END AS won_value",
        "deals.value AS won_value",
        "the value of lost deals counts as won",
    ),
    Mistake(
        f"{REPORTS}deal_outcomes_monthly.sql",
        "counts.won_deals_count + counts.lost_deals_count)::DECIMAL",
        "counts.deals_count)::DECIMAL",
        "the win rate is of all deals",
    ),
    Mistake(
        f"{REPORTS}pipeline_monthly.sql",
        "history.status = 'open'\n), stages",
        "history.status <> 'lost'\n), stages",
        "won deals stay in the pipeline",
    ),
    Mistake(
        f"{REPORTS}pipeline_monthly.sql",
        "\n    AND COALESCE(entries.stage_exit_timestamp, '9999-12-31'::TIMESTAMP) "
        ">= months.taken_at",
        "",
        "a deal is in every stage that it ever entered",
    ),
    Mistake(
        f"{REPORTS}forecast_monthly.sql",
        "deals.status = 'open' AND NOT deals.expected",
        "NOT deals.expected",
        "closed deals are expected to close",
    ),
    Mistake(
        f"{REPORTS}forecast_monthly.sql",
        "COALESCE(deals.probability, pipeline_stages.deal_probability, 100)",
        "COALESCE(pipeline_stages.deal_probability, 100)",
        "the probability of a deal itself is not used",
    ),
    Mistake(
        f"{REPORTS}owner_outcomes_monthly.sql",
        "    AND owners.valid_from <= known.closed_at\n",
        "",
        "all later owners have won a deal, too",
    ),
    Mistake(
        f"{REPORTS}funnel_all_cohorts.sql",
        "SUM(cohort_deals_count) AS created",
        "MAX(cohort_deals_count) AS created",
        "all deals are those of the largest month",
    ),
    Mistake(
        STEPS,
        "Needs Assessment,stage,3\n3.1,Step 3.1: Sales Call 2,activity,sc_2\n"
        "4,Step 4: Proposal/Quote Preparation,stage,4",
        "Needs Assessment,stage,4\n3.1,Step 3.1: Sales Call 2,activity,sc_2\n"
        "4,Step 4: Proposal/Quote Preparation,stage,3",
        "two steps have each other's stage",
    ),
    Mistake(
        STEPS,
        "2.1,Step 2.1: Sales Call 1,activity,meeting",
        "2.1,Step 2.1: Sales Call 2,activity,meeting",
        "a call has the name of another",
    ),
    Mistake(STEPS, "8,Step 8: Follow-up/Customer Success,stage,8\n", "", "a step is missing"),
    Mistake(STEPS, "Negotiation,stage,5", "Negotiation,stage,55", "a key is mistyped"),
]


@pytest.fixture(scope="module")
def warehouse(new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan the sample in prod, with the linter and all unit tests."""
    warehouse = new_warehouse("duckdb")
    warehouse.lint = True
    shutil.copytree(PROJECT / "tests" / "models", warehouse.path / "tests")
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    return warehouse


@pytest.fixture(scope="module")
def right(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    """Return the marts of prod as they are without mistakes."""
    return {
        model.name: warehouse.table(model.name, "prod")
        for model in warehouse.context.models.values()
        if model.name.startswith("pipedrive_analytics.")
    }


@pytest.fixture(scope="module")
def found() -> dict[Mistake, tuple[str, str]]:
    """Collect what stops each mistake: with unit tests, and with --skip-tests."""
    return {}


def stopped_by_unit_test(warehouse: Warehouse, mistake: Mistake) -> str:
    """Return the name of a unit test that the changed model fails, or an empty text."""
    files = list((warehouse.path / "tests").rglob(f"test_{Path(mistake.file).stem}.yaml"))
    if not files:
        return ""
    result = warehouse.context.test(tests=[str(file) for file in files])
    failed = [str(test) for test, _ in (*result.failures, *result.errors)]
    names = re.findall(r"test_\w+", " ".join(failed))
    return f"unit test `{names[0]}`" if failed else ""


def stopped_without_unit_tests(warehouse: Warehouse, right: dict[str, pd.DataFrame]) -> str:
    """Plan prod with --skip-tests; return what has stopped the plan, or that nothing has."""
    outcome = warehouse.plan("prod", skip_tests=True)
    if outcome.error is None:
        same = all(warehouse.table(mart, "prod").equals(rows) for mart, rows in right.items())
        return NO_EFFECT if same else REACHES_PROD
    if rules := re.findall(r"^ - (\w+): ", outcome.output, re.M):
        return f"linter, `{rules[0]}`"
    blocked = re.findall(r"'(\w+)' audit error", outcome.output.split("Failed models")[-1])
    assert blocked, outcome.output
    return f"audit `{blocked[0]}`"


@pytest.mark.faults
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.meaning)
def test_a_mistake_is_stopped(
    warehouse: Warehouse,
    right: dict[str, pd.DataFrame],
    found: dict[Mistake, tuple[str, str]],
    mistake: Mistake,
) -> None:
    assert (warehouse.path / mistake.file).read_text().count(mistake.old) == 1
    undo = edit_file(warehouse.path / mistake.file, mistake.old, mistake.new)
    warehouse.close()
    try:
        without = stopped_without_unit_tests(warehouse, right)
        by_linter = without if without.startswith("linter") else ""
        stopped = by_linter or stopped_by_unit_test(warehouse, mistake) or without
    finally:
        undo()
        warehouse.close()
    found[mistake] = (stopped, without)
    assert stopped not in (REACHES_PROD, NO_EFFECT), "a plan that runs the unit tests lets it pass"


@pytest.mark.faults
def test_the_page_says_what_stops_which_mistake(found: dict[Mistake, tuple[str, str]]) -> None:
    """Runs after all of them: no more than five reach prod where unit tests are skipped."""
    assert len(found) == len(MISTAKES), "run the whole file"
    rows = [
        f"| `{Path(mistake.file).name}` | {mistake.meaning} | {stopped} | {without} |\n"
        for mistake, (stopped, without) in found.items()
    ]
    reaching = sum(without == REACHES_PROD for _, without in found.values())
    table = (
        f"{len(rows)} mistakes; {reaching} reach prod with `--skip-tests`, none without.\n\n"
        "| file | mistake | stopped by | with `--skip-tests` by |\n|---|---|---|---|\n"
        f"{''.join(rows)}"
    )
    note("wrong models", table)
    assert reaching <= 5
    assert committed("wrong models") == table, "WRITE_RELIABILITY=1 writes it anew"
