"""Hop 4's last part: from deployments to resources with their secrets, each service by itself.

What did not change is not rendered again. A service is looked at each time if what it becomes may change without its
documents: it refers to secrets that are kept elsewhere, has moved, or could not be rendered or filled in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol, TypeVar

from reconciler.core.changed import changed_places
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import Deployment
from reconciler.core.driver import Renderer
from reconciler.core.errors import InvalidError, ReconcilerError
from reconciler.core.problems import Position, Problem, errors_of
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import references
from reconciler.engine.keynames import Names

V = TypeVar("V")


class Filler(Protocol):
    """Replaces references by secrets: `engine.secrets.Keyring`."""

    def generation(self) -> object:
        """What generated keys follow from beside their names; while it is equal, so are they."""
        ...

    def prepare(self, refs: Iterable[SecretRef]) -> None:
        """Reads what is needed, several at once where that takes time."""
        ...

    def secret(self, ref: SecretRef) -> Secret | ReconcilerError:
        """The secret behind a reference, or why it cannot be had."""
        ...

    def warning(self, ref: SecretRef) -> str:
        """What the operator should know about it; empty for nothing."""
        ...

    def fill(self, desired: Desired, position: Position | None) -> tuple[Desired, list[Problem]]:
        """A resource with its references replaced, and what is to be said about them."""
        ...


class Standing(Enum):
    """How far a service got."""

    SOUND = auto()
    UNFILLED = auto()
    UNRENDERED = auto()


@dataclass(frozen=True, slots=True)
class Rendered:
    """One service.

    Args:
        resolved: The deployment as it was resolved.
        deployment: The same with the name that its generated keys are made of.
        standing: Whether it can be used; nothing of it may be touched otherwise.
        problems: Of rendering it, or of filling its secrets in.
        resources: As rendered, and `filled` with its secrets.
        refs: The references in the resources, and to its key.
        secrets: What they led to.
        key: To test and score it with.
    """

    resolved: Deployment
    deployment: Deployment
    standing: Standing = Standing.SOUND
    problems: tuple[Problem, ...] = ()
    resources: tuple[Desired, ...] = ()
    filled: tuple[Desired, ...] = ()
    refs: tuple[SecretRef, ...] = ()
    secrets: tuple[Secret | None, ...] = ()
    key: Secret | None = None

    @property
    def open(self) -> bool:
        """Whether it may become something else while its documents stay as they are."""
        return bool(
            self.standing is not Standing.SOUND
            or self.problems
            or self.deployment.key_name
            or self.deployment.moved_from
            or any(ref.source != "generated" for ref in self.refs)
        )


@dataclass(frozen=True, slots=True)
class Renderings:
    """All services of a revision; mappings are by service, in their order.

    Args:
        deployments: Of those that could be rendered.
        groups: The resources of each that can be used.
        keys: The key to test and score each service with, where it wants one.
        moves: Services that say what they moved from -> the name they had before.
        failed: Those that cannot be used.
        open: Those that are looked at again whatever stays the same.
        ruled: Those with rules for drift.
    """

    services: Mapping[str, Rendered] = field(default_factory=dict[str, Rendered])
    deployments: Mapping[str, Deployment] = field(default_factory=dict[str, Deployment])
    groups: Mapping[str, tuple[Desired, ...]] = field(default_factory=dict[str, "tuple[Desired, ...]"])
    keys: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    moves: Mapping[str, str] = field(default_factory=dict[str, str])
    failed: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    ruled: frozenset[str] = frozenset()

    @classmethod
    def of(cls, services: Mapping[str, Rendered]) -> Renderings:
        """Of all services."""
        there = {name: each for name, each in services.items() if each.standing is not Standing.UNRENDERED}
        sound = {name: each for name, each in there.items() if each.standing is Standing.SOUND}
        return cls(
            services,
            {name: each.deployment for name, each in there.items()},
            {name: each.filled for name, each in sound.items()},
            {name: each.key for name, each in sound.items() if each.key is not None},
            {name: moved for name, each in there.items() if (moved := each.deployment.moved_from)},
            frozenset(services.keys() - sound.keys()),
            frozenset(name for name, each in services.items() if each.open),
            frozenset(name for name, each in there.items() if each.deployment.policy.rules),
        )

    def with_these(self, walked: Mapping[str, Rendered]) -> Renderings | None:
        """These in the place of what they were; None if one got further than then, or less far."""
        anew = {name: each for name, each in walked.items() if self.services[name] is not each}
        if not anew:
            return self
        if any(each.standing is not self.services[name].standing for name, each in anew.items()):
            return None
        some = Renderings.of(anew)
        return Renderings(
            {**self.services, **anew},
            {**self.deployments, **some.deployments},
            {**self.groups, **some.groups},
            _with(self.keys, anew, some.keys),
            _with(self.moves, anew, some.moves),
            self.failed,
            (self.open - anew.keys()) | some.open,
            (self.ruled - anew.keys()) | some.ruled,
        )

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with services, or to be said about their secrets."""
        return [problem for name in sorted(self.open) for problem in self.services[name].problems]


def _with(before: Mapping[str, V], services: Collection[str], after: Mapping[str, V]) -> Mapping[str, V]:
    """A mapping in which some services have what they have now, or nothing."""
    gone = {service for service in services if service in before and service not in after}
    kept = {service: value for service, value in before.items() if service not in gone} if gone else before
    return {**kept, **after}


class Rendering:
    """Renders the deployments of one revision after the other.

    Args:
        registries: Drivers of the built-in registries, which every deployment is rendered through.
        secrets: Fills references in; None leaves them as they are, as in offline plans.
    """

    def __init__(self, registries: Sequence[Renderer], secrets: Filler | None) -> None:
        self._registries = registries
        self._secrets = secrets
        self._generation: object = None
        self._deployments: Sequence[Deployment] = ()
        self._place: Mapping[str, int] = {}
        self._last = Renderings()

    def of(self, deployments: Sequence[Deployment], drivers: Mapping[str, Renderer], names: Names) -> Renderings:
        """Every service's resources; problems are in it, none is raised.

        Args:
            drivers: By target name; services at a target without one cannot be used.
        """
        walked = self._walked(deployments, names)
        made = self._last.with_these(self._each(walked, drivers, names)) if walked is not None else None
        if made is None:
            made = Renderings.of(self._each(deployments, drivers, names))
            self._place = {deployment.service: place for place, deployment in enumerate(deployments)}
        self._deployments, self._last = deployments, made
        self._generation = self._secrets.generation() if self._secrets is not None else None
        return made

    def _walked(self, deployments: Sequence[Deployment], names: Names) -> list[Deployment] | None:
        """Those of which something else may be made than the last time; None if that may be all."""
        places = changed_places(deployments, self._deployments)
        if places is None or (self._secrets is not None and self._secrets.generation() != self._generation):
            return None
        if any(deployments[place].service != self._deployments[place].service for place in places):
            return None
        others = [self._place[name] for name in {*self._last.open, *names.others} if name in self._place]
        return [deployments[place] for place in sorted({*places, *others})]

    def _each(
        self, deployments: Sequence[Deployment], drivers: Mapping[str, Renderer], names: Names
    ) -> dict[str, Rendered]:
        known, of = self._last.services, names.of
        rendered = {
            name: self._rendered(each, drivers.get(each.target.name), of(name, each.moved_from), known.get(name))
            for each in deployments
            for name in (each.service,)
        }
        if self._secrets is None:
            return rendered
        self._secrets.prepare(ref for each in rendered.values() for ref in each.refs)
        return {name: self._filled(each, self._secrets) for name, each in rendered.items()}

    def _rendered(self, resolved: Deployment, driver: Renderer | None, name: str, known: Rendered | None) -> Rendered:
        """The known one if nothing of its documents changed, else one that is not filled in yet."""
        if driver is None:
            return Rendered(resolved, resolved, Standing.UNRENDERED)
        if (
            known is not None
            and known.standing is not Standing.UNRENDERED
            and known.resolved is resolved
            and (known.deployment.key_name or resolved.service) == name
        ):
            return known
        deployment = _keyed(resolved, name)
        try:
            resources = self._resources(deployment, driver)
        except InvalidError as exc:
            subject = f"Service/{deployment.service}"
            problem = Problem(exc.code, exc.message, deployment.position, exc.hint, subject)
            return Rendered(resolved, deployment, Standing.UNRENDERED, tuple(exc.problems or [problem]))
        primary = _primary(deployment)
        refs: list[SecretRef] = []
        # Without what fills references in, only what is no reference can be a key.
        if self._secrets is not None:
            refs += [ref for desired in resources for ref in references(desired.spec)]
            refs += [primary] if isinstance(primary, SecretRef) else []
        return Rendered(
            resolved,
            deployment,
            resources=resources,
            filled=() if refs else resources,
            refs=tuple(dict.fromkeys(refs)),
            key=_usable(primary),
        )

    def _filled(self, rendered: Rendered, secrets: Filler) -> Rendered:
        """With its secrets; the same one while these are the same and nothing is to be said about them."""
        if rendered.standing is Standing.UNRENDERED or not rendered.refs:
            return rendered
        now = {ref: found if isinstance(found := secrets.secret(ref), Secret) else None for ref in rendered.refs}
        found = tuple(now.values())
        told = rendered.problems or any(map(secrets.warning, rendered.refs))
        if rendered.secrets == found and rendered.filled and not told:
            return rendered
        position = rendered.deployment.position
        filled: list[Desired] = []
        said: list[Problem] = []
        for desired in rendered.resources:
            one, problems = secrets.fill(desired, position)
            filled.append(one)
            said += problems
        primary = _primary(rendered.deployment)
        return replace(
            rendered,
            standing=Standing.UNFILLED if errors_of(said) else Standing.SOUND,
            problems=tuple(said),
            filled=tuple(filled),
            secrets=found,
            key=_usable(now.get(primary) if isinstance(primary, SecretRef) else primary),
        )

    def _resources(self, deployment: Deployment, driver: Renderer) -> tuple[Desired, ...]:
        resources: list[Desired] = []
        needed: set[ResourceId] = set()
        own = list(driver.render(deployment))
        for desired in own:
            needed.update(desired.depends_on)
        for registry in self._registries:
            # A registry renders all that a deployment could need; only what its target asks for is made.
            if all(id_.target != registry.target for id_ in needed):
                continue
            artifacts = [d for d in registry.render(deployment) if d.id in needed]
            adopting = deployment.policy.adopt
            resources += (
                [replace(d, policy=replace(d.policy, adopt=True)) for d in artifacts] if adopting else artifacts
            )
        endpoints = driver.capabilities.endpoints
        for desired in own:
            lacks = desired.id.kind in endpoints and desired.tests is not deployment.tests
            resources.append(replace(desired, tests=deployment.tests) if lacks else desired)
        return tuple(resources)


def _primary(deployment: Deployment) -> SecretRef | Secret | None:
    return deployment.auth.primary if deployment.auth.enabled else None


def _usable(key: SecretRef | Secret | None) -> Secret | None:
    return key if isinstance(key, Secret) and key.text is not None else None


def _keyed(deployment: Deployment, name: str) -> Deployment:
    """The deployment with its generated keys made of a name."""
    auth = deployment.auth
    if name == deployment.service:
        return deployment

    def slot(ref: SecretRef | Secret | None, which: str) -> SecretRef | Secret | None:
        generated = isinstance(ref, SecretRef) and ref.source == "generated"
        return SecretRef("generated", f"{name}/{which}") if generated else ref

    keys = replace(auth, primary=slot(auth.primary, "primary"), secondary=slot(auth.secondary, "secondary"))
    return replace(deployment, auth=keys, key_name=name)
