"""Times of the interval that is processed."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator


@macro()
def processed_until(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the time (TIMESTAMP, UTC) up to which the audited history holds what has arrived.

    That is the interval's end, or later: a refresh within the day takes the table further than the
    whole days of a plan, and `sqlmesh audit` without an end stands at 1970.

    Example: `WHERE loaded_at <= @processed_until()`
    """
    return evaluator.transform(
        exp.maybe_parse(
            """
            GREATEST(
              @end_ts::TIMESTAMP,
              COALESCE((SELECT MAX(loaded_at) FROM @this_model), @end_ts::TIMESTAMP)
            )
            """,
            dialect="postgres",
        )
    )
