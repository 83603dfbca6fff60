"""Every audit of every model passes on the sample, catches its bad row, and blocks or warns.

A case spoils the physical tables inside a transaction, counts what the model's audits return, and
rolls back. The audits are the ones attached to the models, with the arguments they have there.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

import pytest
from sqlglot import exp

from tests.support.warehouse import PROJECT, REPORT, Warehouse

SEED, STAGING = "pipedrive_seed.", "pipedrive_staging."
LOG = "pipedrive_intermediate.int_deal_changes"
HISTORY = "pipedrive_intermediate.int_deal_stage_history"
FIRST_ENTRIES = "pipedrive_analytics.fct_deal_stage_history"
MAPPING = "pipedrive_seed.funnel_steps"
RATES = "pipedrive_seed.exchange_rates"
RATES_READ = STAGING + "stg_exchange_rates"
RATES_HELD = "pipedrive_analytics.dim_exchange_rates"
REJECTED = STAGING + "stg_rejected_rows"
REMOVED = STAGING + "stg_removed_changes"
OWNERS = "pipedrive_analytics.dim_deal_owner_history"
ENTRIES = "pipedrive_analytics.fct_stage_entries"
DEALS = "pipedrive_analytics.fct_deals"
CONVERSION = "pipedrive_analytics.rep_sales_funnel_conversion"
COHORTS = "pipedrive_analytics.rep_funnel_cohorts"
ALL_COHORTS = "pipedrive_analytics.rep_funnel_all_cohorts"
DEAL_STEPS = "pipedrive_analytics.fct_deal_funnel_steps"
STATUSES = "pipedrive_analytics.fct_deal_status_history"
OUTCOMES = "pipedrive_analytics.rep_deal_outcomes_monthly"
PIPELINE = "pipedrive_analytics.rep_pipeline_monthly"
TRANSITIONS = "pipedrive_analytics.rep_stage_transitions"
TIME_IN_STAGE = "pipedrive_analytics.rep_time_in_stage"
TRENDS = "pipedrive_analytics.rep_sales_funnel_trends"
PERFORMANCE = "pipedrive_analytics.rep_owner_performance_monthly"
OWNER_OUTCOMES = "pipedrive_analytics.rep_owner_outcomes_monthly"
LOST_REASONS = "pipedrive_analytics.rep_lost_reasons_monthly"
CHECKS = "pipedrive_analytics.dim_data_quality_checks"
FINDINGS = "pipedrive_analytics.fct_data_quality_findings"
QUALITY = "pipedrive_analytics.rep_data_quality"

SAMPLE_WARNINGS = {
    (FINDINGS, "funnel_completeness"): 5,
    (FINDINGS, "funnel_progression_logic"): 5,
    (FINDINGS, "stage_activity_consistency"): 2,
    # these, steps that went silent, unknown deals, and two that say that the sample has ended
    (QUALITY, "data_quality_warnings"): 7,
}

# The raw table and column behind each audited column of a staging view.
RAW_COLUMNS = {
    "stg_activity": ("activity", {"activity_id": "activity_id", "deal_id": "deal_id"}),
    "stg_activity_types": (
        "activity_types",
        {"activity_type_id": "id", "activity_type_key": "type"},
    ),
    "stg_deal_changes": (
        "deal_changes",
        {
            "deal_id": "deal_id",
            "field_key": "changed_field_key",
            "change_timestamp": "change_time",
            "loaded_at": "change_time",
        },
    ),
    "stg_deals": ("deals", {"deal_id": "deal_id"}),
    "stg_fields": ("fields", {"field_key": "field_key"}),
    "stg_pipelines": ("pipelines", {"pipeline_id": "pipeline_id"}),
    "stg_pipeline_stages": ("pipeline_stages", {"stage_id": "stage_id"}),
    "stg_stages": ("stages", {"stage_id": "stage_id"}),
    "stg_users": ("users", {"user_id": "id"}),
    "stg_funnel_steps": ("funnel_steps", {}),
    "stg_exchange_rates": ("exchange_rates", {}),
}


@dataclass(frozen=True)
class Case:
    """A statement that spoils what a model holds or reads: its audit returns `rows` more.

    The statement names the physical table of a model as {model}, without its schema.
    """

    model: str
    audit: str
    statement: str
    rows: int = 1


def table_of(model: str) -> tuple[str, dict[str, str]]:
    """Return the table to spoil for a model, and the names of its columns there."""
    schema, name = model.split(".")
    if f"{schema}." != STAGING:
        return model, {}
    table, columns = RAW_COLUMNS[name]
    return SEED + table, columns


def rejected(*rows: str) -> str:
    """Return the statement that makes stg_rejected_rows, empty in the sample, hold some rows."""
    names = "reject_id, table_name, file_name, line, column_name, reason, raw_text, loaded_at"
    types = ("TEXT", "TEXT", "TEXT", "BIGINT", "TEXT", "TEXT", "TEXT", "TIMESTAMP")
    columns = ", ".join(
        f"CAST({name} AS {type_}) AS {name}"
        for name, type_ in zip(names.split(", "), types, strict=True)
    )
    return (
        "CREATE OR REPLACE VIEW {stg_rejected_rows} AS "
        f"SELECT {columns} FROM (VALUES {', '.join(rows)}) AS rejects ({names})"
    )


CASES = [
    # rows that were rejected when an export was landed
    Case(
        REJECTED,
        "not_null",
        rejected("('a', 'users', NULL, 7, NULL, 'too short', 'x', '2024-01-01')"),
    ),
    Case(
        REJECTED,
        "unique_values",
        rejected(*["('a', 'users', 'users.csv', 7, NULL, 'too short', 'x', '2024-01-01')"] * 2),
    ),
    Case(
        REMOVED,
        "not_null",
        "CREATE OR REPLACE VIEW {stg_removed_changes} AS "
        "SELECT CAST(1 AS BIGINT) AS deal_id, CAST(NULL AS TIMESTAMP) AS loaded_at",
    ),
    Case(
        REMOVED,
        "unique_values",
        "CREATE OR REPLACE VIEW {stg_removed_changes} AS "
        "SELECT CAST(1 AS BIGINT) AS deal_id, CAST('2024-01-01' AS TIMESTAMP) AS loaded_at "
        "FROM (VALUES (1), (2)) AS twice (n)",
    ),
    # the report: the examples people know
    Case(
        REPORT,
        "accepted_values",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2024-02-01', 'Step 99', 99, 1)",
    ),
    Case(
        REPORT,
        "deals_count_non_negative",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = -5 "
        "WHERE month = '2024-02-01' AND funnel_step = 9",
    ),
    Case(
        REPORT,
        "monthly_grain_unique",
        "INSERT INTO {rep_sales_funnel_monthly} SELECT * FROM {rep_sales_funnel_monthly} "
        "WHERE month = '2024-02-01' AND funnel_step = 1",
    ),
    Case(
        REPORT,
        "kpi_names_valid",
        "UPDATE {rep_sales_funnel_monthly} SET kpi_name = 'Step 1: Lead Generatoin' "
        "WHERE month = '2024-02-01' AND funnel_step = 1",
    ),
    Case(
        REPORT,
        "totals_conserved",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = deals_count + 1 "
        "WHERE month = '2024-02-01' AND funnel_step = 5",
    ),
    Case(
        REPORT,
        "totals_conserved",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE funnel_step = 5",
        rows=12,  # its months
    ),
    Case(
        REPORT,
        "totals_conserved",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE funnel_step = 2.1 AND month = '2024-02-01'",
    ),
    Case(REPORT, "log_is_not_empty", "DELETE FROM {fct_deal_stage_history}"),
    # the facts
    Case(
        FIRST_ENTRIES,
        "first_entries_conserved",
        "DELETE FROM {fct_deal_stage_history} WHERE stage_id = 9",
        rows=324,
    ),
    Case(
        FIRST_ENTRIES,
        "first_entries_conserved",
        "UPDATE {fct_deal_stage_history} SET deal_id = -deal_id WHERE stage_id = 9",
        rows=648,
    ),
    # the history
    Case(
        HISTORY,
        "one_creation_per_deal",
        "UPDATE {int_deal_stage_history} SET deal_created_at = '2020-01-01' "
        "WHERE stage_id = 9 AND stage_entry_num = 1",
        rows=324,
    ),
    Case(
        HISTORY,
        "stage_changes_conserved",
        "DELETE FROM {int_deal_stage_history} "
        "WHERE stage_id = 9 AND stage_entry_timestamp < '2024-03-01'",
        rows=2,
    ),
    Case(
        HISTORY,
        "stage_changes_conserved",
        "UPDATE {int_deal_stage_history} SET stage_id = 10 WHERE stage_id = 9",
        rows=648,  # 324 are missing, and 324 are too much
    ),
    # the log
    Case(
        STAGING + "stg_deal_changes",
        "changes_are_valid",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'stage_id', 'first')",
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_are_valid",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'stage_id', NULL)",
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_are_valid",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'user_id', '1.5')",
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_are_valid",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'lost_reason', 'too dear')",
        rows=0,
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_are_valid",
        "INSERT INTO {deal_changes} VALUES "
        "(1, '0202-01-01', 'stage_id', '1'), (1, '9999-01-01', 'lost_reason', 'x'), "
        "(1, '1970-01-01', 'stage_id', '1'), (1, '2099-12-31 23:59:59', 'stage_id', '1')",
        rows=2,
    ),
    Case(
        LOG,
        "changes_are_valid",
        "UPDATE {int_deal_changes} SET new_value = 'first' WHERE change_id IN "
        "(SELECT MIN(change_id) FROM {int_deal_changes} WHERE field_key = 'stage_id')",
    ),
    Case(
        LOG,
        "forall",
        "UPDATE {int_deal_changes} SET owner_user_id = CASE change_id WHEN "
        "(SELECT MIN(change_id) FROM {int_deal_changes} WHERE field_key = 'user_id') THEN 0 END "
        "WHERE change_id IN (SELECT change_id FROM {int_deal_changes} WHERE field_key = 'user_id' "
        "ORDER BY change_id LIMIT 2)",
        rows=2,  # one whose owner is somebody else, and one without
    ),
    Case(
        LOG,
        "changes_are_valid",
        "UPDATE {int_deal_changes} SET new_value = 'x' WHERE field_key = 'lost_reason'",
        rows=0,
    ),
    Case(
        "pipedrive_seed.deal_changes",
        "log_is_not_halved",
        "DELETE FROM {deal_changes} WHERE NOT deal_id IN (SELECT MIN(deal_id) FROM {deal_changes})",
        rows=0,  # there is no prod to compare with; test_environments has one
    ),
    # staging lacks a row
    *(
        Case(
            STAGING + view,
            "rows_conserved",
            f"CREATE TABLE {{{view}}}_all AS SELECT * FROM {{{view}}}; "
            f"DROP VIEW {{{view}}} CASCADE; "
            f"CREATE VIEW {{{view}}} AS SELECT * FROM {{{view}}}_all OFFSET 1",
        )
        for view in (
            "stg_deals",
            "stg_pipelines",
            "stg_pipeline_stages",
            "stg_activity",
            "stg_activity_types",
            "stg_deal_changes",
            "stg_fields",
            "stg_stages",
            "stg_users",
        )
    ),
    # activities: one is lost, or its time
    Case(
        "pipedrive_intermediate.int_activities",
        "totals_conserved",
        "DELETE FROM {int_activities} WHERE activity_id = "
        "(SELECT MIN(activity_id) FROM {int_activities})",
    ),
    Case(
        "pipedrive_intermediate.int_completed_activities",
        "totals_conserved",
        "DELETE FROM {int_completed_activities} WHERE activity_id = "
        "(SELECT MIN(activity_id) FROM {int_completed_activities})",
    ),
    Case(
        "pipedrive_analytics.fct_activities",
        "totals_conserved",
        "UPDATE {fct_activities} SET due_timestamp = '1999-01-01' WHERE activity_id = "
        "(SELECT MIN(activity_id) FROM {fct_activities})",
        rows=2,  # the time that it had, and the one that it has
    ),
    # deals and their moves
    Case(
        DEALS,
        "totals_conserved",
        "UPDATE {fct_deals} SET created_at = '1999-01-01' "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals})",
        rows=2,  # the month that it had, and the one that it has
    ),
    Case(
        ENTRIES,
        "forall",
        "UPDATE {fct_stage_entries} SET move = 'forward' WHERE move = 'skipped' AND deal_id = "
        "(SELECT MIN(deal_id) FROM {fct_stage_entries} WHERE move = 'skipped')",
        rows=3,
    ),
    Case(
        CONVERSION,
        "forall",
        "UPDATE {rep_sales_funnel_conversion} SET share_of_first_step = 5 "
        "WHERE month = '2024-02-01' AND funnel_step = 3",
    ),
    Case(
        TRANSITIONS,
        "totals_conserved",
        "UPDATE {rep_stage_transitions} SET deals_count = deals_count + 1 "
        "WHERE from_stage_id = 1 AND to_stage_id = 2",
    ),
    # steps: two keys are swapped, a name is another stage's, a name is nobody's
    Case(
        "pipedrive_analytics.fct_deal_stage_history",
        "steps_bear_own_names",
        "UPDATE {fct_deal_stage_history} SET kpi_name = CASE stage_id "
        "WHEN 3 THEN 'Step 3: Proposal/Quote Preparation' ELSE 'Step 4: Needs Assessment' END "
        "WHERE stage_id IN (3, 4)",
        rows=2,
    ),
    Case(
        "pipedrive_analytics.fct_deal_stage_history",
        "steps_bear_own_names",
        "UPDATE {fct_deal_stage_history} SET kpi_name = 'Step 3: Negotiation' WHERE stage_id = 3",
    ),
    Case(
        "pipedrive_analytics.fct_deal_stage_history",
        "steps_bear_own_names",
        "UPDATE {fct_deal_stage_history} SET kpi_name = 'Step 3: Anything' WHERE stage_id = 3",
        rows=0,
    ),
    Case(
        "pipedrive_analytics.fct_activities",
        "steps_bear_own_names",
        "UPDATE {fct_activities} SET kpi_name = 'Step 3.1: Sales Call 1' WHERE funnel_step = 3.1",
    ),
    Case(
        "pipedrive_analytics.fct_deal_stage_history",
        "entries_are_in_funnel",
        "UPDATE {fct_deal_stage_history} SET funnel_step = NULL WHERE stage_id = 2",
    ),
    Case(
        "pipedrive_analytics.fct_deal_stage_history",
        "entries_are_in_funnel",
        "UPDATE {fct_deal_stage_history} SET funnel_step = NULL WHERE stage_id = 9",
        rows=0,  # a few
    ),
    # owners: a gap, an overlap, a life that begins later, two current periods, none
    Case(
        OWNERS,
        "ownership_covers_life",
        "UPDATE {dim_deal_owner_history} SET valid_to = valid_to - INTERVAL '1' SECOND "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {dim_deal_owner_history} WHERE NOT is_current)",
    ),
    Case(
        OWNERS,
        "ownership_covers_life",
        "UPDATE {dim_deal_owner_history} SET valid_to = valid_to + INTERVAL '1' SECOND "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {dim_deal_owner_history} WHERE NOT is_current)",
    ),
    Case(
        OWNERS,
        "ownership_covers_life",
        "UPDATE {dim_deal_owner_history} SET is_current = TRUE "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {dim_deal_owner_history} WHERE NOT is_current)",
    ),
    Case(
        OWNERS,
        "ownership_covers_life",
        "UPDATE {dim_deal_owner_history} SET valid_to = '2026-01-01' "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals}) AND is_current",
    ),
    # entries into stages, activities and deals
    Case(
        ENTRIES,
        "accepted_values",
        "UPDATE {fct_stage_entries} SET move = 'sideways' WHERE move = 'backward'",
        rows=8,
    ),
    Case(
        ENTRIES,
        "non_negative",
        "UPDATE {fct_stage_entries} SET seconds_in_stage = -1 WHERE move = 'backward'",
        rows=8,
    ),
    Case(
        ENTRIES,
        "non_negative",
        "UPDATE {fct_stage_entries} SET skipped_stages_count = -1 WHERE move = 'backward'",
        rows=8,
    ),
    Case(
        ENTRIES,
        "all_entries_conserved",
        "DELETE FROM {fct_stage_entries} WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals})",
    ),
    Case(
        ENTRIES,
        "all_entries_conserved",
        "UPDATE {fct_stage_entries} SET stage_exit_timestamp = NULL "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals})",
    ),
    Case(
        DEALS,
        "non_negative",
        "UPDATE {fct_deals} SET days_to_last_change = -0.01 "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_stage_entries})",
    ),
    Case(
        DEALS,
        "totals_conserved",
        "DELETE FROM {fct_deals} WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_stage_entries})",
        rows=2,  # the deal has entries, and a month of creation
    ),
    Case(
        DEALS,
        "totals_conserved",
        "UPDATE {fct_deals} SET stage_entries_count = stage_entries_count + 1 "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_stage_entries})",
    ),
    # the reports beyond the monthly count
    Case(
        CONVERSION,
        "monthly_report_conserved",
        "UPDATE {rep_sales_funnel_conversion} SET deals_count = deals_count + 1 "
        "WHERE month = '2024-02-01' AND funnel_step = 1",
    ),
    Case(
        CONVERSION,
        "monthly_report_conserved",
        "DELETE FROM {rep_sales_funnel_conversion} WHERE month = '2024-02-01' AND funnel_step = 1",
    ),
    Case(
        TRENDS,
        "monthly_report_conserved",
        "UPDATE {rep_sales_funnel_trends} SET deals_count = 1 "
        "WHERE month = '2024-12-01' AND funnel_step = 1",
    ),
    Case(
        COHORTS,
        "non_negative",
        "UPDATE {rep_funnel_cohorts} SET median_days_to_reach = -1 "
        "WHERE cohort_month = '2024-02-01' AND funnel_step = 9",
    ),
    # status and value: a word that is none, a time without its status, a count, a sum, an age
    Case(
        "pipedrive_staging.stg_deals",
        "accepted_values",
        "UPDATE {deals} SET status = 'gewonnen' WHERE deal_id = (SELECT MIN(deal_id) FROM {deals})",
    ),
    Case(
        DEALS,
        "accepted_values",
        "UPDATE {fct_deals} SET status = 'gewonnen', won_at = NULL, lost_at = NULL "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals})",
    ),
    Case(
        DEALS,
        "forall",
        "UPDATE {fct_deals} SET won_at = created_at WHERE status = 'open'",
        rows=100,
    ),
    Case(
        STATUSES,
        "accepted_values",
        "UPDATE {fct_deal_status_history} SET status = 'deleted' "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals}) AND is_current",
    ),
    Case(
        STATUSES,
        "forall",
        "UPDATE {fct_deal_status_history} SET valid_to = valid_from "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_deals}) AND is_current",
    ),
    Case(
        OUTCOMES,
        "accepted_values",
        "UPDATE {rep_deal_outcomes_monthly} SET counted_by = 'month' "
        "WHERE counted_by = 'creation' AND month = '2024-03-01' AND currency = 'USD'",
    ),
    Case(
        OUTCOMES,
        "non_negative",
        "UPDATE {rep_deal_outcomes_monthly} SET median_days_to_win = -1 "
        "WHERE counted_by = 'closing' AND month = '2024-06-01' AND currency = 'USD'",
    ),
    Case(
        OUTCOMES,
        "forall",
        "UPDATE {rep_deal_outcomes_monthly} SET won_deals_count = won_deals_count + 1 "
        "WHERE counted_by = 'closing' AND month = '2024-06-01' AND currency = 'USD'",
    ),
    Case(
        OUTCOMES,
        "totals_conserved",
        "UPDATE {rep_deal_outcomes_monthly} SET deals_count = deals_count + 1 "
        "WHERE counted_by = 'creation' AND month = '2024-06-01' AND currency = 'USD'",
    ),
    Case(
        OUTCOMES,
        "totals_conserved",
        "UPDATE {rep_deal_outcomes_monthly} SET won_value = won_value + 1 "
        "WHERE counted_by = 'closing' AND month = '2024-06-01' AND currency = 'USD'",
    ),
    Case(
        PIPELINE,
        "non_negative",
        "UPDATE {rep_pipeline_monthly} SET median_age_days = -1 "
        "WHERE month = '2024-06-01' AND currency = 'USD' AND stage_id = 3",
    ),
    Case(
        PIPELINE,
        "totals_conserved",
        "DELETE FROM {rep_pipeline_monthly} "
        "WHERE month = '2024-06-01' AND currency = 'USD' AND stage_id = 3",
    ),
    Case(
        "pipedrive_analytics.rep_forecast_monthly",
        "totals_conserved",
        "UPDATE {rep_forecast_monthly} SET deals_count = deals_count + 1 "
        "WHERE month = '2024-08-01' AND currency = 'USD'",
    ),
    # deals and steps: none of the countings, no time, seconds that run back, a lost step
    Case(
        DEAL_STEPS,
        "forall",
        "UPDATE {fct_deal_funnel_steps} SET is_reached_at_least = FALSE, is_reached = FALSE, "
        "is_reached_in_order = FALSE, reached_at = NULL WHERE funnel_step = 9 AND deal_id = "
        "(SELECT MIN(deal_id) FROM {fct_deal_funnel_steps} WHERE funnel_step = 9)",
    ),
    Case(
        DEAL_STEPS,
        "forall",
        "UPDATE {fct_deal_funnel_steps} SET reached_at = NULL WHERE funnel_step = 9 AND "
        "deal_id = (SELECT MIN(deal_id) FROM {fct_deal_funnel_steps} WHERE funnel_step = 9)",
    ),
    Case(
        DEAL_STEPS,
        "non_negative",
        "UPDATE {fct_deal_funnel_steps} SET seconds_to_reach = -1 WHERE funnel_step = 9 AND "
        "deal_id = (SELECT MIN(deal_id) FROM {fct_deal_funnel_steps} WHERE funnel_step = 9)",
    ),
    Case(
        DEAL_STEPS,
        "totals_conserved",
        "DELETE FROM {fct_deal_funnel_steps} WHERE funnel_step = 9 AND "
        "deal_id = (SELECT MIN(deal_id) FROM {fct_deal_funnel_steps} WHERE funnel_step = 9)",
    ),
    Case(
        COHORTS,
        "cohorts_conserved",
        "UPDATE {rep_funnel_cohorts} SET cohort_deals_count = cohort_deals_count + 1 "
        "WHERE cohort_month = '2024-02-01'",
    ),
    Case(
        COHORTS,
        "cohorts_conserved",
        "DELETE FROM {rep_funnel_cohorts} WHERE cohort_month = '2024-02-01'",
    ),
    Case(
        COHORTS,
        "cohorts_do_not_grow",
        "UPDATE {rep_funnel_cohorts} SET reached_in_order_deals_count = reached_deals_count + 1 "
        "WHERE cohort_month = '2024-02-01' AND funnel_step = 9",
    ),
    Case(
        COHORTS,
        "cohorts_do_not_grow",
        "UPDATE {rep_funnel_cohorts} SET reached_in_order_deals_count = 0 "
        "WHERE cohort_month = '2024-02-01' AND funnel_step = 2",
        rows=2,  # steps 2.1 and 3 follow it
    ),
    Case(
        COHORTS,
        "cohorts_do_not_grow",
        "UPDATE {rep_funnel_cohorts} SET reached_at_least_deals_count = 0 "
        "WHERE cohort_month = '2024-02-01' AND funnel_step = 2",
        rows=2,
    ),
    Case(
        ALL_COHORTS,
        "non_negative",
        "UPDATE {rep_funnel_all_cohorts} SET median_days_to_reach = -1 WHERE funnel_step = 9",
    ),
    Case(
        ALL_COHORTS,
        "forall",
        "UPDATE {rep_funnel_all_cohorts} "
        "SET followed_for_90_days_deals_count = reached_within_90_days_deals_count - 1 "
        "WHERE funnel_step = 9",
    ),
    *(
        Case(
            ALL_COHORTS,
            "all_cohorts_conserved",
            f"UPDATE {{rep_funnel_all_cohorts}} SET {column} = {column} + 1 WHERE funnel_step = 4",
        )
        for column in (
            *("created_deals_count", "reached_deals_count"),
            *("reached_at_least_deals_count", "reached_in_order_deals_count"),
        )
    ),
    Case(
        ALL_COHORTS,
        "all_cohorts_conserved",
        "DELETE FROM {rep_funnel_all_cohorts} WHERE funnel_step = 2.1",
    ),
    Case(
        TRANSITIONS,
        "non_negative",
        "UPDATE {rep_stage_transitions} SET median_days = -1 WHERE move = 'backward'",
        rows=7,
    ),
    Case(
        TRANSITIONS,
        "totals_conserved",
        "UPDATE {rep_stage_transitions} SET transitions_count = transitions_count + 1 "
        "WHERE from_stage_id = 1 AND to_stage_id = 2",
    ),
    Case(
        TRANSITIONS,
        "totals_conserved",
        "DELETE FROM {rep_stage_transitions} WHERE from_stage_id = 1",
        rows=9,  # the stage that deals left, and the eight that they went to
    ),
    Case(
        TIME_IN_STAGE,
        "non_negative",
        "UPDATE {rep_time_in_stage} SET average_age_days = -1 WHERE still_there_count > 0",
        rows=9,
    ),
    Case(
        TIME_IN_STAGE,
        "totals_conserved",
        "UPDATE {rep_time_in_stage} SET exits_count = exits_count + 1 "
        "WHERE stage_id = 1 AND month = '2024-03-01'",
        rows=2,  # against the facts, and against the entries
    ),
    Case(
        TIME_IN_STAGE,
        "totals_conserved",
        "UPDATE {rep_time_in_stage} SET still_there_count = NULL WHERE stage_id = 1",
        rows=2,
    ),
    Case(
        TIME_IN_STAGE,
        "totals_conserved",
        "UPDATE {rep_time_in_stage} SET entries_count = entries_count - 1 WHERE stage_id = 1",
    ),
    Case(
        PERFORMANCE,
        "accepted_values",
        "UPDATE {rep_owner_performance_monthly} SET measure = 'lost deals' "
        "WHERE measure = 'lost reasons'",
        rows=1874,
    ),
    *(
        Case(
            PERFORMANCE,
            "owner_entries_conserved",
            f"DELETE FROM {{rep_owner_performance_monthly}} WHERE measure = '{measure}'",
            rows=rows,
        )
        for measure, rows in {
            "stage entries": 9,
            "completed activities": 1,
            "overdue activities": 1,
            "sales calls": 2,
            "lost reasons": 1,
        }.items()
    ),
    Case(  # who was overdue on the day of the plan is not planned
        PERFORMANCE,
        "owner_entries_conserved",
        "UPDATE {rep_owner_performance_monthly} SET measure = 'planned activities' "
        "WHERE measure = 'overdue activities' AND month = '2024-03-01'",
        rows=2,
    ),
    *(
        Case(
            OWNER_OUTCOMES,
            "totals_conserved",
            f"UPDATE {{rep_owner_outcomes_monthly}} SET {column} = {column} + 1 "
            "WHERE currency = 'EUR' AND CONCAT(month, ' ', user_id) = ("
            "SELECT MIN(CONCAT(month, ' ', user_id)) FROM {rep_owner_outcomes_monthly} "
            f"WHERE currency = 'EUR' AND {column} > 0)",
        )
        for column in (
            *("won_deals_count", "lost_deals_count", "won_value"),
            *("open_deals_count", "open_value"),
        )
    ),
    Case(
        LOST_REASONS,
        "totals_conserved",
        "DELETE FROM {rep_lost_reasons_monthly} WHERE month = '2024-05-01'",
    ),
    Case(
        CHECKS,
        "accepted_values",
        "UPDATE {dim_data_quality_checks} SET severity = 'error' WHERE severity = 'info'",
        rows=23,
    ),
    Case(
        QUALITY,
        "totals_conserved",
        "UPDATE {rep_data_quality} SET rows_count = 39 WHERE check_name = 'unknown_deals'",
    ),
    Case(  # a check that is not listed
        QUALITY,
        "totals_conserved",
        "DELETE FROM {rep_data_quality} WHERE check_name = 'unknown_deals'",
    ),
    Case(
        QUALITY,
        "data_quality_warnings",
        "UPDATE {rep_data_quality} SET rows_count = 1 WHERE check_name = 'unknown_stages'",
    ),
    Case(
        QUALITY,
        "data_quality_warnings",
        "UPDATE {rep_data_quality} SET rows_count = 1 WHERE check_name = 'deals_without_owner'",
        rows=0,  # of severity info
    ),
    *(
        Case(
            FINDINGS,
            check,
            f"INSERT INTO {{fct_data_quality_findings}} VALUES ('{check}', 'row', NULL, 1, FALSE)",
        )
        for check in (
            *("funnel_completeness", "funnel_progression_logic"),
            *("stage_activity_consistency", "data_freshness"),
        )
    ),
    # the mapping
    Case(
        MAPPING,
        "unique_values",
        "INSERT INTO {funnel_steps} VALUES (9, 'Another name', 'stage', '99')",
    ),
    Case(
        MAPPING,
        "unique_values",
        "INSERT INTO {funnel_steps} VALUES (12, 'Step 9: Renewal/Expansion', 'stage', '99')",
    ),
    Case(
        MAPPING,
        "unique_combination_of_columns",
        "INSERT INTO {funnel_steps} VALUES (12, 'Step 12', 'stage', '9')",
    ),
    Case(
        MAPPING,
        "accepted_values",
        "INSERT INTO {funnel_steps} VALUES (12, 'Step 12', 'phase', '12')",
    ),
    # statuses, and the places of stages
    Case(
        STATUSES,
        "statuses_end_as_known",
        "DELETE FROM {fct_deal_status_history} WHERE is_current AND deal_id = "
        "(SELECT MIN(deal_id) FROM {fct_deal_status_history} WHERE status = 'won')",
    ),
    Case(
        STATUSES,
        "statuses_end_as_known",
        "UPDATE {int_deals} SET logged_status = CASE status WHEN 'won' THEN 'lost' ELSE 'won' END "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {int_deals} WHERE status = 'won')",
    ),
    Case(
        "pipedrive_analytics.dim_funnel_steps",
        "stages_are_numbered",
        "UPDATE {dim_funnel_steps} SET stage_position = 3 WHERE funnel_step = 2",
    ),
    Case(
        OUTCOMES,
        "forall",
        "UPDATE {rep_deal_outcomes_monthly} SET win_rate = win_rate + 0.01 "
        "WHERE counted_by = 'closing' AND month = '2024-06-01' AND currency = 'USD'",
    ),
    # exchange rates, of which the sample has none
    Case(
        RATES,
        "one_reporting_currency",
        "INSERT INTO {exchange_rates} VALUES "
        "('USD', 'EUR', '2024-01-01', 0), ('USD', 'EUR', '2024-02-01', 0.9), "
        "('CHF', 'USD', '2024-01-01', 1), ('EUR', 'EUR', '2024-01-01', 1.1), "
        "('GBP', 'EUR', '2024-01-01', 1.2)",
        rows=3,
    ),
    *(
        Case(model, audit, f"INSERT INTO {{{table}}} {values}", rows=rows)
        for model, table, end in (
            *((RATES, "exchange_rates", "1"), (RATES_READ, "exchange_rates", "1")),
            (RATES_HELD, "dim_exchange_rates", "NULL, 1"),
        )
        for audit, values, rows in (
            (
                "not_null",
                f"VALUES ('USD', 'EUR', NULL, {end}), (NULL, 'EUR', '2024-01-01', {end})",
                2,
            ),
            (
                "unique_combination_of_columns",
                f"VALUES ('USD', 'EUR', '2024-01-01', {end}), ('USD', 'EUR', '2024-01-01', {end})",
                1,
            ),
        )
    ),
]


def failures(warehouse: Warehouse, model: str, audits: t.Container[str]) -> dict[str, int]:
    """Return the rows that some audits of a model return; those of one name are added up."""
    counts: dict[str, int] = {}
    snapshot = warehouse.snapshot(model)
    whole = snapshot.model
    attached = [audit for audit in whole.audits if audit[0] in audits]
    defined = {name: text for name, text in whole.audit_definitions.items() if name in audits}
    node = whole.model_copy(update={"audits": attached, "audit_definitions": defined})
    for result in warehouse.context.snapshot_evaluator.audit(
        snapshot.model_copy(update={"node": node}),
        snapshots=warehouse.with_parents(model),
        start="2000-01-01",
        end="2026-11-01",
        execution_time="2026-11-02",
    ):
        counts[result.audit.name] = counts.get(result.audit.name, 0) + (result.count or 0)
    return counts


def failures_when_spoilt(
    warehouse: Warehouse, model: str, audits: t.Container[str], statement: str
) -> dict[str, int]:
    """Return what some audits of a model return after a statement, and undo it."""
    with warehouse.spoilt(statement):
        return failures(warehouse, model, audits)


def audited(warehouse: Warehouse) -> list[tuple[str, str, dict[str, t.Any]]]:
    """Return (model, audit, arguments) of every audit in the project."""
    return [
        (model.name, name, arguments)
        for model in warehouse.context.models.values()
        for name, arguments in model.audits
    ]


def column_list(arguments: dict[str, exp.Expression]) -> list[exp.Expression]:
    """Return the columns of an audit's argument, which may be one column or a list."""
    columns = arguments.get("columns")
    return columns.expressions or [columns.unnest()] if columns else []


@pytest.fixture(scope="module")
def passing(samples: t.Callable[[str], Warehouse]) -> t.Callable[[str, str], dict[str, int]]:
    """Return a function that gives what the audits of a model return on the sample as it is."""
    known: dict[tuple[str, str], dict[str, int]] = {}

    def passing(gateway: str, model: str) -> dict[str, int]:
        if (gateway, model) not in known:
            names = {name for name, _ in samples(gateway).model(model).audits}
            known[gateway, model] = failures(samples(gateway), model, names)
        return known[gateway, model]

    return passing


@pytest.mark.again_on("postgres")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.audit}")
def test_audit_catches_its_bad_row(sample: Warehouse, passing: t.Any, case: Case) -> None:
    spoilt = failures_when_spoilt(sample, case.model, {case.audit}, case.statement)
    before = passing(sample.gateway, case.model)
    assert spoilt[case.audit] - before[case.audit] == case.rows


# Models without a row in the sample: CASES has theirs
EMPTY = {REJECTED, REMOVED, RATES, RATES_READ, RATES_HELD}


@pytest.mark.again_on("postgres")
def test_every_key_is_guarded_against_null_and_repetition(
    sample: Warehouse, passing: t.Any
) -> None:
    """Repeat a row of each model, and once more for each column of a not_null audit, without it."""
    tried = 0
    for model in {model for model, _, _ in audited(sample)} - EMPTY:
        audits = [(audit, arguments) for name, audit, arguments in audited(sample) if name == model]
        filled = {
            column.name
            for audit, arguments in audits
            if audit == "not_null"
            for column in column_list(arguments)
        }
        table, raw_names = table_of(model)
        rows = [{}, *({raw_names.get(column, column): "NULL"} for column in sorted(filled))]
        guards = {name for name, _ in audits if name == "not_null" or name.startswith("unique")}
        spoilt = failures_when_spoilt(sample, model, guards, more_rows(sample, table, rows))
        before = passing(sample.gateway, model)
        if filled:
            assert spoilt["not_null"] - before["not_null"] == len(filled), f"{model}: {filled}"
        for audit in {audit for audit, _ in audits if audit.startswith("unique")}:
            if model == MAPPING:  # its audits look at parts of its rows: CASES has them
                continue
            assert spoilt[audit] > before[audit], f"{model}: {audit}"
            tried += 1
        tried += len(filled)
    assert tried > 50


def more_rows(warehouse: Warehouse, table: str, rows: list[dict[str, str]]) -> str:
    """Return the statement that repeats one row of a table, each time with other values in it."""
    names = list(warehouse.model(table).columns_to_types_or_raise)
    table = table.split(".")[1]
    selects = (
        f"SELECT {', '.join(row.get(name, name) for name in names)} FROM one_row" for row in rows
    )
    return (
        f"INSERT INTO {{{table}}} WITH one_row AS (SELECT * FROM {{{table}}} LIMIT 1) "
        f"{' UNION ALL '.join(selects)}"
    )


@pytest.mark.again_on("postgres")
def test_the_sample_passes_every_other_audit(sample: Warehouse, passing: t.Any) -> None:
    found = {
        (model, audit): count
        for model in {model for model, _, _ in audited(sample)}
        for audit, count in passing(sample.gateway, model).items()
        if count
    }
    assert found == SAMPLE_WARNINGS


def test_every_audit_of_the_project_is_attached(samples: t.Callable[[str], Warehouse]) -> None:
    files = {path.stem for path in (PROJECT / "audits").rglob("*.sql")}
    assert files <= {name for _, name, _ in audited(samples("duckdb"))}


def test_every_grain_is_audited(samples: t.Callable[[str], Warehouse]) -> None:
    """What a model says identifies a row is unique and never NULL."""
    for model in samples("duckdb").context.models.values():
        layer, name = model.fully_qualified_table.db, model.fully_qualified_table.name
        if f"{layer}." == SEED or layer == "pipedrive_quality" or not model.grains:
            continue  # files may repeat keys: staging says so
        grain = {column.name for column in model.grains[0].find_all(exp.Column)}
        columns = [
            (audit, {column.name for column in column_list(arguments)})
            for audit, arguments in model.audits
        ]
        filled = set().union(*(names for audit, names in columns if audit == "not_null"))
        assert grain <= filled | {"change_id"}, name  # a hash is never NULL
        is_unique = {
            *(tuple(sorted(names)) for audit, names in columns if audit.startswith("unique")),
            *((name,) for audit, names in columns if audit == "unique_values" for name in names),
        }
        is_unique |= {("funnel_step", "month")} if name == "rep_sales_funnel_monthly" else set()
        if name != "stg_deal_changes":  # int_deal_changes has each delivered change once
            assert tuple(sorted(grain)) in is_unique, name


def test_every_audit_has_a_case(samples: t.Callable[[str], Warehouse]) -> None:
    automatic = {"not_null", "unique_values", "unique_combination_of_columns"}
    needed = {
        (model, audit) for model, audit, _ in audited(samples("duckdb")) if audit not in automatic
    }
    assert needed == {(case.model, case.audit) for case in CASES if case.audit not in automatic}


def test_only_what_the_checks_have_found_warns(samples: t.Callable[[str], Warehouse]) -> None:
    """Every other audit blocks: its number would be wrong."""
    warning = {
        model.name
        for model in samples("duckdb").context.models.values()
        for audit, _ in model.audits_with_args
        if not audit.blocking
    }
    assert warning == {FINDINGS, QUALITY}
