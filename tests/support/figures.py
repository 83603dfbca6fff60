"""The figures of the real export, to which the sample is calibrated, written down by hand."""

from __future__ import annotations

from tests.support.warehouse import MODELS, REPORT, Warehouse

FUNNEL = """\
month 1 2 2.1 3 3.1 4 5 6 7 8 9
2024-01 30 6 77 . 67 1 . . . . .
2024-02 194 74 64 27 59 17 10 8 1 . 2
2024-03 199 157 54 142 75 75 51 28 21 12 7
2024-04 230 153 71 131 58 100 85 72 43 33 23
2024-05 248 178 61 149 65 122 97 84 49 59 25
2024-06 244 178 64 168 66 138 114 89 70 65 42
2024-07 266 189 88 168 65 127 96 95 91 55 48
2024-08 239 190 57 174 72 155 104 99 74 74 37
2024-09 208 174 32 128 33 131 130 78 70 51 43
2024-10 119 129 . 137 . 118 110 84 79 52 36
2024-11 18 48 . 67 . 72 64 60 50 46 31
2024-12 . 3 . 13 . 28 28 34 29 20 19
2025-01 . . . 1 . 2 5 10 9 10 10
2025-02 . . . . . . . . 2 2 1
"""
_HEADER, *_MONTHS = (line.split() for line in FUNNEL.splitlines())

# Deals by (first day of the month, funnel step), all as text; a cell without deals has no row.
FUNNEL_CELLS = {
    (f"{month}-01", step): count
    for month, *counts in _MONTHS
    for step, count in zip(_HEADER[1:], counts, strict=True)
    if count != "."
}

KPI_NAMES = {
    "1": "Step 1: Lead Generation",
    "2": "Step 2: Qualified Lead",
    "2.1": "Step 2.1: Sales Call 1",
    "3": "Step 3: Needs Assessment",
    "3.1": "Step 3.1: Sales Call 2",
    "4": "Step 4: Proposal/Quote Preparation",
    "5": "Step 5: Negotiation",
    "6": "Step 6: Closing",
    "7": "Step 7: Implementation/Onboarding",
    "8": "Step 8: Follow-up/Customer Success",
    "9": "Step 9: Renewal/Expansion",
}
# Rows of the twelve models on the real export
ROWS = dict(
    zip(MODELS, (4579, 4, 15406, 9, 1787, 2290, 8906, 9, 1787, 1128, 8891, 128), strict=True)
)


def assert_report_is_the_funnel(warehouse: Warehouse, environment: str) -> None:
    """Compare the report of an environment with the figures, cell by cell."""
    report = warehouse.table(REPORT, environment)
    report["step"] = report["funnel_step"].str.removesuffix(".0")
    cells = {(row.month, row.step): row.deals_count for row in report.itertuples()}
    assert cells == FUNNEL_CELLS
    assert len(report) == 128
    assert dict(zip(report["step"], report["kpi_name"], strict=True)) == KPI_NAMES
