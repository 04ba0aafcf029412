"""Azure Resource Manager on the wire, as far as AKS clusters go: resources, long operations, user credentials.

After the OpenAPI of managedClusters and one recorded conversation with the real service, which `test_attached` replays.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.listening import JsonHandler, listening

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
_CLUSTER = re.compile(
    r"(?P<group>/subscriptions/[^/]+/resource[Gg]roups/[^/]+)/providers/Microsoft\.ContainerService/managedClusters"
    r"(/(?P<name>[^/]+))?(?P<rest>/.*)?$"
)
_OPERATION = re.compile(r"/operations/([^/]+)$")
Json = dict[str, Any]


@dataclass
class Trouble:
    """What goes wrong with the next requests of a sort.

    Args:
        methods: Of the requests. status: 0 for a connection that breaks, -1 for an answer that does not come.
        after: It is done nevertheless.
        words: The request has these in its query.
    """

    methods: tuple[str, ...]
    status: int
    after: bool = False
    times: int = 1
    words: str = ""


@dataclass
class Arm:
    """The world: clusters by the path of their id in lower case, and what they were asked.

    Args:
        allowed: Tokens by which it is reached, with what they are for.
        instant: Operations end at once; else with `finish`.
        elsewhere: The address that operations are said to be at, in place of its own.
        page: Clusters a page of a list; 0 for all.
    """

    allowed: Mapping[str, str]
    clusters: dict[str, Json] = field(default_factory=dict[str, Json])
    kubeconfigs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    operations: dict[str, str] = field(default_factory=dict[str, str])
    faults: list[tuple[int, Json]] = field(default_factory=list[tuple[int, Json]])
    trouble: list[Trouble] = field(default_factory=list["Trouble"])
    asked: list[str] = field(default_factory=list[str])
    bodies: list[Json] = field(default_factory=list[Json])
    failures: dict[str, Json] = field(default_factory=dict[str, Json])
    instant: bool = False
    elsewhere: str = ""
    page: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self.port}"

    def put(self, group: str, name: str, kubeconfig: object, **properties: Any) -> str:
        """A cluster that is there; returns its id.

        Args:
            kubeconfig: What its users are given; bytes as they are, else as JSON.
        """
        id_ = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.ContainerService"
        id_ += f"/managedClusters/{name}"
        body = {"location": "westus2", "properties": {"provisioningState": "Succeeded", **properties}}
        self.clusters[id_.lower()] = _stored(id_, name, body)
        self.kubeconfigs[id_.lower()] = kubeconfig if isinstance(kubeconfig, bytes) else json.dumps(kubeconfig).encode()
        return id_

    @property
    def writes(self) -> list[str]:
        """The requests so far that were to change something."""
        return [line for line in self.asked if line.startswith(("PUT ", "DELETE "))]

    def finish(self) -> None:
        """Ends all operations well."""
        for id_, key in self.operations.items():
            if key and key in self.clusters:
                if self.clusters[key]["properties"]["provisioningState"] == "Deleting":
                    del self.clusters[key]
                else:
                    self.clusters[key]["properties"]["provisioningState"] = "Succeeded"
            self.operations[id_] = ""

    def fail(self, code: str, message: str) -> None:
        """Ends all operations badly."""
        for id_, key in self.operations.items():
            if key:
                self.clusters[key]["properties"]["provisioningState"] = "Failed"
                self.failures[id_] = {"code": code, "message": message}
            self.operations[id_] = ""


def _stored(id_: str, name: str, body: Mapping[str, Any]) -> Json:
    given = {**body["properties"]}
    power = {"powerState": {"code": "Running"}, "maxAgentPools": 100, "nodeResourceGroup": f"MC_{name}"}
    if given.get("agentPoolProfiles"):
        pools = [{"osDiskSizeGB": 128, "maxPods": 110, **pool} for pool in given["agentPoolProfiles"]]
        given["agentPoolProfiles"] = [{**pool, "provisioningState": "Succeeded"} for pool in pools]
        network = {"serviceCidr": "10.0.0.0/16", "dnsServiceIP": "10.0.0.10", "outboundType": "loadBalancer"}
        given["networkProfile"] = {**network, **(given.get("networkProfile") or {})}
    own = {"id": id_.replace("/resourceGroups/", "/resourcegroups/"), "name": name}
    return {**body, **own, "type": "Microsoft.ContainerService/ManagedClusters", "properties": {**power, **given}}


@contextmanager
def arm_server(certificate: Path, key: Path, allowed: Mapping[str, str]) -> Iterator[Arm]:
    """Serves until the block ends."""
    world = Arm(allowed)

    class Handler(_Handler):
        arm = world

    with listening(Handler, (certificate, key)) as port:
        world.port = port
        yield world


class _Handler(JsonHandler):
    arm: Arm
    hidden = False

    def _answer(self) -> None:
        world, parts = self.arm, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        world.asked.append(f"{self.command} {parts.path}")
        assert "api-version" in parse_qs(parts.query), "every request names its version of the API"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if world.allowed.get(token) != world.url:
            self._fail(401, "AuthenticationFailed", "Authentication failed.")
        elif world.faults:
            status, answer = world.faults.pop(0)
            self.say(status, answer)
        elif trouble := next((t for t in world.trouble if self._meant(t, parts.query)), None):
            trouble.times -= 1
            if trouble.after and (found := _CLUSTER.match(parts.path)):
                self.hidden = True
                self._cluster(found, json.loads(body) if body else {}, {})
                self.hidden = False
            if trouble.status > 0:
                told = {"error": {"code": f"Code{trouble.status}", "message": "Because."}}
                self.say(trouble.status, told, {"Retry-After": "7"} if trouble.status == 429 else {})
                return
            if trouble.status < 0:
                # Until whoever asked has enough.
                self.rfile.read(1)
            self.close_connection = True
        elif operation := _OPERATION.search(parts.path):
            failed = world.failures.get(operation[1])
            state = "InProgress" if world.operations[operation[1]] else "Failed" if failed else "Succeeded"
            told = {"name": operation[1], "status": state, "startTime": "2026-11-25T23:00:00.0000000Z"}
            self.say(200, {**told, "error": failed} if failed else told)
        elif found := _CLUSTER.match(parts.path):
            self._cluster(found, json.loads(body) if body else {}, parse_qs(parts.query))
        else:
            self._fail(404, "InvalidResourceType", "There is no such type.")

    do_GET = do_PUT = do_POST = do_DELETE = _answer

    def _meant(self, trouble: Trouble, query: str) -> bool:
        return trouble.times > 0 and self.command in trouble.methods and trouble.words in query

    def say(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """One answer, unless it is not to be heard."""
        if not self.hidden:
            super().say(status, body, headers)

    def _listed(self, own: str, query: Mapping[str, list[str]]) -> None:
        world = self.arm
        found = [one for path, one in sorted(world.clusters.items()) if path.startswith(own.lower())]
        begin = int(query.get("$skiptoken", ["0"])[0])
        end = begin + (world.page or len(found) or 1)
        answer: Json = {"value": found[begin:end]}
        if end < len(found):
            where = urlsplit(self.path).path
            answer["nextLink"] = f"{world.url}{where}?api-version=2024-02-01&%24skiptoken={end}"
        self.say(200, answer)

    def _cluster(self, found: re.Match[str], body: Json, query: Mapping[str, list[str]]) -> None:
        world, name, key = self.arm, found["name"], found[0].removesuffix(found["rest"] or "").lower()
        cluster = world.clusters.get(key)
        match (self.command, found["rest"]):
            case ("GET", None) if name is None:
                self._listed(f"{found['group']}/", query)
            case ("PUT", None):
                state = "Updating" if cluster is not None else "Creating"
                world.bodies.append(body)
                world.clusters[key] = _stored(found[0], name, body)
                world.clusters[key]["properties"]["provisioningState"] = state
                answer, where = json.loads(json.dumps(world.clusters[key])), self._operation(key)
                if world.instant:
                    world.finish()
                self.say(201 if cluster is None else 200, answer, where)
            case _ if cluster is None:
                words = found["group"].rpartition("/")[2]
                text = (
                    f"The Resource 'Microsoft.ContainerService/managedClusters/{name}' under resource group '{words}'"
                )
                self._fail(404, "ResourceNotFound", f"{text} was not found.")
            case ("GET", None):
                self.say(200, cluster)
            case ("POST", "/listClusterUserCredential"):
                value = base64.b64encode(world.kubeconfigs.get(key, b"apiVersion: v1\n")).decode()
                self.say(200, {"kubeconfigs": [{"name": "clusterUser", "value": value}]})
            case ("DELETE", None):
                cluster["properties"]["provisioningState"] = "Deleting"
                where = self._operation(key)
                if world.instant:
                    world.finish()
                result = where["Azure-AsyncOperation"].replace("/operations/", "/operationresults/")
                self.say(202, None, {**where, "Location": result})
            case _:
                self._fail(405, "MethodNotAllowed", "Not here.")

    def _operation(self, key: str) -> Mapping[str, str]:
        id_ = str(uuid.uuid4())
        self.arm.operations[id_] = key
        where = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService/locations/westus2/operations/{id_}"
        return {"Azure-AsyncOperation": f"{self.arm.elsewhere or self.arm.url}{where}?api-version=2016-03-30"}

    def _fail(self, status: int, code: str, message: str) -> None:
        self.say(status, {"error": {"code": code, "message": message}})
