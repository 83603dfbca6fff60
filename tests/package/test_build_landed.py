"""`land`, `build` and `refresh` on one's own data: one pass shows what arrived, in few lines."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.support.command import Done, edit_file, run_command
from tests.support.exports import NEW_DEAL, START, change_export, new_export
from tests.support.landed import LANDED
from tests.support.landing import assert_prod_shows
from tests.support.warehouse import OPTIONAL_TABLES, Warehouse

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an export into a directory whose name has a blank."""
    return new_export(tmp_path_factory.mktemp("my") / "own export")


@pytest.fixture(scope="module")
def warehouse(new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    return new_warehouse("duckdb")


@pytest.fixture(scope="module")
def story(warehouse: Warehouse, export: Path) -> dict[str, Done]:
    """Go from the sample to one's own data in dev and prod, and refresh it."""
    land = ("land", "csv", export)
    story = {"sample": run_command(warehouse, "build", "dev")}
    story["land"] = run_command(warehouse, *land)
    warehouse.settings |= LANDED
    for name in OPTIONAL_TABLES:  # an older release has not landed them
        warehouse.execute(f"DROP TABLE pipedrive_raw.{name}")
    story["switch"] = run_command(warehouse, "build", "dev")
    story["land again"] = run_command(warehouse, *land)
    story["first refresh"] = run_command(warehouse, *land, "--refresh")
    snapshots = {"PIPEDRIVE_SNAPSHOTS": str(warehouse.path / "snapshots")}
    story["snapshot"] = run_command(warehouse, "snapshot", **snapshots)
    change_export(export, 1)
    story["refresh"] = run_command(warehouse, *land, "--refresh", **snapshots)
    return story


@pytest.mark.parametrize("name", ["switch", "first refresh", "refresh"])
def test_a_person_reads_few_lines(story: dict[str, Done], name: str) -> None:
    done = story[name]
    assert done.code == 0, done.out + done.err
    assert len(done.lines) <= 80, done.out
    assert done.err == ""
    assert "audit error" not in done.out


def test_landing_says_how_to_read_what_was_landed(story: dict[str, Done], export: Path) -> None:
    assert story["land"].out.endswith(
        "  echo SQLMESH__VARIABLES__RAW_SCHEMA=pipedrive_raw >> .env\n  make dev\n"
    )
    hint = story["land again"].out.splitlines()[-1]
    assert shlex.split(hint) == ["make", "refresh", f"SOURCE={export}"]


def test_the_switch_itself_is_seen_and_once(story: dict[str, Done]) -> None:
    out = story["switch"].out
    assert out.count("\n-__sqlmesh__vars__ = {'raw_schema': 'pipedrive_seed'}\n") == 1
    assert "Removed: pipedrive_seed.activity," in out
    assert re.search(r"^\d+ models change with what they read\.$", out, re.M)


def test_an_upgrade_needs_no_landing(story: dict[str, Done]) -> None:
    assert story["switch"].code == 0, story["switch"].err
    assert story["switch"].lines[0].startswith("New, and empty until something fills them: ")
    assert "New, and" not in story["first refresh"].out


def test_no_warning_of_ones_own_data_is_by_nature(story: dict[str, Done]) -> None:
    assert "by nature" in story["sample"].out
    for name in ("switch", "first refresh", "refresh"):
        assert "by nature" not in story[name].out
        assert re.search(r"^\d+ checks warn:$", story[name].out, re.M)
        assert "unknown_deals: An activity of a deal" in story[name].out


def test_a_refresh_says_what_prod_shows(story: dict[str, Done]) -> None:
    assert re.search(r"^prod is new: \d+ models\.$", story["first refresh"].out, re.M)
    for name in ("first refresh", "refresh"):
        assert "prod shows what was landed." in story[name].out
        assert re.search(r"marts in pipedrive_analytics, report \d{4}-\d\d to", story[name].out)
    assert "model" not in story["refresh"].out  # a run knows none but those of prod


def test_a_refresh_renews_what_the_page_shows(story: dict[str, Done], warehouse: Warehouse) -> None:
    assert (story["snapshot"].code, story["snapshot"].out) == (0, "")
    assert "The page shows it, too." in story["refresh"].lines
    assert "The page" not in story["first refresh"].out  # there was no snapshot yet
    taken = [path for path in (warehouse.path / "snapshots").iterdir() if not path.is_symlink()]
    assert len(taken) == 2
    assert (warehouse.path / "snapshots" / "current").resolve() == max(taken)


@pytest.mark.usefixtures("story")
def test_a_build_takes_changes_and_what_was_landed_in_one_pass(
    warehouse: Warehouse, export: Path
) -> None:
    change_export(export, 2)
    assert run_command(warehouse, "land", "csv", export).code == 0
    (model,) = (warehouse.path / "models").rglob("rep_lost_reasons_monthly.sql")
    undo = edit_file(model, "COUNT(*)", "COUNT(*) + 0")
    done = run_command(warehouse, "build", "prod")
    undo()
    assert done.code == 0, done.err
    assert "+ CAST(0 AS BIGINT)" in done.part(
        "Changed: pipedrive_analytics.rep_lost_reasons_monthly"
    )
    assert_prod_shows(warehouse, export)
    assert "No model has changed" in run_command(warehouse, "build", "dev").out


@pytest.mark.usefixtures("story")
def test_a_blocking_audit_keeps_prod_and_says_so(warehouse: Warehouse, export: Path) -> None:
    """Landing rejects such a value, so the row is one that somebody else has put there."""
    warehouse.execute(
        "INSERT INTO pipedrive_raw.deal_changes "
        f"VALUES ({NEW_DEAL}, '{START}', 'stage_id', 'Won', CURRENT_TIMESTAMP::TIMESTAMP)"
    )
    done = run_command(warehouse, "refresh", "prod")
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = 'Won'")
    assert done.code == 1
    assert "Blocked: pipedrive_staging.stg_deal_changes has 1 row against" in done.out
    assert done.err.startswith("prod was not refreshed; models that were not built show what they")
    assert_prod_shows(warehouse, export)


def test_nothing_landed_is_said(new_warehouse: t.Callable[..., Warehouse]) -> None:
    done = run_command(new_warehouse("duckdb", core=True, **LANDED), "build", "dev")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("Land first: make land\n")


# --- make -----------------------------------------------------------------------------------------


def make(warehouse: Warehouse, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a target of make in a copy of the project, without an installation."""
    warehouse.close()
    return subprocess.run(
        ["make", "--assume-old", ".venv/installed", f"BIN={BIN}", *arguments],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings,
        capture_output=True,
        text=True,
    )


def test_make_lands_from_a_path_with_a_blank(
    new_warehouse: t.Callable[..., Warehouse], export: Path
) -> None:
    done = make(new_warehouse("duckdb", core=True), "land", f"SOURCE={export}")
    assert done.returncode == 0, done.stderr
    assert f"Reading {export}\n" in done.stdout


def test_make_land_without_a_source_names_both_ways(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    done = make(new_warehouse("duckdb", core=True, PIPEDRIVE_API_TOKEN=""), "land")
    assert done.returncode == 2
    said = done.stderr.splitlines()[0]
    assert "PIPEDRIVE_API_TOKEN" in said and "make land SOURCE=path/to/export" in said
