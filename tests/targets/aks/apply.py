"""Server-side apply of the stand-in: objects as flat maps from places to values, and which manager has which place.

Follows https://kubernetes.io/docs/reference/using-api/server-side-apply/ as far as the driver's objects need it.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Path = tuple[str, ...]

# The lists that have keys; all others are atomic.
LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "finalizers": (),
}
ATOMIC_MAPS = {"selector", "podSelector", "scaleTargetRef", "labelSelector", "secretKeyRef"}


def list_key(path: Path) -> tuple[str, ...]:
    """The key of the items of a list at a path; empty for an atomic one."""
    if path and path[-1] == "f:ports":
        if "f:containers" in path:
            return ("containerPort", "protocol")
        return ("port", "protocol") if path[:2] == ("f:spec", "f:ports") else ()
    return LIST_KEYS.get(path[-1][2:], ()) if path else ()


def flatten(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Places and values; a map or a keyed item that is there has a place of its own."""
    found: dict[Path, Any] = {}
    atomic = bool(path) and path[-1][2:] in ATOMIC_MAPS
    if isinstance(value, dict) and not atomic:
        if path and (not value or path[-1].startswith("k:")):
            found[path] = {}
        for key, inner in value.items():
            found |= flatten(inner, (*path, f"f:{key}"))
        return found
    keys = list_key(path) if isinstance(value, list) else ()
    if keys:
        for item in value:
            full = {"protocol": "TCP", **item} if "protocol" in keys else item
            name = json.dumps({key: full[key] for key in keys}, separators=(",", ":"), sort_keys=True)
            found |= flatten(item, (*path, f"k:{name}"))
        return found
    found[path] = copy.deepcopy(value)
    return found


def inflate(flat: dict[Path, Any]) -> dict[str, Any]:
    """The object that places and values describe."""
    root: dict[str, Any] = {}
    for path, value in flat.items():
        current: Any = root
        for index, step in enumerate(path):
            last = index == len(path) - 1
            keyed = not last and path[index + 1].startswith("k:")
            if step.startswith("k:"):
                wanted = json.loads(step[2:])
                item = next((i for i in current if all(i.get(k) == v for k, v in wanted.items())), None)
                if item is None:
                    item = dict(wanted)
                    current.append(item)
                current = item
            elif last:
                if not (value == {} and isinstance(current.get(step[2:]), dict)):
                    current[step[2:]] = copy.deepcopy(value)
            else:
                current = current.setdefault(step[2:], [] if keyed else {})
    return root


def fields_v1(paths: set[Path]) -> dict[str, Any]:
    """The tree of places that `managedFields` has."""
    root: dict[str, Any] = {}
    for path in sorted(paths):
        current = root
        for step in path:
            current = current.setdefault(step, {})
            if step.startswith("k:"):
                current.setdefault(".", {})
    return root


def spelled(path: Path) -> str:
    """A place as conflicts name it."""
    text = ""
    for step in path:
        if step.startswith("k:"):
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(step[2:]).items()) + "]"
        else:
            text += f".{step[2:]}"
    return text


class Conflict(Exception):
    """Others have some of the places."""

    def __init__(self, places: list[tuple[Path, str]]) -> None:
        super().__init__(str(places))
        self.places = places


class Owned:
    """An object's own fields and who has them."""

    def __init__(self) -> None:
        self.flat: dict[Path, Any] = {}
        self.managers: dict[str, set[Path]] = {}

    def copy(self) -> Owned:
        """The same, apart."""
        other = Owned()
        other.flat = dict(self.flat)
        other.managers = {name: set(paths) for name, paths in self.managers.items()}
        return other

    def apply(self, body: dict[str, Any], manager: str, *, force: bool) -> None:
        """Takes a whole configuration from a manager.

        Raises:
            Conflict: Without `force`, where others have places whose values would change.
        """
        wanted = flatten(body)
        others = [(name, paths) for name, paths in self.managers.items() if name != manager]
        conflicts = [
            (path, name)
            for path, value in wanted.items()
            for name, paths in others
            if path in paths and self.flat.get(path) != value
        ]
        if conflicts and not force:
            raise Conflict(conflicts)
        for path, name in conflicts:
            self.managers[name].discard(path)
        for path in self.managers.get(manager, set()) - wanted.keys():
            if not any(path in paths for _, paths in others):
                self.flat.pop(path, None)
        self.flat |= wanted
        self.managers[manager] = set(wanted)

    def update(self, path: Path, value: Any, manager: str) -> None:
        """One place written by hand (`Update`): it is the writer's now."""
        for paths in self.managers.values():
            paths.discard(path)
        self.flat[path] = value
        self.managers.setdefault(manager, set()).add(path)

    def merge(self, patch: Any, path: Path = ()) -> None:
        """The removals of a strategic merge patch."""
        if patch is None or (isinstance(patch, dict) and patch.get("$patch") == "delete"):
            for place in [p for p in self.flat if p[: len(path)] == path]:
                del self.flat[place]
                for paths in self.managers.values():
                    paths.discard(place)
        elif isinstance(patch, dict):
            for key, inner in patch.items():
                self.merge(inner, (*path, f"f:{key}"))
        elif isinstance(patch, list):
            for item in patch:
                name = json.dumps({k: item[k] for k in list_key(path)}, separators=(",", ":"), sort_keys=True)
                self.merge({k: v for k, v in item.items() if k not in list_key(path)}, (*path, f"k:{name}"))
