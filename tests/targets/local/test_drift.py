"""What drifts at the process engine (keys, and whole services), under each policy, planned and carried out."""

import getpass
import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.change import Step
from reconciler.core.deployment import Auth
from reconciler.core.errors import TerminalError
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.secrets import seal
from tests.contract.harness import Bench

from .harness import INSTALLATION, score, until

KEYS = Auth(enabled=True, primary=seal(b"k", "ours"), secondary=seal(b"k", "second"))


class Service:
    """One service under a policy for its keys, reconciled through the core."""

    def __init__(self, bench, policy, pattern="/auth/keys"):
        self.bench = bench
        # Between two looks at what another process does; `patience` is the deadline.
        self.loop = Bench(bench.driver, installation=INSTALLATION, patience=3000, pause=lambda: time.sleep(0.02))
        self.policy = Policy(rules=(DriftRule(pattern, FieldPolicy(policy)),))

    def desired(self, version="one", **settings):
        deployment = self.bench.deployment(version, auth=settings.pop("auth", KEYS), **settings)
        return replace(self.bench.driver.render(deployment)[0], depends_on=(), policy=self.policy)

    def go(self, version="one", **settings):
        desired = [self.desired(version, **settings)]
        made = self.loop.reconcile(desired)
        self.bench.observe()
        until(lambda: not self.bench.observe().busy)
        return made

    def plan(self, version="one", **settings):
        return self.loop.plan([self.desired(version, **settings)])

    def write(self, **keys):
        """The key file as somebody else writes it."""
        digests = [{"slot": s, "sha256": hashlib.sha256(k.encode()).hexdigest()} for s, k in keys.items()]
        self.file.write_text(json.dumps({"keys": digests}))

    @property
    def file(self):
        return Path(self.bench.state()["keysFile"])

    def allows(self, key):
        return score(self.bench.observe(), key=key)[0] == 200


def pointers(made):
    """Of what drifted."""
    return [field.pointer for drift in made.drift for field in drift.fields]


def test_a_key_changed_by_hand_is_told_with_its_author_and_taken_back(bench):
    """The one slot that differs is named, with who wrote the file and when; our key is in force again."""
    service = Service(bench, "heal")
    service.go()
    service.write(primary="theirs", secondary="second")
    os.utime(service.file, (5.0, 5.0))
    seen = bench.observe()
    assert seen.owner_of("/auth/keys/primary") == (f"user {getpass.getuser()}", 5.0)
    assert seen.owner_of("/workers") is None
    made = service.go()
    assert (pointers(made), [c.steps for c in made.effective()]) == (["/auth/keys/primary"], [(Step.APPLY,)])
    until(lambda: service.allows("ours"))
    assert not service.allows("theirs")
    assert service.plan().empty
    assert not bench.observe().owners


def test_a_key_added_by_hand_has_drifted(bench):
    """Nobody opens a service with a slot of his own."""
    service = Service(bench, "heal", "/workers")
    service.go()
    service.write(primary="ours", secondary="second", spare="theirs")
    assert pointers(service.go()) == ["/auth/keys/spare"]
    until(lambda: not service.allows("theirs"))
    assert service.plan().empty


@pytest.mark.parametrize("policy", ["ignore", "createOnly", "report"])
def test_keys_left_to_others_are_carried_into_the_next_version(bench, policy):
    """A new version beside the old one has the keys that somebody wrote, not Git's; reported drift stays reported."""
    service = Service(bench, policy)
    service.go()
    service.write(primary="theirs", spare="more")
    drifted = ["/auth/keys/primary", "/auth/keys/secondary", "/auth/keys/spare"] if policy == "report" else []
    assert pointers(service.plan()) == drifted
    for version in ("two", "three"):
        made = service.go(version)
        assert pointers(made) == drifted
        assert score(bench.observe(), key="theirs") == (200, version)
        assert service.allows("more")
        assert not service.allows("ours")
        assert service.plan(version).empty
    if policy == "report":
        git = Auth(enabled=True, primary=seal(b"k", "newer"), secondary=seal(b"k", "second"))
        made = service.go("three", auth=git)
        assert [f.pointer for d in made.drift for f in d.fields if f.conflict] == ["/auth/keys/primary"]
        until(lambda: service.allows("newer"))
        assert not service.allows("theirs")


@pytest.mark.parametrize(
    "content", ["no JSON", '{"keys": [{"slot": "primary"}]}', '{"keys": [{"slot": 1, "sha256": "x"}]}']
)
def test_keys_that_cannot_be_read_cannot_be_kept(bench, content):
    """What nobody can read is drift, taken back under `heal`; a new version that had to keep it says what to do."""
    service = Service(bench, "ignore")
    service.go()
    service.file.write_text(content)
    recorded = dict(service.loop.baselines)
    with pytest.raises(TerminalError, match="cannot be read") as caught:
        service.go("two")
    assert "/auth/keys" in caught.value.hint
    assert score(bench.observe(), key="ours") == (200, "one")
    # As the engine does with a version that could not be staged.
    service.loop.baselines = recorded
    service.policy = Policy()
    assert pointers(service.plan()) == ["/auth/keys"]
    service.go("two")
    assert score(bench.observe(), key="ours") == (200, "two")


def test_a_file_that_was_only_touched_has_not_drifted(bench):
    """The same keys in another file, or with another time, are the same keys."""
    service = Service(bench, "heal")
    service.go()
    content = service.file.read_bytes()
    service.file.unlink()
    service.file.write_bytes(content)
    os.utime(service.file, (5.0, 5.0))
    made = service.plan()
    assert made.empty
    assert not made.drift


def test_a_service_that_is_gone_is_made_again_whatever_its_policy(bench):
    """Policies speak of fields; what Git names has to be there, as Git names it."""
    service = Service(bench, "report", "/**")
    service.go()
    os.kill(bench.observe().outputs["pid"], 9)
    until(lambda: bench.observe().health.value == "Missing")
    made = service.go()
    assert [(d.gone, d.healing) for d in made.drift] == [(True, True)]
    assert service.allows("ours")
