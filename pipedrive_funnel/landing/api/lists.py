"""The lists of Pipedrive's API, as resources that dlt loads into the mirror."""

from __future__ import annotations

import itertools
import threading
import typing as t
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from pipedrive_funnel.landing.api.client import Settings, checked_body, client_config
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

Row = dict[str, t.Any]
Report = Callable[[str, int], None]

PAGE = 500  # rows, the most that the API gives
LAG = timedelta(minutes=5)  # updates may appear in lists and logs this much later


class Progress:
    """Counts the rows that several threads read.

    Attributes:
        counts: the rows read so far, by list; for `changelogs`, the logs.

    """

    def __init__(self, report: Report | None = None) -> None:
        """Start at zero; `report` is called with a list's name and its rows when they increase."""
        self.counts: Counter[str] = Counter()
        self._report = report
        self._lock = threading.Lock()

    def add(self, name: str, rows: int) -> None:
        """Count further rows of a list."""
        with self._lock:
            self.counts[name] += rows
            if self._report:
                self._report(name, self.counts[name])


def list_resources(
    settings: Settings, names: Iterable[str], progress: Progress, *, full: bool = False
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


def _request(endpoint: Endpoint, name: str, progress: Progress) -> Row:
    """Return the REST source's settings for an endpoint."""
    params = endpoint.params | ({"limit": PAGE} if endpoint.is_paged else {})
    if endpoint.is_incremental:  # rows that change meanwhile move to the end: no page misses them
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


def changelog_resources(
    settings: Settings, deals: list[Row], progress: Progress
) -> list[DltResource]:
    """Return resources that read the change logs of deals, several at a time."""
    import dlt
    from dlt.sources.rest_api import rest_api_resources

    places = itertools.count()

    def rows(page: Row) -> Iterator[Row]:
        return changelog_rows(
            page, page["_deals_to_read_id"], page["_deals_to_read_update_time"], places
        )

    request = _request(CHANGELOGS, "changelogs", progress)
    # A deal that was deleted for good since it was listed has no log. It is counted by `skipped`.
    no_log = {"status_code": 404, "content": '"success"', "action": "ignore"}  # Pipedrive's own 404
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


def empty_tables() -> list[DltResource]:
    """Return resources that create all tables, as lists without rows create none."""
    import dlt

    return [
        dlt.resource(
            [dlt.mark.materialize_table_schema()],
            name=f"{table}_table",
            **hints(table),
        )
        for table in TABLES
    ]
