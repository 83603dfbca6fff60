"""Bad files stop the plan with a message and leave prod alone; unknown references are kept."""

from __future__ import annotations

import typing as t
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.warehouse import REPORT, Warehouse


@pytest.fixture(scope="module")
def in_prod(new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan the sample's core in prod, with the linter on, as a person does."""
    warehouse = new_warehouse("duckdb", core=True, with_tests=True)
    warehouse.lint = True
    outcome = warehouse.plan("prod")
    assert outcome.error is None, outcome.output
    return warehouse


def edit(old: str, new: str) -> t.Callable[[Path], None]:
    """Return a change of a file: the first `old` becomes `new`."""

    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


BAD_FILES = {
    "missing file": ("users", Path.unlink, ["No such file", "seeds/users.csv"]),
    "renamed column": (
        "stages",
        edit("stage_name", "stage_label"),
        ["seeds/stages.csv, line 1", "column stage_name is missing", "Rename stage_label"],
    ),
    "missing column": (
        "activity",
        edit("activity_id,", "id_of_the_row,"),
        ["seeds/activity.csv, line 1", "column activity_id is missing"],
    ),
    "no timestamp": (
        "activity",
        edit("T", "X"),
        ["seeds/activity.csv, line 2", "column due_to holds '20", "is no TIMESTAMP"],
    ),
    "no calendar day": (
        "deal_changes",
        edit("2024-05-31", "2024-04-31"),
        ["seeds/deal_changes.csv", "column change_time holds '2024-04-31", "is no TIMESTAMP"],
    ),
    "no integer": (
        "users",
        edit("\n7,", "\nseven,"),
        ["seeds/users.csv, line 8", "column id holds 'seven'", "is no BIGINT"],
    ),
    "no step": (
        "funnel_steps",
        edit("\n2.1,", "\n2.15,"),
        ["seeds/funnel_steps.csv, line 4", "column funnel_step holds '2.15'"],
    ),
    "no boolean": (
        "activity",
        edit(",True,", ",done,"),
        ["seeds/activity.csv", "column done holds 'done'", "is no BOOLEAN"],
    ),
}


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_stops_the_plan_and_leaves_prod_alone(
    in_prod: Warehouse, bad: tuple[str, t.Callable[[Path], None], list[str]]
) -> None:
    table, spoil, said = bad
    path = in_prod.path / "seeds" / f"{table}.csv"
    good, before = path.read_bytes(), in_prod.table(REPORT, "prod")
    spoil(path)
    with closing(replace(in_prod)) as spoilt:  # loads the files as they are now
        outcome = spoilt.plan("prod")
    path.write_bytes(good)
    assert outcome.error is not None
    message = f"{outcome.output} {outcome.error}"
    for words in said:
        assert words in message
    pd.testing.assert_frame_equal(in_prod.table(REPORT, "prod"), before)


def test_a_repaired_file_leaves_nothing_to_plan(in_prod: Warehouse) -> None:
    in_prod.close()
    assert "No changes to plan" in in_prod.plan("prod").output


@pytest.mark.again
def test_unknown_references_are_kept_and_counted(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse(gateway)
    seeds = warehouse.path / "seeds"
    with (seeds / "deal_changes.csv").open("a") as log:
        log.write("900001,2024-05-01 10:00:00,stage_id,4711\n")
        log.write("900001,2024-05-02 10:00:00,stage_id,4711\n")
        log.write("900001,2024-05-02 10:00:00,user_id,4712\n")
    with (seeds / "activity.csv").open("a") as activities:
        activities.write("900002,fax,4712,900001,True,2024-05-01T10:00:00\n")
        activities.write("900003,meeting,4712,900003,True,\n")
    outcome = warehouse.plan("dev")
    assert outcome.error is None, outcome.output
    assert warehouse.found() == {
        "unknown_stages": 2,
        "unknown_users": 3,
        "unknown_activity_types": 1,
        "unknown_deals": 40 + 1,
        "entries_outside_the_funnel": 1,
        "calls_without_due_time": 1,
        # as in the sample itself
        "funnel_completeness": 5,
        "funnel_progression_logic": 5,
        "stage_activity_consistency": 2,
        "steps_gone_silent": 8,
        "no_recent_changes": 1,
        "report_recency": 1,
    }
    history = warehouse.table("pipedrive_intermediate.int_deal_stage_history")
    assert (history["stage_id"] == "4711").sum() == 2
    completed = warehouse.table("pipedrive_intermediate.int_completed_activities")
    assert {"900002", "900003"} <= set(completed["activity_id"])
    assert "900003" in set(warehouse.table("pipedrive_analytics.fct_activities")["activity_id"])
