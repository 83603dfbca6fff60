"""Who may look: people on this machine, or those whom a sign-on or a proxy knows.

The page shows names of deals and people, and asks nobody who they are unless it is told to. So it
shows nothing at all to a network without one of: sign-on by OpenID Connect, configured in
.streamlit/secrets.toml as docs/page.md says, or GUARDED.
"""

from __future__ import annotations

import os
import typing as t

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

GUARDED = "PIPEDRIVE_PAGE_GUARDED_BY"  # says what keeps strangers out, a proxy for example
HERE = ("127.0.0.1", "::1", "localhost")


def admit() -> bool:
    """Tell whether the visitor may look; if not, say why, and what to do."""
    if _section("auth"):
        return _is_known()
    if st.get_option("server.address") in HERE or os.environ.get(GUARDED):
        return True
    st.title("Sales funnel")
    st.error(
        "This page can be reached from the network and asks nobody who they are, so it shows "
        f"nothing. Set up a sign-on, or name in {GUARDED} what keeps strangers out: docs/page.md."
    )
    return False


def signed_in() -> str | None:
    """Return who is signed in; None without a sign-on."""
    return str(st.user.get("email")) if _section("auth") and st.user.is_logged_in else None


def is_allowed(email: object, is_verified: object, allowed: t.Iterable[str]) -> bool:
    """Tell whether a list of domains and addresses has somebody in it.

    Args:
        email: the address that the provider gives.
        is_verified: what the provider says of it; many do not say.
        allowed: domains such as `example.com`, and whole addresses.

    """
    if not isinstance(email, str) or is_verified in (False, "false"):
        return False
    address = email.strip().lower()
    name, _, domain = address.rpartition("@")
    return bool(name) and not {address, domain}.isdisjoint(
        entry.strip().lower() for entry in allowed
    )


def _is_known() -> bool:
    """Ask the visitor to sign in, and look whether they are among those who may look."""
    if not st.user.is_logged_in:
        st.title("Sales funnel")
        st.button("Sign in", on_click=st.login, type="primary")
        return False
    allowed = _section("visitors").get("allowed") or []
    if is_allowed(st.user.get("email"), st.user.get("email_verified"), allowed):
        return True
    st.title("Sales funnel")
    if allowed:
        st.error(f"{st.user.get('email')} may not look at this page. Ask whoever runs the funnel.")
    else:
        st.error("Nobody may look yet: [visitors] in .streamlit/secrets.toml has no `allowed`.")
    st.button("Sign out", on_click=st.logout)
    return False


def _section(name: str) -> t.Mapping[str, t.Any]:
    """Return a section of .streamlit/secrets.toml; an empty one where there is none."""
    try:
        return st.secrets.get(name, {})
    except StreamlitSecretNotFoundError:
        return {}
