"""An Azure Key Vault and the sign-in endpoint of Microsoft Entra ID on the wire, as the real SDK sees them.

After "Get Secret" of the Key Vault REST API (7.x) and recorded answers of the service: the challenge of a request
without a token, bodies of errors with their inner codes, ids with versions, attributes in seconds since 1970.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.listening import JsonHandler, listening

TENANT = "0c7b0a3e-1111-4222-8333-123456789012"
CLIENT = "5b7e3c1a-aaaa-4bbb-8ccc-123456789012"
CLIENT_SECRET = "c4n4ry-client-secret"
ASSERTION = "c4n4ry-federated-assertion"


@dataclass
class Version:
    """One version of a secret."""

    value: str
    id: str
    attributes: dict[str, Any]


@dataclass
class Answer:
    """What the vault says instead of the secret, and how often; forever if negative."""

    status: int
    code: str = ""
    inner: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    times: int = -1
    cut: bool = False


@dataclass
class Azure:
    """The world: what the vault holds, what it was asked, and what goes wrong."""

    secrets: dict[str, list[Version]] = field(default_factory=dict[str, "list[Version]"])
    faults: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[str] = field(default_factory=list[str])
    sign_ins: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    resource: str = ""
    tenant: str = TENANT
    port: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    hold_after: int = 1 << 30
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: str, value: str, **attributes: Any) -> str:
        """A new version of a secret; returns its id."""
        now = int(time.time())
        made = Version(value, secrets.token_hex(16), {"enabled": True, "created": now, "updated": now, **attributes})
        self.secrets.setdefault(name, []).append(made)
        return made.id

    @property
    def url(self) -> str:
        """Of the vault."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def reads(self) -> list[str]:
        """Paths that were asked for with a token."""
        return [path for path in self.asked if not path.startswith("challenged ")]


@contextmanager
def azure_server(certificate: Path, key: Path) -> Iterator[Azure]:
    """Serves until the block ends; `127.0.0.1` is the vault's host, `localhost` that of the sign-in."""
    world = Azure()

    class Handler(_Handler):
        azure = world

    with listening(Handler, (certificate, key)) as port:
        world.port = port
        # A vault's token is for the domain that it is in: what follows the first label of its own host.
        world.resource = f"https://0.0.1:{port}"
        try:
            yield world
        finally:
            world.gate.set()


class _Handler(JsonHandler):
    azure: Azure

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/secrets/"):
            self._secret(parts.path, parse_qs(parts.query))
        elif parts.path.endswith("/.well-known/openid-configuration"):
            base = f"https://localhost:{self.azure.port}/{self.azure.tenant}"
            self.say(
                200,
                {
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "issuer": f"{base}/v2.0",
                },
            )
        elif parts.path == "/identity":
            # Managed identities outside of virtual machines: App Service, "REST endpoint reference".
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.azure.sign_ins.append({**query, "header": self.headers.get("X-IDENTITY-HEADER", "")})
            self._token(query["resource"], "access_token", {"expires_on": str(int(time.time()) + 3600)})
        else:
            self.say(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.azure.sign_ins.append(form)
        fault = self.azure.faults.get("sign-in")
        right = form.get("client_secret") == CLIENT_SECRET or form.get("client_assertion") == ASSERTION
        if fault is not None:
            self.say(fault.status, {"error": fault.code, "error_description": f"{fault.inner}: told {body}"})
        elif not right or form.get("client_id") != CLIENT:
            text = f"AADSTS7000215: Invalid client secret provided: {body}"
            self.say(401, {"error": "invalid_client", "error_description": text})
        else:
            self._token(form["scope"].removesuffix("/.default"), "access_token", {"expires_in": 3600})

    def _token(self, resource: str, name: str, more: Mapping[str, Any]) -> None:
        token = f"c4n4ry-token-{secrets.token_hex(8)}"
        self.azure.tokens[token] = resource.rstrip("/")
        self.say(200, {"token_type": "Bearer", name: token, **more})

    def _secret(self, path: str, query: Mapping[str, list[str]]) -> None:
        azure = self.azure
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if azure.tokens.get(token) != azure.resource:
            azure.asked.append(f"challenged {path}")
            challenge = f'Bearer authorization="https://localhost:{azure.port}/{azure.tenant}", '
            challenge += f'resource="{azure.resource}"'
            error = {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}
            self.say(401, {"error": error}, {"WWW-Authenticate": challenge})
            return
        azure.asked.append(path)
        assert "api-version" in query, "every request names its version of the API"
        with azure.lock:
            azure.at_once += 1
            azure.most_at_once = max(azure.most_at_once, azure.at_once)
        if len(azure.reads) > azure.hold_after:
            azure.gate.wait(60)
        with azure.lock:
            azure.at_once -= 1
        _, _, name, *rest = path.rstrip("/").split("/")
        fault = azure.faults.get(name) or azure.faults.get("*")
        if fault is not None and fault.times != 0:
            fault.times -= 1
            self._fault(fault, name)
            return
        self._give(name, rest[0] if rest else "")

    def _fault(self, fault: Answer, name: str) -> None:
        if fault.cut:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            return
        message = f"c4n4ry-message about {name}, told {self.headers.get('Authorization')}"
        error: dict[str, Any] = {"code": fault.code, "message": message}
        if fault.inner:
            error["innererror"] = {"code": fault.inner}
        self.say(fault.status, {"error": error}, fault.headers)

    def _give(self, name: str, version: str) -> None:
        known = self.azure.secrets.get(name, [])
        found = next((each for each in reversed(known) if version in ("", each.id)), None)
        if found is None:
            text = f"A secret with (name/id) {name} was not found in this key vault."
            self.say(404, {"error": {"code": "SecretNotFound", "message": text}})
        elif not found.attributes["enabled"]:
            text = "Operation get is not allowed on a disabled secret."
            error = {"code": "Forbidden", "message": text, "innererror": {"code": "SecretDisabled"}}
            self.say(403, {"error": error})
        else:
            where = f"{self.azure.url}/secrets/{name}/{found.id}"
            attributes = {**found.attributes, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
            self.say(200, {"value": found.value, "id": where, "attributes": attributes})
