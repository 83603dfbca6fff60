"""Every row of an export is read as it stands, or rejected with file, line, column and reason."""

from __future__ import annotations

import csv
import io
import itertools
import resource
import shutil
import subprocess
import sys
import tempfile
import typing as t
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipedrive_funnel import warehouse
from pipedrive_funnel.__main__ import main
from pipedrive_funnel.contract import read_tables
from pipedrive_funnel.export.check import find_defects
from pipedrive_funnel.export.reader import REJECTS_AT_MOST, CsvFile, ExportError, open_export
from tests.support.warehouse import PROJECT

TABLES = read_tables()
ACTIVITY = TABLES["activity"]  # it has a column of each type, and a key of two
HEADER = ",".join(ACTIVITY.data_columns)  # activity_id,type,assigned_to_user,deal_id,done,due_to


class Found(t.NamedTuple):
    """What was read of a file."""

    rows_read: int
    rows: list[tuple[t.Any, ...]]
    rejects: list[tuple[int | None, str | None, str, str]]  # line, column, reason, text

    @property
    def places(self) -> list[tuple[int | None, str | None]]:
        """Line and column of each reject."""
        return [(line, column) for line, column, _, _ in self.rejects]


def read(directory: Path, content: str | bytes) -> Found:
    """Read a file of activities of this content, which need not hold the header's blank lines."""
    path = directory / "activity.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as scratch:
        file = CsvFile(path, ACTIVITY, connection, Path(scratch))
        file.read()
        rows = [tuple(row.values()) for batch in file.batches() for row in batch.to_pylist()]
    assert all((r.table_name, r.file_name) == ("activity", path.name) for r in file.rejects)
    rejects = [(r.line, r.column_name, r.reason, r.raw_text) for r in file.rejects]
    assert file.rows_read == len(rows) + len(rejects)
    return Found(file.rows_read, rows, rejects)


def of(*rows: str, line_end: str = "\n") -> str:
    """Return a file of these rows."""
    return "".join(f"{row}{line_end}" for row in (HEADER, *rows))


def write_export(directory: Path, **contents: str | bytes | None) -> Path:
    """Write the files of an export with headers only, but for `contents`; None leaves one out."""
    for name, table in TABLES.items():
        content = contents.get(name, f"{','.join(table.data_columns)}\n")
        if table.has_file and content is not None:
            data = content.encode() if isinstance(content, str) else content
            (directory / f"{name}.csv").write_bytes(data)
    return directory


# --- rows that do not fit -------------------------------------------------------------------------

INTEGER = ", which is no BIGINT. Write a whole number such as 1042."
BOOLEAN = ", which is no BOOLEAN. Write True or False."
TIME = (
    ", which is no TIMESTAMP. "
    "Write a time in UTC from 1970 to 2099 such as 2024-01-31 23:59:59, or a day."
)
QUOTES = (
    "a quote is not closed, or one inside a text is not doubled. "
    "Close the quotes of this row, and double those inside a text."
)
ENCODING = "byte {} is not UTF-8. Save the file as UTF-8."
EMPTY = " is empty. A row cannot do without it."

BAD_ROWS: list[tuple[str, str | None, str]] = [  # text, column, reason
    ("x,call,1,1,True,", "activity_id", "column activity_id holds 'x'" + INTEGER),
    ("1.5,call,1,1,True,", "activity_id", "column activity_id holds '1.5'" + INTEGER),
    ("1,call,+5,1,True,", "assigned_to_user", "column assigned_to_user holds '+5'" + INTEGER),
    ("1,call,1,0x10,True,", "deal_id", "column deal_id holds '0x10'" + INTEGER),
    (",call,1,1,True,", "activity_id", "column activity_id" + EMPTY),
    ('1,call,1,"",True,', "deal_id", "column deal_id" + EMPTY),
    (f"{'1' * 20},call,1,1,,", "activity_id", f"column activity_id holds '{'1' * 20}'" + INTEGER),
    ("1,call,1,1,yes,", "done", "column done holds 'yes'" + BOOLEAN),
    *(
        (f"1,call,1,1,True,{time}", "due_to", f"column due_to holds '{time}'" + TIME)
        for time in (
            "2024-01-01 10:00:00+02:00",
            "2024-02-30",
            "2024-01-01 24:00:00",
            "epoch",
            "0202-04-01",
            "9999-12-31",
        )
    ),
    (
        "1,call,1,1,True,2024-01-31,2",
        None,
        "the row has 7 fields, the header 6. Put texts that hold a comma in quotes.",
    ),
    ("1,call,1", "deal_id", "the row has 3 fields, the header 6. Complete it."),
    ('1,"ca"ll",1,1,True,', "type", QUOTES),
    (
        "1,ca\0ll,1,1,True,",
        "type",
        "column type holds 'ca\\x00ll', which is no TEXT. Write it without the NUL character.",
    ),
    ('x,"two\n\nlines",1,1,True,', "activity_id", "column activity_id holds 'x'" + INTEGER),
]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=("LF", "CRLF"))
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n", "\ufeff\n"])
def test_every_kind_of_bad_row_between_good_ones(tmp_path: Path, start: str, line_end: str):
    content, lines, expected, good = start + HEADER + "\n", start.count("\n") + 1, [], []
    for number, (text, column, reason) in enumerate(BAD_ROWS):
        content += f'\n{number},"a\nb, ""c""",7,12.0,false,2024-01-31T23:59:59.000001Z\n{text}\n'
        good.append((number, 'a\nb, "c"', 7, 12, False, datetime(2024, 1, 31, 23, 59, 59, 1)))
        expected.append((lines + 4, column, reason, text))
        lines += 4 + text.count("\n")

    found = read(tmp_path, content.replace("\n", line_end))

    for rejected, (line, column, reason, text) in zip(found.rejects, expected, strict=True):
        text = text.replace("\n", line_end).replace("\0", "\ufffd")
        assert rejected == (line, column, reason, text)
    good = [(row[0], row[1].replace("\n", line_end), *row[2:]) for row in good]
    assert found.rows == good


def test_bytes_that_are_not_utf8(tmp_path: Path):
    rows = [b"1,caf\xe9,1,1,,", b"2,ok,1,1,,", b'3,"a\nb\xff",1,1,,', b"4,ok,1,1,,\xff"]
    found = read(tmp_path, b"\n".join([HEADER.encode(), *rows, b"\xc3,x,1,1,,", b"5,ok,1,1,,"]))
    assert [row[0] for row in found.rows] == [2, 5]
    assert [(line, column, reason) for line, column, reason, _ in found.rejects] == [
        *((2, "type", ENCODING.format("0xe9")), (4, "type", ENCODING.format("0xff"))),
        *((6, "due_to", ENCODING.format("0xff")), (7, "activity_id", ENCODING.format("0xc3"))),
    ]
    assert [text[:3] for *_, text in found.rejects] == ["1,c", '3,"', "4,o", "\ufffd,x"]


def test_a_quote_that_stays_open_takes_no_other_row_with_it(tmp_path: Path):
    found = read(tmp_path, of("1,a,1,1,,", '2,"b,1,1,,', "3,c,1,1,,", '4,"d,1,1,,', "5,e,1,1,,"))
    assert [row[0] for row in found.rows] == [1, 3, 5]
    assert [line for line, _ in found.places] == [3, 5]
    assert {reason for _, _, reason, _ in found.rejects} == {QUOTES}
    assert [text for *_, text in found.rejects] == ['2,"b,1,1,,', '4,"d,1,1,,']


def test_a_quote_that_the_next_row_closes(tmp_path: Path):
    found = read(tmp_path, of('1,"call,1,1,True,', '2,"call",1,1,True,'))
    assert [row[0] for row in found.rows] == [2]
    assert found.rejects == [(2, None, QUOTES, '1,"call,1,1,True,')]


def test_a_quote_that_is_closed_thousands_of_rows_later(tmp_path: Path):
    """What is between is a valid text, and nobody's."""
    rows = [f"{number},a,1,1,True," for number in range(3_000)]
    rows[5], rows[2_500] = '5,"a', 'a",1,1,True,'
    found = read(tmp_path, of(*rows))
    assert [row[0] for row in found.rows] == [n for n in range(3_000) if n not in (5, 2_500)]
    assert [line for line, _ in found.places] == [7, 2_502]


def test_so_many_open_quotes_that_the_file_is_wrong(tmp_path: Path):
    rows = [row for number in range(21) for row in (f'{number},"a,1,1,,', f"1{number},b,1,1,,")]
    with pytest.raises(ExportError, match="line 42: a quote is not closed.* export the file again"):
        read(tmp_path, of(*rows))


def test_a_quote_that_stays_open_in_a_large_file(tmp_path: Path):
    """DuckDB gives such a row up after some MB and goes on anywhere: no row may vanish."""
    padding = "x" * 100_000
    rows = [f"{number},{padding},1,1,," for number in range(3, 340)]
    found = read(tmp_path, of("1,a,1,1,,", '2,"b,1,1,,', *rows))
    assert [row[0] for row in found.rows] == [1, *range(3, 340)]
    assert [line for line, _ in found.places] == [3]


def test_the_same_bad_row_twice_has_two_lines(tmp_path: Path):
    found = read(tmp_path, of("x,a,1,1,,", "1,a,1,1,,", "x,a,1,1,,", "1,2", "1,2"))
    assert [line for line, _ in found.places] == [2, 4, 5, 6]


def test_a_carriage_return_in_a_text_is_no_new_line(tmp_path: Path):
    found = read(tmp_path, of('1,"a\rb",1,1,,', "x,c,1,1,,", "1,2"))
    assert found.rows == [(1, "a\rb", 1, 1, None, None)]
    first, second = (line for line, _ in found.places)
    assert second == first + 1  # editors differ in whether these are lines 3 and 4, or 4 and 5


@pytest.mark.parametrize(
    "row",
    ['1, "a",1,1,maybe,', '1,"a" ,1,1,maybe,', "1,a,1,1,maybe,,"],
    ids=("before a quote", "after one", "a comma too many"),
)
def test_what_duckdb_overlooks_does_not_hide_the_line(tmp_path: Path, row: str):
    found = read(tmp_path, of("1,a,1,1,,", row))
    assert [line for line, _ in found.places] == [3]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=("LF", "CRLF"))
def test_many_bad_rows_among_many(tmp_path: Path, line_end: str):
    """More than DuckDB reads at a time, so that none is lost at the seams."""
    rows = [f'{number},"a{line_end}b",1,1,True,' for number in range(9_000)]
    for number in range(7, 9_000, 7):
        rows[number] = BAD_ROWS[number % 14][0]
    found = read(tmp_path, of(*rows, line_end=line_end))
    assert [row[0] for row in found.rows] == [n for n in range(9_000) if n % 7 or n == 0]
    assert len(found.rejects) == 8_999 // 7
    lines, line = [], 2
    for row in rows:
        lines += [line] if "\n" not in row else []
        line += 1 + row.count("\n")
    assert [line for line, _ in found.places] == lines


# --- any mixture ----------------------------------------------------------------------------------

texts = st.text(st.sampled_from('abN\\ ,"\n\t;#😀é'), max_size=6)
numbers = st.integers(-(10**18) + 1, 10**18 - 1)
times = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31))


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@st.composite
def good_rows(draw: st.DrawFn) -> tuple[str, tuple | None]:
    """Draw a row of a file and the values that it stands for."""
    name, time = draw(texts), draw(st.none() | times)
    done, user = draw(st.sampled_from([None, True, False])), draw(st.none() | numbers)
    is_plain = not set(name) & set('",\n') and draw(st.booleans())
    row = [
        str(draw(numbers)),
        name if is_plain else quoted(name),
        "" if user is None else str(user),
        str(draw(numbers)),
        "" if done is None else str(done),
        "" if time is None else time.isoformat(draw(st.sampled_from("T "))),
    ]
    return ",".join(row), (int(row[0]), name or None, user, int(row[3]), done, time)


# What is after the last quote of an open one would depend on the next row: these are closed
bad_rows = st.sampled_from([(text, None) for text, *_ in BAD_ROWS])
blank_lines = st.just(("", ()))


def without_contradictions(
    rows: list[tuple[str, tuple | None]],
) -> list[tuple[str, tuple | None]]:
    """Leave out rows with the key of an earlier one and other values: they are rejected, both."""
    first: dict[tuple, tuple] = {}
    return [
        (text, values)
        for text, values in rows
        if not values or first.setdefault((values[0], values[3]), values) == values
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(good_rows() | bad_rows | blank_lines, max_size=40),
    repeats=st.sampled_from([1, 1, 1, 100]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_any_mixture(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, tuple | None]],
    repeats: int,
    line_end: str,
    mark: str,
):
    rows = without_contradictions(rows)
    line, lines, good = 2, [], []
    for text, values in rows * repeats:
        if values is None:
            lines.append(line)
        elif values:
            good.append(tuple(v.replace("\n", line_end) if type(v) is str else v for v in values))
        line += 1 + text.count("\n")
    if len(lines) > REJECTS_AT_MOST:
        return
    content = mark + of(*(text for text, _ in rows * repeats)).replace("\n", line_end)
    found = read(tmp_path_factory.getbasetemp(), content)
    assert found.rows == good
    assert [line for line, _ in found.places] == lines


# --- agreement with the check of a plan -----------------------------------------------------------


def assert_agreement(directory: Path, content: str) -> None:
    """Assert that a row is rejected exactly when the check finds a defect in it."""
    try:
        rejected = {line for line, _ in read(directory, content).places}
    except ExportError:
        rejected = {1}
    found = find_defects(directory / "activity.csv", ACTIVITY.columns)
    assert rejected == {line for line, _ in found}


def file_of(values: t.Iterable[tuple[str, str, str, str]]) -> str:
    """Return a file with these values of type, assigned_to_user, done and due_to."""
    text = io.StringIO()
    rows = (
        (number, type_, user, 2, done, due)
        for number, (type_, user, done, due) in enumerate(values, start=1)  # none contradicts
    )
    csv.writer(text, lineterminator="\n").writerows([HEADER.split(","), *rows])
    return text.getvalue()


some_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)
near_integer = st.from_regex(r"[+-]?[0-9]{0,19}(\.[0-9]{0,2})?", fullmatch=True)
near_boolean = st.sampled_from(["True", "TRUE", "true", "tRUE", "t", "1", "no", "False ", "None"])
near_time = st.from_regex(
    r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{0,7})?)?)?"
    r"(Z|z|\+02| UTC)?",
    fullmatch=True,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            some_text,
            near_integer | some_text,
            near_boolean | some_text,
            near_time | some_text,
        ),
        min_size=1,
        max_size=30,
    )
)
def test_a_value_is_rejected_exactly_when_the_check_says_so(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str, str, str]]
):
    assert_agreement(tmp_path_factory.getbasetemp(), file_of(values))


@pytest.mark.parametrize(
    "time",
    [
        "1970-01-01",
        "2099-12-31T23:59:59.999999Z",
        "2024-02-29",
        "2023-02-29",
        "1969-12-31",
        "2100-01-01",
    ],
)
def test_a_time_is_rejected_exactly_when_the_check_says_so(tmp_path: Path, time: str):
    assert_agreement(tmp_path, file_of([("call", "1", "True", time)]))


@pytest.mark.parametrize(
    "row",
    [
        *("1,call,1,1,True,x,", "1,call,1,1,True,", "1,call,1,1,True", "  ", "", ",,,,,x,"),
        *(
            '1,ca"ll,1,1,,',
            '1, "call",1,1,,',
            '1,""call"",1,1,,',
            '1,"""",1,1,,',
        ),
        *("1,ca\\ll,1,1,,", "1,#call,1,1,,", "'1',call,1,1,,", " 1,call,1,1,,", '"1",call,1,1,,'),
    ],
)
def test_a_row_is_rejected_exactly_when_the_check_says_so(tmp_path: Path, row: str):
    assert_agreement(tmp_path, of("7,call,1,1,True,", row))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            "1,call,1,1,True,,,",
            "the row has 8 fields, the header 6. Put texts that hold a comma in quotes.",
        ),
        ('1,"call" ,1,1,True,', QUOTES),
        ('1,"ca" "ll",1,1,True,', QUOTES),
    ],
    ids=("commas", "a blank", "a blank and a quote"),
)
def test_what_duckdb_overlooks_is_rejected(tmp_path: Path, row: str, reason: str):
    """Pandas, which reads the file for a plan, would shift the columns or add to the text."""
    (rejected,) = read(tmp_path, of("2,call,1,1,True,", row)).rejects
    assert (rejected[0], *rejected[2:]) == (3, reason, row)
    assert_agreement(tmp_path, of("2,call,1,1,True,", row))


# --- the two ways to read -------------------------------------------------------------------------


def read_both_ways(directory: Path, content: bytes) -> bool:
    """Read a file in both ways, if DuckDB may read it, and compare. Return whether it may."""
    path = directory / "stages.csv"
    path.write_bytes(content)
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as scratch:
        file = CsvFile(path, TABLES["stages"], connection, Path(scratch))
        if not file._read_at_once():
            return False
        at_once = file.rows_read, [batch.to_pylist() for batch in file.batches()]
        file._read_row_by_row()
        assert at_once == (file.rows_read, [batch.to_pylist() for batch in file.batches()])
        assert file.rejects == []
        return True


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=("LF", "CRLF"))
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=("", "mark"))
@pytest.mark.parametrize(
    "rows",
    [
        *("", "1,a\n2,b", "1,a\n\n\n2,b\n\n", '"1","a ""b"", c"\n', '1,"two\nlines"\n', "1.0,\n"),
        *("1,é 😀\n", "1, a\n", '1,a"b"\n', '1,""\n2,""""\n', f"1,{'x' * 300_000}\n"),
    ],
)
def test_a_clean_file_is_read_at_once(tmp_path: Path, rows: str, mark: str, line_end: str):
    """Else two million rows would take minutes, and no test would say why."""
    content = f"{mark}stage_id,stage_name\n{rows}".replace("\n", line_end)
    assert read_both_ways(tmp_path, content.encode())


@pytest.mark.parametrize(
    "rows",
    [
        *(
            "1,a,\n",
            "1,a,,\n",
            '1,"a" \n',
            '1,"a" ""\n',
            '1,"" "a"\n',
            "1,a\r2,b\n",
            "1,a\r\n2,b\n",
        ),
        *('1,"a\r"\n', "1,a\n2,b\r\n", '1,"a\n', "x,a\n", ",a\n", "1,a\n1,b\n", "1,a\0\n", "1\n"),
        *(f'1,"{chr(10) * 1_000}"\n', f'1,"{"x" * 500_000}\n{"x" * 500_000}"\n'),
    ],
)
def test_a_file_that_duckdb_may_misread_is_read_row_by_row(tmp_path: Path, rows: str):
    assert not read_both_ways(tmp_path, f"stage_id,stage_name\n{rows}".encode())


harmless = st.sampled_from(
    [b"x", b" ", b"\t", b"\\", b"'", b"#", b'"', b"\xc3\xa9", b"\xef\xbb\xbf"]
)
nasty = harmless | st.sampled_from(
    [b'"', b'""', b'" ', b' "', b",", b"\n", b"\r\n", b"\r", b"\0", b"\xff"]
)


@st.composite
def nasty_files(draw: st.DrawFn) -> bytes:
    """Draw a file whose rows are likely to be fine, or to be wrong in one way or another."""
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    content = b"stage_id,stage_name" + end
    for number in range(draw(st.integers(1, 4))):
        text = b"".join(
            draw(st.lists(draw(st.sampled_from([harmless, harmless, nasty])), max_size=5))
        )
        if draw(st.booleans()):
            text = b'"' + text.replace(b'"', b'""').replace(b"\n", end) + b'"'
        content += b"%d,%b" % (number, text) + draw(
            st.sampled_from([end, end, end, b"\n", b"\r", b""])
        )
    return content


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(nasty_files())
def test_a_nasty_file_is_the_same_in_both_ways(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    event("at once" if read_both_ways(tmp_path_factory.getbasetemp(), content) else "row by row")


@pytest.mark.again
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(nasty_files())
def test_a_thousand_nasty_files_are_the_same_in_both_ways(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
):
    event("at once" if read_both_ways(tmp_path_factory.getbasetemp(), content) else "row by row")


# --- rows that are right by themselves ------------------------------------------------------------


def test_a_change_of_stage_or_owner_holds_an_id(tmp_path: Path):
    export = write_export(
        tmp_path,
        deal_changes="deal_id,change_time,changed_field_key,new_value\n"
        "1,2024-01-01,stage_id,first\n1,2024-01-01,user_id,\n1,2024-01-01,user_id,007\n"
        "1,2024-01-01,stage_id,3\n1,2024-01-01,lost_reason,\n1,2024-01-01,title,first\n",
    )
    with open_export(export, TABLES) as files:
        (log,) = (file for file in files if file.table.name == "deal_changes")
        log.read()
        assert [(reject.line, reject.column_name) for reject in log.rejects] == [
            *((2, "new_value"), (3, "new_value"), (4, "new_value"))
        ]
        assert "holds 'first', which is no id" in log.rejects[0].reason
        assert sum(batch.num_rows for batch in log.batches()) == 3


def test_rows_that_contradict_each_other_are_rejected_both(tmp_path: Path):
    found = read(tmp_path, of("1,a,1,1,,", "1,b,1,1,,", "2,a,1,1,,", "2,a,1,1,,", "1,a,1,2,,"))
    assert [row[0] for row in found.rows] == [2, 2, 1]
    assert [line for line, _ in found.places] == [2, 3]
    assert "another row has the same activity_id, deal_id" in found.rejects[0][2]


@pytest.mark.parametrize("name", ["e[1]", "e*", "type=sc_2", "it's; {x} é"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str):
    """DuckDB would read e1 for e[1], and take type=sc_2 for a partition."""
    for directory, row in (("e1", "9,other,9,9,,"), (name, "1,call,1,1,,")):
        (tmp_path / directory).mkdir()
        write_export(tmp_path / directory, activity=of(row))
    with open_export(tmp_path / name, TABLES) as files:
        files[0].read()
        assert [row["type"] for batch in files[0].batches() for row in batch.to_pylist()] == [
            "call"
        ]


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "ACTIVITY_ID,Type,Assigned_To_User,deal_ID,DONE,due_to",
        " activity_id , type,assigned_to_user ,deal_id,done,due_to ",
        '"activity_id","type","assigned_to_user","deal_id","done","due_to"',
        "activity_id,type,assigned_to_user,deal_id,done,due_to,loaded_at,_defective_column",
        "activity_id,type,assigned_to_user,deal_id,done,due_to,extra,Extra",
        "\n\nactivity_id,type,assigned_to_user,deal_id,done,due_to",
        'activity_id,type,assigned_to_user,deal_id,done,due_to,"two\nlines"',
    ],
    ids=("case", "blanks", "quotes", "our names", "same names", "blank lines", "a line break"),
)
def test_headers(tmp_path: Path, header: str):
    further = ",x" * (header.count(",") - 5)
    found = read(tmp_path, f"{header}\n1,call,2,3,True,2024-01-31{further}\n4,call,,6,,{further}\n")
    assert found.rows == [
        (1, "call", 2, 3, True, datetime(2024, 1, 31)),
        (4, "call", None, 6, None, None),
    ]


def test_columns_in_another_order(tmp_path: Path):
    found = read(
        tmp_path, "done,x,due_to,deal_id,X,type,activity_id,assigned_to_user\nTrue,,,1,,a,2,3"
    )
    assert found.rows == [(2, "a", 3, 1, True, None)]


@pytest.mark.parametrize("content", [HEADER, f"{HEADER}\n", f"{HEADER}\r\n\r\n"])
def test_a_header_without_rows_is_fine(tmp_path: Path, content: str):
    assert read(tmp_path, content) == (0, [], [])


# --- files that cannot be landed ------------------------------------------------------------------

EXCEL = b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0b\xee\x9dh^\x01\0\0\x90\x04\0\0\x13\0"
NO_ROWS = "the file is empty. Export it again: a table without rows still has a header."
NO_TEXT = "no text in UTF-8. Save it as CSV UTF-8."
NO_COLUMN = "column stage_name is missing, the file has stage_id, "


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (None, " is missing. Export this table as well."),
        ("", NO_ROWS),
        ("\n\n", NO_ROWS),
        (EXCEL, NO_TEXT),
        ("stage_id,stage_name\n1,A\n".encode("utf-16"), NO_TEXT),
        (
            "stage_id;stage_name\n1;A\n",
            "'stage_id;stage_name' is a single column. Separate the columns with commas.",
        ),
        ("stage_id,position\n1,A\n", f"{NO_COLUMN}position. Add it to the export."),
        ("stage_id,stage_nam\n1,A\n", f"{NO_COLUMN}stage_nam. Rename stage_nam if that is it."),
        ("stage_id,stage_name,Stage_ID\n1,A,1\n", "column stage_id is there 2 times. Keep one."),
    ],
    ids=("missing", "empty", "blank", "xlsx", "utf-16", "semicolons", "column", "name", "twice"),
)
def test_files_that_are_no_export(tmp_path: Path, stages: str | bytes | None, said: str):
    export = write_export(tmp_path, stages=stages)
    with pytest.raises(ExportError) as raised, open_export(export, TABLES):
        pass
    assert len(raised.value.defects) == 1
    assert str(raised.value).startswith(str(export / "stages.csv"))
    assert str(raised.value).endswith(said if stages is None else f", line 1: {said}")


def test_a_directory_in_place_of_a_file(tmp_path: Path):
    (write_export(tmp_path, users=None) / "users.csv").mkdir()
    with (
        pytest.raises(ExportError, match=r"users\.csv is missing\."),
        open_export(tmp_path, TABLES),
    ):
        pass


def test_mixed_line_ends_are_read_or_refused(tmp_path: Path):
    """Whichever it is, no row is made of two and none is lost."""
    rows = [HEADER, "1,a,1,1,True,", '2,"b\nb",1,1,True,', "x,c,1,1,,"]
    for ends in itertools.product(["\n", "\r\n", "\r"], repeat=len(rows)):
        content = "".join(row + end for row, end in zip(rows, ends, strict=True))
        with suppress(ExportError):
            found = read(tmp_path, content + "4,d,1,1,,")
            assert [row[:2] for row in found.rows] == [(1, "a"), (2, "b\nb"), (4, "d")], ends
            assert [text for *_, text in found.rejects] == ["x,c,1,1,,"], ends


@pytest.mark.parametrize("bad", ["x,call,1,1,,", "1,call"], ids=("values", "fields"))
def test_so_many_bad_rows_that_the_file_is_wrong(tmp_path: Path, bad: str):
    good = "1,call,1,1,True,"
    assert len(read(tmp_path, of(good, *[bad] * REJECTS_AT_MOST)).rejects) == REJECTS_AT_MOST
    with pytest.raises(ExportError) as raised:
        read(tmp_path, of(good, *[bad] * (REJECTS_AT_MOST + 1)))
    assert "activity.csv: 10,001 of 10,002 rows do not fit, for example line 3: " in str(
        raised.value
    )


# --- the command, where it needs no database ------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the settings of the project alone, without those of the person who runs the tests."""
    project = tmp_path_factory.mktemp("project")
    shutil.copyfile(PROJECT / "config.yaml", project / "config.yaml")
    return project


@pytest.fixture
def no_database(project: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[None]:
    """Make sure that no database is opened: that would make its file."""
    file = project / "pipedrive.duckdb"
    monkeypatch.setattr(warehouse, "PROJECT", project)
    monkeypatch.setenv("SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE", str(file))
    yield
    assert not file.exists()


pytestmark = pytest.mark.usefixtures("no_database")


def test_defects_of_all_files_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    export = write_export(
        tmp_path,
        **{"activity": None, "fields": "", "users": EXCEL},
        **{"stages": "stage_id\n", "deal_changes": "id,new_value\n"},
    )
    assert main(["land", "csv", str(export)]) == 2
    *defects, last = capsys.readouterr().err.splitlines()
    assert [Path(defect.split()[0].strip(",")).name for defect in defects] == [
        *("activity.csv", *["deal_changes.csv"] * 3, "fields.csv", "stages.csv", "users.csv"),
    ]
    assert last == "Nothing was written."


def test_a_directory_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["land", "csv", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no directory. Name the one with the six files.\n" in capsys.readouterr().err


def test_so_many_bad_rows_end_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    export = write_export(tmp_path, activity=of(*["x,call,1,1,,"] * (REJECTS_AT_MOST + 1)))
    assert main(["land", "csv", str(export)]) == 2
    said = capsys.readouterr().err
    assert "activity.csv: 10,001 of 10,001 rows do not fit" in said
    assert said.endswith("export the file again.\nNothing was written.\n")


REJECTED = "rejected: activity.csv, line 3: column activity_id holds 'x', which is no BIGINT."


def test_a_dry_run_shows_what_would_be_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    export = write_export(tmp_path, activity=of("1,a,1,1,,", *["x,a,1,1,,"] * 7))
    assert main(["land", "csv", str(export), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert f"Reading {export}\n  activity.csv                   8\n" in said.out
    assert REJECTED in said.out
    assert "rejected: 2 more rows of activity.csv" in said.out
    assert said.out.endswith("\nNothing was written.\n")
    assert said.err == ""


@pytest.mark.parametrize("options", [["--strict"], ["--strict", "--dry-run"]])
def test_strict_lands_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
):
    export = write_export(tmp_path, activity=of("1,a,1,1,,", "x,a,1,1,,", "1,a"))
    assert main(["land", "csv", str(export), *options]) == 1
    said = capsys.readouterr()
    assert REJECTED in said.out
    assert said.err == "2 rows are rejected, and that is not for --strict: nothing was written.\n"


def test_no_room_for_what_is_read_is_no_fault_of_the_file(tmp_path: Path):
    rows = [f"{number},{hash((number,))},1,1,," for number in range(100_000)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipedrive_funnel", "land", "csv", "--dry-run"),
            write_export(tmp_path, activity=of(*rows)),
        ],
        cwd=PROJECT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ("[" * 64 + "]" * 64, True),
        ("[" * 65 + "]" * 65, False),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, False),
        (str([{"id": number, "label": "[[[ {"} for number in range(200)]).replace("'", '"'), True),
        ('"' + "[" * 1000 + '\\"' + "[" * 1000 + '"', True),
    ],
    ids=("64 levels", "65 levels", "100,000 levels", "200 options", "a text"),
)
def test_json_is_rejected_when_it_is_deep(tmp_path: Path, options: str, fits: bool):
    """No engine takes such a text apart: it would land, and every run would fail."""
    quoted_options = '"' + options.replace('"', '""') + '"'
    content = (
        f"ID,FIELD_KEY,NAME,FIELD_VALUE_OPTIONS\n1,owner,Owner,\n2,reason,R,{quoted_options}\n"
    )
    (tmp_path / "fields.csv").write_text(content)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with duckdb.connect() as connection:
        file = CsvFile(tmp_path / "fields.csv", read_tables()["fields"], connection, scratch)
        file.read()
    rejected = [
        (reject.column_name, "levels. Write a list." in reject.reason) for reject in file.rejects
    ]
    assert rejected == ([] if fits else [("field_value_options", True)])
