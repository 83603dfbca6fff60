"""Days of landing an account on its budget of tokens: what each costs, and what is kept of it."""

from __future__ import annotations

import re
import typing as t
from collections import Counter
from dataclasses import dataclass
from random import Random

from tests.support.api_landing import (
    KILLED,
    MIRRORED,
    Lander,
    environment,
    let_days_pass,
    wait_until_free,
)
from tests.support.command import Done, run_command
from tests.support.landing import landing_database
from tests.support.pipedrive_server import CHANGELOG, MAX_LIMIT, PipedriveServer
from tests.support.warehouse import Warehouse

LONGEST = 200  # days


@dataclass(frozen=True)
class Day:
    """A day of landing.

    Attributes:
        tokens: spent, by the server's count.
        logs: change logs in the mirror at its end.
        kills: landings that were killed.
        refused: requests that the server has refused.
        said: what the last landing has said at its end.

    """

    tokens: int
    logs: int
    kills: int
    refused: int
    said: str


def land_for_days(
    warehouse: Warehouse,
    server: PipedriveServer,
    tokens: int,
    *,
    told: bool = True,
    kills: int = 0,
    lander: Lander | None = None,
    full: bool = False,
    **variables: str,
) -> list[Day]:
    """Land with so many tokens a day, until all change logs are read.

    Args:
        warehouse: where.
        server: the imitation of Pipedrive.
        tokens: of the company, a day.
        told: whether its headers say how many are left.
        kills: landings that are killed on each day, after a random number of requests.
        lander: what lands; needed for kills.
        full: say `--full` on the first day.
        **variables: of the environment.

    """
    days: list[Day] = []
    random = Random(tokens)
    server.requests.clear()
    while len(days) < LONGEST:
        server.give_tokens(tokens, told=told)
        before = len(server.requests)
        killed = 0
        for turn in range(kills + 1):
            if turn < kills:
                assert lander
                server.after(random.randrange(1, tokens // 50), lander.kill)
            arguments = ("--full",) if full and not days and not turn else ()
            done = _land(warehouse, server, lander, *arguments, **variables)
            with server._lock:
                server._callbacks.clear()  # of a landing that ended before
            killed += done.code == KILLED
            wait_until_free(warehouse)
        assert done.code == 0, done.err
        refused = sum(request.status != 200 for request in server.requests[before:])
        days.append(Day(server.tokens_spent, logs_read(warehouse), killed, refused, done.out))
        if "go on" not in (text := " ".join(done.out.split())) and "goes on" not in text:
            return days
        let_days_pass(warehouse)
    raise AssertionError(f"not landed in {LONGEST} days: {days[-1]}")


def _land(
    warehouse: Warehouse,
    server: PipedriveServer,
    lander: Lander | None,
    *arguments: str,
    **variables: str,
) -> Done:
    settings = environment(server, **variables)
    if lander:
        return lander.land(warehouse, *arguments, **settings)
    return run_command(warehouse, "land", "api", *arguments, **settings)


def logs_read(warehouse: Warehouse) -> int:
    """Return how many change logs a mirror has."""
    assert "changelogs" in MIRRORED
    with landing_database(warehouse) as database:
        (logs,) = database.adapter.fetchone(
            "SELECT COUNT(*) FROM pipedrive_api.logs WHERE read_at IS NOT NULL"
        )
    return logs


def read_twice(server: PipedriveServer) -> int:
    """Return how many pages of change logs the server has given more than once."""
    pages = Counter(
        (request.path, request.params.get("cursor"))
        for request in server.requests
        if request.status == 200 and CHANGELOG.fullmatch(request.path)
    )
    return sum(times - 1 for times in pages.values())


def pages_of_logs(server: PipedriveServer) -> int:
    """Return how many pages all change logs have."""
    lengths = map(len, server.account.changelogs.values())
    return sum(max(1, -(-length // MAX_LIMIT)) for length in lengths)


def tokens_said(days: t.Iterable[Day]) -> list[int]:
    """Return the tokens that the summaries say were spent."""
    return [
        int(match[1].replace(",", ""))
        for day in days
        for match in re.finditer(r"([\d,]+) tokens spent", day.said)
    ]
