"""What a change does to the numbers: the marts of two environments compared, as Markdown."""

from __future__ import annotations

import typing as t
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.markdown import escaped, number, table
from pipedrive_funnel.summary import counted
from pipedrive_funnel.terminal import say_command
from pipedrive_funnel.warehouse import Database

REPORT = "rep_sales_funnel_monthly"
CELL = ("month", "funnel_step", "kpi_name", "deals_count")  # columns of the report
CELLS_SHOWN = 20

Types = Mapping[str, str]  # of the columns of a mart, by name


@dataclass(frozen=True)
class MartDiff:
    """The differences of one mart.

    Attributes:
        name: of the mart.
        before: its rows in the environment that is compared with; None if it has no such mart.
        after: its rows in the environment; None if it has no such mart.
        added: rows with a new key.
        removed: rows whose key is gone.
        changed: rows that have another value in a column.
        columns: what is new, gone or of another type, the whole mart or columns, in words.

    """

    name: str
    before: int | None
    after: int | None
    added: int
    removed: int
    changed: int
    columns: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether there is anything to see."""
        return bool(self.added or self.removed or self.changed or self.columns)


class Cell(t.NamedTuple):
    """A cell of the monthly report that differs; 0 where there is no row."""

    month: date
    funnel_step: Decimal
    kpi_name: str
    before: int
    after: int


@dataclass(frozen=True)
class Difference:
    """The differences between two environments.

    Attributes:
        environment: the environment.
        against: the environment that it is compared with.
        marts: all marts of both, those that differ first.
        cells: cells of the report that differ, the largest differences first; None if the report
            has no such cells in one of them.
        cells_count: how many cells differ.

    """

    environment: str
    against: str
    marts: Sequence[MartDiff]
    cells: Sequence[Cell] | None
    cells_count: int


def diff(
    environment: str,
    gateway: str | None = None,
    *,
    against: str = "prod",
    markdown: Path | None = None,
) -> None:
    """Print how the marts of an environment differ from those of another, as Markdown.

    Args:
        environment: the environment.
        gateway: of config.yaml; the default one when None.
        against: the environment to compare with.
        markdown: a file to write the same text to.

    Raises:
        FunnelError: one of the environments has no marts, or the database cannot be read.

    """
    with closing(Database(gateway)) as database:
        text = as_markdown(compare(database, environment, against))
    say_command(text, indent=0)
    if markdown:
        markdown.write_text(text + "\n", encoding="utf-8")


def compare(database: Database, environment: str, against: str) -> Difference:
    """Compare the marts of two environments.

    Raises:
        FunnelError: they are the same environment, or one of them has no marts.

    """
    if database.schema_of(environment) == database.schema_of(against):
        raise FunnelError(f"{environment} cannot be compared with itself: name two environments.")
    for name in (environment, against):
        if not database.tables_of(name):
            raise FunnelError(
                f"There is no environment {name} to compare: run `sqlmesh plan {name}` first."
            )
    before, after = _sides(database, against), _sides(database, environment)
    keys = database.grains_of(environment)
    marts = [
        _compare_mart(database, name, before[name], after[name], keys.get(name, ()))
        for name in sorted(before.keys() | after.keys())
    ]
    marts.sort(key=lambda mart: not mart.differs)
    types = [[side[REPORT].columns.get(column) for column in CELL] for side in (before, after)]
    has_cells = types[0] == types[1] and None not in types[0]
    count, cells = _differing_cells(database, environment, against) if has_cells else (0, None)
    return Difference(environment, against, marts, cells, count)


# --- marts ----------------------------------------------------------------------------------------


class _Side(t.NamedTuple):
    """A mart in one of the environments: its name there, and the types of its columns.

    It has no columns where the environment has no such mart.
    """

    view: str
    columns: Types


def _sides(database: Database, environment: str) -> Mapping[str, _Side]:
    """Return the marts of an environment by name; for other names, that there is none."""
    schema, adapter = database.schema_of(environment), database.adapter
    sides = defaultdict(lambda: _Side("", {}))
    for name in database.tables_of(environment):
        types = adapter.columns(f"{schema}.{name}").items()
        columns = {column: type_.sql(adapter.dialect) for column, type_ in types}
        sides[name] = _Side(f"{schema}.{name}", columns)
    return sides


def _compare_mart(
    database: Database, name: str, before: _Side, after: _Side, key: Iterable[str]
) -> MartDiff:
    """Compare a mart by the columns that both environments have."""
    rows_before, rows_after = (
        database.adapter.fetchone(f"SELECT COUNT(*) FROM {side.view}")[0] if side.columns else None
        for side in (before, after)
    )
    common = [column for column in after.columns if column in before.columns]
    if common:
        key = [column for column in key if column in common] or common
        counts = _compare_rows(database, before, after, common, key)
    else:
        counts = (rows_after or 0, rows_before or 0, 0)
    return MartDiff(name, rows_before, rows_after, *counts, tuple(_columns(before, after)))


def _compare_rows(
    database: Database, before: _Side, after: _Side, common: Sequence[str], key: Sequence[str]
) -> tuple[int, int, int]:
    """Return how many rows were added, removed and changed.

    Equal rows cancel each other out, however often they occur. Of what is left, a row that one
    environment has and another that the other has are one changed row if they share a key.
    """
    columns = ", ".join(f'"{column}"' for column in common)
    keys = ", ".join(f'"{column}"' for column in key)
    values = ", ".join(
        f'"{column}"'
        if before.columns[column] == after.columns[column]
        else f'CAST("{column}" AS TEXT) AS "{column}"'
        for column in common
    )
    added, removed, changed = database.adapter.fetchone(
        f"""
        WITH compared AS (
          SELECT {values}, -1 AS weight FROM {before.view}
          UNION ALL
          SELECT {values}, 1 AS weight FROM {after.view}
        ), differing AS (
          SELECT {columns}, SUM(weight) AS weight
          FROM compared
          GROUP BY {columns}
          HAVING SUM(weight) <> 0
        ), keyed AS (
          SELECT
            COALESCE(SUM(weight) FILTER (WHERE weight > 0), 0) AS added,
            COALESCE(-SUM(weight) FILTER (WHERE weight < 0), 0) AS removed
          FROM differing
          GROUP BY {keys}
        )
        SELECT
          COALESCE(SUM(added - LEAST(added, removed)), 0),
          COALESCE(SUM(removed - LEAST(added, removed)), 0),
          COALESCE(SUM(LEAST(added, removed)), 0)
        FROM keyed
        """
    )
    return int(added), int(removed), int(changed)


def _columns(before: _Side, after: _Side) -> Iterator[str]:
    """Say how the columns of a mart differ."""
    if not before.columns or not after.columns:
        yield "is gone" if before.columns else "is new"
        return
    for column, type_ in after.columns.items():
        if column not in before.columns:
            yield f"`{column}` is new"
        elif type_ != before.columns[column]:
            yield f"`{column}` is {type_}, was {before.columns[column]}"
    for column in before.columns:
        if column not in after.columns:
            yield f"`{column}` is gone"


def _differing_cells(
    database: Database, environment: str, against: str
) -> tuple[int, Sequence[Cell]]:
    """Return how many cells of the report differ, and those that differ most."""
    rows = database.adapter.fetchall(
        f"""
        SELECT
          month,
          funnel_step,
          COALESCE(MAX(new_name), MAX(old_name)),
          SUM(old_count),
          SUM(new_count),
          COUNT(*) OVER ()
        FROM (
          SELECT
            month, funnel_step, kpi_name AS old_name, NULL AS new_name,
            deals_count AS old_count, 0 AS new_count
          FROM {database.schema_of(against)}.{REPORT}
          UNION ALL
          SELECT month, funnel_step, NULL, kpi_name, 0, deals_count
          FROM {database.schema_of(environment)}.{REPORT}
        ) AS cells
        GROUP BY month, funnel_step
        HAVING SUM(old_count) <> SUM(new_count)
        ORDER BY ABS(SUM(new_count) - SUM(old_count)) DESC, month, funnel_step
        LIMIT {CELLS_SHOWN}
        """
    )
    cells = [
        Cell(month, step, name, int(before), int(after))
        for month, step, name, before, after, _ in rows
    ]
    return (rows[0][-1] if rows else 0), cells


# --- Markdown -------------------------------------------------------------------------------------


def as_markdown(difference: Difference) -> str:
    """Write the differences as Markdown that can also be read as it stands."""
    environment, against = difference.environment, difference.against
    differing = [mart for mart in difference.marts if mart.differs]
    parts = [
        f"## {environment} against {against}",
        f"{len(differing)} of {counted(len(difference.marts), 'mart')} "
        f"differ{'s' if len(differing) == 1 else ''}.",
        table(
            ["mart", against, environment, "added", "removed", "changed"],
            (
                [f"`{mart.name}`", number(mart.before), number(mart.after)]
                + [number(rows or None) for rows in (mart.added, mart.removed, mart.changed)]
                for mart in difference.marts
            ),
        ),
        "\n".join(
            f"- `{mart.name}`: {', '.join(mart.columns)}" for mart in differing if mart.columns
        ),
        f"### `{REPORT}`",
        *_report(difference),
    ]
    return "\n\n".join(filter(None, parts))


def _report(difference: Difference) -> list[str]:
    """Write the cells of the report that differ."""
    if difference.cells is None:
        return [
            "Its cells are not compared: its columns differ, or an environment has no such report."
        ]
    if not difference.cells:
        return ["No cell differs."]
    count, shown = difference.cells_count, len(difference.cells)
    which = f", here the {shown} that differ most" if count > shown else ""
    return [
        f"{counted(count, 'cell')} differ{'s' if count == 1 else ''}{which}:",
        table(
            ["month", ":step", difference.against, difference.environment, "difference"],
            (
                [f"{cell.month:%Y-%m}", escaped(cell.kpi_name)]
                + [number(cell.before), number(cell.after), f"{cell.after - cell.before:+,}"]
                for cell in difference.cells
            ),
        ),
    ]
