"""What can be said of an entry script without running it."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator

from reconciler.manifests.script import Script

# Modules whose import means that the script wants the whole HTTP request, by which the environment needs werkzeug:
# azureml-contrib-services 1.61 and azureml-inference-server-http 1.5.
_RAW_MODULES = ("azureml.contrib.services", "azureml_inference_server_http.api")
_filters = threading.Lock()


def inspect(data: bytes) -> Script:
    """Parses a script; nothing of it is executed."""
    try:
        # Warnings about the user's code are the user's; the filters are global, hence the lock.
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(data)
    except SyntaxError as exc:
        return Script(exc.msg or "invalid syntax", exc.lineno or 0, exc.offset or 0)
    except (ValueError, RecursionError, MemoryError) as exc:
        return Script("not Python source" if isinstance(exc, ValueError) else "nested too deeply")
    names = set(_bound(module.body))
    return Script(
        names=tuple(sorted(names & {"init", "run", "driver_module", "__getattr__"})),
        open_ended="*" in names or "__getattr__" in names,
        raw=any(_is_raw(node) for node in ast.walk(module)),
    )


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that statements bind at the level they stand on."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.Assign():
                yield from (name for target in node.targets for name in _targets(target))
            case ast.AnnAssign() | ast.AugAssign():
                yield from _targets(node.target)
            case _:
                for field in ("body", "orelse", "finalbody"):
                    yield from _bound(getattr(node, field, []))
                for handler in getattr(node, "handlers", []):
                    yield from _bound(handler.body)


def _targets(target: ast.expr) -> Iterator[str]:
    yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _is_raw(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        whole = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        return any(_below(name) for name in whole) or any(alias.name == "rawhttp" for alias in node.names)
    if isinstance(node, ast.Import):
        return any(_below(alias.name) for alias in node.names)
    return isinstance(node, ast.Name) and node.id == "rawhttp"


def _below(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in _RAW_MODULES)
