"""Programs that read or write a backup."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from collections.abc import Mapping
from pathlib import Path

from pipedrive_funnel.backup.contents import BackupError


def run(
    program: str,
    *arguments: str | Path,
    settings: Mapping[str, str] | None = None,
    to: t.BinaryIO | int = subprocess.PIPE,
) -> bytes:
    """Run a program to its end, and return what it printed, unless that goes to a file.

    Args:
        program: its name.
        arguments: for it; everybody on this machine can see them, so passwords go elsewhere.
        settings: variables of its environment, besides our own.
        to: where its output goes.

    Raises:
        BackupError: there is no such program, or it failed.

    """
    done = subprocess.run(
        [find(program), *arguments],
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=to,
        stderr=subprocess.PIPE,
    )
    if done.returncode:
        raise BackupError(why_failed(program, done.returncode, done.stderr))
    return done.stdout or b""


def find(program: str) -> str:
    """Return the path of a program.

    Raises:
        BackupError: it is not on PATH.

    """
    if path := shutil.which(program):
        return path
    raise BackupError(
        f"{program} is not on PATH. Install PostgreSQL's client programs, of the server's version "
        "or newer, or use those of the container: docs/operations.md, Backup and recovery"
    )


def environment(settings: Mapping[str, str] | None) -> dict[str, str]:
    """Return our environment with settings of PostgreSQL in place of the person's own ones."""
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    return kept | {"LC_ALL": "C"} | dict(settings or {})


def why_failed(program: str, code: int, said: bytes) -> str:
    """Return what a program said before it failed, on one line."""
    text = " ".join(said.decode(errors="replace").split())[:500].rstrip(".")
    text = text.removeprefix(f"{program}: ").removeprefix("error: ")
    if code < 0:
        return f"{program} was killed by signal {-code}"
    return f"{program} says: {text}" if text else f"{program} failed with exit code {code}"


# A person's settings that would lead the programs to another database than ours
_OTHERS = ("PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGPASSWORD", "PGOPTIONS")
