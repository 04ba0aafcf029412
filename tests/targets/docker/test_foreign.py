"""Containers that somebody else made, as they read: settings, secrets, and what no manifest can say."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.secrets import Secret, seal
from reconciler.core.suspects import may_be_secret
from reconciler.targets.local.docker.config import Machine
from reconciler.targets.local.docker.foreign import foreign_spec, unsaid_of
from reconciler.targets.local.docker.look import Container

IMAGE = {
    "Config": {
        "Cmd": ["serve"],
        "Entrypoint": ["python"],
        "Env": ["PATH=/bin"],
        "User": "",
        "Labels": {"of": "the image"},
    }
}


def container(host: dict[str, Any] | None = None, **config: Any) -> Container:
    """What inspecting a container gives that was made with the docker command and few options."""
    return Container(
        {
            "Id": "c" * 64,
            "Name": "/theirs",
            "State": {"Status": "running"},
            "Mounts": config.pop("Mounts", []),
            "Config": {
                "Image": "their/model:1",
                "Env": ["PATH=/bin"],
                "Cmd": ["serve"],
                "Entrypoint": ["python"],
                "Hostname": "c" * 12,
                **config,
            },
            "HostConfig": {
                "NetworkMode": "default",
                "PortBindings": {"5001/tcp": [{"HostIp": "", "HostPort": "8080"}]},
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
                "LogConfig": {"Type": "json-file", "Config": {}},
                "IpcMode": "private",
                "CgroupnsMode": "host",
                "ShmSize": 67108864,
                "Runtime": "runc",
                "MaskedPaths": ["/proc/kcore"],
                **(host or {}),
            },
            "NetworkSettings": {"Networks": {"bridge": {"Aliases": None, "IPAMConfig": None}}},
        }
    )


def spec(host: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """Its normal form."""
    found = container(host, **config)
    return dict(foreign_spec(found, ["PATH=/bin"], lambda text: seal(b"key", text), Machine(8, 16_000_000_000)))


def test_a_plain_container_says_all_there_is() -> None:
    """Address, image and limits read as a service's would, and nothing is left unsaid."""
    read = spec({"Memory": 536_870_912, "MemorySwap": 1_073_741_824, "NanoCpus": 1_500_000_000})
    assert (read["image"], read["host"], read["port"]) == ("their/model:1", "0.0.0.0", 8080)
    assert read["limits"] == {"memoryGb": 0.536870912, "cpuCores": 1.5}
    assert (read["restart"], read["readOnly"], read["log"]) == ("no", False, {"maxMb": 0, "files": 1})
    assert read["networks"] == ["bridge"]
    assert list(unsaid_of(container({"Memory": 5, "MemorySwap": 10}), IMAGE)) == []


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ({"PortBindings": {"5001/tcp": [{"HostIp": "", "HostPort": ""}]}}, None),
        ({"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}}, 0),
        ({"PortBindings": {}}, 0),
    ],
)
def test_a_port_that_was_not_chosen_is_free_and_another_one_is_none(host: dict[str, Any], port: int | None) -> None:
    """Published at any port is a free port; not published where services answer is port 0, which no manifest has."""
    assert spec(host)["port"] == port


def test_variables_of_the_container_and_not_of_its_image() -> None:
    """What may be a secret is sealed, so that it is in no text."""
    read = spec(Env=["PATH=/bin", "LEVEL=info", "DB_PASSWORD=hunter2", "OMP_NUM_THREADS=4"])
    variables = read["environmentVariables"]
    assert {name: value for name, value in variables.items() if isinstance(value, str)} == {
        "LEVEL": "info",
        "OMP_NUM_THREADS": "4",
    }
    assert variables["DB_PASSWORD"] == seal(b"key", "hunter2")
    assert isinstance(variables["DB_PASSWORD"], Secret)
    assert "hunter2" not in repr(read)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASS", "x1", True),
        ("GH", "ghp_abcdefghijklmnop", True),
        ("CERT", "-----BEGIN CERTIFICATE-----", True),
        ("SESSION", "9f86d081884c7d659a2feaa0c55ad015", True),
        ("URL", "postgres://me:word@host/db", True),
        ("AUTH_HEADER", "Basic Zm9v", True),
        ("LEVEL", "info", False),
        ("DATA", "/var/lib/models/version-1234567", False),
        ("AUTH_ENABLED", "true", False),
        ("TOKEN_COUNT", "5", False),
        ("GREETING", "a long text with 1 number in it", False),
    ],
)
def test_what_may_be_a_secret_counts_as_one(name: str, value: str, secret: bool) -> None:
    """By its name, a known form, or as a long mixed word; what is none for certain stays readable."""
    assert may_be_secret(name, value) is secret


@pytest.mark.parametrize(
    ("host", "config", "said"),
    [
        ({"Privileged": True}, {}, "HostConfig.Privileged: true"),
        ({"CapAdd": ["NET_ADMIN"]}, {}, 'HostConfig.CapAdd: ["NET_ADMIN"]'),
        ({"PortBindings": {"80/tcp": [{"HostPort": "81"}]}}, {}, "port 80/tcp at 0.0.0.0:81"),
        ({"LogConfig": {"Type": "journald"}}, {}, "HostConfig.LogConfig.Type: journald"),
        ({"Ulimits": [{"Name": "core", "Soft": 1, "Hard": 2}]}, {}, "HostConfig.Ulimits"),
        ({"SomethingNew": {"A": 1}}, {}, 'HostConfig.SomethingNew: {"A": 1}'),
        ({}, {"Cmd": ["serve", "--password", "hunter2"]}, "Config.Cmd: not that of the image"),
        ({}, {"User": "me"}, "Config.User: me"),
        ({}, {"Labels": {"team": "hunter2", "of": "the image"}}, "Config.Labels: team"),
        (
            {},
            {"Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "model"}},
            "service model of Docker Compose project shop",
        ),
        ({}, {"Mounts": [{"Type": "volume", "Name": "f" * 64, "Destination": "/data"}]}, "an unnamed volume at /data"),
    ],
)
def test_nothing_is_dropped_in_silence(host: dict[str, Any], config: dict[str, Any], said: str) -> None:
    """Whatever the engine reports beyond a service's settings is listed, also what nobody here knows yet."""
    told = [each.what for each in unsaid_of(container(host, **config), IMAGE)]
    assert any(said in each for each in told), told
    assert "hunter2" not in repr(told)


def test_volumes_read_alike_however_they_were_asked_for() -> None:
    """Folders and named volumes, as the engine resolved them."""
    mounts = [
        {"Type": "bind", "Source": "/srv/data", "Destination": "/data", "RW": False},
        {"Type": "volume", "Name": "cache", "Source": "/var/lib/docker/…", "Destination": "/cache", "RW": True},
    ]
    assert spec(Mounts=mounts)["volumes"] == [
        {"source": "cache", "path": "/cache", "readOnly": False},
        {"source": "/srv/data", "path": "/data", "readOnly": True},
    ]
