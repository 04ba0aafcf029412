"""References to values: versions, digests, layers, and what stays the same object."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from reconciler.core.deployment import Deployment
from reconciler.core.policy import FieldPolicy
from reconciler.core.secrets import SecretRef
from reconciler.manifests import DocumentCache, Resolution, load, resolve
from reconciler.manifests.models import Registered
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEADER = "apiVersion: reconciler/v1\n"
MODEL = HEADER + "kind: Model\nmetadata: {name: ridge}\n"
OTHER_BYTES = "sha256:" + hashlib.sha256(b"other").hexdigest()
SAME_BYTES = "sha256:" + hashlib.sha256(b"bytes").hexdigest()


def resolved(files: dict[str, str | bytes], registered: Registered | None = None) -> Resolution:
    """The resolution of the good repo with some files replaced."""
    tree = MemoryTree({**GOOD, **files})
    return resolve(load(tree), tree, registered or {})


def deployed(files: dict[str, str | bytes], registered: Registered | None = None) -> Deployment:
    """The only deployment of a repo without problems."""
    found = resolved(files, registered)
    assert found.problems == ()
    (deployment,) = found.deployments
    return deployment


def service(spec: str) -> dict[str, str | bytes]:
    """The service of the good repo with more in its spec, in flow style."""
    text = (
        HEADER + f"kind: Service\nmetadata: {{name: diabetes}}\nspec: {{models: [ridge], inference: sklearn, {spec}}}\n"
    )
    return {"services/diabetes.yaml": text}


@pytest.mark.parametrize(
    ("registered", "version"),
    [
        ({}, "1"),
        ({"1": SAME_BYTES}, "1"),
        ({"1": OTHER_BYTES}, "2"),
        ({"1": SAME_BYTES, "2": OTHER_BYTES}, "1"),
        ({"9": OTHER_BYTES, "10": OTHER_BYTES}, "11"),
        ({"3": SAME_BYTES, "4": SAME_BYTES}, "4"),
    ],
)
def test_a_model_without_version_has_that_of_its_bytes_or_the_next(registered: dict[str, str], version: str) -> None:
    """Equal bytes keep their number, so that a reverted commit takes the service back; other bytes get the next."""
    (model,) = deployed({}, {"ridge": registered}).models
    assert (model.version, model.digest, model.size, model.path) == (version, SAME_BYTES, 5, "models/ridge.pkl")


def test_an_empty_version_is_one_that_was_left_out() -> None:
    """`version:` with nothing behind it."""
    manifest = HEADER + "kind: Model\nmetadata: {name: ridge}\nspec:\n  path: models/ridge.pkl\n  version:\n"
    (model,) = deployed({"models/ridge.yaml": manifest}, {"ridge": {"1": OTHER_BYTES}}).models
    assert model.version == "2"


@pytest.mark.parametrize(
    ("earlier", "own", "version"),
    [
        ({}, {}, "1"),
        ({"7": SAME_BYTES}, {}, "7"),
        ({"7": OTHER_BYTES}, {}, "8"),
        ({"7": OTHER_BYTES}, {"8": SAME_BYTES}, "8"),
        ({"7": SAME_BYTES}, {"7": OTHER_BYTES}, "8"),
    ],
)
def test_the_numbers_of_a_model_go_on_under_its_new_name(
    earlier: dict[str, str], own: dict[str, str], version: str
) -> None:
    """The number its bytes had before, or the one after; what is registered under the new name by now comes first."""
    text = MODEL.replace("name: ridge", "name: ridge, movedFrom: former") + "spec: {path: models/ridge.pkl}\n"
    (model,) = deployed({"models/ridge.yaml": text}, {"former": earlier, "ridge": own}).models
    assert (model.version, model.digest) == (version, SAME_BYTES)


def test_latest_is_the_highest_declared_version() -> None:
    """`latest` does not depend on versions that only the registry remembers, if the repo declares any."""
    files: dict[str, str | bytes] = {
        "models/two.yaml": MODEL + "spec: {path: models/two.pkl, version: 2}\n",
        "models/ridge.yaml": MODEL + "spec: {path: models/ridge.pkl, version: 1}\n",
        "models/two.pkl": "two",
    }
    found = resolved(files, {"ridge": {"1": SAME_BYTES, "7": OTHER_BYTES}})
    assert [model.version for model in found.deployments[0].models] == ["2"]
    assert [model.id.name for model in found.models] == ["ridge:1", "ridge:2"]


def test_a_model_that_only_the_registry_knows_can_be_served() -> None:
    """A version that was registered before can be named, and stands among the models that are needed."""
    files: dict[str, str | bytes] = {
        "services/diabetes.yaml": GOOD["services/diabetes.yaml"].replace("ridge", "'lasso:3', ridge, gone")
    }
    found = resolved(files, {"lasso": {"3": OTHER_BYTES}, "gone": {"1": SAME_BYTES, "10": OTHER_BYTES}})
    (deployment,) = found.deployments
    assert [(m.name, m.version, m.digest) for m in deployment.models] == [
        ("lasso", "3", OTHER_BYTES),
        ("ridge", "1", SAME_BYTES),
        ("gone", "10", OTHER_BYTES),
    ]
    assert {model.id.name for model in found.models} == {"lasso:3", "ridge:1", "gone:10"}


def test_a_version_does_not_change_its_bytes() -> None:
    """Same name and version with other bytes than the registered ones is an error that says both digests."""
    files: dict[str, str | bytes] = {"models/ridge.yaml": MODEL + "spec: {path: models/ridge.pkl, version: 1}\n"}
    found = resolved(files, {"ridge": {"1": OTHER_BYTES}})
    (problem,) = found.problems
    assert problem.code == "model-version-taken"
    assert str(problem.position) == "models/ridge.yaml:4:41"
    assert SAME_BYTES in problem.message
    assert OTHER_BYTES in problem.message
    assert found.deployments == ()
    assert found.incomplete == {"diabetes": "Model/ridge cannot be used"}


def test_a_git_lfs_pointer_stands_for_the_bytes_it_names() -> None:
    """Digest and size are the pointer's, and the version says that the bytes are elsewhere."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 123456789\n"
    (model,) = deployed({"models/ridge.pkl": pointer}).models
    assert (model.digest, model.size, model.lfs) == ("sha256:" + "ab" * 32, 123456789, True)


def test_a_folder_is_a_model_by_the_paths_and_bytes_of_its_files() -> None:
    """Its digest changes with a byte or a name and with nothing else."""
    spec = {"models/ridge.yaml": MODEL + "spec: {path: models/net}\n"}
    one = deployed({**spec, "models/net/a": "1", "models/net/sub/b": "2"}).models[0]
    same = deployed({**spec, "models/net/sub/b": "2", "models/net/a": "1", "models/other": "3"}).models[0]
    renamed = deployed({**spec, "models/net/a": "1", "models/net/b": "2"}).models[0]
    assert (one.folder, one.size) == (True, 2)
    assert one.digest == same.digest
    assert one.digest != renamed.digest


@pytest.mark.parametrize(
    ("spec", "registered", "digest"),
    [
        ("version: 1, sha256: " + "ab" * 32, {}, "sha256:" + "ab" * 32),
        ("version: 1", {}, None),
        ("version: 1", {"1": SAME_BYTES}, SAME_BYTES),
    ],
)
def test_a_uri_has_the_digest_declared_or_registered(spec: str, registered: dict[str, str], digest: str | None) -> None:
    """Planning never fetches: what is not known stays unknown until it is registered."""
    text = MODEL + f"spec: {{uri: 'https://example.com/models/net.onnx?v=1', {spec}}}\n"
    (model,) = deployed({"models/ridge.yaml": text}, {"ridge": registered}).models
    assert (model.digest, model.file_name) == (digest, "net.onnx")


def test_layers_merge_from_defaults_over_target_to_service() -> None:
    """Later layers win key by key; in each the block of the type wins over the common settings beside it."""
    files: dict[str, str | bytes] = {
        "reconciler.yaml": HEADER
        + "kind: Defaults\nspec:\n  target: big\n  policy: {prune: false, drift: {default: report, heal: [/a]}}\n"
        "  deployment: {cpuCores: 1, memoryGb: 1, environmentVariables: {A: default, B: default, C: default}}\n",
        "targets/big.yaml": HEADER
        + "kind: Target\nmetadata: {name: big}\nspec:\n  type: aks\n  aks: {kubeContext: here}\n"
        "  policy: {protect: true}\n"
        "  deployment: {memoryGb: 2, aks: {memoryGb: 3, gpuCores: 1, autoscale: {maxReplicas: 4}},"
        " environmentVariables: {B: target, C: target}}\n",
        "inference/sklearn.yaml": GOOD["inference/sklearn.yaml"].replace(
            "spec: {", "spec: {environmentVariables: {A: script, D: script}, "
        ),
        **service(
            "policy: {drift: {ignore: [/b]}}, deployment: {environmentVariables: {C: {valueFrom: {file: /run/c}}},"
            " local: {port: 1}, aks: {autoscale: {minReplicas: 2}}}"
        ),
    }
    deployment = deployed(files)
    settings = deployment.settings
    assert deployment.target.name == "big"
    assert deployment.target.block["kubeContext"] == "here"
    assert (settings.cpu_cores, settings.memory_gb, settings.port, settings.max_request_wait_time) == (1, 3, None, 500)
    assert settings.environment_variables == {
        "A": "default",
        "B": "target",
        "C": SecretRef("file", "/run/c"),
        "D": "script",
    }
    assert settings.block["gpuCores"] == 1
    assert settings.block["autoscale"] == {
        "enabled": True,
        "minReplicas": 2,
        "maxReplicas": 4,
        "refreshSeconds": None,
        "targetUtilization": 70,
    }
    policy = deployment.policy
    assert (policy.prune, policy.protect, policy.drift) == (False, True, FieldPolicy.REPORT)
    assert [(rule.pattern, rule.policy) for rule in policy.rules] == [
        ("/a", FieldPolicy.HEAL),
        ("/b", FieldPolicy.IGNORE),
    ]
    assert deployment.auth.enabled


def test_drift_rules_are_in_the_order_in_which_they_win() -> None:
    """Services over targets over defaults; in each the narrower pattern, then the one that leaves more to others."""
    files: dict[str, str | bytes] = {
        "reconciler.yaml": HEADER + "kind: Defaults\nspec: {policy: {drift: {default: report, ignore: [/a/b/c]}}}\n",
        "targets/here.yaml": HEADER + "kind: Target\nmetadata: {name: here}\nspec:\n  type: local\n"
        "  policy: {drift: {ignore: [/a/b], heal: [/a]}}\n",
        **service("target: here, policy: {drift: {ignore: [/a/**, /x], heal: [/a/b, /x], createOnly: [/x]}}"),
    }
    policy = deployed(files).policy
    assert (policy.drift, policy.origin) == (FieldPolicy.REPORT, "defaults")
    assert [(rule.pattern, rule.policy.value, rule.origin) for rule in policy.rules] == [
        ("/a/b/c", "ignore", "defaults"),
        ("/a", "heal", "target here"),
        ("/a/b", "ignore", "target here"),
        ("/a/**", "ignore", "service"),
        ("/x", "heal", "service"),
        ("/x", "createOnly", "service"),
        ("/x", "ignore", "service"),
        ("/a/b", "heal", "service"),
    ]
    assert [str(rule.position) for rule in policy.rules[:2]] == ["reconciler.yaml:3:51", "targets/here.yaml:6:43"]


def test_every_common_setting_reaches_the_deployment() -> None:
    """Each setting of a manifest arrives under its name, in its unit."""
    written = (
        "port: 8890, host: 0.0.0.0, cpuCores: 0.5, memoryGb: 1.5, replicas: 2, maxConcurrentRequests: 3,"
        " scoringTimeoutMs: 4, maxRequestWaitTime: 5, maxBodyMb: 6, readyTimeoutSeconds: 7, drainSeconds: 8,"
        " corsOrigins: ['*'], environmentVariables: {A: b}, local: {engine: process, openFiles: 100}"
    )
    settings = deployed(service(f"deployment: {{{written}}}")).settings
    assert settings.block == {
        "engine": "process",
        "openFiles": 100,
        "tlsCertFile": None,
        "tlsKeyFile": None,
        "logMaxMb": 10.0,
        "logFiles": 5,
        "restart": None,
        "readOnly": True,
        "gpus": None,
        "networks": None,
        "volumes": None,
    }
    assert (
        settings.port,
        settings.host,
        settings.cpu_cores,
        settings.memory_gb,
        settings.replicas,
        settings.max_concurrent_requests,
        settings.scoring_timeout_ms,
        settings.max_request_wait_time,
        settings.max_body_mb,
        settings.ready_timeout_seconds,
        settings.drain_seconds,
        settings.cors_origins,
        settings.environment_variables,
    ) == (8890, "0.0.0.0", 0.5, 1.5, 2, 3, 4, 5, 6.0, 7.0, 8.0, ("*",), {"A": "b"})


def test_keys_and_tests_reach_the_deployment() -> None:
    """Secrets stay references; a test without a name gets one by its place."""
    deployment = deployed(
        service(
            "auth: {enabled: true, primaryKey: {valueFrom: {env: KEY}}},"
            " tests: [{request: {data: [1]}, expect: {shape: [1]}}, {name: raw, body: x, contentType: text/plain}]"
        )
    )
    assert (deployment.auth.enabled, deployment.auth.primary, deployment.auth.secondary) == (
        True,
        SecretRef("env", "KEY"),
        SecretRef("generated", "diabetes/secondary"),
    )
    assert [(test.name, test.request, test.body, test.expect) for test in deployment.tests] == [
        ("test-1", {"data": [1]}, None, {"shape": [1]}),
        ("raw", None, "x", {}),
    ]


def test_what_an_image_needs_reaches_the_deployment() -> None:
    """All of Azure ML's InferenceConfig arrives, the files with their bytes."""
    text = GOOD["inference/sklearn.yaml"].replace(
        "spec: {",
        "spec: {runtime: python-slim, baseImage: x/y:1, enableGpu: true, cudaVersion: '10.0', image: z,"
        " baseImageRegistry: {address: x, username: me, password: {valueFrom: {env: P}}},"
        " extraDockerfileSteps: steps, ",
    )
    deployment = deployed({"inference/sklearn.yaml": text, "inference/sklearn/steps": "RUN true\n"})
    image, registry = deployment.image, deployment.image.registry
    assert registry is not None
    assert (registry.address, registry.username, registry.password) == ("x", "me", SecretRef("env", "P"))
    assert image.extra_steps is not None
    assert (image.base_image, image.enable_gpu, image.cuda_version, image.image) == ("x/y:1", True, "10.0", "z")
    assert image.extra_steps.data == b"RUN true\n"
    environment = deployment.environment
    assert environment.conda_file is not None
    assert (environment.runtime, environment.conda_file.path) == ("python-slim", "inference/sklearn/env.yml")


def test_a_script_without_a_source_directory_is_shipped_alone() -> None:
    """Its identity is that of its own bytes; with a directory, that of the directory."""
    alone = (
        HEADER + "kind: InferenceConfig\nmetadata: {name: sklearn}\nspec: {entryScript: inference/sklearn/score.py}\n"
    )
    tree = MemoryTree(GOOD)
    one, whole = deployed({"inference/sklearn.yaml": alone}).entry, deployed({}).entry
    assert (one.path, one.directory, one.single_file) == ("score.py", "inference/sklearn", True)
    assert one.object_id == tree.object_id("inference/sklearn/score.py")
    assert (whole.path, whole.directory, whole.single_file) == ("score.py", "inference/sklearn", False)
    assert whole.object_id == tree.object_id("inference/sklearn")


SOUND = "def init(): pass\ndef run(d): return d\n"


@pytest.mark.parametrize(
    ("script", "codes", "raw"),
    [
        (SOUND, [], False),
        ("from mine import init, run\n", [], False),
        ("from mine import *\n", [], False),
        ("import x\ninit = x.a\nrun: object = x.b\n", [], False),
        (
            "try:\n    from a import init\nexcept ImportError:\n    def init(): pass\nasync def run(d): pass\n",
            [],
            False,
        ),
        ("import other as driver_module\ndef init(): pass\n", [], False),
        ("def __getattr__(n): return print\n", [], False),
        ("class A:\n    def init(self): pass\ndef run(d): pass\n", ["script-contract"], False),
        ("", ["script-contract"], False),
        ("def run(:\n", ["script-syntax"], False),
        ("def init(): pass\0\n", ["script-syntax"], False),
        ("(" * 5000, ["script-syntax"], False),
        ("x = '\\d'\n" + SOUND, [], False),
        ("from azureml.contrib.services.aml_request import rawhttp\n" + SOUND, [], True),
        ("import azureml.contrib.services.aml_response\n" + SOUND, [], True),
        ("from azureml_inference_server_http.api.aml_request import AMLRequest\n" + SOUND, [], True),
        ("from azureml.contrib import services\n" + SOUND, [], True),
        ("import azureml.core\n" + SOUND, [], False),
    ],
)
def test_an_entry_script_is_read_but_never_run(script: str, codes: list[str], raw: bool) -> None:
    """Syntax, `init` and `run`, and the wish for raw requests are seen in the syntax tree."""
    found = resolved({"inference/sklearn/score.py": "import os; os._exit(9)\n" * (not codes) + script})
    assert [problem.code for problem in found.problems] == codes
    assert [d.environment.raw_requests for d in found.deployments] == [raw] * (not codes)


def test_newer_syntax_is_only_a_warning_where_a_newer_python_will_run_it() -> None:
    """What the checking Python cannot parse may be right for the environment's."""
    found = resolved(
        {
            "inference/sklearn/score.py": "def run(:\n",
            "inference/sklearn/env.yml": "dependencies:\n  - python=3.99\n",
        }
    )
    assert [(problem.code, problem.severity) for problem in found.problems] == [("script-syntax", "warning")]
    assert found.complete
    assert len(found.deployments) == 1


def test_a_conda_file_is_part_of_the_environments_identity_a_script_is_not() -> None:
    """The environment is known by its inputs alone."""
    base = deployed({}).environment.identity
    assert deployed({"inference/sklearn/score.py": SOUND}).environment.identity == base
    assert deployed({"inference/sklearn/env.yml": "name: y\n"}).environment.identity != base


def repo_of_two() -> MemoryTree:
    """Two services that share nothing but the target."""
    return MemoryTree(
        {
            **GOOD,
            "models/lasso.yaml": MODEL.replace("ridge", "lasso") + "spec: {path: models/lasso.pkl}\n",
            "models/lasso.pkl": "lasso",
            "services/other.yaml": HEADER
            + "kind: Service\nmetadata: {name: other}\nspec: {models: [lasso], inference: sklearn}\n",
        }
    )


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, {"diabetes", "other"}),
        ({"notes.txt": "x"}, {"diabetes", "other"}),
        ({"models/lasso.pkl": "new"}, {"diabetes"}),
        ({"services/diabetes.yaml": GOOD["services/diabetes.yaml"].replace("8890", "8891")}, {"other"}),
        ({"inference/sklearn/env.yml": "name: z\n"}, set[str]()),
        ({"inference/sklearn/extra.py": "x = 1\n"}, set[str]()),
        ({"reconciler.yaml": HEADER + "kind: Defaults\nspec: {policy: {prune: false}}\n"}, set[str]()),
        ({"services/diabetes.yaml": None}, {"other"}),
    ],
)
def test_a_deployment_whose_inputs_did_not_change_is_the_same_object(change: dict[str, Any], kept: set[str]) -> None:
    """Identity tells those who come after what they need not look at again."""
    tree = repo_of_two()
    repo = load(tree)
    first = resolve(repo, tree, {})
    later = tree.changed(change)
    second = resolve(load(later, previous=repo), later, {}, first)
    before = {deployment.service: deployment for deployment in first.deployments}
    assert {d.service for d in second.deployments if before.get(d.service) is d} == kept


def test_a_resolution_with_memory_equals_one_without() -> None:
    """Step by step through changes, mistakes and repairs, remembering gives what starting anew gives."""
    steps: list[dict[str, str | bytes | None]] = [
        {"models/lasso.pkl": "new"},
        {"models/lasso.yaml": None},
        {"models/lasso.yaml": MODEL.replace("ridge", "lasso") + "spec: {path: models/lasso.pkl, version: 4}\n"},
        {"inference/sklearn/score.py": "def run(:\n"},
        {"inference/sklearn/score.py": SOUND},
        {"services/other.yaml": GOOD["services/diabetes.yaml"].replace("diabetes", "other")},
        {"services/other.yaml": "x: [\n"},
        {"services/other.yaml": None},
    ]
    tree, cache = repo_of_two(), DocumentCache()
    repo, found = None, None
    registered: list[Registered] = [{}, {"lasso": {"2": OTHER_BYTES}}]
    for number, step in enumerate([{}, *steps]):
        tree = tree.changed(step, sha=f"{number:040}")
        catalogue = registered[number % 2]
        repo = load(tree, cache, repo)
        found = resolve(repo, tree, catalogue, found, cache)
        fresh = resolve(load(tree), tree, catalogue)
        assert found == fresh


def test_the_built_in_target_is_there_without_a_document() -> None:
    """A repo without targets works, and a document of that name takes its place."""
    assert [(t.name, t.type, t.block["engine"]) for t in resolved({}).targets] == [("local", "local", "process")]
    own = HEADER + "kind: Target\nmetadata: {name: local}\nspec: {type: local, local: {engine: docker}}\n"
    assert deployed({"targets/local.yaml": own}).target.block["engine"] == "docker"


def test_a_broken_target_takes_its_services_out_and_no_others() -> None:
    """A service on a target whose document has errors is incomplete, not moved to the built-in one."""
    found = resolved(
        {
            "targets/t.yaml": HEADER + "kind: Target\nmetadata: {name: t}\nspec: {type: locl}\n",
            "services/on-t.yaml": HEADER
            + "kind: Service\nmetadata: {name: on-t}\nspec: {target: t, inference: sklearn}\n",
        }
    )
    assert [problem.code for problem in found.problems] == ["unknown-value"]
    assert found.incomplete == {"on-t": "Target/t cannot be used"}
    assert [d.service for d in found.deployments] == ["diabetes"]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: reconciler/v1\nkind: Defaults\nspec: {targe: x}\n",
        "apiVersion: reconciler/v1\nkind: Defaults\nspec: {target: [\n",
        "kind: Defaults\n",
        "- x\n",
    ],
)
def test_without_the_defaults_that_the_repo_has_no_service_is_known(text: str) -> None:
    """Defaults that cannot be read leave every service alone: with the program's it would be another one."""
    tree = MemoryTree({**GOOD, "reconciler.yaml": text})
    found = resolve(load(tree), tree, {})
    assert (found.deployments, dict(found.incomplete)) == ((), {"diabetes": "the Defaults cannot be used"})
