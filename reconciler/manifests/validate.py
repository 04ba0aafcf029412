"""A YAML document against its kind: a manifest in normal form, or every problem with its place and a way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from reconciler.core.dataclass import replace
from reconciler.core.problems import Problem
from reconciler.core.values import MISSING, escape, lookup
from reconciler.manifests.document import Document, Marks
from reconciler.manifests.kinds.names import AS_TEXT, ELSEWHERE, IN_WORDS
from reconciler.manifests.repo import Manifest, Places

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

API_VERSION = "reconciler/v1"
KIND_NAMES = ("Model", "InferenceConfig", "Target", "Service", "Defaults", "Overlay")


def validate(document: Document) -> tuple[Manifest | None, list[Problem]]:
    """The manifest of a sound document, or what is wrong with it."""
    value = cast("dict[str, Any]", document.value)
    marks = document.marks
    head = _header(value, marks)
    if head:
        return None, head
    # Imported here, since a run in which no document changed does without pydantic.
    from pydantic import ValidationError

    from reconciler.manifests.sealed import sealed_in

    if value["kind"] == "Overlay":
        from reconciler.manifests.kinds.overlay import Overlay as kind
        from reconciler.manifests.overlays.checking import check_overrides

        specs, wrong = check_overrides(value, marks)
    else:
        from reconciler.manifests.kinds.documents import KINDS

        kind, specs, wrong = KINDS[value["kind"]], {}, []
    try:
        model = kind.model_validate(value)
    except ValidationError as exc:
        return None, [*problems_of(exc, value, marks, kind), *wrong]
    if wrong:
        return None, wrong
    data = model.model_dump(by_alias=True, exclude_unset=True)
    for index, spec in specs.items():
        data["spec"]["overrides"][index]["spec"] = spec
    metadata = data.get("metadata", {})
    spec = given(data["spec"])
    manifest = Manifest(
        kind=data["kind"],
        name=metadata.get("name", "defaults"),
        description=metadata.get("description", ""),
        tags=metadata.get("tags", {}),
        spec=spec,
        position=marks.at(""),
        # An inference config keeps places of its files in what is made of it.
        marks=marks.settled() if data["kind"] == "InferenceConfig" else marks,
        sealed=sealed_in(spec),
        moved_from=metadata.get("movedFrom") or "",
    )
    return manifest, []


def given(spec: dict[str, Any]) -> dict[str, Any]:
    """A `spec` without the keys whose value is null: an empty optional key says no more than a missing one."""
    return spec if None not in spec.values() else {key: value for key, value in spec.items() if value is not None}


def _header(value: dict[str, Any], marks: Marks) -> list[Problem]:
    problems: list[Problem] = []
    version, kind = value.get("apiVersion"), value.get("kind")
    if version is None:
        problems.append(
            Problem("missing-key", "`apiVersion` is missing", marks.at(""), f"begin with `apiVersion: {API_VERSION}`")
        )
    elif version != API_VERSION:
        hint = f"write `apiVersion: {API_VERSION}`"
        problems.append(Problem("unknown-api-version", "this is not a version of ours", marks.at("/apiVersion"), hint))
    if kind is None:
        hint = f"add `kind:` with one of {', '.join(KIND_NAMES)}"
        problems.append(Problem("missing-key", "`kind` is missing", marks.at(""), hint))
    elif kind not in KIND_NAMES:
        hint = did_you_mean(str(kind), KIND_NAMES) or f"one of {', '.join(KIND_NAMES)}"
        problems.append(Problem("unknown-kind", "there is no such kind", marks.at("/kind"), hint))
    return problems


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    """`did you mean 'x'?`, or nothing if nothing is close."""
    lower = {name.lower(): name for name in known}
    from difflib import get_close_matches

    close = get_close_matches(word.lower()[:100], list(lower), n=1, cutoff=0.6)
    return f"did you mean '{lower[close[0]]}'?" if close else ""


def problems_of(
    error: ValidationError,
    value: dict[str, Any],
    marks: Places,
    kind: type[BaseModel],
    root: tuple[str | int, ...] = (),
) -> list[Problem]:
    """What a validator found, in our words.

    Args:
        value: The whole document.
        kind: The model of what was validated.
        root: Where in the document that stands.
    """
    from reconciler.manifests.kinds.fields import fields_at

    subject = _subject(value)
    found: dict[tuple[str, str], Problem] = {}
    above = "".join(f"/{step}" for step in root)
    for detail in cast("list[Any]", error.errors(include_url=False, include_input=False)):
        context: dict[str, Any] = detail.get("ctx") or {}
        pointer, rest = _present(value, (*root, *detail["loc"]))
        for suffix in context.get("at") or [""]:
            where = f"{pointer}/{escape(suffix)}" if suffix else pointer
            if detail["type"] == "extra_forbidden":
                problem = _unknown_key(where, marks, fields_at(kind, where.rpartition("/")[0][len(above) :]), subject)
            else:
                problem = _problem(detail, context, where, rest, bool(suffix), value, marks, subject)
            # The alternatives of a union each complain about the same value; in words they are one complaint.
            group = "must be" if problem.message.startswith("must be") else f"{problem.code} {problem.message}"
            before = found.get((where, group))
            if before is None:
                found[where, group] = problem
            elif before.message != problem.message:
                either = f"{before.message} or {problem.message.removeprefix('must be ')}"
                found[where, group] = replace(before, message=either)
    named = [
        replace(problem, message=f"{_name(where)} {problem.message}") if problem.message.startswith("must") else problem
        for (where, _), problem in found.items()
    ]
    return list(dict.fromkeys(named))


def _name(where: str) -> str:
    """The key a pointer ends in, for people: `port`, `models[2]`."""
    head, _, last = where.rpartition("/")
    if last.isdigit():
        return f"{_name(head)[:-1]}[{last}]`"
    return f"`{last}`" if _PRINTABLE.fullmatch(last) else "this"


def _subject(value: dict[str, Any]) -> str:
    name = lookup(value, "/metadata/name")
    return f"{value.get('kind')}/{name}" if isinstance(name, str) and _PRINTABLE.fullmatch(name) else ""


def _present(value: Any, loc: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The pointer to the deepest value that is there, and the steps that lead nowhere."""
    pointer, current = "", value
    for index, step in enumerate(loc):
        inner = lookup(current, f"/{escape(str(step))}")
        if inner is MISSING:
            return pointer, loc[index:]
        pointer, current = f"{pointer}/{escape(str(step))}", inner
    return pointer, ()


def _problem(
    error: dict[str, Any],
    context: dict[str, Any],
    where: str,
    rest: tuple[Any, ...],
    at_key: bool,
    value: dict[str, Any],
    marks: Places,
    subject: str,
) -> Problem:
    code = error["type"]
    if code == "missing":
        name = str(rest[0]) if rest else ""
        owner = f" in `{where.rpartition('/')[2]}`" if where else ""
        return Problem("missing-key", f"`{name}` is missing{owner}", marks.at(where, key=bool(where)), subject=subject)
    if "message" in context:
        return Problem(code, context["message"], marks.at(where, key=at_key), context["hint"], subject)
    found = lookup(value, where)
    code, message, hint = _explain(error, context, found)
    return Problem(code, message, marks.at(where), hint, subject)


def _unknown_key(where: str, marks: Places, known: list[str], subject: str) -> Problem:
    step = where.rpartition("/")[2]
    key = step.replace("~1", "/").replace("~0", "~")
    hint = did_you_mean(key, known)
    elsewhere = ELSEWHERE.get(key, "")
    if elsewhere.split(".")[0].split(" ")[0] in known or elsewhere.startswith("metadata.") or elsewhere in _OF_SERVICE:
        hint = f"that is `{elsewhere}` here" if elsewhere else hint
    if not hint:
        hint = f"known here: {', '.join(known)}" if known else ""
    name = f"'{key}'" if _PRINTABLE.fullmatch(key) else "(not shown)"
    return Problem("unknown-key", f"unknown key {name}", marks.at(where, key=True), hint, subject)


_OF_SERVICE = frozenset(("auth.enabled", "auth.primaryKey", "auth.secondaryKey"))
_PRINTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.$-]{0,62}")
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _explain(error: dict[str, Any], context: dict[str, Any], found: Any) -> tuple[str, str, str]:
    """Code, message and hint for the validator's own errors; its messages may hold the value, so none is used."""
    code = error["type"]
    if code in _TYPES:
        hint = ""
        if code == "string_type" and isinstance(found, (int, float)):
            hint = AS_TEXT
        elif found is None:
            hint = "give it a value, or remove the key"
        elif code == "bool_type" and str(found).lower() in ("yes", "on", "no", "off", "y", "n", "true", "false"):
            hint = f"write `{str(str(found).lower() in ('yes', 'on', 'y', 'true')).lower()}`"
        elif code == "list_type" and isinstance(found, (str, dict)):
            hint = "write `- ` before each item"
        return "wrong-type", f"must be {_TYPES[code]}", hint
    if code in _BOUNDS:
        words, key = _BOUNDS[code]
        return "wrong-range", f"must be {words} {context[key]:g}", ""
    if code == "literal_error":
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        hint = did_you_mean(found, known) if isinstance(found, str) else ""
        return "unknown-value", f"must be {'one of ' if len(known) > 1 else ''}{', '.join(known)}", hint
    if code == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        return "wrong-form", f"must match {pattern}", IN_WORDS.get(pattern, "")
    if code == "string_too_long":
        return "wrong-form", f"must have at most {context.get('max_length')} characters", ""
    if code in ("string_too_short", "too_short"):
        return "wrong-form", "must not be empty", ""
    return "wrong-value", "this value cannot be used here", ""
