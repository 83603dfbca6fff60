"""Numbers that come out the same on every engine: shares, changes, days, percentiles."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator

# Engines round a tie (0.125 to two digits) up or to even, and a quotient that should be one lies a
# trace above it on one engine and below on the other. Shifted by less than any digit that is kept,
# no quotient is a tie, and all engines round it the same way.
_TIE_BREAKER = "0.0000000001"


def _sql(text: str, **parts: exp.Expression) -> exp.Expression:
    """Parse postgres SQL and put `parts` in the place of the columns of their names."""
    tree = exp.maybe_parse(text, dialect="postgres")
    return tree.transform(
        lambda node: (
            exp.paren(parts[node.name].copy())
            if isinstance(node, exp.Column) and node.name in parts
            else node
        )
    )


@macro()
def share(evaluator: MacroEvaluator, part: exp.Expression, whole: exp.Expression) -> exp.Expression:
    """Return part / whole as DECIMAL(12, 4): 0.25 is 25 %. NULL when the whole is 0 or NULL.

    Example: `@share(deals_count, first_step_deals_count)`
    """
    quotient = "part::DOUBLE PRECISION / NULLIF(whole, 0)::DOUBLE PRECISION"
    return _sql(f"({quotient} + {_TIE_BREAKER})::DECIMAL(12, 4)", part=part, whole=whole)


@macro()
def change(evaluator: MacroEvaluator, new: exp.Expression, old: exp.Expression) -> exp.Expression:
    """Return new / old - 1 as DECIMAL(12, 4): -0.25 is 25 % less. NULL when old is 0 or NULL.

    Example: `@change(deals_count, previous_month_deals_count)`
    """
    return share(evaluator, _sql("new - old", new=new, old=old), old)


@macro()
def seconds_between(
    evaluator: MacroEvaluator, earlier: exp.Expression, later: exp.Expression
) -> exp.Expression:
    """Return the whole seconds (BIGINT) from one TIMESTAMP to another; NULL when one is.

    Example: `@seconds_between(stage_entry_timestamp, stage_exit_timestamp)`
    """
    return _sql("FLOOR(EXTRACT(EPOCH FROM later - earlier))::BIGINT", earlier=earlier, later=later)


@macro()
def days(evaluator: MacroEvaluator, seconds: exp.Expression) -> exp.Expression:
    """Return seconds as days of 24 hours, DECIMAL(12, 2). NULL when the seconds are.

    Example: `@days(AVG(seconds_in_stage))`
    """
    return _sql(
        f"(seconds::DOUBLE PRECISION / 86400 + {_TIE_BREAKER})::DECIMAL(12, 2)", seconds=seconds
    )


@macro()
def amount(
    evaluator: MacroEvaluator, part: exp.Expression, whole: exp.Expression
) -> exp.Expression:
    """Return part / whole as DECIMAL(18, 2): an amount of money. NULL when the whole is 0 or NULL.

    Example: `@amount(won_value, won_deals_count)`
    """
    quotient = "part::DOUBLE PRECISION / NULLIF(whole, 0)::DOUBLE PRECISION"
    return _sql(f"({quotient} + {_TIE_BREAKER})::DECIMAL(18, 2)", part=part, whole=whole)


@macro()
def percentile(
    evaluator: MacroEvaluator, fraction: exp.Expression, values: exp.Expression
) -> exp.Expression:
    """Return the percentile of the values, interpolated; of none, and of NULLs, it is NULL.

    Example: `@percentile(0.5, seconds_in_stage)` is the median
    """
    return _sql(
        "PERCENTILE_CONT(fraction) WITHIN GROUP (ORDER BY values_)",
        fraction=fraction,
        values_=values,
    )
