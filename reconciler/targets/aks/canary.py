"""The second Deployment that a new version stands in beside the one before: what it says, and how it is read. Pure.

Hidden, its pods lack the label that the Service selects by, so that the service's tests reach them and nobody else
does. With a share they have it, and get as many of the requests as they are of all pods. Its own selector finds no
other pods; that of the one before finds these, too, which is without effect: pods and ReplicaSets have an owner.
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#selector
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass, replace
from reconciler.core.diff import equal
from reconciler.core.resources import Desired, Health, Mark, Observed, ResourceId, Staged
from reconciler.targets.aks.form import Secrets, mark_of, spec_of, to_object
from reconciler.targets.aks.health import State
from reconciler.targets.aks.kinds import CANARY, SERVICE, STAGED, VERSION, Place
from reconciler.targets.aks.parts import Json, part, parts

_DIGITS = 16
# Percentage points within which a share is about what is asked for.
NEAR = 5


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a staged version is; the cluster keeps it, so that it outlives whoever moves it on.

    Args:
        digest: Of its spec.
        share: The percentage of the requests that it is to get; 0 while it is hidden.
        since: Unix time in seconds from which on it got that; 0 before.
    """

    digest: str
    share: int = 0
    since: float = 0.0


_END = ".canary"


def canary_of(id_: ResourceId) -> ResourceId:
    """Where a Deployment's new version is staged: a dot, since no service's name has one."""
    return id_._replace(name=f"{id_.name}{_END}")


def is_canary(id_: ResourceId, found: Mapping[str, Any]) -> bool:
    """Whether a version is staged in an object: what serves is none, whatever a hand wrote on it."""
    return id_.name.endswith(_END) and stage_of(found) is not None


def replicas_for(share: int, beside: int) -> int:
    """How many pods get a share of the requests, on top of those of the version before."""
    return max(1, math.ceil(beside * share / (100 - share)))


def share_of(count: int, beside: int) -> float:
    """The percentage of the requests that so many pods get on top of those of the version before."""
    return 100 * count / (count + beside)


def rounded(shares: Sequence[int], beside: int) -> list[tuple[int, float]]:
    """The shares that come about noticeably greater than they are asked for, since pods are whole, with what they are.

    Args:
        beside: How many pods the version before has.
    """
    real = [(share, share_of(replicas_for(share, beside), beside)) for share in shares]
    return [(share, there) for share, there in real if there - share > NEAR]


def enough_for(shares: Sequence[int], more_than: int) -> int:
    """The next greater number of pods of the version before with which all shares are about what is asked for."""
    count = more_than + 1
    while rounded(shares, count):
        count += 1
    return count


def told_of(stage: Stage, twin: Json, main: Mapping[str, Any]) -> str:
    """What share a staged version has, in words, with what that is by the pods.

    Args:
        main: The Deployment that serves.
    """
    count, beside = (int(part(one, "spec").get("replicas", 1)) for one in (twin, main))
    real = share_of(count, beside)
    asked = f"{stage.share} % of the requests"
    return (
        asked if abs(real - stage.share) <= NEAR else f"{asked} ({real:.0f} % by its {count} of {count + beside} pods)"
    )


def stage_of(found: Mapping[str, Any]) -> Stage | None:
    """What a Deployment says of the version that is staged in it; None if it is none of these."""
    text = part(found, "metadata", "annotations").get(STAGED)
    if text is None:
        return None
    try:
        data = cast("Json", json.loads(str(text)))
        stage = Stage(str(data["digest"]), int(data["share"]), float(data["since"]))
    except (ValueError, TypeError, KeyError, OverflowError):
        stage = Stage("", -1)
    # Written by hand, it is none of the versions there may be.
    return stage if 0 <= stage.share < 100 else Stage("")


def is_ours(id_: ResourceId, found: Mapping[str, Any], installation: str) -> bool:
    """Whether what stands where a version would be staged is one of this installation's."""
    return Observed(canary_of(id_), {}, mark_of(found)).owned_by(installation)


def form(id_: ResourceId, desired: Desired, mark: Mark, main: Json, stage: Stage, secrets: Secrets) -> Json:
    """The second Deployment as it is sent to the API.

    Args:
        id_: Of the one that serves.
        main: What that is like: it takes this one with it when it goes.
    """
    twin = canary_of(id_)
    service = Place.of(id_.name).name
    made = to_object(twin, desired.spec, replace(mark, self_ref=str(twin)), secrets)
    metadata = cast("Json", made["metadata"])
    metadata["annotations"][STAGED] = json.dumps(
        {"digest": stage.digest, "share": stage.share, "since": stage.since}, sort_keys=True
    )
    owner = {key: main[key] for key in ("apiVersion", "kind")} | {key: main["metadata"][key] for key in ("name", "uid")}
    metadata["ownerReferences"] = [owner]
    labels = cast("Json", made["spec"]["template"]["metadata"]["labels"])
    labels |= {CANARY: service, VERSION: stage.digest[:_DIGITS]}
    if not stage.share:
        labels.pop(SERVICE, None)
    made["spec"]["selector"] = {"matchLabels": {CANARY: service}}
    count = replicas_for(stage.share, int(part(main, "spec").get("replicas", 1))) if stage.share else 1
    made["spec"]["replicas"] = count
    return made


def stands(sent: Json, found: Json, secrets: Secrets) -> bool:
    """Whether all that would be sent is there, whatever others added."""
    there = spec_of(found, secrets)
    uids = [[one.get("uid") for one in parts(each, "metadata", "ownerReferences")] for each in (sent, found)]
    return _covers(spec_of(sent, secrets), there) and uids[0] == uids[1]


def _covers(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, Mapping):
        inner = cast("Mapping[str, Any]", wanted)
        return isinstance(there, Mapping) and all(
            key in there and _covers(value, cast("Mapping[str, Any]", there)[key]) for key, value in inner.items()
        )
    return equal(wanted, there)


def is_of(pod: Mapping[str, Any], stage: Stage) -> bool:
    """Whether a pod is of the staged version, and there to stay: one that was evicted is kept, but runs no more."""
    metadata = part(pod, "metadata")
    ends = metadata.get("deletionTimestamp") or part(pod, "status").get("phase") in ("Failed", "Succeeded")
    return part(metadata, "labels").get(VERSION) == stage.digest[:_DIGITS] and not ends


def staged_of(found: Json, state: State, reason: str) -> Staged | None:
    """What a look says of a staged version; None if there is none, or if it is going.

    Args:
        reason: Of its state, with what its log says.
    """
    stage = stage_of(found)
    if stage is None or found["metadata"].get("deletionTimestamp"):
        return None
    # Scaled to none or paused by hand, it does not come to anything by itself.
    health = Health.DEGRADED if state.health is Health.SUSPENDED else state.health
    return Staged(stage.digest, health, reason, stage.share)
