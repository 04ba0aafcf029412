"""How an object is, in words, for the version that is wanted now: from its status, and from its pods' where it has any.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.core.dataclass import dataclass
from reconciler.core.resources import Health
from reconciler.targets.aks.fields import seconds_of
from reconciler.targets.aks.parts import Json, part, parts

_REPLICA_SET = re.compile(r'ReplicaSet "[^"]*-([a-z0-9]+)"')
# Waiting for one of these does not help by itself, or has been waited for.
_STUCK = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)
_MOST_WORDS = 400
PAUSED = "paused by hand"


@dataclass(frozen=True, slots=True)
class State:
    """How an object is.

    Args:
        settled: What was last asked of it has come about, or has failed.
        stuck: Waiting does not help by itself.
        crashed: Name of the pod whose log says why, if one ended.
    """

    health: Health
    reason: str = ""
    settled: bool = True
    stuck: bool = False
    busy: bool = False
    crashed: str = ""


def state_of(found: Json, pods: Sequence[Json] = ()) -> State:
    """How an object is.

    Args:
        pods: Of a Deployment, those that its selector finds.
    """
    metadata, status = part(found, "metadata"), part(found, "status")
    if metadata.get("deletionTimestamp"):
        held = [str(one) for one in metadata.get("finalizers") or () if one != "foregroundDeletion"]
        why = f"being deleted, held by {', '.join(held)}" if held else "being deleted"
        return State(Health.PROGRESSING, why, settled=False, busy=True)
    match found.get("kind"):
        case "Deployment":
            return _deployment(found, pods)
        case "Service" if part(found, "spec").get("type") == "LoadBalancer":
            if not part(status, "loadBalancer").get("ingress"):
                return State(Health.PROGRESSING, "no address has been given to its load balancer yet")
        case "ScaledObject":
            ready = _condition(status, "Ready")
            if ready.get("status") == "False":
                return State(Health.DEGRADED, f"KEDA cannot scale by it: {_words(ready)}")
        case "HorizontalPodAutoscaler":
            able = _condition(status, "AbleToScale")
            if able.get("status") == "False":
                return State(Health.DEGRADED, f"it cannot scale: {_words(able)}")
        case _:
            pass
    return State(Health.HEALTHY)


def is_held(found: Json) -> bool:
    """Whether a Deployment was paused by hand, which keeps a new version from being rolled out."""
    return bool(part(found, "spec").get("paused"))


def resuming(found: Json) -> str:
    """The command that lets a Deployment that was paused go on."""
    metadata = part(found, "metadata")
    return f"`kubectl rollout resume deployment/{metadata.get('name')} -n {metadata.get('namespace')}`"


def needs_pods(found: Json) -> bool:
    """Whether only its pods can say why an object is as it is."""
    return found.get("kind") == "Deployment" and state_of(found).health not in (Health.HEALTHY, Health.SUSPENDED)


def is_ready(pod: Json) -> bool:
    """Whether a pod takes requests, and goes on to."""
    ready = _condition(part(pod, "status"), "Ready").get("status") == "True"
    return ready and not part(pod, "metadata").get("deletionTimestamp")


def unready_since(pod: Json) -> float | None:
    """Since when a pod takes no requests, in Unix time by the cluster's clock; None where it does, or tells no time."""
    if is_ready(pod):
        return None
    moved = _condition(part(pod, "status"), "Ready").get("lastTransitionTime")
    return seconds_of(str(moved or part(pod, "metadata").get("creationTimestamp") or ""))


def _deployment(found: Json, pods: Sequence[Json]) -> State:
    spec, status, metadata = part(found, "spec"), part(found, "status"), part(found, "metadata")
    wanted = int(spec.get("replicas", 1))
    progressing, available = _condition(status, "Progressing"), _condition(status, "Available")
    paused = f"{PAUSED}: {resuming(found)} lets it go on" if is_held(found) else ""
    if int(status.get("observedGeneration") or 0) < int(metadata.get("generation") or 0):
        return State(Health.PROGRESSING, paused or "the cluster has not begun with it", settled=False)
    if paused:
        # Its conditions say nothing else then than that it is paused.
        news = int(status.get("updatedReplicas") or 0)
        through = news >= wanted and int(status.get("replicas") or 0) <= max(news, wanted)
        what = paused if through else f"{paused}; {min(news, wanted)} of {wanted} replicas are new"
        return State(Health.SUSPENDED, what, settled=through)
    failure = _condition(status, "ReplicaFailure")
    if failure.get("status") == "True":
        return State(Health.DEGRADED, f"no pod can be made: {_words(failure)}", stuck=True)
    for condition in (progressing, available):
        if condition and condition.get("status") not in ("True", "False"):
            return State(Health.UNKNOWN, f"the cluster says '{condition.get('status')}' of {condition.get('type')}")
    why, stuck, crashed = _why(pods, progressing)
    if progressing.get("status") == "False":
        return State(Health.DEGRADED, why or _words(progressing), stuck=True, crashed=crashed)
    updated, ready = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
    total = int(status.get("replicas") or 0)
    rolled_out = (
        progressing.get("reason") == "NewReplicaSetAvailable" and updated >= wanted and total <= max(updated, wanted)
    )
    if not rolled_out:
        if stuck:
            return State(Health.DEGRADED, why, stuck=True, crashed=crashed)
        count = f"{min(updated, wanted)} of {wanted} replicas are new, {ready} available"
        return State(Health.PROGRESSING, f"{count}; {why}" if why else count, settled=False)
    if wanted == 0:
        return State(Health.SUSPENDED, "scaled to no replicas")
    if ready >= wanted:
        return State(Health.HEALTHY)
    count = f"{ready} of {wanted} replicas available"
    reason = f"{count}; {why}" if why else count
    health = Health.PROGRESSING if ready and not stuck else Health.DEGRADED
    return State(health, reason, stuck=stuck, crashed=crashed)


def _why(pods: Sequence[Json], progressing: Json) -> tuple[str, bool, str]:
    """The reason of the first pod of the newest version that has one; whether waiting helps; whose log says more."""
    mine = _newest(pods, str(progressing.get("message") or ""))
    told = [found for pod in mine if (found := _pod(pod))[0]]
    told.sort(key=lambda found: not found[1])
    return told[0] if told else ("", False, "")


def _newest(pods: Sequence[Json], message: str) -> list[Json]:
    def version(pod: Json) -> str:
        return str(part(part(pod, "metadata"), "labels").get("pod-template-hash") or "")

    def made(pod: Json) -> str:
        return str(part(pod, "metadata").get("creationTimestamp") or "")

    ordered = sorted(pods, key=made)
    said = _REPLICA_SET.search(message)
    newest = said[1] if said and any(version(pod) == said[1] for pod in pods) else ""
    newest = newest or (version(ordered[-1]) if ordered else "")
    return [pod for pod in ordered if version(pod) == newest and not part(pod, "metadata").get("deletionTimestamp")]


def _pod(pod: Json) -> tuple[str, bool, str]:
    status = part(pod, "status")
    name = str(part(pod, "metadata").get("name") or "")
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"no node takes it: {_words(scheduled)}", False, ""
    if status.get("reason"):
        return f"{status['reason']}: {status.get('message') or ''}".rstrip(": "), True, ""
    for container in parts(status, "containerStatuses"):
        state, last = part(container, "state"), part(container, "lastState")
        waiting = part(state, "waiting")
        ended = part(state, "terminated") or part(last, "terminated")
        reason = str(waiting.get("reason") or "")
        if reason == "CrashLoopBackOff" or part(state, "terminated"):
            restarts = int(container.get("restartCount") or 0)
            return f"{_ended(ended, container)}, started {restarts + 1} times", restarts > 0, name
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            return f"{reason}: {waiting.get('message') or ''}"[:_MOST_WORDS].rstrip(": "), reason in _STUCK, ""
        if part(state, "running") and not container.get("ready"):
            if ended:
                return f"{_ended(ended, container)}, running again, not ready", False, name
            return "running, not ready yet", False, ""
    return "", False, ""


def _ended(ended: Json, container: Json) -> str:
    if ended.get("reason") == "OOMKilled":
        limit = part(part(container, "resources"), "limits").get("memory")
        return f"killed for using more memory than its limit{f' of {limit}' if limit else ''} (OOMKilled)"
    code = int(ended.get("exitCode") or 0)
    return f"killed by signal {code - 128}" if 128 < code < 160 else f"ended with exit code {code}"


def _condition(status: Json, kind: str) -> Json:
    for condition in parts(status, "conditions"):
        if condition.get("type") == kind:
            return condition
    return {}


def _words(condition: Json) -> str:
    return str(condition.get("message") or condition.get("reason") or "")[:_MOST_WORDS]
