"""An export lands as a whole in the raw tables, adds only what is new, and survives faults."""

from __future__ import annotations

import dataclasses
import os
import resource
import typing as t
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import psycopg2
import pytest

from pipedrive_funnel.landing.publish import Change, TooManyRemovals
from pipedrive_funnel.warehouse import DatabaseError
from tests.support.command import Done, run_command, run_in_a_process
from tests.support.landed import LANDED
from tests.support.landing import TABLES, Row, land_files, landing_database, raw_state
from tests.support.warehouse import (
    EXPORT_TABLES,
    MODELS,
    OPTIONAL_TABLES,
    REPORT,
    Warehouse,
    sample_files,
)

pytestmark = pytest.mark.again_on("postgres")  # where others land, plan and refresh

DAY = [datetime(2024, 5, day, 12, 30, 0, 250_000) for day in range(1, 10)]  # times of landings
EXPORT = {  # rows by table
    "activity": [
        "1,meeting,7,1001,False,2024-05-20 09:00:00",
        "2,sc_2,7,1001,True,2024-04-20 09:00:00",
        "3,meeting,8,1002,True,2024-04-21",
    ],
    "activity_types": [
        *("1,Sales Call 1,Yes,meeting", "2,Sales Call 2,Yes,sc_2", "3,Demo,No,demo"),
    ],
    "deal_changes": [
        "1001,2024-04-01 08:00:00,add_time,2024-04-01 08:00:00",
        "1001,2024-04-02 08:00:00,stage_id,1",
        "1002,2024-04-03 08:00:00,add_time,2024-04-03 08:00:00",
    ],
    "fields": ["1,stage_id,Stage,", "2,user_id,Owner,", "3,lost_reason,Reason,"],
    "stages": ["1,Lead", "2,Qualified", "3,Won"],
    "users": ["7,Ann,ann@example.com,2024-01-01", "8,Bo,,", "9,Cy,,"],
}
SNAPSHOTS = [table for table in EXPORT if table != "deal_changes"]

Contents = dict[str, list[Row]]


class Export:
    """The files of an export, whose rows a test changes before it lands them."""

    def __init__(self, path: Path) -> None:
        """Begin with the rows of EXPORT."""
        self.path = path
        self.rows = {table: list(rows) for table, rows in EXPORT.items()}

    def write(self) -> Path:
        """Write the six files and return their directory."""
        for table, rows in self.rows.items():
            header = ",".join(TABLES[table].data_columns)
            text = "".join(f"{row}\n" for row in [header, *rows])
            (self.path / f"{table}.csv").write_bytes(text.encode())
        return self.path

    def land(self, warehouse: Warehouse, at: datetime, **options: bool) -> dict[str, Change]:
        """Write the files and land them. Every row is counted once."""
        changes = land_files(warehouse, self.write(), at, **options)
        for change in changes.values():
            assert change.read == change.landed + change.unchanged + change.repeated
        return changes


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


@pytest.fixture(scope="module")
def database_of(new_warehouse: Callable[..., Warehouse]) -> Callable[[str], Warehouse]:
    """Return a function that gives the database of a gateway that these tests share."""
    made: dict[str, Warehouse] = {}

    def database_of(gateway: str) -> Warehouse:
        if gateway not in made:
            made[gateway] = new_warehouse(gateway, core=True, **LANDED)
        for schema in ("pipedrive_raw", "pipedrive_ops"):
            execute(made[gateway], f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        return made[gateway]

    return database_of


@pytest.fixture
def warehouse(gateway: str, database_of: Callable[[str], Warehouse]) -> Warehouse:
    """Give a database without raw tables, in which nothing has happened."""
    return database_of(gateway)


@pytest.fixture
def on_duckdb(new_warehouse: Callable[..., Warehouse]) -> Warehouse:
    """Give a DuckDB file of the test's own."""
    return new_warehouse("duckdb", core=True, **LANDED)


@pytest.fixture
def on_postgres(database_of: Callable[[str], Warehouse]) -> Warehouse:
    return database_of("postgres")


def execute(warehouse: Warehouse, *statements: str) -> None:
    with landing_database(warehouse) as database, database.transaction():
        for statement in statements:
            database.adapter.execute(statement)


def fetch(warehouse: Warehouse, query: str) -> list[Row]:
    with landing_database(warehouse) as database:
        return [tuple(row) for row in database.adapter.fetchall(query)]


def landed(warehouse: Warehouse) -> Contents:
    """Return the rows of every raw table that is there, `loaded_at` their last value."""
    return {
        name: sorted(((*row, at) for row, at in rows.items()), key=repr)
        for name, rows in raw_state(warehouse).items()
    }


def schemas(warehouse: Warehouse) -> set[str]:
    rows = fetch(warehouse, "SELECT schema_name FROM information_schema.schemata")
    return {name for (name,) in rows if name.startswith("pipedrive")}


def arrivals(rows: list[Row]) -> dict[t.Any, datetime]:
    """Return when a row arrived, by its first value."""
    return {row[0]: row[-1] for row in rows}


# --- what lands -----------------------------------------------------------------------------------


def test_only_what_is_new_lands(warehouse: Warehouse, export: Export):
    first = export.land(warehouse, DAY[0])
    assert all(first[table] == Change(3, 3, 0, 0, 0) for table in EXPORT)
    before = landed(warehouse)
    assert {row[-1] for rows in before.values() for row in rows} == {DAY[0]}
    assert schemas(warehouse) == {"pipedrive_raw"}

    again = export.land(warehouse, DAY[1])
    assert all(again[table] == Change(3, 0, 3, 0, 0) for table in EXPORT)
    assert landed(warehouse) == before

    export.rows["deal_changes"].append("1001,2024-05-01 08:00:00,stage_id,2")
    export.rows["activity"].append("2,sc_2,7,1002,False,")  # the id is there, with another deal
    longer = export.land(warehouse, DAY[2])
    added = {table: change.landed for table, change in longer.items() if change.landed}
    assert added == {"activity": 1, "deal_changes": 1}
    after = landed(warehouse)
    new = {
        table: [row for row in rows if row not in before[table]] for table, rows in after.items()
    }
    assert new.pop("activity") == [(2, "sc_2", 7, 1002, False, None, DAY[2])]
    assert new.pop("deal_changes") == [
        (1001, datetime(2024, 5, 1, 8), "stage_id", "2", DAY[2]),
    ]
    assert not any(new.values())
    assert all(set(before[table]) <= set(after[table]) for table in before)


def test_a_changed_row_replaces_the_old_one(warehouse: Warehouse, export: Export):
    export.land(warehouse, DAY[0])
    export.rows["activity"][0] = "1,meeting,7,1001,True,2024-05-20 09:00:00"
    export.rows["activity"][2] = "3,meeting,8,1002,True,2024-04-22"
    export.rows["users"][1] = "8,Bob,,"
    changes = export.land(warehouse, DAY[1])
    assert changes["activity"] == Change(3, 2, 1, 0, 0)
    assert changes["users"] == Change(3, 1, 2, 0, 0)
    assert landed(warehouse)["activity"] == [
        (1, "meeting", 7, 1001, True, datetime(2024, 5, 20, 9), DAY[1]),
        (2, "sc_2", 7, 1001, True, datetime(2024, 4, 20, 9), DAY[0]),
        (3, "meeting", 8, 1002, True, datetime(2024, 4, 22), DAY[1]),
    ]
    assert arrivals(landed(warehouse)["users"]) == {7: DAY[0], 8: DAY[1], 9: DAY[0]}


def test_what_a_snapshot_no_longer_has_is_removed_and_a_log_keeps_it(
    warehouse: Warehouse, export: Export
):
    export.land(warehouse, DAY[0])
    before = landed(warehouse)
    for rows in export.rows.values():
        del rows[0]
    del export.rows["deal_changes"][:]
    changes = export.land(warehouse, DAY[1])
    assert all(changes[table] == Change(2, 0, 2, 0, 1) for table in SNAPSHOTS)
    assert changes["deal_changes"] == Change(0, 0, 0, 0, 0)
    after = landed(warehouse)
    assert after.pop("deal_changes") == before.pop("deal_changes")
    assert after == {table: rows[1:] for table, rows in before.items()}


def test_repeated_rows_land_once(warehouse: Warehouse, export: Export):
    export.rows["deal_changes"] = [EXPORT["deal_changes"][0]] * 3
    export.rows["activity"] = [*EXPORT["activity"], *EXPORT["activity"][:2]]
    export.rows["stages"] = ["1,Lead", "1.0,Lead", '"1","Lead"', "2,Lead"]  # three are the same
    changes = export.land(warehouse, DAY[0])
    assert changes["deal_changes"] == Change(3, 1, 0, 2, 0)
    assert changes["activity"] == Change(5, 3, 0, 2, 0)
    assert changes["stages"] == Change(4, 2, 0, 2, 0)
    again = export.land(warehouse, DAY[1])
    assert again["activity"] == Change(5, 0, 3, 2, 0)
    assert len(landed(warehouse)["stages"]) == 2


def test_an_export_that_seems_cut_off_is_refused(warehouse: Warehouse, export: Export):
    export.land(warehouse, DAY[0])
    before = landed(warehouse)
    del export.rows["users"][:2]
    export.rows["stages"][0] = "1,New Lead"  # comes before users, and is not written either
    export.rows["deal_changes"].append("1003,2024-05-01 08:00:00,add_time,")
    said = (
        "users: 2 of the 3 rows that are landed are not in this source. "
        "If they are really gone, say --allow-removals; nothing was written."
    )
    with pytest.raises(TooManyRemovals) as raised:
        export.land(warehouse, DAY[1])
    assert str(raised.value) == said
    assert landed(warehouse) == before
    assert schemas(warehouse) == {"pipedrive_raw"}

    changes = export.land(warehouse, DAY[2], allow_removals=True)
    assert changes["users"] == Change(1, 0, 1, 0, 2)
    assert arrivals(landed(warehouse)["users"]) == {9: DAY[0]}


def test_half_of_the_rows_may_be_removed(warehouse: Warehouse, export: Export):
    export.rows["stages"].append("4,Lost")
    export.land(warehouse, DAY[0])
    del export.rows["stages"][:2]
    assert export.land(warehouse, DAY[1])["stages"] == Change(2, 0, 2, 0, 2)


def test_rejected_rows_are_kept_until_the_file_is_repaired(warehouse: Warehouse, export: Export):
    export.land(warehouse, DAY[0])
    whole = landed(warehouse)
    assert whole["rejected_rows"] == []

    export.rows["users"] = ["7,Anna,ann@example.com,2024-01-01", "eight,Bo,,"]
    changes = export.land(warehouse, DAY[1])
    assert changes["users"] == Change(1, 1, 0, 0, 0)  # one is replaced, and none removed
    after = landed(warehouse)
    assert arrivals(after["users"]) == {7: DAY[1], 8: DAY[0], 9: DAY[0]}
    assert ("7", "Anna") in {(str(row[0]), row[1]) for row in after["users"]}
    reason = "column id holds 'eight', which is no BIGINT. Write a whole number such as 1042."
    rejected = ("users", "users.csv", 3, "id", reason, "eight,Bo,,", DAY[1])
    assert after["rejected_rows"] == [rejected]

    export.rows["stages"].append("4")
    export.land(warehouse, DAY[2])
    reason = "the row has 1 fields, the header 2. Complete it."
    assert landed(warehouse)["rejected_rows"] == [
        ("stages", "stages.csv", 5, "stage_name", reason, "4", DAY[2]),
        rejected,
    ]

    export.rows = {table: list(rows) for table, rows in EXPORT.items()}
    export.land(warehouse, DAY[3])
    whole["users"][0] = (*whole["users"][0][:-1], DAY[3])
    assert landed(warehouse) == whole


TEXTS = [
    *("a, b", 'say "no"', "a\nb", "a\r\nb", "a\rb", "é ß 😀 \u2028 \ufeff", "NA", "NULL", "nan"),
    *("\\N", "\\.", "a\n\\.\nb", "\\", "  before", "after  ", " ", "\t", "it's", '"', "''"),
    *("\x01\x7f", '{"a": [1, null]}', "%s %(a)s {0} $1", "-- ; DROP", "x" * 300_000),
]


def test_texts_arrive_as_they_are(warehouse: Warehouse, export: Export):
    quoted = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    export.rows["stages"] = [f"{number},{text}" for number, text in enumerate(quoted)]
    plain = [text for text in TEXTS if not set(text) & set('",\r\n')]
    export.rows["users"] = [f"{number},{text},," for number, text in enumerate(plain)]
    export.land(warehouse, DAY[0])
    after = landed(warehouse)
    assert [text for _, text, _ in sorted(after["stages"])] == TEXTS
    assert dict(row[:2] for row in after["users"]) == dict(enumerate(plain))
    assert export.land(warehouse, DAY[1])["stages"].unchanged == len(TEXTS)


def test_values_arrive_as_they_are(warehouse: Warehouse, export: Export):
    export.rows["activity"] = [
        f"{'9' * 18},call,-12.0,{'-' + '9' * 18},TRUE,2024-02-29T23:59:59.123456Z",
        "0,,,-0,false,1970-01-01",
        '1,"","",2,"",""',
        "2,a,1,2,True,2099-12-31 23:59:59.999999",
        "3,a,1,2,True,2024-01-31 10:00",
    ]
    export.land(warehouse, DAY[0])
    rows = {row[0]: row[1:-1] for row in landed(warehouse)["activity"]}
    assert rows == {
        10**18 - 1: ("call", -12, 1 - 10**18, True, datetime(2024, 2, 29, 23, 59, 59, 123456)),
        0: (None, None, 0, False, datetime(1970, 1, 1)),
        1: (None, None, 2, None, None),
        2: ("a", 1, 2, True, datetime(2099, 12, 31, 23, 59, 59, 999999)),
        3: ("a", 1, 2, True, datetime(2024, 1, 31, 10)),
    }


# --- landed, then planned -------------------------------------------------------------------------


def without_arrival(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a model's rows without the time of their arrival, sorted."""
    frame = frame.drop(columns="loaded_at", errors="ignore")
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def test_the_landed_sample_is_the_sample_and_rejected_rows_are_there(
    gateway: str,
    new_warehouse: Callable[..., Warehouse],
    samples: Callable[[str], Warehouse],
    tmp_path: Path,
):
    rejected = "pipedrive_staging.stg_rejected_rows"
    warehouse = new_warehouse(gateway, core=True, **LANDED)
    land_files(warehouse, sample_files(), DAY[0])

    def plan_of_day(days: int) -> None:  # a second plan of a day has nothing to do
        at = datetime.now() + timedelta(days=days)
        outcome = warehouse.plan("dev", execution_time=f"{at:%Y-%m-%d %H:%M:%S}")
        assert outcome.error is None, outcome.output

    plan_of_day(0)
    assert warehouse.table(rejected).empty
    for model in MODELS:
        expected = without_arrival(samples(gateway).table(model))
        pd.testing.assert_frame_equal(without_arrival(warehouse.table(model)), expected)
    report = without_arrival(warehouse.table(REPORT))

    for file in sample_files().iterdir():
        bad = {"users.csv": "x,Bo,,\n1\n", "deal_changes.csv": "1,then,stage_id,1\n"}
        (tmp_path / file.name).write_text(file.read_text() + bad.get(file.name, ""))
    land_files(warehouse, tmp_path, DAY[1])
    plan_of_day(1)
    assert len(warehouse.table(rejected)) == 3
    pd.testing.assert_frame_equal(without_arrival(warehouse.table(REPORT)), report)

    land_files(warehouse, sample_files(), DAY[2])
    plan_of_day(2)
    assert warehouse.table(rejected).empty


# --- the contract ---------------------------------------------------------------------------------


def test_the_raw_tables_are_those_of_the_contract(warehouse: Warehouse, export: Export):
    export.land(warehouse, DAY[0])
    types = {
        *(("BIGINT", "BIGINT"), ("VARCHAR", "TEXT"), ("TEXT", "TEXT"), ("BOOLEAN", "BOOLEAN")),
        *(("TIMESTAMP", "TIMESTAMP"), ("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP")),
        *(("DECIMAL(18,3)", "DECIMAL(18, 3)"), ("NUMERIC", "DECIMAL(18, 3)")),
    }
    rows = fetch(
        warehouse,
        "SELECT table_name, column_name, UPPER(data_type) FROM information_schema.columns "
        "WHERE table_schema = 'pipedrive_raw' ORDER BY table_name, ordinal_position",
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, type_ in rows:
        found.setdefault(table, {})[column] = dict(types)[type_]
    contract = {name: list(table.columns.items()) for name, table in TABLES.items()}
    assert {name: list(columns.items()) for name, columns in found.items()} == contract
    assert sorted(found) == sorted(
        [*EXPORT_TABLES, *OPTIONAL_TABLES, "rejected_rows", "removed_changes"]
    )


def test_the_raw_tables_are_described_on_postgres(on_postgres: Warehouse, export: Export):
    export.land(on_postgres, DAY[0])
    rows = fetch(
        on_postgres,
        "SELECT c.relname, COALESCE(a.attname, ''), d.description FROM pg_description AS d "
        "JOIN pg_class AS c ON c.oid = d.objoid AND d.classoid = 'pg_class'::REGCLASS "
        "LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.objsubid "
        "AND d.objsubid > 0 WHERE c.relnamespace = 'pipedrive_raw'::REGNAMESPACE",
    )
    assert sorted(rows) == sorted(
        (name, column, text)
        for name, table in TABLES.items()
        for column, text in {"": table.description, **table.column_descriptions}.items()
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            "stage_id TEXT, stage_name TEXT, loaded_at TIMESTAMP",
            "Column stage_id of pipedrive_raw.stages is TEXT, and the contract "
            "(external_models.yaml) says BIGINT.",
        ),
        (
            "stage_id BIGINT, stage_name TEXT, loaded_at TIMESTAMPTZ",
            "Column loaded_at of pipedrive_raw.stages is TIMESTAMPTZ, and the contract "
            "(external_models.yaml) says TIMESTAMP.",
        ),
        ("stage_id BIGINT, loaded_at TIMESTAMP", "pipedrive_raw.stages has no column stage_name."),
    ],
    ids=("type", "time zone", "column"),
)
def test_a_raw_table_with_other_columns_is_refused(
    warehouse: Warehouse, export: Export, columns: str, said: str
):
    execute(
        warehouse,
        "CREATE SCHEMA pipedrive_raw",
        f"CREATE TABLE pipedrive_raw.stages ({columns})",
        "INSERT INTO pipedrive_raw.stages (stage_id) VALUES (5)",
    )
    with pytest.raises(DatabaseError) as raised:
        export.land(warehouse, DAY[0])
    assert str(raised.value) == (
        f"{said} Rename the table, land again, and copy over what you miss."
    )
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'pipedrive_raw'"
    assert fetch(warehouse, tables) == [("stages",)]
    assert len(fetch(warehouse, "SELECT * FROM pipedrive_raw.stages")) == 1
    assert schemas(warehouse) == {"pipedrive_raw"}


def test_types_that_are_as_good_are_accepted(warehouse: Warehouse, export: Export):
    execute(
        warehouse,
        "CREATE SCHEMA pipedrive_raw",
        "CREATE TABLE pipedrive_raw.stages "
        "(loaded_at TIMESTAMP, more TEXT, stage_name VARCHAR, stage_id INT)",
        "INSERT INTO pipedrive_raw.stages VALUES ('2024-01-01', 'kept', 'Lead', 1)",
    )
    assert export.land(warehouse, DAY[0])["stages"] == Change(3, 2, 1, 0, 0)
    assert arrivals(landed(warehouse)["stages"]) == {1: datetime(2024, 1, 1), 2: DAY[0], 3: DAY[0]}


# --- the command ----------------------------------------------------------------------------------


def test_the_command_says_what_became_of_every_row(warehouse: Warehouse, export: Export):
    export.rows["users"].append("x,Di,,")
    export.rows["stages"].append("3,Won")
    done = run_command(warehouse, "land", "csv", export.write())
    assert done.code == 0, done.err
    assert done.err == ""
    lines = [line.split() for line in done.out.splitlines()]
    assert ["read", "landed", "unchanged", "repeated", "rejected", "removed"] in lines
    assert ["users", "4", "3", "0", "0", "1", "0"] in lines
    assert ["stages", "4", "3", "0", "1", "0", "0"] in lines
    assert ["total", "20", "18", "0", "1", "1", "0"] in lines
    assert "rejected: users.csv, line 5: column id holds 'x', which is no BIGINT." in done.out
    assert "Rejected rows are in pipedrive_raw.rejected_rows, with file, line" in done.out
    option = "" if warehouse.gateway == "duckdb" else " GATEWAY=postgres"
    source = f" SOURCE={export.path}"
    assert done.out.endswith(f"\n  make dev{option}\n  make refresh{option}{source}\n")
    assert Counter(len(rows) for rows in landed(warehouse).values()) == {3: 6, 1: 1, 0: 3}


def test_a_bad_export_leaves_the_database_alone(warehouse: Warehouse, export: Export):
    (export.write() / "users.csv").unlink()
    done = run_command(warehouse, "land", "csv", export.path)
    assert done.code == 2
    assert done.err == (
        f"{export.path}/users.csv is missing. Export this table as well.\nNothing was written.\n"
    )
    assert schemas(warehouse) == set()


def test_removals_need_a_word(on_duckdb: Warehouse, export: Export):
    assert run_command(on_duckdb, "land", "csv", export.write()).code == 0
    del export.rows["stages"][1:]
    done = run_command(on_duckdb, "land", "csv", export.write())
    assert done.code == 2
    assert done.err.startswith("stages: 2 of the 3 rows that are landed are not in this source.")
    assert len(landed(on_duckdb)["stages"]) == 3
    done = run_command(on_duckdb, "land", "csv", export.path, "--allow-removals")
    assert done.code == 0, done.err
    assert len(landed(on_duckdb)["stages"]) == 1


# --- faults ---------------------------------------------------------------------------------------


def assert_said(done: Done, *texts: str) -> None:
    """Assert that a command has failed, and said so in words."""
    assert done.code == 1, done.out + done.err
    for text in texts:
        assert text in done.err
    assert "Traceback" not in done.out + done.err
    assert len(done.err.splitlines()) <= 3, done.err


def test_an_unknown_gateway(on_duckdb: Warehouse, export: Export):
    nowhere = dataclasses.replace(on_duckdb, gateway="nowhere")
    assert_said(run_command(nowhere, "land", "csv", export.write()), "config.yaml: ", "nowhere")


def test_a_server_that_does_not_answer(on_postgres: Warehouse, export: Export):
    settings = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1"}
    elsewhere = dataclasses.replace(on_postgres, settings=on_postgres.settings | settings)
    done = run_command(elsewhere, "land", "csv", export.write())
    assert_said(done, "PostgreSQL at 127.0.0.1:1/", "Connection refused", "docker compose up")


def test_a_role_that_may_not_write(
    on_postgres: Warehouse, export: Export, postgres_server: dict[str, str]
):
    admin = psycopg2.connect(postgres_server["admin_uri"])
    with admin, admin.cursor() as cursor:
        cursor.execute("CREATE ROLE may_not_write LOGIN")
    admin.close()
    settings = on_postgres.settings | {"POSTGRES_USER": "may_not_write"}
    reader = dataclasses.replace(on_postgres, settings=settings)
    done = run_command(reader, "land", "csv", export.write())
    assert_said(done, "The database says: permission denied for database")
    assert schemas(on_postgres) == set()


def duckdb_file(warehouse: Warehouse) -> Path:
    (path,) = warehouse.settings.keys() & {"SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE"}
    return Path(warehouse.settings[path])


def test_a_file_that_another_process_has_open(on_duckdb: Warehouse, export: Export):
    with duckdb.connect(duckdb_file(on_duckdb)):
        done = run_in_a_process(on_duckdb, "land", "csv", export.write())
    assert_said(done, f"{duckdb_file(on_duckdb)} is open in process {os.getpid()} (")


def test_a_closed_database_lets_others_in(on_duckdb: Warehouse, export: Export):
    with landing_database(on_duckdb) as database:
        database.adapter.fetchone("SELECT 1")
    done = run_in_a_process(on_duckdb, "land", "csv", export.write())
    assert done.code == 0, done.err


def test_a_landing_is_in_one_file(on_duckdb: Warehouse, export: Export):
    """Whoever copies the file has the last landing, too."""
    assert run_command(on_duckdb, "land", "csv", export.write()).code == 0
    assert [path.name for path in duckdb_file(on_duckdb).parent.iterdir()] == ["pipedrive.duckdb"]


@pytest.mark.faults
def test_a_full_disk(on_duckdb: Warehouse, export: Export):
    """Files that may not grow beyond a size are as good: Python ignores the signal, too."""

    def changes(deals: range) -> list[str]:
        return [f"{deal},2024-04-01 08:00:00,lost_reason,{hash((deal,))}" for deal in deals]

    execute(on_duckdb, "CREATE TABLE ballast AS SELECT HASH(i) FROM RANGE(2000000) AS t (i)")
    assert run_command(on_duckdb, "land", "csv", export.write()).code == 0
    before = landed(on_duckdb)
    path = duckdb_file(on_duckdb)
    limit = path.stat().st_size

    export.rows["deal_changes"] += changes(range(250_000))
    done = run_in_a_process(
        on_duckdb,
        *("land", "csv", export.write()),
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert_said(done, " says: ", str(path), "Landing again is safe.")
    assert landed(on_duckdb) == before

    changed = export.land(on_duckdb, DAY[1])["deal_changes"]
    assert changed == Change(250_003, 250_000, 3, 0, 0)
    assert schemas(on_duckdb) == {"pipedrive_raw", "pipedrive_ops"}  # nothing on its way is left


# --- what deals are worth, which an export may lack -----------------------------------------------

STATES = {
    "deals": [
        "1001,Reed Works,1,1,won,1250.5,EUR,,2024-05-01,2024-05-02 09:00:00,,,7,False,False,",
        "1002,,1,2,open,,USD,35,,,,,,,,",
    ],
    "pipelines": ["1,Sales,1,False"],
    "pipeline_stages": ["1,1,1,10", "2,1,2,"],
}


def test_the_list_of_deals_lands_and_touches_its_deals(warehouse: Warehouse, export: Export):
    export.rows |= STATES
    export.land(warehouse, DAY[0])
    found = fetch(
        warehouse, "SELECT deal_id, status, value, probability FROM pipedrive_raw.deals ORDER BY 1"
    )
    assert [tuple(map(str, row)) for row in found] == [
        ("1001", "won", "1250.500", "None"),
        ("1002", "open", "None", "35"),
    ]
    export.rows["deals"] = [STATES["deals"][0], STATES["deals"][1].replace("open", "lost")]
    changes = export.land(warehouse, DAY[1])
    assert (changes["deals"].landed, changes["deals"].unchanged) == (1, 1)
    arrived = fetch(
        warehouse, f"SELECT deal_id FROM pipedrive_raw.deals WHERE loaded_at >= '{DAY[1]}'"
    )
    assert [row[0] for row in arrived] == [1002]


def test_an_export_that_no_longer_has_the_list_of_deals_is_no_mistake_unseen(
    warehouse: Warehouse, export: Export
):
    """Its rows would be out of date, and are not dropped without a word."""
    export.rows |= STATES
    export.land(warehouse, DAY[0])
    for name in OPTIONAL_TABLES:
        export.rows.pop(name)
        (export.path / f"{name}.csv").unlink()
    with pytest.raises(TooManyRemovals, match="deals: 2 of the 2 rows"):
        export.land(warehouse, DAY[1])
    assert fetch(warehouse, "SELECT COUNT(*) FROM pipedrive_raw.deals") == [(2,)]
    export.land(warehouse, DAY[1], allow_removals=True)
    assert fetch(warehouse, "SELECT COUNT(*) FROM pipedrive_raw.deals") == [(0,)]


def test_six_files_land_without_a_word_about_the_others(warehouse: Warehouse, export: Export):
    done = run_command(warehouse, "land", "csv", export.write())
    assert done.code == 0, done.err
    assert not [line for line in done.lines if line.split()[:1] == ["deals"]]
    export.rows |= STATES
    done = run_command(warehouse, "land", "csv", export.write())
    assert [line.split()[:3] for line in done.lines if line.split()[:1] == ["deals"]] == [
        ["deals", "2", "2"]
    ]


# --- an upgrade -----------------------------------------------------------------------------------

MAY_BE_EMPTY = (*OPTIONAL_TABLES, "rejected_rows", "removed_changes")


def ready(warehouse: Warehouse) -> None:
    """Do what a plan and a refresh do first."""
    with landing_database(warehouse) as database:
        database.ready_raw_tables()


def drop_tables(warehouse: Warehouse, *names: str) -> None:
    for name in names:
        execute(warehouse, f"DROP TABLE pipedrive_raw.{name}")


def test_tables_that_may_be_empty_are_made_without_a_landing(
    warehouse: Warehouse, export: Export, capsys: pytest.CaptureFixture
):
    """An older release has not landed them, and other tools need not know them."""
    export.land(warehouse, DAY[0])
    as_landed = raw_state(warehouse)
    ready(warehouse)
    assert capsys.readouterr().out == ""
    drop_tables(warehouse, *MAY_BE_EMPTY)
    ready(warehouse)
    said = " ".join(capsys.readouterr().out.split())
    assert said == "New, and empty until something fills them: " + (
        f"{', '.join(f'pipedrive_raw.{name}' for name in TABLES if name in MAY_BE_EMPTY)}."
    )
    assert raw_state(warehouse) == as_landed
    assert export.land(warehouse, DAY[1])["deal_changes"].unchanged == 3  # types fit the contract


def test_a_table_of_the_six_is_not_made(warehouse: Warehouse, export: Export):
    """An empty log would pass for a company without deals."""
    export.land(warehouse, DAY[0])
    drop_tables(warehouse, "deals", "stages")
    with pytest.raises(DatabaseError, match="no table stages. Land first: make land"):
        ready(warehouse)


def test_where_the_role_may_not_create_it_says_what_to_run(
    database_of: Callable[[str], Warehouse], export: Export
):
    warehouse = database_of("postgres")
    export.land(warehouse, DAY[0])
    drop_tables(warehouse, *OPTIONAL_TABLES)
    execute(warehouse, "REVOKE CREATE ON SCHEMA pipedrive_raw FROM pipedrive")
    with pytest.raises(DatabaseError) as caught:
        ready(warehouse)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(
        "The models read pipedrive_raw.deals, pipedrive_raw.pipelines, "
        "pipedrive_raw.pipeline_stages, which this release needs and pipedrive may not create "
        "(permission denied for schema pipedrive_raw)."
    )
    execute(warehouse, "GRANT CREATE ON SCHEMA pipedrive_raw TO pipedrive")
    execute(warehouse, said.partition("run: ")[2])
    assert export.land(warehouse, DAY[1])["deal_changes"].unchanged == 3
