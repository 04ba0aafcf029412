"""The driver of a Kubernetes cluster: observes, writes, and lets others in: logs, events, a way to score."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.core.change import Action, Change, Step
from reconciler.core.dataclass import replace
from reconciler.core.driver import Address, Done, InProgress, Right
from reconciler.core.errors import TargetError
from reconciler.core.resources import Completeness, Observation, Observed, ResourceId
from reconciler.targets.aks import access, fields
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.attached import AbsentError
from reconciler.targets.aks.canary import canary_of, is_canary, is_ours, stage_of, staged_of, told_of
from reconciler.targets.aks.events import Watching
from reconciler.targets.aks.form import Secrets, mark_of, spec_of
from reconciler.targets.aks.forward import Forwards
from reconciler.targets.aks.health import State, is_ready, needs_pods, state_of
from reconciler.targets.aks.kinds import CANARY, INSTALLATION, SERVICE, Place, looked_at
from reconciler.targets.aks.logs import PodLogs
from reconciler.targets.aks.looking import look, pods_for_words, pods_of
from reconciler.targets.aks.parts import Json, part, parts
from reconciler.targets.aks.rehearsal import Rehearsal
from reconciler.targets.aks.render import AksRenderer, Images
from reconciler.targets.aks.rollout import Rollouts
from reconciler.targets.aks.writing import Writer, version_of

_SOON = 1.0
_STAGING = frozenset({Step.STAGE, Step.SHIFT, Step.PROMOTE, Step.DISCARD})


class AksDriver(AksRenderer):
    """Serves each deployment as the objects of one namespace.

    Args:
        installation: Id of this installation; what it did not make is not its own.
        namespace: The target's own; those of resources that are known are looked into, too.
        kinds: Of objects that this cluster has beside those that all have.
        more: Rights at this cluster that are needed beside those for objects.
        verified: File for what the cluster was found to take; None to remember nothing.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        target: str,
        installation: str,
        cluster: Cluster,
        secrets: Secrets,
        images: Images,
        namespace: str,
        kinds: Collection[str] = (),
        more: Sequence[Right] = (),
        verified: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(target, images)
        self._more = more
        self._installation = installation
        self._cluster = cluster
        self._secrets = secrets
        self._namespace = namespace
        self._writer = Writer(cluster, secrets, installation)
        self._rehearsal = Rehearsal(self._writer.rehearse, cluster.place, verified)
        self._rollouts = Rollouts(cluster, self._writer, secrets, installation, now)
        self._forwards = Forwards(cluster)
        self._namespaces: set[str] = {namespace}
        self._kinds: set[str] = {*kinds}
        self._seen: dict[ResourceId, tuple[object, Observed]] = {}
        self._absent = False
        self._watching: list[Watching] = []

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """All objects of ours, and whatever stands where known ones would.

        Raises:
            TargetError: Nothing at all can be read.
        """
        wanted = {id_ for id_ in known if id_.target == self._target}
        self._namespaces = self._namespaces | {Place.of(id_.name).namespace for id_ in wanted}
        self._kinds = self._kinds | {id_.kind for id_ in wanted}
        kinds = looked_at(self._kinds)
        for watching in list(self._watching):
            watching.also(sorted(self._namespaces), kinds)
        seen = look(self._cluster, self._target, self._installation, self._namespaces, kinds, wanted)
        self._absent = isinstance(seen.first, AbsentError)
        if self._absent:
            return Observation(self._target, Completeness.COMPLETE, {})
        if seen.first is not None and not seen.read:
            raise seen.first
        twins = {id_: one for id_, one in seen.objects.items() if is_canary(id_, one)}
        mains = {id_: one for id_, one in seen.objects.items() if id_ not in twins}
        pods = self._troubled(mains, SERVICE)
        hidden = self._troubled(twins, CANARY)
        found: dict[ResourceId, Observed] = {}
        for id_, one in mains.items():
            observed = self._observed(id_, one, pods.get(Place.of(id_.name).namespace, []))
            twin = twins.get(canary_of(id_)) if twins else None
            if twin is not None and is_ours(id_, twin, self._installation):
                own = [pod for pod in hidden.get(Place.of(id_.name).namespace, []) if _selected(twin, pod)]
                observed = self._with_staged(observed, twin, own)
            if id_ in wanted or observed.owned_by(self._installation):
                found[id_] = observed
        self._seen = {id_: cached for id_, cached in self._seen.items() if id_ in seen.objects}
        completeness = Completeness.PARTIAL if seen.missing else Completeness.COMPLETE
        return Observation(self._target, completeness, found, "; ".join(dict.fromkeys(seen.missing)))

    def _troubled(self, objects: Mapping[ResourceId, Json], label: str) -> dict[str, list[Json]]:
        """The pods of namespaces in which something is not well."""
        troubled = {Place.of(id_.name).namespace for id_, one in objects.items() if needs_pods(one)}
        return {namespace: pods_for_words(self._cluster, namespace, label) for namespace in sorted(troubled)}

    def _with_staged(self, observed: Observed, twin: Json, pods: Sequence[Json]) -> Observed:
        state = state_of(twin, pods)
        staged = staged_of(twin, state, self._said(Place.of(observed.id.name).namespace, state))
        stage = stage_of(twin)
        shares = staged is not None and stage is not None and stage.share > 0
        told = (f"a new version has {told_of(stage, twin, observed.spec)}",) if stage is not None and shares else ()
        return replace(observed, staged=staged, events=(*observed.events, *told))

    def _observed(self, id_: ResourceId, found: Json, pods: Sequence[Json]) -> Observed:
        own = [pod for pod in pods if _selected(found, pod)] if needs_pods(found) else []
        metadata = found["metadata"]
        moved = tuple(pod["metadata"].get("resourceVersion") for pod in own)
        key = (metadata.get("uid"), metadata.get("resourceVersion"), moved)
        before = self._seen.get(id_)
        # The same object for the same facts: planning skips what it has compared before.
        if before is not None and before[0] == key:
            return before[1]
        observed = self._report(id_, found, state_of(found, own))
        self._seen[id_] = (key, observed)
        return observed

    def _report(self, id_: ResourceId, found: Json, state: State) -> Observed:
        mark = mark_of(found)
        if mark is not None and not state.settled:
            # Until it has come about, or failed, nothing is said of the version that was asked for last.
            mark = replace(mark, spec_digest="")
        spec = spec_of(found, self._secrets)
        return Observed(
            id_,
            spec,
            mark,
            state.health,
            self._said(Place.of(id_.name).namespace, state),
            version_of(found, spec),
            _outputs(found),
            busy=state.busy,
            owners=fields.owners(found),
        )

    def _said(self, namespace: str, state: State) -> str:
        """The reason of a state, with the last lines of what crashed."""
        if not state.crashed:
            return state.reason
        lines = PodLogs(self._cluster, namespace).last(state.crashed)
        return state.reason + "".join(f"\n{line}" for line in lines)

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change; see the contract.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError: As the contract says.
        """
        if change.action is Action.DELETE:
            for id_ in (change.id, canary_of(change.id)):
                self._forwards.end(id_)
            return Done(None) if self._writer.delete(change) else InProgress(_SOON)
        if change.step in _STAGING:
            return self._rolled(change)
        found = self._writer.write(change)
        state = state_of(found)
        observed = self._report(change.id, found, state)
        return Done(observed) if state.settled else InProgress(_SOON)

    def rehearse(self, changes: Sequence[Change]) -> Mapping[ResourceId, TargetError]:
        """Asked by a dry run of each change; replacing, deleting and an absent cluster cannot be asked."""
        return {} if self._absent else self._rehearsal.of(changes)

    def _rolled(self, change: Change) -> Done | InProgress:
        standing = self._rollouts.make(change)
        if standing.twin is None:
            # Nobody tests any more what has taken its place, or was taken away.
            self._forwards.end(canary_of(change.id))
        if standing.going is not None or standing.main is None:
            return standing.going or Done(None)
        observed = self._report(change.id, standing.main, state_of(standing.main))
        return Done(observed if standing.twin is None else self._with_staged(observed, standing.twin, ()))

    # -- abilities --------------------------------------------------------------------------------------------------

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """A way to a ready pod through the API: a socket of this machine, which needs no credentials of the cluster.

        Raises:
            TargetError: Which pods there are cannot be read, or there is no way to the newest.
        """
        if resource.kind != "Deployment":
            return None
        place = Place.of(resource.name)
        if staged:
            pods = self._rollouts.staged_pods(resource)
        else:
            pods = [pod for pod in pods_of(self._cluster, place.namespace, place.name) if not _is_staged(pod)]
        ready = [pod for pod in pods if is_ready(pod)]
        if not ready:
            return None
        newest = max(ready, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))
        return self._forwards.to(canary_of(resource) if staged else resource, str(newest["metadata"]["name"]))

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: threading.Event) -> Iterator[str]:
        """The last lines of every pod; with more than one, each line with its pod.

        Raises:
            TargetError: Which pods there are cannot be read.
        """
        place = Place.of(resource.name)
        if resource.kind != "Deployment":
            return iter(())
        pods = [str(pod["metadata"]["name"]) for pod in pods_of(self._cluster, place.namespace, place.name)]
        return PodLogs(self._cluster, place.namespace).of(pods, lines=lines, follow=follow, stop=stop)

    def watch(self, stop: threading.Event) -> Iterator[str]:
        """Yields what changes, as the API tells it, also where later looks turn to."""
        watching = Watching(self._cluster, f"{INSTALLATION}={self._installation}")
        # First in the list: what a look adds meanwhile is added twice rather than never.
        self._watching.append(watching)
        try:
            watching.also(sorted(self._namespaces), looked_at(self._kinds))
            yield from watching.until(stop)
        finally:
            self._watching.remove(watching)

    def rights(self, used: Sequence[ResourceId]) -> Sequence[Right]:
        """The least verbs for these objects, in their namespaces and the target's own."""
        own = [id_ for id_ in used if id_.target == self._target]
        return [*access.rights({self._namespace}, own, self._kinds), *self._more]

    def denied(self, rights: Sequence[Right]) -> Mapping[Right, str]:
        """Asked by one SelfSubjectAccessReview each."""
        return access.denied(self._cluster, rights)

    def grants(self, rights: Sequence[Right], subject: str) -> str:
        """Roles, and their bindings where a subject is named."""
        return access.grants(rights, subject)

    def close(self) -> None:
        """Lets go of connections; what runs goes on."""
        self._forwards.close()
        self._cluster.close()


def _selected(workload: Json, pod: Json) -> bool:
    wanted, labels = part(workload, "spec", "selector", "matchLabels"), part(pod, "metadata", "labels")
    if _is_staged(pod) and CANARY not in wanted:
        return False
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def _is_staged(pod: Json) -> bool:
    return CANARY in part(pod, "metadata", "labels")


def _outputs(found: Json) -> dict[str, Any]:
    """What callers need to know: where it answers."""
    metadata = found["metadata"]
    if found["kind"] == "Service":
        ports = [one.get("port") for one in parts(found, "spec", "ports")]
        given = [one.get("hostname") or one.get("ip") for one in parts(found, "status", "loadBalancer", "ingress")]
        host = next((one for one in given if one), f"{metadata['name']}.{metadata['namespace']}.svc")
        return {"url": f"http://{host}" if ports in ([80], []) else f"http://{host}:{ports[0]}"}
    if found["kind"] == "Ingress":
        named = [rule.get("host") for rule in parts(found, "spec", "rules") if rule.get("host")]
        scheme = "https" if parts(found, "spec", "tls") else "http"
        return {"url": f"{scheme}://{named[0]}"} if named else {}
    return {}
