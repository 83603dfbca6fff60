"""The docs name files and models that are there, and leave none out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.warehouse import PROJECT

PAGES = [PROJECT / "README.md", *PROJECT.glob("*/README.md"), *PROJECT.glob("docs/*.md")]


def models(folder: str) -> set[str]:
    return {path.stem for path in (PROJECT / "models" / folder).rglob("*.sql")}


def test_every_rule_names_files_that_are_there() -> None:
    rows = (PROJECT / "docs" / "rules.md").read_text().splitlines()
    places = [re.findall(r"`([^`]+)`", cell) for row in rows for cell in row.split("|")[2:4]]
    named = [place for cell in places for place in cell]
    assert len(named) > 40
    assert [place for place in named if not (PROJECT / place).exists()] == []


def test_every_mart_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", (PROJECT / "docs" / "marts.md").read_text()))
    assert models("marts") - models("marts/quality/checks") <= explained


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
