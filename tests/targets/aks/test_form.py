"""Between normal form and the API's objects: there and back, one spelling for each thing, no secret to be read."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.outputs import fill
from reconciler.core.resources import Health, Mark
from reconciler.core.secrets import Secret, SecretRef, seal
from reconciler.core.three_way import three_way
from reconciler.core.values import lookup, to_json, transform
from reconciler.targets.aks import fields
from reconciler.targets.aks.form import Secrets, mark_of, spec_of, to_object
from reconciler.targets.aks.health import state_of
from reconciler.targets.aks.kinds import KINDS
from reconciler.targets.aks.quantity import canonical
from reconciler.targets.aks.refusals import ManagerConflictError, refusal
from reconciler.targets.aks.removing import removal
from tests.targets.aks.samples import deployment, one, recorded, render

SECRETS = Secrets(
    lambda secret: secret.reveal() if isinstance(secret, Secret) else f"text of {secret}",
    lambda text: seal(b"key", text),
)


def filled(spec: Any) -> Any:
    """A spec as the engine hands it over: secrets with their texts, unknowns known."""

    def leaf(value: Any) -> Any:
        return seal(b"key", SECRETS.reveal(value)) if isinstance(value, SecretRef) else value

    return transform(fill(spec, lambda _: {"digest": "sha256:" + "1" * 64}), leaf)


@pytest.mark.parametrize(
    ("common", "aks"),
    [
        ({}, {}),
        ({"replicas": 2, "cpuCores": 1.25}, {"gpuCores": 1, "cpuCoresLimit": 2}),
        ({"environmentVariables": {"TOKEN": {"valueFrom": {"env": "T"}}, "A": {"value": "1"}}}, {}),
        (
            {"port": 8080},
            {
                "expose": "ingress",
                "cname": "a.example",
                "sslEnabled": True,
                "sslCertPem": {"valueFrom": {"file": "c"}},
                "sslKeyPem": {"valueFrom": {"file": "k"}},
                "registryCredentials": [
                    {"location": "r.example", "user": {"value": "me"}, "password": {"valueFrom": {"env": "P"}}}
                ],
            },
        ),
    ],
)
def test_there_and_back(common: Any, aks: Any) -> None:
    """What is sent reads back as what was wanted, and under the mark."""
    for desired in render(deployment(common, aks)):
        spec = filled(desired.spec)
        mark = Mark("me", "diabetes", "r1", desired.spec_digest, str(desired.id))
        sent = to_object(desired.id, spec, mark, SECRETS)
        json.dumps(sent)
        assert mark_of(sent) == mark
        assert to_json(spec_of(sent, SECRETS)) == to_json(spec), desired.id


def test_keys_go_to_the_cluster_as_digests() -> None:
    """Whoever reads the Secret has no key; one that was changed by hand is seen."""
    desired = one(render(deployment()), "Secret", "diabetes.keys")
    mark = Mark("me", "diabetes", "r1", "", str(desired.id))
    sent = to_object(desired.id, filled(desired.spec), mark, SECRETS)
    text = base64.b64decode(sent["data"]["keys.json"]).decode()
    key = "text of generated:diabetes/primary"
    assert hashlib.sha256(key.encode()).hexdigest() in text
    assert key not in json.dumps(sent) + text
    sent["data"]["keys.json"] = base64.b64encode(text.replace("a", "b").encode()).decode()
    changes = three_way(
        "Secret", filled(desired.spec), spec_of(sent, SECRETS), filled(desired.spec), filled(desired.spec)
    )
    assert changes.changes


def test_what_the_api_adds_is_no_difference() -> None:
    """The recorded answer to an apply: defaults everywhere, quantities in another spelling."""
    answer = recorded("apply-deployment")
    wanted = {
        "metadata": {"labels": {"svc": "diabetes"}},
        "spec": {
            "replicas": 1,
            "template": {
                "spec": {
                    "containers": {
                        "scoring": {
                            "image": "bb:1",
                            "env": {"A": {"value": "1"}},
                            "resources": {"requests": {"cpu": canonical("0.1"), "memory": canonical("64Mi")}},
                        }
                    }
                }
            },
        },
    }
    assert three_way("Deployment", wanted, spec_of(answer, SECRETS), wanted, wanted).changes == ()


def test_others_are_named_with_the_fields_they_wrote() -> None:
    """The recorded hand edit of the replicas."""
    owners = fields.owners(recorded("foreign-edit-replicas"))
    assert owners["/spec/replicas"].manager == "kubectl-edit"
    assert owners["/spec/replicas"].at is not None


@pytest.mark.parametrize(
    ("name", "health", "words"),
    [
        ("diabetes", Health.HEALTHY, ""),
        ("badimage", Health.DEGRADED, "no such host"),
        ("crash", Health.DEGRADED, "ended with exit code 3"),
        ("oom", Health.DEGRADED, "its limit of 16Mi"),
        ("unschedulable", Health.DEGRADED, "Insufficient cpu"),
        ("notready", Health.DEGRADED, "running, not ready yet"),
        ("deleting", Health.PROGRESSING, "being deleted"),
    ],
)
def test_health_in_words(name: str, health: Health, words: str) -> None:
    """What a real kubelet reported, in words that say what to do."""
    workload = {"kind": "Deployment", **recorded(f"state-deployment-{name}")}
    pods = recorded(f"state-pods-{name}")["items"] if name != "deleting" else []
    state = state_of(workload, pods)
    assert state.health is health
    assert words in state.reason


@pytest.mark.parametrize(
    ("status", "spec", "health"),
    [
        ({"observedGeneration": 1}, {}, Health.PROGRESSING),
        ({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "Unknown"}]}, {}, Health.UNKNOWN),
        ({"observedGeneration": 2}, {"paused": True}, Health.SUSPENDED),
        (
            {
                "observedGeneration": 2,
                "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}],
            },
            {},
            Health.DEGRADED,
        ),
    ],
)
def test_states_that_were_not_recorded(status: Any, spec: Any, health: Health) -> None:
    """An old generation, a state that nobody knows, a pause, pods that a quota forbids."""
    workload = {"kind": "Deployment", "metadata": {"generation": 2}, "spec": spec, "status": status}
    assert state_of(workload).health is health


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("apply-deployment-stale-resourceversion", "ConflictError", "has been modified"),
        ("apply-deployment-immutable-selector", "TerminalError", "immutable"),
        ("apply-deployment-invalid", "TerminalError", "must be greater than"),
        ("apply-deployment-unknown-field-strict", "TerminalError", "not declared in schema"),
        ("apply-namespace-missing", "TerminalError", "no namespace 'none'"),
        ("apply-quota-exceeded", "TerminalError", "exceeded quota"),
        ("get-missing", "MissingError", "not found"),
        ("unauthorized", "AccessError", "cannot list"),
        ("list-continue-expired", "TerminalError", "continue"),
    ],
)
def test_refusals_say_how_to_go_on(name: str, error: str, words: str) -> None:
    """Each recorded refusal has its class, a hint and a cause."""
    body = recorded(name)
    found = refusal(int(body["code"]), body, "writing it")
    assert type(found).__name__ == error
    assert words in found.message
    assert found.hint
    assert found.__cause__ is not None


def test_a_conflict_names_the_fields() -> None:
    """And, by its words, the manager."""
    found = refusal(409, recorded("apply-deployment-conflict"), "writing it")
    assert isinstance(found, ManagerConflictError)
    assert found.fields == (".spec.replicas",)
    assert "kubectl-edit" in found.message


def test_what_may_hold_secrets_is_not_repeated() -> None:
    """Of a refused Secret only the fields are told."""
    causes = [{"field": "data[k]", "message": "Invalid value: canary"}]
    body = {"message": "canary", "reason": "Invalid", "details": {"causes": causes}}
    found = refusal(422, body, "writing it", hidden=True)
    assert "canary" not in f"{found} {found.hint} {found.__cause__!r}"
    assert "data[k]" in found.message


@pytest.mark.parametrize("code", [400, 403])
def test_an_admission_webhook_does_not_tell_of_secrets(code: int) -> None:
    """It is shown the whole object, and its words are anybody's: only which one refused is told."""
    body = {
        "message": 'admission webhook "keys.example.com" denied the request: weak key canary',
        "reason": "Forbidden",
    }
    found = refusal(code, body, "writing Secret ml:diabetes.keys", hidden=True)
    assert "canary" not in f"{found} {found.hint} {found.__cause__!r}"
    assert 'admission webhook "keys.example.com" denied the request' in found.message
    assert found.hint == "the cluster's policy 'keys.example.com' refuses it"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.1", "100m"), ("100m", "100m"), ("1500m", "1500m"), ("1Gi", "1073741824"), ("1000M", "1G"), ("2.0", "2"),
     ("0", "0"), ("64Mi", "67108864"), ("0.0005", "500u"), ("nonsense", "nonsense"), ("1e3", "1k")],
)  # fmt: skip
def test_quantities(text: str, value: str) -> None:
    """One spelling for each amount."""
    assert canonical(text) == value


@given(st.integers(0, 10**15), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi"]))
def test_a_spelling_stays_what_it_is(number: int, suffix: str) -> None:
    """Spelled once, it is not spelled otherwise again."""
    once = canonical(f"{number}{suffix}")
    assert canonical(once) == once


def test_lookup_of_keyed_lists() -> None:
    """A container is found by its name, in whatever order the API lists them."""
    answer = recorded("apply-deployment")
    assert lookup(spec_of(answer, SECRETS), "/spec/template/spec/containers/scoring/env/A/value") == "1"


def test_a_removal_names_items_by_their_keys() -> None:
    """A map's key becomes null, an item of a keyed list is deleted by its key; ports are left to the API's own."""
    pod = "/spec/template/spec/containers/scoring"
    pointers = [
        "/spec/minReadySeconds",
        f"{pod}/env/B",
        f"{pod}/env/A/value",
        f"{pod}/ports/http",
        "/metadata/labels/x",
    ]
    container = {
        "name": "scoring",
        "env": [{"name": "B", "$patch": "delete"}, {"name": "A", "value": None}],
    }
    assert removal(KINDS["Deployment"], pointers) == {
        "spec": {"minReadySeconds": None, "template": {"spec": {"containers": [container]}}},
        "metadata": {"labels": {"x": None}},
    }
