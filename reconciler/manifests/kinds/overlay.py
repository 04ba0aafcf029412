"""The kind that says what an environment changes, and the table of all kinds."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from reconciler.manifests.kinds.base import ModelName, Strict, Tags, refuse
from reconciler.manifests.kinds.documents import KINDS as DOCUMENT_KINDS
from reconciler.manifests.kinds.documents import Document, Metadata
from reconciler.manifests.kinds.names import POINTER
from reconciler.manifests.kinds.partial import partial

Pointer = Annotated[str, Field(pattern=POINTER, max_length=1024, examples=["/spec/models/0/version"])]


class Operation(Strict):
    """One operation of a JSON Patch (RFC 6902). Paths begin at the document and lead into its `spec`."""

    op: Literal["add", "remove", "replace", "move", "copy", "test"] = Field(description="What is done.")
    path: Pointer = Field(description="Where.")
    from_: Pointer | None = Field(default=None, alias="from", description="What is moved or copied.")
    value: Any = Field(default=None, description="What is added, put there, or must be there.")

    @model_validator(mode="after")
    def _members(self) -> "Operation":
        for key, path in (("path", self.path), ("from", self.from_)):
            if path is not None and path != "/spec" and not path.startswith("/spec/"):
                hint = "paths begin with `/spec/`; what a document is called cannot be changed"
                raise refuse("patch-path", f"`{key}` does not lead into the `spec`", hint=hint, at=(key,))
        value, source = "value" in self.model_fields_set, self.from_ is not None
        if value != (self.op in ("add", "replace", "test")):
            raise refuse("together", f"`{self.op}` {'takes no' if value else 'needs a'} `value`", at=("op",))
        if source != (self.op in ("move", "copy")):
            raise refuse("together", f"`{self.op}` {'takes no' if source else 'needs a'} `from`", at=("op",))
        return self


class Override(Strict):
    """What is changed in a document, or in all of a kind, or in those with some tags."""

    kind: Literal["Service", "Model", "InferenceConfig", "Target", "Defaults"] = Field(
        description="Kind of the documents."
    )
    name: ModelName | None = Field(default=None, description="Name of the document; all of the kind if omitted.")
    tags: Tags | None = Field(
        default=None, description="In place of a name: those with all of these tags.", examples=[{"team": "health"}]
    )
    spec: dict[str, Any] | None = Field(
        default=None,
        description="Laid over the document's `spec`: mappings merge key by key, lists and single values are replaced.",
        examples=[{"target": "production", "deployment": {"replicas": 4}}],
    )
    patch: list[Operation] = Field(
        default_factory=list[Operation],
        description="Carried out after that, for what merging cannot say.",
        examples=[[{"op": "replace", "path": "/spec/models/0/version", "value": 2}]],
    )

    @model_validator(mode="after")
    def _selects(self) -> "Override":
        if self.name is not None and self.tags is not None:
            raise refuse("excludes", "`name` and `tags` exclude each other", at=("tags",))
        if self.tags is not None and not self.tags:
            raise refuse("wrong-form", "`tags` must not be empty", hint="leave it out for the whole kind", at=("tags",))
        if self.kind == "Defaults" and (self.name is not None or self.tags is not None):
            given = "name" if self.name is not None else "tags"
            raise refuse("excludes", f"there is one `Defaults`: it takes no `{given}`", at=(given,))
        if self.spec is None and not self.patch:
            raise refuse("missing-key", "nothing is changed", hint="give a `spec`, a `patch` or both")
        return self


class OverlaySpec(Strict):
    """What an environment changes; of two overrides of the same field the later one wins."""

    overrides: list[Override] = Field(description="Changes, from the first to the last.")


class Overlay(Document):
    """What one environment changes in the documents, chosen by its name with `--env` or the operator's settings."""

    kind: Literal["Overlay"] = Field(description="What this document is.")
    metadata: Metadata = Field(description="Name of the environment, and a description.")
    spec: OverlaySpec = Field(description="The overlay.")


def spec_of(kind: str) -> type[Strict]:
    """The model of a kind's `spec`."""
    found = DOCUMENT_KINDS[kind].model_fields["spec"].annotation
    assert isinstance(found, type)
    assert issubclass(found, Strict)
    return found


def partial_spec_of(kind: str) -> type[Strict]:
    """The model of what an overlay may say of a kind's `spec`."""
    return partial(spec_of(kind))


KINDS: dict[str, type[Document]] = {**DOCUMENT_KINDS, "Overlay": Overlay}
