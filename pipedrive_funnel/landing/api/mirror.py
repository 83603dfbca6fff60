"""Mirror a Pipedrive account in the database, through dlt's REST source.

The mirror, the schema `pipedrive_api`, holds the fields that the contract needs of what the API
says; `contract_queries` makes the six contract tables of it. A landing reads what was updated since
the last one and then the change logs of these deals, a batch at a time. dlt keeps the times up to
which was read in the same schema, and moves them only when everything before is loaded: a landing
that was killed goes on where it stopped.
"""

from __future__ import annotations

import itertools
import threading
import typing as t
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from pipedrive_funnel.landing.api.client import (
    ApiError,
    Settings,
    checked_body,
    client_config,
    explained,
)
from pipedrive_funnel.landing.api.mapping import MIRROR, contract_queries, skipped
from pipedrive_funnel.landing.api.tables import (
    CHANGELOGS,
    ENDPOINTS,
    TABLES,
    Endpoint,
    changelog_rows,
    hints,
    is_last,
    selection,
)

if t.TYPE_CHECKING:
    from dlt.extract import DltResource
    from requests import Response

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
Report = Callable[[str, int], None]

PAGE = 500  # rows, the most that the API gives
BATCH = 1_000  # change logs that are loaded at a time
ACCOUNT = f"{MIRROR}.account"
LAG = timedelta(minutes=5)  # what is updated may show in lists and logs this much later


class _Progress:
    """Counts what was read, in several threads."""

    def __init__(self, report: Report) -> None:
        self.counts: Counter[str] = Counter()
        self._report = report
        self._lock = threading.Lock()

    def add(self, name: str, rows: int) -> None:
        with self._lock:
            self.counts[name] += rows
            self._report(name, self.counts[name])


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
    progress = _Progress(report)
    _drop_another_account(settings, database, replace=replace)
    with explained(settings), database.pipeline(MIRROR) as pipeline:
        lists = _lists(settings, ENDPOINTS, progress, full=full)
        (load,) = pipeline.run([*_empty_tables(), *lists]).loads_ids
        _note_account(settings, database)
        if full:  # what was not loaded again is gone
            with database.transaction():
                database.adapter.execute(
                    f"DELETE FROM {MIRROR}.activities WHERE _dlt_load_id <> '{load}'"
                )
        _check_pipeline(settings, database)
        progress.add("changelogs", 0)
        last = -1
        while deals := _deals_to_read(database, after=last, full=full):
            pipeline.run(_changelogs(settings, deals, progress))
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
        lists = _lists(settings, names, _Progress(lambda name, rows: None))
        return {rows.name: len(list(rows)) for rows in lists}


def _lists(
    settings: Settings, names: Iterable[str], progress: _Progress, *, full: bool = False
) -> list[DltResource]:
    """Return resources that read lists of the API, by their names in ENDPOINTS."""
    from dlt.sources.rest_api import rest_api_resources

    resources = []
    for name in names:
        endpoint = ENDPOINTS[name]
        request = _request(endpoint, name, progress)
        if endpoint.is_incremental:
            request["incremental"] = {
                "cursor_path": "update_time",
                "start_param": "updated_since",
                "lag": (timedelta(days=36_500) if full else LAG).total_seconds(),
                "convert": _everything if full else None,
            }
        resources.append(
            {
                "name": name,
                "endpoint": request,
                "processing_steps": [{"map": selection(endpoint)}],
                **hints(endpoint.table),
            }
        )
    return rest_api_resources({"client": client_config(settings), "resources": resources})


def _everything(since: str | None) -> None:
    """Ask for no `updated_since`."""


def _request(endpoint: Endpoint, name: str, progress: _Progress) -> Row:
    """Return how the REST source reads an endpoint."""
    params = endpoint.params | ({"limit": PAGE} if endpoint.is_paged else {})
    if endpoint.is_incremental:  # what changes while we read moves to the end: no page misses it
        params["sort_by"] = "update_time"
    paginator = (
        {"type": "cursor", "cursor_path": "additional_data.next_cursor", "cursor_param": "cursor"}
        if endpoint.is_paged
        else "single_page"
    )

    def check(response: Response) -> None:
        if response.ok and not response.is_redirect:
            body = checked_body(response, is_paged=endpoint.is_paged)
            rows = len(body["data"] or [])
            progress.add(name, int(is_last(body)) if endpoint is CHANGELOGS else rows)

    return {
        **{"path": endpoint.path, "params": params, "paginator": paginator},
        **{"data_selector": "data", "response_actions": [check]},
    }


def _changelogs(settings: Settings, deals: list[Row], progress: _Progress) -> list[DltResource]:
    """Return resources that read the change logs of deals, some at a time."""
    import dlt
    from dlt.sources.rest_api import rest_api_resources

    places = itertools.count()

    def rows(page: Row) -> Iterator[Row]:
        return changelog_rows(
            page, page["_deals_to_read_id"], page["_deals_to_read_update_time"], places
        )

    request = _request(CHANGELOGS, "changelogs", progress)
    # A deal that was deleted for good since it was listed has no log. It is counted by `skipped`.
    no_log = {"status_code": 404, "content": '"success"', "action": "ignore"}  # Pipedrive says so
    request["response_actions"].append(no_log)
    resource = {
        "name": "changelogs",
        "endpoint": request | {"data_selector": "$"},  # the page as one row: it may have no data
        "include_from_parent": ["id", "update_time"],
        "processing_steps": [{"yield_map": rows}],
        "parallelized": True,
        **hints("changelogs"),
    }
    source = dlt.resource([deals], name="deals_to_read", selected=False)
    return rest_api_resources({"client": client_config(settings), "resources": [source, resource]})


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


def _empty_tables() -> list[DltResource]:
    """Return resources that make the tables, which lists without rows do not."""
    import dlt

    return [
        dlt.resource(
            [dlt.mark.materialize_table_schema()],
            name=f"{table}_table",
            **hints(table),
        )
        for table in TABLES
    ]


# --- pipelines and steps --------------------------------------------------------------------------

CALLS = {  # key of the activity type -> funnel step and label
    "meeting": ("2.1", "Sales Call 1"),
    "sc_2": ("3.1", "Sales Call 2"),
}


def suggest_steps(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Return a first version of seeds/funnel_steps.csv from the account's own stages.

    Each stage of the pipeline is a step, in their order, and so are the two sales calls if the
    account has their types.

    Raises:
        ApiError: the account cannot be read, or has several pipelines and none is chosen.

    """
    progress = _Progress(lambda name, rows: None)
    with explained(settings):
        lists = _lists(settings, ["stages", "activity_types"], progress)
        stages, types = (list(rows) for rows in lists)
    there = [row for row in stages if not row["is_deleted"]]
    there.sort(key=lambda row: (row["order_nr"], row["id"]))
    pipelines = _pipelines((row["pipeline_id"], row["name"]) for row in there)
    chosen = settings.pipeline_id
    if chosen is None and len(pipelines) == 1:
        (chosen,) = pipelines
    if chosen not in pipelines:
        raise _no_pipeline(chosen, pipelines)
    of_pipeline = [row for row in there if row["pipeline_id"] == chosen]
    steps = [
        (str(number), f"Step {number}: {row['name']}", "stage", str(row["id"]))
        for number, row in enumerate(of_pipeline, start=1)
    ]
    keys = {row["key_string"] for row in types}
    steps += [
        (step, f"Step {step}: {label}", "activity", key)
        for key, (step, label) in CALLS.items()
        if key in keys
    ]
    return sorted(steps, key=lambda step: float(step[0]))


def _check_pipeline(settings: Settings, database: Database) -> None:
    """Make sure that the account has the chosen pipeline.

    Raises:
        ApiError: it has not.

    """
    if settings.pipeline_id is None:
        return
    stages = f"SELECT pipeline_id, name FROM {MIRROR}.stages ORDER BY order_nr, id"
    pipelines = _pipelines(database.adapter.fetchall(stages))
    if settings.pipeline_id not in pipelines:
        raise _no_pipeline(settings.pipeline_id, pipelines)


def _pipelines(stages: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
    """Return the names of stages by pipeline, from rows of both."""
    pipelines: dict[int, list[str]] = {}
    for pipeline, name in stages:
        pipelines.setdefault(pipeline, []).append(name)
    return dict(sorted(pipelines.items()))


def _no_pipeline(pipeline_id: int | None, pipelines: dict[int, list[str]]) -> ApiError:
    if not pipelines:
        return ApiError("The account has no stages: create a pipeline in Pipedrive first.")
    which = "several pipelines" if pipeline_id is None else f"no pipeline {pipeline_id}"
    listed = ", ".join(f"{number} ({', '.join(names)})" for number, names in pipelines.items())
    return ApiError(f"The account has {which}: set PIPEDRIVE_PIPELINE_ID to one of {listed}.")
