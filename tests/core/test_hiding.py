"""Taking secrets out of what others wrote."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.hiding import HIDDEN, SHORTEST, hide


@given(st.text(), st.text(min_size=SHORTEST).map(str.strip).filter(lambda t: len(t) >= SHORTEST), st.text())
def test_a_secret_is_gone_however_it_is_written(before: str, secret: str, after: str) -> None:
    """Plain, as Python or as JSON writes it: it is not there any more."""
    for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        assert form not in hide(f"{before} {form} {after}", [secret]).replace(HIDDEN, "")


def test_each_line_of_a_secret_counts() -> None:
    """A key of several lines is hidden even where only one of them stands, or they are joined."""
    key = "-----BEGIN KEY-----\nc4n4ryc4n4ry\nabcdefghijk\n-----END KEY-----"
    assert "c4n4ry" not in hide("cannot read c4n4ryc4n4ry", [key])
    assert "abcdef" not in hide(f"cannot read {key!r}", [key])


def test_what_is_too_short_is_left_alone() -> None:
    """A variable of one sign does not garble a message."""
    assert hide("1 of 10 workers", ["1", "", "10"]) == "1 of 10 workers"
