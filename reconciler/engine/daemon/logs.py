"""The daemon's log: structlog with constant event names, pretty on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog

from reconciler.core.secrets import Secret, SecretRef

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Libraries that log every connection or watch; their warnings are enough.
QUIET = ("watchfiles", "httpx", "httpcore", "git", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")


def configure_logging(format: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Sets the process's log up, records of the standard library's loggers included; may be called again.

    Args:
        format: `text`, `json`, or `auto`, which is text on a terminal.
        level: The least that is logged: `debug`, `info`, `warning` or `error`.
        stream: Where to; standard error if not given.

    Raises:
        ValueError: The format or the level is not known.
    """
    if format not in ("auto", "text", "json"):
        raise ValueError(f"log format {format!r} is not one of auto, text, json")
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(LEVELS)}")
    to = stream if stream is not None else sys.stderr
    text = format == "text" or (format == "auto" and to.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    # Tracebacks never show local variables: they could hold secrets.
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=to.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler = logging.StreamHandler(to)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in QUIET:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    # What it says of a connection that it tries again is in the error that comes of it, once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _without_secrets(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Secrets that found their way into a value are masked, however deep."""
    for key, value in event.items():
        event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    match value:
        case Secret() | SecretRef():
            return "(sensitive)"
        case dict():
            return {str(k): _masked(v) for k, v in cast("dict[Any, Any]", value).items()}
        case list() | tuple():
            return [_masked(item) for item in cast("list[Any]", value)]
        case _:
            return value
