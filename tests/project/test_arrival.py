"""The incremental models give what a full refresh gives, in whichever order the rows arrive.

Arrival is the only clock of the incremental models, so these tests move it: landed rows carry the
`loaded_at` they are given, and every plan and run happens at an execution time.
"""

from __future__ import annotations

import itertools
import typing as t
from datetime import datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.support.landed import LANDED, create_raw_tables, empty_raw_table, land
from tests.support.marts_oracle import differences, marts
from tests.support.oracle import funnel, modelled_funnel, read_export
from tests.support.warehouse import OUTCOMES, PROJECT, Warehouse

HISTORY = "pipedrive_intermediate.int_deal_stage_history"
FIRST_ENTRIES = "pipedrive_analytics.fct_deal_stage_history"
LOG = "pipedrive_intermediate.int_deal_changes"
TOUCHED = "pipedrive_intermediate.int_touched_deals"
CALLS = "pipedrive_analytics.fct_activities"
BY_DEAL = (
    LOG,
    "pipedrive_intermediate.int_deals",
    HISTORY,
    FIRST_ENTRIES,
    "pipedrive_intermediate.int_activities",
    "pipedrive_intermediate.int_completed_activities",
    CALLS,
)
DIMENSIONS = {  # of the account; nothing of them changes
    "stages": pd.DataFrame({"stage_id": [1, 2, 3, 4], "stage_name": list("ABCD")}),
    "users": pd.DataFrame({"id": [1, 2], "name": ["A", "B"], "email": None, "modified": None}),
    "pipelines": pd.DataFrame(
        {"pipeline_id": [1, 2], "pipeline_name": ["P", None], "order_nr": 1, "is_deleted": False}
    ),
    "pipeline_stages": pd.DataFrame(
        {
            "stage_id": [1, 2, 3],
            "pipeline_id": [1, 1, 2],
            "order_nr": 1,
            "deal_probability": pd.Series([10, None, 60], dtype=object),
        }
    ),
}
LISTED = (  # columns of the list of deals
    *("deal_id", "title", "pipeline_id", "stage_id", "status", "value", "currency", "probability"),
    *("expected_close_date", "won_time", "lost_time", "close_time", "org_id", "is_deleted"),
    *("is_archived", "custom_fields"),
)
LONG_DUE, DAY = datetime(2024, 1, 1), timedelta(days=1)
TWO_EACH = [(deal, day) for deal in (1, 2, 3) for day in (1, 2)]
BATCHES = 3
FEW_DEALS = 10

# Few deals, stages and times, so that repeats, ties, returns and second creations are common.
times = st.integers(0, 40).map(lambda hour: datetime(2024, 1, 30) + timedelta(hours=hour * 3))
changes = st.one_of(
    st.tuples(st.just("stage_id"), st.sampled_from("1234")),
    st.tuples(st.just("add_time"), st.just("")),
    st.tuples(st.just("user_id"), st.sampled_from("12")),
    st.tuples(st.just("status"), st.sampled_from(["open", "won", "lost", "deleted"])),
)
# A row arrives in a batch; a few are removed again with a later one.
batches = st.tuples(st.integers(0, BATCHES - 1), st.integers(-2 * BATCHES, BATCHES - 1))
# Deals do not touch each other: many of them in a log are as many examples, and a plan costs more.
logs = st.lists(st.tuples(st.integers(1, 120), times, changes, batches), min_size=90, max_size=360)
# An activity is there from a batch on, done then or from the next batch on, until another batch.
activities = st.lists(
    st.tuples(
        st.integers(1, 160),  # deal: some have no log
        st.sampled_from(["meeting", "sc_2", "follow_up"]),
        st.one_of(st.none(), times),
        st.tuples(st.integers(0, BATCHES - 1), st.booleans(), st.integers(1, 2 * BATCHES)),
    ),
    min_size=30,
    max_size=200,
)
# The list of deals says so from a batch on, until it says something else. None: it lacks the deal.
states = st.lists(
    st.tuples(
        st.integers(1, 140),  # deal: some have no log
        st.integers(0, BATCHES - 1),
        st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "pipeline_id": st.sampled_from([1, 2, 3, None]),  # 3 is none of the account's
                    "status": st.sampled_from(["open", "open", "won", "lost", None]),
                    "value": st.sampled_from([Decimal(100), Decimal("99.5"), None]),
                    "currency": st.sampled_from(["EUR", "USD", None]),
                    "probability": st.sampled_from([0, 35, None]),
                    "expected_close_date": st.one_of(
                        st.none(), st.integers(1, 200).map(lambda day: LONG_DUE + day * DAY)
                    ),
                    "won_time": st.one_of(st.none(), times),
                    "lost_time": st.one_of(st.none(), times),
                    "close_time": st.one_of(st.none(), times),
                    "is_deleted": st.sampled_from([True, False, False, False, None]),
                    "is_archived": st.sampled_from([True, False, None]),
                }
            ),
        ),
    ),
    min_size=60,
    max_size=300,
)


@pytest.fixture(scope="module")
def landed(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan prod over raw tables that are landed, and empty but for the dimensions."""
    return plan_landed(new_warehouse(gateway, core=True, audited=False, **LANDED))


@pytest.fixture(scope="module")
def landed_with_audits(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Give the same with outcomes, and with audits, none of which may block what is right."""
    return plan_landed(new_warehouse(gateway, core=True, outcomes=True, **LANDED))


def plan_landed(warehouse: Warehouse) -> Warehouse:
    """Plan prod over raw tables that are landed, and empty but for the dimensions."""
    create_raw_tables(warehouse)
    for table, rows in DIMENSIONS.items():
        land(warehouse, table, rows.assign(loaded_at=datetime(2023, 1, 1)))
    outcome = warehouse.plan("prod", execution_time="2024-03-01")
    assert outcome.error is None, outcome.output
    return warehouse


days = itertools.count(1)


def next_day() -> datetime:
    """Return noon of a day on which nothing has run yet."""
    return datetime(2024, 3, 1, 12) + timedelta(days=3 * next(days))


def log_of(rows: t.Iterable[tuple]) -> pd.DataFrame:
    """Return rows of the strategy as a raw log, without their batch."""
    return pd.DataFrame(
        [(deal, at, key, value or at.isoformat()) for deal, at, (key, value), *_ in rows],
        columns=["deal_id", "change_time", "changed_field_key", "new_value"],
    )


def empty_log(warehouse: Warehouse) -> None:
    """Delete all changes, activities and deals, as if there had never been any."""
    for table in ("deal_changes", "activity", "deals", "removed_changes"):
        empty_raw_table(warehouse, table)


def note_removal(warehouse: Warehouse, deal: int, at: datetime) -> None:
    """Note that rows of a deal were removed, as landing does."""
    warehouse.execute(f"DELETE FROM pipedrive_raw.removed_changes WHERE deal_id = {deal}")
    warehouse.execute(f"INSERT INTO pipedrive_raw.removed_changes VALUES ({deal}, '{at}')")


def activities_in(batch: int, rows: list[tuple]) -> pd.DataFrame:
    """Return the activities that the CRM holds in a batch, numbered in the order of the rows."""
    held = pd.DataFrame(
        [
            (number, key, 1, deal, is_done or batch > first, due)
            for number, (deal, key, due, (first, is_done, gone)) in enumerate(rows, start=1)
            if first <= batch < gone
        ],
        columns=["activity_id", "type", "assigned_to_user", "deal_id", "done", "due_to"],
        dtype=object,
    )
    return held.where(held.notna(), None)


def deals_in_list(batch: int, rows: list[tuple]) -> pd.DataFrame:
    """Return the list of deals as it is in a batch."""
    listed: dict[int, tuple | None] = {}
    for deal, first, state in sorted(rows, key=lambda row: row[1]):
        if first <= batch:
            listed[deal] = state and tuple({"deal_id": deal, **state}.get(name) for name in LISTED)
    return pd.DataFrame(filter(None, listed.values()), columns=LISTED, dtype=object)


def land_snapshot(
    warehouse: Warehouse, table: str, before: pd.DataFrame, now: pd.DataFrame, at: datetime
) -> None:
    """Replace what has changed and remove what is gone, as landing does."""
    key = now.columns[0]
    known = {row[0]: row for row in before.itertuples(index=False)}
    arrived = [row for row in now.itertuples(index=False) if known.pop(row[0], None) != row]
    gone = [(number, row.deal_id) for number, row in known.items()]
    for number in [*(number for number, _ in gone), *(row[0] for row in arrived)]:
        warehouse.execute(f"DELETE FROM pipedrive_raw.{table} WHERE {key} = {number}")
    for _, deal in gone:
        note_removal(warehouse, deal, at)
    rows = pd.DataFrame(arrived, columns=now.columns, dtype=object)
    land(warehouse, table, rows.assign(loaded_at=at))


def remove(warehouse: Warehouse, gone: t.Iterable[tuple], at: datetime) -> None:
    """Remove changes from the raw log and note their deals, as landing does."""
    for row in log_of(gone).itertuples():
        change = f"deal_id = {row.deal_id} AND change_time = '{row.change_time}'"
        change += f" AND changed_field_key = '{row.changed_field_key}'"
        change += f" AND new_value = '{row.new_value}'"
        warehouse.execute(f"DELETE FROM pipedrive_raw.deal_changes WHERE {change}")
        note_removal(warehouse, row.deal_id, at)


def restate(warehouse: Warehouse, at: datetime) -> None:
    """Build the log and all that is made of it anew."""
    outcome = warehouse.plan("prod", restate_models=[TOUCHED, LOG], execution_time=at)
    assert outcome.error is None, outcome.output


def as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as an export has them, which is what an oracle reads."""

    def text(column: str, value: t.Any) -> str | None:
        if value is None or pd.isna(value):
            return None
        if isinstance(value, datetime):
            return value.isoformat()[: 10 if column == "expected_close_date" else None]
        return str(value)

    columns = {name: [text(name, value) for value in rows[name]] for name in rows}
    return pd.DataFrame(columns, columns=rows.columns, dtype=object)


def export_of(
    log: pd.DataFrame, calls: pd.DataFrame | None, deals: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """Return what is landed as an export."""
    export = read_export(PROJECT / "seeds")
    landed = {"deal_changes": log, "activity": calls, "deals": deals}
    empty = {name: export[name].iloc[:0] for name in ("activity_types", "fields", "activity")}
    return (
        {"funnel_steps": export["funnel_steps"], "deals": pd.DataFrame(columns=LISTED)}
        | empty
        | {name: as_text(rows) for name, rows in (DIMENSIONS | landed).items() if rows is not None}
    )


def assert_models_are(
    warehouse: Warehouse,
    log: pd.DataFrame,
    calls: pd.DataFrame | None = None,
    deals: pd.DataFrame | None = None,
    at: datetime | None = None,
) -> None:
    """Compare prod with the oracles; with a time of execution, the outcomes as well."""
    export = export_of(log, calls, deals)
    expected, found = funnel(export), modelled_funnel(warehouse, "prod")
    assert found.calls == expected.calls
    assert found.history == expected.history
    assert found.first_entries == expected.first_entries
    assert found.report == expected.report
    if at is not None:
        of_outcomes = marts(export, at.date(), landed_at=at)
        for model in OUTCOMES:
            assert differences(warehouse, model, of_outcomes[model], "prod") == []


def refresh(warehouse: Warehouse, at: datetime) -> None:
    """Do what a refresh does: process what has arrived by now, also within the day."""
    outcome = warehouse.run("prod", execution_time=at, ignore_cron=True)
    assert outcome.error is None, outcome.output


def assert_any_order_gives_the_full_refresh(
    landed: Warehouse, rows: list[tuple], calls: list[tuple], listings: list[tuple]
) -> None:
    """Start from the first batch, let others arrive and go on later days, then refresh in full.

    A change that is removed goes with all its copies, and a deal may lose all its changes.
    Activities arrive, are done later, and go. Deals are won, lost, reopened, deleted and brought
    back, in the log, in the list of deals, or in both, and leave the list.
    """
    # The first example is the simplest: one row many times, which proves nothing
    assume(all(len({row[0] for row in of}) > FEW_DEALS for of in (rows, calls, listings)))
    empty_log(landed)
    log: list[tuple] = []  # what the raw log holds
    held, listed = activities_in(-1, calls), deals_in_list(-1, listings)
    for batch in range(BATCHES):
        now = next_day()
        gone = {row[:3] for row in rows if row[3][1] == batch} & {row[:3] for row in log}
        remove(landed, gone, now)
        arrived = [row for row in rows if row[3][0] == batch]
        land(landed, "deal_changes", log_of(arrived).assign(loaded_at=now - timedelta(hours=1)))
        log = [row for row in log if row[:3] not in gone] + arrived
        before, held = held, activities_in(batch, calls)
        land_snapshot(landed, "activity", before, held, now - timedelta(hours=1))
        before, listed = listed, deals_in_list(batch, listings)
        land_snapshot(landed, "deals", before, listed, now - timedelta(hours=1))
        if batch == 0:
            restate(landed, now)
        else:
            refresh(landed, now)
        assert_models_are(landed, log_of(log), held, listed, now)
    step_by_step = {model: landed.table(model, "prod") for model in (*BY_DEAL, *OUTCOMES)}
    restate(landed, now + timedelta(hours=1))  # a report is of a day
    for model in step_by_step:
        pd.testing.assert_frame_equal(landed.table(model, "prod"), step_by_step[model])


def random_logs(examples: int) -> t.Callable[[t.Callable[..., None]], t.Callable[..., None]]:
    """Call a test with so many random logs, lists of activities and lists of deals."""
    return lambda test: settings(
        max_examples=examples,
        phases=[Phase.generate],  # looking for a smaller failing log would take minutes
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )(given(rows=logs, calls=activities, listings=states)(test))


@random_logs(1)
@pytest.mark.again_on("duckdb")
def test_any_order_of_arrival_and_removal_gives_the_full_refresh(
    landed_with_audits: Warehouse, rows: list[tuple], calls: list[tuple], listings: list[tuple]
) -> None:
    assert_any_order_gives_the_full_refresh(landed_with_audits, rows, calls, listings)


@pytest.mark.again
@random_logs(6)
def test_more_orders_of_arrival_and_removal_give_the_full_refresh(
    landed_with_audits: Warehouse, rows: list[tuple], calls: list[tuple], listings: list[tuple]
) -> None:
    assert_any_order_gives_the_full_refresh(landed_with_audits, rows, calls, listings)


@pytest.mark.again_on("duckdb")
def test_a_deal_whose_changes_are_all_removed_is_gone(landed: Warehouse) -> None:
    """Another keeps one entry of two; a third, whose rows nobody removed, stays as it was."""
    empty_log(landed)
    now = next_day()
    log = [(deal, datetime(2024, 1, day), ("stage_id", str(day))) for deal, day in TWO_EACH]
    land(landed, "deal_changes", log_of(log).assign(loaded_at=now - timedelta(hours=1)))
    restate(landed, now)
    assert_models_are(landed, log_of(log))
    now = next_day()
    remove(landed, [*log[:2], log[3]], now)
    refresh(landed, now)
    assert_models_are(landed, log_of([log[2], *log[4:]]))
    assert deals_in(landed) == {"2", "3"}
    tables = ("int_deals", "int_deal_changes", "int_deal_stage_history")
    for table in tables:
        deals = set(landed.table(f"pipedrive_intermediate.{table}", "prod")["deal_id"])
        assert deals == {"2", "3"}, table


def entry(deal: int, stage: int, loaded_at: datetime) -> pd.DataFrame:
    """Return the landed change of one deal's entry into a stage."""
    log = log_of([(deal, datetime(2024, 1, 10), ("stage_id", str(stage)), 0)])
    return log.assign(loaded_at=loaded_at)


def deals_in(warehouse: Warehouse) -> set[str]:
    return set(warehouse.table(FIRST_ENTRIES, "prod")["deal_id"])


@pytest.mark.again_on("duckdb")
def test_refresh_shows_what_has_landed_twice_on_one_day(landed: Warehouse) -> None:
    empty_log(landed)
    noon = next_day()
    restate(landed, noon)
    for deal, minutes in ((1, 0), (2, 90)):
        now = noon + timedelta(minutes=minutes)
        land(landed, "deal_changes", entry(deal, 1, loaded_at=now - timedelta(minutes=1)))
        refresh(landed, now)
        assert str(deal) in deals_in(landed)
    tomorrow = (noon + timedelta(days=1)).replace(hour=0, minute=5)
    assert landed.run("prod", execution_time=tomorrow).error is None
    assert deals_in(landed) == {"1", "2"}


@pytest.mark.again_on("duckdb")
def test_rows_committed_after_the_run_of_their_day_are_not_lost(landed: Warehouse) -> None:
    """A load begins before midnight and commits after the nightly run: the next run sees it."""
    empty_log(landed)
    midnight = next_day().replace(hour=0)
    restate(landed, midnight)
    land(landed, "deal_changes", entry(1, 1, loaded_at=midnight - timedelta(minutes=1)))
    outcome = landed.run("prod", execution_time=midnight + timedelta(days=1, minutes=5))
    assert outcome.error is None, outcome.output
    assert deals_in(landed) == {"1"}


@pytest.mark.again_on("duckdb")
def test_a_stage_that_arrives_after_its_deals_labels_them(landed: Warehouse) -> None:
    empty_log(landed)
    now = next_day()
    land(landed, "deal_changes", entry(1, 7, loaded_at=now - timedelta(hours=1)))
    restate(landed, now)
    assert list(landed.table(FIRST_ENTRIES, "prod")["stage_name"]) == [None]
    refresh(landed, next_day())  # after this run no interval holds the deal's own arrival
    now = next_day()
    late = pd.DataFrame({"stage_id": [7], "stage_name": ["Late"], "loaded_at": [now]})
    land(landed, "stages", late)
    refresh(landed, now + timedelta(minutes=1))
    for model in (HISTORY, FIRST_ENTRIES):
        assert list(landed.table(model, "prod")["stage_name"]) == ["Late"]


@pytest.mark.again_on("duckdb")
def test_stages_that_are_loaded_anew_every_night_do_not_hide_the_days_deals(
    landed: Warehouse,
) -> None:
    """Stages arrive after midnight, deals before it, and the run takes the day that has ended."""
    empty_log(landed)
    midnight = next_day().replace(hour=0)
    restate(landed, midnight)
    for deal in (1, 2):
        land(landed, "deal_changes", entry(deal, 1, loaded_at=midnight + timedelta(hours=12)))
        midnight += timedelta(days=1)
        after_midnight = midnight + timedelta(minutes=3)
        landed.execute(f"UPDATE pipedrive_raw.stages SET loaded_at = '{after_midnight}'")
        outcome = landed.run("prod", execution_time=midnight + timedelta(minutes=15))
        assert outcome.error is None, outcome.output
        assert str(deal) in deals_in(landed)


@pytest.mark.again_on("duckdb")
def test_a_plan_or_run_of_whole_days_shows_what_landed_today(landed: Warehouse) -> None:
    """Neither processes today, but what was there when they began has arrived."""
    empty_log(landed)
    noon = next_day()
    land(landed, "deal_changes", entry(1, 1, loaded_at=noon - timedelta(minutes=5)))
    restate(landed, noon)
    assert deals_in(landed) == {"1"}
    midnight = noon.replace(hour=0) + timedelta(days=1)
    land(landed, "deal_changes", entry(2, 1, loaded_at=midnight + timedelta(minutes=3)))
    outcome = landed.run("prod", execution_time=midnight + timedelta(minutes=15))
    assert outcome.error is None, outcome.output
    assert deals_in(landed) == {"1", "2"}


@pytest.mark.again_on("duckdb")
def test_a_plan_after_a_refresh_finds_the_history_ahead_of_it(landed: Warehouse) -> None:
    """The mapping changes on a day that was refreshed: the new fact has all of the history."""
    empty_log(landed)
    now = next_day()
    restate(landed, now)
    land(landed, "deal_changes", entry(1, 1, loaded_at=now - timedelta(hours=1)))
    refresh(landed, now)
    steps = landed.path / "seeds" / "funnel_steps.csv"
    good = steps.read_text()
    steps.write_text(good.replace("Lead Generation", "Inbound"))
    landed.close()
    outcome = landed.plan("prod", execution_time=now + timedelta(minutes=1))
    steps.write_text(good)
    assert outcome.error is None, outcome.output
    assert list(landed.table(FIRST_ENTRIES, "prod")["kpi_name"]) == ["Step 1: Inbound"]


@pytest.mark.again_on("duckdb")
def test_what_an_audit_has_refused_is_audited_again(landed: Warehouse) -> None:
    """Nothing new arrives, or only other deals: the audit still sees the deal that it refused."""
    empty_log(landed)
    now = next_day()
    land(landed, "deal_changes", entry(1, 1, loaded_at=now - timedelta(hours=1)))
    model = landed.path / "models" / "intermediate" / "int_deals.sql"
    good = model.read_text()
    audit = "audits (forall(criteria := (deal_id <> 7), condition := @was_touched(deal_id))),"
    model.write_text(good.replace("  description '", f"  {audit}\n  description '", 1))
    landed.close()
    try:
        outcome = landed.plan("prod", execution_time=now)
        assert outcome.error is None, outcome.output
        for deal in (7, None, 2):
            now = next_day()
            if deal:
                land(landed, "deal_changes", entry(deal, 1, loaded_at=now - timedelta(hours=1)))
            outcome = landed.run("prod", execution_time=now, ignore_cron=True)
            assert outcome.error is not None, f"the refused deal was forgotten with {deal}"
            assert deals_in(landed) == {"1"}
    finally:
        model.write_text(good)
        landed.close()
    outcome = landed.plan("prod", execution_time=now + timedelta(hours=1))
    assert outcome.error is None, outcome.output
    refresh(landed, now + timedelta(hours=2))
    assert deals_in(landed) == {"1", "2", "7"}


@pytest.mark.again_on("duckdb")
def test_a_deal_that_vanishes_from_the_log_is_kept_and_said(landed: Warehouse) -> None:
    empty_log(landed)
    now = next_day()
    land(landed, "deal_changes", entry(1, 1, loaded_at=now - timedelta(hours=1)))
    restate(landed, now)
    empty_log(landed)
    refresh(landed, next_day())
    assert deals_in(landed) == {"1"}
