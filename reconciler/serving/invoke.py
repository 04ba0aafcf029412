"""Calls `run()` for one exchange, in the thread that scripts own, and turns whatever happens into an answer.

What a script raises is logged here with its traceback; the client gets one sentence and the request id.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from .errors import InputError
from .exchange import Exchange, Outcome
from .inputs import headers_for_script, reader
from .outputs import BROKEN_RESULT, encoder, message, render
from .script import EntryScript, Mode
from .settings import Settings

logger = logging.getLogger("reconciler.serving")

RUN_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
MISMATCH_LENGTH = 300
_PLAIN = (str, list, dict, float, int, type(None))


class Invocation:
    """How one loaded script is called: arguments, the call, the returned value."""

    def __init__(self, entry: EntryScript, settings: Settings) -> None:
        self._run = entry.run
        self._takes_headers = entry.takes_headers
        self._raw = entry.parameters[0][0] if entry.mode is Mode.RAW else None
        self._read = reader(entry)
        self._encode = encoder(settings.nan, settings.numpy)
        self._mismatch_status = 500 if settings.compat == "azureml" else 400

    def call(self, exchange: Exchange, wait: Callable[[Awaitable[Any]], Any]) -> Outcome:
        """Call a plain `run()`. Never raises. `wait` finishes an awaitable that `run()` returned all the same."""
        try:
            arguments = self._arguments(exchange)
        except InputError as error:
            return Outcome(message(error.status, error.message), None)
        began = time.perf_counter()
        try:
            returned = self._run(**arguments)
            if not isinstance(returned, _PLAIN) and inspect.isawaitable(returned):
                returned = wait(returned)
        except BaseException as error:  # noqa: BLE001 - a script may raise anything; the server goes on
            return self._failed(exchange, error, time.perf_counter() - began)
        return self._returned(exchange, returned, time.perf_counter() - began)

    async def call_async(self, exchange: Exchange) -> Outcome:
        """Call an `async def run()`. Raises only CancelledError, when it took too long."""
        try:
            arguments = self._arguments(exchange)
        except InputError as error:
            return Outcome(message(error.status, error.message), None)
        began = time.perf_counter()
        try:
            returned = await self._run(**arguments)
        except Exception as error:  # noqa: BLE001 - as above; CancelledError is ours
            return self._failed(exchange, error, time.perf_counter() - began)
        return self._returned(exchange, returned, time.perf_counter() - began)

    def _arguments(self, exchange: Exchange) -> dict[str, Any]:
        if self._raw is not None:
            from .rawrequest import from_scope

            arguments: dict[str, Any] = {self._raw: from_scope(exchange.scope, exchange.body)}
        else:
            content_type = exchange.headers.get(b"content-type", b"")
            arguments = self._read(exchange.method, content_type, exchange.scope["query_string"], exchange.body)
        if self._takes_headers:
            arguments["request_headers"] = headers_for_script(exchange.scope["headers"])
        return arguments

    def _returned(self, exchange: Exchange, returned: Any, seconds: float) -> Outcome:
        try:
            answer = render(returned, self._encode)
        except BaseException:  # noqa: BLE001 - conversions of the script's own objects may raise anything
            _log(exchange, f"run() returned a {type(returned).__name__} that has no JSON form")
            return Outcome(message(500, BROKEN_RESULT), seconds, failed=True)
        answer.headers.append((b"x-ms-run-fn-exec-ms", b"%.3f" % (seconds * 1000)))
        return Outcome(answer, seconds, failed=answer.status >= 500)

    def _failed(self, exchange: Exchange, error: BaseException, seconds: float) -> Outcome:
        if refused_by_schema(error.__traceback__):
            said = " ".join(str(error).split())[:MISMATCH_LENGTH]
            if self._mismatch_status == 400:
                _log(exchange, f"input does not match the schema: {said}", logging.INFO, with_traceback=False)
                return Outcome(message(400, f"Input does not match the schema: {said}"), seconds)
        _log(exchange, f"run() failed: {type(error).__name__}")
        return Outcome(message(500, RUN_FAILED, failed=True), seconds, failed=True)


def refused_by_schema(traceback: TracebackType | None) -> bool:
    """Whether an exception comes out of inference_schema's conversion of the input, before the script's own code."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_name == "_deserialize_input_argument" and "inference_schema" in code.co_filename:
            return True
        traceback = traceback.tb_next
    return False


def _log(exchange: Exchange, text: str, level: int = logging.ERROR, with_traceback: bool = True) -> None:
    fields = {"request_id": exchange.request_id.decode("latin-1")}
    logger.log(level, text, exc_info=sys.exc_info() if with_traceback else None, extra={"fields": fields})
