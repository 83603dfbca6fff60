"""Which change logs to read, and in which order: a log costs as much as a list of 1,000 deals."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pipedrive_funnel.landing.api.store import Listed, Log

DAY = timedelta(days=1)
SWEPT_AGAIN = 7 * DAY  # after a log was read
SWEPT_A_DAY = 50  # logs: 1,000 tokens


class Wanted(t.NamedTuple):
    """A deal whose change log is to be read."""

    deal: Listed
    is_sweep: bool = False


def logs_to_read(
    deals: Iterable[Listed],
    logs: Mapping[int, Log],
    *,
    pipeline_id: int | None,
    at: datetime,
    all_since: datetime | None = None,
) -> list[Wanted]:
    """Return the deals whose change logs are to be read, the most wanted ones first.

    First come logs that were never asked for and those of deals that differ from what they were
    then, then those that `--full` asks for, and then the sweep: a few logs a day of deals that were
    updated and look the same, for what came and went in between, and of those that were refused.
    Of each, those of the pipeline come before others, and new deals before old ones.

    Args:
        deals: as they are listed now.
        logs: what is known, by deal.
        pipeline_id: the chosen pipeline, if any.
        at: the time now.
        all_since: read all logs that were not asked for since.

    """
    first, again, rest = [], [], []
    for deal in deals:
        log = logs.get(deal.id)
        if log is None or _differs(deal, log):
            first.append(deal)
        elif all_since and log.asked_at < all_since:
            again.append(deal)
        elif _is_due(deal, log, at):
            rest.append(deal)
    swept = sum(log.is_sweep and log.asked_at > at - DAY for log in logs.values())
    rest.sort(key=lambda deal: logs[deal.id].asked_at)
    rest = rest[: max(0, SWEPT_A_DAY - swept)]

    def rank(deal: Listed) -> tuple:
        return pipeline_id is None or deal.pipeline_id == pipeline_id, deal.add_time, deal.id

    return [
        *(Wanted(deal) for part in (first, again) for deal in sorted(part, key=rank, reverse=True)),
        *(Wanted(deal, is_sweep=True) for deal in sorted(rest, key=rank, reverse=True)),
    ]


def _differs(deal: Listed, log: Log) -> bool:
    """Tell whether a log that was read lacks something."""
    if log.refusal is not None:
        return False
    if not log.is_settled:
        return True
    return deal.update_time != log.update_time and deal.state != log.state


def _is_due(deal: Listed, log: Log, at: datetime) -> bool:
    """Tell whether a log can be in the sweep: a refused one daily, another one weekly."""
    if log.refusal is not None:
        return log.asked_at <= at - DAY
    return deal.update_time != log.update_time and log.asked_at <= at - SWEPT_AGAIN
