"""Planning with a snapshot: secrets by reference, and what of it could not be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from reconciler.core.basis import Basis, NotCompared
from reconciler.core.dataclass import replace
from reconciler.core.diff import assign
from reconciler.core.driver import Capabilities
from reconciler.core.problems import Position, Problem
from reconciler.core.resources import Baseline, Completeness, Desired, Observation, Observed, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.situation import Situation
from reconciler.core.values import MISSING, has_secret, lookup, walk
from reconciler.engine.desired import DesiredState
from reconciler.engine.keynames import Names
from reconciler.engine.known import situation_of
from reconciler.engine.snapshot.document import Snapshot
from reconciler.engine.snapshot.labels import current, generated_name, is_foreign, labelled, named, unknown_of

GENERATED = "generated"


class ByReference:
    """Fills references in as labels: each stands for what it gives now, and nothing is read. A `Filler`."""

    def generation(self) -> None:
        """Labels do not change."""

    def prepare(self, refs: Iterable[SecretRef]) -> None:
        """Nothing is needed."""

    def secret(self, ref: SecretRef) -> Secret:
        """The label of what a reference gives now."""
        return current(ref)

    def warning(self, ref: SecretRef) -> str:
        """Nothing is known about any."""
        return ""

    def fill(self, desired: Desired, position: Position | None) -> tuple[Desired, list[Problem]]:
        """A resource with labels in place of its references; there is nothing to be said about them."""
        return replace(desired, spec=labelled(desired.spec)), []


def key_names(baselines: Iterable[Baseline]) -> Callable[[], Names]:
    """What generated keys are made of there: the labels of what was sent name it, also for services that moved."""
    made_of: dict[str, str] = {}
    for baseline in baselines:
        for _, leaf in _secrets(baseline.sent):
            name = generated_name(leaf)
            if name:
                made_of[baseline.service] = name

    def now(service: str, moved_from: str) -> str:
        return made_of.get(service) or made_of.get(moved_from) or moved_from or service

    return lambda: Names(now, made_of.keys())


def situation_from(
    snapshot: Snapshot, state: DesiredState, capabilities: Mapping[str, Capabilities], now: float
) -> Situation:
    """The situation of a plan for a state whose secrets were filled in by `ByReference`.

    It is that of the time at which the snapshot was made, so the same snapshot gives the same plan.

    Args:
        capabilities: Of the targets in scope.
        now: Unix time in seconds, for the snapshot's age alone.
    """
    baselines = dict(snapshot.known.baselines)
    resources: dict[str, dict[ResourceId, Observed]] = {}
    observations: dict[str, Observation] = {}
    for name in capabilities:
        observations[name] = _observation(snapshot, name)
        resources[name] = dict(observations[name].resources)
    not_compared: list[NotCompared] = []
    for desired in state.desired:
        id_ = desired.id
        if id_.target not in capabilities:
            continue
        observed, baseline = resources[id_.target].get(id_), baselines.get(id_)
        not_compared += _not_compared(snapshot, desired, observed)
        unknown = _unknown(desired, baseline)
        if unknown and baseline is not None:
            baselines[id_] = _recorded(baseline, unknown)
            if observed is not None:
                resources[id_.target][id_] = replace(observed, spec=_assumed(observed.spec, unknown))
    observations = {name: replace(one, resources=resources[name]) for name, one in observations.items()}
    basis = Basis(
        "snapshot",
        snapshot.revision.short,
        snapshot.installation,
        snapshot.observed_at,
        max(0.0, now - snapshot.observed_at),
        tuple(sorted(not_compared, key=lambda one: (one.id, one.pointer))),
    )
    known = replace(snapshot.known, baselines=baselines)
    there = {name: _as_there(snapshot, name, one) for name, one in capabilities.items()}
    return situation_of(state, there, observations, known, snapshot.made_at, basis)


def _observation(snapshot: Snapshot, name: str) -> Observation:
    seen = snapshot.seen.get(name)
    if seen is None:
        why = "the snapshot does not have it, since nothing used it when it was made"
        return Observation(name, Completeness.UNAVAILABLE, missing=why)
    return seen.observation


def _as_there(snapshot: Snapshot, name: str, capabilities: Capabilities) -> Capabilities:
    seen = snapshot.seen.get(name)
    if seen is None or seen.retain_seconds is None:
        return capabilities
    return replace(capabilities, retain_seconds=seen.retain_seconds)


def _unknown(desired: Desired, baseline: Baseline | None) -> dict[str, tuple[Secret, Secret]]:
    """Secrets that were sent and could not be compared, by pointer, with what Git wants there: taken for unchanged."""
    if baseline is None or not has_secret(baseline.sent):
        return {}
    wanted = ((pointer, leaf, lookup(baseline.sent, pointer)) for pointer, leaf in _secrets(desired.spec))
    return {
        pointer: (sent, leaf)
        for pointer, leaf, sent in wanted
        if leaf.ref is not None and unknown_of(sent) in ("", named(leaf.ref))
    }


def _recorded(baseline: Baseline, unknown: Mapping[str, tuple[Secret, Secret]]) -> Baseline:
    pending = baseline.pending
    return replace(
        baseline,
        sent=_assumed(baseline.sent, unknown),
        answered=_assumed(baseline.answered, unknown),
        pending=replace(pending, sent=_assumed(pending.sent, unknown)) if pending is not None else None,
    )


def _assumed(spec: Any, unknown: Mapping[str, tuple[Secret, Secret]]) -> Any:
    for pointer, (label, wanted) in unknown.items():
        if lookup(spec, pointer) == label:
            spec = assign(spec, pointer, wanted)
    return spec


def _not_compared(snapshot: Snapshot, desired: Desired, observed: Observed | None) -> Iterator[NotCompared]:
    """Where the plan would have to know more than the snapshot says."""
    for pointer, leaf in _secrets(desired.spec):
        ref = leaf.ref
        if ref is not None and ref.source != GENERATED and named(ref) not in snapshot.references:
            yield NotCompared(str(desired.id), pointer, str(ref))
    for pointer, leaf in _secrets(observed.spec) if observed is not None else ():
        if is_foreign(leaf) and lookup(desired.spec, pointer) is not MISSING:
            yield NotCompared(str(desired.id), pointer, "")


def _secrets(spec: Any) -> Iterator[tuple[str, Secret]]:
    if has_secret(spec):
        yield from ((pointer, leaf) for pointer, leaf in walk(spec) if isinstance(leaf, Secret))
