"""What is known of an environment: models, columns, audits, unit tests and tables."""

from __future__ import annotations

import os
import typing as t
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlglot import exp

from pipedrive_funnel.catalog.lineage import Origin, origins_of
from pipedrive_funnel.terminal import console
from pipedrive_funnel.warehouse import with_parents

if t.TYPE_CHECKING:
    from sqlmesh.core.model import Model
    from sqlmesh.core.model.definition import AuditResult
    from sqlmesh.core.test.discovery import ModelTestMetadata

    from pipedrive_funnel.warehouse import Database, Planned


@dataclass(frozen=True)
class Table:
    """A table or view of the database.

    Attributes:
        columns: their types there, by name.
        rows: how many it has.

    """

    columns: dict[str, str]
    rows: int


@dataclass(frozen=True)
class Audit:
    """An audit of a model, run over all rows.

    Attributes:
        name: of the audit.
        arguments: as the header of the model has them.
        meaning: what a returned row means, if the audit says so.
        blocks: whether a plan ends where it finds rows.
        rows: how many it has found; None if it was not run.
        query: that finds them.
        file: that defines it, from the project's directory; None for SQLMesh's own.

    """

    name: str
    arguments: dict[str, exp.Expr]
    meaning: str
    blocks: bool
    rows: int | None
    query: str
    file: str | None


@dataclass(frozen=True)
class Shown:
    """A model of an environment, and all that the catalog shows of it.

    Attributes:
        model: as it was planned.
        relation: the view or table that people read; None if it is part of others' queries.
        file: that defines it, from the project's directory.
        written: the text of that file; what SQLMesh has kept of it if the file has changed since.
        compiled: the query as the engine gets it, on the views of the environment.
        parents: the models that it names, by the names that SQLMesh gives them.
        origins: of each column.
        table: what the database has; None if there is no table.
        ran_at: when it was last computed, UTC; None if that never happens.
        audits: with their results.
        audited_from: when they began, UTC.
        audited_to: when they ended, UTC.
        tests: its unit tests.

    """

    model: Model
    relation: exp.Table | None
    file: str
    written: str
    compiled: str
    parents: list[str]
    origins: dict[str, list[Origin]]
    table: Table | None
    ran_at: datetime | None
    audits: list[Audit]
    audited_from: datetime
    audited_to: datetime
    tests: list[ModelTestMetadata]


def read(database: Database, environment: str) -> dict[str, Shown]:
    """Read an environment, and run its audits over all rows of its tables. Nothing is written.

    Returns:
        The models by the names that SQLMesh gives them, also those that the project has no more.

    Raises:
        FunnelError: there is no such environment, or an audit cannot be run.

    """
    planned = database.planned(environment)
    adapter, project = database.adapter, database.project
    models = {name: snapshot.model for name, snapshot in planned.snapshots.items()}
    views = {
        name: _without_catalog(
            snapshot.qualified_view_name.table_for_environment(
                planned.environment.naming_info, dialect=adapter.dialect
            )
        )
        for name, snapshot in planned.snapshots.items()
    }
    tests = defaultdict(list)
    for test in planned.project.select_tests():
        model = planned.project.get_model(test.model_name)
        tests[model.fqn if model else ""].append(test)
    shown = {}
    with console.status("Auditing"):
        began = datetime.now(UTC)
        for snapshot, results in database.audited(environment):
            name, model = snapshot.name, snapshot.model
            relation = None if snapshot.is_embedded else views[name]
            shown[name] = Shown(
                model=model,
                relation=relation,
                file=_file(planned.project.models.get(name, model), project),
                written=_written(planned, name),
                compiled=_compiled(planned, name, views, adapter.dialect),
                parents=sorted(model.depends_on & models.keys()),
                origins=origins_of(model, models),
                table=_table(database, relation) if relation else None,
                ran_at=_time(snapshot.last_altered_ts),
                audits=[_audit(result, adapter.dialect, project) for result in results],
                audited_from=began,
                audited_to=(began := datetime.now(UTC)),
                tests=sorted(tests[name], key=lambda test: test.test_name),
            )
    return dict(sorted(shown.items()))


def _without_catalog(table: exp.Table) -> exp.Table:
    """Return a table as people write it; there is one database."""
    table = table.copy()
    table.set("catalog", None)
    return table


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _file(model: Model, project: Path) -> str:
    """Return the file that defines a model or audit, from the project's directory."""
    return os.path.relpath(model._path, project) if model._path else ""


def _written(planned: Planned, name: str) -> str:
    """Return a model as it is written; of external models it is the contract."""
    from sqlmesh.core.dialect import format_model_expressions

    model = planned.snapshots[name].model
    if model.kind.is_external:
        return ""
    here = planned.project.snapshots.get(name)
    then = planned.snapshots[name].fingerprint
    if (
        here
        and here.model._path
        and (
            here.fingerprint.data_hash == then.data_hash
            and here.fingerprint.metadata_hash == then.metadata_hash
        )
    ):
        return here.model._path.read_text(encoding="utf-8")
    return format_model_expressions(model.render_definition(include_python=False), model.dialect)


def _compiled(planned: Planned, name: str, views: dict[str, exp.Table], dialect: str) -> str:
    """Return a model's query on an environment's views, with EMBEDDED models in their place."""
    from sqlmesh.core.macros import RuntimeStage

    model = planned.snapshots[name].model
    if not model.is_sql:
        return ""
    read = with_parents(planned.snapshots[name], planned.snapshots)
    query = model.render_query_or_raise(
        snapshots=read,
        table_mapping={key: views[key].sql(dialect=dialect) for key in read},
        engine_adapter=planned.project.engine_adapter,
        # For this engine: macros give PostgreSQL's SQL before. Without a snapshot, for all deals
        runtime_stage=RuntimeStage.EVALUATING,
    )
    for table in query.find_all(exp.Table):
        table.pop_comments()  # SQLMesh notes which table it has replaced by which
    return query.sql(dialect=dialect, pretty=True)


def _table(database: Database, relation: exp.Table) -> Table | None:
    """Return what the database has under a name."""
    adapter = database.adapter
    if not adapter.table_exists(relation):
        return None
    types = adapter.columns(relation)
    (rows,) = adapter.fetchone(exp.select(exp.Count(this=exp.Star())).from_(relation))
    return Table({name: kind.sql(adapter.dialect) for name, kind in types.items()}, rows)


def _audit(result: AuditResult, dialect: str, project: Path) -> Audit:
    """Return what SQLMesh says of an audit."""
    query = result.query
    audit = result.audit
    return Audit(
        name=audit.name,
        arguments=dict(result.audit_args),
        meaning=" ".join(comment.strip() for comment in (query.comments if query else None) or []),
        blocks=result.blocking,
        rows=None if result.skipped else result.count or 0,
        query=query.sql(dialect=dialect, pretty=True, comments=False) if query else "",
        file=os.path.relpath(audit._path, project) if audit._path else None,
    )
