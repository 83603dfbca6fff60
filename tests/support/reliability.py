"""docs/reliability.md: what tests that break something have found, between two comments each."""

from __future__ import annotations

import os

from tests.support.warehouse import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"


def committed(part: str) -> str:
    """Return what the page says in a part."""
    return PAGE.read_text().split(f"<!-- {part} -->\n")[1].split(f"<!-- end of {part} -->\n")[0]


def note(part: str, text: str) -> None:
    """Write what was found into a part of the page, if WRITE_RELIABILITY is set."""
    if not os.environ.get("WRITE_RELIABILITY"):
        return
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(before + begin + text + end + rest.split(end)[1])
