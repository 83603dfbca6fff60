"""The report by month, and the cohorts: what happened when."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from data import Snapshot, milestones, month_name
from filters import Chosen
from look import chart, note, nothing

YOUNG_MONTHS = 6  # a cohort younger than that is drawn pale


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show lines per step, all deals, and a heat map of the cohorts."""
    report = snapshot.ask(
        "SELECT month, kpi_name AS step, funnel_step::DOUBLE AS number, deals_count AS deals, "
        "is_complete_month AS complete FROM rep_sales_funnel_trends WHERE month BETWEEN ? AND ? "
        "ORDER BY number, month",
        chosen.first,
        chosen.last,
    )
    if report.empty:
        nothing("No deal reached a step in these months.")
        return
    lines(snapshot, report)
    quarters(snapshot, chosen)
    all_cohorts(snapshot)
    cohorts(snapshot, chosen)


def lines(snapshot: Snapshot, report: pd.DataFrame) -> None:
    """Draw the deals that reached each step, by month; months that are not over are hollow."""
    steps = list(dict.fromkeys(report["step"]))
    usual = [step for step in milestones(snapshot)["kpi_name"] if step in steps] or steps
    shown = st.pills(
        "Steps",
        steps,
        selection_mode="multi",
        default=usual,
        key="steps",
        bind="query-params",
        persist_state="page",
    )
    note(
        "A deal counts in the month in which it first reached the step. Steps of one month are "
        "different deals: their ratio is no conversion. The last month may not be over."
    )
    if not shown:
        nothing("Choose a step.")
        return
    chosen = report[report["step"].isin(shown)]
    base = alt.Chart(chosen).encode(
        x=alt.X("yearmonth(month):T", title=None),
        y=alt.Y("deals:Q", title="Deals"),
        color=alt.Color(
            "step:N",
            sort=shown,
            title=None,
            legend=alt.Legend(orient="bottom", columns=2, labelLimit=300),
        ),
        strokeDash=alt.StrokeDash("step:N", sort=shown, legend=None),
    )
    points = base.mark_point(size=50).encode(
        fill=alt.condition(
            "datum.complete", alt.Color("step:N", sort=shown, legend=None), alt.value("transparent")
        ),
        tooltip=[
            alt.Tooltip("step", title="Step"),
            alt.Tooltip("month:T", title="Month", format="%b %Y"),
            alt.Tooltip("deals", title="Deals"),
            alt.Tooltip("complete", title="Month is over"),
        ],
    )
    table = chosen.pivot_table(
        index="month", columns="step", values="deals", sort=False
    ).reset_index()
    table["month"] = table["month"].map(month_name)
    chart(
        (base.mark_line() + points).properties(height=360),
        "Deals that reached each step, by month",
        table,
    )


def quarters(snapshot: Snapshot, chosen: Chosen) -> None:
    """List the sums of quarters, and the last complete month against the year before."""
    sums = snapshot.ask(
        """
        SELECT
          kpi_name AS step, funnel_step AS number,
          YEAR(month) || ' Q' || QUARTER(month) AS quarter,
          ARG_MAX(quarter_to_date_deals_count, month) AS deals
        FROM rep_sales_funnel_trends WHERE month BETWEEN ? AND ?
        GROUP BY ALL ORDER BY number, quarter
        """,
        chosen.first,
        chosen.last,
    )
    month = snapshot.value(
        "SELECT MAX(month)::TEXT FROM rep_sales_funnel_trends WHERE month BETWEEN ? AND ? "
        "AND is_complete_month",
        chosen.first,
        chosen.last,
    )
    changes = snapshot.ask(
        """
        SELECT
          kpi_name AS step, deals_count AS deals, previous_year_deals_count AS year_before,
          100 * year_over_year_change::DOUBLE AS change
        FROM rep_sales_funnel_trends WHERE month = ? ORDER BY funnel_step
        """,
        month,
    )
    st.markdown("**Quarters, and the year before**")
    note(
        "A quarter has the months up to the last one chosen; it is empty where the data does not "
        "reach back to its beginning. With less than two years a season cannot be told from growth."
    )
    table = sums.pivot_table(
        index="step", columns="quarter", values="deals", sort=False, dropna=False
    )
    if month:
        name, earlier = month_name(month), month_name(pd.Timestamp(month) - pd.DateOffset(years=1))
        changes = changes.set_index("step")
        table[name] = changes["deals"]
        table[earlier] = changes["year_before"]
        table["Change in a year, %"] = changes["change"].round(0)
    st.dataframe(
        table.reset_index().rename(columns={"step": "Step"}),
        hide_index=True,
        height="content",
        alt="Deals of each step by quarter, and in the last complete month and a year before",
    )


def all_cohorts(snapshot: Snapshot) -> None:
    """List how far all deals came, and how fast."""
    found = snapshot.ask(
        """
        SELECT
          kpi_name AS "Step",
          reached_deals_count AS "Came to it",
          ROUND(100 * share_of_created)::INT AS "Of all, %",
          ROUND(100 * share_of_created_at_least)::INT AS "It or further, %",
          ROUND(100 * share_within_30_days)::INT AS "In 30 days, %",
          ROUND(100 * share_within_60_days)::INT AS "In 60 days, %",
          ROUND(100 * share_within_90_days)::INT AS "In 90 days, %",
          ROUND(median_days_to_reach)::INT AS "Half after days"
        FROM rep_funnel_all_cohorts ORDER BY funnel_step
        """
    )
    if found.empty:
        return
    deals, *followed = snapshot.ask(
        "SELECT created_deals_count, followed_for_30_days_deals_count, "
        "followed_for_60_days_deals_count, followed_for_90_days_deals_count "
        "FROM rep_funnel_all_cohorts LIMIT 1"
    ).iloc[0]
    st.markdown("**How far all deals came**")
    note(
        f"All {deals:,} deals, whenever they were created. In 30, 60 and 90 days is of those that "
        f"were created in months old enough: {followed[0]:,}, {followed[1]:,} and {followed[2]:,} "
        "deals. Half after days is of those that came."
    )
    st.dataframe(found, hide_index=True, height="content", alt="How far all deals came, how fast")


def cohorts(snapshot: Snapshot, chosen: Chosen) -> None:
    """Draw how far the deals of each month of creation came; young months are pale."""
    st.markdown("**How far the deals of a month came**")
    note(
        "Per cent of the deals created in the month that came at least to the step. Pale months "
        f"are younger than {YOUNG_MONTHS} months: their deals are not done."
    )
    found = snapshot.ask(
        """
        SELECT
          cohort_month AS created, kpi_name AS step, funnel_step::DOUBLE AS number,
          reached_at_least_deals_count AS deals, cohort_deals_count AS of,
          100 * share_of_cohort_at_least::DOUBLE AS share,
          cohort_month + TO_MONTHS(?) <= (SELECT MAX(last_changed_at) FROM fct_deals) AS settled
        FROM rep_funnel_cohorts WHERE cohort_month BETWEEN ? AND ? ORDER BY 1, 3
        """,
        YOUNG_MONTHS,
        chosen.created_first,
        chosen.created_last,
    )
    if found.empty:
        nothing("No deal was created in these months.")
        return
    found = found.assign(month=found["created"].map(month_name))
    drawing = (
        alt.Chart(found)
        .mark_rect()
        .encode(
            x=alt.X(
                "step:N",
                sort=list(dict.fromkeys(found["step"])),
                title=None,
                axis=alt.Axis(labelLimit=140, labelAngle=-40),
            ),
            y=alt.Y("month:N", sort=list(dict.fromkeys(found["month"])), title="Created"),
            color=alt.Color(
                "share:Q", title="%", scale=alt.Scale(scheme="viridis", domain=[0, 100])
            ),
            opacity=alt.condition("datum.settled", alt.value(1), alt.value(0.45)),
            tooltip=[
                alt.Tooltip("month", title="Created"),
                alt.Tooltip("step", title="Step"),
                alt.Tooltip("deals", title="Deals"),
                alt.Tooltip("of", title="of"),
                alt.Tooltip("share", title="%", format=".0f"),
            ],
        )
        .properties(height=26 * found["month"].nunique() + 120)
    )
    table = (
        found.pivot_table(index="month", columns="step", values="share", sort=False)
        .round(0)
        .reset_index()
    )
    chart(drawing, "Share of the deals of each month that came at least to each step", table)
