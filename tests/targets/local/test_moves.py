"""A service under another name: the socket that clients connect to is handed on, or the new one has its own."""

import os
import signal

import pytest

from reconciler.core.change import Action, Step
from reconciler.core.resources import Health
from reconciler.targets.local.process.commands import control_socket
from reconciler.targets.local.process.look import look
from reconciler.targets.local.process.wire import borrow

from .harness import free_port, score, until
from .test_traffic import Load


def moving(bench, name="fresh", **settings):
    """A deployment under another name, and how to ask for it as moved."""
    deployment = bench.deployment("two", name=name, **settings)
    return deployment, {"action": Action.CREATE, "moved_from": bench.id("diabetes")}


@pytest.mark.parametrize(
    ("fixed", "keep_alive"),
    [
        (True, False),
        (False, True),
        pytest.param(True, True, marks=pytest.mark.long),
        pytest.param(False, False, marks=pytest.mark.long),
    ],
)
def test_a_move_loses_no_request(bench, fixed, keep_alive):
    """The same port answers throughout, whether it was asked for or chosen: first the old name, then the new one."""
    port = free_port() if fixed else None
    before = bench.deploy(bench.deployment("one", port=port))
    deployment, asked = moving(bench, port=port)
    with Load(before.outputs["port"], 4, keep_alive) as load:
        until(lambda: load.served("one") > 20)
        after = bench.deploy(deployment, **asked)
        bench.delete()
        until(lambda: load.served("two") > 20)
    assert load.failures == []
    assert after.outputs["port"] == before.outputs["port"]
    assert score(bench.observe("fresh")) == (200, "two")
    assert "takes port" in " ".join(bench.observe("fresh").events)


def test_another_port_is_not_handed_over(bench):
    """Who asks for another port gets that one, and the old one answers until it is deleted."""
    before = bench.deploy(bench.deployment("one"))
    port = free_port()
    deployment, asked = moving(bench, port=port)
    after = bench.deploy(deployment, **asked)
    assert after.outputs["port"] == port != before.outputs["port"]
    assert score(bench.observe()) == (200, "one")


def test_a_move_that_is_discarded_leaves_the_old_one_its_port(bench):
    """The new version fails its tests: it goes, and not one request to the old one is lost."""
    before = bench.deploy(bench.deployment("one"))
    deployment, asked = moving(bench)
    with Load(before.outputs["port"], 2, False) as load:
        bench.stage(deployment, **asked)
        bench.apply(bench.change(deployment, Step.DISCARD, **asked))
        until(lambda: bench.observe("fresh") is None)
        until(lambda: load.served("one") > 20)
    assert load.failures == []
    assert bench.observe().health is Health.HEALTHY


def test_what_it_moves_from_may_be_gone(bench):
    """Without a supervisor to ask, the new one takes the port that it is given, or a free one."""
    bench.deploy(bench.deployment("one"))
    bench.delete()
    deployment, asked = moving(bench)
    after = bench.deploy(deployment, **asked)
    assert score(after) == (200, "two")


def test_a_socket_is_lent_to_who_fits_only(bench):
    """Another host, another port or another service's secret gets none."""
    seen = bench.deploy(bench.deployment("one"))
    view = look(bench.folder())
    control = control_socket(view.folder, view.uid)
    right = {"do": "lend", "uid": view.uid, "host": "127.0.0.1", "port": seen.outputs["port"]}
    for wrong in ({"uid": "0" * 32}, {"host": "0.0.0.0"}, {"port": 1}):
        answer, lent = borrow(control, {**right, **wrong}, 5.0)
        assert "error" in answer
        assert lent is None
    answer, lent = borrow(control, {**right, "port": None}, 5.0)
    with lent:
        assert answer["port"] == lent.getsockname()[1] == seen.outputs["port"]


def test_a_supervisor_that_starts_anew_has_the_port_again(bench):
    """After the move the port is the new one's: it is taken again when its supervisor was killed."""
    before = bench.deploy(bench.deployment("one"))
    deployment, asked = moving(bench)
    bench.deploy(deployment, **asked)
    bench.delete()
    pid = bench.observe("fresh").outputs["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: bench.observe("fresh").health is Health.MISSING)
    again = bench.deploy(deployment)
    assert again.outputs["port"] == before.outputs["port"]
