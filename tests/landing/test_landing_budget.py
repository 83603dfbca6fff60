"""An account lands within its budget: what is read is kept, and nothing is paid for twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipedrive_funnel.landing.api.choice import SWEPT_A_DAY, logs_to_read
from pipedrive_funnel.landing.api.mirror import ApiError
from pipedrive_funnel.landing.api.store import Listed, Log
from tests.landing.conftest import DEALS, Serve
from tests.support.api_landing import (
    LONG_AGO,
    Lander,
    assert_raw_is,
    changelogs,
    environment,
    land,
    landed_rows,
    let_days_pass,
    now,
    rows_of,
    truth,
)
from tests.support.budget import (
    Day,
    land_for_days,
    logs_read,
    pages_of_logs,
    read_twice,
    tokens_said,
)
from tests.support.command import Done, run_command
from tests.support.landed import LANDED
from tests.support.landing import Row, assert_prod_shows, connect
from tests.support.pipedrive_account import END, Account, random_account
from tests.support.pipedrive_server import PipedriveServer
from tests.support.warehouse import Warehouse

pytestmark = pytest.mark.usefixtures("impatient")

LISTS = 100  # tokens of a landing that reads one page of each list
FOREVER = 10_000  # times


@pytest.fixture
def warehouse(new_warehouse: Callable[..., Warehouse]) -> Warehouse:
    """Give an empty DuckDB file, for what does not depend on the engine."""
    return new_warehouse("duckdb", core=True)


def flat(text: str) -> str:
    """Return a text of the terminal on one line."""
    return " ".join(text.split())


def land_by_command(
    warehouse: Warehouse, server: PipedriveServer, *arguments: str, **variables: str
) -> Done:
    return run_command(warehouse, "land", "api", *arguments, **environment(server, **variables))


def rejected(warehouse: Warehouse) -> set[Row]:
    """Return table, file, column and reason of the rejected rows."""
    return {(row[0], row[1], *row[3:5]) for row in landed_rows(warehouse)["rejected_rows"]}


# --- days -----------------------------------------------------------------------------------------


def assert_within_budget(days: list[Day], server: PipedriveServer, a_day: int) -> None:
    """Assert that each day went to the end of what it had, and that nothing was read twice."""
    assert all(day.tokens <= a_day + 20 for day in days)  # a log that was begun has two pages
    assert all(day.tokens > a_day - 20 for day in days[:-1])
    assert [day.refused for day in days] == [0] * len(days)
    assert tokens_said(days) == [day.tokens for day in days]
    assert read_twice(server) == 0
    lists = sum(day.tokens for day in days) - 20 * pages_of_logs(server)
    rows = len(server.account.deals) + len(server.account.activities)
    assert lists <= len(days) * LISTS + 20 * (rows // 500)
    assert days[-1].logs == len(server.account.deals)


def test_an_account_lands_in_as_many_days_as_its_budget_takes(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve(random_account(5, 200))
    days = land_for_days(warehouse, server, 2_200)
    assert_within_budget(days, server, 1_540)
    assert [day.logs for day in days] == [72, 144, 200]
    said = "72 of 200 deals (36 %) are landed. 128 are still to be read, 2 days of what landings"
    assert said in flat(days[0].said)
    assert_raw_is(warehouse, server.account)


@pytest.mark.again
@pytest.mark.parametrize(("deals", "tokens"), [(3_000, 20_000), (10_000, 300_000)])
def test_a_large_account_lands_in_as_many_days_as_its_budget_takes(
    deals: int, tokens: int, serve: Serve, warehouse: Warehouse
) -> None:
    server = serve(random_account(5, deals))
    days = land_for_days(warehouse, server, tokens)
    assert_within_budget(days, server, round(tokens * 0.7))
    assert_raw_is(warehouse, server.account)


@pytest.mark.faults
def test_a_landing_killed_each_day_loses_what_was_on_its_way(
    gateway: str, serve: Serve, lander: Lander, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse(gateway, core=True)
    server = serve(random_account(5, 300))
    days = land_for_days(warehouse, server, 4_000, kills=2, lander=lander)
    kills = sum(day.kills for day in days)
    assert kills >= 2
    assert read_twice(server) <= 4 * kills
    assert all(day.tokens <= 2_800 + 20 for day in days)
    assert_raw_is(warehouse, server.account)


@pytest.mark.again
def test_half_an_account_is_in_prod_and_then_the_other_half(
    serve: Serve, new_warehouse: Callable[..., Warehouse], tmp_path: Path
) -> None:
    """As cron does: `make refresh` each day."""
    warehouse = new_warehouse("duckdb", core=True, **LANDED)
    account = random_account(5, 60)
    server = serve(account)
    shares = []
    for _ in range(2):
        server.give_tokens(1_100)
        done = land_by_command(warehouse, server, "--refresh")
        assert done.code == 0, done.err
        assert "prod shows what was landed" in flat(done.out)
        landed = rows_of(landed_rows(warehouse))
        deals = {row[0] for row in landed["deal_changes"]}
        shares.append(len(deals))
        expected = truth(account)
        for table, deal in (("deal_changes", 0), ("activity", 3)):  # whole deals, or nothing
            assert landed[table] == {row for row in expected[table] if row[deal] in deals}
        let_days_pass(warehouse)
    assert shares == sorted({*shares}) and shares[0] < 40 and shares[-1] == 60
    for name, table in account.export().items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    assert_prod_shows(warehouse, tmp_path)


@pytest.mark.again
@pytest.mark.parametrize("tokens", [LISTS + 140, 1_000])
def test_all_marts_build_with_no_more_than_a_part_of_an_account(
    gateway: str, tokens: int, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    """Also with not a single deal, when the lists take all."""
    warehouse, server = new_warehouse(gateway, **LANDED), serve(random_account(5, 60))
    server.give_tokens(tokens)
    done = land_by_command(warehouse, server, "--refresh")
    assert done.code == 0, done.err
    assert "deals (" in flat(done.out)
    assert logs_read(warehouse) < 60
    assert "unknown_deals" not in warehouse.found("prod")


@pytest.mark.again
def test_an_account_whose_lists_are_more_than_a_day_has_lands_all_the_same(
    serve: Serve, warehouse: Warehouse
) -> None:
    account = random_account(5, 60)
    for log in account.changelogs.values():  # one alone would be more than a day has, too
        log[:] = [change for change in log if change["field_key"] not in ("title", "value")]
    server = serve(account, page_size=5)
    server.give_tokens(200)
    done = land_by_command(warehouse, server)
    assert done.code == 0, done.err
    assert "Nothing is landed before all lists were read once" in flat(done.out)
    assert landed_rows(warehouse) == {}
    assert server.tokens_spent <= 140
    server.forget()
    days = land_for_days(warehouse, server, 600)
    assert len(days) > 3 and read_twice(server) == 0
    assert_raw_is(warehouse, server.account)


# --- the end of a budget --------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
def test_a_spent_budget_ends_a_landing_at_once_and_well(
    told: bool, serve: Serve, warehouse: Warehouse
) -> None:
    """Without a reserve, up to the last token; whether Pipedrive tells what is left or not."""
    server = serve()
    server.give_tokens(LISTS + 205, told=told)
    done = land_by_command(warehouse, server, PIPEDRIVE_TOKEN_RESERVE="0")
    assert done.code == 0, done.err
    assert "budget of Pipedrive's API is spent" in done.out
    assert f"10 of {DEALS} deals (41 %) are landed" in flat(done.out)
    refused = [request for request in server.requests if request.status != 200]
    assert len(refused) <= (0 if told else 4 + 3)  # in flight together, and after three pauses
    assert server.tokens_spent == LISTS + 200
    server.give_tokens(10_000, told=told)
    assert land_by_command(warehouse, server).code == 0
    assert read_twice(server) == 0
    assert_raw_is(warehouse, server.account)


def test_a_budget_that_is_spent_already_ends_a_landing_after_one_request(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve()
    server.give_tokens(0)
    assert land_by_command(warehouse, server).code == 0
    assert len(server.requests) == 1


def test_the_reserve_is_left_to_the_companys_other_tools(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve(random_account(5, 60))
    server.give_tokens(1_000)
    server.after(12, lambda: server.spend_tokens(500))
    land_by_command(warehouse, server)
    assert 300 - 80 <= server.tokens_left < 300 + 20  # four logs were on their way


def test_without_headers_the_tokens_of_a_day_are_counted_over_its_landings(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve(random_account(5, 60))
    told = {"PIPEDRIVE_DAILY_TOKENS": "1000", "PIPEDRIVE_TOKEN_RESERVE": "20%"}
    for spent in (800, 800):
        assert land_by_command(warehouse, server, **told).code == 0
        assert spent - 100 < server.tokens_spent <= spent
    let_days_pass(warehouse)
    assert land_by_command(warehouse, server, **told).code == 0
    assert 1_400 < server.tokens_spent <= 1_600
    assert read_twice(server) == 0


def test_a_full_landing_goes_on_where_its_budget_has_ended(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve(random_account(5, 60))
    land(warehouse, server)
    for row in server.account.deals.values():  # not by any update: only reading it again tells
        row["add_time"] = "2023-12-31T00:00:00Z"
    days = land_for_days(warehouse, server, 1_000, full=True)
    assert len(days) == 3
    assert set(changelogs(server)) == set(server.account.deals)
    assert read_twice(server) == 0
    changes = landed_rows(warehouse)["deal_changes"]
    created = {row[1] for row in changes if row[2] == "add_time"}
    assert created == {datetime(2023, 12, 31)}
    server.forget()
    land(warehouse, server)
    assert changelogs(server) == []


def test_another_account_takes_the_place_of_one_although_the_budget_ends(
    serve: Serve, warehouse: Warehouse
) -> None:
    assert land_by_command(warehouse, serve(random_account(1, DEALS))).code == 0
    other = serve(random_account(2, DEALS + 1))
    url = {"PIPEDRIVE_API_URL": other.url.replace("127.0.0.1", "localhost")}
    other.give_tokens(130)
    done = land_by_command(warehouse, other, "--replace", **url)
    assert done.code == 0, done.err
    assert "Nothing is landed before all lists were read once" in flat(done.out)
    other.give_tokens(10_000)
    assert land_by_command(warehouse, other, **url).code == 0
    assert_raw_is(warehouse, other.account)


# --- asking for less ------------------------------------------------------------------------------


def test_a_log_is_read_where_the_deal_differs_and_others_in_a_slow_sweep(
    serve: Serve, warehouse: Warehouse
) -> None:
    account = random_account(1, DEALS)
    server = serve(account)
    land(warehouse, server)
    moved, renamed, back = (deal for deal in account._live()[:3])
    later = END + timedelta(hours=1)
    account.move(moved, later, 3 if account._stage(moved) != 3 else 4)
    account.edit(renamed, later, "another title", 1)
    owner = account._owner(back)
    account.hand_over(back, later, 101 if owner != 101 else 102)
    account.hand_over(back, later + timedelta(minutes=1), owner)
    for days, read in ((1, {moved}), (1, set()), (6, {renamed, back}), (9, set())):
        let_days_pass(warehouse, days)
        server.forget()
        land(warehouse, server)
        assert set(changelogs(server)) == read
    assert_raw_is(warehouse, account)


def test_logs_are_read_in_the_order_of_their_worth() -> None:
    """New ones and changes before `--full`, that before the sweep; pipeline first, then new."""
    at = datetime(2025, 6, 1)

    def deal(id: int, pipeline: int = 1, state: str = "a") -> Listed:
        return Listed(id, pipeline, LONG_AGO + timedelta(days=id), at, (state,))

    def log(state: str = "a", refusal: int | None = None, settled: bool = True) -> Log:
        long_ago = at - timedelta(days=10)
        return Log(long_ago, long_ago, LONG_AGO, (state,), settled, False, refusal)

    deals = [*map(deal, range(1, 8)), deal(8, 2), deal(9, state="b"), deal(10, 2)]
    logs = {id: log() for id in (1, 2, 9, 10)} | {3: log(settled=False), 4: log(refusal=403)}
    wanted = logs_to_read(deals, logs, pipeline_id=1, at=at)
    assert [one.deal.id for one in wanted] == [9, 7, 6, 5, 3, 8, 4, 2, 1, 10]
    assert [one.deal.id for one in wanted if one.is_sweep] == [4, 2, 1, 10]
    full = logs_to_read(deals, logs, pipeline_id=1, at=at, all_since=at)
    assert not [one for one in full if one.is_sweep]
    many = {id: log() for id in range(100)}
    swept = logs_to_read(map(deal, range(100)), many, pipeline_id=None, at=at)
    assert len(swept) == SWEPT_A_DAY
    for one in swept[:30]:
        many[one.deal.id] = many[one.deal.id]._replace(asked_at=at, is_sweep=True)
    assert len(logs_to_read(map(deal, range(100)), many, pipeline_id=None, at=at)) == 20


# --- one odd deal ---------------------------------------------------------------------------------


@pytest.mark.again_on("duckdb")
def test_a_deal_whose_log_is_refused_is_put_aside_and_the_rest_lands(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    server = serve(account)
    hidden, gone = sorted(account.deals)[3:5]
    server.refuse_deal(hidden, 403)
    server.refuse_deal(gone, 410)
    done = land_by_command(warehouse, server)
    assert done.code == 0, done.err
    assert "2 rejected rows, see pipedrive_raw.rejected_rows" in flat(done.out)
    assert {row[1:3] for row in rejected(warehouse)} == {
        (f"v1/deals/{hidden}/changelog", None),
        (f"v1/deals/{gone}/changelog", None),
    }
    assert all("Pipedrive refuses the change log" in row[3] for row in rejected(warehouse))
    landed, expected = rows_of(landed_rows(warehouse)), truth(account)
    for table, deal in (("deal_changes", 0), ("activity", 3)):
        rest = {row for row in expected[table] if row[deal] not in (hidden, gone)}
        assert landed[table] == rest
    server.forget()  # it can be read now
    let_days_pass(warehouse)
    land(warehouse, server)
    assert set(changelogs(server)) == {hidden, gone}
    assert_raw_is(warehouse, account)


@pytest.mark.parametrize("deals", [3, DEALS])
def test_a_landing_to_which_all_logs_are_refused_stops_and_says_so(
    deals: int, serve: Serve, warehouse: Warehouse
) -> None:
    account = Account()
    for number in range(deals):
        account.create(LONG_AGO + timedelta(days=number), 1, 101)
    server = serve(account)
    server.fail("/v1/deals/", 403, FOREVER)
    done = land_by_command(warehouse, server)
    assert done.code == 3
    assert "refused the change logs of all" in done.err and done.err.count("\n") == 1
    assert len(changelogs(server)) <= 13
    server.forget()
    land(warehouse, server)  # none is taken for an odd one
    assert_raw_is(warehouse, account)


@pytest.mark.again_on("duckdb")
def test_rows_with_nothing_in_them_are_put_aside_and_the_rest_lands(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    expected_deals = truth(account)["deal_changes"]
    account.hollow()
    server = serve(account)
    land(warehouse, server)
    found, expected = rows_of(landed_rows(warehouse)), truth(account)
    del found["rejected_rows"], expected["rejected_rows"]
    assert found == expected
    assert found["deal_changes"] == expected_deals
    assert rejected(warehouse) == {
        ("stages", "v2/stages", "name", "name is empty. Correct it in Pipedrive."),
        (
            *("activity_types", "v1/activityTypes", "key_string"),
            "key_string is empty. Correct it in Pipedrive.",
        ),
        (
            "deal_changes",
            "v2/deals",
            "pipeline_id",
            "pipeline_id is empty. Correct it in Pipedrive.",
        ),
    }
    del account.stages[-1], account.activity_types[-1]
    hollow = max(account.deals)
    account.deals[hollow] |= {
        **{"pipeline_id": 1, "stage_id": 2, "owner_id": 101, "status": "open"},
        **{"add_time": "2024-12-01T00:00:00Z", "update_time": "2024-12-01T00:00:00Z"},
    }
    server.forget()
    land(warehouse, server)
    assert rejected(warehouse) == set()
    assert changelogs(server) == [hollow]


@pytest.mark.again_on("duckdb")
def test_values_that_do_not_fit_are_said_and_the_rest_of_the_deal_lands(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    odd, other = sorted(account._live())[:2]
    before = {deal: dict(account.deals[deal]) for deal in (odd, other)}
    account.deals[odd] |= {"value": None, "currency": None}
    account.deals[other] |= {"probability": None}
    expected = truth(account)
    account.deals[odd] |= {"value": float("inf"), "currency": "dollars"}
    account.deals[other] |= {"probability": 135}
    server = serve(account)
    done = land_by_command(warehouse, server)
    assert done.code == 0, done.err
    assert "3 single values, of rows that are landed, see pipedrive_raw.rejected_rows" in flat(
        done.out
    )
    assert "rejected rows" not in flat(done.out)
    found = rows_of(landed_rows(warehouse))
    texts = {row[-1] for row in found.pop("rejected_rows")}
    assert found == {name: rows for name, rows in expected.items() if name in found}
    assert texts == {
        f'{{"id": {odd}, "value": Infinity}}',
        f'{{"id": {odd}, "currency": "dollars"}}',
        f'{{"id": {other}, "probability": 135}}',
    }
    assert {row[:2] for row in rejected(warehouse)} == {("deals", "v2/deals")}
    for deal, row in before.items():
        account.deals[deal] |= row | {"update_time": now().isoformat()[:19] + "Z"}
    land(warehouse, server)
    assert_raw_is(warehouse, account)  # nothing is rejected any more


def test_a_list_of_nothing_but_odd_rows_ends_a_landing(serve: Serve, warehouse: Warehouse) -> None:
    account = random_account(1, DEALS)
    for row in account.deals.values():
        row["add_time"] = "yesterday"
    with pytest.raises(ApiError, match="No row of .* v2/deals can be used.*add_time is no time"):
        land(warehouse, serve(account))


# --- pace, and cursors ----------------------------------------------------------------------------


def test_the_smallest_plans_bursts_are_kept_without_a_word_from_pipedrive(
    serve: Serve, warehouse: Warehouse
) -> None:
    """20 requests in 2 seconds, by all threads together."""
    server = serve(random_account(5, 40))
    server.limit_rate(20, 2, told=False)
    start = time.monotonic()
    done = land_by_command(warehouse, server, PIPEDRIVE_BURST="")
    assert done.code == 0, done.err
    assert [request for request in server.requests if request.status != 200] == []
    assert time.monotonic() - start > 4
    assert_raw_is(warehouse, server.account)


def test_a_cursor_that_stands_still_ends_a_landing(serve: Serve, warehouse: Warehouse) -> None:
    server = serve()
    body = {"success": True, "data": [], "additional_data": {"next_cursor": "the same"}}
    server.answer_garbage("/v2/deals", json.dumps(body).encode(), FOREVER)
    done = land_by_command(warehouse, server)
    assert done.code == 3
    assert "v2/deals leads back to a page that was read" in done.err
    assert len(server.paths("/v2/deals")) == 2


# --- a mirror of before ---------------------------------------------------------------------------


@pytest.mark.again_on("duckdb")
def test_the_logs_of_an_older_mirror_are_not_paid_for_again(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    """Put the mirror back to what dlt used to make of it."""
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    server = serve(account)
    land(warehouse, server)
    changed, recent = sorted(account._live())[:2]
    of_dlt = "ADD COLUMN _dlt_load_id TEXT DEFAULT 'x', ADD COLUMN _dlt_id TEXT DEFAULT 'x'"
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        for statement in (
            "ALTER TABLE pipedrive_api.changelogs ADD COLUMN update_time TIMESTAMP",
            "INSERT INTO pipedrive_api.changelogs (deal_id, place, update_time) "
            f"SELECT deal_id, 9, CASE WHEN deal_id <> {recent} THEN update_time END "
            "FROM pipedrive_api.logs",
            *(
                f"ALTER TABLE pipedrive_api.{table} {change}"
                for table in ("users", "stages", "activities", "deals", "changelogs")
                for change in ("DROP COLUMN seen_at", *of_dlt.split(", "))
            ),
            *(
                f"ALTER TABLE pipedrive_api.deals DROP COLUMN {column}"
                for column in ("stage_change_time", "lost_reason", "status")
            ),
            *(
                f"DROP TABLE pipedrive_api.{table}"
                for table in ("lists", "logs", "rejects", "tokens")
            ),
            "CREATE TABLE pipedrive_api._dlt_loads (load_id TEXT)",
        ):
            cursor.execute(statement)
        connection.commit()
    account.give_reason(changed, END + timedelta(hours=1), "later")
    server.forget()
    land(warehouse, server)
    assert set(changelogs(server)) == {changed, recent}
    assert_raw_is(warehouse, account)


def test_a_new_column_of_the_mirror_is_filled_from_the_list_and_no_log_is_read(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve()
    land(warehouse, server)
    with closing(connect(warehouse)) as connection:
        before = connection.execute("SELECT id, status FROM pipedrive_api.deals").fetchall()
        connection.execute("ALTER TABLE pipedrive_api.deals DROP COLUMN status")
    server.forget()
    land(warehouse, server)
    with closing(connect(warehouse)) as connection:
        after = connection.execute("SELECT id, status FROM pipedrive_api.deals").fetchall()
    assert sorted(after) == sorted(before) and any(status for _, status in after)
    assert changelogs(server) == []
