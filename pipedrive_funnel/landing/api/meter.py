"""How fast and how much a landing may ask: the account's bursts, and its tokens of a day.

A company has a number of tokens a day for everything that it has connected. Each request costs
some, whatever it brings. What Pipedrive's headers say goes before what we count ourselves.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, date, datetime

from pipedrive_funnel.landing.api.settings import ApiError, BudgetSpent, Settings
from pipedrive_funnel.landing.dlt_settings import LONGEST_WAIT

BURST_SECONDS = 2.0
MARGIN = 0.1  # seconds: requests do not all take equally long to arrive
OVERTAKEN = 100  # tokens of requests whose answers may come before that of an earlier one
MOST_REFUSALS = 3  # in a row, each after a pause: one more is that of a spent day

LEFT = "x-daily-ratelimit-token-remaining"
BURST_LEFT = "x-ratelimit-remaining"
RESETS = ("x-ratelimit-reset", "Retry-After")  # seconds


class Limiter:
    """Lets a burst of requests through in any two seconds, whichever thread sends them.

    After a refusal all pause, and then one tries whether requests are answered again.
    """

    def __init__(self, burst: int) -> None:
        """Start with a full burst."""
        self._sent: deque[float] = deque(maxlen=burst)
        self._resume_at = 0.0
        self._refusals = 0  # in a row, each after a pause
        self._is_tried = False
        self._end: ApiError | None = None
        self._changed = threading.Condition()
        self._factor = float(os.environ.get("RUNTIME__REQUEST_BACKOFF_FACTOR") or 1)

    def wait(self) -> float:
        """Wait until a request may be sent, and return when that was.

        Raises:
            ApiError: no more may be sent.

        """
        with self._changed:
            while self._end is None:
                now = time.monotonic()
                is_full = len(self._sent) == self._sent.maxlen
                window = self._sent[0] + BURST_SECONDS + MARGIN if is_full else now
                start = max(window, self._resume_at)
                if start > now:
                    self._changed.wait(start - now)
                elif self._refusals and self._is_tried:
                    self._changed.wait()
                else:
                    self._sent.append(now)
                    self._is_tried = self._refusals > 0
                    return now
            raise self._end

    def heard(self, sent_at: float, headers: Mapping[str, str]) -> None:
        """Note an answer; if it used up the burst, pause until the next one."""
        with self._changed:
            if sent_at >= self._resume_at:  # else it was on its way before a refusal
                self._refusals = 0
            seconds = _seconds_until_reset(headers)
            if _number(headers, BURST_LEFT) == 0 and seconds and seconds <= LONGEST_WAIT:
                self._pause(seconds)
            self._changed.notify_all()

    def failed(self) -> None:
        """Note that a request has come to no answer, so that another may try."""
        with self._changed:
            self._is_tried = False
            self._changed.notify_all()

    def refused(self, sent_at: float, headers: Mapping[str, str]) -> None:
        """Note a refusal for too many requests, and let all threads pause.

        Requests that were on their way before the pause are refused as well: they count as one.

        Raises:
            BudgetSpent: it is not a burst that is used up, but the day.

        """
        with self._changed:
            seconds = _seconds_until_reset(headers)
            if seconds is not None and seconds > LONGEST_WAIT:
                raise spent(f"it may be asked again in {seconds / 3600:.1f} hours")
            if sent_at < self._resume_at:
                return
            self._refusals += 1
            self._is_tried = False
            if self._refusals > MOST_REFUSALS:
                raise spent("it refuses all requests, also after pauses")
            if seconds is None:
                seconds = BURST_SECONDS * 2 ** (self._refusals - 1) * self._factor
            self._pause(seconds)
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def end(self, reason: ApiError) -> None:
        """Let no further request through, and give the reason to those who wait."""
        with self._changed:
            self._end = self._end or reason
            self._changed.notify_all()


class Meter:
    """Counts the tokens of a landing, and says what it may still spend.

    Attributes:
        spent: tokens that this landing has spent.
        left: tokens that the company has left today, as Pipedrive said last; None if it never did.
        most_left: the most that it ever had left, as far as is known: that is the day's number.

    """

    def __init__(self, settings: Settings, spent_today: int = 0, most_left: int = 0) -> None:
        """Begin a landing, with what others of the day have spent."""
        self.spent = 0
        self.left: int | None = None
        self.most_left = most_left
        self._settings = settings
        self._day, self._spent_today = today(), spent_today
        self._unsaved = 0
        self._lock = threading.Lock()

    @property
    def day(self) -> int | None:
        """The company's tokens of a day; None if nobody has told."""
        return self._settings.daily_tokens or self.most_left or None

    @property
    def share(self) -> int | None:
        """The tokens of a day that landings may spend; None if nobody has told the day's."""
        return None if self.day is None else max(0, self.day - self._settings.reserve.of(self.day))

    @property
    def allowance(self) -> int | None:
        """The tokens that may be spent today; None if nothing tells."""
        with self._lock:
            if self.day is None or (self.left is None and self.most_left):
                return None  # or else the first answer will tell
            left = self.day - self._spent_today if self.left is None else self.left
            return left - self._settings.reserve.of(self.day)

    def check(self, tokens: int) -> None:
        """Make sure that so many tokens may be spent.

        Raises:
            BudgetSpent: they may not.

        """
        allowance = self.allowance
        if allowance is not None and allowance < tokens:
            raise spent("what is left of it is the reserve for other tools")

    def count(self, tokens: int, headers: Mapping[str, str]) -> None:
        """Count an answer, and note what it says is left."""
        with self._lock:
            if self._day != today():
                self._day, self._spent_today = today(), 0
            self.spent += tokens
            self._spent_today += tokens
            self._unsaved += tokens
            self._note(headers, tokens)

    def refused(self, tokens: int, headers: Mapping[str, str]) -> None:
        """Note a refusal for too many requests, which costs nothing.

        Raises:
            BudgetSpent: less is left than the request costs.

        """
        with self._lock:
            self._note(headers)
            if (left := _number(headers, LEFT)) is not None and left < tokens:
                raise spent("nothing of it is left")

    def _note(self, headers: Mapping[str, str], spent: int = 0) -> None:
        left = _number(headers, LEFT)
        if left is None:
            return
        self.most_left = max(self.most_left, left + spent)
        is_late = self.left is not None and self.left < left <= self.left + OVERTAKEN
        if not is_late:  # much more is left on a new day
            self.left = left

    def take_unsaved(self) -> int:
        """Return the tokens spent since the last call."""
        with self._lock:
            tokens, self._unsaved = self._unsaved, 0
            return tokens


def spent(why: str) -> BudgetSpent:
    """Return the end of a landing that has spent what it may."""
    return BudgetSpent(f"The day's budget of Pipedrive's API is spent: {why}.")


def today() -> date:
    """Return the day, UTC, whose tokens are counted."""
    return datetime.now(UTC).date()


def _seconds_until_reset(headers: Mapping[str, str]) -> int | None:
    """Return how long a refusal asks to wait, in seconds; None if it does not say."""
    waits = [number for name in RESETS if (number := _number(headers, name)) is not None]
    return max(waits, default=None)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() else None
