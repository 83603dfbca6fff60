"""The queries on the marts. DuckDB and PostgreSQL give the same answers.

Texts are sorted here and not in the database, whose collation would decide on their order.
"""

from __future__ import annotations

import typing as t
from datetime import date, datetime
from decimal import Decimal

if t.TYPE_CHECKING:
    from sqlmesh.core.engine_adapter import EngineAdapter

# The marts that the page reads
MARTS = (
    "dim_deal_owner_history",
    "dim_funnel_steps",
    "fct_deal_activities",
    "fct_deals",
    "fct_stage_entries",
    "rep_data_quality",
    "rep_funnel_cohorts",
    "rep_owner_performance_monthly",
    "rep_sales_funnel_conversion",
    "rep_sales_funnel_trends",
    "rep_time_in_stage",
)
WARNING = "warning"  # the severity that deserves a look


class Step(t.NamedTuple):
    """A step of the funnel."""

    funnel_step: Decimal
    name: str
    is_stage: bool


class Cell(t.NamedTuple):
    """A month and step of the monthly report, compared with the month's other steps."""

    month: date
    funnel_step: Decimal
    deals: int
    share_of_first_step: Decimal | None
    change_from_previous_stage: Decimal | None


class CohortCell(t.NamedTuple):
    """A cohort, by its month of creation, and a step."""

    month: date
    funnel_step: Decimal
    deals: int
    reached: int
    reached_in_order: int
    share: Decimal
    median_days: Decimal | None


class Moves(t.NamedTuple):
    """The deals by how they move through the stages."""

    deals: int
    deals_that_skipped: int
    skipped_stages: int
    deals_that_went_back: int


class Range(t.NamedTuple):
    """Days, from the shortest to the longest."""

    least: Decimal | None
    median: Decimal | None
    most: Decimal | None


class Stage(t.NamedTuple):
    """The time that deals spend in a stage: those that left it, and those still there."""

    name: str
    exits: int
    median_days: Decimal | None
    p90_days: Decimal | None
    still_there: int
    median_age_days: Decimal | None


class Trend(t.NamedTuple):
    """A month and step of the report without gaps."""

    month: date
    funnel_step: Decimal
    deals: int
    month_over_month: Decimal | None
    has_previous_year: bool
    quarter_to_date: int | None


class Owners(t.NamedTuple):
    """The deals that have had the same number of owners."""

    owners: int
    deals: int
    entries: int


class OwnerEntries(t.NamedTuple):
    """First entries into stages, by their owners."""

    owners: int
    entries: int
    median: Decimal | None
    most: int | None


class Activities(t.NamedTuple):
    """Activities of one type in a month; month is None for those without due time."""

    type: str
    month: date | None
    done: int
    planned: int


class LostReason(t.NamedTuple):
    """The deals with a lost reason, or (None) without, and how many reached the last stage."""

    reason: str | None
    deals: int
    in_last_stage: int


class Check(t.NamedTuple):
    """A check of the input and what it found."""

    name: str
    severity: str
    meaning: str
    rows: int
    deals: int
    share: Decimal | None
    checked_rows: int | None


class Marts:
    """The marts of an environment, with queries on them."""

    def __init__(self, adapter: EngineAdapter, schema: str) -> None:
        """Query the marts in a schema."""
        self._adapter = adapter
        self._schema = schema

    def _ask(self, query: str) -> list[tuple[t.Any, ...]]:
        """Return the rows of a query, in which the schema of the marts is `marts`."""
        return self._adapter.fetchall(query.replace("marts.", f"{self._schema}."))

    def as_of(self) -> date:
        """Return the execution date."""
        return self._ask("SELECT MAX(as_of) FROM marts.rep_data_quality")[0][0]

    def log_range(self) -> tuple[datetime | None, datetime | None]:
        """Return the time of the first creation of a deal, and of the last change of one."""
        return self._ask("SELECT MIN(created_at), MAX(last_changed_at) FROM marts.fct_deals")[0]

    def row_counts(self) -> dict[str, int]:
        """Return the rows of the marts, and of the tables below them that checks have counted."""
        checked = self._ask(
            "SELECT checked_table, MAX(checked_rows_count) FROM marts.rep_data_quality "
            "WHERE NOT checked_table IS NULL GROUP BY checked_table"
        )
        names = self._adapter.fetchall(
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = '{self._schema}'"
        )
        marts = self._ask(
            " UNION ALL ".join(f"SELECT '{name}', COUNT(*) FROM marts.{name}" for (name,) in names)
        )
        return dict(sorted({*checked, *marts}))

    def steps(self) -> list[Step]:
        """Return the steps of the funnel in their order."""
        rows = self._ask(
            "SELECT funnel_step, kpi_name, source = 'stage' "
            "FROM marts.dim_funnel_steps ORDER BY funnel_step"
        )
        return [Step(*row) for row in rows]

    def cells(self) -> list[Cell]:
        """Return the cells of the monthly report."""
        rows = self._ask(
            """
            SELECT
              month, funnel_step, deals_count, share_of_first_step, change_from_previous_stage_step
            FROM marts.rep_sales_funnel_conversion
            ORDER BY month, funnel_step
            """
        )
        return [Cell(*row) for row in rows]

    def cohorts(self) -> list[CohortCell]:
        """Return a cell for every month of creation and step."""
        rows = self._ask(
            """
            SELECT
              cohort_month, funnel_step, cohort_deals_count, reached_deals_count,
              reached_in_order_deals_count, share_of_cohort, median_days_to_reach
            FROM marts.rep_funnel_cohorts
            ORDER BY cohort_month, funnel_step
            """
        )
        return [CohortCell(*row) for row in rows]

    def moves(self) -> Moves:
        """Return how many deals skip stages or go back."""
        rows = self._ask(
            """
            SELECT
              COUNT(*),
              COUNT(CASE WHEN skipped_stages_count > 0 THEN 1 END),
              CAST(COALESCE(SUM(skipped_stages_count), 0) AS BIGINT),
              COUNT(CASE WHEN backward_moves_count > 0 THEN 1 END)
            FROM marts.fct_deals
            """
        )
        return Moves(*rows[0])

    def stages(self) -> list[Stage]:
        """Return the stages that deals have entered, in the order of the funnel."""
        rows = self._ask(
            """
            SELECT
              entries.stage_id,
              entries.stage_name,
              COUNT(entries.stage_exit_timestamp),
              PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY entries.seconds_in_stage),
              PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY entries.seconds_in_stage),
              MAX(stays.still_there_count),
              MAX(stays.median_age_days)
            FROM marts.fct_stage_entries AS entries
            LEFT JOIN marts.rep_time_in_stage AS stays
              ON entries.stage_id = stays.stage_id AND NOT stays.still_there_count IS NULL
            GROUP BY entries.stage_id, entries.stage_name, entries.funnel_step
            ORDER BY entries.funnel_step NULLS LAST, entries.stage_id
            """
        )
        return [
            Stage(name or f"Stage {key}", exits, _days(median), _days(p90), stays or 0, age)
            for key, name, exits, median, p90, stays, age in rows
        ]

    def days_to_first_stage(self) -> Range:
        """Return how long after their creation deals enter their first stage."""
        rows = self._ask(
            """
            SELECT
              MIN(days_to_first_stage),
              PERCENTILE_CONT(0.5) WITHIN GROUP (
                ORDER BY CAST(days_to_first_stage AS DOUBLE PRECISION)
              ),
              MAX(days_to_first_stage)
            FROM marts.fct_deals
            """
        )
        least, median, most = rows[0]
        return Range(least, _decimal(median), most)

    def trends(self) -> list[Trend]:
        """Return a row for every month of the report and step, without gaps."""
        rows = self._ask(
            """
            SELECT
              month, funnel_step, deals_count, month_over_month_change,
              NOT previous_year_deals_count IS NULL, quarter_to_date_deals_count
            FROM marts.rep_sales_funnel_trends
            ORDER BY month, funnel_step
            """
        )
        return [Trend(*row) for row in rows]

    def owners(self) -> list[Owners]:
        """Return the deals by the number of owners that they have had."""
        rows = self._ask(
            """
            SELECT
              owners_count, COUNT(*), CAST(SUM(stage_entries_count) AS BIGINT)
            FROM (
              SELECT
                deals.deal_id, deals.stage_entries_count,
                COUNT(DISTINCT owners.user_id) AS owners_count
              FROM marts.fct_deals AS deals
              LEFT JOIN marts.dim_deal_owner_history AS owners
                ON deals.deal_id = owners.deal_id
              GROUP BY deals.deal_id, deals.stage_entries_count
            ) AS owners_of_deals
            GROUP BY owners_count
            ORDER BY owners_count
            """
        )
        return [Owners(*row) for row in rows]

    def current_owners_count(self) -> int:
        """Return how many users own a deal now."""
        return self._ask("SELECT COUNT(DISTINCT owner_user_id) FROM marts.fct_deals")[0][0]

    def owner_entries(self) -> OwnerEntries:
        """Return how the first entries into stages spread over the owners at the time."""
        rows = self._ask(
            """
            SELECT
              COUNT(*),
              CAST(COALESCE(SUM(entries), 0) AS BIGINT),
              PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY entries),
              MAX(entries)
            FROM (
              SELECT user_id, CAST(SUM(events_count) AS BIGINT) AS entries
              FROM marts.rep_owner_performance_monthly
              WHERE measure = 'stage entries' AND user_id <> -1
              GROUP BY user_id
            ) AS owners
            """
        )
        owners, entries, median, most = rows[0]
        return OwnerEntries(owners, entries, _decimal(median), most)

    def activities(self) -> list[Activities]:
        """Return the activities by type and month of their due time."""
        rows = self._ask(
            """
            SELECT
              COALESCE(activity_type_name, activity_type_key, 'unknown'),
              CAST(DATE_TRUNC('MONTH', due_timestamp) AS DATE),
              COUNT(CASE WHEN is_completed THEN 1 END),
              COUNT(CASE WHEN NOT is_completed THEN 1 END)
            FROM marts.fct_deal_activities
            GROUP BY
              COALESCE(activity_type_name, activity_type_key, 'unknown'),
              CAST(DATE_TRUNC('MONTH', due_timestamp) AS DATE)
            """
        )
        found = [Activities(*row) for row in rows]
        return sorted(found, key=lambda row: (row.type, row.month or date.min))

    def lost_reasons(self) -> list[LostReason]:
        """Return the deals by lost reason, the most frequent first."""
        rows = self._ask(
            """
            SELECT
              lost_reason,
              COUNT(*),
              COUNT(CASE WHEN furthest_funnel_step = last_stage.funnel_step THEN 1 END)
            FROM marts.fct_deals
            CROSS JOIN (
              SELECT MAX(funnel_step) AS funnel_step
              FROM marts.dim_funnel_steps
              WHERE source = 'stage'
            ) AS last_stage
            GROUP BY lost_reason
            """
        )
        found = [LostReason(*row) for row in rows]
        return sorted(found, key=lambda row: (row.reason is None, -row.deals, row.reason))

    def checks(self) -> list[Check]:
        """Return the checks of the input: warnings first, then those with the most rows."""
        rows = self._ask(
            """
            SELECT
              check_name, severity, meaning, rows_count, deals_count, share, checked_rows_count
            FROM marts.rep_data_quality
            """
        )
        found = [Check(*row) for row in rows]
        return sorted(found, key=lambda row: (row.severity != WARNING, -row.rows, row.name))


def _decimal(value: float | None) -> Decimal | None:
    """Return an interpolated number, rounded so that engines do not differ."""
    return None if value is None else Decimal(str(round(value, 3)))


def _days(seconds: float | None) -> Decimal | None:
    """Return seconds as days."""
    exact = _decimal(seconds)
    return None if exact is None else exact / 86400
