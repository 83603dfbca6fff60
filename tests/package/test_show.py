"""The funnel on the terminal."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal

import pytest

from pipedrive_funnel import warehouse
from pipedrive_funnel.__main__ import main
from pipedrive_funnel.show import funnel_table, months_to_show
from pipedrive_funnel.warehouse import Database
from tests.support.warehouse import copy_project


@pytest.fixture(autouse=True)
def project_without_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Show a copy of the project: the .env of the person who runs the tests must not matter."""
    project = copy_project(tmp_path_factory.mktemp("show") / "project")
    monkeypatch.setattr(warehouse, "PROJECT", project)


STEPS = [(Decimal("1.0"), "Step 1: Leads"), (Decimal("2.1"), "Step 2.1: Call")]
REPORT = [
    (date(2024, 1, 1), Decimal("1.0"), 1234),
    (date(2024, 2, 1), Decimal("1.0"), 7),
    (date(2024, 2, 1), Decimal("2.1"), 3),
    (date(2024, 3, 1), Decimal("1.0"), 9),
]


def shown(today: date, count: int = 12) -> list[str]:
    """Return the months of REPORT that are shown on a day."""
    return [f"{month:%Y-%m}" for month in months_to_show(STEPS, REPORT, today, count)]


def test_full_months_are_laid_out_and_gaps_stay_empty() -> None:
    months = months_to_show(STEPS, REPORT, date(2024, 3, 31), 12)
    assert funnel_table(STEPS, REPORT, months, "Deals").splitlines() == [
        "Deals          2024-01 2024-02",
        "Step 1: Leads     1234       7",
        "Step 2.1: Call               3",
    ]


def test_a_month_is_full_on_the_first_of_the_next() -> None:
    assert shown(date(2024, 4, 1)) == ["2024-01", "2024-02", "2024-03"]


def test_the_latest_months_are_shown() -> None:
    assert shown(date(2025, 1, 1), 2) == ["2024-02", "2024-03"]


@pytest.mark.parametrize(
    ("last_month", "last_shown"),
    [
        ({"1.0": 5, "2.0": 1, "3.0": 1}, 4),  # the first step and more than half of all
        ({"1.0": 5, "2.0": 1}, 4),  # half of them
        ({"1.0": 5}, 3),  # nothing but new leads
        ({"2.0": 1, "3.0": 1}, 3),  # the tail of the funnel, no new lead
    ],
)
def test_the_last_month_shown_has_something_in_it(
    last_month: dict[str, int], last_shown: int
) -> None:
    steps = [(Decimal(step), step) for step in ("1.0", "2.0", "3.0", "4.0")]
    months = {month: {"1.0": 3, "3.0": 2} for month in (1, 2, 3)} | {4: last_month}
    report = [
        (date(2024, month, 1), Decimal(step), count)
        for month, deals in months.items()
        for step, count in deals.items()
    ]
    assert months_to_show(steps, report, date(2025, 1, 1), 2)[-1].month == last_shown


def test_a_funnel_whose_first_step_is_never_reached_is_shown() -> None:
    report = [(date(2024, 1, 1), Decimal("2.1"), 1)]
    assert months_to_show(STEPS, report, date(2025, 1, 1), 2) == [date(2024, 1, 1)]


@pytest.mark.parametrize("report", [[], REPORT[-1:]])
def test_no_full_month_is_said(report: list) -> None:
    months = months_to_show(STEPS, report, date(2024, 3, 31), 12)
    assert funnel_table(STEPS, report, months, "Deals") == "Deals: no deals in a full month"


def test_environments_are_schemas() -> None:
    database = Database("duckdb")
    assert database.schema_of("prod") == "pipedrive_analytics"
    assert database.schema_of("dev") == "pipedrive_analytics__dev"
    assert database.schema_of("dev-Anna") == "pipedrive_analytics__dev_anna"


def test_an_environment_without_a_funnel_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(
        "SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE", str(tmp_path / "empty.duckdb")
    )
    assert main(["show", "dev", "--gateway", "duckdb"]) == 1
    assert "run `sqlmesh plan dev` first" in capsys.readouterr().err


def test_a_locked_database_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process, such as the UI, holds the DuckDB file."""
    path = tmp_path / "locked.duckdb"
    hold = f"import duckdb; c = duckdb.connect({str(path)!r}); print(1, flush=True); input()"
    monkeypatch.setenv("SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE", str(path))
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        assert main(["show", "dev", "--gateway", "duckdb"]) == 1
        holder.stdin.close()
    error = capsys.readouterr().err
    assert error.startswith(f"{path} is open in process {holder.pid} (")
    assert len(error.splitlines()) == 1


def test_a_missing_server_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert main(["show", "dev", "--gateway", "postgres"]) == 1
    assert "Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("months", ["0", "-1", "many"])
def test_bad_months_are_refused(months: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--months", months]) == 2
    assert "--months" in capsys.readouterr().err
