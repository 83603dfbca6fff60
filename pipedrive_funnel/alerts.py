"""Alerts of our own commands: messages to Slack and by mail, where the environment says so.

They are sent when the work has ended, and never change its result: all together they take a few
seconds at most, and of an error only the type is printed, since its text may hold the address of
the webhook, which is a secret.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SECONDS = 5  # for all messages of a command together
SSL_PORT = 465  # of a mail server that encrypts from the start; others are asked to (STARTTLS)
LONGEST = 2_000  # characters of a reason

WEBHOOK = "SLACK_WEBHOOK_URL"
MAIL_TO, MAIL_FROM, SMTP_HOST = "ALERT_MAIL_TO", "ALERT_MAIL_FROM", "SMTP_HOST"

# Names that begin so are ours, or SQLMesh's; anything else in quotes may be from the data
_OUR_NAMES = re.compile(r"(pipedrive|sqlmesh|stg|int|dim|fct|rep|chk)_[a-z0-9_.]+")
_QUOTED = re.compile(r"""(?<!\w)(?P<quote>['"])(?P<text>.*?)(?P=quote)(?!\w)""", re.DOTALL)
_QUOTED_ABROAD = re.compile("[»«„“‘].*?[«»“”’]", re.DOTALL)  # PostgreSQL speaks its locale
_ADDRESS = re.compile(r"[^\s<>()\"',;:]+@[^\s<>()\"',;:]+")
_HOME = re.compile(r"/(home|Users)/[^/\s]+")
_DETAILS = re.compile(r"\s(DETAIL|CONTEXT|HINT|QUERY|LINE \d+):.*", re.DOTALL)


@dataclass(frozen=True)
class Message:
    """A message: its subject, a line, and its text."""

    subject: str
    text: str


_waiting: list[Message] = []


def are_on() -> bool:
    """Tell whether the environment names somebody to alert."""
    return bool(_channels())


def post(message: Message) -> None:
    """Keep a message until the command has ended; without anybody to alert, forget it."""
    if are_on():
        _waiting.append(message)


def deliver() -> None:
    """Send the messages that were kept. Whatever goes wrong, this returns within seconds."""
    messages = list(_waiting)
    _waiting.clear()
    deadline = time.monotonic() + SECONDS
    senders = [
        (name, _Sender(send, message)) for message in messages for name, send in _channels().items()
    ]
    for _, sender in senders:
        sender.start()
    for name, sender in senders:
        sender.join(max(0, deadline - time.monotonic()))
        problem = "TimeoutError" if sender.is_alive() else sender.problem
        if problem:
            print(f"No alert by {name}: {problem}", file=sys.stderr)


class _Problem(Exception):
    """Keeps an alert from being sent. Its text holds no secret."""


class _Sender(threading.Thread):
    """Sends a message. It is a daemon: Python ends without waiting for it.

    Attributes:
        problem: what kept it from sending, if anything did.

    """

    def __init__(self, send: Callable[[Message], None], message: Message) -> None:
        super().__init__(daemon=True)
        self.problem: str | None = None
        self._send, self._message = send, message

    def run(self) -> None:
        try:
            self._send(self._message)
        except _Problem as error:
            self.problem = str(error)
        except Exception as error:  # its text may hold the webhook or a password
            self.problem = type(error).__name__


def without_data(text: str) -> str:
    """Return what is said of an error without what may be from the data: it could be personal.

    Example: `invalid input syntax for type bigint: "Anna"` is `invalid input ... bigint: "..."`
    """

    def kept(match: re.Match[str]) -> str:
        name = match["text"] if _OUR_NAMES.fullmatch(match["text"]) else "..."
        return f"{match['quote']}{name}{match['quote']}"

    text = _QUOTED_ABROAD.sub("...", _QUOTED.sub(kept, _DETAILS.sub("", text)))
    text = _HOME.sub("~", _ADDRESS.sub("...", text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


# --- channels -------------------------------------------------------------------------------------


def _channels() -> Mapping[str, Callable[[Message], None]]:
    """Return what sends a message, by name, for each channel that is set up."""
    channels = {}
    if _setting(WEBHOOK):
        channels["Slack"] = _send_to_slack
    if _setting(MAIL_TO):
        channels["mail"] = _send_by_mail
    return channels


def _setting(name: str) -> str:
    return os.environ.get(name, "").strip()


def _send_to_slack(message: Message) -> None:
    """Send a message to a webhook of Slack, as plain text."""
    from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

    text = f"{message.subject}\n{message.text}"
    for special, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(special, name)
    opener = OpenerDirector()  # no files, and no redirections, which would turn it into a GET
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    request = Request(
        _setting(WEBHOOK),
        data=json.dumps({"text": text, "mrkdwn": False}).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "pipedrive-funnel"},
    )
    response = opener.open(request, timeout=SECONDS)
    if response is None:
        raise _Problem(f"{WEBHOOK} is no address")
    with response:
        if response.status != 200:
            raise _Problem(f"the answer is {response.status}")


def _send_by_mail(message: Message) -> None:
    """Send a message by mail. A password is only sent over a connection that is encrypted."""
    import ssl
    from email.message import EmailMessage
    from smtplib import SMTP, SMTP_SSL

    for name in (MAIL_FROM, SMTP_HOST):
        if not _setting(name):
            raise _Problem(f"{name} is not set")
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail["From"], mail["To"] = _setting(MAIL_FROM), _setting(MAIL_TO)
    mail.set_content(message.text)
    port = int(_setting("SMTP_PORT") or 587)
    trusted = ssl.create_default_context()
    where = {"host": _setting(SMTP_HOST), "port": port, "timeout": SECONDS}
    user, password = _setting("SMTP_USER"), os.environ.get("SMTP_PASSWORD", "")
    with SMTP_SSL(**where, context=trusted) if port == SSL_PORT else SMTP(**where) as server:
        server.ehlo()
        if port != SSL_PORT and (user or server.has_extn("starttls")):
            server.starttls(context=trusted)
        if user:
            server.login(user, password)
        server.send_message(mail)
