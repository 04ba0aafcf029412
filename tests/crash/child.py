"""One apply in a process of its own that kills itself at a numbered moment: `child.py REPO STATE MOMENT` (0: never).

Moments are counted just before and just after every write to the record and every call of a driver. Prints how many
there were, if it gets that far.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler import wiring
from reconciler.engine.outcome import ApplyOptions


class Moments:
    """Counts, and dies at the given one."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self.last = last

    def pass_by(self) -> None:
        """One more."""
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call with a moment on either side."""

        def both(*words: Any, **named: Any) -> Any:
            self.pass_by()
            answer = call(*words, **named)
            self.pass_by()
            return answer

        return both


def main(repo: str, state: str, last: int) -> None:
    """Applies the repo's HEAD."""
    moments = Moments(last)
    places = wiring.Places(Path(state))
    source = wiring.open_repo(wiring.source_settings(repo, "main", "", None), places)
    opened = wiring.installation(places, None, source.tree)
    make = opened.targets.make

    def watched(target: Any) -> Any:
        driver = make(target)
        driver.apply = moments.around(driver.apply)
        return driver

    opened.targets.make = watched
    for driver in opened.registries:
        driver.apply = moments.around(driver.apply)
    for name in ("put", "forget", "unrecord", "record"):
        setattr(opened.store, name, moments.around(getattr(opened.store, name)))
    with opened.store.writing("crash test"):
        look = opened.reconciler.look(holds=False)
        # What the killed one had begun to take away goes by itself; a daemon would look again later.
        until = time.monotonic() + 60
        while any(kept.code == "busy" for kept in look.plan.kept) and time.monotonic() < until:
            look = opened.reconciler.look(holds=False)
        outcome = opened.reconciler.carry_out(look, ApplyOptions(timeout=120))
    left = list(opened.reconciler.look(holds=False).plan.effective())
    opened.close()
    problems = [f"{r.id}: {r.reason}" for r in outcome.failed] + [f"left: {c.id} {c.reason}" for c in left]
    print("\n".join([str(moments.count), *problems]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
