"""Sign-on by OpenID Connect, in Chromium, with a provider that is there: `make test-page`."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from oidc_provider import CLIENT, Provider, provider
from served import page_served

pytestmark = pytest.mark.browser

ANN = {"email": "ann@example.com", "email_verified": True}
SECRETS = """
[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "a secret that is long enough to sign with"
client_id = "{client}"
client_secret = "s"
server_metadata_url = "{url}/.well-known/openid-configuration"

[visitors]
allowed = {allowed}
"""


@pytest.fixture(scope="module")
def oidc() -> t.Iterator[Provider]:
    """Run a provider for the tests of this module."""
    with provider() as running:
        yield running


@pytest.fixture
def tab(browser: t.Any) -> t.Iterator[t.Any]:
    """Open a tab of a browser that knows nobody."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def sign_on(oidc: Provider, tmp_path: Path, tab: t.Any) -> t.Iterator[t.Callable[..., str]]:
    """Return a function that serves the page with a sign-on, signs in, and returns its address."""
    servers = []

    def sign_on(person: dict[str, t.Any], *allowed: str) -> str:
        oidc.person = person
        secrets = tmp_path / "secrets.toml"
        text = SECRETS.format(client=CLIENT, url=oidc.url, allowed=list(allowed))
        secrets.write_text(text)
        options = ("--server.address", "0.0.0.0", "--secrets.files", str(secrets))
        servers.append(page_served(*options))
        address = servers[-1].__enter__()
        tab.goto(address)
        tab.get_by_role("button", name="Sign in").wait_for()
        assert tab.get_by_role("tab").count() == 0  # nothing is shown to who is not known
        tab.get_by_role("button", name="Sign in").click()
        return address

    yield sign_on
    for server in servers:
        server.__exit__(None, None, None)


def test_who_is_allowed_sees_the_page_until_they_sign_out(
    sign_on: t.Callable[..., str], tab: t.Any
) -> None:
    sign_on(ANN, "example.com")
    tab.get_by_role("tab", name="Funnel").wait_for()
    tab.get_by_role("button", name="Sign out ann@example.com").click()
    tab.get_by_role("button", name="Sign in").wait_for()
    assert tab.get_by_role("tab").count() == 0


@pytest.mark.parametrize(
    ("person", "allowed", "expected"),
    [
        ({**ANN, "email": "eve@elsewhere.example"}, ["example.com"], "may not look at this page"),
        ({**ANN, "email_verified": False}, ["example.com"], "may not look at this page"),
        (ANN, [], "Nobody may look yet"),
    ],
)
def test_who_is_not_allowed_is_told_so(
    sign_on: t.Callable[..., str],
    tab: t.Any,
    person: dict[str, t.Any],
    allowed: list[str],
    expected: str,
) -> None:
    sign_on(person, *allowed)
    tab.get_by_text(expected).wait_for()
    assert tab.get_by_role("tab").count() == 0
    assert tab.get_by_role("button", name="Sign out").count() == 1
