"""The pipelines of a Pipedrive account: the chosen one, and funnel steps made from it."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from pipedrive_funnel.landing.api.client import Client
from pipedrive_funnel.landing.api.meter import Meter
from pipedrive_funnel.landing.api.settings import ApiError, Settings
from pipedrive_funnel.landing.api.tables import ENDPOINTS, MIRROR, convert

if t.TYPE_CHECKING:
    from pipedrive_funnel.warehouse import Database

CALLS = {  # key of the activity type -> funnel step and label
    "meeting": ("2.1", "Sales Call 1"),
    "sc_2": ("3.1", "Sales Call 2"),
}


class Suggestion(t.NamedTuple):
    """A first version of seeds/funnel_steps.csv.

    Attributes:
        steps: its rows.
        outside: the ids of the account's other stages: of other pipelines, and deleted ones. Deals
            may have been there before, and that is no sign of a missing step.

    """

    steps: list[tuple[str, str, str, str]]
    outside: list[int]


def suggest_steps(settings: Settings) -> Suggestion:
    """Suggest funnel steps from the account's own stages.

    Each stage of the pipeline becomes a step, in the pipeline's order, and so do the two sales
    calls if the account has their activity types.

    Raises:
        ApiError: the account cannot be read, or has several pipelines and none is chosen.

    """
    with Client(settings, Meter(settings)) as client:
        stages, types = (
            [*convert(client.rows(ENDPOINTS[name]), ENDPOINTS[name]).rows.values()]
            for name in ("stages", "activity_types")
        )
    there = [row for row in stages if not row["is_deleted"]]
    there.sort(key=lambda row: (row["order_nr"] or 0, row["id"]))
    pipelines = _pipelines((row["pipeline_id"], row["name"]) for row in there)
    chosen = settings.pipeline_id
    if chosen is None and len(pipelines) == 1:
        (chosen,) = pipelines
    if chosen not in pipelines:
        raise _no_pipeline(chosen, pipelines)
    of_pipeline = [row for row in there if row["pipeline_id"] == chosen]
    steps = [
        (str(number), f"Step {number}: {row['name']}", "stage", str(row["id"]))
        for number, row in enumerate(of_pipeline, start=1)
    ]
    keys = {row["key_string"] for row in types}
    steps += [
        (step, f"Step {step}: {label}", "activity", key)
        for key, (step, label) in CALLS.items()
        if key in keys
    ]
    inside = {row["id"] for row in of_pipeline}
    outside = sorted(row["id"] for row in stages if row["id"] not in inside)
    return Suggestion(sorted(steps, key=lambda step: float(step[0])), outside)


def check_pipeline(settings: Settings, database: Database) -> None:
    """Make sure that the account has the chosen pipeline.

    Raises:
        ApiError: the account does not have it.

    """
    if settings.pipeline_id is None:
        return
    stages = f"SELECT pipeline_id, name FROM {MIRROR}.stages ORDER BY order_nr, id"
    pipelines = _pipelines(database.adapter.fetchall(stages))
    if settings.pipeline_id not in pipelines:
        raise _no_pipeline(settings.pipeline_id, pipelines)


def _pipelines(stages: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
    """Return the stage names of each pipeline, from rows of pipeline and stage name."""
    pipelines: dict[int, list[str]] = {}
    for pipeline, name in stages:
        pipelines.setdefault(pipeline, []).append(name)
    return dict(sorted(pipelines.items()))


def _no_pipeline(pipeline_id: int | None, pipelines: dict[int, list[str]]) -> ApiError:
    if not pipelines:
        return ApiError("The account has no stages: create a pipeline in Pipedrive first.")
    which = "several pipelines" if pipeline_id is None else f"no pipeline {pipeline_id}"
    listed = ", ".join(f"{number} ({', '.join(names)})" for number, names in pipelines.items())
    return ApiError(f"The account has {which}: set PIPEDRIVE_PIPELINE_ID to one of {listed}.")
