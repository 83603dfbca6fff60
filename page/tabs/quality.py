"""Data quality: what is wrong, missing or odd in the data behind the numbers."""

from __future__ import annotations

import os

import streamlit as st

from data import Snapshot
from filters import Chosen
from look import note, per_cent

ROWS = 500  # of a check that are listed
CATALOG_URL = "PIPEDRIVE_CATALOG_URL"  # where catalog.html is published, if it is
GROUPS = {
    "warning": "Somebody should look",
    "info": "Usual in exports, good to know",
}


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show warnings first, then what is usual, then the rows of a check."""
    checks = snapshot.ask(
        "SELECT check_name, severity, meaning, rows_count, deals_count, "
        "100 * share::DOUBLE AS share, checked_table FROM rep_data_quality WHERE rows_count > 0 "
        "ORDER BY severity DESC, rows_count DESC, check_name"
    )
    clean = snapshot.value("SELECT COUNT(*) FROM rep_data_quality WHERE rows_count = 0")
    for severity, title in GROUPS.items():
        found = checks[checks["severity"] == severity]
        st.markdown(f"**{title}** ({len(found)})")
        if found.empty:
            note("Nothing.")
            continue
        st.table(
            found.assign(share=found["share"].map(per_cent))
            .drop(columns=["severity", "checked_table"])
            .rename(
                columns={
                    "check_name": "Check",
                    "meaning": "What it means",
                    "rows_count": "Rows",
                    "deals_count": "Deals",
                    "share": "Share",
                }
            )
            .set_index("Check")
        )
    note(f"{clean} more checks have found nothing.")
    check = st.selectbox(
        "Rows of a check",
        list(checks["check_name"]),
        index=None,
        placeholder="Choose a check",
        key="check",
        bind="query-params",
        persist_state="page",
    )
    if check:
        st.dataframe(
            snapshot.ask(
                'SELECT finding AS "Row", deal_id AS "Deal" FROM fct_data_quality_findings '
                f"WHERE check_name = ? ORDER BY finding LIMIT {ROWS}",
                check,
            ),
            hide_index=True,
            alt=f"Rows that {check} has found",
        )
        note(f"The first {ROWS} at most. models/marts/quality/checks/ says what a check looks at.")
        if catalog := os.environ.get(CATALOG_URL):
            table = checks.set_index("check_name")["checked_table"][check]
            model = table if isinstance(table, str) else "fct_data_quality_findings"
            st.markdown(
                f"[{model} in the catalog]({catalog}#/model/model.pipedrive_funnel.{model})"
            )
