"""Mirror a Pipedrive account in the database, within its budget.

The mirror is the schema `pipedrive_api`. It holds the fields of the API that the contract needs;
`contract_queries` makes the contract tables from it. A landing reads the rows updated since the
last one, and then the change logs that may have changed. Each answer is written when it is there,
with how far the reading is. Wherever a landing ends, the next one goes on there.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from pipedrive_funnel.landing.api.choice import Wanted, logs_to_read
from pipedrive_funnel.landing.api.client import PAGE, Client
from pipedrive_funnel.landing.api.mapping import (
    ODD_VALUES,
    Coverage,
    contract_queries,
    coverage,
    skipped,
)
from pipedrive_funnel.landing.api.meter import Meter
from pipedrive_funnel.landing.api.pipelines import check_pipeline, suggest_steps
from pipedrive_funnel.landing.api.reading import (
    Progress,
    Report,
    now,
    read_list,
    read_logs,
    updated_since,
)
from pipedrive_funnel.landing.api.settings import ApiError, BudgetSpent, Settings
from pipedrive_funnel.landing.api.store import Reading, Store, listed_deal
from pipedrive_funnel.landing.api.tables import CHANGELOG, ENDPOINTS, MIRROR, convert

if t.TYPE_CHECKING:
    from pipedrive_funnel.warehouse import Database

__all__ = [
    "MIRROR",
    "ODD_VALUES",
    "ApiError",
    "BudgetSpent",
    "Coverage",
    "Estimate",
    "Mirror",
    "Read",
    "Settings",
    "check",
    "contract_queries",
    "coverage",
    "estimate",
    "note_published",
    "skipped",
    "suggest_steps",
]

LOGS = "changelogs"  # the name of the reading of all logs
PUBLISHED = "published"  # the name of the note of when the mirror was published last
REPLACING = "replacing"  # the name of the note of a `--replace` that is not published yet


@dataclass(frozen=True)
class Read:
    """What a landing has read.

    Attributes:
        rows: the number of rows by list; for `changelogs`, of logs, one per deal.
        tokens: what they have cost.
        tokens_left: what the company has left today; None if Pipedrive does not tell.
        stopped: why the reading has ended before the end; None if it has not.
        left: the change logs that are still to be read.
        days: how many days of the account's budget that takes, if that is known.
        is_publishable: whether each list was read to the end, once.

    """

    rows: Mapping[str, int]
    tokens: int
    tokens_left: int | None
    stopped: ApiError | None
    left: int
    days: int | None
    is_publishable: bool

    @property
    def has_failed(self) -> bool:
        """Whether something other than the budget has ended the reading."""
        return self.stopped is not None and not isinstance(self.stopped, BudgetSpent)


class Mirror:
    """The mirror of an account in a database."""

    def __init__(self, settings: Settings, database: Database, *, replace: bool = False) -> None:
        """Open the mirror of the account.

        Args:
            settings: the account.
            database: where the mirror is.
            replace: whether this is to be in place of what another account or source has landed.

        Raises:
            ApiError: the mirror is another account's, and that is not allowed.

        """
        self._settings, self._database, self._replace = settings, database, replace
        self._store = Store(database)
        self._drop_another_account(allowed=replace)

    def _drop_another_account(self, *, allowed: bool) -> None:
        host, found = _host(self._settings), self._store.host
        if found in (None, host):
            return
        check(self._settings)  # the address may be mistyped
        if not allowed:
            raise ApiError(
                f"The schema {MIRROR} mirrors {found}, and this is {host}: say --replace to land "
                "another account in place of it."
            )
        self._store.drop()

    @property
    def is_replacing(self) -> bool:
        """Whether this landing, or one that published nothing, is in place of another source's."""
        return self._replace or (self._store.exists and self._store.reading(REPLACING).is_under_way)

    @property
    def is_unpublished(self) -> bool:
        """Whether a landing was killed after it had read change logs: they can be published."""
        store = self._store
        if not store.exists or not store.is_whole:
            return False
        published_at = store.reading(PUBLISHED).ended_at
        return store.last_log_at is not None and (
            published_at is None or store.last_log_at > published_at
        )

    def read(self, *, full: bool = False, report: Report) -> Read:
        """Bring the mirror up to date, as far as the budget goes.

        Args:
            full: read everything, not only what was updated. If that comes to no end, the next
                landings go on with it, also when they are not told.
            report: called with the name of a list and the number of its rows read so far.

        Raises:
            ApiError: the lists cannot be read. What was read of them is kept.

        """
        store, progress = self._store, Progress(report)
        store.create()
        if self._replace:
            store.note(Reading(REPLACING, began_at=now()))
        meter = Meter(self._settings, *store.tokens())
        stopped: ApiError | None = None
        everything = store.reading(LOGS)
        if full and not everything.is_under_way:
            everything = Reading(LOGS, began_at=now())
            store.note(everything)
        all_since = everything.began_at if everything.is_under_way else None
        try:
            with Client(self._settings, meter) as client:
                self._read_lists(client, meter, progress, all_since)
                stopped = read_logs(client, store, meter, self._wanted(all_since), progress)
        except BudgetSpent as error:
            stopped = error
        finally:
            store.note_tokens(meter)
        if all_since and not stopped:
            store.note(replace(everything, ended_at=now()))
        left = [wanted for wanted in self._wanted(all_since) if not wanted.is_sweep]
        return Read(
            progress.counts,
            meter.spent,
            meter.left,
            stopped,
            len(left) if stopped else 0,
            _days(len(left) * CHANGELOG.tokens, meter),
            store.is_whole,
        )

    def _read_lists(
        self, client: Client, meter: Meter, progress: Progress, all_since: datetime | None
    ) -> None:
        """Read the lists; activities as a whole each day, since deleted ones are in no list.

        As long as there are deals whose log was never asked for, the tokens are for those.
        """
        asked = self._store.logs()
        is_behind = any(deal.id not in asked for deal in self._store.deals())
        midnight = None if is_behind else _midnight()
        for name, endpoint in ENDPOINTS.items():
            since = [all_since, midnight if endpoint.table == "activities" else None]
            whole_since = max(filter(None, since), default=None)
            read_list(client, self._store, meter, name, progress, whole_since=whole_since)
            self._store.note_host(_host(self._settings))  # now that there is an answer from there
        check_pipeline(self._settings, self._database)

    def _wanted(self, all_since: datetime | None) -> list[Wanted]:
        return logs_to_read(
            self._store.deals(),
            self._store.logs(),
            pipeline_id=self._settings.pipeline_id,
            at=now(),
            all_since=all_since,
        )


def _midnight() -> datetime:
    """Return the time at which today, UTC, began."""
    return now().replace(hour=0, minute=0, second=0, microsecond=0)


def _host(settings: Settings) -> str:
    return urlsplit(settings.url).hostname or ""


def _days(tokens: int, meter: Meter) -> int | None:
    """Return how many days of what landings may spend so many tokens are."""
    return -(-tokens // meter.share) if meter.share else None


def note_published(database: Database) -> None:
    """Note, in the open transaction, that the raw tables have what the mirror has."""
    for name in (PUBLISHED, REPLACING):
        Store(database).note_reading(Reading(name, ended_at=now()))


# --- without writing ------------------------------------------------------------------------------


def check(settings: Settings) -> dict[str, int]:
    """Read the short lists of an account as a test, and return their numbers of rows.

    Raises:
        ApiError: the account cannot be read.

    """
    with Client(settings, Meter(settings)) as client:
        return _check(client)


def _check(client: Client) -> dict[str, int]:
    return {
        name: len(convert(client.rows(endpoint), endpoint).rows)
        for name, endpoint in ENDPOINTS.items()
        if not endpoint.is_incremental
    }


@dataclass(frozen=True)
class Estimate:
    """What a landing will cost.

    Attributes:
        rows: of the lists that were read to find out.
        logs: the change logs to read.
        tokens: what the landing costs.
        day: the company's tokens of a day; None if nobody has told.
        share: what landings may spend of them.
        days: how many days of that the landing takes.
        spent: tokens that finding out has cost.

    """

    rows: dict[str, int]
    logs: int
    tokens: int
    day: int | None
    share: int | None
    days: int | None
    spent: int


def estimate(settings: Settings, database: Database, *, full: bool = False) -> Estimate:
    """Read the lists of deals, and say what a landing will cost. Nothing is written.

    Raises:
        ApiError: the account cannot be read.

    """
    store = Store(database)
    is_mirrored = store.exists and store.host == _host(settings)
    deals = {deal.id: deal for deal in store.deals()} if is_mirrored else {}
    meter = Meter(settings, *(store.tokens() if is_mirrored else ()))
    with Client(settings, meter) as client:
        rows = _check(client)
        for name, endpoint in ENDPOINTS.items():
            if endpoint.table != "deals":
                continue
            since = updated_since(store.reading(name)) if is_mirrored and not full else {}
            rows[name] = 0
            for page, _ in client.pages(endpoint, since):
                rows[name] += len(page)
                listed = map(listed_deal, convert(page, endpoint).rows.values())
                deals |= {deal.id: deal for deal in listed}
        lists = meter.spent
        activities = ENDPOINTS["activities"]
        pages = 1
        if not is_mirrored or full or store.reading("activities").is_due(_midnight()):
            newest = {"sort_by": "id", "sort_direction": "desc", "limit": 1}
            (page, _) = next(client.pages(activities, newest))
            pages = max(1, -(-max((row["id"] for row in page), default=0) // PAGE))
    wanted = logs_to_read(
        deals.values(),
        store.logs() if is_mirrored else {},
        pipeline_id=settings.pipeline_id,
        at=now(),
        all_since=now() if full else None,
    )
    tokens = lists + pages * activities.tokens + len(wanted) * CHANGELOG.tokens
    days = _days(tokens, meter)
    return Estimate(rows, len(wanted), tokens, meter.day, meter.share, days, meter.spent)
