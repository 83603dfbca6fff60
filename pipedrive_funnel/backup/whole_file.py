"""Files that are there as a whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipedrive_funnel.errors import FunnelError

PARTIAL = ".partial"


@contextmanager
def whole_file(path: Path, mode: int) -> Iterator[t.BinaryIO]:
    """Give a file that gets its name when all that was written inside is on the disk.

    Until then it is called `<name>.partial`. It is removed when something goes wrong inside, and a
    process that was killed leaves it for the next one to remove.

    Args:
        path: the name; a file that has it is replaced.
        mode: the permissions of the file, from its first byte on.

    Raises:
        FunnelError: another process writes the same file.

    """
    _remove_leftovers(path)
    partial = path.with_name(path.name + PARTIAL)
    with open(
        partial, "r+b", opener=lambda path, flags: os.open(path, flags | os.O_CREAT, mode)
    ) as file:
        if not _is_ours(file.fileno()):
            raise FunnelError(f"Another process writes {path}. Try again when it has ended.")
        try:
            os.fchmod(file.fileno(), mode)  # whatever the umask says
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            _remove(partial)
            raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the name, too
    finally:
        os.close(directory)


def _remove_leftovers(path: Path) -> None:
    """Remove the partial files beside a file and of its kind that no process writes any more."""
    for partial in path.parent.glob(f"*{path.suffix or path.name}{PARTIAL}"):
        with suppress(PermissionError):  # another user's
            file = os.open(partial, os.O_RDWR)
            try:
                if _is_ours(file):
                    _remove(partial)
            finally:
                os.close(file)


def _remove(partial: Path) -> None:
    """Remove a partial file, if it is there, and what DuckDB may have put beside it."""
    partial.unlink(missing_ok=True)
    partial.with_name(f"{partial.name}.wal").unlink(missing_ok=True)


def _is_ours(file: int) -> bool:
    """Lock a file for as long as it is open; processes that write for us keep the lock, too."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
