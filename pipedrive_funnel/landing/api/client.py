"""Requests to Pipedrive's API: the account, the retries, and the messages if they fail."""

from __future__ import annotations

import os
import re
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipedrive_funnel.errors import NO_API, LandingError
from pipedrive_funnel.landing.dlt_settings import LONGEST_WAIT, configure_dlt

if t.TYPE_CHECKING:
    from requests import Response

Row = dict[str, t.Any]

SMALLEST_PAGE = 100  # rows, unless the API is asked for more


class ApiError(LandingError):
    """Pipedrive cannot be read. The message is one sentence."""

    code = NO_API


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """The account to land.

    Attributes:
        token: the secret that gives access to it.
        url: the address of its API; `v1` and `v2` are below it.
        pipeline_id: the pipeline whose deals to land; all deals when None.

    """

    token: str = field(repr=False)
    url: str
    pipeline_id: int | None

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the variables PIPEDRIVE_*.

        Raises:
            ApiError: one is missing or cannot be used.

        """
        token = os.environ.get("PIPEDRIVE_API_TOKEN", "").strip()
        if not token:
            raise ApiError(
                "Set PIPEDRIVE_API_TOKEN in .env to land what Pipedrive's API gives, or name the "
                "directory of an export: make land SOURCE=path/to/export."
            )
        if not re.fullmatch(r"[!-~]+", token):
            raise ApiError("PIPEDRIVE_API_TOKEN has characters that no token has: copy it anew.")
        pipeline = os.environ.get("PIPEDRIVE_PIPELINE_ID", "").strip()
        if not re.fullmatch(r"[0-9]{0,9}", pipeline):
            raise ApiError(
                f"PIPEDRIVE_PIPELINE_ID is {pipeline!r}: set it to a number, or to none."
            )
        return cls(token, _url(), int(pipeline) if pipeline else None)


def _url() -> str:
    """Return the address of the API from the environment."""
    if url := os.environ.get("PIPEDRIVE_API_URL", "").strip().rstrip("/"):
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
            raise ApiError(
                "PIPEDRIVE_API_URL is no address: it looks like https://acme.pipedrive.com/api."
            )
        return url
    domain = os.environ.get("PIPEDRIVE_COMPANY_DOMAIN", "").strip().lower()
    if not domain:
        raise ApiError(
            "Set PIPEDRIVE_COMPANY_DOMAIN to the company's name in the address of your Pipedrive, "
            "such as acme in acme.pipedrive.com."
        )
    match = re.fullmatch(r"(?:https?://)?([a-z0-9][a-z0-9-]*)(?:\.pipedrive\.com)?(?:/.*)?", domain)
    if not match:
        raise ApiError(
            f"PIPEDRIVE_COMPANY_DOMAIN is {domain!r}: set it to the company's name in the address "
            "of your Pipedrive, such as acme in acme.pipedrive.com."
        )
    return f"https://{match[1]}.pipedrive.com/api"


# --- requests and what goes wrong with them -------------------------------------------------------


def client_config(settings: Settings) -> Row:
    """Return the REST source's settings for the API. Only the session knows the token."""
    from dlt.sources.helpers.requests import Client

    configure_dlt()
    client = Client(
        raise_for_status=False,  # the REST source does it
        status_codes=range(500, 600),
        retry_condition=_may_wait,
    )
    client.configure()
    client.session.headers["x-api-token"] = settings.token
    client.session.max_redirects = 0  # a redirect would take the token along
    return {"base_url": settings.url, "session": client.session}


def _may_wait(response: Response | None, error: BaseException | None) -> bool:
    """Tell whether a refused request may be tried again soon enough."""
    if response is None or response.status_code != 429:
        return False
    wait = response.headers.get("Retry-After", "")
    return not wait.isdecimal() or int(wait) <= LONGEST_WAIT


def checked_body(response: Response, *, is_paged: bool) -> Row:
    """Return the body of an answer, which must have the parts of a list.

    Raises:
        ApiError: a part is missing, or the answer is not JSON.

    """
    path = urlsplit(response.url).path
    try:
        body = response.json()
    except ValueError:
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


def unexpected(path: str) -> ApiError:
    """Return the error for an answer that does not have the shape of the API's."""
    return ApiError(
        f"The answer to GET {path} is not what Pipedrive's API gives: check PIPEDRIVE_API_URL, "
        "and tell the maintainers if it is right."
    )


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Turn the error of a request, which dlt wraps several times, into one sentence."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause:
            if isinstance(cause, KeyboardInterrupt):  # dlt turns it into an error
                raise KeyboardInterrupt from None
            if sentence := _explain(cause, settings):
                raise sentence from None
            cause = cause.__cause__ or cause.__context__
        raise


def _explain(error: BaseException, settings: Settings) -> ApiError | None:
    """Return the sentence for an error; None if it is not one of a request."""
    import requests

    if isinstance(error, ApiError):
        return error
    if not isinstance(error, requests.RequestException):
        return None
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _explain_status(error.response, settings)
    if isinstance(error, requests.TooManyRedirects):
        return _no_company(settings, "it leads elsewhere")
    host = urlsplit(settings.url).netloc
    if isinstance(error, requests.Timeout):
        return ApiError(f"{host} does not answer in time: land again later, it goes on from here.")
    return ApiError(
        f"{host} cannot be reached: check the network, PIPEDRIVE_COMPANY_DOMAIN and "
        "PIPEDRIVE_API_URL, and land again."
    )


def _explain_status(response: Response, settings: Settings) -> ApiError:
    status, path = response.status_code, urlsplit(response.url).path
    if status in (401, 403):
        return ApiError(
            f"Pipedrive refused the token in PIPEDRIVE_API_TOKEN ({status} for GET {path}): copy "
            "it anew from Personal preferences, API, of a user who may see all deals."
        )
    if status == 404:
        return _no_company(settings, f"404 for GET {path}")
    if status == 429:
        return ApiError(
            "Pipedrive's limit of requests is used up: land again later, it goes on from here."
        )
    if status >= 500:
        return ApiError(
            f"Pipedrive failed to answer GET {path} ({status}): land again later, it goes on from "
            "here."
        )
    return ApiError(
        f"Pipedrive refused GET {path} ({status}): check PIPEDRIVE_API_URL, and tell the "
        "maintainers if it is right."
    )


def _no_company(settings: Settings, why: str) -> ApiError:
    return ApiError(
        f"There is no Pipedrive company at {settings.url} ({why}): check "
        "PIPEDRIVE_COMPANY_DOMAIN and PIPEDRIVE_API_URL."
    )
