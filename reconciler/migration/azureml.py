"""What Azure ML's v1 command line was given for a deployment, as manifests: a service and all that it needs.

Pure: the files are read by the caller, who also says what the repo holds already. What the manifests cannot say is in
the notes; nothing is left out without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.dataclass import dataclass, field
from reconciler.core.problems import Position, Problem
from reconciler.manifests.kinds.names import SERVICE_NAME
from reconciler.migration.deployment import deployment, type_of
from reconciler.migration.draft import Draft, Secrets
from reconciler.migration.inference import Code, inference
from reconciler.migration.reading import Findings, Note, read

_FILL_IN = "change-me"
_ATTACHED = (
    "the identity of the operator's settings azure.* needs the role `Azure Kubernetes Service Cluster User Role` at "
    "the cluster; where a kubeconfig leads to it, `kubeContext` in place of group and name does as well"
)
# Models are often named like their files.
_SUFFIX = re.compile(r"\.(pkl|pickle|joblib|onnx|h5|keras|pt|pth|pb|json|txt|zip)$")
# What a target must have -> what it is called in `Given.place`.
_NEEDED = {
    "aci": {"resourceGroup": "resourceGroup"},
    "aks": {"resourceGroup": "resourceGroup", "clusterName": "clusterName"},
    "edge": {"name": "hub"},
}


@dataclass(frozen=True, slots=True)
class ModelArgument:
    """A model as it was given: its name, its number, and where its bytes are.

    Args:
        path: From the manifest folder; empty where it is a `uri`, or where the repo declares the model already.
    """

    name: str
    version: int | None = None
    path: str = ""
    uri: str = ""

    @property
    def known(self) -> bool:
        """The repo declares it."""
        return not self.path and not self.uri


@dataclass(frozen=True, slots=True)
class Given:
    """What is to be imported.

    Args:
        name: Of the service.
        inference: The bytes of `inferenceconfig.json`, and what the file is called in messages.
        deployment: The same of `deploymentconfig.json`; None for a local service without settings.
        folder: What the paths of `inferenceconfig.json` count from afterwards, from the manifest folder.
        moved: Its files are brought there, since they lie elsewhere now.
        targets: Of the repo: name -> type.
        target: The name asked for; empty for any of the right type.
        place: What a target that has to be made needs: `resourceGroup`, `clusterName`, `subscriptionId`, `hub`.
    """

    name: str
    inference: tuple[bytes, str]
    deployment: tuple[bytes, str] | None
    models: Sequence[ModelArgument]
    folder: str = ""
    moved: bool = False
    targets: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str = ""
    place: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Import:
    """What comes of it.

    Args:
        documents: To be written.
        code: Files beside them.
        notes: What has no equivalent, and what is left to do.
        problems: Why nothing may be written.
    """

    documents: tuple[Draft, ...]
    code: Code
    notes: tuple[Note, ...]
    problems: tuple[Problem, ...]


def service_name(text: str) -> str:
    """A name for a service, made of another name; empty if nothing of it can stand in one."""
    plain = re.sub(r"[^a-z0-9]+", "-", _SUFFIX.sub("", text.lower())).strip("-")
    plain = plain.lstrip("0123456789-")[:32].rstrip("-")
    return plain if re.fullmatch(SERVICE_NAME, plain) else ""


def imported(given: Given) -> Import:
    """The manifests of a deployment."""
    findings = Findings()
    code = Code(given.folder, given.moved)
    secrets = Secrets(given.name)
    how = Draft("InferenceConfig", given.name, f"inference/{given.name}.yaml", Position(given.inference[1]))
    service = Draft("Service", given.name, f"services/{given.name}.yaml", Position(given.inference[1]))
    reader = read(*given.inference, findings)
    if reader is not None:
        inference(reader, how, code, secrets)
    kind: str | None = "local"
    settings = read(*given.deployment, findings) if given.deployment is not None else None
    if given.deployment is not None:
        service.source = Position(given.deployment[1])
        kind = type_of(settings) if settings is not None else None
    target, stub = _target(given, kind, findings) if kind is not None else ("", None)
    service.put("/target", target or None)
    service.put("/models", [_reference(model) for model in given.models] or None)
    service.put("/inference", given.name)
    if settings is not None and kind is not None:
        deployment(settings, kind, service, secrets)
    models = [_model(model, findings) for model in given.models if not model.known]
    documents = [*models, how, *([stub] if stub is not None else []), service]
    problems = list(findings.problems)
    if not problems:
        problems = [problem for document in documents for problem in document.problems()]
    problems.sort(key=lambda problem: problem.sort_key)
    return Import(tuple(documents), code, tuple(findings.notes), tuple(problems))


def _reference(model: ModelArgument) -> Any:
    return model.name if model.version is None else f"{model.name}:{model.version}"


def _model(model: ModelArgument, findings: Findings) -> Draft:
    file = model.name if model.version is None else f"{model.name}-{model.version}"
    draft = Draft("Model", model.name, f"models/{file}.yaml", Position(f"--model {model.name}"))
    draft.put("/path", model.path or None)
    draft.put("/uri", model.uri or None)
    draft.put("/version", model.version)
    said = "tags, description, properties and framework of a registered model stay in the workspace: add them here"
    findings.notes.append(Note(f"--model {model.name}", said))
    if model.uri and model.version is None:
        said = "`reconciler models lock` writes down which bytes are behind the address"
        findings.notes.append(Note(f"--model {model.name}", said, todo=True))
    return draft


def _target(given: Given, kind: str, findings: Findings) -> tuple[str, Draft | None]:
    """The name of the target, and its document where the repo has none yet."""
    name = given.target
    if name:
        there = given.targets.get(name)
        if there is not None:
            if there != kind:
                message = f"target '{name}' is of type {there}, and the deployment is for {kind}"
                findings.problems.append(Problem("wrong-block", message, hint="name another one with --target"))
            return name, None
    else:
        fitting = sorted(target for target, type_ in given.targets.items() if type_ == kind)
        if kind == "local":
            return "local", None
        if fitting:
            if len(fitting) > 1:
                said = f"the repo has {', '.join(fitting)}; the first was taken, --target names another"
                findings.notes.append(Note("target", said))
            return fitting[0], None
        name = kind
    return name, _stub(name, kind, given.place, findings)


def _stub(name: str, kind: str, place: Mapping[str, str], findings: Findings) -> Draft:
    draft = Draft("Target", name, f"targets/{name}.yaml", Position(f"--target {name}"))
    draft.put("/type", kind)
    if kind == "local":
        return draft
    if kind == "aks":
        findings.notes.append(Note(f"Target/{name}", _ATTACHED, todo=True))
    draft.put(f"/{kind}/subscriptionId", place.get("subscriptionId"))
    if kind == "edge":
        draft.put("/edge/resourceGroup", place.get("resourceGroup"))
    for key, given in _NEEDED[kind].items():
        draft.put(f"/{kind}/{key}", place.get(given, _FILL_IN))
        if given not in place:
            said = f"the files do not say where that is: fill in spec.{kind}.{key} of {draft.path}"
            findings.notes.append(Note(f"Target/{name}", said, todo=True))
    return draft
