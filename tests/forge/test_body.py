"""The text of a comment: markers that cannot be mistaken, and cuts that leave the Markdown whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.forge.body import carries, fitted, length, marked, marker, same

names = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(names, names, names, names)
def test_a_marker_is_that_of_its_environment_and_folder_alone(env: str, path: str, other_env: str, other: str) -> None:
    """Whatever the names, a marker is one line, ends once, and is nobody else's."""
    mine, others = marker(env, path), marker(other_env, other)
    assert "\n" not in mine
    assert mine.count("--") == 2
    assert (mine == others) == ((env, path.strip("/")) == (other_env, other.strip("/")))
    assert carries(marked("### Plan\n", mine), mine)
    assert carries(marked("### Plan\n", mine), others) == (mine == others)


@pytest.mark.parametrize(
    "first", ["<!-- reconciler-plan -->", "<!-- reconciler-plan env=old -->", "\n<!-- reconciler-plan -->\r"]
)
def test_the_marker_of_the_text_gives_way_to_ours(first: str) -> None:
    """One marker, whatever the plan began with; what is no marker of ours stays."""
    assert marked(f"{first}\n### Plan\n", marker("prod")) == "<!-- reconciler-plan env=prod -->\n### Plan\n"
    assert marked("<!-- note -->\ntext", marker("")) == "<!-- reconciler-plan -->\n<!-- note -->\ntext"


def test_what_a_forge_does_to_a_text_is_no_difference() -> None:
    """Line ends and blanks at the end."""
    assert same("a\r\nb\r\n", "a\nb")
    assert not same("a\nb", "a\n b")


lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "```",
                "````yaml",
                "~~~",
                "```python",
                "</details>",
                "<details><summary>x</summary>",
                "| a | b |",
                "",
                "> q",
            ]
        ),
        st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60),
    ),
    max_size=80,
)


@given(lines, st.integers(600, 3000))
def test_a_cut_text_fits_and_closes_what_it_opened(parts: list[str], limit: int) -> None:
    """It is never longer than the limit; a text that fits is not touched; no fence and no fold stays open."""
    text = "\n".join(parts)
    cut = fitted(text, limit)
    assert length(cut) <= limit
    assert (cut == text) == (length(text) <= limit)
    if cut != text:
        fence, folds = state_of(cut)
        assert fence == ""
        assert folds <= 0
        assert "lines are left out" in cut


def state_of(text: str) -> tuple[str, int]:
    """The fence that is open at the end, and how many folds are (CommonMark 0.31 §4.5, line by line)."""
    fence, folds = "", 0
    for line in text.splitlines():
        if fence:
            closes = re.fullmatch(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*", line)
            fence = "" if closes else fence
        elif opened := re.match(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})", line):
            fence = opened[1]
        else:
            folds += len(re.findall(r"<details\b", line, re.I)) - len(re.findall(r"</details\b", line, re.I))
    return fence, folds


def test_the_notice_counts_what_is_left_out() -> None:
    """Lines kept and lines left out are all there were."""
    text = "\n".join(f"line {number}" for number in range(1000))
    cut = fitted(text, 2000)
    kept = len(re.findall(r"^line \d+$", cut, re.MULTILINE))
    assert f"the last {1000 - kept:,} lines" in cut


def test_one_endless_line_leaves_the_notice() -> None:
    """Nothing fits, and that is said."""
    assert "the last 1 lines" in fitted("x" * 5000, 1000)
