"""Conda files as requirements for PyPI: parsed with positions, mapped, and what cannot be mapped refused with its line.

The format is that of `conda env create`: `name`, `channels`, `dependencies` with at most one `pip:` list in it.
Nothing is executed and no solver is asked; what a name or version means is in `packages` and `condaspec`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import yaml
from packaging.utils import canonicalize_name

from reconciler.artifacts.environments.condaspec import CondaSpecError, package_name, parse_spec
from reconciler.artifacts.environments.packages import DROPPED, REBUILT, RENAMED, no_twin
from reconciler.artifacts.environments.requirements import (
    Requirement,
    Requirements,
    decode,
    give_way,
    parse_lines,
)
from reconciler.core.deployment import File
from reconciler.core.problems import Position, Problem, Severity

_DEEPEST = 12
_TEXT = "tag:yaml.org,2002:str"
_yaml: Any = yaml  # the functions' stubs are partly untyped
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KNOWN = frozenset({"name", "channels", "dependencies", "prefix", "variables"})
_HINT = (
    "give a package that PyPI has, remove the line, or build on an image with micromamba or conda and say "
    "`condaPackages: baseImage`"
)
# What names a channel: its name, or its address (https://docs.conda.io, "Managing channels").
_FOR_CONDA = re.compile(r"([A-Za-z0-9][\w.:/-]*::)?[A-Za-z0-9_][\w .+*!<>=|,~-]*")
_CHANNEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:/~%+-]*$")


def parse_conda_file(file: File, *, conda: bool = False) -> Requirements:
    """What a conda file asks for; never raises, what is wrong is among the problems.

    Args:
        conda: Packages without a twin are kept for conda itself, in place of a problem for each.
    """
    text = decode(file, "conda file")
    if isinstance(text, Problem):
        return Requirements(problems=(text,))
    root = _compose(text, file.path)
    if isinstance(root, Problem):
        return Requirements(problems=(root,))
    if root is None:
        return Requirements()
    if not isinstance(root, yaml.MappingNode):
        return _wrong("a conda file is a mapping with 'dependencies'", _at(file.path, root))
    result = Requirements()
    seen: set[str] = set()
    for key, value in root.value:
        name = str(key.value)
        if name in seen:
            result += _wrong(f"the key '{name}' stands here for the second time", _at(file.path, key))
        elif name == "variables" and value.value not in ("", [], None):
            result += _wrong(
                "environment variables of a conda file would be lost",
                _at(file.path, key),
                "set them in the service's deployment.environmentVariables",
            )
        elif name not in _KNOWN:
            result += _wrong(
                f"a conda file has no key '{_short(name)}'", _at(file.path, key), "the packages go below 'dependencies'"
            )
        elif name == "dependencies":
            result += _dependencies(value, file.path, conda)
        elif name == "channels" and conda:
            result += _channels(value, file.path)
        seen.add(name)
    return result


def _dependencies(node: yaml.Node, path: str, conda: bool) -> Requirements:
    if _is_null(node):
        return Requirements()
    if not isinstance(node, yaml.SequenceNode):
        return _wrong("'dependencies' is a list", _at(path, node))
    result = Requirements()
    for item in node.value:
        if isinstance(item, yaml.ScalarNode) and item.tag == _TEXT:
            result += _dependency(str(item.value), _at(path, item), conda)
        elif isinstance(item, yaml.MappingNode):
            for key, value in item.value:
                if key.value == "pip":
                    result += _pip(value, path)
                else:
                    result += _wrong(
                        f"'{_short(str(key.value))}' cannot stand here",
                        _at(path, key),
                        "only 'pip:' has a list of its own",
                    )
        else:
            result += _wrong("a dependency is a text such as numpy=1.26", _at(path, item))
    return result


def _pip(node: yaml.Node, path: str) -> Requirements:
    if _is_null(node):
        return Requirements()
    if not isinstance(node, yaml.SequenceNode):
        return _wrong("'pip' is a list", _at(path, node))
    lines: list[tuple[str, Position]] = []
    result = Requirements()
    for item in node.value:
        if isinstance(item, yaml.ScalarNode) and item.tag == _TEXT:
            lines.append((str(item.value), _at(path, item)))
        else:
            result += _wrong("a pip requirement is a text such as numpy==1.26.4", _at(path, item))
    return result + parse_lines(lines)


def _dependency(text: str, position: Position, conda: bool) -> Requirements:
    named = package_name(text) if "://" not in text else ""
    if named in DROPPED:
        return Requirements(notes=(_note(f"{named} is not needed: Python or the wheels bring it", position),))
    if (reason := no_twin(named)) and conda:
        return _for_conda(named, text, position)
    if reason:
        problem = Problem("no-pypi-twin", f"conda's {named} cannot be had here: {reason}", position, _HINT)
        return Requirements(problems=(problem,))
    try:
        spec = parse_spec(text)
    except CondaSpecError as exc:
        return _wrong(str(exc), position, exc.hint or "write it as name=1.2 or name>=1.2,<2")
    if spec.name == "python":
        return Requirements(python=spec.specifiers, python_position=position)
    name = canonicalize_name(RENAMED.get(spec.name, spec.name))
    notes: list[Problem] = []
    if spec.name in RENAMED and name != canonicalize_name(spec.name):
        notes.append(_note(f"conda's {spec.name} is {name} on PyPI", position))
    if spec.narrowed:
        notes.append(_note(f"of the alternatives for {spec.name} only {spec.specifiers} is tried", position))
    specifiers = spec.specifiers
    if name in REBUILT and specifiers.startswith("==") and not specifiers.endswith(".*") and "," not in specifiers:
        specifiers += ".*"
    result = give_way([Requirement(name, f"{name}{specifiers}", position)])
    return Requirements(notes=tuple(notes)) + result


def _for_conda(name: str, text: str, position: Position) -> Requirements:
    """A package for conda, once its line is known to be one: it becomes an argument of a command."""
    if not _FOR_CONDA.fullmatch(text.strip()):
        return _wrong("conda would not understand this", position, "write it as name=1.2 or name>=1.2,<2")
    return Requirements(conda=(Requirement(name, text.strip(), position),))


def _channels(node: yaml.Node, path: str) -> Requirements:
    if _is_null(node):
        return Requirements()
    if not isinstance(node, yaml.SequenceNode):
        return _wrong("'channels' is a list", _at(path, node))
    result = Requirements()
    for item in node.value:
        if isinstance(item, yaml.ScalarNode) and _CHANNEL.match(str(item.value)):
            # "No defaults" is how conda files say what is so here anyway.
            result += Requirements(channels=(str(item.value),) if item.value != "nodefaults" else ())
        else:
            result += _wrong("a channel is a name such as conda-forge, or an address", _at(path, item))
    return result


def _compose(text: str, path: str) -> yaml.Node | Problem | None:
    try:
        depth = documents = 0
        for event in _events(text):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            alias = isinstance(event, yaml.AliasEvent)
            if alias or depth > _DEEPEST or documents > 1:
                what = (
                    "holds an alias" if alias else "is nested too deeply" if depth > _DEEPEST else "holds two documents"
                )
                return Problem("conda-syntax", f"the conda file {what}", _mark(path, event.start_mark))
        return cast("yaml.Node | None", _yaml.compose(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = _mark(path, mark) if mark else Position(path)
        return Problem("conda-syntax", f"the conda file is not YAML: {exc.problem or 'syntax error'}", where)
    except yaml.YAMLError as exc:
        return Problem("conda-syntax", f"the conda file is not YAML: {str(exc).splitlines()[0]}", Position(path))


def _events(text: str) -> Iterator[yaml.Event]:
    yield from cast("Iterator[yaml.Event]", _yaml.parse(text, Loader=_LOADER))


def _mark(path: str, mark: yaml.Mark) -> Position:
    return Position(path, mark.line + 1, mark.column + 1)


def _at(path: str, node: yaml.Node) -> Position:
    return _mark(path, node.start_mark)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def _note(message: str, position: Position) -> Problem:
    return Problem("conda-mapping", message, position, severity=Severity.WARNING)


def _wrong(message: str, position: Position, hint: str = "") -> Requirements:
    return Requirements(problems=(Problem("conda-unsupported", message, position, hint),))
