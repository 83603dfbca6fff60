"""An export in CSV files, read by DuckDB: rows that fit the contract, and those that do not.

DuckDB's reader finds the rows that are broken as such: fields missing or in excess, quotes left
open, bytes that are not UTF-8. Values are read as text and held against the patterns of
pipedrive_funnel/export_files.py, because the reader's own casts let wrong values in: it makes 2 of
"1.5" in an id, and 10:00 UTC of "10:00+02:00".
"""

from __future__ import annotations

import csv
import mmap
import sys
import typing as t
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from pipedrive_funnel.export_files import (
    REJECTED,
    TYPES,
    header_defects,
    length_defect,
    normalized,
    value_defect,
)
from pipedrive_funnel.landing.contract import Table
from pipedrive_funnel.landing.scratch import scratch_directory

if t.TYPE_CHECKING:
    import duckdb
    import pyarrow

BATCH = 50_000  # rows in memory at a time
REJECTS_AT_MOST = 10_000  # in a file: beyond, it is the file that is wrong and not some rows
RAW_TEXT_AT_MOST = 10_000  # characters of a rejected row; after an open quote it can be the file


class ExportError(Exception):
    """An export cannot be landed at all. Each of `defects` names a file and what to do."""

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
        files, defects = [], []
        for name, table in tables.items():
            if name == REJECTED:
                continue
            try:
                files.append(CsvFile(directory / f"{name}.csv", table, connection))
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

    def __init__(self, path: Path, table: Table, connection: duckdb.DuckDBPyConnection) -> None:
        """Look at the header of a file.

        Raises:
            ExportError: the file is not there, is no CSV file or lacks columns.

        """
        self.path = path
        self.table = table
        self.rows_read = 0
        self.rejects: list[Reject] = []
        self._connection = connection
        names, self._lines_before_header = self._read_header()
        # Only columns of the contract keep their names: others may be there twice
        self._columns = [
            name if name in table.data_columns else f"_ignored_{number}"
            for number, name in enumerate(names)
        ]

    def _read_header(self) -> tuple[list[str], int]:
        """Return the names in the header and the number of blank lines above it."""
        if not self.path.is_file():
            raise ExportError([f"{self.path} is missing. Export this table as well."])
        # Bytes that are no UTF-8 further down are a row's defect and not the file's
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            try:
                header = next(filter(None, reader), [])
            except csv.Error as error:
                raise ExportError([f"{self.path}, line 1: {error}. It is no CSV file."]) from error
        if any("\ufffd" in name or "\0" in name for name in header):
            raise ExportError([f"{self.path}, line 1: no text in UTF-8. Save the file as CSV."])
        if defects := list(header_defects(header, self.table.data_columns)):
            raise ExportError(f"{self.path}, line 1: {defect}" for defect in defects)
        return normalized(header), reader.line_num - 1

    def read(self) -> None:
        """Parse the file and put its rows, as text, into a table of the same name.

        Raises:
            ExportError: it cannot be parsed, or so many rows do not fit that it must be wrong.

        """
        import duckdb

        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in self._columns)
        cases = " ".join(
            f"WHEN {_is_bad(name, type_, name in self.table.key)} THEN '{name}'"
            for name, type_ in self.table.data_columns.items()
        )
        try:
            # Never with ignore_errors: DuckDB 1.5 then loses rows that are fine, after bad ones
            self._connection.execute(
                f"CREATE TABLE {self.table.name} AS "
                f"SELECT *, CASE {cases} END AS _defective_column "
                "FROM READ_CSV(?, auto_detect = FALSE, header = TRUE, delim = ',', quote = '\"', "
                f"escape = '\"', skip = {self._lines_before_header}, columns = {{{columns}}}, "
                f"store_rejects = TRUE, rejects_table = '{self._broken}', "
                f"rejects_scan = '{self._broken}_scan')",
                [str(self.path)],
            )
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            advice = "Save it again as CSV, with the same line end in every line."
            raise ExportError([f"{self.path} cannot be read: {reason} {advice}"]) from error
        [(parsed, bad, broken)] = self._connection.execute(
            "SELECT COUNT(*), COUNT(_defective_column), "
            f"(SELECT COUNT(DISTINCT line_byte_position) FROM {self._broken}) "
            f"FROM {self.table.name}"
        ).fetchall()
        self.rows_read = parsed + broken
        if bad + broken > REJECTS_AT_MOST:
            first = next(self._broken_rows() if broken else self._rows_with_bad_values(limit=1))
            raise ExportError(
                [
                    f"{self.path}: {bad + broken:,} of {self.rows_read:,} rows do not fit, for "
                    f"example line {first.line}: {first.reason} More than {REJECTS_AT_MOST:,} are "
                    "not put aside: export the file again."
                ]
            )
        rejects = [*self._broken_rows(), *(self._rows_with_bad_values() if bad else ())]
        self.rejects = sorted(rejects, key=lambda reject: reject.line or sys.maxsize)

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
            yield self._reject(line, name, _broken_row_defect(kind, message, text or ""), text)

    def _lines(self, positions: Iterable[int]) -> Iterator[int]:
        """Yield the lines of ascending positions in the file, 1 for the first byte.

        DuckDB's own number of a line does not count the line breaks inside texts, and its position
        can be that of blank lines above the row.
        """
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            line_end = b"\n" if content.find(b"\n") >= 0 else b"\r"
            line, counted = 1, 0
            for position in positions:
                start = max(position - 1, 0)
                while content[start : start + 1] in (b"\r", b"\n"):
                    start += 1
                line += content[counted:start].count(line_end)
                counted = start
                yield line

    def _rows_with_bad_values(self, limit: int = REJECTS_AT_MOST) -> Iterator[Reject]:
        """Yield the rows that can be parsed but hold a value that does not fit."""
        rows = self._connection.execute(
            f"SELECT _defective_column, {', '.join(self._columns)} FROM {self.table.name} "
            f"WHERE _defective_column IS NOT NULL LIMIT {limit}"
        ).fetchall()
        found = {tuple(value or "" for value in values) for _, *values in rows}
        places = self._find(found)
        for column, *values in rows:
            row = tuple(value or "" for value in values)
            line, text = places[row].pop(0) if places[row] else (None, ",".join(row))
            value = values[self._columns.index(column)]
            defect = (
                value_defect(column, value, self.table.columns[column])
                if value
                else f"column {column} is empty. A row cannot be told apart without it."
            )
            yield self._reject(line, column, defect, text)

    def _find(self, rows: set[tuple[str, ...]]) -> Mapping[tuple[str, ...], list[tuple[int, str]]]:
        """Return the line and the text of each of some rows: the database does not keep them."""
        places: dict[tuple[str, ...], list[tuple[int, str]]] = defaultdict(list)
        csv.field_size_limit(sys.maxsize)
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines: list[str] = []  # of the row that is being read
            reader = csv.reader(_remembered(file, lines))
            for row in reader:
                if tuple(row) in rows:
                    first_line = reader.line_num - len(lines) + 1
                    places[tuple(row)].append((first_line, "".join(lines)))
                lines.clear()
        return places

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


def _remembered(lines: Iterable[str], memory: list[str]) -> Iterator[str]:
    """Yield lines and add each to `memory`."""
    for line in lines:
        memory.append(line)
        yield line


def _is_bad(column: str, type_: str, is_key: bool) -> str:
    """Return the condition that a text in a column does not fit; NULL, which is no text, does."""
    pattern = TYPES[type_].pattern.replace("'", "''")
    conditions = [f"NOT REGEXP_FULL_MATCH({column}, '(?s){pattern}')"]
    if type_ == "TIMESTAMP":
        conditions.append(f"TRY_CAST({column} AS TIMESTAMP) IS NULL")
    bad = f"{column} IS NOT NULL AND ({' OR '.join(conditions)})"
    return f"{column} IS NULL OR {bad}" if is_key else bad


def _cast(column: str, type_: str) -> str:
    """Return the expression that makes a value of a text that fits."""
    # Pandas writes the integers of a column with gaps as 12.0
    text = f"REGEXP_REPLACE({column}, '\\.0$', '')" if type_ == "BIGINT" else column
    return f"CAST({text} AS {type_})"


def _broken_row_defect(kind: str, message: str, text: str) -> str:
    """Say what is wrong with a row that DuckDB's reader cannot parse."""
    if kind in ("TOO MANY COLUMNS", "MISSING COLUMNS"):  # Expected Number of Columns: 4 Found: 5
        expected, found = (int(word) for word in message.split() if word.isdigit())
        return length_defect(found, expected)
    if kind == "UNQUOTED VALUE":
        lines = text.strip("\r\n").count("\n") + 1
        takes = f" It takes {lines:,} lines with it." if lines > 1 else ""
        return (
            "a quote is not closed, or one inside a text is not doubled. Close the quotes of this "
            f"row, and double those inside a text.{takes}"
        )
    if kind == "INVALID ENCODING":
        return "a byte is not UTF-8. Save the file as UTF-8."
    return message.splitlines()[0]
