"""The kinds: their defaults as plain data, secrets by reference, schemas and reference fresh and true."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from reconciler.core.deployment import Settings
from reconciler.core.suspects import looks_secret
from reconciler.manifests import load, resolve
from reconciler.manifests.defaults import CLUSTER_BLOCK, COMMON, COMMON_BY_TYPE, SERVICE_BLOCKS, TARGET_BLOCKS, TYPES
from reconciler.manifests.kinds import deployment, targets
from reconciler.manifests.kinds.base import Strict
from reconciler.manifests.reference import reference_markdown
from reconciler.manifests.schema import schemas, write_schemas
from reconciler.manifests.yaml import parse
from tests.manifests.golden import BAD
from tests.manifests.trees import MemoryTree

ROOT = Path(__file__).parents[2]
SCHEMAS = schemas()
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir() and path.name[0] not in "._")


def optional_defaults(model: type[Strict]) -> dict[str, Any]:
    """The defaults of a model by key, without what has none."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            found[field.alias or name] = value.model_dump(by_alias=True) if isinstance(value, Strict) else value
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_defaults_of_service_blocks_are_those_of_their_models(kind: str) -> None:
    """What planning fills in is what the schema says."""
    found = optional_defaults(getattr(deployment, kind.capitalize()))
    assert {key: value for key, value in found.items() if key not in COMMON} == SERVICE_BLOCKS[kind]
    common = optional_defaults(deployment.Common)
    own = {key: found[key] for key in COMMON if found[key] != common[key]}
    assert own == COMMON_BY_TYPE.get(kind, {})


@pytest.mark.parametrize("kind", TYPES)
def test_defaults_of_target_blocks_are_those_of_their_models(kind: str) -> None:
    """What planning fills in is what the schema says."""
    assert optional_defaults(getattr(targets, f"{kind.capitalize()}Target")) == TARGET_BLOCKS[kind]


def test_defaults_of_a_cluster_are_those_of_its_model() -> None:
    """What planning fills in is what the schema says."""
    assert optional_defaults(targets.AksCluster) == CLUSTER_BLOCK


def test_common_settings_are_those_of_the_core_with_its_defaults() -> None:
    """Every field of `Settings` can be set by a manifest, and its default is the same in both."""
    plain = Settings()
    expected = {field.name: getattr(plain, field.name) for field in fields(Settings) if field.name != "block"}
    found = {
        name: field.get_default(call_default_factory=True) for name, field in deployment.Common.model_fields.items()
    }
    assert {**found, "cors_origins": tuple(found["cors_origins"])} == expected
    assert [field.alias for field in deployment.Common.model_fields.values()] == list(COMMON)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASSWORD", "x", True),
        ("API_KEY", "x", True),
        ("apiKey", "x", True),
        ("SLACK_TOKEN", "x", True),
        ("AZURE_CLIENT_SECRET", "x", True),
        ("STORAGE_CONNECTION_STRING", "x", True),
        ("AWS_SECRET_ACCESS_KEY_ID", "x", True),
        ("DSN", "postgres://me:pw@host/db", True),
        ("STORE", "AccountName=a;AccountKey=b", True),
        ("URL", "https://host/x?sv=1&sig=abc", True),
        ("USE_TOKEN", "true", False),
        ("MAX_TOKENS", "100", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("KEYBOARD", "de", False),
        ("MONKEY", "x", False),
        ("PUBLIC_KEY", "x", False),
        ("LOG_LEVEL", "info", False),
        ("URL", "https://host:8080/x", False),
    ],
)
def test_secrets_are_told_by_name_and_form(name: str, value: str, secret: bool) -> None:
    """Names that end like a secret's and values that hold one are refused, ordinary ones are not."""
    assert looks_secret(name, value) is secret


def test_committed_schemas_are_fresh(tmp_path: Path) -> None:
    """`schema/` holds what the kinds say now; `reconciler schema --write schema` renews it."""
    fresh = {path.name: path.read_text() for path in write_schemas(tmp_path)}
    committed = {path.name: path.read_text() for path in (ROOT / "schema").glob("*.json")}
    of_outputs = {"plan.json", "drift.json", "snapshot.json"}
    assert {name: text for name, text in committed.items() if name not in of_outputs} == fresh


def test_the_committed_reference_is_fresh() -> None:
    """`docs/manifests.md` says what the kinds say now."""
    assert (ROOT / "docs" / "manifests.md").read_text() == reference_markdown()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schemas_are_valid_and_describe_every_key(name: str) -> None:
    """Each is a JSON Schema of draft 2020-12, and each of its keys has a description for the editor."""
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    for definition in [schema, *schema["$defs"].values()]:
        for key, value in definition.get("properties", {}).items():
            referred = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
            assert value.get("description", referred.get("description")), key


def check(document: Any, name: str) -> None:
    """Raises what is wrong with a document by a schema."""
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(document)


def documents_of(folder: Path) -> list[Any]:
    """All manifests in a folder."""
    found: list[Any] = []
    for path in sorted(folder.rglob("*.yaml")):
        found += [document.value for document in parse(path.read_bytes(), path.name)[0]]
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads_without_problems_and_passes_the_schemas(example: str) -> None:
    """Examples are right by our own check and by the schema that editors use."""
    tree = MemoryTree.of(ROOT / "examples" / example)
    found = resolve(load(tree), tree, {})
    assert found.problems == ()
    assert len(found.deployments) == 1
    for document in documents_of(ROOT / "examples" / example):
        check(document, "manifest.json")
        check(document, f"{document['kind'].lower()}.json")


@pytest.mark.parametrize(
    "case", ["unknown-key", "misspelt-enum", "wrong-types", "out-of-range", "missing-key", "unknown-kind", "bad-name"]
)
def test_the_schema_refuses_what_loading_refuses(case: str) -> None:
    """An editor shows a mistake before it is committed."""
    (document,) = parse((BAD / f"{case}.yaml").read_bytes(), case)[0]
    with pytest.raises(jsonschema.ValidationError):
        check(document.value, "manifest.json")


def test_schema_lines_of_the_examples_lead_to_the_schemas() -> None:
    """The first line of an example names a schema that is there."""
    for path in (ROOT / "examples").rglob("*.yaml"):
        first = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert json.loads((path.parent / first).read_text())["$schema"]


def test_a_limit_is_compared_with_what_stands_beside_it_alone() -> None:
    """What is requested may stand outside of the block: the target compares with that."""
    assert deployment.Aks.model_validate({"memoryGbLimit": 0.4, "cpuCoresLimit": 0.05}).memory_gb_limit == 0.4
    with pytest.raises(ValidationError):
        deployment.Aks.model_validate({"memoryGb": 0.5, "memoryGbLimit": 0.4})
