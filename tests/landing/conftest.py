"""Fixtures of landings from the API."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Callable, Iterator

import pytest

from tests.support.api_landing import NO_BURST, TOKEN, Lander, lander_in
from tests.support.pipedrive_account import Account, random_account
from tests.support.pipedrive_server import PipedriveServer
from tests.support.warehouse import Warehouse

DEALS = 24  # enough for all cases that an account must have
Serve = Callable[..., PipedriveServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves an account, a small one unless given."""
    servers: list[PipedriveServer] = []

    def serve(account: Account | None = None, **options: t.Any) -> PipedriveServer:
        servers.append(PipedriveServer(account or random_account(1, DEALS), TOKEN, **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, ask as fast as it goes, and let nobody's own account in."""
    for name in [name for name in os.environ if name.startswith("PIPEDRIVE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    monkeypatch.setenv("PIPEDRIVE_BURST", str(NO_BURST))


@pytest.fixture(scope="module")
def lander(
    new_warehouse: Callable[..., Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lander]:
    path = new_warehouse("duckdb", core=True).path
    with lander_in(path, tmp_path_factory.mktemp("left_by_the_killed")) as lander:
        yield lander
