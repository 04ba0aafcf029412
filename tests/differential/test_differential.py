"""The same scripts and requests on our runtime and on Azure ML's inference server.

Every difference has to stand in the table of docs/serving-differences.md with its reason, and every row of that table
has to be a difference that is really there.
"""

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .cases import CASES, Case
from .servers import Answer, oracle_python, run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving-differences.md"

Difference = tuple[str, str, str, str]


def differences(case: str, ours: dict[str, Answer], theirs: dict[str, Answer]) -> list[Difference]:
    """(case/request, aspect, ours, theirs) for all that is not equal."""
    found: list[Difference] = []
    nothing = Answer("-", {}, "")
    for name in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(name, nothing), theirs.get(name, nothing)
        where = f"{case}/{name}"
        if nothing in (mine, other):
            continue  # one did not start, which is a difference already
        aspects = [("status", mine.status, other.status), ("body", mine.body, other.body)]
        for header in sorted({*mine.headers, *other.headers}):
            aspects.append((header, mine.headers.get(header, "-"), other.headers.get(header, "-")))
        found += [(where, aspect, a, b) for aspect, a, b in aspects if a != b]
    return found


def listed() -> list[tuple[str, str, str, str]]:
    """(requests, aspect, ours, theirs) of each row of the documented table; `…` stands for any text."""
    rows = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
        if line.startswith("| `") and len(cells) == 5:
            rows.append((cells[0], cells[1], cells[2], cells[3]))
    return rows


def covers(row: tuple[str, str, str, str], difference: Difference) -> bool:
    """Whether a row of the table speaks of a difference."""
    requests, aspect, ours, theirs = row
    where, found, mine, other = difference
    return (
        any(fnmatch.fnmatchcase(where, pattern) for pattern in requests.replace("`", "").split(", "))
        and aspect == found
        and fnmatch.fnmatchcase(mine.replace("[", "("), ours.replace("[", "(").replace("…", "*"))
        and fnmatch.fnmatchcase(other.replace("[", "("), theirs.replace("[", "(").replace("…", "*"))
    )


@pytest.mark.long
@pytest.mark.timeout(840)
def test_every_difference_to_azure_mls_server_is_documented_and_real(tmp_path: Path) -> None:
    """What differs from the reference server is exactly what docs/serving-differences.md lists."""
    python = oracle_python()

    def compare(case: Case) -> list[Difference]:
        ours = run("ours", case, tmp_path / "ours" / case.script, python)
        theirs = run("theirs", case, tmp_path / "theirs" / case.script, python)
        return differences(case.script, ours, theirs)

    with ThreadPoolExecutor(2) as pool:
        found = [difference for several in pool.map(compare, CASES) for difference in several]
    rows = listed()
    unexplained = [d for d in found if not any(covers(row, d) for row in rows)]
    unreal = [row for row in rows if not any(covers(row, d) for d in found)]
    text = "\n".join(f"{where} {aspect}: ours {mine!r}, theirs {other!r}" for where, aspect, mine, other in unexplained)
    assert not unexplained, f"not in {PAGE.name}:\n{text}"
    assert not unreal, f"in {PAGE.name}, but both servers agree: {unreal}"
