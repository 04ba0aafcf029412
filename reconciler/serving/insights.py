"""Telemetry as Application Insights takes it: Microsoft's OpenTelemetry exporter, asked for nothing but the sending.

The exporter reads the connection string from APPLICATIONINSIGHTS_CONNECTION_STRING. Neither global tracer nor logger
providers are set: they are the script's.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Sequence
from typing import Any

# Told before the exporter is loaded. It has telemetry of its own about itself, and lets itself be told from afar what
# to do, each at addresses that nobody here knows of (azure-monitor-opentelemetry-exporter 1.0.0b58, `_constants.py`).
_QUIET = (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
)
for _name in _QUIET:
    os.environ.setdefault(_name, "true")

from azure.core.pipeline.policies import SansIOHTTPPolicy  # noqa: E402
from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter, AzureMonitorTraceExporter  # noqa: E402
from opentelemetry._logs import LogRecord, SeverityNumber  # noqa: E402
from opentelemetry.context import Context  # noqa: E402
from opentelemetry.sdk._logs import ReadableLogRecord  # noqa: E402
from opentelemetry.sdk._logs.export import LogRecordExportResult  # noqa: E402
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan  # noqa: E402
from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: E402
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: E402
from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: E402
from opentelemetry.trace import (  # noqa: E402
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: E402

from .settings import Service  # noqa: E402
from .telemetry import Answered, Operation, Record, Said, Send  # noqa: E402

# Seconds of one attempt, of which there are two.
_PATIENCE = 10.0
_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)
_propagator = TraceContextTextMapPropagator()
_ids = RandomIdGenerator()


def connect(service: Service) -> Send:
    """What sends records of a service.

    Raises:
        ValueError: The connection string cannot be read.
    """
    return _Sender(service).send


class _Sender:
    def __init__(self, service: Service) -> None:
        instance = platform.node()
        told = {"service.name": service.name, "service.version": service.version, "service.instance.id": instance}
        self._resource = Resource(told)
        self._dimensions = {"Service Name": service.name, "Container Id": instance}
        options: dict[str, Any] = {
            "disable_offline_storage": True,
            "timeout": _PATIENCE,
            "read_timeout": _PATIENCE,
            "retry_total": 1,
            # Their lines, one for each request to Azure, belong into no service's log.
            "logging_policy": SansIOHTTPPolicy[Any, Any](),
            "http_logging_policy": SansIOHTTPPolicy[Any, Any](),
        }
        self._reasons = _Reasons()
        self._spans = AzureMonitorTraceExporter(**options)
        self._logs = AzureMonitorLogExporter(**options)

    def send(self, records: Sequence[Record]) -> str:
        """Send records. Returns why that was not possible, or "". Never raises."""
        spans = [self._span(one) for one in records if isinstance(one, Answered)]
        logs = [self._log(one) for one in records if isinstance(one, Said)]
        self._reasons.clear()
        sent = True
        try:
            if spans:
                sent = self._spans.export(spans) is SpanExportResult.SUCCESS
            if logs:
                sent = self._logs.export(logs) is LogRecordExportResult.SUCCESS and sent
        except Exception as error:  # noqa: BLE001 - telemetry never ends anything
            return type(error).__name__
        return "" if sent else self._reasons.last() or "the ingestion endpoint did not take it"

    def _span(self, one: Answered) -> ReadableSpan:
        context, parent = _trace(one.operation)
        return ReadableSpan(
            name=f"{one.method} {one.path}",
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={
                "http.request.method": one.method,
                "http.route": one.path,
                "http.response.status_code": one.status,
                "url.full": one.path,
                **self._dimensions_of(one.operation),
            },
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if one.status >= 400 else StatusCode.OK),
            start_time=one.ended - int(one.seconds * 1e9),
            end_time=one.ended,
        )

    def _log(self, one: Said) -> ReadableLogRecord:
        attributes: dict[str, Any] = dict(self._dimensions)
        context = Context()
        if one.operation is not None:
            attributes = self._dimensions_of(one.operation)
            context = set_span_in_context(NonRecordingSpan(_trace(one.operation)[0]), context)
        body = one.text
        if one.raised is not None:
            kind, message, stack = one.raised
            attributes |= {"exception.type": kind, "exception.message": message, "exception.stacktrace": stack}
            attributes["Message"] = one.text
            body = message or kind
        record = LogRecord(
            timestamp=one.ended,
            context=context,
            severity_number=next((number for level, number in _SEVERITIES if one.level >= level), SeverityNumber.DEBUG),
            body=body,
            attributes=attributes,
        )
        return ReadableLogRecord(record, self._resource, InstrumentationScope(one.source))

    def _dimensions_of(self, operation: Operation) -> dict[str, str]:
        """Custom dimensions, by the names that Azure ML's server gave them."""
        found = {**self._dimensions, "Request Id": operation.request_id.decode("latin-1")}
        if operation.client_id:
            found["Client Request Id"] = operation.client_id.decode("latin-1")
        return found


def _trace(operation: Operation) -> tuple[SpanContext, SpanContext | None]:
    """The ids of a request and of what called it; made when they are first asked for, by the one thread that does."""
    if operation.trace is None:
        carrier = {"traceparent": operation.traceparent.decode("latin-1")}
        caller = get_current_span(_propagator.extract(carrier, Context())).get_span_context()
        parent = caller if caller.is_valid else None
        trace_id = parent.trace_id if parent else _ids.generate_trace_id()
        own = SpanContext(trace_id, _ids.generate_span_id(), is_remote=False, trace_flags=TraceFlags(1))
        operation.trace = own, parent
    return operation.trace


class _Reasons(logging.Handler):
    """Keeps the last complaint of the exporter, which returns no reason."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = ""
        logging.getLogger("azure.monitor.opentelemetry.exporter").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._last = " ".join(record.getMessage().split())[:300]

    def clear(self) -> None:
        """Forget."""
        self._last = ""

    def last(self) -> str:
        """What was said since."""
        return self._last
