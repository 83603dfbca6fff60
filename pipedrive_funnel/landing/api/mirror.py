"""Mirror a Pipedrive account in the database, through dlt's REST source.

The mirror, the schema `pipedrive_api`, holds the fields that the contract needs of what the API
says; `contract_queries` makes the six contract tables of it. A landing reads what was updated since
the last one and then the change logs of these deals, a batch at a time. dlt keeps the times up to
which was read in the same schema, and moves them only when everything before is loaded: a landing
that was killed goes on where it stopped.
"""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pipedrive_funnel.landing.api.client import ApiError, Settings, explained
from pipedrive_funnel.landing.api.lists import (
    LAG,
    Progress,
    Report,
    changelog_resources,
    empty_tables,
    list_resources,
)
from pipedrive_funnel.landing.api.mapping import contract_queries, skipped
from pipedrive_funnel.landing.api.pipelines import check_pipeline, suggest_steps
from pipedrive_funnel.landing.api.tables import ENDPOINTS, MIRROR

if t.TYPE_CHECKING:
    from pipedrive_funnel.warehouse import Database

__all__ = [
    "MIRROR",
    "ApiError",
    "Settings",
    "check",
    "contract_queries",
    "mirror",
    "skipped",
    "suggest_steps",
]

Row = dict[str, t.Any]

BATCH = 1_000  # change logs that are loaded at a time
ACCOUNT = f"{MIRROR}.account"


def mirror(
    settings: Settings,
    database: Database,
    *,
    full: bool = False,
    replace: bool = False,
    report: Report,
) -> dict[str, int]:
    """Bring the mirror up to date.

    Args:
        settings: the account.
        database: where the mirror is.
        full: read everything, not only what was updated since the last time. Activities that the
            API no longer has leave the mirror; deals, stages and users are history and stay.
        replace: whether a mirror of another account may be dropped.
        report: called with the name of a list and the rows of it that were read so far.

    Returns:
        The rows read by list; of `changelogs` the logs, one a deal.

    Raises:
        ApiError: the account cannot be read. What was loaded before is used the next time.

    """
    progress = Progress(report)
    _drop_another_account(settings, database, replace=replace)
    with explained(settings), database.pipeline(MIRROR) as pipeline:
        lists = list_resources(settings, ENDPOINTS, progress, full=full)
        (load,) = pipeline.run([*empty_tables(), *lists]).loads_ids
        _note_account(settings, database)
        if full:  # what was not loaded again is gone
            with database.transaction():
                database.adapter.execute(
                    f"DELETE FROM {MIRROR}.activities WHERE _dlt_load_id <> '{load}'"
                )
        check_pipeline(settings, database)
        progress.add("changelogs", 0)
        last = -1
        while deals := _deals_to_read(database, after=last, full=full):
            pipeline.run(changelog_resources(settings, deals, progress))
            last = deals[-1]["id"]
    return dict(progress.counts)


def _drop_another_account(settings: Settings, database: Database, *, replace: bool) -> None:
    """Drop the mirror if it is another account's and that is wanted.

    Raises:
        ApiError: it is another's, and that is not wanted, or this one cannot be read.

    """
    adapter, host = database.adapter, urlsplit(settings.url).hostname
    if not adapter.table_exists(ACCOUNT):
        return
    (found,) = adapter.fetchone(f"SELECT host FROM {ACCOUNT}")
    if found == host:
        return
    check(settings)  # it may be a slip of the pen
    if not replace:
        raise ApiError(
            f"The schema {MIRROR} mirrors {found}, and this is {host}: say --replace to land "
            "another account in place of it."
        )
    with database.transaction():
        for schema in (MIRROR, f"{MIRROR}_staging"):
            adapter.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def _note_account(settings: Settings, database: Database) -> None:
    """Note whose mirror it is."""
    if not database.adapter.table_exists(ACCOUNT):
        host = urlsplit(settings.url).hostname
        with database.transaction():
            database.adapter.execute(
                f"CREATE TABLE {ACCOUNT} AS SELECT CAST('{host}' AS TEXT) AS host"
            )


def check(settings: Settings) -> dict[str, int]:
    """Read the short lists of an account, to see that it can be read. Return their rows.

    Raises:
        ApiError: it cannot.

    """
    names = [name for name, endpoint in ENDPOINTS.items() if not endpoint.is_incremental]
    with explained(settings):
        lists = list_resources(settings, names, Progress())
        return {rows.name: len(list(rows)) for rows in lists}


def _deals_to_read(database: Database, *, after: int, full: bool) -> list[Row]:
    """Return the next deals, by id, that were updated since the mirror read their change logs."""
    rows = database.adapter.fetchall(f"""
        SELECT deals.id, deals.update_time
        FROM {MIRROR}.deals AS deals
        LEFT JOIN {MIRROR}.changelogs AS logs
          ON logs.deal_id = deals.id AND logs.field_key IS NULL
        WHERE
          deals.id > {after}
          AND ({full} OR logs.update_time IS NULL OR logs.update_time <> deals.update_time)
        ORDER BY deals.id
        LIMIT {BATCH}
    """)
    settled = datetime.now(UTC).replace(tzinfo=None) - LAG
    return [
        {"id": deal, "update_time": str(updated) if updated < settled else None}
        for deal, updated in rows
    ]
