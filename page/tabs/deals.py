"""Deals: search, sort, take along as CSV; a row opens the deal's history."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from data import Snapshot
from filters import Chosen, owner_names, user_name
from look import note, nothing

SHOWN = 1000  # rows on the page; the CSV has all
COLUMNS = {
    "deal_id": "Deal",
    "title": "Title",
    "status": "Status",
    "value": "Value",
    "currency": "Currency",
    "created_at": "Created",
    "current_stage": "Stage",
    "current_stage_since": "Since",
    "owner": "Owner",
    "stage_entries_count": "Entries into stages",
    "sales_calls_count": "Sales calls",
    "completed_activities_count": "Activities done",
    "lost_reason": "Lost reason",
    "last_changed_at": "Last change",
}


OFTEN_UNKNOWN = ("title", "status", "value", "currency")  # to an export of six files


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show all deals that meet the filters and the search."""
    text = st.text_input(
        "Search",
        placeholder="Number or title of a deal, a stage, a status, a lost reason",
        key="search",
        bind="query-params",
        persist_state="page",
    )
    conditions = ["DATE_TRUNC('month', created_at) BETWEEN ? AND ?"]
    values: list[object] = [chosen.created_first, chosen.created_last]
    if chosen.owner is not None:
        conditions.append("owner_user_id = ?")
        values.append(chosen.owner)
    if chosen.pipeline is not None:
        conditions.append("pipeline_id = ?")
        values.append(chosen.pipeline)
    if text:
        conditions.append(
            "CONCAT_WS(' ', deal_id, title, status, current_stage, lost_reason) ILIKE ?"
        )
        values.append(f"%{text}%")
    note("A lost reason is a remark: deals in the last stage have one, too.")
    list_of_deals(snapshot, " AND ".join(conditions), *values, key="all")


def list_of_deals(snapshot: Snapshot, condition: str, *values: object, key: str) -> None:
    """List the deals that meet a condition; a chosen row shows its history below."""
    names = owner_names(snapshot)
    count = snapshot.value(f"SELECT COUNT(*) FROM fct_deals WHERE {condition}", *values)
    if not count:
        nothing("No deal meets these filters.")
        return
    query = f"SELECT * FROM fct_deals WHERE {condition} ORDER BY last_changed_at DESC, deal_id"
    deals = _as_shown(snapshot.ask(f"{query} LIMIT {SHOWN}", *values), names)
    more = f", the latest {SHOWN:,} of them here" if count > SHOWN else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{count:,} deals{more}")
        st.download_button(
            "All as CSV",
            lambda: _as_shown(snapshot.ask(query, *values), names).to_csv(index=False).encode(),
            file_name="deals.csv",
            mime="text/csv",
            key=f"csv_{key}",
            on_click="ignore",
        )
    state = st.dataframe(
        deals,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"deals_{key}",
        alt=f"{count} deals",
        column_config={"Deal": st.column_config.NumberColumn(format="%d")},
    )
    rows = state["selection"]["rows"]
    numbers = [int(deal) for deal in deals["Deal"]]
    chosen = numbers[rows[0]] if rows else None
    if chosen is None:
        note("Choose a row to see what happened to the deal.")
    else:
        history(snapshot, chosen)


def history(snapshot: Snapshot, deal: int) -> None:
    """Show what happened to a deal: stages, owners, activities."""
    events = snapshot.ask(
        """
        SELECT
          stage_entry_timestamp AS happened_at,
          'Stage: ' || COALESCE(stage_name, stage_id::TEXT) AS what, move AS how, NULL AS user_id
        FROM fct_stage_entries WHERE deal_id = $1
        UNION ALL
        SELECT
          due_timestamp, COALESCE(activity_type_name, activity_type_key, 'Activity'),
          CASE WHEN is_completed THEN 'done' ELSE 'planned' END, user_id
        FROM fct_deal_activities WHERE deal_id = $1
        UNION ALL
        SELECT valid_from, 'Status: ' || status, NULL, NULL
        FROM fct_deal_status_history WHERE deal_id = $1
        UNION ALL
        SELECT
          valid_from, 'New owner',
          CASE WHEN is_current THEN 'until now' ELSE 'until ' || valid_to END, user_id
        FROM dim_deal_owner_history WHERE deal_id = $1
        ORDER BY happened_at NULLS LAST, what
        """,
        deal,
    )
    names = dict(snapshot.ask("SELECT user_id, user_name FROM dim_users").itertuples(index=False))
    events["user_id"] = [
        None if pd.isna(user) else user_name(user, names.get(user)) for user in events["user_id"]
    ]
    st.markdown(f"**Deal {deal}**")
    st.dataframe(
        events.rename(
            columns={"happened_at": "When", "what": "What", "how": "How", "user_id": "Who"}
        ),
        hide_index=True,
        alt=f"What happened to deal {deal}",
    )


def _as_shown(deals: pd.DataFrame, names: dict[int, str]) -> pd.DataFrame:
    owners = deals["owner_user_id"].map(
        lambda user: names.get(int(user)) if pd.notna(user) else None
    )
    shown = deals.assign(owner=owners)[list(COLUMNS)]
    unknown = [name for name in OFTEN_UNKNOWN if shown[name].isna().all()]
    return shown.drop(columns=unknown).rename(columns=COLUMNS)
