"""Every audit of every model passes on the sample, catches its bad row, and blocks or warns.

A case spoils the physical tables inside a transaction, counts what the model's audits return, and
rolls back. The audits are the ones attached to the models, with the arguments they have there.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

import pytest
from sqlglot import exp

from tests.support.warehouse import REPORT, Warehouse

SEED, STAGING = "pipedrive_seed.", "pipedrive_staging."
HISTORY = "pipedrive_intermediate.int_deal_stage_history"
COMPLETED = "pipedrive_intermediate.int_completed_activities"
FIRST_ENTRIES = "pipedrive_analytics.fct_deal_stage_history"
CALLS = "pipedrive_analytics.fct_activities"
STEPS = "pipedrive_analytics.dim_funnel_steps"
REJECTED = STAGING + "stg_rejected_rows"
OPTIONS = "pipedrive_intermediate.int_field_options"
REASONS = "pipedrive_analytics.dim_lost_reasons"
OWNERS = "pipedrive_analytics.dim_deal_owner_history"
ENTRIES = "pipedrive_analytics.fct_stage_entries"
ACTIVITIES = "pipedrive_analytics.fct_deal_activities"
DEALS = "pipedrive_analytics.fct_deals"
CONVERSION = "pipedrive_analytics.rep_sales_funnel_conversion"
COHORTS = "pipedrive_analytics.rep_funnel_cohorts"
TRANSITIONS = "pipedrive_analytics.rep_stage_transitions"
TIME_IN_STAGE = "pipedrive_analytics.rep_time_in_stage"
TRENDS = "pipedrive_analytics.rep_sales_funnel_trends"
PERFORMANCE = "pipedrive_analytics.rep_owner_performance_monthly"
LOST_REASONS = "pipedrive_analytics.rep_lost_reasons_monthly"
CHECKS = "pipedrive_analytics.dim_data_quality_checks"
FINDINGS = "pipedrive_analytics.fct_data_quality_findings"
QUALITY = "pipedrive_analytics.rep_data_quality"

WARNING_ONLY = {
    "activities_without_status",
    "calls_without_due_time",
    "changes_not_yet_processed",
    "data_freshness",
    "entries_outside_the_funnel",
    "first_step_drop",
    "funnel_completeness",
    "funnel_progression_logic",
    "months_in_the_future",
    "months_not_covered",
    "no_recent_changes",
    "options_are_lists",
    "rejected_rows",
    "report_recency",
    "stage_activity_consistency",
    "steps_gone_silent",
    "steps_without_deals",
    "unknown_activity_types",
    "unknown_deals",
    "unknown_lost_reasons",
    "unknown_stages",
    "unknown_users",
    "vanished_stage_changes",
}
# All audits of the project, written down a second time: one that is removed must be missed.
AUDITS = {
    REPORT: [
        *(
            "not_null(month)",
            "not_null(kpi_name)",
            "not_null(funnel_step)",
            "not_null(deals_count)",
        ),
        *("accepted_values", "deals_count_non_negative", "monthly_grain_unique", "kpi_names_valid"),
        *("stage_steps_conserved", "data_freshness", "report_recency", "months_in_the_future"),
        *("steps_without_deals", "funnel_completeness", "stage_activity_consistency"),
        "funnel_progression_logic",
    ],
    FIRST_ENTRIES: [
        "not_null(deal_id, stage_id, stage_entry_timestamp)",
        "unique_combination_of_columns(deal_id, stage_id)",
        "first_entries_conserved",
        "entries_outside_the_funnel",
    ],
    CALLS: [
        "not_null(activity_id, deal_id, kpi_name, funnel_step)",
        "unique_combination_of_columns(activity_id, deal_id)",
        "calls_without_due_time",
    ],
    STEPS: [
        "not_null(funnel_step, kpi_name, source, key)",
        "unique_values(funnel_step, kpi_name)",
        "unique_combination_of_columns(source, key)",
        "accepted_values",
    ],
    "pipedrive_analytics.dim_stages": ["not_null(stage_id)", "unique_values(stage_id)"],
    "pipedrive_analytics.dim_users": [
        *("not_null(user_id, is_active)", "unique_values(user_id)", "unknown_users"),
    ],
    COMPLETED: [
        "not_null(activity_id, deal_id)",
        "unique_combination_of_columns(activity_id, deal_id)",
        "unknown_deals",
        "unknown_activity_types",
    ],
    HISTORY: [
        "not_null(deal_id, stage_id, stage_entry_num, stage_entry_timestamp)",
        "unique_combination_of_columns(deal_id, stage_id, stage_entry_num)",
        "one_creation_per_deal",
        "stage_changes_conserved",
        "vanished_stage_changes",
        "changes_not_yet_processed",
        "unknown_stages",
    ],
    STAGING + "stg_activity": [
        "not_null(activity_id, deal_id)",
        "unique_combination_of_columns(activity_id, deal_id)",
        "activities_without_status",
    ],
    STAGING + "stg_activity_types": [
        "not_null(activity_type_id, activity_type_key)",
        "unique_values(activity_type_id, activity_type_key)",
    ],
    STAGING + "stg_deal_changes": [
        "not_null(deal_id, field_key, change_timestamp, loaded_at)",
        "unique_values(change_id)",
        "changes_hold_ids",
    ],
    REJECTED: [
        "not_null(reject_id, table_name, file_name, reason)",
        "unique_values(reject_id)",
        "rejected_rows",
    ],
    OPTIONS: [
        "not_null(field_key, option_id)",
        "unique_combination_of_columns(field_key, option_id)",
    ],
    REASONS: ["not_null(lost_reason_id)", "unique_values(lost_reason_id)"],
    OWNERS: [
        "not_null(deal_id, user_id, valid_from, is_current)",
        "unique_combination_of_columns(deal_id, valid_from)",
        "ownership_covers_life",
    ],
    ENTRIES: [
        "not_null(deal_id, stage_id, stage_entry_num, stage_entry_timestamp, move, "
        "skipped_stages_count)",
        "unique_combination_of_columns(deal_id, stage_id, stage_entry_num)",
        "accepted_values",
        "non_negative(seconds_in_stage, seconds_in_previous_stage, skipped_stages_count)",
        "all_entries_conserved",
    ],
    ACTIVITIES: [
        "not_null(activity_id, deal_id, is_completed)",
        "unique_combination_of_columns(activity_id, deal_id)",
    ],
    DEALS: [
        "not_null(deal_id, created_at, last_changed_at)",
        "unique_values(deal_id)",
        "non_negative(stage_entries_count, forward_moves_count, backward_moves_count, "
        "skipped_stages_count, completed_activities_count, sales_calls_count, "
        "days_to_first_stage, days_to_last_change)",
        *("deals_conserved", "unknown_lost_reasons", "no_recent_changes"),
    ],
    CONVERSION: [
        "not_null(month, kpi_name, funnel_step, deals_count)",
        "unique_combination_of_columns(month, funnel_step)",
        "monthly_report_conserved",
    ],
    COHORTS: [
        "not_null(cohort_month, kpi_name, funnel_step, cohort_deals_count, reached_deals_count, "
        "reached_in_order_deals_count)",
        "unique_combination_of_columns(cohort_month, funnel_step)",
        "non_negative(median_days_to_reach)",
        *("cohorts_conserved", "cohorts_do_not_grow"),
    ],
    TRANSITIONS: [
        "not_null(from_stage_id, to_stage_id, move, transitions_count, share_of_exits, "
        "deals_count, median_days, p90_days)",
        "unique_combination_of_columns(from_stage_id, to_stage_id)",
        "non_negative(median_days, p90_days)",
        "transitions_conserved",
    ],
    TIME_IN_STAGE: [
        "not_null(stage_id, month, exits_count, deals_count)",
        "unique_combination_of_columns(stage_id, month)",
        "non_negative(average_days, median_days, p90_days, average_age_days, median_age_days)",
        "exits_and_stays_conserved",
    ],
    TRENDS: [
        "not_null(month, kpi_name, funnel_step, deals_count)",
        "unique_combination_of_columns(month, funnel_step)",
        *("monthly_report_conserved", "months_not_covered"),
        *("first_step_drop", "steps_gone_silent"),
    ],
    PERFORMANCE: [
        "not_null(month, user_id, measure, item, events_count)",
        "unique_combination_of_columns(month, user_id, measure, item)",
        *("accepted_values", "owner_entries_conserved"),
    ],
    LOST_REASONS: [
        "not_null(month, lost_reason, furthest_funnel_step, deals_count)",
        "unique_combination_of_columns(month, lost_reason, furthest_funnel_step)",
        "lost_reasons_conserved",
    ],
    CHECKS: [
        *("not_null(check_name, severity, meaning)", "unique_values(check_name)"),
        "accepted_values",
    ],
    FINDINGS: [
        "not_null(check_name, finding, rows_count)",
        "unique_combination_of_columns(check_name, finding)",
    ],
    QUALITY: [
        "not_null(check_name, severity, meaning, rows_count, as_of)",
        *("unique_values(check_name)", "findings_conserved"),
    ],
    STAGING + "stg_fields": [
        *("not_null(field_key)", "unique_values(field_key)", "options_are_lists"),
    ],
    STAGING + "stg_stages": ["not_null(stage_id)", "unique_values(stage_id)"],
    STAGING + "stg_users": ["not_null(user_id)", "unique_values(user_id)"],
    SEED + "activity": ["not_null(activity_id, deal_id)"],
    SEED + "activity_types": ["not_null(id, type)"],
    SEED + "deal_changes": ["not_null(deal_id, change_time, changed_field_key)"],
    SEED + "fields": ["not_null(id, field_key)"],
    SEED + "stages": ["not_null(stage_id)"],
    SEED + "users": ["not_null(id)"],
}
SAMPLE_WARNINGS = {
    (COMPLETED, "unknown_deals"): 40,
    (REPORT, "funnel_completeness"): 5,
    (REPORT, "funnel_progression_logic"): 5,
    (REPORT, "stage_activity_consistency"): 2,
    (REPORT, "report_recency"): 1,  # the sample ends in February 2025
    (DEALS, "no_recent_changes"): 1,
    (TRENDS, "steps_gone_silent"): 8,
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
    "stg_fields": ("fields", {"field_key": "field_key"}),
    "stg_stages": ("stages", {"stage_id": "stage_id"}),
    "stg_users": ("users", {"user_id": "id"}),
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
        "rejected_rows",
        rejected(
            "('a', 'users', 'users.csv', 7, 'id', 'no BIGINT', 'x', '2024-01-01')",
            "('b', 'users', 'users.csv', NULL, NULL, 'too short', 'x', '2024-01-01')",
        ),
        rows=2,
    ),
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
        "stage_steps_conserved",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = deals_count + 1 "
        "WHERE month = '2024-02-01' AND funnel_step = 5",
    ),
    Case(
        REPORT,
        "stage_steps_conserved",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE funnel_step = 5",
    ),
    Case(
        REPORT,
        "data_freshness",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE month > '2024-01-01'",
    ),
    Case(
        REPORT,
        "report_recency",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-08-01', 'Step 9', 9, 1)",
        rows=-1,  # three months are allowed
    ),
    Case(
        REPORT,
        "report_recency",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-07-01', 'Step 9', 9, 1)",
        rows=0,
    ),
    Case(
        REPORT,
        "funnel_completeness",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE month = '2024-02-01' AND funnel_step = 2",
    ),
    Case(
        REPORT,
        "funnel_completeness",
        "INSERT INTO {rep_sales_funnel_monthly} "
        "VALUES ('2030-01-01', 'Step 9: Renewal/Expansion', 9, 1)",
        rows=2,
    ),
    Case(
        REPORT,
        "stage_activity_consistency",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = 179 "
        "WHERE month = '2024-05-01' AND funnel_step = 2.1",
    ),
    Case(
        REPORT,
        "stage_activity_consistency",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = 178 "
        "WHERE month = '2024-05-01' AND funnel_step = 2.1",
        rows=0,
    ),
    Case(
        REPORT,
        "funnel_progression_logic",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES "
        "('2030-01-01', 'Step 1: Lead Generation', 1, 100), "
        "('2030-01-01', 'Step 2: Qualified Lead', 2, 150)",
    ),
    Case(
        REPORT,
        "funnel_progression_logic",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES "
        "('2030-01-01', 'Step 1: Lead Generation', 1, 150), "
        "('2030-01-01', 'Step 2: Qualified Lead', 2, 150)",
        rows=0,
    ),
    Case(
        REPORT,
        "months_in_the_future",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-12-01', 'Step 9', 9, 1)",
    ),
    Case(
        REPORT,
        "months_in_the_future",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-11-01', 'Step 9', 9, 1)",
        rows=0,
    ),
    Case(
        REPORT,
        "steps_without_deals",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE funnel_step = 2.1",
    ),
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
    Case(
        FIRST_ENTRIES,
        "entries_outside_the_funnel",
        "UPDATE {fct_deal_stage_history} SET funnel_step = NULL WHERE stage_id = 9",
        rows=324,
    ),
    Case(
        CALLS,
        "calls_without_due_time",
        "UPDATE {fct_activities} SET due_timestamp = NULL WHERE due_timestamp < '2024-02-01'",
        rows=144,
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
        rows=324,
    ),
    Case(
        HISTORY,
        "unknown_stages",
        "DELETE FROM {stages} WHERE stage_id = 9",
        rows=324,
    ),
    Case(
        HISTORY,
        "vanished_stage_changes",
        "DELETE FROM {deal_changes} WHERE changed_field_key = 'stage_id' AND new_value = '9'",
        rows=324,
    ),
    Case(
        HISTORY,
        "changes_not_yet_processed",
        "INSERT INTO {deal_changes} VALUES (1, '2026-11-02', 'stage_id', '1')",
    ),
    # references
    Case(
        "pipedrive_analytics.dim_users",
        "unknown_users",
        "INSERT INTO {activity} VALUES (1, 'meeting', 999999, 1, TRUE, '2024-01-01')",
    ),
    Case(
        "pipedrive_analytics.dim_users",
        "unknown_users",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'user_id', '999999')",
    ),
    Case(
        COMPLETED,
        "unknown_deals",
        "INSERT INTO {activity} VALUES (1, 'meeting', 1, -1, FALSE, '2024-01-01')",
    ),
    Case(
        COMPLETED,
        "unknown_activity_types",
        "INSERT INTO {activity} VALUES (1, 'fax', 1, 1, FALSE, '2024-01-01')",
    ),
    # the log
    Case(
        STAGING + "stg_deal_changes",
        "changes_hold_ids",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'stage_id', 'first')",
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_hold_ids",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'stage_id', NULL)",
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_hold_ids",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'user_id', '1.5')",
    ),
    Case(
        STAGING + "stg_deal_changes",
        "changes_hold_ids",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'lost_reason', 'too dear')",
        rows=0,
    ),
    Case(
        STAGING + "stg_deal_changes",
        "unique_values",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'a|b', 'c'), "
        "(1, '2024-01-01', 'a', 'b|c')",
    ),
    *(
        Case(
            STAGING + "stg_fields",
            "options_are_lists",
            f"INSERT INTO {{fields}} VALUES (9, 'colour', 'Colour', '{options}')",
            rows=rows,
        )
        for options, rows in {
            '[{{"id": 1, "label": "Red"': 1,
            '{{"id": 1}}': 1,
            "red": 1,
            "[]": 0,
            "": 0,
        }.items()
    ),
    Case(
        STAGING + "stg_activity",
        "activities_without_status",
        "INSERT INTO {activity} VALUES (1, 'meeting', 1, 1, NULL, '2024-01-01')",
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
        "deals_conserved",
        "DELETE FROM {fct_deals} WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_stage_entries})",
        rows=0,  # it may have vanished from the log
    ),
    Case(
        DEALS,
        "deals_conserved",
        "UPDATE {fct_deals} SET stage_entries_count = stage_entries_count + 1 "
        "WHERE deal_id = (SELECT MIN(deal_id) FROM {fct_stage_entries})",
    ),
    Case(
        DEALS,
        "unknown_lost_reasons",
        "DELETE FROM {dim_lost_reasons} WHERE lost_reason = 'Missing a feature'",
        rows=386,
    ),
    Case(
        DEALS,
        "no_recent_changes",
        "UPDATE {fct_deals} SET last_changed_at = '2026-10-26 00:00:00'",
        rows=-1,  # seven days are allowed
    ),
    Case(
        DEALS,
        "no_recent_changes",
        "UPDATE {fct_deals} SET last_changed_at = '2026-11-03 00:00:00' WHERE deal_id < 500000",
        rows=0,  # what is after the execution date is no news
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
        TRENDS,
        "months_not_covered",
        "DELETE FROM {rep_sales_funnel_trends} WHERE month = '2024-02-01'",
    ),
    Case(
        TRENDS,
        "months_not_covered",
        "INSERT INTO {rep_sales_funnel_trends} (month, kpi_name, funnel_step, deals_count) "
        "VALUES ('2025-04-01', 'Step 9: Renewal/Expansion', 9, 1)",
    ),
    Case(
        TRENDS,
        "first_step_drop",
        "UPDATE {rep_sales_funnel_trends} SET month_over_month_change = -0.2001 "
        "WHERE month = '2025-02-01' AND funnel_step = 1",
    ),
    Case(
        TRENDS,
        "first_step_drop",
        "UPDATE {rep_sales_funnel_trends} SET month_over_month_change = -0.2 "
        "WHERE month = '2025-02-01' AND funnel_step = 1",
        rows=0,
    ),
    Case(
        TRENDS,
        "steps_gone_silent",
        "UPDATE {rep_sales_funnel_trends} SET deals_count = 0 "
        "WHERE month = '2024-06-01' AND funnel_step = 1",
    ),
    Case(
        TRENDS,
        "steps_gone_silent",
        "UPDATE {rep_sales_funnel_trends} SET deals_count = 0 "
        "WHERE month IN ('2024-03-01', '2024-05-01') AND funnel_step = 1",
        rows=0,  # two months before each, not three
    ),
    Case(
        COHORTS,
        "non_negative",
        "UPDATE {rep_funnel_cohorts} SET median_days_to_reach = -1 "
        "WHERE cohort_month = '2024-02-01' AND funnel_step = 9",
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
        TRANSITIONS,
        "non_negative",
        "UPDATE {rep_stage_transitions} SET median_days = -1 WHERE move = 'backward'",
        rows=7,
    ),
    Case(
        TRANSITIONS,
        "transitions_conserved",
        "UPDATE {rep_stage_transitions} SET transitions_count = transitions_count + 1 "
        "WHERE from_stage_id = 1 AND to_stage_id = 2",
    ),
    Case(
        TRANSITIONS,
        "transitions_conserved",
        "DELETE FROM {rep_stage_transitions} WHERE from_stage_id = 1",
    ),
    Case(
        TIME_IN_STAGE,
        "non_negative",
        "UPDATE {rep_time_in_stage} SET average_age_days = -1 WHERE still_there_count > 0",
        rows=9,
    ),
    Case(
        TIME_IN_STAGE,
        "exits_and_stays_conserved",
        "UPDATE {rep_time_in_stage} SET exits_count = exits_count + 1 "
        "WHERE stage_id = 1 AND month = '2024-03-01'",
    ),
    Case(
        TIME_IN_STAGE,
        "exits_and_stays_conserved",
        "UPDATE {rep_time_in_stage} SET still_there_count = NULL WHERE stage_id = 1",
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
            "planned activities": 1,
            "sales calls": 2,
            "lost reasons": 1,
        }.items()
    ),
    Case(
        LOST_REASONS,
        "lost_reasons_conserved",
        "DELETE FROM {rep_lost_reasons_monthly} WHERE month = '2024-05-01'",
    ),
    Case(
        CHECKS,
        "accepted_values",
        "UPDATE {dim_data_quality_checks} SET severity = 'error' WHERE severity = 'oddity'",
        rows=16,
    ),
    Case(
        QUALITY,
        "findings_conserved",
        "UPDATE {rep_data_quality} SET rows_count = 39 WHERE check_name = 'unknown_deals'",
    ),
    # the mapping
    Case(
        STEPS,
        "unique_values",
        "INSERT INTO {dim_funnel_steps} VALUES (9, 'Another name', 'stage', '99')",
    ),
    Case(
        STEPS,
        "unique_values",
        "INSERT INTO {dim_funnel_steps} VALUES (12, 'Step 9: Renewal/Expansion', 'stage', '99')",
    ),
    Case(
        STEPS,
        "unique_combination_of_columns",
        "INSERT INTO {dim_funnel_steps} VALUES (12, 'Step 12', 'stage', '9')",
    ),
    Case(
        STEPS,
        "accepted_values",
        "INSERT INTO {dim_funnel_steps} VALUES (12, 'Step 12', 'phase', '12')",
    ),
]


def failures(warehouse: Warehouse, model: str) -> dict[str, int]:
    """Return the rows that each audit of a model returns; audits of one name are added up."""
    counts: dict[str, int] = {}
    for result in warehouse.context.snapshot_evaluator.audit(
        warehouse.snapshot(model),
        snapshots={snapshot.name: snapshot for snapshot in warehouse.context.snapshots.values()},
        start="2000-01-01",
        end="2026-11-01",
        execution_time="2026-11-02",
    ):
        counts[result.audit.name] = counts.get(result.audit.name, 0) + (result.count or 0)
    return counts


def failures_when_spoilt(warehouse: Warehouse, model: str, statement: str) -> dict[str, int]:
    """Return what the audits of a model return after a statement, and undo it."""
    tables = {
        snapshot.model.view_name: snapshot.table_name()
        for snapshot in warehouse.context.snapshots.values()
        if not snapshot.is_external
    }
    with warehouse.undone():
        warehouse.context.engine_adapter.execute(statement.format_map(tables))
        return failures(warehouse, model)


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
            known[gateway, model] = failures(samples(gateway), model)
        return known[gateway, model]

    return passing


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.model}-{case.audit}")
def test_audit_catches_its_bad_row(sample: Warehouse, passing: t.Any, case: Case) -> None:
    spoilt = failures_when_spoilt(sample, case.model, case.statement)
    before = passing(sample.gateway, case.model)
    assert spoilt[case.audit] - before[case.audit] == case.rows


def test_every_key_is_guarded_against_null_and_repetition(
    sample: Warehouse, passing: t.Any
) -> None:
    """Spoil each column of each not_null audit, and repeat a row of each unique grain."""
    tried = 0
    for model, audit, arguments in audited(sample):
        if model == REJECTED:  # no table is behind it: CASES has its rows
            continue
        table, raw_names = table_of(model)
        before = passing(sample.gateway, model)
        columns = [column.name for column in column_list(arguments)]
        if audit == "not_null":
            for column in columns:
                spoilt = failures_when_spoilt(
                    sample,
                    model,
                    one_more_row(sample, table, {raw_names.get(column, column): "NULL"}),
                )
                assert spoilt[audit] > before[audit], f"{model}.{column} may be NULL"
                tried += 1
        elif audit.startswith("unique") and model not in (STEPS, STAGING + "stg_deal_changes"):
            spoilt = failures_when_spoilt(sample, model, one_more_row(sample, table, {}))
            assert spoilt[audit] > before[audit], f"{model} may repeat {columns}"
            tried += 1
    assert tried > 50


def one_more_row(warehouse: Warehouse, table: str, changed: dict[str, str]) -> str:
    """Return the statement that repeats one row of a table, with some columns changed."""
    names = list(warehouse.model(table).columns_to_types_or_raise)
    values = ", ".join(changed.get(name, name) for name in names)
    table = table.split(".")[1]
    return f"INSERT INTO {{{table}}} SELECT {values} FROM {{{table}}} LIMIT 1"


def test_the_sample_passes_every_other_audit(sample: Warehouse, passing: t.Any) -> None:
    found = {
        (model, audit): count
        for model in {model for model, _, _ in audited(sample)}
        for audit, count in passing(sample.gateway, model).items()
        if count
    }
    assert found == SAMPLE_WARNINGS


def test_the_models_have_the_audits_they_should(samples: t.Callable[[str], Warehouse]) -> None:
    found: dict[str, list[str]] = {}
    for model, audit, arguments in audited(samples("duckdb")):
        columns = ", ".join(column.name for column in column_list(arguments))
        found.setdefault(model, []).append(f"{audit}({columns})" if columns else audit)
    assert found == AUDITS


def test_every_audit_has_a_case(samples: t.Callable[[str], Warehouse]) -> None:
    automatic = {"not_null", "unique_values", "unique_combination_of_columns"}
    needed = {
        (model, audit) for model, audit, _ in audited(samples("duckdb")) if audit not in automatic
    }
    assert needed == {(case.model, case.audit) for case in CASES if case.audit not in automatic}


def test_audits_block_where_a_number_would_be_wrong_and_warn_elsewhere(
    samples: t.Callable[[str], Warehouse],
) -> None:
    context = samples("duckdb").context
    warning = {
        audit.name
        for model in context.models.values()
        for audit, arguments in model.audits_with_args
        if not audit.blocking
    }
    assert warning == WARNING_ONLY


@pytest.mark.parametrize(("execution_time", "stale"), [("2027-02-28", 0), ("2027-03-01", 1)])
def test_freshness_allows_24_months(sample: Warehouse, execution_time: str, stale: int) -> None:
    """The latest month is 2025-02: fresh during the 24 months that follow it."""
    results = sample.context.snapshot_evaluator.audit(
        sample.snapshot(REPORT),
        snapshots={snapshot.name: snapshot for snapshot in sample.context.snapshots.values()},
        execution_time=execution_time,
    )
    assert {r.audit.name: r.count for r in results}["data_freshness"] == stale


def test_an_empty_report_is_fresh(sample: Warehouse) -> None:
    found = failures_when_spoilt(sample, REPORT, "DELETE FROM {rep_sales_funnel_monthly}")
    assert found["data_freshness"] == 0
