"""Every mart except the monthly report, computed again in plain Python from the raw files.

It follows the rules in words and not the SQL: loops over deals, exact fractions, and nothing that
an engine rounds or sorts in its own way. `oracle` does the same for the models below.
"""

from __future__ import annotations

import json
import math
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pandas as pd
from sqlglot import exp

from tests.support.oracle import deleted_deals, funnel

Row = dict[str, t.Any]
SECOND, DAY = timedelta(seconds=1), 86_400
STATUSES = ("open", "won", "lost")


@dataclass(frozen=True)
class Mart:
    """The rows that a model must have; days and shares are exact fractions, which it rounds."""

    grain: tuple[str, ...]
    rows: list[Row]


@dataclass(frozen=True)
class Step:
    """A row of funnel_steps.csv."""

    number: Decimal
    name: str
    source: str
    key: str


@dataclass(frozen=True)
class Activity:
    """A row of activity.csv."""

    id: int
    deal: int
    type: str | None
    user: int | None
    done: bool
    due: datetime | None


@dataclass(frozen=True)
class Entry:
    """A deal's entry into a stage, the first or another one."""

    stage: int
    at: datetime
    number: int
    left: datetime | None
    previous: Entry | None


@dataclass(frozen=True)
class Period:
    """A time in which a deal has one owner, the end not included."""

    user: int
    start: datetime
    end: datetime | None


@dataclass(frozen=True)
class State:
    """A row of deals.csv; nothing is known of a deal that has none."""

    title: str | None = None
    pipeline: int | None = None
    status: str | None = None
    value: Fraction | None = None
    currency: str | None = None
    probability: int | None = None
    expected: date | None = None
    won: datetime | None = None
    lost: datetime | None = None
    closed: datetime | None = None
    is_archived: bool | None = None


@dataclass(frozen=True)
class Deal:
    """A deal, as the log describes it, and its state."""

    id: int
    created: datetime
    last_change: datetime
    entries: list[Entry]
    periods: list[Period]
    lost_reason: str | None
    lost_at: datetime | None
    statuses: list[tuple[datetime, str]]  # as the log has them, each second once
    last_logged_status: str | None
    state: State

    @property
    def status(self) -> str | None:
        """Whether the deal is open, won or lost: the list of deals says it, or else the log."""
        return self.state.status or self.last_logged_status

    @property
    def closed_at(self) -> datetime | None:
        """When the deal was won or lost."""
        if self.status not in ("won", "lost"):
            return None
        listed = None
        if self.state.status == self.status:
            of_status = self.state.won if self.status == "won" else self.state.lost
            listed = of_status or self.state.closed
        if listed is None and self.last_logged_status == self.status:
            listed = max(at for at, status in self.statuses)
        return listed

    def status_periods(self) -> list[tuple[datetime, str]]:
        """Return since when the deal had which status."""
        if self.statuses:
            starts = list(self.statuses)
            if self.created < starts[0][0]:
                starts.insert(0, (self.created, "open"))
        elif self.status == "open":
            starts = [(self.created, "open")]
        elif self.closed_at is not None and self.status is not None:
            starts = [(self.closed_at, self.status)]
            if self.created < self.closed_at:
                starts.insert(0, (self.created, "open"))
        else:
            return []
        return [
            start for before, start in pairwise([(None, None), *starts]) if before[1] != start[1]
        ]

    def status_at(self, moment: datetime) -> str | None:
        """Return the status that the deal had just before a moment."""
        earlier = [status for at, status in self.status_periods() if at < moment]
        return earlier[-1] if earlier else None

    def stage_at(self, moment: datetime) -> int | None:
        """Return the stage that the deal was in just before a moment."""
        earlier = [entry.stage for entry in self.entries if entry.at < moment]
        return earlier[-1] if earlier else None

    def first_entries(self) -> dict[int, datetime]:
        """Return when the deal first entered each of its stages."""
        return {entry.stage: entry.at for entry in self.entries if entry.number == 1}

    def owner(self, at: datetime) -> int | None:
        """Return who owned the deal at a time."""
        for period in self.periods:
            if period.start <= at and (period.end is None or at < period.end):
                return period.user
        return None


class Crm:
    """An export in memory: deals, activities, and lookups for their keys."""

    def __init__(
        self, export: dict[str, pd.DataFrame], today: date, landed_at: datetime | None
    ) -> None:
        """Read the tables of an export, including `funnel_steps`, as of the execution date."""
        self.today, self.landed_at = today, landed_at
        self.steps = sorted(
            (
                Step(Decimal(row.funnel_step), row.kpi_name, row.source, row.key)
                for row in export["funnel_steps"].itertuples()
            ),
            key=lambda step: step.number,
        )
        self.stage_steps = [step for step in self.steps if step.source == "stage"]
        self.step_of_stage = {int(step.key): step for step in self.stage_steps}
        self.step_of_call = {step.key: step for step in self.steps if step.source == "activity"}
        self.position = {int(step.key): at for at, step in enumerate(self.stage_steps, start=1)}
        self.stages = {int(row.stage_id): row.stage_name for row in export["stages"].itertuples()}
        self.users = {int(row.id): row.name for row in export["users"].itertuples()}
        self.types = {row.type: row.name for row in export["activity_types"].itertuples()}
        self.fields = [
            (row.field_key, row.name, row.field_value_options)
            for row in export["fields"].itertuples()
        ]
        self.options = {
            (field, str(option["id"])): option["label"]
            for field, _, options in self.fields
            for option in json.loads(options or "[]")
        }
        listed = export.get("deals", pd.DataFrame())
        deleted = deleted_deals(export)
        self.states = {int(row.deal_id): _state(row) for row in listed.itertuples()}
        self.rates: dict[str, list[tuple[date, Fraction]]] = defaultdict(list)
        for row in export.get("exchange_rates", pd.DataFrame()).itertuples():
            self.rates[row.currency].append(
                (date.fromisoformat(row.valid_from[:10]), Fraction(row.rate))
            )
            self.rates[row.reporting_currency] = [(date.min, Fraction(1))]
        self.pipelines = {
            int(row.pipeline_id): row
            for row in export.get("pipelines", pd.DataFrame()).itertuples()
        }
        self.pipeline_stages = {
            int(row.stage_id): row
            for row in export.get("pipeline_stages", pd.DataFrame()).itertuples()
        }
        self.activities = [
            Activity(
                int(row.activity_id),
                int(row.deal_id),
                row.type,
                int(row.assigned_to_user) if row.assigned_to_user else None,
                (row.done or "").lower() == "true",
                datetime.fromisoformat(row.due_to) if row.due_to else None,
            )
            for row in export["activity"].itertuples()
            if int(row.deal_id) not in deleted
        ]
        log: dict[int, set[tuple[datetime, str, str | None]]] = defaultdict(set)
        for row in export["deal_changes"].itertuples():
            at = datetime.fromisoformat(row.change_time)
            if int(row.deal_id) not in deleted:
                log[int(row.deal_id)].add((at, row.changed_field_key, row.new_value))
        self.deals = [self._deal(deal, changes) for deal, changes in sorted(log.items())]
        self.report = funnel(export).report

    def _deal(self, deal: int, changes: set[tuple[datetime, str, str | None]]) -> Deal:
        def of(field: str) -> list[tuple[datetime, str | None]]:
            return [(at, value) for at, key, value in changes if key == field]

        earliest = min(at for at, _, _ in changes)
        reason_at, reason = max(
            ((at, value or "") for at, value in of("lost_reason")), default=(None, "")
        )
        statuses: dict[datetime, str] = {}
        for at, status in of("status"):
            if status in STATUSES:
                statuses[at] = max(status, statuses.get(at, ""))
        last_status = max(((at, value or "") for at, value in of("status")), default=(None, ""))[1]
        return Deal(
            id=deal,
            created=min((at for at, _ in of("add_time")), default=earliest),
            last_change=max(at for at, _, _ in changes),
            entries=_entries(sorted((at, int(stage or "")) for at, stage in of("stage_id"))),
            periods=_periods(sorted((at, int(user or "")) for at, user in of("user_id")), earliest),
            lost_reason=self.options.get(("lost_reason", reason), reason) if reason else None,
            lost_at=reason_at if reason else None,
            statuses=sorted(statuses.items()),
            last_logged_status=last_status if last_status in STATUSES else None,
            state=self.states.get(deal, State()),
        )

    def calls(self) -> list[Activity]:
        """Return the sales calls: done activities whose type is a step of the funnel."""
        return [each for each in self.activities if each.done and each.type in self.step_of_call]

    def stage_step_before(self, step: Step) -> Step | None:
        """Return the highest stage step below a step."""
        before = [other for other in self.stage_steps if other.number < step.number]
        return before[-1] if before else None

    def move(self, entry: Entry) -> str:
        """Return the direction in which a deal moved at an entry."""
        if entry.previous is None:
            return "first"
        if entry.previous.stage == entry.stage:
            return "repeated"
        old, new = (self.position.get(each.stage) for each in (entry.previous, entry))
        if old is None or new is None:
            return "outside"
        return "backward" if new < old else "forward" if new == old + 1 else "skipped"

    def skipped(self, entry: Entry) -> int:
        """Return how many stages a deal skipped at an entry."""
        if entry.previous is None or self.move(entry) != "skipped":
            return 0
        return self.position[entry.stage] - self.position[entry.previous.stage] - 1

    def probability(self, deal: Deal, stage: int | None) -> Fraction:
        """Return the probability of winning a deal in a stage: its own, the stage's, or all."""
        found = deal.state.probability
        if found is None and stage in self.pipeline_stages:
            of_stage = self.pipeline_stages[stage].deal_probability
            found = int(of_stage) if of_stage else None
        return Fraction(100 if found is None else found, 100)

    def in_reporting_currency(self, deals: t.Iterable[tuple[Deal, date]]) -> Fraction | None:
        """Return the sum of values, each by the rate of a day; None if one has a value alone."""
        total, known = Fraction(0), False
        for deal, day in deals:
            if deal.state.value is None:
                continue
            rates = sorted(self.rates.get(deal.state.currency or "", []))
            held = [rate for first, rate in rates if first <= day]
            if not held:
                return None
            total, known = total + deal.state.value * held[-1], True
        return total if known else None

    def pipeline_name(self, pipeline: int) -> str | None:
        """Return the label of a pipeline."""
        return self.pipelines[pipeline].pipeline_name if pipeline in self.pipelines else None


def _state(row: t.Any) -> State:
    def time(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    def number(text: str | None) -> int | None:
        return int(text) if text else None

    return State(
        title=row.title,
        pipeline=number(row.pipeline_id),
        status=row.status,
        value=Fraction(row.value) if row.value else None,
        currency=row.currency,
        probability=number(row.probability),
        expected=date.fromisoformat(row.expected_close_date) if row.expected_close_date else None,
        won=time(row.won_time),
        lost=time(row.lost_time),
        closed=time(row.close_time),
        is_archived=(row.is_archived or "").lower() == "true",
    )


def _entries(visits: list[tuple[datetime, int]]) -> list[Entry]:
    entries: list[Entry] = []
    seen: Counter[int] = Counter()
    for number, (at, stage) in enumerate(visits):
        seen[stage] += 1
        left = visits[number + 1][0] if number + 1 < len(visits) else None
        entries.append(Entry(stage, at, seen[stage], left, entries[-1] if entries else None))
    return entries


def _periods(changes: list[tuple[datetime, int]], earliest: datetime) -> list[Period]:
    owners: list[tuple[datetime, int]] = []
    for at, user in dict(changes).items():  # of one second, the last in order counts: the highest
        if not owners or owners[-1][1] != user:
            owners.append((at, user))
    starts = [earliest, *(at for at, _ in owners[1:])]
    return [
        Period(user, start, end)
        for (_, user), start, end in zip(owners, starts, [*starts[1:], None], strict=False)
    ]


# --- numbers --------------------------------------------------------------------------------------


def seconds(start: datetime, end: datetime | None) -> int | None:
    """Return the whole seconds of a time span, None if it is open or negative."""
    whole = None if end is None else (end - start) // SECOND
    return None if whole is None or whole < 0 else whole


def percentile(spans: t.Iterable[int | None], share: Fraction = Fraction(1, 2)) -> Fraction | None:
    """Return an interpolated percentile of seconds, in days."""
    known = sorted(span for span in spans if span is not None)
    if not known:
        return None
    place = share * (len(known) - 1)
    low, high = known[math.floor(place)], known[math.ceil(place)]
    return (low + (high - low) * (place - math.floor(place))) / Fraction(DAY)


def average(spans: t.Iterable[int | None]) -> Fraction | None:
    """Return the average of seconds, in days."""
    known = [span for span in spans if span is not None]
    return Fraction(sum(known), len(known) * DAY) if known else None


def days(span: int | None) -> Fraction | None:
    """Return seconds in days."""
    return None if span is None else Fraction(span, DAY)


def ratio(part: int | None, whole: int | None) -> Fraction | None:
    """Return a share; None if there is no whole."""
    return None if part is None or not whole else Fraction(part, whole)


def change(new: int | None, old: int | None) -> Fraction | None:
    """Return the change from the old number to the new, as a fraction of the old."""
    share = ratio(new, old)
    return None if share is None else share - 1


def month_of(at: date) -> date:
    """Return the first day of a month."""
    return date(at.year, at.month, 1)


def months_later(month: date, months: int) -> date:
    """Return the month some months later, or earlier."""
    years, rest = divmod(month.year * 12 + month.month - 1 + months, 12)
    return date(years, rest + 1, 1)


# --- marts ----------------------------------------------------------------------------------------


def _fields(crm: Crm) -> Mart:
    columns = ("field_key", "field_name", "field_value_options")
    rows = [
        dict(zip(columns, field, strict=True)) | {"loaded_at": crm.landed_at}
        for field in crm.fields
    ]
    return Mart(("field_key",), rows)


def _field_options(crm: Crm) -> Mart:
    rows = [
        {"field_key": field, "option_id": option, "option_label": label}
        for (field, option), label in crm.options.items()
    ]
    return Mart(("field_key", "option_id"), rows)


def _lost_reasons(crm: Crm) -> Mart:
    rows = [
        {"lost_reason_id": option, "lost_reason": label}
        for (field, option), label in crm.options.items()
        if field == "lost_reason"
    ]
    return Mart(("lost_reason_id",), rows)


def _owner_history(crm: Crm) -> Mart:
    rows = [
        {
            "deal_id": deal.id,
            "user_id": period.user,
            "valid_from": period.start,
            "valid_to": period.end,
            "is_current": period.end is None,
        }
        for deal in crm.deals
        for period in deal.periods
    ]
    return Mart(("deal_id", "valid_from"), rows)


def _stage_entries(crm: Crm) -> Mart:
    rows = []
    for deal in crm.deals:
        for entry in deal.entries:
            step, before = crm.step_of_stage.get(entry.stage), entry.previous
            rows.append(
                {
                    "deal_id": deal.id,
                    "stage_id": entry.stage,
                    "stage_entry_num": entry.number,
                    "stage_name": crm.stages.get(entry.stage),
                    "kpi_name": step.name if step else None,
                    "funnel_step": step.number if step else None,
                    "user_id": deal.owner(entry.at),
                    "stage_entry_timestamp": entry.at,
                    "stage_exit_timestamp": entry.left,
                    "seconds_in_stage": seconds(entry.at, entry.left),
                    "previous_stage_id": before.stage if before else None,
                    "seconds_in_previous_stage": seconds(before.at, entry.at) if before else None,
                    "move": crm.move(entry),
                    "skipped_stages_count": crm.skipped(entry),
                }
            )
    return Mart(("deal_id", "stage_id", "stage_entry_num"), rows)


def _deal_activities(crm: Crm) -> Mart:
    rows = [
        {
            "activity_id": activity.id,
            "deal_id": activity.deal,
            "activity_type_key": activity.type,
            "activity_type_name": crm.types.get(activity.type),
            "user_id": activity.user,
            "is_completed": activity.done,
            "due_timestamp": activity.due,
        }
        for activity in crm.activities
    ]
    return Mart(("activity_id", "deal_id"), rows)


def _deals(crm: Crm) -> Mart:
    completed = Counter(activity.deal for activity in crm.activities if activity.done)
    calls = Counter(call.deal for call in crm.calls())
    rows = []
    for deal in crm.deals:
        first, current = (deal.entries[0], deal.entries[-1]) if deal.entries else (None, None)
        moves = Counter(crm.move(entry) for entry in deal.entries)
        rows.append(
            {
                "deal_id": deal.id,
                "created_at": deal.created,
                "first_stage_id": first.stage if first else None,
                "first_stage": crm.stages.get(first.stage) if first else None,
                "current_stage_id": current.stage if current else None,
                "current_stage": crm.stages.get(current.stage) if current else None,
                "current_stage_since": current.at if current else None,
                "furthest_funnel_step": _furthest_step(crm, deal),
                "furthest_funnel_step_in_order": max(_steps_in_order(crm, deal), default=None),
                "owner_user_id": deal.periods[-1].user if deal.periods else None,
                "creation_owner_user_id": deal.periods[0].user if deal.periods else None,
                "stage_entries_count": len(deal.entries),
                "forward_moves_count": moves["forward"] + moves["skipped"],
                "backward_moves_count": moves["backward"],
                "skipped_stages_count": sum(crm.skipped(entry) for entry in deal.entries),
                "completed_activities_count": completed[deal.id],
                "sales_calls_count": calls[deal.id],
                "last_changed_at": deal.last_change,
                "lost_reason": deal.lost_reason,
                "lost_reason_set_at": deal.lost_at,
                "lost_reason_owner_user_id": deal.owner(deal.lost_at) if deal.lost_at else None,
                "days_to_first_stage": days(seconds(deal.created, first.at if first else None)),
                "days_to_last_change": days(seconds(deal.created, deal.last_change)),
                "title": deal.state.title,
                "pipeline_id": deal.state.pipeline,
                "status": deal.status,
                "value": deal.state.value,
                "currency": deal.state.currency,
                "probability": deal.state.probability,
                "expected_close_date": deal.state.expected,
                "won_at": deal.closed_at if deal.status == "won" else None,
                "lost_at": deal.closed_at if deal.status == "lost" else None,
                "days_to_close": days(seconds(deal.created, deal.closed_at)),
                "is_deleted": False if deal.id in crm.states else None,
                "is_archived": deal.state.is_archived,
            }
        )
    return Mart(("deal_id",), rows)


def _furthest_step(crm: Crm, deal: Deal) -> Decimal | None:
    steps = [crm.step_of_stage.get(entry.stage) for entry in deal.entries]
    return max((step.number for step in steps if step), default=None)


def _steps_in_order(crm: Crm, deal: Deal) -> list[Decimal]:
    """Return the stage steps that a deal passed one after the other, up to the first it missed."""
    passed: list[Decimal] = []
    latest = datetime.min
    for step in crm.stage_steps:
        at = deal.first_entries().get(int(step.key))
        if at is None or at < latest:
            break
        passed.append(step.number)
        latest = at
    return passed


def _report(crm: Crm) -> dict[tuple[date, Decimal], int]:
    return {
        (date.fromisoformat(f"{month}-01"), Decimal(step)): deals
        for (month, step), deals in crm.report.items()
    }


def _conversion(crm: Crm) -> Mart:
    report, rows = _report(crm), []
    for (month, number), deals in report.items():
        (step,) = (step for step in crm.steps if step.number == number)
        first = report.get((month, crm.stage_steps[0].number))
        before = crm.stage_step_before(step)
        before_deals = report.get((month, before.number)) if before else None
        rows.append(
            {
                "month": month,
                "kpi_name": step.name,
                "funnel_step": step.number,
                "deals_count": deals,
                "first_step_deals_count": first,
                "share_of_first_step": ratio(deals, first),
                "previous_stage_step": before.number if before else None,
                "previous_stage_step_deals_count": before_deals,
                "change_from_previous_stage_step": change(deals, before_deals),
            }
        )
    return Mart(("month", "funnel_step"), rows)


def _has_come_to(crm: Crm, step: Step, reached: set[Decimal]) -> bool:
    """Tell whether a deal that reached these steps, in any order, came to a step or further."""
    stages = {stage.number for stage in crm.stage_steps}
    if any(number >= step.number for number in reached & stages):
        return True
    if step.number in stages or step.number not in reached:
        return False
    before = crm.stage_step_before(step)
    return before is None or any(number >= before.number for number in reached & stages)


@dataclass(frozen=True)
class Progress:
    """How far a deal came: when it first was in each step, and which steps it passed in order."""

    deal: Deal
    reached: dict[Decimal, datetime]
    in_order: set[Decimal]

    def within(self, step: Step, days_: int) -> bool:
        """Tell whether the deal was in a step in its first days."""
        at = self.reached.get(step.number)
        return at is not None and at - self.deal.created <= timedelta(days=days_)


def _progress(crm: Crm) -> list[Progress]:
    """Follow each deal through the steps; a call needs a due time."""
    steps = {int(step.key): step.number for step in crm.stage_steps}
    followed = {
        deal.id: Progress(
            deal,
            {steps[stage]: at for stage, at in deal.first_entries().items() if stage in steps},
            {*_steps_in_order(crm, deal)},
        )
        for deal in crm.deals
    }
    for call in crm.calls():
        if call.deal in followed and call.due is not None:
            reached, number = followed[call.deal].reached, crm.step_of_call[call.type].number
            reached[number] = min(call.due, reached.get(number, call.due))
    for progress in followed.values():
        for call_step in crm.step_of_call.values():
            earlier = {step.number for step in crm.stage_steps if step.number < call_step.number}
            if call_step.number in progress.reached and earlier <= progress.in_order:
                progress.in_order.add(call_step.number)
    return list(followed.values())


def _deal_funnel_steps(crm: Crm) -> Mart:
    rows = []
    for progress in _progress(crm):
        for step in crm.steps:
            at, before = progress.reached.get(step.number), crm.stage_step_before(step)
            came = _has_come_to(crm, step, {*progress.reached})
            if at is None and not came:
                continue
            rows.append(
                {
                    "deal_id": progress.deal.id,
                    "created_at": progress.deal.created,
                    "kpi_name": step.name,
                    "funnel_step": step.number,
                    "is_reached": at is not None,
                    "is_reached_at_least": came,
                    "is_reached_in_order": step.number in progress.in_order,
                    "is_previous_stage_step_reached": (
                        before.number in progress.reached if before else None
                    ),
                    "reached_at": at,
                    "seconds_to_reach": seconds(progress.deal.created, at),
                }
            )
    return Mart(("deal_id", "funnel_step"), rows)


def _cohorts(crm: Crm) -> Mart:
    cohorts: dict[date, list[Progress]] = defaultdict(list)
    for progress in _progress(crm):
        cohorts[month_of(progress.deal.created)].append(progress)
    last_change = max((deal.last_change for deal in crm.deals), default=datetime.min)

    rows = []
    for month, deals in cohorts.items():
        all_created_by = datetime.combine(months_later(month, 1), datetime.min.time())
        counts = Counter(step for deal in deals for step in deal.reached)
        at_least = Counter(
            step.number
            for deal in deals
            for step in crm.steps
            if _has_come_to(crm, step, {*deal.reached})
        )
        ordered = Counter(step for deal in deals for step in deal.in_order)
        for step in crm.steps:
            before = crm.stage_step_before(step)
            both = [
                deal
                for deal in deals
                if step.number in deal.reached and (not before or before.number in deal.reached)
            ]
            within = {
                span: (
                    sum(deal.within(step, span) for deal in deals)
                    if last_change - all_created_by >= timedelta(days=span)
                    else None
                )
                for span in (30, 60, 90)
            }

            def of_stage_before(
                part: int, whole: Counter[Decimal], before: Step | None = before
            ) -> Fraction | None:
                return ratio(part, whole[before.number]) if before else None

            rows.append(
                {
                    "cohort_month": month,
                    "kpi_name": step.name,
                    "funnel_step": step.number,
                    "cohort_deals_count": len(deals),
                    "reached_deals_count": counts[step.number],
                    "reached_at_least_deals_count": at_least[step.number],
                    "reached_in_order_deals_count": ordered[step.number],
                    "share_of_cohort": ratio(counts[step.number], len(deals)),
                    "share_of_cohort_at_least": ratio(at_least[step.number], len(deals)),
                    "share_of_cohort_in_order": ratio(ordered[step.number], len(deals)),
                    "previous_stage_step": before.number if before else None,
                    "reached_both_deals_count": len(both),
                    "conversion_from_previous_stage_step": of_stage_before(len(both), counts),
                    "ratio_to_previous_stage_step": of_stage_before(counts[step.number], counts),
                    "conversion_at_least_from_previous_stage_step": of_stage_before(
                        at_least[step.number], at_least
                    ),
                    "conversion_in_order_from_previous_stage_step": of_stage_before(
                        ordered[step.number], ordered
                    ),
                    **{f"reached_within_{span}_days_deals_count": within[span] for span in within},
                    "median_days_to_reach": percentile(
                        seconds(deal.deal.created, deal.reached[step.number])
                        for deal in deals
                        if step.number in deal.reached
                    ),
                }
            )
    return Mart(("cohort_month", "funnel_step"), rows)


def _all_cohorts(crm: Crm) -> Mart:
    deals = _progress(crm)
    last_change = max((deal.last_change for deal in crm.deals), default=datetime.min)
    rows = []
    reached = {step: [d for d in deals if step.number in d.reached] for step in crm.steps}
    ordered = {step: [d for d in deals if step.number in d.in_order] for step in crm.steps}
    at_least = {
        step: [deal for deal in deals if _has_come_to(crm, step, {*deal.reached})]
        for step in crm.steps
    }
    for step in crm.steps if deals else []:
        before = crm.stage_step_before(step)
        both = [d for d in reached[step] if before is None or before.number in d.reached]

        def of_stage_before(
            part: list[Progress],
            counting: dict[Step, list[Progress]],
            before: Step | None = before,
        ) -> Fraction | None:
            return ratio(len(part), len(counting[before])) if before else None

        row = {
            "kpi_name": step.name,
            "funnel_step": step.number,
            "created_deals_count": len(deals),
            "reached_deals_count": len(reached[step]),
            "reached_at_least_deals_count": len(at_least[step]),
            "reached_in_order_deals_count": len(ordered[step]),
            "share_of_created": ratio(len(reached[step]), len(deals)),
            "share_of_created_at_least": ratio(len(at_least[step]), len(deals)),
            "share_of_created_in_order": ratio(len(ordered[step]), len(deals)),
            "previous_stage_step": before.number if before else None,
            "reached_both_deals_count": len(both),
            "conversion_from_previous_stage_step": of_stage_before(both, reached),
            "ratio_to_previous_stage_step": of_stage_before(reached[step], reached),
            "conversion_at_least_from_previous_stage_step": of_stage_before(
                at_least[step], at_least
            ),
            "conversion_in_order_from_previous_stage_step": of_stage_before(ordered[step], ordered),
            "median_days_to_reach": percentile(
                seconds(deal.deal.created, deal.reached[step.number]) for deal in reached[step]
            ),
        }
        for span in (30, 60, 90):
            followed = []
            for deal in deals:
                next_month = months_later(month_of(deal.deal.created), 1)
                month_end = datetime(next_month.year, next_month.month, 1)
                if month_end + timedelta(days=span) <= last_change:
                    followed.append(deal)
            within = sum(deal.within(step, span) for deal in followed)
            row |= {
                f"followed_for_{span}_days_deals_count": len(followed),
                f"reached_within_{span}_days_deals_count": within if followed else None,
                f"share_within_{span}_days": ratio(within, len(followed)),
            }
        rows.append(row)
    return Mart(("funnel_step",), rows)


def _transitions(crm: Crm) -> Mart:
    taken: dict[tuple[int, int], list[tuple[Deal, Entry, Entry]]] = defaultdict(list)
    for deal in crm.deals:
        for before, entry in pairwise(deal.entries):
            taken[before.stage, entry.stage].append((deal, before, entry))
    exits: Counter[int] = Counter()
    for (left, _), moves in taken.items():
        exits[left] += len(moves)
    rows = []
    for (left, entered), moves in taken.items():
        spans = [seconds(before.at, entry.at) for _, before, entry in moves]
        rows.append(
            {
                "from_stage_id": left,
                "from_stage": crm.stages.get(left),
                "to_stage_id": entered,
                "to_stage": crm.stages.get(entered),
                "move": crm.move(moves[0][2]),
                "transitions_count": len(moves),
                "share_of_exits": ratio(len(moves), exits[left]),
                "deals_count": len({deal.id for deal, _, _ in moves}),
                "median_days": percentile(spans),
                "p90_days": percentile(spans, Fraction(9, 10)),
            }
        )
    return Mart(("from_stage_id", "to_stage_id"), rows)


def _time_in_stage(crm: Crm) -> Mart:
    exits: dict[tuple[int, date], list[tuple[int, int | None]]] = defaultdict(list)
    ages: dict[int, list[int]] = defaultdict(list)
    entered: Counter[int] = Counter()
    midnight = datetime.combine(crm.today, datetime.min.time())
    this_month = month_of(crm.today)
    for deal in crm.deals:
        for entry in deal.entries:
            entered[entry.stage] += 1
            if entry.left is not None:
                span = seconds(entry.at, entry.left)
                exits[entry.stage, month_of(entry.left)].append((deal.id, span))
            else:
                ages[entry.stage].append(seconds(entry.at, midnight) or 0)
    rows = []
    for stage, month in sorted({*exits, *((stage, this_month) for stage in entered)}):
        left = exits.get((stage, month), [])
        staying = ages.get(stage, []) if month == this_month else None
        spans, step = [span for _, span in left], crm.step_of_stage.get(stage)
        rows.append(
            {
                "stage_id": stage,
                "stage_name": crm.stages.get(stage),
                "funnel_step": step.number if step else None,
                "month": month,
                "exits_count": len(left),
                "deals_count": len({deal for deal, _ in left}),
                "average_days": average(spans),
                "median_days": percentile(spans),
                "p90_days": percentile(spans, Fraction(9, 10)),
                "entries_count": None if staying is None else entered[stage],
                "still_there_count": None if staying is None else len(staying),
                "share_still_there": (
                    None if staying is None else Fraction(len(staying), entered[stage])
                ),
                "average_age_days": average(staying or []),
                "median_age_days": percentile(staying or []),
                "as_of": crm.today,
            }
        )
    return Mart(("stage_id", "month"), rows)


def _trends(crm: Crm) -> Mart:
    report = _report(crm)
    log_end = max((deal.last_change for deal in crm.deals), default=datetime.min)
    first = min((month for month, _ in report), default=date.max)
    rows = []
    for step in crm.steps:
        deals = {month: count for (month, number), count in report.items() if number == step.number}
        months = {month for month in deals if month > month_of(log_end)}
        month = first
        while month <= month_of(log_end):
            months.add(month)
            month = months_later(month, 1)

        def during(
            count: int, last: date, deals: dict[date, int] = deals, first: date = first
        ) -> int | None:
            months = [months_later(last, -ago) for ago in range(count)]
            return sum(deals.get(each, 0) for each in months) if min(months) >= first else None

        for month in sorted(months):
            last_month, last_year = (during(1, months_later(month, -ago)) for ago in (1, 12))
            is_over = datetime.combine(months_later(month, 1), datetime.min.time()) <= log_end
            count = deals.get(month, 0)
            rows.append(
                {
                    "month": month,
                    "kpi_name": step.name,
                    "funnel_step": step.number,
                    "deals_count": count,
                    "is_complete_month": is_over,
                    "previous_month_deals_count": last_month,
                    "month_over_month_change": change(count, last_month) if is_over else None,
                    "previous_year_deals_count": last_year,
                    "year_over_year_change": change(count, last_year) if is_over else None,
                    "quarter_to_date_deals_count": during((month.month - 1) % 3 + 1, month),
                    "rolling_3_months_deals_count": during(3, month),
                    "rolling_12_months_deals_count": during(12, month),
                }
            )
    return Mart(("month", "funnel_step"), rows)


def user_or_nobody(user: int | None) -> int:
    """Return the user, or the id that stands for an unknown one."""
    return -1 if user is None else user


def _owner_performance(crm: Crm) -> Mart:
    events: Counter[tuple[date, int, str, str, Decimal | None]] = Counter()
    for deal in crm.deals:
        for entry in deal.entries:
            step = crm.step_of_stage.get(entry.stage)
            if step and entry.number == 1:
                owner = user_or_nobody(deal.owner(entry.at))
                events[month_of(entry.at), owner, "stage entries", step.name, step.number] += 1
        if deal.lost_reason is not None and deal.lost_at is not None:
            owner = user_or_nobody(deal.owner(deal.lost_at))
            events[month_of(deal.lost_at), owner, "lost reasons", deal.lost_reason, None] += 1
    for activity in crm.activities:
        if activity.due is not None:
            is_past = activity.due.date() < crm.today
            state = "completed" if activity.done else "overdue" if is_past else "planned"
            measure = f"{state} activities"
            item = crm.types.get(activity.type) or activity.type or "unknown"
            events[month_of(activity.due), user_or_nobody(activity.user), measure, item, None] += 1
    for call in crm.calls():
        if call.due is not None:
            step = crm.step_of_call[call.type]
            who = (month_of(call.due), user_or_nobody(call.user))
            events[*who, "sales calls", step.name, step.number] += 1
    rows = [
        {
            "month": month,
            "user_id": user,
            "user_name": crm.users.get(user),
            "measure": measure,
            "item": item,
            "funnel_step": step,
            "events_count": count,
            "as_of": crm.today,
        }
        for (month, user, measure, item, step), count in events.items()
    ]
    return Mart(("month", "user_id", "measure", "item"), rows)


def _owner_outcomes(crm: Crm) -> Mart:
    groups: dict[tuple[date, int, int, str], list[Deal]] = defaultdict(list)
    for deal in crm.deals:
        if deal.status == "open":
            month, owner = month_of(crm.today), deal.periods[-1].user if deal.periods else None
        elif deal.closed_at is not None:
            month, owner = month_of(deal.closed_at), deal.owner(deal.closed_at)
        else:
            continue
        pipeline = -1 if deal.state.pipeline is None else deal.state.pipeline
        currency = deal.state.currency or "unknown"
        groups[month, user_or_nobody(owner), pipeline, currency].append(deal)
    rows = []
    for (month, user, pipeline, currency), deals in groups.items():
        numbers = {status: [d for d in deals if d.status == status] for status in STATUSES}
        worth = {
            status: [d.state.value for d in found if d.state.value is not None]
            for status, found in numbers.items()
        }
        won, lost = len(numbers["won"]), len(numbers["lost"])
        rows.append(
            {
                "month": month,
                "user_id": user,
                "user_name": crm.users.get(user),
                "pipeline_id": pipeline,
                "pipeline_name": crm.pipeline_name(pipeline),
                "currency": currency,
                "won_deals_count": won,
                "lost_deals_count": lost,
                "win_rate": ratio(won, won + lost),
                "won_value": sum(worth["won"], Fraction(0)) if worth["won"] else None,
                "open_deals_count": (
                    len(numbers["open"]) if month == month_of(crm.today) else None
                ),
                "open_value": sum(worth["open"], Fraction(0)) if worth["open"] else None,
                "as_of": crm.today,
            }
        )
    return Mart(("month", "user_id", "pipeline_id", "currency"), rows)


def _lost_reasons_monthly(crm: Crm) -> Mart:
    deals = Counter(
        (month_of(deal.lost_at), deal.lost_reason, _furthest_step(crm, deal) or Decimal(0))
        for deal in crm.deals
        if deal.lost_at is not None
    )
    columns = ("month", "lost_reason", "furthest_funnel_step", "deals_count")
    rows = [dict(zip(columns, (*cell, count), strict=True)) for cell, count in deals.items()]
    return Mart(columns[:3], rows)


def _pipelines(crm: Crm) -> Mart:
    rows = [
        {
            "pipeline_id": pipeline,
            "pipeline_name": row.pipeline_name,
            "pipeline_position": int(row.order_nr),
            "is_deleted": (row.is_deleted or "").lower() == "true",
        }
        for pipeline, row in crm.pipelines.items()
    ]
    return Mart(("pipeline_id",), rows)


def _pipeline_stages(crm: Crm) -> Mart:
    rows = [
        {
            "stage_id": stage,
            "pipeline_id": int(row.pipeline_id),
            "stage_position": int(row.order_nr),
            "deal_probability": int(row.deal_probability) if row.deal_probability else None,
        }
        for stage, row in crm.pipeline_stages.items()
    ]
    return Mart(("stage_id",), rows)


def _status_history(crm: Crm) -> Mart:
    rows = []
    for deal in crm.deals:
        periods = deal.status_periods()
        for (start, status), following in zip(periods, [*periods[1:], None], strict=False):
            rows.append(
                {
                    "deal_id": deal.id,
                    "status": status,
                    "valid_from": start,
                    "valid_to": following[0] if following else None,
                    "is_current": following is None,
                }
            )
    return Mart(("deal_id", "valid_from"), rows)


def _outcomes(crm: Crm) -> Mart:
    groups: dict[tuple[str, date, int, str], list[Deal]] = defaultdict(list)
    for deal in crm.deals:
        pipeline = -1 if deal.state.pipeline is None else deal.state.pipeline
        currency = deal.state.currency or "unknown"
        if deal.status is not None:
            groups["creation", month_of(deal.created), pipeline, currency].append(deal)
        if deal.closed_at is not None:
            groups["closing", month_of(deal.closed_at), pipeline, currency].append(deal)
    rows = []
    for (counted_by, month, pipeline, currency), deals in groups.items():
        won = [deal for deal in deals if deal.status == "won"]
        lost = [deal for deal in deals if deal.status == "lost"]
        values = [deal.state.value for deal in won if deal.state.value is not None]
        value = sum(values, Fraction(0)) if values else None
        cycles = [seconds(deal.created, deal.closed_at) for deal in won]
        cycle = percentile(cycles)
        rows.append(
            {
                "counted_by": counted_by,
                "month": month,
                "pipeline_id": pipeline,
                "pipeline_name": crm.pipeline_name(pipeline),
                "currency": currency,
                "deals_count": len(deals),
                "won_deals_count": len(won),
                "lost_deals_count": len(lost),
                "open_deals_count": len(deals) - len(won) - len(lost),
                "win_rate": ratio(len(won), len(won) + len(lost)),
                "won_value": value,
                "won_value_in_reporting_currency": crm.in_reporting_currency(
                    (deal, deal.closed_at.date() if deal.closed_at else date.max) for deal in won
                ),
                "average_won_value": value / len(values) if values and value is not None else None,
                "median_days_to_win": cycle,
                "p90_days_to_win": percentile(cycles, Fraction(9, 10)),
                "sales_velocity": value / cycle if cycle and value is not None else None,
            }
        )
    return Mart(("counted_by", "month", "pipeline_id", "currency"), rows)


def _worth(crm: Crm, deals: list[tuple[Deal, int | None]]) -> tuple[Fraction | None, ...]:
    """Return the value of deals that are in stages, and the value weighted by probability."""
    known = [(deal, stage) for deal, stage in deals if deal.state.value is not None]
    if not known:
        return None, None
    value = sum((deal.state.value for deal, _ in known), Fraction(0))
    weighted = sum(
        (deal.state.value * crm.probability(deal, stage) for deal, stage in known), Fraction(0)
    )
    return value, weighted


def _pipeline_monthly(crm: Crm) -> Mart:
    starts = [deal.status_periods()[0][0] for deal in crm.deals if deal.status_periods()]
    rows: list[Row] = []
    month = month_of(min(starts, default=datetime.max))
    while month <= month_of(crm.today):
        over = datetime.combine(months_later(month, 1), datetime.min.time())
        moment = min(over, datetime.combine(crm.today, datetime.min.time()))
        groups: dict[tuple[int, int, str], list[tuple[Deal, int | None]]] = defaultdict(list)
        for deal in crm.deals:
            if deal.status_at(moment) == "open":
                stage = deal.stage_at(moment)
                if stage in crm.pipeline_stages:
                    pipeline: int | None = int(crm.pipeline_stages[stage].pipeline_id)
                else:
                    pipeline = deal.state.pipeline
                key = (
                    -1 if pipeline is None else pipeline,
                    -1 if stage is None else stage,
                    deal.state.currency or "unknown",
                )
                groups[key].append((deal, stage))
        for (pipeline_id, stage_id, currency), deals in groups.items():
            value, weighted = _worth(crm, deals)
            rows.append(
                {
                    "month": month,
                    "taken_at": moment,
                    "is_month_over": moment == over,
                    "pipeline_id": pipeline_id,
                    "pipeline_name": crm.pipeline_name(pipeline_id),
                    "stage_id": stage_id,
                    "stage_name": crm.stages.get(stage_id),
                    "currency": currency,
                    "deals_count": len(deals),
                    "value": value,
                    "value_in_reporting_currency": crm.in_reporting_currency(
                        (deal, date.max) for deal, _ in deals
                    ),
                    "weighted_value": weighted,
                    "median_age_days": percentile(
                        max(0, (moment - deal.created) // SECOND) for deal, _ in deals
                    ),
                }
            )
        month = months_later(month, 1)
    return Mart(("month", "pipeline_id", "stage_id", "currency"), rows)


def _forecast(crm: Crm) -> Mart:
    groups: dict[tuple[date, bool, int, str], list[tuple[Deal, int | None]]] = defaultdict(list)
    for deal in crm.deals:
        day = deal.state.expected
        if deal.status == "open" and day is not None:
            key = (
                month_of(day),
                day < crm.today,
                -1 if deal.state.pipeline is None else deal.state.pipeline,
                deal.state.currency or "unknown",
            )
            groups[key].append((deal, deal.stage_at(datetime.max)))
    rows = []
    for (month, is_overdue, pipeline, currency), deals in groups.items():
        value, weighted = _worth(crm, deals)
        rows.append(
            {
                "month": month,
                "is_overdue": is_overdue,
                "pipeline_id": pipeline,
                "pipeline_name": crm.pipeline_name(pipeline),
                "currency": currency,
                "deals_count": len(deals),
                "value": value,
                "value_in_reporting_currency": crm.in_reporting_currency(
                    (deal, date.max) for deal, _ in deals
                ),
                "weighted_value": weighted,
                "as_of": crm.today,
            }
        )
    return Mart(("month", "is_overdue", "pipeline_id", "currency"), rows)


MARTS: dict[str, t.Callable[[Crm], Mart]] = {
    "pipedrive_staging.stg_fields": _fields,
    "pipedrive_intermediate.int_field_options": _field_options,
    "pipedrive_analytics.dim_lost_reasons": _lost_reasons,
    "pipedrive_analytics.dim_deal_owner_history": _owner_history,
    "pipedrive_analytics.dim_pipelines": _pipelines,
    "pipedrive_analytics.dim_pipeline_stages": _pipeline_stages,
    "pipedrive_analytics.fct_stage_entries": _stage_entries,
    "pipedrive_analytics.fct_deal_status_history": _status_history,
    "pipedrive_analytics.fct_deal_activities": _deal_activities,
    "pipedrive_analytics.fct_deals": _deals,
    "pipedrive_analytics.fct_deal_funnel_steps": _deal_funnel_steps,
    "pipedrive_analytics.rep_sales_funnel_conversion": _conversion,
    "pipedrive_analytics.rep_funnel_cohorts": _cohorts,
    "pipedrive_analytics.rep_funnel_all_cohorts": _all_cohorts,
    "pipedrive_analytics.rep_deal_outcomes_monthly": _outcomes,
    "pipedrive_analytics.rep_pipeline_monthly": _pipeline_monthly,
    "pipedrive_analytics.rep_forecast_monthly": _forecast,
    "pipedrive_analytics.rep_stage_transitions": _transitions,
    "pipedrive_analytics.rep_time_in_stage": _time_in_stage,
    "pipedrive_analytics.rep_sales_funnel_trends": _trends,
    "pipedrive_analytics.rep_owner_performance_monthly": _owner_performance,
    "pipedrive_analytics.rep_owner_outcomes_monthly": _owner_outcomes,
    "pipedrive_analytics.rep_lost_reasons_monthly": _lost_reasons_monthly,
}


def marts(
    export: dict[str, pd.DataFrame], today: date, landed_at: datetime | None = None
) -> dict[str, Mart]:
    """Compute every mart of an export, whose tables include `funnel_steps`, by model name.

    Args:
        export: the tables as text, see `oracle.read_export`.
        today: the execution date of the plan.
        landed_at: when the export was landed; None for one in seeds/, whose rows do not arrive.

    """
    crm = Crm(export, today, landed_at)
    return {model: mart(crm) for model, mart in MARTS.items()}


# --- against the models ---------------------------------------------------------------------------

_READ: dict[str, t.Callable[[str], t.Any]] = {
    "INT": int,
    "BIGINT": int,
    "DECIMAL": Decimal,
    "BOOLEAN": lambda text: {"true": True, "false": False}[text],
    "TIMESTAMP": lambda text: pd.Timestamp(text).to_pydatetime(),
    "DATE": date.fromisoformat,
    "TEXT": str,
}


def differences(warehouse, model: str, mart: Mart, environment: str = "dev") -> list[str]:
    """Describe the rows and values in which a model differs from the expected mart."""
    types = warehouse.model(model).columns_to_types_or_raise
    if mart.rows and {*types} != {column for row in mart.rows for column in row}:
        return [f"{model} has the columns {', '.join(types)}"]
    found: dict[tuple, Row] = {}
    for texts in warehouse.table(model, environment).to_dict("records"):
        row = {
            column: None if text is None else _READ[types[column].this.value](text)
            for column, text in texts.items()
        }
        key = tuple(row[column] for column in mart.grain)
        if key in found:
            return [f"{model} repeats {key}"]
        found[key] = row
    expected = {tuple(row[column] for column in mart.grain): row for row in mart.rows}
    assert len(expected) == len(mart.rows), f"the oracle repeats a row of {model}"
    return [
        *(f"{model} lacks {row}" for key, row in expected.items() if key not in found),
        *(f"{model} has too much: {row}" for key, row in found.items() if key not in expected),
        *(
            f"{model}{key}: {column} is {value}, not {expected[key][column]}"
            for key, row in found.items()
            if key in expected
            for column, value in row.items()
            if not _equal(types[column], value, expected[key][column])
        ),
    ]


def _equal(kind: exp.DataType, found: t.Any, expected: t.Any) -> bool:
    """Tell whether a value is the expected one, rounded to its places if it is a fraction."""
    if found is None or not isinstance(expected, Fraction):
        return found == expected
    places = int(kind.expressions[1].name)
    error = abs(Fraction(found) - expected)
    return found.as_tuple().exponent == -places and error <= 0.5 * 10**-places + 1e-8
