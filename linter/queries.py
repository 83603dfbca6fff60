"""Query rules: what keeps a model's numbers and types the same on every engine, at any time."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp
from sqlmesh.core.linter.rule import Rule, RuleViolation
from sqlmesh.core.model import Model, SqlModel

CLOCKS = (
    exp.CurrentDate,
    exp.CurrentDatetime,
    exp.CurrentTime,
    exp.CurrentTimestamp,  # NOW() as well
    exp.CurrentTimestampLTZ,
    exp.Localtime,
    exp.Localtimestamp,
)
DECIMALS = (exp.DataType.Type.DECIMAL, exp.DataType.Type.BIGDECIMAL)


def sources_of(model: Model) -> Iterator[tuple[str, exp.Expression]]:
    """Yield (where, expression) of all that the model's author wrote: query, columns, audits."""
    if isinstance(model, SqlModel):
        yield "the query", model.query
    for column, data_type in (model.columns_to_types_ or {}).items():
        yield f"the column {column}", data_type
    for audit, arguments in model.audits_with_args:
        for expression in (audit.query, *arguments.values()):
            yield f"the audit {audit.name}", expression


def final_selects(query: exp.Expression) -> Iterator[exp.Expression]:
    """Yield the SELECTs whose rows are the query's: itself, or the branches of its UNION."""
    query = query.unnest()
    if isinstance(query, exp.SetOperation):
        yield from final_selects(query.left)
        yield from final_selects(query.right)
    else:
        yield query


class NoUncastColumns(Rule):
    """The final SELECT lists and casts every column: its types are the same on every engine."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept SQL models whose every output column is a cast."""
        if not isinstance(model, SqlModel):
            return None
        selects = list(final_selects(model.query))
        if not all(isinstance(select, exp.Select) for select in selects):
            return self.violation("Write the final SELECT out, with a cast around every column.")
        columns = [column for select in selects for column in select.expressions]
        uncast = [column for column in columns if not isinstance(column.unalias(), exp.Cast)]
        if not uncast:
            return None
        names = ", ".join(column.alias_or_name or column.sql("postgres") for column in uncast)
        return self.violation(f"Cast {names} in the final SELECT: (expression)::TYPE AS name.")


class NoGroupByOrdinals(Rule):
    """GROUP BY names columns: a number changes its meaning when a column is added."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept SQL models that group by columns and expressions only."""
        groups = model.query.find_all(exp.Group) if isinstance(model, SqlModel) else ()
        keys = [key for group in groups for key in group.expressions]
        ordinals = [key.sql() for key in keys if isinstance(key, exp.Literal) and key.is_int]
        if not ordinals:
            return None
        return self.violation(f"Name the columns in GROUP BY {', '.join(ordinals)}.")


class NoOrderBy(Rule):
    """Rows of a table have no order; who reads them sorts them."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept SQL models without ORDER BY at the top level."""
        if not isinstance(model, SqlModel) or not model.query.args.get("order"):
            return None
        return self.violation("Remove the ORDER BY at the end: a table keeps no order.")


class NoBareDecimals(Rule):
    """A decimal has precision and scale: without them 2.1 becomes 2 on Spark."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept decimals with both, wherever the author wrote a type."""
        return [
            self.violation(
                f"{data_type.sql('postgres')} in {where} needs precision and scale. "
                "Write how many digits it holds, such as DECIMAL(12, 4)."
            )
            for where, expression in sources_of(model)
            for data_type in expression.find_all(exp.DataType)
            if data_type.this in DECIMALS and len(data_type.expressions) != 2
        ]


class NoWallClock(Rule):
    """Nothing depends on the wall clock: a run can be repeated, and a test can freeze it."""

    def check_model(self, model: Model) -> list[RuleViolation]:
        """Accept models whose query and audits do not ask what time it is."""
        return [
            self.violation(
                f"{clock.sql('postgres')} in {where} is the wall clock. "
                "Use @execution_ds or @execution_ts, or the interval's @start_ts and @end_ts."
            )
            for where, expression in sources_of(model)
            for clock in expression.find_all(*CLOCKS)
        ]


class NoMissingAnalyze(Rule):
    """PostgreSQL gets statistics on every table that is filled: joins guess without them."""

    def check_model(self, model: Model) -> RuleViolation | None:
        """Accept materialized models whose last statement is `@postgres_analyze()`."""
        last = [statement.sql(model.dialect) for statement in model.post_statements[-1:]]
        if not model.kind.is_materialized or last == ["@postgres_analyze()"]:
            return None
        # SQLMesh takes the only statement of a SEED for its query, and drops it.
        before = "@INSERT_SEED(); and " if model.kind.is_seed else ""
        return self.violation(f"End the model with {before}@postgres_analyze().")
