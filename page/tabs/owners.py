"""Owners: whose deals move, who calls and plans, and which lost reasons were set."""

from __future__ import annotations

import altair as alt
import streamlit as st

from data import Snapshot, month_name
from filters import Chosen, user_name
from look import BLUE, NARROW, ORANGE, chart, note, nothing, per_cent, share, stacked_months

SHOWN = 200  # owners, the busiest first
MEASURES = {
    "stage entries": "Entries into stages",
    "sales calls": "Sales calls",
    "lost reasons": "Lost reasons set",
    "completed activities": "Activities done",
    "planned activities": "Activities planned",
}


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show a row for each owner, and lost reasons."""
    measures = ",\n".join(
        f"COALESCE(SUM(events_count) FILTER (measure = '{measure}'), 0)::BIGINT AS \"{title}\""
        for measure, title in MEASURES.items()
    )
    owner = "" if chosen.owner is None else f" AND user_id = {chosen.owner}"
    found = snapshot.ask(
        f"""
        WITH overdue AS (
          SELECT COALESCE(user_id, -1) AS user_id, COUNT(*) AS activities
          FROM fct_deal_activities
          WHERE NOT is_completed AND due_timestamp < $3
            AND DATE_TRUNC('month', due_timestamp) BETWEEN $1 AND $2
          GROUP BY ALL
        ), closed AS (
          SELECT
            COALESCE(owner_user_id, -1) AS user_id,
            COUNT(*) FILTER (DATE_TRUNC('month', won_at) BETWEEN $1 AND $2) AS won,
            COUNT(*) FILTER (DATE_TRUNC('month', lost_at) BETWEEN $1 AND $2) AS lost,
            COUNT(*) FILTER (status = 'open') AS open_now
          FROM fct_deals GROUP BY ALL
        )
        SELECT
          user_id, ANY_VALUE(user_name) AS user_name, {measures},
          COALESCE(ANY_VALUE(activities), 0)::BIGINT AS "Of these overdue",
          COALESCE(ANY_VALUE(won), 0)::BIGINT AS "Won",
          COALESCE(ANY_VALUE(lost), 0)::BIGINT AS "Lost",
          ROUND(100 * ANY_VALUE(won) / NULLIF(ANY_VALUE(won + lost), 0)) AS "Win rate, %",
          COALESCE(ANY_VALUE(open_now), 0)::BIGINT AS "Open now"
        FROM rep_owner_performance_monthly
        LEFT JOIN overdue USING (user_id)
        LEFT JOIN closed USING (user_id)
        WHERE month BETWEEN $1 AND $2{owner}
        GROUP BY user_id ORDER BY 3 DESC, 1 LIMIT {SHOWN}
        """,
        chosen.first,
        chosen.last,
        snapshot.taken_at.replace(tzinfo=None),
    )
    if found.empty:
        nothing("Nothing happened in these months.")
        return
    note(
        f"{month_name(chosen.first)} to {month_name(chosen.last)}, the {SHOWN} busiest at most. "
        "First entries of deals into stages count for who owned the deal then, activities for "
        "whom they are assigned to. Overdue are planned activities whose time had passed when the "
        "data was read. Won and lost deals count for who owns them now."
    )
    users = zip(found.pop("user_id"), found.pop("user_name"), strict=True)
    found.insert(
        0, "Owner", ["nobody" if user == -1 else user_name(user, name) for user, name in users]
    )
    if not snapshot.value("SELECT COUNT(status) FROM fct_deals"):  # nobody knows
        found = found.drop(columns=["Won", "Lost", "Win rate, %", "Open now"])
    st.dataframe(found, hide_index=True, alt="What each owner did")
    changes_of_owner(snapshot)
    activities(snapshot, chosen)
    lost_reasons(snapshot, chosen)


def changes_of_owner(snapshot: Snapshot) -> None:
    """Say how many deals have changed hands."""
    changed, deals, owners = snapshot.ask(
        """
        SELECT
          (
            SELECT COUNT(*) FROM (
              SELECT deal_id FROM dim_deal_owner_history
              GROUP BY deal_id HAVING COUNT(DISTINCT user_id) > 1
            )
          ),
          COUNT(*), COUNT(DISTINCT owner_user_id)
        FROM fct_deals
        """
    ).iloc[0]
    note(
        f"{changed:,} of {deals:,} deals ({per_cent(share(changed, deals))}) have changed owner; "
        f"{owners:,} people own a deal now."
    )


def activities(snapshot: Snapshot, chosen: Chosen) -> None:
    """Draw activities by type and month, done and planned."""
    owner = "" if chosen.owner is None else f" AND user_id = {chosen.owner}"
    found = snapshot.ask(
        f"""
        SELECT
          month, item AS activity,
          SUM(events_count) FILTER (measure = 'completed activities')::BIGINT AS done,
          SUM(events_count) FILTER (measure = 'planned activities')::BIGINT AS planned
        FROM rep_owner_performance_monthly
        WHERE measure IN ('completed activities', 'planned activities')
          AND month BETWEEN ? AND ?{owner}
        GROUP BY ALL ORDER BY item, month
        """,
        chosen.first,
        chosen.last,
    ).fillna({"done": 0, "planned": 0})
    st.markdown("**Activities**")
    if found.empty:
        nothing("No activity was due in these months.")
        return
    note("By the month in which they are due. Planned ones were not done when the data was read.")
    marks = found.melt(["month", "activity"], ["done", "planned"], "state", "activities")
    colours = {"done": BLUE, "planned": ORANGE}
    drawing = stacked_months(marks, "activities", "state", colours, height=240)
    totals = found.groupby("activity", as_index=False)[["done", "planned"]].sum()
    totals["% done"] = [
        share(done, done + planned)
        for done, planned in zip(totals["done"], totals["planned"], strict=True)
    ]
    chart(drawing, "Activities by month, done and planned", totals.round(0))


def lost_reasons(snapshot: Snapshot, chosen: Chosen) -> None:
    """Draw the lost reasons of the months."""
    found = snapshot.ask(
        "SELECT lost_reason AS reason, SUM(deals_count)::BIGINT AS deals "
        "FROM rep_lost_reasons_monthly WHERE month BETWEEN ? AND ? "
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 30",
        chosen.first,
        chosen.last,
    )
    st.markdown("**Lost reasons**")
    if found.empty:
        nothing("No lost reason was set in these months.")
        return
    note(
        "Set in these months and still standing. A lost reason does not say that a deal is lost: "
        "deals in the last stage have one, too."
    )
    drawing = (
        alt.Chart(found)
        .mark_bar(color=BLUE)
        .encode(
            y=alt.Y(
                "reason:N", sort=list(found["reason"]), title=None, axis=alt.Axis(labelLimit=NARROW)
            ),
            x=alt.X("deals:Q", title="Deals"),
            tooltip=["reason", "deals"],
        )
        .properties(height=30 * len(found) + 40)
    )
    chart(drawing, "Deals by lost reason", found)
