"""Print the monthly funnel of an environment as a table, and where to look next."""

from __future__ import annotations

import argparse
import shutil
import sys
import typing as t
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal

from pipedrive_funnel import PROJECT

if t.TYPE_CHECKING:
    from sqlmesh import Context
    from sqlmesh.core.engine_adapter import EngineAdapter

Steps = Sequence[tuple[Decimal, str]]  # funnel step and name
Report = Sequence[tuple[date, Decimal, int]]  # first day of the month, funnel step, deals

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
    """Print the funnel. Return 1, and say why, when there is none to show."""
    try:
        with open_funnel(options.environment, options.gateway) as (context, schema):
            steps, report = read_funnel(context.engine_adapter, schema)
    except FunnelError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nDeals per month and funnel step in {options.environment}:\n")
    print(funnel_table(steps, report, datetime.now(UTC).date(), options.months))
    is_default = options.gateway == context.config.default_gateway
    print(_next_steps(options.environment, schema, None if is_default else options.gateway))
    return 0


class FunnelError(Exception):
    """There is no funnel that can be read. The message says why."""


@contextmanager
def open_funnel(
    environment: str,
    gateway: str | None = None,
    marts: Sequence[str] = ("rep_sales_funnel_monthly",),
) -> Iterator[tuple[Context, str]]:
    """Give a context whose engine adapter reads the marts, and the schema that they are in.

    Raises:
        FunnelError: the environment lacks one of the marts, or its database cannot be read, for
            instance because another process holds the DuckDB file or the server is down.

    """
    import duckdb  # these take seconds to import: not for --help
    import psycopg2
    from sqlmesh import Context

    context = Context(paths=PROJECT, gateway=gateway, load=False)
    schema = analytics_schema(environment)
    try:
        tables = context.engine_adapter.fetchall(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'"
        )
        if not set(marts) <= {table for (table,) in tables}:
            raise FunnelError(
                f"There is no funnel in the environment {environment}: "
                f"run `sqlmesh plan {environment}` first."
            )
        yield context, schema
    except (duckdb.Error, psycopg2.Error) as error:
        raise FunnelError(f"The funnel cannot be read: {' '.join(str(error).split())}") from error
    finally:
        context.close()


def read_funnel(adapter: EngineAdapter, schema: str) -> tuple[Steps, Report]:
    """Read the steps and the report of a schema."""
    steps = adapter.fetchall(
        f"SELECT funnel_step, kpi_name FROM {schema}.dim_funnel_steps ORDER BY funnel_step"
    )
    report = adapter.fetchall(
        f"SELECT month, funnel_step, deals_count FROM {schema}.rep_sales_funnel_monthly"
    )
    return steps, report


def analytics_schema(environment: str) -> str:
    """Return the schema in which the marts of an environment are views."""
    from sqlmesh.core.environment import Environment

    name = Environment.sanitize_name(environment)
    suffix = "" if name == "prod" else f"__{name}"
    return f"pipedrive_analytics{suffix}"


def funnel_table(steps: Steps, report: Report, today: date, months: int | None = None) -> str:
    """Lay out the last full months of a report, one line a step.

    Args:
        steps: the lines, in their order.
        report: what fills them.
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


def _next_steps(environment: str, schema: str, gateway: str | None) -> str:
    """Return what to type next, with the gateway where it is not the default one."""
    make = f" GATEWAY={gateway}" if gateway else ""
    option = f" --gateway {gateway}" if gateway else ""
    promote = f"  make prod{make}\n      promote it to prod\n" if environment != "prod" else ""
    return (
        "\nWhere to look next:\n"
        f"{promote}"
        f"  make ui{make}\n"
        "      models, columns and lineage in the browser\n"
        f'  .venv/bin/sqlmesh{option} fetchdf "SELECT * FROM {schema}.rep_sales_funnel_monthly"\n'
        "      the whole report\n"
        "  README.md\n"
        "      environments, quality tests, your own Pipedrive data\n"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
