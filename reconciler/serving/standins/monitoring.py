"""Stand-in for Azure ML's data collectors: they accept data and keep none, and say so once."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger("reconciler.serving")


def _say(name: str) -> None:
    logger.warning("%s collects nothing here: there is no Azure ML workspace to collect for", name)


class ModelDataCollector:
    """`azureml.monitoring`: accepts data, keeps none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _say("ModelDataCollector")

    def collect(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""


class Collector:
    """`azureml.ai.monitoring`: accepts data, keeps none."""

    def __init__(self, *, name: str, on_error: Callable[[Exception], Any] | None = None) -> None:
        self.name = name
        _say("Collector")

    def collect(self, data: Any, correlation_context: Any = None) -> Any:
        """Keep nothing; gives the context back, or a new one, to be passed on."""
        return BasicCorrelationContext() if correlation_context is None else correlation_context


class CorrelationContext:
    """What belongs together: the inputs and the outputs of one request."""

    def get_id(self) -> str:
        """Its id."""
        return ""

    def __str__(self) -> str:
        return self.get_id()

    __repr__ = __str__


class BasicCorrelationContext(CorrelationContext):
    """A context with an id of its own, and what the real one knows beside it.

    Args:
        id: the request's id; a random one if omitted.
        timestamp: seconds since 1970; now if omitted.
        headers: the request's headers.
    """

    def __init__(
        self, id: str | None = None, timestamp: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.id = id or str(uuid.uuid4())
        self.timestamp = timestamp or int(time.time())
        self.headers = dict(headers or {})

    def get_id(self) -> str:
        """Its id."""
        return self.id

    def get_timestamp(self) -> int:
        """Seconds since 1970."""
        return self.timestamp

    def get_headers(self) -> dict[str, str]:
        """The request's headers."""
        return self.headers


def get_context() -> CorrelationContext:
    """A new context."""
    return BasicCorrelationContext()
