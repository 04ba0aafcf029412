"""What Kubernetes clusters need: which images they pull, the kubeconfig, and secrets at the moment of writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.deployment import Target
    from reconciler.engine.secrets import Keyring
    from reconciler.settings import Settings
    from reconciler.targets.aks.attached import AttachedCluster
    from reconciler.targets.aks.driver import AksDriver
    from reconciler.targets.aks.render import AksRenderer, Images


def aks_renderer(target: Target, settings: Settings | None) -> AksRenderer:
    """The half of a cluster's driver that offline plans need."""
    from reconciler.targets.aks.render import AksRenderer

    return AksRenderer(target.name, _images(settings, certain=settings is not None))


def aks_driver(target: Target, settings: Settings | None, keyring: Keyring, id_: str) -> AksDriver:
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
    secrets = Secrets(keyring.reveal, keyring.seal)
    return AksDriver(target.name, id_, cluster, secrets, _images(settings, certain=True), namespace, kinds)


def _attached(target: Target, settings: Settings | None) -> AttachedCluster | None:
    from reconciler.targets.aks.attached import AttachedCluster, ClusterId

    found = ClusterId.of(target.block, settings.azure.subscription if settings is not None else "")
    if found is None:
        return None
    from reconciler.azure.login import credential_of
    from reconciler.wiring.operator import azure_login

    login = azure_login(settings, os.environ)
    return AttachedCluster(
        found,
        lambda: credential_of(login),
        management=login.management,
        transport=login.transport,
        allowed=settings.kubernetes.clusters if settings is not None else None,
    )


def _images(settings: Settings | None, *, certain: bool) -> Images:
    from reconciler.targets.aks.render import Images
    from reconciler.wiring.containers import naming

    named = naming(settings)
    return Images(named.default_base, named.registry, certain)
