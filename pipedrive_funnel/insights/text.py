"""Numbers and texts for people to read in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

Number = int | Decimal


def number(value: Number | None) -> str:
    """Return 1234 as 1,234, and nothing for None."""
    return "" if value is None else f"{value:,}"


def counted(value: int, thing: str) -> str:
    """Return how many there are of a thing: 1 deal, 2 deals."""
    return f"{number(value)} {thing}" + ("" if value == 1 else "s")


def days(value: Decimal | None) -> str:
    """Return days with one decimal."""
    return "" if value is None else number(_one_digit(value))


def percent(share: Decimal | None) -> str:
    """Return 0.25 as 25.0 %."""
    return "" if share is None else f"{number(_one_digit(100 * share))} %"


def change(share: Decimal | None) -> str:
    """Return -0.25 as -25.0 %, and 0.25 as +25.0 %."""
    return "" if share is None else f"{_one_digit(100 * share):+,} %"


def share(part: Number, whole: Number) -> Decimal | None:
    """Return part / whole; None when there is no whole."""
    return Decimal(part) / Decimal(whole) if whole else None


def month(value: date) -> str:
    """Return the month of a day: 2024-02."""
    return f"{value:%Y-%m}"


def quarter(value: date) -> str:
    """Return the quarter of a day: 2024 Q1."""
    return f"{value.year} Q{(value.month + 2) // 3}"


def step_number(step: Decimal) -> str:
    """Return 2.0 as 2, and 2.1 as it is."""
    return f"{step.normalize():f}"


def escaped(text: str) -> str:
    """Escape a text of the data, so that Markdown shows it as it is, on one line."""
    return re.sub(r"([\\`*\[\]<>|&#~$]|\b_|_\b)", r"\\\1", " ".join(text.split()))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, padded: bool = False) -> str:
    """Return a table: the first column aligned left, the numbers in the others right.

    A header that begins with a colon marks a column of texts, which are aligned left.

    Args:
        header: the titles of the columns.
        rows: the cells.
        padded: whether to align the text itself, too, for people who read it as it stands.

    """
    is_text = [True, *(title.startswith(":") for title in header[1:])]
    lines = [
        [title.removeprefix(":") for title in header],
        ["---" if text else "---:" for text in is_text],
        *rows,
    ]
    if padded:
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines[1] = [mark.rjust(width, "-") for mark, width in zip(lines[1], widths, strict=True)]
        lines = [
            [
                cell.ljust(width) if text else cell.rjust(width)
                for cell, width, text in zip(line, widths, is_text, strict=True)
            ]
            for line in lines
        ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_digit(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.1"), ROUND_HALF_UP)
