"""The fixture over a real API server that KUBECONFIG names: a namespace for each rule, objects no pod is needed for."""

from __future__ import annotations

import base64
import os
import secrets
import time
from collections.abc import Callable
from typing import Any, ClassVar

from reconciler.core.resources import Desired, ResourceId, Rollout
from reconciler.core.secrets import Secret, SecretRef, seal
from reconciler.core.values import digest
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.form import Secrets
from reconciler.targets.aks.kinds import INSTALLATION as INSTALLATION_LABEL
from reconciler.targets.aks.kinds import KINDS, Place, looked_at
from reconciler.targets.aks.render import Images

from .harness import INSTALLATION
from .mortal import Mortal, MortalFixture

Json = dict[str, Any]


def reveal(secret: Secret | SecretRef) -> str:
    """The text of any secret."""
    return secret.reveal() if isinstance(secret, Secret) else f"text of {secret}"


class LiveFixture(MortalFixture):
    """A Service: an object with defaults, keyed lists and nothing that has to run."""

    patience = 600
    cannot: ClassVar[dict[str, str]] = {
        "describable": "objects are not described yet",
        "condition": "its states are those of pods, recorded in tests/targets/aks",
        "staged": "only what succeeds another version is staged: tests/targets/aks/test_canary.py",
        "down": "the cluster is not ours to stop",
        "fail_second_page": "the cluster is not ours to break",
        "slow": "a Service is there at once",
        "slow_delete": "a Service goes at once",
        "fail": "the cluster is not ours to break",
    }

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster("live", kubeconfig=os.environ["KUBECONFIG"])
        self.namespace = f"reconciler-{secrets.token_hex(4)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self.cluster.call("POST", "/api/v1/namespaces", "making a namespace", None, body)

    def make_driver(self, installation: str = INSTALLATION) -> Mortal:
        cluster = Cluster("live", kubeconfig=os.environ["KUBECONFIG"])
        sealing = Secrets(reveal, lambda text: seal(b"key", text))
        driver = Mortal("live", installation, cluster, sealing, Images(""), self.namespace)
        return self.made(driver)

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.cluster.call("DELETE", f"/api/v1/namespaces/{self.namespace}", "deleting the namespace")
        self.cluster.close()

    def pause(self) -> None:
        # Between two looks at what another machine does; `patience` is the deadline.
        time.sleep(0.05)

    def _id(self, kind: str, name: str) -> ResourceId:
        return ResourceId("live", kind, str(Place(self.namespace, name)))

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        ports: Json = {"http": {"port": 80, "targetPort": "http", "protocol": "TCP"}}
        labels = {"app.kubernetes.io/name": name}
        match variant:
            case "changed":
                ports["http"]["port"] = 81
            case "more":
                ports["metrics"] = {"port": 90, "targetPort": 90, "protocol": "TCP"}
                labels["more"] = "1"
            case _:
                pass
        spec = {"type": "ClusterIP", "selector": {"reconciler.dev/service": name}, "ports": ports}
        return Desired(self._id("Service", name), {"metadata": {"labels": labels}, "spec": spec}, name)

    def awkward(self, name: str) -> Desired:
        plain = self.desired(name)
        spec: Json = {"type": "ClusterIP", "selector": {"b": "2", "a": "1"}}
        spec["ports"] = {"z": {"port": 90, "protocol": "TCP"}, "a": {"port": 80, "protocol": "TCP"}}
        return Desired(plain.id, {**plain.spec, "spec": spec}, name)

    def immutable(self, name: str, variant: str) -> Desired:
        labels = {"reconciler.dev/service": f"{name}-{variant}"}
        container = {"image": "example/none:1"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": {"scoring": container}}}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        made = {"metadata": {"labels": labels}, "spec": spec}
        return Desired(self._id("Deployment", name), made, name, rollout=Rollout(staged=False))

    def secret(self, name: str, text: str) -> Desired:
        spec = {"metadata": {"labels": {"a": "b"}}, "type": "Opaque", "data": {"TOKEN": seal(b"key", text)}}
        return Desired(self._id("Secret", name), spec, name)

    def hidden(self, id_: ResourceId) -> str:
        return base64.b64decode(self._get(id_)["data"]["TOKEN"]).decode()

    def invalid(self, name: str) -> Desired:
        plain = self.desired(name)
        return Desired(plain.id, {**plain.spec, "spec": {"type": "Nonsense"}}, name)

    def move(self, name: str) -> Desired:
        return self.desired(name)

    def writes(self) -> int:
        """What a write would change of anything of ours, as a number."""
        kept = [
            (one["metadata"]["uid"], one["metadata"]["managedFields"], one.get("spec"), one.get("data"))
            for kind in looked_at(())
            for page in self.cluster.listing(kind, self.namespace, INSTALLATION_LABEL)
            for one in page
        ]
        return int(digest(kept)[:12], 16)

    # -- by other hands

    def _path(self, id_: ResourceId) -> str:
        return KINDS[id_.kind].path(self.namespace, Place.of(id_.name).name)

    def _get(self, id_: ResourceId) -> Json:
        found = self.cluster.get(self._path(id_))
        assert found is not None
        return found

    def _merge(self, id_: ResourceId, body: Json) -> None:
        query = {"fieldManager": "kubectl-edit"}
        self.cluster.call("PATCH", self._path(id_), "by hand", query, body, "application/merge-patch+json")

    def edit(self, id_: ResourceId) -> str:
        self._merge(id_, {"spec": {"selector": {"reconciler.dev/service": "somebody"}}})
        return "/spec/selector/reconciler.dev~1service"

    def edit_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self._merge(id_, {"metadata": {"annotations": {"theirs": "1"}}})
        return lambda: self._get(id_)["metadata"]["annotations"].get("theirs") == "1"

    def touch(self, id_: ResourceId) -> None:
        self.edit_foreign(id_)

    def remove(self, id_: ResourceId) -> None:
        self.cluster.call("DELETE", self._path(id_), "by hand")

    def _post(self, id_: ResourceId, metadata: Json) -> None:
        name = Place.of(id_.name).name
        spec = {"ports": [{"name": "http", "port": 80}], "selector": {"theirs": "1"}}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, **metadata}, "spec": spec}
        self.cluster.call("POST", KINDS["Service"].path(self.namespace), "by hand", None, body)

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self._post(id_, {})
        before = self._get(id_)
        return lambda: self._get(id_) == before

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = id_._replace(name=id_.name + "-copy")
        metadata = self._get(id_)["metadata"]
        self._post(twin, {"labels": metadata["labels"], "annotations": metadata["annotations"]})
        return twin
