"""The page of insights: the committed one, its numbers, and data that has little to say."""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from pipedrive_funnel import warehouse as gateways
from pipedrive_funnel.__main__ import main
from pipedrive_funnel.insights import text
from pipedrive_funnel.insights.queries import Marts
from tests.support.figures import FUNNEL
from tests.support.warehouse import PROJECT, Outcome, Warehouse, copy_project, sample_files

COMMITTED = PROJECT / "docs" / "insights.md"
PLANNED_AT = "2025-03-12"  # the committed page was written of the sample planned then
REAL_COUNTS = {  # counted in the export, not in the marts
    "Deals in the log": 1995,
    "Rows of the log: changes of deals": 15406,
    "Entries into stages": 8906,
    "First entries of a deal into a stage": 8891,
    "Activities, done or planned": 4579,
    "Types of activities": 4,
    "Activities that are done": 2290,
    "Done: Sales Call 1": 568,
    "Done: Sales Call 2": 560,
    "Done: Follow Up Call": 567,
    "Done: After Close Call": 595,
    "Sales calls that are done": 1128,
    "Users": 1787,
    "Stages": 9,
    "Cells of the monthly report": 128,
    "Months of the monthly report": 14,
}
REAL_CHECKS = {  # rows and deals
    "unknown_deals": (4571, 4564),
    "skipped_stages": (2502, 1684),
    "repeated_stage_entries": (15, 5),
    "backward_moves": (8, 5),
    "repeated_creations": (5, 5),
    "reused_activity_ids": (11, 0),
    "shared_emails": (4, 0),
    "shared_names": (21, 0),
    "funnel_completeness": (5, 0),
    "funnel_progression_logic": (5, 0),
    "stage_activity_consistency": (2, 0),
}


def run_insights(warehouse: Warehouse, out: Path) -> int:
    """Write the page of a warehouse's dev with the command, and return its exit code."""
    warehouse.close()  # DuckDB lets one in at a time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateways, "PROJECT", warehouse.path)
        for name, value in warehouse.settings.items():
            patch.setenv(name, value)
        return main(["insights", "dev", "--gateway", warehouse.gateway, "--out", str(out)])


def insights_of(warehouse: Warehouse, out: Path) -> str:
    """Write the page of a warehouse's dev, and return it."""
    assert run_insights(warehouse, out) == 0
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def frozen_sample(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan the sample as it was for the committed page."""
    warehouse = new_warehouse(gateway)
    outcome = warehouse.plan("dev", execution_time=PLANNED_AT)
    assert outcome.error is None, outcome.output
    return warehouse


@pytest.fixture(scope="module")
def committed() -> str:
    """Read the committed page, which `test_the_committed_page_is_of_the_sample` holds true."""
    return COMMITTED.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def export() -> dict[str, pd.DataFrame]:
    """Read the files of the sample; every value stays text."""
    return {path.stem: pd.read_csv(path, dtype=str) for path in sample_files().glob("*.csv")}


def section(page: str, title: str) -> str:
    """Return the text of a section."""
    return re.search(rf"^## \d+\. {title}$(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def cells(markdown: str) -> dict[str, list[str]]:
    """Return the lines of all tables in a text by their first cell, numbers without commas."""
    lines = [line[1:-1].split("|") for line in markdown.splitlines() if line[:1] == "|"]
    return {
        first.strip(): [cell.strip().replace(",", "") for cell in others]
        for first, *others in lines
    }


def changes(export: dict[str, pd.DataFrame], field: str) -> pd.DataFrame:
    """Return the changes of a field in their order."""
    log = export["deal_changes"].drop_duplicates()
    log = log[log["changed_field_key"] == field]
    log = log.assign(time=pd.to_datetime(log["change_time"]))
    return log.sort_values(["deal_id", "time", "new_value"])


# --- the committed page ---------------------------------------------------------------------------


@pytest.mark.again_on("postgres")
def test_the_committed_page_is_of_the_sample(
    frozen_sample: Warehouse, gateway: str, committed: str, tmp_path: Path
) -> None:
    out = tmp_path / "insights.md"
    assert insights_of(frozen_sample, out) == committed, (
        f"docs/insights.md is not what the command writes of the sample at {PLANNED_AT}"
    )
    if gateway == "postgres":
        return  # the page is the same, and with it the numbers of the plots
    written = {path.name: path.read_bytes() for path in out.with_suffix("").iterdir()}
    kept = {path.name: path.read_bytes() for path in COMMITTED.with_suffix("").iterdir()}
    assert written == kept
    assert sorted(re.findall(r"\]\(insights/(.*?)\)", committed)) == sorted(kept)
    for name, svg in kept.items():
        assert len(svg) < 150_000, name
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_no_people_are_on_the_page(committed: str, export: dict[str, pd.DataFrame]) -> None:
    plots = [path.read_text() for path in COMMITTED.with_suffix("").iterdir()]
    people = {*export["users"]["name"], *export["users"]["email"]}
    assert [who for who in people for shown in (committed, *plots) if who in shown] == []


def test_all_marts_are_counted(committed: str) -> None:
    marts = (PROJECT / "models" / "marts").glob("*/*.sql")
    missing = [path.stem for path in marts if f"| `{path.stem}` |" not in committed]
    assert missing == [], "write docs/insights.md anew: docs/operations.md, The clock"


# --- its numbers, against the files of the sample -------------------------------------------------


def test_counts(committed: str, export: dict[str, pd.DataFrame]) -> None:
    counts = cells(section(committed, "What is in the data"))
    activity = export["activity"]
    done = activity[activity["done"].str.lower() == "true"]
    names = export["activity_types"].set_index("type")["name"]
    entries = changes(export, "stage_id")
    assert counts["Deals in the log"] == [str(export["deal_changes"]["deal_id"].nunique())]
    assert counts["Entries into stages"] == [str(len(entries))]
    assert counts["First entries of a deal into a stage"] == [
        str(len(entries.drop_duplicates(["deal_id", "new_value"])))
    ]
    assert counts["Activities, done or planned"] == [str(len(activity))]
    assert counts["Activities that are done"] == [str(len(done))]
    for type_, count in done["type"].map(names).value_counts().items():
        assert counts[f"Done: {type_}"] == [str(count)]


def test_monthly_funnel(committed: str) -> None:
    found = cells(section(committed, "The funnel by month"))
    _, *months = (line.split() for line in FUNNEL.splitlines())
    for month, *counts in months:
        assert found[month] == ["" if count == "." else count for count in counts]
    assert "most new leads was 2024-07: 266 deals" in committed
    assert found["Step 2: Qualified Lead"] == ["189", "71.1 %", "-29.0 %"]  # 189 / 266 - 1


def test_cohorts(committed: str, export: dict[str, pd.DataFrame]) -> None:
    found = cells(section(committed, "Conversion by cohort"))
    first = changes(export, "stage_id").groupby(["deal_id", "new_value"])["time"].min().unstack()
    in_order = first["1"].notna()
    for before, stage in zip("12345678", "23456789", strict=True):
        in_order &= first[stage] >= first[before]
        name = next(name for name in found if name.startswith(f"Step {stage}:"))
        assert found[name][0] == str(first[stage].notna().sum())
        assert found[name][2] == str(in_order.sum())


def test_time_in_stage(committed: str, export: dict[str, pd.DataFrame]) -> None:
    found = cells(section(committed, "Time in stage"))
    entries = changes(export, "stage_id")
    deals = entries.groupby("deal_id")
    stay = (deals["time"].shift(-1) - entries["time"]).dt.total_seconds() / 86400
    for stage, name in export["stages"].set_index("stage_id")["stage_name"].items():
        of_stage = stay[entries["new_value"] == stage]
        exits, median, p90, still_there, _ = found[name]
        assert int(exits) == of_stage.notna().sum()
        assert int(still_there) == of_stage.isna().sum()
        if int(exits):
            assert float(median) == pytest.approx(of_stage.median(), abs=0.051)
            assert float(p90) == pytest.approx(of_stage.quantile(0.9), abs=0.051)


def test_owners(committed: str, export: dict[str, pd.DataFrame]) -> None:
    owners = changes(export, "user_id").groupby("deal_id")["new_value"].nunique()
    found = cells(section(committed, "Owners"))
    for count, deals in owners.value_counts().items():
        assert found[str(count)][0] == str(deals)
    assert f"**{(owners > 1).sum()} of {len(owners):,} deals" in committed


def test_nobody_is_no_owner(sample: Warehouse) -> None:
    """Entries of deals without owner are counted for -1."""
    marts = Marts(sample.context.engine_adapter, "pipedrive_analytics__dev")
    table = sample.snapshot("pipedrive_analytics.rep_owner_performance_monthly").table_name()
    before = marts.owner_entries()
    with sample.undone():
        sample.context.engine_adapter.execute(
            f"UPDATE {table} SET user_id = -1, user_name = NULL WHERE user_id = "
            f"(SELECT MIN(user_id) FROM {table} WHERE measure = 'stage entries')"
        )
        after = marts.owner_entries()
    assert before.owners - after.owners == 1


def test_lost_reasons(committed: str, export: dict[str, pd.DataFrame]) -> None:
    last = changes(export, "lost_reason").groupby("deal_id")["new_value"].last().dropna()
    closed = set(changes(export, "stage_id").query("new_value == '9'")["deal_id"])
    counts = sorted(last.value_counts(), reverse=True)
    found = cells(section(committed, "Lost reasons"))
    reasons = [line[0] for name, line in found.items() if line[0].isdigit() and name != "*none*"]
    assert [int(count) for count in reasons] == counts
    assert f"**{len(closed & set(last.index))} of {len(last):,} deals" in committed


# --- other data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ["duckdb"], indirect=True)
def test_the_real_export_has_the_known_numbers(
    real: tuple[Warehouse, Outcome], tmp_path: Path
) -> None:
    page = insights_of(real[0], tmp_path / "real.md")
    assert "reaches from 2024-01-01 01:19:09 to 2025-03-11 17:17:07" in page
    counts = cells(section(page, "What is in the data"))
    assert {what: int(counts[what][0]) for what in REAL_COUNTS} == REAL_COUNTS
    checks = cells(section(page, "Data quality"))
    found = {name: tuple(map(int, checks[f"`{name}`"][2:4])) for name in REAL_CHECKS}
    assert found == REAL_CHECKS
    assert "took 2.0 days at least, 35.0 in the median and 83.0 at most" in page


@pytest.mark.again_on("postgres")
def test_an_empty_export_has_a_page(empty_company: Warehouse, tmp_path: Path) -> None:
    page = insights_of(empty_company, tmp_path / "empty.md")
    assert "As of 2025-03-12. There are no deals." in page
    assert cells(page)["Deals in the log"] == ["0"]
    assert "`steps_without_deals`" in page
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["data_quality.svg"]


@pytest.mark.parametrize("gateway", ["duckdb"], indirect=True)
@pytest.mark.again_on("postgres")
def test_another_funnel_has_a_page(other_company: Warehouse, tmp_path: Path) -> None:
    page = insights_of(other_company, tmp_path / "other.md")
    assert r"Trial \| \<b\> \$x^2\$ \& \*y\*" in page
    assert "**1 deal reached Won, 0 of them in order.**" in page
    for plot in (tmp_path / "other").iterdir():
        ET.parse(plot)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def empty_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Point the command at a project whose DuckDB file is not there yet."""
    project = copy_project(tmp_path / "project")
    monkeypatch.setattr(gateways, "PROJECT", project)
    monkeypatch.setenv(
        "SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE", str(tmp_path / "empty.duckdb")
    )
    return project


def test_an_environment_without_marts_is_said(
    empty_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["insights", "--gateway", "duckdb"]) == 1
    assert capsys.readouterr().err == (
        "There is no funnel in the environment dev: run `sqlmesh plan dev` first.\n"
    )
    assert not (empty_project / "docs").exists()


def test_a_missing_server_is_said(
    empty_project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert main(["insights", "prod", "--gateway", "postgres"]) == 1
    error = capsys.readouterr().err
    assert "Connection refused" in error
    assert len(error.splitlines()) == 1


def test_a_page_that_cannot_be_written_is_said(
    frozen_sample: Warehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run_insights(frozen_sample, tmp_path / "file" / "insights.md") == 1
    assert capsys.readouterr().err.startswith("The page cannot be written: ")


@pytest.mark.parametrize(
    ("value", "written"),
    [("0.71053", "71.1 %"), ("0.0005", "0.1 %"), ("12.5", "1,250.0 %"), ("0", "0.0 %")],
)
def test_percent(value: str, written: str) -> None:
    assert text.percent(Decimal(value)) == written


def test_what_is_not_known_stays_empty() -> None:
    assert text.percent(None) == text.days(None) == text.number(None) == text.change(None) == ""
    assert text.share(1, 0) is None
