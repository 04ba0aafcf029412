"""What a line of a build's, push's or pull's stream means for going on."""

from __future__ import annotations

import pytest

from reconciler.containers.engine import said
from reconciler.core.errors import AccessError, TargetError, TerminalError, ThrottledError, UnavailableError


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("The command '/bin/sh -c false' returned a non-zero code: 1", TerminalError),
        ("write /var/lib/docker/tmp/x: no space left on device", UnavailableError),
        ("toomanyrequests: You have reached your pull rate limit", ThrottledError),
        ("denied: requested access to the resource is denied", AccessError),
        ("Get https://registry.example/v2/: dial tcp: lookup registry.example: no such host", UnavailableError),
        ('failed to get destination image "sha256:5db38f": No such image: sha256:5db38f', UnavailableError),
    ],
)
def test_what_passes_is_tried_again_and_what_does_not_is_not(line: str, kind: type[TargetError]) -> None:
    """By its words, which are kept."""
    error = said(line, "building")
    assert type(error) is kind
    assert str(error).startswith(f"building: {line}")
