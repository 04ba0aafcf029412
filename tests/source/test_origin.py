"""When two addresses name one repository."""

from __future__ import annotations

import pytest

from reconciler.source.origin import same_origin


@pytest.mark.parametrize(
    "other",
    [
        "https://git.example/team/ml",
        "https://git.example/team/ml.git",
        "https://git.example/team/ml/",
        "https://me:token@Git.Example:8443/team/ml.git",
        "ssh://git@git.example:22/team/ml.git",
        "git@git.example:team/ml.git",
        "git.example:/team/ml",
    ],
)
def test_spellings_of_one_repo(other: str) -> None:
    """Scheme, user, port, casing of the host and `.git` make no other repo of it."""
    assert same_origin("https://git.example/team/ml.git", other)
    assert same_origin(other, "https://git.example/team/ml.git")


@pytest.mark.parametrize(
    "other",
    [
        "https://git.example/fork/ml.git",
        "https://git.example.evil/team/ml.git",
        "https://git.example@evil/team/ml.git",
        "https://git.example/team/ML.git",
        "https://git.example/team/ml.git.git",
        "git@evil:git.example/team/ml.git",
        "/git.example/team/ml",
        "file:///team/ml.git",
        "",
    ],
)
def test_other_repos(other: str) -> None:
    """Another owner, host or casing of the path is another repo."""
    assert not same_origin("https://git.example/team/ml.git", other)


def test_local_repos() -> None:
    """A path, a file: address and a trailing slash are one; other paths are not."""
    assert same_origin("/srv/ml", "file:///srv/ml/")
    assert same_origin("/srv/ml.git", "/srv/ml")
    assert not same_origin("/srv/ml", "/srv/ml2")
