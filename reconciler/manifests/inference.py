"""Inference configs: the entry script, the environment and what an image needs, found and looked at but never run."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Mapping
from typing import Any

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import EntryScript, Environment, File, ImageInputs, Registry
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem, Severity
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.layers import secret, variable
from reconciler.manifests.paths import Found, Missing, located
from reconciler.manifests.repo import Manifest
from reconciler.manifests.script import MOST_BYTES, Script

_FILES = (
    ("condaFile", "conda file"),
    ("requirementsFile", "requirements file"),
    ("extraDockerFileSteps", "file of Dockerfile steps"),
)
_MOST_FILE_BYTES = 1 << 20
# The newest syntax we can judge is that of the Python we run on.
_PYTHON_IN_CONDA = re.compile(rb"^\s*-\s*[\"']?python\s*[=<>~]{1,2}\s*3\.(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ResolvedInference:
    """An inference config with its files.

    Args:
        inputs: The manifest and the ids of its files, to tell whether it still holds.
        entry: None if it cannot be used.
    """

    inputs: tuple[object, ...]
    entry: EntryScript | None = None
    environment: Environment | None = None
    image: ImageInputs | None = None
    variables: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()


def resolve_inference(
    document: Manifest, tree: Tree, cache: DocumentCache | None, previous: ResolvedInference | None
) -> ResolvedInference:
    """The files of an inference config.

    Args:
        previous: The last result; it is returned as it is if nothing it was made from differs.
    """
    spec = document.spec
    directory = spec.get("sourceDirectory")
    source = located(tree, directory, document) if directory is not None else None
    base = source.path if isinstance(source, Found) else (directory or "")
    script = located(tree, spec["entryScript"], document, base) if "entryScript" in spec else None
    files = {key: located(tree, spec[key], document, base) for key, _ in _FILES if key in spec}
    inputs = (document, source, script, *files.values())
    if previous is not None and previous.inputs[0] is document and previous.inputs == inputs:
        return previous
    problems: list[Problem] = []
    if isinstance(source, Missing):
        problem = source.problem(document, "/spec/sourceDirectory", "source directory")
        return ResolvedInference(inputs, problems=(problem,))
    if source is not None and not source.folder:
        problems.append(_wrong(document, "/spec/sourceDirectory", f"{source.path} is a file, not a folder"))
    loaded = _files(document, tree, files, problems)
    facts = _script(document, tree, script, cache, loaded, problems) if script is not None else Script()
    if any(problem.severity is Severity.ERROR for problem in problems) or isinstance(script, Missing):
        return ResolvedInference(inputs, problems=tuple(problems))
    at_script = document.at("/spec/entryScript")
    if script is None:
        # A finished image holds its script.
        entry = EntryScript("", "", "", position=document.position)
    elif source is not None:
        relative = posixpath.relpath(script.path, source.path or ".")
        entry = EntryScript(relative, source.path, source.object_id, position=at_script)
    else:
        folder, _, name = script.path.rpartition("/")
        entry = EntryScript(name, folder, script.object_id, single_file=True, position=at_script)
    written: Mapping[str, Any] = spec.get("environment") or {}
    environment = Environment(
        runtime=spec.get("runtime", "python"),
        python=written.get("python", ""),
        conda_file=loaded.get("condaFile"),
        requirements_file=loaded.get("requirementsFile"),
        requirements=tuple(written.get("dependencies", ())),
        raw_requests=facts.raw,
        conda_packages=spec.get("condaPackages") == "baseImage",
        position=next(
            (document.at(f"/spec/{key}") for key in ("condaFile", "requirementsFile", "environment") if key in spec),
            document.position,
        ),
    )
    image = ImageInputs(
        base_image=spec.get("baseImage", ""),
        registry=_registry(spec.get("baseImageRegistry")),
        extra_steps=loaded.get("extraDockerFileSteps"),
        enable_gpu=spec.get("enableGpu", False),
        cuda_version=spec.get("cudaVersion", ""),
        image=spec.get("image", ""),
    )
    return ResolvedInference(inputs, entry, environment, image, spec.get("environmentVariables") or {}, tuple(problems))


def _registry(spec: Mapping[str, Any] | None) -> Registry | None:
    if spec is None:
        return None
    return Registry(spec["address"], variable(spec.get("username")), secret(spec.get("password")))


def _files(
    document: Manifest, tree: Tree, files: Mapping[str, Found | Missing], problems: list[Problem]
) -> dict[str, File]:
    loaded: dict[str, File] = {}
    for key, what in _FILES:
        found = files.get(key)
        pointer = f"/spec/{key}"
        if found is None:
            continue
        if isinstance(found, Missing):
            problems.append(found.problem(document, pointer, what))
        elif found.folder:
            problems.append(_wrong(document, pointer, f"{found.path} is a folder, not a file"))
        else:
            try:
                loaded[key] = File(found.path, found.object_id, tree.read(found.path, _MOST_FILE_BYTES))
            except InvalidError as exc:
                problems.append(_wrong(document, pointer, str(exc)))
    return loaded


def _script(
    document: Manifest,
    tree: Tree,
    found: Found | Missing,
    cache: DocumentCache | None,
    files: Mapping[str, File],
    problems: list[Problem],
) -> Script:
    pointer = "/spec/entryScript"
    if isinstance(found, Missing):
        problems.append(found.problem(document, pointer, "entry script"))
        return Script()
    if found.folder:
        problems.append(_wrong(document, pointer, f"{found.path} is a folder, not a Python file"))
        return Script()
    known = cache.fact("script", found.object_id) if cache is not None else None
    if known is not None:
        facts = Script(*known)
    else:
        # Imported here, since a run in which no script changed does without Python's own parser.
        from reconciler.manifests.scripts import inspect

        try:
            facts = inspect(tree.read(found.path, MOST_BYTES))
        except InvalidError as exc:
            problems.append(_wrong(document, pointer, str(exc)))
            return Script()
        if cache is not None:
            cache.remember(
                "script",
                found.object_id,
                (facts.error, facts.line, facts.column, facts.names, facts.open_ended, facts.raw),
            )
    problems += _judge(document, found.path, facts, _newer_python(document, files))
    return facts


def _judge(document: Manifest, path: str, facts: Script, newer: bool) -> list[Problem]:
    at = Position(path, facts.line, facts.column)
    if facts.error:
        severity = Severity.WARNING if newer else Severity.ERROR
        hint = (
            "the environment's Python is newer than the one checking, which may not know this syntax" if newer else ""
        )
        message = f"syntax error in the entry script: {facts.error}"
        return [Problem("script-syntax", message, at, hint, document.subject, severity)]
    if facts.open_ended or "driver_module" in facts.names:
        return []
    missing = [name for name in ("init", "run") if name not in facts.names]
    if not missing:
        return []
    message = f"the entry script defines no {' and no '.join(f'`{name}`' for name in missing)} at its top level"
    hint = "define `def init():`, called once at the start, and `def run(data):`, called for each request"
    return [Problem("script-contract", message, Position(path), hint, document.subject)]


def _newer_python(document: Manifest, files: Mapping[str, File]) -> bool:
    written: Mapping[str, Any] = document.spec.get("environment") or {}
    text = f"- python=={written['python']}".encode() if "python" in written else b""
    if "condaFile" in files:
        text = files["condaFile"].data
    match = _PYTHON_IN_CONDA.search(text)
    return match is not None and int(match[1]) > sys.version_info.minor


def _wrong(document: Manifest, pointer: str, message: str) -> Problem:
    return Problem("bad-path", message, document.at(pointer), "", document.subject)
