"""From Pipedrive's API to the report, against a server that answers as Pipedrive does.

The account writes down the truth beside what its API says. Whatever goes wrong on the way, the raw
tables hold that truth after a landing, or what they held before.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.land import land_mirror
from pipedrive_funnel.landing.publish import Change, TooManyRemovals
from pipedrive_funnel.warehouse import DatabaseError
from tests.support.command import Done, run_command
from tests.support.landed import LANDED
from tests.support.landing import TABLES, Row, State, landing_database, raw_state
from tests.support.oracle import Funnel, funnel, modelled_funnel, read_export
from tests.support.pipedrive_account import PARTNERS, SALES, Account, random_account
from tests.support.pipedrive_server import Answer, Fault, PipedriveServer
from tests.support.warehouse import EXPORT_TABLES, PROJECT, Outcome, Warehouse

TOKEN = "5ec7e7f00d5ec7e7f00d5ec7e7f00d5ec7e7f00d"
DEALS = 24  # enough for all cases that an account must have
LONG_AGO = datetime(2025, 1, 1)
LISTS = 7  # requests before the first change log, where every list fits on a page
FOREVER = 1_000  # times


# --- servers and settings -------------------------------------------------------------------------

Serve = Callable[..., PipedriveServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves an account, a small one unless given."""
    servers: list[PipedriveServer] = []

    def serve(account: Account | None = None, **options: t.Any) -> PipedriveServer:
        servers.append(PipedriveServer(account or random_account(1, DEALS), TOKEN, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def warehouse(new_warehouse: Callable[..., Warehouse]) -> Warehouse:
    """Give an empty DuckDB file, for what does not depend on the engine."""
    return new_warehouse("duckdb", core=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and let nobody's own account in."""
    for name in [name for name in os.environ if name.startswith("PIPEDRIVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")


def changelogs(server: PipedriveServer) -> list[int]:
    """Return the deals whose change log was asked for, page by page."""
    return [int(path.split("/")[3]) for path in server.paths("/v1/deals/")]


def pauses(server: PipedriveServer, prefix: str) -> list[float]:
    """Return the seconds between requests to paths that begin so."""
    times = [request.time for request in server.requests if request.path.startswith(prefix)]
    return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


# --- landing, and the raw tables ------------------------------------------------------------------


@dataclass(frozen=True)
class Landed:
    """What a landing says that it did: rows read by list, changes by table, rows left out."""

    read: dict[str, int]
    changes: dict[str, Change]
    skipped: dict[str, int]

    @property
    def rows(self) -> int:
        """The rows that were landed or removed."""
        return sum(change.landed + change.removed for change in self.changes.values())


def land(
    warehouse: Warehouse,
    server: PipedriveServer,
    at: datetime = LONG_AGO,
    *,
    pipeline_id: int | None = None,
    url: str | None = None,
    full: bool = False,
    **options: bool,
) -> Landed:
    """Land what a server has, in this process."""
    settings = api.Settings(TOKEN, url or server.url, pipeline_id)
    with landing_database(warehouse) as database:
        replace = options.get("replace", False)
        read = api.mirror(
            settings, database, full=full, replace=replace, report=lambda name, rows: None
        )
        return Landed(read, *land_mirror(database, TABLES, settings, at, **options))


def plain(value: t.Any) -> t.Any:
    """Return a value of pandas or of a database as Python's own."""
    if value is None or pd.isna(value):
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def comparable(table: str, row: t.Iterable[t.Any]) -> Row:
    """Return a row of a table; of JSON counts what it says, not how it is written."""
    *others, last = map(plain, row)
    if table == "fields" and last is not None:
        last = tuple((option["id"], option["label"]) for option in json.loads(last))
    return *others, last


def landed_rows(warehouse: Warehouse) -> State:
    """Return the raw tables that are there, in rows that can be compared."""
    return {
        name: {comparable(name, row): at for row, at in rows.items()}
        for name, rows in raw_state(warehouse).items()
    }


def truth(account: Account, pipeline_id: int | None = None) -> dict[str, set[Row]]:
    """Return the rows that the raw tables must hold."""
    export = account.export(pipeline_id)
    return {
        name: {comparable(name, row) for row in table.astype(object).itertuples(index=False)}
        for name, table in export.items()
    } | {"rejected_rows": set()}


def rows_of(state: State) -> dict[str, set[Row]]:
    return {name: set(rows) for name, rows in state.items()}


def assert_raw_is(warehouse: Warehouse, account: Account, pipeline_id: int | None = None) -> None:
    found, expected = rows_of(landed_rows(warehouse)), truth(account, pipeline_id)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert found[name] == rows, name


def landed_at(state: State, at: datetime) -> dict[str, set[Row]]:
    """Return the rows that were landed at a time."""
    return {name: {row for row in rows if rows[row] == at} for name, rows in state.items()}


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


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
    before = landed_rows(warehouse)
    logged = account.advance(8)
    company.land(at)
    assert logged <= account.touched
    assert set(changelogs(company.server)) == account.touched
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
    assert landed.read["activities"] == len(server.account.activities)
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
    """Ten times: while users, pages of activities, of deals, and of change logs are read."""
    account = random_account(3, 40)
    server = serve(account, page_size=9)
    seeds = iter(range(10))
    for requests in (1, 4, 9, 12, 15, 17, 19, 21, 30, 40):
        server.after(requests, lambda: account.advance(next(seeds)))
    land(warehouse, server)
    assert next(seeds, None) is None, "the landing has ended before the last change"
    land(warehouse, server)
    assert_raw_is(warehouse, account)


def test_a_deal_archived_between_the_lists_is_one_deal(serve: Serve, warehouse: Warehouse) -> None:
    account = random_account(3, DEALS)
    server = serve(account)
    deal = next(key for key, row in account.deals.items() if not row["is_archived"])
    before_archived = LISTS - 1
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
    server = serve()
    land(warehouse, server)
    delete_activities(server.account)
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)


def test_deleted_activities_that_are_not_listed_leave_with_a_full_landing(
    serve: Serve, warehouse: Warehouse
) -> None:
    server = serve(lists_deleted_activities=False)
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    delete_activities(server.account)
    assert land(warehouse, server).rows == 0
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
    assert changelogs(server) == [deal]
    assert_raw_is(warehouse, account)


def test_a_404_that_is_not_pipedrives_is_no_missing_log(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(random_account(1, DEALS))
    server.answer_garbage("/v1/deals/", times=FOREVER, status=404)
    with pytest.raises(api.ApiError, match="404 for GET"):
        land(warehouse, server)
    assert landed_rows(warehouse) == {}


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


def test_a_rate_limit_is_kept_over_a_whole_landing(serve: Serve, warehouse: Warehouse) -> None:
    server = serve(page_size=40)
    server.limit_rate(18, 1)
    start = time.monotonic()
    land(warehouse, server)
    assert_raw_is(warehouse, server.account)
    refused = [request for request in server.requests if request.status == 429]
    assert 0 < len(refused) <= len(server.requests) / 3  # they wait, and do not hammer
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

BATCH = 8  # change logs


def land_by_command(warehouse: Warehouse, *arguments: str, **variables: str) -> Done:
    """Do what `python -m pipedrive_funnel land api` does, with small batches of change logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "BATCH", BATCH)
        return run_command(warehouse, "land", "api", *arguments, **variables)


def environment(server: PipedriveServer, **variables: str) -> dict[str, str]:
    """Return the variables that a landing from a server needs."""
    return {
        "PIPEDRIVE_API_TOKEN": TOKEN,
        "PIPEDRIVE_API_URL": server.url,
        "PIPEDRIVE_PIPELINE_ID": "",
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
    } | variables


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
    assert landed_rows(landed_before) == before


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
    "limit": (lambda server, path: server.fail(path, 429, FOREVER), ["limit"]),
    "day's limit": (
        lambda server, path: server.fail(path, 429, FOREVER, retry_after=40_000),
        ["limit"],
    ),
    "dropping": (
        lambda server, path: server.close_connection(path, FOREVER),
        ["cannot be reached"],
    ),
    "stalling": (lambda server, path: server.stall(path, 9, FOREVER), ["not answer in time"]),
}
ATTEMPTS = {"failing": 5, "limit": 5, "dropping": 5, "stalling": 5}  # of others one


@pytest.mark.parametrize("fault", LASTING)
def test_a_failure_that_stays_is_said_after_some_attempts(
    fault: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_TIMEOUT", "0.2")
    server = serve()
    fail, words = LASTING[fault]
    fail(server, "/v1/users")
    with pytest.raises(api.ApiError) as raised:
        api.check(api.Settings(TOKEN, server.url, None))
    assert all(word in str(raised.value) for word in words)
    assert TOKEN not in str(raised.value)
    assert len(server.paths("/v1/users")) == ATTEMPTS.get(fault, 1)


@pytest.mark.parametrize("fault", ATTEMPTS)
def test_a_failure_that_stays_ends_a_landing_and_changes_nothing(
    fault: str, serve: Serve, landed_before: Warehouse, account: Account
) -> None:
    server, before = serve(account), landed_rows(landed_before)
    fail, words = LASTING[fault]
    fail(server, "/v1/deals/")
    done = land_by_command(landed_before, **environment(server), RUNTIME__REQUEST_TIMEOUT="0.2")
    assert_refused(done, *words)
    assert TOKEN not in done.out + done.err
    assert landed_rows(landed_before) == before
    logs = server.paths("/v1/deals/")
    assert max(map(logs.count, logs)) == ATTEMPTS[fault]


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
    assert landed_rows(landed_before) == before


def test_what_was_read_before_a_failure_is_not_read_again(
    serve: Serve, warehouse: Warehouse
) -> None:
    account = random_account(1, DEALS)
    server, deals = serve(account), sorted(account.deals)
    server.fail(f"/v1/deals/{deals[BATCH]}/", 500, FOREVER)
    assert_refused(land_by_command(warehouse, **environment(server)), "500")
    assert landed_rows(warehouse) == {}
    server.forget()
    done = land_by_command(warehouse, **environment(server))
    assert done.code == 0, done.err
    assert sorted(set(changelogs(server))) == deals[BATCH:]
    lists = [request for request in server.requests if request.path.startswith("/v2/deals")]
    assert lists and all("updated_since" in request.params for request in lists)
    assert_raw_is(warehouse, account)


# --- kill -9 --------------------------------------------------------------------------------------

KILLED = -signal.SIGKILL

# Lands in children of its own, which are ready at once: exit code and output are the command's.
LANDER = """
import json, os, signal, sys

import dlt.sources.rest_api
import dlt.destinations.impl.duckdb.duck, dlt.destinations.impl.postgres.postgres
from sqlmesh.core.engine_adapter import EngineAdapter

from pipedrive_funnel.__main__ import main
from pipedrive_funnel.landing import command
from pipedrive_funnel.landing.api import mirror as api


def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_publishing():
    command.land_mirror = die


def die_while_publishing(execute=EngineAdapter.execute):
    def dying(self, sql, *args, **options):
        execute(self, sql, *args, **options)
        if str(sql).startswith("INSERT INTO pipedrive_raw.deal_changes "):
            die()

    EngineAdapter.execute = dying


for line in sys.stdin:
    arguments, environment, death, batch = json.loads(line)
    child = os.fork()
    if not child:
        signal.alarm(100)
        for number, name in enumerate(("stdout", "stderr"), start=1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ.update(environment)
        api.BATCH = batch
        if death:
            globals()[death]()
        try:
            code = main(arguments)
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 99
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Lander:
    """A process that lands in any database.

    Attributes:
        path: the copy of the project in which it works.
        process: it.
        child: the landing at work.

    """

    path: Path
    process: subprocess.Popen[str]
    child: int = 0
    _ready: threading.Event = field(default_factory=threading.Event)

    def land(
        self,
        warehouse: Warehouse,
        *arguments: str,
        dying: str = "",
        **variables: str,
    ) -> Done:
        """Do what `python -m pipedrive_funnel land api` does."""
        warehouse.close()
        arguments = ("land", "api", *arguments, "--gateway", warehouse.gateway)
        assert self.process.stdin and self.process.stdout
        self._ready.clear()
        job = [arguments, warehouse.settings | variables, dying, BATCH]
        print(json.dumps(job), file=self.process.stdin, flush=True)
        self.child = int(self.process.stdout.readline())
        self._ready.set()
        code = int(self.process.stdout.readline())
        return Done(code, *((self.path / name).read_text() for name in ("stdout", "stderr")))

    def kill(self) -> None:
        """Kill the landing at work."""
        self._ready.wait()
        os.kill(self.child, signal.SIGKILL)


@pytest.fixture(scope="module")
def lander(
    new_warehouse: Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lander]:
    path = new_warehouse("duckdb", core=True).path
    process = subprocess.Popen(
        [sys.executable, "-c", LANDER],
        cwd=path,
        env=os.environ | {"TMPDIR": str(tmp_path_factory.mktemp("left_by_the_killed"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Lander(path, process)
        assert process.stdin
        process.stdin.close()


def wait_until_free(warehouse: Warehouse) -> None:
    """Wait until PostgreSQL has seen that the killed process is gone."""
    for _ in range(200):
        with suppress(DatabaseError), landing_database(warehouse):
            return
        time.sleep(0.05)
    pytest.fail("the killed landing still has the database")


@pytest.mark.faults
def test_a_landing_that_is_killed_leaves_the_raw_tables_and_goes_on(
    gateway: str, serve: Serve, lander: Lander, new_warehouse: Callable[..., Warehouse]
) -> None:
    """Kill one that finds changes of all deals, four times, each time further on."""
    warehouse, account = new_warehouse(gateway, core=True), random_account(1, DEALS)
    server, deals = serve(account), sorted(account.deals)
    assert lander.land(warehouse, **environment(server)).code == 0
    before = landed_rows(warehouse)
    for deal in deals:
        account.give_reason(deal, account.now + timedelta(hours=1), "later")

    def kill(requests: int = 0, dying: str = "") -> set[int]:
        """Land and be killed; return the deals whose logs were asked for."""
        server.forget()
        if requests:
            server.after(requests, lander.kill)
        done = lander.land(warehouse, dying=dying, **environment(server))
        assert done.code == KILLED, done.err
        wait_until_free(warehouse)
        assert landed_rows(warehouse) == before
        return set(changelogs(server))

    assert kill(requests=3) == set()
    # One log has two pages: these are all of the first batch, and at least one of the second
    begun = kill(requests=LISTS + BATCH + 2)
    assert set(deals[:BATCH]) < begun <= set(deals[: 2 * BATCH])
    assert kill(dying="die_before_publishing") == set(deals[BATCH:])
    assert kill(dying="die_while_publishing") == set()
    server.forget()
    done = lander.land(warehouse, **environment(server))
    assert done.code == 0, done.err
    assert changelogs(server) == []
    assert_raw_is(warehouse, account)


@pytest.mark.faults
def test_a_first_landing_that_is_killed_leaves_no_raw_tables(
    serve: Serve, lander: Lander, warehouse: Warehouse
) -> None:
    server = serve()
    server.after(LISTS + BATCH, lander.kill)
    assert lander.land(warehouse, **environment(server)).code == KILLED
    assert landed_rows(warehouse) == {}
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


def test_a_dry_run_reads_a_little_and_writes_nothing(
    gateway: str, serve: Serve, new_warehouse: Callable[..., Warehouse]
) -> None:
    warehouse, server = new_warehouse(gateway, core=True), serve()
    before = relations(warehouse)
    done = land_by_command(warehouse, "--dry-run", **environment(server))
    assert done.code == 0, done.err
    assert "Nothing was written" in done.out
    assert relations(warehouse) == before
    assert not [path for path in server.paths() if "deals" in path or "activities" in path]
    wrong = environment(server, PIPEDRIVE_API_TOKEN="wrong")
    assert_refused(land_by_command(warehouse, "--dry-run", **wrong), "PIPEDRIVE_API_TOKEN")


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
    assert suggested == [*steps.itertuples(index=False, name=None)]


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
    server = serve()
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
