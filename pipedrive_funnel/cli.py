"""The command line: `python -m pipedrive_funnel`, or `pipedrive-funnel` where it is installed.

Each command imports what it needs when it is called: importing SQLMesh or dlt takes
seconds.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from pipedrive_funnel import PROJECT, alerts
from pipedrive_funnel.errors import advising, exit_code

DIRECTORY = click.Path(path_type=Path)
gateway_option = click.option("--gateway", help="Gateway of config.yaml; its default unless told.")
environment_argument = click.argument("environment", default="dev")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Commands of the Pipedrive sales funnel."""


@commands.command("check", short_help="Check the CSV files of an export.")
@click.argument("directory", type=DIRECTORY, default=PROJECT / "seeds")
def check_command(directory: Path) -> None:
    """Check the CSV files of a Pipedrive export against external_models.yaml.

    The steps of funnel_steps.csv are held against the stages and activity types beside it. Once
    the models read landed data, the steps are those of that, and are not held against seeds/.
    """
    from pipedrive_funnel.export.check import check

    check(directory)


@commands.command("build", short_help="Build an environment and print its funnel.")
@environment_argument
@gateway_option
def build_command(environment: str, gateway: str | None) -> None:
    """Build ENVIRONMENT (dev unless told) from the models and from what was landed.

    The files in seeds/ are checked first. At the end stand the funnel, what was built and what
    the data quality checks warn of.
    """
    from pipedrive_funnel.build import build

    build(environment, gateway)


@commands.command("refresh", short_help="Process what was landed since an environment was built.")
@click.argument("environment")
@gateway_option
def refresh_command(environment: str, gateway: str | None) -> None:
    """Process what was landed since ENVIRONMENT was built, with the models that it has.

    Nothing is to be done while the models read the sample.
    """
    from pipedrive_funnel.build import refresh

    refresh(environment, gateway)


@commands.command("show", short_help="Print the funnel of the latest months, or all of it.")
@environment_argument
@gateway_option
@click.option("--months", type=click.IntRange(min=1), help="Months to show; as many as fit.")
@click.option("--all", "everything", is_flag=True, help="Show the whole report.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the whole report as CSV.")
def show_command(
    environment: str, gateway: str | None, months: int | None, everything: bool, as_csv: bool
) -> None:
    """Print the monthly funnel of ENVIRONMENT (dev unless told)."""
    from pipedrive_funnel.show import show

    show(environment, gateway, months=months, everything=everything, as_csv=as_csv)


@commands.command("audit", short_help="Run the audits of an environment, and say what they find.")
@environment_argument
@gateway_option
def audit_command(environment: str, gateway: str | None) -> None:
    """Run the audits of ENVIRONMENT (dev unless told), in one table: PASS, WARN or ERROR.

    The exit code is not zero if an audit that blocks has found rows; those that warn do not count.
    """
    from pipedrive_funnel.audits import audit

    audit(environment, gateway)


@commands.command("diff", short_help="Say how an environment's marts differ from prod's.")
@environment_argument
@gateway_option
@click.option(
    "--against", default="prod", metavar="ENVIRONMENT", help="Compare with it; prod unless told."
)
@click.option("--markdown", type=DIRECTORY, metavar="FILE", help="Also write it to a file.")
def diff_command(
    environment: str, gateway: str | None, against: str, markdown: Path | None
) -> None:
    """Say how the marts of ENVIRONMENT (dev unless told) differ from those of prod, as Markdown.

    Rows of each mart that were added, removed or changed, and the cells of the monthly report
    that show another number. Nothing is written to the database.
    """
    from pipedrive_funnel.data_diff import diff

    diff(environment, gateway, against=against, markdown=markdown)


@commands.command("health", short_help="Say how old the last landing, run and promotion are.")
@gateway_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON, for a monitor.")
@click.option(
    "--max-age-hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    default=26,
    help="Age at which a landing or run is too old; 26 unless told.",
)
def health_command(gateway: str | None, as_json: bool, max_age_hours: float) -> int:
    """Say whether landings and prod are up to date.

    The exit code is 0 when they are, 1 when something is too old, failed or never happened, and 2
    when the database cannot be read.
    """
    from pipedrive_funnel.health import health

    return health(gateway, max_age_hours=max_age_hours, as_json=as_json)


@commands.command("snapshot", short_help="Write the marts to files, which the page shows.")
@click.argument("environment", required=False)
@gateway_option
def snapshot_command(environment: str | None, gateway: str | None) -> None:
    """Write the marts of ENVIRONMENT to page/snapshot/: prod unless told, dev if there is no prod.

    The page shows the new files from the next click on.
    """
    from pipedrive_funnel.snapshot import take_snapshot

    take_snapshot(environment, gateway)


@commands.command("catalog", short_help="Write models, lineage and audits as dbt's artifacts.")
@click.argument("environment", required=False)
@gateway_option
@click.option(
    "--out",
    type=DIRECTORY,
    metavar="DIR",
    default=PROJECT / "site" / "artifacts",
    help="Directory of the artifacts, site/artifacts/ unless told.",
)
def catalog_command(environment: str | None, gateway: str | None, out: Path) -> None:
    """Write what ENVIRONMENT holds as dbt's artifacts: prod unless told, dev if there is no prod.

    Its audits are run over all rows, and their results are among the artifacts. `make catalog` also
    makes a page of them, site/catalog.html.
    """
    from pipedrive_funnel.catalog.command import write_catalog

    write_catalog(environment, gateway, out)


@commands.command("page", short_help="Write the marts to files, and show the page.")
@click.argument("environment", required=False)
@gateway_option
def page_command(environment: str | None, gateway: str | None) -> None:
    """Write the marts of ENVIRONMENT as `snapshot` does, and serve the page at 127.0.0.1:8501.

    The page needs packages of its own, which `make page` installs.
    """
    from pipedrive_funnel.page import serve_page

    serve_page(environment, gateway)


@commands.command("ui", short_help="Open the catalog, or all of SQLMesh's UI, to this machine.")
@gateway_option
@click.option("--port", type=click.IntRange(1, 65535), default=8000, help="8000 unless told.")
@click.option("--ide", is_flag=True, help="Also edit files, plan, and query the database.")
def ui_command(gateway: str | None, port: int, ide: bool) -> None:
    """Serve SQLMesh's UI at 127.0.0.1: the catalog of models, their columns and lineage.

    Only the UI's own pages may use it, and the catalog only reads. With --ide it also edits files,
    plans any environment, prod included, and runs SQL as the pipeline's role.
    """
    from pipedrive_funnel.ui import serve

    serve(gateway, port, ide=ide)


@commands.command("backup", short_help="Write the database to one file.")
@click.argument("directory", type=DIRECTORY, metavar="[DIR]", required=False)
@gateway_option
def backup_command(directory: Path | None, gateway: str | None) -> None:
    """Write the database to one file in DIR (backups/ unless told), which `restore` takes.

    It holds what was landed, all environments, and SQLMesh's state, and so personal data.
    """
    from pipedrive_funnel.backup.command import backup

    backup(directory, gateway)


@commands.command("restore", short_help="Put a backup in place of the database.")
@click.argument("file", type=DIRECTORY)
@click.option("--replace", is_flag=True, help="Also where the database is not empty.")
@gateway_option
def restore_command(file: Path, replace: bool, gateway: str | None) -> None:
    """Put the backup in FILE in place of the database, which must be empty.

    A database of the name that it had gets all of it. One of another name gets what was landed, and
    `build` makes the rest.
    """
    from pipedrive_funnel.backup.command import restore

    restore(file, gateway, replace=replace)


# --- landing --------------------------------------------------------------------------------------


def landing_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options that `land csv` and `land api` share."""
    for option in (
        click.option(
            "--replace",
            is_flag=True,
            help="Also remove changes of deals that this source lacks: after another source.",
        ),
        click.option(
            "--allow-removals",
            is_flag=True,
            help="Also land when more than half of a table's rows are gone from the source.",
        ),
        click.option(
            "--refresh",
            is_flag=True,
            help="Bring prod up to date afterwards, so that it shows what was landed.",
        ),
        click.option("--dry-run", is_flag=True, help="Check, and write nothing."),
        gateway_option,
    ):
        command = option(command)
    return command


@commands.group("land", short_help="Land an export, or Pipedrive's API, for the models to read.")
def land_group() -> None:
    """Land your own Pipedrive data: an export in CSV files, or what the API gives.

    docs/landing.md explains both.
    """


@land_group.command("csv", short_help="The six CSV files of an export.")
@click.argument("directory", type=DIRECTORY, metavar="DIR")
@click.option("--strict", is_flag=True, help="Land nothing if a row is rejected.")
@landing_options
def land_csv_command(directory: Path, strict: bool, **options: str | bool | None) -> None:
    """Land the six CSV files of an export that are in DIR."""
    from pipedrive_funnel.landing import command

    with advising("Landing again is safe."):
        command.land_csv(command.Options(**options), directory, strict=strict)


@land_group.command("api", short_help="Pipedrive's API; PIPEDRIVE_* say which account.")
@click.option("--full", is_flag=True, help="Read all, not just what changed.")
@click.option(
    "--suggest-steps",
    is_flag=True,
    help="Only write seeds/funnel_steps.csv anew, from the stages of the account.",
)
@landing_options
def land_api_command(full: bool, suggest_steps: bool, **options: str | bool | None) -> None:
    """Land what Pipedrive's API gives; PIPEDRIVE_* say which account."""
    from pipedrive_funnel.landing import command

    with advising("Landing again is safe."):
        if suggest_steps:
            command.suggest_steps(command.Options(**options))
        else:
            command.land_api(command.Options(**options), full=full)


# --- the process ----------------------------------------------------------------------------------


# SQLMesh makes millions of objects that stay, or that go without the collector. Walking them as
# often as Python does takes a third of the time in which a project is loaded.
COLLECT_AFTER = (50_000, 20, 10)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    gc.set_threshold(*COLLECT_AFTER)
    for stream in (sys.stdout, sys.stderr):  # texts of an export may have any character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    program = "python -m pipedrive_funnel"
    try:
        return exit_code(lambda: commands.main(arguments, program, standalone_mode=False))
    except click.ClickException as error:  # a mistyped command
        error.show()
        return error.exit_code
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:  # the work is done, and what the terminal shows is shown
        with suppress(KeyboardInterrupt):
            alerts.deliver()
