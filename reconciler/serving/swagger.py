"""API documents of the service in Swagger 2.0, OpenAPI 3.0 and 3.1, from the schema decorators of the script.

Files of the user's in the app root win: `swagger.json` or `swagger2.json`, `swagger3.json`, `swagger3.1.json`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .errors import InputError
from .script import EntryScript, is_schema_decorated
from .settings import Service

logger = logging.getLogger("reconciler.serving")

Json = dict[str, Any]

_ALIASES: Final = {"2": "2", "2.0": "2", "3": "3", "3.0": "3", "3.1": "3.1"}
_FILES: Final = {"2": ("swagger.json", "swagger2.json"), "3": ("swagger3.json",), "3.1": ("swagger3.1.json",)}
_SPELLINGS: Final = {"2": ("2", "2.0"), "3": ("3", "3.0"), "3.1": ("3.1",)}
_ANY: Final[Json] = {"type": "object", "example": {}}
_FAILURE: Final[Json] = {"type": "object", "properties": {"message": {"type": "string"}}}


class Documents:
    """The documents this script can be described by, as JSON bytes."""

    def __init__(self, documents: dict[str, bytes]) -> None:
        self._documents = documents

    def get(self, version: str) -> bytes:
        """The document of a version: 2, 2.0, 3, 3.0 or 3.1. Raises InputError 404 for what there is not."""
        have = ", ".join(sorted(self._documents))
        if version not in _ALIASES:
            raise InputError(404, f"Swagger version [{version}] is not valid. Supported versions: [{have}].")
        document = self._documents.get(_ALIASES[version])
        if document is None:
            raise InputError(
                404,
                f"Swagger version [{version}] is not supported for the scoring script. "
                f"Supported swagger versions: [{have}].",
            )
        return document


def build(entry: EntryScript, app_root: Path, service: Service) -> Documents:
    """Make the documents: the user's files where there are any, generated ones otherwise."""
    documents: dict[str, bytes] = {}
    request, answer, versions = schemas(entry.run)
    for version, names in _FILES.items():
        own = _own(app_root, names)
        if own is not None:
            documents[version] = own
        elif versions is None or any(spelling in versions for spelling in _SPELLINGS[version]):
            document = _swagger2 if version == "2" else _openapi3
            made = document(service, request, answer)
            if version == "3.1":
                made["openapi"] = "3.1.0"
            documents[version] = json.dumps(made, default=str).encode()
    return Documents(documents)


def schemas(run: Callable[..., Any]) -> tuple[Json, Json, list[str] | None]:
    """Schema of the input, of the output, and the versions that can express them (None: all)."""
    if not is_schema_decorated(run):
        return _ANY, _ANY, None
    schema_util: Any = sys.modules["inference_schema.schema_util"]
    request: Any = schema_util.get_input_schema(run) or _ANY
    answer: Any = schema_util.get_output_schema(run) or _ANY
    return request, answer, [str(version) for version in schema_util.get_supported_versions(run)]


def _own(app_root: Path, names: tuple[str, ...]) -> bytes | None:
    for name in names:
        file = app_root / name
        try:
            text = file.read_bytes()
        except OSError:
            continue
        try:
            return json.dumps(json.loads(text)).encode()
        except ValueError as error:
            logger.warning("%s is not JSON (%s); a generated document is served in its place", file, error)
    return None


def _info(service: Service) -> Json:
    return {
        "title": service.name,
        "description": f"Scoring API of {service.name}: send data, get the model's prediction.",
        "version": service.version,
    }


def _prefix(service: Service) -> str:
    inner = service.path_prefix.strip("/")
    return f"/{inner}" if inner else ""


_BEARER: Final[Json] = {
    "type": "apiKey",
    "name": "Authorization",
    "in": "header",
    "description": "`Bearer` and a key of the service, as in `Bearer abc123`.",
}
_WORDS: Final = {
    "health": "Say whether the service takes requests.",
    "score": "Run the model on the data sent and return its prediction.",
    "swagger": "This document.",
}


def _swagger2(service: Service, request: Json, answer: Json) -> Json:
    prefix = _prefix(service)
    failure = {"description": "What went wrong.", "schema": {"$ref": "#/definitions/ErrorResponse"}}

    def operation(name: str, words: str, done: Json, **more: Any) -> Json:
        return {
            "operationId": name,
            "description": _WORDS[words],
            **more,
            "responses": {"200": done, "default": failure},
        }

    text = {"type": "string"}
    body = {"name": "serviceInputPayload", "in": "body", "schema": {"$ref": "#/definitions/ServiceInput"}}
    version = {"name": "version", "in": "query", "required": False, "type": "string", "enum": ["2", "3", "3.1"]}
    result = {"description": "The prediction.", "schema": {"$ref": "#/definitions/ServiceOutput"}}
    healthy = {"description": "The service takes requests.", "schema": text, "examples": {"text/html": "Healthy"}}
    document = {"description": "The document.", "schema": {"type": "object"}}
    return {
        "swagger": "2.0",
        "info": _info(service),
        "schemes": ["https", "http"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"Bearer": _BEARER},
        "paths": {
            f"{prefix}/": {"get": operation("ServiceHealthCheck", "health", healthy, produces=["text/html"])},
            f"{prefix}/score": {
                "post": operation("RunMLService", "score", result, security=[{"Bearer": []}], parameters=[body])
            },
            f"{prefix}/swagger.json": {
                "get": operation("GetSwaggerSpec", "swagger", document, security=[{"Bearer": []}], parameters=[version])
            },
        },
        "definitions": {"ServiceInput": request, "ServiceOutput": answer, "ErrorResponse": _FAILURE},
    }


def _openapi3(service: Service, request: Json, answer: Json) -> Json:
    prefix = _prefix(service)

    def content(schema: Json, kind: str = "application/json") -> Json:
        return {kind: {"schema": schema}}

    def operation(name: str, words: str, done: Json, **more: Any) -> Json:
        failure = {
            "description": "What went wrong.",
            "content": content({"$ref": "#/components/schemas/ErrorResponse"}),
        }
        return {
            "operationId": name,
            "description": _WORDS[words],
            **more,
            "responses": {"200": done, "default": failure},
        }

    secured: list[Json] = [{"Bearer": []}]
    version: Json = {
        "name": "version",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "enum": ["2", "3", "3.1"]},
    }
    body: Json = {"required": True, "content": content({"$ref": "#/components/schemas/ServiceInput"})}
    result = {"description": "The prediction.", "content": content({"$ref": "#/components/schemas/ServiceOutput"})}
    healthy = {"description": "The service takes requests.", "content": content({"type": "string"}, "text/html")}
    document = {"description": "The document.", "content": content({"type": "object"})}
    return {
        "openapi": "3.0.3",
        "info": _info(service),
        "paths": {
            f"{prefix}/": {"get": operation("ServiceHealthCheck", "health", healthy)},
            f"{prefix}/score": {"post": operation("RunMLService", "score", result, security=secured, requestBody=body)},
            f"{prefix}/swagger.json": {
                "get": operation("GetSwaggerSpec", "swagger", document, security=secured, parameters=[version])
            },
        },
        "components": {
            "schemas": {"ServiceInput": request, "ServiceOutput": answer, "ErrorResponse": _FAILURE},
            "securitySchemes": {"Bearer": _BEARER},
        },
    }
