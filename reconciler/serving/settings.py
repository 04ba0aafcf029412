"""What one server process was told: a frozen value, made by `cli` from arguments and environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Nan = Literal["keep", "null", "error"]
Numpy = Literal["convert", "refuse"]
Compat = Literal["none", "azureml"]
LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Script:
    """Where the entry script is. `entry` None means `main.py` found on the path, as Azure ML does."""

    app_root: Path
    entry: str | None = None
    source_dir: Path | None = None
    model_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """Where requests come from. `fd` is an inherited listening socket, `uds` a private Unix socket."""

    host: str = "127.0.0.1"
    port: int | None = None
    uds: Path | None = None
    fd: int | None = None
    hold: bool = False
    control_fd: int | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one peer or one run may take. Times in seconds, sizes in bytes, `timeout` of one `run()`."""

    max_body: int = 100 * 1024 * 1024
    timeout: float = 3600.0
    queue: int = 128
    max_wait: float | None = None
    concurrency: int = 1
    graceful: float = 30.0
    keep_alive: float = 65.0
    drain_idle: float = 5.0
    stop_idle: float = 0.0
    header_timeout: float = 10.0
    body_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask what: keys by digest from a file, origins of browsers, which documents need no key."""

    keys_file: Path | None = None
    cors: tuple[str, ...] = ()
    swagger: bool = True
    swagger_public: bool = False
    metrics_public: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """What the generated API document says about the service."""

    name: str = "ML service"
    version: str = "1.0"
    path_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one process needs to know."""

    script: Script
    listen: Listen = Listen()
    limits: Limits = Limits()
    access: Access = Access()
    service: Service = Service()
    workers: int = 1
    nan: Nan = "keep"
    numpy: Numpy = "convert"
    compat: Compat = "none"
    log_format: LogFormat = "text"
    log_level: str = "INFO"
    access_log: bool = False
    server_version: str = ""
    metrics_file: Path | None = None
    metrics_slot: int = 0
    telemetry: bool = False
