"""The sales funnel as a page for everybody: `make page` starts it.

Every number is of a mart: models/marts/ has the rules. Filters and the open tab stand in the
address, so a view can be sent to somebody else.
"""

from __future__ import annotations

import streamlit as st

from data import Snapshot, latest
from filters import choose
from look import note
from tabs import deals, funnel, months, outcomes, owners, pipeline, quality, stuck
from visitors import admit, signed_in

TABS = {
    "Funnel": funnel.show,
    "Won and lost": outcomes.show,
    "Pipeline": pipeline.show,
    "Months": months.show,
    "Where it sticks": stuck.show,
    "Owners": owners.show,
    "Deals": deals.show,
    "Data quality": quality.show,
}

st.set_page_config(page_title="Sales funnel", page_icon="📊", layout="wide")


def head(snapshot: Snapshot) -> None:
    """Show whose numbers these are, how old, and whether something is wrong with them."""
    st.title("Sales funnel")
    until = snapshot.value("SELECT MAX(last_changed_at) FROM fct_deals")
    warnings = snapshot.value(
        "SELECT COUNT(*) FROM rep_data_quality WHERE severity = 'warning' AND rows_count > 0"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if warnings:
            st.badge(f"{warnings} data warnings", icon=":material/warning:", color="orange")
            st.button("What they mean", type="tertiary", on_click=open_tab, args=("Data quality",))
        else:
            st.badge("No data warnings", icon=":material/check:", color="green")
        latest_change = f"{until:%d %B %Y}" if until else "no change yet"
        note(
            f"Environment **{snapshot.environment}** · data until **{latest_change}** · "
            f"read on {snapshot.taken_at:%d %B %Y at %H:%M} UTC"
        )
        if visitor := signed_in():
            st.button(f"Sign out {visitor}", type="tertiary", on_click=st.logout)


def open_tab(name: str) -> None:
    """Open a tab by its name."""
    st.session_state["tab"] = name


def main() -> None:
    """Show the page to who may look."""
    if not admit():
        return
    snapshot = latest()
    if snapshot is None:
        st.title("Sales funnel")
        st.info("There is nothing to show yet. Whoever runs the funnel types `make page`.")
        return
    head(snapshot)
    if not snapshot.value("SELECT COUNT(*) FROM fct_deals"):
        st.info("There are no deals in the data yet.")
        return
    chosen = choose(snapshot)
    for (name, show), tab in zip(
        TABS.items(), st.tabs(list(TABS), key="tab", bind="query-params"), strict=True
    ):
        if tab.open:
            with tab:
                st.subheader(name)
                show(snapshot, chosen)


main()
