"""The answers of the marts in words, tables and plots. Every number comes from a query."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from urllib.parse import quote

from pipedrive_funnel.insights import plots
from pipedrive_funnel.insights.queries import WARNING, Activities, CohortCell, Marts, Range
from pipedrive_funnel.insights.text import (
    change,
    counted,
    days,
    escaped,
    month,
    number,
    percent,
    quarter,
    share,
    step_number,
    table,
)

NO_DEALS = "There are no deals."


def write_page(marts: Marts, directory: str) -> tuple[str, dict[str, str]]:
    """Return the page, and its plots (SVG) by their file names in `directory`."""
    page = _Page(marts, directory)
    sections: dict[str, Callable[[], list[str]]] = {
        "What is in the data": page.contents,
        "The funnel by month": page.funnel,
        "Conversion by cohort": page.cohorts,
        "Time in stage": page.time_in_stage,
        "Seasonality": page.seasonality,
        "Owners": page.owners,
        "Activities": page.activities,
        "Lost reasons": page.lost_reasons,
        "Data quality": page.data_quality,
    }
    blocks = ["# Insights", *page.head()]
    for position, (title, section) in enumerate(sections.items(), start=1):
        blocks += [f"## {position}. {title}", *section()]
    return "\n\n".join(blocks) + "\n", page.plots


class _Page:
    """A page in the making: each section is a list of paragraphs, tables and pictures."""

    def __init__(self, marts: Marts, directory: str) -> None:
        self.marts = marts
        self.directory = directory
        self.plots: dict[str, str] = {}
        self.as_of = marts.as_of()
        self.steps = marts.steps()
        self.names = {step.funnel_step: step.name for step in self.steps}
        self.stage_steps = [step for step in self.steps if step.is_stage]

    def picture(self, name: str, description: str, svg: str) -> str:
        """Keep a plot, and return the Markdown that shows it."""
        self.plots[f"{name}.svg"] = svg
        return f"![{description}]({quote(self.directory)}/{name}.svg)"

    def head(self) -> list[str]:
        """Say what the page is about."""
        first, last = self.marts.log_range()
        if first is None or last is None:
            covered = NO_DEALS
        else:
            covered = (
                f"The log of deals reaches from {first:%Y-%m-%d %H:%M:%S} to "
                f"{last:%Y-%m-%d %H:%M:%S}; times and months are UTC."
            )
        return [
            f"As of {self.as_of}. {covered}",
            "`make insights` writes this page and its plots from the marts: change the data or "
            "the models, not the page. A *deal* counts in a *step* of the funnel in the month in "
            "which it first entered the stage, or in which a sales call that was done was due.",
        ]

    def contents(self) -> list[str]:
        """Count the deals, activities and rows."""
        rows = self.marts.row_counts()
        cells = self.marts.cells()
        done = _sums((row.type, row.done) for row in self.marts.activities())
        months = sorted({cell.month for cell in cells})
        counts = {
            "Deals in the log": rows["fct_deals"],
            "Rows of the log: changes of deals": rows["int_deal_changes"],
            "Entries into stages": rows["fct_stage_entries"],
            "First entries of a deal into a stage": rows["fct_deal_stage_history"],
            "Activities, done or planned": rows["stg_activity"],
            "Types of activities": len(done),
            "Activities that are done": sum(done.values()),
            **{f"Done: {escaped(type_)}": count for type_, count in done.items()},
            "Sales calls that are done": rows["fct_activities"],
            "Users": rows["dim_users"],
            "Stages": rows["dim_stages"],
            "Steps of the funnel": rows["dim_funnel_steps"],
            "Cells of the monthly report": rows["rep_sales_funnel_monthly"],
            "Months of the monthly report": len(months),
        }
        if months:
            span = f"The monthly report goes from {month(months[0])} to {month(months[-1])}."
        else:
            span = "The monthly report is empty."
        return [
            table(["What", "Count"], ([what, number(count)] for what, count in counts.items())),
            span,
            "Rows of the marts, and of the tables below them that the data quality checks count:",
            table(["Table", "Rows"], ([f"`{name}`", number(n)] for name, n in rows.items())),
        ]

    def funnel(self) -> list[str]:
        """Show the monthly report, and the month with the most new leads."""
        legend = "\n".join(
            f"- **{step_number(step.funnel_step)}** {escaped(step.name)}" for step in self.steps
        )
        cells = {(cell.month, cell.funnel_step): cell for cell in self.marts.cells()}
        if not cells:
            return ["Deals per month and step:", legend, "No deal has reached a step."]
        months = sorted({month for month, _ in cells})
        deals = {key: cell.deals for key, cell in cells.items()}
        blocks = [
            "Deals per month and step. An empty cell is a month without any. The steps:",
            legend,
            table(
                ["Month", *(step_number(step.funnel_step) for step in self.steps)],
                (
                    [
                        month(day),
                        *(number(deals.get((day, step.funnel_step))) for step in self.steps),
                    ]
                    for day in months
                ),
            ),
            self.picture(
                "funnel_by_month",
                "Deals by month and step of the funnel",
                plots.heatmap(
                    "How many deals reached which step in which month?",
                    "Deals",
                    "Month",
                    self.steps,
                    months,
                    {key: (count, number(count)) for key, count in deals.items()},
                ),
            ),
        ]
        first = self.stage_steps[0] if self.stage_steps else None
        leads = {
            day: deals[day, first.funnel_step]
            for day in months
            if first and (day, first.funnel_step) in deals
        }
        if not first or not leads:
            return [*blocks, "No deal has reached the first stage of the funnel."]
        best = max(leads, key=lambda day: leads[day])
        return [
            *blocks,
            f"**The month with the most new leads was {month(best)}: {counted(leads[best], 'deal')}"
            f" reached {escaped(first.name)}.** What else happened in that month:",
            table(
                ["Step", "Deals", "Share of the first step", "Against the stage before"],
                (
                    [
                        escaped(self.names[cell.funnel_step]),
                        number(cell.deals),
                        percent(cell.share_of_first_step),
                        change(cell.change_from_previous_stage),
                    ]
                    for cell in cells.values()
                    if cell.month == best
                ),
            ),
            "**These shares compare different deals.** Who reached a late step in a month became "
            "a lead in an earlier one, so a share of one month's events says how busy the steps "
            "were and not how many leads get through; it can be over 100 %. The next section "
            "follows the deals themselves.",
        ]

    def cohorts(self) -> list[str]:
        """Show how far the deals that were created in a month get."""
        cells = self.marts.cohorts()
        if not cells:
            return [NO_DEALS]
        by_step: dict[Decimal, list[CohortCell]] = defaultdict(list)
        for cell in cells:
            by_step[cell.funnel_step].append(cell)
        reached = {step: sum(cell.reached for cell in by_step[step]) for step in self.names}
        in_order = {
            step: sum(cell.reached_in_order for cell in by_step[step]) for step in self.names
        }
        moves = self.marts.moves()
        return [
            "A cohort is the deals that were created in the same month. Here every deal is "
            "followed through all months, and counts for the month of its creation. It has "
            "reached a step *in any order* when it ever came there, and *in order* when it had "
            "passed every earlier stage before, one after the other. All cohorts together:",
            table(
                [
                    "Step",
                    "In any order",
                    "Share of deals",
                    "In order",
                    "Share of deals",
                    "Median days from creation, by cohort",
                ],
                (
                    [
                        escaped(name),
                        number(reached[step]),
                        percent(share(reached[step], moves.deals)),
                        number(in_order[step]),
                        percent(share(in_order[step], moves.deals)),
                        _span(cell.median_days for cell in by_step[step]),
                    ]
                    for step, name in self.names.items()
                ),
            ),
            self.picture(
                "reached_steps",
                "Deals that reached each step, in any order and in order",
                plots.reached_steps(self.steps, moves.deals, reached, in_order),
            ),
            self._gap(reached, in_order),
            f"{number(moves.deals_that_skipped)} of {counted(moves.deals, 'deal')} "
            f"({percent(share(moves.deals_that_skipped, moves.deals))}) jumped over stages, "
            f"{counted(moves.skipped_stages, 'stage')} in all, and "
            f"{number(moves.deals_that_went_back)} went back to an earlier one. A deal that has "
            "left out a stage no longer counts as in order, so that this counting shrinks from "
            "stage to stage.",
            self.picture(
                "cohorts",
                "Share of each cohort that reached each step, in any order",
                plots.heatmap(
                    "What share of a month's new deals ever reached a step?",
                    "Share of the deals created in the month, in any order (%)",
                    "Month of creation",
                    self.steps,
                    sorted({cell.month for cell in cells}),
                    {
                        (cell.month, cell.funnel_step): (
                            float(100 * cell.share),
                            f"{100 * cell.share:.0f}",
                        )
                        for cell in cells
                    },
                ),
            ),
            "The latest cohorts have had less time to get far. Calls count for a cohort only "
            "where their deal is in the log.",
        ]

    def _gap(self, reached: dict[Decimal, int], in_order: dict[Decimal, int]) -> str:
        """Say how much the two ways of counting differ at the last stage."""
        if not self.stage_steps:
            return "No step of the funnel is a stage."
        last, name = self.stage_steps[-1].funnel_step, self.stage_steps[-1].name
        return (
            f"**{counted(reached[last], 'deal')} reached {escaped(name)}, "
            f"{number(in_order[last])} of them in order.** Which of the two is the conversion "
            "depends on whether a stage that is skipped counts as passed."
        )

    def time_in_stage(self) -> list[str]:
        """Show how long deals stay in a stage."""
        stages = self.marts.stages()
        if not stages:
            return ["No deal has entered a stage."]
        blocks = [
            "The days that deals had been in a stage when they left it, over all months: their "
            "median, and their 90th percentile, both interpolated between the two nearest exits. "
            f"The deals still there, and the days since they came, are as of {self.as_of}. The "
            "log does not say whether a deal is closed: also won and lost deals stay in their "
            "last stage, and grow older there.",
            table(
                [
                    "Stage",
                    "Exits",
                    "Median",
                    "90th percentile",
                    "Still there",
                    "Their median age",
                ],
                (
                    [
                        escaped(stage.name),
                        number(stage.exits),
                        days(stage.median_days),
                        days(stage.p90_days),
                        number(stage.still_there),
                        days(stage.median_age_days),
                    ]
                    for stage in stages
                ),
            ),
        ]
        if any(stage.exits for stage in stages):
            svg = plots.time_in_stage(stages)
            blocks.append(self.picture("time_in_stage", "Days that deals stay in each stage", svg))
        return [*blocks, _first_stage(self.marts.days_to_first_stage())]

    def seasonality(self) -> list[str]:
        """Compare the months."""
        trends = self.marts.trends()
        if not trends:
            return ["No deal has reached a step."]
        months = sorted({row.month for row in trends})
        deals = {(row.month, row.funnel_step): row.deals for row in trends}
        picture = self.picture(
            "seasonality",
            "Deals per month in each step",
            plots.seasonality(self.steps, months, deals),
        )
        years = len({row.month for row in trends if row.has_previous_year})
        compared = (
            f"{number(years)} of {counted(len(months), 'month')} can be set against the same "
            "month of the year before: a season shows when it comes back, and with less than two "
            "full years it cannot be told from growth or decline."
        )
        compared += self._last_creation(months[-1])
        full_months = [day for day in months if day < self.as_of.replace(day=1)]
        if not full_months:
            return [picture, compared, "No month of the report has ended."]
        last = full_months[-1]
        quarters = {quarter(day): day for day in full_months}  # the last month of each
        ends = dict(list(quarters.items())[-5:])
        by_cell = {(row.month, row.funnel_step): row for row in trends}
        return [
            picture,
            *self._extremes(full_months, deals),
            compared,
            f"The last full month of the report, {month(last)}, against the month before, and the "
            f"sums of the last quarters (the last one up to {month(last)}; empty where the "
            "report does not cover it from its beginning):",
            table(
                ["Step", month(last), "Change", *ends],
                (
                    [
                        escaped(name),
                        number(by_cell[last, step].deals),
                        change(by_cell[last, step].month_over_month),
                        *(number(by_cell[day, step].quarter_to_date) for day in ends.values()),
                    ]
                    for step, name in self.names.items()
                ),
            ),
        ]

    def _last_creation(self, last_month: date) -> str:
        """Say when the last deal was created, if that was before the last month."""
        cohorts = {cell.month for cell in self.marts.cohorts()}
        if not cohorts or max(cohorts) >= last_month:
            return ""
        return (
            f" No deal was created after {month(max(cohorts))}: the months since then show deals "
            "that were already there, and their decline is no season."
        )

    def _extremes(
        self, months: Sequence[date], deals: dict[tuple[date, Decimal], int]
    ) -> list[str]:
        """Say in which months the first stage had the most deals and the fewest."""
        if not self.stage_steps:
            return []
        first = self.stage_steps[0]
        leads = {day: deals[day, first.funnel_step] for day in months}
        if not any(leads.values()):
            return [f"No deal has reached {escaped(first.name)} in a month that has ended."]

        def when(count: int) -> str:
            return ", ".join(month(day) for day in months if leads[day] == count)

        most, fewest = max(leads.values()), min(leads.values())
        return [
            f"**{escaped(first.name)} was strongest in {when(most)} with {counted(most, 'deal')}, "
            f"and weakest in {when(fewest)} with {counted(fewest, 'deal')}.** Only months that "
            "have ended are compared."
        ]

    def owners(self) -> list[str]:
        """Show how often deals change hands. Names of people are left out."""
        rows = self.marts.owners()
        if not rows:
            return [NO_DEALS]
        deals = sum(row.deals for row in rows)
        changed = sum(row.deals for row in rows if row.owners > 1)
        entries = self.marts.owner_entries()
        blocks = [
            f"**{number(changed)} of {counted(deals, 'deal')} ({percent(share(changed, deals))}) "
            f"changed owner.** {counted(self.marts.current_owners_count(), 'user')} own a deal "
            "now. Deals by the number of owners that they have had:",
            table(
                ["Owners", "Deals", "Share of deals", "Entries into stages", "Entries per deal"],
                (
                    [
                        number(row.owners),
                        number(row.deals),
                        percent(share(row.deals, deals)),
                        number(row.entries),
                        days(share(row.entries, row.deals)),
                    ]
                    for row in rows
                ),
            ),
        ]
        if entries.owners:
            blocks.append(
                f"The {number(entries.entries)} first entries into stages of the funnel were made "
                f"by deals of {counted(entries.owners, 'owner')}: {days(entries.median)} per owner "
                f"in the median, and {number(entries.most)} at most."
            )
        return blocks

    def activities(self) -> list[str]:
        """Show the done and the planned activities."""
        rows = self.marts.activities()
        if not rows:
            return ["There are no activities."]
        done = _sums((row.type, row.done) for row in rows)
        planned = _sums((row.type, row.planned) for row in rows)

        def line(label: str, done: int, planned: int) -> list[str]:
            total = done + planned
            return [
                label,
                number(done),
                number(planned),
                number(total),
                percent(share(done, total)),
            ]

        blocks = [
            table(
                ["Type", "Done", "Planned", "Both", "Share that is done"],
                [
                    *(line(escaped(type_), done[type_], planned[type_]) for type_ in done),
                    line("**All types**", sum(done.values()), sum(planned.values())),
                ],
            )
        ]
        undated = [row for row in rows if row.month is None]
        if len(undated) < len(rows):
            svg = plots.activities(_by_type(rows))
            blocks.append(self.picture("activities", "Activities per month and type", svg))
        if undated:
            count = sum(row.done + row.planned for row in undated)
            blocks.append(f"Without due time, and so without month: {number(count)}.")
        return blocks

    def lost_reasons(self) -> list[str]:
        """Show the reasons, and that they do not say that a deal is lost."""
        rows = self.marts.lost_reasons()
        if not rows:
            return [NO_DEALS]
        reasons = [row for row in rows if row.reason is not None]
        deals = sum(row.deals for row in rows)
        with_reason = sum(row.deals for row in reasons)
        in_last = sum(row.in_last_stage for row in reasons)
        last = escaped(self.stage_steps[-1].name) if self.stage_steps else "the last stage"
        summary = (
            f"{number(in_last)} of {counted(with_reason, 'deal')} with a lost reason had reached "
            f"{last}"
        )
        if in_last:
            summary = f"**{summary}: a lost reason is no sign that a deal is lost.**"
        else:
            summary = f"{summary}."
        return [
            table(
                ["Lost reason", "Deals", "Share of deals", f"That had reached {last}"],
                (
                    [
                        "*none*" if row.reason is None else escaped(row.reason),
                        number(row.deals),
                        percent(share(row.deals, deals)),
                        number(row.in_last_stage),
                    ]
                    for row in rows
                ),
            ),
            f"{summary} The log does not say which deals are won and which are lost, and nothing "
            "on this page does.",
        ]

    def data_quality(self) -> list[str]:
        """Show what the checks of the input have found."""
        checks = self.marts.checks()
        found = [check for check in checks if check.rows]
        clean = sorted(check.name for check in checks if not check.rows)
        usual = "".join(
            f"; *{severity}* is usual in exports, and good to know"
            for severity in sorted({check.severity for check in checks} - {WARNING})
        )
        blocks = [
            f"{number(len(found))} of {counted(len(checks), 'check')} found something, as of "
            f"{self.as_of}. A *{WARNING}* deserves a look{usual}. The share is of the rows that "
            "the check looks at. "
            "`fct_data_quality_findings` has every row that was found."
        ]
        if found:
            blocks += [
                table(
                    ["Check", ":Severity", ":What a row is", "Rows", "Deals", "Share"],
                    (
                        [
                            f"`{check.name}`",
                            check.severity,
                            escaped(check.meaning),
                            number(check.rows),
                            number(check.deals),
                            f"{percent(check.share)} of {number(check.checked_rows)}"
                            if check.share is not None
                            else "",
                        ]
                        for check in found
                    ),
                ),
                self.picture(
                    "data_quality", "Rows that each check has found", plots.data_quality(found)
                ),
            ]
        if clean:
            blocks.append(f"Found nothing: {', '.join(f'`{name}`' for name in clean)}.")
        return blocks


def _sums(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the sum of the counts of each name."""
    sums: dict[str, int] = defaultdict(int)
    for name, count in counts:
        sums[name] += count
    return dict(sums)


def _by_type(rows: Sequence[Activities]) -> dict[str, list[Activities]]:
    """Return the activities that have a month, by type."""
    dated = (row for row in rows if row.month is not None)
    return {type_: list(group) for type_, group in itertools.groupby(dated, lambda row: row.type)}


def _span(values: Iterable[Decimal | None]) -> str:
    """Return the range of the known values."""
    known = sorted(value for value in values if value is not None)
    return " to ".join(dict.fromkeys(days(value) for value in (known[:1] + known[-1:])))


def _first_stage(wait: Range) -> str:
    """Say how long deals wait for their first stage."""
    if wait.median is None:
        return "No deal entered its first stage after its creation."
    return (
        f"From its creation to its first stage a deal took {days(wait.least)} days at least, "
        f"{days(wait.median)} in the median and {days(wait.most)} at most. So the month of "
        "creation and the month in which a deal first counts in the funnel can differ."
    )
