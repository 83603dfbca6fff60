"""Times of the interval that is processed."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator

_FOREVER = "TIMESTAMP '9999-12-31'"


@macro()
def last_arrival(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the latest arrival (TIMESTAMP, UTC) that the interval takes in.

    Changes of the sample arrive when they happened, so an interval must not see those after its
    end. Of landed tables it takes whatever is there: it has arrived, and a plan or run that stopped
    at midnight would not show what was landed today.

    Example: `WHERE loaded_at BETWEEN @start_ts::TIMESTAMP AND @last_arrival()`
    """
    return _parse(evaluator, "@end_ts::TIMESTAMP" if _is_sample(evaluator) else _FOREVER)


@macro()
def arrived_by_now(evaluator: MacroEvaluator, history: exp.Expression) -> exp.Expression:
    """Return the latest arrival (TIMESTAMP, UTC) that a FULL model takes in, which has no interval.

    Of the sample that is the end of the day before the execution date, or where the incremental
    `history` that the model stands beside is further, its latest arrival; of landed tables,
    whatever is there.

    Example: `WHERE loaded_at <= @arrived_by_now(pipedrive_intermediate.int_deal_stage_history)`
    """
    latest = f"(SELECT MAX(loaded_at) FROM {history.sql('postgres')})"
    yesterday = "@execution_ds::TIMESTAMP - INTERVAL '1 MICROSECOND'"
    now = f"GREATEST({yesterday}, {latest})"
    return _parse(evaluator, now if _is_sample(evaluator) else _FOREVER)


@macro()
def processed_until(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the time (TIMESTAMP, UTC) up to which the audited history holds what has arrived.

    That is its latest arrival, because rows may be landed between its computation and the audit.
    The sample may have no arrival at the interval's end. There the table can be further, too: after
    a refresh within the day, or for `sqlmesh audit`, which without an end stands at 1970.

    Example: `WHERE loaded_at <= @processed_until()`
    """
    latest = "COALESCE((SELECT MAX(loaded_at) FROM @this_model), @end_ts::TIMESTAMP)"
    now = f"GREATEST(@end_ts::TIMESTAMP, {latest})"
    return _parse(evaluator, now if _is_sample(evaluator) else latest)


def _is_sample(evaluator: MacroEvaluator) -> bool:
    """Tell whether staging reads the sample, or what was landed."""
    return evaluator.var("raw_schema") == "pipedrive_seed"


def _parse(evaluator: MacroEvaluator, sql: str) -> exp.Expression:
    """Return an expression of the postgres dialect with its variables replaced."""
    return evaluator.transform(exp.maybe_parse(sql, dialect="postgres"))
