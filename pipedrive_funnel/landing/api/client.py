"""Requests to Pipedrive's API: their pace, their price, the retries, and why they fail."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator
from types import TracebackType
from urllib.parse import urlsplit

from pipedrive_funnel.landing.api.meter import Limiter, Meter
from pipedrive_funnel.landing.api.settings import ApiError, BudgetSpent, Settings
from pipedrive_funnel.landing.api.tables import Endpoint, price, unexpected
from pipedrive_funnel.landing.dlt_settings import configure_dlt

if t.TYPE_CHECKING:
    from requests import Response

Row = dict[str, t.Any]

PAGE = 500  # rows, the most that the API gives
SMALLEST_PAGE = 100  # rows, unless the API is asked for more


class Refusal(ApiError):
    """Pipedrive refuses a request.

    Attributes:
        status: of the answer.
        is_pipedrives: whether the API itself has answered, and no server before it.

    """

    def __init__(self, message: str, status: int, *, is_pipedrives: bool) -> None:
        """Keep what the answer tells."""
        super().__init__(message)
        self.status, self.is_pipedrives = status, is_pipedrives


class Client:
    """The API of an account. Several threads may use it."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        """Open no connection yet; `meter` counts what is spent."""
        from dlt.sources.helpers.requests import Client as Retrying

        configure_dlt()
        retrying = Retrying(raise_for_status=False, status_codes=range(500, 600))
        retrying.configure()
        self._settings, self._meter = settings, meter
        self._limiter = Limiter(settings.burst)
        self._session = retrying.session
        self._session.headers["x-api-token"] = settings.token  # only the session knows it
        adapter = _metered_adapter(self._limiter, meter)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter)

    def __enter__(self) -> Client:
        """Give the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send nothing more, also where another thread still wants to."""
        self._limiter.end(ApiError("The landing has ended."))
        self._session.close()

    def pages(
        self, endpoint: Endpoint, params: Row | None = None, *, is_one: bool = False
    ) -> Iterator[tuple[list[Row], bool]]:
        """Yield the pages of a list, and of each whether it is the last one.

        A page is asked for when it is wanted.

        Args:
            endpoint: the list.
            params: what to ask for besides.
            is_one: whether a part of the list is worth nothing. Once begun, it is read to its end,
                if need be with tokens of the reserve.

        Raises:
            BudgetSpent: the next page is more than may be spent.
            ApiError: the list cannot be read.

        """
        params = endpoint.params | ({"limit": PAGE} if endpoint.is_paged else {}) | (params or {})
        seen = set()
        while True:
            if not seen or not is_one:
                self._meter.check(endpoint.tokens)
            body = self._body(endpoint, params)
            cursor = _next_cursor(body) if endpoint.is_paged else None
            yield body["data"] or [], cursor is None
            if cursor is None:
                return
            if cursor in seen:
                raise ApiError(
                    f"Pipedrive's answer to GET {endpoint.path} leads back to a page that was "
                    "read: land again later, and tell the maintainers if it stays so."
                )
            seen.add(cursor)
            params = params | {"cursor": cursor}

    def rows(self, endpoint: Endpoint) -> list[Row]:
        """Return all rows of a list that is of no use in parts, as the API gives them.

        Raises:
            ApiError: see `pages`.

        """
        return [row for page, _ in self.pages(endpoint, is_one=True) for row in page]

    def _body(self, endpoint: Endpoint, params: Row) -> Row:
        """Return the answer to a request, which must have the parts of a list."""
        import requests

        url = f"{self._settings.url}/{endpoint.path}"
        try:
            response = self._session.get(url, params=params, allow_redirects=False)
        except requests.RequestException as error:
            raise self._no_answer(error) from None
        if not response.ok or response.is_redirect:
            raise self._refusal(response)
        return checked_body(response, is_paged=endpoint.is_paged)

    def _no_answer(self, error: Exception) -> ApiError:
        import requests

        host = urlsplit(self._settings.url).netloc
        if isinstance(error, requests.Timeout):
            return ApiError(
                f"{host} does not answer in time: land again later, it goes on from here."
            )
        return ApiError(
            f"{host} cannot be reached: check the network, PIPEDRIVE_COMPANY_DOMAIN and "
            "PIPEDRIVE_API_URL, and land again."
        )

    def _refusal(self, response: Response) -> Refusal:
        is_pipedrives = _is_of_api(response)
        message = self._why_refused(response, is_pipedrives)
        return Refusal(message, response.status_code, is_pipedrives=is_pipedrives)

    def _why_refused(self, response: Response, is_pipedrives: bool) -> str:
        status, path = response.status_code, urlsplit(response.url).path
        if response.is_redirect:
            return self._no_company("it leads elsewhere")
        if status == 402:
            return (
                f"The Pipedrive account is not open (402 for GET {path}): its trial or "
                "subscription has ended. Have an admin renew it, and land again: it goes on from "
                "here."
            )
        if status == 403 and not is_pipedrives:
            return (
                f"The servers before Pipedrive's API turn us away (403 for GET {path}), as they do "
                "after too many requests: wait an hour and land again, it goes on from here."
            )
        if status in (401, 403):
            return (
                f"Pipedrive refused the token in PIPEDRIVE_API_TOKEN ({status} for GET {path}): "
                "copy it anew from Personal preferences, API, of a user who may see all deals."
            )
        if status == 404:
            return self._no_company(f"404 for GET {path}")
        if status >= 500:
            return (
                f"Pipedrive failed to answer GET {path} ({status}): land again later, it goes on "
                "from here."
            )
        return (
            f"Pipedrive refused GET {path} ({status}): check PIPEDRIVE_API_URL, and tell the "
            "maintainers if it is right."
        )

    def _no_company(self, why: str) -> str:
        return (
            f"There is no Pipedrive company at {self._settings.url} ({why}): check "
            "PIPEDRIVE_COMPANY_DOMAIN and PIPEDRIVE_API_URL."
        )


def _metered_adapter(limiter: Limiter, meter: Meter) -> t.Any:
    """Return what sends requests, below the retries: so each attempt is paced and counted."""
    from requests import PreparedRequest
    from requests.adapters import HTTPAdapter

    class Metered(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: t.Any, **options: t.Any) -> Response:
            tokens = price(urlsplit(request.url or "").path)
            while True:
                sent_at = limiter.wait()
                try:
                    response = super().send(request, *args, **options)
                except BaseException:
                    limiter.failed()
                    raise
                if response.status_code != 429:
                    meter.count(tokens, response.headers)
                    limiter.heard(sent_at, response.headers)
                    return response
                response.close()
                try:
                    meter.refused(tokens, response.headers)
                    limiter.refused(sent_at, response.headers)
                except BudgetSpent as error:
                    limiter.end(error)
                    raise

    return Metered(pool_maxsize=50)


# --- answers --------------------------------------------------------------------------------------


def checked_body(response: Response, *, is_paged: bool) -> Row:
    """Return the body of an answer, which must have the parts of a list.

    Raises:
        ApiError: a part is missing, or the answer is not JSON.

    """
    path = urlsplit(response.url).path
    try:
        body = json.loads(response.content)  # dlt's parser refuses all of it for one 1e400
    except (ValueError, RecursionError):
        raise ApiError(
            f"The answer to GET {path} is not JSON: check PIPEDRIVE_COMPANY_DOMAIN and "
            "PIPEDRIVE_API_URL, and land again later if they are right."
        ) from None
    if not isinstance(body, dict) or not body.get("success") or "data" not in body:
        raise unexpected(path)
    rows = body["data"] or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise unexpected(path)
    has_cursor = "next_cursor" in (body.get("additional_data") or {})
    if is_paged and len(rows) >= SMALLEST_PAGE and not has_cursor:
        raise unexpected(path)  # there may be more pages
    return body


def _is_of_api(response: Response) -> bool:
    """Tell whether an answer has the form of the API's errors."""
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "success" in body


def _next_cursor(body: Row) -> str | None:
    """Return the cursor of the next page; None on the last one."""
    return (body.get("additional_data") or {}).get("next_cursor") or None
