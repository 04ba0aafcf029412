"""Problems as workflow commands, read back the way the runner does."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.problems import Position, Problem, Severity
from reconciler.views.annotations import github

# The form of a command: actions/runner, src/Runner.Common/ActionCommand.cs.
COMMAND = re.compile(r"::(?P<name>[a-z]+)(?: (?P<properties>[^:]*(?:%3A[^:]*)*))?::(?P<data>.*)", re.DOTALL)


def decoded(text: str, *, of_property: bool) -> str:
    """What the runner makes of an escaped text."""
    more = (("%3A", ":"), ("%2C", ",")) if of_property else ()
    for escaped, meant in (("%0D", "\r"), ("%0A", "\n"), *more, ("%25", "%")):
        text = text.replace(escaped, meant)
    return text


def read(line: str) -> tuple[str, dict[str, str], str]:
    """A command's name, properties and message."""
    found = COMMAND.fullmatch(line)
    assert found, line
    pairs = [pair.split("=", 1) for pair in found["properties"].split(",")]
    return found["name"], {k: decoded(v, of_property=True) for k, v in pairs}, decoded(found["data"], of_property=False)


def test_a_problem_with_its_place() -> None:
    """File from the repo's root, line, column, code as title, message and hint."""
    problem = Problem("unknown-key", "unknown key 'memroyGb'", Position("services/a.yaml", 7, 5), "did you mean it?")
    assert list(github([problem], "ml/prod")) == [
        "::error file=ml/prod/services/a.yaml,line=7,col=5,title=unknown-key::unknown key 'memroyGb'%0Adid you mean it?"
    ]


def test_what_would_end_a_property_or_a_message_is_escaped() -> None:
    """Per cent signs, line ends, commas and colons."""
    problem = Problem("missing-file", "100% of it:\nall, gone", Position("a,b:c%20.yaml", 1, 1))
    (line,) = github([problem])
    assert line == "::error file=a%2Cb%3Ac%2520.yaml,line=1,col=1,title=missing-file::100%25 of it:%0Aall, gone"


def test_problems_without_a_place() -> None:
    """A whole file has no line; what stands in no file is told by its subject; paths out of the repo are not named."""
    problems = [
        Problem("yaml-syntax", "broken", Position("x.yaml")),
        Problem("clash", "wanted twice", subject="local/process/a"),
        Problem("unknown-key", "unknown", Position("/etc/settings.yaml", 1, 1)),
    ]
    assert list(github(problems, "sub")) == [
        "::error title=clash::local/process/a: wanted twice",
        "::error title=unknown-key::unknown",
        "::error file=sub/x.yaml,title=yaml-syntax::broken",
    ]


def test_errors_come_first() -> None:
    """The runner shows ten of a step, so warnings do not take the place of errors."""
    warning = Problem("limit-rounded-up", "w", Position("a.yaml", 1, 1), severity=Severity.WARNING)
    error = Problem("unknown-key", "e", Position("z.yaml", 1, 1))
    assert [read(line)[0] for line in github([warning, error])] == ["error", "warning"]


@given(st.text(), st.text(min_size=1), st.integers(1, 9))
def test_any_text_is_one_line_and_comes_back(message: str, file: str, line: int) -> None:
    """Whatever stands in a message or a file's name: one command, and no other."""
    problem = Problem("some-code", message, Position(file, line, 1))
    (written,) = github([problem])
    assert len(written.splitlines()) == 1 or "\n" not in written
    assert "\n" not in written
    assert "\r" not in written
    name, properties, _ = read(written)
    assert name == "error"
    assert properties["title"] == "some-code"
    assert properties["line"] == str(line) if not file.startswith("/") else "file" not in properties
