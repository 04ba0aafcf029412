"""Bringing a new version into service beside the one before: hidden, with shares of the requests, then in its place.

Every call looks at what stands there and does what is due then; how far it is, the cluster keeps. The version before
keeps all its pods until the new one takes its place, so that taking the new one away again is all it takes to go back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from reconciler.core.change import Change, Step
from reconciler.core.dataclass import dataclass, replace
from reconciler.core.driver import InProgress
from reconciler.core.errors import BusyError, ConflictError, ForeignError, TerminalError, UnavailableError
from reconciler.core.resources import Desired, Health, Mark, ResourceId
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.asking import Answers, answers
from reconciler.targets.aks.canary import Stage, canary_of, form, is_of, is_ours, stage_of, stands, told_of
from reconciler.targets.aks.form import Secrets, mark_of
from reconciler.targets.aks.health import PAUSED, State, is_held, is_ready, resuming, state_of, unready_since
from reconciler.targets.aks.kinds import CANARY, KINDS, Place
from reconciler.targets.aks.logs import PodLogs
from reconciler.targets.aks.looking import pods_of
from reconciler.targets.aks.parts import Json, part, parts
from reconciler.targets.aks.writing import Writer

_SOON = 1.0
_TRIES = 5
_EVERY_SECONDS = 5.0
# How long after its time a step waits for pods that cannot be asked how they do, or a cluster that does nothing.
_SILENT_SECONDS = 60.0
_KIND = KINDS["Deployment"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands there after a call.

    Args:
        main: The Deployment that serves; None if there is none.
        twin: The one that a version is staged in.
        going: What the engine is told, if it is not done.
    """

    main: Json | None
    twin: Json | None
    going: InProgress | None = None


class CanaryError(TerminalError):
    """The new version did not keep up with what it was given; the one before has all requests."""

    code = "canary-failed"


class HeldError(TerminalError):
    """What a new version is to take the place of was paused by hand."""

    code = "paused"


class Rollouts:
    """The steps of changes that are staged.

    Args:
        installation: Id of this installation.
        now: Unix time in seconds.
    """

    def __init__(
        self, cluster: Cluster, writer: Writer, secrets: Secrets, installation: str, now: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._writer = writer
        self._secrets = secrets
        self._installation = installation
        self._now = now
        # What was last written, and what the API made of it: admission may have put something else there.
        self._written: dict[ResourceId, tuple[Json, Json]] = {}
        # What the cluster had made of a share when that last moved, and when that was.
        self._moved: dict[ResourceId, tuple[object, float]] = {}

    def make(self, change: Change) -> Standing:
        """One step.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError: As the contract says.
        """
        match change.step:
            case Step.STAGE:
                return self._stage(change)
            case Step.SHIFT:
                return self._shift(change)
            case Step.PROMOTE:
                return self._promote(change)
            case _:
                return self._discard(change)

    def twin_of(self, id_: ResourceId) -> Json | None:
        """What stands where a version would be staged."""
        place = Place.of(canary_of(id_).name)
        found = self._cluster.get(_KIND.path(place.namespace, place.name))
        return {"apiVersion": _KIND.api, "kind": _KIND.name, **found} if found is not None else None

    def pods(self, id_: ResourceId, stage: Stage) -> list[Json]:
        """The pods of the staged version.

        Raises:
            TargetError: They cannot be read.
        """
        place = Place.of(id_.name)
        return [pod for pod in pods_of(self._cluster, place.namespace, place.name, CANARY) if is_of(pod, stage)]

    def staged_pods(self, id_: ResourceId) -> list[Json]:
        """The pods of the version that is staged now.

        Raises:
            TargetError: They cannot be read.
        """
        twin = self.twin_of(id_)
        stage = stage_of(twin) if twin is not None else None
        return self.pods(id_, stage) if stage is not None else []

    # -- the steps

    def _stage(self, change: Change) -> Standing:
        _, mark = _wanted(change)
        main = self._main(change)
        _going_on(main, change.id)
        twin = self._own(change.id, self.twin_of(change.id))
        stage = stage_of(twin) if twin is not None else None
        goes_on = (
            twin is not None
            and stage is not None
            and stage.digest == mark.spec_digest
            and state_of(twin).health not in (Health.DEGRADED, Health.SUSPENDED)
            and self._stands(change.id, self._form(change, main, stage), twin)
        )
        if twin is None or not goes_on:
            twin = self._write(change, self._form(change, main, Stage(mark.spec_digest)))
        state = state_of(twin)
        ready = state.settled and state.health is Health.HEALTHY
        return Standing(main, twin, None if ready else InProgress(_SOON))

    def _shift(self, change: Change) -> Standing:
        main = self._main(replace(change, observed=None))
        twin, stage = self._staged(change)
        if stage.share > change.share:
            return Standing(main, twin)
        wanted = stage if stage.share == change.share else Stage(stage.digest, change.share)
        body = self._form(change, main, wanted)
        if self._stands(change.id, body, twin):
            return self._judged(change, main, twin, wanted)
        as_many = {**body, "spec": {**body["spec"], "replicas": twin["spec"].get("replicas")}}
        if not self._stands(change.id, as_many, twin):
            # It gets this share only now, or a hand had changed it: its time begins anew.
            body = self._form(change, main, replace(wanted, since=0.0))
        twin = self._write(change, body)
        return self._going(main, twin, f"{told_of(wanted, twin, main)}: pods are made")

    def _judged(self, change: Change, main: Json, twin: Json, stage: Stage) -> Standing:
        """Whether it keeps its share, has had it long enough, or has to go.

        Raises:
            CanaryError: It has to go. TargetError: Its pods cannot be read.
        """
        rollout = _wanted(change)[0].rollout
        head = f"{stage.share} % of the requests"
        # What begins only later was told by another clock, or by a hand.
        begun = 0 < stage.since <= self._now()
        try:
            pods = self.pods(change.id, stage)
        except UnavailableError as error:
            if not begun:
                raise
            return self._unheard(change, Standing(main, twin), stage, error)
        state = state_of(twin, pods)
        why = state.reason if state.stuck or state.health is Health.SUSPENDED else _restarted(pods)
        if why:
            raise self._failed(change.id, pods, f"with {head} the new version was not well: {why}")
        # More pods of a version that is through are no roll-out: nothing but they themselves says that they start.
        starting = state.health in (Health.PROGRESSING, Health.DEGRADED)
        if starting and self._late(change, pods):
            raise self._failed(change.id, pods, f"with {head} some pods did not get ready in time: {state.reason}")
        if self._stalled(change, twin, state):
            raise self._failed(change.id, pods, f"with {head} nothing came of it in time: {state.reason}")
        if not state.settled or (starting and not begun):
            return self._going(main, twin, f"{head}: {state.reason}")
        if not begun:
            body = self._form(change, main, replace(stage, since=self._now()))
            return self._going(main, self._write(change, body), f"{head}, for {rollout.interval:g} s")
        passed = self._now() - stage.since
        said = f"{head} for {min(passed, rollout.interval):.0f} of {rollout.interval:g} s"
        if rollout.max_error_rate is not None:
            ready = [pod for pod in pods if is_ready(pod)]
            if starting and not ready:
                return self._going(main, twin, f"{said}: {state.reason}", _EVERY_SECONDS)
            try:
                counted = self._answers(change, ready)
            except UnavailableError as error:
                return self._unheard(change, Standing(main, twin), stage, error, pods)
            if counted.more_than(rollout.max_error_rate):
                most = f"{rollout.max_error_rate * 100:g} %"
                raise self._failed(change.id, pods, f"with {head} {counted}, more than {most}")
            said = f"{said}: {counted}"
        if passed < rollout.interval:
            return self._going(main, twin, said, min(rollout.interval - passed, _EVERY_SECONDS))
        if starting:
            return self._going(main, twin, f"{said}: {state.reason}", _EVERY_SECONDS)
        return Standing(main, twin)

    def _unheard(
        self, change: Change, standing: Standing, stage: Stage, error: UnavailableError, pods: Sequence[Json] = ()
    ) -> Standing:
        """Waits for pods that cannot be asked how they do; they get no further without that.

        Raises:
            CanaryError: They were waited for long enough.
        """
        interval, passed = _wanted(change)[0].rollout.interval, self._now() - stage.since
        head = f"{stage.share} % of the requests"
        if passed > interval + _SILENT_SECONDS:
            message = f"with {head} nothing tells how the new version does: {error.message}"
            raise self._failed(change.id, pods, message) from error
        text = f"{head} for {min(passed, interval):.0f} of {interval:g} s: {error.message}"
        return replace(standing, going=InProgress(_EVERY_SECONDS, again=True, text=text))

    def _promote(self, change: Change) -> Standing:
        _, mark = _wanted(change)
        main = self._main(replace(change, observed=None))
        twin = self._own(change.id, self.twin_of(change.id))
        if mark_of(main) != replace(mark, self_ref=str(change.id)):
            _going_on(main, change.id)
            twin, _ = self._staged(change)
            main = self._writer.write(change)
        state = state_of(main)
        if not state.settled:
            _going_on(main, change.id)
        stage = stage_of(twin) if twin is not None else None
        shares = stage is not None and stage.share > 0
        # What has a share of the requests keeps it until all pods beside it are new.
        if twin is not None and (state.settled or not shares):
            self._take_away(change.id, twin)
            twin = None
        if state.settled:
            return Standing(main, twin)
        return Standing(main, twin, InProgress(_SOON, again=shares, text=state.reason))

    def _discard(self, change: Change) -> Standing:
        twin = self._own(change.id, self.twin_of(change.id), going=True)
        if twin is not None and not twin["metadata"].get("deletionTimestamp"):
            self._take_away(change.id, twin)
        return Standing(self._writer.there(change.id), None)

    # -- details ----------------------------------------------------------------------------------------------------

    def _going(self, main: Json, twin: Json, text: str, seconds: float = _SOON) -> Standing:
        return Standing(main, twin, InProgress(seconds, again=True, text=text))

    def _failed(self, id_: ResourceId, pods: Sequence[Json], why: str) -> CanaryError:
        """With the last lines that one of its pods wrote: they go with the pods."""
        logs = PodLogs(self._cluster, Place.of(id_.name).namespace)
        names = [str(pod["metadata"]["name"]) for pod in sorted(pods, key=_restarts, reverse=True)]
        nothing: list[str] = []
        lines = next((told for name in names if (told := logs.last(name))), nothing)
        return CanaryError("\n".join((why, *lines)), hint=_HINT)

    def _late(self, change: Change, pods: Sequence[Json]) -> bool:
        """Whether one of the pods has had the time of a roll-out to get ready, and is not."""
        last = self._now() - _deadline(change)
        return any(since < last for pod in pods if (since := unready_since(pod)) is not None)

    def _stalled(self, change: Change, twin: Json, state: State) -> bool:
        """Whether the cluster has done nothing for longer than it would take to say itself that it is too late."""
        metadata, status = part(twin, "metadata"), part(twin, "status")
        counts = [status.get(name) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")]
        seen = (metadata.get("uid"), metadata.get("generation"), counts)
        before, since = self._moved.get(change.id, (None, 0.0))
        if state.settled or seen != before:
            self._moved[change.id] = (seen, self._now())
            return False
        return self._now() - since > _deadline(change) + _SILENT_SECONDS

    def _form(self, change: Change, main: Json, stage: Stage) -> Json:
        desired, mark = _wanted(change)
        return form(change.id, desired, mark, main, stage, self._secrets)

    def _main(self, change: Change) -> Json:
        main = self._writer.standing(change)
        if main is None:
            raise ConflictError(f"{_name(change.id)} is not there any more", hint="it is looked for again")
        return main

    def _own(self, id_: ResourceId, twin: Json | None, *, going: bool = False) -> Json | None:
        """What a version is staged in, if that is ours.

        Args:
            going: It may be about to go.
        """
        if twin is None:
            return None
        if not is_ours(id_, twin, self._installation):
            raise ForeignError(
                f"{_name(canary_of(id_))} exists and is not ours", hint="new versions are staged there: remove it"
            )
        if twin["metadata"].get("deletionTimestamp") and not going:
            raise BusyError(f"{_name(canary_of(id_))}: the one before is being deleted", retry_after=_SOON)
        return twin

    def _staged(self, change: Change) -> tuple[Json, Stage]:
        twin = self._own(change.id, self.twin_of(change.id))
        stage = stage_of(twin) if twin is not None else None
        if twin is None or stage is None:
            raise ConflictError(f"{change.id}: nothing is staged any more", hint="it is staged again")
        if stage.digest != _wanted(change)[1].spec_digest:
            raise ConflictError(f"{change.id}: another version is staged", hint="it is looked for again")
        return twin, stage

    def _write(self, change: Change, body: Json) -> Json:
        twin = canary_of(change.id)
        place = Place.of(twin.name)
        # All of it is ours alone: whatever a hand did to it is taken back.
        path, what = _KIND.path(place.namespace, place.name), f"writing {_name(twin)}"
        answer = {**body, **self._cluster.apply(path, body, what, force=True)}
        self._written[change.id] = (body, answer)
        return answer

    def _stands(self, id_: ResourceId, body: Json, twin: Json) -> bool:
        """Whether what would be written is there, or what the API made of just that."""
        written, answer = self._written.get(id_, ({}, {}))
        return stands(body, twin, self._secrets) or (written == body and stands(answer, twin, self._secrets))

    def _take_away(self, id_: ResourceId, twin: Json) -> None:
        place = Place.of(canary_of(id_).name)
        path, what = _KIND.path(place.namespace, place.name), f"deleting {_name(canary_of(id_))}"
        uid = str(twin["metadata"].get("uid"))
        for _ in range(_TRIES):
            found = self._cluster.get(path)
            if found is None or found["metadata"].get("uid") != uid:
                return
            try:
                self._cluster.delete(path, what, uid=uid, version=str(found["metadata"].get("resourceVersion")))
            except ConflictError:
                # Its status moved between the two calls.
                continue
            return
        raise BusyError(f"{_name(canary_of(id_))} keeps changing", retry_after=_SOON)

    def _answers(self, change: Change, pods: Sequence[Json]) -> Answers:
        if not pods:
            # No request counted is no request that went well.
            raise UnavailableError(f"{_name(canary_of(change.id))} has no ready pod to ask")
        named = [str(pod["metadata"]["name"]) for pod in pods]
        return answers(self._cluster, Place.of(change.id.name).namespace, named, change.key)


_HINT = "it was taken away, and the version before has all requests"


def _deadline(change: Change) -> float:
    """The time that a roll-out has, in seconds."""
    return float(cast("Mapping[str, Any]", _wanted(change)[0].spec["spec"])["progressDeadlineSeconds"])


def _restarts(pod: Json) -> int:
    return sum(int(container.get("restartCount") or 0) for container in parts(pod, "status", "containerStatuses"))


def _restarted(pods: Sequence[Json]) -> str:
    for pod in pods:
        for container in parts(pod, "status", "containerStatuses"):
            if container.get("restartCount"):
                reason = part(container, "lastState", "terminated").get("reason") or "it ended"
                return f"{part(pod, 'metadata').get('name')} was started again: {reason}"
    return ""


def _going_on(main: Json, id_: ResourceId) -> None:
    """Nothing is rolled out of what was paused by hand: whoever did it has to say that it may go on.

    Raises:
        HeldError: It was.
    """
    if is_held(main):
        raise HeldError(
            f"{_name(id_)} was {PAUSED}: no new version is rolled out", hint=f"{resuming(main)} lets it go on"
        )


def _name(id_: ResourceId) -> str:
    return f"{id_.kind} {id_.name}"


def _wanted(change: Change) -> tuple[Desired, Mark]:
    if change.desired is None or change.mark is None:
        raise TerminalError(f"{change.id}: this change has nothing desired")
    return change.desired, change.mark
