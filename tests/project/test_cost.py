"""What a refresh reads and writes depends on what has arrived, not on what lies there.

PostgreSQL counts the rows itself. The tables of deals are looked at, and the raw tables below them;
reports are small, and read their facts as a whole.
"""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tests.support.landed import LANDED, create_raw_tables, land
from tests.support.random_export import random_log
from tests.support.warehouse import Warehouse

DEALS = 400
RAW = ("deal_changes", "activity")
AT = datetime(2025, 6, 1, 6)


def log_of(deals: int, first_deal: int) -> pd.DataFrame:
    """Return a random log of so many deals, numbered from the first."""
    log = random_log(np.random.default_rng(first_deal), deals)
    return log.assign(deal_id=log["deal_id"] + first_deal)


def land_deals(warehouse: Warehouse, first_deal: int, at: datetime) -> None:
    """Let deals arrive with their changes and an activity each."""
    land(warehouse, "deal_changes", log_of(DEALS, first_deal).assign(loaded_at=at))
    deals = range(first_deal + 1, first_deal + DEALS + 1)
    activities = [(deal, "meeting", 1, deal, True, datetime(2025, 1, 1)) for deal in deals]
    columns = ["activity_id", "type", "assigned_to_user", "deal_id", "done", "due_to"]
    land(warehouse, "activity", pd.DataFrame(activities, columns=columns).assign(loaded_at=at))
    for table in RAW:
        warehouse.execute(f"ANALYZE pipedrive_raw.{table}")


def counts(warehouse: Warehouse) -> dict[str, dict[str, int]]:
    """Return by table, without the version in its name, rows read and rows written so far."""
    warehouse.close()  # a session that ends reports what it has counted
    tables = warehouse.fetch("""
        SELECT relname, seq_tup_read + COALESCE(idx_tup_fetch, 0), n_tup_ins + n_tup_upd + n_tup_del
        FROM pg_stat_user_tables
        WHERE schemaname LIKE 'sqlmesh\\_\\_%' OR schemaname = 'pipedrive_raw'
    """)
    return {
        name.rpartition("__")[0] or name: {"read": int(read), "written": int(written)}
        for name, read, written in tables.itertuples(index=False)
    }


def cost_of_one_change(warehouse: Warehouse, at: datetime) -> dict[str, dict[str, int]]:
    """Return what the refresh after one change of one deal reads and writes, by table."""
    change = (1, at - timedelta(hours=1), "stage_id", "3")
    columns = ["deal_id", "change_time", "changed_field_key", "new_value"]
    land(warehouse, "deal_changes", pd.DataFrame([change], columns=columns).assign(loaded_at=at))
    before = counts(warehouse)
    outcome = warehouse.run("prod", execution_time=at + timedelta(minutes=5), ignore_cron=True)
    assert outcome.error is None, outcome.output
    after = counts(warehouse)
    return {
        table: {what: number - before[table][what] for what, number in after[table].items()}
        for table in after
    }


@pytest.mark.again
def test_a_refresh_costs_what_has_changed(new_warehouse: t.Callable[..., Warehouse]) -> None:
    warehouse = new_warehouse("postgres", core=True, **LANDED)
    create_raw_tables(warehouse)
    for table in RAW:
        for column in ("deal_id", "loaded_at"):  # as landing does
            warehouse.execute(f"CREATE INDEX ON pipedrive_raw.{table} ({column})")
    land_deals(warehouse, 0, AT)
    assert warehouse.plan("prod", execution_time=AT + timedelta(hours=1)).error is None
    small = cost_of_one_change(warehouse, AT + timedelta(days=1))
    for part in (1, 2):
        land_deals(warehouse, part * DEALS, AT + timedelta(days=1 + part))
    at = AT + timedelta(days=4)
    assert warehouse.run("prod", execution_time=at, ignore_cron=True).error is None
    large = cost_of_one_change(warehouse, AT + timedelta(days=5))

    by_deal = {
        model.view_name for model in warehouse.context.models.values() if model.kind.is_incremental
    }
    assert len(by_deal) == 8
    for table in by_deal:
        assert small[table]["written"] > 0 or table in {"int_activities"}, table
        assert large[table]["written"] <= small[table]["written"] + 5, table
    for table in RAW:
        assert large[table]["read"] <= small[table]["read"] + 50, (table, small, large)
