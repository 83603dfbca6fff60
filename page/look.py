"""How the page looks: colours that the colour-blind can tell apart, and charts with a table behind.

Colours are those of Okabe and Ito, and viridis where a colour stands for a number.
"""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#8C8C8C"
MOVES = {
    "forward": BLUE,
    "skipped": "#56B4E9",
    "backward": "#D55E00",
    "repeated": "#CC79A7",
    "outside": GREY,
}
NARROW = 160  # pixels that a long label may take, so that a phone shows bars as well


def chart(drawing: alt.Chart | alt.LayerChart, says: str, data: pd.DataFrame, **options):
    """Show a chart, what it says for those who cannot see it, and its numbers as a table."""
    state = st.altair_chart(drawing, alt=says, **options)
    with st.expander("The numbers as a table"):
        st.dataframe(data, hide_index=True, alt=says)
    return state


def stacked_months(
    marks: pd.DataFrame, value: str, kind: str, colours: dict[str, str], height: int
) -> alt.Chart:
    """Draw a bar for each month, of several kinds of things in their colours.

    Args:
        marks: rows with a `month`.
        value: the column of numbers, such as deals.
        kind: the column of what they are numbers of.
        colours: by what stands in that column.
        height: of the chart, in pixels.

    """
    numbers = f"sum({value}):Q"
    kinds = [name for name in colours if name in set(marks[kind])]
    return (
        alt.Chart(marks)
        .mark_bar()
        .encode(
            x=alt.X("yearmonth(month):O", title=None, axis=alt.Axis(labelAngle=-40)),
            y=alt.Y(numbers, title=value.title()),
            color=alt.Color(
                f"{kind}:N",
                scale=alt.Scale(domain=kinds, range=[colours[name] for name in kinds]),
                title=None,
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[
                alt.Tooltip("yearmonth(month):T", title="Month", format="%b %Y"),
                kind,
                alt.Tooltip(numbers, title=value.title()),
            ],
        )
        .properties(height=height)
    )


def share(part: float | None, whole: float | None) -> float | None:
    """Return a share in per cent, or None where there is no whole."""
    if not whole or pd.isna(whole) or pd.isna(part):
        return None
    return 100 * part / whole


def per_cent(value: float | None) -> str:
    """Return a share as people read it."""
    return "–" if value is None or pd.isna(value) else f"{value:.0f} %"


def note(text: str) -> None:
    """Say what a number means, or does not: small, in the colour of text, which can be read."""
    st.markdown(f":small[{text}]")


def nothing(text: str) -> None:
    """Say that there is nothing to show, and why."""
    st.info(text, icon=":material/search_off:")
