"""An OpenID Connect provider: whoever comes is signed in as the person it was told."""

from __future__ import annotations

import json
import threading
import time
import typing as t
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "funnel"


class Provider(ThreadingHTTPServer):
    """The provider.

    Attributes:
        person: the claims of who signs in next, such as `email`.

    """

    def __init__(self) -> None:
        """Listen on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
        self.person: dict[str, t.Any] = {}
        self.nonce: str | None = None

    def id_token(self) -> str:
        """Return who signed in, signed."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 600}
        return jwt.encode(
            {"alg": "RS256", "kid": "1"},
            claims | self.person | ({"nonce": self.nonce} if self.nonce else {}),
            self.key,
        )


class Handler(BaseHTTPRequestHandler):
    """Answers as the standard says."""

    server: Provider

    def log_message(self, *args: t.Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Say where everything is, give the key, or sign in and send back."""
        url, provider = urlsplit(self.path), self.server
        if url.path == "/.well-known/openid-configuration":
            self.send(
                {
                    "issuer": provider.url,
                    "authorization_endpoint": f"{provider.url}/authorize",
                    "token_endpoint": f"{provider.url}/token",
                    "jwks_uri": f"{provider.url}/keys",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            )
        elif url.path == "/keys":
            self.send({"keys": [provider.key.as_dict(private=False)]})
        else:
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            provider.nonce = asked.get("nonce")
            answer = urlencode({"code": "c", "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{answer}")
            self.end_headers()

    def do_POST(self) -> None:
        """Give the token for the code."""
        self.rfile.read(int(self.headers["Content-Length"]))
        token = {"access_token": "a", "token_type": "Bearer", "expires_in": 600}
        self.send(token | {"id_token": self.server.id_token()})

    def send(self, answer: dict[str, t.Any]) -> None:
        """Answer with JSON."""
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def provider() -> t.Iterator[Provider]:
    """Run a provider."""
    with Provider() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()
