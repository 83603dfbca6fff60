"""Land your own Pipedrive data: an export in CSV files, or what the API gives."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.contract import FUNNEL_STEPS, REJECTED, SCHEMA, read_tables
from pipedrive_funnel.errors import LandingError, exit_code
from pipedrive_funnel.export.reader import CsvFile, open_export
from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.land import land_export, land_mirror
from pipedrive_funnel.landing.publish import Change
from pipedrive_funnel.landing.refresh import refresh, sqlmesh
from pipedrive_funnel.warehouse import Database

USE_LANDED = f"SQLMESH__VARIABLES__RAW_SCHEMA={SCHEMA}"

COLUMNS = ("read", "landed", "unchanged", "repeated", "rejected", "removed")
REJECTS_SHOWN = 5  # of a file; the table has them all


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `land` to the command line."""
    land = commands.add_parser(
        "land",
        help="land an export, or Pipedrive's API, for the models to read",
        description=f"{__doc__} docs/landing.md explains both.",
    )
    sources = land.add_subparsers(required=True, metavar="SOURCE", dest="source")
    from_csv = sources.add_parser("csv", help="the six CSV files of an export")
    from_csv.add_argument("directory", type=Path, metavar="DIR", help="where the files are")
    from_csv.add_argument("--strict", action="store_true", help="land nothing if a row is rejected")
    from_api = sources.add_parser("api", help="Pipedrive's API; PIPEDRIVE_* say which account")
    from_api.add_argument("--full", action="store_true", help="read all, not just what changed")
    from_api.add_argument(
        "--suggest-steps",
        action="store_true",
        help="only write seeds/funnel_steps.csv anew, from the stages of the account",
    )
    for source in (from_csv, from_api):
        source.add_argument("--gateway", help="gateway of config.yaml; its default unless told")
        source.add_argument("--dry-run", action="store_true", help="check, and write nothing")
        source.add_argument(
            "--refresh",
            action="store_true",
            help="bring prod up to date afterwards, so that it shows what was landed",
        )
        source.add_argument(
            "--allow-removals",
            action="store_true",
            help="also land when more than half of a table's rows are gone from the source",
        )
        source.add_argument(
            "--replace",
            action="store_true",
            help="also remove changes of deals that this source lacks: after another source",
        )
        source.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Land, and return the exit code."""
    land = _land_api if options.source == "api" else _land_export
    return exit_code(lambda: land(options), "Landing again is safe.")


def _open_database(options: argparse.Namespace) -> Database:
    """Open the database to land in.

    Raises:
        DatabaseError: landing does not support its engine.
        LandingError: prod is to be refreshed, but reads the sample.

    """
    database = Database(options.gateway)
    if options.refresh and database.raw_schema != SCHEMA:
        raise LandingError(
            f"The models read {database.raw_schema}, so prod would not show what is landed. "
            f"Let them read it, then try again:\n  echo {USE_LANDED} >> .env"
        )
    return database


def _finish(options: argparse.Namespace, database: Database) -> None:
    """Bring prod up to date if that is wanted, else say what to type next.

    Raises:
        LandingError: prod could not be brought up to date.

    """
    if not options.refresh:
        _print_next(options, database)
        return
    if not database.reads_landed("prod"):
        sqlmesh(database, "plan", "prod", "--auto-apply", "--no-prompts")
    elif options.replace:  # histories keep what has gone from their log until they are built anew
        history = "pipedrive_intermediate.int_deal_stage_history"
        plan = ("plan", "prod", "--auto-apply", "--no-prompts", "--restate-model", history)
        sqlmesh(database, *plan)
    refresh(database, "prod")
    option = "" if database.is_default else f" --gateway {database.gateway}"
    print(f"\nprod shows what was landed: .venv/bin/python -m pipedrive_funnel show prod{option}")


def _land_export(options: argparse.Namespace) -> None:
    tables = read_tables()
    with ExitStack() as lock:
        with open_export(options.directory, tables) as files:
            rejected = _read_export(options, files)
            if options.dry_run:
                print("\nNothing was written.")
                return
            database = _open_database(options)
            lock.enter_context(database.exclusively())  # until prod is up to date
            changes = land_export(database, tables, files, _now(), **_removals(options))
        _print_changes(changes, rejected)
        if rejected:
            print(f"\n  Rejected rows are in {SCHEMA}.{REJECTED}, with file, line and reason.")
        _finish(options, database)


def _read_export(options: argparse.Namespace, files: list[CsvFile]) -> Counter[str]:
    """Read the files of an export, and return the number of rejected rows by table.

    Raises:
        LandingError: rows are rejected, and nothing may be landed without them.

    """
    print(f"Reading {options.directory}", flush=True)
    for file in files:
        file.read()
        print(f"  {file.path.name:<20}{file.rows_read:>12,}", flush=True)
    _print_rejects(files)
    rejected = Counter(reject.table_name for file in files for reject in file.rejects)
    if rejected and (options.strict or options.replace):
        option = "--strict" if options.strict else "--replace"
        raise LandingError(
            f"{rejected.total():,} rows are rejected, and that is not for {option}: "
            "nothing was written."
        )
    return rejected


def _land_api(options: argparse.Namespace) -> None:
    database = _open_database(options)  # reads .env, where the settings may be
    settings = api.Settings.from_environment()
    if options.suggest_steps:
        _suggest_steps(api.suggest_steps(settings), dry_run=options.dry_run)
        return
    print(f"Reading {settings.url}", flush=True)
    if options.dry_run:
        _print_read(api.check(settings))
        database.adapter.fetchone("SELECT 1")
        print("\nThe token and the database work. Nothing was written.")
        return
    with database.exclusively():
        read = api.mirror(
            settings,
            database,
            full=options.full,
            replace=options.replace,
            report=_print_progress,
        )
        _print_read(read)
        changes, skipped = land_mirror(
            database, read_tables(), settings, _now(), **_removals(options)
        )
        _print_changes(changes, {})
        for reason, rows in skipped.items():
            if rows:
                print(f"  not landed: {rows:,} {reason}")
        _finish(options, database)


def _removals(options: argparse.Namespace) -> dict[str, bool]:
    """Return what may be removed, as `publish` wants it."""
    return {"allow_removals": options.allow_removals, "replace": options.replace}


def _now() -> datetime:
    """Return the time of a landing: UTC, without time zone, as the contract has it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _suggest_steps(steps: list[tuple[str, str, str, str]], *, dry_run: bool) -> None:
    """Write the mapping of steps, and keep the one that was there."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([FUNNEL_STEPS, *steps])
    print(text.getvalue())
    path = PROJECT / "seeds" / "funnel_steps.csv"
    if dry_run:
        print("Nothing was written.")
        return
    if path.read_text(encoding="utf-8") == text.getvalue():
        print(f"That is what {os.path.relpath(path)} has.")
        return
    kept = path.replace(path.with_name("funnel_steps.previous.csv"))
    path.write_text(text.getvalue(), encoding="utf-8")
    print(f"This is now {os.path.relpath(path)}; what it was is {os.path.relpath(kept)}.")
    print("Edit it until each step is the stage or call type that your business means by it.")


def _print_progress(name: str, rows: int) -> None:
    """Show on a terminal how far a list is read."""
    if sys.stdout.isatty():
        print(f"\r  {name:<20}{rows:>12,}", end="", flush=True)


def _print_read(rows: Mapping[str, int]) -> None:
    """Print how many rows of each list were read."""
    if sys.stdout.isatty():
        print("\r", end="")
    for name, count in rows.items():
        print(f"  {name:<20}{count:>12,}")


def _print_rejects(files: list[CsvFile]) -> None:
    """Show the first rejected rows of each file."""
    for file in files:
        for reject in file.rejects[:REJECTS_SHOWN]:
            print(f"  rejected: {file.path.name}, line {reject.line}: {reject.reason}")
        if len(file.rejects) > REJECTS_SHOWN:
            more = len(file.rejects) - REJECTS_SHOWN
            print(f"  rejected: {more:,} more rows of {file.path.name}")


def _print_changes(changes: Mapping[str, Change], rejected: Mapping[str, int]) -> None:
    """Print what became of every row, a line a table."""
    print(f"\n  {'':<16}" + "".join(f"{title:>12}" for title in COLUMNS))
    rows = {
        name: (change.read + rejected.get(name, 0), change.landed, change.unchanged)
        + (change.repeated, rejected.get(name, 0), change.removed)
        for name, change in changes.items()
        if name != REJECTED
    }
    rows["total"] = tuple(map(sum, zip(*rows.values(), strict=True)))
    for name, counts in rows.items():
        print(f"  {name:<16}" + "".join(f"{count:>12,}" for count in counts))


def _print_next(options: argparse.Namespace, database: Database) -> None:
    """Say what to type next."""
    make = "" if database.is_default else f" GATEWAY={database.gateway}"
    if database.raw_schema != SCHEMA:
        print("\nThe models still read the sample. Let them read what was landed, and build dev:")
        print(f"  echo {USE_LANDED} >> .env\n  make dev{make}")
    else:
        source = f" SOURCE={options.directory}" if options.source == "csv" else ""
        print("\nNext: build dev from what was landed, or bring prod up to date.")
        print(f"  make dev{make}\n  make refresh{make}{source}")
