"""Reading an account into the mirror: lists page by page, change logs deal by deal."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipedrive_funnel.landing.api.choice import Wanted
from pipedrive_funnel.landing.api.client import Client, Refusal
from pipedrive_funnel.landing.api.meter import Meter
from pipedrive_funnel.landing.api.settings import ApiError, BudgetSpent
from pipedrive_funnel.landing.api.store import LogAnswer, Reading, Store
from pipedrive_funnel.landing.api.tables import (
    CHANGELOG,
    ENDPOINTS,
    GONE,
    Reject,
    Row,
    convert,
    convert_log,
)

Report = Callable[[str, int], None]

WORKERS = 4  # requests at a time
LAG = timedelta(minutes=5)  # updates may appear in lists and logs this much later
OF_ONE_DEAL = (403, 410, GONE)  # statuses that can be about one log alone
REFUSALS = 10  # in a row and without a log in between: not one deal is odd, but the access
ODD_ROWS = 20  # of a list and without a good one: the same


class Progress:
    """Counts the rows that are read.

    Attributes:
        counts: the rows read so far, by list; for `changelogs`, the logs.

    """

    def __init__(self, report: Report) -> None:
        """Start at zero; `report` is called with a list's name and its rows when they increase."""
        self.counts: Counter[str] = Counter()
        self._report = report

    def add(self, name: str, rows: int) -> None:
        """Count further rows of a list."""
        self.counts[name] += rows
        self._report(name, self.counts[name])


def now() -> datetime:
    """Return the time now as the mirror has it: UTC, without time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


# --- lists ----------------------------------------------------------------------------------------


def read_list(
    client: Client,
    store: Store,
    meter: Meter,
    name: str,
    progress: Progress,
    *,
    whole_since: datetime | None = None,
) -> None:
    """Bring a list of the mirror up to date.

    Args:
        client: the API.
        store: the mirror.
        meter: what is spent.
        name: of the list, in ENDPOINTS.
        progress: what is counted.
        whole_since: read all of the list unless that was begun since; one that was begun and has
            not come to the end goes on in any case.

    Raises:
        BudgetSpent, ApiError: the reading has ended early; what was read is written.

    """
    endpoint = ENDPOINTS[name]
    if not endpoint.is_incremental:
        _read_at_once(client, store, meter, name, progress)
        return
    reading = store.reading(name)
    if not reading.is_under_way and reading.is_due(whole_since or datetime.min):
        reading = Reading(name, now(), None, reading.whole_at, None)
    is_of_all = reading.is_under_way
    good = odd = 0
    for page, is_last in client.pages(endpoint, updated_since(reading)):
        at = now()
        converted = convert(page, endpoint)
        rows, rejects = converted.rows, converted.rejects
        good, odd = good + len(rows), odd + len(rejects)
        _check_rejects(good, odd, rejects.values())
        reading = replace(reading, since=_latest_update(rows.values(), reading.since))
        if is_last and is_of_all:
            reading = replace(reading, ended_at=at, whole_at=at)
        is_reconciled = is_last and is_of_all and endpoint.table == "activities"
        progress.add(name, len(page))
        store.write_page(
            endpoint,
            converted,
            reading,
            at,
            meter,
            forget_before=reading.began_at if is_reconciled else None,
        )


def updated_since(reading: Reading) -> Row:
    """Return the parameter that asks for what a list has not been read for."""
    if reading.since is None:
        return {}
    return {"updated_since": f"{(reading.since - LAG).isoformat()}Z"}


def _latest_update(rows: Iterable[Row], before: datetime | None) -> datetime | None:
    """Return the latest time at which rows were updated, or that before them."""
    times = [row["update_time"] for row in rows if row["update_time"]]
    latest = datetime.fromisoformat(max(times)).replace(tzinfo=None) if times else None
    return max(filter(None, (latest, before)), default=None)


def _read_at_once(
    client: Client, store: Store, meter: Meter, name: str, progress: Progress
) -> None:
    endpoint, at = ENDPOINTS[name], now()
    page = client.rows(endpoint)
    converted = convert(page, endpoint)
    _check_rejects(len(converted.rows), len(converted.rejects), converted.rejects.values())
    progress.add(name, len(page))
    store.write_page(endpoint, converted, Reading(name, at, now(), now()), at, meter)


def _check_rejects(good: int, odd: int, rejects: Iterable[Reject]) -> None:
    """Make sure that not all rows of a list are odd.

    Raises:
        ApiError: they are, and not only a few.

    """
    if good or odd < ODD_ROWS:
        return
    reject = next(iter(rejects))
    raise ApiError(
        f"No row of Pipedrive's answer to GET {reject.file_name} can be used, for example: "
        f"{reject.reason} Tell the maintainers if it stays so."
    )


# --- change logs ----------------------------------------------------------------------------------


def read_logs(
    client: Client, store: Store, meter: Meter, wanted: list[Wanted], progress: Progress
) -> ApiError | None:
    """Read the change logs of deals, in their order and some at a time.

    Each is written when it is there. If the reading ends early, those that were asked for are
    waited for.

    Returns:
        Why it has ended early; None if it has not.

    """
    progress.add("changelogs", 0)
    queue = deque(wanted)
    running: set[Future[LogAnswer]] = set()
    refusals = _Refusals(store, meter)
    stopped: ApiError | None = None
    pool = ThreadPoolExecutor(WORKERS)
    try:
        while True:
            while queue and stopped is None and len(running) < WORKERS:
                try:
                    meter.check(CHANGELOG.tokens * (len(running) + 1))
                except BudgetSpent as error:
                    if not running:  # else those that are running may be counted already
                        stopped = error
                    break
                running.add(pool.submit(_read_log, client, queue.popleft()))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            answers = []
            for future in done:
                try:
                    answers.append(future.result())
                except ApiError as error:  # the others are on their way, and paid for
                    stopped = stopped or error
            progress.add("changelogs", sum(answer.refusal is None for answer in answers))
            stopped = refusals.write(answers) or stopped
        return refusals.end(is_end=stopped is None) or stopped
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Refusals:
    """Writes logs, and refusals of logs once it is clear that not all are refused."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store, self._meter = store, meter
        self._waiting: list[LogAnswer] = []

    def write(self, answers: list[LogAnswer]) -> ApiError | None:
        """Write answers. Return an error if Pipedrive refuses one log after the other."""
        if any(answer.refusal in (None, GONE) for answer in answers):
            answers, self._waiting = [*self._waiting, *answers], []
            self._store.write_logs(answers, self._meter)
        else:
            self._waiting += answers
        return self._all_refused() if len(self._waiting) >= REFUSALS else None

    def end(self, *, is_end: bool) -> ApiError | None:
        """Write refusals of which there are only a few.

        Args:
            is_end: whether all logs were asked for.

        Returns:
            An error if all were refused, and no log was ever read.

        """
        if len(self._waiting) < REFUSALS and self._store.last_log_at:
            self._store.write_logs(self._waiting, self._meter)
        elif self._waiting and is_end:
            return self._all_refused()
        return None

    def _all_refused(self) -> ApiError:
        status, number = self._waiting[0].refusal, len(self._waiting)
        return ApiError(
            f"Pipedrive refused the change logs of all {number} deals that were asked for last "
            f"({status} for GET /{CHANGELOG.at(deal=self._waiting[0].deal.id).path}): give "
            "PIPEDRIVE_API_TOKEN the token of a user who may see all deals."
        )


def _read_log(client: Client, wanted: Wanted) -> LogAnswer:
    """Read the change log of a deal."""
    deal, at = wanted.deal, now()
    endpoint = CHANGELOG.at(deal=deal.id)
    is_settled = deal.update_time is None or deal.update_time < at - LAG
    answer = LogAnswer(deal, at, is_settled, wanted.is_sweep, None, [], [])
    try:
        changes = client.rows(endpoint)
    except Refusal as refusal:
        if refusal.is_pipedrives and refusal.status in OF_ONE_DEAL:
            return answer._replace(refusal=refusal.status)
        raise
    rows, rejects = convert_log(changes, endpoint, deal.id)
    return answer._replace(rows=rows, rejects=rejects)
