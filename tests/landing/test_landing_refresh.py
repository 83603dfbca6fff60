"""`--refresh` and `refresh`: prod shows what was landed, or says why it cannot."""

from __future__ import annotations

import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pandas as pd
import pytest

from tests.support.command import run_command
from tests.support.exports import NEW_DEAL, START, add_changes, change_export, edit, new_export
from tests.support.landed import LANDED
from tests.support.landing import assert_prod_shows, raw_state
from tests.support.oracle import modelled_funnel
from tests.support.warehouse import PROJECT, Warehouse


@pytest.fixture(scope="module")
def refreshed(
    gateway: str,
    new_warehouse: t.Callable[..., Warehouse],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Warehouse, Path]:
    """Land an export on an empty database, and refresh prod with it."""
    warehouse = new_warehouse(gateway, core=True, **LANDED)
    export = new_export(tmp_path_factory.mktemp("export"))
    done = run_command(warehouse, "land", "csv", export, "--refresh")
    assert done.code == 0, done.err
    return warehouse, export


@pytest.mark.again_on("duckdb")
def test_refresh_shows_what_it_landed_twice_on_one_day(refreshed: tuple[Warehouse, Path]) -> None:
    warehouse, export = refreshed
    assert_prod_shows(warehouse, export)
    change_export(export, 1)
    edit(export, "activity", lambda rows: rows.assign(done="True"))
    done = run_command(warehouse, "land", "csv", export, "--refresh")
    assert done.code == 0, done.err
    assert_prod_shows(warehouse, export)


@pytest.mark.again_on("duckdb")
def test_refresh_fails_when_an_audit_blocks_and_keeps_what_it_landed(
    refreshed: tuple[Warehouse, Path],
) -> None:
    """Landing rejects such a value, so the row is one that somebody else has put there."""
    warehouse, export = refreshed
    before = modelled_funnel(warehouse, "prod")
    warehouse.execute(
        "INSERT INTO pipedrive_raw.deal_changes "
        f"VALUES ({NEW_DEAL}, '{START}', 'stage_id', 'Won', '{START}')"
    )
    add_changes(export, (NEW_DEAL, START, "stage_id", "1"))
    done = run_command(warehouse, "land", "csv", export, "--refresh")
    assert done.code == 1
    assert "What was landed is kept" in done.err
    assert "Traceback" not in done.err
    assert "changes_are_valid" in done.out + done.err
    assert "prod shows" not in done.out
    found = {row[3] for row in raw_state(warehouse)["deal_changes"] if row[0] == NEW_DEAL}
    assert found == {"Won", "1"}
    assert modelled_funnel(warehouse, "prod") == before
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = 'Won'")
    assert warehouse.run("prod", ignore_cron=True).error is None
    assert_prod_shows(warehouse, export)


@pytest.mark.again
def test_a_refresh_rebuilds_the_deals_whose_changes_were_replaced(
    gateway: str, new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    """Of one deal a change is gone from the source, of another all of them."""
    warehouse = new_warehouse(gateway, core=True, **LANDED)
    export = new_export(tmp_path / "export", deals=40)
    assert run_command(warehouse, "land", "csv", export, "--refresh").code == 0
    assert_prod_shows(warehouse, export)
    warehouse.close()
    log = pd.read_csv(export / "deal_changes.csv", dtype=str)
    entries = log[log["changed_field_key"] == "stage_id"]
    whole, partly = entries["deal_id"].value_counts().index[:2]
    last = entries[entries["deal_id"] == partly].iloc[-1]  # the export may hold it twice
    log = log[log["deal_id"].ne(whole) & log.ne(last).any(axis=1)]
    log.to_csv(export / "deal_changes.csv", index=False)
    done = run_command(warehouse, "land", "csv", export, "--replace", "--refresh")
    assert done.code == 0, done.err
    assert_prod_shows(warehouse, export)
    noted = warehouse.fetch("SELECT deal_id FROM pipedrive_raw.removed_changes")
    assert {*noted["deal_id"].astype(str)} == {whole, partly}


def test_refresh_is_refused_while_the_models_read_the_sample(
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    warehouse = new_warehouse("duckdb", core=True)
    done = run_command(warehouse, "land", "csv", new_export(tmp_path), "--refresh")
    assert done.code == 1
    assert "echo SQLMESH__VARIABLES__RAW_SCHEMA=pipedrive_raw >> .env" in done.err
    assert raw_state(warehouse) == {}


@pytest.mark.again
def test_refresh_plans_a_prod_anew_that_reads_the_sample(
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    warehouse = new_warehouse("duckdb", new_export(tmp_path / "sample", deals=30), core=True)
    export = new_export(tmp_path / "export", deals=40)
    assert warehouse.plan("prod").error is None
    warehouse.close()
    warehouse.settings |= LANDED
    done = run_command(warehouse, "land", "csv", export, "--refresh")
    assert done.code == 0, done.err
    assert_prod_shows(warehouse, export)


# Stops a command in a query that takes seconds, as Ctrl-C on a terminal or `kill` does
STOPPER = """
import os, sys, threading

import duckdb

from pipedrive_funnel.__main__ import main
from pipedrive_funnel import build
from pipedrive_funnel.landing import command

number, *arguments = sys.argv[1:]


def query(gateway):
    threading.Timer(0.1, os.kill, (os.getpid(), int(number))).start()
    duckdb.execute("SELECT SUM(i) FROM RANGE(1_000_000_000) AS t (i)").fetchall()


command.Database = build.Database = query
sys.exit(main(arguments))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=("Ctrl-C", "kill"))
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["land", "api"], "Stopped. Landing again is safe.\n"),
        (["refresh", "prod"], "Stopped.\n"),
    ],
    ids=("land", "refresh"),
)
def test_a_command_that_is_stopped_says_so(
    arguments: list[str], said: str, stop: signal.Signals
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPER, str(int(stop)), *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (130, said)
