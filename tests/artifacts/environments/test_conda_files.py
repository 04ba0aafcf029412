"""Conda and requirements files: each case is a file and what becomes of it; hypothesis looks for what breaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Pep508

from reconciler.artifacts.environments.conda import parse_conda_file
from reconciler.artifacts.environments.condaspec import CondaSpecError, parse_spec
from reconciler.artifacts.environments.requirements import Requirements, parse_line, parse_requirements_file
from reconciler.core.deployment import File
from reconciler.core.problems import Position, Problem

CASES = Path(__file__).parent / "cases"


def told(result: Requirements) -> list[str]:
    """A result as lines in the order of the file."""
    lines: list[tuple[Position, int, str]] = []
    for kind, problems in (("problem", result.problems), ("note", result.notes)):
        for item in problems:
            at = item.position or Position("")
            message = item.message.split(": Expected")[0]
            lines.append((at, 0, f"{kind} {at.line}:{at.column} {item.code} {message}"))
    for item in result.requirements:
        at = item.position or Position("")
        lines.append((at, 1, f"{item.text} at {at.line}:{at.column}"))
    if result.python is not None:
        at = result.python_position or Position("")
        lines.append((at, 0, f"python {result.python} at {at.line}:{at.column}"))
    return [line for _, _, line in sorted(lines)]


def conda(text: str | bytes) -> Requirements:
    """A conda file's result."""
    return parse_conda_file(File("conda.yml", "", text if isinstance(text, bytes) else text.encode()))


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.yml")))
def test_case(name: str) -> None:
    """A conda file gives the requirements, notes and problems of its case, each with its place."""
    expected = (CASES / f"{name}.txt").read_text().splitlines()
    assert told(conda((CASES / f"{name}.yml").read_bytes())) == expected


@pytest.mark.parametrize(
    ("spec", "name", "specifiers"),
    [
        ("numpy", "numpy", ""),
        ("numpy *", "numpy", ""),
        ("numpy=1.2", "numpy", "==1.2.*"),
        ("numpy=1.2.*", "numpy", "==1.2.*"),
        ("numpy=1.2=py36_0", "numpy", "==1.2"),
        ("numpy==1.2=py36_0", "numpy", "==1.2"),
        ("numpy==1.2", "numpy", "==1.2"),
        ("numpy==1.2.*", "numpy", "==1.2.*"),
        ("numpy 1.2", "numpy", "==1.2"),
        ("numpy 1.2 py36_0", "numpy", "==1.2"),
        ("numpy >=1.2,<2", "numpy", "<2,>=1.2"),
        ("numpy>=1.2, <2 py36_0", "numpy", "<2,>=1.2"),
        ("numpy!=1.2.*", "numpy", "!=1.2.*"),
        ("numpy~=1.2", "numpy", "~=1.2"),
        ("numpy~=1", "numpy", ">=1"),
        ("numpy=1.2|=1.4", "numpy", "==1.4.*"),
        ("numpy>=2|1.4", "numpy", ">=2"),
        ("numpy=1.2|*", "numpy", ""),
        ("conda-forge::numpy=1.2", "numpy", "==1.2.*"),
        ("conda-forge/linux-64::NumPy", "numpy", ""),
        ("numpy[version='1.2|1.3']", "numpy", "==1.3"),
        ("numpy[build=py36_0]", "numpy", ""),
        ("pytz=2018.9", "pytz", "==2018.9.*"),
        ("x=1.0rc1", "x", "==1.0rc1"),
    ],
)
def test_match_specifications(spec: str, name: str, specifiers: str) -> None:
    """Conda's spellings of versions become PEP 440; channel and build are dropped."""
    result = parse_spec(spec)
    assert (result.name, result.specifiers) == (name, specifiers)


@pytest.mark.parametrize(
    "text", ["", "=1.2", "numpy 1 b c", "numpy=abc", "numpy[md5=00]", "numpy=" + "9" * 5000, "x=1=2=3"]
)
def test_match_specifications_refused(text: str) -> None:
    """What has no counterpart is refused with the library's own error alone."""
    with pytest.raises(CondaSpecError):
        parse_spec(text)


@given(st.text(max_size=60))
@example("numpy>=1|")
@example("a==1.*.*")
@example("a=1e5")
def test_any_specification(text: str) -> None:
    """Whatever stands there gives a requirement that PEP 508 can read, or a refusal."""
    try:
        result = parse_spec(text)
    except CondaSpecError:
        return
    Pep508(f"x{result.specifiers}")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["=", "==", ">=", "<=", "<", ">", "!="]),
            st.lists(st.integers(0, 99), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_ranges_admit_their_own_bounds(clauses: list[tuple[str, list[int]]]) -> None:
    """A conjunction maps clause by clause: as many specifiers as there are different clauses."""
    words = [(operator, ".".join(map(str, version))) for operator, version in clauses]
    result = parse_spec("numpy" + ",".join(f"{operator}{version}" for operator, version in words))
    expected = {f"=={version}.*" if operator == "=" else f"{operator}{version}" for operator, version in words}
    assert set(result.specifiers.split(",")) == expected


@given(st.binary(max_size=400))
@example(b"\xff")
@example(b"a: b: c")
@example(b"dependencies: [&a [*a]]")
@example(b"[" * 5000)
@example(b"a: 1\n---\nb: 2\n")
@example(b"? [a]\n: b\n")
@example(b"? {a: b}\n: b\n")
@example(b"dependencies: !!python/object/apply:os.system [ls]")
def test_any_conda_file(data: bytes) -> None:
    """No bytes make the parser raise."""
    parse_conda_file(File("conda.yml", "", data))


@given(st.binary(max_size=400))
def test_any_requirements_file(data: bytes) -> None:
    """No bytes make the parser of requirements files raise."""
    parse_requirements_file(File("requirements.txt", "", data))


def test_empty_and_null() -> None:
    """Empty files and lists ask for nothing."""
    assert conda("") == conda("dependencies:\n") == conda("dependencies: [pip: ]") == Requirements()


def test_too_large() -> None:
    """A file beyond the limit is refused by its size."""
    assert [item.code for item in conda(b"#" * (256 * 1024 + 1)).problems] == ["environment-file-too-large"]


def test_twice_the_same_key() -> None:
    """A key that stands twice is a problem, since one of both would be lost."""
    assert told(conda("dependencies: [six]\ndependencies: [numpy]\n"))[1].startswith("problem 2:1")


def test_requirements_file() -> None:
    """Comments, blank lines, continued lines, markers and hashes are understood; the rest is refused by line."""
    text = """# comment
numpy >= 1.2 , <2   # why
Scikit_Learn[Extra]==1.0 ; python_version >= "3.8"

six==1.17.0 \\
    --hash=sha256:AA \\
    --hash=sha256:bb
-c constraints.txt
"""
    result = parse_requirements_file(File("r.txt", "", text.encode()))
    assert [item.line for item in result.requirements] == [
        "numpy<2,>=1.2",
        'scikit-learn[extra]==1.0 ; python_version >= "3.8"',
        "six==1.17.0 --hash=sha256:aa --hash=sha256:bb",
    ]
    assert [str(item.position) for item in result.problems] == ["r.txt:8:1"]


@pytest.mark.parametrize(
    "line", ["foo @ https://u:hunter22@h/x.whl", "git+ssh://u:hunter22@h/x", "foo==1 https://u:hunter22@h"]
)
def test_no_secret_in_problems(line: str) -> None:
    """A password in a refused line appears nowhere in the problem."""
    result = parse_line(line, None)
    assert isinstance(result, Problem)
    assert "hunter22" not in str(result)
