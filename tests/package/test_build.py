"""`build`, behind `make dev` and `make prod`, on the sample: what a person sees, and what stays."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import typing as t

import pytest
from sqlmesh.core import constants
from sqlmesh.core.model import SqlModel

from pipedrive_funnel.differences import changes
from pipedrive_funnel.sample.generate import WARNINGS
from pipedrive_funnel.unit_tests import UnitTests
from tests.support.command import Done, edit_file, run_command
from tests.support.warehouse import PROJECT, Warehouse

AUDIT = "ownership_covers_life"  # of a model whose audits read no other: SQLMesh finds those alone
LEADS = "Step 1: Lead Generation"
UNIT_TESTS = "tests/models/core"


def with_unit_tests(warehouse: Warehouse) -> Warehouse:
    """Copy the unit tests of two models, so that there are some to run."""
    directory = warehouse.path / UNIT_TESTS
    directory.mkdir(parents=True)
    for model in ("dim_stages", "dim_users"):
        shutil.copy(PROJECT / UNIT_TESTS / f"test_{model}.yaml", directory)
    return warehouse


@pytest.fixture(scope="module")
def warehouse(new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Give the sample on an empty DuckDB file."""
    return with_unit_tests(new_warehouse("duckdb"))


@pytest.fixture(scope="module")
def story(warehouse: Warehouse) -> dict[str, Done]:
    """Build dev for the first time and again, then prod, and dev after a change."""
    story = {}
    story["first"] = run_command(warehouse, "build", "dev")
    story["again"] = run_command(warehouse, "build", "dev")
    story["prod"] = run_command(warehouse, "build", "prod")
    (audit,) = (warehouse.path / "audits").rglob(f"{AUDIT}.sql")
    edit_file(audit, "position > 1", "position > 2")
    story["audit"] = run_command(warehouse, "build", "dev")
    return story


@pytest.fixture(scope="module")
def stopped_warehouse(new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Give the core of the project on the sample, on an empty DuckDB file."""
    return with_unit_tests(new_warehouse("duckdb", core=True))


@pytest.fixture(scope="module")
def stopped(stopped_warehouse: Warehouse) -> dict[str, Done]:
    """Build dev after each of some changes that stop it."""
    warehouse = stopped_warehouse
    models, audits = warehouse.path / "models", warehouse.path / "audits"
    story = {"first": run_command(warehouse, "build", "dev")}
    (audit,) = audits.rglob("deals_count_non_negative.sql")
    edit_file(audit, "deals_count < 0", "deals_count < 1")
    story["audit alone"] = run_command(warehouse, "build", "dev")
    undo = edit_file(audit, "deals_count < 1", "deals_count > 1")
    for attempt in ("audit fails", "audit fails again"):
        story[attempt] = run_command(warehouse, "build", "dev")
    undo()
    (model,) = models.rglob("dim_stages.sql")
    undo = edit_file(model, "stage_id::", "(stage_id + 1)::")
    for attempt in ("model", "model again"):
        story[attempt] = run_command(warehouse, "build", "dev")
    undo()
    undo = edit_file(warehouse.path / UNIT_TESTS / "test_dim_stages.yaml", "1,Lead", "2,Lead")
    story["unit test"] = run_command(warehouse, "build", "prod")
    undo()
    changes = warehouse.path / "seeds" / "deal_changes.csv"
    undo = edit_file(changes, ",stage_id,1\n", ",stage_id,first\n")
    story["blocked"] = run_command(warehouse, "build", "dev")
    undo()
    undo = edit_file(changes, ",stage_id,1\n", ",no comma\n")
    story["file"] = run_command(warehouse, "build", "dev")
    undo()
    return story


@pytest.mark.parametrize(
    ("name", "lines"), [("first", 60), ("again", 20), ("audit", 40), ("prod", 60)]
)
def test_a_person_reads_few_lines(story: dict[str, Done], name: str, lines: int) -> None:
    done = story[name]
    assert done.code == 0, done.out + done.err
    assert len(done.lines) <= lines, done.out
    wide = [line for line in done.lines if len(line) > 80]
    assert not wide
    assert done.err == ""


def test_the_funnel_is_in_it(story: dict[str, Done]) -> None:
    for name in ("first", "again", "audit", "prod"):
        assert re.search(rf"{LEADS} +266 +239 +208 +119 +18$", story[name].out, re.M)


def test_the_first_build_says_all_that_the_sample_is_warned_of(
    story: dict[str, Done], warehouse: Warehouse
) -> None:
    rows = warehouse.fetch(
        "SELECT check_name, rows_count FROM pipedrive_analytics__dev.rep_data_quality "
        "WHERE severity = 'warning' AND rows_count > 0"
    )
    warnings = story["first"].part(f"{len(rows)} checks warn, as the sample does by nature:")
    found = {name: int(count) for count, name in re.findall(r"^ +(\d+)  (\w+): ", warnings, re.M)}
    assert found == dict(rows.itertuples(index=False))
    assert set(found) <= WARNINGS <= {*found, "data_freshness"}
    assert "unknown_deals: An activity of a deal that is not in the log." in warnings


def test_a_second_build_has_no_news(story: dict[str, Done]) -> None:
    assert story["again"].out.startswith("No model has changed since dev was built.\n")
    assert "checks warn by nature of the sample." in story["again"].out
    assert "unit test" not in story["again"].out


def test_no_warning_reads_like_a_failure(story: dict[str, Done], stopped: dict[str, Done]) -> None:
    for done in (*story.values(), *stopped.values()):
        assert "audit error" not in done.out + done.err


def test_a_summary_says_what_is_there_and_what_comes_next(story: dict[str, Done]) -> None:
    out = story["first"].out
    assert re.search(r"^dev is new: \d+ models\.$", out, re.M)
    assert re.search(r"^Built and audited \d+ tables and views in \d+ s\.$", out, re.M)
    report = r"marts in pipedrive_analytics__dev, report 2024-01 to 2025-02 \(128 rows\)"
    assert re.search(report, out)
    assert out.split("Next:")[1].split()[:2] == ["make", "prod"]
    assert "make page" in out
    assert "make prod" not in story["prod"].out


def test_a_change_of_one_digit_is_seen(story: dict[str, Done]) -> None:
    out = story["audit"].out
    assert re.search(r"^-.*position > 1 .*\n\+.*position > 2 ", out, re.M)


def test_unit_tests_run_once_for_a_version_of_their_model(story: dict[str, Done]) -> None:
    """Not in prod again, nor after an edit of an audit; without any edit nobody asks for them."""
    said = re.search(r"^(\d+ unit tests of the models) pass\.$", story["first"].out, re.M)
    assert said
    for name in ("prod", "audit"):
        assert f"{said[1]} have passed before." in story[name].out
    assert "unit tests" not in story["again"].out


@pytest.mark.plans_nothing
def test_what_the_state_does_not_keep_is_no_change(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """Comments of audits: another checkout reads the model from the state, not from its cache."""
    models = [
        model
        for model in new_warehouse("duckdb").context.models.values()
        if isinstance(model, SqlModel)
    ]
    audits = [audit for model in models for audit in model.audit_definitions.values()]
    assert any(audit.query.comments for audit in audits)
    for model in models:
        assert changes(SqlModel.model_validate_json(model.json()), model, 80) == [], model.name


def test_an_audit_that_changes_alone_finds_the_other_models(stopped: dict[str, Done]) -> None:
    """The report's audits compare it with the steps of dev: there is no prod yet."""
    done = stopped["audit alone"]
    assert done.code == 0, done.out + done.err
    assert "\n-  deals_count < 0\n+  deals_count < 1\n" in done.out


@pytest.mark.parametrize("attempt", ["audit fails", "audit fails again"])
def test_an_audit_that_changes_alone_blocks_each_time(
    stopped: dict[str, Done], attempt: str
) -> None:
    """SQLMesh by itself runs it once, and lets the same plan through when it is repeated."""
    done = stopped[attempt]
    assert done.code == 1
    assert "rows against deals_count_non_negative" in " ".join(done.out.split())


@pytest.mark.parametrize("edited", ["model", "model again", "unit test"])
def test_a_failing_unit_test_stops_the_build(stopped: dict[str, Done], edited: str) -> None:
    """Each time, and after an edit of its text as well, although it has passed in dev."""
    done = stopped[edited]
    assert done.code == 1
    assert "Unit test fails: test_dim_stages" in done.out
    assert re.match("(dev|prod) was not built, and nothing was published. See above.\n", done.err)


@pytest.mark.plans_nothing
def test_each_of_several_processes_tests_some_models(
    new_warehouse: t.Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "MAX_FORK_WORKERS", 2)
    context = with_unit_tests(new_warehouse("duckdb", core=True)).context
    tests = UnitTests(context, context.snapshots)
    assert len(tests.untested) == tests.count > 2
    assert tests.pass_all()
    assert UnitTests(context, context.snapshots).untested == []


@pytest.mark.plans_nothing
def test_unit_tests_run_again_for_another_dialect(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    """SQLMesh says that it changes no data, and `1 / 2` is another number then."""
    warehouse = with_unit_tests(new_warehouse("duckdb", core=True))
    assert UnitTests(warehouse.context, warehouse.context.snapshots).pass_all()
    warehouse.close()
    (model,) = (warehouse.path / "models").rglob("dim_stages.sql")
    edit_file(model, "kind FULL,", "kind FULL,\n  dialect duckdb,")
    untested = UnitTests(warehouse.context, warehouse.context.snapshots).untested
    assert untested
    assert all("::test_dim_stages_" in name for name in untested)


@pytest.mark.plans_nothing
def test_unit_tests_whose_rows_are_in_another_file_always_run(
    new_warehouse: t.Callable[..., Warehouse],
) -> None:
    warehouse = with_unit_tests(new_warehouse("duckdb", core=True))
    rows = warehouse.path / "steps.yaml"
    rows.write_text("- {funnel_step: 1, kpi_name: 'Step 1', source: stage, key: '1'}\n")
    (warehouse.path / UNIT_TESTS / "test_dim_stages.yaml").write_text(OTHER_FILE.format(rows=rows))
    context = warehouse.context
    assert UnitTests(context, context.snapshots).pass_all()
    (name,) = UnitTests(context, context.snapshots).untested
    assert name.endswith("::test_dim_stages")


OTHER_FILE = """
test_dim_stages:
  model: pipedrive_analytics.dim_stages
  inputs:
    pipedrive_staging.stg_stages:
      rows:
        - {{stage_id: 1, stage_name: Lead}}
    pipedrive_analytics.dim_funnel_steps:
      path: {rows}
  outputs:
    query:
      rows:
        - {{stage_id: 1, stage_name: Lead, kpi_name: Step 1, funnel_step: 1}}
"""

KILLED = """
import time
from pipedrive_funnel.unit_tests import failing_tests

class Context:
    def test(self, tests):
        print(tests, flush=True)
        time.sleep(60)

failing_tests(Context(), ["one", "other"], processes=2)
"""


def test_no_process_outlives_a_build_that_was_killed() -> None:
    """Or it would hold the connections that it has inherited, and the locks of these."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as build:
        assert build.stdout
        for _ in range(2):
            assert build.stdout.readline()
        build.kill()
        build.communicate(timeout=20)  # reads until no process is left that could write


@pytest.mark.plans_nothing
def test_what_passes_beside_a_unit_test_that_fails_is_noted(
    new_warehouse: t.Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "MAX_FORK_WORKERS", 2)
    warehouse = with_unit_tests(new_warehouse("duckdb", core=True))
    (model,) = (warehouse.path / "models").rglob("dim_stages.sql")
    edit_file(model, "stage_id::", "(stage_id + 1)::")
    context = warehouse.context
    assert not UnitTests(context, context.snapshots).pass_all()
    untested = UnitTests(context, context.snapshots).untested
    assert untested
    assert all("::test_dim_stages_" in name for name in untested)


def test_a_blocking_audit_is_said_with_its_rows(
    stopped: dict[str, Done], stopped_warehouse: Warehouse
) -> None:
    done = stopped["blocked"]
    assert done.code == 1
    text = " ".join(done.out.split())
    assert re.search(
        r"Blocked: pipedrive_\w+\.\w+ has [\d,]+ rows against changes_are_valid\.", text
    )
    assert "A returned row is a change of stage or owner whose new value is no identifier," in text
    assert "new_value first" in text
    assert re.search(r"^\d+ models below were not built\.$", done.out, re.M)
    assert done.err == "dev was not built, and nothing was published. See above.\n"
    command = re.search(r'sqlmesh fetchdf "\$\(cat (logs/\w+\.sql)\)"', done.out)
    assert command
    rows = stopped_warehouse.fetch((stopped_warehouse.path / command[1]).read_text())
    assert "first" in set(rows["new_value"])


def test_a_bad_file_stops_the_build_before_anything_is_touched(
    stopped: dict[str, Done],
) -> None:
    done = stopped["file"]
    assert done.code == 1
    assert "deal_changes.csv, line " in done.out
    assert "Repair the files in " in done.err


def test_the_linter_stops_the_build(new_warehouse: t.Callable[..., Warehouse]) -> None:
    """Copies have no unit tests, and a rule wants one for every model."""
    done = run_command(new_warehouse("duckdb", core=True), "build", "dev", lint=True)
    assert done.code == 1
    assert "models/marts/reports/rep_sales_funnel_monthly.sql: " in done.out
    assert "(nomissingunittest)" in done.out
    assert done.err == "dev was not built, and nothing was published. See above.\n"


# --- databases that cannot be used ----------------------------------------------------------------

COMMANDS = [["build", "dev"], ["build", "prod"], ["show"], ["snapshot"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_server_that_is_down_is_said_in_a_line(
    command: list[str], new_warehouse: t.Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse("postgres", core=True)
    nowhere = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1"}
    done = run_command(warehouse, *command, **nowhere)
    assert (done.code, len(done.lines)) == (1, 1), done.lines
    assert done.err.startswith("PostgreSQL at 127.0.0.1:1/")
    assert "docker compose up -d --wait" in done.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_old_server_is_refused_before_anything_is_built(
    command: list[str],
    new_warehouse: t.Callable[..., Warehouse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warehouse = new_warehouse("postgres", core=True)
    monkeypatch.setattr("pipedrive_funnel.warehouse.OLDEST_POSTGRES", 99)  # there is none older
    done = run_command(warehouse, *command)
    assert (done.code, len(done.lines)) == (1, 1), done.lines
    assert re.search(r" is version \d.*: the project needs 99 or newer\.", done.err)
    schemas = warehouse.fetch("SELECT schema_name FROM information_schema.schemata")
    assert not [name for name in schemas["schema_name"] if name.startswith(("sqlmesh", "pipe"))]


# --- the command line -----------------------------------------------------------------------------

HELP = """
import sys
from pipedrive_funnel.__main__ import main
main(["--help"]), main(["land", "csv", "--help"])
slow = {"sqlmesh", "dlt", "duckdb", "pandas", "psycopg2"} & set(sys.modules)
sys.exit(str(slow) if slow else 0)
"""


def test_help_imports_nothing_slow() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "build     Build an environment" in done.stdout


@pytest.mark.parametrize("command", [["biuld"], ["show", "--month", "3"], []], ids=str)
def test_a_mistyped_command_ends_with_2(
    command: list[str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipedrive_funnel", *command],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Usage: python -m pipedrive_funnel" in done.stderr + done.stdout


# --- show -----------------------------------------------------------------------------------------


def test_the_whole_report_is_shown(story: dict[str, Done], warehouse: Warehouse) -> None:
    done = run_command(warehouse, "show", "dev", "--all")
    assert done.code == 0, done.err
    months = re.findall(r"^(20\d\d-\d\d) ", done.out, re.M)
    assert (len(months), months[0], months[-1]) == (14, "2024-01", "2025-02")
    assert all(len(line) <= 80 for line in done.lines)
    assert LEADS in done.out


def test_the_whole_report_is_written_as_csv(story: dict[str, Done], warehouse: Warehouse) -> None:
    done = run_command(warehouse, "show", "dev", "--csv")
    header, first, *others = done.out.splitlines()
    assert header == "month,funnel_step,kpi_name,deals_count"
    assert first == f"2024-01-01,1.0,{LEADS},30"
    assert len(others) == 127
