"""A stand-in for an API server: objects in memory, over real HTTP, with the answers that the driver depends on."""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.listening import listening
from tests.targets.aks.apply import Conflict, Owned, fields_v1, spelled

Json = dict[str, Any]
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
METADATA_ONLY = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
TOKEN = "canary-token-of-the-cluster"
KINDS = {
    "pods": "Pod",
    "services": "Service",
    "secrets": "Secret",
    "serviceaccounts": "ServiceAccount",
    "deployments": "Deployment",
    "networkpolicies": "NetworkPolicy",
    "ingresses": "Ingress",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "scaledobjects": "ScaledObject",
    "leases": "Lease",
}


@dataclass
class Stored:
    """One object."""

    owned: Owned
    metadata: Json
    status: Json = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong with the next requests of a sort.

    Args:
        method: "" for any. status: 0 for a connection that breaks, -1 for an answer that does not come.
    """

    method: str
    status: int
    after: bool = False
    times: int = 1
    skip: int = 0
    body: Json = field(default_factory=dict)
    query: str = ""


# Two escapes for one character, of which YAML knows nothing.
_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*\\ud[89ab]")


class Refused(Exception):
    """An answer that is none."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
            "details": details,
        }


class Standin:
    """The server and what it holds.

    Args:
        namespaces: Those that are there.
    """

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = set(namespaces)
        self.objects: dict[tuple[str, str, str], Stored] = {}
        self.writes: list[tuple[str, str]] = []
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.version = 100
        self.page = 0
        self.slow: set[str] = set()
        self.history: list[tuple[int, str, str, str, Json]] = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.logs: dict[str, list[str]] = {}
        self.ports: dict[str, tuple[str, int]] = {}
        self.watching = 0
        # Collections whose next watch is told that it is too old, with the event that says so.
        self.too_old: dict[str, Json] = {}
        # Verb and resource (`deployments.apps`) that nobody may; whether they are asked for is not looked at otherwise.
        self.denied: set[tuple[str, str]] = set()
        # Whether KEDA is installed, which brings a kind of its own.
        self.keda = False
        # What was made just after a listing, for whoever goes by that.
        self.unlisted: set[tuple[str, str, str]] = set()
        # What runs in a pod: the address that its port leads to, None for one that does not become ready. Without
        # it there are no pods but those that are put there.
        self.runs: Callable[[Json], tuple[str, int] | None] | None = None
        self.made = 0
        # Whether watches end as soon as they are begun.
        self.brief = False
        # What an admission webhook makes of whatever is written there, by the paths of fields.
        self.mutated: dict[tuple[str, str, str], dict[tuple[str, ...], Any]] = {}
        self.closed = False
        # Tokens of an identity provider, with what they are for, and what this takes them for.
        self.tokens: Mapping[str, str] = {}
        self.application = "nothing"
        handler = type("Handler", (_Handler,), {"standin": self})
        self._serving = contextlib.ExitStack()
        self.port = self._serving.enter_context(listening(handler))

    @property
    def kubeconfig(self) -> Json:
        """What leads to it."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }

    def close(self) -> None:
        """Nothing answers any more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._serving.close()

    # -- what a hand does

    def show(self, key: tuple[str, str, str]) -> Json:
        """An object as the API gives it."""
        return self._shown(key)

    def edit(self, key: tuple[str, str, str], path: tuple[str, ...], value: Any, manager: str = "kubectl-edit") -> None:
        """A field written by hand."""
        with self.changed:
            stored = self.objects[key]
            stored.owned.update(
                tuple(f"f:{step}" if not step.startswith("k:") else step for step in path), value, manager
            )
            self._bump(key, "MODIFIED", spec=path[0] == "spec")

    def state(self, key: tuple[str, str, str], status: Json) -> None:
        """A status as a controller writes it."""
        with self.changed:
            self.objects[key].status = status
            self._bump(key, "MODIFIED", spec=False)

    def put(self, key: tuple[str, str, str], body: Json, manager: str = "kubectl") -> None:
        """An object made by hand."""
        with self.changed:
            self._apply(key, body, manager, force=True)

    def remove(self, key: tuple[str, str, str]) -> None:
        """An object gone, and what it owned with it."""
        with self.changed:
            gone = self._shown(key)
            del self.objects[key]
            self.version += 1
            self.history.append((self.version, key[0], key[1], "DELETED", gone))
            for owned in self._owned_by(gone["metadata"]["uid"]):
                self.remove(owned)
            self.changed.notify_all()

    def _owned_by(self, uid: str) -> list[tuple[str, str, str]]:
        def owners(key: tuple[str, str, str]) -> list[Json]:
            found: list[Json] = self._shown(key)["metadata"].get("ownerReferences") or []
            return found

        return [key for key in sorted(self.objects) if any(one["uid"] == uid for one in owners(key))]

    def reached(self, namespace: str, service: str) -> list[str]:
        """The pods that requests to a Service get to: those that are ready and have the labels it selects by."""
        with self.lock:
            wanted = self._shown(("services", namespace, service))["spec"]["selector"]
            pods = [self._shown(key) for key in sorted(self.objects) if key[:2] == ("pods", namespace)]
            return [
                pod["metadata"]["name"]
                for pod in pods
                if wanted.items() <= (pod["metadata"].get("labels") or {}).items()
                and pod["status"]["conditions"][0]["status"] == "True"
            ]

    # -- what the API does

    def answer(self, method: str, path: str, query: dict[str, str], body: Json) -> Json:
        """One request's answer.

        Raises:
            Refused: It is none.
        """
        if path.endswith("/selfsubjectaccessreviews"):
            return self._review(body)
        plural, namespace, name, _ = _parts(path)
        with self.changed:
            if namespace not in self.namespaces and method != "GET":
                raise Refused(404, "NotFound", f'namespaces "{namespace}" not found', kind="namespaces", name=namespace)
            key = (plural, namespace, name)
            if method == "GET" and not name:
                return self._list(plural, namespace, query)
            if method == "GET":
                self._exists(key)
                return self._shown(key)
            if method == "PATCH":
                return self._patch(key, body, query)
            if method == "DELETE":
                return self._delete(key, body)
            if method == "POST":
                return self._create((plural, namespace, body["metadata"]["name"]), body, query)
            if method == "PUT":
                return self._replace(key, body, query)
        raise Refused(405, "MethodNotAllowed", "not here")

    def _create(self, key: tuple[str, str, str], body: Json, query: dict[str, str]) -> Json:
        if key in self.objects:
            raise Refused(409, "AlreadyExists", f'{key[0]} "{key[2]}" already exists', kind=key[0], name=key[2])
        return self._apply(key, body, query["fieldManager"], force=True)

    def _replace(self, key: tuple[str, str, str], body: Json, query: dict[str, str]) -> Json:
        stored = self._exists(key)
        if body["metadata"]["resourceVersion"] != stored.metadata["resourceVersion"]:
            message = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified'
            raise Refused(409, "Conflict", message, kind=key[0], name=key[2])
        return self._apply(key, body, query["fieldManager"], force=True)

    def _review(self, body: Json) -> Json:
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        named = ".".join(filter(None, (resource, asked["group"])))
        allowed = (asked["verb"], named) not in self.denied and asked["namespace"] in self.namespaces
        status = {"allowed": allowed} if allowed else {"allowed": False, "reason": "no role"}
        return {**body, "status": status}

    def _exists(self, key: tuple[str, str, str]) -> Stored:
        if key not in self.objects:
            raise Refused(404, "NotFound", f'{key[0]} "{key[2]}" not found', kind=key[0], name=key[2])
        return self.objects[key]

    def _list(self, plural: str, namespace: str, query: dict[str, str]) -> Json:
        keys = sorted(
            k
            for k in self.objects
            if k[:2] == (plural, namespace) and k not in self.unlisted and self._selected(k, query)
        )
        start = int(query.get("continue") or 0)
        limit = self.page or int(query.get("limit") or 0) or len(keys)
        items = [self._shown(key) for key in keys[start : start + limit]]
        for item in items:
            item.pop("kind")
            item.pop("apiVersion")
        metadata: Json = {"resourceVersion": str(self.version)}
        if start + limit < len(keys):
            metadata["continue"] = str(start + limit)
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}

    def _selected(self, key: tuple[str, str, str], query: dict[str, str]) -> bool:
        labels = self._shown(key)["metadata"].get("labels") or {}
        for part in filter(None, query.get("labelSelector", "").split(",")):
            name, equals, value = part.partition("=")
            if name not in labels or (equals and labels[name] != value):
                return False
        return True

    def _patch(self, key: tuple[str, str, str], body: Json, query: dict[str, str]) -> Json:
        manager, dry = query["fieldManager"], "dryRun" in query
        expected = body["metadata"].get("resourceVersion")
        stored = self.objects.get(key)
        if expected and (stored is None or stored.metadata["resourceVersion"] != expected):
            message = f'Operation cannot be fulfilled on {key[0]} "{key[2]}": the object has been modified'
            raise Refused(409, "Conflict", message, kind=key[0], name=key[2])
        if (body.get("spec") or {}).get("bogus"):
            raise Refused(500, "", "failed to create typed patch object: .spec.bogus: field not declared in schema")
        if query["contentType"].startswith("application/strategic-merge-patch"):
            self._exists(key).owned.merge({k: v for k, v in body.items() if k in ("spec", "data")})
            self._bump(key, "MODIFIED", spec=True)
            return self._shown(key)
        before = copy.deepcopy((stored, self.version, len(self.history))) if dry else None
        try:
            shown = self._apply(key, body, manager, force="force" in query)
        except Conflict as conflict:
            causes = [
                {"reason": "FieldManagerConflict", "field": spelled(path), "message": f'conflict with "{name}"'}
                for path, name in conflict.places
            ]
            words = ", ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
            raise Refused(409, "Conflict", f"Apply failed: {words}", causes=causes) from None
        if before is not None:
            if before[0] is None:
                del self.objects[key]
            else:
                self.objects[key] = before[0]
            self.version = before[1]
            del self.history[before[2] :]
        return shown

    def _apply(self, key: tuple[str, str, str], body: Json, manager: str, *, force: bool) -> Json:
        own = copy.deepcopy(body)
        metadata = own.pop("metadata", {})
        for name in ("apiVersion", "kind", "status"):
            own.pop(name, None)
        for name in ("labels", "annotations", "ownerReferences"):
            if metadata.get(name):
                own.setdefault("metadata", {})[name] = metadata[name]
        stored = self.objects.get(key)
        before = stored.owned.flat if stored else None
        trial = stored.owned.copy() if stored else Owned()
        trial.apply(own, manager, force=force)
        trial.flat |= self.mutated.get(key, {})
        if stored is not None and before == trial.flat and stored.owned.managers == trial.managers:
            return self._shown(key)
        selector = ("f:spec", "f:selector")
        if key[0] == "deployments" and before is not None and before.get(selector) != trial.flat.get(selector):
            cause = {"field": "spec.selector", "message": "field is immutable", "reason": "FieldValueInvalid"}
            message = f'Deployment.apps "{key[2]}" is invalid: spec.selector: field is immutable'
            raise Refused(422, "Invalid", message, causes=[cause])
        if trial.flat.get(("f:spec", "f:replicas"), 0) < 0:
            cause = {"field": "spec.replicas", "message": "must be greater than 0", "reason": "FieldValueInvalid"}
            raise Refused(422, "Invalid", f'Deployment.apps "{key[2]}" is invalid: spec.replicas', causes=[cause])
        if stored is None:
            known = {"name": key[2], "namespace": key[1], "uid": str(uuid.uuid4()), "generation": 0}
            stored = self.objects[key] = Stored(trial, known)
            kind = "ADDED"
        else:
            stored.owned = trial
            kind = "MODIFIED"
        spec = before is None or any(
            p[0] == "f:spec" and before.get(p) != trial.flat.get(p) for p in {*before, *trial.flat}
        )
        self._bump(key, kind, spec=spec)
        return self._shown(key)

    def _bump(self, key: tuple[str, str, str], kind: str, *, spec: bool) -> None:
        stored = self.objects[key]
        self.version += 1
        stored.metadata["resourceVersion"] = str(self.version)
        if spec:
            stored.metadata["generation"] += 1
            if key[0] == "deployments" and "deployments" not in self.slow:
                self.roll_out(key, bump=False)
        self.history.append((self.version, key[0], key[1], kind, self._shown(key)))
        self.changed.notify_all()

    def roll_out(self, key: tuple[str, str, str], *, bump: bool = True) -> None:
        """What the Deployment's controller and the nodes do: all replicas are new and available."""
        with self.changed:
            stored = self.objects[key]
            count = stored.owned.flat.get(("f:spec", "f:replicas"), 1)
            ready = count if self.runs is None else self._run_pods(key, count)
            there = "NewReplicaSetAvailable" if ready == count else "ReplicaSetUpdated"
            stored.status = {
                "observedGeneration": stored.metadata["generation"],
                "replicas": count,
                "updatedReplicas": count,
                "readyReplicas": ready,
                "availableReplicas": ready,
                "conditions": [
                    {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                    {"type": "Progressing", "status": "True", "reason": there},
                ],
            }
            if bump:
                self._bump(key, "MODIFIED", spec=False)

    def _run_pods(self, key: tuple[str, str, str], count: int) -> int:
        """The pods of a Deployment's template, and none of another one; how many are ready."""
        shown = self._shown(key)
        template = shown["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        have = [name for name in self._owned_by(shown["metadata"]["uid"]) if name[0] == "pods"]
        right = [pod for pod in have if self._shown(pod)["metadata"]["labels"]["pod-template-hash"] == digest]
        for pod in [pod for pod in have if pod not in right] + right[count:]:
            self.remove(pod)
        for _ in range(count - len(right)):
            self.made += 1
            pod = ("pods", key[1], f"{key[2]}-{digest}-{self.made:05d}")
            labels = {**template["metadata"]["labels"], "pod-template-hash": digest}
            owner = {"kind": "ReplicaSet", "name": f"{key[2]}-{digest}", "uid": shown["metadata"]["uid"]}
            self.put(pod, {"metadata": {"labels": labels, "ownerReferences": [owner]}, "spec": template["spec"]})
            self.objects[pod].metadata["creationTimestamp"] = f"2026-11-22T{self.made:08d}Z"
            self._start(pod)
        pods = [name for name in self._owned_by(shown["metadata"]["uid"]) if name[0] == "pods"]
        return sum(self._shown(pod)["status"]["conditions"][0]["status"] == "True" for pod in pods)

    def _start(self, pod: tuple[str, str, str]) -> None:
        assert self.runs is not None
        address = self.runs(self._shown(pod))
        self.ports |= {pod[2]: address} if address else {}
        state = {"running": {}} if address else {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
        container = {"name": "scoring", "ready": bool(address), "restartCount": 0, "state": state}
        condition = {"type": "Ready", "status": "True" if address else "False"}
        self.state(pod, {"conditions": [condition], "containerStatuses": [container]})

    def _delete(self, key: tuple[str, str, str], body: Json) -> Json:
        stored = self._exists(key)
        wanted = body.get("preconditions") or {}
        if any(stored.metadata.get(name) != value for name, value in wanted.items()):
            raise Refused(409, "Conflict", f'Precondition failed: the object "{key[2]}" is another one')
        if "delete" in self.slow:
            stored.metadata |= {"deletionTimestamp": "2026-11-22T23:23:28Z", "finalizers": ["foregroundDeletion"]}
            self._bump(key, "MODIFIED", spec=False)
            return self._shown(key)
        shown = self._shown(key)
        self.remove(key)
        return shown

    def _shown(self, key: tuple[str, str, str]) -> Json:
        from tests.targets.aks.apply import inflate

        stored = self.objects[key]
        made = inflate(stored.owned.flat)
        managed = [
            {
                "manager": name,
                "operation": "Apply" if name.startswith("reconciler") else "Update",
                "time": "2026-11-22T23:22:40Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": fields_v1(paths),
            }
            for name, paths in stored.owned.managers.items()
            if paths
        ]
        _defaults(key[0], made)
        metadata = {**made.pop("metadata", {}), **stored.metadata, "managedFields": managed}
        head = {"kind": KINDS[key[0]], "apiVersion": _API.get(key[0], "v1")}
        return copy.deepcopy({**head, "metadata": metadata, **made, "status": stored.status})


_API = {
    "deployments": "apps/v1",
    "networkpolicies": "networking.k8s.io/v1",
    "ingresses": "networking.k8s.io/v1",
    "horizontalpodautoscalers": "autoscaling/v2",
    "poddisruptionbudgets": "policy/v1",
    "scaledobjects": "keda.sh/v1alpha1",
    "leases": "coordination.k8s.io/v1",
}


def _defaults(plural: str, made: Json) -> None:
    """A few of those that the API fills in."""
    spec = made.get("spec") or {}
    if plural == "services":
        spec |= {"clusterIP": "10.96.0.7", "sessionAffinity": "None", "ipFamilies": ["IPv4"]}
        for port in spec.get("ports") or []:
            port.setdefault("targetPort", port["port"])
    if plural == "deployments":
        spec.setdefault("replicas", 1)
        pod = spec["template"]["spec"]
        pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
        for container in pod["containers"]:
            container["terminationMessagePath"] = "/dev/termination-log"


def _parts(path: str) -> tuple[str, str, str, str]:
    words = path.strip("/").split("/")
    after = words[words.index("namespaces") + 1 :]
    namespace, plural, name, sub = (*after, "", "", "")[:4]
    return plural, namespace, name, sub


class _Handler(BaseHTTPRequestHandler):
    standin: Standin
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: the second would wait for a delayed acknowledgement of the first.
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        standin, split = self.standin, urlsplit(self.path)
        if standin.closed:
            self._fail(Fault("", 0))
            return
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        query["contentType"] = self.headers.get("Content-Type") or ""
        length = int(self.headers.get("Content-Length") or 0)
        written = self.rfile.read(length) or b"{}"
        body = json.loads(written)
        standin.requests.append((self.command, self.path))
        if self.command in ("PATCH", "DELETE", "PUT") and "dryRun" not in query:
            standin.writes.append((self.command, self.path))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN and self.standin.tokens.get(token, "") != self.standin.application:
            self._send(401, Refused(401, "Unauthorized", "Unauthorized").body)
            return
        fault = self._fault(split.query)
        if fault is not None and not fault.after:
            self._fail(fault)
            return
        if "yaml" in query["contentType"] and _PAIR.search(written):
            words = (
                "error decoding YAML: error converting YAML to JSON: yaml: found invalid Unicode character escape code"
            )
            self._send(400, Refused(400, "BadRequest", words).body)
            return
        if split.path.endswith("/log"):
            self._log(_parts(split.path)[2], query)
            return
        if split.path.endswith("/portforward"):
            self._forward(_parts(split.path)[2], int(query["ports"]))
            return
        if query.get("watch"):
            self._watch(split.path, query)
            return
        if "/scaledobjects" in split.path and not standin.keda:
            self._text(404, b"404 page not found\n")
            return
        try:
            before = set(standin.objects)
            answer = self._wanted(standin.answer(self.command, split.path, query, body))
            made = self.command == "PATCH" and _parts(split.path)[:3] not in before
            code = 201 if made else 200
        except Refused as refused:
            answer, code = refused.body, refused.code
        if fault is not None:
            self._fail(fault)
            return
        self._send(code, answer)

    def _wanted(self, answer: Json) -> Json:
        """Of each object only the metadata, where just that was asked for."""
        accepted = self.headers.get("Accept", "")
        if ";as=PartialObjectMetadataList;" in accepted and "items" in answer:
            items = [{**METADATA_ONLY, "metadata": one["metadata"]} for one in answer["items"]]
            head = {**METADATA_ONLY, "kind": "PartialObjectMetadataList"}
            return {**head, "metadata": answer["metadata"], "items": items}
        if ";as=PartialObjectMetadata;" in accepted:
            return {**METADATA_ONLY, "metadata": answer["metadata"]}
        return answer

    do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = _serve

    def _fault(self, query: str) -> Fault | None:
        for fault in self.standin.faults:
            if fault.method in ("", self.command) and fault.query in query:
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                if not fault.times:
                    self.standin.faults.remove(fault)
                return fault
        return None

    def _fail(self, fault: Fault) -> None:
        if fault.status <= 0:
            self.close_connection = True
            self.connection.close()
            return
        headers = {"Retry-After": "7"} if fault.status == 429 else {}
        self._send(fault.status, fault.body or Refused(fault.status, "", "injected").body, headers)

    def _send(self, code: int, body: Json, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _text(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _watch(self, path: str, query: dict[str, str]) -> None:
        plural, namespace, _, _ = _parts(path)
        since = int(query.get("resourceVersion") or 0)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        standin = self.standin
        with standin.changed:
            standin.watching += 1
            standin.changed.notify_all()
        if standin.brief:
            self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True
            return
        try:
            while not standin.closed:
                if ended := standin.too_old.pop(plural, None):
                    self._event(ended)
                    self.wfile.write(b"0\r\n\r\n")
                    return
                with standin.changed:
                    new = [e for e in standin.history if e[0] > since and e[1:3] == (plural, namespace)]
                    if not new:
                        standin.changed.wait(0.5)
                for version, _, _, kind, shown in new:
                    self._event({"type": kind, "object": self._wanted(shown)})
                    since = version
        except OSError:
            return
        finally:
            self.close_connection = True

    def _event(self, event: Json) -> None:
        event = {"type": event["type"], "object": event["object"]}  # in the API's order
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _log(self, pod: str, query: dict[str, str]) -> None:
        lines = self.standin.logs.get(pod, [])[-int(query["tailLines"]) :]
        data = "".join(f"{line}\n" for line in lines).encode()
        self._text(200, data)

    def _forward(self, pod: str, port: int) -> None:
        """Port forwarding, of the protocol v4.channel.k8s.io: each frame begins with the number of its channel."""
        if pod not in self.standin.ports:
            self._send(404, Refused(404, "NotFound", f'pods "{pod}" not found').body)
            return
        digest = hashlib.sha1(f"{self.headers['Sec-WebSocket-Key']}{_WEBSOCKET}".encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        for channel in (0, 1):
            self._frame(bytes([channel]) + port.to_bytes(2, "little"))
        with socket.create_connection(self.standin.ports[pod]) as far:
            threading.Thread(target=self._back, args=(far,), daemon=True).start()
            while (payload := self._payload()) is not None:
                far.sendall(payload[1:])

    def _back(self, far: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := far.recv(32768):
                self._frame(b"\0" + data)

    def _frame(self, payload: bytes, opcode: int = 2) -> None:
        size = len(payload)
        head = bytes([0x80 | opcode])
        head += bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
        self.wfile.write(head + payload)
        self.wfile.flush()

    def _payload(self) -> bytes | None:
        head = self.rfile.read(2)
        if len(head) < 2 or head[0] & 0x0F == 8:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(size)))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to the terminal."""


Make = Callable[[], Standin]
