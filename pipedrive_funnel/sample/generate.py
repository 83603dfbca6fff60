"""Write the synthetic Pipedrive export that ships with the project.

    python -m pipedrive_funnel.sample                           # the files in seeds/
    python -m pipedrive_funnel.sample --out DIR --scale 100     # 100 times the deals, to benchmark

Every person, deal and call is invented. Only the monthly report is not left to chance: the funnel
computed from the files equals ``REPORT`` cell by cell for every seed, and N times ``REPORT`` for
``--scale N``.

How: deals enter stage 1 in the months the report asks for and are created some weeks earlier.
Then, stage by stage and call by call, every deal draws the time at which it would like to go on,
and each month takes the number of deals it needs: first those that wish for that very month, then
the nearest ones (``assign``). A deal that no month takes skips the stage. Owners, lost reasons,
other activities and a handful of oddities follow; none of them changes a first entry. What the
deals are worth, and whether they were won, stands beside the log and is drawn by itself: it changes
no other file.

Times are whole seconds since 1970-01-01 UTC and 0 stands for "never". Only integers are drawn
and every sort is stable or without ties: floating point and unstable sorts may differ between
machines, and these files must be the same everywhere, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipedrive_funnel import PROJECT

SEED = 2024
DEFAULT_OUT = PROJECT / "seeds"
# Data quality checks that warn about the sample: it has the oddities of real exports, and it ages
WARNINGS = frozenset(
    (
        "data_freshness",
        "funnel_completeness",
        "funnel_progression_logic",
        "no_recent_changes",
        "report_recency",
        "stage_activity_consistency",
        "steps_gone_silent",
        "unknown_deals",
    )
)

# --- what the files are calibrated to -------------------------------------------------------------

STEPS = ("1", "2", "2.1", "3", "3.1", "4", "5", "6", "7", "8", "9")
REPORT = {  # deals per month (UTC) and funnel step, in the order of STEPS
    "2024-01": (30, 6, 77, 0, 67, 1, 0, 0, 0, 0, 0),
    "2024-02": (194, 74, 64, 27, 59, 17, 10, 8, 1, 0, 2),
    "2024-03": (199, 157, 54, 142, 75, 75, 51, 28, 21, 12, 7),
    "2024-04": (230, 153, 71, 131, 58, 100, 85, 72, 43, 33, 23),
    "2024-05": (248, 178, 61, 149, 65, 122, 97, 84, 49, 59, 25),
    "2024-06": (244, 178, 64, 168, 66, 138, 114, 89, 70, 65, 42),
    "2024-07": (266, 189, 88, 168, 65, 127, 96, 95, 91, 55, 48),
    "2024-08": (239, 190, 57, 174, 72, 155, 104, 99, 74, 74, 37),
    "2024-09": (208, 174, 32, 128, 33, 131, 130, 78, 70, 51, 43),
    "2024-10": (119, 129, 0, 137, 0, 118, 110, 84, 79, 52, 36),
    "2024-11": (18, 48, 0, 67, 0, 72, 64, 60, 50, 46, 31),
    "2024-12": (0, 3, 0, 13, 0, 28, 28, 34, 29, 20, 19),
    "2025-01": (0, 0, 0, 1, 0, 2, 5, 10, 9, 10, 10),
    "2025-02": (0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 1),
}
COUNTS = dict(zip(STEPS, np.array(list(REPORT.values())).T, strict=True))

STAGES = (
    "Lead Generation",
    "Qualified Lead",
    "Needs Assessment",
    "Proposal/Quote Preparation",
    "Negotiation",
    "Closing",
    "Implementation/Onboarding",
    "Follow-up/Customer Success",
    "Renewal/Expansion",
)
ACTIVITY_TYPES = (  # name, active, type
    ("Sales Call 1", "Yes", "meeting"),
    ("Sales Call 2", "Yes", "sc_2"),
    ("Follow-up Call", "No", "follow_up"),
    ("After-close Call", "Yes", "after_close_call"),
)
CALL_STEPS = {"meeting": "2.1", "sc_2": "3.1"}  # steps that are done calls, not stages
OTHER_ACTIVITIES = (  # type, done, how many; none of them is in the report
    ("meeting", False, 577),
    ("sc_2", False, 564),
    ("follow_up", True, 567),
    ("follow_up", False, 566),
    ("after_close_call", True, 595),
    ("after_close_call", False, 582),
)
LOST_REASONS = (
    "Budget not approved",
    "Chose another vendor",
    "Stopped answering",
    "Missing a feature",
    "Project postponed",
)
FIELDS = (  # key, name
    ("add_time", "Created on"),
    ("user_id", "Owner"),
    ("stage_id", "Stage"),
    ("lost_reason", "Lost reason"),
)
ADD_TIME, USER_ID, STAGE_ID, LOST_REASON = range(len(FIELDS))

N_DEALS = int(COUNTS["1"].sum())  # every deal enters stage 1
N_USERS = 1_787
N_HANDOVERS = 505  # deals that change hands once
N_OPEN_DEALS = 100  # deals without a lost reason

# --- what deals are worth, and how they end -------------------------------------------------------

PIPELINES = ("Sales", "Partners")  # the first is the funnel's; nobody has used the other one yet
STAGE_PROBABILITIES = (5, 10, 20, 40, 60, 80, 100, 100, 100)  # in per cent, one a stage
WON_AMONG_CLOSED = (1, 2, 4, 8, 15, 40, 90, 95, 98)  # in per cent, by the furthest stage
CURRENCIES = ("EUR", "EUR", "EUR", "USD")  # one is drawn for each deal
VALUES = (500, 40_000)  # of deals, in steps of 50
N_WITHOUT_VALUE = 20
N_ORGANIZATIONS = 600
COMPANY_KINDS = ("Works", "Trading", "Labs", "Logistics", "Foods", "Systems")
GIVEN_PROBABILITY = 10  # one deal in so many has a probability of its own
STATES = 10_000  # the stream of random numbers of the first chunk; those below are taken

# --- oddities of real exports ---------------------------------------------------------------------

N_CREATED_TWICE = 5  # deals with a second add_time
N_BACKWARD = 8  # deals that fall back to a stage they have been in ...
N_RETURNS = 7  # ... and those of them that come back: 8 + 7 = 15 repeated entries
N_TIED_STAGES = 2  # deals that enter two stages in one second
N_TIED_HANDOVERS = 2  # deals that change hands in the second in which they enter stage 1
N_UNKNOWN_DEALS = 40  # activities of deals that the log does not know
N_SHARED_IDS = 11  # activity ids that two deals share
N_SHARED_NAMES = 21
N_SHARED_EMAILS = 4

# --- time, in seconds -----------------------------------------------------------------------------

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def _seconds(*dates: str) -> np.ndarray:
    """Return ISO dates or months as seconds since 1970-01-01 UTC."""
    return np.array(dates, dtype="datetime64[s]").astype(np.int64)


NEVER = 0
MONTHS = _seconds(*REPORT, "2025-03")  # where each month starts, and where the last one ends
LOG_START, INTAKE_END = _seconds("2024-01-01", "2024-09-14")  # bounds of creations and due calls
FIRST_LAG = (2 * DAY, 83 * DAY)  # from a deal's creation to stage 1
USUAL_LAG = (2 * DAY, 68 * DAY)  # of nearly all deals, most of them near the middle
STAGE_GAP = (1 * DAY, 30 * DAY)  # from one change of a deal to the next
FIRST_OWNER_GAP = (5 * MINUTE, 36 * HOUR)  # from creation to first owner: always before stage 1
SECOND_CREATION_GAP = (10 * MINUTE, 40 * HOUR)
CLOSING_LAG = (60 * DAY, 200 * DAY)  # from creation to the day on which closing is expected
CALL_WINDOW = 21 * DAY  # a call is due within this time after the stage entry that prompts it
USERS_MODIFIED = _seconds("2024-01-02", "2024-10-29")

# --- ids and names --------------------------------------------------------------------------------

ID_RANGE = (100_000, 1_000_000)  # six digits, as Pipedrive's
ID_STEP = ID_RANGE[1]  # from one chunk's ids to the next chunk's
MAX_SCALE = (2**31 - 1) // ID_STEP  # larger ids do not fit into an INT column

FIRST_NAMES = """
Ada Alma Amir Anton Bela Bruno Carla Cyril Dana Dario Edda Emil Farid Fiona Greta Gustav
Hanna Hugo Ida Ivan Jana Jonas Kaya Kurt Lea Leon Mara Milo Nadia Nils Olga Oscar Paula
Pavel Quinn Rhea Ruben Sana Simon Tara Theo Uma Viktor Vera Wanda Wim Yara Yusuf Zita Zoran
"""
LAST_NAMES = """
Abbot Acker Alder Amber Archer Ashby Barley Beacon Birch Bramble Brook Calder Carver Cedar
Chandler Clover Cooper Dale Draper Elmer Fenn Field Fletcher Forge Garnet Glover Grove Hazel
Heath Holt Juniper Kestrel Lark Linden Marsh Mercer Moor Oakley Pike Quarry Reed Ridge Rowan
Sadler Sparrow Thorne Vale Weaver Willow Wren
"""
DOMAINS = ("example.com", "example.org", "example.net")  # reserved: nobody's address (RFC 2606)


@dataclass(frozen=True)
class Deals:
    """One chunk of deals, one row each; all times in seconds, ``NEVER`` where nothing happened."""

    created: np.ndarray
    owned: np.ndarray  # time of the first owner
    owner: np.ndarray  # user id
    handed: np.ndarray  # time of the handover
    new_owner: np.ndarray  # user id after it
    entries: np.ndarray  # time of the first entry into each stage, one column a stage
    repeats: np.ndarray  # repeated entries: rows of deal, time, stage id
    last: np.ndarray  # time of the last entry, repeated ones included


def _rng(seed: int, stream: int) -> np.random.Generator:
    """Return the random generator of one part; PCG64 by name, as NumPy's default may change."""
    return np.random.Generator(np.random.PCG64([seed, stream]))


def month_index(times: np.ndarray) -> np.ndarray:
    """Return the position in ``REPORT`` of the month that each time falls into."""
    return np.searchsorted(MONTHS, times, side="right") - 1


def assign(
    rng: np.random.Generator,
    counts: np.ndarray,
    earliest: np.ndarray,
    wish: np.ndarray,
    until: int = MONTHS[-1],
) -> np.ndarray:
    """Give ``counts[m]`` deals a time in month ``m`` and before ``until``, at most one per deal.

    No deal gets a time before its ``earliest``. A month takes the deals whose ``wish`` is nearest,
    at random among those that wish for the month itself. Those get the time they wish for, the
    others a random time in the month.
    """
    wish = np.maximum(wish, earliest)
    times = np.full(len(wish), NEVER)
    luck = rng.permutation(len(wish))
    for count, start, next_start in zip(counts, MONTHS, MONTHS[1:], strict=False):
        end = min(next_start, until)
        possible_from = np.maximum(start, earliest)
        free = np.flatnonzero((times == NEVER) & (possible_from < end))
        if len(free) < count:
            raise RuntimeError(f"a month needs {count} deals, but only {len(free)} can be in it")
        distance = np.maximum(start - wish[free], 0) + np.maximum(wish[free] - end + 1, 0)
        nearest = np.lexsort((luck[free], distance))[:count]
        chosen = free[nearest]
        anywhere = rng.integers(possible_from[chosen], end)
        times[chosen] = np.where(distance[nearest] == 0, wish[chosen], anywhere)
    return times


def _first_stage(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw when each deal is created and when it enters stage 1."""
    month = rng.permutation(np.repeat(np.arange(len(REPORT)), COUNTS["1"]))
    entered = rng.integers(np.maximum(MONTHS[month], LOG_START + FIRST_LAG[0]), MONTHS[month + 1])
    low, high = USUAL_LAG
    usual = rng.integers(low // 2, high // 2, size=(2, N_DEALS)).sum(axis=0)
    # Where the usual lag would create the deal too early or too late, any possible lag will do.
    shortest = np.maximum(FIRST_LAG[0], entered - INTAKE_END + 1)
    longest = np.minimum(FIRST_LAG[1], entered - LOG_START)
    possible = rng.integers(shortest, longest + 1)
    lag = np.where((shortest <= usual) & (usual <= longest), usual, possible)
    return entered - lag, entered


def _stage_entries(rng: np.random.Generator, entered: np.ndarray) -> np.ndarray:
    """Draw the first entries into all stages, one column per stage, given those into stage 1."""
    columns = [entered]
    for stage in range(2, len(STAGES) + 1):
        last = np.max(columns, axis=0)
        wish = last + rng.integers(*STAGE_GAP, size=N_DEALS)
        columns.append(assign(rng, COUNTS[str(stage)], last + STAGE_GAP[0], wish))
    return np.column_stack(columns)


def _tie_stages(rng: np.random.Generator, entries: np.ndarray) -> None:
    """Let a few deals enter their last two stages in the same second (changes ``entries``)."""
    before, last = np.sort(entries, axis=1)[:, -2:].T
    movable = np.flatnonzero((before > NEVER) & (month_index(before) == month_index(last)))
    tied = rng.choice(movable, N_TIED_STAGES, replace=False)
    entries[tied, entries[tied].argmax(axis=1)] = before[tied]


def _repeats(rng: np.random.Generator, entries: np.ndarray) -> np.ndarray:
    """Draw repeated entries: a few deals fall back to the stage before, most of them return."""
    long = np.flatnonzero((entries > NEVER).sum(axis=1) >= 3)
    deals = rng.choice(long, N_BACKWARD, replace=False)
    entered = entries[deals] > NEVER
    stage_ids = np.where(entered, np.arange(1, len(STAGES) + 1), 0)
    before, last = np.sort(stage_ids, axis=1)[:, -2:].T
    fell = entries[deals].max(axis=1) + rng.integers(*STAGE_GAP, size=N_BACKWARD)
    returned = fell + rng.integers(*STAGE_GAP, size=N_BACKWARD)
    backward = np.column_stack((deals, fell, before))
    return np.concatenate((backward, np.column_stack((deals, returned, last))[:N_RETURNS]))


def make_deals(rng: np.random.Generator) -> Deals:
    """Draw ``N_DEALS`` deals whose first entries fit the report."""
    created, entered = _first_stage(rng)
    entries = _stage_entries(rng, entered)
    _tie_stages(rng, entries)
    repeats = _repeats(rng, entries)
    last = entries.max(axis=1)
    np.maximum.at(last, repeats[:, 0], repeats[:, 1])

    owned = created + rng.integers(*FIRST_OWNER_GAP, size=N_DEALS)
    owner = rng.integers(1, N_USERS + 1, size=N_DEALS)
    handed = np.full(N_DEALS, NEVER)
    changing = rng.choice(N_DEALS, N_HANDOVERS, replace=False)
    handed[changing] = rng.integers(owned[changing] + 1, last[changing])
    tied = changing[:N_TIED_HANDOVERS]
    handed[tied] = entered[tied]
    new_owner = (owner - 1 + rng.integers(1, N_USERS, size=N_DEALS)) % N_USERS + 1  # another one
    return Deals(created, owned, owner, handed, new_owner, entries, repeats, last)


def make_log(rng: np.random.Generator, deals: Deals) -> np.ndarray:
    """Return the change log, deal by deal in time order: rows of deal, time, field, value."""
    everyone = np.arange(N_DEALS)
    twice = rng.choice(N_DEALS, N_CREATED_TWICE, replace=False)
    again = deals.created[twice] + rng.integers(*SECOND_CREATION_GAP, size=N_CREATED_TWICE)
    handed = np.flatnonzero(deals.handed)
    entering, stage = np.nonzero(deals.entries)
    lost = rng.choice(N_DEALS, N_DEALS - N_OPEN_DEALS, replace=False)
    lost_time = deals.last[lost] + rng.integers(*STAGE_GAP, size=len(lost))
    reason = rng.integers(1, len(LOST_REASONS) + 1, size=len(lost))
    parts = (
        (everyone, deals.created, ADD_TIME, deals.created),
        (twice, again, ADD_TIME, again),
        (everyone, deals.owned, USER_ID, deals.owner),
        (handed, deals.handed[handed], USER_ID, deals.new_owner[handed]),
        (entering, deals.entries[entering, stage], STAGE_ID, stage + 1),
        (deals.repeats[:, 0], deals.repeats[:, 1], STAGE_ID, deals.repeats[:, 2]),
        (lost, lost_time, LOST_REASON, reason),
    )
    rows = np.concatenate([np.column_stack(np.broadcast_arrays(*part)) for part in parts])
    return rows[np.lexsort(rows.T[::-1])]


def _call_windows(deals: Deals) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the start and end of the time when each deal may have activities, by type."""
    entered = deals.entries[:, 0]
    later = deals.entries[:, 1:]
    moved_on = np.where(later > NEVER, later, MONTHS[-1]).min(axis=1)
    moved_on = np.where(moved_on == MONTHS[-1], entered, moved_on)  # never left stage 1
    return {
        "meeting": (entered, entered + CALL_WINDOW),
        "sc_2": (moved_on, moved_on + CALL_WINDOW),
        "follow_up": (entered, deals.last + CALL_WINDOW),
        "after_close_call": (deals.last, deals.last + 2 * CALL_WINDOW),
    }


def make_activities(rng: np.random.Generator, deals: Deals) -> pd.DataFrame:
    """Draw all activities of the deals, in random order."""
    windows = _call_windows(deals)
    parts = []
    earliest = deals.owned
    for kind, step in CALL_STEPS.items():
        due = assign(rng, COUNTS[step], earliest, rng.integers(*windows[kind]), INTAKE_END)
        called = np.flatnonzero(due)
        parts.append({"type": kind, "deal": called, "done": True, "due": due[called]})
        earliest = np.maximum(earliest, due + DAY)  # call 2 follows call 1
    for kind, done, count in OTHER_ACTIVITIES:
        opens, closes = windows[kind]
        deal = rng.choice(np.flatnonzero(opens < INTAKE_END), count)
        due = rng.integers(opens[deal], np.minimum(closes[deal], INTAKE_END))
        parts.append({"type": kind, "deal": deal, "done": done, "due": due})
    activities = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    activities = activities.iloc[rng.permutation(len(activities))].reset_index(drop=True)

    deal, due = activities["deal"].to_numpy(), activities["due"].to_numpy()
    handed_over = (deals.handed[deal] > NEVER) & (deals.handed[deal] <= due)
    activities["user"] = np.where(handed_over, deals.new_owner[deal], deals.owner[deal])
    return activities


def _add_activity_oddities(rng: np.random.Generator, activities: pd.DataFrame) -> None:
    """Give the activities ids, some of them shared, and move a few to deals outside the log."""
    activities["id"] = _random_ids(rng, len(activities))
    # Done sales calls share ids, because there a query that relies on the id alone loses calls.
    calls = activities[activities["done"] & activities["type"].isin(CALL_STEPS)]
    one_a_deal = calls.index[~calls["deal"].duplicated()]
    pairs = rng.choice(one_a_deal, (2, N_SHARED_IDS), replace=False)
    activities.loc[pairs[0], "id"] = activities.loc[pairs[1], "id"].to_numpy()

    strays = rng.choice(len(activities), N_UNKNOWN_DEALS, replace=False)
    activities.loc[strays, "deal"] = N_DEALS + np.arange(N_UNKNOWN_DEALS)


def check_report(log: np.ndarray, activities: pd.DataFrame) -> None:
    """Raise RuntimeError unless the rows about to be written give ``REPORT``."""
    deal, time, field, value = log[log[:, 2] == STAGE_ID].T
    # np.unique finds the first of equal rows: the earliest, as the log is in time order.
    (_, stage), first = np.unique((deal, value), axis=1, return_index=True)
    month = month_index(time[first])
    found = {str(s): month[stage == s] for s in range(1, len(STAGES) + 1)}
    for kind, step in CALL_STEPS.items():
        calls = activities[activities["done"] & (activities["type"] == kind)]
        _, found[step] = np.unique((calls["deal"], month_index(calls["due"])), axis=1)
    for step, months in found.items():
        counts = np.bincount(months, minlength=len(REPORT))
        if not np.array_equal(counts, COUNTS[step]):
            raise RuntimeError(f"step {step} has {counts} deals a month, not {COUNTS[step]}")


def _random_ids(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw different ids with gaps between them."""
    return ID_RANGE[0] + rng.choice(ID_RANGE[1] - ID_RANGE[0], count, replace=False)


def _iso(times: np.ndarray) -> np.ndarray:
    """Format seconds since 1970 as ``2024-01-31T23:59:59``."""
    return np.datetime_as_string(times.astype("datetime64[s]"))


def _spaced(times: np.ndarray) -> np.ndarray:
    """Format seconds since 1970 as ``2024-01-31 23:59:59``."""
    return np.char.replace(_iso(times), "T", " ")


def _day(times: np.ndarray) -> np.ndarray:
    """Format seconds since 1970 as ``2024-01-31``."""
    return np.datetime_as_string(times.astype("datetime64[s]").astype("datetime64[D]"))


def make_chunk(seed: int, chunk: int) -> dict[str, pd.DataFrame]:
    """Make one calibrated set of deals and activities, as the export shows it, by table name."""
    rng = _rng(seed, 1 + chunk)
    deals = make_deals(rng)
    log = make_log(rng, deals)
    activities = make_activities(rng, deals)
    _add_activity_oddities(rng, activities)
    check_report(log, activities)

    shift = chunk * ID_STEP
    deal_ids = shift + _random_ids(rng, N_DEALS + N_UNKNOWN_DEALS)
    deal, time, field, value = log.T
    keys = np.array([key for key, _ in FIELDS])
    change_log = {
        "deal_id": deal_ids[deal],
        "change_time": _spaced(time),
        "changed_field_key": keys[field],
        "new_value": np.where(field == ADD_TIME, _iso(time), value.astype(str)),
    }
    activity = {
        "activity_id": shift + activities["id"],
        "type": activities["type"],
        "assigned_to_user": activities["user"],
        "deal_id": deal_ids[activities["deal"]],
        "done": activities["done"],
        "due_to": _iso(activities["due"].to_numpy()),
    }
    return {
        "deal_changes": pd.DataFrame(change_log),
        "activity": pd.DataFrame(activity),
        "deals": make_states(_rng(seed, STATES + chunk), deals, log, deal_ids),
    }


def make_states(
    rng: np.random.Generator, deals: Deals, log: np.ndarray, deal_ids: np.ndarray
) -> pd.DataFrame:
    """Draw what the deals are worth and how they ended: who has a lost reason is closed."""
    furthest = np.where(deals.entries > NEVER, np.arange(1, len(STAGES) + 1), 0).max(axis=1)
    entries = log[log[:, 2] == STAGE_ID]
    stage = np.zeros(N_DEALS, dtype=np.int64)
    stage[entries[:, 0]] = entries[:, 3]  # the last one of each deal: the log is in time order
    closed = np.full(N_DEALS, NEVER)
    reasons = log[log[:, 2] == LOST_REASON]
    closed[reasons[:, 0]] = reasons[:, 1]
    is_closed = closed > NEVER
    chance = np.array(WON_AMONG_CLOSED)[furthest - 1]
    is_won = is_closed & (rng.integers(0, 100, size=N_DEALS) < chance)
    is_lost = is_closed & ~is_won

    value = rng.integers(VALUES[0] // 50, VALUES[1] // 50, size=N_DEALS) * 50
    has_value = np.ones(N_DEALS, dtype=bool)
    has_value[rng.choice(N_DEALS, N_WITHOUT_VALUE, replace=False)] = False
    probability = rng.integers(1, 20, size=N_DEALS) * 5
    is_given = rng.integers(0, GIVEN_PROBABILITY, size=N_DEALS) == 0
    expected = deals.created + rng.integers(*CLOSING_LAG, size=N_DEALS)
    has_date = rng.integers(0, 5, size=N_DEALS) > 0
    names, kinds = LAST_NAMES.split(), np.array(COMPANY_KINDS)
    name = np.array(names)[rng.integers(0, len(names), size=N_DEALS)]
    kind = kinds[rng.integers(0, len(kinds), size=N_DEALS)]
    table = {
        "deal_id": deal_ids[:N_DEALS],
        "title": np.char.add(np.char.add(name, " "), kind),
        "pipeline_id": 1,
        "stage_id": stage,
        "status": np.select([is_won, is_lost], ["won", "lost"], "open"),
        "value": np.where(has_value, np.char.add(value.astype(str), ".00"), ""),
        "currency": np.array(CURRENCIES)[rng.integers(0, len(CURRENCIES), size=N_DEALS)],
        "probability": np.where(is_given, probability.astype(str), ""),
        "expected_close_date": np.where(has_date, _day(expected), ""),
        "won_time": np.where(is_won, _spaced(closed), ""),
        "lost_time": np.where(is_lost, _spaced(closed), ""),
        "close_time": np.where(is_closed, _spaced(closed), ""),
        "org_id": rng.integers(1, N_ORGANIZATIONS + 1, size=N_DEALS),
        "is_deleted": False,
        "is_archived": False,
        "custom_fields": "",
    }
    return pd.DataFrame(table)


def make_users(seed: int) -> pd.DataFrame:
    """Draw the company's users; a few share a name, a few an address."""
    rng = _rng(seed, 0)
    names = [f"{first} {last}" for first in FIRST_NAMES.split() for last in LAST_NAMES.split()]
    users = pd.DataFrame({"id": np.arange(1, N_USERS + 1)})
    users["name"] = rng.permutation(names)[:N_USERS]
    namesakes, originals = rng.choice(N_USERS, (2, N_SHARED_NAMES), replace=False)
    users.loc[namesakes, "name"] = users.loc[originals, "name"].to_numpy()

    local_part = users["name"].str.lower().str.replace(" ", ".")
    local_part[namesakes] += users.loc[namesakes, "id"].astype(str)
    users["email"] = local_part + "@" + rng.choice(DOMAINS, N_USERS)
    sharers, owners = rng.choice(N_USERS, (2, N_SHARED_EMAILS), replace=False)
    users.loc[sharers, "email"] = users.loc[owners, "email"].to_numpy()

    microseconds = rng.integers(*USERS_MODIFIED * 1_000_000, size=N_USERS)
    modified = np.datetime_as_string(microseconds.astype("datetime64[us]"))
    users["modified"] = np.char.replace(modified, "T", " ")
    return users


def _options(labels: Sequence[str]) -> str:
    """Format labels as the JSON list in which Pipedrive keeps the values of a field."""
    items = [json.dumps({"id": str(id), "label": label}) for id, label in enumerate(labels, 1)]
    return f"[{','.join(items)}]"


def make_lists(seed: int) -> dict[str, pd.DataFrame]:
    """Make the tables that do not grow with the number of deals, by name."""
    options = {"stage_id": _options(STAGES), "lost_reason": _options(LOST_REASONS)}
    fields = [(id, key, name, options.get(key)) for id, (key, name) in enumerate(FIELDS, 1)]
    types = [(id, *activity_type) for id, activity_type in enumerate(ACTIVITY_TYPES, 1)]
    return {
        "activity_types": pd.DataFrame(types, columns=["id", "name", "active", "type"]),
        "fields": pd.DataFrame(fields, columns=["ID", "FIELD_KEY", "NAME", "FIELD_VALUE_OPTIONS"]),
        "pipeline_stages": pd.DataFrame(
            [(id, 1, id, chance) for id, chance in enumerate(STAGE_PROBABILITIES, 1)],
            columns=["stage_id", "pipeline_id", "order_nr", "deal_probability"],
        ),
        "pipelines": pd.DataFrame(
            [(id, name, id, False) for id, name in enumerate(PIPELINES, 1)],
            columns=["pipeline_id", "pipeline_name", "order_nr", "is_deleted"],
        ),
        "stages": pd.DataFrame(enumerate(STAGES, 1), columns=["stage_id", "stage_name"]),
        "users": make_users(seed),
    }


def _write(tables: dict[str, pd.DataFrame], out: Path, append: bool = False) -> None:
    """Write each table to its file in ``out``, or append its rows to it."""
    for name, table in tables.items():
        with open(out / f"{name}.csv", "a" if append else "w", encoding="utf-8", newline="") as f:
            table.to_csv(f, header=not append, index=False, lineterminator="\n")


def write_sample(out: Path, scale: int = 1, seed: int = SEED) -> None:
    """Write the files to ``out``; chunk by chunk, so memory does not grow with ``scale``."""
    out.mkdir(parents=True, exist_ok=True)
    _write(make_lists(seed), out)
    for chunk in range(scale):
        _write(make_chunk(seed, chunk), out, append=chunk > 0)


def is_sample(directory: Path) -> bool:
    """Tell whether a directory has the files as they were shipped."""
    with tempfile.TemporaryDirectory() as shipped:
        write_sample(Path(shipped))
        return all(
            (directory / file.name).is_file()
            and (directory / file.name).read_bytes() == file.read_bytes()
            for file in Path(shipped).iterdir()
        )


def _number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return an argparse type: a whole number from ``low`` to ``high``, both included."""
    expected = f"a whole number from {low}" + (" up" if high is None else f" to {high}")

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return number

    return parse


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; exits 2 if an argument makes no sense or the directory cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m pipedrive_funnel.sample",
        description="Write a synthetic Pipedrive export: CSV files, the same on every run.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="DIR",
        help="where to write; files of the same names are replaced (default: the project's seeds/)",
    )
    parser.add_argument(
        "--scale",
        type=_number(1, MAX_SCALE),
        default=1,
        metavar="N",
        help=f"N times the deals and activities, the same users; up to {MAX_SCALE} (default: 1)",
    )
    parser.add_argument(
        "--seed",
        type=_number(0),
        default=SEED,
        metavar="S",
        help="another seed: other deals and users, the same monthly report (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    try:
        write_sample(args.out, args.scale, args.seed)
    except OSError as error:
        parser.error(f"cannot write to {args.out}: {error.strerror}")
