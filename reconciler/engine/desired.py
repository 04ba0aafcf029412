"""Hops 3 and 4: from a tree to desired resources, remembering what did not change.

Loading and resolving are `reconciler.manifests`'; here secrets are filled in, drivers render, and what several
services share (a model version, an environment) becomes one resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from reconciler.core.contents import Revision, Tree
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import Deployment, ModelVersion, Target
from reconciler.core.driver import Catalogue, Hosts, Renderer
from reconciler.core.errors import InvalidError, ReconcilerError
from reconciler.core.policy import Policy
from reconciler.core.problems import Position, Problem, Severity, errors_of
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.sources import SourceState, Watched
from reconciler.core.values import references
from reconciler.manifests.collecting import uncollected
from reconciler.manifests.load import DocumentCache, Repo, load
from reconciler.manifests.model_lock import lock_for
from reconciler.manifests.models import watched
from reconciler.manifests.overlays.environment import Environment, in_environment
from reconciler.manifests.resolve import Resolution, resolve

if TYPE_CHECKING:
    from reconciler.core.unmatched import Unmatched


Registered: TypeAlias = Mapping[str, Mapping[str, str]]
"""Registered model versions: name -> version -> digest."""


class Filler(Protocol):
    """Replaces references by secrets: `engine.secrets.Keyring`."""

    def prepare(self, refs: Iterable[SecretRef]) -> None:
        """Reads what is needed, several at once where that takes time."""
        ...

    def secret(self, ref: SecretRef) -> Secret | ReconcilerError:
        """The secret behind a reference, or why it cannot be had."""
        ...

    def fill(self, desired: Desired, position: Position | None) -> tuple[Desired, list[Problem]]:
        """A resource with its references replaced, and what is to be said about them."""
        ...


Names: TypeAlias = Callable[[str, str], str]
"""From a service and what it moved from to the name that its generated keys are made of."""


def _by_document(service: str, moved_from: str) -> str:
    """As far as the documents alone can tell."""
    return moved_from or service


@dataclass
class _Rendered:
    """A deployment's resources as they were rendered, and as they were last filled in.

    Args:
        resolved: The deployment as it was resolved.
        deployment: The same with the name that its generated keys are made of.
    """

    resolved: Deployment
    deployment: Deployment
    resources: tuple[Desired, ...]
    refs: tuple[SecretRef, ...] = ()
    secrets: tuple[Secret | None, ...] = ()
    filled: tuple[Desired, ...] = ()


@dataclass(frozen=True)
class DesiredState:
    """What one revision wants.

    Args:
        desired: Every resource of every target, each id once.
        targets: The targets that services name, and the built-in one.
        services: Every service that the revision names, resolved or not.
        incomplete: Services with errors, which are left alone.
        whole: No document has an error.
        environment: Whose overlay the documents were read with; empty for none.
        keys: The key to test and score each service with, where it wants one.
        moves: Services that say what they moved from -> the name they had before.
        unmatched: Drift rules that speak of nothing that is wanted.
        approval: Targets whose policy asks for approvals.
    """

    revision: Revision
    desired: tuple[Desired, ...]
    targets: Mapping[str, Target]
    services: frozenset[str]
    incomplete: frozenset[str]
    whole: bool
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    keys: Mapping[str, Secret]
    deployments: Mapping[str, Deployment] = field(default_factory=dict[str, Deployment])
    moves: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: str = ""
    unmatched: tuple[Unmatched, ...] = ()
    approval: frozenset[str] = frozenset()


def _unmatched(
    rendered: Iterable[_Rendered],
    drivers: Mapping[str, Renderer],
    *,
    alone: bool,
) -> tuple[Unmatched, ...]:
    """Drift rules that speak of nothing.

    Args:
        alone: Only of the services' own rules this can be said: others may be meant for services not rendered.
    """
    ruled = [(each.deployment, each.resources) for each in rendered if each.deployment.policy.rules]
    if not ruled:
        return ()
    from reconciler.core.unmatched import unmatched_rules

    # What services share has no policy of a service.
    own = (
        (
            [rule for rule in deployment.policy.rules if not alone or rule.origin == "service"],
            [d for d in resources if d.id.target == deployment.target.name],
        )
        for deployment, resources in ruled
    )
    return tuple(unmatched_rules(own, {name: driver.capabilities for name, driver in drivers.items()}))


def _references_of(resources: Iterable[Desired]) -> tuple[SecretRef, ...]:
    return tuple(dict.fromkeys(ref for desired in resources for ref in references(desired.spec)))


@dataclass
class DesiredStates:
    """Computes desired states one after another, reusing what the last one computed.

    Args:
        drivers: A driver for each target name that services use; raises InvalidError for a type without one.
        registries: Drivers of the built-in registries, which every deployment is rendered through.
        secrets: Fills references in; None leaves them as they are, as in offline plans.
        environment: Whose overlay is laid over the documents; empty for none.
        key_names: What generated keys are made of, by service and what it moved from, as known now.
    """

    drivers: Callable[[Mapping[str, Target]], tuple[Mapping[str, Renderer], Sequence[Problem]]]
    registries: Sequence[Renderer]
    secrets: Filler | None
    cache: DocumentCache | None = None
    environment: str = ""
    key_names: Callable[[], Names] = lambda: _by_document
    _repo: Repo | None = field(default=None, init=False)
    _environment: Environment | None = field(default=None, init=False)
    _resolution: Resolution | None = field(default=None, init=False)
    _rendered: dict[str, _Rendered] = field(default_factory=dict[str, _Rendered], init=False)
    _models: tuple[tuple[ModelVersion, ...], tuple[Desired, ...]] = field(default=((), ()), init=False)
    _merged: dict[ResourceId, Desired] = field(default_factory=dict[ResourceId, Desired], init=False)

    def of(self, tree: Tree) -> DesiredState:
        """The desired state of a tree; problems are in it, none is raised."""
        with uncollected():
            return self._of(tree)

    def _of(self, tree: Tree) -> DesiredState:
        self._repo = load(tree, self.cache, self._repo)
        self._environment = in_environment(self._repo, self.environment, self.cache, self._environment)
        repo = self._environment.repo
        lock = lock_for(repo, tree, self.cache)
        sources = sources_of(self.registries, watched(repo, lock))
        catalogue = registered(self.registries)
        self._resolution = resolve(repo, tree, catalogue, self._resolution, self.cache, lock, sources)
        resolution = self._resolution
        problems = list(resolution.problems)
        hosts = self._hosts(resolution.targets)
        used = {d.target.name: d.target for d in resolution.deployments}
        drivers, unknown_types = self.drivers({**used, **{target.name: target for target, _ in hosts}})
        problems += unknown_types
        hosts = [(target, host) for target, host in hosts if target.name in drivers]
        incomplete = set(resolution.incomplete)
        kept: dict[str, _Rendered] = {}
        names = self.key_names()
        for resolved in resolution.deployments:
            driver = drivers.get(resolved.target.name)
            if driver is None:
                incomplete.add(resolved.service)
                continue
            name = names(resolved.service, resolved.moved_from)
            known = self._rendered.get(resolved.service)
            if (
                known is None
                or known.resolved is not resolved
                or (known.deployment.key_name or resolved.service) != name
            ):
                deployment = _keyed(resolved, name)
                try:
                    resources = self._render(deployment, driver)
                except InvalidError as exc:
                    problems += exc.problems or [
                        Problem(exc.code, exc.message, deployment.position, exc.hint, f"Service/{deployment.service}")
                    ]
                    incomplete.add(deployment.service)
                    continue
                known = _Rendered(resolved, deployment, resources, _references_of(resources) if self.secrets else ())
            kept[resolved.service] = known
        self._rendered = kept
        rendered: list[Desired] = [*self._render_models(resolution.models), *(host for _, host in hosts)]
        keys: dict[str, Secret] = {}
        if self.secrets is not None:
            self.secrets.prepare(ref for each in kept.values() for ref in each.refs)
        deployments: dict[str, Deployment] = {}
        moves: dict[str, str] = {}
        for service, each in kept.items():
            deployment = deployments[service] = each.deployment
            if deployment.moved_from:
                moves[service] = deployment.moved_from
            resources, said = self._filled(each) if each.refs else (each.resources, ())
            if said:
                problems += said
                if errors_of(said):
                    incomplete.add(service)
                    continue
            rendered += resources
            primary = deployment.auth.primary if deployment.auth.enabled else None
            # Without what fills references in, only what is no reference can be a key.
            key = primary if self.secrets is None else self._secret(primary)
            if isinstance(key, Secret) and key.text is not None:
                keys[service] = key
        merged, clashes = self._merge(rendered)
        problems += clashes
        return DesiredState(
            revision=tree.revision,
            desired=merged,
            targets=used,
            services=frozenset(d.service for d in resolution.deployments) | incomplete,
            incomplete=frozenset(incomplete),
            whole=not errors_of(problems),
            problems=tuple(sorted(problems, key=lambda p: p.sort_key)),
            warnings=tuple(p for p in problems if p.severity is Severity.WARNING),
            keys=keys,
            deployments=deployments,
            moves=moves,
            environment=self.environment,
            unmatched=_unmatched(kept.values(), drivers, alone=bool(incomplete)),
            approval=frozenset(
                (
                    *(target.name for target in resolution.targets if target.approval),
                    *(host.id.target for target, host in hosts if target.approval),
                )
            ),
        )

    def _filled(self, rendered: _Rendered) -> tuple[tuple[Desired, ...], list[Problem]]:
        """The resources with their secrets: those of the last time while the secrets are the same and nothing is to be
        said about them."""
        if self.secrets is None:
            return rendered.resources, []
        secrets = tuple(self._secret(ref) for ref in rendered.refs)
        if rendered.filled and None not in secrets and secrets == rendered.secrets:
            return rendered.filled, []
        position = rendered.deployment.position
        filled: list[Desired] = []
        said: list[Problem] = []
        for desired in rendered.resources:
            one, problems = self.secrets.fill(desired, position)
            filled.append(one)
            said += problems
        rendered.secrets, rendered.filled = ((), ()) if said else (secrets, tuple(filled))
        return tuple(filled), said

    def _secret(self, ref: SecretRef | Secret | None) -> Secret | None:
        if isinstance(ref, Secret) or ref is None or self.secrets is None:
            return ref if isinstance(ref, Secret) else None
        found = self.secrets.secret(ref)
        return found if isinstance(found, Secret) else None

    def _render_models(self, models: tuple[ModelVersion, ...]) -> tuple[Desired, ...]:
        if self._models[0] is not models:
            found: list[Desired] = []
            for registry in self.registries:
                if isinstance(registry, Catalogue):
                    found += registry.render_models(models)
            self._models = (models, tuple(found))
        return self._models[1]

    def _hosts(self, targets: Sequence[Target]) -> list[tuple[Target, Desired]]:
        """What targets themselves are, where they ask for it to be made."""
        return [
            (target, host)
            for registry in self.registries
            if isinstance(registry, Hosts)
            for target, host in registry.render_targets(targets)
        ]

    def _render(self, deployment: Deployment, driver: Renderer) -> tuple[Desired, ...]:
        resources: list[Desired] = []
        needed: set[ResourceId] = set()
        own = list(driver.render(deployment))
        for desired in own:
            needed.update(desired.depends_on)
        for registry in self.registries:
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

    def _merge(self, rendered: Sequence[Desired]) -> tuple[tuple[Desired, ...], list[Problem]]:
        """One resource an id; shared ones belong to no service, and equal ones keep their identity between runs."""
        merged: dict[ResourceId, Desired] = {}
        shared: dict[ResourceId, list[Desired]] = {}
        for desired in rendered:
            first = merged.setdefault(desired.id, desired)
            if first is not desired:
                shared.setdefault(desired.id, [first]).append(desired)
        problems: list[Problem] = []
        for id_, group in shared.items():
            first = group[0]
            if any(other.spec != first.spec for other in group[1:]):
                services = " and ".join(sorted({d.service for d in group}))
                message = f"{id_} is wanted in two different ways, by {services}"
                problems.append(Problem("clash", message, hint="rename one of them", subject=str(id_)))
            policy = _shared_policy([d.policy for d in group])
            differ = any(d.service != first.service or d.warnings != first.warnings for d in group)
            if differ or policy is not first.policy:
                warnings = tuple(dict.fromkeys(w for d in group for w in d.warnings))
                merged[id_] = replace(first, service="", warnings=warnings, policy=policy)
        known = self._merged
        for id_, one in merged.items():
            before = known.get(id_)
            if before is not None and before is not one and before == one:
                merged[id_] = before
        self._merged = merged
        return tuple(merged.values()), problems


def _shared_policy(policies: Sequence[Policy]) -> Policy:
    """The policy of what several services want: theirs if they agree, else none but that it may be taken over."""
    first = policies[0]
    if all(policy is first or policy == first for policy in policies):
        return first
    apart = {replace(policy, adopt=False) for policy in policies}
    return replace(apart.pop() if len(apart) == 1 else Policy(), adopt=any(policy.adopt for policy in policies))


def sources_of(registries: Sequence[Renderer], asked: Sequence[Watched]) -> Mapping[Watched, SourceState]:
    """What the built-in registry finds at addresses of models; it is not bothered where there are none."""
    for registry in registries if asked else ():
        if isinstance(registry, Catalogue):
            return registry.sources(asked)
    return {}


def registered(registries: Sequence[Renderer]) -> Registered:
    """The model versions that the built-in registry holds."""
    for registry in registries:
        if isinstance(registry, Catalogue):
            return registry.catalogue()
    return {}


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
