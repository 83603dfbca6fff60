"""Mirror a Pipedrive account in the database, through dlt's REST source.

The mirror is the schema `pipedrive_api`. It holds the fields of the API that the contract needs;
`contract_queries` makes the six contract tables from it. A landing reads the rows updated since the
last landing, and then the change logs of the updated deals, a batch at a time. In the same schema,
dlt keeps the time up to which each list was read, and moves it only when everything before is
loaded. So the next landing after a killed one goes on where that stopped.
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
            API no longer has are removed; deals, stages and users are history and stay.
        replace: whether a mirror of another account may be dropped.
        report: called with the name of a list and the number of its rows read so far.

    Returns:
        The number of rows read, by list; for `changelogs`, of logs, one per deal.

    Raises:
        ApiError: the account cannot be read. The next landing uses what was loaded before.

    """
    progress = Progress(report)
    _drop_another_account(settings, database, replace=replace)
    with explained(settings), database.pipeline(MIRROR) as pipeline:
        lists = list_resources(settings, ENDPOINTS, progress, full=full)
        (load,) = pipeline.run([*empty_tables(), *lists]).loads_ids
        _note_account(settings, database)
        if full:  # activities not loaded again are gone
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
    """Drop the mirror if it is another account's and `replace` allows that.

    Raises:
        ApiError: `replace` does not allow it, or this account cannot be read.

    """
    adapter, host = database.adapter, urlsplit(settings.url).hostname
    if not adapter.table_exists(ACCOUNT):
        return
    (found,) = adapter.fetchone(f"SELECT host FROM {ACCOUNT}")
    if found == host:
        return
    check(settings)  # the address may be mistyped
    if not replace:
        raise ApiError(
            f"The schema {MIRROR} mirrors {found}, and this is {host}: say --replace to land "
            "another account in place of it."
        )
    with database.transaction():
        for schema in (MIRROR, f"{MIRROR}_staging"):
            adapter.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def _note_account(settings: Settings, database: Database) -> None:
    """Note the account of the mirror."""
    if not database.adapter.table_exists(ACCOUNT):
        host = urlsplit(settings.url).hostname
        with database.transaction():
            database.adapter.execute(
                f"CREATE TABLE {ACCOUNT} AS SELECT CAST('{host}' AS TEXT) AS host"
            )


def check(settings: Settings) -> dict[str, int]:
    """Read the short lists of an account as a test, and return their numbers of rows.

    Raises:
        ApiError: the account cannot be read.

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
