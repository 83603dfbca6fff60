"""A bad file of an export is named with its line, column and value before anything is loaded."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import duckdb
import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipedrive_funnel.__main__ import main
from pipedrive_funnel.contract import EXCHANGE_RATES, FUNNEL_STEPS, TYPES, file_columns, read_tables
from pipedrive_funnel.export.check import STEPS_FILE, check_file, check_steps
from pipedrive_funnel.sample import generate as sample
from tests.support.warehouse import OPTIONAL_TABLES, Warehouse, copy_project

COLUMNS = {
    "id": "BIGINT",
    "name": "TEXT",
    "done": "BOOLEAN",
    "due_to": "TIMESTAMP",
    "loaded_at": "TIMESTAMP",
}
HEADER = "id,name,done,due_to\n"

is_integer = TYPES["BIGINT"].accepts
is_boolean = TYPES["BOOLEAN"].accepts
is_timestamp = TYPES["TIMESTAMP"].accepts


def check(path: Path, content: str | bytes) -> list[str]:
    """Check a file of this content."""
    file = path / "t.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return check_file(file, COLUMNS, "seeds/t.csv")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        HEADER,
        HEADER + "1,Ann,True,2024-01-31 23:59:59\n-2,,false,\n,,,\n3.0,NA,TRUE,2024-02-29",
        "\ufeff" + HEADER + "1,Ann,True,2024-01-31\n",
        HEADER.replace("\n", "\r\n") + "1,Ann,True,2024-01-31\r\n",
        HEADER.upper() + "1,Ann,True,2024-01-31\n",
        "due_to, name,extra,done,id,loaded_at,extra\n2024-01-31,Ann,1,True,1,later,2\n",
        "\n" + HEADER + "\n1,Ann,True,2024-01-31\n\n\n",
        HEADER + '1,"Ann, ""the\nboss""",True,2024-01-31\n',
    ],
    ids=("no rows", "values", "mark", "crlf", "capitals", "more columns", "blank", "quotes"),
)
def test_good_files(tmp_path: Path, content: str):
    assert check(tmp_path, content) == []


@pytest.mark.parametrize(
    ("content", "defect"),
    [
        (
            "",
            "line 1: the file is empty. Export it again: a table without rows still has a header.",
        ),
        (
            "\n\n",
            "line 1: the file is empty. Export it again: a table without rows still has a header.",
        ),
        (
            HEADER.encode() + b"1,Ann,True,\n2,Zo\xe9,True,\n",
            "line 3: byte 0xe9 is not UTF-8. Save the file as UTF-8.",
        ),
        (HEADER.encode("utf-16"), "line 1: no text in UTF-8. Save it as CSV UTF-8."),
        (
            "id;name;done;due_to\n",
            "line 1: 'id;name;done;due_to' is a single column. Separate the columns with commas.",
        ),
        (
            "id,Name,done\n1,Ann,True\n",
            "line 1: column due_to is missing, the file has id, Name, done. Add it to the export.",
        ),
        (
            "ID,name,done,Due_Date,names\n1,Ann,True,2024-01-31,\n",
            "line 1: column due_to is missing, the file has ID, name, done, Due_Date, names. "
            "Rename due_date if that is it.",
        ),
        (
            "id,name,done,due_t\x1b[31mo,\u202eodd\n",
            "line 1: column due_to is missing, "
            "the file has id, name, done, due_t\\x1b[31mo, \\u202eodd. "
            "Rename due_t\\x1b[31mo if that is it.",
        ),
        (
            "id,name,done,due_to,ID\n1,Ann,True,2024-01-31,1\n",
            "line 1: column id is there 2 times. Keep one.",
        ),
        (
            HEADER + "1,Ann,True,\n2,Bo,True\n",
            "line 3: the row has 3 fields, the header 4. Complete it.",
        ),
        (
            HEADER + "1,Ann,True,\n2,Bo, Jr.,True,\n",
            "line 3: the row has 5 fields, the header 4. Put texts that hold a comma in quotes.",
        ),
        (
            HEADER + '1,Ann,True,\n2,"Bo,True,\n3,Cy,True,\n',
            "line 3: a quote is not closed, or one inside a text is not doubled. "
            "Close the quotes of this row, and double those inside a text.",
        ),
        (
            HEADER + '1,"Bo" Jr.,True,\n',
            "line 2: a quote is not closed, or one inside a text is not doubled. "
            "Close the quotes of this row, and double those inside a text.",
        ),
        (
            "\n" + HEADER + '1,"Ann\nBo\n",True,\n\nx,Cy,True,\n',
            "line 7: column id holds 'x', which is no BIGINT. Write a whole number such as 1042.",
        ),
        (
            "\n" + HEADER + "1,Ann,maybe,\n",
            "line 3: column done holds 'maybe', which is no BOOLEAN. Write True or False.",
        ),
        (
            HEADER + "1,Ann,True,31.01.2024\n",
            "line 2: column due_to holds '31.01.2024', which is no TIMESTAMP. "
            "Write a time in UTC from 1970 to 2099 such as 2024-01-31 23:59:59, or a day.",
        ),
        (
            HEADER + "1,A\0nn,True,\n",
            "line 2: column name holds 'A\\x00nn', which is no TEXT. "
            "Write it without the NUL character.",
        ),
        (
            HEADER + "1" * 99 + ",Ann,True,\n",
            "line 2: column id holds '111111111111...1111111111111', which is no BIGINT. "
            "Write a whole number such as 1042.",
        ),
    ],
)
def test_bad_files(tmp_path: Path, content: str | bytes, defect: str):
    assert check(tmp_path, content) == [f"seeds/t.csv, {defect}"]


def test_a_file_without_line_breaks_is_not_shown_whole(tmp_path: Path):
    (defect,) = check(tmp_path, "x" * 10_000_000)
    said = "'xxxxxxxxxxxx...xxxxxxxxxxxxx' is a single column. Separate the columns with commas."
    assert defect == f"seeds/t.csv, line 1: {said}"


def test_the_first_defects_are_described_and_all_are_counted(tmp_path: Path):
    bad = "x,Ann,maybe,\n"
    assert len(check(tmp_path, HEADER + 2 * bad)) == 4
    described = check(tmp_path, HEADER + 9 * bad)
    assert len(described) == 6
    assert "line 4: column id" in described[4]
    assert described[5] == "seeds/t.csv has 18 defects; these are the first 5."


def test_an_open_quote_hides_no_defect_below_it(tmp_path: Path):
    defects = check(tmp_path, HEADER + '1,"Ann,True,\n2,Bo,maybe,\n3,"Cy" ,True,\n4,Di,True,,\n')
    assert [defect.split(":")[0] for defect in defects] == [
        f"seeds/t.csv, line {line}" for line in (2, 3, 4, 5)
    ]


def test_so_many_open_quotes_that_the_rest_is_not_checked(tmp_path: Path):
    defects = check(tmp_path, HEADER + '1,"Ann,True,\n' * 50)
    assert defects[-1] == "seeds/t.csv has 21 defects; these are the first 5."


def test_a_column_of_the_table_is_not_offered_for_another_one(tmp_path: Path):
    (tmp_path / "t.csv").write_text("stage_id,label\n")
    columns = {"stage_id": "BIGINT", "stage_name": "TEXT"}
    (defect,) = check_file(tmp_path / "t.csv", columns, "t.csv")
    assert defect.endswith("the file has stage_id, label. Add it to the export.")


def test_a_type_without_a_check_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_text(HEADER)
    with pytest.raises(ValueError, match="Column id: a file cannot hold JSON, only BIGINT"):
        check_file(tmp_path / "t.csv", {"id": "JSON"}, "t.csv")


# --- values ---------------------------------------------------------------------------------------


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_every_integer_of_up_to_18_digits_is_one(number: int):
    assert is_integer(str(number))
    assert is_integer(f"{number}.0") == (abs(number) < 10**15)


@given(st.text("0123456789+-_. eE٣", max_size=21) | st.text())
def test_what_is_an_integer_is_one_for_python(text: str):
    if is_integer(text):
        assert abs(int(text.removesuffix(".0"))) < 10**18
    try:
        canonical = str(int(text)) == text and len(text.lstrip("-")) <= 18
    except ValueError:
        canonical = False
    assert is_integer(text) or not canonical


@pytest.mark.parametrize(
    "text",
    ["1" * 19, "+1", "--1", "1.5", "12.00", "1e3", "1_000", "1,000", " 1", "1\n", "٣", "NaN"],
)
def test_no_integers(text: str):
    assert not is_integer(text)


@given(st.integers(1900, 2150), st.integers(0, 14), st.integers(0, 33))
def test_a_day_is_one_of_the_calendar_that_somebody_can_mean(year: int, month: int, day: int):
    try:
        date(year, month, day)
        exists = 1970 <= year <= 2099
    except ValueError:
        exists = False
    text = f"{year:04}-{month:02}-{day:02}"
    assert is_timestamp(text) == is_timestamp(f"{text}T12:30:00") == exists


def test_a_time_is_one_of_the_clock():
    for hour, minute, second in itertools.product(range(26), range(62), range(62)):
        exists = hour < 24 and minute < 60 and second < 60
        assert is_timestamp(f"2024-01-31 {hour:02}:{minute:02}:{second:02}") == exists


@pytest.mark.parametrize(
    "text",
    [
        "2024-1-31",
        "20240131",
        "2024-01-31T",
        "2024-01-31 12",
        "2024-01-31  12:30:00",
        " 2024-01-31",
        "2024-01-31\n",
        "2024-01-31t12:30:00",
        "2024-01-31 12:30:00.",
        "2024-01-31 12:30:00.1234567",
        "2024-01-31Z",
        "2024-01-31 12:30Z",
        "2024-01-31 12:30:00z",
        "2024-01-31 12:30:00+00:00",
        "2024-01-31 12:30:00 UTC",
        "٢٠٢٤-01-31",
        "now",
        "infinity",
        "NULL",
    ],
)
def test_what_engines_read_in_different_ways_is_no_timestamp(text: str):
    assert not is_timestamp(text)


@pytest.mark.parametrize("text", ["True", "true", "TRUE", "False", "false", "FALSE"])
def test_booleans(text: str):
    assert is_boolean(text)


@pytest.mark.parametrize("text", ["tRUE", "yes", "t", "1", "0", "True ", "None", "NaN"])
def test_no_booleans(text: str):
    assert not is_boolean(text)


def test_every_form_of_a_time_is_the_same_on_both_engines(postgres_server: dict[str, str]):
    days = ("1970-01-01", "1999-12-31", "2000-01-01", "2024-02-29", "2099-12-31")
    clock = ("", "00:00", "23:59", "00:00:00", "23:59:59", "12:30:00.5", "23:59:59.999999")
    texts = [f"{day}{between}{time}" for day in days for time in clock for between in "T "]
    texts = [text for text in texts for text in (text.strip(" T"), f"{text}Z")]
    accepted = sorted({text for text in texts if is_timestamp(text)})
    assert len(accepted) == len(days) * (1 + 2 * (2 + 2 * 4))

    query = "SELECT CAST(CAST({} AS TEXT) AS TIMESTAMP)"
    on_duckdb = [duckdb.execute(query.format("?"), [text]).fetchone()[0] for text in accepted]
    connection = psycopg2.connect(postgres_server["admin_uri"])
    with connection, connection.cursor() as cursor:
        on_postgres = []
        for text in accepted:
            cursor.execute(query.format("%s"), [text])
            on_postgres.append(cursor.fetchone()[0])
    connection.close()
    in_python = [datetime.fromisoformat(text.removesuffix("Z")) for text in accepted]
    assert on_duckdb == on_postgres == in_python


# --- the command and the rule ---------------------------------------------------------------------


def test_the_shipped_files_are_fine(capsys: pytest.CaptureFixture[str]):
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("11 files in ")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2.15,Call,activity,demo", "column funnel_step holds '2.15', which is no DECIMAL(4, 1)"),
        ("two,Call,activity,demo", "column funnel_step holds 'two', which is no DECIMAL(4, 1)"),
        ("2.1,Call,activity", "the row has 3 fields, the header 4"),
    ],
)
def test_the_mapping_of_steps_is_checked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str
):
    seeds = copy_project(tmp_path / "project") / "seeds"
    (seeds / "funnel_steps.csv").write_text(f"funnel_step,kpi_name,source,key\n{row}\n")
    assert main(["check", str(seeds)]) == 1
    assert f"funnel_steps.csv, line 2: {said}" in capsys.readouterr().out


def test_the_mapping_has_the_columns_of_its_model(samples: Callable[[str], Warehouse]):
    model = samples("duckdb").model("pipedrive_seed.funnel_steps")
    columns = {name: type_.sql("postgres") for name, type_ in model.columns_to_types.items()}
    assert columns == FUNNEL_STEPS


def test_exchange_rates_have_the_columns_of_their_model(samples: Callable[[str], Warehouse]):
    model = samples("duckdb").model("pipedrive_seed.exchange_rates")
    columns = {name: type_.sql("postgres") for name, type_ in model.columns_to_types.items()}
    assert columns | {"valid_from": "TIMESTAMP"} == EXCHANGE_RATES  # staging reads the text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("USD,EUR,2024-01-01,nothing", "column rate holds 'nothing', which is no DECIMAL(18, 8)"),
        ("USD,EUR,2024-01-01,-0.9", "column rate holds '-0.9'"),
        ("USD,Euro,2024-01-01,0.9", "column reporting_currency holds 'Euro'"),
        ("USD,EUR,2024-02-30,0.9", "column valid_from holds '2024-02-30'"),
    ],
)
def test_exchange_rates_are_checked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str
):
    seeds = copy_project(tmp_path / "project") / "seeds"
    header = "currency,reporting_currency,valid_from,rate"
    (seeds / "exchange_rates.csv").write_text(f"{header}\nUSD,EUR,2023-12-31,0.9\n{row}\n")
    assert main(["check", str(seeds)]) == 1
    assert f"exchange_rates.csv, line 3: {said}" in capsys.readouterr().out


def seeds_with_steps(directory: Path, *rows: str) -> Path:
    """Return a copy of seeds/ whose mapping has two good steps and then these."""
    seeds = copy_project(directory / "project") / "seeds"
    steps = ("funnel_step,kpi_name,source,key", "1,Lead,stage,1", "2,Call,activity,meeting", *rows)
    (seeds / STEPS_FILE).write_text("".join(f"{step}\n" for step in steps))
    return seeds


def test_steps_are_held_against_stages_and_activity_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    seeds = seeds_with_steps(tmp_path, "3,Demo,activity,folow_up", "4,Won,stage,90", "5,Win,stage,")
    assert main(["check", str(seeds)]) == 1
    call, stage = capsys.readouterr().out.splitlines()
    assert call.endswith(
        "seeds/funnel_steps.csv, line 4: no activity type folow_up; "
        "there are meeting, sc_2, follow_up, after_close_call"
    )
    assert stage.endswith(
        "seeds/funnel_steps.csv, line 5: no stage 90; there are 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )


@pytest.mark.parametrize(
    ("stages", "defects"),
    [
        ("stage_id,stage_name\n1,Lead\n", ["line 4: no stage 90; there are 1"]),
        ("STAGE_NAME,Stage_ID\nLead,1.0\nWon,90.0\n", []),
        ("stage_id,stage_name\n", []),
        ("stage_id,stage_id\n1,1\n", []),
        ("", []),
        (None, []),
    ],
    ids=("unknown", "known", "no rows", "bad header", "empty", "missing"),
)
def test_what_steps_are_held_against_must_be_there(
    tmp_path: Path, stages: str | None, defects: list[str]
):
    seeds = seeds_with_steps(tmp_path, "4,Won,stage,90")
    (seeds / "stages.csv").unlink()
    if stages is not None:
        (seeds / "stages.csv").write_text(stages)
    assert check_steps(seeds / STEPS_FILE, "steps") == [f"steps, {defect}" for defect in defects]


def test_steps_and_stages_are_shown_without_what_a_terminal_obeys(tmp_path: Path):
    seeds = seeds_with_steps(tmp_path, "3,Call,activity,\x1b[2J")
    (seeds / "stages.csv").write_text("stage_id,stage_name\n1,Lead\n2,\x1b]0;title\a\n")
    unknown, without = check_steps(seeds / STEPS_FILE, "steps", outside=[])
    assert unknown.startswith("steps, line 4: no activity type \\x1b[2J; there are meeting, sc_2")
    assert without.startswith("steps: stage 2 (\\x1b]0;title\\x07) has no step.")


LANDED = "SQLMESH__VARIABLES__RAW_SCHEMA=pipedrive_raw"


@pytest.mark.parametrize(
    ("file", "change", "variables", "code"),
    [
        (".env", "", {}, 1),
        (".env", f"# {LANDED}\n", {}, 1),
        (".env", f"PIPEDRIVE_COMPANY_DOMAIN=acme\n{LANDED}\n", {}, 0),
        (".env", "", dict([LANDED.split("=")]), 0),
        (".env", "", {"sqlmesh__gateways__postgres__variables__raw_schema": "pipedrive_raw"}, 0),
        ("config.yaml", "x: {raw_schema: pipedrive_raw}\n", {}, 0),
    ],
    ids=("sample", "comment", ".env", "variable", "gateway", "config.yaml"),
)
def test_steps_of_landed_data_are_not_held_against_the_sample(
    tmp_path: Path, file: str, change: str, variables: dict[str, str], code: int
):
    """The stages are in the database then, and those of the sample are another company's."""
    project = seeds_with_steps(tmp_path, "4,Won,stage,90").parent
    with (project / file).open("a") as settings:
        settings.write(change)
    done = subprocess.run(
        [sys.executable, "-m", "pipedrive_funnel", "check"],
        cwd=project,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("no stage 90" in done.stdout) == bool(code)


@pytest.mark.again
@pytest.mark.parametrize(("raw_schema", "code"), [("pipedrive_seed", 1), ("pipedrive_raw", 0)])
def test_the_linter_holds_steps_against_what_the_models_read(
    tmp_path: Path, raw_schema: str, code: int
):
    project = seeds_with_steps(tmp_path, "4,Won,stage,90").parent
    variables = {
        "SQLMESH__VARIABLES__RAW_SCHEMA": raw_schema,
        "SQLMESH__LINTER__RULES": "validexportfile",
        "SQLMESH__VARIABLES__STAGES_OUTSIDE_FUNNEL": "4, 5",
        "COLUMNS": "500",
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("sqlmesh"), "--paths", project, "lint"],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    said = "validexportfile: seeds/funnel_steps.csv, line 4: no stage 90; there are 1, 2, 3"
    assert done.returncode == code, done.stdout + done.stderr
    assert (said in done.stdout) == bool(code)
    assert ("stage 9 (Renewal/Expansion) has no step. Add one, or list" in done.stdout) == bool(
        code
    )
    assert "stage 5 (" not in done.stdout


def test_an_export_needs_no_mapping_of_steps_and_no_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    seeds = copy_project(tmp_path / "project") / "seeds"
    (seeds / "funnel_steps.csv").unlink()
    (seeds / "exchange_rates.csv").unlink()
    assert main(["check", str(seeds)]) == 0
    assert capsys.readouterr().out.startswith("9 files in ")


def test_the_command_names_every_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    seeds = copy_project(tmp_path / "project") / "seeds"
    (seeds / "stages.csv").unlink()
    (seeds / "users.csv").write_text("")
    assert main(["check", str(seeds)]) == 1
    stages, users = capsys.readouterr().out.splitlines()
    assert stages.endswith("project/seeds/stages.csv is missing.")
    assert "project/seeds/users.csv, line 1: the file is empty." in users


BAD_SEEDS = {  # files that pandas reads: content, defect
    "activity": (
        "activity_id,type,assigned_to_user,deal_id,done,due_to\n1e400,call,1,1,True,\n",
        "line 2: column activity_id holds '1e400', which is no BIGINT. Write a whole number",
    ),
    "activity_types": (
        "id,name,active,type\n1,Ca\0ll,Yes,meeting\n",
        "line 2: column name holds 'Ca\\x00ll', which is no TEXT. Write it without the NUL",
    ),
    "fields": (
        "ID,FIELD_KEY,\x1b[31mNAME,FIELD_VALUE_OPTIONS\n",
        "line 1: column name is missing, the file has ID, FIELD_KEY, \\x1b[31mNAME, FIELD_VALUE",
    ),
    "stages": (
        "stage_id,stage_name\n1,Lead\n2\n",
        "line 3: the row has 1 fields, the header 2. Complete it.",
    ),
    "users": (
        "name,id,email,modified\n1,'); DROP TABLE users;--,,\n",
        'line 2: column id holds "\'); DROP TABLE users;--", which is no BIGINT. Write a whole',
    ),
}


def test_bad_values_stop_the_plan_before_anything_is_touched(tmp_path: Path):
    project = copy_project(tmp_path / "project", core=True)
    changes = project / "seeds" / "deal_changes.csv"
    lines = changes.read_text().splitlines(keepends=True)
    lines[41] = "1001,2024-02-30 [/b],stage_id,3\n"
    changes.write_text("".join(lines))
    for name, (content, _) in BAD_SEEDS.items():
        (project / "seeds" / f"{name}.csv").write_text(content)

    plan = subprocess.run(
        [
            Path(sys.executable).with_name("sqlmesh"),
            *("--paths", "project", "plan", "dev", "--auto-apply", "--no-prompts"),
        ],
        cwd=tmp_path,
        env=os.environ | {"SQLMESH__LINTER__RULES": "validexportfile", "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert plan.returncode == 1
    assert (
        "validexportfile: seeds/deal_changes.csv, line 42: column change_time holds "
        "'2024-02-30 [/b]', which is no TIMESTAMP. "
        "Write a time in UTC from 1970 to 2099 such as 2024-01-31 23:59:59, or a day."
        in plan.stdout
    )
    for name, (_, defect) in BAD_SEEDS.items():
        assert f"validexportfile: seeds/{name}.csv, {defect}" in plan.stdout
    assert not list(tmp_path.rglob("*.duckdb"))


# --- the list of deals ----------------------------------------------------------------------------

DEALS = read_tables()["deals"].columns
DEALS_HEADER = ",".join(file_columns(DEALS))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "1,,1,2,gewonnen,10,EUR,,,,,,,,,",
            "column status holds 'gewonnen'. Write open, won or lost.",
        ),
        ("1,,1,2,won,1e400,EUR,,,,,,,,,", "column value holds '1e400', which is no DECIMAL(18, 3)"),
        ("1,,1,2,won,1.2345,EUR,,,,,,,,,", "an amount with three decimals at most"),
        ("1,,1,2,won,10,euro,,,,,,,,,", "column currency holds 'euro'. Write the three letters"),
        ("1,,1,2,won,10,EUR,half,,,,,,,,", "column probability holds 'half'. Write whole per cent"),
        ("1,,1,2,won,10,EUR,101,,,,,,,,", "holds '101'. Write whole per cent from 0 to 100"),
        ("1,,1,2,won,10,EUR,,0202-01-01,,,,,,,", "column expected_close_date holds '0202-01-01'"),
        (f"1,,1,2,won,10,EUR,,,,,,,,,{'[' * 65 + ']' * 65}", "holds JSON of 65 levels"),
    ],
)
def test_a_deal_that_makes_no_sense_is_named(tmp_path: Path, row: str, said: str):
    path = tmp_path / "deals.csv"
    path.write_text(f"{DEALS_HEADER}\n{row}\n")
    (defect,) = check_file(path, DEALS, "deals.csv")
    assert defect.startswith("deals.csv, line 2: ")
    assert said in defect


def test_an_export_may_lack_what_deals_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    seeds = copy_project(tmp_path / "project") / "seeds"
    for name in OPTIONAL_TABLES:
        (seeds / f"{name}.csv").unlink()
    assert main(["check", str(seeds)]) == 0
    assert capsys.readouterr().out.startswith("8 files in ")


def test_a_list_of_deals_of_another_export_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Whoever copies six files over the sample has its list of deals beside their log."""
    seeds = copy_project(tmp_path / "project") / "seeds"
    sample.main(["--out", str(tmp_path / "other"), "--seed", "7"])
    shutil.copyfile(tmp_path / "other" / "deal_changes.csv", seeds / "deal_changes.csv")
    assert main(["check", str(seeds)]) == 1
    said = capsys.readouterr().out
    assert re.search(
        r"seeds/deals\.csv: [\d,]+ of 1,995 deals are not in deal_changes\.csv, so it is of "
        r"another export\. Put yours in its place, or leave nothing but its header\.",
        said,
    )
    (seeds / "deals.csv").write_text(DEALS_HEADER + "\n")
    assert main(["check", str(seeds)]) == 0
