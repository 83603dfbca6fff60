"""From Pipedrive's API to the report, against a server that answers as Pipedrive does.

The account writes down the truth beside what its API says. Whatever goes wrong on the way, the raw
tables hold that truth after a landing, or what they held before.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import time
import typing as t
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.publish import TooManyRemovals
from tests.landing.conftest import DEALS, Serve
from tests.support.api_landing import (
    KILLED,
    LONG_AGO,
    TOKEN,
    Landed,
    Lander,
    assert_raw_is,
    changelogs,
    environment,
    land,
    landed_rows,
    let_days_pass,
    now,
    restated,
    rows_of,
    truth,
    wait_until_free,
)
from tests.support.command import Done, run_command
from tests.support.landed import LANDED
from tests.support.landing import Row, State, landing_database, raw_state
from tests.support.oracle import Funnel, funnel, modelled_funnel, read_export
from tests.support.pipedrive_account import PARTNERS, SALES, Account, random_account
from tests.support.pipedrive_server import Answer, Fault, PipedriveServer
from tests.support.warehouse import EXPORT_TABLES, PROJECT, Outcome, Warehouse

LISTS = 8  # requests before the first change log, where every list fits on a page
FOREVER = 1_000  # times


# --- servers and settings -------------------------------------------------------------------------

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def warehouse(new_warehouse: Callable[..., Warehouse]) -> Warehouse:
    """Give an empty DuckDB file, for what does not depend on the engine."""
    return new_warehouse("duckdb", core=True)


def pauses(server: PipedriveServer, prefix: str) -> list[float]:
    """Return the seconds between requests to paths that begin so."""
    times = [request.time for request in server.requests if request.path.startswith(prefix)]
    return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


# --- landing, and the raw tables ------------------------------------------------------------------


def prod_of(warehouse: Warehouse) -> Funnel:
    return modelled_funnel(warehouse, "prod")


def assert_is_the_oracle(
    found: Funnel, company: Company, directory: Path, pipeline_id: int | None = None
) -> None:
    """Compare what models give with the funnel that pandas works out from the truth."""
    for name, table in company.account.export(pipeline_id).items():
        table.to_csv(directory / f"{name}.csv", index=False)
    shutil.copy(company.warehouse.path / "seeds" / "funnel_steps.csv", directory)
    expected = funnel(read_export(directory))
    assert expected.report
    assert found.history == expected.history
    assert found.first_entries == expected.first_entries
    assert found.calls == expected.calls
    assert found.report == expected.report


def assert_built(outcome: Outcome) -> None:
    """Assert that no audit blocks."""
    assert outcome.error is None, outcome.output


def assert_nothing_is_missing(warehouse: Warehouse) -> None:
    """Assert that everything that is referred to was landed, and that all of it is in prod."""
    assert (
        warehouse.found("prod")
        .keys()
        .isdisjoint(
            {"unknown_deals", "unknown_stages", "unknown_users", "unknown_activity_types"}
            | {"rejected_rows", "changes_not_yet_processed", "vanished_stage_changes"}
        )
    )


# --- 500 deals to the report ----------------------------------------------------------------------


@dataclass
class Company:
    """An account, its server, and a warehouse in which it was landed and prod was planned.

    The tests go on from one another, in their order.
    """

    account: Account
    server: PipedriveServer
    warehouse: Warehouse

    def land(self, at: datetime | None = None, **options: t.Any) -> Landed:
        """Land as `land` does, now unless told, and forget the requests before."""
        self.server.forget()
        if raw_state(self.warehouse):
            let_days_pass(self.warehouse)
        return land(self.warehouse, self.server, at or now(), **options)


@pytest.fixture(scope="module")
def company(gateway: str, new_warehouse: Callable[..., Warehouse]) -> Iterator[Company]:
    account = random_account(7, 500)
    with PipedriveServer(account, TOKEN) as server:
        company = Company(account, server, new_warehouse(gateway, **LANDED))
        landed = company.land().read
        assert landed["deals"] + landed["archived_deals"] == landed["changelogs"] == 500
        assert_raw_is(company.warehouse, account)
        assert_built(company.warehouse.plan("prod"))
        assert_nothing_is_missing(company.warehouse)
        yield company


@pytest.mark.again_on("duckdb")
def test_500_deals_come_to_the_report(company: Company, tmp_path: Path) -> None:
    assert_is_the_oracle(prod_of(company.warehouse), company, tmp_path)


@pytest.mark.again_on("duckdb")
def test_what_changes_later_comes_to_the_report_and_nothing_else_is_read(
    company: Company, tmp_path: Path
) -> None:
    warehouse, account, at = company.warehouse, company.account, now()
    before, states = landed_rows(warehouse), restated(account)
    logged = account.advance(8)
    company.land(at)
    assert logged <= account.touched
    assert set(changelogs(company.server)) == {*restated(account, states)} < account.touched
    assert_raw_is(warehouse, account)
    after = landed_rows(warehouse)
    assert {row[0] for row, when in after["deal_changes"].items() if when == at} <= logged
    for name, rows in after.items():
        assert rows == {row: before[name].get(row, at) for row in rows}, name
    assert_built(warehouse.run("prod", ignore_cron=True))
    assert_nothing_is_missing(warehouse)
    assert_is_the_oracle(prod_of(warehouse), company, tmp_path)


@pytest.mark.again_on("duckdb")
def test_a_second_landing_reads_no_change_log_and_lands_nothing(company: Company) -> None:
    before = landed_rows(company.warehouse)
    again = company.land()
    assert changelogs(company.server) == []
    assert again.rows == again.read["changelogs"] == 0
    assert landed_rows(company.warehouse) == before


@pytest.mark.again
def test_500_deals_of_one_pipeline_come_to_the_report(company: Company, tmp_path: Path) -> None:
    """Go over to one pipeline as docs/landing.md says."""
    warehouse = company.warehouse
    assert len(company.account.deals_of(SALES)) < len(company.account.deals)
    company.land(pipeline_id=SALES, replace=True)
    assert changelogs(company.server) == []
    assert_raw_is(warehouse, company.account, SALES)
    history = "pipedrive_intermediate.int_deal_stage_history"
    assert_built(warehouse.plan("prod", restate_models=[history]))
    assert_built(warehouse.run("prod", ignore_cron=True))
    assert_nothing_is_missing(warehouse)
    assert_is_the_oracle(prod_of(warehouse), company, tmp_path, SALES)


@pytest.mark.again
def test_refresh_brings_an_account_without_deals_to_prod(
    serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, account = new_warehouse("duckdb", core=True, **LANDED), Account()
    server = serve(account, empty_is_null=True)
    done = run_command(warehouse, "land", "api", "--refresh", **environment(server))
    assert done.code == 0, done.err
    assert "prod shows what was landed" in done.out
    assert_raw_is(warehouse, account)
    assert prod_of(warehouse).report == {}
    assert (warehouse.path / "logs").is_dir()
    assert_token_is_nowhere(warehouse, done.out, done.err)


def test_a_deal_that_comes_to_the_pipeline_brings_its_past(
    serve: Serve, warehouse: Warehouse
) -> None:
    account = random_account(4, 40)
    server = serve(account)
    land(warehouse, server, pipeline_id=SALES)
    assert_raw_is(warehouse, account, SALES)
    for seed in range(2):
        account.advance(seed)
        let_days_pass(warehouse)
        landed = land(warehouse, server, pipeline_id=SALES)
        assert_raw_is(warehouse, account, SALES)
        left_out = len(account.deals) - len(account.deals_of(SALES))
        assert landed.skipped["deals that never were in the pipeline"] == left_out


# --- pages, empty lists, and changes meanwhile ----------------------------------------------------


def test_short_pages_bring_all_rows(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(page_size=5)
    landed = land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    assert len(server.paths("/v2/activities")) > 5
    listed = [row for row in server.account.activities.values() if not row["is_deleted"]]
    assert landed.read["activities"] == len(listed)
    assert landed.read["changelogs"] == DEALS
    assert len(changelogs(server)) > 3 * DEALS


def test_500_rows_are_asked_for_at_a_time(serve: Serve, warehouse: Warehouse) -> None:
    server = serve()
    land(warehouse, server)
    assert len(server.requests) == LISTS + DEALS + 1  # one log has more than 500 entries
    limits = {request.path: request.params.get("limit") for request in server.requests}
    assert {path for path, limit in limits.items() if limit != "500"} == {
        *("/v1/users", "/v1/activityTypes")
    }


def test_an_account_without_deals_lands_and_then_gets_one(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, account = new_warehouse(gateway, core=True), Account()
    server = serve(account, empty_is_null=True)
    account.users, account.activity_types, account.stages, account.deal_fields = [], [], [], []
    account.pipelines = []
    land(warehouse, server)
    assert_raw_is(warehouse, account)
    assert not any(landed_rows(warehouse).values())
    account.stages = Account().stages
    account.create(datetime(2024, 5, 1), 1, 101)  # its change log is null
    land(warehouse, server)
    assert_raw_is(warehouse, account)


def test_what_changes_during_a_landing_is_there_after_the_next(
    serve: Serve, warehouse: Warehouse
) -> None:
    """Ten times: while users, pages of deals, of activities, and of change logs are read."""
    account = random_account(3, 40)
    server = serve(account, page_size=9)
    seeds = iter(range(10))
    for requests in (1, 4, 9, 12, 15, 17, 19, 21, 30, 40):
        server.after(requests, lambda: account.advance(next(seeds)))
    land(warehouse, server)
    assert next(seeds, None) is None, "the landing has ended before the last change"
    let_days_pass(warehouse)
    land(warehouse, server)
    assert_raw_is(warehouse, account)


def test_a_deal_archived_between_the_lists_is_one_deal(serve: Serve, warehouse: Warehouse) -> None:
    account = random_account(3, DEALS)
    server = serve(account)
    deal = next(key for key, row in account.deals.items() if not row["is_archived"])
    before_archived = LISTS - 2  # activities come last
    server.after(before_archived, lambda: account.archive(deal, account.now))
    landed = land(warehouse, server)
    assert landed.read["deals"] + landed.read["archived_deals"] == DEALS + 1
    assert_raw_is(warehouse, account)


def test_what_shows_late_in_lists_and_logs_is_found(serve: Serve, warehouse: Warehouse) -> None:
    account = Account()
    server = serve(account)
    just = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(seconds=20)
    late, other = account.create(just, 1, 101), account.create(LONG_AGO, 1, 101)
    account.move(late, just, 2)
    account.move(other, just, 3)
    log, account.changelogs[late] = account.changelogs[late], []
    hidden = account.deals.pop(other)
    land(warehouse, server)
    account.changelogs[late], account.deals[other] = log, hidden
    hidden["update_time"] = account.deals[late]["add_time"]
    land(warehouse, server)
    assert_raw_is(warehouse, account)


def delete_activities(account: Account) -> None:
    there = [key for key, row in account.activities.items() if not row["is_deleted"]]
    for key in there[:6]:
        account.delete_activity(key, account.now + timedelta(hours=1))


def test_deleted_activities_that_are_listed_leave(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(lists_deleted_activities=True)
    land(warehouse, server)
    delete_activities(server.account)
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)


@pytest.mark.again_on("duckdb")
def test_deleted_activities_leave_within_a_day_and_no_log_is_read(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, server = new_warehouse(gateway, core=True), serve(page_size=9)
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    delete_activities(server.account)
    assert land(warehouse, server).rows == 0  # activities as a whole were read today
    let_days_pass(warehouse)
    server.forget()
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    assert changelogs(server) == []
    assert {request.path for request in server.requests if "updated_since" in request.params} == {
        *("/v2/deals", "/v2/deals/archived")
    }


def test_a_full_landing_reads_everything(serve: Serve, warehouse: Warehouse) -> None:
    server = serve()
    land(warehouse, server)
    delete_activities(server.account)
    server.forget()
    land(warehouse, server, full=True)
    assert_raw_is(warehouse, server.account)
    assert set(changelogs(server)) == set(server.account.deals)
    assert not [request for request in server.requests if "updated_since" in request.params]
    server.forget()
    assert land(warehouse, server).rows == 0  # and the next one is as short as ever
    assert changelogs(server) == []
    assert {request.path for request in server.requests if "updated_since" in request.params} == {
        *("/v2/activities", "/v2/deals", "/v2/deals/archived")
    }


def test_most_activities_are_not_removed_unasked(serve: Serve, warehouse: Warehouse) -> None:
    server = serve()
    land(warehouse, server)
    before = landed_rows(warehouse)
    server.account.activities.clear()
    with pytest.raises(TooManyRemovals, match="activity: .* --allow-removals"):
        land(warehouse, server, full=True)
    assert landed_rows(warehouse) == before
    land(warehouse, server, full=True, allow_removals=True)
    assert_raw_is(warehouse, server.account)


def test_what_is_no_longer_listed_is_history(serve: Serve, warehouse: Warehouse) -> None:
    """Deals that were deleted more than 30 days ago, stages and users that are gone."""
    account = random_account(1, DEALS)
    server = serve(account)
    land(warehouse, server)
    before = rows_of(landed_rows(warehouse))
    gone = {key for key, row in account.deals.items() if row["is_deleted"]}
    account.now += timedelta(days=60)
    del account.stages[-1], account.users[-1]
    landed = land(warehouse, server, full=True)
    assert landed.read["deals"] + landed.read["archived_deals"] == DEALS - len(gone) < DEALS
    assert rows_of(landed_rows(warehouse)) == before


def test_a_deal_without_a_log_is_counted_and_asked_for_again(
    serve: Serve, warehouse: Warehouse
) -> None:
    account = random_account(1, DEALS)
    server = serve(account)
    deal = sorted(account.deals)[3]
    server.fail(f"/v1/deals/{deal}/", 404)
    landed = land(warehouse, server)
    assert landed.skipped["deals whose change log Pipedrive does not give"] == 1
    expected = {row for row in truth(account)["deal_changes"] if row[0] != deal}
    assert rows_of(landed_rows(warehouse))["deal_changes"] == expected
    server.forget()
    land(warehouse, server)
    assert changelogs(server) == []  # a refusal is paid for once a day
    let_days_pass(warehouse)
    land(warehouse, server)
    assert changelogs(server) == [deal]
    assert_raw_is(warehouse, account)


def test_a_404_that_is_not_pipedrives_is_no_missing_log(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(random_account(1, DEALS))
    server.answer_garbage("/v1/deals/", times=FOREVER, status=404)
    with pytest.raises(api.ApiError, match="404 for GET"):
        land(warehouse, server)
    assert rows_of(landed_rows(warehouse))["deal_changes"] == set()


def test_what_was_derived_of_a_deal_follows_the_deal(serve: Serve, warehouse: Warehouse) -> None:
    """Somebody corrects in Pipedrive when a deal was created: no second creation is left."""
    account = random_account(1, DEALS)
    server = serve(account)
    land(warehouse, server)
    deal = account.deals[min(account.deals)]
    before = {
        row for row in rows_of(landed_rows(warehouse))["deal_changes"] if row[0] == deal["id"]
    }
    deal["add_time"] = "2023-12-31T00:00:00Z"
    deal["update_time"] = "2025-06-01T00:00:00Z"
    land(warehouse, server)
    after = {row for row in rows_of(landed_rows(warehouse))["deal_changes"] if row[0] == deal["id"]}
    assert len(after) == len(before)
    assert {row[1] for row in after if row[2] == "add_time"} == {datetime(2023, 12, 31)}


def test_another_account_is_not_mixed_in(serve: Serve, warehouse: Warehouse) -> None:
    land(warehouse, serve(random_account(1, DEALS)))
    before = landed_rows(warehouse)
    other = serve(random_account(2, DEALS + 1))
    url = other.url.replace("127.0.0.1", "localhost")
    with pytest.raises(api.ApiError, match="mirrors 127.0.0.1, and this is localhost: say --rep"):
        land(warehouse, other, url=url)
    assert landed_rows(warehouse) == before
    land(warehouse, other, url=url, replace=True)
    assert_raw_is(warehouse, other.account)


# --- limits and failures that pass ----------------------------------------------------------------


def test_a_pause_that_pipedrive_asks_for_is_kept(serve: Serve, warehouse: Warehouse) -> None:
    server = serve()
    log = f"/v1/deals/{min(server.account.deals)}/"
    for path in ("/v1/users", log):
        server.fail(path, 429, retry_after=1)
        server.fail(path, 429)  # says nothing: back off
    land(warehouse, server)
    for path in ("/v1/users", log):
        asked, unasked = pauses(server, path)
        assert asked >= 1 > unasked
    assert_raw_is(warehouse, server.account)


@pytest.mark.parametrize("told", [True, False])
def test_a_rate_limit_is_kept_over_a_whole_landing(
    told: bool, serve: Serve, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.5")
    server = serve(page_size=40)
    server.limit_rate(18, 1, told=told)
    start = time.monotonic()
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    refused = [request for request in server.requests if request.status == 429]
    assert len(refused) <= (4 if told else len(server.requests) / 3)  # they do not hammer
    assert told or refused
    assert time.monotonic() - start > 2


def test_failures_that_pass_are_survived(
    serve: Serve, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.5")
    server = serve(page_size=10)
    for path in ("/v1/users", "/v2/stages", "/v2/activities", "/v2/deals/archived", "/v1/deals/"):
        server.fail(path, 500)
        server.close_connection(path)
        server.fail(path, 503)
        server.close_connection(path, after_bytes=40)
    server.stall("/v2/dealFields", 1)
    server.stall("/v1/deals/1005/", 1)
    landed = land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    assert (
        landed.read["deals"] + landed.read["archived_deals"] == DEALS == (landed.read["changelogs"])
    )


def test_at_most_four_requests_run_at_a_time(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(random_account(2, 60))
    server.stall("/", 0.03, times=FOREVER)
    land(warehouse, server)
    assert 1 < server.most_in_flight <= 4
    assert_raw_is(warehouse, server.account)


# --- failures that stay ---------------------------------------------------------------------------


def land_by_command(warehouse: Warehouse, *arguments: str, **variables: str) -> Done:
    """Do what `python -m pipedrive_funnel land api` does."""
    return run_command(warehouse, "land", "api", *arguments, **variables)


def stored_texts(warehouse: Warehouse) -> Iterator[str]:
    """Yield each row of each table of a database as text, with what dlt has packed."""
    with landing_database(warehouse) as database:
        for schema, name in database.adapter.fetchall(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema NOT IN ('information_schema', 'pg_catalog')"
        ):
            for row in database.adapter.fetchall(f'SELECT * FROM "{schema}"."{name}"'):
                yield str(row)
                for value in row:
                    with suppress(TypeError, ValueError, zlib.error):
                        yield zlib.decompress(base64.b64decode(value, validate=True)).decode()


def assert_token_is_nowhere(warehouse: Warehouse, *texts: str, token: str = TOKEN) -> None:
    assert not [text for text in texts if token in text]
    files = [path for path in warehouse.path.rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes()]
    assert not [text for text in stored_texts(warehouse) if token in text]


def assert_refused(done: Done, *words: str) -> None:
    """Assert that a landing has ended with one sentence about the API."""
    assert done.code == 3, done.err
    assert done.err.count("\n") == 1
    assert done.err.endswith(".\n")
    assert "Traceback" not in done.out + done.err
    assert all(word in done.err for word in words), done.err


@pytest.fixture(scope="module")
def account() -> Account:
    """Give an account that has been landed once, and has changed since."""
    return random_account(1, DEALS)


@pytest.fixture(scope="module")
def landed_before(new_warehouse: Callable[..., Warehouse], account: Account) -> Warehouse:
    """Give a DuckDB file in which an account was landed; its file is free for other processes."""
    warehouse = new_warehouse("duckdb", core=True)
    with PipedriveServer(account, TOKEN) as server:
        done = land_by_command(warehouse, **environment(server))
    assert done.code == 0, done.err
    assert_token_is_nowhere(warehouse, done.out, done.err)
    assert_raw_is(warehouse, account)
    account.advance(1)
    return warehouse


def assert_no_log_is_landed(warehouse: Warehouse, before: State, path: str) -> None:
    """Assert that what failed changed nothing: the logs of all deals, or else a whole landing."""
    after = landed_rows(warehouse)
    if path == "/v1/deals/":  # the lists were read
        assert after["deal_changes"] == before["deal_changes"]
    else:
        assert after == before


SHAPES = {
    "a list": b"[]",
    "null": b"null",
    "a text": b'"hello"',
    "no data": b'{"success": true}',
    "no success": b'{"success": false, "error": "scope and URL mismatch", "data": null}',
    "an object": b'{"success": true, "data": {"id": 1}}',
    "numbers": b'{"success": true, "data": [1, 2]}',
    "rows of something else": b'{"success": true, "data": [{"title": "x"}]}',
    "a wrong id": b'{"success": true, "data": [{"id": "one", "name": "x"}]}',
    "bytes": b"\xff\xfe\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("path", ["/v1/users", "/v2/deals", "/v1/deals/"])
def test_an_answer_that_is_none_ends_a_landing(
    path: str, serve: Serve, landed_before: Warehouse, account: Account
) -> None:
    server, before = serve(account), landed_rows(landed_before)
    server.answer_garbage(path, times=FOREVER)
    done = land_by_command(landed_before, **environment(server))
    assert_refused(done, "not JSON", path)
    assert TOKEN not in done.out + done.err
    assert_no_log_is_landed(landed_before, before, path)


@pytest.mark.parametrize("path", ["/v1/users", "/v2/dealFields"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_another_shape_is_explained(path: str, shape: str, serve: Serve) -> None:
    server = serve()
    server.answer_garbage(path, SHAPES[shape], times=FOREVER)
    with pytest.raises(api.ApiError, match=path[1:]) as raised:
        api.check(api.Settings(TOKEN, server.url, None))
    assert str(raised.value).endswith(".") and "\n" not in str(raised.value)


def test_a_wrong_token_is_said_and_is_nowhere(serve: Serve, warehouse: Warehouse) -> None:
    """On an empty database, in which it leaves nothing for the models."""
    wrong = TOKEN[::-1]
    done = land_by_command(warehouse, **environment(serve(), PIPEDRIVE_API_TOKEN=wrong))
    assert_refused(done, "PIPEDRIVE_API_TOKEN", "401")
    assert landed_rows(warehouse) == {}
    assert_token_is_nowhere(warehouse, done.out, done.err, token=wrong)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PIPEDRIVE_API_TOKEN": ""}, ["Set PIPEDRIVE_API_TOKEN"]),
        ({"PIPEDRIVE_API_TOKEN": "wrong"}, ["PIPEDRIVE_API_TOKEN", "401"]),
        ({"PIPEDRIVE_API_URL": "http://127.0.0.1:1/api"}, ["127.0.0.1:1 cannot be reached"]),
        ({"PIPEDRIVE_API_URL": "http://acme.invalid/api"}, ["acme.invalid cannot be reached"]),
        ({"PIPEDRIVE_API_URL": "", "PIPEDRIVE_COMPANY_DOMAIN": ""}, ["COMPANY_DOMAIN"]),
        ({"PIPEDRIVE_PIPELINE_ID": "77"}, ["no pipeline 77", "1 (Lead", "2 (Anfrage"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_lead_nowhere_change_nothing(
    variables: dict[str, str],
    words: list[str],
    serve: Serve,
    landed_before: Warehouse,
    account: Account,
) -> None:
    before = landed_rows(landed_before)
    done = land_by_command(landed_before, **environment(serve(account), **variables))
    assert_refused(done, *words)
    assert TOKEN not in done.out + done.err
    assert landed_rows(landed_before) == before


LASTING: dict[str, tuple[Callable[[PipedriveServer, str], object], list[str]]] = {
    "no company": (
        lambda server, path: server.answer_garbage(path, times=FOREVER, status=404),
        ["There is no Pipedrive company", "404"],
    ),
    "no permission": (lambda server, path: server.fail(path, 403, FOREVER), ["403"]),
    "gone": (lambda server, path: server.fail(path, 410, FOREVER), ["410"]),
    "failing": (lambda server, path: server.fail(path, 502, FOREVER), ["502"]),
    "limit": (lambda server, path: server.fail(path, 429, FOREVER), ["budget", "after pauses"]),
    "day's limit": (
        lambda server, path: server.fail(path, 429, FOREVER, retry_after=40_000),
        ["budget", "in 11.1 hours"],
    ),
    "closed": (lambda server, path: server.fail(path, 402, FOREVER), ["not open (402"]),
    "blocked": (lambda server, path: server.block(path, FOREVER), ["turn us away (403"]),
    "dropping": (
        lambda server, path: server.close_connection(path, FOREVER),
        ["cannot be reached"],
    ),
    "stalling": (lambda server, path: server.stall(path, 9, FOREVER), ["not answer in time"]),
}
# A busy machine may need longer for an answer that comes
TIMEOUTS = dict.fromkeys(LASTING, "10") | {"stalling": "0.2"}
ATTEMPTS = {"failing": 5, "limit": 4, "dropping": 5, "stalling": 5}  # of others one


@pytest.mark.parametrize("fault", LASTING)
def test_a_failure_that_stays_is_said_after_some_attempts(
    fault: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", TIMEOUTS[fault])
    server = serve()
    fail, words = LASTING[fault]
    fail(server, "/v1/users")
    with pytest.raises(api.ApiError) as raised:
        api.check(api.Settings(TOKEN, server.url, None))
    assert all(word in str(raised.value) for word in words)
    assert TOKEN not in str(raised.value)
    assert len(server.paths("/v1/users")) == ATTEMPTS.get(fault, 1)


@pytest.mark.parametrize("fault", sorted({"closed", "blocked", *ATTEMPTS} - {"limit"}))
def test_a_failure_that_stays_ends_a_landing_and_lands_no_log(
    fault: str, serve: Serve, landed_before: Warehouse, account: Account
) -> None:
    server, before = serve(account), landed_rows(landed_before)
    fail, words = LASTING[fault]
    fail(server, "/v1/deals/")
    timeout = {"RUNTIME__REQUEST_TIMEOUT": TIMEOUTS[fault]}
    done = land_by_command(landed_before, **environment(server), **timeout)
    assert_refused(done, *words)
    assert TOKEN not in done.out + done.err
    assert_no_log_is_landed(landed_before, before, "/v1/deals/")
    logs = server.paths("/v1/deals/")
    assert max(map(logs.count, logs)) == ATTEMPTS.get(fault, 1)
    assert len({*logs}) <= 4  # no further deal is asked for


@pytest.mark.parametrize("path", ["/v1/users", "/v1/deals/"])
def test_the_token_does_not_go_where_a_redirect_leads(
    path: str, serve: Serve, landed_before: Warehouse, account: Account
) -> None:
    server, elsewhere = serve(account), serve(account)
    location = {"Location": f"{elsewhere.url}/v1/users"}
    server._add(Fault(path, FOREVER, 0, answer=Answer(302, b"", location)))
    before = landed_rows(landed_before)
    assert_refused(land_by_command(landed_before, **environment(server)), "leads elsewhere")
    assert elsewhere.requests == []
    assert_no_log_is_landed(landed_before, before, path)


def newest_first(account: Account) -> list[int]:
    """Return the deals in the order in which their logs are read."""
    return sorted(account.deals, key=lambda deal: (account.deals[deal]["add_time"], deal))[::-1]


@pytest.mark.again_on("duckdb")
def test_what_was_read_before_a_failure_is_landed_and_not_read_again(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    server, deals = serve(account), newest_first(account)
    server.fail(f"/v1/deals/{deals[8]}/", 402, FOREVER)
    assert_refused(land_by_command(warehouse, **environment(server)), "402")
    asked = set(changelogs(server))
    assert set(deals[:9]) <= asked <= set(deals[:12])
    landed = {row[0] for row in landed_rows(warehouse)["deal_changes"]}
    assert landed == asked - {deals[8]}
    assert {row[3] for row in landed_rows(warehouse)["activity"]} <= landed
    server.forget()
    done = land_by_command(warehouse, **environment(server))
    assert done.code == 0, done.err
    assert sorted(set(changelogs(server))) == sorted(set(deals) - landed)
    lists = [request for request in server.requests if request.path.startswith("/v2/deals")]
    assert lists and all("updated_since" in request.params for request in lists)
    assert_raw_is(warehouse, account)


# --- kill -9 --------------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_landing_that_is_killed_goes_on_and_what_it_had_read_is_landed(
    gateway: str, serve: Serve, lander: Lander, new_warehouse: Callable[..., Warehouse]
) -> None:
    """Kill one that finds changes of all deals, at its start, halfway, and while it publishes."""
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    server = serve(account)
    assert lander.land(warehouse, **environment(server)).code == 0

    def give_reasons(reason: str) -> None:
        for deal in account.deals:
            account.give_reason(deal, account.now + timedelta(hours=len(reason)), reason)

    def kill(requests: int = 0, dying: str = "") -> set[int]:
        """Land and be killed; return the deals whose logs were asked for."""
        server.forget()
        if requests:
            server.after(requests, lander.kill)
        done = lander.land(warehouse, dying=dying, **environment(server))
        assert done.code == KILLED, done.err
        wait_until_free(warehouse)
        return set(changelogs(server))

    def deals_with(reason: str) -> set[int]:
        changes = landed_rows(warehouse)["deal_changes"]
        return {row[0] for row in changes if row[2:] == ("lost_reason", reason)}

    before = landed_rows(warehouse)
    give_reasons("later")
    assert kill(requests=3) == set()
    begun = kill(requests=LISTS + 9)
    assert 9 <= len(begun) < DEALS
    assert landed_rows(warehouse) == before
    assert kill(requests=3) == set()
    kept = deals_with("later")  # landed at the start
    assert kept <= begun and len(begun - kept) <= 4  # these were on their way
    assert kill(dying="die_before_publishing") == set(account.deals) - kept
    before = landed_rows(warehouse)
    assert kill(dying="die_while_publishing") == set()
    assert landed_rows(warehouse) == before
    server.forget()
    done = lander.land(warehouse, **environment(server))
    assert done.code == 0, done.err
    assert "The last landing was stopped. What it had read is landed" in done.out
    assert changelogs(server) == []
    assert_raw_is(warehouse, account)


@pytest.mark.faults
def test_a_first_landing_that_is_killed_leaves_no_raw_tables(
    serve: Serve, lander: Lander, warehouse: Warehouse
) -> None:
    server = serve()
    server.after(LISTS + 8, lander.kill)
    assert lander.land(warehouse, **environment(server)).code == KILLED
    assert landed_rows(warehouse) == {}
    wait_until_free(warehouse)
    done = lander.land(warehouse, **environment(server))
    assert done.code == 0, done.err
    assert_raw_is(warehouse, server.account)


# --- trying, and the mapping of steps -------------------------------------------------------------


def relations(warehouse: Warehouse) -> set[Row]:
    """Return the schemas and tables of a database."""
    with landing_database(warehouse) as database:
        return {
            *database.adapter.fetchall("SELECT schema_name FROM information_schema.schemata"),
            *database.adapter.fetchall(
                "SELECT table_schema, table_name FROM information_schema.tables"
            ),
        }


@pytest.mark.again_on("duckdb")
def test_a_dry_run_says_what_a_landing_costs_and_writes_nothing(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, server = new_warehouse(gateway, core=True), serve()
    before = relations(warehouse)
    server.give_tokens(1_000)
    done = land_by_command(warehouse, "--dry-run", **environment(server))
    assert done.code == 0, done.err
    assert "Nothing was written" in done.out
    assert relations(warehouse) == before
    look = server.tokens_spent
    assert f"This look has cost {look}." in flat(done.out)
    assert not server.paths("/v1/deals/")
    cost = said_number(r"costs about ([\d,]+) tokens, 24 change logs", done)
    assert "Of 1,000 tokens a day, landings may spend 700: that takes 1 day" in flat(done.out)
    server.give_tokens(10_000)
    landed = land_by_command(warehouse, **environment(server))
    # As many activities as their highest id may be there; that one log has two pages shows later
    pages_too_many = max(server.account.activities) // 500
    assert cost == server.tokens_spent + 10 * pages_too_many - 20
    assert f"{server.tokens_spent:,} tokens spent" in landed.out
    wrong = environment(server, PIPEDRIVE_API_TOKEN="wrong")
    assert_refused(land_by_command(warehouse, "--dry-run", **wrong), "PIPEDRIVE_API_TOKEN")


def flat(text: str) -> str:
    """Return a text of the terminal on one line."""
    return " ".join(text.split())


def said_number(pattern: str, done: Done) -> int:
    match = re.search(pattern, flat(done.out))
    assert match, done.out
    return int(match[1].replace(",", ""))


def test_a_dry_run_after_a_landing_counts_what_has_changed(
    serve: Serve, warehouse: Warehouse
) -> None:
    server, states = serve(), restated(random_account(1, DEALS))
    land(warehouse, server)
    server.account.advance(3)
    let_days_pass(warehouse)
    changed = len(restated(server.account, states))
    before = {*stored_texts(warehouse)}
    done = land_by_command(warehouse, "--dry-run", **environment(server))
    assert said_number(r"([\d,]+) change logs included", done) == changed
    assert "Set PIPEDRIVE_DAILY_TOKENS to know how many days" in flat(done.out)
    full = land_by_command(warehouse, "--dry-run", "--full", **environment(server))
    assert said_number(r"([\d,]+) change logs included", full) == len(server.account.deals)
    told = environment(server, PIPEDRIVE_DAILY_TOKENS="500", PIPEDRIVE_TOKEN_RESERVE="400")
    days = said_number(r"that takes ([\d,]+) days", land_by_command(warehouse, "--dry-run", **told))
    assert days == -(-said_number(r"costs about ([\d,]+) tokens", done) // 100)
    assert {*stored_texts(warehouse)} == before


@pytest.mark.again
def test_suggested_steps_are_the_stages_of_the_pipeline_in_their_order(
    serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse("duckdb", core=True, **LANDED)
    account = random_account(1, DEALS)
    server, steps = serve(account), warehouse.path / "seeds" / "funnel_steps.csv"
    before = relations(warehouse)
    first, second = (row for row in account.stages if row["id"] in (11, 13))
    first["order_nr"], second["order_nr"] = second["order_nr"], first["order_nr"]
    previous = steps.read_text()

    variables = environment(server, PIPEDRIVE_PIPELINE_ID="2")
    done = land_by_command(warehouse, "--suggest-steps", **variables)
    assert done.code == 0, done.err
    outside = ", ".join(str(row["id"]) for row in account.stages if row["pipeline_id"] != PARTNERS)
    hint = f"  echo \"SQLMESH__VARIABLES__STAGES_OUTSIDE_FUNNEL='{outside}'\" >> .env"
    assert hint in done.out.splitlines()
    assert steps.read_text(encoding="utf-8").splitlines() == [
        "funnel_step,kpi_name,source,key",
        "1,Step 1: Partner 🤝,stage,13",
        '2,"Step 2: Vertrag, zweifach",stage,12',
        "2.1,Step 2.1: Sales Call 1,activity,meeting",
        "3,Step 3: Anfrage – geprüft,stage,11",
        "3.1,Step 3.1: Sales Call 2,activity,sc_2",
    ]
    assert (steps.parent / "funnel_steps.previous.csv").read_text() == previous
    assert relations(warehouse) == before

    check = subprocess.run(
        [sys.executable, "-m", "pipedrive_funnel", "check"],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings,  # the models read what is landed
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stdout + check.stderr
    land(warehouse, server, now(), pipeline_id=PARTNERS)
    assert_built(warehouse.plan("prod"))
    found = {step for _, step in prod_of(warehouse).report}
    assert found <= {"1", "2", "2.1", "3", "3.1"} and {"2", "3"} <= found


def test_suggested_steps_of_the_sample_company_are_its_steps(serve: Serve) -> None:
    """Of nine stages and a deleted one; the seeds map this company."""
    steps = read_export(PROJECT / "seeds")["funnel_steps"]
    suggested = api.suggest_steps(api.Settings(TOKEN, serve().url, SALES))
    assert suggested.steps == [*steps.itertuples(index=False, name=None)]


@pytest.mark.parametrize(("chosen", "words"), [("", "several pipelines"), ("7", "no pipeline 7")])
def test_pipelines_are_listed_when_none_of_them_is_chosen(
    chosen: str, words: str, serve: Serve, warehouse: Warehouse
) -> None:
    seeds = warehouse.path / "seeds"
    before = {path: path.read_bytes() for path in seeds.iterdir()}
    variables = environment(serve(), PIPEDRIVE_PIPELINE_ID=chosen)
    done = land_by_command(warehouse, "--suggest-steps", **variables)
    assert_refused(done, words, "1 (Lead Generation, ", "2 (Anfrage – geprüft, ")
    assert {path: path.read_bytes() for path in seeds.iterdir()} == before


def test_the_summary_counts_every_row(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(lists_deleted_activities=True)
    done = land_by_command(warehouse, **environment(server))
    assert done.code == 0 and done.err == ""
    export, activities = server.account.export(), server.account.activities.values()
    lines = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    for name in EXPORT_TABLES:
        rows = str(len(export[name]))
        assert lines[name] == [rows, rows, "0", "0", "0", "0"], name
    deleted = sum(row["is_deleted"] for row in activities)
    loose = sum(row["deal_id"] is None and not row["is_deleted"] for row in activities)
    assert f"not landed: {deleted} deleted activities" in done.out
    assert f"not landed: {loose} activities without a deal" in done.out
    assert f"{server.url}\n" in done.out
