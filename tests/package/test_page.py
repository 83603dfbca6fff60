"""The page's own tests, in its own Python, on snapshots of planned exports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from tests.support.command import run_command
from tests.support.warehouse import PROJECT, Warehouse

PAGE = PROJECT / "page"
PYTHON = PAGE / ".venv" / "bin" / "python"  # made by `make test`

# Asks what the page asks, again and again: deals, and the deals of all cohorts, which are as many
LOOK = """
import json, sys
from data import latest

seen, looks = set(), 0
while sys.stdin.readline().strip() == "look":
    snapshot = latest()
    deals = snapshot.value("SELECT COUNT(*) FROM fct_deals")
    of_cohorts = snapshot.value(
        "SELECT SUM(deals)::INT FROM (SELECT ANY_VALUE(cohort_deals_count) AS deals "
        "FROM rep_funnel_cohorts GROUP BY cohort_month)"
    )
    seen.add((int(deals), int(of_cohorts)))
    looks += 1
    print("looked", flush=True)
print(json.dumps({"seen": sorted(seen), "looks": looks}))
"""

pytestmark = pytest.mark.parametrize("gateway", ["duckdb"], indirect=True)


def passed(warehouse: Warehouse, directory: Path, only: str) -> int:
    """Return how many of the page's tests have passed, if no other was run."""
    variables = {"PIPEDRIVE_SNAPSHOTS": str(directory)}
    done = run_command(warehouse, "snapshot", "dev", **variables)
    assert done.code == 0, done.err
    own = f"--basetemp={directory / 'pytest'}"  # which leaves the directories of others alone
    command = (str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", own, "-m", only)
    variables |= {"PYTEST_ADDOPTS": ""}  # they are for these tests, and not for those
    tested = subprocess.run(
        command, cwd=PAGE, env=os.environ | variables, capture_output=True, text=True, timeout=600
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    counted = re.match(r"(\d+) passed(, \d+ deselected)? in", tested.stdout.splitlines()[-1])
    assert counted, tested.stdout
    return int(counted[1])


def test_the_page_shows_the_sample(sample: Warehouse, tmp_path: Path) -> None:
    assert passed(sample, tmp_path, "not empty and not browser") > 20


@pytest.mark.again
def test_the_page_shows_another_company(other_company: Warehouse, tmp_path: Path) -> None:
    """Other steps, a stage outside the funnel, and a handful of deals."""
    assert passed(other_company, tmp_path, "not empty and not browser") > 20


@pytest.mark.again
def test_the_page_shows_deals_of_several_pipelines(
    randoms: t.Callable[[int, str], Warehouse], gateway: str, tmp_path: Path
) -> None:
    """Won, lost and reopened deals in several currencies, and some of which nothing is known."""
    assert passed(randoms(1, gateway), tmp_path, "not empty and not browser") > 20


@pytest.mark.again
def test_the_page_says_that_there_are_no_deals(empty_company: Warehouse, tmp_path: Path) -> None:
    assert passed(empty_company, tmp_path, "empty") == 1


def test_the_page_gets_its_own_settings_of_env_and_no_password(
    sample: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = sample.path / ".env"
    env_file.write_text("PIPEDRIVE_HIDE_OWNER_NAMES=true\nBI_READER_PASSWORD=secret\n")
    monkeypatch.chdir(tmp_path)  # the command goes to the page's folder
    monkeypatch.delenv("PIPEDRIVE_HIDE_OWNER_NAMES", raising=False)
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(
        os, "execve", lambda _, command, variables: started.append((command, variables))
    )
    try:
        done = run_command(sample, "page", "dev", PIPEDRIVE_SNAPSHOTS="snapshots")
    finally:
        env_file.unlink()
        for name in ("PIPEDRIVE_HIDE_OWNER_NAMES", "BI_READER_PASSWORD"):
            os.environ.pop(name, None)
    assert done.code == 0, done.err
    ((command, variables),) = started
    assert command == [str(PYTHON), "-m", "streamlit", "run", "app.py"]
    assert Path.cwd() == PAGE
    assert variables["PIPEDRIVE_HIDE_OWNER_NAMES"] == "true"
    assert variables["PIPEDRIVE_SNAPSHOTS"] == str(tmp_path / "snapshots")
    assert (tmp_path / "snapshots" / "current" / "snapshot.json").exists()
    assert "BI_READER_PASSWORD" not in variables


@pytest.mark.again
def test_who_looks_while_snapshots_change_sees_one_of_them_whole(
    sample: Warehouse, other_company: Warehouse, tmp_path: Path
) -> None:
    variables = {"PIPEDRIVE_SNAPSHOTS": str(tmp_path)}
    assert run_command(sample, "snapshot", "dev", **variables).code == 0
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    looking = subprocess.Popen(
        [str(PYTHON), "-c", LOOK], cwd=PAGE, env=os.environ | variables, **pipes
    )
    is_over = threading.Event()

    def look() -> str:
        looking.stdin.write("look\n")
        looking.stdin.flush()
        return looking.stdout.readline()

    def keep_looking() -> None:
        while not is_over.is_set() and look():
            pass

    assert look() == "looked\n"  # it has imported what it needs
    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        for company in (other_company, sample) * 3:
            assert run_command(company, "snapshot", "dev", **variables).code == 0
    finally:
        is_over.set()
        thread.join()
    out, _ = looking.communicate("enough\n", timeout=60)
    found = json.loads(out.splitlines()[-1])
    sizes = {
        len(company.table("pipedrive_analytics.fct_deals")) for company in (sample, other_company)
    }
    assert len(sizes) == 2
    assert {tuple(pair) for pair in found["seen"]} == {(deals, deals) for deals in sizes}
    assert found["looks"] > 50
