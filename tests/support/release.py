"""A release: the mapping of steps is changed, and prod is planned in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.command import edit_file
from tests.support.warehouse import REPORT, Warehouse


def started(warehouse: Warehouse, *arguments: str) -> subprocess.Popen[str]:
    """Start one of our commands in a process of its own."""
    warehouse.close()
    return subprocess.Popen(
        [sys.executable, "-m", "pipedrive_funnel", *arguments, "--gateway", warehouse.gateway],
        cwd=warehouse.path,
        env=os.environ | warehouse.settings | {"SQLMESH__LINTER__ENABLED": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rename_first_step(warehouse: Warehouse, number: int) -> str:
    """Change the mapping, so that all facts and the report are new versions."""
    steps = warehouse.path / "seeds" / "funnel_steps.csv"
    (first,) = [line for line in steps.read_text().splitlines() if line.startswith("1,")]
    name = f"Step 1: Lead {number}"
    edit_file(steps, first, f"1,{name},stage,1")
    return name


def first_step(warehouse: Warehouse) -> set[str]:
    """Return the names of the first step in the report of prod."""
    report = warehouse.table(REPORT, "prod")
    return set(report.loc[report["funnel_step"] == "1.0", "kpi_name"])
