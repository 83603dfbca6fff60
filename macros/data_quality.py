"""Text of a finding: the row that a data quality check returned."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator


@macro()
def row_as_text(evaluator: MacroEvaluator, *columns: exp.Column) -> exp.Expression:
    """Return columns and their values as TEXT, without those that are NULL.

    Example: `@row_as_text(deal_id, stage_id)` is `deal_id 7, stage_id 2`
    """
    # Not CONCAT_WS: sqlglot 30.8 makes it NULL when one of its values is.
    texts = [f"COALESCE(', {column.name} ' || {column.name}::TEXT, '')" for column in columns]
    return exp.maybe_parse(f"SUBSTRING({' || '.join(texts)} FROM 3)", dialect="postgres")
