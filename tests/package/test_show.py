"""The table that `make dev` ends with."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal

import pytest

from pipedrive_funnel import show
from pipedrive_funnel.__main__ import main
from pipedrive_funnel.show import analytics_schema, funnel_table
from tests.support.warehouse import copy_project


@pytest.fixture(autouse=True)
def project_without_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Show a copy of the project: the .env of the person who runs the tests must not matter."""
    project = copy_project(tmp_path_factory.mktemp("show") / "project")
    monkeypatch.setattr(show, "PROJECT", project)


STEPS = [(Decimal("1.0"), "Step 1: Leads"), (Decimal("2.1"), "Step 2.1: Call")]
REPORT = [
    (date(2024, 1, 1), Decimal("1.0"), 1234),
    (date(2024, 2, 1), Decimal("1.0"), 7),
    (date(2024, 2, 1), Decimal("2.1"), 3),
    (date(2024, 3, 1), Decimal("1.0"), 9),
]


def test_full_months_are_laid_out_and_gaps_stay_empty() -> None:
    assert funnel_table(STEPS, REPORT, date(2024, 3, 31)).splitlines() == [
        "               2024-01 2024-02",
        "Step 1: Leads     1234       7",
        "Step 2.1: Call               3",
    ]


def test_a_month_is_full_on_the_first_of_the_next() -> None:
    assert "2024-03" in funnel_table(STEPS, REPORT, date(2024, 4, 1))


def test_the_latest_months_are_shown() -> None:
    header = funnel_table(STEPS, REPORT, date(2025, 1, 1), months=2).splitlines()[0]
    assert header.split() == ["2024-02", "2024-03"]


def test_the_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    table = funnel_table(STEPS, REPORT, date(2025, 1, 1))
    assert max(map(len, table.splitlines())) <= 24


@pytest.mark.parametrize("report", [[], REPORT[-1:]])
def test_no_full_month_is_said(report: list) -> None:
    assert "no deals in a full month" in funnel_table(STEPS, report, date(2024, 3, 31))


def test_environments_are_schemas() -> None:
    assert analytics_schema("prod") == "pipedrive_analytics"
    assert analytics_schema("dev") == "pipedrive_analytics__dev"
    assert analytics_schema("dev-Anna") == "pipedrive_analytics__dev_anna"


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
    assert "Could not set lock on file" in capsys.readouterr().err


def test_a_missing_server_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert main(["show", "dev", "--gateway", "postgres"]) == 1
    assert "Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("months", ["0", "-1", "many"])
def test_bad_months_are_refused(months: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["show", "--months", months])
    assert "--months" in capsys.readouterr().err
