"""Where deals stay long: days per stage, who is there, and where they go."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from data import Snapshot, month_name
from filters import Chosen
from look import BLUE, MOVES, NARROW, ORANGE, chart, note, nothing, per_cent, share
from tabs.deals import list_of_deals


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show days per stage, the deals in a stage, and moves between stages."""
    days(snapshot, chosen)
    stages(snapshot, chosen)
    waiting(snapshot, chosen)
    moves(snapshot)


def days(snapshot: Snapshot, chosen: Chosen) -> None:
    """Draw how long deals stayed before they left, by month."""
    found = snapshot.ask(
        """
        SELECT
          COALESCE(stage_name, 'Stage ' || stage_id) AS stage, month, exits_count AS deals,
          median_days::DOUBLE AS half, p90_days::DOUBLE AS most
        FROM rep_time_in_stage
        WHERE exits_count > 0 AND month BETWEEN ? AND ?
        ORDER BY funnel_step NULLS LAST, stage_id, month
        """,
        chosen.first,
        chosen.last,
    )
    st.markdown("**Days in a stage**")
    if found.empty:
        nothing("No deal left a stage in these months.")
        return
    note(
        "A mark is a month in which deals left the stage. Half of them had stayed the blue time or "
        "less, nine in ten the orange time or less. Deals that never leave are in neither."
    )
    marks = found.assign(month=found["month"].map(month_name)).melt(
        ["stage", "month", "deals"], ["half", "most"], "which", "days"
    )
    marks["which"] = marks["which"].map({"half": "half", "most": "nine in ten"})
    drawing = (
        alt.Chart(marks)
        .mark_tick(thickness=3, size=18)
        .encode(
            y=alt.Y(
                "stage:N",
                sort=list(dict.fromkeys(found["stage"])),
                title=None,
                axis=alt.Axis(labelLimit=NARROW),
            ),
            x=alt.X("days:Q", title="Days"),
            color=alt.Color(
                "which:N",
                scale=alt.Scale(domain=["half", "nine in ten"], range=[BLUE, ORANGE]),
                title=None,
                legend=alt.Legend(orient="bottom", columns=2, offset=4),
            ),
            tooltip=["stage", "month", "which", alt.Tooltip("days", format=".1f"), "deals"],
        )
        .properties(height=34 * found["stage"].nunique() + 60)
    )
    table = found.rename(columns={"half": "median days", "most": "90th percentile, days"})
    table["month"] = table["month"].map(month_name)
    chart(drawing, "Days in each stage by month: median and 90th percentile", table)


def stages(snapshot: Snapshot, chosen: Chosen) -> None:
    """List the stages: who left in the chosen months and after how long, who is there now."""
    found = snapshot.ask(
        """
        WITH left_stage AS (
          SELECT
            stage_id, COUNT(*) AS exits,
            MEDIAN(seconds_in_stage) / 86400 AS half,
            QUANTILE_CONT(seconds_in_stage, 0.9) / 86400 AS most
          FROM fct_stage_entries
          WHERE DATE_TRUNC('month', stage_exit_timestamp) BETWEEN ? AND ?
          GROUP BY 1
        ), there AS (
          SELECT stage_id, still_there_count, share_still_there, median_age_days
          FROM rep_time_in_stage WHERE entries_count > 0
        )
        SELECT
          COALESCE(stages.stage_name, 'Stage ' || stage_id) AS "Stage",
          COALESCE(exits, 0)::BIGINT AS "Left it",
          ROUND(half, 1) AS "Half after days",
          ROUND(most, 1) AS "Nine in ten after days",
          still_there_count::BIGINT AS "There now",
          ROUND(100 * share_still_there)::INT AS "Of all that came, %",
          ROUND(median_age_days)::INT AS "Half of these for days"
        FROM there
        LEFT JOIN left_stage USING (stage_id)
        LEFT JOIN dim_stages AS stages USING (stage_id)
        ORDER BY stages.funnel_step NULLS LAST, stage_id
        """,
        chosen.first,
        chosen.last,
    )
    st.dataframe(
        found,
        hide_index=True,
        height="content",
        alt="Stages: who left, who is there, and for how long",
    )
    note(
        "The days until they left are of those that did. Where most of all that ever came are "
        "still there, deals stay longer than these days say."
    )
    half, most = snapshot.ask(
        "SELECT MEDIAN(days_to_first_stage::DOUBLE), QUANTILE_CONT(days_to_first_stage::DOUBLE, "
        "0.9) FROM fct_deals WHERE DATE_TRUNC('month', created_at) BETWEEN ? AND ?",
        chosen.created_first,
        chosen.created_last,
    ).iloc[0]
    if pd.notna(half):
        note(
            f"From its creation to its first stage a deal takes {half:.0f} days or less in half of "
            f"all cases, {most:.0f} in nine of ten. So the month of creation and the month in "
            "which a deal first counts in the funnel can differ."
        )


def waiting(snapshot: Snapshot, chosen: Chosen) -> None:
    """List the deals that are in a stage now, and since when."""
    stages = snapshot.ask(
        "SELECT current_stage AS stage FROM fct_deals WHERE current_stage IS NOT NULL "
        "GROUP BY 1 ORDER BY MIN(current_stage_id)"
    )
    st.markdown("**Who is there now**")
    stage = st.selectbox(
        "Stage",
        list(stages["stage"]),
        index=None,
        placeholder="Choose a stage",
        key="stage",
        bind="query-params",
        persist_state="page",
    )
    if stage:
        owner = "" if chosen.owner is None else f" AND owner_user_id = {chosen.owner}"
        list_of_deals(snapshot, f"current_stage = ?{owner}", stage, key="stuck")


def moves(snapshot: Snapshot) -> None:
    """Draw where deals go from each stage: on, over stages, back."""
    found = snapshot.ask(
        """
        SELECT
          COALESCE(from_stage, from_stage_id::TEXT) AS "from",
          COALESCE(to_stage, to_stage_id::TEXT) AS "to",
          move, transitions_count AS moves, 100 * share_of_exits::DOUBLE AS "% of exits",
          median_days::DOUBLE AS "median days before"
        FROM rep_stage_transitions ORDER BY from_stage_id, to_stage_id
        """
    )
    st.markdown("**Where deals go from a stage**")
    if found.empty:
        nothing("No deal has left a stage.")
        return
    jumped, back, deals = snapshot.ask(
        "SELECT COUNT(*) FILTER (skipped_stages_count > 0), "
        "COUNT(*) FILTER (backward_moves_count > 0), COUNT(*) FROM fct_deals"
    ).iloc[0]
    note(
        f"{jumped:,} of {deals:,} deals ({per_cent(share(jumped, deals))}) jumped over a stage, "
        f"{back:,} went back to an earlier one."
    )
    drawing = (
        alt.Chart(found)
        .mark_bar()
        .encode(
            y=alt.Y(
                "from:N",
                sort=list(dict.fromkeys(found["from"])),
                title=None,
                axis=alt.Axis(labelLimit=NARROW, labelOverlap=False),
            ),
            x=alt.X("sum(moves):Q", title="Moves"),
            color=alt.Color(
                "move:N",
                scale=alt.Scale(domain=list(MOVES), range=list(MOVES.values())),
                title=None,
                legend=alt.Legend(orient="bottom", columns=2, offset=4),
            ),
            tooltip=["from", "move", alt.Tooltip("sum(moves):Q", title="Moves")],
        )
        .properties(height=34 * found["from"].nunique() + 80)
    )
    chart(drawing, "Moves from each stage: forward, skipped, backward", found)
