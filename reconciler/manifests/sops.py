"""Files that sops encrypted, as far as anybody can read them: their keys are in plain text, their values are not.

Format: "Encrypting YAML/JSON" and "SOPS metadata" of the sops documentation, `stores/stores.go` of sops 3.11.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, cast

from reconciler.core.errors import InvalidError
from reconciler.core.sealed import SealedFile
from reconciler.core.values import lookup, walk
from reconciler.manifests.yaml import parse

_DIGITS = 16
_ENCRYPTED = re.compile(r"ENC\[[A-Z0-9_]+,data:.*,type:[a-z]+\]", re.DOTALL)
# What the metadata has beside kinds of key (stores.go, `Metadata`).
_NOT_KEYS = frozenset(
    (
        *("key_groups", "shamir_threshold", "lastmodified", "mac", "mac_only_encrypted", "version"),
        *("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex"),
        *("unencrypted_comment_regex", "encrypted_comment_regex"),
    )
)


def parse_sealed(data: bytes, path: str) -> SealedFile:
    """What a file holds, by its name: `.json`, or else YAML.

    Raises:
        InvalidError: It cannot be read, or sops did not encrypt it. No message holds anything of its text.
    """
    value: Any
    if path.endswith(".json"):
        try:
            value = json.loads(data, object_pairs_hook=_once)
        except (ValueError, RecursionError) as exc:
            raise InvalidError(f"{path} is not JSON that sops wrote") from exc
        kind = "json"
    else:
        documents, problems = parse(data, path)
        if problems or len(documents) != 1:
            raise InvalidError(f"{path} is not a YAML document that sops wrote")
        value, kind = documents[0].value, "yaml"
    metadata = cast("dict[str, Any]", value).get("sops") if isinstance(value, dict) else None
    if not isinstance(metadata, dict) or "mac" not in metadata:
        raise InvalidError(f"{path} is not encrypted by sops", hint=f"encrypt it: sops encrypt --in-place {path}")
    try:
        metadata = _lower(metadata)
    except ValueError as exc:
        raise InvalidError(f"{path} has metadata that sops did not write") from exc
    body = {key: inner for key, inner in cast("dict[str, Any]", value).items() if key != "sops"}
    values = {pointer: _digest(leaf) for pointer, leaf in walk(body) if not isinstance(leaf, (dict, list))}
    return SealedFile(kind, values, *_for_whom(metadata))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _digest(leaf: Any) -> str:
    if not isinstance(leaf, str) or not _ENCRYPTED.fullmatch(leaf):
        return ""
    return hashlib.sha256(leaf.encode()).hexdigest()[:_DIGITS]


def _for_whom(metadata: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kinds of key, unknown ones too, and URLs of key vaults, in the metadata itself and in its groups."""
    keys: set[str] = set()
    vaults: set[str] = set()
    for group in (metadata, *_list(metadata.get("key_groups"))):
        entries_by_kind = cast("dict[str, Any]", group) if isinstance(group, dict) else {"unknown": [group]}
        keys.update(
            kind
            for kind, entries in entries_by_kind.items()
            if kind not in _NOT_KEYS and entries and isinstance(entries, (list, dict))
        )
        vaults.update(str(lookup(entry, "/vault_url")) for entry in _list(entries_by_kind.get("azure_kv")))
    return tuple(sorted(keys)), tuple(sorted(vaults))


def _lower(value: Any) -> Any:
    """Keys in lower case, as sops takes them however they are written.

    Raises:
        ValueError: Two keys differ in nothing else.
    """
    if isinstance(value, list):
        return [_lower(inner) for inner in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return _once([(key.lower(), _lower(inner)) for key, inner in cast("dict[str, Any]", value).items()])


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
