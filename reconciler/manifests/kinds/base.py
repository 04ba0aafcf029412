"""What all kinds are made of: strict models with camelCase keys, names, and secrets by reference.

Only imported when a document must be validated: the import of pydantic costs more than planning a small repo.
"""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from reconciler.core.dataclass import dataclass
from reconciler.manifests.kinds.names import (
    AS_TEXT,
    CREDENTIALS_IN_TEXT,
    MODEL_NAME,
    NAME,
    REPO_PATH,
    SERVICE_NAME,
    SHA256,
    looks_secret,
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


class ValueFrom(Strict):
    """Where a secret's value is found; allowed places are set by the operator, none by default."""

    env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of an environment variable.",
        examples=["KEY"],
    )
    file: str | None = Field(default=None, min_length=1, description="Path of a file that holds nothing else.")

    @model_validator(mode="after")
    def _one(self) -> "ValueFrom":
        if (self.env is None) == (self.file is None):
            raise refuse(
                "value-from", "`valueFrom` takes either `env` or `file`", hint="write `valueFrom: {env: NAME}`"
            )
        return self


def _no_literal(text: str) -> dict[str, Any]:
    raise refuse(
        "secret-literal",
        "a secret cannot stand in the repo itself",
        hint="refer to it: `valueFrom: {env: NAME}` or `valueFrom: {file: PATH}`; change it if it was committed",
    )


class SecretSlot(Strict):
    """A secret, by reference only."""

    value_from: ValueFrom = Field(description="Where the secret is found.")


Secret = Annotated[SecretSlot, Shorthand(_no_literal, None)]


class Variable(Strict):
    """A value as text, or by reference."""

    value: str | None = Field(
        default=None, description="The value as it is; says that it is no secret where the name looks like one."
    )
    value_from: ValueFrom | None = Field(default=None, description="Where a secret value is found.")

    @model_validator(mode="after")
    def _one(self) -> "Variable":
        if (self.value is None) == (self.value_from is None):
            raise refuse("value-from", "takes either `value` or `valueFrom`")
        return self


_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, eq=False)
class _NoSecretLiterals:
    """Refuses literals where the variable's name, or the value's form, says that it is a secret."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def before(value: object) -> object:
            if not isinstance(value, Mapping):
                return value
            variables = cast("Mapping[str, Any]", value)
            odd = tuple(name for name in variables if not _VARIABLE_NAME.fullmatch(name))
            if odd:
                raise refuse(
                    "wrong-name", "not a name for an environment variable", hint="letters, digits, `_`", at=odd
                )
            secret = tuple(
                name for name, inner in variables.items() if isinstance(inner, str) and looks_secret(name, inner)
            )
            secret += tuple(
                name
                for name, inner in variables.items()
                if isinstance(inner, Mapping)
                and CREDENTIALS_IN_TEXT.search(str(cast("Mapping[str, Any]", inner).get("value", "")))
            )
            if secret:
                hint = "write `NAME: {valueFrom: {env: NAME}}`; if it is no secret, `NAME: {value: …}`"
                raise refuse(
                    "secret-literal",
                    "this looks like a secret, which cannot stand in the repo itself",
                    hint=hint,
                    at=secret,
                )
            return cast("object", value)

        return core_schema.no_info_before_validator_function(before, handler(source))


Variables = Annotated[
    dict[
        str,
        Annotated[Variable, Shorthand(lambda text: {"value": text}, {"type": "string"})],
    ],
    _NoSecretLiterals(),
    Field(examples=[{"LOG_LEVEL": "info", "API_KEY": {"valueFrom": {"env": "API_KEY"}}}]),
]
NameOrSecret = Annotated[Variable, Shorthand(lambda text: {"value": text}, {"type": "string"})]
