"""An Azure Container Registry on the wire: its resource, its runs, the storage behind them, and its images.

After the OpenAPI of registries and one recorded conversation with the real service (replayed by `test_acr`), "Quick
tasks" of the service, "Put Blob" and "Get Blob" of its storage, and the distribution spec with ACR's own sign-in.
Nothing is really built: a run reads the Dockerfile that was uploaded and stores an image with its labels.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import secrets
import shlex
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.listening import listening

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
GROUP, NAME = "ml", "mlimages"
SIGNATURE = "c4n4ry-signature"
FACTS = '{"python": [3, 11, 2], "glibc": "glibc 2.36", "machine": "x86_64", "conda": null}'
_ARM = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.ContainerRegistry/registries/(?P<registry>[^/]+)(?P<rest>/.*)?$"
)
_TIME = "2026-11-25T23:00:00.0000000Z"
_FINAL = ("Succeeded", "Failed", "Canceled", "Error", "Timeout")


@dataclass
class Run:
    """One run: what was asked for, what it says, how it ends."""

    request: dict[str, Any]
    lines: list[str]
    ends: str = "Succeeded"
    why: str = ""
    status: str = "Queued"
    written: bytes = b""


@dataclass
class Fault:
    """What is answered instead, the next times that a request's method and path match."""

    pattern: str
    status: int
    body: Mapping[str, Any]
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class Registry:
    """The world of one registry."""

    allowed: Mapping[str, str]
    resources: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    runs: dict[str, Run] = field(default_factory=dict[str, Run])
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    tags: dict[str, dict[str, str]] = field(default_factory=dict[str, "dict[str, str]"])
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    faults: list[Fault] = field(default_factory=list[Fault])
    asked: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    ends: str = "Succeeded"
    why: str = ""
    says: list[str] = field(default_factory=list[str])
    holds: bool = False
    facts: str = FACTS
    running: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def host(self) -> str:
        """Where engines and the SDK reach it."""
        return f"127.0.0.1:{self.port}"

    def put(self, repository: str, tag: str, labels: Mapping[str, str]) -> str:
        """An image with these labels; returns its digest."""
        config = json.dumps({"config": {"Labels": dict(labels)}}).encode()
        layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 1000, "digest": "sha256:0"}
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {"digest": self._keep(config), "size": len(config)},
                "layers": [layer],
            }
        ).encode()
        digest = self._keep(manifest)
        self.tags.setdefault(repository, {})[tag] = digest
        return digest

    def _keep(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.objects[digest] = data
        return digest

    def begin(self, request: dict[str, Any]) -> str:
        """A new run: it reads its source."""
        assert request["type"] == "DockerBuildRequest"
        archive = self.blobs[f"/blob/{request['sourceLocation']}"]
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
            found = tar.extractfile(request["dockerFilePath"])
            assert found is not None
            dockerfile = found.read().decode()
        run = Run(request, [*self.says], self.ends, self.why)
        if not request["imageNames"]:
            run.lines += ['Step 3/3 : RUN ["sh", "-c", "print(json.dumps({\'python\':…', self.facts]
        else:
            run.lines += [f"Step {n} : {line}" for n, line in enumerate(dockerfile.splitlines(), 1)]
        id_ = f"ca{len(self.runs) + 1}"
        self.runs[id_] = run
        return id_

    def advance(self, id_: str) -> None:
        """One step further: a line more, in the end the image."""
        run = self.runs[id_]
        if run.status in _FINAL:
            return
        if run.status == "Queued":
            run.status = "Running"
            return
        if self.holds and run.request["imageNames"]:
            run.written = b"Step 1 : FROM somewhere\n"
            self.running.set()
            return
        text = "\n".join(run.lines)
        half = len(text) // 2
        run.written, run.status = (text[:half].encode(), "Running") if not run.written else (text.encode(), run.ends)
        if run.status == "Succeeded":
            for name in run.request["imageNames"]:
                repository, _, tag = name.partition(":")
                steps = [line.partition(" : ")[2] for line in run.lines if " : LABEL " in line]
                labels = dict(pair.split("=", 1) for step in steps for pair in shlex.split(step)[1:])
                self.put(repository, tag, labels)


@contextmanager
def registry_server(certificate: Path, key: Path, allowed: Mapping[str, str]) -> Iterator[Registry]:
    """Serves until the block ends.

    Args:
        allowed: Tokens by which the management and the exchange are reached, with what they are for.
    """
    world = Registry(allowed)

    class Handler(_Handler):
        registry = world

    with listening(Handler, (certificate, key)) as port:
        world.port = port
        yield world


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"
    timeout = 60
    # One packet an answer: small ones would wait for each other's receipt.
    wbufsize = 1 << 20
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        world = self.registry
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        world.asked.append(f"{self.command} {parts.path}")
        for fault in world.faults:
            if fault.times and re.search(fault.pattern, f"{self.command} {parts.path}"):
                fault.times -= 1
                self._say(fault.status, fault.body, fault.headers)
                return
        if parts.path.startswith("/blob/"):
            self._blob(parts.path, parse_qs(parts.query), body)
        elif match := _ARM.match(parts.path):
            self._arm(match, parse_qs(parts.query), json.loads(body) if body else {})
        elif parts.path.startswith("/oauth2/"):
            self._sign_in(parts.path, {k: v[0] for k, v in parse_qs(body.decode()).items()})
        else:
            self._images(unquote(parts.path))

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _answer

    # -- management

    def _arm(self, match: re.Match[str], query: Mapping[str, list[str]], body: dict[str, Any]) -> None:
        world, base, rest = self.registry, f"https://{self.registry.host}", match["rest"] or ""
        assert "api-version" in query, "every request names its version of the API"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if world.allowed.get(token) != base:
            self._fail(401, "AuthenticationFailed", "Authentication failed.")
            return
        if match["registry"] not in world.resources and self.command != "PUT":
            text = f"The Resource 'Microsoft.ContainerRegistry/registries/{match['registry']}' under resource group "
            self._fail(404, "ResourceNotFound", f"{text}'{match['group']}' was not found.")
        elif rest == "/listBuildSourceUploadUrl":
            path = f"source/202611250000/{secrets.token_hex(16)}.tar.gz"
            self._say(200, {"uploadUrl": f"{base}/blob/{path}?sig={SIGNATURE}", "relativePath": path})
        elif rest == "/scheduleRun":
            self._say(200, self._run(world.begin(body)))
        elif rest.startswith("/runs/"):
            self._runs(rest.split("/")[2:], base)
        else:
            self._resource(match, rest, body, base)

    def _run(self, id_: str) -> dict[str, Any]:
        run = self.registry.runs[id_]
        properties = {"runId": id_, "status": run.status, "runType": "QuickBuild", "provisioningState": "Succeeded"}
        if run.status in _FINAL and run.why:
            properties["runErrorMessage"] = run.why
        return {"type": "Microsoft.ContainerRegistry/registries/runs", "name": id_, "properties": properties}

    def _runs(self, words: list[str], base: str) -> None:
        world, id_ = self.registry, words[0]
        match words[1:]:
            case []:
                world.advance(id_)
                self._say(200, self._run(id_))
            case ["listLogSasUrl"]:
                self._say(200, {"logLink": f"{base}/blob/log/{id_}?sig={SIGNATURE}"})
            case ["cancel"]:
                world.cancelled.append(id_)
                if world.runs[id_].status not in _FINAL:
                    world.runs[id_].status = "Canceled"
                self._say(200, None)
            case _:
                self._say(404, {})

    def _resource(self, match: re.Match[str], rest: str, body: dict[str, Any], base: str) -> None:
        """The registry itself, as the recorded conversation has it."""
        world, name = self.registry, match["registry"]
        path = match[0].removesuffix(rest)
        operation = {"Azure-AsyncOperation": f"{base}{path}/operationStatuses/registries-{SUBSCRIPTION}"}
        match (self.command, rest):
            case ("PUT", ""):
                made = {"type": "Microsoft.ContainerRegistry/registries", "id": path, "name": name, "tags": {}, **body}
                made["sku"] = {"name": body["sku"]["name"], "tier": body["sku"]["name"]}
                made["properties"] = {"loginServer": world.host, "provisioningState": "Succeeded", **body["properties"]}
                made["systemData"] = {"createdBy": "somebody"}
                world.resources[name] = made
                self._say(201, made, operation)
            case ("PATCH", ""):
                made = world.resources[name]
                world.resources[name] = {**made, "tags": body.get("tags", made["tags"])}
                self._say(200, world.resources[name])
            case ("GET", ""):
                self._say(200, world.resources[name])
            case ("DELETE", ""):
                del world.resources[name]
                self._say(200, None)
            case ("GET", operation_path) if operation_path.startswith("/operationStatuses/"):
                self._say(200, {"status": "Succeeded"}, operation)
            case ("POST", "/listCredentials" | "/regenerateCredential"):
                passwords = [{"name": n, "value": secrets.token_hex(8)} for n in ("password", "password2")]
                self._say(200, {"username": name, "passwords": passwords})
            case _:
                self._say(404, {})

    # -- storage

    def _blob(self, path: str, query: Mapping[str, list[str]], body: bytes) -> None:
        world = self.registry
        if query.get("sig") != [SIGNATURE]:
            self._say(403, None, {"x-ms-error-code": "AuthenticationFailed"})
        elif self.command == "PUT":
            assert self.headers["x-ms-blob-type"] == "BlockBlob"
            world.blobs[path] = body
            self._say(201, None)
        else:
            data = world.runs[path.rpartition("/")[2]].written
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            if not data:
                self._say(404, None, {"x-ms-error-code": "BlobNotFound"})
            elif start >= len(data):
                self._say(416, None, {"x-ms-error-code": "InvalidRange"})
            else:
                rest = data[start:]
                self._bytes(206, rest, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

    # -- images

    def _sign_in(self, path: str, form: Mapping[str, str]) -> None:
        if path.endswith("/exchange"):
            fine = self.registry.allowed.get(form["access_token"]) == f"https://{self.registry.host}"
            self._say(*((200, {"refresh_token": "c4n4ry-refresh"}) if fine else (401, {})))
        else:
            assert form["refresh_token"] == "c4n4ry-refresh"
            self._say(200, {"access_token": f"c4n4ry-access {form['scope']}"})

    def _images(self, path: str) -> None:
        world = self.registry
        version, _, rest = path.lstrip("/").removeprefix("acr/").partition("/")
        repository, kind, reference = _split(rest)
        if not self.headers.get("Authorization", "").startswith("Bearer c4n4ry-access"):
            scope = f"repository:{repository}:pull,delete"
            challenge = f'Bearer realm="https://{world.host}/oauth2/token",service="{world.host}",scope="{scope}"'
            self._say(401, {"errors": [{"code": "UNAUTHORIZED"}]}, {"WWW-Authenticate": challenge})
            return
        tags = world.tags.get(repository)
        if tags is None:
            text = "repository name not known to registry"
            self._say(404, {"errors": [{"code": "NAME_UNKNOWN", "message": text}]})
            return
        digest = tags.get(reference, reference)
        may = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}
        told = {"createdTime": _TIME, "lastUpdateTime": _TIME, "changeableAttributes": may}
        listed = [{"name": tag, "digest": d, "signed": False, **told} for tag, d in sorted(tags.items())]
        match (self.command, version, kind):
            case ("GET", "v1", "_tags") if not reference:
                self._say(200, {"registry": world.host, "imageName": repository, "tags": listed})
            case ("GET", "v1", "_tags") if reference in tags:
                self._say(
                    200,
                    {"registry": world.host, "imageName": repository, "tag": listed[[*sorted(tags)].index(reference)]},
                )
            case ("DELETE", "v1", "_tags"):
                del tags[reference]
                self._say(202, None)
            case (_, _, _) if digest not in world.objects:
                self._say(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest is not found"}]})
            case ("GET", "v1", "_manifests"):
                names = [tag for tag, d in tags.items() if d == digest]
                manifest = {"digest": digest, "tags": names, "imageSize": 1000, **told}
                self._say(200, {"registry": world.host, "imageName": repository, "manifest": manifest})
            case ("DELETE", "v2", "manifests"):
                world.tags[repository] = {tag: d for tag, d in tags.items() if d != digest}
                self._say(202, None)
            case ("GET", "v2", "manifests"):
                kind = "application/vnd.docker.distribution.manifest.v2+json"
                self._bytes(200, world.objects[digest], {"Content-Type": kind, "Docker-Content-Digest": digest})
            case ("GET", "v2", "blobs"):
                data = world.objects[digest]
                self._bytes(206, data, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"})
            case _:
                self._say(404, {})

    # -- answers

    def _fail(self, status: int, code: str, message: str) -> None:
        self._say(status, {"error": {"code": code, "message": message}})

    def _say(self, status: int, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self._bytes(status, data, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    def _bytes(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _split(rest: str) -> tuple[str, str, str]:
    """Repository, kind and reference of a path below `/v2/` or `/acr/v1/`."""
    match = re.match(r"(?P<repository>.+?)/(?P<kind>_tags|_manifests|manifests|blobs)(?:/(?P<reference>.+))?$", rest)
    return (match["repository"], match["kind"], match["reference"] or "") if match else (rest, "", "")
