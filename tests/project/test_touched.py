"""Models that are built by deal: each says all that such a model must, and is seen to the end."""

from __future__ import annotations

import re

import pytest

from tests.support.warehouse import PROJECT

LAST = "rep_data_quality"  # moves the watermarks of all tables that it is made of
TOUCHED = "int_touched_deals"
STATEMENTS = ("@forget_touched_deals(", f"@note_processed(pipedrive_intermediate.{TOUCHED});")

FILES = {file.stem: file.read_text() for file in (PROJECT / "models").rglob("*.sql")}
BY_DEAL = sorted(name for name, text in FILES.items() if "INCREMENTAL_UNMANAGED" in text)


def parents(name: str) -> set[str]:
    """Return the models that a model's query reads."""
    header, _, query = FILES[name].partition("\n);\n")
    read = re.findall(r"(?:FROM|JOIN)\s+pipedrive_\w+\.(\w+)", query)
    listed = re.search(r"depends_on \(([^)]*)\)", header)
    named = re.findall(r"pipedrive_\w+\.(\w+)", listed[1]) if listed else []
    return {*read, *named} & set(FILES)


def ancestors(name: str) -> set[str]:
    """Return the models that a model is made of, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = parents(waiting.pop()) - found
        found |= new
        waiting += new
    return found


def test_all_models_by_deal_are_seen() -> None:
    assert len(BY_DEAL) >= 11, BY_DEAL


@pytest.mark.parametrize("name", BY_DEAL)
def test_a_model_by_deal_deletes_inserts_and_notes(name: str) -> None:
    header, _, query = FILES[name].partition("\n);\n")
    for statement in STATEMENTS:
        assert statement in query, f"{name} lacks {statement}"
    parts = [query, *(FILES[part] for part in parents(name) if "kind EMBEDDED" in FILES[part])]
    assert any(re.search(r"\s@was_touched\(", part) for part in parts), f"{name} builds all deals"


@pytest.mark.parametrize("name", BY_DEAL)
def test_audits_of_a_model_by_deal_look_at_what_was_rebuilt(name: str) -> None:
    """Those that take a condition have it; what is in a file of audits/ is looked at below."""
    header = FILES[name].partition("\n);\n")[0]
    audits = re.search(r"(?s)\n  audits (.*?)\n  description", header)
    assert audits
    with_arguments = re.findall(r"(?<!@)\b([a-z_]+)\((?=\s*\w+ :=)", audits[1])
    assert with_arguments and audits[1].count("condition := ") >= len(with_arguments)
    assert audits[1].count("@was_touched(deal_id)") >= len(with_arguments)


@pytest.mark.parametrize("name", [*BY_DEAL, TOUCHED])
def test_the_last_model_is_made_of_all_models_by_deal(name: str) -> None:
    """SQLMesh evaluates it when their audits have passed, and only then their watermarks move."""
    assert name in ancestors(LAST)
    assert "@all_is_processed();" in FILES[LAST]


def test_nothing_else_moves_the_watermarks() -> None:
    assert [name for name, text in FILES.items() if "@all_is_processed" in text] == [LAST]
