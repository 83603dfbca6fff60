"""JSON, which every engine takes apart in its own way."""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator, RuntimeStage

ESCAPED_NUL = r"(^|[^\\])(\\\\)*\\u0000"  # and no backslash that is escaped itself


@macro()
def json_elements(evaluator: MacroEvaluator, array: exp.Expression) -> exp.Expression:
    """Return a table function: one row with one JSON column per element of a JSON array in TEXT.

    NULL and the empty array have no rows. Serves PostgreSQL and DuckDB.

    Example: `FROM fields CROSS JOIN LATERAL @json_elements(fields.options) AS elements(element)`
    """
    if _on_duckdb(evaluator):
        elements = exp.func("FROM_JSON", array, exp.Literal.string('["JSON"]'))
        return exp.Unnest(expressions=[elements])
    return exp.func("JSON_ARRAY_ELEMENTS", exp.cast(array, "JSON"))


@macro()
def is_json_array(evaluator: MacroEvaluator, text: exp.Expression) -> exp.Expression:
    r"""Return a condition: the TEXT is a JSON array that can be taken apart; NULL when it is NULL.

    An array with an escape that is no character of a text, such as \u0000 or half of a pair, is
    JSON, and yet PostgreSQL fails on it. Serves PostgreSQL, 16 or newer, and DuckDB.

    Example: `WHERE NOT @is_json_array(options)`
    """
    if _on_duckdb(evaluator):
        is_valid = exp.func("JSON_VALID", text)
        is_array = exp.func("JSON_TYPE", text).eq(exp.Literal.string("ARRAY"))
        has_nul = exp.func("REGEXP_MATCHES", text.copy(), exp.Literal.string(ESCAPED_NUL))
        return (
            exp.Case().when(is_valid, exp.and_(is_array, exp.not_(has_nul))).else_(is_valid.copy())
        )
    is_array = exp.Is(this=text, expression=exp.JSON(this="ARRAY"))
    # Only the type JSONB looks at escapes
    is_text = exp.func("PG_INPUT_IS_VALID", text.copy(), exp.Literal.string("jsonb"))
    return exp.paren(exp.and_(is_array, is_text))


def _on_duckdb(evaluator: MacroEvaluator) -> bool:
    """Tell whether the query is for DuckDB; while the project loads, it is for no engine yet."""
    return (
        evaluator.runtime_stage != RuntimeStage.LOADING.value
        and evaluator.engine_adapter.dialect == "duckdb"
    )
