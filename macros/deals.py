"""Which deals count at all."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator


@macro()
def is_counted(evaluator: MacroEvaluator, deal_id: exp.Expression) -> exp.Expression:
    """Return a condition: the deal was not deleted, or the variable says that deleted ones count.

    A merge deletes the deal that is merged into another, and so does turning it into a lead.
    Pipedrive's own reports leave such deals out.

    Example: `WHERE @is_counted(changes.deal_id)`
    """
    if evaluator.var("count_deleted_deals"):
        return exp.true()
    deleted = exp.select("deal_id").from_("pipedrive_staging.stg_deals").where("is_deleted")
    return exp.not_(exp.paren(deal_id.copy().isin(query=deleted)))
