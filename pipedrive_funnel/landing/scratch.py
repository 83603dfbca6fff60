"""A temporary directory for the files of a landing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "pipedrive_landing_"


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Give a directory that is removed at the end, and remove those left by killed landings."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*_*"):
        owner = left.name.removeprefix(_PREFIX).split("_")[0]
        if owner.isdecimal() and not _is_running(int(owner)):
            shutil.rmtree(left, ignore_errors=True)  # the directory may be another user's
    with tempfile.TemporaryDirectory(
        prefix=f"{_PREFIX}{os.getpid()}_", ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is running, but belongs to another user
        return True
    return True
