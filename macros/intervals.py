"""The interval that an incremental model processes: its end, and what was removed in it."""

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
    end = "@end_ts::TIMESTAMP" if is_sample else "TIMESTAMP '9999-12-31'"
    return evaluator.transform(exp.maybe_parse(end, dialect="postgres"))
