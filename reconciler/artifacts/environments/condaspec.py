"""One conda match specification as a PEP 508 requirement.

The grammar is that of conda's package match specifications: `[channel::]name[=version[=build]]`, `name version build`,
`name>=1,<2`, `name[version='>=1']`; `,` means and, `|` means or.
"""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from reconciler.core.dataclass import dataclass


class CondaSpecError(ValueError):
    """A specification that cannot be said in PEP 508; the text says why, the hint what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CondaSpec:
    """A conda package and its versions.

    Args:
        name: As conda spells it, in lower case.
        specifiers: PEP 440, sorted, "" for any version.
        narrowed: Alternatives (`|`) of which only the newest could be kept.
    """

    name: str
    specifiers: str
    narrowed: bool = False


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_BRACKET = re.compile(r"\[(?P<inside>[^\]]*)\]$")
_ATTRIBUTE = re.compile(r"""\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*("[^"]*"|'[^']*'|[^,'"\s]+)\s*(?:,|$)""")
_CLAUSE = re.compile(r"^(===|==|!=|>=|<=|~=|>|<|=)?\s*(.+)$")
_BLANKS = re.compile(r"\s*(===|==|!=|>=|<=|~=|[<>|,])\s*")


def package_name(text: str) -> str:
    """The package a specification names, in lower case, whatever its version looks like; "" if there is none."""
    match = _NAME.match(text.strip().rsplit("::", 1)[-1].strip())
    return match[0].lower() if match else ""


def parse_spec(text: str) -> CondaSpec:
    """A match specification, channel and build string dropped.

    Raises:
        CondaSpecError: It is not one, or has no counterpart in PEP 508.
    """
    rest = text.strip()
    if "://" in rest or rest.endswith((".conda", ".tar.bz2")):
        raise CondaSpecError("a package cannot be given by address", "name it, with its version")
    rest = rest.rsplit("::", 1)[-1].strip()
    attributes: dict[str, str] = {}
    if bracket := _BRACKET.search(rest):
        attributes = _attributes(bracket["inside"])
        rest = rest[: bracket.start()].strip()
    match = _NAME.match(rest)
    if match is None:
        raise CondaSpecError("there is no package name", "write it as name, name=1.2 or name>=1.2,<2")
    name, tail = match[0].lower(), rest[match.end() :]
    version = attributes.get("version") or _version_part(tail)
    specifiers, narrowed = _alternatives(version)
    return CondaSpec(name, specifiers, narrowed)


def _attributes(inside: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(inside):
        match = _ATTRIBUTE.match(inside, at)
        if match is None:
            raise CondaSpecError(
                "extras in square brackets are pip's, conda does not know them", "move the entry below 'pip:'"
            )
        found[match[1].lower()] = match[2].strip("\"'")
        at = match.end()
    if others := sorted(set(found) - {"version", "build", "build_number", "channel", "subdir"}):
        raise CondaSpecError(f"the attribute '{others[0]}' has no counterpart on PyPI", "give name and version alone")
    return found


def _version_part(tail: str) -> str:
    """The version constraint in what follows the name; with a build string behind it, `=1.2` means exactly 1.2."""
    tail = _BLANKS.sub(r"\1", tail.strip())
    if not tail:
        return ""
    version, *builds = tail.split()
    if len(builds) > 1:
        raise CondaSpecError("there is more behind the version than a build string", "write it as name=1.2=build")
    if pinned := re.fullmatch(r"={1,2}([^=<>!~|,]+)=([^=]+)", version):
        return f"=={pinned[1]}" if not pinned[1].endswith("*") else f"={pinned[1]}"
    if builds and re.fullmatch(r"=[^=].*", version) and not version.endswith("*"):
        return f"={version}"
    return version


def _alternatives(version: str) -> tuple[str, bool]:
    """PEP 440 knows no "or": of alternatives the newest is kept, which never allows more than the user did."""
    options = [_conjunction(option) for option in version.split("|")]
    if len(options) == 1:
        return options[0], False
    if "" in options:
        return "", False
    distinct = sorted(set(options), key=_newest)
    return distinct[-1], len(distinct) > 1


def _newest(specifiers: str) -> tuple[bool, Version]:
    """Orders alternatives by the newest version they speak of; one without an upper end is newer than any with one."""
    parts = list(SpecifierSet(specifiers))
    open_ended = all(part.operator in (">=", ">", "!=") for part in parts)
    versions = [Version(part.version.removesuffix(".*")) for part in parts]
    return open_ended, max(versions)


def _conjunction(text: str) -> str:
    clauses = [clause for part in text.split(",") if (clause := _clause(part.strip()))]
    try:
        return ",".join(sorted(str(item) for item in SpecifierSet(",".join(clauses))))
    except InvalidSpecifier:
        raise CondaSpecError(f"'{text}' is not a version PyPI can have") from None


def _clause(text: str) -> str:
    if text in ("", "*", "=*", "==*"):
        return ""
    match = _CLAUSE.match(text)
    if match is None:
        raise CondaSpecError(f"'{text}' is not a version")
    operator, version = match[1] or "==", match[2].strip()
    wildcard = version.endswith("*")
    number = version.rstrip("*").rstrip(".")
    try:
        parsed = Version(number.replace("_", "."))
    except ValueError:  # InvalidVersion is one, and so is a number with thousands of digits
        raise CondaSpecError(f"'{version}' is not a version PyPI can have", "PyPI's versions look like 1.2.3") from None
    if operator == "=" or (wildcard and operator == "=="):
        return f"=={parsed.public}.*" if parsed.pre is None and parsed.post is None else f"=={parsed}"
    if wildcard and operator == "!=":
        return f"!={parsed}.*"
    if operator == "~=" and len(parsed.release) == 1:
        return f">={parsed}"
    return f"{'==' if operator == '===' else operator}{parsed}"
