"""The summary at the end of a target: the content of the environment, and warnings."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

from pipedrive_funnel.terminal import say
from pipedrive_funnel.warehouse import Built, Database

REPORT = "rep_sales_funnel_monthly"
QUALITY = "rep_data_quality"
WARNING = "warning"  # the severity that deserves a look


class Check(t.NamedTuple):
    """A data quality check that has found rows."""

    name: str
    severity: str
    meaning: str
    rows: int


def say_summary(database: Database, built: Built) -> None:
    """Say what an environment holds now, and what its data quality checks warn of."""
    schema, tables = database.schema_of(built.environment), database.tables_of(built.environment)
    report = ""
    if REPORT in tables:
        rows, first, last = database.adapter.fetchone(
            f"SELECT COUNT(*), MIN(month), MAX(month) FROM {schema}.{REPORT}"
        )
        months = f" {first:%Y-%m} to {last:%Y-%m}" if rows else ""
        report = f", report{months} ({counted(rows, 'row')})"
    say(f"{built.environment}: {counted(len(tables), 'mart')} in {schema}{report}")
    if QUALITY in tables:
        _say_checks(read_checks(database, schema), _by_nature(database), schema, built)


def read_checks(database: Database, schema: str) -> list[Check]:
    """Return the checks that have found something, those with the most rows first."""
    rows = database.adapter.fetchall(
        f"SELECT check_name, severity, meaning, rows_count FROM {schema}.{QUALITY} "
        "WHERE rows_count > 0"
    )
    return sorted((Check(*row) for row in rows), key=lambda check: (-check.rows, check.name))


def _by_nature(database: Database) -> frozenset[str]:
    """Return the checks that warn about the sample as shipped; none for other data."""
    from pipedrive_funnel.sample import generate

    if database.reads_raw_tables or not generate.is_sample(database.project / "seeds"):
        return frozenset()
    return generate.WARNINGS


def _say_checks(
    checks: Sequence[Check], by_nature: frozenset[str], schema: str, built: Built
) -> None:
    """Print the warnings: news in full, and those that the sample always has as a count."""
    warnings = [check for check in checks if check.severity == WARNING]
    news = [check for check in warnings if check.name not in by_nature or built.is_new]
    if not warnings:
        say("No check warns.")
    if news:
        is_sample = by_nature.issuperset(check.name for check in news)
        why = ", as the sample does by nature" if is_sample else ""
        say(f"\n{counted(len(news), 'check')} warn{'' if len(news) > 1 else 's'}{why}:")
        for check in news:
            mark = " (sample)" if check.name in by_nature and not is_sample else ""
            say(f"{check.name}{mark}: {check.meaning}", label=f"{check.rows:>7,}  ")
    if old := len(warnings) - len(news):
        more = " more" if news else ""
        say(f"{counted(old, 'check')}{more} warn{'' if old > 1 else 's'} by nature of the sample.")
    if news:
        say(f"The rows: {schema}.fct_data_quality_findings")


def counted(count: int, thing: str) -> str:
    """Return a number of things, as in `1 row` and `2 rows`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
