"""The SQLMesh unit tests, on both engines and for both sources of raw tables."""

from __future__ import annotations

import typing as t

import pytest

from tests.support.landed import LANDED
from tests.support.warehouse import MODELS, Warehouse


@pytest.mark.parametrize("source", [{}, LANDED], ids=["sample", "landed"])
def test_unit_tests_pass(
    gateway: str, new_warehouse: t.Callable[..., Warehouse], source: dict[str, str]
) -> None:
    context = new_warehouse(gateway, with_tests=True, **source).context
    # A plan runs them on DuckDB, whatever the gateway: fast, and without traces in a real database.
    context._test_connection_config = context.config.get_connection(gateway)
    result = context.test()
    assert result.wasSuccessful(), result.errors + result.failures
    assert result.testsRun >= 3 * len(MODELS)
    assert context.models_with_tests >= set(MODELS)
    assert not result.skipped
