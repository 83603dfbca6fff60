"""Another company: seven stages, other ids, one call type. Only CSV files change."""

from __future__ import annotations

import typing as t

from oracle import funnel, modelled_funnel, read_export
from warehouse import REPORT, Warehouse

FILES = {
    "funnel_steps": """\
        funnel_step,kpi_name,source,key
        1,Inbound,stage,31
        2,Contacted,stage,12
        2.1,Demo,activity,demo
        3,Trial,stage,45
        4,Offer,stage,8
        5,Contract,stage,77
        6,Won,stage,90
        """,
    "stages": """\
        stage_id,stage_name
        31,Inbound
        12,Contacted
        45,Trial
        8,Offer
        77,Contract
        90,Won
        99,Parked
        """,
    "activity_types": """\
        id,name,active,type
        5,Demo,Yes,demo
        6,Lunch,Yes,lunch
        """,
    "activity": """\
        activity_id,type,assigned_to_user,deal_id,done,due_to
        1,demo,1,100,True,2023-05-31T23:59:59
        2,demo,1,100,True,2023-05-01T00:00:00
        3,demo,1,200,False,2023-05-01T00:00:00
        4,lunch,1,200,True,2023-05-02T00:00:00
        """,
    "users": """\
        id,name,email,modified
        1,Ann,ann@example.com,2023-01-01 00:00:00
        """,
    "fields": """\
        ID,FIELD_KEY,NAME,FIELD_VALUE_OPTIONS
        1,stage_id,Stage,
        """,
    "deal_changes": """\
        deal_id,change_time,changed_field_key,new_value
        100,2023-04-30 10:00:00,add_time,2023-04-30T10:00:00
        100,2023-04-30 23:59:59,stage_id,31
        100,2023-05-01 00:00:00,stage_id,12
        100,2023-05-03 09:00:00,stage_id,45
        100,2023-06-03 09:00:00,stage_id,90
        200,2023-05-10 10:00:00,add_time,2023-05-10T10:00:00
        200,2023-05-11 10:00:00,stage_id,31
        200,2023-05-12 10:00:00,stage_id,99
        """,
}
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
    assert (
        outcome.warnings["pipedrive_analytics.fct_deal_stage_history", "entries_outside_the_funnel"]
        == 1
    )


def test_an_empty_export_gives_an_empty_report(
    gateway: str, new_warehouse: t.Callable[..., Warehouse]
) -> None:
    warehouse = new_warehouse(gateway)
    for name in FILES.keys() - {"funnel_steps"}:
        path = warehouse.path / "seeds" / f"{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    outcome = warehouse.plan("dev")
    assert outcome.error is None, outcome.output
    assert outcome.warnings == {(REPORT, "steps_without_deals"): 11}
    assert warehouse.plan("prod").error is None
    assert warehouse.table(REPORT, "prod").empty
