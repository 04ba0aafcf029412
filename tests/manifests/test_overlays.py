"""Environments: what an overlay makes of documents, where each value then stands, and what is wrong with overlays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.deployment import Deployment
from reconciler.core.problems import Severity
from reconciler.manifests import DocumentCache, Resolution, load, resolve
from reconciler.manifests.overlays.environment import Environment, in_environment
from reconciler.manifests.overlays.origins import Origins
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEADER = "apiVersion: reconciler/v1\n"
SERVICES = {
    "services/diabetes.yaml": (
        HEADER + "kind: Service\n"
        "metadata: {name: diabetes, tags: {team: health, tier: gold}}\n"
        "spec:\n"
        "  models: [ridge:1]\n"
        "  inference: sklearn\n"
        "  deployment:\n"
        "    replicas: 1\n"
        "    environmentVariables: {LOG_LEVEL: info, USER: me}\n"
    ),
    "services/wine.yaml": (
        HEADER + "kind: Service\nmetadata: {name: wine, tags: {team: food}}\n"
        "spec: {models: [ridge], inference: sklearn, deployment: {replicas: 2}}\n"
    ),
    "targets/there.yaml": HEADER
    + "kind: Target\nmetadata: {name: there}\nspec: {type: local, local: {engine: auto}}\n",
}
REPO = {**GOOD, **SERVICES}


def overlay(*overrides: str, name: str = "production") -> dict[str, str]:
    """An overlay's file; each override is the text of one list item."""
    items = "".join(f"    - {override.strip()}\n" for override in overrides)
    text = f"{HEADER}kind: Overlay\nmetadata: {{name: {name}}}\nspec:\n  overrides:\n{items}"
    return {f"environments/{name}.yaml": text}


def seen(files: dict[str, str], environment: str = "production") -> tuple[Environment, Resolution]:
    """The documents and deployments of an environment."""
    tree = MemoryTree({**REPO, **files})
    found = in_environment(load(tree), environment)
    return found, resolve(found.repo, tree, {})


def deployments(files: dict[str, str], environment: str = "production") -> dict[str, Deployment]:
    """The deployments of a repo without problems."""
    _, found = seen(files, environment)
    assert found.problems == ()
    return {deployment.service: deployment for deployment in found.deployments}


def told(files: dict[str, str], environment: str = "production") -> list[str]:
    """Every problem, as people read it."""
    return [str(problem) for problem in seen(files, environment)[1].problems]


# What overlays do


def test_an_overlay_changes_what_it_names_and_nothing_else() -> None:
    """Mappings merge key by key, by name, by tags, or for all of a kind; later overrides win."""
    found = deployments(
        overlay(
            "{kind: Service, spec: {deployment: {replicas: 3, drainSeconds: 1.5}}}",
            "{kind: Service, tags: {team: health}, spec: {deployment: {replicas: 5}}}",
            "{kind: Service, name: wine, spec: {target: there}}",
        )
    )
    assert {n: (d.target.name, d.settings.replicas, d.settings.drain_seconds) for n, d in found.items()} == {
        "diabetes": ("local", 5, 1.5),
        "wine": ("there", 3, 1.5),
    }


def test_without_an_environment_the_documents_are_as_they_are() -> None:
    """An overlay that is not chosen changes nothing."""
    files = overlay("{kind: Service, spec: {deployment: {replicas: 9}}}")
    assert deployments(files, "") == deployments({}, "")


def test_variables_are_set_one_by_one_and_lists_as_a_whole() -> None:
    """A variable of the overlay joins those of the document; a list takes the place of the document's."""
    found = deployments(
        overlay(
            "{kind: Service, name: diabetes, spec: {deployment: {environmentVariables: "
            "{LOG_LEVEL: warning, TOKEN: {valueFrom: {env: T}}}, corsOrigins: ['https://a.example']}}}"
        )
    )
    settings = found["diabetes"].settings
    assert {name: str(value) for name, value in settings.environment_variables.items()}.keys() == {
        "LOG_LEVEL",
        "USER",
        "TOKEN",
    }
    assert settings.environment_variables["LOG_LEVEL"] == "warning"
    assert settings.cors_origins == ("https://a.example",)


def test_a_patch_speaks_of_the_normal_form() -> None:
    """`ridge:1` is a mapping to a patch, a variable one with its value; what it makes is checked like any document."""
    files = overlay(
        """kind: Service
      name: diabetes
      spec: {deployment: {replicas: 2}}
      patch:
        - {op: test, path: /spec/models/0, value: {name: ridge, version: 1}}
        - {op: test, path: /spec/deployment/replicas, value: 2}
        - {op: remove, path: /spec/deployment/environmentVariables/USER}
        - {op: replace, path: /spec/deployment/environmentVariables/LOG_LEVEL/value, value: debug}
        - {op: add, path: /spec/models/-, value: 'ridge:1'}
        - {op: copy, from: /spec/deployment/replicas, path: /spec/deployment/maxConcurrentRequests}"""
    )
    found = deployments(files)["diabetes"]
    assert dict(found.settings.environment_variables) == {"LOG_LEVEL": "debug"}
    assert [(m.name, m.version) for m in found.models] == [("ridge", "1")] * 2
    assert found.settings.max_concurrent_requests == 2


def test_layers_hold_for_what_overlays_make() -> None:
    """Defaults < target < service, each with its overrides: one of a service wins over one of the defaults."""
    found = deployments(
        {
            **overlay(
                "{kind: Defaults, spec: "
                "{target: there, deployment: {replicas: 7, drainSeconds: 7}, policy: {adopt: true}}}",
                "{kind: Target, name: there, spec: {deployment: {drainSeconds: 8}, policy: {prune: false}}}",
                "{kind: Service, name: wine, spec: {deployment: {drainSeconds: 9}, policy: {prune: true}}}",
            )
        }
    )
    wine, diabetes = found["wine"], found["diabetes"]
    assert (wine.target.name, wine.settings.replicas, wine.settings.drain_seconds) == ("there", 2, 9)
    assert (diabetes.settings.replicas, diabetes.settings.drain_seconds) == (1, 8)
    assert (wine.policy.prune, wine.policy.adopt, diabetes.policy.prune) == (True, True, False)


def test_what_nobody_wrote_can_be_changed_too() -> None:
    """The defaults of a repo without any, and the built-in target."""
    found = deployments(
        overlay(
            "{kind: Defaults, spec: {deployment: {replicas: 6}}}",
            "{kind: Target, name: local, spec: {deployment: {drainSeconds: 3}}}",
            "{kind: Service, name: wine, patch: [{op: remove, path: /spec/deployment}]}",
        )
    )
    assert (found["wine"].settings.replicas, found["wine"].settings.drain_seconds) == (6, 3)


def test_models_and_inference_configs_can_be_changed() -> None:
    """Another file of the model, another script."""
    files = {
        **overlay(
            "{kind: Model, name: ridge, spec: {path: models/other.pkl}}",
            "{kind: InferenceConfig, spec: {environmentVariables: {WHERE: there}}}",
        ),
        "models/other.pkl": "other bytes",
    }
    here, there = deployments(files, "")["wine"], deployments(files)["wine"]
    assert (here.models[0].path, there.models[0].path) == ("models/ridge.pkl", "models/other.pkl")
    assert there.settings.environment_variables["WHERE"] == "there"


# Where values stand


PLACES = overlay(
    """kind: Service
      name: diabetes
      spec: {deployment: {replicas: 4, drainSeconds: 1}}
      patch:
        - {op: replace, path: /spec/deployment/environmentVariables/LOG_LEVEL, value: debug}
        - {op: add, path: /spec/models/0, value: 'ridge:latest'}
        - {op: add, path: /spec/policy, value: {prune: false}}
        - {op: copy, from: /spec/deployment/replicas, path: /spec/deployment/maxConcurrentRequests}
        - {op: remove, path: /spec/deployment/drainSeconds}"""
)


@pytest.mark.parametrize(
    ("pointer", "file", "text"),
    [
        ("/spec/inference", "services/diabetes.yaml", "sklearn\n"),
        ("/metadata/name", "services/diabetes.yaml", "diabetes, tags"),
        ("/spec/deployment", "services/diabetes.yaml", "replicas: 1"),
        ("/spec/deployment/replicas", "environments/production.yaml", "4, drain"),
        ("/spec/deployment/environmentVariables/USER", "services/diabetes.yaml", "me}"),
        ("/spec/deployment/environmentVariables/LOG_LEVEL", "environments/production.yaml", "debug}"),
        ("/spec/deployment/environmentVariables/LOG_LEVEL/value", "environments/production.yaml", "debug}"),
        ("/spec/models", "services/diabetes.yaml", "[ridge:1]"),
        ("/spec/models/0/version", "environments/production.yaml", "'ridge:latest'"),
        ("/spec/models/1/version", "services/diabetes.yaml", "ridge:1]"),
        ("/spec/policy/prune", "environments/production.yaml", "false}"),
        ("/spec/deployment/maxConcurrentRequests", "environments/production.yaml", "/spec/deployment/replicas, path"),
        ("/spec/deployment/drainSeconds", "services/diabetes.yaml", "replicas: 1"),
    ],
)
def test_every_value_stands_in_the_file_that_set_it(pointer: str, file: str, text: str) -> None:
    """A place is in the document where nothing changed it, else in the overlay, at the very value."""
    found, _ = seen(PLACES)
    at = found.repo.services["diabetes"].at(pointer)
    lines = {**REPO, **PLACES}[at.file].splitlines(keepends=True)
    assert (at.file, lines[at.line - 1][at.column - 1 :][: len(text)]) == (file, text)


# What is wrong with overlays


@pytest.mark.parametrize(
    ("override", "report"),
    [
        (
            "{kind: Service, name: diabetis, spec: {target: there}}",
            "environments/production.yaml:6:29: error: there is no Service 'diabetis' [dangling-reference]\n"
            "    did you mean 'diabetes'?",
        ),
        (
            "{kind: Service, tags: {team: heath}, spec: {target: there}}",
            "environments/production.yaml:6:29: warning: no Service has this tag [unmatched-override]\n"
            "    the override changes nothing; correct its tags, or remove it",
        ),
        (
            "{kind: Service, name: wine, spec: {deployment: {replica: 2}}}",
            "environments/production.yaml:6:55: error: unknown key 'replica' [unknown-key]\n"
            "    did you mean 'replicas'?",
        ),
        (
            "{kind: Service, name: wine, spec: {target: hree}}",
            "environments/production.yaml:6:50: error: there is no Target 'hree' [dangling-reference]\n"
            "    did you mean 'there'?",
        ),
        (
            "{kind: Service, name: wine, spec: {models: [{version: 2}]}}",
            "environments/production.yaml:6:51: error: `name` is missing in `0` [missing-key]",
        ),
        (
            "{kind: Service, name: wine, spec: {deployment: {environmentVariables: {API_KEY: hunter2}}}}",
            "environments/production.yaml:6:78: error: this looks like a secret, which cannot stand in the repo itself"
            " [secret-literal]\n    write `NAME: {valueFrom: {env: NAME}}`; if it is no secret, `NAME: {value: …}`",
        ),
        (
            "{kind: Service, patch: "
            "[{op: add, path: /spec/deployment/environmentVariables, value: {API_KEY: hunter2}}]}",
            "environments/production.yaml:6:94: error: this looks like a secret, which cannot stand in the repo itself,"
            " in Service/diabetes and 1 other [secret-literal]\n"
            "    write `NAME: {valueFrom: {env: NAME}}`; if it is no secret, `NAME: {value: …}`",
        ),
        (
            "{kind: Service, name: wine, patch: [{op: replace, path: /spec/deployment/replicas, value: 0}]}",
            "environments/production.yaml:6:97: error: `replicas` must be at least 1, in Service/wine [wrong-range]",
        ),
        (
            "{kind: Service, name: wine, patch: [{op: remove, path: /spec/inference}]}",
            "environments/production.yaml:6:35: error: `inference` is missing in `spec`, in Service/wine [missing-key]",
        ),
        (
            "{kind: Service, name: wine, patch: [{op: test, path: /spec/inference, value: torch}]}",
            "environments/production.yaml:6:84: error: the test fails: /spec/inference has another value,"
            " in Service/wine [patch-test]",
        ),
        (
            "{kind: Service, patch: [{op: remove, path: /spec/deployment/environmentVariables}]}",
            "environments/production.yaml:6:50: error: /spec/deployment/environmentVariables leads nowhere:"
            " /spec/deployment has no 'environmentVariables', in Service/wine [patch-path]\n    there are replicas",
        ),
        (
            "{kind: Target, name: there, spec: {aks: {kubeContext: x}}}",
            "environments/production.yaml:6:42: error: the target's type is `local`, in Target/there [wrong-block]\n"
            "    remove it, or change `type`",
        ),
        (
            "{kind: InferenceConfig, spec: {environment: {python: '3.11'}}}",
            "environments/production.yaml:6:31: error: cannot stand beside `environment`, in InferenceConfig/sklearn"
            " [excludes]\n    keep one of the two",
        ),
    ],
)
def test_what_is_wrong_is_told_at_the_line_of_the_overlay(override: str, report: str) -> None:
    """Each mistake of an overlay has the place in the overlay, also where only the merged document has it."""
    assert told(overlay(override)) == [report]


@pytest.mark.parametrize(
    ("override", "report"),
    [
        ("{kind: Servic}", "`kind` must be one of Service, Model, InferenceConfig, Target, Defaults"),
        ("{kind: Service}", "nothing is changed"),
        ("{kind: Service, name: a, tags: {b: c}, spec: {}}", "`name` and `tags` exclude each other"),
        ("{kind: Service, tags: {}, spec: {}}", "`tags` must not be empty"),
        ("{kind: Defaults, name: defaults, spec: {}}", "there is one `Defaults`: it takes no `name`"),
        ("{kind: Overlay, spec: {}}", "`kind` must be one of Service, Model, InferenceConfig, Target, Defaults"),
        (
            "{kind: Service, patch: [{op: ad, path: /spec/x}]}",
            "`op` must be one of add, remove, replace, move, copy, test",
        ),
        ("{kind: Service, patch: [{op: add, path: spec/x, value: 1}]}", "`path` must match ^(/([^~/]|~[01])*)*$"),
        ("{kind: Service, patch: [{op: remove, path: /metadata/name}]}", "`path` does not lead into the `spec`"),
        ("{kind: Service, patch: [{op: move, path: /spec/a, from: /kind}]}", "`from` does not lead into the `spec`"),
        ("{kind: Service, patch: [{op: add, path: /spec/x}]}", "`add` needs a `value`"),
        ("{kind: Service, patch: [{op: remove, path: /spec/x, value: 1}]}", "`remove` takes no `value`"),
        ("{kind: Service, patch: [{op: copy, path: /spec/x}]}", "`copy` needs a `from`"),
        ("{kind: Service, patch: [{op: test, path: /spec/x, from: /spec, value: 1}]}", "`test` takes no `from`"),
        ("{kind: Service, metadata: {name: x}, spec: {}}", "unknown key 'metadata'"),
    ],
)
def test_an_overlay_is_checked_by_itself(override: str, report: str) -> None:
    """What no document could make right is told whatever the documents are, with the line."""
    found = seen(overlay(override))[1].problems
    assert [problem.message for problem in found] == [report]
    assert all(problem.position and problem.position.line == 6 for problem in found)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Mistakes of form and in what is said of documents are in one report."""
    found = seen(overlay("{kind: Service, spec: {x: 1}}", "{kind: Model}", "{kind: Target, spec: {local: {engin: 1}}}"))
    assert [problem.code for problem in found[1].problems] == ["unknown-key", "missing-key", "unknown-key"]


def test_a_document_that_cannot_be_used_here_is_left_alone_here() -> None:
    """It is incomplete in this environment; the others are not concerned, and neither is another environment."""
    files = overlay("{kind: Service, name: wine, patch: [{op: remove, path: /spec/nothing}]}")
    found = seen(files)[1]
    assert ([d.service for d in found.deployments], dict(found.incomplete), found.complete) == (
        ["diabetes"],
        {"wine": "its manifest cannot be used"},
        False,
    )
    other = seen(files, "")[1]
    assert len(other.deployments) == 2


def test_an_overlay_that_is_not_chosen_warns_and_stops_nothing() -> None:
    """A slip in production.yaml shows everywhere, but staging goes on."""
    files = {
        **overlay("{kind: Service, spec: {deployment: {replica: 2}}}"),
        **overlay("{kind: Service, name: wine, spec: {target: there}}", name="staging"),
        **overlay("{kind: Service, name: gone, spec: {target: there}}", name="test"),
    }
    found = seen(files, "staging")[1]
    assert [(p.severity, p.code) for p in found.problems] == [
        (Severity.WARNING, "unknown-key"),
        (Severity.WARNING, "dangling-reference"),
    ]
    assert found.complete
    assert {d.service: d.target.name for d in found.deployments} == {"diabetes": "local", "wine": "there"}


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (overlay("{kind: Service, spec: {replica: 2}}"), "unknown-key"),
        (overlay("{kind: Service, spec: {target: there}}", name="prodution"), "unknown-environment"),
        ({}, "unknown-environment"),
        (
            {
                **overlay("{kind: Service, spec: {target: there}}"),
                "b.yaml": overlay("{kind: Service, spec: {}}")["environments/production.yaml"],
            },
            "duplicate",
        ),
    ],
)
def test_an_environment_that_cannot_be_had_touches_no_service(files: dict[str, str], code: str) -> None:
    """Without its overlay nobody knows what a service is there, so each is incomplete."""
    found = seen(files)[1]
    assert code in {problem.code for problem in found.problems}
    assert (found.deployments, sorted(found.incomplete), found.complete) == ((), ["diabetes", "wine"], False)


def test_a_document_with_an_error_is_not_said_to_be_missing() -> None:
    """An override of a document that cannot be read has no problem of its own."""
    files = {"services/wine.yaml": HEADER + "kind: Service\nmetadata: {name: wine}\nspec: {inferenc: x}\n"}
    found = seen({**files, **overlay("{kind: Service, name: wine, spec: {target: there}}")})[1]
    assert {problem.code for problem in found.problems} == {"unknown-key", "missing-key"}


def test_one_problem_of_many_documents_is_told_once() -> None:
    """An override of all services that cannot be is one line, with how many it concerns."""
    services = {
        f"services/s{n}.yaml": HEADER + f"kind: Service\nmetadata: {{name: s{n}}}\nspec: {{inference: sklearn}}\n"
        for n in range(20)
    }
    found = seen({**services, **overlay("{kind: Service, patch: [{op: add, path: /spec/target, value: 7}]}")})[1]
    assert [problem.message for problem in found.problems] == [
        "`target` must be text, in Service/diabetes and 21 others"
    ]


# What is remembered

WIDE = overlay(
    "{kind: Service, spec: {deployment: {drainSeconds: 2}}}", "{kind: Service, name: wine, spec: {target: there}}"
)


def test_what_did_not_change_stays_the_same_object() -> None:
    """Another commit that touches neither a document nor what is laid over it gives the very same documents."""
    tree = MemoryTree({**REPO, **WIDE})
    first = in_environment(load(tree), "production")
    later = tree.changed({"services/wine.yaml": SERVICES["services/wine.yaml"] + "# a word\n", "x.txt": "y"})
    again = in_environment(load(later, previous=first.source), "production", previous=first)
    assert again.repo.services["diabetes"] is first.repo.services["diabetes"]
    untouched = in_environment(load(later.changed({"z": "z"}), previous=again.source), "production", previous=again)
    assert untouched.repo.services is again.repo.services


def test_an_override_that_moves_takes_its_places_along() -> None:
    """A line above an override changes where it stands and not what it makes."""
    tree = MemoryTree({**REPO, **WIDE})
    first = in_environment(load(tree), "production")
    text = WIDE["environments/production.yaml"].replace("spec:\n", "# a comment\nspec:\n", 1)
    text = text.replace(
        "    - {kind: Service, spec", "    - {kind: Model, spec: {version: 1}}\n    - {kind: Service, spec"
    )
    again = in_environment(
        load(tree.changed({"environments/production.yaml": text}), previous=first.source), "production", previous=first
    )
    wine = again.repo.services["wine"]
    assert wine is first.repo.services["wine"]
    assert str(wine.at("/spec/target")) == "environments/production.yaml:9:50"


def test_what_was_laid_over_is_remembered_on_disk(tmp_path: Path) -> None:
    """A second process takes documents and overlays from the memory; its documents are the same."""
    tree = MemoryTree({**REPO, **WIDE})
    cache = DocumentCache(tmp_path / "documents")
    first = in_environment(load(tree, cache), "production", cache)
    cache.save()

    class Blind(DocumentCache):
        def put_laid(self, place: str, spec: Any) -> None:
            raise AssertionError(f"{place} was laid over anew")

    cache = Blind(tmp_path / "documents")
    again = in_environment(load(tree, cache), "production", cache)
    assert {n: m.spec for n, m in again.repo.services.items()} == {n: m.spec for n, m in first.repo.services.items()}
    for pointer in ("/spec/target", "/spec/deployment/drainSeconds", "/spec/inference"):
        assert again.repo.services["wine"].at(pointer) == first.repo.services["wine"].at(pointer)


@pytest.mark.parametrize("changed", ["document", "override", "both"])
def test_what_is_remembered_is_never_of_another_content(tmp_path: Path, changed: str) -> None:
    """A change of the document, of an override or of both is seen through the memory of the ones before."""
    cache = DocumentCache(tmp_path / "documents")
    tree = MemoryTree({**REPO, **WIDE})
    first = in_environment(load(tree, cache), "production", cache)
    files: dict[str, str] = {}
    if changed != "override":
        files["services/wine.yaml"] = SERVICES["services/wine.yaml"].replace("replicas: 2", "replicas: 3")
    if changed != "document":
        files["environments/production.yaml"] = WIDE["environments/production.yaml"].replace(
            "drainSeconds: 2", "drainSeconds: 4"
        )
    later = tree.changed(files)
    for previous in (None, first):
        found = in_environment(load(later, cache), "production", cache, previous)
        fresh = in_environment(load(later), "production")
        assert found.repo.services["wine"].spec == fresh.repo.services["wine"].spec != first.repo.services["wine"].spec


# Whatever is written


texts = st.sampled_from(["a", "local", "there", "sklearn", "ridge", "ridge:1", "x/y", ""])
leaves = st.none() | st.booleans() | st.integers(-2, 5) | st.floats(0, 3) | texts
spec_keys = st.sampled_from(
    ["target", "models", "inference", "deployment", "replicas", "environmentVariables", "policy", "tests", "A", "aks"]
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(spec_keys, inner, max_size=4), max_leaves=15
)
pointers = st.lists(spec_keys | st.sampled_from(["0", "1", "-"]), max_size=4).map(lambda s: "/".join(["/spec", *s]))
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": anything},
)
overrides = st.fixed_dictionaries(
    {"kind": st.sampled_from(["Service", "Target", "Model", "InferenceConfig", "Defaults"])},
    optional={
        "name": st.sampled_from(["wine", "there", "ridge", "sklearn", "nobody"]),
        "tags": st.dictionaries(st.sampled_from(["team", "tier"]), texts, max_size=2),
        "spec": st.dictionaries(spec_keys, anything, max_size=4),
        "patch": st.lists(operations, max_size=4),
    },
)


@given(st.lists(overrides, max_size=4))
def test_no_overlay_gives_anything_but_documents_and_problems(chosen: list[dict[str, Any]]) -> None:
    """Whatever an overlay says, each service either is a valid document or is incomplete for a reason with a place."""
    text = yaml.safe_dump({"overrides": chosen})
    files = {
        "environments/production.yaml": HEADER
        + "kind: Overlay\nmetadata: {name: production}\nspec:\n"
        + "".join(f"  {line}\n" for line in text.splitlines())
    }
    found, resolution = seen(files)
    accounted = {d.service for d in resolution.deployments} | resolution.incomplete.keys()
    assert accounted == {"diabetes", "wine"}
    assert resolution.complete == (not [p for p in resolution.problems if p.severity is Severity.ERROR])
    for problem in resolution.problems:
        assert problem.position is not None or problem.code == "unknown-environment"
    for manifest in found.repo.services.values():
        if isinstance(manifest.marks, Origins):
            root = manifest.marks.traced()
            assert root.plain["spec"] is not None


def test_the_schema_takes_what_is_taken() -> None:
    """The schema of overlays accepts the ones of these tests and refuses a key that a kind does not have."""
    import jsonschema

    from reconciler.manifests.schema import schemas

    schema = schemas()["overlay.json"]
    for files in (PLACES, WIDE):
        jsonschema.validate(yaml.safe_load(files["environments/production.yaml"]), schema)
    wrong = yaml.safe_load(overlay("{kind: Service, spec: {deployment: {replica: 1}}}")["environments/production.yaml"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
