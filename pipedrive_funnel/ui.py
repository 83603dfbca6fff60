"""SQLMesh's browser UI, behind the checks that it lacks: `make ui` and `make ide`.

SQLMesh's server asks nobody who they are. On 127.0.0.1, too, any web page that is open in the same
browser could send it requests: read the files of the project, run SQL, or empty a file. Here only
requests that the UI's own pages send get through, and the catalog answers no other than reading.
"""

from __future__ import annotations

import os
import typing as t

from pipedrive_funnel.errors import FunnelError
from pipedrive_funnel.terminal import say
from pipedrive_funnel.warehouse import Database

if t.TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")
READING = ("GET", "HEAD")


class OwnPagesOnly:
    """Refuse requests to other names than HOSTS, from other pages, and what may not be done.

    A name of somebody else that leads to this machine (DNS rebinding) is another name.
    """

    def __init__(self, app: ASGIApp, methods: tuple[str, ...] | None = None) -> None:
        """Guard an application.

        Args:
            app: it.
            methods: that it answers; all when None.

        """
        self._app = app
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        from starlette.responses import PlainTextResponse

        if scope["type"] == "http" and (why := self._why_not(scope)):
            await PlainTextResponse(why, 403)(scope, receive, send)
        elif scope["type"] != "websocket":  # the UI uses none
            await self._app(scope, receive, send)

    def _why_not(self, scope: Scope) -> str:
        """Return why a request is refused, or nothing."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host = headers.get("host", "")
        if host.rsplit(":", 1)[0] not in HOSTS:
            return f"The UI is at {HOSTS[0]} only.\n"
        is_foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if is_foreign or headers.get("origin", f"http://{host}") != f"http://{host}":
            return "Another page may not use the UI.\n"
        if self._methods and scope["method"] not in self._methods:
            return "The catalog only reads. `make ide` starts the UI that also plans.\n"
        return ""


def serve(gateway: str | None, port: int, *, ide: bool) -> None:
    """Serve the UI to this machine until it is stopped.

    Args:
        gateway: whose database it shows; the default one when None.
        port: on which.
        ide: also let it edit, plan and query; the catalog of models and columns when False.

    Raises:
        FunnelError: the database cannot be reached, or the port is taken.

    """
    import socket

    import uvicorn

    database = Database(gateway)
    database.adapter.fetchone("SELECT 1")  # or the server would say so in its log, at length
    database.close()
    os.environ |= {
        "PROJECT_PATH": str(database.project),
        "UI_MODE": "ide" if ide else "docs",
        "GATEWAY": database.gateway,
    }
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOSTS[0], port))
        except OSError as error:
            raise FunnelError(f"Port {port} is taken: {error}. Choose another: --port") from error
        from web.server.main import create_app

        say(f"http://{HOSTS[0]}:{port} shows the models and their columns. Ctrl-C ends it.")
        if database.adapter.dialect == "duckdb":
            say("While it is open, no other command can use the DuckDB file.")
        guarded = OwnPagesOnly(create_app(), None if ide else READING)
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning"))
        server.run(sockets=[listening])
