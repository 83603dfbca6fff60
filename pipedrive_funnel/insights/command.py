"""Write the page that says what the marts hold, with plots: docs/insights.md."""

from __future__ import annotations

import os
from pathlib import Path

from pipedrive_funnel import PROJECT
from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.insights.queries import MARTS, Marts
from pipedrive_funnel.insights.text import counted
from pipedrive_funnel.show import open_funnel
from pipedrive_funnel.terminal import say

PAGE = PROJECT / "docs" / "insights.md"


def write(environment: str, gateway: str | None = None, out: Path = PAGE) -> None:
    """Write the page and its plots.

    Raises:
        FunnelError: the marts cannot be read, or the files cannot be written.

    """
    from pipedrive_funnel.insights.page import write_page  # importing matplotlib takes a second

    with open_funnel(environment, gateway, MARTS) as database:
        marts = Marts(database.adapter, database.schema_of(environment))
        page, plots = write_page(marts, out.stem)
    try:
        for path, text in ({out: page} | _beside(out, plots)).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise FunnelError(f"The page cannot be written: {error}") from error
    say(f"Wrote {os.path.relpath(out)} and {counted(len(plots), 'plot')}: open it.")


def _beside(page: Path, plots: dict[str, str]) -> dict[Path, str]:
    """Return the plots by the paths at which the page shows them."""
    return {page.with_suffix("") / name: plot for name, plot in plots.items()}
