"""The models against the funnel worked out again in pandas, and one engine against the other."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pandas as pd
import pytest

from tests.support.oracle import funnel, modelled_funnel, read_export
from tests.support.warehouse import GATEWAYS, MODELS, PROJECT, Warehouse


@pytest.mark.again_on("1", "duckdb")
@pytest.mark.parametrize("engine", GATEWAYS)
def test_models_equal_the_oracle(planned: t.Callable[[str], Warehouse], engine: str) -> None:
    warehouse = planned(engine)
    expected = funnel(read_export(warehouse.path / "seeds"))
    found = modelled_funnel(warehouse, "dev")
    assert found.history == expected.history
    assert found.first_entries == expected.first_entries
    assert found.calls == expected.calls
    assert found.report == expected.report
    assert len(expected.report) > 20, "a report this small proves little"


@pytest.mark.again_on("1", "duckdb")
@pytest.mark.parametrize("engine", GATEWAYS)
def test_names_are_kept_as_they_are(planned: t.Callable[[str], Warehouse], engine: str) -> None:
    """A user called NA is not a missing value, as pandas has it."""
    users = read_export(planned(engine).path / "seeds")["users"]
    found = planned(engine).table("pipedrive_analytics.dim_users")
    assert dict(found[["user_id", "user_name"]].values) == dict(users[["id", "name"]].values)


@pytest.mark.again_on("1")
@pytest.mark.parametrize("model", MODELS)
def test_engines_give_identical_tables(planned: t.Callable[[str], Warehouse], model: str) -> None:
    duckdb, postgres = (planned(engine).table(model) for engine in GATEWAYS)
    pd.testing.assert_frame_equal(duckdb, postgres)
    assert len(duckdb) > 0


def test_oracle_agrees_with_a_funnel_counted_by_hand(tmp_path: Path) -> None:
    """The oracle needs a check of its own: one deal that skips, returns and has two calls."""
    (tmp_path / "deal_changes.csv").write_text(
        "deal_id,change_time,changed_field_key,new_value\n"
        "7,2024-01-30 08:00:00,add_time,2024-01-30T08:00:00\n"
        "7,2024-01-31 23:59:59,stage_id,1\n"
        "7,2024-02-01 00:00:00,stage_id,3\n"
        "7,2024-03-05 12:00:00,stage_id,1\n"
    )
    (tmp_path / "activity.csv").write_text(
        "activity_id,type,assigned_to_user,deal_id,done,due_to\n"
        "1,meeting,1,7,True,2024-02-10T10:00:00\n"
        "2,meeting,1,7,True,2024-02-20T10:00:00\n"
        "3,meeting,1,7,False,2024-03-20T10:00:00\n"
    )
    (tmp_path / "funnel_steps.csv").write_bytes(
        (PROJECT / "seeds" / "funnel_steps.csv").read_bytes()
    )
    counted = funnel(read_export(tmp_path))
    assert counted.report == {("2024-01", "1"): 1, ("2024-02", "3"): 1, ("2024-02", "2.1"): 1}
    back, last = pd.Timestamp("2024-03-05 12:00:00"), pd.Timestamp("2024-02-01")
    assert (7, 3, 1, last, back, 1, pd.Timestamp("2024-01-30 08:00:00")) in counted.history
    assert (7, 1, 2, back, None, 3, pd.Timestamp("2024-01-30 08:00:00")) in counted.history
