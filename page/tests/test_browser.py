"""The page in a browser, as people have it: `make test-page`, with Chromium from the system.

Sizes of a desk and of a phone, light and dark; what is clicked, typed and sent as an address.
"""

from __future__ import annotations

import re
import typing as t

import pytest

pytestmark = pytest.mark.browser

TABS = (
    *("Funnel", "Won and lost", "Pipeline", "Months", "Where it sticks", "Owners", "Deals"),
    "Data quality",
)
DESK, PHONE = (1440, 1000), (390, 844)


class Visit:
    """A tab of the browser, and what went wrong in it."""

    def __init__(self, browser: t.Any, address: str, size: tuple[int, int], scheme: str) -> None:
        """Open an empty tab."""
        width, height = size
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.address = address
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda line: self._note(line))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def _note(self, line: t.Any) -> None:
        if line.type == "error":
            self.errors.append(line.text)

    def open(self, query: str = "") -> None:
        """Go to an address, and wait until the page has drawn itself."""
        self.page.goto(self.address + query)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing runs any more."""
        self.page.wait_for_selector("[data-testid=stTabs]")
        self.page.wait_for_timeout(400)
        self.page.wait_for_selector("[data-testid=stStatusWidget]", state="detached")
        self.page.wait_for_timeout(600)

    def text(self) -> str:
        """Return what can be read."""
        return self.page.inner_text("[data-testid=stMain]")


@pytest.fixture
def visit(browser: t.Any, address: str) -> t.Iterator[t.Callable[..., Visit]]:
    """Return a function that opens a tab of the browser."""
    made: list[Visit] = []

    def visit(size: tuple[int, int] = DESK, scheme: str = "light") -> Visit:
        made.append(Visit(browser, address, size, scheme))
        return made[-1]

    yield visit
    for one in made:
        one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_tab_is_drawn_without_an_error_and_asks_nobody_else(
    visit: t.Callable[..., Visit], size: tuple[int, int], scheme: str
) -> None:
    tab = visit(size, scheme)
    for name in TABS:
        tab.open(f"?tab={name.replace(' ', '+')}")
        assert name in tab.text()
        wide = tab.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{name} is {wide} pixels wide"
    assert tab.errors == []
    assert tab.hosts == {tab.address.split("/")[2]}


def test_a_click_on_a_bar_lists_exactly_its_deals(visit: t.Callable[..., Visit]) -> None:
    tab = visit()
    tab.open()
    bar = tab.page.locator("[data-testid=stVegaLiteChart] [aria-roledescription=bar]").nth(1)
    said = bar.get_attribute("aria-label")
    bar.click()
    tab.settle()
    listed = re.search(r"([\d,]+) deals", tab.text().partition("at least this far\n")[2])
    assert listed and f"Deals: {listed[1].replace(',', '')};" in said, said


def test_a_row_opens_what_happened_to_the_deal(visit: t.Callable[..., Visit]) -> None:
    tab = visit()
    tab.open("?tab=Deals")
    deal = tab.page.get_by_test_id("glide-cell-1-0").inner_text()
    rows = tab.page.get_by_test_id("stDataFrame").locator("canvas").first
    rows.click(position={"x": 18, "y": 52}, force=True)  # the box before the first row
    tab.settle()
    assert f"Deal {deal}" in tab.text()
    assert tab.page.get_by_test_id("stDataFrame").count() == 2


def test_the_address_brings_back_what_was_chosen(visit: t.Callable[..., Visit]) -> None:
    """An address has the filters, the open tab and what is chosen in it."""
    first, second = visit(), visit()
    first.open()
    first.page.get_by_text("in order", exact=True).click()
    first.settle()
    second.open("?" + first.page.url.partition("?")[2])
    assert "one after the other" in second.text()
    first.page.get_by_role("tab", name="Deals").click()
    first.settle()
    first.page.get_by_test_id("stTextInputField").fill("Renewal")
    first.page.get_by_test_id("stTextInputField").press("Enter")
    first.settle()
    count = re.search(r"[\d,]+ deals", first.text())
    second.open("?" + first.page.url.partition("?")[2])
    assert second.page.get_by_test_id("stTextInputField").input_value() == "Renewal"
    assert count and count[0] in second.text()
    first.page.get_by_role("tab", name="Funnel").click()
    first.settle()
    assert "one after the other" in first.text()  # as it was left


def test_the_keyboard_is_enough(visit: t.Callable[..., Visit]) -> None:
    tab = visit()
    tab.open()
    tab.page.get_by_role("tab", name="Funnel").focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Enter")
    tab.settle()
    following = tab.page.get_by_role("tab", name=TABS[1])
    assert following.get_attribute("aria-selected") == "true"
    assert "tab=Won" in tab.page.url


def test_a_chart_says_in_words_what_it_shows(visit: t.Callable[..., Visit]) -> None:
    tab = visit()
    tab.open()
    named = tab.page.locator("[aria-label^='Deals per step']")
    assert named.count() >= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab_name", TABS)
def test_axe_finds_nothing_serious(
    visit: t.Callable[..., Visit], tab_name: str, scheme: str
) -> None:
    """What keeps people with screen readers or weak eyes from using a page."""
    from axe_core_python.sync_playwright import Axe

    tab = visit(scheme=scheme)
    tab.open(f"?tab={tab_name.replace(' ', '+')}")
    sparklines = {"exclude": [["[data-testid=stMetricChart]"]]}  # Streamlit names no marks in them
    found = Axe().run(tab.page, context=sparklines)
    serious = {
        violation["id"]: [node["html"][:200] for node in violation["nodes"]][:3]
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    }
    assert serious == {}
