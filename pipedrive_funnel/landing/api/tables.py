"""The tables of the API's mirror, and the conversion of the API's rows into theirs.

Only the fields that the contract needs enter the mirror, each in the type of its column. So custom
fields and new fields of the API can neither break nor widen it.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipedrive_funnel.landing.api.client import ApiError, unexpected

Row = dict[str, t.Any]

MIRROR = "pipedrive_api"  # the schema that holds the mirror


@dataclass(frozen=True)
class Endpoint:
    """A list of the API.

    Attributes:
        path: its address below that of the API.
        table: the table of the mirror that its rows go to.
        params: what to ask for.
        is_paged: whether it comes in pages, each with the cursor of the next one.
        is_incremental: whether it can be asked for rows updated since a time.
        complete: adds columns that the API has in another form.

    """

    path: str
    table: str
    params: Row = field(default_factory=dict)
    is_paged: bool = True
    is_incremental: bool = False
    complete: Callable[[Row], Row] = dict


def _with_due_time(activity: Row) -> Row:
    """Join the day and the time of day, both in UTC; a day without a time begins at midnight."""
    day, time = activity.get("due_date"), activity.get("due_time")
    return {**activity, "due_to": f"{day}T{time or '00:00'}" if day else None}


def _with_json_options(deal_field: Row) -> Row:
    """Write the options as the contract has them."""
    options = [
        {"id": _text(option["id"]), "label": _text(option["label"])}
        for option in deal_field.get("options") or []
    ]
    return {**deal_field, "options": json.dumps(options, ensure_ascii=False) if options else None}


_EVERY_DEAL = {"status": "open,won,lost,deleted"}
ENDPOINTS = {
    "users": Endpoint("v1/users", "users", is_paged=False),
    "activity_types": Endpoint("v1/activityTypes", "activity_types", is_paged=False),
    "stages": Endpoint("v2/stages", "stages"),
    "deal_fields": Endpoint("v2/dealFields", "deal_fields", complete=_with_json_options),
    "activities": Endpoint(
        "v2/activities", "activities", is_incremental=True, complete=_with_due_time
    ),
    "deals": Endpoint("v2/deals", "deals", _EVERY_DEAL, is_incremental=True),
    "archived_deals": Endpoint("v2/deals/archived", "deals", _EVERY_DEAL, is_incremental=True),
}
CHANGELOGS = Endpoint("v1/deals/{resources.deals_to_read.id}/changelog", "changelogs")

# The columns of the mirror; a ? marks fields that the API may leave empty.
TABLES = {
    "users": {"id": "bigint", "name": "text?", "email": "text?", "modified": "timestamp?"},
    "activity_types": {"id": "bigint", "name": "text", "key_string": "text", "active_flag": "bool"},
    "stages": {
        **{"id": "bigint", "name": "text", "pipeline_id": "bigint", "order_nr": "bigint"},
        "is_deleted": "bool?",
    },
    "deal_fields": {"field_code": "text", "field_name": "text", "options": "text?"},
    "activities": {
        **{"id": "bigint", "type": "text?", "owner_id": "bigint?", "deal_id": "bigint?"},
        **{"done": "bool", "due_to": "timestamp?", "is_deleted": "bool?"},
        "update_time": "timestamp",
    },
    "deals": {
        **{"id": "bigint", "owner_id": "bigint?", "pipeline_id": "bigint", "stage_id": "bigint"},
        **{"add_time": "timestamp", "update_time": "timestamp"},
    },
    # A row for each change, and one without field_key for each log that was read. The latter holds
    # the deal's update_time at the reading: none if it was so recent that changes may be late.
    "changelogs": {
        **{"deal_id": "bigint", "place": "bigint", "field_key": "text?", "old_value": "text?"},
        **{"new_value": "text?", "change_time": "timestamp?", "update_time": "timestamp?"},
    },
}
SNAPSHOTS = {"activity_types", "deal_fields"}  # short, complete, and not history
KEYS = {"deal_fields": "field_code", "changelogs": "deal_id"}  # the others have an id
LOGGED = {  # fields kept of the change logs: name there -> name here, type
    "stage_id": ("stage_id", "bigint?"),
    "user_id": ("user_id", "bigint?"),
    "owner_id": ("user_id", "bigint?"),
    "lost_reason": ("lost_reason", "text?"),
}


def hints(table: str) -> dict[str, t.Any]:
    """Return dlt's hints for a table."""
    columns: dict[str, Row] = {}
    for name, column_type in TABLES[table].items():
        columns[name] = {
            "data_type": column_type.rstrip("?"),
            "nullable": column_type.endswith("?"),
        }
        if columns[name]["data_type"] == "timestamp":
            columns[name]["timezone"] = False
    table_hints: dict[str, t.Any] = {
        "table_name": table,
        "columns": columns,
        "max_table_nesting": 0,
        "schema_contract": {"columns": "freeze", "data_type": "freeze"},
    }
    if table in SNAPSHOTS:
        return table_hints | {"write_disposition": "replace"}
    table_hints["write_disposition"] = {"disposition": "merge", "strategy": "delete-insert"}
    if table == "changelogs":
        table_hints["merge_key"] = KEYS[table]  # all rows of a log are replaced
        return table_hints
    table_hints["primary_key"] = KEYS.get(table, "id")
    if "update_time" in columns:  # a row that moved between two pages is read twice
        columns["update_time"]["dedup_sort"] = "desc"
    return table_hints


# --- rows -----------------------------------------------------------------------------------------


def selection(endpoint: Endpoint) -> Callable[[Row], Row]:
    """Return the step that makes a row of the mirror from a row of the API."""
    columns = TABLES[endpoint.table]

    def select(row: Row) -> Row:
        try:
            row = endpoint.complete(row)
        except (KeyError, TypeError, ValueError):
            raise unexpected(endpoint.path) from None
        row = {name: _value(row, name, kind, endpoint.path) for name, kind in columns.items()}
        if "update_time" in row:  # one in the future would hide all updates until then
            row["update_time"] = min(row["update_time"], _time(datetime.now(UTC).isoformat()))
        return row

    return select


def changelog_rows(
    page: Row, deal_id: int, update_time: str | None, places: Iterator[int]
) -> Iterator[Row]:
    """Make rows of the mirror from a page of a deal's change log.

    Args:
        page: the answer of the API.
        deal_id: the deal.
        update_time: the deal's update_time for which the log was read.
        places: rising numbers, for the order in which changes are delivered.

    """
    path = CHANGELOGS.path.replace("{resources.deals_to_read.id}", str(deal_id))
    for change in page["data"] or []:
        if change.get("field_key") not in LOGGED:
            continue
        field_key, column_type = LOGGED[change["field_key"]]
        old_value, new_value = (
            _value(change, name, column_type, path) for name in ("old_value", "new_value")
        )
        yield {
            "deal_id": deal_id,
            "place": next(places),
            "field_key": field_key,
            "old_value": None if old_value is None else str(old_value),
            "new_value": None if new_value is None else str(new_value),
            "change_time": _value(change, "time", "timestamp", path),
        }
    if is_last(page):
        yield {
            "deal_id": deal_id,
            "place": next(places),
            "update_time": update_time and _time(update_time),
        }


def is_last(page: Row) -> bool:
    """Tell whether an answer of the API is the last page of a list."""
    return not (page.get("additional_data") or {}).get("next_cursor")


# --- values ---------------------------------------------------------------------------------------


def _integer(value: t.Any) -> int:
    if isinstance(value, bool | float) or not -(2**63) <= int(value) < 2**63:
        raise ValueError
    return int(value)


def _boolean(value: t.Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _text(value: t.Any) -> str:
    """Return a text that both databases can hold."""
    if isinstance(value, dict | list):
        raise ValueError
    return str(value).replace("\0", "").encode(errors="replace").decode()


def _time(value: t.Any) -> str:
    """Return a time in UTC as text, in the one form that sorts like times."""
    time = datetime.fromisoformat(value)
    time = time.astimezone(UTC) if time.tzinfo else time
    return f"{time.replace(tzinfo=None, microsecond=0).isoformat()}Z"


CONVERTERS: dict[str, Callable[[t.Any], t.Any]] = {
    "bigint": _integer,
    "bool": _boolean,
    "text": _text,
    "timestamp": _time,
}


_NAMES = {"bigint": "whole number", "bool": "truth value", "text": "text", "timestamp": "time"}


def _value(row: Row, name: str, column_type: str, path: str) -> t.Any:
    """Return a field of a row in the type of its column; NULL if it is missing or empty.

    Raises:
        ApiError: the value has another type, or is missing and must not be.

    """
    value = row.get(name)
    if value is None or value == "":
        if column_type.endswith("?"):
            return None
        raise ApiError(
            f"Pipedrive's answer to GET {path} has a row without {name}: "
            "land again, and tell the maintainers if it stays so."
        )
    kind = column_type.rstrip("?")
    try:
        return CONVERTERS[kind](value)
    except (ValueError, TypeError, OverflowError):
        raise ApiError(
            f"Pipedrive's answer to GET {path} has a row whose {name} is no {_NAMES[kind]}: "
            "land again, and tell the maintainers if it stays so."
        ) from None
