"""How long one waits for what one types, on the sample in a copy of the project, and its CPU.

    .venv/bin/python benchmarks/typed.py
    .venv/bin/python benchmarks/typed.py --gateway postgres

Commands start as a shell starts them: with Python's imports, the linter and the unit tests, which
costs.py leaves out.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as pytest does

from costs import edit_one_mart
from landing import databases

from tests.support.warehouse import GATEWAYS, PROJECT, copy_project

BUILD = (
    sys.executable,
    "-m",
    "pipedrive_funnel",
    "build",
    "{environment}",
    "--gateway",
    "{gateway}",
)
SQLMESH = (str(Path(sys.executable).with_name("sqlmesh")), "--gateway", "{gateway}")
PLAN = (*SQLMESH, "plan", "dev", "--no-prompts")


def measure(project: Path, gateway: str, variables: dict[str, str]) -> None:
    """Type commands, and print what each takes."""
    steps: list[tuple[str, str, tuple[str, ...], t.Callable[[Path], None] | None]] = [
        ("make dev, the first", "dev", BUILD, None),
        ("make dev again", "dev", BUILD, None),
        ("make prod, the first", "prod", BUILD, None),
        ("make dev after an edit of one mart", "dev", BUILD, edit_one_mart),
        ("make prod of that", "prod", BUILD, None),
        ("sqlmesh plan dev, nothing to do", "dev", PLAN, None),
        ("the same, --test-changed-only", "dev", (*PLAN, "--test-changed-only"), None),
    ]
    environ = os.environ | variables
    environ.pop("MAX_FORK_WORKERS", None)  # tests/ has set it, and users have not
    print(f"{'':36}{'wait':>8}{'CPU':>8}")
    for name, environment, arguments, before in steps:
        if before:
            before(project)
        command = [part.format(environment=environment, gateway=gateway) for part in arguments]
        begun, cpu = time.monotonic(), _cpu()
        done = subprocess.run(
            command,
            cwd=project,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        print(f"{name:36}{time.monotonic() - begun:>7.1f}s{_cpu() - cpu:>7.1f}s", flush=True)


def _cpu() -> float:
    """Return the CPU seconds of all commands so far, with the processes that they have forked."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gateway", choices=GATEWAYS, default="duckdb")
    gateway = parser.parse_args().gateway
    with (
        tempfile.TemporaryDirectory(prefix="typed_") as directory,
        databases(Path(directory)) as new_database,
    ):
        project = copy_project(Path(directory) / "project")
        shutil.copytree(PROJECT / "tests" / "models", project / "tests" / "models")
        measure(project, gateway, new_database(gateway, "typed"))


if __name__ == "__main__":
    main()
