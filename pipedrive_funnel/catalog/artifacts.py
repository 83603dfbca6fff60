"""An environment as dbt's artifacts, in the schema that dbt publishes at schemas.getdbt.com.

A SQLMesh model is a dbt model, a SEED model a seed, an external model a source, an audit a test of
its model, and an EMBEDDED model is ephemeral. What dbt has no word for is in `meta`: kind, grain,
cron and owner.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlglot import exp

from pipedrive_funnel.catalog.reading import Audit, Shown

if t.TYPE_CHECKING:
    from sqlmesh.core.model import Model
    from sqlmesh.core.test.discovery import ModelTestMetadata

PROJECT_NAME = "pipedrive_funnel"
SCHEMA_URL = "https://schemas.getdbt.com/dbt"
DBT_VERSION = "1.8.0"  # the first with these schemas; readers expect a version of dbt here
MATERIALIZED = {"VIEW": "view", "FULL": "table", "EMBEDDED": "ephemeral", "SEED": "seed"}
# Of audits: expressions over the model, and so the columns that they are about
COLUMN_ARGUMENTS = ("column", "columns", "key", "total", "label", "criteria")
NO_CHECKSUM = {"name": "none", "checksum": ""}

Json = dict[str, t.Any]


def artifacts_of(
    shown: Mapping[str, Shown], environment: str, engine: str, database: str
) -> dict[str, Json]:
    """Return the artifacts by their file names.

    Args:
        shown: the models by the names that SQLMesh gives them.
        environment: which they are of.
        engine: that computes them, `duckdb` or `postgres`.
        database: its name.

    """
    ids = {name: unique_id(one.model) for name, one in shown.items()}
    writing = _Environment(environment, shown, ids, engine, database, datetime.now(UTC))
    return {
        "manifest.json": writing.manifest(),
        "catalog.json": writing.catalog(),
        "run_results.json": writing.run_results(),
        "column_lineage.json": {
            ids[name]: {
                column: [
                    {
                        "source_model": ids[origin.model],
                        "source_column": origin.column,
                        "transformation": origin.change,
                    }
                    for origin in origins
                ]
                for column, origins in one.origins.items()
                if origins
            }
            for name, one in shown.items()
            if any(one.origins.values())
        },
    }


def unique_id(model: Model) -> str:
    """Return dbt's name of a model, such as `model.pipedrive_funnel.dim_users`."""
    if model.kind.is_external:
        return f"source.{PROJECT_NAME}.{model.schema_name}.{model.view_name}"
    return f"{'seed' if model.kind.is_seed else 'model'}.{PROJECT_NAME}.{model.view_name}"


@dataclass(frozen=True)
class _Environment:
    """What the artifacts are written of.

    Attributes:
        name: of the environment.
        shown: its models, by the names that SQLMesh gives them.
        ids: their names in dbt.
        engine: that computes them.
        database: its name.
        now: when they are written, UTC.

    """

    name: str
    shown: Mapping[str, Shown]
    ids: Mapping[str, str]
    engine: str
    database: str
    now: datetime

    def _metadata(self, artifact: str) -> Json:
        return {
            "dbt_schema_version": f"{SCHEMA_URL}/{artifact}.json",
            "dbt_version": DBT_VERSION,
            "generated_at": _time(self.now),
            "env": {"SQLMESH_ENVIRONMENT": self.name},
        }

    # --- manifest.json ----------------------------------------------------------------------------

    def manifest(self) -> Json:
        """Return models, seeds, sources, tests, and how they hang together."""
        nodes, sources, unit_tests = {}, {}, {}
        for name, one in self.shown.items():
            if one.model.kind.is_external:
                sources[self.ids[name]] = self._source(name, one)
                continue
            nodes[self.ids[name]] = self._node(name, one)
            for audit, id_ in _tests(one):
                nodes[id_] = self._test(name, one, audit, id_)
            for test in one.tests:
                unit_test = self._unit_test(name, one, test)
                unit_tests[unit_test["unique_id"]] = unit_test
        parents: dict[str, list[str]] = {id_: [] for id_ in (*nodes, *sources, *unit_tests)}
        children: dict[str, list[str]] = {id_: [] for id_ in parents}
        for id_, node in (nodes | unit_tests).items():
            for parent in node["depends_on"].get("nodes", []):
                parents[id_].append(parent)
                children[parent].append(id_)
        overview = self._overview()
        empty = ("macros", "exposures", "metrics", "groups", "selectors", "disabled", "group_map")
        return {
            "metadata": self._metadata("manifest/v12")
            | {
                "project_name": PROJECT_NAME,
                "adapter_type": self.engine,
                "send_anonymous_usage_stats": False,
            },
            "nodes": nodes,
            "sources": sources,
            "unit_tests": unit_tests,
            "docs": {overview["unique_id"]: overview},
            "parent_map": parents,
            "child_map": children,
            "saved_queries": {},
            "semantic_models": {},
            **{name: {} for name in empty},
        }

    def _overview(self) -> Json:
        """Return the text with which dbt's own page begins."""
        return {
            "name": "__overview__",
            "resource_type": "doc",
            "package_name": PROJECT_NAME,
            "path": "overview.md",
            "original_file_path": "docs/overview.md",
            "unique_id": f"doc.{PROJECT_NAME}.__overview__",
            "block_contents": (
                f"### Pipedrive sales funnel: {self.name}\n\n"
                f"Written from SQLMesh's state and the database, {self.now:%Y-%m-%d %H:%M} UTC. "
                "The audits ran then, over all rows."
            ),
        }

    def _file(self, path: str, *fqn: str) -> Json:
        """Return where something is defined."""
        folder, _, rest = path.partition("/")
        return {
            "package_name": PROJECT_NAME,
            "original_file_path": path,
            "path": rest or folder,
            "fqn": [PROJECT_NAME, *rest.split("/")[:-1], *fqn],
            "created_at": self.now.timestamp(),
        }

    def _relation(self, one: Shown) -> Json:
        schema = one.relation.db if one.relation else one.model.schema_name
        return {
            "database": self.database,
            "schema": schema,
            "relation_name": (
                f'"{self.database}"."{schema}"."{one.model.view_name}"' if one.relation else None
            ),
        }

    def _columns(self, model: Model) -> Json:
        return {
            name: {
                "name": name,
                "description": model.column_descriptions.get(name, ""),
                "data_type": kind.sql(model.dialect),
                "meta": {},
                "tags": [],
                "constraints": [],
            }
            for name, kind in (model.columns_to_types or {}).items()
        }

    def _about(self, model: Model) -> Json:
        """Return what dbt knows of a model and a source alike."""
        grain = [column.name for one in model.grains for column in one.find_all(exp.Column)]
        meta = {"owner": model.owner, "kind": model.kind.name.value, "grain": ", ".join(grain)}
        if not (model.kind.is_seed or model.kind.is_external or model.kind.is_embedded):
            meta["cron"] = model.cron
        meta = {key: value for key, value in meta.items() if value}
        return {
            "name": model.view_name,
            "description": model.description or "",
            "tags": list(model.tags),
            "meta": meta,
            "columns": self._columns(model),
        }

    def _depends_on(self, one: Shown) -> list[str]:
        return [self.ids[parent] for parent in one.parents if parent in self.ids]

    def _node(self, name: str, one: Shown) -> Json:
        """Return a model, or a seed."""
        model = one.model
        about = self._about(model)
        kind = model.kind.name.value
        node = {
            **about,
            **self._file(one.file, model.view_name),
            **self._relation(one),
            "unique_id": self.ids[name],
            "resource_type": "seed" if model.kind.is_seed else "model",
            "alias": model.view_name,
            "checksum": _checksum(one.written),
            "raw_code": one.written,
            "config": {
                "enabled": True,
                "materialized": MATERIALIZED.get(kind, "incremental"),
                "tags": about["tags"],
                "meta": about["meta"],
            },
            "depends_on": {"macros": []},
        }
        if model.kind.is_seed:  # dbt's depend on macros alone
            return node
        sources = [
            [parent.model.schema_name, parent.model.view_name]
            for parent in map(self.shown.get, one.parents)
            if parent and parent.model.kind.is_external
        ]
        return node | {
            "language": "sql",
            "compiled": True,
            "compiled_code": one.compiled,
            "refs": [
                {"name": id_.rpartition(".")[2], "package": None, "version": None}
                for id_ in self._depends_on(one)
                if not id_.startswith("source.")
            ],
            "sources": sources,
            "depends_on": {"macros": [], "nodes": self._depends_on(one)},
        }

    def _source(self, name: str, one: Shown) -> Json:
        model = one.model
        return {
            **self._about(model),
            **self._file(one.file, model.schema_name, model.view_name),
            **self._relation(one),
            "unique_id": self.ids[name],
            "resource_type": "source",
            "source_name": model.schema_name,
            "source_description": "Landed tables, as external_models.yaml has them.",
            "identifier": model.view_name,
            "loader": "",
        }

    def _test(self, name: str, one: Shown, audit: Audit, id_: str) -> Json:
        columns = columns_of(audit, one.model)
        severity = "ERROR" if audit.blocks else "WARN"
        title = "_".join((audit.name, one.model.view_name, *columns))
        arguments = ", ".join(f"{key} := {text}" for key, text in _arguments(audit).items())
        return {
            **self._file(audit.file or one.file, title),
            "database": self.database,
            "schema": self._relation(one)["schema"],
            "relation_name": None,
            "unique_id": id_,
            "name": title,
            "alias": title,
            "resource_type": "test",
            "checksum": NO_CHECKSUM,
            "description": audit.meaning,
            "tags": [],
            "meta": {},
            "columns": {},
            "language": "sql",
            "raw_code": f"{audit.name}({arguments})",
            "compiled": True,
            "compiled_code": audit.query,
            "config": {
                "enabled": True,
                "severity": severity,
                "materialized": "test",
                "meta": {"columns": columns},  # dbt's column_name takes one
            },
            "refs": [{"name": one.model.view_name, "package": None, "version": None}],
            # What else it reads is in its query: readers show a test with each model it depends on
            "depends_on": {"macros": [], "nodes": [self.ids[name]]},
            "attached_node": self.ids[name],
            "column_name": columns[0] if len(columns) == 1 else None,
            "test_metadata": {"name": audit.name, "kwargs": _arguments(audit), "namespace": None},
        }

    def _unit_test(self, name: str, one: Shown, test: ModelTestMetadata) -> Json:
        """Return a unit test; the CTEs that it asserts are not in dbt's schema, its rows are."""
        model = one.model
        path = test.path.as_posix()
        _, tests, rest = path.rpartition("/tests/")
        body = test.body
        inputs, outputs = body.get("inputs") or {}, body.get("outputs") or {}
        return {
            **self._file(f"{tests.lstrip('/')}{rest}", test.test_name),
            "unique_id": f"unit_test.{PROJECT_NAME}.{model.view_name}.{test.test_name}",
            "name": test.test_name,
            "resource_type": "unit_test",
            "model": model.view_name,
            "description": body.get("description", ""),
            "given": [
                {"input": f"ref('{source.rpartition('.')[2]}')"} | _rows(rows)
                for source, rows in inputs.items()
            ],
            "expect": _rows(outputs.get("query")),
            "depends_on": {"macros": [], "nodes": [self.ids[name]]},
            "config": {"enabled": True, "tags": [], "meta": {}},
        }

    # --- catalog.json -----------------------------------------------------------------------------

    def catalog(self) -> Json:
        """Return the tables and views that the database has."""
        nodes, sources = {}, {}
        for name, one in self.shown.items():
            if one.relation is None or one.table is None:
                continue
            tables = sources if one.model.kind.is_external else nodes
            tables[self.ids[name]] = {
                "unique_id": self.ids[name],
                "metadata": {
                    "type": "BASE TABLE" if one.model.kind.is_external else "VIEW",
                    "database": self.database,
                    "schema": one.relation.db,
                    "name": one.relation.name,
                    "owner": one.model.owner,
                    "comment": one.model.description,
                },
                "columns": {
                    column: {
                        "name": column,
                        "type": kind,
                        "index": position,
                        "comment": one.model.column_descriptions.get(column),
                    }
                    for position, (column, kind) in enumerate(one.table.columns.items(), 1)
                },
                "stats": {
                    "has_stats": _stat("has_stats", "Has Stats?", True, "There are statistics"),
                    "row_count": _stat("row_count", "Row Count", one.table.rows, "Rows, counted"),
                },
            }
        return {
            "metadata": self._metadata("catalog/v1"),
            "nodes": nodes,
            "sources": sources,
            "errors": None,
        }

    # --- run_results.json -------------------------------------------------------------------------

    def run_results(self) -> Json:
        """Return when models were last computed, and what the audits have found now."""
        results = []
        for name, one in self.shown.items():
            id_ = self.ids[name]
            if one.ran_at:
                ran = {"started_at": _time(one.ran_at), "completed_at": _time(one.ran_at)}
                results.append(_result(id_, "success", ran))
            seconds = (one.audited_to - one.audited_from).total_seconds()
            timing = {
                "started_at": _time(one.audited_from),
                "completed_at": _time(one.audited_to),
            }
            results += [
                _result(test, _status(audit), timing)
                | {
                    "execution_time": seconds / len(one.audits),  # they are timed together
                    "failures": audit.rows,
                    "message": _message(audit),
                }
                for audit, test in _tests(one)
            ]
        began = min(one.audited_from for one in self.shown.values())
        ended = max(one.audited_to for one in self.shown.values())
        return {
            "metadata": self._metadata("run-results/v6"),
            "results": results,
            "elapsed_time": (ended - began).total_seconds(),
            "args": {"target": self.name},
        }


def _tests(one: Shown) -> Iterable[tuple[Audit, str]]:
    """Yield the audits of a model with their names in dbt, which differ by the arguments."""
    for audit in one.audits:
        arguments = json.dumps(_arguments(audit), sort_keys=True)
        digest = hashlib.md5(arguments.encode(), usedforsecurity=False).hexdigest()[:10]
        yield audit, f"test.{PROJECT_NAME}.{audit.name}_{one.model.view_name}.{digest}"


def columns_of(audit: Audit, model: Model) -> list[str]:
    """Return the columns that an audit of a model is about; none if it does not name them."""
    named = [audit.arguments[key] for key in COLUMN_ARGUMENTS if key in audit.arguments]
    found = [column.name for argument in named for column in argument.find_all(exp.Column)]
    return [name for name in dict.fromkeys(found) if name in (model.columns_to_types or {})]


def _arguments(audit: Audit) -> dict[str, t.Any]:
    """Return the arguments of an audit as text."""
    return {key: value.sql("postgres") for key, value in audit.arguments.items()}


def _status(audit: Audit) -> str:
    if audit.rows is None:
        return "skipped"
    if not audit.rows:
        return "pass"
    return "fail" if audit.blocks else "warn"


def _message(audit: Audit) -> str | None:
    """Say how many rows an audit has found, and what one of them means."""
    if not audit.rows:
        return None
    rows = f"{audit.rows:,} row{'' if audit.rows == 1 else 's'}."
    return f"{rows} {audit.meaning}".strip()


def _result(id_: str, status: str, timing: Json) -> Json:
    return {
        "unique_id": id_,
        "status": status,
        "timing": [{"name": "execute", **timing}],
        "thread_id": "Thread-1",
        "execution_time": 0.0,
        "adapter_response": {},
        "message": None,
        "failures": None,
        "compiled": True,
        "compiled_code": None,
        "relation_name": None,
    }


def _stat(id_: str, label: str, value: object, description: str) -> Json:
    return {
        "id": id_,
        "label": label,
        "value": value,
        "include": id_ != "has_stats",
        "description": description,
    }


def _rows(given: t.Any) -> Json:
    """Return the rows of a unit test's table, which a test writes as CSV, or one by one."""
    rows = given.get("rows", []) if isinstance(given, Mapping) else given or []
    if isinstance(rows, str):
        return {"format": "csv", "rows": str(rows)}
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    return {"format": "dict", "rows": plain}


def _plain(value: object) -> object:
    """Return a value of YAML as JSON has it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


def _checksum(text: str) -> Json:
    return {"name": "sha256", "checksum": hashlib.sha256(text.encode()).hexdigest()}


def _time(moment: datetime) -> str:
    """Return a time as dbt writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
