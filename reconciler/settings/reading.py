"""Settings from a file's values and variables, with every problem at its place."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem
from reconciler.core.values import MISSING, escape, lookup
from reconciler.settings.model import OTHER_VARIABLES, PREFIX, SEPARATOR, Settings, camel, every_setting, group_of

Locate: TypeAlias = Callable[[str, bool], Position]
"""Where the value (or, if true, the key) of a JSON pointer stands in the settings file."""


def stray_variables(environ: Mapping[str, str], prefixes: tuple[str, ...] = ()) -> list[str]:
    """Variables that look like settings and are none, with what may have been meant.

    They are not refused: Kubernetes sets `RECONCILER_PORT` and the like for a Service of that name.
    """
    known = [setting.variable for setting in every_setting()]
    groups = [PREFIX + name.upper() for name in Settings.model_fields]
    found: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or name in groups or name in OTHER_VARIABLES:
            continue
        if any(name.startswith(prefix) for prefix in prefixes):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        found.append(f"{name} is no setting{f'; did you mean {near[0]}?' if near else ''}")
    return found


def settings_of(values: Any = None, locate: Locate | None = None, file: str = "settings") -> Settings:
    """Settings from a file's values and this process's variables.

    Args:
        values: The file's top-level mapping, keys in camelCase; None for none.
        locate: Where values stand in the file.

    Raises:
        InvalidError: With every problem: unknown keys, wrong types, numbers out of range.
    """

    def nowhere(_pointer: str, _key: bool) -> Position:
        return Position(file)

    place = locate or nowhere
    if values is not None and not isinstance(values, dict):
        raise _invalid(
            [Problem("wrong-type", "the settings must be a mapping", place("", False), "write `key: value`")]
        )
    problems: list[Problem] = []
    given = _snake(cast("dict[str, Any]", values or {}), Settings, "", place, problems)
    if problems:
        raise _invalid(problems)
    try:
        return Settings(**given)
    except ValidationError as error:
        # Neither the input nor its repr goes into a message: it may hold credentials.
        details = error.errors(include_url=False, include_input=False, include_context=False)
        raise _invalid([_problem(detail, given, place) for detail in details]) from None
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        whole = PREFIX + field[1].upper() if field else PREFIX
        # Of a list in a group only the group is named: which list it was, its value says.
        lists = [each.variable for each in every_setting() if each.type.startswith("list")]
        wrong = [name for name in lists if not _is_json(os.environ.get(name, "[]"))]
        example = """such as ["one", "two"]""" if wrong else """such as {"key": "value"}"""
        subjects = [f"variable {name}" for name in wrong or [whole]]
        raise _invalid(
            [Problem("wrong-type", "must be JSON", hint=example, subject=each) for each in subjects]
        ) from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _invalid(problems: list[Problem]) -> InvalidError:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InvalidError(f"the settings cannot be used: {count}", problems=problems, hint="see docs/settings.md")


def _snake(
    values: dict[str, Any], kind: type[BaseModel], pointer: str, place: Locate, problems: list[Problem]
) -> dict[str, Any]:
    """The values under the names of the fields; unknown keys become problems."""
    known = {camel(name): name for name in kind.model_fields}
    found: dict[str, Any] = {}
    for key, value in values.items():
        here = f"{pointer}/{key}"
        if key not in known:
            problems.append(_unknown(key, list(known), here, place))
            continue
        group = group_of(kind.model_fields[known[key]])
        if group is not None and value is None:
            continue
        if group is not None and isinstance(value, dict):
            found[known[key]] = _snake(cast("dict[str, Any]", value), group, here, place, problems)
        else:
            found[known[key]] = value
    return found


def _unknown(key: str, known: list[str], pointer: str, place: Locate) -> Problem:
    plain = re.sub(r"[-_]", "", key).lower()
    near = [name for name in known if name.lower() == plain] or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
    shown = key if re.fullmatch(r"[\w.-]{1,60}", key) else "(not shown)"
    return Problem("unknown-key", f"unknown setting '{shown}'", place(pointer, True), hint)


def _problem(detail: ErrorDetails, given: dict[str, Any], place: Locate) -> Problem:
    """A problem of a value, with its place in the file, or the variable that it came from."""
    names = [str(step) for step in detail["loc"]]
    key = ".".join(camel(name) for name in names)
    if lookup(given, "".join(f"/{escape(name)}" for name in names)) is MISSING:
        variable = PREFIX + SEPARATOR.join(name for name in names if not name.isdigit()).upper()
        return Problem(_code(detail), _message(key, detail), subject=f"variable {variable}")
    pointer = "".join(f"/{escape(camel(name))}" for name in names)
    return Problem(_code(detail), _message(key, detail), place(pointer, False))


def _code(detail: ErrorDetails) -> str:
    return {"extra_forbidden": "unknown-key"}.get(detail["type"], "wrong-value")


def _message(key: str, detail: ErrorDetails) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} is no setting"
        case "path_type":
            return f"{key} must be a path"
        case "model_type":
            return f"{key} must be a mapping"
        case _:
            text = detail["msg"].removeprefix("Input ")
            return f"{key} {text[:1].lower()}{text[1:]}"
