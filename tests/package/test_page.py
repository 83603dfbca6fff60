"""The page's own tests, in its own Python, on snapshots of planned exports."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.command import run_command
from tests.support.warehouse import PROJECT, Warehouse

PAGE = PROJECT / "page"
PYTHON = PAGE / ".venv" / "bin" / "python"  # made by `make test`

pytestmark = pytest.mark.parametrize("gateway", ["duckdb"], indirect=True)


def passed(warehouse: Warehouse, directory: Path, only: str) -> int:
    """Return how many of the page's tests have passed, if no other was run."""
    variables = {"PIPEDRIVE_SNAPSHOTS": str(directory)}
    done = run_command(warehouse, "snapshot", "dev", **variables)
    assert done.code == 0, done.err
    command = (str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", only)
    tested = subprocess.run(
        command, cwd=PAGE, env=os.environ | variables, capture_output=True, text=True, timeout=600
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    counted = re.match(r"(\d+) passed(, \d+ deselected)? in", tested.stdout.splitlines()[-1])
    assert counted, tested.stdout
    return int(counted[1])


def test_the_page_shows_the_sample(sample: Warehouse, tmp_path: Path) -> None:
    assert passed(sample, tmp_path, "not empty and not browser") > 20


def test_the_page_shows_another_company(other_company: Warehouse, tmp_path: Path) -> None:
    """Other steps, a stage outside the funnel, and a handful of deals."""
    assert passed(other_company, tmp_path, "not empty and not browser") > 20


def test_the_page_says_that_there_are_no_deals(empty_company: Warehouse, tmp_path: Path) -> None:
    assert passed(empty_company, tmp_path, "empty") == 1
