"""References into encrypted files: checked without any key, and told apart by what everybody can see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.core.secrets import SecretRef
from reconciler.core.values import walk
from reconciler.manifests import DocumentCache, load, resolve
from reconciler.manifests.overlays.environment import in_environment
from reconciler.manifests.resolve import Resolution
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEADER = "apiVersion: reconciler/v1\n"


def encrypted(name: str) -> str:
    """Text of the form that sops gives an encrypted value."""
    return f"ENC[AES256_GCM,data:{name}==,iv:aXY=,tag:dGFn,type:str]"


def sealed(values: Mapping[str, Any], **metadata: Any) -> str:
    """A file of the form that sops writes; JSON is YAML."""
    return json.dumps({**values, "sops": {"mac": encrypted("mac"), "version": "3.11.0", **metadata}})


FILE = sealed(
    {"db": {"password": encrypted("one"), "user": encrypted("two")}, "list": [encrypted("x")], "plain": "c4n4ry"}
)


def value_from(key: str, file: str = "secrets/prod.yaml") -> str:
    """A reference as a manifest has it."""
    return f"{{valueFrom: {{sops: {{file: {file}, key: {key}}}}}}}"


def service(variables: str = "{}", auth: str = "{}", name: str = "diabetes") -> dict[str, str]:
    """A service with some variables and keys."""
    spec = f"{{inference: sklearn, auth: {auth}, deployment: {{environmentVariables: {variables}}}}}"
    return {f"services/{name}.yaml": f"{HEADER}kind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"}


def resolved(
    files: Mapping[str, str], before: Resolution | None = None, cache: DocumentCache | None = None
) -> Resolution:
    """The resolution of a repo with the encrypted file."""
    tree = MemoryTree({**GOOD, "secrets/prod.yaml": FILE, **files})
    return resolve(load(tree, cache), tree, {"ridge": {}}, before, cache)


def refs_of(found: Resolution) -> list[SecretRef]:
    """Every reference of the one service."""
    (deployment,) = found.deployments
    image = deployment.image.registry
    places = [deployment.auth.primary, deployment.auth.secondary, deployment.settings.environment_variables]
    places += [deployment.settings.block, *((image.username, image.password) if image else ())]
    return [leaf for _, leaf in walk(places) if isinstance(leaf, SecretRef) and leaf.source == "sops"]


def test_references_carry_what_tells_values_apart() -> None:
    """The digest of each encrypted value, wherever the reference stands; paths in their normal form."""
    found = resolved(
        {
            **service(
                f"{{A: {value_from('/db/password')}, B: {value_from('/db/user', './secrets/../secrets/prod.yaml')}}}",
                f"{{enabled: true, primaryKey: {value_from('/list/0')}}}",
            ),
            "inference/sklearn.yaml": GOOD["inference/sklearn.yaml"].replace(
                "spec: {",
                "spec: {baseImage: x, baseImageRegistry: {address: x, username: "
                f"{value_from('/db/user')}, password: {value_from('/db/password')}}}, ",
            ),
        }
    )
    assert found.problems == ()
    refs = refs_of(found)
    assert sorted(ref.name for ref in refs) == sorted(
        f"secrets/prod.yaml#{key}" for key in ("/db/password", "/db/user", "/list/0", "/db/user", "/db/password")
    )
    assert all(len(ref.digest) == 16 and len(ref.object_id) == 40 for ref in refs)
    assert len({ref.digest for ref in refs}) == 3


def test_only_what_changed_is_another_reference() -> None:
    """After an edit, references to the other values equal those before; nothing else is resolved anew."""
    files = service(f"{{A: {value_from('/db/password')}, B: {value_from('/db/user')}}}")
    other = service(name="other")
    cache = DocumentCache()
    first = resolved({**files, **other}, cache=cache)
    edited = FILE.replace(encrypted("one"), encrypted("three"))
    second = resolved({**files, **other, "secrets/prod.yaml": edited}, first, cache)
    before, after = ({d.service: d for d in each.deployments} for each in (first, second))
    old, new = (each["diabetes"].settings.environment_variables for each in (before, after))
    assert old["A"] != new["A"]
    assert old["B"] == new["B"]
    assert old["B"].object_id != new["B"].object_id  # type: ignore[union-attr]
    third = resolved({**files, **other, "secrets/prod.yaml": edited}, second, cache)
    assert [a is b for a, b in zip(second.deployments, third.deployments, strict=True)] == [True, True]
    assert before["other"] == after["other"]


@pytest.mark.parametrize(
    ("reference", "code", "hint"),
    [
        (value_from("/db/passwrd"), "sops-key", "did you mean '/db/password'?"),
        (value_from("/db"), "sops-key", ""),
        (value_from("/list"), "sops-key", "did you mean '/list/0'?"),
        (value_from("/sops/mac"), "sops-key", ""),
        (value_from("/plain"), "sops-plain", "let sops encrypt it"),
        (value_from("/a", "secrets/prd.yaml"), "missing-file", "did you mean 'secrets/prod.yaml'?"),
        (value_from("/a", "/etc/passwd"), "bad-path", ""),
        (value_from("/a", "../prod.yaml"), "missing-file", ""),
        (value_from("/metadata/name", "services/diabetes.yaml"), "sops-file", "sops encrypt --in-place"),
        (value_from("nothing"), "wrong-form", "a JSON pointer"),
    ],
)
def test_a_reference_that_leads_nowhere(reference: str, code: str, hint: str) -> None:
    """It is an error at its place; what the file says in plain text is not repeated."""
    found = resolved(service(f"{{A: {reference}}}"))
    (problem,) = found.problems
    assert (problem.code, problem.position.file if problem.position else "") == (code, "services/diabetes.yaml")
    assert hint in problem.hint
    assert problem.position is not None
    assert problem.position.line == 4
    assert "c4n4ry" not in str(problem)
    assert list(found.incomplete) == ["diabetes"]


def test_a_document_that_several_services_use_is_reported_once() -> None:
    """All of them are incomplete; the error stands at the document that is wrong."""
    inference = GOOD["inference/sklearn.yaml"].replace(
        "spec: {", f"spec: {{environmentVariables: {{A: {value_from('/nope')}}}, "
    )
    found = resolved({"inference/sklearn.yaml": inference, **service(), **service(name="other")})
    (problem,) = found.problems
    assert problem.position is not None
    assert problem.position.file == "inference/sklearn.yaml"
    assert found.incomplete == dict.fromkeys(
        ("diabetes", "other"), "a secret of InferenceConfig/sklearn cannot be found"
    )


def test_a_repaired_file_is_looked_at_again() -> None:
    """A problem does not outlive its cause, nor does a sound reference outlive its file."""
    files = service(f"{{A: {value_from('/db/password')}}}")
    broken = resolved({**files, "secrets/prod.yaml": "a: [\n"})
    assert [problem.code for problem in broken.problems] == ["sops-file"]
    mended = resolved(files, broken)
    assert mended.problems == ()
    again = resolved({**files, "secrets/prod.yaml": "db: {password: c4n4ry}\n"}, mended)
    assert [problem.code for problem in again.problems] == ["sops-file"]


def test_a_target_may_refer_to_one() -> None:
    """Its block has the reference; a change of the value makes another target of it."""
    target = (
        HEADER + "kind: Target\nmetadata: {name: hub}\nspec: {type: edge, edge: {name: hub, connectionString: "
        f"{value_from('/db/password')}}}}}\n"
    )
    first = resolved({"targets/hub.yaml": target})
    second = resolved({"targets/hub.yaml": target, "secrets/prod.yaml": FILE.replace("one", "three")}, first)
    blocks = [next(t for t in found.targets if t.name == "hub").block for found in (first, second)]
    assert blocks[0]["connectionString"].name == "secrets/prod.yaml#/db/password"
    assert blocks[0] != blocks[1]


def test_an_overlay_may_refer_to_one() -> None:
    """What an environment lays over a service is checked and told apart like what the service says itself."""
    overlay = (
        HEADER
        + "kind: Overlay\nmetadata: {name: production}\nspec: {overrides: [{kind: Service, name: diabetes, spec: "
        f"{{deployment: {{environmentVariables: {{A: {value_from('KEY')}}}}}}}}}]}}\n"
    )
    plain = service("{A: {value: nothing special}}")
    found = {}
    for key in ("/db/password", "/db/passwrd"):
        tree = MemoryTree(
            {**GOOD, **plain, "secrets/prod.yaml": FILE, "environments/production.yaml": overlay.replace("KEY", key)}
        )
        environment = in_environment(load(tree), "production")
        found[key] = resolve(environment.repo, tree, {"ridge": {}})
    (ref,) = refs_of(found["/db/password"])
    assert ref.digest
    (problem,) = found["/db/passwrd"].problems
    assert (problem.code, str(problem.position).partition(":")[0]) == ("sops-key", "environments/production.yaml")
