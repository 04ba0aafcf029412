"""Stand-in for what scripts that automated ML generated import around their model: telemetry that goes nowhere.

The model itself is loaded by joblib and needs the packages that it was made with. Names and arguments are those of
`azureml-automl-core` and `azureml-telemetry`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

INSTRUMENTATION_KEY = ""

_logger = logging.getLogger("reconciler.serving")


def enable_telemetry(*args: Any, **kwargs: Any) -> None:
    """`log_server`: says that nothing is sent."""
    _logger.info("log_server.enable_telemetry sends nothing: what the script logs stands in the service's log")


def set_log_file(*args: Any, **kwargs: Any) -> None:
    """`log_server`: the log stays the service's."""


def set_verbosity(*args: Any, **kwargs: Any) -> None:
    """`log_server`: how much is logged, the service's settings say."""


def update_custom_dimensions(dimensions: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
    """`log_server`: there is nothing to add them to."""


def log_traceback(
    exception: BaseException,
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
    override_error_msg: str | None = None,
    is_critical: bool | None = True,
    tb: TracebackType | None = None,
) -> None:
    """`logging_utilities`: an exception and where it came from, in the log.

    Args:
        logger: None for that of this package.
        override_error_msg: What is said in place of the exception's own message.
        is_critical: False for what is a warning only.
        tb: Another traceback than the exception's own.
    """
    level = logging.ERROR if is_critical else logging.WARNING
    trace = tb if tb is not None else exception.__traceback__
    (logger or _logger).log(level, override_error_msg or str(exception), exc_info=(type(exception), exception, trace))
