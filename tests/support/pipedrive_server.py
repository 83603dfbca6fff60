"""An HTTP server on this machine that answers as Pipedrive's API does, with faults on request."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
import socket
import threading
import time
import typing as t
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.support.pipedrive_account import Account

Row = dict[str, t.Any]

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
DELETED_DEALS_STAY = timedelta(days=30)  # in the lists that ask for them
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
CHANGELOG = re.compile(r"/v1/deals/(\d+)/changelog")
GONE = ("/v1/activities", "/v1/deals", "/v1/stages")
UPDATED = ("updated_since", "updated_until")
STATUSES = {"open", "won", "lost", "deleted"}
TOKENS = {  # what a request costs, as Pipedrive's OpenAPI documents say
    "/v2/deals": 10,
    "/v2/deals/archived": 20,
    "/v2/activities": 10,
    "/v2/pipelines": 5,
    "/v2/stages": 5,
    "/v2/dealFields": 10,
    "/v1/users": 20,
    "/v1/activityTypes": 20,
}
TOKENS_OF_A_LOG = 20
EDGE_AFTER = 25  # refusals in a row, until the servers before the API answer instead of it
BLOCKED = b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>"
HTML = {"Content-Type": "text/html; charset=UTF-8"}


@dataclass(frozen=True)
class Listing:
    """A list of v2: its rows, their filters, their sort orders and their key."""

    rows: t.Callable[[Account], t.Iterable[Row]]
    filters: tuple[str, ...] = ()
    sorts: tuple[str, ...] = ()
    key: str = "id"


DEAL_FILTERS = ("ids", "owner_id", "pipeline_id", "stage_id", "status", *UPDATED)
LISTINGS = {
    "/v2/activities": Listing(
        lambda account: account.activities.values(),
        ("ids", "owner_id", "deal_id", "done", *UPDATED),
        ("id", "update_time", "add_time", "due_date"),
    ),
    "/v2/deals": Listing(
        lambda account: [row for row in account.deals.values() if not row["is_archived"]],
        DEAL_FILTERS,
        ("id", "update_time", "add_time"),
    ),
    "/v2/deals/archived": Listing(
        lambda account: [row for row in account.deals.values() if row["is_archived"]],
        DEAL_FILTERS,
        ("id", "update_time", "add_time"),
    ),
    "/v2/stages": Listing(
        lambda account: account.stages,
        ("pipeline_id",),
        ("id", "update_time", "add_time", "order_nr"),
    ),
    "/v2/pipelines": Listing(
        lambda account: account.pipelines, (), ("id", "update_time", "add_time")
    ),
    "/v2/dealFields": Listing(lambda account: account.deal_fields, key="field_code"),
}
UNPAGED: dict[str, t.Callable[[Account], list[Row]]] = {
    "/v1/users": lambda account: account.users,
    "/v1/activityTypes": lambda account: account.activity_types,
}


@dataclass
class Request:
    """A request as it came in, its path without `/api`; `status` is None while it has no answer."""

    path: str
    params: dict[str, str]
    time: float  # of time.monotonic()
    status: int | None = None


@dataclass
class Answer:
    """The answer to a request."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """A fault of the next requests to paths with a prefix, after `skip` good ones."""

    path_prefix: str
    times: int
    skip: int
    answer: Answer | None = None
    seconds: float = 0
    sent: int | None = None  # bytes of the body before the connection is closed


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, error: str, headers: dict[str, str] | None = None) -> None:
        """Note the status and Pipedrive's words for it."""
        super().__init__(error)
        info = "Please check developers.pipedrive.com for more information."
        body = {"success": False, "error": error, "errorCode": status, "error_info": info}
        self.answer = Answer(status, _json(body), headers or {})


class Blocked(Refused):
    """A request that does not come to the API."""

    def __init__(self) -> None:
        """Answer in HTML."""
        self.answer = Answer(403, BLOCKED, HTML)


class PipedriveServer:
    """Serve an account at `url`; v2 is `{url}/v2/deals` and so on, v1 is `{url}/v1/users`.

    As far as anybody knows, deleted activities are in no list; `lists_deleted_activities=True` is
    for the case that they are. `empty_is_null=True` gives `"data": null` for an empty list of v1. A
    `page_size` makes pages shorter than their `limit`. Without `limit_rate` and `give_tokens`,
    everybody may ask as much as they want.
    """

    def __init__(
        self,
        account: Account,
        token: str = "secret-token",
        *,
        lists_deleted_activities: bool = False,
        empty_is_null: bool = False,
        page_size: int | None = None,
    ) -> None:
        """Start serving at once."""
        self.account, self.token, self.page_size = account, token, page_size
        self.lists_deleted_activities = lists_deleted_activities
        self.empty_is_null = empty_is_null
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self._in_flight = self._served = 0
        self._faults: list[Fault] = []
        self._callbacks: list[tuple[int, t.Callable[[], object]]] = []
        self.tokens_spent = 0  # of this day
        self._rate: tuple[int, float] | None = None
        self.tokens_left: int | None = None
        self._tells_tokens = self._tells_rate = True
        self._refused_in_row = 0
        self._refused_deals: dict[int, Answer] = {}
        self._accepted: deque[float] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._http = _HTTPServer(self)
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.05], daemon=True)
        self._thread.start()

    def __enter__(self) -> PipedriveServer:
        """Give the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """Stop serving, stalled requests and open connections included."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        with self._lock:
            for connection in [*self._sockets]:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    # What a test can ask for.

    def paths(self, prefix: str = "") -> list[str]:
        """Return the paths requested so far that begin with `prefix`, in their order."""
        return [request.path for request in [*self.requests] if request.path.startswith(prefix)]

    def forget(self) -> None:
        """Begin anew: no requests so far, no faults, no callbacks, no limits."""
        with self._lock:
            self.requests = []
            self.most_in_flight = self._in_flight
            self._faults, self._callbacks, self._rate = [], [], None
            self.tokens_left, self.tokens_spent, self._refused_in_row = None, 0, 0
            self._refused_deals = {}
            self._accepted.clear()

    def limit_rate(self, burst: int, per_seconds: float, *, told: bool = True) -> None:
        """Allow `burst` requests in any span of `per_seconds`; the answer to others is 429.

        Unless `told`, no header says how many are left, or when there are more.
        """
        self._rate, self._tells_rate = (burst, per_seconds), told

    def give_tokens(self, tokens: int, *, told: bool = True) -> None:
        """Begin a day with so many tokens. Unless `told`, no header says how many are left."""
        with self._lock:
            self.tokens_left, self._tells_tokens = tokens, told
            self.tokens_spent = self._refused_in_row = 0

    def spend_tokens(self, tokens: int) -> None:
        """Be another tool of the company, which spends some of its tokens."""
        with self._lock:
            assert self.tokens_left is not None
            self.tokens_left = max(0, self.tokens_left - tokens)

    def refuse_deal(self, deal: int, status: int) -> None:
        """Refuse the change log of a deal from now on, as one that cannot be seen or is gone."""
        error = {403: "You do not have permission", 410: "The deal is gone"}[status]
        self._refused_deals[deal] = Refused(status, error).answer

    def block(self, path_prefix: str, times: int = 1, *, skip: int = 0) -> None:
        """Let the servers before the API turn the next requests away."""
        self._add(Fault(path_prefix, times, skip, answer=Answer(403, BLOCKED, HTML)))

    def fail(
        self,
        path_prefix: str,
        status: int = 500,
        times: int = 1,
        *,
        skip: int = 0,
        retry_after: int | None = None,
    ) -> None:
        """Answer the next requests with an error."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        error = Refused(status, "The server met an error that a test asked for", headers)
        self._add(Fault(path_prefix, times, skip, answer=error.answer))

    def stall(self, path_prefix: str, seconds: float, times: int = 1, *, skip: int = 0) -> None:
        """Let the next requests wait before they are answered."""
        self._add(Fault(path_prefix, times, skip, seconds=seconds))

    def answer_garbage(
        self,
        path_prefix: str,
        body: bytes = b"<html><title>Bad gateway</title></html>",
        times: int = 1,
        *,
        skip: int = 0,
        status: int = 200,
    ) -> None:
        """Answer the next requests with a body that is not the API's."""
        answer = Answer(status, body, {"Content-Type": "text/html"})
        self._add(Fault(path_prefix, times, skip, answer=answer))

    def close_connection(
        self, path_prefix: str, times: int = 1, *, skip: int = 0, after_bytes: int = -1
    ) -> None:
        """Close the connection without an answer, or after `after_bytes` of its body."""
        self._add(Fault(path_prefix, times, skip, sent=after_bytes))

    def after(self, requests: int, callback: t.Callable[[], object]) -> None:
        """Call a function once, after so many `requests` from now on have been answered."""
        with self._lock:
            self._callbacks.append((self._served + requests, callback))

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    # Serving.

    def serve(self, handler: _Handler) -> None:
        """Answer one request, and note it."""
        split = urlsplit(handler.path)
        pairs = parse_qsl(split.query, keep_blank_values=True)
        request = Request(split.path.removeprefix("/api"), dict(pairs), time.monotonic())
        with self._lock:
            self.requests.append(request)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            fault = self._next_fault(request.path)
        try:
            if fault and fault.seconds:
                self._closing.wait(fault.seconds)
            if fault and fault.answer:
                answer = fault.answer
            else:
                answer = self._answer(handler, request, repeated=len(pairs) > len(request.params))
            request.status = None if fault and fault.sent == -1 else answer.status
        finally:  # before the answer leaves: the client may send the next request at once
            with self._lock:
                self._in_flight -= 1
        _send(handler, answer, fault.sent if fault else None)
        with self._lock:
            self._served += 1
            due = [callback for number, callback in self._callbacks if number <= self._served]
            self._callbacks = [item for item in self._callbacks if item[0] > self._served]
        for callback in due:
            callback()

    def _next_fault(self, path: str) -> Fault | None:
        for fault in self._faults:
            if not path.startswith(fault.path_prefix) or fault.times <= 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None

    def _answer(self, handler: _Handler, request: Request, repeated: bool) -> Answer:
        try:
            if not handler.path.startswith("/api/"):
                raise Refused(404, "Not found")
            if handler.headers.get("x-api-token") != self.token:
                raise Refused(401, "unauthorized access")
            headers = self._spend(request.path)
            if repeated:
                raise Refused(400, "A parameter is there twice")
            if refused_deal := self._refused_deal(request.path):
                return refused_deal
            with self.account.lock:
                body = _json(self._body(request.path, request.params))
            return Answer(200, body, headers)
        except Refused as refused:
            return refused.answer

    def _refused_deal(self, path: str) -> Answer | None:
        changelog = CHANGELOG.fullmatch(path)
        return self._refused_deals.get(int(changelog[1])) if changelog else None

    def _spend(self, path: str) -> dict[str, str]:
        """Count the request, or refuse it; return the headers about bursts and tokens.

        There is no Retry-After: nobody knows whether Pipedrive sends one.
        """
        cost = TOKENS_OF_A_LOG if CHANGELOG.fullmatch(path) else TOKENS.get(path, 0)
        headers: dict[str, str] = {}
        with self._lock:
            refused = self._is_over_rate(headers)
            left = self.tokens_left
            if not refused and left is not None:
                refused = left < cost
            if not refused:
                self._refused_in_row = 0
                self.tokens_spent += cost
                if left is not None:
                    left = self.tokens_left = left - cost
                if self._rate is not None:
                    self._accepted.append(time.monotonic())
            else:
                self._refused_in_row += 1
            if left is not None and self._tells_tokens:
                headers["x-daily-ratelimit-token-remaining"] = str(left)
            if self._refused_in_row > EDGE_AFTER:
                raise Blocked
        if refused:
            raise Refused(429, "request over limit", headers)
        return headers

    def _is_over_rate(self, headers: dict[str, str]) -> bool:
        """Tell whether the burst is used up, and write the headers about it."""
        if self._rate is None:
            return False
        burst, seconds = self._rate
        now = time.monotonic()
        while self._accepted and self._accepted[0] <= now - seconds:
            self._accepted.popleft()
        wait = math.ceil((self._accepted[0] if self._accepted else now) + seconds - now)
        over = len(self._accepted) >= burst
        if not self._tells_rate:
            return over
        headers["x-ratelimit-limit"] = str(burst)
        headers["x-ratelimit-remaining"] = str(max(0, burst - len(self._accepted) - (not over)))
        headers["x-ratelimit-reset"] = str(wait)
        return over

    def _body(self, path: str, params: dict[str, str]) -> Row:
        if path in GONE:
            raise Refused(410, "This endpoint has been removed; use API v2")
        if path in LISTINGS:
            return self._list(path, LISTINGS[path], params)
        if path in UNPAGED:
            _allow(params)
            return {"success": True, "data": self._v1(UNPAGED[path](self.account))}
        if changelog := CHANGELOG.fullmatch(path):
            return self._changelog(path, int(changelog[1]), params)
        raise Refused(404, "Unknown method .")

    def _v1(self, rows: list[Row]) -> list[Row] | None:
        return None if self.empty_is_null and not rows else rows

    def _list(self, path: str, listing: Listing, params: dict[str, str]) -> Row:
        sorting = ("sort_by", "sort_direction") if listing.sorts else ()
        _allow(params, "limit", "cursor", *listing.filters, *sorting)
        sort_by = _one_of(params, "sort_by", listing.sorts or (listing.key,), listing.key)
        down = _one_of(params, "sort_direction", ("asc", "desc"), "asc") == "desc"

        def position(row: Row) -> list[t.Any]:
            return [row[sort_by] or "", row[listing.key]]

        rows = sorted(
            filter(self._filter(path, params), listing.rows(self.account)),
            key=position,
            reverse=down,
        )
        if "cursor" in params:
            last = _open_cursor(path, params)
            rows = [row for row in rows if (position(row) < last if down else position(row) > last)]
        page, more = self._page(rows, params)
        cursor = _cursor(path, params, position(page[-1])) if more else None
        return {"success": True, "data": page, "additional_data": {"next_cursor": cursor}}

    def _filter(self, path: str, params: dict[str, str]) -> t.Callable[[Row], bool]:
        """Return a function that tells whether a row is asked for."""
        equal: Row = {
            name: _number(params, name)
            for name in ("owner_id", "deal_id", "pipeline_id", "stage_id")
            if name in params
        }
        if "done" in params:
            equal["done"] = _one_of(params, "done", ("true", "false"), "") == "true"
        hides_deleted = path == "/v2/activities" and not self.lists_deleted_activities
        ids = set(params["ids"].split(",")) if "ids" in params else None
        since, until = (_time(params[name], name) if name in params else None for name in UPDATED)
        statuses = set(params.get("status", "open,won,lost").split(","))
        if not statuses <= STATUSES:
            raise Refused(400, "Parameter 'status' has an unknown value")
        forgotten = self.account.now.replace(tzinfo=UTC) - DELETED_DEALS_STAY

        def wanted(row: Row) -> bool:
            if hides_deleted and row["is_deleted"]:
                return False
            if path.startswith("/v2/deals"):
                if (row["status"] or "open") not in statuses:
                    return False
                if row["is_deleted"] and datetime.fromisoformat(row["update_time"]) < forgotten:
                    return False
            if since or until:
                if row["update_time"] is None:
                    return False
                updated = datetime.fromisoformat(row["update_time"])
                if since and updated < since or until and updated >= until:
                    return False
            return (ids is None or str(row["id"]) in ids) and all(
                row[name] == value for name, value in equal.items()
            )

        return wanted

    def _changelog(self, path: str, deal: int, params: dict[str, str]) -> Row:
        _allow(params, "limit", "cursor")
        if deal not in self.account.changelogs:
            raise Refused(404, "Deal not found")
        log = self.account.changelogs[deal]
        left = _open_cursor(path, params) if "cursor" in params else len(log)
        page, more = self._page(log[len(log) - left :], params)  # not the newer entries
        cursor = _cursor(path, params, left - len(page)) if more else None
        extra = {"next_cursor": cursor}
        return {"success": True, "data": self._v1(page), "additional_data": extra}

    def _page(self, rows: list[Row], params: dict[str, str]) -> tuple[list[Row], bool]:
        limit = _number(params, "limit") if "limit" in params else DEFAULT_LIMIT
        if not 1 <= limit <= MAX_LIMIT:
            raise Refused(400, f"Parameter 'limit' must be from 1 to {MAX_LIMIT}")
        limit = min(limit, self.page_size or limit)
        return rows[:limit], len(rows) > limit


class _HTTPServer(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, double: PipedriveServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.double = double

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Keep quiet: clients that give up and connections that are closed are part of the tests.

        Errors of the server itself are still shown.
        """
        with contextlib.suppress(ConnectionError):
            raise


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one go
    server: _HTTPServer

    def setup(self) -> None:
        super().setup()
        self.server.double._sockets.add(self.connection)

    def finish(self) -> None:
        self.server.double._sockets.discard(self.connection)
        with contextlib.suppress(ConnectionError):
            super().finish()

    def do_GET(self) -> None:  # noqa: N802
        self.server.double.serve(self)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Say nothing."""


def _send(handler: _Handler, answer: Answer, sent: int | None) -> None:
    """Send the answer; with `sent`, only so many bytes of the body (-1: none), then hang up."""
    if sent is None or sent >= 0:
        handler.send_response(answer.status)
        headers = {"Content-Type": "application/json; charset=utf-8"} | answer.headers
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body[:sent])
        with contextlib.suppress(ConnectionError):
            handler.wfile.flush()
    if sent is not None:
        handler.close_connection = True


def _json(body: Row) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _allow(params: dict[str, str], *names: str) -> None:
    for name in params:
        if name not in names:
            raise Refused(400, f"Parameter '{name}' is not known here")


def _number(params: dict[str, str], name: str) -> int:
    if not re.fullmatch(r"\d{1,18}", params[name], re.ASCII):
        raise Refused(400, f"Parameter '{name}' must be a number")
    return int(params[name])


def _one_of(params: dict[str, str], name: str, values: tuple[str, ...], default: str) -> str:
    value = params.get(name, default)
    if name in params and value not in values:
        raise Refused(400, f"Parameter '{name}' must be one of {', '.join(values)}")
    return value


def _time(text: str, name: str) -> datetime:
    """Read a time of RFC 3339; one without a time zone is refused."""
    with contextlib.suppress(ValueError):
        if RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text)
    raise Refused(400, f"Parameter '{name}' must be a time in RFC 3339")


def _filters(path: str, params: dict[str, str]) -> list[t.Any]:
    """Return the path and parameters of a cursor, which is invalid for any others."""
    return [path, sorted(item for item in params.items() if item[0] not in ("limit", "cursor"))]


def _cursor(path: str, params: dict[str, str], place: t.Any) -> str:
    """Return a cursor with characters that must be quoted in an address."""
    text = json.dumps([_filters(path, params), place])
    return base64.b64encode(b"\xfb\xef\xbe" + text.encode()).decode()


def _open_cursor(path: str, params: dict[str, str]) -> t.Any:
    with contextlib.suppress(ValueError):
        text = base64.b64decode(params["cursor"], validate=True).removeprefix(b"\xfb\xef\xbe")
        belongs, place = json.loads(text)
        if belongs == json.loads(json.dumps(_filters(path, params))):
            return place
    raise Refused(400, "Parameter 'cursor' is invalid")
