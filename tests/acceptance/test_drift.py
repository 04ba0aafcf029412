"""What hands do to real services under a real daemon: told once, taken back where that is the policy, counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Daemon, Home, service, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
NAMES = ("healed", "reported")


def key_file(home: Home, name: str) -> Path:
    """The file that a service's keys are checked against."""
    state = json.loads((home.state / "services" / "local" / name / "service.json").read_text())
    return Path(state["keysFile"])


def add_a_key(file: Path) -> None:
    """Somebody lets themselves in."""
    known = json.loads(file.read_text())
    file.write_text(json.dumps({"keys": [*known["keys"], {"slot": "spare", "sha256": "0" * 64}]}))


def full_looks(daemon: Daemon) -> int:
    """How often the target was looked at as a whole so far."""
    return len([event for event in daemon.events("reconcile") if event["target"] == "local"])


def told(daemon: Daemon) -> list[tuple[str, str]]:
    """What was said of drift, in order of the log for each service."""
    said = [*daemon.events("drift"), *daemon.events("drift ended")]
    return sorted((event["id"].rpartition("/")[2], event["event"]) for event in said)


def test_a_hand_is_told_once_taken_back_where_that_is_the_policy_and_counted(home: Home) -> None:
    """In the log, the history, the metrics, `status` and `drift`; four looks later nothing was said again."""
    home.settings.write_text(json.dumps({"daemon": {"fullLookSeconds": 1}}))
    policy = {"drift": {"report": ["/auth/keys"]}}
    auth = {"enabled": True}
    home.write(
        {
            "services/healed.yaml": service("healed", auth=auth),
            "services/reported.yaml": service("reported", auth=auth, policy=policy),
        }
    )
    with home.daemon() as daemon:
        daemon.until("reconcile", target="local", outcome="in sync")
        files = {name: key_file(home, name) for name in NAMES}
        ours = {name: json.loads(file.read_text()) for name, file in files.items()}
        for file in files.values():
            add_a_key(file)
        until(lambda: len(told(daemon)) == 3)
        seen = full_looks(daemon)
        until(lambda: full_looks(daemon) >= seen + 4)
        assert told(daemon) == [("healed", "drift"), ("healed", "drift ended"), ("reported", "drift")]
        assert sum(event.get("healed", 0) for event in daemon.events("reconcile")) == 1
        assert json.loads(files["healed"].read_text()) == ours["healed"]
        assert len(json.loads(files["reported"].read_text())["keys"]) == 3

        address = daemon.until("daemon started")["address"]
        metrics = httpx.get(f"http://{address}/metrics", trust_env=False).text
        assert 'reconciler_drift_healed_total{target="local"} 1.0' in metrics
        assert 'reconciler_service_drift{service="reported",target="local"} 1.0' in metrics
        assert 'reconciler_service_sync{service="healed",state="in sync",target="local"} 1.0' in metrics
        syncs = {each["name"]: each["sync"] for each in home.json("status")["services"]}
        assert syncs == {"healed": "in sync", "reported": "drifted"}
        (drifted,) = home.json("drift")["drift"]
        (field,) = drifted["fields"]
        assert (drifted["service"], field["pointer"], field["next"]) == ("reported", "/auth/keys/spare", "report")
        assert (field["times"], field["origin"], field["by"]["manager"][:5]) == (1, "service", "user ")
        assert field["since"] is not None

        files["reported"].write_text(json.dumps(ours["reported"]))
        ended = daemon.until("drift ended", id="local/process/reported")
        assert (ended["healed"], ended["seconds"] > 0) == (False, True)
    attempts: list[dict[str, Any]] = home.json("history")["attempts"]
    noted = [
        (one["id"].rpartition("/")[2], one["outcome"]) for one in attempts if one["outcome"] in ("drift", "recovered")
    ]
    assert sorted(noted) == [
        ("healed", "drift"),
        ("healed", "recovered"),
        ("reported", "drift"),
        ("reported", "recovered"),
    ]
