"""The driver against a stand-in: what the contract does not speak of."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import stat
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.core.driver import Endpoint, Events, Logs
from reconciler.core.errors import AccessError, ConflictError, ForeignError, TerminalError, UnavailableError
from reconciler.core.resources import Completeness, Desired, Health, ResourceId
from reconciler.core.secrets import SecretRef, seal
from reconciler.core.situation import Rails
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import transform
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.driver import AksDriver
from reconciler.targets.aks.form import Secrets
from tests.contract.harness import INSTALLATION, Bench
from tests.contract.live_kubernetes import reveal
from tests.listening import listening
from tests.targets.aks.samples import IMAGES, deployment, one, recorded, render
from tests.targets.aks.standin import TOKEN, Fault, Standin

KEY = ("deployments", "ml", "diabetes")


SECRETS = Secrets(reveal, lambda text: seal(b"key", text))


@pytest.fixture
def driver(standin: Standin, tmp_path: Path) -> Iterator[AksDriver]:
    """A driver of it."""
    made = make(standin, tmp_path)
    yield made
    made.close()


def make(standin: Standin, folder: Path) -> AksDriver:
    """A driver of a stand-in."""
    config = folder / "kubeconfig"
    config.write_text(json.dumps(standin.kubeconfig))
    return AksDriver("cluster", INSTALLATION, Cluster("cluster", kubeconfig=str(config)), SECRETS, IMAGES, "ml")


def wanted(common: Any = None, aks: Any = None, tests: tuple[SmokeTest, ...] = ()) -> list[Desired]:
    """A service's objects as the engine hands them over, what they need elsewhere being there."""

    def leaf(value: Any) -> Any:
        if isinstance(value, SecretRef):
            return seal(b"key", reveal(value))
        return "sha256:" + "1" * 64 if hasattr(value, "pointer") else value

    return [
        dataclasses.replace(
            each,
            spec=transform(each.spec, leaf),
            depends_on=tuple(id_ for id_ in each.depends_on if id_.target == "cluster"),
        )
        for each in render(deployment(common, aks, tests=tests))
    ]


def test_a_whole_service_comes_and_goes(standin: Standin, driver: AksDriver) -> None:
    """All objects are made, stay as they are, change where Git does, and go."""
    bench = Bench(driver)
    variables = {"TOKEN": {"valueFrom": {"env": "T"}}}
    everything = {
        "expose": "ingress",
        "cname": "a.example",
        "sslEnabled": True,
        "sslCertPem": {"valueFrom": {"file": "c"}},
        "sslKeyPem": {"valueFrom": {"file": "k"}},
        "registryCredentials": [{"location": "r", "user": {"value": "u"}, "password": {"valueFrom": {"env": "P"}}}],
    }
    bench.settle(wanted({"environmentVariables": variables}, everything))
    assert len(standin.objects) == 11
    before = len(standin.writes)
    bench.baselines.clear()
    bench.settle(wanted({"environmentVariables": variables}, everything))
    assert len(standin.writes) == before
    bench.settle(wanted(), rails=Rails(max_delete_percent=100))
    assert len(standin.objects) == 7
    bench.settle([])
    assert not standin.objects


def test_one_look_is_one_list_a_kind(standin: Standin, driver: AksDriver) -> None:
    """However many services there are, and though none of them is there yet."""
    many = many_of(20)
    driver.observe([each.id for each in many])
    assert len(standin.requests) == 15
    assert all("limit=" in path for _, path in standin.requests)


def many_of(count: int) -> list[Desired]:
    """The objects of so many services."""

    def named(id_: ResourceId, number: int) -> ResourceId:
        return id_._replace(name=f"{id_.name}-{number}")

    return [
        dataclasses.replace(
            each, id=named(each.id, number), depends_on=tuple(named(id_, number) for id_ in each.depends_on)
        )
        for number in range(count)
        for each in wanted()
    ]


def test_a_first_apply_asks_for_no_object_before_it_makes_it(standin: Standin, driver: AksDriver) -> None:
    """Names are listed in their place, and each object is one request."""
    many = many_of(20)
    bench = Bench(driver)
    plan = bench.plan(many)
    standin.requests.clear()
    bench.carry_out(plan)
    assert len(standin.objects) == len(many)
    asked = [path for method, path in standin.requests if method == "GET" and "limit=" not in path]
    kinds = {each.id.kind for each in many}
    assert len(asked) <= 4 * len(kinds)
    assert len(standin.writes) == len(many)


def test_what_somebody_made_meanwhile_is_left_as_it_was(standin: Standin, driver: AksDriver) -> None:
    """Though the last listing did not have it, nothing of ours stays in it."""
    many = many_of(8)
    place = ("serviceaccounts", "ml", "diabetes-7")
    standin.put(place, {"metadata": {"labels": {"team": "theirs"}}, "automountServiceAccountToken": False})
    standin.unlisted.add(place)
    before = standin.show(place)
    bench = Bench(driver)
    plan = bench.plan(many)
    change = next(c for c in plan.changes if c.id.name == "ml:diabetes-7" and c.id.kind == "ServiceAccount")
    others = [c for c in plan.changes if c.id.kind == "ServiceAccount" and c is not change]
    for other in others:
        driver.apply(other)
    with pytest.raises(ConflictError, match="meanwhile"):
        driver.apply(change)
    after = standin.show(place)
    assert {**after, "metadata": {**after["metadata"], "resourceVersion": ""}} == {
        **before,
        "metadata": {**before["metadata"], "resourceVersion": ""},
    }
    with pytest.raises(ForeignError):
        driver.apply(change)


def test_a_listing_that_expires_begins_anew(standin: Standin, driver: AksDriver) -> None:
    """Once; what it says then is whole."""
    bench = Bench(driver)
    bench.settle(wanted({"environmentVariables": {"TOKEN": {"valueFrom": {"env": "T"}}}}))
    standin.page = 1
    for status in (410, 400):
        standin.faults = [Fault("GET", status, query="continue=")]
        seen = driver.observe([])
        assert not standin.faults
        assert seen.completeness is Completeness.COMPLETE
        assert len(seen.resources) == 8


def test_a_kind_that_may_not_be_listed_is_missing(standin: Standin, driver: AksDriver) -> None:
    """What is missing names verb and resource."""
    message = 'secrets is forbidden: User "me" cannot list resource "secrets" in API group "" in the namespace "ml"'
    standin.faults = [Fault("GET", 403, times=99, body={"message": message, "reason": "Forbidden"}, query="limit")]
    with pytest.raises(AccessError) as caught:
        driver.observe([])
    assert "the verb 'list' on secrets" in caught.value.hint


def test_a_field_of_others_is_not_taken(standin: Standin, driver: AksDriver) -> None:
    """What was never ours stops the change, with whose it is and both ways on; nothing is written."""
    bench = Bench(driver)
    bench.settle(wanted({"replicas": 2}))
    standin.edit(KEY, ("spec", "minReadySeconds"), 5)
    more = [
        dataclasses.replace(each, spec={**each.spec, "spec": {**each.spec["spec"], "minReadySeconds": 9}})
        if each.id.kind == "Deployment"
        else each
        for each in wanted({"replicas": 2})
    ]
    with pytest.raises(ForeignError) as caught:
        bench.settle(more)
    assert "Deployment:/spec/minReadySeconds (of 'kubectl-edit')" in caught.value.message
    assert "adopt" in caught.value.hint
    assert "ignore" in caught.value.hint
    assert standin.show(KEY)["spec"]["minReadySeconds"] == 5


def test_what_was_ours_is_taken_back_after_a_dry_run(standin: Standin, driver: AksDriver) -> None:
    """By force, and drift says who had it."""
    bench = Bench(driver)
    bench.settle(wanted({"replicas": 2}))
    standin.edit(KEY, ("spec", "replicas"), 7)
    plan = bench.plan(wanted({"replicas": 2}))
    (drifted,) = plan.drift
    assert [(field.pointer, field.now) for field in drifted.fields] == [("/spec/replicas", 7)]
    seen = bench.look(drifted.id)
    assert seen is not None
    owner = seen.owner_of("/spec/replicas")
    assert owner is not None
    assert owner.manager == "kubectl-edit"
    standin.requests.clear()
    bench.settle(wanted({"replicas": 2}))
    assert standin.show(KEY)["spec"]["replicas"] == 2
    forced = [path for method, path in standin.requests if method == "PATCH" and "force" in path]
    assert ["dryRun" in path for path in forced] == [True, False]


@pytest.mark.parametrize(
    ("key", "path", "pointer"),
    [
        (("services", "ml", "diabetes"), ("spec", "selector"), "/spec/selector/more"),
        (("secrets", "ml", "diabetes.variables"), ("data", "more"), "/data/more"),
    ],
)
def test_what_somebody_adds_to_a_selector_or_secret_is_drift(
    standin: Standin, driver: AksDriver, key: tuple[str, str, str], path: tuple[str, ...], pointer: str
) -> None:
    """Requests would go elsewhere, or somebody else would get in; it is told, and goes."""
    bench = Bench(driver)
    variables = {"environmentVariables": {"TOKEN": {"valueFrom": {"env": "T"}}}}
    bench.settle(wanted(variables))
    before = standin.show(key)
    standin.edit(key, path, {"reconciler.dev/service": "diabetes", "more": "1"} if path[-1] == "selector" else "MQ==")
    drift = bench.plan(wanted(variables)).drift
    assert [field.pointer for one in drift for field in one.fields] == [pointer]
    bench.settle(wanted(variables))
    assert standin.show(key).get("data") == before.get("data")
    assert standin.show(key).get("spec") == before.get("spec")


def test_what_git_took_out_goes_though_others_have_it_now(standin: Standin, driver: AksDriver) -> None:
    """Letting go of a field would leave it there, and the next plan would want it gone again."""
    bench = Bench(driver)
    bench.settle(wanted({"environmentVariables": {"A": {"value": "1"}, "B": {"value": "2"}}}))
    items = "k:" + json.dumps({"name": "B"}, separators=(",", ":"))
    place = ("spec", "template", "spec", "containers", 'k:{"name":"scoring"}', "env", items, "value")
    standin.edit(KEY, place, "3")
    bench.settle(wanted({"environmentVariables": {"A": {"value": "1"}}}))
    (container,) = standin.show(KEY)["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert bench.plan(wanted({"environmentVariables": {"A": {"value": "1"}}})).empty


def test_an_autoscaler_takes_over_the_replicas_there_are(standin: Standin, driver: AksDriver) -> None:
    """No moment with the default of one replica; and back to a number of Git's, whoever had it."""
    bench = Bench(driver)
    bench.settle(wanted({"replicas": 4}))
    bench.settle(wanted())
    assert standin.show(KEY)["spec"]["replicas"] == 4
    standin.edit(KEY, ("spec", "replicas"), 6, "kube-controller-manager")
    assert bench.plan(wanted()).empty
    bench.settle(wanted({"replicas": 2}))
    assert standin.show(KEY)["spec"]["replicas"] == 2


def test_what_holds_a_deletion_is_named(standin: Standin, driver: AksDriver) -> None:
    """A finalizer of somebody else."""
    bench = Bench(driver)
    bench.settle(wanted())
    standin.slow.add("delete")
    driver.apply(next(iter(bench.plan([]).effective())))
    key = next(key for key, stored in standin.objects.items() if stored.metadata.get("deletionTimestamp"))
    standin.objects[key].metadata["finalizers"] = ["theirs.example/hold"]
    standin.state(key, {})
    (held,) = [seen for seen in driver.observe([]).resources.values() if seen.busy]
    assert held.health is Health.PROGRESSING
    assert "theirs.example/hold" in held.reason


def test_a_namespace_that_is_not_there(standin: Standin, driver: AksDriver) -> None:
    """The message says how to make it."""
    standin.namespaces.clear()
    bench = Bench(driver)
    with pytest.raises(TerminalError) as caught:
        bench.settle(wanted())
    assert "kubectl create namespace ml" in caught.value.hint


@contextlib.contextmanager
def hints(
    standin: Standin, driver: AksDriver, watches: int = 8
) -> Iterator[Callable[[Callable[[list[str]], bool]], None]]:
    """What the driver's watch tells, from when so many watches were opened; told to stop, it stops.

    Yields:
        Waits until a condition holds of all hints so far.
    """
    heard: list[str] = []
    told, stop = threading.Condition(), threading.Event()

    def listen() -> None:
        for words in driver.watch(stop):
            with told:
                heard.append(words)
                told.notify_all()

    def until(holds: Callable[[list[str]], bool]) -> None:
        with told:
            assert told.wait_for(lambda: holds(heard), 60), heard

    listener = threading.Thread(target=listen)
    listener.start()
    with standin.changed:
        assert standin.changed.wait_for(lambda: standin.watching >= watches, 60)
    try:
        yield until
    finally:
        stop.set()
        listener.join(60)
    assert not listener.is_alive()


def test_a_change_by_hand_is_an_event(standin: Standin, driver: AksDriver) -> None:
    """A hint within a moment; told to stop, it stops."""
    Bench(driver).settle(wanted({"replicas": 2}))
    with hints(standin, driver) as until:
        standin.edit(KEY, ("spec", "replicas"), 7)
        until(lambda heard: heard == ["Deployment diabetes: modified"])


def test_many_changes_are_a_few_hints_and_none_is_lost(standin: Standin, driver: AksDriver) -> None:
    """Each is told by its words or as one of those that came with it, however they fell together."""
    Bench(driver).settle(wanted({"replicas": 2}))
    edits = 9

    def all_of_them(heard: list[str]) -> bool:
        parts = [words.partition(", and ") for words in heard]
        assert {told for told, _, _ in parts} <= {"Deployment diabetes: modified"}
        counted = sum(1 + int(more.removesuffix(" more") or 0) for _, _, more in parts)
        return counted == edits and len(heard) < edits

    with hints(standin, driver) as until:
        with standin.changed:
            for replicas in range(edits):
                standin.edit(KEY, ("spec", "replicas"), 10 + replicas)
        until(all_of_them)


def test_a_watch_that_is_too_old_begins_anew(standin: Standin, driver: AksDriver) -> None:
    """The API says so within the stream: that is a hint, too, and what changes afterwards is heard."""
    Bench(driver).settle(wanted({"replicas": 2}))
    standin.too_old["deployments"] = recorded("watch-too-old")
    with hints(standin, driver, watches=9) as until:
        standin.edit(KEY, ("spec", "replicas"), 7)
        until(lambda heard: heard == ["Deployment: the watch began anew", "Deployment diabetes: modified"])


def test_an_api_below_a_path_and_behind_a_proxy(standin: Standin, tmp_path: Path) -> None:
    """As a gateway of many clusters serves it: requests keep the path, and go through the proxy where one is named."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            pass

    config = json.loads(json.dumps(standin.kubeconfig))
    (entry,) = (one["cluster"] for one in config["clusters"])
    entry["server"] += "/k8s/clusters/one"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    Cluster("cluster", kubeconfig=str(path)).get("/api/v1/namespaces/ml/services/x")
    assert standin.requests[-1] == ("GET", "/k8s/clusters/one/api/v1/namespaces/ml/services/x")
    with listening(Proxy) as port:
        entry["proxy-url"] = f"http://127.0.0.1:{port}"
        path.write_text(json.dumps(config))
        with pytest.raises(UnavailableError):
            Cluster("cluster", kubeconfig=str(path)).get("/api/v1/namespaces/ml/services/x")
    assert set(asked) == {f"http://127.0.0.1:{standin.port}/k8s/clusters/one/api/v1/namespaces/ml/services/x"}


def test_the_clusters_credentials_are_nowhere(standin: Standin, driver: AksDriver) -> None:
    """Not in errors, observations, causes or the driver's own words."""
    bench = Bench(driver)
    bench.settle(wanted())
    texts = [repr(driver), repr(driver.observe([])), repr(bench.baselines)]
    for status in (401, 403, 500, 0):
        standin.faults = [Fault("GET", status, times=99)]
        with pytest.raises(Exception) as caught:
            driver.observe([])
        error: BaseException | None = caught.value
        while error is not None:
            texts.append(f"{error!r} {error} {getattr(error, 'hint', '')}")
            error = error.__cause__
    assert TOKEN not in " ".join(texts)


@pytest.mark.parametrize("text", ["grin 😀", "\\ud83d\\ude00", "\\😀", "\x85 \u2028 é"])
def test_any_text_arrives_as_it_is(standin: Standin, driver: AksDriver, text: str) -> None:
    """What is applied is read as YAML, whose escapes are not quite those of JSON."""
    bench = Bench(driver)
    bench.settle(wanted({"environmentVariables": {"A": {"value": text}}}))
    env = standin.show(KEY)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "A", "value": text} in env


def test_a_context_that_is_not_allowed(standin: Standin, tmp_path: Path) -> None:
    """The operator says which contexts manifests may name; the rest of the targets goes on."""
    (tmp_path / "kubeconfig").write_text(json.dumps(standin.kubeconfig))
    cluster = Cluster("cluster", kubeconfig=str(tmp_path / "kubeconfig"), context="x", allowed=["other"])
    with pytest.raises(AccessError) as caught:
        cluster.get("/api/v1/namespaces/ml/pods")
    assert "allowed: other" in caught.value.hint


@pytest.mark.parametrize("content", [None, "", "nonsense: [", '{"clusters": 3}'])
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    """One line, with what to look at; no traceback, nothing of what stands in it."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UnavailableError) as caught:
        Cluster("cluster", kubeconfig=str(path)).get("/api/v1/namespaces/ml/pods")
    assert "kubectl config get-contexts" in caught.value.hint


class Pod(BaseHTTPRequestHandler):
    """What runs in a pod: answers with the headers it got."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Gives headers and body back."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        data = json.dumps({"headers": dict(self.headers), "body": body}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written to the terminal."""


def add_pod(standin: Standin, name: str, *, ready: bool = True) -> None:
    """A pod of the service."""
    labels = {"app.kubernetes.io/managed-by": "reconciler", "reconciler.dev/service": "diabetes"}
    standin.put(("pods", "ml", name), {"metadata": {"labels": labels}, "spec": {"nodeName": "n"}})
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    standin.state(("pods", "ml", name), {"conditions": [condition]})


def test_a_pod_is_scored_through_the_api(standin: Standin, driver: AksDriver) -> None:
    """By a socket of this machine; the service's key arrives, the cluster's credentials do not."""
    workload = one(wanted(), "Deployment").id
    add_pod(standin, "diabetes-abc-11111", ready=False)
    assert driver.address(workload) is None
    add_pod(standin, "diabetes-abc-22222")
    with listening(Pod) as port:
        standin.ports["diabetes-abc-22222"] = ("127.0.0.1", port)
        address = driver.address(workload)
        assert address is not None
        assert stat.S_IMODE(Path(address.uds).parent.stat().st_mode) == 0o700
        transport = httpx.HTTPTransport(uds=address.uds)
        with httpx.Client(transport=transport, base_url=address.url, headers=dict(address.headers)) as client:
            for body in ("x", "y" * 100_000):
                answer = client.post("/score", content=body, headers={"Authorization": "Bearer of-the-service"})
                assert answer.json()["body"] == body
                assert answer.json()["headers"]["Authorization"] == "Bearer of-the-service"
                assert TOKEN not in answer.text
    assert TOKEN not in repr(address)
    assert driver.address(workload) == address
    driver.close()
    assert not Path(address.uds).exists()


def test_a_pod_that_is_gone_while_it_is_asked_is_a_bad_gateway(standin: Standin, driver: AksDriver) -> None:
    """Whoever asks gets an answer, not silence, and why."""
    add_pod(standin, "diabetes-abc-22222")
    with listening(Pod) as port:
        standin.ports["diabetes-abc-22222"] = ("127.0.0.1", port)
        address = driver.address(one(wanted(), "Deployment").id)
        assert address is not None
        del standin.ports["diabetes-abc-22222"]
        with httpx.Client(transport=httpx.HTTPTransport(uds=address.uds), base_url=address.url) as client:
            answer = client.get("/")
    assert answer.status_code == 502
    assert answer.text.startswith("cluster 'cluster': pod diabetes-abc-22222 cannot be reached: pods ")


# What an API server of 1.36 says when a tunnel is not allowed, when it does not get through to the node, and when it is
# asked with credentials that have expired.
NO_WAY = {
    403: 'pods "p" is forbidden: User "lim" cannot get resource "pods/portforward" in API group "" in the namespace '
    '"ml"',
    500: "error dialing backend: dial tcp: lookup node1 on 10.255.255.53:53: no such host",
    401: "Unauthorized",
}


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (403, AccessError, "lim needs the verb 'get' on pods/portforward --namespace ml"),
        (500, UnavailableError, "the API server or something behind it is failing"),
        (401, AccessError, "the kubeconfig's credentials are missing, wrong or expired"),
        (0, UnavailableError, "kubectl cluster-info"),
    ],
)
def test_no_way_to_a_pod_is_no_answer_of_the_service(
    standin: Standin, driver: AksDriver, status: int, error: type[Exception], hint: str
) -> None:
    """It is told with its reason, before anybody takes it for a service that fails its tests."""
    add_pod(standin, "diabetes-abc-22222")
    said = {"kind": "Status", "status": "Failure", "message": NO_WAY.get(status, ""), "code": status}
    # Who asks is told anew once.
    standin.faults = [Fault("GET", status, times=2 if status == 401 else 1, query="ports=", body=said)]
    with pytest.raises(error) as caught:
        driver.address(one(wanted(), "Deployment").id)
    assert str(caught.value).startswith("cluster 'cluster': pod diabetes-abc-22222 cannot be reached")
    assert NO_WAY.get(status, "") in str(caught.value)
    assert hint in str(getattr(caught.value, "hint", ""))
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_an_api_that_takes_a_tunnel_and_says_nothing_is_not_waited_for(standin: Standin, tmp_path: Path) -> None:
    """Not for longer than for any other answer; what comes through a tunnel then takes its time."""
    config = tmp_path / "kubeconfig"
    told: list[Exception] = []

    def ask() -> None:
        try:
            Cluster("cluster", kubeconfig=str(config), patience=0.2).tunnel("ml", "diabetes-abc-22222", 5001)
        except UnavailableError as error:
            told.append(error)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        config.write_text(json.dumps({**standin.kubeconfig, "clusters": [{"name": "c", "cluster": server}]}))
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(10)
        assert not asking.is_alive()
    assert [str(error) for error in told] == ["cluster 'cluster': pod diabetes-abc-22222 cannot be reached"]
    config.write_text(json.dumps(standin.kubeconfig))
    cluster = Cluster("cluster", kubeconfig=str(config), patience=10.0)
    with listening(Pod) as port:
        standin.ports["diabetes-abc-22222"] = ("127.0.0.1", port)
        tunnel = cluster.tunnel("ml", "diabetes-abc-22222", 5001)
        assert tunnel.websocket.sock.gettimeout() is None
        tunnel.close()
    cluster.close()


def test_logs_of_all_pods(standin: Standin, driver: AksDriver) -> None:
    """One pod's lines as they are; of several, each with its pod."""
    workload = one(wanted(), "Deployment").id
    stop = threading.Event()
    add_pod(standin, "diabetes-abc-11111")
    standin.logs["diabetes-abc-11111"] = ["one", "two", "three"]
    assert list(driver.logs(workload, lines=2, follow=False, stop=stop)) == ["two", "three"]
    assert list(driver.logs(workload, lines=2, follow=True, stop=stop)) == ["two", "three"]
    add_pod(standin, "diabetes-abc-22222")
    standin.logs["diabetes-abc-22222"] = ["other"]
    assert list(driver.logs(workload, lines=1, follow=False, stop=stop)) == ["[11111] three", "[22222] other"]


def test_the_last_lines_of_a_crashed_pod_are_in_the_reason(standin: Standin, driver: AksDriver) -> None:
    """With the exit code; the version before is not asked."""
    bench = Bench(driver)
    bench.settle(wanted({"replicas": 1}))
    pod = "diabetes-abc-11111"
    add_pod(standin, pod, ready=False)
    ended = {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "scoring", "ready": False, "restartCount": 3, "state": ended}
    container["lastState"] = {"terminated": {"exitCode": 3, "reason": "Error"}}
    standin.state(("pods", "ml", pod), {"containerStatuses": [container]})
    standin.logs[pod] = ["ValueError: no model"]
    status = dict(standin.objects[KEY].status)
    status["conditions"] = [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]
    standin.state(KEY, status)
    seen = bench.look(one(wanted(), "Deployment").id)
    assert seen is not None
    assert seen.health is Health.DEGRADED
    assert "ended with exit code 3, started 4 times" in seen.reason
    assert "ValueError: no model" in seen.reason
    standin.logs[pod] = ["unable to retrieve container logs for containerd://0123"]
    standin.state(("pods", "ml", pod), {"containerStatuses": [{**container, "restartCount": 4}]})
    seen = bench.look(one(wanted(), "Deployment").id)
    assert seen is not None
    assert seen.reason == "ended with exit code 3, started 5 times"


def test_the_abilities_are_there(driver: AksDriver) -> None:
    """By their protocols; without a ready pod there is no way in."""
    assert isinstance(driver, Endpoint)
    assert isinstance(driver, Events)
    assert isinstance(driver, Logs)
    workload = one(wanted(), "Deployment")
    assert driver.address(workload.id) is None
    assert list(driver.logs(workload.id, lines=3, follow=False, stop=threading.Event())) == []
    service = one(wanted(), "Service")
    assert list(driver.logs(service.id, lines=3, follow=False, stop=threading.Event())) == []
