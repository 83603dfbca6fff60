"""A small disk of its own, which a test may fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

BLOCK = bytes(4096)  # as large as those of a tmpfs


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """Mount an empty file system of some MB on a directory; skip the test where nobody may."""
    directory.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    size = f"size={megabytes}m,mode=777"
    mount = [*sudo, "mount", "-t", "tmpfs", "-o", size, "tmpfs", str(directory)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"needs a file system of its own: {error}")
    if done.returncode:
        pytest.skip(f"needs a file system of its own: {done.stderr.strip()}")
    try:
        yield directory
    finally:  # also if a process of the test has not quite ended
        subprocess.run([*sudo, "umount", "--lazy", str(directory)], check=True)


@contextmanager
def filled(disk: Path, but_for: int = 0) -> Iterator[None]:
    """Fill a disk but for some bytes, until the end."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):  # others may be faster
        while os.statvfs(disk).f_bavail * len(BLOCK) > but_for:
            file.write(BLOCK)
    assert os.statvfs(disk).f_bavail * len(BLOCK) <= but_for
    try:
        yield
    finally:
        ballast.unlink()
