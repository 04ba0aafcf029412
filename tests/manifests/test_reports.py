"""Every mistake has a report with its exact place; the corpus is `bad/`."""

from __future__ import annotations

import pytest

from tests.manifests.golden import BAD, cases, report


@pytest.mark.parametrize("name", cases())
def test_a_mistake_gives_the_report_beside_it(name: str) -> None:
    """Each bad manifest gives the very report that is committed beside it."""
    assert report(name) == (BAD / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", cases())
def test_a_report_never_shows_a_secret(name: str) -> None:
    """A planted secret is in no report, not even in that of a syntax error in its line."""
    assert "hunter2" not in report(name)


def test_every_report_of_the_corpus_has_its_case() -> None:
    """No report is left over from a case that is gone."""
    assert {path.stem for path in BAD.glob("*.txt")} == set(cases())
