"""`land`, `build` and `refresh` on one's own data: one pass shows what arrived, in few lines."""

from __future__ import annotations

import functools
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


Story = dict[str, Done]


class Told(t.NamedTuple):
    """What is there when a story has been told."""

    warehouse: Warehouse
    export: Path
    story: Story


with_all_models = pytest.mark.parametrize(
    "models", [pytest.param("all", marks=pytest.mark.again)], indirect=True
)


@pytest.fixture(params=["core", pytest.param("all", marks=pytest.mark.again)])
def models(request: pytest.FixtureRequest) -> str:
    """Run the test with the core of the project, and with all models, which have checks."""
    return request.param


@pytest.fixture(scope="module")
def tell(
    new_warehouse: t.Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> t.Callable[[str], Told]:
    """Return a function that tells the story with the core or with all models, each once."""

    @functools.cache
    def tell(models: str) -> Told:
        warehouse = new_warehouse("duckdb", core=models == "core")
        export = new_export(tmp_path_factory.mktemp("my") / "own export")  # with a blank
        return Told(warehouse, export, story_of(warehouse, export))

    return tell


def story_of(warehouse: Warehouse, export: Path) -> Story:
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


@pytest.fixture
def told(models: str, tell: t.Callable[[str], Told]) -> Told:
    return tell(models)


@pytest.fixture
def warehouse(told: Told) -> Warehouse:
    return told.warehouse


@pytest.fixture
def export(told: Told) -> Path:
    return told.export


@pytest.fixture
def story(told: Told) -> Story:
    return told.story


@pytest.mark.parametrize("name", ["switch", "first refresh", "refresh"])
def test_a_person_reads_few_lines(story: Story, name: str) -> None:
    done = story[name]
    assert done.code == 0, done.out + done.err
    assert len(done.lines) <= 80, done.out
    assert done.err == ""
    assert "audit error" not in done.out


def test_landing_says_how_to_read_what_was_landed(story: Story, export: Path) -> None:
    assert story["land"].out.endswith(
        "  echo SQLMESH__VARIABLES__RAW_SCHEMA=pipedrive_raw >> .env\n  make dev\n"
    )
    hint = story["land again"].out.splitlines()[-1]
    assert shlex.split(hint) == ["make", "refresh", f"SOURCE={export}"]


def test_the_switch_itself_is_seen_and_once(story: Story) -> None:
    out = story["switch"].out
    assert out.count("\n-__sqlmesh__vars__ = {'raw_schema': 'pipedrive_seed'}\n") == 1
    assert "Removed: pipedrive_seed.activity," in out
    assert re.search(r"^\d+ models change with what they read\.$", out, re.M)


def test_an_upgrade_needs_no_landing(story: Story) -> None:
    assert story["switch"].code == 0, story["switch"].err
    assert story["switch"].lines[0].startswith("New, and empty until something fills them: ")
    assert "New, and" not in story["first refresh"].out


@with_all_models
def test_no_warning_of_ones_own_data_is_by_nature(story: Story) -> None:
    assert "by nature" in story["sample"].out
    for name in ("switch", "first refresh", "refresh"):
        assert "by nature" not in story[name].out
        assert re.search(r"^\d+ checks warn:$", story[name].out, re.M)
        assert "unknown_deals: An activity of a deal" in story[name].out


def test_a_refresh_says_what_prod_shows(story: Story) -> None:
    assert re.search(r"^prod is new: \d+ models\.$", story["first refresh"].out, re.M)
    for name in ("first refresh", "refresh"):
        assert "prod shows what was landed." in story[name].out
        assert re.search(r"marts in pipedrive_analytics, report \d{4}-\d\d to", story[name].out)
    assert "model" not in story["refresh"].out  # a run knows none but those of prod


@with_all_models
def test_a_refresh_renews_what_the_page_shows(story: Story, warehouse: Warehouse) -> None:
    assert (story["snapshot"].code, story["snapshot"].out) == (0, "")
    assert "The page shows it, too." in story["refresh"].lines
    assert "The page" not in story["first refresh"].out  # there was no snapshot yet
    taken = [path for path in (warehouse.path / "snapshots").iterdir() if not path.is_symlink()]
    assert len(taken) == 2
    assert (warehouse.path / "snapshots" / "current").resolve() == max(taken)


def test_a_build_takes_changes_and_what_was_landed_in_one_pass(
    warehouse: Warehouse, export: Path
) -> None:
    change_export(export, 2)
    assert run_command(warehouse, "land", "csv", export).code == 0
    (model,) = (warehouse.path / "models").rglob("dim_stages.sql")
    undo = edit_file(model, "stages.stage_id::", "(stages.stage_id + 0)::")
    done = run_command(warehouse, "build", "prod")
    undo()
    assert done.code == 0, done.err
    assert "stages.stage_id + 0" in done.part("Changed: pipedrive_analytics.dim_stages")
    assert_prod_shows(warehouse, export)
    assert "No model has changed" in run_command(warehouse, "build", "dev").out


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
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    export = new_export(tmp_path / "own export", deals=20)
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
