"""Taking secrets out of what others wrote."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.hiding import HIDDEN, SHORTEST, hide


@given(st.text(), st.text(min_size=SHORTEST).map(str.strip).filter(lambda t: len(t) >= SHORTEST), st.text())
def test_a_secret_is_gone_however_it_is_written(before: str, secret: str, after: str) -> None:
    """Plain, as Python or as JSON writes it: it is not there any more."""
    data = secret.encode("utf-8", "surrogatepass")
    written = (quote(data, safe=""), quote_plus(data))
    for form in (
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        *written,
    ):
        assert form not in hide(f"{before} {form} {after}", [secret]).replace(HIDDEN, "")


def test_each_line_of_a_secret_counts() -> None:
    """A key of several lines is hidden even where only one of them stands, or they are joined."""
    key = "-----BEGIN KEY-----\nc4n4ryc4n4ry\nabcdefghijk\n-----END KEY-----"
    assert "c4n4ry" not in hide("cannot read c4n4ryc4n4ry", [key])
    assert "abcdef" not in hide(f"cannot read {key!r}", [key])


def test_what_is_too_short_is_left_alone() -> None:
    """A variable of one sign does not garble a message."""
    assert hide("1 of 10 workers", ["1", "", "10"]) == "1 of 10 workers"


@given(st.binary(max_size=9), st.text(st.characters(codec="utf-8"), min_size=9), st.binary(max_size=9))
def test_a_secret_in_the_middle_of_base64_is_gone(before: bytes, secret: str, after: bytes) -> None:
    """`user:password` of a header, a whole file: nothing of it can be decoded any more."""
    data = secret.strip().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + data + after).decode()
        left = hide(text, [secret])
        inner = data[2:-2]
        if len(data) >= 8:
            assert HIDDEN in left
            assert encode(inner).decode().rstrip("=")[1:-2] not in left.replace(HIDDEN, "") or len(inner) < 9
