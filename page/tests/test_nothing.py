"""The page where there is nothing to show, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Open


def test_without_a_snapshot_it_says_what_to_type(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_SNAPSHOTS", str(tmp_path))
    page = open_page()
    assert "make page" in page.info[0].value
    assert not page.selectbox


@pytest.mark.empty
def test_without_deals_it_says_so(open_page: Open) -> None:
    page = open_page()
    assert page.info[0].value == "There are no deals in the data yet."
