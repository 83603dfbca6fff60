"""Random Pipedrive exports with all the defects of real ones, as CSV files."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

START = datetime(2024, 2, 10)  # not the first day of a quarter or month
STAGES = range(1, 12)  # 10 and 11 have no step, 9 and 11 are unknown to stages.csv
USERS = range(1, 12)  # 11 is unknown to users.csv
NAMES = {1: "Ann", 2: "Ann", 3: ""}  # the others are called NA
TYPES = ("meeting", "sc_2", "follow_up", "nameless", "unknown_type", "")
REASONS = ("1", "2", "10", "7", "No option", "")  # 7 is no option either, "" takes a reason back
PAUSES = (0, 0, 0.5, 1, 3600, 86_400, 20 * 86_400)  # seconds between two stages

FIELDS = (  # key, name, options; None for a field without options
    ("add_time", "Created", None),
    ("stage_id", "Stage", [{"id": str(stage), "label": f"Stage {stage}"} for stage in STAGES]),
    ("user_id", "", []),
    ("status", "Status", None),
    ("value", "Value", None),
    (
        "lost_reason",
        "Lost reason",
        [
            {"id": "1", "label": 'Too "dear", they say'},
            {"label": "Trop cher — à 100 %", "id": 2, "color": None},
            {"id": "10", "label": "Budget; {none}\\, [yet]"},
        ],
    ),
)


def random_log(random: np.random.Generator, deals: int) -> pd.DataFrame:
    """Return a log with skips, repeats, backward moves, ties, and deals with two creations or none.

    Some deals walk the funnel in order, others anywhere; some have no stage, or no owner.
    """
    rows: list[tuple[int, datetime, str, str]] = []
    for deal in range(1, deals + 1):
        at = begin = START + timedelta(seconds=int(random.integers(0, 250 * 86_400)))
        times = [at]
        for stage in random_path(random):
            rows.append((deal, at, "stage_id", str(stage)))
            times.append(at)
            at += timedelta(seconds=float(random.choice(PAUSES)))
        times.append(at)
        for _ in range(random.choice([0, 1, 1, 1, 2])):
            created = begin + timedelta(hours=int(random.integers(-48, 48)))
            rows.append((deal, created, "add_time", created.isoformat()))
        user = str(random.choice(USERS))
        for _ in range(random.choice([0, 1, 2, 4, 6])):
            rows.append((deal, random_time(random, times), "user_id", user))
            if random.random() < 0.7:  # else it is the same owner again
                user = str(random.choice(USERS))
        for _ in range(random.choice([0, 0, 1, 2, 4])):
            reason = str(random.choice(REASONS))
            rows.append((deal, random_time(random, times), "lost_reason", reason))
    log = pd.DataFrame(rows, columns=["deal_id", "change_time", "changed_field_key", "new_value"])
    return log.drop_duplicates().sample(frac=1, random_state=random).reset_index(drop=True)


def late_deal(deal: int) -> pd.DataFrame:
    """Return the log of a deal that comes more than a year after the first ones.

    It makes months complete that have a month of the year before.
    """
    created = START + timedelta(days=380)
    rows = [
        (deal, created, "add_time", created.isoformat()),
        (deal, created, "stage_id", "1"),
        (deal, created + timedelta(days=20), "stage_id", "2"),
    ]
    return pd.DataFrame(rows, columns=["deal_id", "change_time", "changed_field_key", "new_value"])


def random_states(random: np.random.Generator, log: pd.DataFrame) -> pd.DataFrame:
    """Return the list of deals: some are missing or not in the log, some contradict it.

    Statuses, times of closing, values, currencies and pipelines are missing now and then.
    """
    rows = []
    lives = log.assign(at=pd.to_datetime(log["change_time"], format="ISO8601")).groupby("deal_id")
    for deal, life in [*lives["at"], (9_000_001, None), (9_000_002, None)]:
        if random.random() < 0.1:
            continue
        end = START if life is None else life.max().to_pydatetime()
        status = str(random.choice(["open", "won", "won", "lost", ""]))
        closed = end + timedelta(hours=int(random.choice([0, 1, 24, 500, -5000])))
        times = {
            name: str(closed) if status == kind and random.random() < 0.8 else ""
            for name, kind in (("won_time", "won"), ("lost_time", "lost"))
        }
        expected = end + timedelta(days=int(random.integers(-40, 200)))
        rows.append(
            {
                "deal_id": deal,
                "title": random.choice(["Reed Works", "Größe, klein", ""]),
                "pipeline_id": random.choice(["1", "1", "2", "3", ""]),
                "stage_id": random.choice(STAGES),
                "status": status,
                "value": random.choice(["", "0", "1250.5", "99.999", "40000", "-3"]),
                "currency": random.choice(["EUR", "EUR", "USD", ""]),
                "probability": random.choice(["", "", "0", "35", "100"]),
                "expected_close_date": f"{expected:%Y-%m-%d}" if random.random() < 0.7 else "",
                **times,
                "close_time": str(closed) if status in ("won", "lost") and deal % 7 else "",
                "org_id": random.choice(["", "1", "2"]),
                "is_deleted": random.choice(["True", "False", ""], p=[0.08, 0.8, 0.12]),
                "is_archived": random.choice(["True", "False", ""]),
                "custom_fields": random.choice(["", '{"a": 1}']),
            }
        )
    return pd.DataFrame(rows)


def random_statuses(random: np.random.Generator, log: pd.DataFrame) -> pd.DataFrame:
    """Return changes of status and value of some deals: won, lost, reopened, in one second."""
    rows = []
    lives = log.assign(at=pd.to_datetime(log["change_time"], format="ISO8601")).groupby("deal_id")
    for deal, life in lives["at"]:
        times = [time.to_pydatetime() for time in life]
        for _ in range(random.choice([0, 0, 1, 2, 4])):
            status = str(random.choice(["open", "won", "lost", "lost", "deleted", ""]))
            rows.append((deal, random_time(random, times), "status", status))
        if random.random() < 0.2:
            rows.append((deal, random_time(random, times), "value", "1250.5"))
    return pd.DataFrame(rows, columns=log.columns).drop_duplicates()


def random_path(random: np.random.Generator) -> list[int]:
    """Return the stages of a deal, in the order of its entries."""
    if random.random() < 0.5:
        return [int(stage) for stage in random.choice(STAGES, random.integers(0, 9))]
    path = list(range(1, int(random.integers(2, 11))))
    if random.random() < 0.3:
        del path[random.integers(len(path))]
    return path


def random_time(random: np.random.Generator, times: list[datetime]) -> datetime:
    """Return the exact time of another change of the deal, or a time some hours or days off."""
    at = times[random.integers(len(times))]
    return at + timedelta(hours=int(random.choice([0, 0, 0, -30, 1, 24, 100])))


def random_export(directory: Path, random: np.random.Generator, deals: int) -> Path:
    """Write the files of a random export into `directory`."""
    log = random_log(random, deals)
    (of_states,) = random.spawn(1)
    states, statuses = random_states(of_states, log), random_statuses(of_states, log)
    repeated = log.sample(frac=0.05, random_state=random)  # delivered twice
    number = 4 * deals
    due = [START + timedelta(seconds=int(s)) for s in random.integers(0, 300 * 86_400, number)]
    due[0] = START + timedelta(days=800)  # months without any deal before it
    activity = pd.DataFrame(
        {
            "activity_id": random.integers(1, number, number),  # repeats across deals
            "type": ["meeting", *random.choice(TYPES, number - 1)],
            "assigned_to_user": random.choice(["", *map(str, USERS)], number),
            "deal_id": random.integers(1, 2 * deals, number),  # half of them unknown
            "done": [
                "True",
                *random.choice(["True", "False", ""], number - 1, p=[0.8, 0.15, 0.05]),
            ],
            "due_to": [at.isoformat() if random.random() < 0.95 else "" for at in due],
        }
    ).drop_duplicates(["activity_id", "deal_id"])
    tables = {
        "activity": activity,
        "activity_types": pd.DataFrame(
            [
                *((1, "Call", "Yes", "meeting"), (2, "NA", "No", "sc_2")),
                *((3, "F", "Yes", "follow_up"), (4, "", "Yes", "nameless")),
            ],
            columns=["id", "name", "active", "type"],
        ),
        "deal_changes": pd.concat(
            [log, statuses, repeated, statuses[:9], late_deal(deals + 1)], ignore_index=True
        ),
        "deals": states,
        "exchange_rates": pd.DataFrame(
            [("USD", "EUR", "2024-04-15", "0.91"), ("USD", "EUR", "2024-07-01", "1.08765432")],
            columns=["currency", "reporting_currency", "valid_from", "rate"],
        ),
        "fields": pd.DataFrame(
            [
                (number, key, name, "" if options is None else json.dumps(options))
                for number, (key, name, options) in enumerate(FIELDS, start=1)
            ],
            columns=["ID", "FIELD_KEY", "NAME", "FIELD_VALUE_OPTIONS"],
        ),
        "pipelines": pd.DataFrame(
            [(1, "Sales", 1, "False"), (2, "", 2, "")],
            columns=["pipeline_id", "pipeline_name", "order_nr", "is_deleted"],
        ),
        "pipeline_stages": pd.DataFrame(
            [
                (stage, 1 + stage // 9, stage, "" if stage == 4 else 9 * stage)
                for stage in STAGES
                if stage != 11
            ],
            columns=["stage_id", "pipeline_id", "order_nr", "deal_probability"],
        ),
        "stages": pd.DataFrame(
            [(stage, f"Stage {stage}") for stage in STAGES if stage not in (9, 11)],
            columns=["stage_id", "stage_name"],
        ),
        "users": pd.DataFrame(
            [(user, NAMES.get(user, "NA"), "", "2024-01-01 00:00:00.5") for user in USERS[:-1]],
            columns=["id", "name", "email", "modified"],
        ),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(directory / f"{name}.csv", index=False)
    return directory
