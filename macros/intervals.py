"""Times of the interval that is processed."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator


@macro()
def last_arrival(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the latest arrival (TIMESTAMP, UTC) that the interval takes in.

    Changes of the sample arrive when they happened, so an interval must not see those after its
    end. Of landed tables it takes whatever is there: it has arrived, and a plan or run that stopped
    at midnight would not show what was landed today.

    Example: `WHERE loaded_at BETWEEN @start_ts::TIMESTAMP AND @last_arrival()`
    """
    is_sample = evaluator.var("raw_schema") == "pipedrive_seed"
    return _parse(evaluator, "@end_ts::TIMESTAMP" if is_sample else "TIMESTAMP '9999-12-31'")


@macro()
def processed_until(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the time (TIMESTAMP, UTC) up to which the audited history holds what has arrived.

    That is its latest arrival, because rows may be landed between its computation and the audit.
    The sample may have no arrival at the interval's end. There the table can be further, too: after
    a refresh within the day, or for `sqlmesh audit`, which without an end stands at 1970.

    Example: `WHERE loaded_at <= @processed_until()`
    """
    latest = "COALESCE((SELECT MAX(loaded_at) FROM @this_model), @end_ts::TIMESTAMP)"
    is_sample = evaluator.var("raw_schema") == "pipedrive_seed"
    return _parse(evaluator, f"GREATEST(@end_ts::TIMESTAMP, {latest})" if is_sample else latest)


def _parse(evaluator: MacroEvaluator, sql: str) -> exp.Expression:
    """Return an expression of the postgres dialect with its variables replaced."""
    return evaluator.transform(exp.maybe_parse(sql, dialect="postgres"))
