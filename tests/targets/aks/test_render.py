"""Rendering for a cluster: pure, valid for every name, each setting with its effect or with a reason why not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.deployment import Auth, ImageInputs
from reconciler.core.errors import InvalidError
from reconciler.core.images import image_name
from reconciler.core.resources import Rollout
from reconciler.core.secrets import SecretRef
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import MISSING, Unknown, lookup, walk
from reconciler.manifests.kinds.names import SERVICE_NAME
from reconciler.serving.cli import parse
from reconciler.targets.aks.kinds import Place
from reconciler.targets.aks.objects import STOP_IDLE_SECONDS, arguments
from reconciler.targets.aks.render import AksRenderer, Images
from tests.targets.aks.samples import IMAGES, KEYS, deployment, one, render

POD = "/spec/template/spec"
CONTAINER = f"{POD}/containers/scoring"


def argument(rendered: Any, name: str) -> str | None:
    """The value of one of the runtime's arguments."""
    words = lookup(one(rendered, "Deployment").spec, f"{CONTAINER}/args")
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), None)


def test_a_plain_service() -> None:
    """One resource for each object, in the order in which they need each other."""
    rendered = render(deployment())
    assert [str(each.id) for each in rendered] == [
        "cluster/ServiceAccount/ml:diabetes",
        "cluster/Secret/ml:diabetes.keys",
        "cluster/NetworkPolicy/ml:diabetes",
        "cluster/Deployment/ml:diabetes",
        "cluster/HorizontalPodAutoscaler/ml:diabetes",
        "cluster/PodDisruptionBudget/ml:diabetes",
        "cluster/Service/ml:diabetes",
    ]
    before: set[Any] = set()
    for each in rendered:
        own = {id_ for id_ in each.depends_on if id_.target == "cluster"}
        assert own <= before, each.id
        before.add(each.id)
    assert {each.service for each in rendered} == {"diabetes"}
    assert {each.id.kind for each in rendered} <= AksRenderer("cluster", IMAGES).capabilities.kinds


def test_the_image_is_named_by_its_digest() -> None:
    """It exists only after the build: until then the digest is unknown, its source the image's resource."""
    made = deployment()
    name = image_name(made, IMAGES.default_base)
    workload = one(render(made), "Deployment")
    assert lookup(workload.spec, f"{CONTAINER}/image") == name.reference("registry.example/ml")
    assert lookup(workload.spec, f"{CONTAINER}/imageDigest") == Unknown(str(name.id), "/digest")
    assert name.id in workload.depends_on


def test_pods_are_restricted() -> None:
    """What the restricted Pod Security Standard asks for, and no credentials of the cluster in the pod."""
    pod = lookup(one(render(deployment()), "Deployment").spec, POD)
    container = pod["containers"]["scoring"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {next(iter(volume)) for volume in pod["volumes"].values()} <= {"emptyDir", "secret"}


def test_no_request_is_lost_in_a_roll_out() -> None:
    """No old pod goes before a new one is ready; a pod that ends is out of the way first, and has time to finish."""
    spec = one(render(deployment({"drainSeconds": 40})), "Deployment").spec
    assert lookup(spec, "/spec/strategy/rollingUpdate/maxUnavailable") == 0
    before = lookup(spec, f"{CONTAINER}/lifecycle/preStop/sleep/seconds")
    assert before > 0
    assert lookup(spec, f"{POD}/terminationGracePeriodSeconds") > before + 40
    assert lookup(spec, f"{CONTAINER}/readinessProbe/httpGet/path") == "/health/ready"
    assert lookup(spec, f"{POD}/topologySpreadConstraints").keys() == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }


@pytest.mark.parametrize(
    ("common", "aks", "kind", "pointer", "value"),
    [
        ({"cpuCores": 0.25}, {}, "Deployment", f"{CONTAINER}/resources/requests/cpu", "250m"),
        ({}, {"cpuCores": 2}, "Deployment", f"{CONTAINER}/resources/requests/cpu", "2"),
        ({"memoryGb": 1.5}, {}, "Deployment", f"{CONTAINER}/resources/requests/memory", "1500M"),
        ({}, {}, "Deployment", f"{CONTAINER}/resources/requests", {"cpu": "100m", "memory": "500M"}),
        ({}, {}, "Deployment", f"{CONTAINER}/resources/limits", MISSING),
        ({}, {"cpuCoresLimit": 1}, "Deployment", f"{CONTAINER}/resources/limits/cpu", "1"),
        ({}, {"cpuCoresLimit": 1.5}, "Deployment", f"{CONTAINER}/env/OMP_NUM_THREADS/value", "2"),
        ({}, {"memoryGbLimit": 1}, "Deployment", f"{CONTAINER}/resources/limits/memory", "1G"),
        ({}, {"gpuCores": 2}, "Deployment", f"{CONTAINER}/resources/limits/nvidia.com~1gpu", "2"),
        (
            {},
            {"extendedResources": {"intel.com/fpga": 1}},
            "Deployment",
            f"{CONTAINER}/resources/limits/intel.com~1fpga",
            "1",
        ),
        # The kubelet puts other variables in for `$(NAME)`.
        ({"environmentVariables": {"A": {"value": "$(B)"}}}, {}, "Deployment", f"{CONTAINER}/env/A/value", "$$(B)"),
        ({"environmentVariables": {"A": {"value": "$$"}}}, {}, "Deployment", f"{CONTAINER}/env/A/value", "$$$$"),
        ({"environmentVariables": {"A": {"value": "5 $"}}}, {}, "Deployment", f"{CONTAINER}/env/A/value", "5 $"),
        ({"replicas": 3}, {}, "Deployment", "/spec/replicas", 3),
        ({}, {}, "Deployment", "/spec/replicas", MISSING),
        ({}, {"autoscale": {"enabled": False}}, "Deployment", "/spec/replicas", 1),
        ({}, {}, "HorizontalPodAutoscaler", "/spec/maxReplicas", 10),
        ({}, {"autoscale": {"minReplicas": 2}}, "HorizontalPodAutoscaler", "/spec/minReplicas", 2),
        ({}, {"autoscale": {"maxReplicas": 4}}, "HorizontalPodAutoscaler", "/spec/maxReplicas", 4),
        (
            {},
            {"autoscale": {"targetUtilization": 50}},
            "HorizontalPodAutoscaler",
            "/spec/metrics/0/resource/target/averageUtilization",
            50,
        ),
        ({}, {}, "HorizontalPodAutoscaler", "/spec/behavior/scaleUp/stabilizationWindowSeconds", 0),
        ({}, {}, "HorizontalPodAutoscaler", "/spec/behavior/scaleDown/stabilizationWindowSeconds", 60),
        ({}, {"livenessProbe": {"periodSeconds": 7}}, "Deployment", f"{CONTAINER}/livenessProbe/periodSeconds", 7),
        ({}, {}, "Deployment", f"{CONTAINER}/livenessProbe/initialDelaySeconds", 310),
        ({}, {"livenessProbe": {"timeoutSeconds": 5}}, "Deployment", f"{CONTAINER}/livenessProbe/timeoutSeconds", 5),
        (
            {},
            {"livenessProbe": {"failureThreshold": 9}},
            "Deployment",
            f"{CONTAINER}/livenessProbe/failureThreshold",
            9,
        ),
        ({"readyTimeoutSeconds": 60}, {}, "Deployment", f"{CONTAINER}/startupProbe/failureThreshold", 30),
        ({"readyTimeoutSeconds": 60}, {}, "Deployment", "/spec/progressDeadlineSeconds", 360),
        ({"port": 8080}, {}, "Service", "/spec/ports/http/port", 8080),
        ({}, {}, "Service", "/spec/type", "ClusterIP"),
        ({}, {"expose": "loadBalancer"}, "Service", "/spec/type", "LoadBalancer"),
        (
            {},
            {"expose": "loadBalancer", "dnsNameLabel": "scores"},
            "Service",
            "/metadata/annotations/service.beta.kubernetes.io~1azure-dns-label-name",
            "scores",
        ),
        (
            {},
            {"properties": {"a": "1"}},
            "Deployment",
            "/metadata/annotations/reconciler.dev~1properties",
            '{"a": "1"}',
        ),
        ({}, {"nodeSelector": {"agentpool": "gpu"}}, "Deployment", f"{POD}/nodeSelector", {"agentpool": "gpu"}),
        (
            {},
            {"tolerations": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]},
            "Deployment",
            f"{POD}/tolerations/0",
            {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
        ),
        ({}, {"imagePullSecrets": ["acr"]}, "ServiceAccount", "/imagePullSecrets", {"acr": {}}),
        ({}, {"expose": "ingress", "cname": "a.example"}, "Ingress", "/spec/rules/0/host", "a.example"),
        ({}, {"expose": "ingress", "cname": "a.example"}, "Ingress", "/spec/tls", MISSING),
        (
            {},
            {"expose": "ingress", "cname": "a.example", "sslEnabled": True, "sslSecretName": "cert"},
            "Ingress",
            "/spec/tls/0",
            {"hosts": ["a.example"], "secretName": "cert"},
        ),
        (
            {},
            {"expose": "ingress", "cname": "a.example", "ingressClass": "nginx"},
            "Ingress",
            "/spec/ingressClassName",
            "nginx",
        ),
        (
            {},
            {"expose": "ingress", "cname": "a.example", "ingressAnnotations": {"x/y": "1"}},
            "Ingress",
            "/metadata/annotations",
            {"x/y": "1"},
        ),
    ],
)
def test_every_setting_has_its_effect(common: Any, aks: Any, kind: str, pointer: str, value: Any) -> None:
    """Each setting of a service stands in the object that it is about."""
    assert lookup(one(render(deployment(common, aks)), kind).spec, pointer) == value


@pytest.mark.parametrize(
    ("common", "name", "value"),
    [
        ({"scoringTimeoutMs": 1234}, "timeout-ms", "1234"),
        ({"maxConcurrentRequests": 3}, "concurrency", "3"),
        ({}, "max-wait-ms", "500"),
        ({"maxRequestWaitTime": 40}, "max-wait-ms", "40"),
        ({"maxBodyMb": 2.5}, "max-body-bytes", "2500000"),
        ({"drainSeconds": 12}, "graceful-seconds", "12"),
        ({}, "stop-idle-seconds", "5"),
        ({"corsOrigins": ["https://b", "https://a"]}, "cors", "https://a,https://b"),
        ({}, "keys-file", "/run/reconciler/keys.json"),
    ],
)
def test_settings_of_the_runtime_are_its_arguments(common: Any, name: str, value: str) -> None:
    """What the runtime does by itself it is told."""
    assert argument(render(deployment(common)), name) == value


def test_the_runtime_understands_all_that_it_is_told() -> None:
    """Every argument at once, read by the runtime that images get."""
    common = {"maxBodyMb": 2.5, "corsOrigins": ["https://a"]}
    made = deployment(common, target={"autoscaler": "prometheusAdapter"})
    words = [str(word) for word in arguments(made)]
    assert {word.partition("=")[0] for word in words} >= {"--metrics-public", "--keys-file", "--cors", "--max-wait-ms"}
    assert parse(words, {}).limits.stop_idle == STOP_IDLE_SECONDS


def test_an_internal_load_balancer_names_its_subnet() -> None:
    """As AksCompute has it."""
    target = {"loadBalancerType": "InternalLoadBalancer", "loadBalancerSubnet": "inner"}
    spec = one(render(deployment(aks={"expose": "loadBalancer"}, target=target)), "Service").spec
    assert lookup(spec, "/metadata/annotations") == {
        "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
        "service.beta.kubernetes.io/azure-load-balancer-internal-subnet": "inner",
    }


def test_without_keys_there_is_no_secret() -> None:
    """`auth: {enabled: false}` asks for none, and the runtime is told of none."""
    rendered = render(deployment(auth=Auth()))
    assert "Secret" not in {each.id.kind for each in rendered}
    assert argument(rendered, "keys-file") is None


def test_secrets_stand_in_secrets_alone() -> None:
    """A secret variable is referred to; its fingerprint stands in the Deployment, so that a new one restarts pods."""
    token = SecretRef("env", "TOKEN")
    rendered = render(
        deployment({"environmentVariables": {"TOKEN": {"valueFrom": {"env": "TOKEN"}}, "A": {"value": "1"}}})
    )
    workload = one(rendered, "Deployment").spec
    reference = {"secretKeyRef": {"name": "diabetes.variables", "key": "TOKEN"}}
    assert lookup(workload, f"{CONTAINER}/env") == {"A": {"value": "1"}, "TOKEN": {"valueFrom": reference}}
    assert workload["secretVariables"] == {"TOKEN": token}
    secret = one(rendered, "Secret", "diabetes.variables")
    assert secret.spec["data"] == {"TOKEN": token}
    assert secret.id in one(rendered, "Deployment").depends_on


def test_certificates_and_credentials_are_secrets_of_their_kind() -> None:
    """With the types that ingresses and nodes look for."""
    given_ = {
        "expose": "ingress",
        "cname": "a.example",
        "sslEnabled": True,
        "sslCertPem": {"valueFrom": {"file": "c.pem"}},
        "sslKeyPem": {"valueFrom": {"file": "k.pem"}},
        "registryCredentials": [
            {"location": "r.example", "user": {"value": "me"}, "password": {"valueFrom": {"env": "P"}}}
        ],
    }
    rendered = render(deployment(aks=given_))
    tls = one(rendered, "Secret", "diabetes.tls")
    assert tls.spec["type"] == "kubernetes.io/tls"
    assert tls.spec["data"] == {"tls.crt": SecretRef("file", "c.pem"), "tls.key": SecretRef("file", "k.pem")}
    assert tls.id in one(rendered, "Ingress").depends_on
    pull = one(rendered, "Secret", "diabetes.pull")
    assert pull.spec["registries"] == {"r.example": {"username": "me", "password": SecretRef("env", "P")}}
    assert lookup(one(rendered, "ServiceAccount").spec, "/imagePullSecrets") == {"diabetes.pull": {}}


def test_a_budget_only_where_there_may_be_more_than_one() -> None:
    """One replica alone cannot be spared, and a budget would only keep nodes from being drained."""
    kinds = {each.id.kind for each in render(deployment({"replicas": 1}))}
    assert "PodDisruptionBudget" not in kinds
    assert "HorizontalPodAutoscaler" not in kinds
    assert "PodDisruptionBudget" in {each.id.kind for each in render(deployment({"replicas": 2}))}


def test_a_ready_made_image_is_run_as_it_is() -> None:
    """No arguments, no keys, no user but that it is not root; nobody knows its paths."""
    made = deployment(image=ImageInputs(image="example/scorer:1"))
    rendered = render(made)
    container = lookup(one(rendered, "Deployment").spec, CONTAINER)
    assert container["image"] == "example/scorer:1"
    assert not {"args", "imageDigest"} & container.keys()
    assert container["readinessProbe"]["tcpSocket"] == {"port": "http"}
    assert "Secret" not in {each.id.kind for each in rendered}
    assert any("no keys" in warning.message for warning in one(rendered, "Deployment").warnings)


@pytest.mark.parametrize(
    ("aks", "code"),
    [
        ({"expose": "ingress"}, "together"),
        ({"sslEnabled": True, "sslSecretName": "cert"}, "together"),
        ({"expose": "ingress", "cname": "a.example", "sslEnabled": True}, "together"),
        ({"dnsNameLabel": "scores"}, "together"),
        ({"cpuCoresLimit": 0.01}, "wrong-range"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_place(aks: Any, code: str) -> None:
    """Where only the settings together say what is wrong."""
    with pytest.raises(InvalidError) as caught:
        render(deployment(aks=aks))
    assert [problem.code for problem in caught.value.problems] == [code]
    assert all(problem.position and problem.hint for problem in caught.value.problems)


def test_a_built_image_needs_a_registry() -> None:
    """The cluster has to pull it from somewhere; offline, where the settings may be elsewhere, that is a warning."""
    with pytest.raises(InvalidError) as caught:
        render(deployment(), Images("python:{python}-slim"))
    assert [problem.code for problem in caught.value.problems] == ["registry-missing"]
    rendered = render(deployment(), Images("python:{python}-slim", certain=False))
    assert [warning.code for warning in one(rendered, "Deployment").warnings] == ["registry-missing"]
    assert render(deployment(image=ImageInputs(image="example/scorer:1")), Images("python:{python}-slim"))


@given(st.from_regex(SERVICE_NAME, fullmatch=True).filter(lambda name: len(name) <= 32))
def test_names_are_valid_for_every_service(name: str) -> None:
    """Names of objects keep to DNS-1123, and no two services have one in common."""
    rendered = render(dataclasses.replace(deployment(), service=name, auth=KEYS))
    ids = [each.id for each in rendered]
    assert len(set(ids)) == len(ids)
    for id_ in ids:
        own = id_.name.partition(":")[2]
        assert own == name or (own.startswith(f"{name}.") and "." not in own[len(name) + 1 :])
        assert len(own) <= 63
    for each in rendered:
        assert all(len(str(value)) <= 63 for value in lookup(each.spec, "/metadata/labels").values())


def test_another_namespace_is_another_resource() -> None:
    """A service that moves is made anew there, and what it leaves behind is known by its name."""
    moved = render(deployment(aks={"namespace": "elsewhere"}))
    assert {each.id.name.partition(":")[0] for each in moved} == {"elsewhere"}


@pytest.mark.parametrize("name", ["", ":", "ml:", ":diabetes", "diabetes"])
def test_half_a_name_is_none(name: str) -> None:
    """A path without an object's name would mean all objects of a namespace."""
    with pytest.raises(ValueError, match="no namespace and name"):
        Place.of(name)


def test_rendering_twice_gives_equal_values() -> None:
    """Nothing but the deployment decides."""
    assert render(deployment()) == render(deployment())
    assert all(not isinstance(leaf, bytes) for each in render(deployment()) for _, leaf in walk(each.spec))


def test_how_a_new_version_takes_over() -> None:
    """Beside the one before where there is something to find out; an image of others counts no requests."""
    tests = (SmokeTest("answers"),)
    canary = {"strategy": "canary", "canary": {"steps": [5, 25], "stepSeconds": 30, "maxErrorRate": 0.01}}
    foreign = ImageInputs(image="example/scorer:1")

    def rollout(aks: Any, **changes: Any) -> Rollout:
        return one(render(deployment({}, aks, **changes)), "Deployment").rollout

    assert rollout({}) == Rollout(staged=False, always=False)
    assert rollout({}, tests=tests) == Rollout(always=False)
    shares = {"always": False, "shares": (5, 25), "interval": 30.0}
    assert rollout(canary) == Rollout(**shares, max_error_rate=0.01)
    assert rollout(canary, image=foreign, auth=Auth()) == Rollout(**shares)
    assert not any(each.rollout.staged for each in render(deployment({}, canary)) if each.id.kind != "Deployment")


@pytest.mark.parametrize(
    ("common", "aks", "message", "count"),
    [
        ({"replicas": 1}, {}, "`canary.steps` with 1 replica: 10 % are 50 % of the requests", 6),
        ({"replicas": 2}, {"steps": [10, 40]}, "with 2 replicas: 10 % are 33 % of the requests, 40 % are 50 %", 6),
        ({"replicas": 10}, {"steps": [10]}, "with 10 replicas: 10 % are 17 % of the requests", 12),
        ({}, {}, "with 1 replica, the fewest of its autoscaler: 10 % are 50 % of the requests", 6),
        ({"replicas": 1}, {"steps": [50]}, "", 0),
        ({"replicas": 9}, {"steps": [10]}, "", 0),
    ],
)
def test_a_share_that_so_few_replicas_cannot_give_is_said(common: Any, aks: Any, message: str, count: int) -> None:
    """Pods are whole: with what comes about, and from which number of replicas on it is about what was asked for."""
    canary = {"strategy": "canary", "canary": {"steps": [10, 50], **aks}}
    warnings = one(render(deployment(common, canary)), "Deployment").warnings
    assert [warning.code for warning in warnings] == (["canary-rounded"] if message else [])
    assert all(message in warning.message and f": {count} replicas" in warning.hint for warning in warnings)
    assert all(warning.position for warning in warnings)
    if count:
        assert not one(render(deployment({"replicas": count}, canary)), "Deployment").warnings
    assert not one(render(deployment(common, {**canary, "strategy": "rolling"})), "Deployment").warnings
