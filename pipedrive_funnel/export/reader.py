"""An export in CSV files, read by DuckDB: rows that fit the contract, and those that do not.

DuckDB's reader finds the rows that are broken as such: fields missing or in excess, quotes left
open, bytes that are not UTF-8. Values are read as text and held against the patterns of
pipedrive_funnel/export/check.py, because the reader's own casts let wrong values in: it makes 2 of
"1.5" in an id, and 10:00 UTC of "10:00+02:00".
"""

from __future__ import annotations

import csv
import mmap
import reprlib
import sys
import typing as t
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path

from pipedrive_funnel.contract import FIELDS_WITH_IDS, ID, Table
from pipedrive_funnel.errors import BAD_INPUT, LandingError
from pipedrive_funnel.export.check import (
    REJECTED,
    TYPES,
    header_defects,
    length_defect,
    normalized,
    value_defect,
)
from pipedrive_funnel.landing.scratch import scratch_directory

if t.TYPE_CHECKING:
    import duckdb
    import pyarrow

BATCH = 50_000  # rows in memory at a time
REJECTS_AT_MOST = 10_000  # in a file: beyond, it is the file that is wrong and not some rows
RAW_TEXT_AT_MOST = 10_000  # characters of a rejected row; after an open quote it can be the file
OPEN_QUOTES_AT_MOST = 20  # in a file: each of them lets it be parsed anew
LINES_AT_MOST = 1_000  # of a text, which is more than anybody types
CHARACTERS_AT_MOST = 1_000_000  # of a row; DuckDB goes astray beyond two million
OPEN_QUOTE = (
    "a quote is not closed, or one inside a text is not doubled. Close the quotes of this row, and "
    "double those inside a text."
)


class DifferentLineEnds(Exception):
    """DuckDB has lost its way in a file; that happens when lines end in several ways."""


class ExportError(LandingError):
    """An export cannot be landed at all. Each of `defects` names a file and what to do."""

    code = BAD_INPUT
    advice = "Nothing was written."

    def __init__(self, defects: Iterable[str]) -> None:
        """Keep the defects, one text each."""
        self.defects = list(defects)
        super().__init__("\n".join(self.defects))


@dataclass(frozen=True)
class Reject:
    """A row that is not landed. The names are those of the columns of rejected_rows."""

    table_name: str
    file_name: str
    line: int | None  # 1 is the file's first; None where it could not be found again
    column_name: str | None
    reason: str
    raw_text: str


@contextmanager
def open_export(directory: Path, tables: Mapping[str, Table]) -> Iterator[list[CsvFile]]:
    """Give the CSV files of an export, their headers checked, to be read.

    What is read of them lies in a DuckDB file until the end: memory holds a part of it at a time.

    Raises:
        ExportError: a file is not there, is no CSV file or lacks columns.

    """
    import duckdb

    with (
        scratch_directory() as scratch,
        duckdb.connect(scratch / "export.duckdb") as connection,
    ):
        connection.execute("SET memory_limit = '512MB'")
        if not directory.is_dir():
            raise ExportError([f"{directory} is no directory. Name the one with the six files."])
        files, defects = [], []
        for name, table in tables.items():
            if name == REJECTED:
                continue
            try:
                files.append(CsvFile(directory / f"{name}.csv", table, connection, scratch))
            except ExportError as error:
                defects += error.defects
        if defects:
            raise ExportError(defects)
        yield files


class CsvFile:
    """The CSV file of a table.

    Attributes:
        path: where the file is.
        table: what it is for.
        rows_read: the number of its rows, rejected ones among them; 0 before it is read.
        rejects: the rows that do not fit, in the order of their lines.

    """

    def __init__(
        self, path: Path, table: Table, connection: duckdb.DuckDBPyConnection, scratch: Path
    ) -> None:
        """Look at the header of a file; `connection` and `scratch` hold what is made of it.

        Raises:
            ExportError: the file is not there, is no CSV file or lacks columns.

        """
        self.path = path
        self.table = table
        self.rows_read = 0
        self.rejects: list[Reject] = []
        self._connection = connection
        self._has_one_line_end = False  # or it is not known yet
        names, self._lines_above_header, self._header_lines = self._read_header()
        # A name that DuckDB cannot take for a pattern or a partition
        self._edited = scratch / path.name
        self._edited.symlink_to(path.resolve())
        # Only columns of the contract keep their names: others may be there twice
        self._columns = [
            name if name in table.data_columns else f"_ignored_{number}"
            for number, name in enumerate(names)
        ]

    def _read_header(self) -> tuple[list[str], int, int]:
        """Return the names in the header, the blank lines above it and the lines that it takes."""
        if not self.path.is_file():
            raise ExportError([f"{self.path} is missing. Export this table as well."])
        # Bytes that are no UTF-8 further down are a row's defect and not the file's
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            lines_above = 0
            try:
                header = next(reader, [])
                while not header and reader.line_num > lines_above:
                    lines_above = reader.line_num
                    header = next(reader, [])
            except csv.Error as error:
                raise ExportError([f"{self.path}, line 1: {error}. It is no CSV file."]) from error
        if any("\ufffd" in name or "\0" in name for name in header):
            raise ExportError([f"{self.path}, line 1: no text in UTF-8. Save it as CSV UTF-8."])
        if defects := list(header_defects(header, self.table.data_columns)):
            raise ExportError(f"{self.path}, line 1: {defect}" for defect in defects)
        return normalized(header), lines_above, reader.line_num - lines_above

    def read(self) -> None:
        """Parse the file and put its rows, as text, into a table of the same name.

        Raises:
            ExportError: it cannot be parsed, or so many rows do not fit that it must be wrong.

        """
        cut = self._parse()
        self._mark_contradictions()
        [(parsed, bad, broken)] = self._connection.execute(
            "SELECT COUNT(*), COUNT(_defective_column), "
            f"(SELECT COUNT(DISTINCT line_byte_position) FROM {self._broken}) "
            f"FROM {self.table.name}"
        ).fetchall()
        self.rows_read = parsed + broken + len(cut)
        if bad + broken > REJECTS_AT_MOST:
            first = next(self._broken_rows() if broken else self._rows_with_bad_values(limit=1))
            raise ExportError(
                [
                    f"{self.path}: {bad + broken:,} of {self.rows_read:,} rows do not fit, for "
                    f"example line {first.line}: {first.reason} More than {REJECTS_AT_MOST:,} are "
                    "not put aside: export the file again."
                ]
            )
        rejects = [*cut, *self._broken_rows(), *(self._rows_with_bad_values() if bad else ())]
        self.rejects = sorted(rejects, key=lambda reject: reject.line or sys.maxsize)

    def _parse(self) -> list[Reject]:
        """Parse the file, without the lines whose open quote would take others with it.

        Returns:
            The rows that these lines begin.

        """
        cut: list[Reject] = []
        while True:
            try:
                self._create_table()
            except DifferentLineEnds as error:
                if self._has_one_line_end:
                    raise ExportError([f"{self.path} cannot be read: {error}"]) from error
                self._edit(lambda number, line: line.replace(b"\r\n", b"\n"))
                self._has_one_line_end = True
                continue
            if (found := self._open_quote()) is None:
                return cut
            line, text = found
            if len(cut) == OPEN_QUOTES_AT_MOST:
                advice = "That many rows need it: export the file again."
                raise ExportError([f"{self.path}, line {line}: {OPEN_QUOTE} {advice}"])
            cut.append(self._reject(line, None, OPEN_QUOTE, text))
            # A blank line is no row, and keeps the numbers of those below
            self._edit(lambda number, text, line=line: b"\n" if number == line else text)

    def _create_table(self) -> None:
        """Let DuckDB parse the file as it has been edited."""
        import duckdb

        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in self._columns)
        cases = " ".join(f"WHEN {bad} THEN '{name}'" for name, bad in _defects(self.table))
        for name in (self.table.name, self._broken, f"{self._broken}_scan"):
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")
        try:
            # With ignore_errors instead, DuckDB 1.5 loses rows that are fine after bad ones
            self._connection.execute(
                f"CREATE TABLE {self.table.name} AS "
                f"SELECT *, CASE {cases} END AS _defective_column "
                "FROM READ_CSV(?, auto_detect = FALSE, header = TRUE, delim = ',', quote = '\"', "
                f"escape = '\"', skip = {self._lines_above_header}, columns = {{{columns}}}, "
                "hive_partitioning = FALSE, store_rejects = TRUE, "
                f"rejects_table = '{self._broken}', rejects_scan = '{self._broken}_scan')",
                [str(self._edited)],
            )
        except duckdb.InvalidInputException as error:
            raise DifferentLineEnds(str(error).splitlines()[0]) from error

    def _open_quote(self) -> tuple[int, str] | None:
        """Return the first line from which a quote takes other lines with it, and its text."""
        rows = self._connection.execute(
            f"SELECT line_byte_position, COALESCE(csv_line, '') FROM {self._broken} "
            "WHERE error_type = 'UNQUOTED VALUE' ORDER BY line_byte_position"
        ).fetchall()
        positions = [place for place, text in rows if self._line_breaks(text)]
        lines = list(islice(self._lines(positions), 1))
        if not lines and self._has_lost_lines():
            lines = [line for _, line, text in self._records() if _is_endless(text)][:1]
            if not lines:
                raise ExportError([f"{self.path} cannot be read whole. Save it again as CSV."])
        if not lines:
            lines = self._lines_of_endless_texts()
        if not lines:
            return None
        line = min(lines)
        with self._edited.open("rb") as file:
            text = next(islice(file, line - 1, None), b"")
        return line, text.decode(errors="replace")

    def _has_lost_lines(self) -> bool:
        """Tell whether lines are in no row: DuckDB goes astray in a row of some MB."""
        if self._line_end == "\r":
            return False
        with self._edited.open("rb") as file:
            filled = sum(1 for line in file if line.strip())
        texts = " || ".join(f"COALESCE({name}, '')" for name in self._columns)
        [(in_rows,)] = self._connection.execute(
            f"SELECT COALESCE(SUM(1 + {_line_feeds('text')}), 0) FROM (SELECT {texts} AS text "
            f"FROM {self.table.name})"
        ).fetchall()
        broken = self._connection.execute(
            f"SELECT FIRST(csv_line) FROM {self._broken} GROUP BY line_byte_position"
        ).fetchall()
        in_broken = sum(1 + self._line_breaks(text or "") for (text,) in broken)
        return self._header_lines + in_rows + in_broken < filled

    def _lines_of_endless_texts(self) -> list[int]:
        """Return the lines of rows with a text so long that a quote must be open in it."""
        texts = [name for name, type_ in self.table.data_columns.items() if type_ == "TEXT"]
        is_long = " OR ".join(f"{_line_feeds(name)} > {LINES_AT_MOST}" for name in texts)
        rows = self._connection.execute(
            f"SELECT {', '.join(self._columns)} FROM {self.table.name} WHERE {is_long}"
        ).fetchall()
        places = self._find({_bare(row) for row in rows}) if rows else {}
        return [line for found in places.values() for line, _ in found]

    def _line_breaks(self, text: str) -> int:
        """Count the line breaks inside a row."""
        return text.strip("\r\n").count(self._line_end)

    @cached_property
    def _line_end(self) -> str:
        """What ends the lines of the file, or the last character of it."""
        with self.path.open("rb") as file:
            return (
                "\n" if any(b"\n" in part for part in iter(lambda: file.read(2**20), b"")) else "\r"
            )

    def _edit(self, change: Callable[[int, bytes], bytes]) -> None:
        """Go on with a copy of the file that has changed lines; their numbers stay."""
        copy = self._edited.with_name(f"{self._edited.name}_")
        with self._edited.open("rb") as lines, copy.open("wb") as file:
            file.writelines(change(number, line) for number, line in enumerate(lines, start=1))
        self._edited.unlink()
        self._edited = copy.rename(self._edited)

    def _mark_contradictions(self) -> None:
        """Mark the rows of a snapshot that have the same key and other values."""
        if self.table.is_log:
            return
        columns = self.table.data_columns
        values = {name: _cast(name, type_, "TRY_CAST") for name, type_ in columns.items()}
        key = ", ".join(values[name] for name in self.table.key)
        self._connection.execute(
            f"UPDATE {self.table.name} SET _defective_column = '{self.table.key[0]}' "
            f"WHERE _defective_column IS NULL AND ({key}) IN (SELECT ({key}) "
            f"FROM {self.table.name} WHERE _defective_column IS NULL "
            f"GROUP BY {key} HAVING COUNT(DISTINCT ({', '.join(values.values())})) > 1)"
        )

    @property
    def _broken(self) -> str:
        """The table of the rows that DuckDB cannot parse."""
        return f"{self.table.name}_broken"

    def batches(self) -> Iterator[pyarrow.Table]:
        """Yield the rows that fit, in the columns and types of the contract; one batch at least."""
        import pyarrow

        columns = self.table.data_columns
        casts = ", ".join(f"{_cast(name, type_)} AS {name}" for name, type_ in columns.items())
        # A cursor, because batches of several tables may be asked for at a time
        rows = (
            self._connection.cursor()
            .execute(f"SELECT {casts} FROM {self.table.name} WHERE _defective_column IS NULL")
            .to_arrow_reader(BATCH)
        )
        yield rows.schema.empty_table()
        for batch in rows:
            yield pyarrow.Table.from_batches([batch])

    def _broken_rows(self) -> Iterator[Reject]:
        """Yield the rows that cannot be parsed."""
        first = ", ".join(
            f"FIRST({name}::VARCHAR ORDER BY column_idx)"
            for name in ("column_name", "error_type", "error_message", "csv_line")
        )
        rows = self._connection.execute(
            f"SELECT line_byte_position, {first} FROM {self._broken} "
            f"GROUP BY line_byte_position ORDER BY line_byte_position LIMIT {REJECTS_AT_MOST}"
        ).fetchall()
        lines = self._lines([position for position, *_ in rows])
        for line, (_, column, kind, message, text) in zip(lines, rows, strict=True):
            name = column if column in self.table.data_columns else None
            yield self._reject(line, name, _broken_row_defect(kind, message), text)

    def _lines(self, positions: Iterable[int]) -> Iterator[int]:
        """Yield the lines of ascending positions in the file, 1 for the first byte.

        DuckDB's own number of a line does not count the line breaks inside texts, and its position
        can be that of blank lines above the row.
        """
        with (
            self._edited.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            line, counted = 1, 0
            for position in positions:
                start = max(position - 1, 0)
                while content[start : start + 1] in (b"\r", b"\n"):
                    start += 1
                line += content[counted:start].count(self._line_end.encode())
                counted = start
                yield line

    def _rows_with_bad_values(self, limit: int = REJECTS_AT_MOST) -> Iterator[Reject]:
        """Yield the rows that can be parsed but hold a value that does not fit."""
        rows = self._connection.execute(
            f"SELECT _defective_column, {', '.join(self._columns)} FROM {self.table.name} "
            f"WHERE _defective_column IS NOT NULL LIMIT {limit}"
        ).fetchall()
        places = self._find({_bare(values) for _, *values in rows})
        for column, *values in rows:
            found = places[_bare(values)]
            line, text = (
                found.pop(0) if found else (None, ",".join(value or "" for value in values))
            )
            value = values[self._columns.index(column)]
            yield self._reject(line, column, self._value_defect(column, value), text)

    def _value_defect(self, column: str, value: str | None) -> str:
        """Say what is wrong with the first value of a row that does not fit."""
        type_ = self.table.columns[column]
        if column == "new_value" and (value is None or TYPES[type_].accepts(value)):
            return (
                f"column new_value holds {reprlib.repr(value or '')}, which is no id, and the "
                "field that changed has ids. Write the id of a stage or user."
            )
        if not value:
            return f"column {column} is empty. A row cannot do without it."
        if not TYPES[type_].accepts(value):
            return value_defect(column, value, type_)
        key = ", ".join(self.table.key)
        return f"another row has the same {key} and other values. Keep the one that is right."

    def _find(self, rows: set[tuple[str, ...]]) -> Mapping[tuple[str, ...], list[tuple[int, str]]]:
        """Return the line and the text of each of some rows: the database does not keep them."""
        places: dict[tuple[str, ...], list[tuple[int, str]]] = defaultdict(list)
        for row, line, text in self._records():
            values = _bare(row[: len(self._columns)])
            if values in rows:
                places[values].append((line, text))
        return places

    def _records(self) -> Iterator[tuple[list[str], int, str]]:
        """Yield the values, the first line and the text of each row, as Python parses the file."""
        csv.field_size_limit(sys.maxsize)
        newline = "\n" if self._line_end == "\n" else ""  # else a \r in a text would be a line
        with self._edited.open(encoding="utf-8-sig", errors="replace", newline=newline) as file:
            lines: list[str] = []  # of the row that is being read
            reader = csv.reader(_remembered(file, lines))
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    row = []
                yield row, reader.line_num - len(lines) + 1, "".join(lines)
                lines.clear()

    def _reject(
        self, line: int | None, column: str | None, reason: str, text: str | None
    ) -> Reject:
        # A database holds no NUL character
        shown = (text or "").strip("\r\n").replace("\0", "\ufffd")[:RAW_TEXT_AT_MOST]
        return Reject(self.table.name, self.path.name, line, column, reason, shown)


def rejects_table(rejects: Iterable[Reject]) -> pyarrow.Table:
    """Return rejected rows in the columns of rejected_rows."""
    import pyarrow

    names = [field.name for field in fields(Reject)]
    types = [pyarrow.int64() if name == "line" else pyarrow.string() for name in names]
    schema = pyarrow.schema(list(zip(names, types, strict=True)))
    rows = [dict(zip(names, astuple(reject), strict=True)) for reject in rejects]
    return pyarrow.Table.from_pylist(rows, schema=schema)


def _bare(values: Iterable[str | None]) -> tuple[str, ...]:
    """Return a row without the blanks and quotes around values, which parsers see differently."""
    return tuple((value or "").strip(' "') for value in values)


def _remembered(lines: Iterable[str], memory: list[str]) -> Iterator[str]:
    """Yield lines and add each to `memory`."""
    for line in lines:
        memory.append(line)
        yield line


def _defects(table: Table) -> Iterator[tuple[str, str]]:
    """Yield columns of a table, and the condition that a text in them does not fit."""
    for column, type_ in table.data_columns.items():
        pattern = TYPES[type_].pattern.replace("'", "''")
        is_bad = f"NOT REGEXP_FULL_MATCH({column}, '(?s){pattern}')"  # NULL, of no text
        if type_ == "TIMESTAMP":
            is_bad += f" OR (TRY_CAST({column} AS TIMESTAMP) IS NULL AND {column} IS NOT NULL)"
        if column in table.required:
            is_bad += f" OR {column} IS NULL"
        yield column, is_bad
    if table.name == "deal_changes":
        yield (
            "new_value",
            f"changed_field_key IN {FIELDS_WITH_IDS} "
            f"AND NOT REGEXP_FULL_MATCH(COALESCE(new_value, ''), '{ID}')",
        )


def _line_feeds(text: str) -> str:
    """Return the expression that counts the line feeds in a text."""
    return f"(LENGTH({text}) - LENGTH(REPLACE({text}, CHR(10), '')))"


def _is_endless(text: str) -> bool:
    """Tell whether a row is so long that a quote must be open in it."""
    return text.count("\n") > LINES_AT_MOST or len(text) > CHARACTERS_AT_MOST


def _cast(column: str, type_: str, function: str = "CAST") -> str:
    """Return the expression that makes a value of a text that fits."""
    # Pandas writes the integers of a column with gaps as 12.0
    text = f"REGEXP_REPLACE({column}, '\\.0$', '')" if type_ == "BIGINT" else column
    return f"{function}({text} AS {type_})"


def _broken_row_defect(kind: str, message: str) -> str:
    """Say what is wrong with a row that DuckDB's reader cannot parse."""
    if kind in ("TOO MANY COLUMNS", "MISSING COLUMNS"):  # Expected Number of Columns: 4 Found: 5
        expected, found = (int(word) for word in message.split() if word.isdigit())
        return length_defect(found, expected)
    if kind == "UNQUOTED VALUE":
        return OPEN_QUOTE
    if kind == "INVALID ENCODING":
        return "a byte is not UTF-8. Save the file as UTF-8."
    return f"{message.splitlines()[0].rstrip('.')}. Shorten it."
