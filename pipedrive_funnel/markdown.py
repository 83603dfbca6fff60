"""Texts, numbers and tables in Markdown that can also be read as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def number(value: int | None) -> str:
    """Return 1234 as 1,234, and nothing for None."""
    return "" if value is None else f"{value:,}"


def escaped(text: str) -> str:
    """Escape a text of the data, so that Markdown shows it as it is, on one line."""
    return re.sub(r"([\\`*\[\]<>|&#~$]|\b_|_\b)", r"\\\1", " ".join(text.split()))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table: the first column aligned left, the numbers in the others right.

    A header that begins with a colon marks a column of texts, which are aligned left.

    Args:
        header: the titles of the columns.
        rows: the cells.

    """
    is_text = [True, *(title.startswith(":") for title in header[1:])]
    lines = [
        [title.removeprefix(":") for title in header],
        ["---" if text else "---:" for text in is_text],
        *rows,
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines[1] = [mark.rjust(width, "-") for mark, width in zip(lines[1], widths, strict=True)]
    padded = (
        (
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, is_text, strict=True)
        )
        for line in lines
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
