"""Which columns a column is made from, as far as its own model reads.

sqlglot follows a column through the CTEs of a query. A COUNT(*) names no column, and sqlglot ends
there: the number of deals would come from nowhere. Rows are counted, so it is made from what
identifies a row of what stands in FROM: the grain of a model; of a CTE that grain or the keys of
its GROUP BY, or all its columns if it does not pass them on.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from sqlglot import exp
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer import Scope, build_scope, qualify, traverse_scope

if t.TYPE_CHECKING:
    from sqlmesh.core.model import Model

PASSED_ON, RENAMED, DERIVED, AGGREGATED = "passthrough", "rename", "derived", "aggregated"


class Origin(t.NamedTuple):
    """A column that another one is made from.

    Attributes:
        model: the name that SQLMesh gives the model which it is a column of.
        column: its name there.
        change: what becomes of it on the way: PASSED_ON, RENAMED, DERIVED or AGGREGATED.

    """

    model: str
    column: str
    change: str


def origins_of(model: Model, models: Mapping[str, Model]) -> dict[str, list[Origin]]:
    """Return the columns that each column of a model is made from; none for a constant.

    EMBEDDED models count as models of their own, and are not looked through.

    Args:
        model: of which the columns are.
        models: all models, by the names that SQLMesh gives them.

    """
    from sqlmesh.core.dialect import normalize_mapping_schema, normalize_model_name

    if not model.is_sql:
        return {}

    def name_of(table: exp.Table) -> str:
        return normalize_model_name(table, model.default_catalog, model.dialect)

    query = qualify.qualify(
        model.render_query_or_raise().copy(),
        dialect=model.dialect,
        schema=normalize_mapping_schema(model.mapping_schema, dialect=model.dialect),
        validate_qualify_columns=False,
        infer_schema=True,
    )
    for scope in traverse_scope(query):
        for count in scope.find_all(exp.Count):
            if isinstance(count.this, exp.Star):
                keys = _row_keys(scope, lambda table: _grain(models[name_of(table)]))
                count.set("this", keys[0])
                count.set("expressions", keys[1:])
    scope = build_scope(query)
    found: dict[str, list[Origin]] = {}
    for column in model.columns_to_types or {}:
        root = lineage(
            column,
            sql=query,
            scope=scope,
            trim_selects=False,
            dialect=model.dialect,
            copy=False,
        )
        origins = {
            Origin(name_of(table), name, _change(path, column, name)): None
            for path, table, name in _ends(root)
        }
        found[column] = sorted(origins)
    return found


def _grain(model: Model) -> list[str]:
    """Return the columns that identify a row of a model: all of them if it does not say."""
    named = [column.name for grain in model.grains for column in grain.find_all(exp.Column)]
    return named or list(model.columns_to_types or {})


def _row_keys(scope: Scope, grain: t.Callable[[exp.Table], list[str]]) -> list[exp.Column]:
    """Return the columns that identify a row of what a query's FROM names first."""
    alias = scope.expression.args["from_"].alias_or_name
    source = scope.sources[alias]
    names = grain(source) if isinstance(source, exp.Table) else _identifying(source, grain)
    return [exp.column(name, table=alias, quoted=True) for name in names]


def _identifying(scope: Scope, grain: t.Callable[[exp.Table], list[str]]) -> list[str]:
    """Return the columns of a CTE or subquery that identify its rows, all if that is unclear."""
    query = scope.expression
    everything: list[str] = query.named_selects
    if not isinstance(query, exp.Select):
        return everything
    if group := query.args.get("group"):
        keys = list(group.expressions)
    else:
        keys = _row_keys(scope, grain)
    given = {select.unalias(): select.alias_or_name for select in query.selects}
    return [given[key] for key in keys] if all(key in given for key in keys) else everything


def _ends(root: Node) -> Iterator[tuple[list[Node], exp.Table, str]]:
    """Yield the tables at which a column's lineage ends, the way there, and the column."""
    ways = [[root]]
    while ways:
        way = ways.pop()
        node = way[-1]
        if not node.downstream and isinstance(node.expression, exp.Table):
            yield way[:-1], node.expression, exp.to_column(node.name).name
        ways += [[*way, below] for below in node.downstream]


def _change(way: list[Node], column: str, origin: str) -> str:
    """Say what becomes of a column on the way; a cast alone is no change."""
    expressions = [node.expression.unalias() for node in way]
    if any(expression.find(exp.AggFunc) for expression in expressions):
        return AGGREGATED
    if not all(_is_column(expression) for expression in expressions):
        return DERIVED
    return PASSED_ON if column == origin else RENAMED


def _is_column(expression: exp.Expr) -> bool:
    """Tell whether an expression is a column, maybe in another type."""
    while isinstance(expression, exp.Cast | exp.Paren):
        expression = expression.this
    return isinstance(expression, exp.Column)
