"""Requirement lines of pip's format as PEP 508 requirements, each with its position.

Only what a hashed lock of wheels can hold passes: names, extras, versions, markers, and hashes. Options, addresses,
version control and local paths are refused with their line (pip's documentation, "Requirements File Format").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from reconciler.core.dataclass import dataclass, replace
from reconciler.core.deployment import File
from reconciler.core.problems import Position, Problem, Severity

LARGEST_FILE = 256 * 1024
"""Bytes; a file of requirements beyond this is a mistake."""

# What a user's file asks for and the scoring runtime takes the place of. The packages that bring a server of their own
# would pin its libraries; those below `stand-ins` are answered by the runtime's import stand-ins.
SERVERS = frozenset({"azureml-defaults", "azureml-inference-server-http"})
STAND_INS = frozenset({"azureml-contrib-services", "azureml-monitoring"})
# Both server packages bring this one, and scripts rely on it (azureml-inference-server-http 1.5, Requires-Dist).
SCHEMA_PACKAGE = "inference-schema"

_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"\s--hash[= ](sha256|sha384|sha512):([0-9a-fA-F]+)")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|^(git|hg|svn|bzr)\+|^file:")
_PATH = re.compile(r"^(\.{1,2}([/\\]|$)|[/~\\]|[A-Za-z]:\\)|\.(whl|zip|tar\.gz|tgz|tar\.bz2)$")
_OPTION = re.compile(r"^(--?[A-Za-z][A-Za-z-]*)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement in normal form.

    Args:
        name: Canonical project name (PEP 503).
        text: `name[extras]specifiers ; marker`, normalised, without hashes.
        hashes: `sha256:…` digests that the user pinned; empty allows any the index names.
    """

    name: str
    text: str
    position: Position | None = None
    hashes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The requirement with its hashes on one line, as the spec and the lock's input hold it."""
        return " ".join([self.text, *(f"--hash={value}" for value in self.hashes)])


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a file asks for.

    Args:
        python: Version specifiers for the interpreter (`==3.6.2`), None if the file does not say.
        notes: What was understood differently than it was written (dropped, renamed); harmless.
        conda: Packages that only conda has, as the conda file names them. channels: Where that has them from.
    """

    python: str | None = None
    requirements: tuple[Requirement, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    python_position: Position | None = None
    conda: tuple[Requirement, ...] = ()
    channels: tuple[str, ...] = ()

    def __add__(self, other: Requirements) -> Requirements:
        """Both together; the first that names a Python wins."""
        first = self if self.python is not None else other
        return Requirements(
            first.python,
            self.requirements + other.requirements,
            self.problems + other.problems,
            self.notes + other.notes,
            first.python_position,
            self.conda + other.conda,
            self.channels + other.channels,
        )


def decode(file: File, kind: str) -> str | Problem:
    """A file's text, or what is wrong with its bytes."""
    if len(file.data) > LARGEST_FILE:
        return Problem(
            "environment-file-too-large",
            f"the {kind} has {len(file.data)} bytes, the limit is {LARGEST_FILE}",
            Position(file.path),
            "is this the file you meant?",
        )
    try:
        return file.data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = file.data.count(b"\n", 0, exc.start) + 1
        return Problem("environment-file-encoding", f"the {kind} is not UTF-8", Position(file.path, line))


def parse_requirements_file(file: File) -> Requirements:
    """A requirements file; never raises, what is wrong is among the problems."""
    text = decode(file, "requirements file")
    if isinstance(text, Problem):
        return Requirements(problems=(text,))
    return parse_lines(_logical_lines(text, file.path))


def parse_lines(lines: Iterable[tuple[str, Position | None]]) -> Requirements:
    """Requirement lines with their positions; blank lines and comments are skipped."""
    found: list[Requirement] = []
    problems: list[Problem] = []
    for line, position in lines:
        text = _COMMENT.sub("", line).strip()
        if not text:
            continue
        result = parse_line(text, position)
        if isinstance(result, Problem):
            problems.append(result)
        else:
            found.append(result)
    return replace(give_way(found), problems=tuple(problems))


def parse_line(text: str, position: Position | None) -> Requirement | Problem:
    """One requirement line without a comment."""
    if option := _OPTION.match(text):
        return Problem(
            "requirement-option",
            f"the option {option[1]} cannot stand in an environment",
            position,
            "list each package by name and version; indexes are the operator's settings",
        )
    hashes = tuple(sorted(f"{kind}:{value.lower()}" for kind, value in _HASH.findall(text)))
    bare = _HASH.sub("", text).strip()
    if _SCHEME.search(bare) or _PATH.search(bare.split(";")[0].strip()):
        return _not_by_name(position)
    try:
        parsed = Pep508(bare)
        text = normal(parsed)
    except ValueError as exc:  # InvalidRequirement is one, and so is a number with thousands of digits
        reason = str(exc).splitlines()[0].rstrip(".:")
        return Problem(
            "requirement-invalid",
            f"this is not a requirement that pip understands: {_quoted_free(reason)}",
            position,
            "write it as name, or name==1.2, or name>=1.2,<2",
        )
    if parsed.url is not None:
        return _not_by_name(position)
    return Requirement(canonicalize_name(parsed.name), text, position, hashes)


def normal(parsed: Pep508) -> str:
    """One spelling for equal requirements: canonical name, sorted extras and specifiers."""
    extras = f"[{','.join(sorted(canonicalize_name(extra) for extra in parsed.extras))}]" if parsed.extras else ""
    specifiers = ",".join(sorted(str(specifier) for specifier in parsed.specifier))
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{canonicalize_name(parsed.name)}{extras}{specifiers}{marker}"


def give_way(requirements: Iterable[Requirement]) -> Requirements:
    """Requirements without the packages that the scoring runtime takes the place of, with a note for each."""
    kept: list[Requirement] = []
    notes: list[Problem] = []
    for item in requirements:
        if item.name in SERVERS or item.name in STAND_INS:
            notes.append(
                Problem(
                    "package-gives-way",
                    f"{item.name} gives way to the scoring runtime",
                    item.position,
                    severity=Severity.WARNING,
                )
            )
            if item.name in SERVERS:
                kept.append(Requirement(SCHEMA_PACKAGE, SCHEMA_PACKAGE, item.position))
        else:
            kept.append(item)
    return Requirements(requirements=tuple(kept), notes=tuple(notes))


def _not_by_name(position: Position | None) -> Problem:
    return Problem(
        "requirement-address",
        "a package can only be named, not given by address, version control or path",
        position,
        "publish it to the package index, or put the code into the source directory",
    )


def _quoted_free(reason: str) -> str:
    # The parser's message quotes the line for some errors; an address in it may hold a password.
    return re.sub(r"\S+://\S+", "(address)", reason)


def _logical_lines(text: str, path: str) -> Iterator[tuple[str, Position]]:
    start, parts = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            parts.append(raw[:-1])
            continue
        parts.append(raw)
        line = " ".join(parts) if len(parts) > 1 else raw
        yield line, Position(path, start, len(line) - len(line.lstrip()) + 1)
        start, parts = 0, []
    if parts:
        yield " ".join(parts), Position(path, start, 1)
