"""The funnel computed again, in pandas, straight from the raw files. The models must equal it.

It follows the rule in words and not the SQL: a deal counts once per step, in the month of its first
entry into the stage; a done sales call counts in the month it was due, once per deal and month.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Funnel:
    """The funnel in plain Python values, to be compared with the rows of either engine."""

    history: set[tuple]  # deal, stage, entry number, entered, left, previous stage, created
    first_entries: set[tuple]  # deal, stage, entered, funnel step
    calls: set[tuple]  # activity, deal, funnel step, due
    report: dict[tuple[str, str], int]  # (month, funnel step) -> deals


def read_export(directory: Path) -> dict[str, pd.DataFrame]:
    """Read the CSV files of a directory as text, by file name; blank cells are None."""
    return {
        path.stem: pd.read_csv(path, dtype=str, keep_default_na=False)
        .rename(columns=str.lower)
        .replace({"": None})
        for path in directory.glob("*.csv")
    }


def funnel(export: dict[str, pd.DataFrame]) -> Funnel:
    """Compute the funnel of an export, whose tables include `funnel_steps`.

    Deals that its list of deals calls deleted count nowhere.
    """
    export = without_deals(export, deleted_deals(export))
    steps = export["funnel_steps"]
    stage_steps = dict(steps.loc[steps["source"] == "stage", ["key", "funnel_step"]].values)
    call_steps = dict(steps.loc[steps["source"] == "activity", ["key", "funnel_step"]].values)

    log = export["deal_changes"].drop_duplicates()
    log = log.assign(at=pd.to_datetime(log["change_time"], format="ISO8601"))
    created: dict[int, pd.Timestamp] = {}
    entries: dict[int, list[tuple[pd.Timestamp, int]]] = {}
    for row in log.itertuples():
        deal = int(row.deal_id)
        if row.changed_field_key == "add_time":
            created[deal] = min(row.at, created.get(deal, row.at))
        elif row.changed_field_key == "stage_id":
            entries.setdefault(deal, []).append((row.at, int(row.new_value)))

    history, first_entries, report = set(), set(), {}
    for deal, visits in entries.items():
        visits.sort()
        seen: dict[int, int] = {}
        for position, (at, stage) in enumerate(visits):
            seen[stage] = seen.get(stage, 0) + 1
            left = visits[position + 1][0] if position + 1 < len(visits) else None
            previous = visits[position - 1][1] if position else None
            history.add((deal, stage, seen[stage], at, left, previous, created.get(deal)))
            if seen[stage] == 1:
                step = stage_steps.get(str(stage))
                first_entries.add((deal, stage, at, step))
                if step is not None:
                    cell = (f"{at:%Y-%m}", step)
                    report[cell] = report.get(cell, 0) + 1

    calls, called = set(), set()
    for row in export["activity"].itertuples():
        step = call_steps.get(row.type)
        if step is None or (row.done or "").lower() != "true":
            continue
        due = pd.Timestamp(row.due_to) if row.due_to else None
        calls.add((int(row.activity_id), int(row.deal_id), step, due))
        if due is not None:
            called.add((f"{due:%Y-%m}", step, int(row.deal_id)))
    for month, step, _ in called:
        report[month, step] = report.get((month, step), 0) + 1
    return Funnel(history, first_entries, calls, report)


def deleted_deals(export: dict[str, pd.DataFrame]) -> set[int]:
    """Return the deals that the list of deals of an export, if it has one, calls deleted."""
    listed = export.get("deals", pd.DataFrame())
    return {
        int(row.deal_id) for row in listed.itertuples() if str(row.is_deleted).lower() == "true"
    }


def without_deals(export: dict[str, pd.DataFrame], deals: set[int]) -> dict[str, pd.DataFrame]:
    """Return an export without the changes and activities of some deals."""
    kept = {
        name: export[name][~export[name]["deal_id"].astype(int).isin(deals)]
        for name in ("deal_changes", "activity")
    }
    return {**export, **kept}


def modelled_funnel(warehouse, environment: str) -> Funnel:
    """Read the same four things from the models of an environment."""

    def tuples(model: str, *columns: str) -> set[tuple]:
        frame = warehouse.fetch(
            f"SELECT {', '.join(columns)} FROM {warehouse.view(model, environment)}"
        )
        rows = [tuple(map(_plain, row)) for row in frame.itertuples(index=False)]
        assert len(rows) == len(set(rows)), f"{model} repeats a row"
        return set(rows)

    cells = tuples(
        "pipedrive_analytics.rep_sales_funnel_monthly", "month", "funnel_step", "deals_count"
    )
    return Funnel(
        history=tuples(
            "pipedrive_intermediate.int_deal_stage_history",
            *("deal_id", "stage_id", "stage_entry_num", "stage_entry_timestamp"),
            *("stage_exit_timestamp", "previous_stage_id", "deal_created_at"),
        ),
        first_entries={
            (deal, stage, at, _step(step))
            for deal, stage, at, step in tuples(
                "pipedrive_analytics.fct_deal_stage_history",
                *("deal_id", "stage_id", "stage_entry_timestamp", "funnel_step"),
            )
        },
        calls={
            (activity, deal, _step(step), due)
            for activity, deal, step, due in tuples(
                "pipedrive_analytics.fct_activities",
                *("activity_id", "deal_id", "funnel_step", "due_timestamp"),
            )
        },
        report={(str(month)[:7], _step(step)): int(deals) for month, step, deals in cells},
    )


def _plain(value):
    return None if pd.isna(value) else value


def _step(value) -> str | None:
    return None if value is None else f"{float(value):g}"
