"""Rendering: pure, in normal form, honest about what the process engine does not do."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.deployment import (
    Auth,
    Deployment,
    EntryScript,
    Environment,
    ImageInputs,
    ModelVersion,
    Registry,
    Settings,
    Target,
)
from reconciler.core.problems import Position, Severity
from reconciler.core.resources import Desired
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.three_way import three_way
from reconciler.core.values import Unknown, digest, from_json, to_json
from reconciler.targets.local.process.render import ProcessRenderer, version_of
from reconciler.targets.local.process.staging import processors

MODEL = ModelVersion("ridge", "2", "sha256:" + "0" * 64)


def deployment(**changes):
    """A plain deployment with some fields set."""
    plain = Deployment(
        "diabetes", Target("laptop", "local"), (MODEL,), EntryScript("score.py", "src", "a" * 40), Environment()
    )
    return dataclasses.replace(plain, **changes)


def render(of: Deployment) -> Desired:
    """The one resource of a deployment."""
    (desired,) = ProcessRenderer(of.target.name).render(of)
    return desired


def test_normal_form():
    """Everything that makes a version is in the spec; what is not set is not there."""
    assert to_json(render(deployment()).spec) == {
        "models": [{"name": "ridge", "version": "2", "digest": "sha256:" + "0" * 64}],
        "environment": {"name": Environment().id.name, "identity": Environment().identity},
        "entry": {"script": "score.py", "source": "a" * 40},
        "host": "127.0.0.1",
        "port": None,
        "workers": 1,
        "limits": {},
        "scoring": {"timeoutMs": 60000, "maxConcurrentRequests": 1},
        "readyTimeoutSeconds": 300.0,
        "drainSeconds": 30.0,
        "corsOrigins": [],
        "auth": {"enabled": False},
        "environmentVariables": {},
    }


def test_it_depends_on_models_and_environment():
    """Both are made first."""
    desired = render(deployment())
    assert desired.depends_on == (MODEL.id, Environment().id)
    assert str(desired.id) == "laptop/process/diabetes"


def test_digest_of_a_model_that_is_not_registered_yet_is_unknown():
    """It is filled in from the registry's outputs."""
    model = dataclasses.replace(MODEL, digest=None, uri="https://x/y.pkl")
    desired = render(deployment(models=(model,)))
    assert desired.spec["models"][0]["digest"] == Unknown(str(MODEL.id), "/digest")


def test_keys_stay_references():
    """Where a key comes from is not the driver's to know."""
    keys = {"primary": SecretRef("env", "KEY"), "secondary": SecretRef("generated", "diabetes/secondary")}
    spec = render(deployment(auth=Auth(enabled=True, **keys))).spec
    assert spec["auth"] == {"enabled": True, "keys": keys}


def test_what_is_not_used_is_warned_about():
    """Settings of images give a warning each, at the place where they stand."""
    image = ImageInputs(base_image="b", registry=Registry("r"), enable_gpu=True, cuda_version="11")
    environment = Environment(position=Position("inference/x.yaml", 3, 1))
    settings = Settings(cpu_cores=0.1, max_request_wait_time=500)
    made = render(deployment(image=image, environment=environment, settings=settings))
    warnings = made.warnings
    assert made.spec["scoring"]["maxWaitMs"] == 500
    texts = [str(warning) for warning in warnings]
    assert len(texts) == 5
    assert all(warning.severity is Severity.WARNING for warning in warnings)
    for name in ("baseImage ", "baseImageRegistry ", "enableGpu ", "cudaVersion "):
        assert sum(name in text for text in texts) == 1
    assert "inference/x.yaml:3:1" in texts[0]
    assert "cpuCores 0.1: the process engine holds a process to whole cores, here 1" in texts[-1]


def test_tests_are_no_part_of_the_version():
    """Changing a smoke test changes nothing at the target."""
    from reconciler.core.smoke import SmokeTest

    plain, tested = render(deployment()), render(deployment(tests=(SmokeTest("t"),)))
    assert plain.spec_digest == tested.spec_digest
    assert tested.tests


@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_are_no_part_of_the_version(first, second):
    """Whatever the keys, the version is the same; with auth off it is another."""
    versions = {
        version_of(render(deployment(auth=Auth(enabled=True, primary=Secret(key), secondary=Secret(key)))).spec)
        for key in (first, second)
    }
    assert len(versions) == 1
    assert version_of(render(deployment()).spec) not in versions


SETTINGS = st.builds(
    Settings,
    port=st.none() | st.integers(0, 65535),
    cpu_cores=st.none() | st.floats(0.1, 64),
    memory_gb=st.none() | st.floats(0.1, 64),
    replicas=st.integers(1, 16),
    max_body_mb=st.none() | st.floats(0.1, 100),
    ready_timeout_seconds=st.floats(1, 1000),
    cors_origins=st.lists(st.text()).map(tuple),
    environment_variables=st.dictionaries(st.text(), st.text() | st.builds(Secret, st.text())),
)


@given(SETTINGS)
def test_spec_survives_storing(settings):
    """A spec written to the state file and read back is the same spec with the same digest."""
    spec = render(deployment(settings=settings)).spec
    stored = from_json(json.loads(json.dumps(to_json(spec))))
    assert digest(stored) == digest(spec)
    assert version_of(stored) == version_of(spec)


def respelled(value, random):
    """The same JSON as another program would write it: keys in another order, whole numbers with a point or without."""
    if isinstance(value, dict):
        return {key: respelled(value[key], random) for key in random.sample([*value], len(value))}
    if isinstance(value, list):
        return [respelled(item, random) for item in value]
    if isinstance(value, float) and value.is_integer():
        return random.choice([value, int(value)])
    if isinstance(value, int) and not isinstance(value, bool):
        return random.choice([value, float(value)])
    return value


@given(SETTINGS, st.randoms(use_true_random=False))
def test_however_the_state_file_spells_it_nothing_drifts(settings, random):
    """Orders and spellings of numbers are no drift, no change and no other version, with a record and without."""
    spec = render(deployment(settings=settings)).spec
    now = from_json(respelled(json.loads(json.dumps(to_json(spec))), random))
    for recorded in (spec, None):
        compared = three_way("process", spec, now, recorded, recorded)
        assert (compared.drift, compared.changes) == ((), ())
    assert version_of(now) == version_of(spec)


@given(SETTINGS)
def test_however_git_spells_it_nothing_changes(settings):
    """The order of variables and origins makes no other version."""
    other = dataclasses.replace(
        settings,
        cors_origins=settings.cors_origins[::-1],
        environment_variables=dict(reversed(settings.environment_variables.items())),
    )
    assert digest(render(deployment(settings=other)).spec) == digest(render(deployment(settings=settings)).spec)


@pytest.mark.parametrize("cores", [0.1, 1, 1.5, 64])
def test_processors_are_whole_and_spread_by_name(cores):
    """The same service is held to the same processors, at least one, and to none if it may use all."""
    chosen = processors(cores, "diabetes")
    assert chosen == processors(cores, "diabetes")
    assert chosen is None or 1 <= len(chosen) <= cores + 1


def test_no_limit_without_a_setting():
    """Nothing set, nothing held."""
    assert processors(None, "diabetes") is None
