"""The plots of the page, as SVG. The same numbers give the same file, byte for byte.

Colours are those of Okabe and Ito, which colour-blind people can tell apart.
"""

from __future__ import annotations

import functools
import io
import math
import typing as t
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipedrive_funnel.insights.queries import WARNING, Activities, Check, Stage, Step
from pipedrive_funnel.insights.text import days, number, percent, share

BLUE, ORANGE, GREY, INK = "#0072B2", "#E69F00", "#C8C8C8", "#222222"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.facecolor": "white",  # readable in dark mode, too
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "pipedrive_funnel",
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollars
    "xtick.color": INK,
    "ytick.color": INK,
}
WIDTH = 10.0  # inches
LABELLED_MONTHS = 18  # with more the cells of a heatmap are too small for numbers

P = t.ParamSpec("P")


def _plot(draw: Callable[P, Figure]) -> Callable[P, str]:
    """Turn a function that draws a plot into one that returns SVG, whatever the user's settings."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        file = io.StringIO()
        with style.context(["default", STYLE]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for it
            figure = draw(*args, **kwargs)
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"

    return drawn


@_plot
def heatmap(
    title: str,
    unit: str,
    month_label: str,
    steps: Sequence[Step],
    months: Sequence[date],
    cells: Mapping[tuple[date, Decimal], tuple[float, str]],
) -> Figure:
    """Draw steps against months; a cell has a value and its label, and may be missing."""
    figure, axes = _figure(title, 0.36 * len(steps) + 0.9)
    rows = [
        [cells.get((day, step.funnel_step), (math.nan, ""))[0] for day in months] for step in steps
    ]
    top = max((value for value, _ in cells.values()), default=0) or 1
    mesh = axes.pcolormesh(rows, cmap="Blues", vmin=0, vmax=top, edgecolors="white", linewidth=1.5)
    if len(months) <= LABELLED_MONTHS:
        for y, step in enumerate(steps):
            for x, day in enumerate(months):
                value, label = cells.get((day, step.funnel_step), (0, ""))
                colour = "white" if value > 0.6 * top else INK
                axes.text(x + 0.5, y + 0.5, label, ha="center", va="center", color=colour)
    axes.set_yticks([y + 0.5 for y in range(len(steps))], [step.name for step in steps])
    axes.invert_yaxis()
    _month_ticks(axes, months, LABELLED_MONTHS, 0.5)
    axes.set_xlabel(month_label)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, label=unit, pad=0.01, ticks=MaxNLocator(6, integer=True))
    bar.outline.set_visible(False)
    return figure


@_plot
def reached_steps(
    steps: Sequence[Step],
    deals: int,
    reached: Mapping[Decimal, int],
    in_order: Mapping[Decimal, int],
) -> Figure:
    """Draw how many deals reached each step, in any order and in order."""
    figure, axes = _figure("How many deals got how far?", 0.44 * len(steps) + 0.7)
    for offset, counts, colour, label in (
        (-0.2, reached, BLUE, "in any order"),
        (0.2, in_order, ORANGE, "in order, no stage skipped"),
    ):
        values = [counts[step.funnel_step] for step in steps]
        bars = axes.barh(
            [y + offset for y in range(len(steps))], values, height=0.38, color=colour, label=label
        )
        labels = [f"{number(value)} ({percent(share(value, deals))})" for value in values]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
    _step_ticks(axes, [step.name for step in steps])
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"Deals (share of all {number(deals)})")
    axes.legend(loc="lower right")
    return figure


@_plot
def time_in_stage(stages: Sequence[Stage]) -> Figure:
    """Draw the median and the 90th percentile of the days in each stage."""
    stages = [stage for stage in stages if stage.median_days is not None]
    figure, axes = _figure("How long do deals stay in a stage?", 0.36 * len(stages) + 0.8)
    rows = range(len(stages))
    medians = [float(stage.median_days or 0) for stage in stages]
    p90s = [float(stage.p90_days or 0) for stage in stages]
    axes.hlines(rows, medians, p90s, color=GREY, linewidth=3, zorder=1)
    axes.scatter(medians, rows, s=60, color=BLUE, label="median")
    axes.scatter(p90s, rows, s=60, color=ORANGE, marker="D", label="90th percentile")
    for y, stage in enumerate(stages):
        place = {"textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(days(stage.median_days), (medians[y], y), (-8, 0), ha="right", **place)
        axes.annotate(days(stage.p90_days), (p90s[y], y), (8, 0), ha="left", **place)
    _step_ticks(axes, [stage.name for stage in stages])
    axes.set_xlim(-0.06 * (max(p90s) or 1), 1.08 * (max(p90s) or 1))  # room for the numbers
    axes.set_xlabel("Days from entry to exit")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@_plot
def seasonality(
    steps: Sequence[Step], months: Sequence[date], deals: Mapping[tuple[date, Decimal], int]
) -> Figure:
    """Draw the deals per month of each step, one panel per step."""
    figure, panels = _panels("When do deals reach the steps? (scales differ)", len(steps), 3)
    for axes, step in zip(panels, steps, strict=True):
        values = [deals[day, step.funnel_step] for day in months]
        # Bars and the gaps between them are one shape, which keeps the file small
        edges = [x + side for x in range(len(months)) for side in (-0.4, 0.4)]
        heights = [height for value in values for height in (value, 0)][:-1]
        colour = BLUE if step.is_stage else ORANGE
        axes.stairs(heights, edges, fill=True, color=colour)
        axes.set_title(step.name)
        axes.set_ylim(0, 1.05 * (max(values) or 1))
        _count_axis(axes, months, 5)
    kinds = [
        Patch(color=BLUE, label="entered the stage"),
        Patch(color=ORANGE, label="had the call"),
    ]
    figure.legend(handles=kinds, loc="outside upper right", ncols=2)
    figure.supylabel("Deals per month", size=9)
    return figure


@_plot
def activities(types: Mapping[str, Sequence[Activities]]) -> Figure:
    """Draw the done and planned activities per month, one panel per type."""
    figure, panels = _panels("Is more done than is still planned?", len(types), 2)
    counts = {
        (row.type, row.month): (row.done, row.planned) for rows in types.values() for row in rows
    }
    months = sorted({day for _, day in counts if day})
    top = max(max(pair) for pair in counts.values())
    for axes, type_ in zip(panels, types, strict=True):
        done, planned = zip(*(counts.get((type_, day), (0, 0)) for day in months), strict=True)
        places = range(len(months))
        axes.plot(places, done, color=BLUE, marker="o", markersize=4, label="done")
        axes.plot(
            places, planned, color=ORANGE, marker="D", markersize=4, linestyle="--", label="planned"
        )
        axes.set_title(type_)
        axes.set_ylim(0, 1.1 * top)
        _count_axis(axes, months, 12)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    figure.supylabel("Activities per month", size=9)
    return figure


@_plot
def data_quality(checks: Sequence[Check]) -> Figure:
    """Draw how many rows the checks have found."""
    checks = sorted(checks, key=lambda check: (-check.rows, check.name))
    figure, axes = _figure("How many rows do the checks find?", 0.3 * len(checks) + 0.8)
    for severity in sorted({check.severity for check in checks}, key=lambda name: name != WARNING):
        rows = [y for y, check in enumerate(checks) if check.severity == severity]
        values = [checks[y].rows for y in rows]
        if rows:
            # From a half: a bar of a single row would have no length on a logarithmic scale from 1
            widths = [value - 0.5 for value in values]
            colour = ORANGE if severity == WARNING else BLUE
            bars = axes.barh(rows, widths, left=0.5, height=0.7, color=colour, label=severity)
            axes.bar_label(bars, [number(value) for value in values], padding=3, fontsize=8)
    _step_ticks(axes, [check.name for check in checks])
    axes.set_xscale("log")
    axes.set_xlim(0.5, 2 * max(check.rows for check in checks))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    axes.minorticks_off()
    axes.set_xlabel("Rows found (every line is ten times the one before)")
    axes.legend(loc="lower right")
    return figure


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one plot."""
    figure, (axes,) = _panels(title, 1, 1, height)
    return figure, axes


def _panels(
    title: str, count: int, columns: int, height: float = 1.7
) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a title and `count` plots, each `height` inches high."""
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels[count:]:
        axes.remove()
    return figure, list(panels[:count])


def _step_ticks(axes: Axes, names: Sequence[str]) -> None:
    """Label the rows of a plot with horizontal bars, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _count_axis(axes: Axes, months: Sequence[date], labels: int) -> None:
    """Set up the axes of a panel with counts per month."""
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.grid(axis="y")
    axes.tick_params(labelsize=8)
    _month_ticks(axes, months, labels, 0)


def _month_ticks(axes: Axes, months: Sequence[date], labels: int, offset: float) -> None:
    """Label the months, or every second, third, ... if there are more months than labels."""
    years = math.ceil(len(months) / (12 * labels))
    every = next((n for n in (1, 2, 3, 4, 6) if len(months) <= n * labels), 12 * years)
    places = range(0, len(months), every)
    in_years = [months[place].year for place in places]
    names = [
        f"{months[place]:%m}" + (f"\n{year}" if year != year_before else "\n ")
        for place, year, year_before in zip(places, in_years, [None, *in_years], strict=False)
    ]
    axes.set_xticks([place + offset for place in places], names)
