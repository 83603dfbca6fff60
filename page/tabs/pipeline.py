"""The pipeline: what is open now, what was open at the end of each month, what is to come."""

from __future__ import annotations

import altair as alt
import streamlit as st

from data import Snapshot, month_name
from filters import Chosen
from look import BLUE, ORANGE, chart, note, nothing
from tabs.outcomes import choose_currency, knows_outcomes

AMOUNTS = alt.Color(  # one for each of two columns: value, and weighted
    "which:N",
    scale=alt.Scale(domain=["value", "weighted"], range=[BLUE, ORANGE]),
    title=None,
    legend=alt.Legend(orient="bottom"),
)


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show the stages now, month ends, and the forecast."""
    if not knows_outcomes(snapshot):
        return
    currency = choose_currency(snapshot)
    note(
        "Weighted is value times probability: the one that somebody gave the deal, or else that of "
        "its stage, or else 100 %."
    )
    now(snapshot, chosen, currency)
    month_ends(snapshot, chosen, currency)
    forecast(snapshot, chosen, currency)


def now(snapshot: Snapshot, chosen: Chosen, currency: str) -> None:
    """List what stands in each stage now."""
    found = snapshot.ask(
        """
        SELECT
          COALESCE(stages.stage_name, report.stage_name, 'no stage yet') AS "Stage",
          SUM(deals_count)::BIGINT AS "Open deals",
          ROUND(SUM(value) FILTER (currency = $1))::BIGINT AS "Value",
          ROUND(SUM(weighted_value) FILTER (currency = $1))::BIGINT AS "Weighted",
        FROM rep_pipeline_monthly AS report
        LEFT JOIN dim_stages AS stages USING (stage_id)
        LEFT JOIN dim_pipeline_stages AS places USING (stage_id)
        WHERE NOT is_month_over AND report.pipeline_id = COALESCE($2, report.pipeline_id)
        GROUP BY 1
        ORDER BY
          MIN(stages.funnel_step) NULLS LAST, MIN(places.stage_position) NULLS LAST, MIN(stage_id)
        """,
        currency,
        chosen.pipeline,
    )
    st.markdown("**Open now**")
    if found.empty:
        nothing("No deal is open.")
        return
    st.dataframe(found, hide_index=True, height="content", alt="Open deals in each stage")


def month_ends(snapshot: Snapshot, chosen: Chosen, currency: str) -> None:
    """Draw the value of what was open at the end of each month."""
    found = snapshot.ask(
        """
        SELECT
          month, SUM(deals_count)::BIGINT AS deals,
          SUM(value) FILTER (currency = $1)::DOUBLE AS value,
          SUM(weighted_value) FILTER (currency = $1)::DOUBLE AS weighted
        FROM rep_pipeline_monthly
        WHERE is_month_over AND month BETWEEN $2 AND $3
          AND pipeline_id = COALESCE($4, pipeline_id)
        GROUP BY 1 ORDER BY 1
        """,
        currency,
        chosen.first,
        chosen.last,
        chosen.pipeline,
    )
    st.markdown("**Open at the end of each month**")
    if found.empty:
        nothing("No deal was open at the end of one of these months.")
        return
    note("Values are those of today: what a deal was worth then is not known.")
    marks = found.melt(["month"], ["value", "weighted"], "which", "amount")
    drawing = (
        alt.Chart(marks)
        .mark_line(point=True)
        .encode(
            x=alt.X("yearmonth(month):T", title=None),
            y=alt.Y("amount:Q", title=currency),
            color=AMOUNTS,
            strokeDash=alt.StrokeDash("which:N", legend=None),
            tooltip=[
                alt.Tooltip("month:T", title="Month", format="%b %Y"),
                "which",
                alt.Tooltip("amount", format=",.0f"),
            ],
        )
        .properties(height=260)
    )
    table = found.assign(month=found["month"].map(month_name)).round(0)
    chart(drawing, f"Value of open deals at the end of each month, {currency}", table)


def forecast(snapshot: Snapshot, chosen: Chosen, currency: str) -> None:
    """Draw open deals by the month in which they are expected to be closed."""
    found = snapshot.ask(
        """
        SELECT
          month, is_overdue AS overdue, SUM(deals_count)::BIGINT AS deals,
          SUM(value) FILTER (currency = $1)::DOUBLE AS value,
          SUM(weighted_value) FILTER (currency = $1)::DOUBLE AS weighted
        FROM rep_forecast_monthly WHERE pipeline_id = COALESCE($2, pipeline_id)
        GROUP BY ALL ORDER BY 1, 2
        """,
        currency,
        chosen.pipeline,
    )
    st.markdown("**Expected to be closed**")
    if found.empty:
        nothing("No open deal has an expected day of closing.")
        return
    overdue = int(found.loc[found["overdue"], "deals"].sum())
    note(
        f"{overdue:,} of {int(found['deals'].sum()):,} deals are overdue: their day has passed. "
        "Deals without a day are not here."
    )
    marks = found.melt(["month", "overdue"], ["value", "weighted"], "which", "amount")
    drawing = (
        alt.Chart(marks)
        .mark_bar()
        .encode(
            x=alt.X("yearmonth(month):O", title=None, axis=alt.Axis(labelAngle=-40)),
            xOffset=alt.XOffset("which:N"),
            y=alt.Y("sum(amount):Q", title=currency),
            color=AMOUNTS,
            opacity=alt.condition("datum.overdue", alt.value(0.4), alt.value(1)),
            tooltip=[
                alt.Tooltip("yearmonth(month):T", title="Month", format="%b %Y"),
                "which",
                alt.Tooltip("sum(amount):Q", title=currency, format=",.0f"),
                alt.Tooltip("overdue", title="Overdue"),
            ],
        )
        .properties(height=260)
    )
    table = found.assign(month=found["month"].map(month_name)).round(0)
    chart(drawing, f"Open deals by month of expected closing, {currency}; pale is overdue", table)
