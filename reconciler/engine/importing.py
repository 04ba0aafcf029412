"""Import: from what stands at a target to the manifests after which a plan has nothing to change there.

The driver says in a manifest's words what it sees; here that is completed by what the repo has already (an
InferenceConfig that gives the same, the source under Git's id, the files that make the same environment), and checked
by the planner itself: the proposal holds what a plan would do if its files were there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from reconciler.core.change import Plan
from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import ENVIRONMENTS_TARGET, Target
from reconciler.core.described import Code, Described, SourceFile, Unsaid
from reconciler.core.driver import Catalogue, Describes, Driver
from reconciler.core.errors import InvalidError, ReconcilerError, RefusedError, TargetError, UsageError
from reconciler.core.plan import plan
from reconciler.core.problems import errors_of
from reconciler.core.proposal import Proposal
from reconciler.core.resources import Completeness, Desired, Mark, Observation, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.situation import Situation
from reconciler.core.values import lookup, split_pointer, transform, walk
from reconciler.engine.desired import DesiredState, DesiredStates
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.secrets import Keyring
from reconciler.manifests.importing import Below, file_of, inference_document, service_document
from reconciler.manifests.inference import ResolvedInference
from reconciler.manifests.load import load
from reconciler.manifests.overlays.environment import in_environment
from reconciler.manifests.repo import Repo
from reconciler.manifests.resolve import BUILT_IN, Resolution, resolve
from reconciler.manifests.validate import did_you_mean

_MOST_FOLDERS = 2_000
_MOST_LISTED = 10
_ENVIRONMENT_FILES = (".yml", ".yaml", ".txt")
_LARGEST_ENVIRONMENT_FILE = 1 << 20

_NOT_KEPT = Unsaid("tests, tags, description and drift rules", "no target keeps them: write anew those it had")

AddFiles = Callable[[Tree, Sequence[SourceFile]], Tree]


@dataclass
class Importing:
    """Imports at one revision.

    Args:
        states: Renders documents and leaves references to secrets as they are.
        add: Makes a tree with more files.
        env_prefixes: How variables begin that manifests may refer to, as the operator's settings have it.
    """

    reconciler: Reconciler
    states: DesiredStates
    keyring: Keyring
    tree: Tree
    add: AddFiles
    env_prefixes: Sequence[str] = ()
    _repo: Repo = field(init=False)
    _resolution: Resolution = field(init=False)

    def __post_init__(self) -> None:
        self._repo = self._load(self.tree)
        self._resolution = self._resolve(self._repo, self.tree)

    def _load(self, tree: Tree) -> Repo:
        return in_environment(load(tree, self.states.cache), self.states.environment, self.states.cache).repo

    def _resolve(self, repo: Repo, tree: Tree) -> Resolution:
        found = [r.catalogue() for r in self.reconciler.registries if isinstance(r, Catalogue)]
        return resolve(repo, tree, found[0] if found else {}, None, self.states.cache)

    def propose(self, target: str, name: str, service: str) -> Proposal:
        """What to write for something that stands at a target.

        Args:
            name: As the target has it.
            service: What the service is to be called.

        Raises:
            UsageError: There is no such target, or nothing of that name stands there.
            InvalidError: Nothing can be imported from there, or what it is made of is not known any more.
            RefusedError: A service of that name exists, or what stands there can have no other name than its own.
            TargetError: The target cannot be read.
        """
        of_target = self._target(target)
        self._free(service)
        driver = self._driver(of_target)
        described = driver.describe(name, service)
        if described is None:
            raise _nothing(target, name, service, driver.describable())
        observed = described.observed
        known = self._known_references(described)
        missing = self._missing_references(described, service, known)
        references = {**missing, **known}
        below = self._below(of_target)
        adopt = not observed.owned_by(self.reconciler.installation)

        def documents(uses: str, written: Mapping[str, Any] | None) -> SourceFile:
            variables = self._variables(uses)
            own = [] if written is None else [inference_document(service, written)]
            made = service_document(
                described, service, uses or service, replace(below, variables=variables), references, adopt=adopt
            )
            text = file_of(observed.id, [made, *own], unsaid)
            return SourceFile(f"services/{service}.yaml", text.encode())

        unsaid = (*described.unsaid, *(_of_mark(observed.mark, self.reconciler.installation) if observed.mark else ()))
        uses, written, sources, more = self._inference(described, service, documents)
        unsaid += more
        files = (documents(uses, written), *sources)
        state = self.states.of(self.add(self.tree, files))
        problems = errors_of([p for p in state.problems if p.subject in _subjects(service)])
        made = self._plan(driver, of_target, state, described, service)
        return Proposal(service, described, files, uses, missing, made, tuple(problems), unsaid)

    def bind(self, proposal: Proposal, name: str) -> None:
        """Has the target know what stands where the service's own would."""
        self._driver(self._target(proposal.id.target)).bind(name, proposal.service)

    # Where

    def _free(self, service: str) -> None:
        document = self._repo.services.get(service)
        if document is not None or ("Service", service) in self._repo.broken:
            where = str(document.position) if document is not None else "its document has errors"
            raise RefusedError(
                f"service {service} exists already: {where}", hint="nothing is overwritten; give another name with --as"
            )
        file = f"services/{service}.yaml"
        if self.tree.object_id(file) is not None:
            raise RefusedError(f"{file} exists already", hint="nothing is overwritten; give another name with --as")

    def _target(self, name: str) -> Target:
        known = {target.name: target for target in self._resolution.targets}
        if name in known:
            return known[name]
        recorded = self.reconciler.store.targets()
        if name in recorded:
            raise InvalidError(f"target {name} is in no manifest", hint="write its document first: kind: Target")
        if ("Target", name) in self._repo.broken:
            raise InvalidError(f"the document of target {name} has errors", hint="`reconciler validate` says which")
        raise UsageError(
            f"there is no target {name!r}", hint=did_you_mean(name, list(known)) or f"there are {', '.join(known)}"
        )

    def _driver(self, target: Target) -> Any:
        drivers, problems = self.reconciler.drivers({target.name: target})
        driver = drivers.get(target.name)
        if driver is None:
            raise InvalidError(problems[0].message if problems else f"target {target.name} has no driver")
        if not isinstance(driver, Describes):
            raise InvalidError(
                f"what stands at a target of type {target.type} cannot be said in manifests yet",
                hint="write them by hand; `policy: {adopt: true}` takes over what stands there",
            )
        return driver

    def _below(self, target: Target) -> Below:
        defaults: Mapping[str, Any] = self._repo.defaults.spec if self._repo.defaults is not None else {}
        document = self._repo.targets.get(target.name)
        of_target: Mapping[str, Any] = document.spec if document is not None else {}
        stack = tuple(_deployment_of(layer) for layer in (defaults, of_target))
        return Below(target.name, target.type, (defaults.get("target") or BUILT_IN) == target.name, stack, {})

    def _variables(self, inference: str) -> Mapping[str, Any]:
        document = self._repo.inference.get(inference)
        return (document.spec.get("environmentVariables") or {}) if document is not None else {}

    def _known_references(self, described: Described) -> dict[str, SecretRef]:
        """Where secrets came from, by variable, as far as that is recorded."""
        baseline = self.reconciler.store.baselines().get(described.observed.id)
        found: dict[str, SecretRef] = {}
        for name, value in _secrets(described):
            sent = lookup(baseline.sent, f"/environmentVariables/{name}") if baseline is not None else None
            if isinstance(sent, Secret) and sent == value and sent.ref is not None:
                found[name] = sent.ref
        return found

    def _missing_references(
        self, described: Described, service: str, known: Mapping[str, SecretRef]
    ) -> dict[str, SecretRef]:
        """Variables that the other secrets are to be put into."""
        names = [name for name, _ in _secrets(described) if name not in known]
        return {name: SecretRef("env", self._variable(service, name)) for name in names}

    def _variable(self, service: str, name: str) -> str:
        own = f"{service.upper().replace('-', '_')}_{name}"
        prefix = next(iter(self.env_prefixes), "")
        return own if not prefix or own.startswith(tuple(self.env_prefixes)) else f"{prefix}{own}"

    # What is served

    def _inference(
        self, described: Described, service: str, documents: Callable[[str, Mapping[str, Any] | None], SourceFile]
    ) -> tuple[str, Mapping[str, Any] | None, tuple[SourceFile, ...], tuple[Unsaid, ...]]:
        """The InferenceConfig: the name of one that is there, else the spec of one to write, and its files."""
        for name in self._alike(described):
            if not described.built:
                return name, None, (), ()
            # An image is called after all that it is made of: the one that gives this name is the one.
            state = self.states.of(self.add(self.tree, [documents(name, None)]))
            wanted = next((d for d in state.desired if d.id == described.observed.id), None)
            if wanted is not None and wanted.spec.get("image") == described.image:
                return name, None, (), ()
        if service in self._repo.inference:
            raise RefusedError(
                f"InferenceConfig {service} exists already: {self._repo.inference[service].position}",
                hint="nothing is overwritten; give another name with --as",
            )
        if described.code is None:
            return "", {"image": described.image}, (), _of_built(described)
        return self._written(described.code, service, documents)

    def _alike(self, described: Described) -> Iterator[str]:
        """InferenceConfigs that may be the one."""
        for name, found in self._resolution.memory.inference.items():
            if found.entry is None or found.image is None or found.environment is None:
                continue
            if described.code is not None:
                if _same_code(found, described.code):
                    yield name
            elif not found.image.image if described.built else found.image.image == described.image:
                yield name

    def _written(
        self, code: Code, service: str, documents: Callable[[str, Mapping[str, Any] | None], SourceFile]
    ) -> tuple[str, Mapping[str, Any], tuple[SourceFile, ...], tuple[Unsaid, ...]]:
        folder, files = self._source(code, service)
        where = {"entryScript": posixpath.join(folder, code.script)}
        if not code.single_file:
            where = {"sourceDirectory": folder or ".", "entryScript": code.script}
        tree = self.add(self.tree, files)
        name, identity = code.environment
        for candidate in self._environments(code, tree, folder, files):
            spec = {**where, **candidate}
            found = self._resolved(tree, documents("", spec), service)
            if found is not None and found.environment is not None and found.environment.identity == identity:
                return "", spec, files, ()
        recorded = self._environment_record(name)
        if recorded is None:
            raise InvalidError(
                f"what is in the Python environment {name} is not recorded any more, and no file of the repo makes it",
                hint="write an InferenceConfig for the service by hand, or bring its files back from Git's history",
            )
        other = Unsaid(
            f"the files that environment {name} was declared by",
            "its packages are written out in their place, which makes another environment: it is built and rolled out",
        )
        return "", {**where, "environment": _written_out(recorded)}, files, (other,)

    def _source(self, code: Code, service: str) -> tuple[str, tuple[SourceFile, ...]]:
        """The folder of the source, and the files to write for it: none if the repo has it still."""
        for path, object_id in _below_folder(self.tree):
            if object_id == code.object_id and (not code.single_file or posixpath.basename(path) == code.script):
                return (posixpath.dirname(path) if code.single_file else path), ()
        if not code.files:
            raise InvalidError(
                f"the source of the service ({code.object_id[:12]}) is neither at the target nor in the repo",
                hint="bring it back from Git's history, and write an InferenceConfig by hand",
            )
        folder = f"inference/{service}"
        if self.tree.object_id(folder) is not None:
            raise RefusedError(f"{folder} exists already", hint="nothing is overwritten; give another name with --as")
        return folder, tuple(replace(file, path=f"{folder}/{file.path}") for file in code.files)

    def _environments(
        self, code: Code, tree: Tree, folder: str, files: Sequence[SourceFile]
    ) -> Iterator[Mapping[str, Any]]:
        """Ways to declare an environment, those that are most likely the one first."""
        names = [file.path for file in files] or [path for path, _ in _below_folder(self.tree)]
        for path in names:
            if not path.endswith(_ENVIRONMENT_FILES) or tree.is_folder(path):
                continue
            if tree.size(path) > _LARGEST_ENVIRONMENT_FILE:
                continue
            within = path if code.single_file else posixpath.relpath(path, folder or ".")
            yield {"requirementsFile" if path.endswith(".txt") else "condaFile": within}
        recorded = self._environment_record(code.environment[0])
        yield from ({}, {"environment": _written_out(recorded)}) if recorded is not None else ({},)

    def _environment_record(self, name: str) -> Mapping[str, Any] | None:
        id_ = ResourceId(ENVIRONMENTS_TARGET, "environment", name)
        driver = next((r for r in self.reconciler.registries if r.target == ENVIRONMENTS_TARGET), None)
        seen = driver.observe([id_]).resources.get(id_) if driver is not None else None
        return seen.spec if seen is not None and "requirements" in seen.spec else None

    def _resolved(self, tree: Tree, file: SourceFile, service: str) -> ResolvedInference | None:
        there = self.add(tree, [file])
        return self._resolve(self._load(there), there).memory.inference.get(service)

    # What a plan would do

    def _plan(self, driver: Driver, target: Target, state: DesiredState, described: Described, service: str) -> Plan:
        observed = described.observed
        own = [d for d in state.desired if d.service == service and d.id.target == target.name]
        needed = {id_ for desired in own for id_ in desired.depends_on}
        shared = [d for d in state.desired if d.id in needed]
        observations = {target.name: Observation(target.name, Completeness.COMPLETE, {observed.id: observed})}
        for registry in self.reconciler.registries:
            ids = [d.id for d in shared if d.id.target == registry.target]
            try:
                observations[registry.target] = registry.observe(ids)
            except TargetError as error:
                observations[registry.target] = Observation(
                    registry.target, Completeness.UNAVAILABLE, missing=error.message
                )
        drivers = {target.name: driver, **{r.target: r for r in self.reconciler.registries}}
        ids = {d.id for d in (*own, *shared)}
        return plan(
            Situation(
                revision=state.revision,
                desired=[*shared, *(self._filled(d, described) for d in own)],
                observations=observations,
                capabilities={name: each.capabilities for name, each in drivers.items()},
                baselines={i: b for i, b in self.reconciler.store.baselines().items() if i in ids},
                installation=self.reconciler.installation,
                deployments=state.deployments,
                environment=state.environment,
            )
        )

    def _filled(self, desired: Desired, described: Described) -> Desired:
        """The resource with its generated keys, and with the secrets that are there in place of references to them.

        A secret whose text nobody here can tell from another stays a reference, and so counts as changed.
        """
        variables = described.deployment.get("environmentVariables", {})
        known: dict[SecretRef, Secret] = {}
        for pointer, leaf in walk(desired.spec):
            if not isinstance(leaf, SecretRef):
                continue
            there = variables.get(split_pointer(pointer)[-1])
            made = self.keyring.secret(leaf) if leaf.source == "generated" else there
            if isinstance(made, Secret) and made.fingerprint:
                known[leaf] = made
        spec = transform(desired.spec, lambda leaf: known.get(leaf, leaf) if isinstance(leaf, SecretRef) else leaf)
        return replace(desired, spec=spec)


def _of_mark(mark: Mark, installation: str) -> Iterator[Unsaid]:
    yield _NOT_KEPT
    if mark.installation != installation:
        whose = f"that it is marked by installation {mark.installation}"
        yield Unsaid(whose, "if that one still runs, both manage it, and each takes it back from the other")


def _deployment_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return spec.get("deployment") or {}


def _secrets(described: Described) -> list[tuple[str, Secret]]:
    variables: Mapping[str, Any] = described.deployment.get("environmentVariables", {})
    return [(name, value) for name, value in sorted(variables.items()) if isinstance(value, Secret)]


def _subjects(service: str) -> tuple[str, str]:
    return f"Service/{service}", f"InferenceConfig/{service}"


def _of_built(described: Described) -> tuple[Unsaid, ...]:
    if not described.built:
        return ()
    return (
        Unsaid(
            f"what image {described.image} was built of",
            "no InferenceConfig of the repo makes it, so it is run as a finished image, in a new container",
        ),
    )


def _same_code(found: ResolvedInference, code: Code) -> bool:
    entry, environment = found.entry, found.environment
    if entry is None or environment is None:
        return False
    same = (entry.path, entry.object_id, entry.single_file) == (code.script, code.object_id, code.single_file)
    return same and code.environment[1] in ("", environment.identity) and environment.id.name == code.environment[0]


def _written_out(recorded: Mapping[str, Any]) -> dict[str, Any]:
    python = str(recorded.get("python") or "")
    return {**({"python": python} if python else {}), "dependencies": list(recorded["requirements"])}


def _below_folder(tree: Tree) -> Iterator[tuple[str, str]]:
    """Paths of a tree with their ids, folders before what is in them; not without end."""

    def every(folder: str) -> Iterator[tuple[str, str]]:
        for name in sorted(tree.names(folder)):
            path = posixpath.join(folder, name)
            try:
                object_id = tree.object_id(path)
            except InvalidError:
                continue
            if object_id is None or name.startswith("."):
                continue
            yield path, object_id
            if tree.is_folder(path):
                yield from every(path)

    return islice(every(""), _MOST_FOLDERS)


def _nothing(target: str, name: str, service: str, names: Sequence[str]) -> ReconcilerError:
    if name != service and name in names:
        message = f"{name!r} at target {target} cannot be service {service!r}: it stands where service {name!r} would"
        return RefusedError(message, hint="leave out --as; `movedFrom` renames a service")
    return UsageError(f"nothing at target {target} is called {name!r}", hint=_meant(name, names))


def _meant(name: str, names: Sequence[str]) -> str:
    if not names:
        return "there is nothing"
    shown = sorted(names)
    more = f" and {len(shown) - _MOST_LISTED} more" if len(shown) > _MOST_LISTED else ""
    return did_you_mean(name, shown) or f"there is {', '.join(shown[:_MOST_LISTED])}{more}"
