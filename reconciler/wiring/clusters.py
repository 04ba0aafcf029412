"""What Kubernetes clusters need: which images they pull, the kubeconfig, and secrets at the moment of writing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.deployment import Target
    from reconciler.core.driver import Right
    from reconciler.engine.secrets import Keyring
    from reconciler.settings import Settings
    from reconciler.targets.aks.attached import AttachedCluster
    from reconciler.targets.aks.clusters.driver import ClustersDriver
    from reconciler.targets.aks.containerservice import ContainerService
    from reconciler.targets.aks.driver import AksDriver
    from reconciler.targets.aks.leading import LeaseElection
    from reconciler.targets.aks.render import AksRenderer, Images


def aks_renderer(target: Target, settings: Settings | None) -> AksRenderer:
    """The half of a cluster's driver that offline plans need."""
    from reconciler.targets.aks.render import AksRenderer

    return AksRenderer(target.name, _images(settings, certain=settings is not None))


def aks_driver(target: Target, settings: Settings | None, keyring: Keyring, id_: str, cache: Path) -> AksDriver:
    """The driver of a cluster; it is reached when it is first asked."""
    from reconciler.targets.aks.api import Cluster
    from reconciler.targets.aks.driver import AksDriver
    from reconciler.targets.aks.form import Secrets

    own = settings.kubernetes if settings is not None else None
    cluster = Cluster(
        target.name,
        kubeconfig=own.kubeconfig if own else "",
        context=str(target.block.get("kubeContext") or ""),
        allowed=own.contexts if own else None,
        attached=_attached(target, settings),
    )
    namespace = str(target.block["namespace"])
    kinds = ("ScaledObject",) if target.block["autoscaler"] == "keda" else ()
    sealing = Secrets(keyring.reveal, keyring.seal)
    images, more = _images(settings, certain=True), _leader_rights(target, settings)
    return AksDriver(
        target.name, id_, cluster, sealing, images, namespace, kinds, more, cache / "verified" / f"{target.name}.json"
    )


def leader_election(settings: Settings | None) -> LeaseElection | None:
    """What several daemons agree by on the one that applies; None where the settings ask for nothing."""
    lease = settings.kubernetes.leader_lease if settings is not None else None
    if settings is None or lease is None or not lease.namespace:
        return None
    import secrets
    import socket

    from reconciler.engine.clock import SystemClock
    from reconciler.targets.aks.api import Cluster
    from reconciler.targets.aks.leading import LeaseElection, Times

    clock, times = SystemClock(), Times()
    kubeconfig = settings.kubernetes.kubeconfig
    cluster = Cluster("leader lease", kubeconfig=kubeconfig, context=lease.context, patience=times.deadline / 2)
    identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    return LeaseElection(cluster, lease.namespace, lease.name, identity, clock.monotonic, clock.now, times)


def _leader_rights(target: Target, settings: Settings | None) -> Sequence[Right]:
    """Those of the Lease, where it is in the cluster that the target means."""
    from reconciler.targets.aks.attached import ClusterId

    lease = settings.kubernetes.leader_lease if settings is not None else None
    if lease is None or not lease.namespace or ClusterId.of(target.block, "") is not None:
        return ()
    if lease.context != str(target.block.get("kubeContext") or ""):
        return ()
    from reconciler.targets.aks.leading import lease_rights

    return lease_rights(lease.namespace)


def _attached(target: Target, settings: Settings | None) -> AttachedCluster | None:
    from reconciler.targets.aks.attached import AttachedCluster, ClusterId

    found = ClusterId.of(target.block, settings.azure.subscription if settings is not None else "")
    if found is None:
        return None
    allowed = settings.kubernetes.clusters if settings is not None else None
    made = target.block.get("create") is not None
    return AttachedCluster(found, _container_service(settings), allowed=allowed, made=made)


def clusters_driver(settings: Settings | None, id_: str) -> ClustersDriver:
    """The driver of clusters that targets ask for; Azure is asked when there are some."""
    from reconciler.targets.aks.clusters.driver import ClustersDriver

    subscription = settings.azure.subscription if settings is not None else ""
    allowed = settings.kubernetes.clusters if settings is not None else None
    return ClustersDriver(lambda: _container_service(settings), id_, subscription, allowed)


def _container_service(settings: Settings | None) -> ContainerService:
    from reconciler.azure.login import credential_of
    from reconciler.targets.aks.containerservice import ContainerService
    from reconciler.wiring.operator import azure_login

    login = azure_login(settings, os.environ)
    return ContainerService(lambda: credential_of(login), management=login.management, transport=login.transport)


def _images(settings: Settings | None, *, certain: bool) -> Images:
    from reconciler.targets.aks.render import Images
    from reconciler.wiring.containers import naming

    named = naming(settings)
    return Images(named.default_base, named.registry, certain)
