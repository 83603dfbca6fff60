"""How many days of its budget an account takes to land, and that nothing is paid for twice.

    .venv/bin/python benchmarks/budget.py                    # 3,000 and 10,000 deals, DuckDB
    .venv/bin/python benchmarks/budget.py --deals 3000 --tokens 20000 --kills 3 --gateway postgres

The command lands from an imitation of Pipedrive that counts tokens and refuses requests when they
are spent. A day ends when the landing does, or after it was killed some times at random; the next
one begins with new tokens. Each landing is the same as a user's, but for the pauses between bursts.
docs/landing.md has the figures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as pytest does

from landing import databases

from tests.support.api_landing import TOKEN, assert_raw_is, lander_in
from tests.support.budget import Day, land_for_days, pages_of_logs, read_twice
from tests.support.pipedrive_account import random_account
from tests.support.pipedrive_server import PipedriveServer
from tests.support.warehouse import GATEWAYS, Warehouse, copy_project


def benchmark(
    warehouse: Warehouse, scratch: Path, deals: int, tokens: int, kills: int, told: bool
) -> None:
    """Land an account on a budget, and print what each day has brought."""
    start = time.monotonic()
    with (
        PipedriveServer(random_account(5, deals), TOKEN) as server,
        lander_in(warehouse.path, scratch) as lander,
    ):
        days = land_for_days(warehouse, server, tokens, told=told, kills=kills, lander=lander)
        assert_raw_is(warehouse, server.account)
        twice, pages = read_twice(server), pages_of_logs(server)
    headers = "told by headers" if told else "untold"
    print(f"\n{deals:,} deals, {tokens:,} tokens a day, {headers}: {len(days)} days")
    print(f"{'day':>6}{'tokens':>10}{'logs':>9}{'new':>8}{'kills':>7}{'refused':>9}")
    before = 0
    for number, day in enumerate(days, start=1):
        print_day(number, day, before)
        before = day.logs
    kills = sum(day.kills for day in days)
    total = sum(day.tokens for day in days)
    print(f"{total:>16,}{pages:>9,} pages of logs, {twice} of them read twice, {kills} kills")
    print(f"{total - 20 * (pages + twice):>16,} tokens for lists; {time.monotonic() - start:.0f} s")


def print_day(number: int, day: Day, before: int) -> None:
    """Print a line."""
    print(
        f"{number:>6}{day.tokens:>10,}{day.logs:>9,}{day.logs - before:>8,}"
        f"{day.kills:>7}{day.refused:>9}"
    )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deals", type=int, nargs="*", default=[3_000, 10_000])
    parser.add_argument("--tokens", type=int, nargs="*", default=[20_000, 30_000, 300_000])
    parser.add_argument("--kills", type=int, default=0, help="Landings killed on each day.")
    parser.add_argument("--untold", action="store_true", help="No header tells what is left.")
    parser.add_argument("--gateway", choices=GATEWAYS, default="duckdb")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        databases(Path(directory)) as new_database,
    ):
        for number, (deals, tokens) in enumerate(
            (deals, tokens) for deals in options.deals for tokens in options.tokens
        ):
            scratch = Path(directory) / str(number)
            path = copy_project(scratch / "project", core=True)
            database = new_database(options.gateway, f"budget_{number}")
            warehouse = Warehouse(path, options.gateway, database)
            benchmark(warehouse, scratch, deals, tokens, options.kills, not options.untold)


if __name__ == "__main__":
    main()
