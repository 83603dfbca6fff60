"""The page, with and without a browser, on the snapshot that PIPEDRIVE_SNAPSHOTS leads to."""

from __future__ import annotations

import os
import sys
import typing as t
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from served import chromium, page_served
from streamlit.testing.v1 import AppTest

PAGE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PAGE))  # as Streamlit does

Open = t.Callable[..., AppTest]


@pytest.fixture
def open_page() -> Open:
    """Return a function that opens the page at an address."""

    def open_page(**address: str) -> AppTest:
        page = AppTest.from_file(str(PAGE / "app.py"), default_timeout=60)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception, page.exception
        return page

    return open_page


@pytest.fixture(scope="session")
def rows() -> t.Callable[[str], pd.DataFrame]:
    """Return a function that gives the rows of a mart, straight from its file."""
    current = Path(os.environ["PIPEDRIVE_SNAPSHOTS"]) / "current"
    return lambda mart: duckdb.sql(f"SELECT * FROM '{current / mart}.parquet'").df()


@pytest.fixture(scope="module")
def address() -> t.Iterator[str]:
    """Start the page for all tests of a module."""
    with page_served() as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> t.Iterator[t.Any]:
    """Start Chromium."""
    with chromium() as started:
        yield started
