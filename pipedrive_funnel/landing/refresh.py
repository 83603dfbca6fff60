"""Bring an environment up to date with what was landed."""

from __future__ import annotations

import argparse
import logging

from pipedrive_funnel import PROJECT
from pipedrive_funnel.contract import SCHEMA, read_tables
from pipedrive_funnel.errors import LandingError, exit_code
from pipedrive_funnel.warehouse import Database


def refresh(database: Database, environment: str) -> None:
    """Process what was landed since an environment was computed.

    Raises:
        LandingError: an audit has stopped it.

    """
    # Without --ignore-cron a second run of a day does nothing
    sqlmesh(database, "run", environment, "--ignore-cron")


def sqlmesh(database: Database, *arguments: str) -> None:
    """Do what `sqlmesh --gateway GATEWAY ARGUMENTS` does.

    In this process, because another one would find the DuckDB file locked.

    Raises:
        LandingError: it has failed, and said why.
        KeyboardInterrupt: it was stopped.

    """
    import click
    from sqlmesh.cli.main import cli

    # SQLMesh's telemetry, switched off, has set one up that would print all that is logged
    logging.getLogger().handlers.clear()
    command = ["--paths", str(PROJECT), "--gateway", database.gateway, *arguments]
    try:
        cli(command, standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    except (SystemExit, click.ClickException) as error:
        if not isinstance(error, SystemExit) or error.code:
            raise LandingError(
                f"sqlmesh {' '.join(arguments)} failed, see above. What was landed is kept; "
                "docs/operations.md says what to do when an audit blocks."
            ) from error


# --- the command ----------------------------------------------------------------------------------


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `refresh` to the command line."""
    command = commands.add_parser(
        "refresh",
        help="process what was landed since an environment was computed",
        description=f"{__doc__} Nothing is to be done while the models read the sample.",
    )
    command.add_argument("environment", help="dev, prod, ...")
    command.add_argument("--gateway", help="gateway of config.yaml; its default unless told")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Refresh an environment that is there, and return the exit code."""
    return exit_code(lambda: _refresh(options))


def _refresh(options: argparse.Namespace) -> None:
    """Do what the options say.

    Raises:
        LandingError: it cannot be done.

    """
    database = Database(options.gateway)
    if database.raw_schema == SCHEMA:
        _check_raw_tables(database)
        if database.reads_landed(options.environment):
            refresh(database, options.environment)


def _check_raw_tables(database: Database) -> None:
    """Make sure that there is something for the models to read.

    Raises:
        LandingError: nothing has been landed.

    """
    for name in read_tables():
        if not database.adapter.table_exists(f"{SCHEMA}.{name}"):
            raise LandingError(
                f"The models read {SCHEMA}, which has no table {name}. Land first: make land"
            )
