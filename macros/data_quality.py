"""The data quality report: what the audits that warn return, and what else is odd in the input.

A rule stands once, in its file in audits/, whose first comment says what a returned row means.
Plans print the audits that a model lists; the report shows all of CHECKS.
"""

from __future__ import annotations

from pathlib import Path

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.audit import Audit, load_audit
from sqlmesh.core.dialect import parse
from sqlmesh.core.macros import MacroEvaluator
from sqlmesh.utils.errors import SQLMeshError

from macros.intervals import processed_until
from macros.json import is_json_array
from macros.measures import funnel_in_order

# The audit; its severity: a warning is listed by its model as well, an oddity is usual in exports
# and not worth a line in every plan; the table that the audit reads as @this_model; the table of
# whose rows the returned ones are a share, None when they are no rows of one.
CHECKS = (
    # what is missing, or cannot be counted
    ("rejected_rows", "warning", "stg_rejected_rows", None),
    ("vanished_stage_changes", "warning", "int_deal_stage_history", "int_deal_stage_history"),
    ("changes_not_yet_processed", "warning", "int_deal_stage_history", "stg_deal_changes"),
    ("activities_without_status", "warning", "stg_activity", "stg_activity"),
    ("calls_without_due_time", "warning", "fct_activities", "fct_activities"),
    ("activities_without_due_time", "oddity", "stg_activity", "stg_activity"),
    ("deals_without_creation", "oddity", "stg_deal_changes", "fct_deals"),
    ("deals_without_stage", "oddity", "fct_deals", "fct_deals"),
    ("deals_without_owner", "oddity", "fct_deals", "fct_deals"),
    # what refers to nothing
    ("unknown_deals", "warning", "stg_activity", "stg_activity"),
    ("unknown_activity_types", "warning", "stg_activity", "stg_activity"),
    ("unknown_users", "warning", "dim_users", None),
    ("unknown_stages", "warning", "int_deal_stage_history", "int_deal_stage_history"),
    ("unknown_lost_reasons", "warning", "fct_deals", "fct_deals"),
    ("options_are_lists", "warning", "stg_fields", "stg_fields"),
    ("unknown_fields", "oddity", "stg_deal_changes", "stg_deal_changes"),
    ("entries_outside_the_funnel", "warning", "fct_deal_stage_history", "fct_deal_stage_history"),
    ("steps_without_deals", "warning", "rep_sales_funnel_monthly", "dim_funnel_steps"),
    # what identifies less than it seems to
    ("repeated_creations", "oddity", "stg_deal_changes", "fct_deals"),
    ("reused_activity_ids", "oddity", "stg_activity", None),
    ("shared_emails", "oddity", "dim_users", None),
    ("shared_names", "oddity", "dim_users", None),
    # how deals move
    ("changes_before_creation", "oddity", "stg_deal_changes", "fct_deals"),
    ("late_first_stages", "oddity", "fct_deals", "fct_deals"),
    ("repeated_stage_entries", "oddity", "fct_stage_entries", "fct_stage_entries"),
    ("backward_moves", "oddity", "fct_stage_entries", "fct_stage_entries"),
    ("skipped_stages", "oddity", "fct_stage_entries", "fct_stage_entries"),
    ("same_second_entries", "oddity", "fct_stage_entries", None),
    ("lost_reasons_in_last_stage", "oddity", "fct_deals", "fct_deals"),
    # what the report looks like
    ("funnel_completeness", "warning", "rep_sales_funnel_monthly", None),
    ("funnel_progression_logic", "warning", "rep_sales_funnel_monthly", None),
    ("stage_activity_consistency", "warning", "rep_sales_funnel_monthly", None),
    ("months_in_the_future", "warning", "rep_sales_funnel_monthly", "rep_sales_funnel_monthly"),
    ("months_not_covered", "warning", "rep_sales_funnel_trends", None),
    ("first_step_drop", "warning", "rep_sales_funnel_trends", None),
    ("steps_gone_silent", "warning", "rep_sales_funnel_trends", "rep_sales_funnel_trends"),
    # how old the data is
    ("no_recent_changes", "warning", "fct_deals", None),
    ("report_recency", "warning", "rep_sales_funnel_monthly", None),
    ("data_freshness", "warning", "rep_sales_funnel_monthly", None),
)

# The texts of their audits. SQLMesh keeps them with the models that use them: when one changes,
# these are new versions.
AUDITS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[1] / "audits").rglob("*.sql"))
    if path.stem in {name for name, *_ in CHECKS}
}

SCHEMAS = {
    "stg": "pipedrive_staging",
    "int": "pipedrive_intermediate",
    "dim": "pipedrive_analytics",
    "fct": "pipedrive_analytics",
    "rep": "pipedrive_analytics",
}


@macro()
def failed_rows(
    evaluator: MacroEvaluator, name: exp.Expression, **arguments: exp.Expression
) -> exp.Expression:
    """Return the query of another audit, for @this_model, as a table: its rule is not repeated.

    The audit is one of CHECKS.

    Example: `FROM @failed_rows(data_freshness, freshness_max_age_months := 3) AS stale`
    """
    return _query_of(evaluator, _audit(name.name), **arguments).subquery()


@macro()
def data_quality_checks(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the query of all checks, one row each.

    Columns: check_name, severity, meaning (what a returned row is), checked_table and
    checked_rows_count, both NULL for a check whose rows are of no table.

    Example: `FROM @data_quality_checks() AS checks`
    """
    selects = []
    for name, severity, _, table in CHECKS:
        meaning = " ".join(comment.strip() for comment in _audit(name).query.comments or [])
        literals = {"check_name": name, "severity": severity, "meaning": meaning}
        columns = [exp.Literal.string(text).as_(alias) for alias, text in literals.items()]
        checked = exp.Literal.string(table) if table else exp.null()
        count = exp.func("COUNT", exp.Star()) if table else exp.null()
        select = exp.select(
            *columns,
            exp.cast(checked, "TEXT").as_("checked_table"),
            exp.cast(count, "BIGINT").as_("checked_rows_count"),
        )
        selects.append(select.from_(_table(table)) if table else select)
    return exp.union(*selects, distinct=False).subquery()


@macro()
def data_quality_findings(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the query of all rows that the checks return.

    Columns: check_name; finding, the columns of the returned row and their values as text; deal_id,
    NULL when the row has none.

    Example: `FROM @data_quality_findings() AS findings`
    """
    # What the audits name must be with the model, and it has no interval: what the history holds
    # tells how far it has been processed.
    evaluator.macros.setdefault("PROCESSED_UNTIL", processed_until)
    evaluator.macros.setdefault("FAILED_ROWS", failed_rows)
    evaluator.macros.setdefault("FUNNEL_IN_ORDER", funnel_in_order)
    evaluator.macros.setdefault("IS_JSON_ARRAY", is_json_array)
    evaluator.locals["end_ts"] = exp.Literal.string("1970-01-01")
    for name, value in _thresholds(evaluator).items():
        if value is None:
            raise SQLMeshError(f"The variable {name} is missing in config.yaml.")
        evaluator.locals[name] = exp.convert(value)
    selects = []
    for name, _, this_model, _ in CHECKS:
        evaluator.locals["this_model"] = _table(this_model)
        query = _query_of(evaluator, _audit(name))
        columns = query.named_selects
        deal = exp.column("deal_id") if "deal_id" in columns else exp.null()
        selects.append(
            exp.select(
                exp.Literal.string(name).as_("check_name"),
                _row_as_text(columns).as_("finding"),
                exp.cast(deal, "BIGINT").as_("deal_id"),
            ).from_(query.subquery("failed_rows"))
        )
    return exp.union(*selects, distinct=False).subquery()


def _thresholds(evaluator: MacroEvaluator) -> dict[str, float]:
    """Return the variables of config.yaml that audits read; SQLMesh finds them by these calls."""
    return {
        "freshness_max_age_months": evaluator.var("freshness_max_age_months"),
        "monitor_days_without_change": evaluator.var("monitor_days_without_change"),
        "monitor_first_step_drop": evaluator.var("monitor_first_step_drop"),
        "monitor_recency_months": evaluator.var("monitor_recency_months"),
        "monitor_silent_after_months": evaluator.var("monitor_silent_after_months"),
    }


def _audit(name: str) -> Audit:
    """Return an audit of the project."""
    return load_audit(parse(AUDITS[name], default_dialect="postgres"), dialect="postgres")


def _query_of(evaluator: MacroEvaluator, audit: Audit, **arguments: exp.Expression) -> exp.Query:
    """Return the query of an audit with its arguments, variables and macros replaced."""
    before = dict(evaluator.locals)
    evaluator.locals.update({**audit.defaults, **arguments})
    query = evaluator.transform(audit.query.copy())
    evaluator.locals.clear()
    evaluator.locals.update(before)
    return query


def _row_as_text(columns: list[str]) -> exp.Expression:
    """Return the columns of a row and their values as text, without those that are NULL."""
    # Not CONCAT_WS: sqlglot 30.8 makes it NULL when one of its values is.
    texts = [f"COALESCE(', {column} ' || {column}::TEXT, '')" for column in columns]
    return exp.maybe_parse(f"SUBSTRING({' || '.join(texts)} FROM 3)", dialect="postgres")


def _table(name: str) -> exp.Table:
    """Return the table of a model: the prefix tells its layer."""
    return exp.to_table(f"{SCHEMAS[name.split('_')[0]]}.{name}")
