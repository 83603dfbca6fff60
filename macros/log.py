"""Until when the log of changes tells what happened."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator


@macro()
def observed_until(evaluator: MacroEvaluator) -> exp.Expression:
    """Return when the log ends (TIMESTAMP, UTC): the newest change of a deal. NULL without deals.

    What is to happen within a time counts only where the log reaches past that time: a month is
    complete when the log reaches past its end.

    Example: `SELECT @observed_until() AS observed_until`
    """
    newest = exp.select("MAX(last_changed_at)").from_("pipedrive_analytics.fct_deals")
    return newest.subquery()
