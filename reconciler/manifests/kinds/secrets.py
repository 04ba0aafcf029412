"""Secrets in manifests: by reference only, and the one type that says where a secret's value is found.

Every field that takes a secret is a `SecretSlot`, a `Variable`, or a mapping of those. Nothing here grants anything:
where references may lead is the operator's to say (`reconciler.settings.groups.SecretPlaces`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field, GetCoreSchemaHandler, ValidationError, ValidatorFunctionWrapHandler, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from reconciler.core.suspects import CREDENTIALS_IN_TEXT, looks_secret
from reconciler.manifests.kinds.base import RepoPath, Shorthand, Strict, refuse
from reconciler.manifests.kinds.names import JSON_POINTER, VAULT, VAULT_SECRET, VAULT_VERSION


class KeyVaultSecret(Strict):
    """A secret of an Azure Key Vault."""

    vault: Annotated[str, Field(pattern=VAULT, max_length=255)] = Field(
        description="Name of the vault, or its URL.", examples=["ml-production"]
    )
    secret: Annotated[str, Field(pattern=VAULT_SECRET)] = Field(
        description="Name of the secret.", examples=["database-password"]
    )
    version: Annotated[str, Field(pattern=VAULT_VERSION)] | None = Field(
        default=None,
        description="Its version, 32 hexadecimal digits. If omitted the newest, followed when it is rotated.",
    )


class SopsValue(Strict):
    """A value of a file in the repo that sops encrypted."""

    file: RepoPath = Field(
        description="YAML or JSON file, from the folder that holds models/ and services/.",
        examples=["secrets/production.yaml"],
    )
    key: Annotated[str, Field(pattern=JSON_POINTER, max_length=1024)] = Field(
        description="JSON pointer to the value in it.", examples=["/database/password"]
    )


SOURCES = ("env", "file", "keyVault", "sops")


class ValueFrom(Strict):
    """Where a secret's value is found; allowed places are set by the operator, none by default."""

    env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of an environment variable.",
        examples=["KEY"],
    )
    file: str | None = Field(default=None, min_length=1, description="Path of a file that holds nothing else.")
    key_vault: KeyVaultSecret | None = Field(default=None, description="Secret of an Azure Key Vault.")
    sops: SopsValue | None = Field(default=None, description="Value of a file in the repo that sops encrypted.")

    @model_validator(mode="after")
    def _one(self) -> "ValueFrom":
        if sum(value is not None for value in (self.env, self.file, self.key_vault, self.sops)) != 1:
            raise refuse(
                "value-from",
                f"`valueFrom` takes one of {', '.join(f'`{name}`' for name in SOURCES)}",
                hint="write `valueFrom: {env: NAME}`",
            )
        return self


def _no_literal(text: str) -> dict[str, Any]:
    raise refuse(
        "secret-literal",
        "a secret cannot stand in the repo itself",
        hint="refer to it: `valueFrom: {env: NAME}`, or `file`, `keyVault`, `sops`; change it if it was committed",
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
        def whole(value: object, inner: ValidatorFunctionWrapHandler) -> object:
            found = list(_literals(cast("Mapping[str, Any]", value))) if isinstance(value, Mapping) else []
            checked: object = None
            try:
                checked = inner(value)
            except ValidationError as error:
                if not found:
                    raise
                found += map(_again, cast("list[Any]", error.errors(include_url=False, include_input=False)))
            if found:
                raise ValidationError.from_exception_data("variables", found)
            return checked

        return core_schema.no_info_wrap_validator_function(whole, handler(source))


def _literals(variables: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    odd = tuple(name for name in variables if not _VARIABLE_NAME.fullmatch(name))
    if odd:
        message = "not a name for an environment variable"
        yield {"type": refuse("wrong-name", message, hint="letters, digits, `_`", at=odd), "input": None}
    secret = tuple(name for name, inner in variables.items() if isinstance(inner, str) and looks_secret(name, inner))
    secret += tuple(
        name
        for name, inner in variables.items()
        if isinstance(inner, Mapping)
        and CREDENTIALS_IN_TEXT.search(str(cast("Mapping[str, Any]", inner).get("value", "")))
    )
    if secret:
        hint = "write `NAME: {valueFrom: {env: NAME}}`; if it is no secret, `NAME: {value: …}`"
        message = "this looks like a secret, which cannot stand in the repo itself"
        yield {"type": refuse("secret-literal", message, hint=hint, at=secret), "input": None}


def _again(error: Mapping[str, Any]) -> InitErrorDetails:
    """An error that was found further in, to be raised together with others."""
    context: dict[str, Any] = error.get("ctx") or {}
    ours = "message" in context
    kind = PydanticCustomError(error["type"], "{message}", context) if ours else error["type"]
    return {"type": kind, "loc": error["loc"], "input": None, "ctx": context}


Variables = Annotated[
    dict[
        str,
        Annotated[Variable, Shorthand(lambda text: {"value": text}, {"type": "string"})],
    ],
    _NoSecretLiterals(),
    Field(examples=[{"LOG_LEVEL": "info", "API_KEY": {"valueFrom": {"env": "API_KEY"}}}]),
]
NameOrSecret = Annotated[Variable, Shorthand(lambda text: {"value": text}, {"type": "string"})]
