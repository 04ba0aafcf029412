"""The process engine with the scoring runtime itself on the other side."""

import json
from pathlib import Path

import pytest

import reconciler
from reconciler.core.change import Step
from reconciler.core.deployment import Auth
from reconciler.core.resources import Health
from reconciler.core.secrets import seal

from .harness import Bench, score, score_staged, until
from .test_traffic import Load


@pytest.fixture
def real(tmp_path):
    """A bench whose workers run the scoring runtime of this tree."""
    made = Bench(tmp_path, Path(next(iter(reconciler.__path__))).parent)
    try:
        yield made
    finally:
        made.clean_up()


def test_rollout_under_load_loses_nothing(real):
    """Two workers, clients that ask without a pause, a roll-out: every request is answered."""
    seen = real.deploy(real.deployment("v0", replicas=2))
    with Load(seen.outputs["port"], 3, False) as close, Load(seen.outputs["port"], 3, True) as keep:
        until(lambda: close.served("v0") > 20 and keep.served("v0") > 20)
        real.stage(real.deployment("v1", replicas=2))
        assert close.served("v1") == keep.served("v1") == 0
        real.promote(real.deployment("v1", replicas=2))
        until(lambda: close.served("v1") > 20 and keep.served("v1") > 20)
    assert close.failures + keep.failures == []
    assert {status for status, _ in close.answers + keep.answers} == {200}


def test_keys_and_rotation(real):
    """Keys hold on the staged and on the serving version, and rotate without a restart."""
    auth = Auth(enabled=True, primary=seal(b"k", "first"), secondary=seal(b"k", "second"))
    deployment = real.deployment(auth=auth)
    real.stage(deployment)
    address = real.driver.address(real.id(), staged=True)
    assert score_staged(address)[0] == 401
    assert score_staged(address, key="second") == (200, '"one"')
    seen = real.promote(deployment)
    rotated = Auth(enabled=True, primary=seal(b"k", "third"), secondary=seal(b"k", "second"))
    done = real.apply(real.change(real.deployment(auth=rotated), Step.APPLY))
    until(lambda: score(seen, key="third") == (200, '"one"'))
    assert score(seen, key="first")[0] == 401
    assert done.answered.outputs == seen.outputs


def test_failing_script_gives_its_traceback(real):
    """The reason of a version whose init() fails is the script's own error with its place."""
    script = "def init():\n    raise ValueError('no such model')\n\ndef run(data): pass\n"
    seen = real.stage(real.deployment(script=script))
    assert seen.staged.health is Health.DEGRADED
    assert "ValueError: no such model" in seen.staged.reason
    assert "line 2, in init" in seen.staged.reason


def test_settings_reach_the_runtime(real):
    """Body limit, CORS origins and service name are those of the deployment."""
    script = "def init(): pass\n\ndef run(data):\n    return len(data)\n"
    seen = real.deploy(real.deployment(script=script, max_body_mb=0.001, cors_origins=("https://a.example",)))
    assert score(seen, b"x" * 2000)[0] == 413
    assert score(seen, b"x" * 20) == (200, "20")
    swagger = json.loads(score_get(seen, "/swagger.json"))
    assert swagger["info"]["title"] == "diabetes"


def test_worker_whose_run_does_not_return_is_replaced(real):
    """A run() over its time limit blocks its worker for good: another one takes its place, and the event says why."""
    script = "import threading\n\ndef init(): pass\n\ndef run(data):\n    return data and threading.Event().wait()\n"
    seen = real.deploy(real.deployment(script=script, scoring_timeout_ms=300))
    assert score(seen, b"block")[0] == 504
    after = until(
        lambda: (
            (now := real.observe()).health is Health.HEALTHY
            and now.outputs["workers"] not in ([], seen.outputs["workers"])
            and now
        )
    )
    assert any("run() did not return within its time limit" in event for event in after.events)
    assert score(after, b"") == (200, '""')


def score_get(seen, path):
    """The text of a GET."""
    import urllib.request

    with urllib.request.urlopen(seen.outputs["url"] + path, timeout=10) as response:
        return response.read()
