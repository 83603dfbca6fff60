"""An export in CSV files, read for landing: the rows that fit the contract, and those that do not.

DuckDB reads a file in one go, which is fast. Its result is used only if all rows fit and Python's
csv module is certain to read the same rows. Any other file is read row by row and judged by
pipedrive_funnel/export/judge.py, as in the check of a plan.
"""

from __future__ import annotations

import codecs
import typing as t
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path

from pipedrive_funnel.contract import (
    FIELDS_WITH_IDS,
    ID,
    JSON_COLUMNS,
    JSON_LEVELS_AT_MOST,
    Table,
    format_of,
)
from pipedrive_funnel.errors import BAD_INPUT, LandingError
from pipedrive_funnel.export.judge import (
    CHARACTERS_AT_MOST,
    LINES_AT_MOST,
    Defect,
    Judge,
    Row,
    Unreadable,
)
from pipedrive_funnel.landing.scratch import scratch_directory

if t.TYPE_CHECKING:
    import duckdb
    import pyarrow

BATCH = 50_000  # rows in memory at a time
REJECTS_AT_MOST = 10_000  # in a file: with more, the file is wrong and not some rows
RAW_TEXT_AT_MOST = 10_000  # characters of a row; with an open quote, a row can be the whole file


class ExportError(LandingError):
    """An export cannot be landed at all. Each of `defects` names a file and what to do."""

    code = BAD_INPUT
    advice = "Nothing was written."

    def __init__(self, defects: Iterable[str]) -> None:
        """Keep the defects, one text each."""
        self.defects = list(defects)
        super().__init__("\n".join(self.defects))


class Reject(t.NamedTuple):
    """A row that is not landed. Its fields are named like the columns of rejected_rows."""

    table_name: str
    file_name: str
    line: int  # 1 is the file's first
    column_name: str | None
    reason: str
    raw_text: str


@contextmanager
def open_export(directory: Path, tables: Mapping[str, Table]) -> Iterator[list[CsvFile]]:
    """Give the CSV files of an export, with their headers checked, ready to be read.

    The rows that are read stay in a DuckDB file until the end, so memory holds only some of them.

    Raises:
        ExportError: a file is missing, is not CSV or lacks columns.

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
            if table.is_expected_in(directory):
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
        table: the table that the file is for.
        rows_read: the number of its rows, including rejected ones; 0 before it is read.
        rejects: the rows that do not fit, in the order of their lines.

    """

    def __init__(
        self, path: Path, table: Table, connection: duckdb.DuckDBPyConnection, scratch: Path
    ) -> None:
        """Check the header of a file; its rows will go to `connection`, a link to it to `scratch`.

        Raises:
            ExportError: the file is missing, is not CSV or lacks columns.

        """
        self.path = path
        self.table = table
        self.rows_read = 0
        self.rejects: list[Reject] = []
        self._connection = connection
        # A path that DuckDB cannot mistake for a pattern or a partition
        self._link = scratch / path.name
        if not path.is_file():
            raise ExportError([f"{path} is missing. Export this table as well."])
        with self._whole_file():
            self._judge = Judge(
                path, table.data_columns, required=table.required, has_ids=table.is_log
            )

    @contextmanager
    def _whole_file(self) -> Iterator[None]:
        """Turn `Unreadable` into an error that names the file."""
        try:
            yield
        except Unreadable as error:
            defects = [f"{self.path}, line {line}: {reason}" for line, _, reason in error.defects]
            raise ExportError(defects) from error

    def read(self) -> None:
        """Parse the file and put its rows into a table of the same name.

        Raises:
            ExportError: so many rows do not fit that the file must be wrong.

        """
        if not self._read_at_once():
            with self._whole_file():
                self._read_row_by_row()

    # --- at once ----------------------------------------------------------------------------------

    def _read_at_once(self) -> bool:
        """Let DuckDB read the file. Return whether all rows fit, and Python would read the same.

        DuckDB silently drops some input, such as blanks after a quote, surplus commas, or rows
        after one of several MB. So all bytes of the file must be accounted for: in values, as
        commas between them, as quotes or as line ends.
        """
        import duckdb

        content = _bytes_of_content(self.path)
        header = self._judge.header
        if content is None or header.line > 1:
            return False
        if not self._link.is_symlink():
            self._link.symlink_to(self.path.resolve())
        names = [
            name if name in self.table.data_columns else f"_ignored_{number}"
            for number, name in enumerate(self._judge.names)  # names may occur twice
        ]
        texts = f"CONCAT({', '.join(names)})"
        source = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
        try:
            self._connection.execute(
                f"CREATE OR REPLACE TABLE {self.table.name} AS "
                f"SELECT {', '.join(_checked_columns(self.table))}, NULL::BIGINT AS _line, "
                f"STRLEN({texts})::INTEGER AS _size, "
                f"STRLEN(TRANSLATE({texts}, CONCAT('\"', CHR(13), CHR(10)), ''))::INTEGER "
                "AS _content "
                "FROM READ_CSV(?, auto_detect = FALSE, header = TRUE, delim = ',', quote = '\"', "
                f"escape = '\"', columns = {{{source}}}, hive_partitioning = FALSE)",
                [str(self._link)],
            )
        except (duckdb.InvalidInputException, duckdb.ConversionException):
            return False
        [(rows, in_values, longest, most_lines)] = self._connection.execute(
            "SELECT COUNT(*), COALESCE(SUM(_content), 0), COALESCE(MAX(_size), 0), "
            f"COALESCE(MAX(_size - _content), 0) FROM {self.table.name}"
        ).fetchall()
        self.rows_read = rows
        found = _content(header.text.encode()) + in_values + rows * (len(names) - 1)
        return (
            found == content
            and longest <= CHARACTERS_AT_MOST
            and most_lines < LINES_AT_MOST
            and not self._take_contradictions()
        )

    # --- row by row -------------------------------------------------------------------------------

    def _read_row_by_row(self) -> None:
        """Let the judge read the file.

        Raises:
            Unreadable: a quote is open in too many rows.
            ExportError: so many rows do not fit that the file must be wrong.

        """
        columns = ", ".join(f"{name} {type_}" for name, type_ in self.table.data_columns.items())
        self._connection.execute(
            f"CREATE OR REPLACE TABLE {self.table.name} ({columns}, _line BIGINT)"
        )
        self.rows_read, fitting = 0, 0
        rows = self._fitting_rows()
        while batch := list(islice(rows, BATCH)):
            self._insert(batch)
            fitting += len(batch)
        lines = self._take_contradictions()
        self._reject_contradictions(lines)
        self.rejects.sort(key=lambda reject: reject.line)
        if (unfit := self.rows_read - fitting + len(lines)) > REJECTS_AT_MOST:
            raise ExportError(
                [
                    f"{self.path}: {unfit:,} of {self.rows_read:,} rows do not fit, for example "
                    f"line {self.rejects[0].line}: {self.rejects[0].reason} More than "
                    f"{REJECTS_AT_MOST:,} are not put aside: export the file again."
                ]
            )

    def _fitting_rows(self) -> Iterator[tuple[str | int, ...]]:
        """Yield the values of the rows that fit, with their lines, and reject the others."""
        pick = itemgetter(*(self._judge.names.index(name) for name in self.table.data_columns))
        for row in self._judge.rows():
            self.rows_read += 1
            if defect := next(self._judge.defects(row), None):
                self._reject(row, defect)
            else:
                yield (*pick(row.values), row.line)

    def _insert(self, rows: list[tuple[str | int, ...]]) -> None:
        """Add rows that fit to the table."""
        import pyarrow

        *values, lines = zip(*rows, strict=True)
        columns = dict(zip(self.table.data_columns, values, strict=True))
        batch = pyarrow.table(
            {name: pyarrow.array(texts, pyarrow.string()) for name, texts in columns.items()}
            | {"_line": pyarrow.array(lines, pyarrow.int64())}
        )
        casts = ", ".join(
            _cast(f"NULLIF({name}, '')", type_) for name, type_ in self.table.data_columns.items()
        )
        self._connection.register("batch", batch)
        self._connection.execute(f"INSERT INTO {self.table.name} SELECT {casts}, _line FROM batch")
        self._connection.unregister("batch")

    def _reject_contradictions(self, lines: set[int]) -> None:
        """Reject the rows at `lines`: others have the same key and other values."""
        key = ", ".join(self.table.key)
        reason = f"another row has the same {key} and other values. Keep the one that is right."
        for row in self._judge.rows() if lines else ():
            if row.line in lines:
                self._reject(row, Defect(row.line, self.table.key[0], reason))

    def _reject(self, row: Row, defect: Defect) -> None:
        """Put a row aside; with more rows than the limit, the file is rejected."""
        if len(self.rejects) < REJECTS_AT_MOST:
            text = row.text.encode(errors="surrogateescape").decode(errors="replace")
            # A database cannot hold a NUL character
            shown = text.rstrip("\r\n").replace("\0", "\ufffd")[:RAW_TEXT_AT_MOST]
            self.rejects.append(Reject(self.table.name, self.path.name, *defect, shown))

    # --- either way -------------------------------------------------------------------------------

    def _take_contradictions(self) -> set[int | None]:
        """Remove the rows of a snapshot that share a key and have different values.

        Returns:
            The lines of these rows, as far as they are known.

        """
        if self.table.is_log:
            return set()
        key, columns = ", ".join(self.table.key), ", ".join(self.table.data_columns)
        removed = self._connection.execute(
            f"DELETE FROM {self.table.name} WHERE ({key}) IN (SELECT ({key}) "
            f"FROM {self.table.name} GROUP BY {key} HAVING COUNT(DISTINCT ({columns})) > 1) "
            "RETURNING _line"
        ).fetchall()
        return {line for (line,) in removed}

    def batches(self) -> Iterator[pyarrow.Table]:
        """Yield the rows that fit, in the columns and types of the contract; at least one batch."""
        import pyarrow

        # A cursor, because batches of several tables may be read at the same time
        rows = (
            self._connection.cursor()
            .execute(f"SELECT {', '.join(self.table.data_columns)} FROM {self.table.name}")
            .to_arrow_reader(BATCH)
        )
        yield rows.schema.empty_table()
        for batch in rows:
            yield pyarrow.Table.from_batches([batch])


def rejects_table(rejects: Iterable[Reject]) -> pyarrow.Table:
    """Return rejected rows in the columns of rejected_rows."""
    import pyarrow

    types = {
        name: pyarrow.int64() if name == "line" else pyarrow.string() for name in Reject._fields
    }
    schema = pyarrow.schema(types)
    return pyarrow.Table.from_pylist([reject._asdict() for reject in rejects], schema=schema)


def _bytes_of_content(path: Path) -> int | None:
    """Count the bytes of a file other than quotes and line ends.

    Returns:
        None if the file has something that DuckDB and Python read differently, without a trace in
        the count of bytes: a quote followed by a blank, or several kinds of line ends.

    """
    content, ends = 0, Counter()
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        while part := file.read(2**20) + file.readline():  # so that no part ends within a \r\n
            if b'" ' in part:
                return None
            content += _content(part)
            ends.update({end: part.count(end) for end in (b"\r", b"\n", b"\r\n")})
    is_uniform = ends[b"\r"] in (0, ends[b"\n"]) and ends[b"\r"] == ends[b"\r\n"]
    return content if is_uniform else None


def _content(text: bytes) -> int:
    """Count the bytes of a text other than quotes and line ends."""
    return len(text.translate(None, b'"\r\n'))


def _checked_columns(table: Table) -> Iterator[str]:
    """Yield the expressions that turn texts into values, and fail on a text that does not fit."""
    for column, type_ in table.data_columns.items():
        pattern = format_of(column, type_).pattern.replace("'", "''")
        fits = f"REGEXP_FULL_MATCH({column}, '(?s){pattern}')"  # NULL if the text is NULL
        if column not in table.required:
            fits = f"COALESCE({fits}, TRUE)"
        if table.is_log and column == "new_value":
            is_id = f"REGEXP_FULL_MATCH(COALESCE(new_value, ''), '{ID}')"
            fits += f" AND (changed_field_key NOT IN {FIELDS_WITH_IDS} OR {is_id})"
        if column in JSON_COLUMNS:  # no more brackets than levels: what has more is looked at
            fits += f" AND LENGTH(REGEXP_REPLACE({column}, '[^\\[{{]', '', 'g')) <= "
            fits += f"{JSON_LEVELS_AT_MOST}"
        yield f"CASE WHEN {fits} THEN {_cast(column, type_)} ELSE ERROR('unfit') END AS {column}"


def _cast(text: str, type_: str) -> str:
    """Return the expression that turns a fitting text into a value."""
    if type_ == "BIGINT":  # pandas writes the integers of a column with gaps as 12.0
        text = f"REGEXP_REPLACE({text}, '\\.0$', '')"
    return f"CAST({text} AS {type_})"
