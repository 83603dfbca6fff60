"""Servers on this machine that take in alerts: a webhook, and a mail server."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import ssl
import subprocess
import threading
import typing as t
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOOK_PATH = "/services/T0000/B0000/very-secret-path"


class Webhook:
    """Takes in messages at `url` as Slack does.

    Attributes:
        url: its address, whose path is a secret.
        texts: the messages that came.
        status: of the answers.
        manner: None answers at once, "silent" never, and "dripping" a byte at a time for ever.

    """

    def __init__(self) -> None:
        """Start serving."""
        self.texts: list[str] = []
        self.status = 200
        self.manner: str | None = None
        self._is_closed = threading.Event()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.path == HOOK_PATH
                assert body["mrkdwn"] is False
                webhook.texts.append(body["text"])
                if webhook.manner == "silent":
                    webhook._is_closed.wait(60)
                with suppress(OSError):
                    while webhook.manner == "dripping" and not webhook._is_closed.wait(0.1):
                        self.wfile.write(b"H")
                    self.send_response(webhook.status)
                    self.end_headers()
                    self.wfile.write(f"said of {self.path}".encode())

            def log_message(self, *_: t.Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}{HOOK_PATH}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._is_closed.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """What makes alerts come here."""
        return {"SLACK_WEBHOOK_URL": self.url}

    def taken(self) -> list[str]:
        """Return the messages that have come since the last call."""
        texts, self.texts = self.texts, []
        return texts


class MailServer:
    """Takes in mails, as a server on port 25, 587 (with a certificate) or 465 (encrypted) does.

    Attributes:
        port: where it listens.
        mails: the mails that came.
        logins: user and password of each login.
        commands: all that it was told, in a line each.
        manner: None is good, "silent" says nothing, "garbled" something else, "refusing" refuses.

    """

    def __init__(
        self, certificate: Path | None = None, *, encrypted_from_the_start: bool = False
    ) -> None:
        """Start serving; `certificate` has the key in it, too."""
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.commands: list[str] = []
        self.manner: str | None = None
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._from_the_start = encrypted_from_the_start
        self._is_closed = threading.Event()
        mail_server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    mail_server._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._is_closed.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """What makes alerts come here."""
        return {
            "ALERT_MAIL_TO": "ops@example.com, boss@example.com",
            "ALERT_MAIL_FROM": "funnel@example.com",
            "SMTP_HOST": "localhost",
            "SMTP_PORT": str(self.port),
        }

    def _serve(self, connection: socket.socket) -> None:
        if self.manner == "silent":
            self._is_closed.wait(60)
            return
        is_encrypted = self._from_the_start and self._context is not None
        if is_encrypted:
            connection = t.cast(ssl.SSLContext, self._context).wrap_socket(connection, True)
        lines = connection.makefile("rb")

        def say(text: str) -> None:
            connection.sendall(f"{text}\r\n".encode())

        say("what?" if self.manner == "garbled" else "220 mail")
        while line := lines.readline().decode().strip():
            self.commands.append(line)
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    can_encrypt = self._context is not None and not is_encrypted
                    say(f"250-mail\r\n250-AUTH PLAIN\r\n250 {'STARTTLS' * can_encrypt or 'HELP'}")
                case "STARTTLS":
                    say("220 go")
                    context = t.cast(ssl.SSLContext, self._context)
                    connection, is_encrypted = context.wrap_socket(connection, True), True
                    lines = connection.makefile("rb")
                case "AUTH":
                    _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                    self.logins.append((user, password))
                    say("235 welcome")
                case "MAIL" if self.manner == "refusing":
                    say(f"554 not from you, {rest}")
                case "DATA":
                    say("354 go")
                    data = b""
                    while (line_of_mail := lines.readline()) not in (b".\r\n", b""):
                        # Whoever sends a line that begins with a dot sends one dot more
                        data += line_of_mail.removeprefix(b".")
                    mail = message_from_bytes(data, policy=policy.default)
                    self.mails.append(t.cast(EmailMessage, mail))
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 fine")


@contextmanager
def closed_port() -> t.Iterator[int]:
    """Give a port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def make_certificate(path: Path) -> Path:
    """Write a certificate for localhost, and its key, to a file."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", path.with_suffix(".key"), "-out", path],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".key").read_text())
    return path
