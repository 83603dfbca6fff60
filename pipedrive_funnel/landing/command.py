"""Land your own Pipedrive data: an export in CSV files, or data from the API."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipedrive_funnel import runs
from pipedrive_funnel.build import finish_refresh
from pipedrive_funnel.contract import FUNNEL_STEPS, OPTIONAL, REJECTED, SCHEMA, read_tables
from pipedrive_funnel.errors import LandingError
from pipedrive_funnel.export.reader import CsvFile, open_export
from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.land import LandedMirror, land_export, land_mirror
from pipedrive_funnel.landing.publish import NO_CHANGE, Change, TooManyRemovals
from pipedrive_funnel.summary import counted
from pipedrive_funnel.terminal import console, make, numbers, say, say_command
from pipedrive_funnel.warehouse import BuildError, Database
from pipedrive_funnel.watch import PROD, Watch, watching

USE_LANDED = f"echo SQLMESH__VARIABLES__RAW_SCHEMA={SCHEMA} >> .env"

COLUMNS = ("read", "landed", "unchanged", "repeated", "rejected", "removed")
REJECTS_SHOWN = 5  # of a file; the table has them all


@dataclass(frozen=True)
class Options:
    """How to land, whatever the source.

    Attributes:
        gateway: of config.yaml; the default one when None.
        dry_run: check, and write nothing.
        refresh: bring prod up to date afterwards.
        allow_removals: also land when more than half of a table's rows are gone from the source.
        replace: also remove changes of deals that the source lacks.

    """

    gateway: str | None
    dry_run: bool
    refresh: bool
    allow_removals: bool
    replace: bool

    @property
    def removals(self) -> dict[str, bool]:
        """What may be removed, as arguments of `publish`."""
        return {"allow_removals": self.allow_removals, "replace": self.replace}

    def watching(self, source: str) -> AbstractContextManager[Watch]:
        """Watch the landing from `source`; a dry run is none."""
        command = f"land {source}{' --refresh' if self.refresh else ''}"
        return watching(command, self.gateway, matters=not self.dry_run)


def land_csv(options: Options, directory: Path, *, strict: bool) -> None:
    """Land the files of an export, and bring prod up to date if `options` say so.

    Args:
        options: how to land.
        directory: where the files are.
        strict: land nothing if a row is rejected.

    Raises:
        FunnelError: the export cannot be landed, or prod not be brought up to date.

    """
    tables = read_tables()
    whole = _why_not_without(options, strict)
    if options.dry_run:
        with open_export(directory, tables) as files:
            _read_export(files, directory, whole)
        say("\nNothing was written.")
        return
    with (
        options.watching("csv") as watch,
        closing(watch.opened(_open_database(options))) as database,
        ExitStack() as stack,
    ):
        with watch.logged(runs.LANDING) as step, open_export(directory, tables) as files:
            rejected = _read_export(files, directory, whole)
            stack.enter_context(database.exclusively())  # until prod is up to date
            changes = land_export(database, tables, files, _now(), **options.removals)
            step.rows_landed = _rows_landed(changes)
        _say_changes(changes, rejected)
        if rejected:
            say(f"\nRejected rows are in {SCHEMA}.{REJECTED}, with file, line and reason.")
        _finish(options, database, watch, directory)


def land_api(options: Options, *, full: bool) -> None:
    """Land data from the API, and bring prod up to date if `options` say so.

    Args:
        options: how to land.
        full: read everything, not only what has changed.

    Raises:
        FunnelError: the API cannot be landed, or prod not be brought up to date.

    """
    with (
        options.watching("api") as watch,
        closing(watch.opened(_open_database(options))) as database,
        ExitStack() as stack,
    ):  # .env has been read now, where the settings may be
        if options.dry_run:
            settings = _say_settings()
            _say_estimate(api.estimate(settings, database, full=full))
            database.adapter.fetchone("SELECT 1")
            say("\nThe token and the database work. Nothing was written.")
            return
        with watch.logged(runs.LANDING) as step:
            settings = _say_settings()
            stack.enter_context(database.exclusively())  # until prod is up to date
            mirror = api.Mirror(settings, database, replace=options.replace)
            step.rows_landed = _land_left(mirror, database, settings)
            with console.status("") as status:
                read = mirror.read(
                    full=full, report=lambda name, rows: status.update(f"{name} {rows:,}")
                )
            _say_read(read.rows)
            _say_tokens(read)
            if read.is_publishable:
                removals = options.removals | {"replace": mirror.is_replacing}
                landed = land_mirror(database, read_tables(), settings, _now(), **removals)
                step.rows_landed += _rows_landed(landed.changes)
                _say_changes(landed.changes, {})
                _say_skipped(landed)
                _say_coverage(read, landed.coverage, watch)
            else:
                say(f"\n{read.stopped} Nothing is landed before all lists were read once.")
            if read.has_failed:
                assert read.stopped
                raise read.stopped
        if read.is_publishable:
            _finish(options, database, watch)


def _land_left(mirror: api.Mirror, database: Database, settings: api.Settings) -> int:
    """Land what a landing had read that was killed, and return the number of rows.

    The end of this landing lands it as well; but it, too, may be killed before.
    """
    if not mirror.is_unpublished:
        return 0
    with suppress(TooManyRemovals):  # what is read now may bring back the rows; if not, it is said
        replace = mirror.is_replacing
        landed = land_mirror(database, read_tables(), settings, _now(), replace=replace)
        rows = _rows_landed(landed.changes)
        say(f"The last landing was stopped. What it had read is landed: {rows:,} rows.", indent=2)
        return rows
    return 0


def suggest_steps(options: Options) -> None:
    """Write a mapping of steps from the account's stages, and keep the previous file.

    Raises:
        FunnelError: the account cannot be read.

    """
    database = _open_database(options)  # reads .env, where the settings may be
    text = io.StringIO()
    suggested = api.suggest_steps(api.Settings.from_environment())
    csv.writer(text, lineterminator="\n").writerows([FUNNEL_STEPS, *suggested.steps])
    print(text.getvalue())
    if suggested.outside:
        say(
            "Deals may have been in other stages before: in those of another pipeline, or deleted "
            "ones. Say that these are no steps, or a plan stops at them:"
        )
        stages = ", ".join(map(str, suggested.outside))
        say_command(f"echo \"SQLMESH__VARIABLES__STAGES_OUTSIDE_FUNNEL='{stages}'\" >> .env")
        say()
    path = database.project / "seeds" / "funnel_steps.csv"
    if options.dry_run:
        say("Nothing was written.")
        return
    if path.read_text(encoding="utf-8") == text.getvalue():
        say(f"That is what {os.path.relpath(path)} has.")
        return
    kept = path.replace(path.with_name("funnel_steps.previous.csv"))
    path.write_text(text.getvalue(), encoding="utf-8")
    say(f"This is now {os.path.relpath(path)}; what it was is {os.path.relpath(kept)}.")
    say("Edit it until each step is the stage or call type that your business means by it.")


def _open_database(options: Options) -> Database:
    """Give the database to land in.

    Raises:
        DatabaseError: the project does not support its engine.
        LandingError: prod is to be refreshed, but reads the sample.

    """
    database = Database(options.gateway)
    if options.refresh and not database.reads_raw_tables:
        raise LandingError(
            f"The models read {database.raw_schema}, so prod would not show what is landed. "
            f"Let them read it, then try again:\n  {USE_LANDED}"
        )
    return database


def _why_not_without(options: Options, strict: bool) -> str | None:
    """Return the option that forbids landing if a row is rejected."""
    return "--strict" if strict else "--replace" if options.replace else None


def _read_export(files: list[CsvFile], directory: Path, whole: str | None) -> Counter[str]:
    """Read the files of an export, and return the number of rejected rows by table.

    Raises:
        LandingError: rows are rejected, and the option `whole` forbids landing without them.

    """
    say_command(f"Reading {directory}", indent=0)
    for file in files:
        file.read()
        say(f"{file.path.name:<20}{file.rows_read:>12,}", indent=2)
    for file in files:
        _say_rejects(file)
    rejected = Counter(reject.table_name for file in files for reject in file.rejects)
    if rejected and whole:
        raise LandingError(
            f"{rejected.total():,} rows are rejected, and that is not for {whole}: "
            "nothing was written."
        )
    return rejected


def _finish(
    options: Options, database: Database, watch: Watch, directory: Path | None = None
) -> None:
    """Bring prod up to date if `options` say so, else say what to type next.

    Raises:
        LandingError: prod could not be brought up to date.

    """
    if not options.refresh:
        _say_next(database, directory)
        return
    say()
    try:
        is_run = database.reads_landed(PROD)
        with watch.logged(runs.RUN if is_run else runs.PROMOTION):
            built = database.run(PROD) if is_run else database.plan(PROD)
    except BuildError as error:
        raise LandingError(
            f"{error} What was landed is kept; docs/operations.md says what to do when an audit "
            "blocks."
        ) from error
    finish_refresh(database, built, watch)


def _say_settings() -> api.Settings:
    """Return the settings of the API, and say which one is read.

    Raises:
        ApiError: they are missing or wrong.

    """
    settings = api.Settings.from_environment()
    say_command(f"Reading {settings.url}", indent=0)
    return settings


def _rows_landed(changes: Mapping[str, Change]) -> int:
    """Return the rows that a landing has brought, new and changed; rejected rows are none."""
    return sum(change.landed for name, change in changes.items() if name != REJECTED)


def _now() -> datetime:
    """Return the time now as the contract has it: UTC, without time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def _say_read(rows: Mapping[str, int]) -> None:
    """Say how many rows of each list were read."""
    for name, count in rows.items():
        say(f"{name:<20}{count:>12,}", indent=2)


def _say_tokens(read: api.Read) -> None:
    """Say what reading has cost."""
    left = "" if read.tokens_left is None else f"; the company has {read.tokens_left:,} left today"
    say(f"{read.tokens:,} tokens spent{left}", indent=2)


def _say_skipped(landed: LandedMirror) -> None:
    """Say what the contract tables lack, and why."""
    for reason, rows in landed.skipped.items():
        if rows and reason != api.ODD_VALUES:
            say(f"not landed: {rows:,} {reason}", indent=2)
    where = f"see {SCHEMA}.{REJECTED}"
    odd_values = landed.skipped[api.ODD_VALUES]
    if rejected := landed.changes[REJECTED].read - odd_values:
        say(f"not landed: {rejected:,} rejected rows, {where}", indent=2)
    if odd_values:
        say(f"not landed: {odd_values:,} {api.ODD_VALUES}, {where}", indent=2)


def _say_coverage(read: api.Read, coverage: api.Coverage, watch: Watch) -> None:
    """Say which share of the account is landed, if it is not all of it, and how it goes on."""
    if read.stopped is None:
        return
    share = coverage.landed * 100 // max(1, coverage.deals)
    days = "" if read.days is None else f", {counted(read.days, 'day')} of what landings may spend"
    text = (
        f"The change logs of {coverage.landed:,} of {coverage.deals:,} deals ({share} %) are "
        f"landed. {read.left:,} are still to be read{days}: the next landing goes on."
    )
    if not read.has_failed:  # an error is said at the end
        text = f"{read.stopped} {text}"
    say(f"\n{text}")
    watch.note(text)


def _say_estimate(estimate: api.Estimate) -> None:
    """Say what a landing will cost."""
    _say_read(estimate.rows)
    say(
        f"\nA landing costs about {estimate.tokens:,} tokens, "
        f"{estimate.logs:,} change logs included. This look has cost {estimate.spent:,}."
    )
    if estimate.share is None or estimate.days is None:
        say(
            "Pipedrive does not say how many tokens the company has a day. Set "
            "PIPEDRIVE_DAILY_TOKENS to know how many days that takes."
        )
        return
    say(
        f"Of {estimate.day:,} tokens a day, landings may spend {estimate.share:,}: that takes "
        f"{counted(estimate.days, 'day')}. What is complete is landed on the way."
    )


def _say_rejects(file: CsvFile) -> None:
    """Show the first rejected rows of a file."""
    for reject in file.rejects[:REJECTS_SHOWN]:
        say_command(f"rejected: {file.path.name}, line {reject.line}: {reject.reason}")
    if len(file.rejects) > REJECTS_SHOWN:
        more = len(file.rejects) - REJECTS_SHOWN
        say(f"rejected: {more:,} more rows of {file.path.name}", indent=2)


def _say_changes(changes: Mapping[str, Change], rejected: Mapping[str, int]) -> None:
    """Print what became of the rows, one line per table."""
    rows = {
        name: (change.read + rejected.get(name, 0), change.landed, change.unchanged)
        + (change.repeated, rejected.get(name, 0), change.removed)
        for name, change in changes.items()
        if name != REJECTED
        and not (name in OPTIONAL and change == NO_CHANGE and not rejected.get(name))
    }
    rows["total"] = tuple(map(sum, zip(*rows.values(), strict=True)))
    table = numbers(["", *COLUMNS])
    for name, counts in rows.items():
        table.add_row(name, *(f"{count:,}" for count in counts))
    say()
    console.print(table)


def _say_next(database: Database, directory: Path | None) -> None:
    """Say what to type next."""
    gateway = None if database.is_default else database.gateway
    if database.reads_raw_tables:
        source = {"SOURCE": str(directory)} if directory else {}
        say("\nNext: build dev from what was landed, or bring prod up to date.")
        say_command(make("dev", gateway))
        say_command(make("refresh", gateway, **source))
    else:
        say("\nThe models still read the sample. Let them read what was landed, and build dev:")
        say_command(USE_LANDED)
        say_command(make("dev", gateway))
