"""A document that comes to be, each value of it remembering where in the other tool's files it was found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reconciler.core.dataclass import dataclass, field
from reconciler.core.problems import Position, Problem
from reconciler.core.suspects import CREDENTIALS_IN_TEXT, looks_secret
from reconciler.core.values import walk
from reconciler.manifests.validate import API_VERSION
from reconciler.manifests.writing import to_yaml
from reconciler.migration.reading import Reader

# What Azure ML hands on as it is, and so may hold anything.
_FREE = re.compile(r"/(createOptions|propertiesDesired)/")


@dataclass(slots=True)
class Draft:
    """One document.

    Args:
        path: The file it is to be, from the manifest folder.
        source: What stands for all values that were found nowhere.
    """

    kind: str
    name: str
    path: str
    source: Position
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict[str, str])
    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    _found: dict[str, Position] = field(default_factory=dict[str, Position])

    def put(self, pointer: str, value: Any, at: Position | None = None) -> None:
        """Sets a value of the `spec` by its place in it (`/deployment/port`); None sets nothing."""
        if value is None:
            return
        *above, last = pointer[1:].split("/")
        inner = self.spec
        for step in above:
            inner = inner.setdefault(step, {})
        inner[last] = value
        if at is not None:
            self.mark(pointer, at)

    def mark(self, pointer: str, at: Position) -> None:
        """Says where what stands at or below a place of the `spec` was found."""
        self._found[f"/spec{pointer}"] = at

    def at(self, pointer: str = "", *, key: bool = False) -> Position:
        """Where the cause of a value stands: the closest one above that was found somewhere."""
        while pointer and pointer not in self._found:
            pointer = pointer.rpartition("/")[0]
        return self._found.get(pointer, self.source)

    def problems(self) -> list[Problem]:
        """What its kind does not take of it, at the places where that was found."""
        from reconciler.manifests.overlays.checking import checked

        hint = "take it out of the file; where one is needed, refer to it: `valueFrom: {env: NAME}`"
        found = list(checked(self.kind, self.name, self.spec, self)[1])
        for where in secrets_in(self.spec, "/spec"):
            message = "this looks like a secret, which cannot stand in the repo"
            found.append(Problem("secret-literal", message, self.at(where), hint))
        return found

    def text(self, schemas: str = "") -> str:
        """The file.

        Args:
            schemas: The folder of the JSON Schemas, from the manifest folder; empty if there is none.
        """
        metadata: dict[str, Any] = {"name": self.name}
        metadata |= {"description": self.description} if self.description else {}
        metadata |= {"tags": self.tags} if self.tags else {}
        up = "../" * self.path.count("/")
        head = f"# yaml-language-server: $schema={up}{schemas}/{self.kind.lower()}.json\n" if schemas else ""
        return head + to_yaml(
            {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata, "spec": self._ordered()}
        )

    def _ordered(self) -> dict[str, Any]:
        """The `spec` with its keys in the order in which the reference lists them."""
        from reconciler.manifests.kinds.overlay import spec_of

        fields = spec_of(self.kind).model_fields.values()
        order = [field.serialization_alias or field.alias for field in fields]
        return {key: self.spec[key] for key in sorted(self.spec, key=order.index)}


def secrets_in(value: Any, pointer: str = "") -> Iterator[str]:
    """Pointers to texts that hold credentials, or stand where secrets do: under such a key, or as `NAME=value`."""
    for where, leaf in walk(value, pointer):
        if not isinstance(leaf, str) or "/valueFrom/" in where:
            continue
        name, assigned, rest = leaf.partition("=")
        named = looks_secret(where.rpartition("/")[2], leaf) or (assigned and looks_secret(name, rest))
        if CREDENTIALS_IN_TEXT.search(leaf) or (named and _FREE.search(where)):
            yield where


class Secrets:
    """Secrets that stand in the other tool's files: none is taken over, each becomes a reference with a name.

    Args:
        service: Whose they are; names begin with it.
    """

    def __init__(self, service: str) -> None:
        self._lead = service.upper().replace("-", "_")
        self._used: set[str] = set()

    def reference(self, reader: Reader, key: str, word: str) -> dict[str, Any] | None:
        """A reference in place of the text at a key, and what is to be done about it."""
        if reader.text(key) is None:
            return None
        return self._reference(reader, key, f"{self._lead}_{word}")

    def variables(self, reader: Reader, key: str) -> dict[str, Any] | None:
        """Environment variables: those that look like secrets as references."""
        found = reader.texts(key)
        if found is None:
            return None
        variables: dict[str, Any] = {}
        for name, value in found.items():
            secret = looks_secret(name, value) or CREDENTIALS_IN_TEXT.search(value) is not None
            variables[name] = self._reference(reader, key, name, name) if secret else value
        return variables

    def _reference(self, reader: Reader, key: str, variable: str, name: str = "") -> dict[str, Any]:
        unique, number = variable, 2
        while unique in self._used:
            unique, number = f"{variable}_{number}", number + 1
        self._used.add(unique)
        said = (
            f"a secret is not taken over: it is read from the variable {unique}, which the operator's settings must "
            "allow (`secrets.envPrefixes`)"
        )
        reader.note(f"{key}.{name}" if name else key, said, todo=True)
        return {"valueFrom": {"env": unique}}
