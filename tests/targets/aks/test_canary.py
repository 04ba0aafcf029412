"""New versions beside the one before, carried out by the engine against a stand-in that runs pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.change import Step
from reconciler.core.resources import ResourceId
from reconciler.core.secrets import seal
from reconciler.engine.clock import Cancel
from reconciler.engine.lifecycle import State
from reconciler.engine.store import Store
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.canary import Stage, stage_of
from reconciler.targets.aks.kinds import STAGED
from tests.contract.mortal import Killed, Mortal
from tests.engine.conftest import FakeClock
from tests.engine.harness import ALWAYS_FINE, INSTALLATION, House
from tests.listening import listening
from tests.targets.aks.samples import IMAGES
from tests.targets.aks.standin import Fault, Standin
from tests.targets.aks.test_driver import SECRETS, wanted

MAIN = ("deployments", "ml", "diabetes")
TWIN = ("deployments", "ml", "diabetes.canary")
KEY = seal(b"key", "the-key-of-the-service")


class Pods:
    """What runs in the pods: by version, how it answers and what it says of its requests.

    Args:
        counts: Status -> requests, by version.
    """

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        self.counts: dict[str, Mapping[int, int]] = {}
        self.broken: set[str] = set()
        self.scored: list[str] = []
        self.ports: dict[str, int] = {}
        self.bearers: set[str] = set()

    def runs(self, pod: Mapping[str, Any]) -> tuple[str, int] | None:
        """Where a pod's port leads to; a version that is broken does not start."""
        version = version_of(pod["spec"])
        return None if version in self.broken else ("127.0.0.1", self.ports[version])


def version_of(spec: Mapping[str, Any]) -> str:
    """Which version a pod is of: the one variable that differs."""
    (container,) = spec["containers"]
    return next(str(one["value"]) for one in container["env"] if one["name"] == "VERSION")


def handler(pods: Pods, version: str) -> type[BaseHTTPRequestHandler]:
    """A scoring runtime of a version."""

    class Runtime(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pods.scored.append(version)
            self._say(pods.status.get(version, 200), b"[1.0]")

        def do_GET(self) -> None:
            pods.bearers.add(self.headers.get("Authorization") or "")
            told = pods.counts.get(version, {200: 100})
            lines = [f'reconciler_serving_requests_total{{code="{code}"}} {count}' for code, count in told.items()]
            self._say(200, "\n".join(["# TYPE reconciler_serving_requests_total counter", *lines, ""]).encode())

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is written to the terminal."""

    return Runtime


@pytest.fixture
def clock() -> FakeClock:
    """Waiting takes no time."""
    return FakeClock()


@pytest.fixture
def pods() -> Iterator[Pods]:
    """Versions one to three."""
    made = Pods()
    with (
        listening(handler(made, "one")) as one,
        listening(handler(made, "two")) as two,
        listening(handler(made, "three")) as three,
    ):
        made.ports = {"one": one, "two": two, "three": three}
        yield made


@pytest.fixture
def standin(pods: Pods) -> Iterator[Standin]:
    """A cluster that runs pods."""
    made = Standin("ml")
    made.runs = pods.runs
    yield made
    made.close()


class Site:
    """A reconciler of one cluster, which can be started again with the same record and with an empty one."""

    def __init__(self, standin: Standin, clock: FakeClock, folder: Path) -> None:
        self.standin = standin
        self.clock = clock
        self.folder = folder
        self.told: list[str] = []
        self.seen: list[tuple[str, int, int]] = []
        self.cancel: tuple[str, Cancel] | None = None
        self.hooks: list[Callable[[str], None]] = []
        self.stores: list[Store] = []
        self.start()

    def start(self, name: str = "state") -> None:
        """A process of its own: nothing of the one before is remembered."""
        self.close()
        config = self.folder / "kubeconfig"
        config.write_text(json.dumps(self.standin.kubeconfig))
        cluster = Cluster("cluster", kubeconfig=str(config))
        self.driver = Mortal("cluster", INSTALLATION, cluster, SECRETS, IMAGES, "ml", now=self.clock.now)
        self.stores = [Store(self.folder / f"{name}.db", self.clock)]
        number = self.house.number if hasattr(self, "house") else 0
        desired = self.house.wanted if hasattr(self, "house") else ()
        self.house = House(
            self.stores[0],
            self.clock,
            {},
            desired,
            number=number,
            others={"cluster": self.driver},
            keys={"diabetes": KEY},
        )
        self.house.on_progress = self._progress

    def _progress(self, event: Any) -> None:
        if event.id.kind != "Deployment":
            return
        self.told.append(f"{event.step.value}: {event.text}")
        for hook in list(self.hooks):
            hook(self.told[-1])

    def close(self) -> None:
        """The process ends."""
        if hasattr(self, "driver"):
            self.driver.close()
        for store in self.stores:
            store.close()

    def want(self, version: str, aks: Mapping[str, Any], common: Mapping[str, Any] | None = None) -> None:
        """A commit that asks for a version."""
        variables = {"environmentVariables": {"VERSION": {"value": version}}, "replicas": 4, **(common or {})}
        variables = {key: value for key, value in variables.items() if value is not None}
        self.house.want(*wanted(variables, aks, (ALWAYS_FINE,)))

    def served(self) -> dict[str, int]:
        """How many pods of each version requests get to."""
        found: dict[str, int] = {}
        for name in self.standin.reached("ml", "diabetes"):
            version = version_of(self.standin.show(("pods", "ml", name))["spec"])
            found[version] = found.get(version, 0) + 1
        return found


@pytest.fixture
def site(standin: Standin, clock: FakeClock, tmp_path: Path) -> Iterator[Site]:
    """Version one serves."""
    made = Site(standin, clock, tmp_path)
    made.want("one", CANARY)
    assert made.house.go().word == "applied"
    assert made.served() == {"one": 4}
    yield made
    made.close()


CANARY = {"strategy": "canary", "canary": {"steps": [10, 50], "stepSeconds": 10, "maxErrorRate": 0.05}}
# One pod beside four.
SHORT = {"strategy": "canary", "canary": {"steps": [20], "stepSeconds": 10}}


def test_a_canary_gets_its_shares_and_takes_over(site: Site, pods: Pods) -> None:
    """Tested hidden, then with one pod beside four, then four beside four; then the old ones go, and it with them."""
    site.want("two", CANARY)
    steps: dict[str, dict[str, int]] = {}
    site.hooks.append(lambda text: steps.setdefault(text, site.served()))
    pods.scored.clear()
    began = site.clock.now()
    outcome = site.house.go()
    assert outcome.word == "applied", (outcome.results, site.told[-12:])
    assert site.served() == {"two": 4}
    assert TWIN not in site.standin.objects
    assert 20 <= site.clock.now() - began < 60
    assert pods.scored == ["two"] * 3
    assert pods.bearers == {"Bearer the-key-of-the-service"}
    tested = [served for text, served in steps.items() if text.startswith("test:")]
    assert tested[0] == {"one": 4}
    during = [served for text, served in steps.items() if "of 10 s" in text]
    assert during[0] == {"one": 4, "two": 1}
    assert during[-1] == {"one": 4, "two": 4}
    (result,) = [r for r in outcome.results if r.id.kind == "Deployment"]
    step = (Step.SHIFT, Step.TEST)
    assert result.steps == (Step.STAGE, Step.TEST, *step, *step, Step.PROMOTE)
    assert site.house.plan().empty


def deployment_result(outcome: Any) -> Any:
    """How the change of the Deployment ended."""
    (result,) = [r for r in outcome.results if r.id.kind == "Deployment"]
    return result


def test_a_pod_that_is_hidden_has_the_network_policy(site: Site) -> None:
    """It is of the service before the Service sends to it: nothing but its scoring port may be reached."""
    hidden: list[bool] = []

    def look(text: str) -> None:
        if text.startswith("test:") and not hidden:
            policy = site.standin.show(("networkpolicies", "ml", "diabetes"))
            wanted = policy["spec"]["podSelector"]["matchLabels"].items()
            pods = [site.standin.show(key) for key in site.standin.objects if key[0] == "pods" and ".canary" in key[2]]
            hidden.extend(wanted <= pod["metadata"]["labels"].items() for pod in pods)

    site.hooks.append(look)
    site.want("two", CANARY)
    assert site.house.go().word == "applied"
    assert hidden == [True]


def test_a_version_that_fails_its_tests_gets_no_request(site: Site, pods: Pods) -> None:
    """It never was where the Service looks; the one before has all its pods, and the same commit waits."""
    pods.status["two"] = 500
    site.want("two", CANARY)
    seen: list[dict[str, int]] = []
    site.hooks.append(lambda _: seen.append(site.served()))
    result = deployment_result(site.house.go(wait=False))
    assert (result.state, result.code) == (State.FAILED, "tests-failed")
    assert {json.dumps(one) for one in seen} == {'{"one": 4}'}
    assert TWIN not in site.standin.objects
    writes = len(site.standin.writes)
    outcome = site.house.go(wait=False)
    assert [b.id.kind for b in outcome.plan.blocked] == ["Deployment"]
    assert len(site.standin.writes) == writes
    site.want("three", CANARY)
    assert site.house.go().word == "applied"
    assert site.served() == {"three": 4}


def test_a_canary_that_fails_requests_goes(site: Site, pods: Pods) -> None:
    """As soon as too many of them failed; what is told says how many, and what serves now."""
    pods.counts["two"] = {200: 80, 400: 10, 500: 9, 503: 1}
    site.want("two", CANARY)
    began = site.clock.now()
    outcome = site.house.go(wait=False)
    result = deployment_result(outcome)
    assert (result.state, result.code) == (State.FAILED, "canary-failed")
    assert result.reason == "with 10 % of the requests 10 of 100 requests failed, more than 5 %"
    assert "the version before has all requests" in result.hint
    assert site.clock.now() - began < 30
    assert site.served() == {"one": 4}
    assert TWIN not in site.standin.objects
    assert site.house.plan().blocked


def test_few_requests_say_little(site: Site, pods: Pods) -> None:
    """One that failed of three is no third of all; two are too many."""
    pods.counts["two"] = {200: 2, 500: 1}
    site.want("two", SHORT)
    assert site.house.go().word == "applied"
    pods.counts["three"] = {200: 1, 500: 2}
    site.want("three", SHORT)
    assert deployment_result(site.house.go(wait=False)).state is State.FAILED
    assert site.served() == {"two": 4}


def test_a_version_that_does_not_start(site: Site, pods: Pods) -> None:
    """Said in words; nothing else came of it."""
    pods.broken.add("two")
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    assert result.state is State.FAILED
    assert "ImagePullBackOff: not found" in result.reason
    assert site.served() == {"one": 4}
    assert TWIN not in site.standin.objects


def test_a_canary_that_is_started_again_goes(site: Site) -> None:
    """A process that ends says more than its requests."""

    def crash(text: str) -> None:
        if "50 % of the requests for" in text:
            site.hooks.clear()
            pod = next(key for key in site.standin.objects if key[0] == "pods" and ".canary" in key[2])
            ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
            container = {"name": "scoring", "ready": True, "restartCount": 1, "lastState": ended}
            site.standin.state(pod, {**site.standin.objects[pod].status, "containerStatuses": [container]})
            site.standin.logs[pod[2]] = ["loading", "MemoryError"]

    site.hooks.append(crash)
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    assert result.state is State.FAILED
    assert result.reason.startswith("with 50 % of the requests the new version was not well: diabetes.canary-")
    assert result.reason.endswith("was started again: OOMKilled\nloading\nMemoryError")
    assert site.served() == {"one": 4}


@pytest.mark.long
def test_nothing_tells_how_it_does(site: Site) -> None:
    """Pods that cannot be asked are waited for a while; then the canary goes."""
    site.want("two", CANARY)

    def cut(text: str) -> None:
        if "10 % of the requests, for" in text:
            for name in [name for name in site.standin.ports if ".canary" in name]:
                del site.standin.ports[name]

    site.hooks.append(cut)
    result = deployment_result(site.house.go(wait=False))
    assert result.state is State.FAILED
    assert "nothing tells how the new version does" in result.reason
    assert site.served() == {"one": 4}


# What of a request for the pods of the staged version tells it from others.
STAGED_PODS = "reconciler.dev%2Fcanary%3Ddiabetes"


def test_a_listing_of_pods_that_fails_once_is_no_failed_test(site: Site) -> None:
    """It is asked for again, and the version is tested."""

    def fail(text: str) -> None:
        if text.startswith("test:"):
            site.hooks.clear()
            site.standin.faults.append(Fault("GET", 503, query=STAGED_PODS))

    site.hooks.append(fail)
    site.want("two", CANARY)
    assert site.house.go(wait=False).word == "applied"
    assert not site.standin.faults
    assert site.served() == {"two": 4}


@pytest.mark.parametrize(
    ("status", "times", "code", "words"),
    [
        (403, 1, "access", "injected"),
        (503, 10**6, "canary-failed", "with 10 % of the requests nothing tells how the new version does: "),
        # Once they are listed, they are asked what they answered, though the time of the step is over.
        (503, 3, "canary-failed", "with 10 % of the requests 1,000 of 1,000 requests failed, more than 5 %"),
    ],
)
def test_pods_that_cannot_be_listed_have_not_answered_well(
    site: Site, pods: Pods, status: int, times: int, code: str, words: str
) -> None:
    """A canary of which nothing was counted gets no further."""
    pods.counts["two"] = {500: 1000}

    def fail(text: str) -> None:
        if "10 % of the requests, for 10 s" in text:
            site.hooks.clear()
            site.standin.faults.append(Fault("GET", status, times=times, query=STAGED_PODS))

    site.hooks.append(fail)
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    assert (result.state, result.code) == (State.FAILED, code)
    assert words in result.reason
    assert site.served() == {"one": 4}


@pytest.mark.parametrize(("method", "query"), [("GET", ""), ("PATCH", ""), ("GET", "ports=")])
def test_credentials_that_are_renewed_cost_no_canary(site: Site, method: str, query: str) -> None:
    """Whatever is asked, written or tunnelled when they expire is asked once more with those of now."""

    def expire(text: str) -> None:
        if "50 % of the requests for" in text:
            site.hooks.clear()
            site.standin.faults.append(Fault(method, 401, query=query))

    site.hooks.append(expire)
    site.want("two", CANARY)
    assert site.house.go(wait=False).word == "applied"
    assert not site.standin.faults
    assert site.served() == {"two": 4}


def test_the_way_to_a_staged_version_ends_with_it(site: Site, pods: Pods) -> None:
    """Else a socket and a thread stay for each that was tested."""
    pods.status["two"] = 500
    ways: list[Path] = []

    def go_there(text: str) -> None:
        if text.startswith("test:"):
            site.hooks.clear()
            address = site.driver.address(ResourceId("cluster", "Deployment", "ml:diabetes"), staged=True)
            assert address is not None
            ways.append(Path(address.uds))
            assert ways[0].exists()

    site.hooks.append(go_there)
    site.want("two", CANARY)
    site.house.go(wait=False)
    assert ways
    assert not ways[0].exists()


def test_a_canary_without_a_pod_to_ask_has_not_answered_well(site: Site, pods: Pods) -> None:
    """Its Deployment says that all is well, and what is listed has no pod of it."""
    pods.counts["two"] = {500: 1000}

    def hide(text: str) -> None:
        if "10 % of the requests, for 10 s" in text:
            site.hooks.clear()
            site.standin.unlisted |= {key for key in site.standin.objects if key[0] == "pods" and ".canary" in key[2]}

    site.hooks.append(hide)
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    assert (result.state, result.code) == (State.FAILED, "canary-failed")
    assert "nothing tells how the new version does" in result.reason
    assert "Deployment ml:diabetes.canary has no ready pod to ask" in result.reason
    assert site.served() == {"one": 4}


# Of all the moments at which a process may die, those that are tried each time.
DAILY = [("before", 4, "fresh"), ("after", 7, "state")]


class Gone(BaseException):
    """The process is gone."""


def die_at(words: str) -> Callable[[str], None]:
    """Ends the process at the first progress that has some words."""

    def hook(text: str) -> None:
        if words in text:
            raise Gone

    return hook


@pytest.mark.parametrize(
    ("when", "call", "record"),
    [
        pytest.param(when, call, record, marks=() if (when, call, record) in DAILY else pytest.mark.long)
        for when in ("before", "after")
        for call in range(1, 8)
        for record in ("state", "fresh")
    ],
)
def test_it_goes_on_after_a_crash(site: Site, when: str, call: int, record: str) -> None:
    """Before and after any call, with the record of it or without any; the old ones never are fewer than four."""
    site.want("two", SHORT)
    site.driver.at = (when, call)
    fewest: list[int] = []
    site.hooks.append(lambda text: fewest.append(sum(site.served().values())))
    with pytest.raises(Killed):
        site.house.go()
    site.start(record)
    site.hooks.append(lambda text: fewest.append(sum(site.served().values())))
    for _ in range(4):
        site.house.go()
        if site.house.plan().empty:
            break
    assert site.house.plan().empty
    assert site.served() == {"two": 4}
    assert TWIN not in site.standin.objects
    assert min(fewest) >= 4


@pytest.mark.long
def test_a_step_keeps_its_time_over_a_restart(site: Site) -> None:
    """What has had its share for most of the time needs only the rest of it."""
    site.want("two", {"strategy": "canary", "canary": {"steps": [20], "stepSeconds": 60}})
    site.hooks.append(die_at("20 % of the requests for 41 of"))
    with pytest.raises(Gone):
        site.house.go()
    site.hooks.clear()
    site.start()
    assert site.served() == {"one": 4, "two": 1}
    began = site.clock.now()
    assert site.house.go().word == "applied"
    assert site.clock.now() - began < 35
    assert site.served() == {"two": 4}


@pytest.mark.long
def test_a_newer_commit_takes_the_place_of_a_canary(site: Site, pods: Pods) -> None:
    """Hidden first, as any; the one it supersedes has no requests from then on."""
    site.want("two", CANARY)
    cancel = Cancel()
    site.hooks.append(lambda text: cancel.request("superseded") if "50 % of the requests for" in text else None)
    outcome = site.house.go(cancel)
    assert deployment_result(outcome).state is State.HANDED_OVER
    assert site.served() == {"one": 4, "two": 4}
    site.hooks.clear()
    tested: list[dict[str, int]] = []
    site.hooks.append(lambda text: tested.append(site.served()) if text.startswith("test:") else None)
    site.want("three", CANARY)
    assert site.house.go().word == "applied"
    assert tested[0] == {"one": 4}
    assert site.served() == {"three": 4}


def test_a_commit_that_goes_back_takes_a_canary_away(site: Site) -> None:
    """The version that serves is wanted again: nothing rolls."""
    site.want("two", CANARY)
    cancel = Cancel()
    site.hooks.append(lambda text: cancel.request("superseded") if "10 % of the requests for" in text else None)
    site.house.go(cancel)
    (report,) = site.house.reconciler.look().report.services
    told = [event for resource in report.resources for event in resource.events]
    assert told == ["a new version has 10 % of the requests (20 % by its 1 of 5 pods)"]
    before = site.standin.show(MAIN)["metadata"]["generation"]
    site.want("one", CANARY)
    plan = site.house.plan()
    assert [(c.id.kind, c.reason, c.steps) for c in plan.effective()] == [
        ("Deployment", "a staged version was left over", (Step.DISCARD,))
    ]
    assert site.house.go().word == "applied"
    assert site.served() == {"one": 4}
    assert TWIN not in site.standin.objects
    assert site.standin.show(MAIN)["metadata"]["generation"] == before


@pytest.mark.long
def test_a_canary_that_a_hand_changes_begins_its_step_anew(site: Site) -> None:
    """What it is judged by is the version that Git wants."""
    site.want("two", {"strategy": "canary", "canary": {"steps": [20], "stepSeconds": 20}})
    place = ("spec", "template", "spec", "containers", 'k:{"name":"scoring"}', "image")

    def edit(text: str) -> None:
        if "20 % of the requests for 16 of" in text:
            site.hooks.clear()
            site.standin.edit(TWIN, place, "theirs:1")

    site.hooks.append(edit)
    began = site.clock.now()
    assert site.house.go().word == "applied"
    assert site.clock.now() - began > 36
    assert site.served() == {"two": 4}


@pytest.mark.long
def test_what_admission_makes_of_a_canary_is_what_it_is(site: Site) -> None:
    """A mirror for its image, for one: what was answered to a write stands, and is not written over and over."""
    image = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"scoring"}', "f:image")
    site.standin.mutated[TWIN] = {image: "mirror.example/diabetes:1"}

    def watch(text: str) -> None:
        if len(site.told) > 200:
            raise Gone

    site.hooks.append(watch)
    site.want("two", SHORT)
    assert site.house.go().word == "applied"
    assert site.served() == {"two": 4}


@pytest.mark.long
def test_a_step_that_is_said_to_begin_later_begins_now(site: Site) -> None:
    """By a hand, or by the clock of another machine: nobody would wait for it."""

    def edit(text: str) -> None:
        if len(site.told) > 300:
            raise Gone
        if "20 % of the requests for" in text and not edited:
            edited.append(text)
            told = json.loads(site.standin.show(TWIN)["metadata"]["annotations"]["reconciler.dev/staged"])
            path = ("metadata", "annotations", "reconciler.dev/staged")
            site.standin.edit(TWIN, path, json.dumps({**told, "since": 1e12}))

    edited: list[str] = []
    site.hooks.append(edit)
    site.want("two", SHORT)
    assert site.house.go().word == "applied"
    assert site.served() == {"two": 4}


@pytest.mark.parametrize("share", ["100", "-1", "Infinity", "NaN", '"much"', "null"])
def test_a_stage_that_there_cannot_be_is_none(share: str) -> None:
    """Whatever a hand wrote there: it is staged anew."""
    told = f'{{"digest": "{"a" * 64}", "share": {share}, "since": 1}}'
    assert stage_of({"metadata": {"annotations": {STAGED: told}}}) == Stage("")


@pytest.mark.long
def test_an_autoscaler_works_during_a_canary(site: Site) -> None:
    """Pods that it adds are no reason to begin anew; the canary's share stays what it is."""
    site.want("one", CANARY, {"replicas": None})
    site.house.go()
    site.want("two", {"strategy": "canary", "canary": {"steps": [50], "stepSeconds": 20}}, {"replicas": None})
    most: list[dict[str, int]] = []

    def scale(text: str) -> None:
        most.append(site.served())
        if "50 % of the requests for 6 of" in text:
            site.standin.edit(MAIN, ("spec", "replicas"), 6, "kube-controller-manager")

    site.hooks.append(scale)
    began = site.clock.now()
    assert site.house.go().word == "applied"
    assert site.clock.now() - began < 40
    assert {"one": 6, "two": 6} in most
    assert site.served() == {"two": 6}
    assert site.house.plan().empty


def test_a_hand_edit_is_taken_back_at_once(site: Site) -> None:
    """What Git wants was tested before: it needs no canary."""
    place = ("spec", "template", "spec", "containers", 'k:{"name":"scoring"}', "image")
    site.standin.edit(MAIN, place, "theirs:1")
    assert site.house.go().word == "applied"
    assert TWIN[2] not in {path.rpartition("/")[2].partition("?")[0] for _, path in site.standin.writes}
    assert site.house.plan().empty


def test_what_serves_is_no_canary_whatever_a_hand_writes_on_it(site: Site) -> None:
    """It would be missing, and made again and again."""
    site.standin.edit(MAIN, ("metadata", "annotations", "reconciler.dev/staged"), "{}")
    assert site.house.plan().empty


def test_a_service_that_goes_takes_its_canary_along(site: Site) -> None:
    """Whatever stood beside it."""
    site.want("two", CANARY)
    cancel = Cancel()
    site.hooks.append(lambda text: cancel.request("superseded") if "10 % of the requests for" in text else None)
    site.house.go(cancel)
    assert TWIN in site.standin.objects
    site.house.want()
    site.house.go(allowed=frozenset({"empties-target", "too-many-deletes"}))
    assert not site.standin.objects


@pytest.mark.parametrize("status", [200, 500])
def test_a_roll_out_tests_one_pod_first(site: Site, pods: Pods, status: int) -> None:
    """Without a canary, too: tests come before requests do."""
    pods.status["two"] = status
    site.want("two", {})
    seen: dict[str, dict[str, int]] = {}
    site.hooks.append(lambda text: seen.setdefault(text, site.served()))
    site.house.go(wait=False)
    assert next(served for text, served in seen.items() if text.startswith("test:")) == {"one": 4}
    assert site.served() == ({"two": 4} if status == 200 else {"one": 4})
    assert TWIN not in site.standin.objects


def test_more_replicas_are_no_new_version(site: Site) -> None:
    """They are made where it stands."""
    site.want("one", CANARY, {"replicas": 6})
    assert deployment_result(site.house.go()).steps == (Step.APPLY,)
    assert site.served() == {"one": 6}


def test_what_is_not_ours_is_not_taken(site: Site) -> None:
    """Something of that name that somebody else made."""
    site.standin.put(
        TWIN,
        {
            "metadata": {},
            "spec": {
                "replicas": 0,
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "theirs:1"}]},
                },
            },
        },
    )
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    assert (result.state, result.code) == (State.FAILED, "foreign")
    assert TWIN in site.standin.objects
    assert site.served() == {"one": 4}


@pytest.mark.long
def test_it_stays_until_all_others_are_new(site: Site) -> None:
    """While the version before is replaced, which takes its time, what has requests keeps them."""
    site.want("two", SHORT)
    seen: list[dict[str, int]] = []

    def slowly(text: str) -> None:
        if text == "promote: ":
            site.standin.slow.add("deployments")
        if text == "promote: the cluster has not begun with it":
            seen.append(site.served())
            site.standin.slow.clear()
            site.standin.roll_out(MAIN)

    site.hooks.append(slowly)
    assert site.house.go().word == "applied"
    assert seen == [{"one": 4, "two": 1}]
    assert site.served() == {"two": 4}
    assert TWIN not in site.standin.objects


def loading(site: Site, since: str) -> list[str]:
    """Makes the pods that come with the second step wait for their model, as a real scale-up does; their names."""
    late: list[str] = []

    def load(text: str) -> None:
        if text == "shift: 50 % of the requests: pods are made" and not late:
            late.extend(sorted(key[2] for key in site.standin.objects if key[0] == "pods" and ".canary" in key[2])[1:])
            waiting = {"name": "scoring", "ready": False, "restartCount": 0, "state": {"running": {}}}
            for name in late:
                site.standin.ports.pop(name)
                ready = {"type": "Ready", "status": "False", "lastTransitionTime": since}
                site.standin.state(("pods", "ml", name), {"conditions": [ready], "containerStatuses": [waiting]})
            available(site, 1)

    site.hooks.append(load)
    return late


def available(site: Site, count: int) -> None:
    """How many pods of the canary are; that the roll-out before it was through stays said."""
    status = site.standin.objects[TWIN].status
    site.standin.state(TWIN, {**status, "readyReplicas": count, "availableReplicas": count})


@pytest.mark.long
def test_a_share_counts_from_when_its_pods_are_ready(site: Site, pods: Pods) -> None:
    """Models that load for minutes are waited for, and keep their share for its whole time then."""
    late = loading(site, "1970-01-12T13:46:40Z")
    ready: list[float] = []

    def load(text: str) -> None:
        if late and not ready and "1 of 4 replicas available" in text:
            site.clock.advance(200)
            ready.append(site.clock.now())
            for name in late:
                site.standin._start(("pods", "ml", name))
            available(site, 4)

    site.hooks.append(load)
    site.want("two", CANARY)
    outcome = site.house.go()
    assert outcome.word == "applied", site.told[-5:]
    assert site.clock.now() - ready[0] >= 10
    assert site.served() == {"two": 4}


@pytest.mark.long
def test_a_share_whose_pods_do_not_get_ready_goes(site: Site) -> None:
    """After the time that a roll-out has: there is no other end to it."""
    loading(site, "1970-01-02T00:00:00Z")
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    assert (result.state, result.code) == (State.FAILED, "canary-failed")
    assert result.reason.startswith("with 50 % of the requests some pods did not get ready in time: 1 of 4 replicas")
    assert site.served() == {"one": 4}


@pytest.mark.long
def test_a_pod_that_was_evicted_is_not_asked(site: Site) -> None:
    """What is left of it says nothing, and another one runs in its place."""

    def evict(text: str) -> None:
        if "20 % of the requests for" in text:
            site.hooks.clear()
            pod = next(key for key in site.standin.objects if key[0] == "pods" and ".canary" in key[2])
            shown = site.standin.show(pod)
            gone = ("pods", "ml", "diabetes.canary-evicted")
            metadata = {key: shown["metadata"][key] for key in ("labels", "ownerReferences")}
            site.standin.put(gone, {"metadata": metadata, "spec": shown["spec"]})
            ready = {"type": "Ready", "status": "False"}
            site.standin.state(gone, {"phase": "Failed", "reason": "Evicted", "conditions": [ready]})

    site.hooks.append(evict)
    site.want("two", SHORT)
    assert site.house.go().word == "applied"
    assert site.served() == {"two": 4}


@pytest.mark.long
def test_a_pod_that_a_node_loses_is_waited_for(site: Site) -> None:
    """Its only pod goes with a node that is drained, and another one takes its place: nothing is wrong with it."""
    told: list[str] = []

    def drain(text: str) -> None:
        if "20 % of the requests for" in text and not told:
            told.append(text)
            available(site, 0)
        elif "0 of 1 replicas available" in text:
            told.append(text)
            site.hooks.clear()
            available(site, 1)

    site.hooks.append(drain)
    site.want("two", SHORT)
    assert site.house.go().word == "applied", site.told[-5:]
    assert len(told) == 2, site.told
    assert site.served() == {"two": 4}


def hold(site: Site) -> None:
    """Pauses it as a hand does: from then on its controller looks at what is wanted, and rolls nothing out."""
    rolled = site.standin.roll_out

    def paused(key: tuple[str, str, str], *, bump: bool = True) -> None:
        if not site.standin.show(key)["spec"].get("paused"):
            return rolled(key, bump=bump)
        stored = site.standin.objects[key]
        told = [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused"},
        ]
        wanted = version_of(site.standin.show(key)["spec"]["template"]["spec"])
        new = site.served().get(wanted, 0)
        told_of = {"observedGeneration": stored.metadata["generation"], "updatedReplicas": new, "conditions": told}
        stored.status = {**stored.status, **told_of}
        return None

    site.standin.roll_out = paused  # type: ignore[method-assign]
    site.standin.edit(MAIN, ("spec", "paused"), True)


RESUME = "`kubectl rollout resume deployment/diabetes -n ml` lets it go on"


@pytest.mark.parametrize("aks", [{}, CANARY], ids=["rolling", "canary"])
def test_what_was_paused_by_hand_takes_no_new_version(site: Site, aks: Mapping[str, Any]) -> None:
    """Said at once, with what helps; nothing is written, and once it goes on, so does the change."""
    site.want("one", aks)
    site.house.go()
    hold(site)
    assert site.house.plan().empty
    site.want("two", aks)
    result = deployment_result(site.house.go())
    assert (result.state, result.code, result.hint) == (State.FAILED, "paused", RESUME)
    assert "was paused by hand" in result.reason
    assert site.served() == {"one": 4}
    assert TWIN not in site.standin.objects
    site.standin.edit(MAIN, ("spec", "paused"), False)
    assert site.house.go(ignore_holds=True).word == "applied"
    assert site.served() == {"two": 4}


@pytest.mark.parametrize("shares", [[20], []], ids=["canary", "rolling"])
def test_pausing_it_during_a_change_keeps_the_version_before(site: Site, shares: list[int]) -> None:
    """What was tested meanwhile is taken away, with its share of the requests."""
    aks: Mapping[str, Any] = SHORT if shares else {}
    site.want("one", aks)
    site.house.go()

    def pause(text: str) -> None:
        if text.startswith("test:"):
            site.hooks.clear()
            hold(site)

    site.hooks.append(pause)
    site.want("two", aks)
    result = deployment_result(site.house.go(wait=False))
    assert (result.state, result.code, result.hint) == (State.FAILED, "paused", RESUME)
    assert site.served() == {"one": 4}
    assert TWIN not in site.standin.objects


def test_a_change_without_tests_of_what_is_paused_fails(site: Site) -> None:
    """It is written, since it is staged nowhere; that nothing comes of it is no success."""
    site.house.want(*wanted({"environmentVariables": {"VERSION": {"value": "one"}}, "replicas": 4}, {}))
    site.house.go()
    hold(site)
    site.house.want(*wanted({"environmentVariables": {"VERSION": {"value": "two"}}, "replicas": 4}, {}))
    result = deployment_result(site.house.go())
    assert (result.state, result.code) == (State.FAILED, "not-ready")
    assert result.reason == f"paused by hand: {RESUME}; 0 of 4 replicas are new"
    site.standin.edit(MAIN, ("spec", "paused"), False)
    assert site.house.go(ignore_holds=True).word == "applied"
    assert site.served() == {"two": 4}
    assert site.house.plan().empty


OTHERS = [
    ("metadata", "annotations", "someone.example/seen"),
    ("metadata", "labels", "someone.example/seen"),
    ("spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"),
]


@pytest.mark.parametrize("place", OTHERS, ids="/".join)
def test_what_others_write_during_a_canary_is_theirs(site: Site, place: tuple[str, ...]) -> None:
    """Nothing of ours differs: the canary takes over, once, and what they wrote stays."""
    count: list[str] = []

    def write(text: str) -> None:
        if "20 % of the requests for" in text:
            count.append(text)
            site.standin.edit(MAIN, place, str(len(count)), "someone")

    site.hooks.append(write)
    site.want("two", SHORT)
    outcome = site.house.go()
    assert outcome.word == "applied", site.told[-5:]
    assert deployment_result(outcome).steps == (Step.STAGE, Step.TEST, Step.SHIFT, Step.TEST, Step.PROMOTE)
    assert site.served() == {"two": 4}
    there: Any = site.standin.show(MAIN)
    for step in place:
        there = there[step]
    assert there == str(len(count))
    assert site.house.plan().empty


IMAGE = ("spec", "template", "spec", "containers", 'k:{"name":"scoring"}', "image")
EDITS: list[tuple[tuple[str, ...], Any]] = [(IMAGE, "theirs:1"), (("spec", "progressDeadlineSeconds"), 7)]


@pytest.mark.parametrize(("place", "value"), EDITS, ids=["image", "deadline"])
def test_a_hand_edit_of_ours_during_a_canary_is_looked_at_again(site: Site, place: tuple[str, ...], value: Any) -> None:
    """It is no longer what the change was made for: it is planned anew, never written over unseen."""

    def edit(text: str) -> None:
        if "20 % of the requests for" in text:
            site.hooks.clear()
            site.standin.edit(MAIN, place, value)

    site.hooks.append(edit)
    site.want("two", SHORT)
    site.house.go()
    assert any("changed since it was observed" in text for text in site.told)


def test_what_a_change_takes_out_is_ours_during_a_canary(site: Site) -> None:
    """A variable that is to go, edited by a hand meanwhile: nobody has seen that value."""
    more = {"environmentVariables": {"VERSION": {"value": "one"}, "MORE": {"value": "1"}}}
    site.want("one", SHORT, more)
    site.house.go()
    place = ("spec", "template", "spec", "containers", 'k:{"name":"scoring"}', "env", 'k:{"name":"MORE"}', "value")

    def edit(text: str) -> None:
        if "20 % of the requests for" in text:
            site.hooks.clear()
            site.standin.edit(MAIN, place, "2")

    site.hooks.append(edit)
    site.want("two", SHORT)
    site.house.go()
    assert any("changed since it was observed" in text for text in site.told)


@pytest.mark.parametrize("moves", [False, True], ids=["nothing", "slowly"])
def test_a_share_that_the_cluster_does_nothing_with_goes(site: Site, moves: bool) -> None:
    """Its controller does not work: no deadline of its own ends that. One that is slow is waited for."""
    began: list[float] = []

    def halt(text: str) -> None:
        if "10 % of the requests (20 % by its 1 of 5 pods): pods are made" in text and not began:
            site.standin.slow.add("deployments")
            site.standin.objects[TWIN].metadata["generation"] += 1
            began.append(site.clock.now())
        elif "the cluster has not begun with it" in text:
            if len(site.told) > 200:
                raise Gone
            site.clock.advance(400)
            if moves:
                counted = {"updatedReplicas": len(site.told)}
                site.standin.state(TWIN, {**site.standin.objects[TWIN].status, **counted})
            if moves and site.clock.now() - began[0] > 3000:
                site.standin.slow.clear()
                site.standin.roll_out(TWIN)

    site.hooks.append(halt)
    site.want("two", CANARY)
    result = deployment_result(site.house.go(wait=False))
    if moves:
        assert result.state is State.DONE, result
        return
    assert (result.state, result.code) == (State.FAILED, "canary-failed")
    assert result.reason == "with 10 % of the requests nothing came of it in time: the cluster has not begun with it"
    assert 600 < site.clock.now() - began[0] < 2000
    assert site.served() == {"one": 4}
    assert TWIN not in site.standin.objects
