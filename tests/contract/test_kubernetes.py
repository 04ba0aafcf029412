"""The contract over Kubernetes objects: a Deployment, and objects that no controller works on."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reconciler.core.errors import (
    AccessError,
    ConflictError,
    TargetError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.resources import Desired, Health, ResourceId, Rollout
from reconciler.core.secrets import seal
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.form import Secrets
from reconciler.targets.aks.kinds import KINDS, Place
from reconciler.targets.aks.refusals import MissingError
from reconciler.targets.aks.render import Images
from tests.targets.aks.standin import Fault, Standin

from .harness import INSTALLATION
from .live_kubernetes import LiveFixture, reveal
from .mortal import Mortal, MortalFixture
from .rules import Contract

CLASSES: dict[str, type[TargetError]] = {
    "401": AccessError,
    "403": AccessError,
    "404": MissingError,
    "409": ConflictError,
    "412": ConflictError,
    "429": ThrottledError,
}
NAMESPACE = "ml"


class KubernetesFixture(MortalFixture):
    """A Deployment on a stand-in that rolls out at once, unless it is told to take its time."""

    patience = 200
    states = ("healthy", "paused", "rolling", "deadline", "quota", "nobody-knows")
    cannot: ClassVar[dict[str, str]] = {
        "describable": "objects are not described yet",
        "staged": "only what succeeds another version is staged: tests/targets/aks/test_canary.py",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.standin = Standin(NAMESPACE)
        self.config = folder / "kubeconfig"
        self.config.write_text(json.dumps(self.standin.kubeconfig))

    def make_driver(self, installation: str = INSTALLATION) -> Mortal:
        cluster = Cluster("cluster", kubeconfig=str(self.config))
        secrets = Secrets(reveal, lambda text: seal(b"key", text))
        driver = Mortal("cluster", installation, cluster, secrets, Images(""), NAMESPACE)
        return self.made(driver)

    def _workload(self, name: str, **spec: Any) -> Desired:
        container = {"image": "example/scorer:1", "env": {"A": {"value": "1"}}, **spec.pop("container", {})}
        more = spec.pop("template", {})
        whole = {
            "metadata": {"labels": {"app.kubernetes.io/name": name}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"reconciler.dev/service": name}},
                "template": {
                    "metadata": {"labels": {"reconciler.dev/service": name}},
                    "spec": {"containers": {"scoring": container}, **more},
                },
                **spec,
            },
        }
        id_ = ResourceId("cluster", "Deployment", str(Place(NAMESPACE, name)))
        return Desired(id_, whole, name, rollout=Rollout(staged=False))

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        match variant:
            case "changed":
                return self._workload(name, replicas=2)
            case "more":
                added = {"A": {"value": "1"}, "B": {"value": "2"}}
                return self._workload(name, container={"env": added}, revisionHistoryLimit=3)
            case _:
                return self._workload(name)

    def move(self, name: str) -> Desired:
        return self.desired(name)

    def writes(self) -> int:
        return len(self.standin.writes)

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.standin.close()

    def pause(self) -> None:
        for key in [k for k in self.standin.objects if k[0] == "deployments"]:
            self.looks = getattr(self, "looks", 0) + 1
            if self.looks % 4 == 0:
                if self.standin.objects[key].metadata.get("deletionTimestamp"):
                    self.standin.remove(key)
                else:
                    self.standin.roll_out(key)
        time.sleep(0.001)

    def _key(self, id_: ResourceId) -> tuple[str, str, str]:
        place = Place.of(id_.name)
        return KINDS[id_.kind].plural, place.namespace, place.name

    def edit(self, id_: ResourceId) -> str:
        self.standin.edit(self._key(id_), ("spec", "replicas"), 7)
        return "/spec/replicas"

    def edit_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self.standin.edit(self._key(id_), ("metadata", "annotations", "theirs"), "1")
        return lambda: self.standin.show(self._key(id_))["metadata"]["annotations"].get("theirs") == "1"

    def touch(self, id_: ResourceId) -> None:
        self.edit_foreign(id_)

    def remove(self, id_: ResourceId) -> None:
        self.standin.remove(self._key(id_))

    def _foreign(self, id_: ResourceId, metadata: Mapping[str, Any]) -> None:
        pod = {"containers": [{"name": "scoring", "image": "theirs:1"}]}
        name = Place.of(id_.name).name
        labels = {"reconciler.dev/service": name.removesuffix("-copy")}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
        self.standin.put(self._key(id_), {"metadata": dict(metadata), "spec": spec})

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self._foreign(id_, {})
        before = self.standin.show(self._key(id_))
        return lambda: self.standin.show(self._key(id_)) == before

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = id_._replace(name=id_.name + "-copy")
        metadata = self.standin.show(self._key(id_))["metadata"]
        self._foreign(twin, {"labels": metadata["labels"], "annotations": metadata["annotations"]})
        return twin

    def condition(self, id_: ResourceId, state: str) -> Health:
        key = self._key(id_)
        stored = self.standin.objects[key]
        self.standin.edit(key, ("spec", "paused"), state == "paused")
        self.standin.roll_out(key)
        status = json.loads(json.dumps(stored.status))
        match state:
            case "rolling":
                status["conditions"][1]["reason"] = "ReplicaSetUpdated"
            case "deadline":
                status["conditions"][1] |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
            case "quota":
                status["conditions"].append({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"})
            case "nobody-knows":
                status["conditions"][0]["status"] = "Unknown"
            case _:
                pass
        self.standin.state(key, status)
        return {
            "healthy": Health.HEALTHY,
            "paused": Health.SUSPENDED,
            "rolling": Health.PROGRESSING,
            "deadline": Health.DEGRADED,
            "quota": Health.DEGRADED,
            "nobody-knows": Health.UNKNOWN,
        }[state]

    def immutable(self, name: str, variant: str) -> Desired:
        labels = {"reconciler.dev/service": f"{name}-{variant}"}
        made = self._workload(name, selector={"matchLabels": labels})
        return replace(made, spec=json.loads(json.dumps(made.spec)))

    def secret(self, name: str, text: str) -> Desired:
        spec = {"metadata": {"labels": {"a": "b"}}, "type": "Opaque", "data": {"TOKEN": seal(b"key", text)}}
        return Desired(ResourceId("cluster", "Secret", str(Place(NAMESPACE, name))), spec, name)

    def hidden(self, id_: ResourceId) -> str:
        return base64.b64decode(self.standin.show(self._key(id_))["data"]["TOKEN"]).decode()

    def awkward(self, name: str) -> Desired:
        container = {
            "env": {"Z": {"value": "1"}, "A": {"value": "2"}},
            "ports": {"http": {"containerPort": 5001, "protocol": "TCP"}},
            "resources": {"requests": {"cpu": "1500m", "memory": "1G"}},
            "volumeMounts": {"/tmp": {"name": "tmp"}},
        }
        return self._workload(name, container=container, template={"volumes": {"tmp": {"emptyDir": {}}}})

    def invalid(self, name: str) -> Desired:
        return self._workload(name, replicas=-1)

    def down(self) -> None:
        self.standin.close()

    def fail_second_page(self) -> None:
        self.standin.page = 2
        self.standin.faults = [Fault("GET", 500, query="continue=")]

    def slow(self) -> None:
        self.standin.slow.add("deployments")

    def slow_delete(self) -> None:
        self.standin.slow.add("delete")

    def fail(self, failure: str, when: str = "before", times: int = 1) -> type[TargetError]:
        status = {"timeout": -1, "broken": 0}.get(failure) or (int(failure) if failure.isdecimal() else 0)
        # A version that moved is looked at again a few times before it is a conflict; who asks is told anew once.
        often = 99 if failure in ("409", "412") else times * 2 if failure == "401" else times
        self.standin.faults = [Fault("PATCH", status, when == "after", often)]
        return CLASSES.get(failure, UnavailableError)


class TestKubernetes(Contract):
    """Server-side apply over HTTP."""

    fixture = KubernetesFixture

    def make(self, tmp_path: Path) -> KubernetesFixture:
        return KubernetesFixture(tmp_path)


@pytest.mark.live
class TestLiveKubernetes(Contract):
    """The same on a real cluster, in namespaces of its own that go afterwards."""

    fixture = LiveFixture

    def make(self, tmp_path: Path) -> LiveFixture:
        return LiveFixture()
