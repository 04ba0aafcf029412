"""Containers: reconciles beside Docker Compose, the gap of a swap, rebuilt images, foreign containers, detection.

Needs a container engine and a package index: `.ci/docker-engine.sh`. Everything made is taken away again.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.engine import Compose, foreign
from bench.row import Row, not_run
from tests.containers.engine import docker
from tests.containers.ready import Ready, at

ROUNDS = 3
LOOKS = 5
MANY = 50
CREATED = 20
FOREIGN = 100
SWAPS = 5
NOOP = f"no-op reconcile of {MANY} containers, every field compared, in the daemon"
CREATE = f"fresh create of {CREATED} containers, in the daemon, from the commit on"
GAP = "gap of a swap, last answer of the old version to first of the new"
REBUILD = "build of a new model version"
AMONG = f"no-op reconcile among {FOREIGN} foreign containers"
SEEN = "container killed to detection"


def rows() -> list[Row]:
    """The rows of the table about containers."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-bench-"))
    shops: list[Ready] = []

    def shop(name: str) -> Ready:
        (folder / name).mkdir()
        shops.append(Ready(folder / name))
        return shops[-1]

    try:
        return [
            *_part(lambda: _noop(shop("noop"), folder), NOOP, AMONG, SEEN),
            *_part(lambda: _create(shop, folder), CREATE),
            *_part(lambda: _gap(shop("gap")), GAP),
            *_part(lambda: _rebuild(folder / "rebuild"), REBUILD),
        ]
    finally:
        for one in shops:
            one.close()
        shutil.rmtree(folder, ignore_errors=True)


def _part(measure: Callable[[], Iterator[Row]], *whats: str) -> list[Row]:
    """The rows of one part, or why it could not be measured."""
    try:
        return list(measure())
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        why = (str(error).splitlines() or [type(error).__name__])[-1][:160]
        return [not_run(what, "-", "-", why) for what in whats]


def _noop(shop: Ready, folder: Path) -> Iterator[Row]:
    """The daemon is halted while the other side runs, and the other way round."""
    shop.services(MANY)
    with shop.daemon(full_look_seconds=1) as daemon:
        # Its ports are chosen while ours are taken.
        compose = Compose(folder, shop.image, MANY)
        ours, theirs = [], []
        try:
            compose.up()
            for _ in range(ROUNDS):
                ours.append(statistics.median(daemon.looks(LOOKS)))
                daemon.process.send_signal(signal.SIGSTOP)
                theirs.append(statistics.median(compose.up() for _ in range(LOOKS)))
                daemon.process.send_signal(signal.SIGCONT)
        finally:
            daemon.process.send_signal(signal.SIGCONT)
            compose.down()
        yield _beside(NOOP, f"docker compose {compose.version()} up --detach, the same containers", ours, theirs)
        alone, among = [], []
        for _ in range(ROUNDS):
            alone.append(statistics.median(daemon.looks(LOOKS)))
            with foreign(FOREIGN, shop.image):
                among.append(statistics.median(daemon.looks(LOOKS)))
        ratios = [a / b for a, b in zip(among, alone, strict=True)]
        yield Row(
            AMONG,
            "the same without them",
            "<= 1.25",
            f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]",
            statistics.median(ratios) <= 1.25,
            f"{1000 * statistics.median(among):.0f} ms against {1000 * statistics.median(alone):.0f} ms",
        )
    with shop.daemon(full_look_seconds=3600) as daemon:
        took = []
        for number in range(SWAPS):
            resource = f"{shop.target}/container/s{number:03d}"
            began = time.time()
            docker("kill", f"{shop.target}.s{number:03d}")
            told = daemon.first(lambda x, r=resource: x["event"] == "drift" and x["id"] == r, began)
            took.append(at(told) - began)
        yield Row(
            SEEN,
            "-",
            "<= 1 s",
            f"p50 {statistics.median(took):.2f} s, worst {max(took):.2f} s",
            max(took) <= 1.0,
            "from before `docker kill` begins to the line `drift` in the log",
        )


def _create(shop: Callable[[str], Ready], folder: Path) -> Iterator[Row]:
    """Ours ends when every service answers; theirs returns when all are started."""
    compose: Compose | None = None
    ours, theirs, steps = [], [], ("ours", "theirs")
    for number in range(ROUNDS):
        own = shop(f"create-{number}")
        compose = compose or Compose(folder, own.image, CREATED)
        own.services(1)
        with own.daemon(full_look_seconds=3600) as daemon:
            for side in steps if number % 2 == 0 else reversed(steps):
                if side == "ours":
                    began = time.time()
                    own.services(CREATED + 1)
                    daemon.first(lambda line: line.get("health") == {"Healthy": CREATED + 1}, began)
                    ours.append(time.time() - began)
                else:
                    theirs.append(compose.up())
                    compose.down()
        own.close()
    assert compose is not None
    yield _beside(CREATE, f"docker compose {compose.version()} up --detach, the same containers", ours, theirs)


def _beside(what: str, against: str, ours: list[float], theirs: list[float]) -> Row:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    note = f"{statistics.median(ours):.2f} s against {statistics.median(theirs):.2f} s"
    return Row(what, against, "<= 1.0", f"{ratio:.2f} [{min(ratios):.2f}..{max(ratios):.2f}]", ratio <= 1.0, note)


def _gap(shop: Ready) -> Iterator[Row]:
    shop.services(1, "v0")
    shop.run("apply", "--yes")
    port = int(shop.url("s000").rpartition(":")[2])
    gaps = []
    for number in range(1, SWAPS + 1):
        old, new = f"v{number - 1}".encode(), f"v{number}".encode()
        shop.services(1, new.decode())
        stop = threading.Event()
        answers: list[tuple[float, bytes]] = []
        asking = threading.Thread(target=_ask, args=(port, stop, new, answers))
        asking.start()
        try:
            shop.run("apply", "--yes")
        finally:
            stop.set()
            asking.join()
        last = max(when for when, body in answers if body == old)
        gaps.append(min(when for when, body in answers if body == new) - last)
    yield Row(
        GAP,
        "-",
        "documented",
        f"p50 {1000 * statistics.median(gaps):.0f} ms, worst {1000 * max(gaps):.0f} ms",
        note=f"{SWAPS} swaps, a new connection each millisecond; refused or broken connections in between",
    )


def _ask(port: int, stop: threading.Event, new: bytes, answers: list[tuple[float, bytes]]) -> None:
    """Asks until told to stop and the new version answered."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit and not (stop.is_set() and answers and answers[-1][1] == new):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/score")
            body = connection.getresponse().read()
            answers.append((time.monotonic(), body))
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.001)


def _rebuild(folder: Path) -> Iterator[Row]:
    """The quickstart's image: built with a step that no cache of the engine has, then with another model."""
    from tests.containers.shop import EXAMPLE
    from tests.containers.shop import Shop as Built

    folder.mkdir()
    shop = Built(folder)
    try:
        steps = shop.folder / "inference" / "sklearn" / "steps"
        steps.write_text(f"RUN echo {secrets.token_hex(8)}\n")
        inference = shop.folder / "inference" / "sklearn.yaml"
        inference.write_text(inference.read_text().rstrip() + "\n  extraDockerFileSteps: steps\n")
        shop.commit("A step of its own")
        first = _build_seconds(shop.apply(0, "-o", "json"))
        shutil.copy(EXAMPLE / "next" / "diabetes-ridge.pkl", shop.folder / "models" / "diabetes-ridge.pkl")
        shop.commit("Next model")
        again = _build_seconds(shop.apply(0, "-o", "json"))
    finally:
        shop.close()
    ratio = again / first
    note = f"{again:.1f} s against {first:.1f} s"
    yield Row(REBUILD, "the first build of the same service's image", "<= 0.2", f"{ratio:.2f}", ratio <= 0.2, note)


def _build_seconds(told: str) -> float:
    summary, _ = json.JSONDecoder().raw_decode(told[told.index("{") :])
    return next(change["seconds"] for change in summary["changes"] if change["id"].startswith("registry/images/"))


if __name__ == "__main__":
    for row in rows():
        print(row)
