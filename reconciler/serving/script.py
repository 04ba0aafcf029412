"""Loads the entry script and finds out how its `run` wants to be called. Calls `init()`, never `run()`."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import StartError
from .settings import Script
from .standins import exists

logger = logging.getLogger("reconciler.serving")

DETAIL_LINES = 30
RAW_MODULES = ("azureml.contrib.services.aml_request", "azureml_inference_server_http.api.aml_request")


class Mode(Enum):
    """What `run` gets: the body as text, one argument per key of a JSON object, or the request itself."""

    TEXT = "text"
    OBJECT = "object"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class EntryScript:
    """A loaded script. `parameters` are (name, default) pairs, `inspect.Parameter.empty` where there is no default."""

    path: Path
    init: Callable[[], Any]
    run: Callable[..., Any]
    mode: Mode
    parameters: tuple[tuple[str, Any], ...]
    takes_headers: bool
    is_async: bool


def load(script: Script) -> EntryScript:
    """Execute the entry script as module `entry_module` and look at its `run`.

    The module name, the search order and the rules for `run` are those of Azure ML's inference server.

    Raises:
        StartError: the file is missing or fails, or has no usable `init` and `run`.
    """
    _extend_path(script)
    module, path = _import(script)
    for name in ("init", "run"):
        if not callable(getattr(module, name, None)):
            raise StartError(f"entry script {path} has no {name}() function; define `def {name}(...)` in it")
    # A driver module wraps the user's script: its init() does the extra work, the script's own run() is the one
    # that carries the schema.
    inner: Any = getattr(module, "driver_module", None)
    owner: Any = inner if isinstance(inner, ModuleType) and hasattr(inner, "run") else module
    run: Callable[..., Any] = owner.run
    mode = _mode(run, path)
    parameters, takes_headers = _parameters(run, path)
    return EntryScript(
        path=path,
        init=module.init,
        run=run,
        mode=mode,
        parameters=parameters,
        takes_headers=takes_headers,
        is_async=inspect.iscoroutinefunction(inspect.unwrap(run)),
    )


def initialise(entry: EntryScript, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Call the script's `init()`; a coroutine is run on `loop`, or on a loop of its own.

    Raises:
        StartError: `init()` raised, or ended the process.
    """
    try:
        result = entry.init()
        if inspect.isawaitable(result):
            (loop or asyncio.new_event_loop()).run_until_complete(result)
    except BaseException as error:
        raise StartError(f"init() of {entry.path.name} failed: {describe(error)}", tail(error)) from error


def describe(error: BaseException) -> str:
    """One line for an exception: its type and message, with a hint where we know what helps."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SystemExit):
        return f"the script ended the process (exit status {error.code})"
    hint = _hint(error)
    return f"{said} ({hint})" if hint else said


def tail(error: BaseException) -> str:
    """The last lines of an exception's traceback, for the operator."""
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "\n".join(lines[-DETAIL_LINES:])


def _hint(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        if missing == "pyspark":
            return (
                "the script uses Spark: add pyspark to its environment, "
                "and a Java runtime (java on the PATH, or JAVA_HOME) to the machine or image"
            )
        if missing == "inference_schema":
            return "add inference-schema[numpy-support] or [pandas-support] to the script's environment"
        if not exists(missing):
            return f"the script's environment does not have {missing}; add the package that provides it"
    if "JAVA_GATEWAY_EXITED" in str(error) or "JAVA_HOME" in str(error):
        return "Spark found no Java runtime: install one and put java on the PATH, or set JAVA_HOME"
    return ""


def _extend_path(script: Script) -> None:
    folders = [script.app_root]
    if script.source_dir is not None:
        folders.append(script.app_root / script.source_dir)
    if script.entry is not None:
        folders.append(_locate(script).parent)
    for folder in folders:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def _locate(script: Script) -> Path:
    assert script.entry is not None
    candidates = [script.app_root / script.entry]
    if script.source_dir is not None:
        candidates.append(script.app_root / script.source_dir / script.entry)
    return next((path for path in candidates if path.is_file()), candidates[0])


def _import(script: Script) -> tuple[ModuleType, Path]:
    name = "main" if script.entry is None else "entry_module"
    if script.entry is None:
        spec = importlib.util.find_spec("main")
        if spec is None or spec.origin is None:
            raise StartError(f"no entry script: --entry was not given and there is no main.py in {script.app_root}")
        path = Path(spec.origin)
    else:
        path = _locate(script)
        if not path.is_file():
            raise StartError(f"entry script {path} does not exist")
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None:
            raise StartError(f"entry script {path} is not a Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}:{error.offset}"
        raise StartError(f"entry script has a syntax error at {where}: {error.msg}", tail(error)) from error
    except BaseException as error:
        raise StartError(f"entry script {path.name} could not be imported: {describe(error)}", tail(error)) from error
    return module, path


def _mode(run: Callable[..., Any], path: Path) -> Mode:
    raw = any(getattr(sys.modules.get(name), "_rawHttpRequested", False) for name in RAW_MODULES)
    decorated = is_schema_decorated(run)
    if raw and decorated:
        raise StartError(f"run() of {path} has both @rawhttp and @input_schema; it can have one of them")
    return Mode.RAW if raw else Mode.OBJECT if decorated else Mode.TEXT


def is_schema_decorated(run: Callable[..., Any]) -> bool:
    """Whether `run` carries decorators of inference_schema. False where the package was never imported."""
    schema_util: Any = sys.modules.get("inference_schema.schema_util")
    return schema_util is not None and bool(schema_util.is_schema_decorated(run))


def _parameters(run: Callable[..., Any], path: Path) -> tuple[tuple[tuple[str, Any], ...], bool]:
    found = list(inspect.signature(run).parameters.values())
    if any(p.kind not in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) for p in found):
        raise StartError(f"run() of {path} cannot take positional-only arguments, *args or **kwargs; name each one")
    takes_headers = any(p.name == "request_headers" for p in found)
    data = tuple((p.name, p.default) for p in found if p.name != "request_headers")
    if not data:
        other = ' other than "request_headers"' if takes_headers else ""
        raise StartError(f"run() of {path} needs an argument{other} for the input data")
    return data, takes_headers
