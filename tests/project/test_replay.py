"""The sample, replayed as it happened, is the sample at once: its changes arrive with the days."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tests.support.warehouse import MODELS, Warehouse

HISTORY = "pipedrive_intermediate.int_deal_stage_history"
FEED_BEGINS, FEED_ENDS = datetime(2024, 1, 15), datetime(2025, 3, 12)  # of the sample


OF_A_DAY = (  # the two are planned on different ones
    "pipedrive_analytics.rep_pipeline_monthly",
    "pipedrive_analytics.rep_forecast_monthly",
)
SEEDS = {"duckdb": 1, "postgres": 2}


@pytest.mark.again
def test_sample_in_intervals_cut_at_random_is_the_sample_at_once(
    gateway: str, samples: t.Callable[[str], Warehouse], new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Plans, runs of whole days and refreshes within a day follow each other as chance has it.

    The replay for `make test-faults` has what became of the deals, too.
    """
    replayed = new_warehouse(gateway, core=True, outcomes=gateway == "postgres")
    draw = np.random.default_rng(SEEDS[gateway])
    cuts = [FEED_BEGINS + share * (FEED_ENDS - FEED_BEGINS) for share in sorted(draw.random(6))]
    steps = [
        ("plan", lambda at: replayed.plan("prod", execution_time=at)),
        ("run", lambda at: replayed.run("prod", execution_time=at)),
        ("refresh", lambda at: replayed.run("prod", execution_time=at, ignore_cron=True)),
    ]
    order = [0, 1, *draw.permutation([0, 1, 1, 2, 2]), 1]
    times = [cuts[0], cuts[0] + timedelta(days=1), *cuts[1:], FEED_ENDS + timedelta(days=2)]
    sizes = []
    for at, number in zip(times, order, strict=True):
        name, step = steps[number]
        outcome = step(at)
        assert outcome.error is None, f"{name} at {at}: {outcome.output}"
        sizes.append(len(replayed.table(HISTORY, "prod")))
    assert sizes[0] > 0 and sizes == sorted(sizes) and len(set(sizes)) > 5, "cuts nothing"
    at_once = samples(gateway)
    for model in replayed.context.models.values():
        if not model.kind.is_external and model.name not in OF_A_DAY:
            pd.testing.assert_frame_equal(
                replayed.table(model.name, "prod"), at_once.table(model.name)
            )


@pytest.mark.again
def test_sample_replayed_in_runs_is_the_sample_at_once(
    gateway: str, samples: t.Callable[[str], Warehouse], new_warehouse: t.Callable[..., Warehouse]
) -> None:
    """Days, a month and the rest: the sample's changes arrive when they happened."""
    replayed = new_warehouse(gateway, core=True, audited=False)
    assert replayed.plan("prod", execution_time="2024-06-01").error is None
    half_way = len(replayed.table(HISTORY, "prod"))
    for day in ("2024-06-02", "2024-06-03", "2024-07-05", "2026-11-01"):
        outcome = replayed.run("prod", execution_time=day)
        assert outcome.error is None, outcome.output
    at_once = samples(gateway)
    assert 0 < half_way < len(at_once.table(HISTORY))
    for model in MODELS:
        pd.testing.assert_frame_equal(replayed.table(model, "prod"), at_once.table(model))
