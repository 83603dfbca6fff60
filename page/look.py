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
