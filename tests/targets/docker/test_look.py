"""What the engine says, read: every state a health, every field there and back. No engine is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.deployment import Auth, Deployment, EntryScript, Environment, Settings, Target
from reconciler.core.resources import Health
from reconciler.core.secrets import Secret, SecretRef, seal
from reconciler.core.three_way import three_way
from reconciler.core.values import Spec, canonical, digest, to_json
from reconciler.targets.local.docker.config import configuration, labels_of, read_back
from reconciler.targets.local.docker.look import Container, health_of
from reconciler.targets.local.docker.render import spec_of

KEY = b"key"


def state(**fields: Any) -> Container:
    """A container in some state."""
    restarts = fields.pop("RestartCount", 0)
    report = {"Id": "c", "Name": "/t.s", "State": fields, "RestartCount": restarts, "HostConfig": {"Memory": 5 * 10**8}}
    return Container(report)


@pytest.mark.parametrize(
    ("fields", "health", "words"),
    [
        ({"Status": "running"}, Health.HEALTHY, ""),
        ({"Status": "running", "Health": {"Status": "healthy"}}, Health.HEALTHY, ""),
        ({"Status": "running", "Health": {"Status": "starting"}}, Health.PROGRESSING, "starting"),
        (
            {"Status": "running", "Health": {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "refused\n"}]}},
            Health.DEGRADED,
            "its health check fails: refused",
        ),
        ({"Status": "running", "Health": {"Status": "novel"}}, Health.UNKNOWN, "novel"),
        ({"Status": "created"}, Health.PROGRESSING, "made"),
        ({"Status": "created", "Error": "no such device"}, Health.DEGRADED, "no such device"),
        ({"Status": "restarting", "ExitCode": 3, "RestartCount": 4}, Health.DEGRADED, "exit code 3, restarted 4 times"),
        ({"Status": "paused"}, Health.SUSPENDED, "paused by hand"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, Health.DEGRADED, "its limit of 0.5 GB"),
        ({"Status": "exited", "ExitCode": 137}, Health.DEGRADED, "killed by signal 9"),
        ({"Status": "exited", "ExitCode": 0}, Health.DEGRADED, "ended with exit code 0"),
        ({"Status": "dead", "ExitCode": 1}, Health.DEGRADED, "exit code 1"),
        ({"Status": "removing"}, Health.UNKNOWN, "removing"),
    ],
)
def test_every_state_is_a_health(fields: dict[str, Any], health: Health, words: str) -> None:
    """A state that nobody knows is Unknown; what is not well says why."""
    found, reason = health_of(state(**fields), ["last words"])
    assert found is health
    assert words in reason
    assert ("last words" in reason) == (fields["Status"] in ("exited", "dead", "restarting"))


cores = st.integers(1, 64_000).map(lambda n: n / 1000)
names = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), max_size=20)


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Deployments with settings of every kind."""
    secrets = draw(st.dictionaries(names, texts.map(lambda text: seal(KEY, text)), max_size=2))
    plain = draw(st.dictionaries(names, texts, max_size=3))
    block = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "restart": st.sampled_from(["no", "always", "unless-stopped", "on-failure", "on-failure:3"]),
                "readOnly": st.booleans(),
                "gpus": st.sampled_from(["all", "1", "2"]),
                "openFiles": st.integers(64, 10_000),
                "logMaxMb": st.integers(0, 100).map(float),
                "logFiles": st.integers(1, 9),
                "tlsCertFile": st.just("/etc/tls/cert.pem"),
                "volumes": st.just(
                    [{"source": "/data", "path": "/b"}, {"source": "name", "path": "/a", "readOnly": False}]
                ),
            },
        )
    )
    if "tlsCertFile" in block:
        block["tlsKeyFile"] = "/etc/tls/key.pem"
    settings = Settings(
        port=draw(st.none() | st.integers(1, 65535)),
        host=draw(st.sampled_from([None, "0.0.0.0", "127.0.0.1"])),
        cpu_cores=draw(st.none() | cores),
        memory_gb=draw(st.none() | cores),
        replicas=draw(st.integers(1, 9)),
        max_concurrent_requests=draw(st.integers(1, 9)),
        scoring_timeout_ms=draw(st.integers(1, 10**6)),
        max_request_wait_time=draw(st.none() | st.integers(1, 10**6)),
        max_body_mb=draw(st.none() | st.integers(1, 1000).map(float)),
        drain_seconds=float(draw(st.integers(0, 600))),
        cors_origins=tuple(draw(st.lists(st.sampled_from(["https://a", "https://b", "*"]), unique=True))),
        environment_variables={**plain, **secrets},
        block=block,
    )
    return Deployment(
        "s", Target("t", "local"), (), EntryScript("s.py", "", "0" * 40), Environment(), auth=Auth(), settings=settings
    )


def reveal(secret: Secret | SecretRef) -> str:
    """Only what is at hand is ever asked for."""
    assert isinstance(secret, Secret)
    return secret.reveal()


IMAGE_ENV = ["PATH=/bin", "LANG=C.UTF-8"]


def reported(deployment: Deployment) -> tuple[Spec, dict[str, Any]]:
    """What is wanted, and what inspecting the container gives that was made from it."""
    spec = spec_of(deployment, "reconciler/m:1")
    labels = labels_of("t", {}, spec)
    config = configuration(spec, "s", "a" * 64, deployment.settings.port or 4242, labels, reveal, "t.s.keys")
    host = config.pop("HostConfig")
    return spec, {"Config": {**config, "Env": [*config["Env"], *IMAGE_ENV]}, "HostConfig": host}


def read(report: Mapping[str, Any], made_from: Spec) -> Spec:
    """The normal form of a report."""
    return read_back(report, to_json(made_from), IMAGE_ENV, lambda text: seal(KEY, text))


@given(deployments())
def test_what_is_sent_reads_as_it_was_meant(deployment: Deployment) -> None:
    """Units, orders, defaults and the engine's own spellings are no differences; secrets stay fingerprints."""
    spec, report = reported(deployment)
    found = read(report, spec)
    assert canonical(found) == canonical(spec)
    assert canonical(read(report, found)) == canonical(found)


def respelled(report: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """What an engine may come to say of the same container: other orders, its defaults or nothing in place of them."""
    config, host = dict(report["Config"]), dict(report["HostConfig"])
    config["Env"] = random.sample(config["Env"], len(config["Env"]))
    config |= {"Hostname": "3f9c2a81", "Tty": False, "WorkingDir": "/app", "User": "65532", "Entrypoint": ["run"]}
    config["Labels"] = {**config["Labels"], "org.opencontainers.image.source": "x"}
    host["Mounts"] = random.sample(host["Mounts"], len(host["Mounts"]))
    host |= {"CpuShares": 0, "Runtime": "runc", "Privileged": False, "OomKillDisable": None, "ShmSize": 67108864}
    for name in ("Ulimits", "DeviceRequests", "Tmpfs"):
        host.setdefault(name, random.choice([None, []]))
    host.setdefault("ReadonlyRootfs", False)
    if host["RestartPolicy"]["Name"] == "no":
        host["RestartPolicy"] = random.choice([{"Name": "", "MaximumRetryCount": 0}, {"Name": "no"}, None])
    for bindings in host["PortBindings"].values():
        if bindings[0]["HostIp"] == "0.0.0.0":
            bindings[0]["HostIp"] = random.choice(["", "0.0.0.0"])
    return {"Config": config, "HostConfig": host, "State": {"Status": "running"}, "Created": "2026-01-01T00:00:00Z"}


@given(deployments(), st.randoms(use_true_random=False))
def test_however_the_engine_spells_it_nothing_drifts(deployment: Deployment, random: Random) -> None:
    """Server defaults, units and orders are no drift and no change, with a record and without."""
    spec, report = reported(deployment)
    left, now = read(report, spec), read(respelled(report, random), spec)
    for sent, answered in ((spec, left), (None, None)):
        compared = three_way("container", spec, now, sent, answered)
        assert (compared.drift, compared.changes) == ((), ())


@given(deployments())
def test_however_git_spells_it_nothing_changes(deployment: Deployment) -> None:
    """The order of variables and origins, and whole numbers with a point, make no other container."""
    settings = deployment.settings
    other = replace(
        settings,
        cpu_cores=settings.cpu_cores and float(settings.cpu_cores),
        memory_gb=settings.memory_gb and float(settings.memory_gb),
        cors_origins=settings.cors_origins[::-1],
        environment_variables=dict(reversed(settings.environment_variables.items())),
        block=dict(reversed(settings.block.items())),
    )
    assert digest(spec_of(replace(deployment, settings=other), "i")) == digest(spec_of(deployment, "i"))


@given(deployments())
def test_no_secret_stands_in_a_label(deployment: Deployment) -> None:
    """Labels are for everybody who may list containers."""
    texts = [value.text for value in deployment.settings.environment_variables.values() if isinstance(value, Secret)]
    said = str(labels_of("t", {}, spec_of(deployment, "i")))
    plain = replace(deployment, settings=replace(deployment.settings, environment_variables={}))
    anyway = str(labels_of("t", {}, spec_of(plain, "i")))
    assert not [text for text in texts if len(text) > 6 and text in said and text not in anyway]
