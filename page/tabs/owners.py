"""Owners: whose deals move and are won, who calls and plans, and which lost reasons were set."""

from __future__ import annotations

import altair as alt
import streamlit as st

from data import Snapshot, month_name
from filters import Chosen, user_name
from look import BLUE, GREY, NARROW, ORANGE, chart, note, nothing, per_cent, share, stacked_months
from tabs.outcomes import choose_currency, knows_outcomes

SHOWN = 200  # owners, the busiest first
MEASURES = {
    "stage entries": "Entries into stages",
    "sales calls": "Sales calls",
    "lost reasons": "Lost reasons set",
    "completed activities": "Activities done",
    "planned activities": "Activities planned",
    "overdue activities": "Activities overdue",
}
STATES = {"done": BLUE, "planned": GREY, "overdue": ORANGE}


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show a row for each owner, and lost reasons."""
    currency = choose_currency(snapshot) if knows_outcomes(snapshot) else None
    owners(snapshot, chosen, currency)
    changes_of_owner(snapshot)
    activities(snapshot, chosen)
    lost_reasons(snapshot, chosen)


def owners(snapshot: Snapshot, chosen: Chosen, currency: str | None) -> None:
    """List what each owner did and, in one currency, won; without one nobody knows who won."""
    measures = ",\n".join(
        f"SUM(events_count) FILTER (measure = '{measure}') AS \"{title}\""
        for measure, title in MEASURES.items()
    )
    counts = ",\n".join(
        f'COALESCE("{title}", 0)::BIGINT AS "{title}"'
        for title in (*MEASURES.values(), "Won", "Lost", "Open now")
    )
    found = snapshot.ask(
        f"""
        WITH events AS (
          SELECT user_id, {measures}
          FROM rep_owner_performance_monthly WHERE month BETWEEN $1 AND $2 GROUP BY 1
        ), outcomes AS (
          SELECT
            user_id,
            SUM(won_deals_count) FILTER (month BETWEEN $1 AND $2) AS "Won",
            SUM(lost_deals_count) FILTER (month BETWEEN $1 AND $2) AS "Lost",
            SUM(won_value) FILTER (month BETWEEN $1 AND $2 AND currency = $3) AS won_value,
            SUM(open_deals_count) AS "Open now",
            SUM(open_value) FILTER (currency = $3) AS open_value
          FROM rep_owner_outcomes_monthly GROUP BY 1
        )
        SELECT
          user_id, user_name, {counts},
          ROUND(100 * "Won" / NULLIF("Won" + "Lost", 0)) AS "Win rate, %",
          ROUND(won_value)::BIGINT AS won_value,
          ROUND(open_value)::BIGINT AS open_value
        FROM events FULL JOIN outcomes USING (user_id) LEFT JOIN dim_users USING (user_id)
        WHERE user_id = COALESCE($4, user_id)
          AND (events.user_id IS NOT NULL OR "Won" + "Lost" > 0 OR "Open now" > 0)
        ORDER BY 3 DESC, 1 LIMIT {SHOWN}
        """,
        chosen.first,
        chosen.last,
        currency,
        chosen.owner,
    )
    if found.empty:
        nothing("Nothing happened in these months.")
        return
    as_of = snapshot.value("SELECT MAX(as_of) FROM rep_owner_performance_monthly")
    note(
        f"{month_name(chosen.first)} to {month_name(chosen.last)}, the {SHOWN} busiest at most. "
        "First entries of deals into stages, and won and lost deals, count for who owned the deal "
        "then; open ones for who owns them now. Activities count for whom they are assigned to. "
        f"Overdue is what was not done on {as_of:%d %B %Y} and due before that day."
    )
    users = zip(found.pop("user_id"), found.pop("user_name"), strict=True)
    found.insert(
        0, "Owner", ["nobody" if user == -1 else user_name(user, name) for user, name in users]
    )
    values = {"won_value": f"Value won, {currency}", "open_value": f"Value open, {currency}"}
    if currency is None:
        found = found.drop(columns=["Won", "Lost", "Win rate, %", "Open now", *values])
    st.dataframe(found.rename(columns=values), hide_index=True, alt="What each owner did")


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
    """Draw activities by type and month: done, planned and overdue."""
    owner = "" if chosen.owner is None else f" AND user_id = {chosen.owner}"
    found = snapshot.ask(
        f"""
        SELECT
          month, item AS activity,
          SUM(events_count) FILTER (measure = 'completed activities')::BIGINT AS done,
          SUM(events_count) FILTER (measure = 'planned activities')::BIGINT AS planned,
          SUM(events_count) FILTER (measure = 'overdue activities')::BIGINT AS overdue
        FROM rep_owner_performance_monthly
        WHERE measure IN ('completed activities', 'planned activities', 'overdue activities')
          AND month BETWEEN ? AND ?{owner}
        GROUP BY ALL ORDER BY item, month
        """,
        chosen.first,
        chosen.last,
    ).fillna(dict.fromkeys(STATES, 0))
    st.markdown("**Activities**")
    if found.empty:
        nothing("No activity was due in these months.")
        return
    note("By the month in which they are due.")
    marks = found.melt(["month", "activity"], list(STATES), "state", "activities")
    drawing = stacked_months(marks, "activities", "state", STATES, height=240)
    totals = found.groupby("activity", as_index=False)[list(STATES)].sum()
    totals["% done"] = [
        share(done, whole)
        for done, whole in zip(totals["done"], totals[list(STATES)].sum(axis=1), strict=True)
    ]
    chart(drawing, "Activities by month: done, planned and overdue", totals.round(0))


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
