"""How fast landing is, and how much memory it takes: rows per second, and peaks.

    .venv/bin/python benchmarks/landing.py                  # 2 million rows, both engines
    .venv/bin/python benchmarks/landing.py --scale 10 --gateway duckdb

The sample and `--scale` times it are landed by the command as a user types it, each on a database
of its own: for the first time, again without a change, and with 1 % more rows. Then rows are put
into PostgreSQL one by one, to compare. No limit is asserted: compare the ratios of one run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import typing as t
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path

import psycopg2

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as pytest does

from tests.support.init_script import ROLE
from tests.support.landing import land_files
from tests.support.server import settings_of, start_server
from tests.support.warehouse import EXPORT_TABLES, GATEWAYS, PROJECT, Warehouse, copy_project

ONE_BY_ONE = 20_000  # rows
SHIFT = 3_000_000_000  # added to ids, so that rows are new

# A process of its own, and a small one: a child's peak counts the memory of whom it is forked from
RUNNER = """
import json, resource, subprocess, sys, time
start = time.monotonic()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.monotonic() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([done.returncode, seconds, peak, done.stdout + done.stderr]))
"""


class Measured(t.NamedTuple):
    """A landing: its rows, how long it took, and the most memory it held, in MB."""

    rows: int
    seconds: float
    megabytes: float

    @property
    def rate(self) -> float:
        """Rows per second, the start of Python included."""
        return self.rows / self.seconds


def run(warehouse: Warehouse, *arguments: str) -> tuple[float, float]:
    """Run `python -m pipedrive_funnel ARGUMENTS`, and return its seconds and its peak in MB."""
    command = [sys.executable, "-m", "pipedrive_funnel", *arguments]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *command, "--gateway", warehouse.gateway],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings,
        stdout=subprocess.PIPE,
        check=True,
    )
    code, seconds, megabytes, output = json.loads(done.stdout)
    if code:
        sys.exit(output)
    return seconds, megabytes


def measure(warehouse: Warehouse, directory: Path) -> Measured:
    """Land the export in a directory."""
    return Measured(rows_of(directory), *run(warehouse, "land", "csv", str(directory)))


def rows_of(directory: Path) -> int:
    """Count the rows of an export: none of the sample's has a line break in it."""
    lines = 0
    for table in EXPORT_TABLES:
        with (directory / f"{table}.csv").open("rb") as file:
            lines += sum(1 for _ in file) - 1
    return lines


def lengthen(directory: Path) -> None:
    """Add a new row to the activities and to the log for each hundred that are there."""
    for table in ("activity", "deal_changes"):
        path = directory / f"{table}.csv"
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            rows = [
                row | {"deal_id": int(row["deal_id"]) + SHIFT}
                for row in islice(reader, 0, None, 100)
            ]
        with path.open("a", newline="") as file:
            csv.DictWriter(file, names, lineterminator="\n").writerows(rows)


@contextmanager
def databases(directory: Path) -> t.Iterator[t.Callable[[str, str], dict[str, str]]]:
    """Give a function that makes an empty database for a gateway and returns its settings."""
    server = start_server(directory / "postgres")

    def new_database(gateway: str, name: str) -> dict[str, str]:
        if gateway == "duckdb":
            path = directory / f"{name}.duckdb"
            return {"SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE": str(path)}
        server.psql(f"CREATE DATABASE {name} OWNER {ROLE['PIPELINE_USER']}")
        return settings_of(server) | {"POSTGRES_DB": name}

    try:
        yield new_database
    finally:
        server.cleanup()


def write_sample(directory: Path, scale: int) -> Path:
    """Write the sample `scale` times over, in a process of its own."""
    command = [sys.executable, "-m", "pipedrive_funnel.sample", "--out", directory]
    subprocess.run(
        [*command, "--scale", str(scale)], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL
    )
    return directory


def benchmark_landings(warehouse: Warehouse, directory: Path, scale: int) -> list[Measured]:
    """Land for the first time, again, and a longer export, and print a line for each."""
    landings = []
    for step in ("first", "unchanged", "1 % more"):
        if step == "1 % more":
            lengthen(directory)
        landing = measure(warehouse, directory)
        landings.append(landing)
        print(
            f"{warehouse.gateway:<10}{scale:>6}  {step:<10}{landing.rows:>11,}"
            f"{landing.seconds:>9.1f}{landing.rate:>12,.0f}{landing.megabytes:>9,.0f}",
            flush=True,
        )
    return landings


def benchmark_one_by_one(warehouse: Warehouse, directory: Path) -> None:
    """Print how many times faster landing is than one INSERT a row, both without a start-up."""
    path = directory / "deal_changes.csv"
    lines = path.read_text().splitlines(keepends=True)[: ONE_BY_ONE + 1]
    path.write_text("".join(lines))
    land_files(warehouse, directory, datetime(2026, 1, 1))  # imports what takes a second
    lengthen(directory)
    start = time.monotonic()
    land_files(warehouse, directory, datetime(2026, 1, 2))
    landing = rows_of(directory) / (time.monotonic() - start)
    names = ("host", "user", "password", "dbname")
    address = dict(zip(names, warehouse.settings.values(), strict=True))
    rows = list(csv.reader(lines[1:]))
    with closing(psycopg2.connect(**address)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE one_by_one (LIKE pipedrive_raw.deal_changes)")
        start = time.monotonic()
        for row in rows:
            cursor.execute("INSERT INTO one_by_one VALUES (%s, %s, %s, %s, NOW())", row)
        connection.commit()
        one_by_one = len(rows) / (time.monotonic() - start)
    print(
        f"\npostgres, {len(rows):,} rows: {one_by_one:,.0f} a second one by one in one transaction,"
        f" {landing:,.0f} through landing, checks and comparison included: "
        f"{landing / one_by_one:.1f} times as many"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--scale", type=int, default=100, help="how many times the sample")
    parser.add_argument("--gateway", choices=GATEWAYS, help="only this one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark_") as name, databases(Path(name)) as new:
        directory = Path(name)
        project = copy_project(directory / "project")
        print(f"{'engine':<10}{'scale':>6}  {'step':<10}{'rows':>11}", end="")
        print(f"{'seconds':>9}{'rows/s':>12}{'peak MB':>9}")
        for gateway in [options.gateway] if options.gateway else GATEWAYS:
            found = []
            for scale in (1, options.scale):
                warehouse = Warehouse(project, gateway, new(gateway, f"{gateway}_{scale}"))
                export = write_sample(directory / f"{gateway}_{scale}", scale)
                found.append(benchmark_landings(warehouse, export, scale))
            for step, small, large in zip(("first", "unchanged", "1 % more"), *found, strict=True):
                print(
                    f"{gateway}, {step}: at {large.rows / small.rows:.0f} times the rows "
                    f"{large.megabytes / small.megabytes:.2f} times the memory, "
                    f"{large.rate / small.rate:.1f} times the rows per second"
                )
            if gateway == "postgres":
                warehouse = Warehouse(project, gateway, new(gateway, "one_by_one"))
                benchmark_one_by_one(warehouse, write_sample(directory / "one_by_one", 2))


if __name__ == "__main__":
    main()
