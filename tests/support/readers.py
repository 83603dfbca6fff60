"""Readers of prod on PostgreSQL, who poll it while it is planned, run and killed."""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg2

from tests.support.warehouse import Warehouse

# The name of the first step, as three views have it, and the rows of the report
QUERY = """
SELECT
  (SELECT MIN(kpi_name) FROM dim_funnel_steps WHERE funnel_step = 1),
  (SELECT MIN(kpi_name) FROM fct_deal_stage_history WHERE funnel_step = 1),
  (SELECT MIN(kpi_name) FROM rep_sales_funnel_monthly WHERE funnel_step = 1),
  (SELECT COUNT(*) FROM rep_sales_funnel_monthly)
"""


def connect_as(role: str, warehouse: Warehouse) -> t.Any:
    """Connect as a role, each statement a transaction of its own."""
    connection = psycopg2.connect(
        host=warehouse.settings["POSTGRES_HOST"],
        user=role,
        dbname=warehouse.settings["POSTGRES_DB"],
    )
    connection.autocommit = True
    return connection


@dataclass
class Polls:
    """What readers have seen.

    Attributes:
        number: how often they have asked.
        slowest: the seconds that the slowest answer took.
        failures: errors, and empty reports.
        mixed: the seconds in which views showed two versions, one number for each time it began.

    """

    number: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)
    mixed: list[float] = field(default_factory=list)


@contextmanager
def polling(warehouse: Warehouse, role: str = "bi_reader") -> Iterator[Polls]:
    """Let a reader poll prod all the while."""
    ended, polls = threading.Event(), Polls()

    def poll() -> None:
        mixed_since = None
        with closing(connect_as(role, warehouse)) as connection, connection.cursor() as cursor:
            while not ended.is_set():
                begun = time.monotonic()
                try:
                    cursor.execute(QUERY)
                    *names, rows = cursor.fetchone()
                    if not rows or None in names:
                        polls.failures.append(f"saw {names} and {rows} rows")
                except psycopg2.Error as error:
                    polls.failures.append(str(error))
                    return
                now = time.monotonic()
                polls.number += 1
                polls.slowest = max(polls.slowest, now - begun)
                if len(set(names)) > 1:
                    mixed_since = mixed_since or begun
                elif mixed_since:
                    polls.mixed.append(now - mixed_since)
                    mixed_since = None
                time.sleep(0.002)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        yield polls
    finally:
        ended.set()
        poller.join()
