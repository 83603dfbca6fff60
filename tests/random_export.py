"""Random Pipedrive exports with everything that goes wrong in real ones, as the six CSV files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

START = datetime(2024, 1, 1)
STAGES = range(1, 12)  # 10 has no step, 11 is unknown to stages.csv
TYPES = ("meeting", "sc_2", "follow_up", "unknown_type")


def random_log(random: np.random.Generator, deals: int) -> pd.DataFrame:
    """Return a log with skips, repeats, backward moves, ties, two creations and none."""
    rows: list[tuple[int, datetime, str, str]] = []
    for deal in range(1, deals + 1):
        at = START + timedelta(seconds=int(random.integers(0, 250 * 86_400)))
        for _ in range(random.choice([0, 1, 1, 1, 2])):
            created = at + timedelta(hours=int(random.integers(-48, 48)))
            rows.append((deal, created, "add_time", created.isoformat()))
        for _ in range(random.integers(0, 9)):
            rows.append((deal, at, "stage_id", str(random.choice(STAGES))))
            at += timedelta(seconds=int(random.choice([0, 0, 1, 3600, 86_400, 20 * 86_400])))
        rows.append((deal, at, "user_id", str(random.integers(1, 12))))
        if random.random() < 0.3:
            rows.append((deal, at, "lost_reason", "1"))
    log = pd.DataFrame(rows, columns=["deal_id", "change_time", "changed_field_key", "new_value"])
    return log.drop_duplicates().sample(frac=1, random_state=random).reset_index(drop=True)


def random_export(directory: Path, random: np.random.Generator, deals: int) -> Path:
    """Write the six files of a random export into `directory`."""
    log = random_log(random, deals)
    repeated = log.sample(frac=0.05, random_state=random)  # delivered twice
    number = 3 * deals
    due = [START + timedelta(seconds=int(s)) for s in random.integers(0, 300 * 86_400, number)]
    activity = pd.DataFrame(
        {
            "activity_id": random.integers(1, number, number),  # repeats across deals
            "type": random.choice(TYPES, number),
            "assigned_to_user": random.integers(1, 12, number),
            "deal_id": random.integers(1, 2 * deals, number),  # half of them unknown
            "done": random.choice(["True", "False"], number, p=[0.8, 0.2]),
            "due_to": [at.isoformat() if random.random() < 0.95 else "" for at in due],
        }
    ).drop_duplicates(["activity_id", "deal_id"])
    tables = {
        "activity": activity,
        "activity_types": pd.DataFrame(
            [(1, "Call", "Yes", "meeting"), (2, "NA", "No", "sc_2"), (3, "F", "Yes", "follow_up")],
            columns=["id", "name", "active", "type"],
        ),
        "deal_changes": pd.concat([log, repeated]),
        "fields": pd.DataFrame(
            [(1, "stage_id", "Stage", "")],
            columns=["ID", "FIELD_KEY", "NAME", "FIELD_VALUE_OPTIONS"],
        ),
        "stages": pd.DataFrame(
            [(stage, f"Stage {stage}") for stage in STAGES[:-1]],
            columns=["stage_id", "stage_name"],
        ),
        "users": pd.DataFrame(
            [(user, "NA", "", "2024-01-01 00:00:00.5") for user in range(1, 11)],
            columns=["id", "name", "email", "modified"],
        ),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(directory / f"{name}.csv", index=False)
    return directory
