"""Which exchange rate a deal counts by."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator


@macro()
def rate_holds(
    evaluator: MacroEvaluator, won_at: exp.Expression, rates: exp.Expression
) -> exp.Expression:
    """Return whether a rate (BOOLEAN) is that of the day on which a deal was won.

    Where nobody knows that day, or the deal is not won, the last rate holds.

    Args:
        evaluator: of SQLMesh.
        won_at: when the deal was won, or NULL.
        rates: the alias of dim_exchange_rates; its currency is not looked at.

    Example: `deals.currency = rates.currency AND @rate_holds(deals.won_at, rates)`

    """
    first, after = (exp.column(name, table=rates.name) for name in ("valid_from", "valid_to"))
    day = exp.func("COALESCE", won_at, exp.cast(exp.Literal.string("9999-12-30"), "TIMESTAMP"))
    end = exp.func("COALESCE", after, exp.cast(exp.Literal.string("9999-12-31"), "DATE"))
    return exp.and_(day >= first, day.copy() < end)
