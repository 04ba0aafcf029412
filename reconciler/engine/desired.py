"""Hops 3 and 4: from a tree to desired resources, remembering what did not change.

Loading and resolving are `reconciler.manifests`'; then drivers render and secrets are filled in (`rendering`), and what
several services share (a model version, an environment) becomes one resource (`merging`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from reconciler.core.changed import changed_places
from reconciler.core.contents import Revision, Tree
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import Deployment, ModelVersion, Target
from reconciler.core.driver import Catalogue, Hosts, Renderer
from reconciler.core.problems import Problem, Severity, errors_of
from reconciler.core.resources import Desired
from reconciler.core.secrets import Secret
from reconciler.core.sources import SourceState, Watched
from reconciler.engine.keynames import Names, by_document
from reconciler.engine.merging import Merged, merged
from reconciler.engine.rendering import Filler, Rendering, Renderings
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


@dataclass
class DesiredStates:
    """Computes desired states one after another, reusing what the last one computed.

    Args:
        drivers: A driver for each target name that services use; raises InvalidError for a type without one.
        registries: Drivers of the built-in registries, which every deployment is rendered through.
        secrets: Fills references in; None leaves them as they are, as in offline plans.
        environment: Whose overlay is laid over the documents; empty for none.
        key_names: Gives the names that generated keys are made of, as known now.
    """

    drivers: Callable[[Mapping[str, Target]], tuple[Mapping[str, Renderer], Sequence[Problem]]]
    registries: Sequence[Renderer]
    secrets: Filler | None
    cache: DocumentCache | None = None
    environment: str = ""
    key_names: Callable[[], Names] = by_document
    _repo: Repo | None = field(default=None, init=False)
    _environment: Environment | None = field(default=None, init=False)
    _resolution: Resolution | None = field(default=None, init=False)
    _used: tuple[Sequence[Deployment], Mapping[str, Target]] = field(default=((), {}), init=False)
    _models: tuple[tuple[ModelVersion, ...], tuple[Desired, ...]] = field(default=((), ()), init=False)
    _hosts: tuple[Sequence[Target], Sequence[tuple[Target, Desired]]] = field(default=((), ()), init=False)
    _merged: Merged = field(default_factory=Merged, init=False)

    def __post_init__(self) -> None:
        self._rendering = Rendering(self.registries, self.secrets)

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
        hosts = self._render_hosts(resolution.targets)
        used = self._targets_used(resolution.deployments)
        drivers, unknown_types = self.drivers({**used, **{target.name: target for target, _ in hosts}})
        problems += unknown_types
        hosts = [(target, host) for target, host in hosts if target.name in drivers]
        rendered = self._rendering.of(resolution.deployments, drivers, self.key_names())
        alone = [*self._render_models(resolution.models), *(host for _, host in hosts)]
        self._merged = merged(alone, rendered.groups, self._merged)
        problems += (*rendered.problems, *self._merged.problems)
        incomplete = rendered.failed.union(resolution.incomplete)
        return DesiredState(
            revision=tree.revision,
            desired=tuple(self._merged.resources.values()),
            targets=used,
            services=incomplete.union(rendered.services),
            incomplete=incomplete,
            whole=not errors_of(problems),
            problems=tuple(sorted(problems, key=lambda p: p.sort_key)),
            warnings=tuple(p for p in problems if p.severity is Severity.WARNING),
            keys=rendered.keys,
            deployments=rendered.deployments,
            moves=rendered.moves,
            environment=self.environment,
            unmatched=_unmatched(rendered, drivers, alone=bool(incomplete)),
            approval=frozenset(
                (
                    *(target.name for target in resolution.targets if target.approval),
                    *(host.id.target for target, host in hosts if target.approval),
                )
            ),
        )

    def _targets_used(self, deployments: Sequence[Deployment]) -> Mapping[str, Target]:
        """By name, those that services name: the same mapping while what changed stays where it was."""
        before, used = self._used
        places = changed_places(deployments, before)
        if places is None or any(deployments[place].target is not before[place].target for place in places):
            used = {deployment.target.name: deployment.target for deployment in deployments}
        self._used = (deployments, used)
        return used

    def _render_models(self, models: tuple[ModelVersion, ...]) -> tuple[Desired, ...]:
        if self._models[0] is not models:
            found: list[Desired] = []
            for registry in self.registries:
                if isinstance(registry, Catalogue):
                    found += registry.render_models(models)
            self._models = (models, tuple(found))
        return self._models[1]

    def _render_hosts(self, targets: Sequence[Target]) -> Sequence[tuple[Target, Desired]]:
        """What targets themselves are, where they ask for it to be made."""
        if changed_places(targets, self._hosts[0]) != []:
            found: list[tuple[Target, Desired]] = []
            for registry in self.registries:
                if isinstance(registry, Hosts):
                    found += registry.render_targets(targets)
            self._hosts = (targets, found)
        return self._hosts[1]


def _unmatched(rendered: Renderings, drivers: Mapping[str, Renderer], *, alone: bool) -> tuple[Unmatched, ...]:
    """Drift rules that speak of nothing.

    Args:
        alone: Only of the services' own rules this can be said: others may be meant for services not rendered.
    """
    if not rendered.ruled:
        return ()
    from reconciler.core.unmatched import unmatched_rules

    # What services share has no policy of a service.
    own = (
        (
            [rule for rule in each.deployment.policy.rules if not alone or rule.origin == "service"],
            [d for d in each.resources if d.id.target == each.deployment.target.name],
        )
        for each in map(rendered.services.__getitem__, sorted(rendered.ruled))
    )
    return tuple(unmatched_rules(own, {name: driver.capabilities for name, driver in drivers.items()}))


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
