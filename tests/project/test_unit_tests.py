"""The SQLMesh unit tests, on both engines and for both sources of raw tables."""

from __future__ import annotations

import shutil
import typing as t

import pytest
from sqlmesh import Context
from sqlmesh.core.model import Model
from sqlmesh.core.test import ModelTextTestResult

from tests.support.landed import LANDED
from tests.support.warehouse import MODELS, PROJECT, Warehouse


def with_unit_tests(warehouse: Warehouse) -> Context:
    """Give a copy of the project all unit tests, to be run on the engine of its gateway.

    SQLMesh itself runs them on DuckDB, whatever the gateway: fast, and without traces in a real
    database.
    """
    shutil.copytree(PROJECT / "tests" / "models", warehouse.path / "tests")
    context = warehouse.context
    if warehouse.gateway != "duckdb":
        gateway = context.config.get_gateway(warehouse.gateway)
        gateway.test_connection = gateway.connection
    assert context.test_connection_config.type_ == warehouse.gateway
    return context


def assert_passed(result: ModelTextTestResult) -> None:
    assert result.wasSuccessful(), result.errors + result.failures
    assert not result.skipped


def is_the_same(model: Model, other: Model | None) -> bool:
    """Compare the queries of two models, and the columns that they read."""
    return (
        other is not None
        and model.data_hash == other.data_hash
        and model.mapping_schema == other.mapping_schema
    )


@pytest.mark.plans_nothing
@pytest.mark.again_on("postgres")
def test_unit_tests_pass(gateway: str, new_warehouse: t.Callable[..., Warehouse]) -> None:
    context = with_unit_tests(new_warehouse(gateway))
    result = context.test()
    assert_passed(result)
    assert result.testsRun >= 3 * len(MODELS)
    assert context.models_with_tests >= set(MODELS)


@pytest.mark.again
def test_unit_tests_pass_where_landed_tables_make_another_query(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Of a model that is the same for both sources, a second run would prove nothing more."""
    warehouse = new_warehouse(gateway)
    sample = dict(warehouse.context.models)
    warehouse.close()
    warehouse.settings |= LANDED
    landed = with_unit_tests(warehouse)
    others = {
        model.name
        for fqn, model in landed.models.items()
        if not is_the_same(model, sample.get(fqn))
    }
    assert others >= {name for name in MODELS if name.startswith("pipedrive_staging.")}
    result = landed.test(model_names=others & landed.models_with_tests)
    assert_passed(result)
    assert result.testsRun >= 3 * 5
