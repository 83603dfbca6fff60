"""Won and lost: how many deals are won, what they are worth, and how long that takes."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from data import Snapshot, last_complete_month, month_name
from filters import Chosen
from look import BLUE, GREY, ORANGE, chart, note, nothing, per_cent, share, stacked_months

UNKNOWN = (
    "The data does not say which deals are won or lost. Pipedrive's API does, and so does an "
    "export with the file deals.csv."
)
STATES = {"won": BLUE, "lost": ORANGE, "open": GREY}


def show(snapshot: Snapshot, chosen: Chosen) -> None:
    """Show cards, and the deals closed and created in each month."""
    if not knows_outcomes(snapshot):
        return
    currency = choose_currency(snapshot)
    closed = months_of_closing(snapshot, chosen, currency)
    if closed.empty:
        nothing("No deal was closed in these months.")
    else:
        cards(snapshot, closed, currency)
        by_closing(closed, currency)
    by_creation(snapshot, chosen)


def knows_outcomes(snapshot: Snapshot) -> bool:
    """Tell whether the data says what is won and lost; if not, say that."""
    if snapshot.value("SELECT COUNT(*) FROM rep_deal_outcomes_monthly"):
        return True
    nothing(UNKNOWN)
    return False


def choose_currency(snapshot: Snapshot) -> str:
    """Let the visitor choose a currency, the most frequent first: values are never mixed."""
    currencies = list(
        snapshot.ask(
            "SELECT currency FROM rep_deal_outcomes_monthly WHERE counted_by = 'creation' "
            "GROUP BY 1 ORDER BY SUM(deals_count) DESC, 1"
        )["currency"]
    )
    if len(currencies) == 1:
        return currencies[0]
    chosen = st.segmented_control(
        "Values in",
        currencies,
        default=currencies[0],
        required=True,
        key="currency",
        bind="query-params",
        persist_state="page",
    )
    note("Counts are of all deals, values of those in this currency: no currencies are added up.")
    return chosen


def months_of_closing(snapshot: Snapshot, chosen: Chosen, currency: str) -> pd.DataFrame:
    """Return a row for each month: deals won and lost, and in one currency their value."""
    months = snapshot.ask(
        """
        SELECT
          month, SUM(won_deals_count)::BIGINT AS won, SUM(lost_deals_count)::BIGINT AS lost,
          SUM(won_value) FILTER (currency = $3)::DOUBLE AS value
        FROM rep_deal_outcomes_monthly
        WHERE counted_by = 'closing' AND month BETWEEN $1 AND $2
          AND pipeline_id = COALESCE($4, pipeline_id)
        GROUP BY 1 ORDER BY 1
        """,
        chosen.first,
        chosen.last,
        currency,
        chosen.pipeline,
    )
    cycles = snapshot.ask(
        """
        SELECT
          DATE_TRUNC('month', won_at) AS month,
          MEDIAN(days_to_close::DOUBLE) AS days,
          MEDIAN(days_to_close::DOUBLE) FILTER (currency = $1) AS days_of_currency,
          AVG(value::DOUBLE) FILTER (currency = $1) AS average
        FROM fct_deals
        WHERE won_at IS NOT NULL AND COALESCE(pipeline_id, -1) = COALESCE($2, pipeline_id, -1)
        GROUP BY 1
        """,
        currency,
        chosen.pipeline,
    )
    months = months.merge(cycles, how="left", on="month")
    months["rate"] = [
        share(won, won + lost) for won, lost in zip(months["won"], months["lost"], strict=True)
    ]
    months["velocity"] = months["value"] / months["days_of_currency"].where(
        months["days_of_currency"] > 0
    )
    return months


def cards(snapshot: Snapshot, closed: pd.DataFrame, currency: str) -> None:
    """Show the last month that is over against the one before."""
    over = closed[closed["month"] <= last_complete_month(snapshot)]
    if over.empty:
        note("The first month is not over yet: nothing to compare.")
        return
    month = over["month"].max()
    st.markdown(f"**{month_name(month)}, the last complete month chosen**")
    before = over[over["month"] == month - pd.DateOffset(months=1)]
    now = over.iloc[-1]
    figures = (
        ("Deals won", "won", "{:,.0f}", None),
        (f"Value won, {currency}", "value", "{:,.0f}", None),
        ("Win rate", "rate", "{:.0f} %", "Won deals as a share of won and lost ones."),
        ("Days to win", "days", "{:.0f}", "From creation: half of the won deals took so long."),
        (
            f"Velocity, {currency} a day",
            "velocity",
            "{:,.0f}",
            "Value won, by the days that winning takes in the median: deals x win rate x average "
            "value / days.",
        ),
    )
    for column, (name, figure, form, meaning) in zip(
        st.columns(len(figures)), figures, strict=True
    ):
        value = now[figure]
        last = before[figure].iloc[0] if len(before) else None
        column.metric(
            name,
            "–" if pd.isna(value) else form.format(value),
            None if last is None or pd.isna(last) else f"from {form.format(last)}",
            delta_color="off",
            delta_arrow="off",
            chart_data=[float(number) for number in over[figure].dropna()][-12:],
            border=True,
            help=meaning,
        )


def by_closing(closed: pd.DataFrame, currency: str) -> None:
    """Draw the deals closed in each month, and list what they were worth."""
    st.markdown("**Deals by the month in which they were closed**")
    marks = closed.melt(["month"], ["won", "lost"], "status", "deals")
    table = pd.DataFrame(
        {
            "month": closed["month"].map(month_name),
            "won": closed["won"],
            "lost": closed["lost"],
            "win rate": closed["rate"].map(per_cent),
            f"value won, {currency}": closed["value"].round(0),
            f"average value, {currency}": closed["average"].round(0),
            "days to win, median": closed["days"].round(0),
        }
    )
    chart(_bars(marks), "Deals won and lost by month of closing", table)


def by_creation(snapshot: Snapshot, chosen: Chosen) -> None:
    """Draw what became of the deals created in each month."""
    found = snapshot.ask(
        """
        SELECT
          month, SUM(won_deals_count)::BIGINT AS won, SUM(lost_deals_count)::BIGINT AS lost,
          SUM(open_deals_count)::BIGINT AS open
        FROM rep_deal_outcomes_monthly
        WHERE counted_by = 'creation' AND month BETWEEN $1 AND $2
          AND pipeline_id = COALESCE($3, pipeline_id)
        GROUP BY 1 ORDER BY 1
        """,
        chosen.created_first,
        chosen.created_last,
        chosen.pipeline,
    )
    st.markdown("**What became of the deals created in a month**")
    if found.empty:
        nothing("No deal was created in these months.")
        return
    note("Months with many open deals are not done: their win rate will change.")
    marks = found.melt(["month"], ["won", "lost", "open"], "status", "deals")
    table = found.assign(month=found["month"].map(month_name))
    chart(_bars(marks), "Deals won, lost and open by month of creation", table)


def _bars(marks: pd.DataFrame) -> alt.Chart:
    return stacked_months(marks, "deals", "status", STATES, height=260)
