"""Run the audits of an environment and print one table of them."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

from rich.table import Table

from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.terminal import console, say
from pipedrive_funnel.warehouse import Audited, Database

STYLES = {"ERROR": "red", "WARN": "yellow", "PASS": None}


def audit(environment: str, gateway: str | None = None) -> None:
    """Run all audits of an environment, with the models that it has, and print their results.

    Nothing is written, and a plan or run at work is not waited for.

    Raises:
        FunnelError: an audit that blocks has found rows, or there is no such environment.

    """
    with closing(Database(gateway)) as database, console.status("Auditing"):
        results = database.audit(environment)
    table = Table.grid(padding=(0, 1, 0, 0))
    for justify in ("left", "right", "left", "left", "left"):
        table.add_column(justify=justify, overflow="fold")
    table.add_row("result", "rows", "severity", "audit", "model")
    for result in sorted(results, key=lambda result: (list(STYLES).index(verdict(result)), result)):
        severity = "blocks" if result.blocks else "warns"
        table.add_row(
            verdict(result),
            f"{result.rows:,}",
            severity,
            result.audit,
            result.model,
            style=STYLES[verdict(result)],
        )
    console.print(table)
    counts = Counter(map(verdict, results))
    say(
        f"\n{environment}: {len(results)} audits, {counts['PASS']} pass, {counts['WARN']} warn, "
        f"{counts['ERROR']} would block."
    )
    if counts["ERROR"]:
        raise FunnelError("docs/operations.md says what to do when an audit blocks.")


def verdict(result: Audited) -> str:
    """Return PASS, WARN or ERROR."""
    if not result.rows:
        return "PASS"
    return "ERROR" if result.blocks else "WARN"
