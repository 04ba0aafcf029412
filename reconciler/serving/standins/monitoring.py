"""Stand-in for Azure ML's data collectors: they accept data and keep none, and say so once."""

from __future__ import annotations

import logging
from collections.abc import Callable
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
        """Keep nothing; gives the context back, to be passed on."""
        return correlation_context
