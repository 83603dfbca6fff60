"""The catalog's artifacts have all that the project's files and the database have.

Files are read here with regular expressions, and not by SQLMesh, which the artifacts come from.
How the page of them looks, and that dbt's own reader takes them, is tested in catalog/tests.
"""

from __future__ import annotations

import json
import re
import subprocess
import typing as t
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from ruamel.yaml import YAML
from sqlmesh.core.dialect import parse
from sqlmesh.core.model import Model, load_sql_based_model

from pipedrive_funnel.catalog.lineage import AGGREGATED, DERIVED, PASSED_ON, RENAMED, origins_of
from tests.conftest import SAMPLES_PLANNED_AT
from tests.support.command import edit_file, run_command
from tests.support.warehouse import PROJECT, REPORT, Warehouse

PYTHON = PROJECT / "catalog" / ".venv" / "bin" / "python"  # made by `make test`
RENDER = PROJECT / "catalog" / "render.py"
ARTIFACTS = {"manifest.json", "catalog.json", "run_results.json", "column_lineage.json"}
FILES = {file.stem: file for file in (PROJECT / "models").rglob("*.sql")}
REPORT_ID = "model.pipedrive_funnel.rep_sales_funnel_monthly"

Artifacts = dict[str, t.Any]  # by their names, without `.json`

pytestmark = pytest.mark.again_on("postgres")


def written(warehouse: Warehouse, directory: Path) -> Artifacts:
    """Write the artifacts of dev, as there is no prod, with the command, and return them."""
    done = run_command(warehouse, "catalog", "--out", directory)
    assert done.code == 0, done.err
    no_prod, summary, place = done.out.splitlines()
    assert no_prod == "There is no prod yet, see `make prod`: this is dev."
    assert re.match(r"dev: \d+ models, \d+ audits, \d+ warn, \d+ would block\.$", summary)
    assert Path(place).resolve() == directory
    assert {file.name for file in directory.iterdir()} == ARTIFACTS
    return {file.stem: json.loads(file.read_text()) for file in directory.iterdir()}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory for the artifacts of the sample."""
    return tmp_path_factory.mktemp("catalog") / "artifacts"


@pytest.fixture(scope="module")
def artifacts(gateway: str, samples: t.Callable[[str], Warehouse], directory: Path) -> Artifacts:
    """Write the artifacts of the sample in dev, with the unit tests of the report."""
    sample = samples(gateway)
    tests = sample.path / "tests"
    name = "test_rep_sales_funnel_monthly.yaml"
    tests.mkdir()
    (tests / name).write_text((PROJECT / "tests/models/reports" / name).read_text())
    try:
        return written(sample, directory)
    finally:
        (tests / name).unlink()
        tests.rmdir()


@pytest.fixture(scope="module")
def later(
    samples: t.Callable[[str], Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Artifacts, int]:
    """Write the artifacts after files have changed, and a number of rows against an audit."""
    sample = samples("duckdb")
    (file,) = (sample.path / "models").rglob("dim_users.sql")
    undo = edit_file(file, "description 'One row", "description 'Another row")
    (gone,) = (sample.path / "models").rglob("rep_lost_reasons_monthly.sql")
    aside = gone.rename(sample.path / gone.name)
    table = sample.snapshot(REPORT).table_name()
    change = f"UPDATE {table} SET deals_count = -deals_count WHERE funnel_step = 9"
    sample.execute(change)
    rows = sample.fetch(f"SELECT COUNT(*) AS rows FROM {table} WHERE deals_count < 0")["rows"][0]
    try:
        artifacts = written(sample, tmp_path_factory.mktemp("later") / "artifacts")
    finally:
        undo()
        aside.rename(gone)
        sample.execute(change)
    return artifacts, rows


def nodes_of(artifacts: Artifacts, *kinds: str) -> dict[str, t.Any]:
    """Return the nodes of the manifest of some kinds, by name."""
    nodes = artifacts["manifest"]["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] in kinds}


def header_of(file: Path) -> str:
    """Return the header of a model, without comments."""
    return re.sub(r" */\*.*?\*/", "", file.read_text().partition("\n);")[0])


def block(header: str, name: str) -> str:
    """Return what stands in the brackets of a property of a header, or nothing."""
    _, found, rest = header.partition(f"\n  {name} (")
    depth, end = 1, 0
    while found and depth:
        depth += {"(": 1, ")": -1}.get(rest[end], 0)
        end += 1
    return rest[: end - 1] if found else ""


def audits_in(header: str) -> Counter[str]:
    """Return how often each audit stands in a header."""
    inside, depth, outer = block(header, "audits"), 0, ""
    for character in inside:
        depth -= character == ")"
        outer += character if not depth else ""
        depth += character == "("
    return Counter(re.findall(r"\w+", outer))


# --- models and columns ---------------------------------------------------------------------------


def test_every_model_and_raw_table_is_there(artifacts: Artifacts) -> None:
    assert nodes_of(artifacts, "model", "seed").keys() == FILES.keys()
    contract = YAML(typ="safe").load(PROJECT / "external_models.yaml")
    sources = artifacts["manifest"]["sources"].values()
    assert {f"{one['source_name']}.{one['name']}": one["columns"].keys() for one in sources} == {
        table["name"]: table["columns"].keys() for table in contract
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_model_is_as_its_file_has_it(artifacts: Artifacts, name: str) -> None:
    node, header = nodes_of(artifacts, "model", "seed")[name], header_of(FILES[name])
    assert f"description '{node['description']}'" in header.replace("''", "'")
    described = re.findall(r"(\w+) = '((?:[^']|'')*)'", block(header, "column_descriptions"))
    texts = {column: about["description"] for column, about in node["columns"].items()}
    assert texts == {column: text.replace("''", "'") for column, text in described}
    assert all(about["data_type"] for about in node["columns"].values())
    assert set(node["tags"]) == set(re.findall(r"\w+", block(header, "tags")))
    assert node["meta"]["owner"] == "analytics"
    assert node["raw_code"] == FILES[name].read_text()
    assert node["original_file_path"] == str(FILES[name].relative_to(PROJECT))
    kind = re.findall(r"kind (\w+)", header)[0]
    assert node["meta"]["kind"] == kind
    assert (node["resource_type"] == "seed") == (kind == "SEED")
    assert (node["config"]["materialized"] == "ephemeral") == (kind == "EMBEDDED")


def test_types_and_rows_are_those_of_the_database(artifacts: Artifacts, sample: Warehouse) -> None:
    marts = YAML(typ="safe").load(PROJECT / "models" / "marts" / "contract.yaml")
    tables = {one["metadata"]["name"]: one for one in artifacts["catalog"]["nodes"].values()}
    embedded = {name for name, file in FILES.items() if "kind EMBEDDED" in file.read_text()}
    assert tables.keys() == FILES.keys() - embedded
    for mart, columns in marts.items():
        assert [*tables[mart]["columns"]] == [*columns]
        assert tables[mart]["metadata"]["schema"] == "pipedrive_analytics__dev"
        rows = sample.fetch(f"SELECT COUNT(*) AS rows FROM pipedrive_analytics__dev.{mart}")
        assert tables[mart]["stats"]["row_count"]["value"] == rows["rows"][0]
    types = {name: about["type"] for name, about in tables[REPORT.split(".")[1]]["columns"].items()}
    assert types["deals_count"] == "BIGINT"
    assert types["month"] == "DATE"


def test_compiled_sql_gives_what_the_environment_shows(
    artifacts: Artifacts, sample: Warehouse
) -> None:
    compiled = nodes_of(artifacts, "model")["rep_sales_funnel_monthly"]["compiled_code"]
    assert "pipedrive_analytics__dev" in compiled
    counted = sample.fetch(
        f"SELECT SUM(deals_count) AS deals, COUNT(*) AS rows FROM ({compiled}) AS c"
    )
    shown = sample.table(REPORT)
    assert counted["rows"][0] == len(shown)
    assert counted["deals"][0] == sum(map(int, shown["deals_count"]))
    for name, node in nodes_of(artifacts, "model").items():
        columns = sample.fetch(f"SELECT * FROM ({node['compiled_code']}) AS c LIMIT 0").columns
        assert [*columns] == [*node["columns"]], name
    # EMBEDDED models stand in the queries that read them, as in the engine
    findings = nodes_of(artifacts, "model")["fct_data_quality_findings"]["compiled_code"]
    assert '"unknown_deals" AS (' in findings


@pytest.mark.again
def test_models_that_have_changed_or_gone_since_are_shown_as_they_were_planned(
    later: tuple[Artifacts, int],
) -> None:
    node = nodes_of(later[0], "model")["dim_users"]
    assert node["description"].startswith("One row per user")
    assert "One row per user" in node["raw_code"] and "Another row" not in node["raw_code"]
    assert "is_active = 'TRUE when" in node["raw_code"]
    gone = nodes_of(later[0], "model")["rep_lost_reasons_monthly"]
    assert "COUNT(*)::BIGINT AS deals_count" in gone["raw_code"]


def test_it_says_when_models_were_last_computed(artifacts: Artifacts) -> None:
    results = artifacts["run_results"]["results"]
    ran = {
        result["unique_id"]: datetime.fromisoformat(result["timing"][-1]["completed_at"])
        for result in results
        if not result["unique_id"].startswith("test.")
    }
    assert ran.keys() == artifacts["catalog"]["nodes"].keys()
    assert all(SAMPLES_PLANNED_AT <= at <= datetime.now(UTC) for at in ran.values())


# --- audits and unit tests ------------------------------------------------------------------------


def test_every_audit_is_there_and_has_run(artifacts: Artifacts) -> None:
    tests = [
        node for node in artifacts["manifest"]["nodes"].values() if node["resource_type"] == "test"
    ]
    for name, file in FILES.items():
        own = [test for test in tests if test["attached_node"].endswith(f".{name}")]
        assert Counter(test["test_metadata"]["name"] for test in own) == audits_in(header_of(file))
    results = {result["unique_id"]: result for result in artifacts["run_results"]["results"]}
    assert {test["unique_id"] for test in tests} <= results.keys()
    assert len({test["unique_id"] for test in tests}) == len(tests)


def test_audits_stand_at_their_columns(artifacts: Artifacts) -> None:
    nodes = artifacts["manifest"]["nodes"].values()
    of_report = {
        (node["test_metadata"]["name"], node["column_name"])
        for node in nodes
        if node.get("attached_node") == REPORT_ID
    }
    assert of_report >= {
        ("not_null", "month"),
        ("not_null", "deals_count"),
        ("accepted_values", "funnel_step"),
        ("kpi_names_valid", None),
    }


def test_an_audit_that_warns_says_how_many_rows(artifacts: Artifacts) -> None:
    warned = {
        result["unique_id"].split(".")[2]: (result["failures"], result["message"])
        for result in artifacts["run_results"]["results"]
        if result["status"] not in ("pass", "success")
    }
    assert {name: rows for name, (rows, _) in warned.items()} == {
        "funnel_completeness_fct_data_quality_findings": 5,
        "funnel_progression_logic_fct_data_quality_findings": 5,
        "stage_activity_consistency_fct_data_quality_findings": 2,
        "data_quality_warnings_rep_data_quality": 7,
    }
    said = warned["funnel_completeness_fct_data_quality_findings"][1]
    assert said.startswith("5 rows. A returned row is a finding")
    severities = {
        node["unique_id"].split(".")[2]: node["config"]["severity"]
        for node in artifacts["manifest"]["nodes"].values()
        if node["resource_type"] == "test"
    }
    assert {name for name, severity in severities.items() if severity == "WARN"} >= warned.keys()
    assert severities["deals_count_non_negative_rep_sales_funnel_monthly"] == "ERROR"


@pytest.mark.again
def test_an_audit_that_would_block_has_failed(later: tuple[Artifacts, int]) -> None:
    artifacts, rows = later
    results = artifacts["run_results"]["results"]
    (failed,) = (one for one in results if "deals_count_non_negative" in one["unique_id"])
    assert (failed["status"], failed["failures"]) == ("fail", rows)
    assert rows > 1
    assert failed["message"] == (
        f"{rows} rows. A returned row is a month and step with a negative number of deals."
    )


def test_unit_tests_are_there_with_their_rows(artifacts: Artifacts) -> None:
    tests = artifacts["manifest"]["unit_tests"].values()
    file = PROJECT / "tests" / "models" / "reports" / "test_rep_sales_funnel_monthly.yaml"
    cases = YAML(typ="safe").load(file)
    assert {test["name"]: test["description"] for test in tests} == {
        name: case["description"] for name, case in cases.items()
    }
    for test in tests:
        case = cases[test["name"]]
        assert test["depends_on"]["nodes"] == [REPORT_ID]
        assert test["original_file_path"].endswith(file.name)
        assert [given["input"] for given in test["given"]] == [
            f"ref('{name.split('.')[1]}')" for name in case["inputs"]
        ]
        rows = case["outputs"]["query"]["rows"]
        assert len(test["expect"]["rows"]) == len(rows)


# --- lineage --------------------------------------------------------------------------------------


def reached(lineage: Artifacts, model: str, column: str) -> set[tuple[str, str]]:
    """Return all columns that a column is made from, directly or not."""
    found: set[tuple[str, str]] = set()
    waiting = [(model, column)]
    while waiting:
        model, column = waiting.pop()
        for origin in lineage.get(model, {}).get(column, ()):
            step = (origin["source_model"], origin["source_column"])
            if step not in found:
                found.add(step)
                waiting.append(step)
    return found


def test_deals_count_goes_back_to_the_raw_log(artifacts: Artifacts) -> None:
    found = reached(artifacts["column_lineage"], REPORT_ID, "deals_count")
    models = "model.pipedrive_funnel."
    assert {
        (f"{models}fct_deal_stage_history", "stage_id"),
        (f"{models}int_deal_stage_history", "deal_id"),
        (f"{models}int_deal_changes", "new_value"),
        (f"{models}stg_deal_changes", "deal_id"),
        ("seed.pipedrive_funnel.deal_changes", "deal_id"),
        ("seed.pipedrive_funnel.deal_changes", "new_value"),
        ("seed.pipedrive_funnel.activity", "due_to"),
    } <= found


def test_every_column_of_a_mart_comes_from_a_file(artifacts: Artifacts) -> None:
    lineage = artifacts["column_lineage"]
    constants = {("rep_data_quality", "as_of"), ("rep_time_in_stage", "as_of")}  # date of the run
    constants |= {("fct_data_quality_findings", name) for name in ("check_name", "is_by_deal")}
    constants |= {("rep_forecast_monthly", "as_of"), ("rep_deal_outcomes_monthly", "counted_by")}
    constants |= {(f"rep_owner_{name}_monthly", "as_of") for name in ("performance", "outcomes")}
    lost = {
        (name, column)
        for name, node in nodes_of(artifacts, "model").items()
        if "marts" in node["tags"]
        for column in node["columns"]
        if not any(
            model.startswith("seed.") for model, _ in reached(lineage, node["unique_id"], column)
        )
    }
    assert lost == constants


def test_models_stand_behind_those_that_they_name(artifacts: Artifacts) -> None:
    """A model that has no table is one of them, and hides what it reads itself."""
    seen = set()
    for name, node in nodes_of(artifacts, "model").items():
        query = FILES[name].read_text().partition("\n);")[2]
        named = set(re.findall(r"(?:FROM|JOIN) (?:pipedrive_\w+|@\{raw_schema\})\.(\w+)", query))
        of_macros = {
            "@was_touched": "int_touched_deals",
            "@is_counted": "stg_deals",
            "@observed_until": "fct_deals",
        }
        unnamed = {model for macro, model in of_macros.items() if macro in query}
        unnamed |= set(re.findall(r"\.(\w+)", block(header_of(FILES[name]), "depends_on")))
        parents = {id_.rpartition(".")[2] for id_ in node["depends_on"]["nodes"]}
        assert named <= parents <= named | unnamed, name
        seen |= parents
    assert {"chk_deals", "int_touched_deals", "deal_changes"} <= seen


def test_lineage_names_columns_that_are_there(artifacts: Artifacts) -> None:
    nodes = artifacts["manifest"]["nodes"] | artifacts["manifest"]["sources"]
    for model, columns in artifacts["column_lineage"].items():
        for column, origins in columns.items():
            assert column in nodes[model]["columns"]
            for origin in origins:
                assert origin["source_column"] in nodes[origin["source_model"]]["columns"]
                assert origin["source_model"] in nodes[model]["depends_on"]["nodes"]


CALLS = """
MODEL (name raw.calls, kind FULL, grain (call_id, deal_id));
SELECT 1::INT AS call_id, 2::INT AS deal_id, 3::INT AS seconds
"""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT COUNT(*) AS n FROM raw.calls", {"call_id", "deal_id"}),
        ("SELECT COUNT(*) AS n FROM raw.calls AS c GROUP BY c.seconds", {"call_id", "deal_id"}),
        (
            "WITH d AS (SELECT DISTINCT deal_id FROM raw.calls) SELECT COUNT(*) AS n FROM d",
            {"deal_id"},
        ),
        (
            "WITH deals AS (SELECT deal_id, SUM(seconds) AS s FROM raw.calls GROUP BY deal_id) "
            "SELECT COUNT(*) AS n FROM deals",
            {"deal_id"},
        ),
        (
            "WITH longer AS (SELECT seconds, deal_id, call_id FROM raw.calls WHERE seconds > 9) "
            "SELECT COUNT(*) AS n FROM longer",
            {"call_id", "deal_id"},
        ),
        (  # not all that identifies a row is passed on: all that there is
            "WITH some AS (SELECT seconds, deal_id FROM raw.calls) SELECT COUNT(*) AS n FROM some",
            {"seconds", "deal_id"},
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT call_id FROM raw.calls UNION ALL "
            "SELECT deal_id AS call_id FROM raw.calls) AS both",
            {"call_id", "deal_id"},
        ),
        ("SELECT COUNT(*) + MAX(seconds) AS n FROM raw.calls", {"call_id", "deal_id", "seconds"}),
        ("SELECT COUNT(seconds) AS n FROM raw.calls", {"seconds"}),
        ("SELECT 1 AS n FROM raw.calls", set()),
    ],
)
def test_counted_rows_come_from_what_identifies_them(query: str, expected: set[str]) -> None:
    found = origins("n", query)
    assert {column for column, _ in found} == expected
    assert {change for _, change in found} <= {AGGREGATED}


@pytest.mark.parametrize(
    ("query", "change"),
    [
        ("SELECT seconds AS seconds FROM raw.calls", PASSED_ON),
        ("SELECT seconds::TEXT AS seconds FROM raw.calls", PASSED_ON),
        ("WITH a AS (SELECT seconds AS s FROM raw.calls) SELECT s AS seconds FROM a", PASSED_ON),
        ("SELECT seconds AS duration FROM raw.calls", RENAMED),
        ("SELECT seconds / 60 AS minutes FROM raw.calls", DERIVED),
        ("WITH a AS (SELECT -seconds AS s FROM raw.calls) SELECT s FROM a", DERIVED),
        ("WITH a AS (SELECT SUM(seconds) AS s FROM raw.calls) SELECT s FROM a", AGGREGATED),
    ],
)
def test_lineage_says_what_becomes_of_a_column(query: str, change: str) -> None:
    name = re.findall(r"AS (\w+) FROM raw.calls$|SELECT (\w+)(?: AS (\w+))? FROM a$", query)[0]
    column = next(filter(None, reversed(name)))
    assert origins(column, query) == {("seconds", change)}


def origins(column: str, query: str) -> set[tuple[str, str]]:
    """Return what a column of a query of raw.calls is made from, and what becomes of that."""

    def model(text: str) -> Model:
        return t.cast(Model, load_sql_based_model(parse(text, "postgres"), dialect="postgres"))

    calls = model(CALLS)
    one = model(f"MODEL (name marts.one, kind FULL); {query}")
    return {
        (origin.column, origin.change)
        for origin in origins_of(one, {calls.fqn: calls, one.fqn: one})[column]
    }


# --- the command, and the page --------------------------------------------------------------------


@pytest.mark.again
def test_docglow_makes_one_page_of_them(
    artifacts: Artifacts, directory: Path, tmp_path: Path
) -> None:
    """The data of the page are what docglow has made of the artifacts, and end no script."""
    artifacts["manifest"]["nodes"][REPORT_ID]["raw_code"] += "</script><script>alert(1)</script>"
    for name, artifact in artifacts.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(artifact))
    page = tmp_path / "catalog.html"
    done = subprocess.run([PYTHON, RENDER, tmp_path, page], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    text = page.read_text()
    assert "<script>alert(1)" not in text
    data = json.loads(re.findall(r"window\.__DOCGLOW_DATA__=(.*);</script>", text)[0])
    assert {*data["models"], *data["seeds"]} == {
        node["unique_id"] for node in nodes_of(artifacts, "model", "seed").values()
    }
    assert data["column_lineage"] == artifacts["column_lineage"]
    assert "Content-Security-Policy" in text
    assert page.stat().st_size < 3e6


def test_an_environment_that_is_not_there_is_said(sample: Warehouse, tmp_path: Path) -> None:
    done = run_command(sample, "catalog", "nowhere", "--out", tmp_path / "artifacts")
    assert done.code == 1
    assert done.err == "There is no environment nowhere to show. Make it first.\n"
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.plans_nothing
def test_a_database_without_any_environment_is_left_as_it_is(
    new_warehouse: t.Callable[..., Warehouse], tmp_path: Path
) -> None:
    empty = new_warehouse("duckdb")
    done = run_command(empty, "catalog", "--out", tmp_path / "artifacts")
    assert (done.code, done.out) == (1, "")
    assert done.err == "There is no environment dev to show. Make it first.\n"
    (file,) = empty.settings.values()
    with duckdb.connect(file) as connection:
        assert connection.sql("SELECT table_name FROM information_schema.tables").fetchall() == []
