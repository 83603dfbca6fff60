"""Another company: seven stages, other ids, one call type; CSV files change, and a variable."""

from __future__ import annotations

import pytest

from tests.support.oracle import funnel, modelled_funnel, read_export
from tests.support.other_pipeline import ODD_NAME
from tests.support.warehouse import REPORT, Warehouse

pytestmark = pytest.mark.again  # the real export is another company, too

EXPECTED = {
    ("2023-04", "1"): 1,
    ("2023-05", "1"): 1,
    ("2023-05", "2"): 1,
    ("2023-05", "2.1"): 1,
    ("2023-05", "3"): 1,
    ("2023-06", "6"): 1,
}


def test_another_pipeline_needs_no_other_model(other_company: Warehouse) -> None:
    found = modelled_funnel(other_company, "dev")
    assert found.report == EXPECTED
    assert found == funnel(read_export(other_company.path / "seeds"))
    assert set(other_company.table(REPORT)["kpi_name"]) == {
        *("Inbound", "Contacted", "Demo", ODD_NAME, "Won")
    }
    # stage 99 is listed as no step: kept in the history, not in the report, and said
    assert other_company.found()["entries_outside_the_funnel"] == 1


def test_an_empty_export_gives_an_empty_report(empty_company: Warehouse) -> None:
    assert empty_company.found() == {"steps_without_deals": 11}
    for environment in ("dev", "prod"):
        assert empty_company.table(REPORT, environment).empty
