"""The UI answers its own pages and nobody else, and the catalog only reads."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import typing as t
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.warehouse import copy_project

SECRET = "POSTGRES_PASSWORD='5ec7e7'"


def free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


Ask = t.Callable[..., tuple[int, str]]


@contextmanager
def served(project: Path, *options: str) -> t.Iterator[Ask]:
    """Serve the UI of a project, and give a function that asks it and returns status and text."""
    port = free_port()
    command = [sys.executable, "-m", "pipedrive_funnel", "ui", "--port", str(port), *options]

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names = {name: value.replace("PORT", str(port)) for name, value in names.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    environment = os.environ | {
        "SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE": str(project.parent / "ui.duckdb")
    }
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as server:
        try:
            for _ in range(600):
                try:
                    ask("GET", "/health")
                    break
                except ConnectionRefusedError:
                    assert server.poll() is None, server.stderr and server.stderr.read().decode()
                    time.sleep(0.05)
            yield ask
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("ui") / "project")
    (project / ".env").write_text(SECRET)
    (project / "backups").mkdir()
    (project / "backups" / "pipedrive.dump").write_text(SECRET)
    return project


@pytest.fixture(scope="module")
def catalog(project: Path) -> t.Iterator[Ask]:
    with served(project) as ask:
        yield ask


def test_the_catalog_is_there(catalog: Ask) -> None:
    assert catalog("GET", "/health")[0] == 200
    assert catalog("GET", "/api/modules", Host="localhost:PORT") == (200, '["data-catalog"]')
    status, models = catalog("GET", "/api/models", Sec_Fetch_Site="same-origin")
    assert status == 200 and "rep_sales_funnel_monthly" in models


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:PORT"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_a_foreign_page_or_name_gets_nothing(catalog: Ask, headers: dict[str, str]) -> None:
    for path in ("/", "/api/models", "/api/files/config.yaml"):
        status, text = catalog("GET", path, **headers)
        assert status == 403
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "path",
    [".env", "./.env", "models/../.env", "%2eenv", ".env.local", "backups/pipedrive.dump"],
)
def test_secrets_are_hidden(catalog: Ask, path: str) -> None:
    status, text = catalog("GET", f"/api/files/{path}")
    assert status == 404
    assert SECRET not in text
    assert SECRET not in catalog("GET", "/api/files")[1]


def test_the_catalog_changes_nothing(catalog: Ask, project: Path) -> None:
    config = (project / "config.yaml").read_text()
    for method, path in (
        ("POST", "/api/files/config.yaml"),
        ("DELETE", "/api/files/config.yaml"),
        ("POST", "/api/plan"),
        ("POST", "/api/commands/fetchdf"),
    ):
        status, text = catalog(method, path, "{}", Content_Type="text/plain")
        assert (status, "only reads" in text) == (403, True)
    assert (project / "config.yaml").read_text() == config


def test_the_ide_is_for_its_own_pages(project: Path) -> None:
    readme = project / "README.md"
    before = readme.read_text()
    with served(project, "--ide") as ask:
        write = ("POST", "/api/files/README.md", '{"content": "edited"}')
        for foreign in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            assert ask(*write, Content_Type="text/plain", **foreign)[0] == 403
            assert readme.read_text() == before
        own = {"Origin": "http://127.0.0.1:PORT", "Sec_Fetch_Site": "same-origin"}
        assert ask(*write, Content_Type="application/json", **own)[0] in (200, 204)
        assert readme.read_text() == "edited"


def test_a_taken_port_is_said(project: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "pipedrive_funnel", "ui", "--port", str(port)],
            cwd=project,
            env=os.environ
            | {"SQLMESH__GATEWAYS__DUCKDB__CONNECTION__DATABASE": str(project.parent / "b.duckdb")},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port} is taken: ")
    assert len(done.stderr.splitlines()) == 1
