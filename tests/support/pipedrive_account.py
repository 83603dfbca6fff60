"""A random Pipedrive account as data: the answers of its API, and the true history behind them.

Every change is recorded twice. The objects and change logs have it as the API gives it, without a
deal's first stage and owner. The `histories` have it in full, and `export` makes the six tables
from them that a complete landing must leave. Nothing here reads the code that is tested with it.
"""

from __future__ import annotations

import json
import threading
import typing as t
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random

import pandas as pd

START = datetime(2024, 1, 1)
LIFE_END = datetime(2024, 11, 20)  # the changes of a new account are older, with one exception:
END = datetime(2024, 11, 30)  # archiving and deleting go on until then, the account's first now

SALES, PARTNERS = 1, 2  # pipelines
SALES_STAGES = range(1, 10)
TRIAL = 10  # a stage of the sales pipeline, deleted on TRIAL_DELETED
PARTNER_STAGES = range(11, 14)
TRIAL_DELETED = datetime(2024, 10, 1)
STAGE_NAMES = (
    *("Lead Generation", "Qualified Lead", "Needs Assessment", "Proposal/Quote Preparation"),
    *("Negotiation", "Closing", "Implementation/Onboarding", "Follow-up/Customer Success"),
    *("Renewal/Expansion", 'Trial, "free" (alt) 🧪', "Anfrage – geprüft", "Vertrag, zweifach"),
    "Partner 🤝",
)
USERS = {
    101: "Lea Barley",
    102: "Zoë Ångström",
    105: 'Robert "Bob" O\'Brien, Jr.',
    109: "李小龍",
    110: "Lea Barley",
    117: "Dana 🐙 Grün",
    118: "NULL",
    130: "Line\nBreak",
}
TYPES = {
    "meeting": "Sales Call 1",
    "sc_2": "Sales Call 2, “long”",
    "follow_up": "Rückruf 📞",
    "after_close_call": "After-close Call",
    "task": "Task",
}
REASONS = (
    *("Budget not approved", 'Chose "the other", cheaper', "Zu teuer – später 💸", "N/A", "null"),
    *("First line\nsecond line", "Windows\r\nline", "tab\there", r"\N", "100 %s {of} it; DROP '--"),
    *(" spaces around ", "nan", "価格が高い"),
)
TITLES = ("Aβ, Ltd.", 'The "big" one', "Two\nlines", "🚀 launch", "O'Hara & Söhne", "plain")


@dataclass
class History:
    """The true history of a deal, oldest first, from the stage and owner at its creation."""

    created: datetime
    stages: list[tuple[datetime, int]] = field(default_factory=list)
    owners: list[tuple[datetime, int]] = field(default_factory=list)
    lost_reasons: list[tuple[datetime, str | None]] = field(default_factory=list)
    statuses: list[tuple[datetime, str]] = field(default_factory=list)


class Account:
    """The objects of a company as the API returns them now, and the true history of its deals."""

    def __init__(self) -> None:
        """Set up the company: pipelines, stages, users, activity types, fields; no deals."""
        self.lock = threading.RLock()  # held while the account changes and while it is read
        self.now = START
        self.pipelines = [_pipeline(SALES, "Sales"), _pipeline(PARTNERS, "Partners & Händler 🤝")]
        self.stages = [_stage(number + 1, name) for number, name in enumerate(STAGE_NAMES)]
        self.users = [_user(number, name) for number, name in USERS.items()]
        self.activity_types = [_type(n + 1, *item) for n, item in enumerate(TYPES.items())]
        self.deal_fields = _deal_fields()
        self.deals: dict[int, dict[str, t.Any]] = {}
        self.activities: dict[int, dict[str, t.Any]] = {}
        self.changelogs: dict[int, list[dict[str, t.Any]]] = {}  # by deal, newest first
        self.histories: dict[int, History] = {}
        self.due: dict[int, datetime | None] = {}  # by activity: its true date and time
        self.touched: set[int] = set()  # deals whose update_time moved in the last `advance`
        self._logged: set[int] = set()

    # What happens to deals. Each step writes the API's objects and the truth.

    def create(self, at: datetime, stage: int, owner: int, title: str = "plain") -> int:
        """Create a deal; neither its stage nor its owner is an entry of the change log."""
        deal = max(self.deals, default=1000) + 1 + len(self.deals) % 3
        self.histories[deal] = History(at, [(at, stage)], [(at, owner)])
        self.changelogs[deal] = []
        self.deals[deal] = {
            **{"id": deal, "title": title, "owner_id": owner, "stage_id": stage},
            **{"pipeline_id": self.pipeline_of(stage), "status": "open", "value": 100 + deal},
            **{"add_time": _rfc3339(at), "update_time": _rfc3339(at), "stage_change_time": None},
            **{"won_time": None, "lost_time": None, "close_time": None, "lost_reason": None},
            **{"is_deleted": False, "is_archived": False, "person_id": None, "org_id": 7},
            **{"currency": "EUR", "probability": None, "visible_to": 3, "label_ids": []},
            **{"expected_close_date": None, "origin": "ManuallyCreated", "origin_id": None},
            **{"channel": None, "channel_id": None, "arr": None, "mrr": None, "acv": None},
            "custom_fields": {"0123456789abcdef0123456789abcdef01234567": {"value": 1}},
        }
        self._logged.add(deal)
        self.touched.add(deal)
        return deal

    def move(self, deal: int, at: datetime, stage: int) -> None:
        """Move a deal to another stage, and so perhaps to another pipeline."""
        self.histories[deal].stages.append((at, stage))
        self._set(deal, at, "pipeline", "pipeline_id", self.pipeline_of(stage))
        self._set(deal, at, "stage_id", "stage_id", stage)
        self.deals[deal]["stage_change_time"] = _rfc3339(at)

    def hand_over(self, deal: int, at: datetime, owner: int) -> None:
        """Give a deal to another user; the change log still calls the owner user_id."""
        self.histories[deal].owners.append((at, owner))
        self._set(deal, at, "user_id", "owner_id", owner)

    def give_reason(self, deal: int, at: datetime, reason: str | None) -> None:
        """Set the lost reason, change it, or clear it with None."""
        if reason != self.deals[deal]["lost_reason"]:
            self.histories[deal].lost_reasons.append((at, reason))
            self._set(deal, at, "lost_reason", "lost_reason", reason)

    def close(self, deal: int, at: datetime, status: str) -> None:
        """Win, lose or (with "open") reopen a deal."""
        if status != self.deals[deal]["status"]:
            self.histories[deal].statuses.append((at, status))
        closed = _rfc3339(at) if status != "open" else None
        self._set(deal, at, "status", "status", status)
        self._set(deal, at, "close_time", "close_time", closed)
        self._set(deal, at, "lost_time", "lost_time", closed if status == "lost" else None)
        self._set(deal, at, "won_time", "won_time", closed if status == "won" else None)

    def edit(self, deal: int, at: datetime, title: str, value: int) -> None:
        """Change fields that no funnel needs."""
        self._set(deal, at, "title", "title", title)
        self._set(deal, at, "value", "value", value)

    def archive(self, deal: int, at: datetime, archived: bool = True) -> None:
        """Archive a deal or bring it back: its update_time moves, its change log does not."""
        self.deals[deal]["is_archived"] = archived
        self._touch(deal, at)

    def delete(self, deal: int, at: datetime) -> None:
        """Delete a deal; the API lists it for 30 days more."""
        self.deals[deal]["is_deleted"] = True
        self.histories[deal].statuses.append((at, "deleted"))
        self._set(deal, at, "status", "status", "deleted")

    def _set(self, deal: int, at: datetime, field_key: str, name: str, value: t.Any) -> None:
        """Set a property of the deal and log it, if that changes anything."""
        old = self.deals[deal][name]
        if value == old:
            return
        self.deals[deal][name] = value
        self._touch(deal, at)
        self._logged.add(deal)
        log = self.changelogs[deal]
        entry = {
            "field_key": field_key,
            "old_value": None if old is None else str(old),
            "new_value": None if value is None else str(value),
            "actor_user_id": self.users[len(log) % len(self.users)]["id"],
            "time": f"{at:%Y-%m-%d %H:%M:%S}",
            "change_source": ("app", "api", None)[len(log) % 3],
            "change_source_user_agent": None,
            "is_bulk_update_flag": len(log) % 5 == 0,
        }
        log.insert(0, entry)

    def _touch(self, deal: int, at: datetime) -> None:
        self.deals[deal]["update_time"] = _rfc3339(at)
        self.touched.add(deal)

    # What happens to activities.

    def plan(
        self, at: datetime, key: str, owner: int, deal: int | None, due_date: date | None = None
    ) -> int:
        """Plan an activity, without a time of day; `set_due` gives it one."""
        activity = max(self.activities, default=5000) + 1
        self.activities[activity] = {
            **{"id": activity, "subject": f"{TITLES[activity % len(TITLES)]}", "type": key},
            **{"owner_id": owner, "creator_user_id": owner, "deal_id": deal, "lead_id": None},
            **{"person_id": None, "org_id": None, "project_id": None, "done": False},
            **{"due_date": None, "due_time": None, "duration": None, "busy": False},
            **{"add_time": _rfc3339(at), "update_time": _rfc3339(at), "is_deleted": False},
            **{"marked_as_done_time": None, "note": None, "priority": None, "participants": []},
        }
        self.set_due(activity, at, due_date, None)
        return activity

    def set_due(
        self, activity: int, at: datetime, due_date: date | None, due_time: str | None
    ) -> None:
        """Date an activity; `due_time` is written as it is given: HH:MM, HH:MM:SS, "" or None."""
        self._change(activity, at, due_time=due_time)
        self._change(activity, at, due_date=due_date.isoformat() if due_date else None)
        hours, minutes, seconds = [*map(int, (due_time or "0").split(":")), 0, 0][:3]
        self.due[activity] = due_date and datetime(
            due_date.year, due_date.month, due_date.day, hours, minutes, seconds
        )

    def complete(self, activity: int, at: datetime, done: bool = True) -> None:
        """Mark an activity as done, or as not done after all."""
        self._change(activity, at, done=done, marked_as_done_time=_rfc3339(at) if done else None)

    def link(self, activity: int, at: datetime, deal: int | None) -> None:
        """Move an activity to another deal, or to none."""
        self._change(activity, at, deal_id=deal)

    def delete_activity(self, activity: int, at: datetime) -> None:
        """Delete an activity."""
        self._change(activity, at, is_deleted=True)

    def _change(self, activity: int, at: datetime, **values: t.Any) -> None:
        self.activities[activity].update(values, update_time=_rfc3339(at))

    def hollow(self) -> None:
        """Add rows of which the API's documents allow every field but the id to be null.

        All come to an end here: only the activity has a deal, and is landed.
        """
        deal, activity = max(self.deals) + 1, max(self.activities) + 1
        self.deals[deal] = dict.fromkeys(self.deals[deal - 1]) | {"id": deal, "is_archived": False}
        self.changelogs[deal] = []
        keys = self.activities[activity - 1]
        for number, of_deal in ((activity, min(self.deals)), (activity + 1, None)):
            self.activities[number] = dict.fromkeys(keys) | {"id": number, "deal_id": of_deal}
            self.due[number] = None
        for rows in (self.stages, self.activity_types, self.users):
            rows.append(dict.fromkeys(rows[0]) | {"id": max(row["id"] for row in rows) + 1})
        self.deal_fields.append(dict.fromkeys(self.deal_fields[0]) | {"field_code": "hollow"})

    # The truth.

    def pipeline_of(self, stage: int) -> int:
        """Return the pipeline that a stage belongs to."""
        return next(row["pipeline_id"] for row in self.stages if row["id"] == stage)

    def deals_of(self, pipeline_id: int | None) -> set[int]:
        """Return the deals that ever were in a stage of the pipeline; all of them for None."""
        pipelines = {row["id"]: row["pipeline_id"] for row in self.stages}
        return {
            deal
            for deal, history in self.histories.items()
            if pipeline_id is None or pipeline_id in {pipelines[s] for _, s in history.stages}
        }

    def export(self, pipeline_id: int | None = None) -> dict[str, pd.DataFrame]:
        """Return the tables of external_models.yaml without loaded_at, rows in no order."""
        with self.lock:
            deals = self.deals_of(pipeline_id)
            changes: list[tuple[int, datetime, str, str | None]] = []
            for deal in deals:
                history = self.histories[deal]
                changes.append((deal, history.created, "add_time", history.created.isoformat()))
                changes += [(deal, at, "stage_id", str(stage)) for at, stage in history.stages]
                changes += [(deal, at, "user_id", str(owner)) for at, owner in history.owners]
                changes += [(deal, at, "lost_reason", text) for at, text in history.lost_reasons]
                changes += [(deal, at, "status", status) for at, status in history.statuses]
            activities = [
                (key, row["type"], row["owner_id"], row["deal_id"], row["done"], self.due[key])
                for key, row in self.activities.items()
                if not row["is_deleted"]
                and row["deal_id"] is not None
                and (pipeline_id is None or row["deal_id"] in deals)
            ]
            types = [
                (row["id"], row["name"], "Yes" if row["active_flag"] else "No", row["key_string"])
                for row in self.activity_types
                if row["key_string"] is not None
            ]
            fields = [
                (None, _field_key(row["field_code"]), row["field_name"], _options(row["options"]))
                for row in self.deal_fields
            ]
            stages = [(row["id"], row["name"]) for row in self.stages if row["name"] is not None]
            listed = [
                (
                    *(deal, row["title"], row["pipeline_id"], row["stage_id"]),
                    row["status"] if row["status"] != "deleted" else None,
                    *(row["value"], row["currency"], row["probability"]),
                    *(
                        _plain_time(row[name])
                        for name in ("expected_close_date", "won_time", "lost_time", "close_time")
                    ),
                    *(row["org_id"], bool(row["is_deleted"]), bool(row["is_archived"])),
                    json.dumps(row["custom_fields"]) if row["custom_fields"] else None,
                )
                for deal, row in self.deals.items()
                if deal in deals
            ]
            pipelines = [
                (row["id"], row["name"], row["order_nr"], bool(row["is_deleted"]))
                for row in self.pipelines
            ]
            places = [
                (row["id"], row["pipeline_id"], row["order_nr"], row["deal_probability"])
                for row in self.stages
                if row["name"] is not None
            ]
            users = [(row["id"], row["name"], row["email"], row["modified"]) for row in self.users]
        return {
            "activity": _table(
                "activity_id type assigned_to_user deal_id done due_to", activities, "due_to"
            ),
            "activity_types": _table("id name active type", types),
            "deal_changes": _table(
                "deal_id change_time changed_field_key new_value", changes, "change_time"
            ),
            "deals": _table(
                "deal_id title pipeline_id stage_id status value currency probability "
                "expected_close_date won_time lost_time close_time org_id is_deleted is_archived "
                "custom_fields",
                listed,
            ),
            "pipelines": _table("pipeline_id pipeline_name order_nr is_deleted", pipelines),
            "pipeline_stages": _table("stage_id pipeline_id order_nr deal_probability", places),
            "fields": _table("id field_key name field_value_options", fields),
            "stages": _table("stage_id stage_name", stages),
            "users": _table("id name email modified", users, "modified"),
        }

    # Later.

    def advance(self, seed: int) -> set[int]:
        """Let a day or so pass; return the deals that are new or whose change log has changed.

        `touched` then holds the deals whose update_time moved: the returned ones, and those that
        were archived or brought back.
        """
        with self.lock:
            random = Random(seed)
            self.touched, self._logged = set(), set()
            self.now += timedelta(hours=random.randint(1, 12))
            self._advance_deals(random)
            self._advance_activities(random)
            stage, user = random.choice(self.stages), random.choice(self.users)
            stage.update(name=f"{stage['name']} é{seed}", update_time=_rfc3339(self._tick(random)))
            user["name"] += " ✓"
            user["modified"] = f"{self._tick(random):%Y-%m-%d %H:%M:%S}"
            return set(self._logged)

    def _advance_deals(self, random: Random) -> None:
        def live() -> int:
            return random.choice(self._live())

        first, second = random.sample(SALES_STAGES, 2)
        newcomer = self.create(self._tick(random), first, random.choice([*USERS]), "🚀 launch")
        self.move(newcomer, self.now, second)
        for stage in (1, random.choice(PARTNER_STAGES)):
            self.create(self._tick(random), stage, random.choice([*USERS]), random.choice(TITLES))
        strangers = sorted(set(self._live()) - self.deals_of(SALES))
        for deal in strangers[:1]:  # its older activities now count for the sales pipeline as well
            self.plan(self._tick(random), "meeting", 101, deal, date(2024, 6, 30))
            self.move(deal, self._tick(random), random.choice(SALES_STAGES))
        for _ in range(max(5, len(self.deals) // 25)):
            deal = live()
            self.move(deal, self._tick(random), self._next_stage(random, deal))
        for _ in range(3):
            deal = live()
            self.hand_over(deal, self._tick(random), _other(random, [*USERS], self._owner(deal)))
        deal = live()
        self.move(deal, self._tick(random), self._next_stage(random, deal))
        self.hand_over(deal, self.now, _other(random, [*USERS], self._owner(deal)))
        deal = live()
        self.close(deal, self._tick(random), "lost")
        self.give_reason(deal, self.now, _other(random, [*REASONS], self._reason(deal)))
        with_reason = [deal for deal in self._live() if self._reason(deal) is not None]
        deal = random.choice(with_reason)
        self.give_reason(deal, self._tick(random), random.choice([None, "Ünklar, again"]))
        self.close(live(), self._tick(random), "won")
        self.close(live(), self._tick(random), "open")
        deal = live()
        self.edit(deal, self._tick(random), f"{random.choice(TITLES)}!", random.randint(1, 10**6))
        away = [
            deal for deal, row in self.deals.items() if row["is_archived"] and not row["is_deleted"]
        ]
        for deal in random.sample(away, min(1, len(away))):
            self.archive(deal, self._tick(random), archived=False)
        self.archive(live(), self._tick(random))
        self.delete(live(), self._tick(random))

    def _advance_activities(self, random: Random) -> None:
        for deal in [*self.deals][-3:] + [None]:
            self._random_activity(random, self._tick(random), deal)
        there = [number for number, row in self.activities.items() if not row["is_deleted"]]
        for activity in random.sample(there, min(len(there), max(3, len(there) // 40))):
            at = self._tick(random)
            match random.randrange(6):
                case 0 | 1:
                    self.complete(activity, at, not self.activities[activity]["done"])
                case 2:
                    self.set_due(activity, at, at.date(), random.choice(["09:30", "23:59:59", ""]))
                case 3:
                    self.delete_activity(activity, at)
                case 4:
                    self.link(activity, at, random.choice([*self.deals]))
                case 5:
                    self.link(activity, at, None)
        self.delete_activity(random.choice(there), self._tick(random))

    def _tick(self, random: Random) -> datetime:
        self.now += timedelta(seconds=random.randint(1, 900))
        return self.now

    def _live(self) -> list[int]:
        return [
            deal
            for deal, row in self.deals.items()
            if not row["is_deleted"] and not row["is_archived"]
        ]

    def _stage(self, deal: int) -> int:
        return self.deals[deal]["stage_id"]

    def _owner(self, deal: int) -> int:
        return self.deals[deal]["owner_id"]

    def _reason(self, deal: int) -> str | None:
        return self.deals[deal]["lost_reason"]

    def _next_stage(self, random: Random, deal: int) -> int:
        """Return another stage: most often the next one, else any that is not deleted."""
        here = self._stage(deal)
        if here + 1 in SALES_STAGES and random.random() < 0.6:
            return here + 1
        return _other(random, [*SALES_STAGES, *PARTNER_STAGES], here)

    # Making an account.

    def _random_deal(self, random: Random) -> None:
        at = START + timedelta(seconds=random.randint(0, 250 * 86_400))
        first = random.choice([1, 1, 1, 1, random.choice(SALES_STAGES), *PARTNER_STAGES])
        deal = self.create(at, first, random.choice([*USERS]), random.choice(TITLES))
        if random.random() < 0.05:  # moved by an automation at once
            self.move(deal, at, self._next_stage(random, deal))
        for _ in range(random.choice([0, 0, 1, 2, 3, 5, 8])):
            at += timedelta(seconds=random.choice([1, 60, 3600, 86_400, 20 * 86_400]))
            at += timedelta(seconds=random.randint(0, 3600))
            if at >= LIFE_END:
                break
            chance = random.random()
            if chance < 0.75:
                self.move(deal, at, self._next_stage(random, deal))
            if chance < 0.05:  # twice in a second
                passed = {stage for then, stage in self.histories[deal].stages if then == at}
                self.move(deal, at, random.choice([s for s in SALES_STAGES if s not in passed]))
            if 0.05 < chance < 0.1 or 0.75 < chance < 0.85:
                self.hand_over(deal, at, _other(random, [*USERS], self._owner(deal)))
            if 0.85 < chance < 0.93:
                self.edit(deal, at, random.choice(TITLES), random.randint(1, 10**6))
            if chance > 0.93:
                self.close(deal, at, random.choice(["won", "lost", "lost"]))
                self.give_reason(deal, at, random.choice([None, *REASONS]))
        if random.random() < 0.12:
            self.archive(deal, LIFE_END + timedelta(seconds=random.randint(0, 86_399)))
        if random.random() < 0.06:
            self.delete(deal, LIFE_END + timedelta(days=1, seconds=random.randint(0, 8 * 86_400)))

    def _random_activity(self, random: Random, at: datetime, deal: int | None) -> None:
        activity = self.plan(at, random.choice([*TYPES]), random.choice([*USERS]), deal)
        day = random.choice([date(2024, 2, 29), date(2024, 3, 31), *[at.date()] * 6])
        time = random.choice(
            ["00:00", "23:59:59", "", None, f"{at:%H:%M}", f"{at:%H:%M}", f"{at:%H:%M:%S}"]
        )
        self.set_due(activity, at, day if random.random() < 0.9 else None, time)
        if at + timedelta(hours=11) > self.now:
            return
        if random.random() < 0.7:
            self.complete(activity, at + timedelta(minutes=random.randint(0, 600)))
        if random.random() < 0.08:
            self.delete_activity(activity, at + timedelta(hours=11))


def random_account(seed: int, deals: int = 500) -> Account:
    """Make an account whose first deals are the cases that must occur; the others are random.

    With at least 20 `deals`, all the cases are there. All times are before the account's `now`.
    """
    random, account = Random(seed), Account()
    account.now = END
    for number in range(deals):
        if number < len(CASES):
            at = START + timedelta(days=number, seconds=random.randint(0, 80_000))
            CASES[number](account, at)
        else:
            account._random_deal(random)
    for deal in [*account.deals] * 2 + [None] * (deals // 10 + 1):
        at = START + timedelta(seconds=random.randint(0, 300 * 86_400))
        account._random_activity(random, at, deal)
    account.activity_types[-1]["active_flag"] = False
    account.touched, account._logged = set(), set()
    return account


def _never_moved(account: Account, at: datetime) -> None:
    account.create(at, 4, 105, "Two\nlines")


def _went_back(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 101)
    for days, stage in [(1, 2), (2, 3), (3, 2), (4, 1), (5, 2)]:
        account.move(deal, at + timedelta(days=days), stage)


def _month_boundary(account: Account, at: datetime) -> None:
    deal = account.create(datetime(2024, 1, 31, 23, 59, 59), 1, 102)
    account.move(deal, datetime(2024, 2, 29, 23, 59, 59), 2)
    account.move(deal, datetime(2024, 3, 1), 3)
    account.move(deal, datetime(2024, 3, 31, 23, 59, 59), 4)


def _both_pipelines(account: Account, at: datetime) -> None:
    deal = account.create(at, 2, 109)
    account.move(deal, at + timedelta(days=1), 12)
    account.hand_over(deal, at + timedelta(days=2), 110)


def _stage_and_owner_at_once(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 117)
    later = at + timedelta(days=9, seconds=7)
    account.hand_over(deal, later, 118)
    account.move(deal, later, 2)
    account.edit(deal, later, "renamed", 5)


def _reasons(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 101)
    account.close(deal, at + timedelta(days=30), "lost")
    account.give_reason(deal, at + timedelta(days=30), 'Chose "the other", cheaper')
    account.give_reason(deal, at + timedelta(days=31), "First line\nsecond line 💸")
    account.close(deal, at + timedelta(days=40), "open")
    account.give_reason(deal, at + timedelta(days=40), None)
    account.close(deal, at + timedelta(days=50), "won")
    account.give_reason(deal, at + timedelta(days=51), "N/A")


def _long_log(account: Account, at: datetime) -> None:
    """Fill more than one page of 500 entries; the moves are at both ends and in the middle."""
    deal = account.create(at, 1, 102)
    account.move(deal, at + timedelta(seconds=1), 2)
    for number in range(1, 300):
        account.edit(deal, at + timedelta(minutes=number), f"Title, “{number}”", number)
    account.hand_over(deal, at + timedelta(days=1), 105)
    account.move(deal, at + timedelta(days=2), 3)
    for number in range(300, 360):
        account.edit(deal, at + timedelta(days=3, minutes=number), f"Title {number}", number)
    account.move(deal, at + timedelta(days=4), 4)


def _two_pages_of_100(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 109)
    account.move(deal, at + timedelta(hours=1), 3)
    for number in range(2, 62):
        account.edit(deal, at + timedelta(hours=number), f"#{number}", number)


def _began_in_deleted_stage(account: Account, at: datetime) -> None:
    deal = account.create(at, TRIAL, 110)
    account.move(deal, at + timedelta(days=5), 2)


def _passed_deleted_stage(account: Account, at: datetime) -> None:
    deal = account.create(at, 11, 110)
    account.move(deal, at + timedelta(days=5), TRIAL)
    account.move(deal, at + timedelta(days=6), 13)


def _moved_in_second_of_creation(account: Account, at: datetime) -> None:
    """Move twice at once: only the order of the log tells which old value is the first stage."""
    deal = account.create(at, 5, 117)
    account.move(deal, at, 1)
    account.move(deal, at, 3)
    account.hand_over(deal, at, 101)


def _archived(account: Account, at: datetime) -> None:
    deal = account.create(at, 2, 118)
    account.move(deal, at + timedelta(days=3), 1)
    account.archive(deal, LIFE_END)


def _archived_never_moved(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 118)
    account.hand_over(deal, at + timedelta(days=3), 130)
    account.archive(deal, LIFE_END)


def _archived_and_lost(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 118)
    account.close(deal, at + timedelta(days=3), "lost")
    account.give_reason(deal, at + timedelta(days=3), REASONS[2])
    account.archive(deal, LIFE_END)


def _deleted(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 101)
    account.move(deal, at + timedelta(days=3), 2)
    account.delete(deal, END - timedelta(days=1))


def _deleted_never_moved(account: Account, at: datetime) -> None:
    account.delete(account.create(at, 3, 102), END - timedelta(days=9))


def _archived_and_deleted(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 105)
    account.move(deal, at + timedelta(days=3), 2)
    account.archive(deal, LIFE_END)
    account.delete(deal, END - timedelta(days=2))


def _partner(account: Account, at: datetime) -> None:
    deal = account.create(at, 11, 109)
    account.move(deal, at + timedelta(days=3), 12)


def _won(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 101)
    account.move(deal, at + timedelta(days=60), 6)
    account.close(deal, at + timedelta(days=60), "won")


def _back_with_the_first_owner(account: Account, at: datetime) -> None:
    deal = account.create(at, 1, 101)
    account.hand_over(deal, at + timedelta(days=1), 102)
    account.hand_over(deal, at + timedelta(days=2), 101)


CASES: tuple[t.Callable[[Account, datetime], None], ...] = (
    *(_never_moved, _went_back, _month_boundary, _both_pipelines, _stage_and_owner_at_once),
    *(_reasons, _long_log, _two_pages_of_100, _began_in_deleted_stage, _passed_deleted_stage),
    *(_moved_in_second_of_creation, _archived, _archived_never_moved, _archived_and_lost),
    *(_deleted, _deleted_never_moved, _archived_and_deleted, _partner, _won),
    _back_with_the_first_owner,
)


def _other(random: Random, choices: list[t.Any], than: t.Any) -> t.Any:
    return random.choice([choice for choice in choices if choice != than])


def _rfc3339(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _table(columns: str, rows: list[tuple], time: str | None = None) -> pd.DataFrame:
    """Return rows as a table; `time` names the column that holds times."""
    table = pd.DataFrame(rows, columns=columns.split())
    if time:
        table[time] = pd.to_datetime(table[time]).astype("datetime64[us]")
    return table


def _plain_time(text: str | None) -> datetime | None:
    """Return a time of the API as the contract has it."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _field_key(field_code: str) -> str:
    """Return the key that a field has in change logs."""
    return "user_id" if field_code == "owner_id" else field_code


def _options(options: list[dict[str, t.Any]] | None) -> str | None:
    """Return options as the contract has them: JSON with ids as text; None where there are none."""
    pairs = [{"id": str(option["id"]), "label": option["label"]} for option in options or []]
    return json.dumps(pairs, ensure_ascii=False) if pairs else None


def _pipeline(number: int, name: str) -> dict[str, t.Any]:
    return {
        **{"id": number, "name": name, "order_nr": number, "is_deleted": False},
        **{"is_deal_probability_enabled": False},
        **{"add_time": _rfc3339(START), "update_time": _rfc3339(START)},
    }


def _stage(number: int, name: str) -> dict[str, t.Any]:
    deleted = number == TRIAL
    return {
        **{"id": number, "name": name, "order_nr": number if number <= TRIAL else number - TRIAL},
        **{"pipeline_id": SALES if number <= TRIAL else PARTNERS, "is_deleted": deleted},
        **{"deal_probability": 100, "is_deal_rot_enabled": False, "days_to_rotten": None},
        "add_time": _rfc3339(START),
        "update_time": _rfc3339(TRIAL_DELETED if deleted else START),
    }


def _user(number: int, name: str) -> dict[str, t.Any]:
    return {
        **{"id": number, "name": name, "email": f"user{number}@example.org", "phone": None},
        **{"modified": None if number == 118 else f"2024-01-{number - 100:02} 08:09:10"},
        **{"active_flag": number != 110, "is_deleted": False, "is_you": number == 101, "lang": 1},
        **{"created": "2023-05-06 07:08:09", "last_login": "2024-01-01 00:00:00"},
        **{"default_currency": "EUR", "role_id": 1, "timezone_name": "Europe/Berlin"},
        **{"timezone_offset": "+01:00", "activated": True, "has_created_company": False},
    }


def _type(number: int, key: str, name: str) -> dict[str, t.Any]:
    return {
        **{"id": number, "name": name, "key_string": key, "active_flag": True},
        **{"order_nr": number, "icon_key": "call", "color": "FFFFFF", "is_custom_flag": number > 1},
        **{"add_time": "2023-01-01 00:00:00", "update_time": "2023-01-01 00:00:00"},
    }


def _deal_fields() -> list[dict[str, t.Any]]:
    stages = [{"id": n + 1, "label": name} for n, name in enumerate(STAGE_NAMES)]
    reasons = [
        {"id": n + 1, "label": text, "color": None, "add_time": None}
        for n, text in enumerate(REASONS)
    ]
    statuses = [{"id": text, "label": text.title()} for text in ("open", "won", "lost", "deleted")]
    fields: list[tuple[str, str, str, list[dict[str, t.Any]] | None]] = [
        ("title", "Title", "varchar", None),
        ("owner_id", "Owner", "user", None),
        ("stage_id", "Stage", "stage", stages),
        ("pipeline", "Pipeline", "double", None),
        ("lost_reason", "Lost reason", "varchar_options", reasons),
        ("add_time", "Deal created", "date", None),
        ("status", "Status", "status", statuses),
        ("value", "Value, “€”", "monetary", None),
        ("label_ids", "Label 🏷", "set", []),
        ("0123456789abcdef0123456789abcdef01234567", 'Größe, "cm"', "double", None),
    ]
    return [
        {
            **{"field_code": code, "field_name": name, "field_type": kind, "options": options},
            **{"is_custom_field": len(code) == 40, "is_optional_response_field": False},
            **{"subfields": None, "description": ""},
        }
        for code, name, kind, options in fields
    ]
