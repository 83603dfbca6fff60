"""Another company: seven stages, other ids, one call type. Only CSV files change."""

from __future__ import annotations

import typing as t

from tests.support.oracle import funnel, modelled_funnel, read_export
from tests.support.other_pipeline import FILES
from tests.support.warehouse import REPORT, Warehouse

EXPECTED = {
    ("2023-04", "1"): 1,
    ("2023-05", "1"): 1,
    ("2023-05", "2"): 1,
    ("2023-05", "2.1"): 1,
    ("2023-05", "3"): 1,
    ("2023-06", "6"): 1,
}


def test_another_pipeline_needs_other_csv_files_only(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse(gateway)
    for name, text in FILES.items():
        lines = "\n".join(line.strip() for line in text.splitlines())
        (warehouse.path / "seeds" / f"{name}.csv").write_text(lines)
    outcome = warehouse.plan("dev", execution_time="2024-01-01")
    assert outcome.error is None, outcome.output
    found = modelled_funnel(warehouse, "dev")
    assert found.report == EXPECTED
    assert found == funnel(read_export(warehouse.path / "seeds"))
    assert set(warehouse.table(REPORT)["kpi_name"]) == {
        *("Inbound", "Contacted", "Demo", "Trial", "Won")
    }
    # stage 99 has no step: kept in the history, not in the report, and said
    assert warehouse.found()["entries_outside_the_funnel"] == 1


def test_an_empty_export_gives_an_empty_report(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse(gateway)
    for name in FILES.keys() - {"funnel_steps"}:
        path = warehouse.path / "seeds" / f"{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    outcome = warehouse.plan("dev")
    assert outcome.error is None, outcome.output
    assert warehouse.found() == {"steps_without_deals": 11}
    assert warehouse.plan("prod").error is None
    assert warehouse.table(REPORT, "prod").empty
