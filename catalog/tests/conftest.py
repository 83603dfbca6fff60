"""The catalog in a browser: `make test-catalog`, with Chromium from the system."""

from __future__ import annotations

import json
import os
import shutil
import sys
import typing as t
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CATALOG = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CATALOG))
ARTIFACTS = Path(os.environ.get("PIPEDRIVE_ARTIFACTS") or CATALOG.parent / "site" / "artifacts")

from render import render  # noqa: E402


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Return the directory of the artifacts."""
    return ARTIFACTS


@pytest.fixture(scope="session")
def manifest() -> dict[str, t.Any]:
    """Give manifest.json."""
    return json.loads((ARTIFACTS / "manifest.json").read_text())


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make the page, and return its address."""
    page = tmp_path_factory.mktemp("site") / "catalog.html"
    render(ARTIFACTS, page)
    return page.as_uri()


@pytest.fixture(scope="session")
def browser() -> t.Iterator[Browser]:
    """Start Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """A tab of the browser, what it has asked for, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        """Listen to a tab."""
        self.page = page
        self.asked: set[str] = set()
        self.errors: list[str] = []
        page.on("request", lambda request: self.asked.add(request.url.partition("#")[0]))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))

    def open(self, address: str) -> None:
        """Go to an address, and wait until there is a title."""
        self.page.goto(address)
        self.page.locator("h1").first.wait_for()

    def model(self, catalog: str, id_: str) -> None:
        """Go to the page of a model."""
        kind, _, name = id_.split(".", 2)
        self.page.goto(f"{catalog}#/{'source' if kind == 'source' else 'model'}/{id_}")
        self.page.locator("h1", has_text=name).wait_for()


@pytest.fixture
def tab(browser: Browser) -> t.Iterator[Tab]:
    """Open a tab as large as a desk's."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    yield Tab(context.new_page())
    context.close()
