"""Which deals a run rebuilds: those touched since the model last processed them.

A model by deal deletes the rows of the deals that int_touched_deals has seen touched, and inserts
what its query makes of them now. Since when is known exactly: each table has a watermark, the
latest touch that it has processed. The calendar of SQLMesh would be too coarse: after a landing of
everything, every further run of that day and the next one would rebuild everything.

The watermark moves when the last model of a plan or run has been evaluated, since SQLMesh gets
there only if all audits have passed. Until then the new one is pending, and the audits look at the
deals since the old one. So rows that an audit has refused are built and audited anew by the next
run.
"""

from __future__ import annotations

from sqlglot import exp
from sqlmesh import macro
from sqlmesh.core.macros import MacroEvaluator, RuntimeStage

BEGINNING = "0001-01-01"  # before any touch: all deals are processed


def _is_filling(evaluator: MacroEvaluator) -> bool:
    """Tell whether a plan or run is filling the model's table."""
    stages = {RuntimeStage.CREATING.value, RuntimeStage.EVALUATING.value}
    return evaluator.runtime_stage in stages and "snapshot" in evaluator.locals


def _is_first(evaluator: MacroEvaluator) -> bool:
    """Tell whether SQLMesh is about to fill an empty table, or to restate one."""
    return (
        evaluator.runtime_stage == RuntimeStage.CREATING.value
        or not evaluator.locals["snapshot"].intervals
    )


def _table_name(evaluator: MacroEvaluator) -> str:
    """Return schema and name of the physical table that is filled or audited."""
    if _is_filling(evaluator):  # an EMBEDDED model is rendered for the one that it is part of
        name = evaluator.resolve_table(evaluator.locals["snapshot"].name)
    else:
        name = evaluator.this_model
    table = exp.to_table(name, dialect="postgres")
    return f"{table.db}.{table.name}"


def _watermark(evaluator: MacroEvaluator) -> tuple[str, bool]:
    """Return the watermark of the model's table, and whether a newer one is pending."""
    if "watermark" not in evaluator.locals:  # an evaluator renders one statement
        row = evaluator.engine_adapter.fetchone(
            "SELECT CAST(processed_until AS TEXT), pending_until IS NOT NULL "
            f"FROM pipedrive_ops.watermarks WHERE table_name = '{_table_name(evaluator)}'"
        )
        since, is_pending = row or (None, False)
        evaluator.locals["watermark"] = since or BEGINNING, is_pending
    return evaluator.locals["watermark"]


def _since(evaluator: MacroEvaluator) -> str:
    """Return the time after which touches are to be processed: BEGINNING for all of them."""
    return BEGINNING if _is_first(evaluator) else _watermark(evaluator)[0]


def _audited_since(evaluator: MacroEvaluator) -> str:
    """Return the watermark behind which a plan or run audits: BEGINNING for all rows."""
    if evaluator.runtime_stage != RuntimeStage.AUDITING.value:
        return BEGINNING
    since, is_pending = _watermark(evaluator)
    return since if is_pending else BEGINNING


def _time(since: str) -> exp.Expression:
    """Return a watermark as TIMESTAMP."""
    return exp.cast(exp.Literal.string(since), "TIMESTAMP")


def _start(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the start of the interval, which stands for the watermark where no table has one."""
    return evaluator.transform(exp.maybe_parse("@start_ts::TIMESTAMP", dialect="postgres"))


def _touched(since: exp.Expression, deal_id: exp.Expression) -> exp.Expression:
    """Return a condition: the deal was touched after a watermark."""
    touched_deals = (
        exp.select("deal_id")
        .from_("pipedrive_intermediate.int_touched_deals")
        .where(exp.column("loaded_at") > since)
    )
    return exp.paren(deal_id.copy().isin(query=touched_deals))


@macro()
def watermarks_exist(evaluator: MacroEvaluator) -> list[exp.Expression] | None:
    """Create the table of watermarks, and forget those that a failed plan or run left pending."""
    if evaluator.runtime_stage != RuntimeStage.BEFORE_ALL.value:
        return None
    return [
        exp.maybe_parse(statement, dialect="postgres")
        for statement in (
            "CREATE SCHEMA IF NOT EXISTS pipedrive_ops",
            "CREATE TABLE IF NOT EXISTS pipedrive_ops.watermarks "
            "(table_name TEXT, processed_until TIMESTAMP, pending_until TIMESTAMP)",
            "UPDATE pipedrive_ops.watermarks SET pending_until = NULL "
            "WHERE NOT pending_until IS NULL",
        )
    ]


@macro()
def processed_until(evaluator: MacroEvaluator) -> exp.Expression:
    """Return the latest touch (TIMESTAMP, UTC) that the model's table has processed.

    In a unit test, and in `sqlmesh evaluate`, it is the start of the interval.

    Example: `WHERE touched_deals.loaded_at > @processed_until()`
    """
    if not _is_filling(evaluator):
        return _start(evaluator)
    return _time(_since(evaluator))


@macro()
def forget_touched_deals(
    evaluator: MacroEvaluator, or_where: exp.Expression | None = None
) -> exp.Expression | None:
    """Delete the rows of the deals that the query gives anew, before it inserts them.

    With a condition, rows that meet it are deleted as well.

    Example: `@forget_touched_deals();` before the query
    """
    if not _is_filling(evaluator) or _is_first(evaluator):  # then SQLMesh empties the table
        return None
    since = _since(evaluator)
    rows = exp.delete(evaluator.this_model, dialect="postgres")
    if since != BEGINNING:
        touched = _touched(_time(since), exp.column("deal_id"))
        rows = rows.where(exp.or_(touched, or_where) if or_where else touched)
    return rows


@macro()
def note_processed(
    evaluator: MacroEvaluator, source: exp.Column | None = None
) -> list[exp.Expression] | None:
    """Note as pending that the model has processed all touches that `source` has by now.

    Without a source, these are the touches in the model itself.

    Example: `@note_processed(pipedrive_intermediate.int_touched_deals);` after the query
    """
    if not _is_filling(evaluator):
        return None
    since = _since(evaluator)
    own = f"table_name = '{_table_name(evaluator)}'"
    table = f"{source.table}.{source.name}" if source else evaluator.this_model
    return [
        exp.maybe_parse(statement, dialect="postgres")
        for statement in (
            f"DELETE FROM pipedrive_ops.watermarks WHERE {own}",
            "INSERT INTO pipedrive_ops.watermarks (table_name, processed_until, pending_until) "
            f"SELECT '{_table_name(evaluator)}' AS table_name, "
            f"NULLIF(CAST('{since}' AS TIMESTAMP), CAST('{BEGINNING}' AS TIMESTAMP)) "
            f"AS processed_until, MAX(loaded_at) AS pending_until FROM {table}",
        )
    ]


@macro()
def all_is_processed(evaluator: MacroEvaluator) -> exp.Expression | None:
    """Move the watermarks: the plan or run has come to its last model, so all audits have passed.

    Example: `@all_is_processed();` after the query of the last model
    """
    if not _is_filling(evaluator):
        return None
    return exp.maybe_parse(
        "UPDATE pipedrive_ops.watermarks SET processed_until = pending_until, "
        "pending_until = NULL WHERE NOT pending_until IS NULL",
        dialect="postgres",
    )


@macro()
def was_touched(evaluator: MacroEvaluator, deal_id: exp.Expression) -> exp.Expression:
    """Return a condition: the deal is one of those that the plan or run rebuilds.

    In an audit outside of a plan or run, as in `make audit`, it is TRUE: all rows are looked at. In
    a unit test, and in `sqlmesh evaluate`, these are the deals touched since the interval began.

    Example: `not_null(columns := deal_id, condition := @was_touched(deal_id))`
    """
    if _is_filling(evaluator):
        since = _since(evaluator)
    elif evaluator.runtime_stage == RuntimeStage.AUDITING.value:
        since = _audited_since(evaluator)
    else:
        return _touched(_start(evaluator), deal_id)
    return _touched(_time(since), deal_id) if since != BEGINNING else exp.true()


@macro()
def has_arrived(evaluator: MacroEvaluator, loaded_at: exp.Expression) -> exp.Expression:
    """Return a condition for audits of staging: the row has arrived since the last plan or run.

    Outside of a plan or run, as in `make audit`, it is TRUE: all rows are looked at.

    Example: `not_null(columns := deal_id, condition := @has_arrived(loaded_at))`
    """
    since = _audited_since(evaluator)
    if since == BEGINNING:
        return exp.true()
    return exp.paren(exp.or_(loaded_at.copy() > _time(since), loaded_at.copy().is_(exp.null())))
