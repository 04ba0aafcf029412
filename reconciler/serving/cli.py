"""Arguments and environment variables to `Settings`, and the choice between one worker and several."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import RUNTIME_VERSION, logs
from .errors import StartError
from .settings import Access, Limits, Listen, Script, Service, Settings

logger = logging.getLogger("reconciler.serving")

DEFAULT_PORT = 5001

EPILOG = """\
Environment variables of Azure ML stand in for arguments: AML_APP_ROOT, AZUREML_SOURCE_DIRECTORY,
AZUREML_ENTRY_SCRIPT, AZUREML_MODEL_DIR, SERVICE_NAME, SERVICE_VERSION, SERVICE_PATH_PREFIX, SCORING_TIMEOUT_MS,
WORKER_COUNT, AML_CORS_ORIGINS, AZUREML_LOG_LEVEL.

With AML_APP_INSIGHTS_ENABLED=true, telemetry goes to the Application Insights resource whose connection string is in
APPLICATIONINSIGHTS_CONNECTION_STRING; the script's environment has to hold azure-monitor-opentelemetry-exporter.

Exit codes: 0 stopped as asked, 2 wrong arguments, 3 the entry script failed, 4 the machine refused (an address in
use, an unreadable key file).

example: python -m reconciler.serving --entry score.py --source-dir ./src --port 8890
"""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings from arguments, with environment variables where an argument is not given.

    Raises:
        SystemExit: code 2, after a message on standard error, for arguments that make no sense.
    """
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    if given.tls_key is not None and given.tls_cert is None:
        parser.error("--tls-key needs --tls-cert")
    if given.hold and given.control_fd is None:
        parser.error("--hold needs --control-fd, or nothing could tell the worker to accept")
    if given.workers > 1 and (given.hold or given.uds is not None):
        parser.error("--workers goes with --host and --port or --fd; --hold and --uds are for one worker")
    app_root = Path(environment.get("AML_APP_ROOT") or given.source_dir or Path.cwd()).absolute()
    port = given.port
    if port is None and given.uds is None and given.fd is None:
        port = DEFAULT_PORT
    return Settings(
        script=Script(app_root, given.entry, given.source_dir, given.model_dir),
        listen=Listen(
            given.host, port, given.uds, given.fd, given.hold, given.control_fd, given.tls_cert, given.tls_key
        ),
        limits=Limits(
            max_body=given.max_body_bytes,
            timeout=given.timeout_ms / 1000,
            queue=given.queue,
            max_wait=given.max_wait_ms / 1000 if given.max_wait_ms is not None else None,
            concurrency=given.concurrency,
            graceful=given.graceful_seconds,
            keep_alive=given.keep_alive_seconds,
            drain_idle=given.drain_idle_seconds,
            stop_idle=given.stop_idle_seconds,
            header_timeout=given.header_timeout_seconds,
            body_timeout=given.body_timeout_seconds,
        ),
        access=Access(
            given.keys_file,
            tuple(origin.strip() for origin in given.cors.split(",") if origin.strip()),
            given.swagger,
            given.swagger_public,
            given.metrics_public,
        ),
        service=Service(given.service_name, given.service_version, given.path_prefix),
        workers=given.workers,
        nan=given.nan,
        numpy=given.numpy,
        compat=given.compat,
        log_format=given.log_format,
        log_level=given.log_level.upper(),
        access_log=given.access_log,
        server_version=environment.get("HTTP_X_MS_SERVER_VERSION") or f"reconciler-serving/{RUNTIME_VERSION}",
        metrics_file=given.metrics_file,
        metrics_slot=given.metrics_slot,
        telemetry=environment.get("AML_APP_INSIGHTS_ENABLED", "").lower() == "true",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server. Returns the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    settings = parse(argv, os.environ)
    logs.configure(settings.log_format, settings.log_level)
    faulthandler.enable()
    _publish(settings)
    try:
        if settings.workers > 1:
            from .parent import Parent

            return Parent(settings, argv).run()
        from .worker import Worker, new_loop

        return Worker(settings, new_loop()).run()
    except StartError as error:
        logger.error(error.reason)
        return error.exit_code


def _publish(settings: Settings) -> None:
    """Set the variables that entry scripts read."""
    script = settings.script
    os.environ.setdefault("AML_APP_ROOT", str(script.app_root))
    if script.model_dir is not None:
        os.environ["AZUREML_MODEL_DIR"] = str(script.model_dir.absolute())
    if script.entry is not None:
        os.environ.setdefault("AZUREML_ENTRY_SCRIPT", script.entry)


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reconciler.serving",
        description="Serve an Azure ML style entry script (init() and run(data)) over HTTP.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    positive = _number(int, 1)
    group = parser.add_argument_group("script")
    add = group.add_argument
    add("--entry", default=env.get("AZUREML_ENTRY_SCRIPT"), help="entry script, relative to the source folder")
    source = env.get("AZUREML_SOURCE_DIRECTORY")
    add("--source-dir", type=Path, default=Path(source) if source else None, help="folder the script's modules are in")
    add("--model-dir", type=Path, default=None, help="sets AZUREML_MODEL_DIR for the script")
    group = parser.add_argument_group("where to listen")
    add = group.add_argument
    add("--host", default="127.0.0.1", help="address (default: %(default)s, this machine only)")
    add("--port", type=_number(int, 0, 65535), help=f"port, 0 for any free one (default: {DEFAULT_PORT})")
    add("--uds", type=Path, help="Unix socket that only this user can open")
    add("--fd", type=_number(int, 0), help="inherited listening socket")
    add("--hold", action="store_true", help="do not accept on --fd or --port before the supervisor says so")
    add("--control-fd", type=_number(int, 0), help="inherited socket to the supervisor, JSON lines")
    add("--tls-cert", type=Path, help="certificate chain, PEM; read again when it changes")
    add("--tls-key", type=Path, help="its private key, PEM")
    group = parser.add_argument_group("limits")
    add = group.add_argument
    limits, service = Limits(), Service()
    workers = env.get("WORKER_COUNT", "1")
    add("--workers", type=positive, default=workers, help="worker processes (default: %(default)s)")
    add("--concurrency", type=positive, default=1, help="run() at once per worker; above 1 for thread-safe scripts")
    add("--queue", type=_number(int, 0), default=limits.queue, help="requests that may wait (default: %(default)s)")
    add("--max-wait-ms", type=positive, help="longest wait for run() to begin (default: as long as it takes)")
    add("--max-body-bytes", type=positive, default=limits.max_body, help="largest body (default: %(default)s)")
    timeout = env.get("SCORING_TIMEOUT_MS", f"{limits.timeout * 1000:.0f}")
    add("--timeout-ms", type=positive, default=timeout, help="longest run() (default: %(default)s)")
    seconds = _number(float, 0)
    add("--graceful-seconds", type=seconds, default=limits.graceful, help="time to finish when stopped")
    add("--keep-alive-seconds", type=positive, default=int(limits.keep_alive), help="idle connections live this long")
    add("--drain-idle-seconds", type=seconds, default=limits.drain_idle, help="and this long in a drain")
    add("--stop-idle-seconds", type=seconds, default=limits.stop_idle, help="and this long after SIGTERM (default: 0)")
    add("--header-timeout-seconds", type=seconds, default=limits.header_timeout, help="for a request's headers")
    add("--body-timeout-seconds", type=seconds, default=limits.body_timeout, help="for a request's body")
    group = parser.add_argument_group("access")
    add = group.add_argument
    add("--keys-file", type=Path, help='digests of Bearer keys: {"keys": [{"slot": "primary", "sha256": "…"}]}')
    add(
        "--cors",
        default=env.get("AML_CORS_ORIGINS", ""),
        metavar="ORIGINS",
        help="origins of browsers, comma-separated",
    )
    add("--swagger", action=argparse.BooleanOptionalAction, default=True, help="serve /swagger.json")
    add("--swagger-public", action="store_true", help="serve it without a key")
    add("--metrics-public", action="store_true", help="serve /metrics without a key")
    group = parser.add_argument_group("behaviour")
    add = group.add_argument
    add("--nan", choices=("keep", "null", "error"), default="keep", help="NaN in results (default: as Azure ML, NaN)")
    add("--numpy", choices=("convert", "refuse"), default="convert", help="numpy values in results")
    add("--compat", choices=("none", "azureml"), default="none", help="azureml: 500 for schema mismatch and time-out")
    add("--service-name", default=env.get("SERVICE_NAME", service.name), help="for the API document")
    add("--service-version", default=env.get("SERVICE_VERSION", service.version), help="for the API document")
    add("--path-prefix", default=env.get("SERVICE_PATH_PREFIX", ""), help="for the API document")
    group = parser.add_argument_group("logs and metrics")
    add = group.add_argument
    add("--log-format", choices=("text", "json"), default="text", help="of standard error")
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    add(
        "--log-level", default=env.get("AZUREML_LOG_LEVEL", "INFO"), type=str.upper, choices=levels, help="lowest level"
    )
    add("--access-log", action="store_true", help="one line per scoring request")
    add("--metrics-file", type=Path, help="counters shared by the workers of one server")
    add("--metrics-slot", type=_number(int, 0, 1023), default=0, help="this worker's place in it")
    parser.add_argument("--version", action="version", version=RUNTIME_VERSION)
    return parser


class _number:
    """An argparse type: a number within bounds, with a message that names them."""

    def __init__(self, kind: type[int] | type[float], least: float, most: float | None = None) -> None:
        self._kind = kind
        self._least = least
        self._most = most

    def __call__(self, text: str) -> int | float:
        bounds = f"at least {self._least:g}" if self._most is None else f"from {self._least:g} to {self._most:g}"
        try:
            value = self._kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number; it has to be {bounds}") from None
        if value < self._least or (self._most is not None and value > self._most):
            raise argparse.ArgumentTypeError(f"{text} is out of bounds; it has to be {bounds}")
        return value
