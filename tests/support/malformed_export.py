"""Exports with all that can be wrong in a file, at random, and what must become of their rows.

What a text means is worked out here once more, without the patterns of the contract.
"""

from __future__ import annotations

import re
import string
import typing as t
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from hypothesis import strategies as st

from pipedrive_funnel.contract import Table, read_tables
from tests.support.landing import Row

TABLES = {name: table for name, table in read_tables().items() if table.has_file}
UNFIT = object()  # what a text means that its column cannot hold
NO_UTF8 = re.compile("[\udc80-\udcff]")  # bytes as surrogateescape reads them

BIG = "\U0001f418"  # stands for a text of 10 MB, so that no failed test prints that
BIG_TEXT = "x" * 10_000_000

LANDED = {  # what the database has before, by table
    "activity": [
        ["1", "meeting", "7", "1001", "False", "2024-05-20 09:00:00"],
        ["2", "sc_2", "7", "1001", "True", "2024-04-20 09:00:00"],
        ["3", "meeting", "8", "1002", "True", "2024-04-21"],
    ],
    "activity_types": [["1", "Call", "Yes", "meeting"], ["2", "Demo", "No", "demo"]],
    "deal_changes": [
        ["1001", "2024-04-01 08:00:00", "add_time", "2024-04-01 08:00:00"],
        ["1001", "2024-04-02 08:00:00", "stage_id", "1"],
    ],
    "deals": [
        [
            *("1001", "Reed Works", "1", "2", "won", "1250.50", "EUR", "80", "2024-05-01"),
            *("2024-05-02 09:00:00", "", "2024-05-02 09:00:00", "7", "False", "False", '{"a": 1}'),
        ],
        ["1002", "", "", "", "", "", "", *[""] * 9],
    ],
    "fields": [["1", "stage_id", "Stage", ""], ["2", "lost_reason", "", '[{"id": 1}]']],
    "pipelines": [["1", "Sales", "1", "False"], ["2", "", "", ""]],
    "pipeline_stages": [["1", "1", "1", "10"], ["2", "1", "2", ""]],
    "stages": [["1", "Lead"], ["2", "Qualified"], ["3", "Won"]],
    "users": [["7", "Ann", "ann@example.com", "2024-01-01"], ["8", "Bo", "", ""]],
}


# --- what a text means ----------------------------------------------------------------------------


def kind_of(column: str, type_: str) -> str:
    """Return the name of a column that takes few of the texts of its type, or else the type."""
    if column in ("probability", "deal_probability"):
        return "per cent"
    return column if column in ("status", "currency") else type_


def meaning(type_: str, text: str) -> t.Any:
    """Return the value of a text in a column of a type, None if it is empty, or UNFIT."""
    if not text:
        return None
    if type_ == "status":
        return text if text in ("open", "won", "lost") else UNFIT
    if type_ == "currency":
        return text if len(text) == 3 and set(text) <= set(string.ascii_uppercase) else UNFIT
    if type_ == "per cent":
        number, digits = whole_number(text), text.removesuffix(".0")
        fits = digits.isdigit() and (len(digits) < 3 or digits == "100")
        return number if fits else UNFIT
    if type_ == "DECIMAL(18, 3)":
        return amount(text)
    if type_ == "TEXT":
        return UNFIT if "\0" in text else text
    if type_ == "BOOLEAN":
        is_spelt = text in (text.lower(), text.upper(), text.title())
        return {"true": True, "false": False}.get(text.lower(), UNFIT) if is_spelt else UNFIT
    return whole_number(text) if type_ == "BIGINT" else time_of(text)


def whole_number(text: str) -> t.Any:
    """Return a number of up to 18 digits; as pandas writes it in a column with gaps, up to 15."""
    digits, point, rest = text.removeprefix("-").partition(".")
    is_one = digits.isascii() and digits.isdigit() and len(digits) <= (15 if point else 18)
    return int(text.removesuffix(".0")) if is_one and rest == point[:1].replace(".", "0") else UNFIT


def amount(text: str) -> t.Any:
    """Return an amount of up to 15 digits, and three behind the point."""
    digits, point, rest = text.removeprefix("-").partition(".")
    parts = [(digits, 15), *([(rest, 3)] if point else [])]
    is_one = all(
        part.isascii() and part.isdigit() and len(part) <= at_most for part, at_most in parts
    )
    return Decimal(text) if is_one else UNFIT


def time_of(text: str) -> t.Any:
    """Return a time that is written in one of the ways that the contract knows."""
    try:
        at = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return UNFIT
    return at if 1970 <= at.year < 2100 and text in spellings(at) else UNFIT


def spellings(at: datetime) -> Iterator[str]:
    """Yield the ways to write a time, all of them UTC."""
    day, fraction = f"{at:%Y-%m-%d}", f"{at.microsecond:06}"
    if (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0):
        yield day
    for between in "T ":
        if (at.second, at.microsecond) == (0, 0):
            yield f"{day}{between}{at:%H:%M}"
        for digits in range(7):
            if not fraction[digits:].strip("0"):
                part = f".{fraction[:digits]}" if digits else ""
                yield from (f"{day}{between}{at:%H:%M:%S}{part}{zone}" for zone in ("", "Z"))


# --- rows and files -------------------------------------------------------------------------------


class FileRow(t.NamedTuple):
    """A row of a file: where it begins, and what must become of it.

    Attributes:
        line: its first.
        values: what must land; None if it must be put aside.
        passes_check: whether `check`, which leaves some rules to landings and audits, lets it pass.

    """

    line: int
    values: Row | None
    passes_check: bool


@dataclass(frozen=True)
class File:
    """A file of an export.

    Attributes:
        content: its bytes, with BIG for a text of 10 MB; None if there is no such file.
        rows: its rows.
        refused: what is said of it if it cannot be landed at all.

    """

    content: bytes | None
    rows: Sequence[FileRow] = ()
    refused: str | None = None


Export = dict[str, File]  # by table


def write(export: Export, directory: Path) -> Path:
    """Write the files of an export."""
    for name, file in export.items():
        path = directory / f"{name}.csv"
        path.unlink(missing_ok=True)
        if file.content is not None:
            path.write_bytes(file.content.replace(BIG.encode(), BIG_TEXT.encode()))
    return directory


def shortened(row: Row) -> Row:
    """Return a row that was read, with BIG for a text of 10 MB."""
    return tuple(value.replace(BIG_TEXT, BIG) if type(value) is str else value for value in row)


def values_of(table: Table, names: Sequence[str], fields: Sequence[str]) -> tuple[Row | None, bool]:
    """Return what must land of a row with these fields, and whether the check lets it pass."""
    if len(fields) != len(names) or any(map(NO_UTF8.search, fields)):
        return None, False
    texts = dict(zip(names, fields, strict=True))
    values = tuple(
        meaning(kind_of(name, type_), texts[name]) for name, type_ in table.data_columns.items()
    )
    if UNFIT in values:
        return None, False
    is_complete = all(texts[name] for name in table.required)
    if table.is_log and texts["changed_field_key"] in ("stage_id", "user_id"):
        id_ = whole_number(texts["new_value"] or "none")
        is_complete &= id_ is not UNFIT and id_ >= 0 and texts["new_value"] == str(id_)
    return values if is_complete else None, True


def without_contradictions(table: Table, rows: Sequence[FileRow]) -> list[FileRow]:
    """Take the values from rows of a snapshot that share a key and differ: none of them lands."""
    found: dict[Row, set[Row]] = defaultdict(set)
    for row in rows:
        if row.values and not table.is_log:
            found[key_of(table, row.values)].add(row.values)
    return [
        row._replace(values=None)
        if row.values and len(found[key_of(table, row.values)]) > 1
        else row
        for row in rows
    ]


def key_of(table: Table, values: Row) -> Row:
    """Return what identifies a row."""
    names = list(table.data_columns)
    return tuple(values[names.index(name)] for name in table.key)


def rows_after(table: Table, before: set[Row], rows: Sequence[FileRow]) -> set[Row] | None:
    """Return the rows of a raw table after a landing; None if too many would be removed."""
    fitting = {row.values for row in rows if row.values}
    if table.is_log:
        return before | fitting
    keys = {key_of(table, values) for values in fitting}
    missing = {values for values in before if key_of(table, values) not in keys}
    if any(row.values is None for row in rows):  # the file is not the whole snapshot
        return fitting | missing
    return None if len(missing) > len(before) / 2 else fitting


# --- what is drawn --------------------------------------------------------------------------------


def foreign(encoding: str, text: str) -> str:
    """Return what bytes in another encoding are for who reads them as UTF-8."""
    return text.encode(encoding).decode(errors="surrogateescape")


NUMBERS = (
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 18, "9" * 400),
    *("1e400", "-1e400", "1e3", "NaN", "-Infinity", "-5", "--5", "+5", "-0", "-", "0x10", "1_000"),
    *("007", "0" * 18, "0" * 19, " 1", "1 ", "1.0", "1.00", "1.5", "-12.0", ".0", "1,5", "\u0661"),
    *("9" * 15 + ".0", "9" * 16 + ".0"),
)
CONTROLS = (
    *("\0", "a\0b", "\a", "\b\x7f", "\x0b\x0c", "\x1a", "\x1b[2J\x1b[31mred", "\x1b]0;title\a"),
    *("\x1c", "\x85", "\u2028", "\u202egnp.exe", "\u2066a\u2069", "\u200b", "\ufeff", "\ufffe"),
)
CODE = (
    *("'); DROP TABLE canary.alive;--", "\\'; DROP SCHEMA pipedrive_raw CASCADE; --", '"; --'),
    *("$$; DROP TABLE canary.alive; $$", "$$", "%s", "%(a)s %", "{0}", ":a", "?", "\\.", "\\N"),
    *("{{ env_var('HOME') }}", "{% raw %}", "@one_writer()", "@DEF(a, 1)", "@{raw_schema}"),
    *("${HOME}", "`id`", "=1+1", "[/bold]", "[link=x]", "COPY canary.alive TO PROGRAM 'id'"),
)
NULLS = ("NULL", "null", "None", "nan", "NA", "<NA>", "", " ")
ENCODINGS = (
    *(foreign("latin-1", "Zo\xeb"), foreign("cp1252", "5 \u20ac"), foreign("utf-16-le", "Ann")),
    *(foreign("utf-16", "Ann"), foreign("shift-jis", "\u30a2"), "Zo\xeb \U0001f600", "e\u0301"),
    *("\udced\udca0\udc80", "\udcc0\udcaf", "\udcf4\udc90\udc80\udc80", "\udcff"),  # never UTF-8
)
TIMES = (
    *("1970-01-01", "2099-12-31 23:59:59.999999", "2024-02-29T23:59:59Z", "2024-05-01 10:00"),
    *("1969-12-31", "2100-01-01", "2023-02-29", "0202-04-01", "99999-01-01", "2024-05-01 24:00"),
    *(
        "2024-05-01T10:00Z",
        "2024-05-01 10:00:00+02:00",
        "20240501",
        "now",
        "infinity",
        "1714557600",
    ),
)
BREAKS = ("a,b", 'say "no"', '"', '""', "a\nb", "a\r\nb", "a\rb", "\n", " \t", ";", BIG)
NAMES = (  # of further columns
    *(
        "loaded_at",
        "Extra",
        "extra",
        "",
        "_line",
        "_content",
        "%s",
        "'); DROP TABLE canary.alive;--",
    ),
    *('"quoted"', "two\nlines", "\x1b[31mred", "\u202egnp"),
)
XLSX = b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0b\xee\x9dh^\x01\0\0\x90\x04\0\0\x13\0"

good = {
    "BIGINT": st.sampled_from(["1", "2", "7", "1001"]) | st.integers(0, 10**18 - 1).map(str),
    "BOOLEAN": st.sampled_from(["True", "false", "TRUE", ""]),
    "DECIMAL(18, 3)": st.sampled_from(["0", "1250.5", "-3", "0.001", ""]),
    "status": st.sampled_from(["open", "won", "lost", ""]),
    "currency": st.sampled_from(["EUR", "USD", ""]),
    "per cent": st.sampled_from(["0", "35", "100", "35.0", ""]),
    "TEXT": st.sampled_from(["meeting", "stage_id", "user_id", "lost_reason", "1", "2", "Ann"]),
    "TIMESTAMP": st.sampled_from(["2024-04-01 08:00:00", "2024-05-20", ""]),
}
texts = [text for text in (*CONTROLS, *CODE, *NULLS, *BREAKS, "Zo\xeb") if "\0" not in text]
tidy = {**good, "TEXT": good["TEXT"] | st.sampled_from(texts)}
nasty = st.sampled_from(
    (*NUMBERS, *CONTROLS, *CODE, *NULLS, *ENCODINGS, *TIMES, *BREAKS)
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
any_ = {type_: usual | usual | usual | nasty for type_, usual in good.items()}
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
spellings_of_names = st.sampled_from([str, str, str.upper, " {} ".format])
REFUSED = {  # a file as a whole, by what is done to it: what is said
    "column missing": "is missing, the file has",
    "column renamed": "is missing, the file has",
    "column twice": "is there 2 times. Keep one.",
    "semicolons": "is a single column. Separate the columns with commas.",
    "open quote": "a quote is not closed",
    **dict.fromkeys(
        ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "xlsx"), "no text in UTF-8. Save it as CSV"
    ),
    **dict.fromkeys(("empty", "blank"), "the file is empty. Export it again"),
    "gone": "is missing.",
}


@st.composite
def exports(draw: st.DrawFn) -> Export:
    """Draw an export in which one to three files may be wrong in any way; the others are landed."""
    spoilt = draw(st.sets(st.sampled_from(sorted(TABLES)), min_size=1, max_size=3))
    return {name: draw(files(name)) if name in spoilt else good_file(name) for name in TABLES}


@st.composite
def ragged(draw: st.DrawFn, fields: list[str]) -> list[str]:
    """Draw what becomes of a row: mostly nothing; else fields are missing, added or exchanged."""
    match draw(st.integers(0, 15)):
        case 0:
            return fields[: draw(st.integers(0, len(fields) - 1))]
        case 1:
            return [*fields, *draw(st.lists(st.sampled_from(CODE), min_size=1, max_size=2))]
        case 2:
            return draw(st.permutations(fields))
    return fields


def _on_one_line(fields: list[str]) -> list[str]:
    """Return fields without line ends: a row of several lines may not have 10 MB."""
    return [text.translate({10: None, 13: None}) for text in fields]


@st.composite
def files(draw: st.DrawFn, name: str) -> File:
    """Draw a file of a table. A third are such that DuckDB reads most of them at once."""
    table = TABLES[name]
    is_tidy = draw(st.integers(0, 2)) == 0
    names = [*table.data_columns, *draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))]
    types = [kind_of(column, table.data_columns.get(column, "TEXT")) for column in names]
    landed = LANDED[name][: draw(st.sampled_from([9, 9, 9, 1, 0]))]
    rows = [[*fields, *[""] * (len(names) - len(fields))] for fields in landed]
    for _ in range(draw(st.integers(0, 4))):
        rows.append([draw(tidy[type_] if is_tidy else any_[type_]) for type_ in types])
    rows = [_on_one_line(row) if BIG in "".join(row) else row for row in rows]
    if rows:
        rows += draw(st.lists(st.sampled_from(rows), max_size=2))  # repeated
    places = draw(st.permutations(range(len(names))))
    names = [names[place] for place in places]
    rows = [[row[place] for place in places] for row in draw(st.permutations(rows))]
    if not is_tidy and draw(st.integers(0, 9)) == 0:  # two columns bear each other's name
        one, other = draw(st.lists(st.sampled_from(names), min_size=2, max_size=2))
        names = [{one: other, other: one}.get(column, column) for column in names]
    rows = rows if is_tidy else [draw(ragged(row)) for row in rows]

    damages = [damage for damage in REFUSED if damage != "gone" or not table.is_optional]
    damage = None if is_tidy else draw(st.sampled_from([*damages, *[None] * 5 * len(damages)]))
    has_no_quotes = damage == "open quote" or (not is_tidy and draw(st.integers(0, 5)) == 0)
    if has_no_quotes:  # so that no other text closes the one that is opened
        plain = str.maketrans("", "", '",\r\n')
        names = [text.translate(plain) for text in names]
        rows = [[text.translate(plain) for text in row] for row in rows]
    spelt = draw(spellings_of_names)
    lines = [header(table, [spelt(column) for column in names], damage, draw)]
    for row in rows:
        if has_no_quotes and damage is None and draw(st.integers(0, 3)) == 0:
            lines.append(",".join([*row[:-1], '"open', *row[-1:]]))
        else:
            quote = draw(st.booleans()) and not has_no_quotes
            lines.append(",".join(quoted(text, quote) for text in row))

    if is_tidy or draw(st.booleans()):
        ends = [draw(line_ends)] * len(lines)
    else:
        ends = draw(st.lists(line_ends, min_size=len(lines), max_size=len(lines)))
    blank = draw(st.integers(0, 2 * len(lines)))  # a blank line below it, if there is such a line
    content, found = draw(st.sampled_from(["", "", "\ufeff"])), []
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        if number and line:
            begins = 1 + len(re.findall("\r\n|\r|\n", content))
            is_open = has_no_quotes and '"' in line
            values = (None, False) if is_open else values_of(table, names, rows[number - 1])
            found.append(FileRow(begins, *values))
        content += line + end * (2 if number == blank else 1)
    if draw(st.booleans()):
        content = content.removesuffix(ends[-1])
    said = REFUSED.get(damage or "")
    if damage == "column missing" and len(names) == 2:
        said = REFUSED["semicolons"]
    return File(encoded(content, damage), without_contradictions(table, found), said)


def good_file(name: str) -> File:
    """Return a file of what is landed, with all texts in quotes, as most programs write them."""
    table = TABLES[name]
    names = list(table.data_columns)
    lines = [",".join(quoted(text, True) for text in row) for row in [names, *LANDED[name]]]
    rows = [
        FileRow(line, *values_of(table, names, row)) for line, row in enumerate(LANDED[name], 2)
    ]
    return File("".join(f"{line}\n" for line in lines).encode(), rows)


def header(table: Table, names: list[str], damage: str | None, draw: st.DrawFn) -> str:
    """Return the header of a file, or what damage has made of it."""
    place = draw(
        st.sampled_from(
            [n for n, name in enumerate(names) if name.strip().lower() in table.data_columns]
        )
    )
    match damage:
        case "column missing":
            names = [*names[:place], *names[place + 1 :]]
        case "column renamed":
            names = [*names[:place], f"{names[place].strip()}s", *names[place + 1 :]]
        case "column twice":
            names = [*names, names[place]]
        case "semicolons":
            return ";".join(table.data_columns)
        case "open quote":
            return '"' + ",".join(names)
    return ",".join(quoted(name, False) for name in names)


def quoted(text: str, is_wanted: bool) -> str:
    """Return a text as a file has it, in quotes where they are wanted or it cannot do without."""
    if is_wanted or set(text) & set(",\r\n") or text.startswith('"'):
        return '"' + text.replace('"', '""') + '"'
    return text


def encoded(content: str, damage: str | None) -> bytes | None:
    """Return the bytes of a file; None if there is to be no file."""
    match damage:
        case "gone":
            return None
        case "empty":
            return b""
        case "blank":
            return b"\n\r\n\n"
        case "xlsx":
            return XLSX
        case "utf-16" | "utf-16-le" | "utf-16-be" | "utf-32":
            return content.encode(damage, errors="replace")
    return content.encode(errors="surrogateescape")
