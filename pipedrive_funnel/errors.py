"""The end of a command that cannot do what was asked: a message and an exit code, no traceback.

0    done; a landing from the API also where the day's budget has ended it
1    the database, the models or the data do not allow it; the message says what to do
2    the files cannot be landed, too much would be removed, or the command is mistyped
3    the API cannot be read, or its settings are missing
130  stopped by Ctrl-C or `kill`

`health` has 1 for what is not healthy, and 2 when that cannot be told.
"""

from __future__ import annotations

import re
import signal
import sys
import typing as t
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DONE, FAILED, BAD_INPUT, NO_API = range(4)
STOPPED = 130  # as in shells

_stops: list[int] = []  # the signals that have asked the running command to stop


class FunnelError(Exception):
    """A command cannot do what was asked. The message is for people and says what to do.

    Attributes:
        code: the exit code of the command.
        advice: a line below the message.

    """

    code = FAILED
    advice = ""


class LandingError(FunnelError):
    """Data cannot be landed."""


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Add advice to the error when a person, the database or the machine stops the work inside."""
    try:
        yield
    except BaseException as error:
        error.add_note(advice)
        raise


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code: its own if it returns one.

    Unforeseen errors pass through. So does a broken pipe: its reader has seen enough.
    """
    _stops.clear()

    def stop(number: int, _: object) -> t.NoReturn:
        _stops.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return command() or DONE
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        advice = getattr(error, "__notes__", [])
        if is_stop(error):
            return _fail(STOPPED, " ".join(["Stopped.", *advice]))
        if isinstance(error, FunnelError):
            return _fail(error.code, str(error), error.advice)
        if reason := _reason_of(error):
            return _fail(FAILED, reason, *advice)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_stop(error: BaseException) -> bool:
    """Tell whether an error ends the command because somebody has stopped it.

    DuckDB and SQLMesh turn the exception of the signal into another.
    """
    return bool(_stops) or isinstance(error, KeyboardInterrupt)


def reason(error: Exception) -> str:
    """Return what the terminal says of the error that ends a command."""
    if isinstance(error, FunnelError):
        return str(error)
    return _reason_of(error) or f"Unforeseen: {type(error).__name__}; the traceback says where."


def _fail(code: int, *lines: str) -> int:
    print(*filter(None, lines), sep="\n", file=sys.stderr)
    return code


def said_by_database(error: BaseException | None) -> str | None:
    """Return what the database says in an error, or in one that it wraps, on one line."""
    return next(filter(None, map(_of_database, _wrapped(error))), None)


def lost_connection(error: BaseException | None) -> str | None:
    """Return a sentence if an error, or one that it wraps, means that PostgreSQL has gone away."""
    lost = next(filter(_is_lost, _wrapped(error)), None)
    return lost and _of_database(lost)


def _reason_of(error: BaseException | None) -> str | None:
    """Return the message of the database or the machine, whose errors dlt and SQLMesh wrap."""
    for cause in _wrapped(error):
        if said := _of_database(cause):
            return said
        if isinstance(cause, OSError):
            return f"The machine says: {cause}"
    return None


def _wrapped(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it wraps."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_database(error: BaseException) -> str | None:
    """Return the message of an error of the database; None of any other."""
    import duckdb
    import psycopg2

    if _is_lost(error):
        said = re.split(r"failed: (?:FATAL: *)?", str(error))[-1].strip()
        first, *_ = said.splitlines() or ["no reason was given"]
        return (
            f"The connection to PostgreSQL is lost: {first.rstrip('.')}. "
            "Give the command again when the server answers."
        )
    if isinstance(error, duckdb.Error | psycopg2.Error):
        return f"The database says: {' '.join(str(error).split())}"
    return None


def _is_lost(error: BaseException) -> bool:
    """Tell whether an error means that a connection has ended, or cannot be made.

    The codes 57P are of servers that shut down, crash or start; without a code, none has answered.
    """
    import psycopg2

    if isinstance(error, psycopg2.OperationalError):
        return error.pgcode is None or error.pgcode.startswith(("57P", "08"))
    return isinstance(error, psycopg2.InterfaceError)
