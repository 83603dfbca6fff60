"""What is chosen for all tabs: months, months of creation, owner.

The address keeps it, as the visitor reads it: `?from=Feb+2024&owner=Ann+Ash`.
"""

from __future__ import annotations

import os
import typing as t
from collections import Counter

import streamlit as st

from data import Snapshot, month_name

ALL = "everybody"
ALL_PIPELINES = "all"
HIDE_OWNER_NAMES = "PIPEDRIVE_HIDE_OWNER_NAMES"


class Chosen(t.NamedTuple):
    """What is looked at. Months are first days, as text.

    Attributes:
        first: the first month of events.
        last: the last one.
        created_first: the first month of creation.
        created_last: the last one.
        owner: the user's id, or None for everybody.
        pipeline: the pipeline's id, or None for all.

    """

    first: str
    last: str
    created_first: str
    created_last: str
    owner: int | None
    pipeline: int | None


def choose(snapshot: Snapshot) -> Chosen:
    """Show the filters, and return what is chosen."""
    months = _months(
        snapshot,
        "SELECT month FROM rep_sales_funnel_trends "
        "UNION SELECT month FROM rep_deal_outcomes_monthly WHERE counted_by = 'closing'",
    )
    created = _months(snapshot, "SELECT DISTINCT cohort_month AS month FROM rep_funnel_cohorts")
    owners = owner_names(snapshot)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first = _month("From", "from", months, months[0])
        last = _month("until", "until", months, months[-1])
        created_first = _month("Deals created from", "created_from", created, created[0])
        created_last = _month("until (created)", "created_until", created, created[-1])
        owner = st.selectbox(
            "Owner",
            [ALL, *(str(user) for user in owners)],
            format_func=lambda user: user if user == ALL else owners[int(user)],
            key="owner",
            bind="query-params",
            help="For the tabs Where it sticks, Owners and Deals",
        )
        pipelines = pipeline_names(snapshot)
        pipeline = ALL_PIPELINES
        if len(pipelines) > 1:
            pipeline = st.selectbox(
                "Pipeline",
                [ALL_PIPELINES, *(str(number) for number in pipelines)],
                format_func=lambda number: (
                    number if number == ALL_PIPELINES else pipelines[int(number)]
                ),
                key="pipeline",
                bind="query-params",
                help="For the tabs Won and lost, Pipeline and Deals",
            )
    return Chosen(
        min(first, last),
        max(first, last),
        min(created_first, created_last),
        max(created_first, created_last),
        None if owner in (None, ALL) else int(owner),
        None if pipeline in (None, ALL_PIPELINES) else int(pipeline),
    )


def owner_names(snapshot: Snapshot) -> dict[int, str]:
    """Return the names of who owns deals or does something, by id, each once."""
    users = snapshot.ask(
        """
        SELECT user_id, ANY_VALUE(user_name) AS user_name
        FROM (
          SELECT owner_user_id AS user_id FROM fct_deals
          UNION
          SELECT user_id FROM rep_owner_performance_monthly WHERE user_id <> -1
          UNION
          SELECT user_id FROM rep_owner_outcomes_monthly WHERE user_id <> -1
        )
        LEFT JOIN dim_users USING (user_id)
        WHERE user_id IS NOT NULL
        GROUP BY 1 ORDER BY 2, 1
        """
    )
    names = {int(user): user_name(user, name) for user, name in users.itertuples(index=False)}
    shared = {name for name, times in Counter(names.values()).items() if times > 1}
    return {user: f"{name} ({user})" if name in shared else name for user, name in names.items()}


def pipeline_names(snapshot: Snapshot) -> dict[int, str]:
    """Return the names of the pipelines that have deals, by id; each once."""
    found = snapshot.ask(
        """
        SELECT DISTINCT pipeline_id, COALESCE(pipeline_name, 'Pipeline ' || pipeline_id) AS name
        FROM fct_deals LEFT JOIN dim_pipelines USING (pipeline_id)
        WHERE pipeline_id IS NOT NULL ORDER BY 1
        """
    )
    names = {int(number): name for number, name in found.itertuples(index=False)}
    shared = {name for name, times in Counter(names.values()).items() if times > 1}
    return {
        number: f"{name} ({number})" if name in shared else name for number, name in names.items()
    }


def user_name(user: int, name: str | None) -> str:
    """Return the name of a user: a number only where names are hidden, or there is none."""
    hidden = os.environ.get(HIDE_OWNER_NAMES, "").lower() in ("1", "true", "yes")
    return f"User {int(user)}" if hidden or not isinstance(name, str) else name


def _months(snapshot: Snapshot, query: str) -> list[str]:
    found = snapshot.ask(f"SELECT month::TEXT AS month FROM ({query}) ORDER BY 1")
    return list(found["month"]) or [f"{snapshot.taken_at:%Y-%m}-01"]


def _month(label: str, key: str, months: list[str], default: str) -> str:
    chosen = st.selectbox(
        label,
        months,
        index=months.index(default),
        format_func=month_name,
        key=key,
        bind="query-params",
        width=170,
    )
    return chosen or default
