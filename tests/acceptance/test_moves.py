"""A service under another name, from outside: keys that clients have go on, the address too, and history."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from .conftest import Home, service

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
DOCUMENT = "services/ridge.yaml"


def moved(name: str, old: str = "", **spec: Any) -> str:
    """A service's manifest that says what it was."""
    document = json.loads(service(name, auth={"enabled": True}, **spec))
    if old:
        document["metadata"]["movedFrom"] = old
    return json.dumps(document)


def keys(home: Home, name: str) -> dict[str, str]:
    """The keys of a service by slot."""
    shown = json.loads(home.ok("keys", name, "--show", "-o", "json"))["keys"]
    return {slot: about["key"] for slot, about in shown.items()}


def ask(url: str, key: str) -> Any:
    """What a client with a key gets."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/score", b"3", headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_a_move_keeps_keys_address_and_history(home: Home) -> None:
    """Shown as a move, made in one apply; then the line is harmless, may go, and the old name is free for another."""
    home.write({DOCUMENT: moved("ridge")})
    home.ok("apply")
    home.ok("keys", "ridge", "--regenerate", "secondary")
    before = keys(home, "ridge")
    url = home.json("status", "ridge")["url"]
    home.write({DOCUMENT: moved("lasso", "ridge")})
    plan = home.ok("plan")
    assert "lasso (was ridge)" in plan
    assert "Plan: 1 to move" in plan
    assert "no disruption" not in plan.partition("- process")[0]
    assert "stops answering" not in plan
    document = home.json("plan")
    assert [(c["action"], c["movedFrom"], c["movedTo"]) for c in document["changes"]] == [
        ("create", "local/process/ridge", None),
        ("delete", None, "local/process/lasso"),
    ]

    home.ok("apply")

    assert keys(home, "lasso") == before
    assert home.json("status", "lasso")["url"] == url
    assert all(ask(url, key) == "3" for key in before.values())
    assert "nothing to do" in home.ok("apply")
    home.write({DOCUMENT: moved("lasso")})
    assert "Nothing to do" in home.ok("plan")
    actions = [[c["action"] for c in a["changes"]] for a in home.json("history", "lasso")["attempts"]]
    assert actions[0] == ["create", "delete"]
    assert actions[-1] == ["create"]

    home.write({"services/other.yaml": moved("ridge")})
    home.ok("apply")
    assert set(keys(home, "ridge").values()).isdisjoint(before.values())
    assert keys(home, "lasso") == before


def test_a_rename_without_the_line_is_pointed_out(home: Home) -> None:
    """Online and offline the plan names the line to add and the document to add it to; keys do not hide it."""
    home.write({DOCUMENT: moved("ridge")})
    home.ok("apply")
    home.write({DOCUMENT: moved("lasso")})
    for words in (("plan",), ("plan", "--base", "HEAD~1", "--ref", "HEAD", "--offline")):
        told = home.ok(*words)
        assert "[looks-renamed]" in told
        assert "services/ridge.yaml:1:1" in told
        assert "`movedFrom: ridge`" in told


def test_a_move_of_something_protected_takes_two_merges(home: Home) -> None:
    """Refused with both merges spelled out; neither half of it happens."""
    home.write({DOCUMENT: moved("ridge", policy={"protect": True})})
    home.ok("apply")
    home.write({DOCUMENT: moved("lasso", "ridge", policy={"protect": True})})
    done = home.run("apply")
    assert done.returncode == 13, done.stdout + done.stderr
    assert "one merge: name: ridge, policy: {protect: false}; the next: movedFrom: ridge" in done.stdout
    assert [s["name"] for s in home.json("status")["services"] if s["health"] == "Healthy"] == ["ridge"]
    home.write({DOCUMENT: moved("ridge")})
    home.ok("apply")
