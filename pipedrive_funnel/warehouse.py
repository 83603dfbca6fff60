"""The database behind a gateway of config.yaml: connections, schemas, plans and runs.

Connection settings stand only in config.yaml: SQLMesh's engine adapter runs our SQL, dlt's
pipelines load with the same settings, and plans and runs go through the same SQLMesh context.
"""

from __future__ import annotations

import logging
import os
import re
import runpy
import shlex
import shutil
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.contract import ARRIVAL, SCHEMA, Table, read_tables
from pipedrive_funnel.errors import FunnelError, said_by_database
from pipedrive_funnel.landing.dlt_settings import configure_dlt
from pipedrive_funnel.landing.scratch import scratch_directory
from pipedrive_funnel.terminal import say

if t.TYPE_CHECKING:
    import dlt
    from sqlmesh.core.engine_adapter import EngineAdapter
    from sqlmesh.core.environment import Environment
    from sqlmesh.core.model.definition import AuditResult
    from sqlmesh.core.snapshot import Snapshot

    from pipedrive_funnel.context import FunnelContext

OLDEST_POSTGRES = 16
SEE_ABOVE = "See above."
_LANDING_LOCK = 7_331_205  # any number: identifies our advisory lock in PostgreSQL


class DatabaseError(FunnelError):
    """A database cannot be used."""


class BuildError(FunnelError):
    """A plan or run has failed. The terminal has shown its `failures` already, a line each."""

    def __init__(self, message: str, failures: Iterable[str] = ()) -> None:
        """Keep the failures."""
        super().__init__(message)
        self.failures = tuple(failures)


@dataclass(frozen=True)
class Built:
    """The result of a plan or run for an environment.

    Attributes:
        environment: its name.
        is_new: whether it did not exist before.
        has_changed: whether models differ from before.
        tables: how many tables and views were built.

    """

    environment: str
    is_new: bool
    has_changed: bool
    tables: int


@dataclass(frozen=True, order=True)
class Audited:
    """The result of an audit.

    Attributes:
        model: the model it is attached to, without its schema.
        audit: its name.
        blocks: whether a plan ends where it finds rows.
        rows: how many it has found.

    """

    model: str
    audit: str
    blocks: bool
    rows: int


def with_parents(snapshot: Snapshot, snapshots: Mapping[str, Snapshot]) -> dict[str, Snapshot]:
    """Return a model and the models that its query and its audits read, by their names.

    SQLMesh works out the table of each model that it is given with a query, which for all of the
    project takes longer than the query.
    """
    names = [snapshot.name, *(parent.name for parent in snapshot.parents)]
    return {name: snapshots[name] for name in names if name in snapshots}


@dataclass(frozen=True)
class Planned:
    """An environment as it was planned last, beside the project as its files are now.

    Attributes:
        environment: as SQLMesh's state has it.
        snapshots: its models, by the names that SQLMesh gives them.
        project: the context with the models, tests and macros of the files.

    """

    environment: Environment
    snapshots: dict[str, Snapshot]
    project: FunnelContext


class Database:
    """A gateway's database. The connection is opened on first use.

    Attributes:
        gateway: its name in config.yaml.
        is_default: whether commands use this gateway when they name none.
        raw_schema: the schema that the project's models read, as config.yaml and .env say.
        project: the directory of config.yaml.

    """

    def __init__(self, gateway: str | None = None, project: Path | None = None) -> None:
        """Read the gateway from config.yaml.

        Args:
            gateway: its name; the default one when None.
            project: the directory of config.yaml; this one when None.

        Raises:
            DatabaseError: config.yaml is wrong or has no such gateway, or the project does not
                support its engine.

        """
        from sqlmesh.core.console import set_console  # takes seconds to import
        from sqlmesh.utils.errors import ConfigError

        from pipedrive_funnel.console import FunnelConsole
        from pipedrive_funnel.context import FunnelContext

        self.project = project or PROJECT
        self._console = FunnelConsole(self.project, lambda query: self.adapter.fetchdf(query))
        set_console(self._console)  # a context uses the console that is set
        try:
            self._context = FunnelContext(paths=self.project, gateway=gateway, load=False)
            config = self._context.config
            settings = config.get_gateway(gateway)
        except ConfigError as error:
            raise DatabaseError(f"config.yaml: {error}") from error
        self.gateway = gateway or config.default_gateway
        self.is_default = self.gateway == config.default_gateway
        variables = config.variables | settings.variables
        self.raw_schema: str = variables["raw_schema"]
        self._writer_wait_minutes = float(variables["writer_wait_minutes"])
        if not self.is_default:
            self._console.option = f" --gateway {shlex.quote(self.gateway)}"
        self._connection = config.get_connection(gateway)
        if self._connection.type_ not in ("duckdb", "postgres"):
            raise DatabaseError(
                f"Gateway {self.gateway} is {self._connection.type_}. "
                "The project works on DuckDB and PostgreSQL."
            )

    @cached_property
    def adapter(self) -> EngineAdapter:
        """SQLMesh's connection to the database.

        Raises:
            DatabaseError: the database cannot be reached, or is too old.

        """
        import duckdb
        import psycopg2

        adapter = self._context.engine_adapter
        try:
            if adapter.dialect == "postgres":
                version = adapter.fetchone("SHOW server_version")[0]
                if int(version.split(".")[0]) < OLDEST_POSTGRES:
                    raise DatabaseError(
                        f"PostgreSQL at {self.address} is version {version}: "
                        f"the project needs {OLDEST_POSTGRES} or newer. Nothing was written."
                    )
            else:
                adapter.fetchone("SELECT 1")
        except duckdb.Error as error:
            raise DatabaseError(self._why_not_opened(str(error))) from error
        except psycopg2.OperationalError as error:
            raise DatabaseError(self._why_not_reached(str(error))) from error
        return adapter

    @property
    def address(self) -> str:
        """The location of the database: a file, or host, port and name."""
        if self._connection.type_ == "duckdb":
            return os.path.relpath(self._connection.database or ":memory:")
        return f"{self._connection.host}:{self._connection.port}/{self._connection.database}"

    @property
    def is_reached(self) -> bool:
        """Whether the database has answered already."""
        return "adapter" in vars(self)

    @property
    def is_missing(self) -> bool:
        """Whether there is no DuckDB file yet."""
        return self.engine == "duckdb" and not Path(self.address).exists()

    @contextmanager
    def reading(self) -> Iterator[Callable[[str], list[tuple]]]:
        """Give a function that returns the rows of a query, on a connection for reading alone.

        A DuckDB file is open only until the end, and is not made if it is not there.

        Raises:
            DatabaseError: the database cannot be reached, or another process has the file open.

        """
        import duckdb

        if self.engine == "postgres":
            self.adapter.execute("SET default_transaction_read_only TO on")
            self.adapter.execute("SET statement_timeout TO '10s'")
            yield self.adapter.fetchall
            return
        try:
            connection = duckdb.connect(str(self._connection.database), read_only=True)
        except duckdb.IOException as error:
            raise DatabaseError(self._why_not_opened(str(error))) from error
        with closing(connection):
            yield lambda query: connection.execute(query).fetchall()

    @property
    def engine(self) -> str:
        """Which engine it is, `duckdb` or `postgres`."""
        return self._connection.type_

    @property
    def file(self) -> Path:
        """The file of a DuckDB database.

        Raises:
            DatabaseError: it is in memory.

        """
        if not self._connection.database:
            raise DatabaseError(
                f"Gateway {self.gateway} has no file: set its database in config.yaml."
            )
        return Path(self._connection.database)

    @property
    def libpq(self) -> dict[str, str]:
        """The connection to PostgreSQL as its own programs read it from the environment."""
        connection = self._connection
        settings = {
            "PGHOST": connection.host,
            "PGPORT": str(connection.port),
            "PGUSER": connection.user,
            "PGPASSWORD": connection.password,
            "PGDATABASE": connection.database,
            "PGSSLMODE": connection.sslmode,
            "PGOPTIONS": connection.role and f"-crole={connection.role}",
        }
        return {name: value for name, value in settings.items() if value}

    def _why_not_opened(self, said: str) -> str:
        """Say in a line why a DuckDB file cannot be opened."""
        if holder := re.search(r"lock is held in (\S+) \(PID (\d+)\)", said):
            by = f"process {holder[2]} ({Path(holder[1]).name})"
            return (
                f"{self._connection.database} is open in {by}, and DuckDB lets one in at a time: "
                "close that, for example `make ui`, and try again."
            )
        said = f"The database says: {' '.join(said.split())}"
        if not self.file.exists():
            return said
        return f"{said} If the file is broken, move it away and restore a backup: make restore."

    def _why_not_reached(self, said: str) -> str:
        """Say in a line why a server cannot be reached."""
        if "no password supplied" in said:
            return (
                f"PostgreSQL at {self.address} wants a password: "
                "set POSTGRES_PASSWORD in .env, see .env.example."
            )
        reason = re.split(r"failed: (?:FATAL: *)?", said)[-1].strip().splitlines()[0].rstrip(".")
        if "FATAL" in said:
            return (
                f"PostgreSQL at {self.address} turns us away: {reason}. "
                "Compare POSTGRES_* in .env with the server."
            )
        return (
            f"PostgreSQL at {self.address} does not answer: {reason}. "
            "Start it: docker compose up -d --wait (or set POSTGRES_* in .env)."
        )

    def close(self) -> None:
        """Close the connections, so that others can open a DuckDB file."""
        self._context.engine_adapter.close()
        self._context.close()

    def forget_snapshots(self) -> None:
        """Remove what SQLMesh has cached of the state, once the state is another."""
        shutil.rmtree(self._context.cache_dir / "snapshot", ignore_errors=True)

    # --- environments -----------------------------------------------------------------------------

    @property
    def reads_raw_tables(self) -> bool:
        """Whether the project's models read landed tables, not the sample."""
        return self.raw_schema == SCHEMA

    def schema_of(self, environment: str) -> str:
        """Return the schema that holds the views of an environment's marts."""
        from sqlmesh.core.environment import Environment

        name = Environment.sanitize_name(environment)
        return "pipedrive_analytics" if name == "prod" else f"pipedrive_analytics__{name}"

    def tables_of(self, environment: str) -> set[str]:
        """Return the names of the marts that an environment has."""
        rows = self.adapter.fetchall(
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = '{self.schema_of(environment)}'"
        )
        return {name for (name,) in rows}

    def grains_of(self, environment: str) -> dict[str, list[str]]:
        """Return the columns that identify a row, for each mart of a planned environment."""
        from sqlglot import exp

        return {
            snapshot.model.view_name: [
                column.name
                for grain in snapshot.model.grains
                for column in grain.find_all(exp.Column)
            ]
            for snapshot in self._snapshots_of(environment)
            if snapshot.model.schema_name == self.schema_of("prod")
        }

    def _snapshots_of(self, environment: str) -> list[Snapshot]:
        """Return the models of an environment, as it was planned last; none if it never was."""
        from sqlmesh.core.environment import Environment

        state = self._reached.state_reader
        planned = state.get_environment(Environment.sanitize_name(environment))
        found = state.get_snapshots(planned.snapshots).values() if planned else ()
        return [snapshot for snapshot in found if snapshot.is_model]

    def reads_landed(self, environment: str) -> bool:
        """Tell whether an environment exists and reads landed tables, not the sample."""
        planned = self._reached.state_reader.get_environment(environment)
        return planned is not None and not any(
            '"pipedrive_seed"."deal_changes"' in snapshot.name for snapshot in planned.snapshots
        )

    def ready_raw_tables(self) -> None:
        """Make sure that the models have something to read: create tables that may be empty.

        Raises:
            DatabaseError: nothing has been landed, or the role may not create what is missing.

        """
        if not self.reads_raw_tables:
            return
        missing = [
            table
            for table in read_tables(self.project).values()
            if not self.adapter.table_exists(table.raw_name)
        ]
        for table in missing:
            if not table.may_be_empty:
                raise DatabaseError(
                    f"The models read {SCHEMA}, which has no table {table.name}. "
                    "Land first: make land"
                )
        if missing:
            self._create_missing(missing)

    def _create_missing(self, tables: list[Table]) -> None:
        import psycopg2.errors

        names = ", ".join(table.raw_name for table in tables)
        try:
            with self.exclusively(), self.transaction():
                for table in tables:
                    self.create_raw_table(table)
        except psycopg2.errors.InsufficientPrivilege as error:
            (role,) = self.adapter.fetchone("SELECT QUOTE_IDENT(CURRENT_USER)")
            raise DatabaseError(
                f"The models read {names}, which this release needs and {role} may not create "
                f"({str(error).splitlines()[0]}). They may stay empty. Let the owner of {SCHEMA} "
                f"run: {' '.join(table.definition for table in tables)} "
                f"GRANT SELECT ON {names} TO {role};"
            ) from error
        say(f"New, and empty until something fills them: {names}.")

    def create_raw_table(self, table: Table) -> None:
        """Create a raw table unless it exists, and the indexes by which runs find touched deals."""
        from sqlglot import exp

        if not self.adapter.table_exists(table.raw_name):
            self.adapter.create_table(
                table.raw_name,
                {
                    name: exp.DataType.build(type_, dialect="postgres")
                    for name, type_ in table.columns.items()
                },
                table_description=table.description,
                column_descriptions=table.column_descriptions,
            )
        if table.is_by_deal and self.engine == "postgres":
            for column in ("deal_id", ARRIVAL):
                self.adapter.execute(
                    f"CREATE INDEX IF NOT EXISTS {table.name}_{column}_idx "
                    f"ON {table.raw_name} ({column})"
                )

    def plan(self, environment: str) -> Built:
        """Bring an environment up to date with the project's models and all landed data.

        This takes one pass, for dev and prod alike: the plan also processes newly arrived rows,
        so that a table is computed once, by the version that the environment will show. A run
        before the plan would compute versions that the plan throws away, and a run after it
        would compute new tables twice. The sample's changes arrive at the time they happened.
        Nothing is run for them, so a second plan has nothing to do.

        The linter always runs. If a model differs from the environment's, the unit tests run that
        have not passed before (unit_tests.py).

        Raises:
            BuildError: a test fails, an audit blocks, or the models are wrong.
            DatabaseError: nothing has been landed.

        """
        from sqlmesh.utils.errors import ConflictingPlanError

        self.ready_raw_tables()
        with self._explained(
            f"{environment} was not built, and nothing was published.",
            f"The plan of {environment} did not end: some views may show what they did before.",
        ):
            try:
                return self._apply(environment)
            except ConflictingPlanError:
                say(f"Another plan of {environment} was applied meanwhile: planning once more.")
                return self._apply(environment)

    def _apply(self, environment: str) -> Built:
        """Plan an environment as its state is now, and apply the plan."""
        context = self._loaded
        now = datetime.now(UTC)  # SQLMesh's own takes whole minutes: later arrivals would wait
        landed = {"run": True, "ignore_cron": True, "execution_time": now}
        builder = context.plan_builder(
            environment,
            skip_tests=True,
            **(landed if self.reads_raw_tables else {}),
        )
        plan = builder.build()
        changes = plan.context_diff
        if changes.added or changes.modified_snapshots:
            self._test(changes.snapshots_by_name)
        self._console.show_changes(plan)
        context.planned = changes.snapshots_by_name
        context.audit_again(plan)
        builder.apply()
        return Built(
            environment,
            changes.is_new_environment,
            changes.has_snapshot_changes,
            self._console.built,
        )

    def run(self, environment: str) -> Built:
        """Process rows landed since an environment was computed, with the models that it has.

        An environment whose last plan was killed while it promoted is planned once more.

        Raises:
            BuildError: an audit blocks.

        """
        from sqlmesh.utils.errors import SQLMeshError

        planned = self._reached.state_reader.get_environment(environment)
        if planned and not planned.finalized_ts:
            say(f"The last plan of {environment} did not end: planning once more.")
            return self.plan(environment)
        with self._explained(
            f"{environment} was not refreshed; models that were not built show what they did."
        ):
            # Without ignore_cron, a second run on the same day does nothing
            if self._reached.run(environment, ignore_cron=True).is_failure:
                raise SQLMeshError("The run has failed.")
        return Built(environment, False, False, self._console.built)

    def planned(self, environment: str) -> Planned:
        """Return an environment as it was planned last.

        Raises:
            DatabaseError: there is no such environment.
            BuildError: the project's files cannot be read.

        """
        from sqlmesh.core.environment import Environment

        found = None
        if self.tables_of(environment):  # asking SQLMesh's state would make one where there is none
            state = self._reached.state_reader
            found = state.get_environment(Environment.sanitize_name(environment))
        if found is None:
            raise DatabaseError(f"There is no environment {environment} to show. Make it first.")
        snapshots = {snapshot.name: snapshot for snapshot in self._snapshots_of(environment)}
        return Planned(found, snapshots, self._loaded)

    def audit(self, environment: str) -> list[Audited]:
        """Run the audits of an environment, with the models that it has.

        Raises:
            DatabaseError: there is no such environment.
            BuildError: an audit cannot be run.

        """
        return [
            Audited(
                snapshot.fully_qualified_table.name,
                result.audit.name,
                result.blocking,
                result.count or 0,
            )
            for snapshot, results in self.audited(environment)
            for result in results
        ]

    def audited(self, environment: str) -> Iterator[tuple[Snapshot, list[AuditResult]]]:
        """Run the audits of an environment model by model, and yield what SQLMesh says of each.

        Raises:
            DatabaseError: there is no such environment.
            BuildError: an audit cannot be run.

        """
        if not self.tables_of(environment):
            raise DatabaseError(f"There is no environment {environment} to audit. Make it first.")
        evaluator = self._reached.snapshot_evaluator
        snapshots = {snapshot.name: snapshot for snapshot in self._snapshots_of(environment)}
        now = datetime.now(UTC)
        with self._explained("The audits were not run to the end."):
            for snapshot in snapshots.values():
                yield (
                    snapshot,
                    evaluator.audit(
                        snapshot,
                        snapshots=with_parents(snapshot, snapshots),
                        start="1970-01-01",
                        end=now,
                        execution_time=now,
                    ),
                )

    def _test(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Run the unit tests that have not passed before for these versions of the models.

        Raises:
            PlanError: one fails.

        """
        from sqlmesh.utils.errors import PlanError

        from pipedrive_funnel.terminal import console
        from pipedrive_funnel.unit_tests import UnitTests

        tests = UnitTests(self._loaded, snapshots)
        if tests.untested:
            with console.status("Testing the models"):
                if not tests.pass_all():
                    raise PlanError("Unit tests fail.")
            say(f"{tests.count} unit tests of the models pass.")
        elif tests.count:
            say(f"{tests.count} unit tests of the models have passed before.")

    @property
    def _reached(self) -> FunnelContext:
        """The context, once the database is known to answer."""
        assert self.adapter
        return self._context

    @cached_property
    def _loaded(self) -> FunnelContext:
        """The context with the models of the project."""
        from pipedrive_funnel.terminal import console

        context = self._reached
        with self._explained("Nothing was built."), console.status("Reading the models"):
            context.load()
        return context

    @contextmanager
    def _explained(self, consequence: str, once_published: str = "") -> Iterator[None]:
        """Log SQLMesh's work inside, and turn its errors into one that people understand.

        Args:
            consequence: what it means that the work has failed.
            once_published: the same of a plan that had begun to point views at new tables.

        Raises:
            BuildError: SQLMesh has failed.

        """
        from sqlglot.errors import SqlglotError
        from sqlmesh import configure_logging, remove_excess_logs
        from sqlmesh.utils.errors import SQLMeshError

        # SQLMesh's disabled telemetry leaves a handler that would print everything that is logged
        logging.getLogger().handlers.clear()
        logs = self.project / "logs"
        configure_logging(log_file_dir=logs)
        remove_excess_logs(logs, self._context.config.log_limit)
        try:
            yield
        except BuildError:
            raise
        except (SQLMeshError, SqlglotError, ValueError) as error:
            failures = self._console.failures
            said = SEE_ABOVE if failures else _reason(error)
            if self._console.has_published:
                consequence = once_published
            raise BuildError(f"{consequence} {said}", failures) from error

    # --- landing ----------------------------------------------------------------------------------

    @contextmanager
    def pipeline(self, dataset: str) -> Iterator[dlt.Pipeline]:
        """Give a dlt pipeline that loads into the schema `dataset`.

        Its working directory is thrown away, and its state is kept in the database. So a killed
        landing leaves no files that could disturb the next one.
        """
        with scratch_directory() as directory:
            configure_dlt(DLT_DATA_DIR=str(directory))
            import dlt

            yield dlt.pipeline(
                dataset,
                destination=self._destination(),
                dataset_name=dataset,
                pipelines_dir=str(directory),
            )

    def _destination(self) -> t.Any:
        """Return this database as a destination of dlt."""
        import dlt

        if self.adapter.dialect == "duckdb":
            return dlt.destinations.duckdb(self.adapter.connection)  # a file has one writer
        from dlt.destinations.impl.postgres.configuration import PostgresCredentials

        connection = self._connection
        # The host goes into the query, because a URL's host cannot be the path of a socket
        query = {"host": connection.host}
        if connection.sslmode:
            query["sslmode"] = connection.sslmode
        if connection.role:
            query["options"] = f"-crole={connection.role}"
        return dlt.destinations.postgres(
            PostgresCredentials(
                {
                    "host": "localhost",
                    "port": connection.port,
                    "username": connection.user,
                    "password": connection.password,
                    "database": connection.database,
                    "query": query,
                }
            )
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes made inside, or none of them."""
        if self.adapter.SUPPORTS_TRANSACTIONS:
            with self.adapter.transaction():
                yield
            return
        self.adapter.execute("BEGIN TRANSACTION")  # SQLMesh has none on DuckDB, but DuckDB does
        try:
            yield
        except BaseException:
            self.adapter.execute("ROLLBACK")
            raise
        self.adapter.execute("COMMIT")

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Wait for a plan or run that is at work, and keep others out until the end.

        Args:
            name: of the work, which plans and runs that wait for it show.

        Raises:
            DatabaseError: it has not ended in `writer_wait_minutes`.

        """
        adapter = self.adapter
        if adapter.dialect == "duckdb":  # the file is locked while it is open
            yield
            return
        lock = _macros_of(self.project / "macros" / "writer.py")
        if why := lock["take_lock"](adapter, self._writer_wait_minutes, name):
            raise DatabaseError(why)
        try:
            yield
        finally:
            lock["free_lock"](adapter)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other landings out of the database until the end.

        Raises:
            DatabaseError: another landing is at work.

        """
        if self.adapter.dialect == "duckdb":  # the file is locked while it is open
            yield
            return
        (is_free,) = self.adapter.fetchone(f"SELECT PG_TRY_ADVISORY_LOCK({_LANDING_LOCK})")
        if not is_free:
            raise DatabaseError("Another landing writes to this database. Try again when it ends.")
        try:
            yield
        finally:
            self.adapter.fetchone(f"SELECT PG_ADVISORY_UNLOCK({_LANDING_LOCK})")


def _macros_of(path: Path) -> dict[str, t.Any]:
    """Return what a file of macros defines: no package has it, SQLMesh loads it from the file."""
    from sqlmesh import macro

    known = macro.get_registry()
    try:
        return runpy.run_path(str(path))
    finally:
        macro.set_registry(known)  # or SQLMesh would take these for its own


def _reason(error: Exception) -> str:
    """Return what an error says; of one that a statement of ours has raised, its message alone."""
    import psycopg2.errors

    if isinstance(error.__context__, psycopg2.errors.RaiseException):
        return str(error.__context__.diag.message_primary)
    return said_by_database(error) or str(error)
