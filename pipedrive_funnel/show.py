"""Print the monthly funnel of an environment as a table, and where to look next."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
MONTHS_AT_MOST = 12
MONTH_WIDTH = 8  # of '2024-02' and a blank


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `show` to the command line."""
    command = commands.add_parser(
        "show", help="print the funnel of the last full months", description=__doc__
    )
    command.add_argument("environment", nargs="?", default="dev", help="dev (default) or prod, ...")
    command.add_argument("--gateway", help="gateway of config.yaml; its default unless told")
    command.add_argument("--months", type=_positive, help="months to show; as many as fit")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the funnel. Return 1 when the environment has none to show."""
    from sqlmesh import Context  # takes seconds to import: not for --help

    context = Context(paths=PROJECT, gateway=options.gateway, load=False)
    schema = analytics_schema(options.environment)
    if not context.engine_adapter.table_exists(f"{schema}.rep_sales_funnel_monthly"):
        print(
            f"There is no funnel in the environment {options.environment}: "
            f"run `sqlmesh plan {options.environment}` first.",
            file=sys.stderr,
        )
        return 1
    steps = context.engine_adapter.fetchall(
        f"SELECT funnel_step, kpi_name FROM {schema}.dim_funnel_steps ORDER BY funnel_step"
    )
    report = context.engine_adapter.fetchall(
        f"SELECT month, funnel_step, deals_count FROM {schema}.rep_sales_funnel_monthly"
    )
    print(f"\nDeals a month and funnel step in {options.environment}:\n")
    print(funnel_table(steps, report, datetime.now(UTC).date(), options.months))
    print(_next_steps(options.environment, schema))
    return 0


def analytics_schema(environment: str) -> str:
    """Return the schema in which the marts of an environment are views."""
    suffix = "" if environment == "prod" else f"__{environment}"
    return f"pipedrive_analytics{suffix}"


def funnel_table(
    steps: Sequence[tuple[Decimal, str]],
    report: Sequence[tuple[date, Decimal, int]],
    today: date,
    months: int | None = None,
) -> str:
    """Lay out the last full months of a report, one line a step.

    Args:
        steps: (funnel step, name) of each line, in their order.
        report: (first day of the month, funnel step, deals).
        today: the month of this day (UTC) has not ended and is left out.
        months: how many to show; as many as fit the terminal when None, 12 at most.

    """
    label_width = max((len(name) for _, name in steps), default=0)
    if months is None:
        room = shutil.get_terminal_size().columns - label_width
        months = max(1, min(MONTHS_AT_MOST, room // MONTH_WIDTH))
    this_month = today.replace(day=1)
    shown = sorted({month for month, _, _ in report if month < this_month})[-months:]
    if not shown:
        return "  no deals in a full month"
    deals = {(month, step): count for month, step, count in report}
    lines = [" " * label_width + "".join(f"{month:%Y-%m}".rjust(MONTH_WIDTH) for month in shown)]
    for step, name in steps:
        cells = (str(deals.get((month, step), "")) for month in shown)
        lines.append(name.ljust(label_width) + "".join(c.rjust(MONTH_WIDTH) for c in cells))
    return "\n".join(line.rstrip() for line in lines)


def _next_steps(environment: str, schema: str) -> str:
    promote = "  make prod           promote it to prod\n" if environment != "prod" else ""
    return (
        "\nWhere to look next:\n"
        f"{promote}"
        "  make ui             models, columns and lineage in the browser\n"
        f'  .venv/bin/sqlmesh fetchdf "SELECT * FROM {schema}.rep_sales_funnel_monthly"\n'
        "  README.md           environments, quality tests, your own Pipedrive data\n"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
