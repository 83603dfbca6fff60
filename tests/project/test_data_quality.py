"""The data quality report: complete, and of the same rules as the audits that warn."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass

import pandas as pd
import pytest
from sqlmesh.core.macros import RuntimeStage
from test_audits import failures, rejected

from tests.support.landed import LANDED, create_raw_tables, land
from tests.support.warehouse import PROJECT, Warehouse

FINDINGS = "pipedrive_analytics.fct_data_quality_findings"
QUALITY = "pipedrive_analytics.rep_data_quality"


def checks_of(warehouse: Warehouse, severity: str) -> set[str]:
    """Return the names of the checks of a severity."""
    checks = warehouse.table(QUALITY)
    return set(checks.loc[checks["severity"] == severity, "check_name"])


def warnings_of(warehouse: Warehouse) -> dict[str, str]:
    """Return the model of every audit of the project that warns."""
    return {
        audit.name: model.name
        for model in warehouse.context.models.values()
        for audit, _ in model.audits_with_args
        if not audit.blocking
    }


def found(warehouse: Warehouse, execution_time: str = "2026-11-02") -> dict[str, int]:
    """Return the rows that each check returns on the physical tables as they are now."""
    query = warehouse.model(FINDINGS).render_query_or_raise(
        snapshots={snapshot.name: snapshot for snapshot in warehouse.context.snapshots.values()},
        engine_adapter=warehouse.context.engine_adapter,
        execution_time=execution_time,
        runtime_stage=RuntimeStage.EVALUATING,
    )
    rows = warehouse.context.engine_adapter.fetchdf(query)
    return {name: int(group.sum()) for name, group in rows.groupby("check_name")["rows_count"]}


def test_every_warning_is_a_check_and_the_other_checks_warn_nobody(
    samples: t.Callable[[str], Warehouse],
) -> None:
    warehouse = samples("duckdb")
    models = warehouse.context.models.values()
    attached = {name for model in models for name, _ in model.audits}
    files = {path.stem for path in (PROJECT / "audits").rglob("*.sql")}
    assert checks_of(warehouse, "warning") == warnings_of(warehouse).keys()
    assert checks_of(warehouse, "oddity") == files - attached


def test_a_check_says_what_its_audit_says(samples: t.Callable[[str], Warehouse]) -> None:
    report = samples("duckdb").table(QUALITY).set_index("check_name")
    assert len(report) > 30
    for name in report.index:
        [path] = (PROJECT / "audits").rglob(f"{name}.sql")
        comment = path.read_text().split("/*")[1].split("*/")[0]
        assert report.loc[name, "meaning"] == comment.strip()


def test_the_report_counts_what_the_audits_return(sample: Warehouse) -> None:
    counted = found(sample)
    returned = {
        audit: rows
        for model in set(warnings_of(sample).values())
        for audit, rows in failures(sample, model).items()
        if audit in warnings_of(sample)
    }
    assert returned == {name: counted.get(name, 0) for name in warnings_of(sample)}
    assert sum(rows > 0 for rows in returned.values()) >= 7


def test_the_sample_has_its_oddities(sample: Warehouse) -> None:
    """What seeds/README.md promises, and what follows from its funnel."""
    report = sample.table(QUALITY).set_index("check_name")
    oddities = report[(report["severity"] == "oddity") & (report["rows_count"] != "0")]
    assert dict(oddities["rows_count"]) == {
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
ONE_DEAL = "deal_id = (SELECT MIN(deal_id) FROM {fct_deals})"
SPOILINGS = [
    Spoiling("rejected_rows", rejected(REJECTS, REJECTS.replace("('a'", "('b'")), rows=2),
    Spoiling(
        "activities_without_due_time",
        "INSERT INTO {activity} VALUES (1, 'meeting', 1, 1, TRUE, NULL)",
    ),
    Spoiling(
        "reused_activity_ids",
        "INSERT INTO {activity} VALUES (-1, 'meeting', 1, 1, TRUE, '2024-01-01'), "
        "(-1, 'meeting', 1, 2, TRUE, '2024-01-01')",
    ),
    Spoiling(
        "repeated_creations",
        "INSERT INTO {deal_changes} VALUES (-1, '2024-01-01', 'add_time', 'a'), "
        "(-1, '2024-01-02', 'add_time', 'b')",
    ),
    Spoiling(
        "deals_without_creation",
        "INSERT INTO {deal_changes} VALUES (-1, '2024-01-01', 'user_id', '1')",
    ),
    Spoiling(
        "changes_before_creation",
        "INSERT INTO {deal_changes} VALUES (-1, '2024-01-02 00:00:00', 'add_time', 'a'), "
        "(-1, '2024-01-01 23:59:59', 'user_id', '1')",
    ),
    Spoiling(
        "changes_before_creation",
        "INSERT INTO {deal_changes} VALUES (-1, '2024-01-02 00:00:00', 'add_time', 'a'), "
        "(-1, '2024-01-02 00:00:00', 'user_id', '1')",
        rows=0,
    ),
    Spoiling(
        "unknown_fields",
        "INSERT INTO {deal_changes} VALUES (1, '2024-01-01', 'stage', '1')",
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
        "UPDATE {dim_users} SET user_email = '1@example.com'",
        rows=-3,
    ),
    Spoiling("shared_emails", "UPDATE {dim_users} SET user_email = NULL", rows=-4),
    Spoiling("shared_names", "UPDATE {dim_users} SET user_name = 'A name'", rows=-20),
]


def test_every_oddity_has_a_spoiling(samples: t.Callable[[str], Warehouse]) -> None:
    assert {spoiling.check for spoiling in SPOILINGS} >= checks_of(samples("duckdb"), "oddity")


@pytest.fixture(scope="module")
def found_before(samples: t.Callable[[str], Warehouse]) -> t.Callable[[str], dict[str, int]]:
    """Return a function that gives what the checks return on the sample as it is."""
    return functools.cache(lambda gateway: found(samples(gateway)))


@pytest.mark.parametrize("spoiling", SPOILINGS, ids=lambda spoiling: spoiling.check)
def test_check_finds_its_row(
    sample: Warehouse, found_before: t.Callable[[str], dict[str, int]], spoiling: Spoiling
) -> None:
    tables = {
        snapshot.model.view_name: snapshot.table_name()
        for snapshot in sample.context.snapshots.values()
        if not snapshot.is_external
    }
    with sample.undone():
        sample.context.engine_adapter.execute(spoiling.statement.format_map(tables))
        rows = found(sample).get(spoiling.check, 0)
    assert rows - found_before(sample.gateway).get(spoiling.check, 0) == spoiling.rows


@pytest.mark.parametrize(
    ("execution_time", "warned"),
    [
        # the last full month is October: 119 new leads after 208
        ("2024-11-15", {"first_step_drop": 1}),
        # July has not ended
        ("2024-07-31", {}),
        ("2024-08-01", {}),
        # September, 208 after 239, is 13 % less
        ("2024-10-31", {}),
    ],
)
def test_first_step_is_watched_in_the_last_full_month(
    sample: Warehouse, execution_time: str, warned: dict[str, int]
) -> None:
    counted = found(sample, execution_time)
    assert {name: counted[name] for name in ("first_step_drop",) if name in counted} == warned


@pytest.mark.parametrize(
    ("execution_time", "silent"), [("2024-10-31", 0), ("2024-11-01", 2), ("2025-01-01", 3)]
)
def test_a_silent_step_is_said_when_its_month_has_ended(
    sample: Warehouse, execution_time: str, silent: int
) -> None:
    """Both calls end with September 2024, and step 1 has no deal in December."""
    assert found(sample, execution_time).get("steps_gone_silent", 0) == silent


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
    assert found(sample, execution_time).get(check, 0) == rows


def test_thresholds_are_set_from_the_environment(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Each moves the audit and the check alike; what the environment gives is text."""
    thresholds = {
        "MONITOR_FIRST_STEP_DROP": "0.5",
        "MONITOR_SILENT_AFTER_MONTHS": "10",
        "MONITOR_DAYS_WITHOUT_CHANGE": "250",
        "MONITOR_RECENCY_MONTHS": "9",
        "FRESHNESS_MAX_AGE_MONTHS": "8",
    }
    settings = {f"SQLMESH__VARIABLES__{name}": value for name, value in thresholds.items()}
    warehouse = new_warehouse(gateway, **settings)
    outcome = warehouse.plan("dev", execution_time="2025-11-15")
    assert outcome.error is None, outcome.output
    monitors = {
        "first_step_drop",
        "steps_gone_silent",
        "no_recent_changes",
        "report_recency",
        "data_freshness",
    }
    warned = {audit: rows for (_, audit), rows in outcome.warnings.items() if audit in monitors}
    # 249 days since the last change, nine months since the last month; steps 1 to 6 had 11 or more
    # months with deals before one without, the calls nine
    assert warned == {"steps_gone_silent": 6, "data_freshness": 1}
    counted = found(warehouse, "2025-11-15")
    assert warned == {name: counted[name] for name in monitors if name in counted}
    assert found(warehouse, "2024-11-15").get("first_step_drop", 0) == 0  # 43 % less
    assert found(warehouse, "2024-12-15")["first_step_drop"] == 1  # 85 % less


def test_a_changed_audit_is_a_new_version_of_the_report(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    warehouse = new_warehouse("duckdb")
    before = warehouse.snapshot(FINDINGS).fingerprint
    path = warehouse.path / "audits" / "funnel" / "late_first_stages.sql"
    path.write_text(path.read_text().replace(">= 1", ">= 2"))
    warehouse.close()
    assert warehouse.snapshot(FINDINGS).fingerprint.data_hash != before.data_hash


def test_a_deal_that_vanishes_from_the_log_is_said_and_blocks_nothing(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """The histories keep it until they are restated; the report must be there to say so."""
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
    # of another deal one entry vanishes, and something else arrives
    warehouse.execute("DELETE FROM pipedrive_raw.deal_changes WHERE new_value = '3'")
    owner = [(2, "2024-02-02 10:00:00", "user_id", "8", "2024-02-02 10:00:00")]
    land(warehouse, "deal_changes", pd.DataFrame(owner, columns=columns))
    outcome = warehouse.run("prod", execution_time="2024-02-03")
    assert outcome.error is None, outcome.output
    report = warehouse.table(QUALITY, "prod").set_index("check_name")
    assert set(report["as_of"]) == {"2024-02-03"}
    assert report.loc["vanished_stage_changes", "rows_count"] == "4"
    # of the six entries that are kept, two are the last of their deals
    stays = warehouse.table("pipedrive_analytics.rep_time_in_stage", "prod")
    assert stays["still_there_count"].dropna().astype(int).sum() == 2
