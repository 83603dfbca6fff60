"""A project of a few models, for tests of what happens around plans and runs, not in them."""

from __future__ import annotations

from tests.support.warehouse import Warehouse

KEPT = {
    "stg_deal_changes",
    "stg_activity_types",
    "stg_rejected_rows",
    "stg_funnel_steps",
    "dim_funnel_steps",
}
# A report of one month, with 1,000 times the step's number for deals, and checks of what is landed
REPORTS = {
    "rep_sales_funnel_monthly": """
        SELECT
          DATE '2024-05-01' AS month,
          funnel_step,
          CAST(funnel_step * 1000 AS INT) AS deals_count
        FROM pipedrive_analytics.dim_funnel_steps
        WHERE funnel_step < 9
    """,
    "rep_data_quality": """
        SELECT
          'odd_types' AS check_name,
          'warning' AS severity,
          'Odd & <strange>.' AS meaning,
          COUNT(*) AS rows_count
        FROM pipedrive_staging.stg_activity_types
        WHERE activity_type_name = 'Odd'
        UNION ALL
        SELECT 'rejected_rows', 'warning', 'A row was rejected.', COUNT(*)
        FROM pipedrive_staging.stg_rejected_rows
        UNION ALL
        SELECT 'usual_types', 'info', 'Nothing to look at.', COUNT(*)
        FROM pipedrive_staging.stg_activity_types
    """,
}


def shrink(warehouse: Warehouse) -> Warehouse:
    """Leave a project the models of `KEPT` alone, add `REPORTS`, and return it."""
    models = warehouse.path / "models"
    for model in models.rglob("*.sql"):
        if model.parent.name != "raw" and model.stem not in KEPT:
            model.unlink()
    for name, query in REPORTS.items():
        text = f"MODEL (name pipedrive_analytics.{name}, kind FULL);\n{query}"
        (models / "marts" / f"{name}.sql").write_text(text)
    return warehouse
