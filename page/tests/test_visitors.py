"""Who may look, without a browser: `test_sign_on` signs in for real."""

from __future__ import annotations

import pytest
from conftest import Open
from streamlit import config

from visitors import GUARDED, HERE, is_allowed

ALLOWED = ["example.com", " Guest@Partner.example "]


@pytest.fixture
def open_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bind the page to all addresses, as `--server.address` does."""
    bound = config.get_option("server.address")
    assert bound in HERE  # as the page's own config.toml has it
    monkeypatch.delenv(GUARDED, raising=False)
    config.set_option("server.address", "0.0.0.0")
    yield
    config.set_option("server.address", bound)


@pytest.mark.usefixtures("open_to_the_network")
def test_an_unguarded_page_shows_nothing_to_the_network(open_page: Open) -> None:
    page = open_page()
    assert GUARDED in page.error[0].value
    assert not page.tabs and not page.dataframe and not page.metric


@pytest.mark.usefixtures("open_to_the_network")
def test_a_page_behind_a_proxy_is_shown(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARDED, "our proxy")
    assert open_page().tabs


def test_this_machine_needs_no_guard(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GUARDED, raising=False)
    assert open_page().tabs


@pytest.mark.parametrize(
    ("email", "is_verified", "expected"),
    [
        ("ann@example.com", True, True),
        ("Ann@Example.COM", None, True),  # many providers do not say
        ("ann@example.com", False, False),
        ("ann@example.com", "false", False),
        ("guest@partner.example", True, True),
        ("other@partner.example", True, False),
        ("ann@sub.example.com", True, False),
        ("ann@notexample.com", True, False),
        ("example.com", True, False),  # no address
        ("ann@example.com@evil.example", True, False),
        ("@example.com", True, False),
        ("", True, False),
        (None, True, False),
    ],
)
def test_a_domain_or_a_whole_address_is_allowed(
    email: str | None, is_verified: object, expected: bool
) -> None:
    assert is_allowed(email, is_verified, ALLOWED) is expected
    assert not is_allowed(email, is_verified, [])
