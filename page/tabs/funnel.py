"""The funnel of the deals created in the chosen months: how many got how far."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from data import Snapshot, milestones, month_name
from filters import Chosen
from look import BLUE, GREY, NARROW, chart, note, nothing, per_cent, share
from tabs.deals import list_of_deals

COUNTINGS = {
    "at least this far": (
        "reached_at_least_deals_count",
        "Deals that were in this stage or in a later one. The only counting that falls from step "
        "to step, since deals may skip stages.",
    ),
    "any order": (
        "reached_deals_count",
        "Deals that ever were in this step, however they came there. A later step can have more, "
        "since deals skip.",
    ),
    "in order": (
        "reached_in_order_deals_count",
        "Deals that passed every stage of the funnel up to this one, one after the other.",
    ),
}
ROOM = 1.35  # so many times the longest bar is the axis long: the label comes behind
SHARES = "Behind each number: its share of all deals created, and of the stage before."
YOUNG = "Deals created lately are still on their way: their later steps will grow."


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show cards, the steps, and the deals of the step that was clicked."""
    cards(snapshot)
    counting = st.segmented_control(
        "Counted are deals that came",
        list(COUNTINGS),
        default="at least this far",
        required=True,
        key="counting",
        bind="query-params",
        persist_state="page",
    )
    column, meaning = COUNTINGS[counting]
    note(f"{meaning} {SHARES} {YOUNG}")
    steps = steps_of(snapshot, chosen, column)
    if not steps["created"].iat[0]:
        nothing("No deal was created in these months.")
        return
    clicked = draw(steps, counting)
    if clicked:
        deals_of_step(snapshot, chosen, counting, clicked)


def steps_of(snapshot: Snapshot, chosen: Chosen, column: str) -> pd.DataFrame:
    """Return a row for each step: deals, and shares of those created and of the stage before."""
    steps = snapshot.ask(
        f"""
        SELECT
          steps.funnel_step::DOUBLE AS step, steps.kpi_name AS name,
          steps.previous_stage_step::DOUBLE AS before,
          COALESCE(SUM({column}), 0)::BIGINT AS deals,
          COALESCE(SUM(cohort_deals_count), 0)::BIGINT AS created
        FROM dim_funnel_steps AS steps
        LEFT JOIN rep_funnel_cohorts AS cohorts
          ON steps.funnel_step = cohorts.funnel_step AND cohort_month BETWEEN ? AND ?
        GROUP BY ALL ORDER BY 1
        """,
        chosen.created_first,
        chosen.created_last,
    )
    deals = dict(zip(steps["step"], steps["deals"], strict=True))
    steps["of all"] = [share(*row) for row in zip(steps["deals"], steps["created"], strict=True)]
    steps["of the stage before"] = [
        share(row.deals, deals.get(row.before) if pd.notna(row.before) else row.created)
        for row in steps.itertuples()
    ]
    return steps


def draw(steps: pd.DataFrame, counting: str) -> str | None:
    """Draw a bar for each step, and return the name of the step that was clicked."""
    shown = steps.assign(
        label=[
            f"{deals:,} · {per_cent(whole)} · {per_cent(part)}"
            for deals, whole, part in steps[["deals", "of all", "of the stage before"]].itertuples(
                index=False
            )
        ]
    )
    picked = alt.selection_point(name="step", fields=["name"], on="click")
    base = alt.Chart(shown).encode(
        y=alt.Y("name:N", sort=list(shown["name"]), title=None, axis=alt.Axis(labelLimit=NARROW)),
        tooltip=[
            alt.Tooltip("name", title="Step"),
            alt.Tooltip("deals", title="Deals"),
            alt.Tooltip("of all", title="% of all", format=".0f"),
            alt.Tooltip("of the stage before", title="% of the stage before", format=".0f"),
        ],
    )
    bars = base.mark_bar(color=BLUE, cursor="pointer").encode(
        x=alt.X(
            "deals:Q",
            title="Deals",
            axis=alt.Axis(tickMinStep=1, grid=False),
            scale=alt.Scale(domainMax=max(1, ROOM * shown["deals"].max())),
        ),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.5)),
    )
    words = base.mark_text(align="left", dx=5, color=GREY).encode(x="deals:Q", text="label:N")
    says = f"Deals per step, {counting}: " + "; ".join(
        f"{row.name} {row.deals:,}" for row in steps.itertuples()
    )
    table = shown[["name", "deals", "of all", "of the stage before"]]
    state = chart(
        (bars.add_params(picked) + words).properties(height=32 * len(shown)),
        says,
        table,
        on_select="rerun",
        selection_mode="step",
        key="funnel",
    )
    points = (state or {}).get("selection", {}).get("step", [])
    names = list(steps["name"])
    by_hand = st.selectbox(
        "Deals of the step",
        names,
        index=None,
        placeholder="Click on a bar, or choose a step",
        key="step",
        bind="query-params",
        persist_state="page",
    )
    return points[0]["name"] if points else by_hand


def deals_of_step(snapshot: Snapshot, chosen: Chosen, counting: str, name: str) -> None:
    """List the deals that a bar counts."""
    step = snapshot.ask(
        "SELECT funnel_step, source, previous_stage_step FROM dim_funnel_steps WHERE kpi_name = ?",
        name,
    ).iloc[0]
    number, before = float(step["funnel_step"]), step["previous_stage_step"]
    reached, stage = "furthest_funnel_step", f"{number}"
    if step["source"] == "stage":
        conditions = {
            "any order": (
                "deal_id IN (SELECT deal_id FROM fct_deal_stage_history "
                f"WHERE funnel_step = {number})"
            ),
            "at least this far": f"{reached} >= {stage}",
            "in order": f"{reached}_in_order >= {stage}",
        }
    else:
        called = (
            "deal_id IN (SELECT deal_id FROM fct_activities "
            f"WHERE funnel_step = {number} AND due_timestamp IS NOT NULL)"
        )
        from_before = "TRUE" if pd.isna(before) else "{} >= " + str(float(before))
        conditions = {
            "any order": called,
            "at least this far": (
                f"({reached} >= {stage} OR ({called} AND {from_before.format(reached)}))"
            ),
            "in order": f"({called} AND {from_before.format(f'{reached}_in_order')})",
        }
    st.markdown(f"**{name}, {counting}**")
    list_of_deals(
        snapshot,
        f"{conditions[counting]} AND DATE_TRUNC('month', created_at) BETWEEN ? AND ?",
        chosen.created_first,
        chosen.created_last,
        key="of_step",
    )


def cards(snapshot: Snapshot) -> None:
    """Show the last complete month against the one before: deals created, and three stages."""
    month = snapshot.value(
        "SELECT MAX(month)::TEXT FROM rep_sales_funnel_trends "
        "WHERE month < DATE_TRUNC('month', (SELECT MAX(last_changed_at) FROM fct_deals))"
    )
    if month is None:
        note("The first month is not over yet: nothing to compare.")
        return
    created = snapshot.ask(
        "SELECT cohort_month AS month, ANY_VALUE(cohort_deals_count) AS deals "
        "FROM rep_funnel_cohorts WHERE cohort_month <= ? GROUP BY 1 ORDER BY 1",
        month,
    )
    figures = [("New deals", created)]
    for step, name in milestones(snapshot).itertuples(index=False):
        deals = snapshot.ask(
            "SELECT month, deals_count AS deals FROM rep_sales_funnel_trends "
            "WHERE funnel_step = ? AND month <= ? ORDER BY 1",
            float(step),
            month,
        )
        figures.append((name, deals))
    st.markdown(f"**{month_name(month)}, the last complete month, and the one before**")
    for column, (name, numbers) in zip(st.columns(len(figures)), figures, strict=True):
        by_month = {str(at)[:10]: int(deals) for at, deals in numbers.itertuples(index=False)}
        now = by_month.get(month, 0)
        last = by_month.get(str((pd.Timestamp(month) - pd.DateOffset(months=1)).date()), 0)
        column.metric(
            name,
            f"{now:,}",
            f"{now - last:+,} from {last:,}",
            delta_color="off" if now == last else "normal",
            delta_arrow="off" if now == last else "auto",
            chart_data=list(by_month.values())[-12:],
            border=True,
        )
