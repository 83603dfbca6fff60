"""What a person sees of the catalog, which is opened from a file."""

from __future__ import annotations

import json
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from conftest import Tab
from render import render

REPORT = "model.pipedrive_funnel.rep_sales_funnel_monthly"
FINDINGS = "model.pipedrive_funnel.fct_data_quality_findings"


def colour_of(tab: Tab, text: str) -> tuple[int, int, int]:
    """Return red, green and blue (0 to 255) of the first mark with a text."""
    mark = tab.page.get_by_text(text, exact=True).first
    drawn = mark.evaluate(
        """mark => {
            const canvas = document.createElement('canvas').getContext('2d');
            canvas.fillStyle = getComputedStyle(mark).color;
            canvas.fillRect(0, 0, 1, 1);
            return [...canvas.getImageData(0, 0, 1, 1).data];
        }"""
    )
    return tuple(drawn[:3])


def test_it_asks_nobody_for_anything(tab: Tab, catalog: str) -> None:
    for address in ("", "#/lineage", "#/layers", "#/search?q=deals", f"#/model/{REPORT}"):
        tab.open(catalog + address)
        tab.page.wait_for_timeout(300)
    assert tab.asked == {catalog}
    assert tab.errors == []


def test_every_model_has_a_page_at_its_name(
    tab: Tab, catalog: str, manifest: dict[str, t.Any]
) -> None:
    nodes = manifest["nodes"] | manifest["sources"]
    shown = [id_ for id_ in nodes if not id_.startswith("test.")]
    assert len(shown) > 50
    for id_ in shown:
        tab.model(catalog, id_)
        text = tab.page.inner_text("main")
        assert nodes[id_]["description"] in text
        assert f"Columns ({len(nodes[id_]['columns'])})" in text
        assert f"Owner {nodes[id_]['meta']['owner']}" in text
    assert tab.errors == []


def test_a_model_says_what_it_holds_and_when_it_ran(tab: Tab, catalog: str) -> None:
    tab.model(catalog, REPORT)
    text = tab.page.inner_text("main")
    assert "Grain month, funnel_step" in text
    assert re.search(r"Rows [\d,]+ · Last run \d{4}-\d\d-\d\d \d\d:\d\d UTC · Audited", text)
    tab.page.get_by_text(re.compile(r"^Unit tests: \d+$")).click()
    assert "test_rep_sales_funnel_monthly_boundary" in tab.page.inner_text("main")


def test_the_sql_is_there_as_written_and_as_compiled(tab: Tab, catalog: str) -> None:
    tab.model(catalog, REPORT)
    tab.page.get_by_role("button", name="SQL", exact=True).click()
    assert 'COUNT(*) AS "deals_count"' in tab.page.inner_text("main")
    tab.page.get_by_role("button", name="Raw", exact=True).click()
    text = tab.page.inner_text("main")
    assert "MODEL (" in text and "deals_count_non_negative," in text


def test_deals_count_goes_back_to_the_log(tab: Tab, catalog: str) -> None:
    tab.model(catalog, REPORT)
    row = tab.page.locator("tr", has_text="Number of distinct deals that reached the step")
    row.get_by_title("View full column trace").click()
    trace = tab.page.locator("h2,h3,div", has_text="Column Trace: ").last
    trace.wait_for()
    drawn = "\n".join(tab.page.locator(".react-flow__node").all_inner_texts())
    way = ("fct_deal_stage_history", "int_deal_stage_history", "int_deal_changes")
    for model in (*way, "stg_deal_changes", "deal_changes"):
        assert re.search(rf"(?m)^(pipedrive_raw\.)?{model}\n+\w+\n+deal_id$", drawn), model


@pytest.fixture
def failing(artifacts: Path, manifest: dict[str, t.Any], tmp_path: Path) -> str:
    """Make a page on which an audit that blocks has found 13 rows, and return its address."""
    (id_,) = (id_ for id_ in manifest["nodes"] if "deals_count_non_negative" in id_)
    copied = tmp_path / "artifacts"
    shutil.copytree(artifacts, copied)
    results = json.loads((copied / "run_results.json").read_text())
    for result in results["results"]:
        if result["unique_id"] == id_:
            result |= {"status": "fail", "failures": 13}
    (copied / "run_results.json").write_text(json.dumps(results))
    render(copied, tmp_path / "catalog.html")
    return (tmp_path / "catalog.html").as_uri()


def test_a_failing_audit_is_red(tab: Tab, failing: str) -> None:
    tab.model(failing, REPORT)
    text = tab.page.inner_text("main")
    assert re.search(
        r"deals_count_non_negative\s+blocks\s+13\s+A returned row is a month and step with", text
    )
    tab.page.get_by_role("button", name=re.compile(r"^Tests \(\d+\)$")).click()
    row = tab.page.locator("tr", has_text="deals_count_non_negative_rep_sales_funnel_monthly")
    assert ": 13 rows" in row.inner_text() and "fail" in row.inner_text()
    red, green, blue = colour_of(tab, "fail")
    assert red > 150 > max(green, blue) + 50
    red, green, blue = colour_of(tab, "pass")
    assert green > max(red, blue)


def test_nothing_advertises(tab: Tab, catalog: str) -> None:
    """Neither chat, grade nor a service, for those who know the key or the address, either."""
    for address in ("", f"#/model/{REPORT}", "#/health", "#/erd"):
        tab.open(catalog + address)
        tab.page.keyboard.press("Control+j")
        tab.page.wait_for_timeout(200)
        text = tab.page.inner_text("body")
        assert (
            re.findall(r"(?i)\bai\b|anthropic|health|\berd\b|cloud|docglow\.com|api key", text)
            == []
        )
        assert not tab.page.get_by_title(re.compile("AI Chat")).is_visible()
        assert tab.page.locator("textarea").count() == 0


def test_lineage_goes_through_models_that_have_no_table(
    tab: Tab, catalog: str, manifest: dict[str, t.Any]
) -> None:
    parents = manifest["parent_map"][FINDINGS]
    checks = {parent for parent in parents if ".chk_" in parent}
    files = (Path(__file__).resolve().parents[2] / "models").rglob("chk_*.sql")
    assert {check.rpartition(".")[2] for check in checks} == {file.stem for file in files}
    assert {manifest["nodes"][check]["config"]["materialized"] for check in checks} == {"ephemeral"}
    tab.model(catalog, FINDINGS)
    text = tab.page.inner_text("main")
    assert all(check.rpartition(".")[2] in text for check in checks)
