"""Statements for the physical tables. PostgreSQL needs them; the other engines get none."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator, RuntimeStage


def _on_postgres(evaluator: MacroEvaluator, *stages: RuntimeStage) -> bool:
    """Tell whether a table is being created or filled on PostgreSQL, in one of `stages`."""
    return (
        evaluator.runtime_stage in {stage.value for stage in stages}
        and evaluator.engine_adapter.dialect == "postgres"
    )


@macro()
def postgres_index(evaluator: MacroEvaluator, *columns: exp.Column) -> exp.Expression | None:
    """Index the new physical table on `columns`, once, when it is created (PostgreSQL only).

    The index is unnamed: a named `IF NOT EXISTS` index would be skipped on the next version.

    Example: `@postgres_index(deal_id, stage_id);`
    """
    if not _on_postgres(evaluator, RuntimeStage.CREATING):
        return None
    keys = [exp.Ordered(this=column.copy(), nulls_first=False) for column in columns]
    return exp.Create(
        kind="INDEX",
        this=exp.Index(
            table=exp.to_table(evaluator.this_model, dialect="postgres"),
            params=exp.IndexParameters(columns=keys),
        ),
    )


@macro()
def postgres_analyze(evaluator: MacroEvaluator) -> exp.Expression | None:
    """Collect statistics on what was just filled (PostgreSQL only).

    Without them the planner guesses at fresh tables: a join took 9 s instead of 0.25 s. A table of
    which a run has rebuilt some deals is as it was to the planner; autovacuum looks after it. Not
    so int_touched_deals: the planner must know how many deals were touched last.

    Example: `@postgres_analyze();`
    """
    # SQLMesh creates and first fills a table in one stage, CREATING; later fills are EVALUATING.
    if not _on_postgres(evaluator, RuntimeStage.CREATING, RuntimeStage.EVALUATING):
        return None
    snapshot = evaluator.locals.get("snapshot")
    if snapshot and snapshot.is_incremental_unmanaged and snapshot.intervals:
        return None
    return exp.Analyze(kind="", this=exp.to_table(evaluator.this_model, dialect="postgres"))
