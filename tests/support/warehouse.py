"""A copy of the project on a database of its own: what the tests plan, run and read."""

from __future__ import annotations

import atexit
import functools
import io
import os
import re
import shutil
import tempfile
import typing as t
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console as RichConsole
from sqlmesh import Context
from sqlmesh.core.config import Config
from sqlmesh.core.console import TerminalConsole, get_console, set_console
from sqlmesh.core.model import Model
from sqlmesh.core.snapshot import Snapshot
from sqlmesh.core.state_sync import CachingStateSync

from pipedrive_funnel.sample import generate as sample
from pipedrive_funnel.warehouse import with_parents

GATEWAYS = ("duckdb", "postgres")
PROJECT = Path(__file__).resolve().parents[2]
EXPORT_TABLES = ("activity", "activity_types", "deal_changes", "fields", "stages", "users")
OPTIONAL_TABLES = ("deals", "pipelines", "pipeline_stages")  # which an export may lack
MODELS = (  # the twelve, in the order of the data's way
    "pipedrive_staging.stg_activity",
    "pipedrive_staging.stg_activity_types",
    "pipedrive_staging.stg_deal_changes",
    "pipedrive_staging.stg_stages",
    "pipedrive_staging.stg_users",
    "pipedrive_intermediate.int_completed_activities",
    "pipedrive_intermediate.int_deal_stage_history",
    "pipedrive_analytics.dim_stages",
    "pipedrive_analytics.dim_users",
    "pipedrive_analytics.fct_activities",
    "pipedrive_analytics.fct_deal_stage_history",
    "pipedrive_analytics.rep_sales_funnel_monthly",
)
REPORT = "pipedrive_analytics.rep_sales_funnel_monthly"
CORE = {  # the twelve, and what they are made of
    *MODELS,
    "pipedrive_staging.stg_deals",
    "pipedrive_staging.stg_fields",
    "pipedrive_staging.stg_funnel_steps",
    "pipedrive_staging.stg_rejected_rows",
    "pipedrive_staging.stg_removed_changes",
    "pipedrive_intermediate.int_touched_deals",
    "pipedrive_intermediate.int_deal_changes",
    "pipedrive_intermediate.int_deals",
    "pipedrive_intermediate.int_activities",
    "pipedrive_analytics.dim_funnel_steps",
}
OUTCOMES = (  # what is won, lost and worth
    "pipedrive_analytics.fct_deals",
    "pipedrive_analytics.fct_deal_status_history",
    "pipedrive_analytics.rep_deal_outcomes_monthly",
    "pipedrive_analytics.rep_pipeline_monthly",
    "pipedrive_analytics.rep_forecast_monthly",
)
_OF_OUTCOMES = {  # and what they are made of, beside the core
    *OUTCOMES,
    "pipedrive_staging.stg_exchange_rates",
    "pipedrive_staging.stg_pipelines",
    "pipedrive_staging.stg_pipeline_stages",
    "pipedrive_intermediate.int_field_options",
    "pipedrive_analytics.dim_exchange_rates",
    "pipedrive_analytics.dim_lost_reasons",
    "pipedrive_analytics.dim_pipelines",
    "pipedrive_analytics.dim_pipeline_stages",
    "pipedrive_analytics.fct_stage_entries",
    "pipedrive_analytics.fct_deal_activities",
}

_NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "logs", "*.duckdb*", "*.egg-info", "backups", "docs", "site", "tests"
)
_READ = ("audits", "linter", "macros", "models", "seeds", "tests")  # by SQLMesh, beside *.yaml


@functools.cache
def sample_files() -> Path:
    """Return a directory with the sample, also where seeds/ holds somebody's own export."""
    directory = Path(tempfile.mkdtemp(prefix="sample_"))
    atexit.register(shutil.rmtree, directory)
    sample.write_sample(directory)
    return directory


def copy_project(
    to: Path,
    export: Path | None = None,
    *,
    core: bool = False,
    outcomes: bool = False,
    with_tests: bool = False,
    audited: bool = True,
) -> Path:
    """Copy the project to `to`, with the six files of `export`, or of the sample, over its seeds.

    Unit tests are left out unless asked for, and then one of each model comes along, as the linter
    wants it: every plan runs them again. The core is what the monthly report needs; whoever plans
    and runs it often need not wait for the other marts, nor for audits that others see pass. The
    outcomes are what deals are worth, beside the core.
    """
    shutil.copytree(PROJECT, to, ignore=_NOT_COPIED)
    if core:
        kept = {name.split(".")[1] for name in CORE | (_OF_OUTCOMES if outcomes else set())}
        for model in (to / "models").rglob("*.sql"):
            if model.parent.name != "raw" and model.stem not in kept:
                model.unlink()
        report = next((to / "models").rglob(f"{REPORT.split('.')[1]}.sql"))
        query, analyze, _ = report.read_text().partition("@postgres_analyze()")
        text = f"{query}@all_is_processed();\n\n{analyze}\n"  # the last one now
        if outcomes:
            text = text.replace("kind FULL,", f"kind FULL,\n  depends_on ({', '.join(OUTCOMES)}),")
        report.write_text(text)
    if not audited:
        for model in (to / "models").rglob("*.sql"):
            unaudited = re.sub(r"(?s)\n  audits .*?(?=\n  description )", "", model.read_text())
            model.write_text(unaudited)
    if with_tests:
        names = {model.stem for model in (to / "models").rglob("*.sql")}
        for file in (PROJECT / "tests" / "models").rglob("test_*.yaml"):
            if file.stem.removeprefix("test_") not in names:
                continue
            first, *_ = re.split(r"(?<=\n)\n(?=test_)", file.read_text())
            (to / "tests").mkdir(exist_ok=True)
            (to / "tests" / file.name).write_text(first)
    for table in (*EXPORT_TABLES, *OPTIONAL_TABLES, "exchange_rates"):
        file = f"{table}.csv"
        source = (export or sample_files()) / file
        if source.exists():
            shutil.copyfile(source, to / "seeds" / file)
        else:
            keep_header(to / "seeds" / file)
    return to


def keep_header(file: Path) -> None:
    """Delete all rows of a file: an export that lacks it tells nothing."""
    with file.open() as lines:
        header = next(lines)
    file.write_text(header)


def share_parsed_models(project: Path, directory: Path) -> None:
    """Let a copy of the project use, and add to, what other copies have parsed and rendered.

    SQLMesh looks up a model by the times of its files, which a copy keeps. The cache of snapshots
    stays with the copy: a snapshot knows the tables of its own database.
    """
    cache = project / ".cache"
    cache.mkdir()
    for name in ("model_definition", "optimized_query"):
        (directory / name).mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(directory / name)


class SharedConfig(Config):
    """A configuration whose models are the same on every database of a gateway."""

    @property
    def fingerprint(self) -> str:
        """What SQLMesh adds to the key of a parsed model."""
        return Config.fingerprint.fget(self.copy(update={"gateways": {}}))  # type: ignore[attr-defined]


class _Context(Context):
    CONFIG_TYPE = SharedConfig


class _Undo(Exception):
    """Ends a transaction with a rollback."""


@dataclass
class Outcome:
    """What a plan or run printed, and the error that ended it, if one did."""

    output: str
    error: Exception | None = None

    @property
    def warnings(self) -> dict[tuple[str, str], int]:
        """Rows that failed each non-blocking audit, by model name and audit name."""
        found = re.findall(
            r"\[WARNING\] (\w+?)(?:__\w+)?\.(\w+): '(\w+)' audit error: (\d+) rows? failed",
            self.output,
        )
        return {(f"{schema}.{name}", audit): int(rows) for schema, name, audit, rows in found}


@dataclass(eq=False)  # each is its own: what is worked out for one can be kept
class Warehouse:
    """The project in `path`, planned against the database that `settings` point a gateway to."""

    path: Path
    gateway: str
    settings: dict[str, str] = field(default_factory=dict)
    lint: bool = False  # the linter wants unit tests for every model, which most copies leave out
    _context: Context | None = field(default=None, init=False, repr=False)
    _is_closed: bool = field(default=False, init=False, repr=False)
    _files_read: dict[str, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)

    @contextmanager
    def _environment(self, **variables: str) -> t.Iterator[None]:
        """Hold the environment variables that config.yaml reads while a context is made."""
        before = dict(os.environ)
        os.environ.update(self.settings | variables)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    @property
    def context(self) -> Context:
        """The SQLMesh context, read anew when the files have changed since `close`."""
        if self._context is None or (self._is_closed and self._files_read != self._files()):
            self._files_read = self._files()
            with self._environment(SQLMESH__LINTER__ENABLED=str(self.lint).lower()):
                self._context = _Context(paths=str(self.path), gateway=self.gateway)
        if self._is_closed:  # others may have written the state meanwhile
            t.cast(CachingStateSync, self._context.state_sync).snapshot_cache.clear()
        self._is_closed = False
        return self._context

    def _files(self) -> dict[str, tuple[int, int]]:
        """Return time and size of each file of the project that SQLMesh reads."""
        files = [file for name in _READ for file in (self.path / name).rglob("*.*")]
        files += [*self.path.glob("*.yaml"), *self.path.glob(".env")]
        return {str(file): ((stat := file.stat()).st_mtime_ns, stat.st_size) for file in files}

    def close(self) -> None:
        """Close the connections. The next use opens the project as its files are then."""
        if self._context is not None and not self._is_closed:
            self._context.engine_adapter.close()  # the context leaves it open if it only fetched
            self._context.close()
            self._is_closed = True

    def plan(self, environment: str = "dev", **options: t.Any) -> Outcome:
        """Plan and apply as `sqlmesh plan ENVIRONMENT --auto-apply --no-prompts` does."""
        options = {"skip_tests": True, "auto_apply": True, "no_prompts": True} | options
        return self._watch(lambda: self.context.plan(environment, **options))

    def run(self, environment: str = "prod", **options: t.Any) -> Outcome:
        """Run what is due, as `sqlmesh run ENVIRONMENT` does."""

        def run() -> None:
            if self.context.run(environment, **options).is_failure:
                raise RuntimeError("the run failed")

        return self._watch(run)

    def _watch(self, action: t.Callable[[], t.Any]) -> Outcome:
        """Do `action`, the loading of the project included, and collect what it prints."""
        text = io.StringIO()
        usual = get_console()
        console = TerminalConsole(console=RichConsole(file=text, width=10_000))
        set_console(console)
        try:
            self.context.console = console
            action()
        except Exception as error:  # the test asserts on it
            return Outcome(text.getvalue(), error)
        finally:
            set_console(usual)
        return Outcome(text.getvalue())

    def fetch(self, query: str) -> pd.DataFrame:
        """Return the rows of a query."""
        return self.context.engine_adapter.fetchdf(query)

    def execute(self, statement: str) -> None:
        """Run a statement as the pipeline's role."""
        with self.context.engine_adapter.transaction():
            self.context.engine_adapter.execute(statement)

    @contextmanager
    def undone(self) -> t.Iterator[None]:
        """Undo, at the end, what is done to the database inside."""
        adapter = self.context.engine_adapter
        if adapter.SUPPORTS_TRANSACTIONS:
            with suppress(_Undo), adapter.transaction():
                yield
                raise _Undo
        else:  # DuckDB: SQLMesh has no transactions on it, but the connection has
            adapter.execute("BEGIN TRANSACTION")
            try:
                yield
            finally:
                adapter.execute("ROLLBACK")

    def view(self, model: str, environment: str = "dev") -> str:
        """Return the name of the view of a model in an environment."""
        schema, name = model.split(".")
        return f"{schema}{'' if environment == 'prod' else f'__{environment}'}.{name}"

    def table(self, model: str, environment: str = "dev") -> pd.DataFrame:
        """Return a model's rows in an environment, as the engine writes them as text, sorted.

        Text, because the engines' drivers give different Python types for equal values.
        """
        columns = ", ".join(
            f"CAST({column} AS VARCHAR) AS {column}"
            for column in self.model(model).columns_to_types_or_raise
        )
        frame = self.fetch(f"SELECT {columns} FROM {self.view(model, environment)}")
        frame = frame.astype(object).where(frame.notna(), None)
        return frame.sort_values(list(frame.columns)).reset_index(drop=True)

    def found(self, environment: str = "dev") -> dict[str, int]:
        """Return the rows that each check of severity warning has found, if it has any."""
        report = self.table("pipedrive_analytics.rep_data_quality", environment)
        report = report[report["severity"] == "warning"].set_index("check_name")["rows_count"]
        return {check: int(rows) for check, rows in report.items() if rows != "0"}

    def model(self, name: str) -> Model:
        """Return a model of the project."""
        return t.cast(Model, self.context.get_model(name, raise_if_missing=True))

    def snapshot(self, name: str) -> Snapshot:
        """Return the current snapshot of a model."""
        return t.cast(Snapshot, self.context.get_snapshot(name, raise_if_missing=True))

    @contextmanager
    def spoilt(self, statement: str) -> t.Iterator[None]:
        """Run a statement that names tables as `{fct_deals}`, and undo it at the end."""
        tables = {
            snapshot.model.view_name: snapshot.table_name()
            for snapshot in self.context.snapshots.values()
            if not snapshot.is_external
        }
        with self.undone():
            self.context.engine_adapter.execute(statement.format_map(tables))
            yield

    def with_parents(self, name: str) -> dict[str, Snapshot]:
        """Return the current snapshots of a model and of those that it reads, by their names."""
        snapshots = {snapshot.name: snapshot for snapshot in self.context.snapshots.values()}
        return with_parents(self.snapshot(name), snapshots)
