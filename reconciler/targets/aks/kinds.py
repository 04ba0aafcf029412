"""The kinds of objects that services are made of: where the API has them, and which of their lists have keys.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/ for paths, and `x-kubernetes-list-map-keys`
of the published schema for the lists.
"""

from __future__ import annotations

from collections.abc import Collection

from reconciler.core.dataclass import dataclass

MANAGER = "reconciler"
# Writes a field for a moment so that it stays when we let go of it.
HANDOVER = "reconciler-handover"

MANAGED_BY = "app.kubernetes.io/managed-by"
APP_NAME = "app.kubernetes.io/name"
PREFIX = "reconciler.dev"
INSTALLATION = f"{PREFIX}/installation"
SERVICE = f"{PREFIX}/service"
MARK = f"{PREFIX}/mark"
KEYS = f"{PREFIX}/keys"
# On the pods of a version that is staged: whose they are, and of which version.
CANARY = f"{PREFIX}/canary"
VERSION = f"{PREFIX}/version"
# On the Deployment of a version that is staged: how far it is.
STAGED = f"{PREFIX}/staged"
VARIABLES = f"{PREFIX}/variables"

PORT = 5001
CONTAINER = "scoring"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object.

    Args:
        api: Group and version (`apps/v1`).
        plural: Its name in paths.
        keyed: Lists whose items have a key, outer ones first: the path (`*` for any item) and the key's field.
        addon: Not every cluster knows it: it comes with what is installed there.
    """

    name: str
    api: str
    plural: str
    keyed: tuple[tuple[tuple[str, ...], str], ...] = ()
    addon: bool = False

    def path(self, namespace: str, name: str = "") -> str:
        """Of the collection, or of one object in it."""
        root = "/api/v1" if self.api == "v1" else f"/apis/{self.api}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")

    @property
    def resource(self) -> str:
        """As in rules of access (`deployments.apps`)."""
        group = self.api.rpartition("/")[0]
        return f"{self.plural}.{group}" if group else self.plural


_POD = ("spec", "template", "spec")
_EACH = (*_POD, "containers", "*")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("ServiceAccount", "v1", "serviceaccounts", ((("imagePullSecrets",), "name"),)),
        Kind("Secret", "v1", "secrets"),
        Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
        Kind("Service", "v1", "services", ((("spec", "ports"), "name"),)),
        Kind(
            "Deployment",
            "apps/v1",
            "deployments",
            (
                ((*_POD, "containers"), "name"),
                ((*_EACH, "env"), "name"),
                ((*_EACH, "ports"), "name"),
                ((*_EACH, "volumeMounts"), "mountPath"),
                ((*_POD, "volumes"), "name"),
                ((*_POD, "topologySpreadConstraints"), "topologyKey"),
            ),
        ),
        Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
        Kind("ScaledObject", "keda.sh/v1alpha1", "scaledobjects", addon=True),
        Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
        Kind("Ingress", "networking.k8s.io/v1", "ingresses"),
    )
}


def looked_at(more: Collection[str]) -> list[Kind]:
    """The kinds that a cluster is asked for: those that all clusters know, and some more by their names."""
    return [kind for kind in KINDS.values() if not kind.addon or kind.name in more]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object stands.

    A resource is named `namespace:object`, so that what is moved to another namespace is another resource, and what
    stands in the one before is found and taken away.
    """

    namespace: str
    name: str

    @classmethod
    def of(cls, resource_name: str) -> Place:
        """The place that a resource's name says.

        Raises:
            ValueError: It is no name of an object: nothing may ever stand for a whole namespace.
        """
        namespace, _, name = resource_name.partition(":")
        if not namespace or not name:
            raise ValueError(f"'{resource_name}' is no namespace and name")
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}:{self.name}"
