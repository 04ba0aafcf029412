"""Watches: what they begin with, what they take on later, and how often they are begun again."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from reconciler.core.resources import ResourceId
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.events import Watching
from reconciler.targets.aks.kinds import INSTALLATION, KINDS
from tests.contract.harness import INSTALLATION as OURS
from tests.targets.aks.standin import Standin
from tests.targets.aks.test_driver import hints, make


class Hasty(threading.Event):
    """Waits for no time at all, writes down for how long it should have, and is set after so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set; without a time, waits for that."""
        if timeout is None:
            return super().wait()
        self.waits.append(timeout)
        if len(self.waits) >= self.times:
            self.set()
        return self.is_set()


def test_a_watch_that_ends_at_once_is_begun_again_ever_more_rarely(standin: Standin, tmp_path: Path) -> None:
    """Something between here and the API that ends watches gets a request a minute, and not thousands."""
    standin.brief = True
    (tmp_path / "kubeconfig").write_text(json.dumps(standin.kubeconfig))
    cluster = Cluster("cluster", kubeconfig=str(tmp_path / "kubeconfig"))
    watching = Watching(cluster, "a=b")
    watching.also(["ml"], [KINDS["Deployment"]])
    stop = Hasty(8)
    listening = threading.Thread(target=lambda: list(watching.until(stop)), daemon=True)
    listening.start()
    assert super(Hasty, stop).wait(30)
    listening.join(30)
    assert not listening.is_alive()
    assert stop.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert standin.watching == 9
    cluster.close()


def test_what_a_look_turns_to_later_is_watched_from_then_on(tmp_path: Path) -> None:
    """A namespace and a kind that a commit brings; what was watched before is not begun again."""
    standin = Standin("ml", "other")
    standin.keda = True
    driver = make(standin, tmp_path)
    with hints(standin, driver) as until:
        watched = standin.watching
        driver.observe([ResourceId("cluster", "ScaledObject", "other:x")])
        with standin.changed:
            assert standin.changed.wait_for(lambda: standin.watching == 2 * (watched + 1), 30)
        labels = {INSTALLATION: OURS}
        standin.put(("scaledobjects", "other", "x"), {"metadata": {"labels": labels}, "spec": {}})
        until(lambda heard: heard == ["ScaledObject x: added"])
        driver.observe([ResourceId("cluster", "ScaledObject", "other:x")])
        assert standin.watching == 2 * (watched + 1)
    driver.close()
    standin.close()
