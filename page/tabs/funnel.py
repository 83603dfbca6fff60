"""The funnel of the deals created in the chosen months: how many got how far."""

from __future__ import annotations

import typing as t

import altair as alt
import pandas as pd
import streamlit as st

from data import Snapshot, milestones, month_name
from filters import Chosen
from look import BLUE, GREY, chart, note, nothing, per_cent, share
from tabs.deals import list_of_deals


class Counting(t.NamedTuple):
    """A way to count deals: columns of rep_funnel_cohorts and fct_deal_funnel_steps, and words."""

    count: str
    is_counted: str
    meaning: str


COUNTINGS = {
    "at least this far": Counting(
        "reached_at_least_deals_count",
        "is_reached_at_least",
        "Deals that were in this stage or in a later one. The only counting that falls from step "
        "to step, since deals may skip stages.",
    ),
    "any order": Counting(
        "reached_deals_count",
        "is_reached",
        "Deals that ever were in this step, however they came there. A later step can have more, "
        "since deals skip.",
    ),
    "in order": Counting(
        "reached_in_order_deals_count",
        "is_reached_in_order",
        "Deals that passed every stage of the funnel up to this one, one after the other.",
    ),
}
ROOM = 1.6  # so many times the longest bar is the axis long: the label comes behind
DAYS_TO_LAST_STAGE = "Days to the last stage"
DAYS_HELP = (
    "From creation: half of the deals that came to the last stage in the month took so long, or "
    "less."
)
SHARES = "Behind each number: its share of all deals created, and of the stage before."
YOUNG = "Deals created lately are still on their way: their later steps will grow."


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show cards, the steps, and the deals of the step that was clicked."""
    cards(snapshot, chosen)
    counting = st.segmented_control(
        "Counted are deals that came",
        list(COUNTINGS),
        default="at least this far",
        required=True,
        key="counting",
        bind="query-params",
        persist_state="page",
    )
    note(f"{COUNTINGS[counting].meaning} {SHARES} {YOUNG}")
    steps = steps_of(snapshot, chosen, COUNTINGS[counting].count)
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
        y=alt.Y("name:N", sort=list(shown["name"]), axis=None),
        tooltip=[
            alt.Tooltip("name", title="Step"),
            alt.Tooltip("deals", title="Deals"),
            alt.Tooltip("of all", title="% of all", format=".0f"),
            alt.Tooltip("of the stage before", title="% of the stage before", format=".0f"),
        ],
    )
    bars = base.mark_bar(color=BLUE, cursor="pointer", size=14, yOffset=8).encode(
        x=alt.X(
            "deals:Q",
            title="Deals",
            axis=alt.Axis(tickMinStep=1, grid=False),
            scale=alt.Scale(domainMax=max(1, ROOM * shown["deals"].max())),
        ),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.5)),
    )
    # Names stand above the bars: beside them they would leave a phone no room
    names = base.mark_text(align="left", dy=-9, color=GREY).encode(x=alt.value(0), text="name:N")
    words = base.mark_text(align="left", dx=5, dy=8, color=GREY).encode(x="deals:Q", text="label:N")
    says = f"Deals per step, {counting}: " + "; ".join(
        f"{row.name} {row.deals:,}" for row in steps.itertuples()
    )
    table = shown[["name", "deals", "of all", "of the stage before"]]
    state = chart(
        (bars.add_params(picked) + names + words).properties(height=42 * len(shown) + 40),
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
    st.markdown(f"**{name}, {counting}**")
    list_of_deals(
        snapshot,
        "DATE_TRUNC('month', created_at) BETWEEN ? AND ? AND deal_id IN (SELECT deal_id FROM "
        f"fct_deal_funnel_steps WHERE kpi_name = ? AND {COUNTINGS[counting].is_counted})",
        chosen.created_first,
        chosen.created_last,
        name,
        key="of_step",
    )


def cards(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show the last month chosen that is over against the one before: deals, stages, days."""
    month = snapshot.value(
        "SELECT MAX(month)::TEXT FROM rep_sales_funnel_trends WHERE month <= ? "
        "AND is_complete_month",
        chosen.last,
    )
    if month is None:
        note("The first month is not over yet: nothing to compare.")
        return
    created = snapshot.ask(
        "SELECT cohort_month AS month, ANY_VALUE(cohort_deals_count) AS figure "
        "FROM rep_funnel_cohorts WHERE cohort_month <= ? GROUP BY 1 ORDER BY 1",
        month,
    )
    figures = [("New deals", created)]
    later_stages = list(milestones(snapshot)[1:].itertuples(index=False))
    for step, name in later_stages:
        deals = snapshot.ask(
            "SELECT month, deals_count AS figure FROM rep_sales_funnel_trends "
            "WHERE funnel_step = ? AND month <= ? ORDER BY 1",
            float(step),
            month,
        )
        figures.append((name, deals))
    if later_stages:
        figures.append((DAYS_TO_LAST_STAGE, days_to_reach(snapshot, later_stages[-1][0], month)))
    st.markdown(f"**{month_name(month)}, the last complete month chosen, against the one before**")
    before = str((pd.Timestamp(month) - pd.DateOffset(months=1)).date())
    for column, (name, numbers) in zip(st.columns(len(figures)), figures, strict=True):
        by_month = {str(at)[:10]: figure for at, figure in numbers.itertuples(index=False)}
        card(column, name, by_month, month, before)


def days_to_reach(snapshot: Snapshot, step: float, until: str) -> pd.DataFrame:
    """Return the median of days from creation, of the deals that reached a step in each month."""
    return snapshot.ask(
        """
        SELECT DATE_TRUNC('month', reached_at) AS month, MEDIAN(seconds_to_reach) / 86400 AS figure
        FROM fct_deal_funnel_steps
        WHERE funnel_step = ? AND seconds_to_reach IS NOT NULL
          AND DATE_TRUNC('month', reached_at) <= ?
        GROUP BY 1 ORDER BY 1
        """,
        float(step),
        until,
    )


def card(column: t.Any, name: str, by_month: dict[str, float], month: str, before: str) -> None:
    """Show a figure of the month against the month before; of days, fewer are better."""
    is_days = name == DAYS_TO_LAST_STAGE
    none = None if is_days else 0
    now, last = by_month.get(month, none), by_month.get(before, none)
    if now is None:
        column.metric(name, "–", border=True)
        return
    changed = last is not None and round(now) != round(last)
    column.metric(
        name,
        f"{now:,.0f}",
        None if last is None else f"{round(now) - round(last):+,} from {last:,.0f}",
        delta_color="off" if not changed else "inverse" if is_days else "normal",
        delta_arrow="auto" if changed else "off",
        chart_data=[float(figure) for figure in by_month.values()][-12:],
        border=True,
        help=DAYS_HELP if is_days else None,
    )
