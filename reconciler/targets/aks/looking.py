"""What a cluster has: one paged list for each kind and namespace, pods where an object is not well, names elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import TargetError
from reconciler.core.resources import ResourceId
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import INSTALLATION, KINDS, MANAGED_BY, MANAGER, SERVICE, Kind, Place
from reconciler.targets.aks.parts import Json
from reconciler.targets.aks.refusals import UnknownKindError

_AT_ONCE = 8
# More than these are looked for by one list of names.
_FEW = 4
_PODS = Kind("Pod", "v1", "pods")
# What was listed, from how many pages, and what went wrong then.
_Listed: TypeAlias = tuple[list[Json], int, TargetError | None]


@dataclass
class Seen:
    """What one look found.

    Args:
        objects: By id.
        missing: Why it is not all, one line a list that could not be read.
        first: The first error, where nothing at all could be read.
    """

    objects: dict[ResourceId, Json] = field(default_factory=dict[ResourceId, Json])
    missing: list[str] = field(default_factory=list[str])
    first: TargetError | None = None
    read: int = 0


def look(
    cluster: Cluster,
    target: str,
    installation: str,
    namespaces: Iterable[str],
    kinds: Sequence[Kind],
    known: set[ResourceId],
) -> Seen:
    """Everything of some kinds with the installation's label, and whatever stands where known resources would."""
    seen = Seen()
    lists = [(kind, namespace) for namespace in sorted(namespaces) for kind in kinds]
    selector = f"{INSTALLATION}={installation}"

    def listed(at: tuple[Kind, str]) -> _Listed:
        return _listed(cluster, *at, selector)

    def known_of(job: tuple[Kind, str, list[ResourceId]]) -> Seen:
        return _known(cluster, *job)

    with ThreadPoolExecutor(min(_AT_ONCE, len(lists)), "observe") as pool:
        for (kind, namespace), found in zip(lists, pool.map(listed, lists), strict=True):
            _take(seen, target, kind, namespace, found)
        absent: dict[tuple[str, str], list[ResourceId]] = {}
        for id_ in known - seen.objects.keys():
            absent.setdefault((id_.kind, Place.of(id_.name).namespace), []).append(id_)
        jobs = [(KINDS[kind], namespace, ids) for (kind, namespace), ids in sorted(absent.items()) if kind in KINDS]
        for other in pool.map(known_of, jobs):
            seen.objects.update(other.objects)
            seen.missing += other.missing
    return seen


def pods_of(cluster: Cluster, namespace: str, service: str = "", label: str = SERVICE) -> list[Json]:
    """The pods of a service, or of all services of a namespace.

    Args:
        label: What says whose they are; `CANARY` for those of versions that are staged.

    Raises:
        TargetError: They cannot be read, which is not the same as that there are none.
    """
    selector = f"{MANAGED_BY}={MANAGER},{label}" + (f"={service}" if service else "")
    return [pod for page in cluster.listing(_PODS, namespace, selector) for pod in page]


def pods_for_words(cluster: Cluster, namespace: str, label: str) -> list[Json]:
    """The pods of all services of a namespace, for what is said of these; none where they cannot be read."""
    try:
        return pods_of(cluster, namespace, label=label)
    except TargetError:
        return []


def _listed(cluster: Cluster, kind: Kind, namespace: str, selector: str) -> _Listed:
    found: list[Json] = []
    pages = 0
    try:
        for page in cluster.listing(kind, namespace, selector):
            pages += 1
            found += page
    except TargetError as error:
        # What does not know a kind has none of it.
        if kind.addon and isinstance(error, UnknownKindError):
            return [], pages, None
        return found, pages, error
    return found, pages, None


def _take(seen: Seen, target: str, kind: Kind, namespace: str, found: _Listed) -> None:
    objects, pages, error = found
    seen.read += pages
    for one in objects:
        seen.objects[ResourceId(target, kind.name, str(Place(namespace, str(one["metadata"]["name"]))))] = one
    if error is not None:
        seen.missing.append(error.message)
        seen.first = seen.first or error


def _known(cluster: Cluster, kind: Kind, namespace: str, ids: Sequence[ResourceId]) -> Seen:
    """Those of some resources that are there, though they carry no label of ours."""
    seen = Seen()
    try:
        if len(ids) > _FEW:
            pages = cluster.listing(kind, namespace, names=True)
            there = {str(one["metadata"]["name"]) for page in pages for one in page}
            ids = [id_ for id_ in ids if Place.of(id_.name).name in there]
        for id_ in ids:
            one = cluster.get(kind.path(namespace, Place.of(id_.name).name))
            if one is not None:
                seen.objects[id_] = {"apiVersion": kind.api, "kind": kind.name, **one}
    except TargetError as error:
        if not (kind.addon and isinstance(error, UnknownKindError)):
            seen.missing.append(error.message)
    return seen
