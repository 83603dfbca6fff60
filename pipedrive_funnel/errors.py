"""How a command ends that cannot do what was asked: a message and an exit code, no traceback."""

from __future__ import annotations

import signal
import sys
import typing as t
from collections.abc import Callable

DONE, FAILED, BAD_INPUT, NO_API = range(4)  # exit codes
STOPPED = 130  # what shells say after Ctrl-C


class LandingError(Exception):
    """What was asked for cannot be done. The message is for people and says what to do.

    Attributes:
        code: the exit code of the command.
        advice: what to say below the message.

    """

    code = FAILED
    advice = ""


def exit_code(command: Callable[[], None], advice: str = "") -> int:
    """Run a command and return its exit code, 0 if all went well.

    Args:
        command: what to run.
        advice: what to say when it is stopped, or the database or the machine lets it down.

    """
    stops: list[int] = []

    def stop(number: int, _: object) -> t.NoReturn:
        stops.append(number)  # DuckDB and SQLMesh make another error of the exception
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        command()
    except (Exception, KeyboardInterrupt) as error:
        if stops or isinstance(error, KeyboardInterrupt):
            return _fail(STOPPED, f"Stopped. {advice}".rstrip())
        if isinstance(error, LandingError):
            return _fail(error.code, str(error), error.advice)
        if reason := _reason_of(error):
            return _fail(FAILED, reason, advice)
        raise
    return DONE


def _fail(code: int, *lines: str) -> int:
    print(*filter(None, lines), sep="\n", file=sys.stderr)
    return code


def _reason_of(error: BaseException | None) -> str | None:
    """Return what the database or the machine said; dlt and SQLMesh wrap its errors."""
    import duckdb
    import psycopg2

    while error is not None:
        if isinstance(error, duckdb.Error | psycopg2.Error):
            return f"The database says: {' '.join(str(error).split())}"
        if isinstance(error, OSError):
            return f"The machine says: {error}"
        error = error.__cause__ or error.__context__
    return None
