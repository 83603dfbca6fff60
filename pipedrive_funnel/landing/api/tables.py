"""The tables of the API's mirror, and the conversion of the API's rows into theirs.

Only the fields that the contract needs enter the mirror, each in the type of its column. So custom
fields and new fields of the API can neither break nor widen it.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from pipedrive_funnel.contract import format_of
from pipedrive_funnel.export.reader import RAW_TEXT_AT_MOST
from pipedrive_funnel.landing.api.settings import ApiError

Row = dict[str, t.Any]

MIRROR = "pipedrive_api"  # the schema that holds the mirror


@dataclass(frozen=True)
class Endpoint:
    """A list of the API.

    Attributes:
        path: its address below that of the API.
        tokens: what a request for a page costs, whatever the page holds.
        table: the table of the mirror that its rows go to.
        raw_table: the raw table that is made from its rows.
        state_table: the raw table of its columns marked with a ~, where that is another.
        params: what to ask for.
        is_paged: whether it comes in pages, each with the cursor of the next one.
        is_incremental: whether it can be asked for rows updated since a time.
        complete: adds columns that the API has in another form.

    """

    path: str
    tokens: int
    table: str
    raw_table: str
    params: Row = field(default_factory=dict)
    is_paged: bool = True
    is_incremental: bool = False
    state_table: str = ""
    complete: Callable[[Row], Row] = dict

    def at(self, **ids: int) -> Endpoint:
        """Return the endpoint of something with an id."""
        return replace(self, path=self.path.format(**ids))


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


def _list_of_deals(path: str, tokens: int) -> Endpoint:
    """Return a list of deals: their history goes into the log, and how they stand beside it."""
    return Endpoint(
        path,
        tokens,
        "deals",
        "deal_changes",
        {"status": "open,won,lost,deleted"} | _BY_UPDATE,
        is_incremental=True,
        state_table="deals",
    )


# Of lists that can be asked for updates, those that change meanwhile move to the end: no page
# misses them, and what was read before a landing ended is behind it.
_BY_UPDATE = {"sort_by": "update_time"}
ENDPOINTS = {
    "users": Endpoint("v1/users", 20, "users", "users", is_paged=False),
    "activity_types": Endpoint(
        "v1/activityTypes", 20, "activity_types", "activity_types", is_paged=False
    ),
    "pipelines": Endpoint("v2/pipelines", 5, "pipelines", "pipelines"),
    "stages": Endpoint("v2/stages", 5, "stages", "stages", state_table="pipeline_stages"),
    "deal_fields": Endpoint(
        "v2/dealFields", 10, "deal_fields", "fields", complete=_with_json_options
    ),
    "deals": _list_of_deals("v2/deals", 10),
    "archived_deals": _list_of_deals("v2/deals/archived", 20),
    "activities": Endpoint(
        "v2/activities",
        10,
        "activities",
        "activity",
        _BY_UPDATE,
        is_incremental=True,
        complete=_with_due_time,
    ),
}
CHANGELOG = Endpoint("v1/deals/{deal}/changelog", 20, "changelogs", "deal_changes")

_PRICES = {
    endpoint.path.format(deal=0): endpoint.tokens for endpoint in (*ENDPOINTS.values(), CHANGELOG)
}


def price(path: str) -> int:
    """Return the tokens that a request costs, by the path of its address."""
    return _PRICES["v" + re.sub(r"/\d+/", "/0/", path.rpartition("/v")[2])]


# The columns of the mirror; a ? marks fields that the API may leave empty. A row without another
# one is rejected, and no more than that row. Where a ~ stands, what does not fit the contract is
# rejected alone, and empty in its row: what a deal is worth never keeps its history out.
TABLES = {
    "users": {"id": "bigint", "name": "text?", "email": "text?", "modified": "timestamp?"},
    "activity_types": {
        **{"id": "bigint", "name": "text?", "key_string": "text", "active_flag": "bool?"},
    },
    "stages": {
        **{"id": "bigint", "name": "text", "pipeline_id": "bigint", "order_nr": "bigint?"},
        **{"is_deleted": "bool?", "deal_probability": "bigint~"},
    },
    "pipelines": {
        **{"id": "bigint", "name": "text?", "order_nr": "bigint~", "is_deleted": "bool~"},
    },
    "deal_fields": {"field_code": "text", "field_name": "text?", "options": "text?"},
    "activities": {
        **{"id": "bigint", "type": "text?", "owner_id": "bigint?", "deal_id": "bigint?"},
        **{"done": "bool?", "due_to": "timestamp?", "is_deleted": "bool?"},
        "update_time": "timestamp?",
    },
    "deals": {
        **{"id": "bigint", "owner_id": "bigint?", "pipeline_id": "bigint", "stage_id": "bigint"},
        **{"add_time": "timestamp", "update_time": "timestamp?"},
        **{"stage_change_time": "timestamp?", "lost_reason": "text?", "status": "text~"},
        **{"title": "text~", "value": "decimal~", "currency": "text~", "probability": "bigint~"},
        **{"expected_close_date": "timestamp~", "won_time": "timestamp~"},
        **{"lost_time": "timestamp~", "close_time": "timestamp~", "org_id": "bigint~"},
        **{"is_deleted": "bool~", "is_archived": "bool~", "custom_fields": "json~"},
    },
    # A row for each change of a kept field
    "changelogs": {
        **{"deal_id": "bigint", "place": "bigint", "field_key": "text", "old_value": "text?"},
        **{"new_value": "text?", "change_time": "timestamp"},
    },
}
# Columns of a deal that tell that its change log has changed, where one of them has
STATE = ("stage_id", "owner_id", "stage_change_time", "lost_reason", "status")
GONE = 404  # status of the answer for the log of a deal that was deleted for good
SNAPSHOTS = {"activity_types", "deal_fields"}  # short, complete, and not history
KEYS = {"deal_fields": "field_code", "changelogs": "deal_id"}  # the others have an id
LOGGED = {  # fields kept of the change logs: name there -> name here, type
    "stage_id": ("stage_id", "bigint?"),
    "user_id": ("user_id", "bigint?"),
    "owner_id": ("user_id", "bigint?"),
    "lost_reason": ("lost_reason", "text?"),
    "status": ("status", "text?"),
}


class OddRow(Exception):
    """A row that has no place in the contract.

    Attributes:
        column: the field that does not fit.
        reason: what is wrong with it.

    """

    def __init__(self, column: str, reason: str) -> None:
        """Note what is wrong."""
        super().__init__(reason)
        self.column, self.reason = column, reason


class Reject(t.NamedTuple):
    """A row, or a value of one, that is not landed; the mirror keeps it until there is another."""

    mirror_table: str
    row_key: str  # of the row, in that table
    table_name: str  # the rest as in the raw table rejected_rows
    file_name: str
    column_name: str | None
    reason: str
    raw_text: str
    is_value: bool = False  # the rest of the row is landed


class Converted(t.NamedTuple):
    """What becomes of a page.

    Attributes:
        rows: of the mirror, by their key.
        rejects: odd rows, by their key.
        odd_values: of `rows`, which lack them.

    """

    rows: dict[str | int, Row]
    rejects: dict[str | int, Reject]
    odd_values: list[Reject]


# --- rows -----------------------------------------------------------------------------------------


def convert(page: list[Row], endpoint: Endpoint) -> Converted:
    """Make rows of the mirror from those of the API, and put odd rows and odd values aside.

    Raises:
        ApiError: one does not even have its key: this is no such list.

    """
    rows: dict[str | int, Row] = {}
    rejects: dict[str | int, Reject] = {}
    odd_values: dict[str | int, list[Reject]] = {}
    columns, key = TABLES[endpoint.table], KEYS.get(endpoint.table, "id")
    for row in page:
        try:
            number = _value(row, key, columns[key])
        except OddRow as error:
            raise ApiError(
                f"Pipedrive's answer to GET {endpoint.path} has a row whose {key} {error.reason}: "
                "check PIPEDRIVE_API_URL, and tell the maintainers if it is right."
            ) from None
        try:
            row = _completed(row, endpoint)
            rows[number], errors = _mirrored(row, columns)
            odd_values[number] = [
                _reject(endpoint, str(number), error, row, (key, error.column), is_value=True)
                for error in errors
            ]
        except OddRow as error:
            needed = [name for name, kind in columns.items() if not kind.endswith("~")]
            rejects[number] = _reject(endpoint, str(number), error, row, needed)
    return Converted(
        rows,
        {number: reject for number, reject in rejects.items() if number not in rows},
        [reject for of_row in odd_values.values() for reject in of_row],
    )


def _completed(row: Row, endpoint: Endpoint) -> Row:
    """Return a row of the API with the columns that it has in another form.

    Raises:
        OddRow: it does not have that form.

    """
    try:
        return endpoint.complete(row)
    except (KeyError, TypeError, ValueError):
        raise OddRow("options", "has not the form that Pipedrive's documents say") from None


def _mirrored(row: Row, columns: dict[str, str]) -> tuple[Row, list[OddRow]]:
    """Return a row of the mirror, and what is wrong with values that it can do without.

    Raises:
        OddRow: it has no place there.

    """
    values: Row = {}
    errors: list[OddRow] = []
    for name, kind in columns.items():
        try:
            values[name] = _value(row, name, kind)
        except OddRow as error:
            if not kind.endswith("~"):
                raise
            values[name] = None
            errors.append(error)
    if values.get("update_time"):  # one in the future would hide all updates until then
        values["update_time"] = min(values["update_time"], _time(datetime.now(UTC).isoformat()))
    return values, errors


def convert_log(
    changes: list[Row], endpoint: Endpoint, deal: int
) -> tuple[list[Row], list[Reject]]:
    """Make rows of the mirror from a deal's whole change log, and put odd changes aside.

    Args:
        changes: as the API delivers them, the newest first.
        endpoint: the log's.
        deal: its id.

    """
    rows, rejects = [], []
    for place, change in enumerate(changes):
        if change.get("field_key") not in LOGGED:
            continue
        field_key, column_type = LOGGED[change["field_key"]]
        try:
            old_value, new_value = (
                _value(change, name, column_type) for name in ("old_value", "new_value")
            )
            time = _value(change, "time", "timestamp")
        except OddRow as error:
            columns = ("field_key", "old_value", "new_value", "time")
            rejects.append(_reject(endpoint, str(deal), error, change, columns))
            continue
        rows.append(
            {
                "deal_id": deal,
                "place": place,
                "field_key": field_key,
                "old_value": None if old_value is None else str(old_value),
                "new_value": None if new_value is None else str(new_value),
                "change_time": time,
            }
        )
    return rows, rejects


def _reject(
    endpoint: Endpoint,
    key: str,
    error: OddRow,
    row: Row,
    columns: t.Iterable[str],
    *,
    is_value: bool = False,
) -> Reject:
    """Keep of an odd row what the mirror would: other fields may be personal."""
    kept = {name: row[name] for name in columns if name in row}
    table, rest = endpoint.raw_table, ""
    if is_value:
        table, rest = endpoint.state_table or table, "The rest of the row is landed. "
    return Reject(
        endpoint.table,
        key,
        table,
        endpoint.path,
        error.column,
        f"{error.column} {error.reason}. {rest}Correct it in Pipedrive.",
        _text(json.dumps(kept, ensure_ascii=False))[:RAW_TEXT_AT_MOST],
        is_value,
    )


def unexpected(path: str) -> ApiError:
    """Return the error for an answer that does not have the shape of the API's."""
    return ApiError(
        f"The answer to GET {path} is not what Pipedrive's API gives: check PIPEDRIVE_API_URL, "
        "and tell the maintainers if it is right."
    )


# --- values ---------------------------------------------------------------------------------------


def _integer(value: t.Any) -> int:
    if isinstance(value, bool | float) or not -(2**63) <= int(value) < 2**63:
        raise ValueError
    return int(value)


def _boolean(value: t.Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _decimal(value: t.Any) -> str:
    """Return an amount of at most 15 digits, rounded to three places as the contract has it."""
    if isinstance(value, bool):
        raise ValueError
    amount = Decimal(str(value))
    if not amount.is_finite() or abs(amount) >= 10**15:
        raise ValueError
    return str(amount.quantize(Decimal("0.001")))


def _json(value: t.Any) -> str:
    """Return an object as JSON."""
    if not isinstance(value, dict):
        raise ValueError
    return json.dumps(value, ensure_ascii=False).replace("\\u0000", "").replace("\0", "")


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
    "decimal": _decimal,
    "json": _json,
    "text": _text,
    "timestamp": _time,
}


SQL_TYPES = {
    **{"bigint": "BIGINT", "text": "TEXT", "bool": "BOOLEAN", "timestamp": "TIMESTAMP"},
    **{"decimal": "DECIMAL(18, 3)", "json": "TEXT"},
}
_NAMES = {"bigint": "whole number", "bool": "truth value", "text": "text", "timestamp": "time"}
_NAMES |= {"decimal": "amount", "json": "object"}
_DELETED = ("status", "deleted")  # of Pipedrive; the contract says it in a column of its own
OPTIONAL = ("?", "~")  # marks of columns that may be empty


def plain(column_type: str) -> str:
    """Return the type of a column without its mark."""
    return column_type.rstrip("".join(OPTIONAL))


def _value(row: Row, name: str, column_type: str) -> t.Any:
    """Return a field of a row in the type of its column; NULL if it is missing or empty.

    Raises:
        OddRow: the value has another type, or is missing and must not be.

    """
    value = row.get(name)
    if value is None or value == "":
        if column_type.endswith(OPTIONAL):
            return None
        raise OddRow(name, "is empty")
    kind = plain(column_type)
    try:
        converted = CONVERTERS[kind](value)
    except (ValueError, TypeError, OverflowError, ArithmeticError):
        raise OddRow(name, f"is no {_NAMES[kind]}") from None
    if column_type.endswith("~") and (name, converted) != _DELETED:
        contract = format_of(name, SQL_TYPES[kind])
        if not contract.accepts(str(converted)):
            raise OddRow(name, f"is not {contract.example}")
    return converted
