"""Print the monthly funnel of an environment."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal

from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.terminal import console, funnel, numbers, say, say_command, say_next
from pipedrive_funnel.warehouse import Database

Steps = Sequence[tuple[Decimal, str]]  # funnel step and name
Report = Sequence[tuple[date, Decimal, int]]  # first day of the month, funnel step, deals

MONTHS_AT_MOST = 12
MONTH_WIDTH = 8  # of '2024-02' and a blank
NO_PROD = "There is no prod yet, see `make prod`: this is dev."


def show(
    environment: str,
    gateway: str | None = None,
    *,
    months: int | None = None,
    everything: bool = False,
    as_csv: bool = False,
) -> None:
    """Print the funnel: its latest months, or all of it, as a table or as CSV.

    Raises:
        FunnelError: there is no funnel to show, or the database cannot be read.

    """
    with open_funnel(environment, gateway) as database:
        if as_csv:
            _write_csv(*read_funnel(database, environment))
        elif everything:
            _say_everything(database, environment)
        else:
            from pipedrive_funnel.build import next_steps

            say_funnel(database, environment, months)
            say_next(next_steps(database, environment))


def latest_environment(database: Database) -> str:
    """Return prod, or dev as long as there is no prod."""
    return "prod" if database.tables_of("prod") else "dev"


@contextmanager
def open_funnel(
    environment: str,
    gateway: str | None = None,
    marts: Sequence[str] = ("rep_sales_funnel_monthly",),
) -> Iterator[Database]:
    """Give the database of an environment that has the marts.

    Raises:
        FunnelError: the environment lacks one of them, or the database cannot be reached.

    """
    with closing(Database(gateway)) as database:
        if not set(marts) <= database.tables_of(environment):
            raise FunnelError(
                f"There is no funnel in the environment {environment}: "
                f"run `sqlmesh plan {environment}` first."
            )
        yield database


def read_funnel(database: Database, environment: str) -> tuple[Steps, Report]:
    """Read the steps and the report of an environment."""
    schema = database.schema_of(environment)
    steps = database.adapter.fetchall(
        f"SELECT funnel_step, kpi_name FROM {schema}.dim_funnel_steps ORDER BY funnel_step"
    )
    report = database.adapter.fetchall(
        "SELECT month, funnel_step, deals_count "
        f"FROM {schema}.rep_sales_funnel_monthly ORDER BY month, funnel_step"
    )
    return steps, report


def say_funnel(database: Database, environment: str, months: int | None = None) -> None:
    """Print the funnel's latest months, and say how many of all months these are."""
    steps, report = read_funnel(database, environment)
    today = datetime.now(UTC).date()
    shown = months_to_show(steps, report, today, months or _months_that_fit(steps))
    table = funnel_table(steps, report, shown, title=f"Deals per month, {environment}")
    console.print(table, markup=False, soft_wrap=True)
    all_months = {month for month, _, _ in report}
    if all_months > set(shown):
        gateway = None if database.is_default else database.gateway
        is_early = max(all_months) > max(shown, default=max(all_months))
        later = ", later ones are nearly empty or not over" * is_early
        say(f"{len(shown)} of {len(all_months)} months{later}. All of them:")
        say_command(funnel(f"show {environment} --all", gateway))


def _months_that_fit(steps: Steps) -> int:
    label_width = max((len(name) for _, name in steps), default=0)
    return max(1, min(MONTHS_AT_MOST, (console.width - label_width) // MONTH_WIDTH))


def months_to_show(steps: Steps, report: Report, today: date, count: int) -> list[date]:
    """Return the latest months worth showing: those that have deals.

    The last one is the latest full month in which deals reached at least half of the steps, and
    among them the earliest step that any month has. Later months hold only the tail of the
    funnel, or are the month of `today`, which has not ended.

    Args:
        steps: all steps.
        report: the deals in them.
        today: a day (UTC).
        count: the most months to return.

    """
    this_month = today.replace(day=1)
    filled: dict[date, set[Decimal]] = {}
    for month, step, _ in report:
        if month < this_month:
            filled.setdefault(month, set()).add(step)
    first = min((step for reached in filled.values() for step in reached), default=None)
    lively = [
        month
        for month, reached in filled.items()
        if first in reached and 2 * len(reached) >= len(steps)
    ]
    last = max(lively or filled, default=this_month)
    return sorted(month for month in filled if month <= last)[-count:]


def funnel_table(steps: Steps, report: Report, months: Sequence[date], title: str = "") -> str:
    """Lay out months of a report, one line per step."""
    if not months:
        return f"{title}: no deals in a full month"
    label_width = max(len(name) for _, name in steps)
    deals = {(month, step): count for month, step, count in report}

    def line(label: str, cells: Iterable[object]) -> str:
        return label.ljust(label_width) + "".join(str(cell).rjust(MONTH_WIDTH) for cell in cells)

    lines = [
        line(title[:label_width], (f"{month:%Y-%m}" for month in months)),
        *(line(name, (deals.get((month, step), "") for month in months)) for step, name in steps),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _say_everything(database: Database, environment: str) -> None:
    """Print all months, one line each, and the steps that the columns stand for."""
    steps, report = read_funnel(database, environment)
    deals = {(month, step): count for month, step, count in report}
    table = numbers(["month", *(f"{step.normalize():f}" for step, _ in steps)])
    for month in sorted({month for month, _, _ in report}):
        table.add_row(f"{month:%Y-%m}", *(str(deals.get((month, step), "")) for step, _ in steps))
    say(f"Deals per month and funnel step in {environment}:\n")
    console.print(table)
    say()
    for _, name in steps:
        say(name, indent=2)


def _write_csv(steps: Steps, report: Report) -> None:
    """Print the rows of the report."""
    names = dict(steps)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["month", "funnel_step", "kpi_name", "deals_count"])
    writer.writerows([month, step, names[step], count] for month, step, count in report)
