"""What all kinds are made of: strict models with camelCase keys, and the types that many of them share.

Only imported when a document must be validated: the import of pydantic costs more than planning a small repo.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from reconciler.core.dataclass import dataclass
from reconciler.manifests.kinds.names import (
    AS_TEXT,
    MODEL_NAME,
    NAME,
    REPO_PATH,
    SERVICE_NAME,
    SHA256,
)


def _alias(name: str) -> str:
    # Interned, so that the keys of thousands of documents are one text in memory, also after unmarshalling.
    return sys.intern(to_camel(name))


class Strict(BaseModel):
    """A mapping of known keys; nothing is coerced, so that what is written is what is meant."""

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=_alias,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


def refuse(code: str, message: str, *, hint: str = "", at: tuple[str, ...] = ()) -> PydanticCustomError:
    """A problem of our own: `at` names the keys (relative to what is validated) at which it stands, once for each."""
    return PydanticCustomError(cast("Any", code), "{message}", {"message": message, "hint": hint, "at": list(at)})


@dataclass(frozen=True, eq=False)
class Shorthand:
    """A mapping that may also be written as a text.

    Args:
        expand: Makes the mapping of a text; raises `refuse(…)` where it cannot.
        schema: The JSON Schema of the text; None where a text is understood only to be refused with a good reason.
    """

    expand: Callable[[str], dict[str, Any]]
    schema: dict[str, Any] | None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def before(value: Any) -> Any:
            if isinstance(value, str):
                return self.expand(value)
            if isinstance(value, (bool, int, float)) and self.schema is not None:
                raise refuse("wrong-type", "must be text", hint=AS_TEXT)
            return value

        return core_schema.no_info_before_validator_function(before, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(schema)
        return {"anyOf": [self.schema, inner]} if self.schema else dict(inner)


Text = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, Field(pattern=NAME, examples=["laptop"])]
ModelName = Annotated[str, Field(pattern=MODEL_NAME, examples=["diabetes-ridge"])]
ServiceName = Annotated[str, Field(pattern=SERVICE_NAME, max_length=32, examples=["diabetes"])]
RepoPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=REPO_PATH)]
Sha256 = Annotated[str, Field(pattern=SHA256, examples=["sha256:" + "0" * 64])]
Tags = Annotated[dict[str, str], Field(examples=[{"team": "health"}])]
Positive = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[int, Field(ge=1, le=86_400_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Cores = Annotated[float, Field(gt=0, le=1024)]
Gigabytes = Annotated[float, Field(gt=0, le=65_536)]
Port = Annotated[int, Field(ge=1, le=65_535)]
