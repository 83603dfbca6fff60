"""What our commands do to what others see: landings and prod, for the log of runs and for alerts.

Neither may change the result of a command. What keeps a row of the log, or a summary, from being
written is said in a line.
"""

from __future__ import annotations

import json
import socket
import sys
import typing as t
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pipedrive_funnel import alerts, runs
from pipedrive_funnel.errors import is_stop, reason
from pipedrive_funnel.show import months_to_show, read_funnel
from pipedrive_funnel.summary import QUALITY, WARNING, Check, counted, read_checks
from pipedrive_funnel.warehouse import SEE_ABOVE, BuildError, Built, Database, DatabaseError

PROD = "prod"
NAME = "Pipedrive funnel"  # at the beginning of each subject


@contextmanager
def watching(command: str, gateway: str | None, *, matters: bool = True) -> Iterator[Watch]:
    """Post an alert if the command inside fails, unless somebody stops it.

    Args:
        command: as it is typed, without the names of files.
        gateway: the gateway that it names; the default one when None.
        matters: whether it lands or works on prod. Of others nothing is logged or posted.

    """
    watch = Watch(command, gateway, matters)
    try:
        yield watch
    except BrokenPipeError:  # who read the output has seen enough
        raise
    except Exception as error:
        if matters and not is_stop(error):
            watch.post_failure(error)
        raise


@dataclass
class Step:
    """A part of a command that the log has a row of."""

    rows_landed: int | None = None


class Watch:
    """One command, from its beginning to its end."""

    def __init__(self, command: str, gateway: str | None, matters: bool) -> None:
        """Begin; see `watching`."""
        self._command, self._gateway, self._matters = command, gateway, matters
        self._started_at = _now()
        self._database: Database | None = None
        self._notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep something for the summary that the command has said."""
        self._notes.append(text)

    def opened(self, database: Database) -> Database:
        """Note the database that the command works on, and return it."""
        self._database = database
        return database

    @contextmanager
    def logged(self, kind: str) -> Iterator[Step]:
        """Log what happens inside, a landing, run or promotion, when it has ended."""
        step, started_at = Step(), _now()
        try:
            yield step
        except BrokenPipeError:
            raise
        except Exception as error:
            if not is_stop(error) and not self._is_away(error):
                said = " ".join(_said(error))
                self._log(kind, started_at, error=said, rows_landed=step.rows_landed)
            raise
        self._log(kind, started_at, rows_landed=step.rows_landed)

    def _is_away(self, error: Exception) -> bool:
        """Tell whether the database has not answered: it would take as long not to answer again."""
        is_reached = self._database is not None and self._database.is_reached
        return isinstance(error, DatabaseError) and not is_reached

    def _log(self, kind: str, started_at: datetime, **values: t.Any) -> None:
        """Add a row to the log."""
        if self._matters and self._database:
            with _harmless(f"{runs.TABLE} was not written"):
                run = runs.Run(kind, self._command, started_at, _now(), **values)
                runs.write(self._database, run)

    def post_failure(self, error: Exception) -> None:
        """Post that the command has failed, and why."""
        with _harmless("No alert"):
            lines = [*_said(error), "", *self._where_and_when()]
            alerts.post(alerts.Message(f"{NAME}: {self._command} failed", "\n".join(lines)))

    def summarise(self, database: Database, built: Built) -> None:
        """Post what a refresh has done: the first of a day (UTC), or if a check newly warns."""
        if not self._matters or not alerts.are_on():
            return
        with _harmless("No summary"):
            before = _logged(lambda: runs.last(database.adapter.fetchall, runs.SUMMARY))
            known = before.checks if before else frozenset()
            warnings = _warnings(database)
            names = sorted(check.name for check in warnings)
            is_first = before is None or before.ended_at.date() < _now().date()
            if not is_first and known.issuperset(names):
                return
            since = before and before.ended_at
            lines = [
                f"Built and audited: {built.tables} tables and views",
                *_say_rows(database, since),
                *self._notes,
                *self._where_and_when(),
                "",
                *_say_funnel(database),
                "",
                *_say_warnings(warnings, known, since),
            ]
            subject = f"{NAME}: {PROD} is up to date ({self._command})"
            alerts.post(alerts.Message(subject, "\n".join(lines)))
            self._log(runs.SUMMARY, self._started_at, warnings=json.dumps(names))

    def _where_and_when(self) -> list[str]:
        """Say where the command has run, when and for how long."""
        address, gateway = "", self._gateway or "the default one"
        if self._database:
            address, gateway = f"{self._database.address}, ", self._database.gateway
        seconds = (_now() - self._started_at).total_seconds()
        return [
            f"Database: {address}gateway {gateway}",
            f"Machine: {socket.gethostname()}",
            f"Time: {_as_text(self._started_at)}, for {seconds:.0f} s",
        ]


# --- what goes wrong -----------------------------------------------------------------------------

R = t.TypeVar("R")


def _logged(read: t.Callable[[], R]) -> R | None:
    """Return what is read from the log; None if it cannot be read, because it was never written."""
    try:
        return read()
    except Exception as error:  # the summary is worth more than what it would add
        if is_stop(error):
            raise
        return None


@contextmanager
def _harmless(consequence: str) -> Iterator[None]:
    """Say in a line that something has failed, and go on."""
    try:
        yield
    except Exception as error:
        if is_stop(error):
            raise
        print(f"{consequence}: {type(error).__name__}", file=sys.stderr)


# --- texts ----------------------------------------------------------------------------------------


def _said(error: Exception) -> list[str]:
    """Return what the terminal says of an error, with the failures that it has shown before."""
    failures: tuple[str, ...] = ()
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BuildError):
            failures = cause.failures
        cause = cause.__cause__
    texts = [reason(error).replace(SEE_ABOVE, ""), *failures]
    return [alerts.without_data(" ".join(text.split())) for text in texts]


def _say_rows(database: Database, since: datetime | None) -> Iterable[str]:
    """Say how many rows our commands have landed since the last summary."""
    rows = _logged(lambda: runs.rows_landed(database.adapter.fetchall, since))
    if rows is not None:
        yield f"Rows landed{f' since {_as_text(since)}' if since else ''}: {rows:,}"


def _say_funnel(database: Database) -> Iterable[str]:
    """Say how many deals have reached each step in the latest full month."""
    steps, report = read_funnel(database, PROD)
    deals = {(month, step): count for month, step, count in report}
    for month in months_to_show(steps, report, _now().date(), 1):
        yield f"Deals in {month:%Y-%m}:"
        for step, name in steps:
            yield f"{deals.get((month, step), 0):>7,}  {name}"


def _warnings(database: Database) -> list[Check]:
    """Return the checks that warn in prod."""
    if QUALITY not in database.tables_of(PROD):
        return []
    checks = read_checks(database, database.schema_of(PROD))
    return [check for check in checks if check.severity == WARNING]


def _say_warnings(
    warnings: Iterable[Check], known: frozenset[str], since: datetime | None
) -> Iterable[str]:
    """Say how many checks warn, and which of them did not at the last summary."""
    warnings = list(warnings)
    news = [check for check in warnings if check.name not in known]
    if not warnings:
        yield "No check warns."
        return
    new = f", {len(news) or 'none'} of them new since {_as_text(since)}" if since else ""
    end = ":" if news else "."
    yield f"{counted(len(warnings), 'check')} warn{'' if len(warnings) > 1 else 's'}{new}{end}"
    for check in news:
        yield f"{check.rows:>7,}  {check.name}: {check.meaning}"


def _now() -> datetime:
    """Return the time now as the log has it: UTC, without time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def _as_text(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
