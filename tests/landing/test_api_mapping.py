"""The mapping of Pipedrive's API onto the contract, case by case; accounts as a whole elsewhere."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import duckdb
import pytest
import sqlglot

from pipedrive_funnel.contract import read_tables
from pipedrive_funnel.landing.api import mirror as api
from pipedrive_funnel.landing.api.settings import ApiError, Reserve, Settings
from pipedrive_funnel.landing.api.tables import (
    CHANGELOG,
    ENDPOINTS,
    TABLES,
    convert,
    convert_log,
    plain,
)
from tests.support.warehouse import PROJECT

LANDING = PROJECT / "docs" / "landing.md"
SQL_TYPES = {"decimal": "DECIMAL(18, 3)", "json": "TEXT"}  # where they are not called so

DEAL = {
    **{"id": 7, "owner_id": 42, "pipeline_id": 1, "stage_id": 5, "title": "not needed"},
    **{"add_time": "2024-01-01T10:00:00Z", "update_time": "2024-02-01T10:00:00Z"},
}
LATER = "2024-01-02 08:00:00"


def change(field_key: str, old: object, new: object, time: str = LATER) -> dict:
    return {"field_key": field_key, "old_value": old, "new_value": new, "time": time}


def mirrored(name: str, row: dict) -> dict:
    """Return the row of the mirror that becomes of one of the API."""
    rows, rejects, odd_values = convert([row], ENDPOINTS[name])
    assert (rejects, odd_values) == ({}, [])
    (found,) = rows.values()
    return found


def changes_of(log: list[dict] | None, pipeline_id: int | None = None, **deal: object) -> list:
    """Return (field, value, time) that become of a deal and its log, the newest change first."""
    rows = {
        "deals": [mirrored("deals", DEAL | deal)],
        "changelogs": [],
        "logs": [],
        "stages": [{"id": id, "name": f"{id}", "pipeline_id": 1 + id // 10} for id in range(1, 20)],
    }
    if log is not None:
        (listed,) = rows["deals"]
        rows["changelogs"], rejects = convert_log(log, CHANGELOG.at(deal=7), 7)
        assert rejects == []
        state = {name: listed[name] for name in ("stage_id", "owner_id")}
        rows["logs"].append({"deal_id": 7, "read_at": LATER} | state)
    connection = duckdb.connect()
    connection.execute(f"CREATE SCHEMA {api.MIRROR}")
    logs = {"deal_id": "bigint", "read_at": "timestamp", "stage_id": "bigint", "owner_id": "bigint"}
    for table, columns in {**TABLES, "logs": logs}.items():
        types = ", ".join(
            f"{name} {SQL_TYPES.get(plain(kind), plain(kind))}" for name, kind in columns.items()
        )
        connection.execute(f"CREATE TABLE {api.MIRROR}.{table} ({types})")
        for row in rows.get(table, []):
            marks = ", ".join("?" for _ in row)
            connection.execute(
                f"INSERT INTO {api.MIRROR}.{table} ({', '.join(row)}) VALUES ({marks})",
                [*row.values()],
            )
    query = api.contract_queries(Settings("token", "url", pipeline_id))["deal_changes"]
    (query,) = sqlglot.transpile(query, read="postgres", write="duckdb")
    found = connection.execute(query).fetchall()
    assert {row[0] for row in found} <= {7}
    return sorted((key, value, f"{time}") for _, time, key, value in found if key != "add_time")


CREATED = "2024-01-01 10:00:00"
FIRST_OWNER = ("user_id", "42", CREATED)


def test_deal_that_never_moved_begins_where_it_is() -> None:
    assert changes_of([]) == [("stage_id", "5", CREATED), FIRST_OWNER]


def test_deal_without_a_log_is_left_out() -> None:
    assert changes_of(None) == []


def test_first_values_are_the_old_values_of_the_first_changes() -> None:
    log = [
        change("stage_id", "3", "5", "2024-01-05 08:00:00"),
        change("owner_id", 41, 42),
        change("stage_id", "1", "3"),
        change("title", "a", "b"),
    ]
    assert changes_of(log) == [
        ("stage_id", "1", CREATED),
        ("stage_id", "3", LATER),
        ("stage_id", "5", "2024-01-05 08:00:00"),
        ("user_id", "41", CREATED),
        ("user_id", "42", LATER),
    ]


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_changes_in_one_second_the_first_is_found_in_any_order(newest_first: bool) -> None:
    log = [change("stage_id", "2", "3"), change("stage_id", "1", "2")]
    found = changes_of(log if newest_first else log[::-1])
    assert [row for row in found if row[2] == CREATED] == [("stage_id", "1", CREATED), FIRST_OWNER]


def test_there_and_back_in_one_second_goes_by_delivery() -> None:
    log = [change("stage_id", "2", "1"), change("stage_id", "1", "2")]
    assert ("stage_id", "1", CREATED) in changes_of(log)
    assert ("stage_id", "2", CREATED) not in changes_of(log)


def test_field_that_was_empty_at_first_has_no_first_value() -> None:
    log = [change("stage_id", None, "1", CREATED), change("user_id", "", "42")]
    assert changes_of(log) == [("stage_id", "1", CREATED), ("user_id", "42", LATER)]


def test_change_that_is_delivered_twice_is_one_row() -> None:
    log = [change("lost_reason", None, "N/A"), change("lost_reason", None, "N/A")]
    assert changes_of(log)[0] == ("lost_reason", "N/A", LATER)
    assert len(changes_of(log)) == 3


def test_deal_belongs_to_each_pipeline_it_ever_was_in() -> None:
    log = [change("stage_id", "11", "5")]
    assert changes_of(log, 1) == changes_of(log, 2) == changes_of(log)
    assert changes_of([], 2) == []
    assert changes_of([], 1) == changes_of([])


@pytest.mark.parametrize(
    ("day", "time", "due_to"),
    [
        ("2024-02-29", "09:30", "2024-02-29T09:30:00Z"),
        ("2024-02-29", "23:59:59", "2024-02-29T23:59:59Z"),
        ("2024-02-29", "", "2024-02-29T00:00:00Z"),
        ("2024-02-29", None, "2024-02-29T00:00:00Z"),
        (None, "09:30", None),
    ],
)
def test_due_date_and_time_become_one(day: str, time: str, due_to: str) -> None:
    activity = {"id": 1, "done": False, "update_time": "2024-01-01T00:00:00Z"}
    row = mirrored("activities", {**activity, "due_date": day, "due_time": time})
    assert row["due_to"] == due_to


def test_times_become_utc_and_texts_storable() -> None:
    user = mirrored(
        "users", {"id": "1", "name": "a\0b\ud800", "modified": "2024-01-01T00:30:00+01:00"}
    )
    assert user == {"id": 1, "name": "ab?", "email": None, "modified": "2023-12-31T23:30:00Z"}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("add_time", None, "add_time is empty. Correct it in Pipedrive."),
        ("stage_id", "one", "stage_id is no whole number. Correct it in Pipedrive."),
        ("pipeline_id", 2**63, "pipeline_id is no whole number. Correct it in Pipedrive."),
    ],
)
def test_field_that_does_not_fit_is_named_and_the_other_rows_stay(
    field: str, value: object, reason: str
) -> None:
    rows, rejects, _ = convert([{**DEAL, field: value}, DEAL | {"id": 8}], ENDPOINTS["deals"])
    assert [*rows] == [8]
    (reject,) = rejects.values()
    assert (reject.table_name, reject.file_name) == ("deal_changes", "v2/deals")
    assert (reject.column_name, reject.reason) == (field, reason)
    assert '"id": 7' in reject.raw_text and "not needed" not in reject.raw_text


def test_change_without_a_time_is_put_aside() -> None:
    log = [change("stage_id", 1, 2, ""), change("stage_id", "x", 2), change("lost_reason", 1, 2)]
    rows, rejects = convert_log(log, CHANGELOG.at(deal=7), 7)
    assert [row["field_key"] for row in rows] == ["lost_reason"]
    assert [reject.column_name for reject in rejects] == ["time", "old_value"]
    assert {reject.file_name for reject in rejects} == {"v1/deals/7/changelog"}


def test_won_and_lost_are_changes_like_others() -> None:
    """What a deal was at first is not said of them: it was open."""
    log = [change("status", "open", "won")]
    (added,) = {*changes_of(log)} - {*changes_of([])}
    assert added[:2] == ("status", "won")


@pytest.mark.parametrize("domain", ["acme", "Acme.pipedrive.com", "https://acme.pipedrive.com/"])
def test_company_domain_is_taken_as_people_give_it(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", "secret")
    monkeypatch.setenv("PIPEDRIVE_COMPANY_DOMAIN", domain)
    monkeypatch.delenv("PIPEDRIVE_API_URL", raising=False)
    for name in ("PIPELINE_ID", "DAILY_TOKENS", "TOKEN_RESERVE", "BURST"):
        monkeypatch.delenv(f"PIPEDRIVE_{name}", raising=False)
    settings = Settings.from_environment()
    assert settings == Settings("secret", "https://acme.pipedrive.com/api", None)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIPEDRIVE_API_TOKEN", ""),
        ("PIPEDRIVE_API_TOKEN", "sec\nret"),
        ("PIPEDRIVE_COMPANY_DOMAIN", ""),
        ("PIPEDRIVE_COMPANY_DOMAIN", "acme.example.org"),
        ("PIPEDRIVE_API_URL", "acme.pipedrive.com"),
        ("PIPEDRIVE_PIPELINE_ID", "Sales"),
        ("PIPEDRIVE_DAILY_TOKENS", "0"),
        ("PIPEDRIVE_BURST", "0"),
        ("PIPEDRIVE_TOKEN_RESERVE", "101%"),
        ("PIPEDRIVE_TOKEN_RESERVE", "some"),
    ],
)
def test_variable_that_is_no_use_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", "secret")
    monkeypatch.setenv("PIPEDRIVE_COMPANY_DOMAIN", "acme")
    monkeypatch.delenv("PIPEDRIVE_API_URL", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ApiError, match=name) as raised:
        Settings.from_environment()
    assert "sec" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reserve"), [("", 9_000), ("30%", 9_000), ("50 %", 15_000), ("0", 0), ("4000", 4_000)]
)
def test_reserve_is_a_share_or_a_number(
    text: str, reserve: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", "secret")
    monkeypatch.setenv("PIPEDRIVE_COMPANY_DOMAIN", "acme")
    monkeypatch.setenv("PIPEDRIVE_TOKEN_RESERVE", text)
    assert Settings.from_environment().reserve.of(30_000) == reserve
    assert Reserve().of(20_000) == 6_000


def test_every_column_is_documented_with_the_field_it_comes_from() -> None:
    documented = re.findall(r"^\| `(\w+\.\w+)` \|", LANDING.read_text(), re.MULTILINE)
    contract = [
        f"{table.name}.{column}"
        for table in read_tables().values()
        if table.has_file
        for column in table.data_columns
    ]
    assert sorted(documented) == sorted(contract)


def test_an_update_in_the_future_hides_no_later_ones() -> None:
    """What is read next begins at the latest update that is known."""
    row = mirrored("deals", DEAL | {"update_time": "2999-01-01T00:00:00Z"})
    assert "2026" <= row["update_time"][:19] <= datetime.now(UTC).isoformat()[:19]


def test_a_due_date_of_long_ago_is_one() -> None:
    activity = {
        **{"id": 1, "type": "call", "owner_id": 1, "deal_id": 1, "done": True, "is_deleted": False},
        **{"due_date": "0024-05-01", "due_time": "", "update_time": "2024-01-01T00:00:00Z"},
    }
    assert mirrored("activities", activity)["due_to"] == "0024-05-01T00:00:00Z"


@pytest.mark.parametrize("number", [2**63, 2**80, "one", None])
def test_a_row_without_an_id_is_none_of_the_api(number: object) -> None:
    with pytest.raises(ApiError, match="v2/deals has a row whose id is"):
        convert([DEAL | {"id": number}], ENDPOINTS["deals"])


def test_a_change_to_no_stage_or_owner_is_left_out() -> None:
    log = [change("user_id", 42, None), change("stage_id", 5, -1, "2024-01-03 08:00:00")]
    assert changes_of(log) == [("stage_id", "5", CREATED), FIRST_OWNER]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("value", 1250.5, "1250.500"),
        ("value", "99.9999", "100.000"),
        ("value", 0, "0.000"),
        ("value", None, None),
        ("probability", 35, 35),
        ("probability", 100, 100),
        ("status", "deleted", "deleted"),
        ("status", "won", "won"),
        ("currency", "", None),
        ("expected_close_date", "2024-05-01", "2024-05-01T00:00:00Z"),
        ("won_time", "2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z"),
        ("custom_fields", {"a": "ü"}, '{"a": "ü"}'),
    ],
)
def test_what_a_deal_is_worth_is_kept(field: str, value: object, expected: object) -> None:
    assert mirrored("deals", DEAL | {field: value})[field] == expected


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("value", "1e400", "is no amount"),
        ("value", float("inf"), "is no amount"),
        ("value", 10**15, "is no amount"),
        ("value", True, "is no amount"),
        ("probability", 12.5, "is no whole number"),
        ("probability", 101, "is not whole per cent from 0 to 100, such as 35"),
        ("probability", -1, "is not whole per cent from 0 to 100, such as 35"),
        ("expected_close_date", "soon", "is no time"),
        ("expected_close_date", "9999-12-31", None),
        ("won_time", 20240501, "is no time"),
        ("lost_time", "0202-05-01T00:00:00Z", None),
        ("currency", ["EUR"], "is no text"),
        ("currency", "euro", "is not the three letters of a currency, such as EUR"),
        ("status", "gewonnen", "is not open, won or lost"),
        ("custom_fields", "none", "is no object"),
        ("is_deleted", "maybe", "is no truth value"),
    ],
)
def test_what_a_deal_is_worth_never_keeps_its_history_out_and_is_not_lost_unsaid(
    field: str, value: object, wrong: str | None
) -> None:
    wrong = wrong or "is not a time in UTC from 1970 to 2099 such as 2024-01-31 23:59:59, or a day"
    rows, rejects, odd_values = convert([DEAL | {field: value}], ENDPOINTS["deals"])
    assert rejects == {}
    assert rows[7] == mirrored("deals", DEAL) | {field: None}
    (odd,) = odd_values
    assert (odd.table_name, odd.file_name, odd.column_name) == ("deals", "v2/deals", field)
    assert odd.reason == f"{field} {wrong}. The rest of the row is landed. Correct it in Pipedrive."
    assert json.loads(odd.raw_text) == {"id": 7, field: value}


def test_of_a_deal_that_a_page_has_twice_the_last_one_counts() -> None:
    odd, good = DEAL | {"value": "dear"}, DEAL | {"value": 5}
    assert convert([odd, good], ENDPOINTS["deals"]).odd_values == []
    (found,) = convert([good, odd], ENDPOINTS["deals"]).odd_values
    assert found.column_name == "value"


def test_probabilities_of_stages_are_those_of_the_pipeline() -> None:
    """The table of stages does not have them, and is not what lacks one."""
    stage = {"id": 1, "name": "Lead", "pipeline_id": 1, "deal_probability": 300}
    (odd,) = convert([stage], ENDPOINTS["stages"]).odd_values
    assert (odd.table_name, odd.column_name) == ("pipeline_stages", "deal_probability")
