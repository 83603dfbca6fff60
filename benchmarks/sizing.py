"""What a database of a size needs: disk, memory and minutes, from an empty one to a daily refresh.

    .venv/bin/python benchmarks/sizing.py                  # a million changes of deals
    .venv/bin/python benchmarks/sizing.py --scale 20 --gateway duckdb

The sample `--scale` times over is landed by the command as a user types it, prod is built from it,
and 1 % more rows are landed and refreshed. After each command: its peak of memory, that of the
PostgreSQL server, the size of the database, that of PostgreSQL's write-ahead log, and the peak of
all on the disk, temporary files included. docs/infrastructure.md has the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import typing as t
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as pytest does

from landing import databases, lengthen, rows_of, run, write_sample

from tests.support.landed import LANDED
from tests.support.warehouse import GATEWAYS, Warehouse, copy_project

PAUSE = 0.5  # seconds between two looks


class Peak:
    """The most that was seen, in MB."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.server = 0.0
        self.disk = 0.0


@contextmanager
def watched(database: Path, temporary: Path) -> t.Iterator[Peak]:
    """Look again and again at the server's memory and at the disk until the end."""
    peak, is_over = Peak(), threading.Event()

    def look() -> None:
        while not is_over.wait(PAUSE):
            peak.server = max(peak.server, memory_of_servers(database))
            peak.disk = max(peak.disk, megabytes_in(database) + megabytes_in(temporary))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def memory_of_servers(directory: Path) -> float:
    """Return the memory of the PostgreSQL server of a directory, with what is shared once."""
    megabytes = 0.0
    for process in psutil.process_iter(["name", "cmdline"]):
        with suppress(psutil.Error):
            is_ours = str(directory) in " ".join(process.info["cmdline"] or ())
            if process.info["name"] == "postgres" and is_ours:
                for server in (process, *process.children()):
                    megabytes += server.memory_full_info().pss / 2**20
    return megabytes


def megabytes_in(directory: Path) -> float:
    """Return the size of all files in a directory."""
    size = 0
    for path, _, files in os.walk(directory):  # what is gone by now counts for nothing
        for file in files:
            with suppress(OSError):
                size += os.stat(os.path.join(path, file)).st_blocks * 512
    return size / 2**20


def main() -> None:
    """Print a line for each step."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--scale", type=int, default=66, help="how many times the sample")
    parser.add_argument("--gateway", choices=GATEWAYS, help="only this one")
    options = parser.parse_args()
    print(f"{'engine':<10}{'step':<10}{'rows':>11}{'minutes':>9}", end="")
    print(f"{'peak MB':>9}{'server':>9}{'data':>9}{'log':>9}{'disk':>9}")
    for gateway in [options.gateway] if options.gateway else GATEWAYS:
        with tempfile.TemporaryDirectory(prefix="sizing_") as name:
            measure_gateway(gateway, Path(name), options.scale)


def measure_gateway(gateway: str, directory: Path, scale: int) -> None:
    """Land, build and refresh on one engine."""
    temporary, database = directory / "tmp", directory / "database"
    export = directory / "export"
    for made in (temporary, database, export):
        made.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    with databases(database) as new:
        project = copy_project(directory / "project", with_tests=True)
        warehouse = Warehouse(project, gateway, new(gateway, "pipedrive_sized") | LANDED)
        write_sample(export, scale)
        wal = database / "postgres" / ("pg_wal" if gateway == "postgres" else "none")
        empty = megabytes_in(database) - megabytes_in(wal)
        steps = {
            "land": ("land", "csv", str(export)),
            "build": ("build", "prod"),
            "land 1 %": ("land", "csv", str(export)),
            "refresh": ("refresh", "prod"),
            "again": ("refresh", "prod"),
        }
        for step, arguments in steps.items():
            if step == "land 1 %":
                lengthen(export)
            with watched(database, temporary) as peak:
                seconds, megabytes = run(warehouse, *arguments)
            print(
                f"{gateway:<10}{step:<10}{rows_of(export):>11,}{seconds / 60:>9.1f}"
                f"{megabytes:>9,.0f}{peak.server:>9,.0f}"
                f"{megabytes_in(database) - megabytes_in(wal) - empty:>9,.0f}"
                f"{megabytes_in(wal):>9,.0f}{peak.disk - empty:>9,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
