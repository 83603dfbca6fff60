"""The data quality checks: each is listed, finds its row, and is in the report."""

from __future__ import annotations

import functools
import re
import typing as t
from contextlib import closing
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import yaml
from sqlmesh.core.macros import RuntimeStage
from test_audits import rejected

from tests.support.landed import LANDED, create_raw_tables, land
from tests.support.warehouse import PROJECT, Warehouse

pytestmark = pytest.mark.again_on("postgres")  # which plans the same checks of the sample

FINDINGS = "pipedrive_analytics.fct_data_quality_findings"
QUALITY = "pipedrive_analytics.rep_data_quality"


ROOM = PROJECT / "models" / "marts" / "quality" / "checks"
LIST = PROJECT / "seeds" / "data_quality_checks.csv"


def listed(severity: str | None = None) -> set[str]:
    """Return the checks that seeds/data_quality_checks.csv lists, of one severity or all."""
    checks = pd.read_csv(LIST)
    return set(checks.loc[checks["severity"].eq(severity) | (severity is None), "check_name"])


@functools.cache
def written() -> list[tuple[str, str]]:
    """Return the checks and their models: each is a CTE, and a SELECT that names it."""
    return [
        (name, path.stem)
        for path in ROOM.glob("chk_*.sql")
        for name in re.findall(r"'(\w+)'::TEXT AS check_name", path.read_text())
    ]


@functools.cache
def query_of_checks(warehouse: Warehouse, model: str, execution_time: str) -> str:
    """Return the query of a model of checks on the physical tables: it takes longer than its rows.

    The model is EMBEDDED in that of the findings, and so reads the tables that this one reads.
    """
    adapter = warehouse.context.engine_adapter
    query = warehouse.model(f"pipedrive_quality.{model}").render_query_or_raise(
        snapshots=warehouse.with_parents(FINDINGS),
        engine_adapter=adapter,
        execution_time=execution_time,
        runtime_stage=RuntimeStage.AUDITING,  # of all rows, as `make audit`
    )
    return query.sql(dialect=adapter.dialect)


def found(warehouse: Warehouse, check: str, execution_time: str = "2026-11-02") -> int:
    """Return the rows that a check returns on the physical tables as they are now."""
    checks = query_of_checks(warehouse, dict(written())[check], execution_time)
    rows = f"SELECT COUNT(*) AS found FROM ({checks}) AS checks WHERE check_name = '{check}'"
    return int(warehouse.fetch(rows)["found"].sum())


def test_every_check_is_written_and_listed_once() -> None:
    names, lines = [name for name, _ in written()], pd.read_csv(LIST)["check_name"].to_list()
    assert len(names) > 30
    assert {*names} - {*lines} == set(), f"not listed in {LIST.relative_to(PROJECT)}"
    assert {*lines} - {*names} == set(), f"not written in {ROOM.relative_to(PROJECT)}/chk_*.sql"
    assert len(names) == len({*names}) and len(lines) == len({*lines}), "twice"


def test_every_check_is_shared_by_a_table_that_is_counted() -> None:
    counted = re.findall(r"'(\w+)'::TEXT", (ROOM / "checked_tables.sql").read_text())
    tables = pd.read_csv(LIST)["checked_table"].dropna()
    assert {*tables} - {*counted} == set(), "not counted in checked_tables.sql"


def test_checks_by_deal_look_at_touched_deals_and_the_others_at_all_rows() -> None:
    """Otherwise findings of other deals would be there twice, or those of a removed deal remain."""
    (path,) = ROOM.parent.glob("fct_data_quality_findings.sql")
    kinds = dict(
        (name, by_deal == "TRUE")
        for by_deal, name in re.findall(
            r"(TRUE|FALSE) AS is_by_deal\s+FROM pipedrive_quality\.(\w+)", path.read_text()
        )
    )
    assert kinds.keys() == {path.stem for path in ROOM.glob("chk_*.sql")}
    assert {*kinds.values()} == {True, False}
    for name, by_deal in kinds.items():
        model = (ROOM / f"{name}.sql").read_text()
        rules = re.split(r"\n\)(?:, )?", model.partition("\nWITH ")[2])[:-1]
        assert rules
        for rule in rules:
            assert ("@was_touched(" in rule) is by_deal, f"{name}: {rule.splitlines()[0]}"


def test_every_check_has_a_unit_test_in_which_it_finds_something() -> None:
    tests = PROJECT / "tests" / "models" / "quality" / "checks"
    outputs = [
        case["outputs"]["query"]["rows"]
        for path in tests.glob("test_chk_*.yaml")
        for case in yaml.safe_load(path.read_text()).values()
    ]
    tested = {row["check_name"] for rows in outputs for row in rows}
    assert listed() - tested == set(), f"no row in {tests.relative_to(PROJECT)}/test_chk_*.yaml"
    assert tested - listed() == set(), f"not listed in {LIST.relative_to(PROJECT)}"


def test_the_sample_holds_what_is_usual_in_exports(sample: Warehouse) -> None:
    """What seeds/README.md promises, and what follows from its funnel."""
    report = sample.table(QUALITY).set_index("check_name")
    usual = report[(report["severity"] == "info") & (report["rows_count"] != "0")]
    assert dict(usual["rows_count"]) == {
        "repeated_creations": "5",
        "reused_activity_ids": "11",
        "repeated_stage_entries": "15",
        "backward_moves": "8",
        "same_second_entries": "2",
        "shared_emails": "4",
        "shared_names": "21",
        "late_first_stages": "1995",
        "skipped_stages": "2507",
        "lost_reasons_in_last_stage": "307",
        "deals_without_value": "20",
        "overdue_closings": "80",
        "open_without_date": "20",
    }
    assert report.loc["unknown_deals", ["rows_count", "share", "deals_count"]].to_list() == [
        *("40", "0.0087", "40"),
    ]
    assert len(report.loc["unknown_deals", "examples"].split("; ")) == 5
    assert len(report.loc["same_second_entries", "examples"].split("; ")) == 2


@dataclass(frozen=True)
class Spoiling:
    """A statement after which a check returns `rows` more."""

    check: str
    statement: str
    rows: int = 1


REJECTS = "('a', 'users', 'users.csv', 7, 'id', 'no BIGINT', 'x', '2024-01-01')"
ONE_ACTIVITY = "activity_id = (SELECT MAX(activity_id) FROM {int_activities})"
ONE_DEAL = "deal_id = (SELECT MIN(deal_id) FROM {fct_deals})"
A_WON_DEAL = "deal_id = (SELECT MIN(deal_id) FROM {int_deals} WHERE status = 'won')"
SPOILINGS = [
    Spoiling("closed_without_time", "UPDATE {int_deals} SET closed_at = NULL WHERE " + A_WON_DEAL),
    Spoiling("open_with_closing_time", "UPDATE {deals} SET status = 'open' WHERE " + A_WON_DEAL),
    Spoiling(
        "status_contradicts_log",
        "UPDATE {int_deals} SET logged_status = 'lost' WHERE " + A_WON_DEAL,
    ),
    Spoiling(
        "status_contradicts_log",
        "UPDATE {int_deals} SET logged_status = 'won' WHERE " + A_WON_DEAL,
        rows=0,
    ),
    Spoiling(
        "closed_before_creation",
        "UPDATE {int_deals} SET closed_at = created_at - INTERVAL '1' SECOND WHERE " + A_WON_DEAL,
    ),
    Spoiling("negative_values", "UPDATE {int_deals} SET value = -1 WHERE " + A_WON_DEAL),
    Spoiling("negative_values", "UPDATE {int_deals} SET value = 0 WHERE " + A_WON_DEAL, rows=0),
    Spoiling(
        "deals_without_value",
        "UPDATE {int_deals} SET value = NULL WHERE value = (SELECT MAX(value) FROM {int_deals})",
        rows=3,
    ),
    Spoiling(
        "open_without_date",
        "UPDATE {int_deals} SET expected_close_date = NULL WHERE status = 'open' AND "
        "expected_close_date = (SELECT MIN(expected_close_date) FROM {int_deals} "
        "WHERE status = 'open')",
    ),
    Spoiling("unknown_statuses", "UPDATE {fct_deals} SET status = NULL WHERE status = 'lost'"),
    Spoiling("deals_without_log", "DELETE FROM {int_deals} WHERE " + A_WON_DEAL),
    Spoiling("deleted_deals", "UPDATE {deals} SET is_deleted = TRUE WHERE " + A_WON_DEAL),
    Spoiling("unknown_pipelines", "UPDATE {fct_deals} SET pipeline_id = 9 WHERE " + ONE_DEAL),
    Spoiling("unknown_currencies", "UPDATE {fct_deals} SET currency = 'EUX' WHERE " + ONE_DEAL),
    Spoiling(
        "unknown_currencies", "UPDATE {fct_deals} SET currency = 'BGN' WHERE " + ONE_DEAL, rows=0
    ),
    Spoiling(
        "values_without_rate",
        "INSERT INTO {dim_exchange_rates} VALUES "
        "('USD', 'EUR', '2020-01-01', NULL, 0.9), ('EUR', 'EUR', '1970-01-01', NULL, 1); "
        "UPDATE {fct_deals} SET currency = 'CHF', value = 1 WHERE " + A_WON_DEAL,
    ),
    Spoiling(
        "values_without_rate",
        "UPDATE {fct_deals} SET currency = 'CHF', value = 1 WHERE " + A_WON_DEAL,
        rows=0,  # who has no rates, wants none
    ),
    Spoiling(
        "overdue_closings",
        "UPDATE {fct_deals} SET expected_close_date = '2027-01-01' WHERE status = 'open'",
        rows=-80,
    ),
    Spoiling(
        "activities_without_due_time",
        "UPDATE {int_activities} SET due_timestamp = NULL WHERE " + ONE_ACTIVITY,
    ),
    Spoiling(
        "reused_activity_ids",
        "INSERT INTO {int_activities} (activity_id, deal_id, is_completed) "
        "VALUES (-1, 1, TRUE), (-1, 2, TRUE)",
    ),
    Spoiling(
        "repeated_creations",
        "INSERT INTO {int_deal_changes} (deal_id, field_key, new_value) "
        "VALUES (-1, 'add_time', 'a'), (-1, 'add_time', 'b')",
    ),
    Spoiling(
        "deals_without_creation",
        "UPDATE {int_deals} SET creation_logged_at = NULL WHERE " + ONE_DEAL,
    ),
    Spoiling(
        "changes_before_creation",
        "UPDATE {int_deals} SET first_changed_at = creation_logged_at - INTERVAL '1' SECOND "
        "WHERE " + ONE_DEAL,
    ),
    Spoiling(
        "changes_before_creation",
        "UPDATE {int_deals} SET first_changed_at = creation_logged_at WHERE " + ONE_DEAL,
        rows=0,
    ),
    Spoiling(
        "unknown_fields",
        "INSERT INTO {int_deal_changes} (deal_id, field_key, new_value) VALUES (1, 'stage', '1')",
    ),
    Spoiling(
        "deals_without_stage", "UPDATE {fct_deals} SET stage_entries_count = 0 WHERE " + ONE_DEAL
    ),
    Spoiling(
        "deals_without_owner", "UPDATE {fct_deals} SET owner_user_id = NULL WHERE " + ONE_DEAL
    ),
    Spoiling(
        "late_first_stages",
        "UPDATE {fct_deals} SET days_to_first_stage = 0.99 WHERE " + ONE_DEAL,
        rows=-1,
    ),
    Spoiling(
        "lost_reasons_in_last_stage",
        "UPDATE {fct_deals} SET lost_reason = NULL WHERE furthest_funnel_step = 9",
        rows=-307,
    ),
    Spoiling(
        "lost_reasons_in_last_stage",
        "UPDATE {fct_deals} SET furthest_funnel_step = 8 WHERE furthest_funnel_step = 9",
        rows=-307,
    ),
    Spoiling(
        "repeated_stage_entries",
        "UPDATE {fct_stage_entries} SET stage_entry_num = 2 WHERE move = 'first' AND " + ONE_DEAL,
    ),
    Spoiling(
        "backward_moves",
        "UPDATE {fct_stage_entries} SET move = 'backward' WHERE move = 'first' AND " + ONE_DEAL,
    ),
    Spoiling(
        "skipped_stages",
        "UPDATE {fct_stage_entries} SET move = 'skipped' WHERE move = 'first' AND " + ONE_DEAL,
    ),
    Spoiling(
        "same_second_entries",
        "UPDATE {fct_stage_entries} SET stage_entry_timestamp = '2024-01-01' WHERE " + ONE_DEAL,
    ),
    Spoiling(
        "shared_emails",
        "UPDATE {users} SET email = '1@example.com'",
        rows=-3,
    ),
    Spoiling("shared_emails", "UPDATE {users} SET email = NULL", rows=-4),
    Spoiling("shared_names", "UPDATE {dim_users} SET user_name = 'A name'", rows=-20),
    Spoiling(
        "rejected_rows",
        rejected(
            "('a', 'users', 'users.csv', 7, 'id', 'no BIGINT', 'x', '2024-01-01')",
            "('b', 'users', 'users.csv', NULL, NULL, 'too short', 'x', '2024-01-01')",
        ),
        rows=2,
    ),
    Spoiling(
        "data_freshness",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE month > '2024-01-01'",
    ),
    Spoiling(
        "report_recency",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-08-01', 'Step 9', 9, 1)",
        rows=-1,  # three months are allowed
    ),
    Spoiling(
        "report_recency",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-07-01', 'Step 9', 9, 1)",
        rows=0,
    ),
    Spoiling(
        "funnel_completeness",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE month = '2024-02-01' AND funnel_step = 2",
    ),
    Spoiling(
        "funnel_completeness",
        "INSERT INTO {rep_sales_funnel_monthly} "
        "VALUES ('2030-01-01', 'Step 9: Renewal/Expansion', 9, 1)",
        rows=2,
    ),
    Spoiling(
        "stage_activity_consistency",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = 179 "
        "WHERE month = '2024-05-01' AND funnel_step = 2.1",
    ),
    Spoiling(
        "stage_activity_consistency",
        "UPDATE {rep_sales_funnel_monthly} SET deals_count = 178 "
        "WHERE month = '2024-05-01' AND funnel_step = 2.1",
        rows=0,
    ),
    Spoiling(
        "funnel_progression_logic",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES "
        "('2030-01-01', 'Step 1: Lead Generation', 1, 100), "
        "('2030-01-01', 'Step 2: Qualified Lead', 2, 150)",
    ),
    Spoiling(
        "funnel_progression_logic",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES "
        "('2030-01-01', 'Step 1: Lead Generation', 1, 150), "
        "('2030-01-01', 'Step 2: Qualified Lead', 2, 150)",
        rows=0,
    ),
    Spoiling(
        "months_in_the_future",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-12-01', 'Step 9', 9, 1)",
    ),
    Spoiling(
        "months_in_the_future",
        "INSERT INTO {rep_sales_funnel_monthly} VALUES ('2026-11-01', 'Step 9', 9, 1)",
        rows=0,
    ),
    Spoiling(
        "steps_without_deals",
        "DELETE FROM {rep_sales_funnel_monthly} WHERE funnel_step = 2.1",
    ),
    Spoiling(
        "entries_outside_the_funnel",
        "UPDATE {fct_deal_stage_history} SET funnel_step = NULL WHERE stage_id = 9",
        rows=324,
    ),
    Spoiling(
        "calls_without_due_time",
        "UPDATE {fct_activities} SET due_timestamp = NULL WHERE due_timestamp < '2024-02-01'",
        rows=144,
    ),
    Spoiling(
        "unknown_stages",
        "DELETE FROM {dim_stages} WHERE stage_id = 9",
        rows=324,
    ),
    Spoiling(
        "vanished_stage_changes",
        "DELETE FROM {deal_changes} WHERE changed_field_key = 'stage_id' AND new_value = '9'",
        rows=324,
    ),
    Spoiling(
        "changes_not_yet_processed",
        "INSERT INTO {deal_changes} VALUES (1, '2026-11-02', 'stage_id', '1')",
    ),
    Spoiling(
        "unknown_users",
        "UPDATE {int_activities} SET user_id = 999999 WHERE " + ONE_ACTIVITY,
    ),
    Spoiling(
        "unknown_users",
        "INSERT INTO {int_deal_changes} (deal_id, field_key, new_value) "
        "VALUES (1, 'user_id', '999999')",
    ),
    Spoiling(
        "unknown_deals",
        "UPDATE {int_activities} SET deal_id = -1 WHERE " + ONE_ACTIVITY,
    ),
    Spoiling(
        "unknown_activity_types",
        "UPDATE {int_activities} SET activity_type_key = 'fax' WHERE " + ONE_ACTIVITY,
    ),
    *(
        Spoiling(
            "options_are_lists",
            f"INSERT INTO {{fields}} VALUES (9, 'colour', 'Colour', '{options}')",
            rows=rows,
        )
        for options, rows in {
            '[{{"id": 1, "label": "Red"': 1,
            '{{"id": 1}}': 1,
            "red": 1,
            "[]": 0,
            "": 0,
        }.items()
    ),
    Spoiling(
        "activities_without_status",
        "INSERT INTO {activity} VALUES (1, 'meeting', 1, 1, NULL, '2024-01-01')",
    ),
    Spoiling(
        "unknown_lost_reasons",
        "DELETE FROM {dim_lost_reasons} WHERE lost_reason = 'Missing a feature'",
        rows=386,
    ),
    Spoiling(
        "no_recent_changes",
        "UPDATE {fct_deals} SET last_changed_at = '2026-10-26 00:00:00'",
        rows=-1,  # seven days are allowed
    ),
    Spoiling(
        "no_recent_changes",
        "UPDATE {fct_deals} SET last_changed_at = '2026-11-03 00:00:00' WHERE deal_id < 500000",
        rows=0,  # what is after the execution date is no news
    ),
    Spoiling(
        "months_not_covered",
        "DELETE FROM {rep_sales_funnel_trends} WHERE month = '2024-02-01'",
    ),
    Spoiling(
        "months_not_covered",
        "DELETE FROM {rep_sales_funnel_trends} WHERE month = '2025-03-01'",  # the log ends in it
    ),
    Spoiling(
        "months_not_covered",
        "INSERT INTO {rep_sales_funnel_trends} (month, kpi_name, funnel_step, deals_count, "
        "is_complete_month) VALUES ('2025-06-01', 'Step 9: Renewal/Expansion', 9, 1, FALSE)",
        rows=0,  # behind the end of the log there are gaps
    ),
    Spoiling(
        "first_step_drop",
        "UPDATE {rep_sales_funnel_trends} SET month_over_month_change = -0.2001 "
        "WHERE month = '2025-02-01' AND funnel_step = 1",
    ),
    Spoiling(
        "first_step_drop",
        "UPDATE {rep_sales_funnel_trends} SET month_over_month_change = -0.2 "
        "WHERE month = '2025-02-01' AND funnel_step = 1",
        rows=0,
    ),
    Spoiling(
        "steps_gone_silent",
        "UPDATE {rep_sales_funnel_trends} SET deals_count = 0 "
        "WHERE month = '2024-06-01' AND funnel_step = 1",
    ),
    Spoiling(
        "steps_gone_silent",
        "UPDATE {rep_sales_funnel_trends} SET deals_count = 0 "
        "WHERE month IN ('2024-03-01', '2024-05-01') AND funnel_step = 1",
        rows=0,  # two months before each, not three
    ),
]


@pytest.fixture(scope="module")
def found_before(samples: t.Callable[[str], Warehouse]) -> t.Callable[[str, str], int]:
    """Return a function that gives the rows a check returns on the sample as it is."""
    return functools.cache(lambda gateway, check: found(samples(gateway), check))


@pytest.mark.parametrize("spoiling", SPOILINGS, ids=lambda spoiling: spoiling.check)
def test_check_finds_its_row(
    sample: Warehouse, found_before: t.Callable[[str, str], int], spoiling: Spoiling
) -> None:
    with sample.spoilt(spoiling.statement):
        rows = found(sample, spoiling.check)
    assert rows - found_before(sample.gateway, spoiling.check) == spoiling.rows


@pytest.mark.parametrize(
    ("execution_time", "rows"),
    [
        # the last full month is October: 119 new leads after 208
        ("2024-11-15", 1),
        # July has not ended
        ("2024-07-31", 0),
        ("2024-08-01", 0),
        # September, 208 after 239, is 13 % less
        ("2024-10-31", 0),
    ],
)
def test_first_step_is_watched_in_the_last_full_month(
    sample: Warehouse, execution_time: str, rows: int
) -> None:
    assert found(sample, "first_step_drop", execution_time) == rows


@pytest.mark.parametrize(
    ("execution_time", "silent"), [("2024-10-31", 0), ("2024-11-01", 2), ("2025-01-01", 3)]
)
def test_a_silent_step_is_said_when_its_month_has_ended(
    sample: Warehouse, execution_time: str, silent: int
) -> None:
    """Both calls end with September 2024, and step 1 has no deal in December."""
    assert found(sample, "steps_gone_silent", execution_time) == silent


@pytest.mark.parametrize(
    ("execution_time", "check", "rows"),
    [
        ("2025-03-18", "no_recent_changes", 0),  # the last change is of 2025-03-11
        ("2025-03-19", "no_recent_changes", 1),
        ("2025-05-31", "report_recency", 0),  # the last month is 2025-02
        ("2025-06-01", "report_recency", 1),
        ("2027-02-28", "data_freshness", 0),
        ("2027-03-01", "data_freshness", 1),
    ],
)
def test_age_is_measured_against_the_execution_date(
    sample: Warehouse, execution_time: str, check: str, rows: int
) -> None:
    assert found(sample, check, execution_time) == rows


@pytest.mark.again
def test_thresholds_are_set_from_the_environment(sample: Warehouse) -> None:
    """What the environment gives is text. Nothing but the checks is built anew."""
    thresholds = {
        "MONITOR_FIRST_STEP_DROP": "0.5",
        "MONITOR_SILENT_AFTER_MONTHS": "10",
        "MONITOR_DAYS_WITHOUT_CHANGE": "250",
        "MONITOR_RECENCY_MONTHS": "9",
        "FRESHNESS_MAX_AGE_MONTHS": "8",
    }
    settings = {f"SQLMESH__VARIABLES__{name}": value for name, value in thresholds.items()}
    sample.close()
    with closing(replace(sample, settings=sample.settings | settings)) as warehouse:
        assert_thresholds_hold(warehouse)


def assert_thresholds_hold(warehouse: Warehouse) -> None:
    outcome = warehouse.plan("thresholds", execution_time="2025-11-15")
    assert outcome.error is None, outcome.output
    monitors = {
        "first_step_drop",
        "steps_gone_silent",
        "no_recent_changes",
        "report_recency",
        "data_freshness",
    }
    # 249 days since the last change, nine months since the last month; steps 1 to 6 had 11 or more
    # months with deals before one without, the calls nine
    warned = {name: rows for name in monitors if (rows := found(warehouse, name, "2025-11-15"))}
    assert warned == {"steps_gone_silent": 6, "data_freshness": 1}
    assert outcome.warnings[FINDINGS, "data_freshness"] == 1
    assert found(warehouse, "first_step_drop", "2024-11-15") == 0  # 43 % less
    assert found(warehouse, "first_step_drop", "2024-12-15") == 1  # 85 % less


@pytest.mark.again
def test_a_changed_check_is_a_new_version_of_the_findings(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    warehouse = new_warehouse("duckdb")
    before = warehouse.snapshot(FINDINGS).fingerprint
    path = warehouse.path / ROOM.relative_to(PROJECT) / "chk_moves.sql"
    path.write_text(path.read_text().replace("_first_stage >= 1", "_first_stage >= 2"))
    warehouse.close()
    assert warehouse.snapshot(FINDINGS).fingerprint != before


@pytest.mark.again
def test_a_deal_that_vanishes_from_the_log_is_said_and_blocks_nothing(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Nobody has said that rows were removed: the log below staging keeps them, and says so.

    It keeps them until their deal is touched.
    """
    warehouse = new_warehouse(gateway, **LANDED)
    create_raw_tables(warehouse)
    columns = ("deal_id", "change_time", "changed_field_key", "new_value", "loaded_at")
    changes = [
        (deal, f"2024-01-{day:02} 10:00:00", key, value, "2024-02-01 00:00:00")
        for deal in (1, 2)
        for day, key, value in (
            (1, "add_time", "2024-01-01T10:00:00"),
            (1, "user_id", "7"),
            (2, "stage_id", "1"),
            (3, "stage_id", "2"),
            (4, "stage_id", "3"),
        )
    ]
    land(warehouse, "deal_changes", pd.DataFrame(changes, columns=columns))
    assert warehouse.plan("prod", execution_time="2024-02-02").error is None
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE deal_id = 1")
    # of another deal one entry vanishes, and something else arrives: it is built anew without it
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = '3'")
    owner = [(2, "2024-02-02 10:00:00", "user_id", "8", "2024-02-02 10:00:00")]
    land(warehouse, "deal_changes", pd.DataFrame(owner, columns=columns))
    outcome = warehouse.run("prod", execution_time="2024-02-03")
    assert outcome.error is None, outcome.output
    report = warehouse.table(QUALITY, "prod").set_index("check_name")
    assert set(report["as_of"]) == {"2024-02-03"}
    assert report.loc["vanished_stage_changes", "rows_count"] == "3"
    # of the five entries that are kept, two are the last of their deals
    stays = warehouse.table("pipedrive_analytics.rep_time_in_stage", "prod")
    assert stays["still_there_count"].dropna().astype(int).sum() == 2
