"""The three forges at the wire, behind one face, so that one suite states what holds for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.forge.ci import Surroundings
from reconciler.forge.forge import Forge, Provider
from reconciler.forge.opening import Repository, open_forge
from tests.certificates import certificate_in
from tests.cli.conftest import quickstart
from tests.forge import wire_azure, wire_github, wire_gitlab
from tests.forge.wire import Wire

__all__ = ["PULL_REQUEST", "Bench", "quickstart"]

PULL_REQUEST = 7


@dataclass
class Bench:
    """One forge at the wire, and how tests look into it.

    Args:
        token: One that may do everything, of somebody else than `add(…, ours=False)` writes as.
        poor: One that may only read.
        slept: Seconds that were waited for, all of them at once.
    """

    provider: Provider
    wire: Any
    project: str
    token: str
    poor: str
    limit: int
    bodies: Callable[[], list[str]]
    add: Callable[..., Any]
    certificate: Path
    slept: list[float] = field(default_factory=list)
    opened: list[Forge] = field(default_factory=list)
    now: float = 1_000_000.0

    def repository(self, **more: Any) -> Repository:
        """The repository, as options and variables would name it."""
        given = {"project": self.project, "api": self.wire.api, "ca_file": str(self.certificate), **more}
        return Repository(self.provider, around=given.pop("around", Surroundings()), **given)

    def forge(self, token: str = "", **more: Any) -> Forge:
        """A forge to ask, with a token of its own."""
        around = {name: more.pop(name) for name in ("project", "api", "around", "ca_file") if name in more}
        given = {"sleep": self.slept.append, "now": lambda: self.now, **more}
        self.opened.append(open_forge(self.repository(**around), token or self.token, **given))
        return self.opened[-1]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that stands for itself, and its key."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def benches(certificate: tuple[Path, Path]) -> Iterator[Callable[[str], Bench]]:
    """Makes a bench of a forge; at the end, nothing unexpected was asked of any."""
    made: list[Bench] = []

    def make(which: str) -> Bench:
        bench = _MAKERS[which](certificate)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        for forge in bench.opened:
            forge.close()
        wire: Wire = bench.wire
        wire.close()
    assert [call for bench in made for call in bench.wire.unexpected] == []


@pytest.fixture(params=["github", "github-enterprise", "gitlab", "azure-devops", "azure-devops-server"])
def bench(request: pytest.FixtureRequest, benches: Callable[[str], Bench]) -> Bench:
    """Each forge in turn, in the cloud and on one's own machines."""
    return benches(request.param)


def _github(certificate: tuple[Path, Path], prefix: str = "") -> Bench:
    wire = wire_github.GitHubWire(certificate, prefix)
    wire.tokens["ghs-poor"] = wire_github.Token("github-actions[bot]", permissions={"pull_requests": "read"})

    def add(body: str, *, ours: bool = True) -> Any:
        return wire.add(body) if ours else wire.add(body, "mallory", bot=False)

    def bodies() -> list[str]:
        return [comment["body"] for comment in wire.comments]

    return Bench(
        Provider.GITHUB,
        wire,
        "team/models",
        "ghs-workflow",
        "ghs-poor",
        wire_github.LONGEST,
        bodies,
        add,
        certificate[0],
    )


def _gitlab(certificate: tuple[Path, Path]) -> Bench:
    wire = wire_gitlab.GitLabWire(certificate)
    wire.tokens["glpat-poor"] = wire_gitlab.Token(17, scope="read_api")

    def add(body: str, *, ours: bool = True) -> Any:
        return wire.add(body, 17 if ours else 5)

    def bodies() -> list[str]:
        return [note["body"] for note in wire.notes if not note["system"]]

    return Bench(
        Provider.GITLAB,
        wire,
        "group/models",
        "glpat-bot",
        "glpat-poor",
        wire_gitlab.LONGEST,
        bodies,
        add,
        certificate[0],
    )


def _azure(certificate: tuple[Path, Path], collection: str = "/fabrikam", token: str = wire_azure.JWT) -> Bench:
    wire = wire_azure.AzureWire(certificate, collection)
    poor = f"{wire_azure.JWT}x"
    wire.tokens[poor] = wire_azure.Token("build-service", contributes=False, statuses=False)
    us = wire.tokens[token].user

    def add(body: str, *, ours: bool = True) -> Any:
        return wire.add(body, us if ours else "mallory")

    def bodies() -> list[str]:
        first = [thread["comments"][0] for thread in reversed(wire.threads)]
        return [comment["content"] for comment in first if not comment.get("isDeleted")]

    return Bench(
        Provider.AZURE_DEVOPS, wire, "Shop/models", token, poor, wire_azure.LONGEST, bodies, add, certificate[0]
    )


_MAKERS: dict[str, Callable[[tuple[Path, Path]], Bench]] = {
    "github": _github,
    "github-enterprise": lambda certificate: _github(certificate, "/api/v3"),
    "gitlab": _gitlab,
    "azure-devops": _azure,
    "azure-devops-server": lambda certificate: _azure(certificate, "/tfs/DefaultCollection", wire_azure.PAT),
}
