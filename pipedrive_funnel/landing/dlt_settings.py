"""The settings of dlt, which reads them from the environment."""

from __future__ import annotations

import os

LONGEST_WAIT = 120  # seconds that Pipedrive may ask us to wait

# Used where the environment sets no others
DEFAULTS = {
    "RUNTIME__REQUEST_TIMEOUT": "30",  # seconds without a byte
    "RUNTIME__REQUEST_MAX_ATTEMPTS": "5",
    "RUNTIME__REQUEST_BACKOFF_FACTOR": "1",  # seconds before the second attempt, then 2, 4, 8
    "RUNTIME__REQUEST_MAX_RETRY_DELAY": str(LONGEST_WAIT),
}
ALWAYS = {
    "LOAD__WORKERS": "4",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",  # what matters comes as an exception
}


def configure_dlt(**settings: str) -> None:
    """Set up dlt's environment before dlt starts; `settings` add to those above."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(ALWAYS | settings)
