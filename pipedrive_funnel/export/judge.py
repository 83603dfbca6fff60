"""The rows of a CSV file and their defects: one judge for the check and for landing.

Python's csv module, in strict mode, decides where a row ends. The contract decides which columns
and values the row must have.
"""

from __future__ import annotations

import csv
import difflib
import re
import reprlib
import sys
import textwrap
import typing as t
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pipedrive_funnel.contract import (
    FIELDS_WITH_IDS,
    FORMATS,
    ID,
    JSON_COLUMNS,
    JSON_LEVELS_AT_MOST,
    format_of,
)

LINES_AT_MOST = 1_000  # of a row. Nobody types more: with more, a quote must be open
CHARACTERS_AT_MOST = 1_000_000  # of a row of several lines, for the same reason
OPEN_QUOTES_AT_MOST = 20  # in a file: each causes some lines to be read twice
OPEN_QUOTE = (
    "a quote is not closed, or one inside a text is not doubled. Close the quotes of this row, and "
    "double those inside a text."
)
NO_TEXT = "no text in UTF-8. Save it as CSV UTF-8."
EMPTY_FILE = "the file is empty. Export it again: a table without rows still has a header."

_FOREIGN_BYTE = re.compile("[\udc80-\udcff]")  # not UTF-8, as surrogateescape reads it
_WELL_FORMED = re.compile(r'(?:"(?:[^"]|"")*"|(?!")[^,]*),')  # a field and the comma after it


class Row(t.NamedTuple):
    """A row of a file."""

    line: int  # where the row begins; 1 is the file's first line
    text: str  # as it is in the file, including the end of its last line
    values: list[str]  # empty when its quotes are wrong
    is_open: bool = False  # whether an open quote in it would take in the lines below


class Defect(t.NamedTuple):
    """A defect of a row or of the header."""

    line: int
    column: str | None  # None if the row as a whole is broken
    reason: str


class Unreadable(Exception):
    """A file is wrong as a whole, so nothing more can be said about its rows."""

    def __init__(self, line: int, *reasons: str) -> None:
        """Keep one defect per reason."""
        self.defects = [Defect(line, None, reason) for reason in reasons]
        super().__init__(*self.defects)


class Judge:
    """A CSV file, judged by the columns that it must have.

    Attributes:
        header: its first row.
        names: the names in the header, as SQLMesh reads them.

    """

    def __init__(
        self,
        path: Path,
        types: Mapping[str, str],
        *,
        required: Sequence[str] = (),
        has_ids: bool = False,
    ) -> None:
        """Read the header.

        Args:
            path: the file.
            types: the columns that it must have, and their types.
            required: the columns in which no value may be empty.
            has_ids: whether the file is a log, in which the new value of some fields must be an id.

        Raises:
            Unreadable: columns are missing, or the file is not CSV.

        """
        self._path = path
        header = next(self._all_rows(), None)
        if header is None:
            raise Unreadable(1, EMPTY_FILE)
        if "\0" in header.text or _FOREIGN_BYTE.search(header.text):
            raise Unreadable(header.line, NO_TEXT)
        if not header.values:
            raise Unreadable(header.line, OPEN_QUOTE)
        if reasons := list(_header_defects(header.values, types)):
            raise Unreadable(header.line, *reasons)
        self.header = header
        self.names = normalized(header.values)
        self._types = types
        self._checks = [
            (self.names.index(column), column, format_of(column, type_).accepts, column in required)
            for column, type_ in types.items()
        ]
        change = ("changed_field_key", "new_value") if has_ids else ()
        self._change = [self.names.index(column) for column in change]

    def rows(self) -> Iterator[Row]:
        """Yield the rows below the header.

        Raises:
            Unreadable: a quote is open in too many of them.

        """
        open_quotes = 0
        for row in islice(self._all_rows(), 1, None):
            open_quotes += row.is_open
            if open_quotes > OPEN_QUOTES_AT_MOST:
                advice = "That many rows need it: export the file again."
                raise Unreadable(row.line, f"{OPEN_QUOTE} {advice}")
            yield row

    def _all_rows(self) -> Iterator[Row]:
        # A byte order mark is not part of the header; a byte that is not UTF-8 spoils only its row
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from read_rows(file)

    def defects(self, row: Row) -> Iterator[Defect]:
        """Yield the defects of a row: of its quotes, length or bytes, or else of its values.

        An empty value is NULL, and a defect only if a value is required.
        """
        names, values = self.names, row.values
        if not values:
            column = None if row.is_open else self._column(_well_formed_fields(row.text))
            yield Defect(row.line, column, OPEN_QUOTE)
        elif len(values) != len(names):
            yield Defect(row.line, self._column(len(values)), _length_defect(values, names))
        elif not row.text.isascii() and (byte := _FOREIGN_BYTE.search(row.text)):
            place = next(place for place, value in enumerate(values) if byte[0] in value)
            reason = f"byte {ord(byte[0]) - 0xDC00:#x} is not UTF-8. Save the file as UTF-8."
            yield Defect(row.line, self._column(place), reason)
        else:
            for place, column, accepts, is_required in self._checks:
                value = values[place]
                if value and not accepts(value):
                    yield Defect(row.line, column, _value_defect(column, value, self._types))
                elif column in JSON_COLUMNS and (levels := _levels(value)) > JSON_LEVELS_AT_MOST:
                    reason = f"column {column} holds JSON of {levels:,} levels. Write a list."
                    yield Defect(row.line, column, reason)
                elif is_required and not value:
                    reason = f"column {column} is empty. A row cannot do without it."
                    yield Defect(row.line, column, reason)
            if self._change:
                yield from self._id_defects(row.line, *(values[place] for place in self._change))

    def _column(self, place: int) -> str | None:
        """Return the column at a place of a row; None if it is not in the contract."""
        name = self.names[place] if place < len(self.names) else None
        return name if name in self._types else None

    @staticmethod
    def _id_defects(line: int, field: str, value: str) -> Iterator[Defect]:
        """Yield the defect of a new value that must be an id and is not."""
        if field in FIELDS_WITH_IDS and not re.fullmatch(ID, value):
            yield Defect(
                line,
                "new_value",
                f"column new_value holds {reprlib.repr(value)}, which is no id, and the field that "
                "changed has ids. Write the id of a stage or user.",
            )


def read_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of a file, given its lines; blank lines are skipped.

    An open quote would turn the lines below it into one text. So only the line with the quote is
    lost, and reading goes on with the next line.
    """
    csv.field_size_limit(sys.maxsize)
    lines = iter(lines)
    number, taken, waiting = 1, [], deque()
    reader = csv.reader(_taken(lines, taken, waiting), strict=True)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            first, *others = taken
            yield Row(number, first, [], is_open=bool(others))
            del taken[1:]
            waiting.extendleft(reversed(others))
            reader = csv.reader(_taken(lines, taken, waiting), strict=True)
        else:
            if values:
                yield Row(number, "".join(taken), values)
        number += len(taken)
        taken.clear()


def _taken(lines: Iterator[str], taken: list[str], waiting: deque[str]) -> Iterator[str]:
    """Yield the lines in `waiting` and then the others; keep those of the current row in `taken`.

    Raises:
        csv.Error: the row is so long that a quote must be open in it.

    """
    size = 0
    while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
        size = len(line) + (size if taken else 0)
        taken.append(line)
        if len(taken) > LINES_AT_MOST or (len(taken) > 1 and size > CHARACTERS_AT_MOST):
            raise csv.Error
        yield line


def _levels(json: str) -> int:
    """Return how deep the brackets of a JSON text are nested."""
    level, deepest = 0, 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', json):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def normalized(header: Sequence[str]) -> list[str]:
    """Return a header's names as SQLMesh reads them: without blanks around them, lower-case."""
    return [name.strip().lower() for name in header]


def printable(text: str) -> str:
    """Return a text with escapes in place of what a terminal would obey, or not show."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _well_formed_fields(text: str) -> int:
    """Count the fields of a row before the one whose quotes are wrong."""
    fields, place = 0, 0
    while match := _WELL_FORMED.match(text, place):
        fields, place = fields + 1, match.end()
    return fields


def _header_defects(header: Sequence[str], types: Mapping[str, str]) -> Iterator[str]:
    """Yield the defects of a file's column names, given the columns that it must have."""
    if len(header) == 1 < len(types):
        yield f"{reprlib.repr(header[0])} is a single column. Separate the columns with commas."
        return
    names = normalized(header)
    for column in types:
        if column not in names:
            yield f"column {column} is missing, {_found(column, header, types)}"
        elif names.count(column) > 1:
            yield f"column {column} is there {names.count(column)} times. Keep one."


def _found(missing: str, header: Sequence[str], types: Mapping[str, str]) -> str:
    """Say which columns a file has instead, and which of them may be the missing one."""
    names = textwrap.shorten(", ".join(header), 200, placeholder=" ...")
    found = f"the file has {printable(names)}."
    others = [name for name in normalized(header) if name not in types]
    similar = [printable(name) for name in difflib.get_close_matches(missing, others, n=1)]
    advice = f"Rename {similar[0]} if that is it." if similar else "Add it to the export."
    return f"{found} {advice}"


def _length_defect(values: Sequence[str], names: Sequence[str]) -> str:
    """Say what is wrong with a row that has more or fewer fields than the header."""
    is_short = len(values) < len(names)
    advice = "Complete it." if is_short else "Put texts that hold a comma in quotes."
    return f"the row has {len(values)} fields, the header {len(names)}. {advice}"


def _value_defect(column: str, value: str, types: Mapping[str, str]) -> str:
    """Say what is wrong with a value that its column's type does not accept."""
    expected = format_of(column, types[column]).example
    wrong = "" if column in FORMATS else f", which is no {types[column]}"
    return f"column {column} holds {reprlib.repr(value)}{wrong}. Write {expected}."
