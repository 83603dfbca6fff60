"""What audits of the input compare with: prod as it is, plausible times, lists in variables."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator, RuntimeStage


@macro()
def plausible_time(evaluator: MacroEvaluator, time: exp.Expression) -> exp.Expression:
    """Return a TIMESTAMP, or NULL where its year is not between 1970 and 2099.

    Nobody means the year 0202 or 9999, and a report has a row for each month in between.
    The contract of files, pipedrive_funnel/contract.py, has the same years.

    Example: `@plausible_time(due_timestamp)`
    """
    is_plausible = exp.and_(
        time.copy() >= exp.cast(exp.Literal.string("1970-01-01"), "TIMESTAMP"),
        time.copy() < exp.cast(exp.Literal.string("2100-01-01"), "TIMESTAMP"),
    )
    return exp.Case().when(is_plausible, time.copy())


@macro()
def is_listed(
    evaluator: MacroEvaluator, value: exp.Expression, listed: exp.Expression
) -> exp.Expression:
    """Return a condition: a value is in a list that a variable holds as text, such as '12, 7.1'.

    A number counts with and without a zero decimal: 12 and 12.0 are one.

    Example: `NOT @is_listed(stage_id, @stages_outside_funnel)`
    """
    text = listed.name if isinstance(listed, exp.Literal) else listed.sql()
    numbers = [part.strip() for part in text.split(",") if part.strip()]
    if not numbers:
        return exp.false()
    return exp.In(
        this=exp.cast(value, "DECIMAL(18, 1)"),
        expressions=[exp.Literal.number(number) for number in numbers],
    )


@macro()
def rows_in_prod(evaluator: MacroEvaluator, table: exp.Column) -> exp.Expression:
    """Return the number of rows that a view of prod has now; NULL where there is no such view.

    SQLMesh would put the planned table in the place of a name in a query, so it is counted here.

    Example: `@rows_in_prod(pipedrive_seed.deal_changes)`
    """
    if evaluator.runtime_stage != RuntimeStage.AUDITING.value:
        return exp.null()
    name = exp.to_table(f"{table.table}.{table.name}")
    if not evaluator.engine_adapter.table_exists(name):
        return exp.null()
    (rows,) = evaluator.engine_adapter.fetchone(exp.select(exp.Count(this=exp.Star())).from_(name))
    return exp.Literal.number(rows)
