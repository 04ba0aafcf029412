"""Between the driver's normal form and what the API takes and gives.

The normal form has the API's own words, and one spelling where the API has several: lists whose items have keys are
maps, quantities are canonical, an image and its digest stand apart, and what is a secret is one. What an object
carries of us (mark, installation, the fingerprints of secrets) is no part of it.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.resources import Mark, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec, Value
from reconciler.targets.aks.kinds import INSTALLATION, KEYS, KINDS, MARK, VARIABLES, Kind, Place
from reconciler.targets.aks.objects import KEYS_FILE
from reconciler.targets.aks.parts import Json, each, part, parts
from reconciler.targets.aks.quantity import canonical

_DOCKER = ".dockerconfigjson"
_CONTAINERS = ("spec", "template", "spec", "containers", "*")
_LEFT_OUT = ("apiVersion", "kind", "status", "metadata")
# What controllers and tools write there is about the object, not of it.
_THEIR_ANNOTATIONS = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")


@dataclass(frozen=True, slots=True)
class Secrets:
    """How texts become secrets and back.

    Args:
        reveal: The text of a secret, or of a reference to one.
        seal: Makes a secret of a text, by which what the API reports is compared.
    """

    reveal: Callable[[Secret | SecretRef], str]
    seal: Callable[[str], Secret]


# -- to the API


def to_object(id_: ResourceId, spec: Spec, mark: Mark, secrets: Secrets) -> Json:
    """What is sent to the API."""
    kind, place = KINDS[id_.kind], Place.of(id_.name)
    made = cast("Json", _copied(spec))
    metadata = cast("Json", made.pop("metadata", {}))
    annotations = metadata.setdefault("annotations", {})
    annotations[MARK] = json.dumps(mark.to_json(), sort_keys=True, separators=(",", ":"))
    metadata.setdefault("labels", {})[INSTALLATION] = mark.installation
    if kind.name == "Secret":
        _fill_secret(made, annotations, secrets)
    if kind.name == "Deployment":
        _fill_workload(made, secrets)
    _as_lists(kind, made)
    head = {"apiVersion": kind.api, "kind": kind.name}
    return {**head, "metadata": {"name": place.name, "namespace": place.namespace, **metadata}, **made}


def _copied(value: Value) -> Any:
    """Mutable, secrets as they are."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in cast("Mapping[str, Value]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_copied(inner) for inner in cast("list[Value]", value)]
    return value


def _fill_secret(made: Json, annotations: Json, secrets: Secrets) -> None:
    texts: dict[str, str] = {
        name: value if isinstance(value, str) else secrets.reveal(value) for name, value in made.pop("data", {}).items()
    }
    if auth := made.pop("auth", None):
        entries: list[Json] = []
        known: Json = {}
        for slot, key in sorted(auth["keys"].items()):
            text = secrets.reveal(key)
            digest = hashlib.sha256(text.encode()).hexdigest()
            entries.append({"slot": slot, "sha256": digest})
            known[slot] = [secrets.seal(text).fingerprint, digest]
        texts[KEYS_FILE] = json.dumps({"keys": entries})
        annotations[KEYS] = json.dumps(known, sort_keys=True)
    if registries := made.pop("registries", None):
        texts[_DOCKER] = json.dumps({"auths": {where: _login(one, secrets) for where, one in registries.items()}})
    made["data"] = {name: base64.b64encode(text.encode()).decode() for name, text in sorted(texts.items())}


def _login(credentials: Mapping[str, Any], secrets: Secrets) -> Json:
    user, password = (
        value if isinstance(value, str) else secrets.reveal(value)
        for value in (credentials["username"], credentials["password"])
    )
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"username": user, "password": password, "auth": both}


def _fill_workload(made: Json, secrets: Secrets) -> None:
    variables = made.pop("secretVariables", None)
    if variables:
        known = {name: secrets.seal(secrets.reveal(value)).fingerprint for name, value in sorted(variables.items())}
        template = cast("Json", made["spec"]["template"]["metadata"])
        template.setdefault("annotations", {})[VARIABLES] = json.dumps(known, sort_keys=True)
    for container in each(made, _CONTAINERS):
        digest = container.pop("imageDigest", None)
        if digest:
            container["image"] = f"{container['image']}@{digest}"


def _as_lists(kind: Kind, made: Json) -> None:
    for path, key in reversed(kind.keyed):
        for parent in each(made, path[:-1]):
            items = parent.get(path[-1])
            if isinstance(items, dict):
                keyed = cast("dict[str, Json]", items)
                parent[path[-1]] = [{key: name, **item} for name, item in keyed.items()]


# -- from the API


def mark_of(found: Mapping[str, Any]) -> Mark | None:
    """The mark that an object carries."""
    data = _json(str(part(found, "metadata", "annotations").get(MARK, "")))
    return Mark.from_json(data) if data else None


def spec_of(found: Mapping[str, Any], secrets: Secrets) -> Spec:
    """An object in normal form."""
    kind = KINDS[str(found["kind"])]
    made = copy.deepcopy({key: value for key, value in found.items() if key not in _LEFT_OUT})
    written = part(found, "metadata", "annotations")
    labels = {k: v for k, v in part(found, "metadata", "labels").items() if k != INSTALLATION}
    ours = (MARK, KEYS, *_THEIR_ANNOTATIONS)
    annotations = {k: v for k, v in written.items() if k not in ours}
    told = {"labels": labels, "annotations": annotations}
    made["metadata"] = {key: value for key, value in told.items() if value}
    _as_maps(kind, made)
    if kind.name == "Secret":
        _read_secret(made, written, secrets)
    if kind.name == "Deployment":
        _read_workload(made)
    return made


def _as_maps(kind: Kind, made: Json) -> None:
    for path, key in kind.keyed:
        for parent in each(made, path[:-1]):
            items = parent.get(path[-1])
            if isinstance(items, list):
                parent[path[-1]] = keyed(cast("list[Json]", items), key)


def keyed(items: list[Json], key: str) -> dict[str, Json]:
    """A list's items by their key; those without one, which are not ours, by their place."""
    found: dict[str, Json] = {}
    for index, item in enumerate(items):
        name = str(item.get(key) or f"#{index}")
        found[name if name not in found else f"#{index}"] = {k: v for k, v in item.items() if k != key}
    return found


def _read_workload(made: Json) -> None:
    template = cast("Json", made["spec"]["template"].get("metadata") or {})
    annotations = cast("Json", template.get("annotations") or {})
    known = _json(annotations.pop(VARIABLES, ""))
    if known:
        made["secretVariables"] = {name: Secret(str(value)) for name, value in known.items()}
    if "annotations" in template and not annotations:
        del template["annotations"]
    for container in each(made, _CONTAINERS):
        image, _, digest = str(container.get("image") or "").partition("@")
        container["image"] = image
        if digest:
            container["imageDigest"] = digest
        for side in ("requests", "limits"):
            amounts = part(container, "resources", side)
            amounts.update({name: canonical(amount) for name, amount in amounts.items()})


def _read_secret(made: Json, annotations: Mapping[str, Any], secrets: Secrets) -> None:
    data = {name: _text(value) for name, value in cast("dict[str, str]", made.pop("data", None) or {}).items()}
    if KEYS in annotations and KEYS_FILE in data:
        made["auth"] = {"enabled": True, "keys": _keys(data.pop(KEYS_FILE), _json(annotations[KEYS]), secrets)}
    if _DOCKER in data:
        auths = part(_json(data.pop(_DOCKER)), "auths")
        made["registries"] = {
            where: {
                "username": str(part(auths, where).get("username") or ""),
                "password": secrets.seal(str(part(auths, where).get("password") or "")),
            }
            for where in auths
        }
    if data:
        made["data"] = {name: secrets.seal(text) for name, text in sorted(data.items())}


def _keys(text: str, known: Mapping[str, Any], secrets: Secrets) -> dict[str, Secret]:
    """Digests of keys as the secrets that they were made from; those that are others are secrets of their own."""
    found: dict[str, Secret] = {}
    for entry in parts(_json(text), "keys"):
        slot, digest = str(entry.get("slot")), str(entry.get("sha256"))
        fingerprint, ours = known.get(slot) or ("", "")
        found[slot] = Secret(str(fingerprint)) if digest == ours else secrets.seal(digest)
    return found


def _text(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _json(text: str) -> Json:
    try:
        data: object = json.loads(text)
    except ValueError:
        return {}
    return cast("Json", data) if isinstance(data, dict) else {}
