"""The page for everybody: `make page` takes a snapshot and starts it.

It has a Python of its own in page/.venv, which make installs, and knows no database. Of .env it is
given the settings that are its own, and no password.
"""

from __future__ import annotations

import os
import typing as t

from pipedrive_funnel import PROJECT
from pipedrive_funnel.snapshot import take_snapshot

PAGE = PROJECT / "page"
PYTHON = PAGE / ".venv" / "bin" / "python"
SETTINGS = (
    *("PIPEDRIVE_SNAPSHOTS", "PIPEDRIVE_HIDE_OWNER_NAMES", "PIPEDRIVE_PAGE_GUARDED_BY"),
    "PIPEDRIVE_CATALOG_URL",
)


def serve_page(environment: str | None = None, gateway: str | None = None) -> t.NoReturn:
    """Take a snapshot of an environment, and let the page take the place of this process.

    Args:
        environment: prod when None, or dev as long as there is no prod.
        gateway: of config.yaml; the default one when None.

    Raises:
        FunnelError: the snapshot cannot be taken.

    """
    of_shell = dict(os.environ)
    take_snapshot(environment, gateway)  # reads .env
    own = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    if snapshots := own.get("PIPEDRIVE_SNAPSHOTS"):  # it is relative to where make runs
        own["PIPEDRIVE_SNAPSHOTS"] = os.path.abspath(snapshots)
    os.chdir(PAGE)
    command = [str(PYTHON), "-m", "streamlit", "run", "app.py"]
    os.execve(PYTHON, command, of_shell | own)
