"""Our own commands, as a person types them, on a copy of the project."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import typing as t
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipedrive_funnel import warehouse
from pipedrive_funnel.__main__ import main
from pipedrive_funnel.context import FunnelContext
from tests.support.warehouse import SharedConfig, Warehouse


@dataclass(frozen=True)
class Done:
    """How a command has ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines that a person sees."""
        return (self.out + self.err).splitlines()

    def part(self, start: str) -> str:
        """Return what was printed from a text up to the next empty line."""
        assert start in self.out, self.out
        return start + self.out.split(start, 1)[1].split("\n\n")[0]


def run_command(
    in_: Warehouse, *arguments: str | Path, lint: bool = False, **variables: str
) -> Done:
    """Run `python -m pipedrive_funnel ARGUMENTS` in this process, on 80 columns."""
    in_.close()  # DuckDB lets one in at a time
    settings = in_.settings | {"SQLMESH__LINTER__ENABLED": str(lint).lower()} | variables
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(warehouse, "PROJECT", in_.path)
        patch.setattr(FunnelContext, "CONFIG_TYPE", SharedConfig)
        for name, value in settings.items():
            patch.setenv(name, value)
        gateway = [] if arguments[0] == "check" else ["--gateway", in_.gateway]
        code = main([*map(str, arguments), *gateway])
    return Done(code, out.getvalue(), err.getvalue())


def run_in_a_process(
    in_: Warehouse,
    *arguments: str | Path,
    before: t.Callable[[], None] | None = None,
    **variables: str,
) -> Done:
    """Run `python -m pipedrive_funnel ARGUMENTS` where what matters is whose process it is.

    `before` is called in the new process. Elsewhere `run_command` is as good, and saves seconds of
    imports.
    """
    in_.close()
    done = subprocess.run(
        [sys.executable, "-m", "pipedrive_funnel", *map(str, arguments), "--gateway", in_.gateway],
        cwd=in_.path,
        env=os.environ | in_.settings | {"SQLMESH__LINTER__ENABLED": "false"} | variables,
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def edit_file(file: Path, old: str, new: str) -> t.Callable[[], None]:
    """Replace a text in a file of the project, and return what undoes it."""
    before = file.read_text()
    assert old in before, before
    file.write_text(before.replace(old, new))
    return lambda: file.write_text(before)
