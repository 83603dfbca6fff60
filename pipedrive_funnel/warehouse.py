"""The database behind a gateway of config.yaml, as SQLMesh and dlt reach it.

Connection settings are said once, in config.yaml: SQLMesh's engine adapter runs our SQL, and dlt's
pipelines load with the same settings.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.errors import LandingError
from pipedrive_funnel.landing.dlt_settings import configure_dlt
from pipedrive_funnel.landing.scratch import scratch_directory

if t.TYPE_CHECKING:
    import dlt
    from sqlmesh.core.engine_adapter import EngineAdapter

_LANDING_LOCK = 7_331_205  # any number: which advisory lock of a PostgreSQL database is ours


class DatabaseError(LandingError):
    """A database cannot be used."""


class Database:
    """A database to land in.

    Attributes:
        gateway: its name in config.yaml.
        is_default: whether commands mean this gateway when they name none.
        raw_schema: the schema that the project's models read, by config.yaml and .env.
        adapter: SQLMesh's connection to it.

    """

    def __init__(self, gateway: str | None = None, project: Path = PROJECT) -> None:
        """Read the gateway from config.yaml, the default one when `gateway` is None.

        Raises:
            DatabaseError: config.yaml is wrong or has no such gateway, or landing does not support
                its engine.

        """
        from sqlmesh import Context  # takes seconds to import
        from sqlmesh.utils.errors import ConfigError

        try:
            self._context = Context(paths=project, gateway=gateway, load=False)
            config = self._context.config
            settings = config.get_gateway(gateway)
        except ConfigError as error:
            raise DatabaseError(f"config.yaml: {error}") from error
        self.gateway = gateway or config.default_gateway
        self.is_default = self.gateway == config.default_gateway
        self.raw_schema: str = (config.variables | settings.variables)["raw_schema"]
        self.adapter: EngineAdapter = self._context.engine_adapter
        self._connection = config.get_connection(gateway)
        if self.adapter.dialect not in ("duckdb", "postgres"):
            raise DatabaseError(
                f"Gateway {self.gateway} is {self.adapter.dialect}. "
                "Landing writes to DuckDB and PostgreSQL."
            )

    def close(self) -> None:
        """Close the connections, so that others can open a DuckDB file."""
        self.adapter.close()
        self._context.close()

    def reads_landed(self, environment: str) -> bool:
        """Tell whether an environment is there and reads landed tables, not the sample."""
        planned = self._context.state_reader.get_environment(environment)
        return planned is not None and not any(
            "pipedrive_seed" in snapshot.name for snapshot in planned.snapshots
        )

    @contextmanager
    def pipeline(self, dataset: str) -> Iterator[dlt.Pipeline]:
        """Give a dlt pipeline that loads into the schema `dataset`.

        Its working directory is thrown away: what a pipeline must remember is in the database,
        so that a killed landing leaves nothing behind that the next one could stumble over.
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
        """Return this database as dlt sees it."""
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
        """Commit what is done inside as a whole, or nothing of it."""
        if self.adapter.SUPPORTS_TRANSACTIONS:
            with self.adapter.transaction():
                yield
            return
        self.adapter.execute("BEGIN TRANSACTION")  # SQLMesh has none on DuckDB, DuckDB does
        try:
            yield
        except BaseException:
            self.adapter.execute("ROLLBACK")
            raise
        self.adapter.execute("COMMIT")

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
