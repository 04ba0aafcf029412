"""The driver contract: what the engine asks of a target, in one protocol and a few optional abilities.

A driver renders, observes and writes; it does not diff, retry, decide ownership or wait. `tests/contract` states the
contract as tests; docs/drivers.md says it in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from reconciler.core.change import Change
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import Deployment, ModelVersion, Target
from reconciler.core.resources import Desired, Observation, Observed, ResourceId
from reconciler.core.sources import SourceState, Watched

if TYPE_CHECKING:
    from reconciler.core.described import Described
    from reconciler.core.errors import TargetError


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver's target can and cannot do.

    Args:
        kinds: The kinds it renders.
        fields: Every place that a resource's normal form may have, as patterns (`/models/*/name`); empty where that
            cannot be told. What a policy names and is not among them is a typo.
        immutable: JSON pointers (patterns as in policies) whose change means replace.
        restarts: Pointers whose change restarts; every other update is without disruption.
        closed: Maps that are ours as a whole: what somebody else puts into one has drifted. Anywhere else a field that
            we never sent is nobody's of ours.
        write_only: Pointers the target never reports back: compared with the baseline alone.
        stages: Kinds that can be staged beside the serving version, tested, then promoted.
        in_place: Pointers of staged kinds that are changed on the serving version, without staging.
        endpoints: Kinds that answer requests, and so can be tested.
        accessories: Kinds that answer nothing and carry nothing that does: deleting one stops nothing.
        renames: Kinds that can be renamed where they stand; the others are made anew under another name.
        hands_over: Pointers (`[<Kind>:]/port`) that make an address: a resource made under another name takes the
            endpoint of the old one over where they are the same or left to the target. Empty: it cannot.
        content: Pointers that tell whether two resources hold the same, whatever their names; empty: the whole spec.
        holds_data: Kinds that hold what nothing can make again: replacing or deleting one loses it.
        irreplaceable: Kinds that are never replaced, deleted only by a plan that somebody approved, and otherwise
            forgotten where their policy does not let them be pruned.
        retained: Kinds that outlive their last use by `retain_seconds` (artifacts), the `retain_count` that were used
            last.
        parallel: How many changes may run at once.
        deadline_seconds: How long one change may be in progress before it counts as failed.
        durations: Seconds one change usually takes, by `kind:action` or kind, where that is long; for the estimate in
            plans alone.
        calls_per_minute: How many writing calls the target takes, where that is few; for the same.
    """

    kinds: frozenset[str]
    fields: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    restarts: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    write_only: tuple[str, ...] = ()
    stages: frozenset[str] = frozenset()
    in_place: tuple[str, ...] = ()
    endpoints: frozenset[str] = frozenset()
    accessories: frozenset[str] = frozenset()
    renames: frozenset[str] = frozenset()
    hands_over: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    holds_data: frozenset[str] = frozenset()
    irreplaceable: frozenset[str] = frozenset()
    retained: frozenset[str] = frozenset()
    retain_seconds: float = 7 * 86400.0
    retain_count: int | None = None
    parallel: int = 4
    deadline_seconds: float = 900.0
    durations: Mapping[str, float] = field(default_factory=dict[str, float])
    calls_per_minute: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The write happened; `answered` is the resource as the target reports it now (None after a delete)."""

    answered: Observed | None = None


@dataclass(frozen=True, slots=True)
class InProgress:
    """The target works on it; observe alone decides when it is done.

    Args:
        retry_after: Seconds until looking again makes sense.
        token: The driver's own continuation, small JSON without secrets.
        again: The target does not go on by itself: the same call is made again then, until it says that it is done.
            Each such call has the target's deadline of its own.
        text: How far it is, for people.
    """

    retry_after: float
    token: str = ""
    again: bool = False
    text: str = ""


class Renderer(Protocol):
    """The half of a driver that planning needs: facts and pure functions, without access to anything."""

    @property
    def target(self) -> str:
        """The target's name, as in `ResourceId.target`."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Facts about this kind of target."""
        ...

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The resources at this target that a deployment needs, normalised, with `depends_on`. Pure.

        Raises:
            InvalidError: What the target cannot express, with the position in the manifest.
        """
        ...


class Driver(Renderer, Protocol):
    """One target (or one built-in registry)."""

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """Everything of ours at the target, and any resource (ours or not) that stands where `known` ids would.

        Reads only. Complete, or Partial with what is missing.

        Raises:
            TargetError: The target cannot be read at all; never an empty observation instead.
        """
        ...

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change (`change.step` says which call of it), idempotently and without waiting for slow work.

        Deleting what is gone succeeds. Called again after a crash it completes what was begun.

        Raises:
            ConflictError: `change.observed.version` is stale; nothing was written.
            ForeignError: Something that is not ours stands there and `change.action` is not adopt.
            TargetError: Any other refusal; the class says how to go on.
        """
        ...

    def close(self) -> None:
        """Releases connections; the driver is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service answers.

    Args:
        url: Base URL (`http://127.0.0.1:8890`).
        uds: Path of a unix socket to connect through instead of the URL's host, for staged versions.
        headers: To send with each request (none of them secret).
        verify: Whether the certificate can be expected to be for the URL's host: that of a staged version, or of this
            machine by its number, is not.
    """

    url: str
    uds: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    verify: bool = True


@runtime_checkable
class Endpoint(Protocol):
    """Ability: the resource answers requests."""

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """Where the promoted (or staged) version answers; None while it does not.

        Raises:
            TargetError: It cannot be told, or there is no way to it from here: one that passes is asked for again, any
                other fails the change.
        """
        ...


@runtime_checkable
class Logs(Protocol):
    """Ability: the resource has a log."""

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: Event) -> Iterator[str]:
        """The last lines, oldest first; with `follow`, new ones as they come until `stop` is set."""
        ...


@runtime_checkable
class Events(Protocol):
    """Ability: the target says when something changed. A hint, never a fact: the engine looks for itself."""

    def watch(self, stop: Event) -> Iterator[str]:
        """Yields a few words per event ("diabetes: exited with signal 9") until `stop` is set."""
        ...


@runtime_checkable
class Rehearses(Protocol):
    """Ability: the target can be asked whether it would take changes, without making them."""

    def rehearse(self, changes: Sequence[Change]) -> Mapping[ResourceId, TargetError]:
        """Those that it would refuse, with the error that making them would end with; where it cannot be asked, why.

        Writes nothing to the target. What cannot be known beforehand is left out. What was taken once need not be
        asked for again as long as neither what is wanted nor what is there has changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that may be done at a target, in the target's own words.

    Args:
        verb: What (`patch`).
        resource: With which kind (`deployments.apps`).
        where: In which part of the target (a namespace).
        purpose: What it is needed for, in a few words.
    """

    verb: str
    resource: str
    where: str
    purpose: str = ""


@runtime_checkable
class Access(Protocol):
    """Ability: it can be said which rights the driver needs, and asked which of them it has."""

    def rights(self, used: Sequence[ResourceId]) -> Sequence[Right]:
        """The least that looking after some resources takes. Pure."""
        ...

    def denied(self, rights: Sequence[Right]) -> Mapping[Right, str]:
        """Those that the credentials at hand do not give, with what the target says of them. Reads only.

        Raises:
            TargetError: The target cannot be asked.
        """
        ...

    def grants(self, rights: Sequence[Right], subject: str) -> str:
        """Documents that give these rights, for whoever may give them. Pure.

        Args:
            subject: Who gets them, in the target's own words; "" leaves that to the reader.

        Raises:
            InvalidError: There can be no such subject.
        """
        ...


@runtime_checkable
class Describes(Protocol):
    """Ability: what stands at the target can be said in a manifest's words, whoever made it: `reconciler import`."""

    def describable(self) -> Sequence[str]:
        """The names of what could be described, as the target has them."""
        ...

    def describe(self, name: str, service: str) -> Described | None:
        """What stands there under a name of the target's own, as the service it would be; None if nothing does.

        Reads only. Rendering what it says must give what is observed there, but for what it says it cannot say.
        """
        ...

    def bind(self, name: str, service: str) -> None:
        """From now on, what has this name stands where that service would, so that it can be adopted.

        Nothing is written to the target. Where names of services are those of the target there is nothing to do.
        """
        ...


@runtime_checkable
class Catalogue(Protocol):
    """Ability of the model registry: models are rendered whether or not a service uses them."""

    def render_models(self, models: Sequence[ModelVersion]) -> Sequence[Desired]:
        """One resource a model version. Pure."""
        ...

    def catalogue(self) -> Mapping[str, Mapping[str, str]]:
        """Registered versions: name -> version -> digest."""
        ...

    def sources(self, watched: Sequence[Watched]) -> Mapping[Watched, SourceState]:
        """What stands behind addresses of models now; without access, what was registered from there."""
        ...


@runtime_checkable
class Hosts(Protocol):
    """Ability of a registry: what targets themselves are is rendered, whether or not a service is there."""

    def render_targets(self, targets: Sequence[Target]) -> Sequence[tuple[Target, Desired]]:
        """What is to be made for targets that ask for it. Pure."""
        ...


@runtime_checkable
class Surroundings(Protocol):
    """Ability: what it renders depends on the machine or on settings, and it can say how."""

    def surroundings(self) -> Mapping[str, Any]:
        """All of it as small JSON without secrets, so that rendering elsewhere can give the same."""
        ...
