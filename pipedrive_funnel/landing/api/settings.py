"""The settings of an account, and the errors of reading it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from fractions import Fraction

from pipedrive_funnel.errors import NO_API, LandingError


class ApiError(LandingError):
    """Pipedrive cannot be read. The message is one sentence."""

    code = NO_API


class BudgetSpent(ApiError):
    """The tokens that a landing may spend today are spent: the next one goes on."""


@dataclass(frozen=True)
class Reserve:
    """The tokens of a day that are left to the company's other tools.

    Attributes:
        share: of the day's tokens.
        tokens: a number of tokens instead.

    """

    share: Fraction = Fraction(30, 100)
    tokens: int | None = None

    def of(self, day: int) -> int:
        """Return the tokens to leave of a day's."""
        return round(self.share * day) if self.tokens is None else self.tokens


@dataclass(frozen=True)
class Settings:
    """The account to land, and what a landing may ask of it.

    Attributes:
        token: the secret that gives access to it.
        url: the address of its API; `v1` and `v2` are below it.
        pipeline_id: the pipeline whose deals to land; all deals when None.
        daily_tokens: the tokens of the company a day; None if Pipedrive's headers are to tell.
        reserve: how many of them to leave to others.
        burst: the requests that the account may send in two seconds.

    """

    token: str = field(repr=False)
    url: str
    pipeline_id: int | None
    daily_tokens: int | None = None
    reserve: Reserve = Reserve()
    burst: int = 20  # of the smallest plan

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the variables PIPEDRIVE_*.

        Raises:
            ApiError: one is missing or cannot be used.

        """
        token = _variable("PIPEDRIVE_API_TOKEN")
        if not token:
            raise ApiError(
                "Set PIPEDRIVE_API_TOKEN in .env to land what Pipedrive's API gives, or name the "
                "directory of an export: make land SOURCE=path/to/export."
            )
        if not re.fullmatch(r"[!-~]+", token):
            raise ApiError("PIPEDRIVE_API_TOKEN has characters that no token has: copy it anew.")
        return cls(
            token,
            _url(),
            _number("PIPEDRIVE_PIPELINE_ID"),
            _number("PIPEDRIVE_DAILY_TOKENS", at_least=1),
            _reserve(),
            _number("PIPEDRIVE_BURST", at_least=1) or cls.burst,
        )


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _number(name: str, at_least: int = 0) -> int | None:
    """Return the number in a variable; None if it is empty."""
    text = _variable(name)
    if not re.fullmatch(r"[0-9]{0,9}", text) or (text and int(text) < at_least):
        raise ApiError(f"{name} is {text!r}: set it to a number, or to none.")
    return int(text) if text else None


def _reserve() -> Reserve:
    """Return the reserve that a variable has as a share or as a number of tokens."""
    text = _variable("PIPEDRIVE_TOKEN_RESERVE")
    if not text:
        return Reserve()
    match = re.fullmatch(r"([0-9]{1,9}) *(%?)", text)
    if not match or (match[2] and int(match[1]) > 100):
        raise ApiError(
            f"PIPEDRIVE_TOKEN_RESERVE is {text!r}: set it to a share of the day's tokens such as "
            "30%, or to a number of tokens."
        )
    return Reserve(Fraction(int(match[1]), 100)) if match[2] else Reserve(tokens=int(match[1]))


def _url() -> str:
    """Return the address of the API from the environment."""
    if url := _variable("PIPEDRIVE_API_URL").rstrip("/"):
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", url):
            raise ApiError(
                "PIPEDRIVE_API_URL is no address: it looks like https://acme.pipedrive.com/api."
            )
        return url
    domain = _variable("PIPEDRIVE_COMPANY_DOMAIN").lower()
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
