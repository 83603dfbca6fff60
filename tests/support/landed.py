"""Landed raw tables, as an EL tool would leave them: the contract of external_models.yaml."""

from __future__ import annotations

import pandas as pd

from tests.support.warehouse import EXPORT_TABLES, OPTIONAL_TABLES, Warehouse

# Random deals walk through stages that are no step, and the account has a second pipeline
ANY_STAGES = {"SQLMESH__VARIABLES__ENTRIES_OUTSIDE_FUNNEL_AT_MOST": "1"}
LANDED = ANY_STAGES | {"SQLMESH__VARIABLES__RAW_SCHEMA": "pipedrive_raw"}  # is read then


def create_raw_tables(warehouse: Warehouse) -> None:
    """Create the tables, empty, with the columns and types of the contract."""
    adapter = warehouse.context.engine_adapter
    adapter.create_schema("pipedrive_raw")
    for table in (*EXPORT_TABLES, *OPTIONAL_TABLES, "rejected_rows", "removed_changes"):
        name = f"pipedrive_raw.{table}"
        adapter.create_table(name, warehouse.model(name).columns_to_types_or_raise)


def land(warehouse: Warehouse, table: str, rows: pd.DataFrame) -> None:
    """Append rows, which include loaded_at, to a raw table."""
    if rows.empty:
        return
    name = f"pipedrive_raw.{table}"
    types = warehouse.model(name).columns_to_types_or_raise
    values = rows[list(types)].astype(object)
    warehouse.context.engine_adapter.insert_append(
        name, values.where(values.notna(), None), target_columns_to_types=types
    )


def empty_raw_table(warehouse: Warehouse, table: str) -> None:
    """Delete all rows of a raw table."""
    warehouse.execute(f"DELETE FROM pipedrive_raw.{table}")
