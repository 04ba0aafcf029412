"""References to values: every service that resolves whole as a deployment, and every problem of those that do not.

Pure but for reading the tree: no network, nothing of the repo is run. What did not change since the last resolution is
the same object in the next, so that whoever comes after may compare by identity.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from reconciler.core.contents import Revision, Tree
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import Deployment, Environment, ModelVersion, Target
from reconciler.core.policy import Policy
from reconciler.core.problems import Problem, Severity
from reconciler.core.sources import SourceState, Watched
from reconciler.manifests import layers, telemetry
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.collecting import uncollected
from reconciler.manifests.defaults import CLUSTER_BLOCK, TARGET_BLOCKS
from reconciler.manifests.inference import ResolvedInference, resolve_inference
from reconciler.manifests.model_lock import ModelLock, lock_for
from reconciler.manifests.models import ModelFamily, Pins, Registered, resolve_models
from reconciler.manifests.moves import wrong_moves
from reconciler.manifests.repo import Manifest, Repo
from reconciler.manifests.sealed import Sealed, SealedFiles
from reconciler.manifests.validate import did_you_mean

BUILT_IN = "local"
# Without a document nothing is asked of the machine: no container engine, whether or not there is one.
_BUILT_IN_SPEC: Mapping[str, Any] = {"type": BUILT_IN, "local": {"engine": "process"}}


@dataclass(frozen=True, slots=True)
class ResolvedService:
    """One service and what it was made from; `deployment` is None if it does not resolve."""

    inputs: tuple[object, ...]
    deployment: Deployment | None
    problems: tuple[Problem, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the next resolution builds on."""

    families: Mapping[str, ModelFamily]
    inference: Mapping[str, ResolvedInference]
    targets: Mapping[str, tuple[Manifest | None, Target]]
    services: Mapping[str, ResolvedService]
    defaults: Manifest | None = None
    broken: frozenset[tuple[str, str]] = frozenset()
    sealed: Mapping[str, Sealed] = field(default_factory=dict[str, Sealed])


@dataclass(frozen=True, slots=True)
class Resolution:
    """What Git wants at one revision.

    Args:
        deployments: Every service that resolves whole, by name.
        models: Every version the repo declares or a deployment uses, by name and number.
        targets: Every declared target and the built-in one, by name.
        problems: Of loading and resolving, sorted by place.
        complete: No error anywhere: what is missing was removed on purpose. While it is false nothing may be deleted.
        incomplete: Services that exist but did not resolve -> why, in a few words.
    """

    revision: Revision
    deployments: tuple[Deployment, ...]
    models: tuple[ModelVersion, ...]
    targets: tuple[Target, ...]
    problems: tuple[Problem, ...]
    complete: bool
    incomplete: Mapping[str, str]
    memory: Memory = field(repr=False, compare=False)


def resolve(
    repo: Repo,
    tree: Tree,
    registered: Registered,
    previous: Resolution | None = None,
    cache: DocumentCache | None = None,
    lock: ModelLock | None = None,
    sources: Mapping[Watched, SourceState] | None = None,
) -> Resolution:
    """Deployments, model versions and targets of a loaded repo.

    Args:
        registered: What the model registry holds: name -> version -> digest.
        previous: The last resolution; deployments whose inputs are the same stay the same objects.
        cache: Remembers digests of models and facts about scripts by Git's id.
        lock: The tree's, where it was read already.
        sources: What registries found at the addresses that `models.watched` names.
    """
    with uncollected():
        lock = lock if lock is not None else lock_for(repo, tree, cache)
        return _Run(repo, tree, registered, previous, cache, lock, sources).resolution()


class _Run:
    """One resolution; tables are filled as services ask for them."""

    def __init__(
        self,
        repo: Repo,
        tree: Tree,
        registered: Registered,
        previous: Resolution | None,
        cache: DocumentCache | None,
        lock: ModelLock,
        sources: Mapping[Watched, SourceState] | None,
    ) -> None:
        self.repo, self.tree, self.registered, self.cache = repo, tree, registered, cache
        self.previous = previous
        self.lock = lock
        self.pins = Pins(lock, repo.defaults, sources)
        self.before = previous.memory if previous is not None else Memory({}, {}, {}, {})
        self.defaults: Mapping[str, Any] = repo.defaults.spec if repo.defaults is not None else {}
        self.without_defaults = any(kind == "Defaults" for kind, _ in repo.broken)
        self.families: dict[str, ModelFamily] = {}
        self.inference: dict[str, ResolvedInference] = {}
        self.targets: dict[str, tuple[Manifest | None, Target]] = {}
        self.services: dict[str, ResolvedService] = {}
        # By the identity of a target and an inference config of this resolution.
        self.shared_layers: dict[tuple[int, int], layers.SharedLayers] = {}
        # What sends telemetry joins an environment once for all services that share it.
        self.telling: dict[int, Environment] = {}
        self.sealed = SealedFiles(tree, cache, self.before.sealed)
        self.broken_files = sorted({p.position.file for p in repo.problems if p.position and _is_error(p)})

    def resolution(self) -> Resolution:
        repo = self.repo
        for name, documents in repo.models.items():
            self.families[name] = self._family(name, documents)
        for name, document in repo.inference.items():
            self.inference[name] = resolve_inference(document, self.tree, self.cache, self.before.inference.get(name))
        for name, document in repo.targets.items():
            self.targets[name] = self._target(name, document)
        if BUILT_IN not in self.targets and ("Target", BUILT_IN) not in repo.broken:
            self.targets[BUILT_IN] = self._target(BUILT_IN, None)
        problems = [*repo.problems, *self.lock.problems]
        problems += self._defaults_problems()
        self._services()
        for document in (repo.defaults, *repo.targets.values(), *repo.inference.values()):
            problems += self.sealed.of(document) if document is not None else ()
        clashes = [(name, problem, "its port is taken by another service") for name, problem in self._port_clashes()]
        moves = wrong_moves("Service", repo.services.values(), repo.broken)
        clashes += [(p.subject.rpartition("/")[2], p, "what it moved from is not clear") for p in moves]
        problems += wrong_moves("Model", (d for documents in repo.models.values() for d in documents), repo.broken)
        for family in self.families.values():
            problems += family.problems
        for inference in self.inference.values():
            problems += inference.problems
        incomplete = {name: "its manifest cannot be used" for kind, name in repo.broken if kind == "Service" and name}
        for name, service in self.services.items():
            if service.problems:
                problems += service.problems
            if service.deployment is None:
                incomplete[name] = service.why
        for name, problem, why in clashes:
            problems.append(problem)
            incomplete[name] = why
        problems.sort(key=lambda problem: problem.sort_key)
        deployments = tuple(
            service.deployment
            for name, service in self.services.items()
            if service.deployment is not None and name not in incomplete
        )
        models = self._all_models(deployments)
        if self.previous is not None:
            deployments = _kept(self.previous.deployments, deployments)
            models = _kept(self.previous.models, models)
        return Resolution(
            revision=repo.revision,
            deployments=deployments,
            models=models,
            targets=tuple(self.targets[name][1] for name in sorted(self.targets)),
            problems=tuple(problems),
            complete=not any(_is_error(problem) for problem in problems),
            incomplete=dict(sorted(incomplete.items())),
            memory=Memory(
                self.families,
                self.inference,
                self.targets,
                self.services,
                repo.defaults,
                repo.broken,
                self.sealed.known,
            ),
        )

    def _services(self) -> None:
        """Every service; the same document with the same references is the same deployment.

        A model known from the registry alone gets its family when a service asks for it, so it counts as changed here
        and its services are looked at one by one.
        """
        before = self.before
        models = _changed(before.families, self.families)
        inference = _changed(before.inference, self.inference)
        same_rest = (
            not self.sealed.changed()
            and before.defaults is self.repo.defaults
            and before.broken == self.repo.broken
            and not _changed(before.targets, self.targets)
        )
        nothing: Mapping[str, ResolvedService] = {}
        earlier = before.services if same_rest else nothing
        documents, resolved = self.repo.services, self.services
        for name in sorted(documents):
            document = documents[name]
            known = earlier.get(name)
            if (
                known is None
                or known.deployment is None
                or known.inputs[0] is not document
                or (inference and document.spec["inference"] in inference)
                or (models and any(ref["name"] in models for ref in document.spec.get("models", ())))
            ):
                known = self._service(document)
            resolved[name] = known

    def _family(self, name: str, documents: tuple[Manifest, ...]) -> ModelFamily:
        registered = self.registered.get(name, {})
        earlier: dict[str, str | None] = {}
        for document in documents:
            if document.moved_from:
                earlier.update(self.registered.get(document.moved_from, {}))
        before = self.before.families.get(name)
        return resolve_models(name, documents, self.tree, registered, self.cache, before, self.pins, earlier)

    def _target(self, name: str, document: Manifest | None) -> tuple[Manifest | None, Target]:
        before = self.before.targets.get(name)
        sealed = document is not None and bool(document.sealed)
        if before is not None and before[0] is document and not sealed:
            return before
        spec: Mapping[str, Any] = document.spec if document is not None else _BUILT_IN_SPEC
        kind = spec["type"]
        block = layers.plain(layers.merged(TARGET_BLOCKS[kind], spec.get(kind) or {}))
        if block.get("create") is not None:
            block["create"] = layers.merged(CLUSTER_BLOCK, block["create"])
        if document is not None and sealed:
            self.sealed.of(document)
            block = self.sealed.complete(block)
        position = document.position if document is not None else None
        policy: Mapping[str, Any] = spec.get("policy") or {}
        approval = policy.get("approval") == "required"
        own = Policy()
        if document is not None and policy and layers.made_by_itself(spec):
            own = layers.with_policy(own, f"target {name}", policy, document.at)
        made = document, Target(name, kind, block, position, approval, own)
        return before if before is not None and before[0] is document and before == made else made

    def _defaults_problems(self) -> list[Problem]:
        document = self.repo.defaults
        if document is None or "target" not in self.defaults:
            return []
        return self._dangling(document, "/spec/target", "Target", self.defaults["target"], self.targets)

    def _service(self, document: Manifest) -> ResolvedService:
        spec = document.spec
        target = self.targets.get(spec.get("target") or self.defaults.get("target") or BUILT_IN)
        inference = self.inference.get(spec["inference"])
        models = [self._model(ref) for ref in spec.get("models", ())]
        sealed, badly_sealed = self._sealed(document, target, inference)
        inputs = (document, self.repo.defaults, target, inference, *models, *sealed)
        before = self.before.services.get(document.name)
        if before is not None and len(before.inputs) == len(inputs):
            same = all(map(operator.is_, before.inputs, inputs))
            if same and before.deployment is not None:
                return before
        problems: list[Problem] = []
        why = ""
        if target is None or inference is None or inference.entry is None or None in models or self.without_defaults:
            problems, why = self._missing(document, models)
        problems += self.sealed.of(document)
        why = why or badly_sealed
        if why or problems or target is None or inference is None or inference.entry is None:
            return ResolvedService(inputs, None, tuple(problems), why or "a reference leads nowhere")
        kind = target[1].type
        shared = self._shared_layers(target, inference)
        settings, environment = shared.settings(spec.get("deployment") or {}), inference.environment or _never()
        if telemetry.asked(settings):
            connected = telemetry.connected(settings)
            if connected is None:
                problem = telemetry.unconnected(document, kind, (document, target[0], self.repo.defaults))
                return ResolvedService(inputs, None, (problem,), "its telemetry leads nowhere")
            settings, environment = connected, self._telling(environment)
        deployment = Deployment(
            service=document.name,
            target=target[1],
            models=tuple(model for model in models if model is not None),
            entry=inference.entry,
            environment=environment,
            image=inference.image or _never(),
            auth=layers.auth(spec.get("auth") or {}, kind, document.name),
            settings=settings,
            tests=layers.smoke_tests(spec.get("tests", ())),
            policy=shared.policy(spec.get("policy") or {}, document.at),
            description=document.description,
            tags=document.tags,
            position=document.position,
            moved_from=document.moved_from,
        )
        return ResolvedService(inputs, self.sealed.completed(deployment) if sealed else deployment)

    def _telling(self, environment: Environment) -> Environment:
        known = self.telling.get(id(environment))
        if known is None:
            known = self.telling[id(environment)] = replace(environment, telemetry=True)
        return known

    def _sealed(
        self, document: Manifest, target: tuple[Manifest | None, Target] | None, inference: ResolvedInference | None
    ) -> tuple[list[Sealed], str]:
        """The encrypted files that a service's documents refer to, and whether another document does so wrongly."""
        others = (self.repo.defaults, target[0] if target else None, inference.inputs[0] if inference else None)
        found: list[Sealed] = []
        why = ""
        for each in (document, *others):
            if isinstance(each, Manifest) and each.sealed:
                if self.sealed.of(each) and each is not document:
                    why = f"a secret of {each.subject} cannot be found"
                found += self.sealed.files_of(each)
        return found, why

    def _shared_layers(
        self, target: tuple[Manifest | None, Target], inference: ResolvedInference
    ) -> layers.SharedLayers:
        known = self.shared_layers.get((id(target), id(inference)))
        if known is None:
            stack = [
                (origin, layer)
                for origin, layer in (("defaults", self.repo.defaults), (f"target {target[1].name}", target[0]))
                if layer is not None
            ]
            policy = Policy()
            for origin, layer in stack:
                policy = layers.with_policy(policy, origin, layer.spec.get("policy") or {}, layer.at)
            settings: list[layers.Layer] = [layer.spec.get("deployment") or {} for _, layer in stack]
            known = layers.SharedLayers(target[1].type, inference.variables or {}, settings, policy)
            self.shared_layers[id(target), id(inference)] = known
        return known

    def _model(self, ref: Mapping[str, Any]) -> ModelVersion | None:
        name = ref["name"]
        family = self.families.get(name)
        if family is None:
            if name not in self.registered or ("Model", name) in self.repo.broken:
                return None
            family = self.families[name] = self._family(name, ())
        if not family.sound or ("Model", name) in self.repo.broken:
            return family.versions.get(str(ref.get("version", "latest")))
        return family.find(ref.get("version", "latest"))

    def _missing(self, document: Manifest, models: list[ModelVersion | None]) -> tuple[list[Problem], str]:
        """Problems with the references of a service, and why it cannot be resolved if another document is at fault."""
        spec = document.spec
        problems: list[Problem] = []
        # What would be made without them is another deployment than anybody asked for.
        why = "the Defaults cannot be used" if self.without_defaults else ""
        target = spec.get("target")
        if target is not None:
            problems += self._dangling(document, "/spec/target", "Target", target, self.targets)
        used = target or self.defaults.get("target") or BUILT_IN
        if used not in self.targets:
            why = why or f"Target/{used} cannot be used"
        name = spec["inference"]
        problems += self._dangling(document, "/spec/inference", "InferenceConfig", name, self.inference)
        inference = self.inference.get(name)
        if inference is None or inference.entry is None:
            why = why or f"InferenceConfig/{name} cannot be used"
        for index, (ref, model) in enumerate(zip(spec.get("models", ()), models, strict=True)):
            if model is None:
                problems += self._dangling_model(document, f"/spec/models/{index}", ref)
                why = why or f"Model/{ref['name']} cannot be used"
        return problems, why

    def _dangling(
        self, document: Manifest, pointer: str, kind: str, name: str, known: Mapping[str, object]
    ) -> list[Problem]:
        if name in known or (kind, name) in self.repo.broken:
            return []
        return [
            Problem(
                "dangling-reference",
                f"there is no {kind} '{name}'",
                document.at(pointer),
                self._meant(name, known),
                document.subject,
            )
        ]

    def _dangling_model(self, document: Manifest, pointer: str, ref: Mapping[str, Any]) -> list[Problem]:
        name, version = ref["name"], ref.get("version", "latest")
        family = self.families.get(name)
        if ("Model", name) in self.repo.broken or (family is not None and not family.sound):
            return []
        if family is None:
            at = f"{pointer}/name"
            known = {**self.repo.models, **self.registered}
            return self._dangling(document, at, "Model", name, known)
        hint = f"there is {', '.join(family.known())}" if family.known() else ""
        message = f"there is no version {version} of model '{name}'"
        return [Problem("dangling-reference", message, document.at(f"{pointer}/version"), hint, document.subject)]

    def _meant(self, name: str, known: Mapping[str, object]) -> str:
        hint = did_you_mean(name, list(known))
        if hint:
            return hint
        if ("", "") in self.repo.broken and self.broken_files:
            return f"it may stand in {self.broken_files[0]}, which cannot be read"
        return f"known: {', '.join(sorted(known)[:10])}" if known else "none is declared"

    def _port_clashes(self) -> list[tuple[str, Problem]]:
        """Services that ask for the same port of the same machine: none of them is touched, since any may run."""
        ports: dict[tuple[str, int], list[str]] = {}
        for name, service in self.services.items():
            deployment = service.deployment
            if deployment is not None and deployment.target.type == "local" and deployment.settings.port is not None:
                ports.setdefault((deployment.target.name, deployment.settings.port), []).append(name)
        clashes: list[tuple[str, Problem]] = []
        for (target, port), names in ports.items():
            for name in names if len(names) > 1 else ():
                document = self.repo.services[name]
                others = ", ".join(other for other in names if other != name)
                message = f"port {port} at target '{target}' is also wanted by {others}"
                hint = "give each service its own port, or leave `port` out to get a free one"
                where = _port_position(document)
                clashes.append((name, Problem("port-clash", message, document.at(where), hint, document.subject)))
        return clashes

    def _all_models(self, deployments: Iterable[Deployment]) -> tuple[ModelVersion, ...]:
        found = {(m.name, int(m.version)): m for family in self.families.values() for m in family.versions.values()}
        if any(family.older for family in self.families.values()):
            for deployment in deployments:
                for model in deployment.models:
                    found.setdefault((model.name, int(model.version)), model)
        return tuple(found[key] for key in sorted(found))


def _port_position(document: Manifest) -> str:
    deployment: Mapping[str, Any] = document.spec.get("deployment") or {}
    local: Mapping[str, Any] = deployment.get("local") or {}
    if "port" in local:
        return "/spec/deployment/local/port"
    return "/spec/deployment/port" if "port" in deployment else ""


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Names that lead to something else than before."""
    changed = {name for name, value in after.items() if before.get(name) is not value}
    if len(before) + len(changed) != len(after) or changed:
        changed.update(name for name in before if name not in after)
    return changed


_T = TypeVar("_T")


def _kept(before: tuple[_T, ...], after: tuple[_T, ...]) -> tuple[_T, ...]:
    """The earlier tuple if it holds the very same things."""
    return before if len(before) == len(after) and all(map(operator.is_, before, after)) else after


def _is_error(problem: Problem) -> bool:
    return problem.severity is Severity.ERROR


def _never() -> Any:
    raise AssertionError("an inference config with an entry script has the rest")
