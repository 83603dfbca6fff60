"""From a landing to prod: an export that lands at once, and one that lands in halves.

A run after a landing rebuilds what was touched and no more.
"""

from __future__ import annotations

import functools
import shutil
import typing as t
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.command import run_command
from tests.support.exports import DAY, NEW_DEAL, START, add_changes, edit, new_export, with_first
from tests.support.figures import ROWS, assert_report_is_the_funnel
from tests.support.landed import LANDED
from tests.support.landing import assert_prod_shows, land_files
from tests.support.warehouse import MODELS, Warehouse

HISTORY = "pipedrive_intermediate.int_deal_stage_history"
FIRST_ENTRIES = "pipedrive_analytics.fct_deal_stage_history"


# --- exports --------------------------------------------------------------------------------------


def first_half(export: Path, to: Path) -> Path:
    """Write an export as it was before: half of the log, and some of the activities.

    Of those some are open still or have another due date, and some will be gone. A stage has
    another name.
    """
    draw = np.random.default_rng(1)

    def earlier(activity: pd.DataFrame) -> pd.DataFrame:
        chance = pd.Series(draw.random(len(activity)), index=activity.index)
        done = activity["done"].where(chance > 0.1, "False")
        due = activity["due_to"].where((chance < 0.1) | (chance > 0.2), str(START))
        vanishing = activity[:9].assign(activity_id=range(NEW_DEAL, NEW_DEAL + 9))
        return pd.concat([activity.assign(done=done, due_to=due)[chance < 0.6], vanishing])

    shutil.copytree(export, to)
    edit(
        to,
        "deal_changes",
        lambda log: log[log["change_time"] < sorted(log["change_time"])[len(log) // 2]],
    )
    edit(to, "activity", earlier)
    edit(to, "stages", with_first("stage_name", "Old name"))
    return to


@pytest.fixture(scope="module")
def a_random_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_export(tmp_path_factory.mktemp("export"), deals=150)


@pytest.fixture(scope="module", params=["a_random_export", "real_export"])
def export(request: pytest.FixtureRequest) -> Path:
    """Run the test with a random export, and with the real one if it is there."""
    return request.getfixturevalue(request.param)


# --- at once, and in halves -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_once(new_warehouse: t.Callable[..., Warehouse]) -> t.Callable[[str, Path], Warehouse]:
    """Return a function that lands an export as a user does, and plans prod by the wall clock."""

    @functools.cache
    def at_once(gateway: str, export: Path) -> Warehouse:
        warehouse = new_warehouse(gateway, core=True, **LANDED)
        done = run_command(warehouse, "land", "csv", export)
        assert done.code == 0, done.err
        outcome = warehouse.plan("prod")
        assert outcome.error is None, outcome.output
        return warehouse

    return at_once


@dataclass
class InHalves:
    """A warehouse to which an export came in two parts.

    Attributes:
        warehouse: the warehouse.
        tables: the models in prod after the second part.
        rows: of the history, after the first part.

    """

    warehouse: Warehouse
    tables: dict[str, pd.DataFrame]
    rows: int


@pytest.fixture(scope="module")
def in_halves(
    gateway: str,
    export: Path,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
) -> InHalves:
    """Land half of an export, plan prod the next day, land all of it some days later and run."""
    warehouse = new_warehouse(gateway, core=True, **LANDED)
    half = first_half(export, tmp_path_factory.mktemp("half") / "export")
    land_files(warehouse, half, START)
    outcome = warehouse.plan("prod", execution_time=START + DAY)
    assert outcome.error is None, outcome.output
    rows = len(warehouse.table(HISTORY, "prod"))
    land_files(warehouse, export, START + 4 * DAY)
    outcome = warehouse.run("prod", execution_time=START + 8 * DAY, ignore_cron=True)
    assert outcome.error is None, outcome.output
    return InHalves(warehouse, {model: warehouse.table(model, "prod") for model in MODELS}, rows)


def without_arrivals(table: pd.DataFrame) -> pd.DataFrame:
    kept = table.drop(columns="loaded_at", errors="ignore")
    return kept.sort_values(list(kept.columns)).reset_index(drop=True)


@pytest.mark.again_on("duckdb")
@pytest.mark.again_on("postgres", "real_export")
def test_a_plan_right_after_a_landing_shows_it(
    gateway: str, export: Path, at_once: t.Callable[[str, Path], Warehouse]
) -> None:
    """By the wall clock: rows that arrived today, seconds ago."""
    assert_prod_shows(at_once(gateway, export), export)


@pytest.mark.again_on("postgres")
def test_the_real_export_gives_the_known_figures(
    gateway: str, real_export: Path, at_once: t.Callable[[str, Path], Warehouse]
) -> None:
    warehouse = at_once(gateway, real_export)
    assert_report_is_the_funnel(warehouse, "prod")
    assert {model: len(warehouse.table(model, "prod")) for model in MODELS} == ROWS


@pytest.mark.again_on("duckdb")
@pytest.mark.again_on("postgres", "real_export")
def test_two_halves_are_the_whole(
    gateway: str, export: Path, at_once: t.Callable[[str, Path], Warehouse], in_halves: InHalves
) -> None:
    whole = at_once(gateway, export)
    assert 0 < in_halves.rows < len(whole.table(HISTORY, "prod"))
    for model in MODELS:
        pd.testing.assert_frame_equal(
            without_arrivals(in_halves.tables[model]), without_arrivals(whole.table(model, "prod"))
        )


@pytest.mark.again_on("duckdb")
@pytest.mark.again_on("postgres", "real_export")
def test_a_run_rewrites_the_deals_with_landed_changes_and_no_others(
    in_halves: InHalves, export: Path, tmp_path: Path
) -> None:
    """The run before was days after the second landing: no lookback reaches it any more."""
    warehouse = in_halves.warehouse
    deals = [int(deal) for deal in in_halves.tables[FIRST_ENTRIES]["deal_id"].drop_duplicates()]
    touched = {*deals[:6], NEW_DEAL}
    longer = Path(shutil.copytree(export, tmp_path / "export"))
    add_changes(
        longer,
        *((deal, START, "stage_id", "3") for deal in (*deals[:5], NEW_DEAL)),
        (deals[5], START, "lost_reason", "1"),  # says nothing about stages, and is a change
    )
    tables = [warehouse.snapshot(model).table_name() for model in (HISTORY, FIRST_ENTRIES)]
    for table in tables:
        warehouse.execute(f"UPDATE {table} SET stage_name = 'untouched'")
    landed = land_files(warehouse, longer, START + 11 * DAY)
    assert sum(change.landed for change in landed.values()) == 7
    outcome = warehouse.run("prod", execution_time=START + 11.1 * DAY, ignore_cron=True)
    assert outcome.error is None, outcome.output
    for table in tables:
        deals_where = f"SELECT DISTINCT deal_id FROM {table} WHERE stage_name"
        marked = warehouse.fetch(f"{deals_where} = 'untouched'")["deal_id"]
        unmarked = warehouse.fetch(f"{deals_where} IS DISTINCT FROM 'untouched'")["deal_id"]
        assert set(unmarked) == touched
        assert set(marked) == set(deals) - touched
