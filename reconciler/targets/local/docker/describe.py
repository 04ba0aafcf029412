"""A container in the words of manifests, be it ours or anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.core.described import Described, Unsaid
from reconciler.core.resources import Observed
from reconciler.targets.local.docker.config import PORT, section
from reconciler.targets.local.docker.foreign import unsaid_of
from reconciler.targets.local.docker.look import Container
from reconciler.targets.local.docker.render import SERVING_NETWORK
from reconciler.targets.local.inverse import deployment_of, models_of


def described(container: Container, observed: Observed, image: Mapping[str, Any], name: str) -> Described:
    """The service that a container is.

    Args:
        image: As the engine inspects it; empty if it is gone.
        name: What the service's own container is called.
    """
    spec: Mapping[str, Any] = observed.spec
    networks = list(spec.get("networks") or ())
    block = {
        "restart": spec.get("restart"),
        "readOnly": spec.get("readOnly"),
        "gpus": _text(section(spec, "limits").get("gpus")),
        "networks": None if networks == [SERVING_NETWORK] else networks,
        "volumes": spec.get("volumes"),
        "tlsCertFile": section(spec, "tls").get("certFile"),
        "tlsKeyFile": section(spec, "tls").get("keyFile"),
    }
    steps: list[str] = []
    files = [*(str(volume["source"]) for volume in spec.get("volumes") or ()), *section(spec, "tls").values()]
    if files:
        listed = ", ".join(files)
        steps.append(f"let services have {listed} (docker.volumes in the settings), if they are not allowed yet")
    unsaid = () if observed.mark is not None else tuple(unsaid_of(container, image))
    if spec.get("port") == 0:
        unsaid += (
            Unsaid(f"port {PORT}/tcp is not published", "services answer there: a new container takes its place"),
        )
    if container.name != name:
        unsaid += (Unsaid(f"its name: {container.name}", f"adopting it renames it to {name}, and does not restart it"),)
    return Described(
        observed,
        {**deployment_of(spec, block), "port": spec.get("port") or None},
        models_of(spec),
        auth=bool(section(spec, "auth").get("enabled")),
        image=str(spec.get("image") or ""),
        built=not spec.get("readyMade"),
        unsaid=unsaid,
        steps=tuple(steps),
    )


def _text(value: Any) -> Any:
    return str(value) if value is not None else None
