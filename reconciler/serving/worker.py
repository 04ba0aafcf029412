"""One worker process: the script in the main thread, the event loop in another, and how both begin and end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config

from . import listeners, pickles, standins
from .app import Application
from .control import Control
from .cors import Cors
from .errors import StartError
from .invoke import Invocation
from .keys import Keys
from .metrics import Metrics
from .score import Scoring
from .script import EntryScript, initialise, load
from .settings import Settings
from .swagger import Documents, build
from .wire import Connections, FastProtocol

if TYPE_CHECKING:
    from .telemetry import Telemetry

logger = logging.getLogger("reconciler.serving")

ORPHAN_GRACE = 5.0
SETTLE_PLAIN = 0.2
SETTLE_TLS = 1.0
BUSY_WINDOW = 10
OPEN_FILES = 8192


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's event loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Worker:
    """Serves one entry script until it is told to stop.

    Args:
        settings: what to serve and where.
        loop: the event loop to serve on; it runs in a thread of its own.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._loop = loop
        limits = settings.limits
        self._keys = Keys(settings.access.keys_file)
        self._metrics = Metrics(settings.metrics_file, settings.metrics_slot)
        cors = Cors(settings.access.cors) if settings.access.cors else None
        self._telemetry = _telemetry(settings)
        self._scoring = Scoring(settings, self._keys, self._metrics, loop, cors, self._telemetry)
        self._runner = self._scoring.runner
        self._app = Application(settings, self._scoring, self._keys, self._metrics, cors)
        self._connections = Connections(self._scoring, limits)
        self._tls = listeners.tls_context(settings.listen)
        self._certificate = self._certificate_time()
        orders = {"accept": self._accept, "drain": self._drain, "reload-keys": self._reload_keys}
        self._control = Control(settings.listen.control_fd, orders, self._orphaned)
        self._bound: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._script_done = threading.Event()
        self._script_running = False
        self._failed = False
        self._ended_at = 0.0
        self._ending: asyncio.Event | None = None
        self._drain_idle = 0.0
        self._grace = limits.graceful

    # -- the main thread

    def run(self) -> int:
        """Serve until told to stop. Returns the exit code: 0, 3 (the script failed) or 4 (the machine refused)."""
        _allow_many_connections()
        wakeup = self._signals_to_socket()
        thread = threading.Thread(target=self._loop_thread, args=(wakeup,), name="server", daemon=True)
        thread.start()
        try:
            self._bound.result()
            seconds, entry, notes = self._start_script()
        except StartError as error:
            logger.error("%s%s", error.reason, f"\n{error.detail}" if error.detail else "")
            self._on_loop(self._fail, error)
            thread.join(ORPHAN_GRACE)
            self._stop_telemetry()
            return error.exit_code
        invocation = self._invocation(entry)
        self._script_running = True
        self._on_loop(self._became_ready, entry, seconds, notes)
        try:
            self._runner.work(invocation)
        finally:
            self._script_done.set()
        thread.join()
        self._stop_telemetry()
        # Threads that the script left behind may not keep the process for longer than the graceful time.
        watchdog = threading.Timer(self._grace, _leave, (0,))
        watchdog.daemon = True
        watchdog.start()
        return 0

    def _start_script(self) -> tuple[float, EntryScript, list[str]]:
        settings = self._settings
        began = time.perf_counter()
        standins.install()
        untold = self._start_telemetry()
        with warnings.catch_warnings():
            notes = pickles.watch()
            try:
                entry = load(settings.script)
                loop = None
                if entry.is_async:
                    loop = asyncio.new_event_loop()
                    asyncio.set_event_loop(loop)
                    self._runner.use_loop(loop)
                initialise(entry, loop)
            except StartError as error:
                raise pickles.explain(error, settings.script) from error
        try:
            self._app.documents = build(entry, settings.script.app_root, settings.service)
        except Exception:
            # Schemas come from classes that scripts may define themselves; scoring does not depend on them.
            logger.exception("no API document can be made from the script's schemas")
            self._app.documents = Documents({})
        return time.perf_counter() - began, entry, notes + untold

    def _start_telemetry(self) -> list[str]:
        """Begin to listen to the script, before it is loaded. Returns what the operator should know."""
        if self._telemetry is None:
            return []
        why = self._telemetry.start(os.environ)
        if why:
            logger.warning(why)
            return [why]
        from . import speech

        speech.listen(self._telemetry)
        return []

    def _stop_telemetry(self) -> None:
        if self._telemetry is not None:
            self._telemetry.stop()

    def _invocation(self, entry: EntryScript) -> Invocation:
        if self._telemetry is None:
            return Invocation(entry, self._settings)
        from .telemetry import TracedInvocation

        return TracedInvocation(entry, self._settings)

    def _signals_to_socket(self) -> socket.socket:
        """Turn signals into bytes on a socket: the event loop's thread hears them while the script holds this one.

        A script may take the wake-up descriptor for itself (some event loops do); then the plain handler, which
        Python calls when the script gives it a chance, still tells.
        """
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)

        def handler(number: int, frame: object) -> None:
            self._on_loop(self._signalled, number)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, handler)
        signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
        return receiver

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(function, *args)

    # -- the event loop's thread

    def _loop_thread(self, wakeup: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(wakeup))
        except StartError as error:
            self._bound.set_exception(error)
        except BaseException:
            logger.exception("the server failed")
            os._exit(1)
        finally:
            self._loop.close()

    async def _serve(self, wakeup: socket.socket) -> None:
        settings, loop = self._settings, self._loop
        self._ending = asyncio.Event()
        config = Config(
            self._app,
            http=FastProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(settings.limits.keep_alive),
        )
        config.load()

        def connection() -> asyncio.Protocol:
            return FastProtocol(config=config, server_state=self._connections, app_state={}, _loop=loop)  # type: ignore[call-arg]

        await self._control.connect()
        self._control.tell("starting", pid=os.getpid())
        loop.add_reader(wakeup, self._on_signal, wakeup)
        try:
            self._listeners = listeners.Listeners(
                settings.listen, connection, self._tls, settings.limits.header_timeout
            )
        except StartError as error:
            self._fail(error)
            await self._control.close()
            raise
        self._new_date()
        await self._listeners.serve_private()
        if not settings.listen.hold and settings.listen.fd is None:
            await self._listeners.accept()
        logger.info("listening", extra={"fields": {"address": self._listeners.address, "pid": os.getpid()}})
        self._control.tell("listening", address=self._listeners.address)
        self._bound.set_result(None)
        ticking = [asyncio.create_task(self._watch_runs()), asyncio.create_task(self._every_second())]
        sweeping = asyncio.create_task(self._sweep())
        await self._ending.wait()
        await self._finish()
        for task in (*ticking, sweeping):
            task.cancel()

    def _became_ready(self, entry: EntryScript, seconds: float, notes: list[str]) -> None:
        assert self._ending is not None
        self._scoring.start(entry, seconds)
        self._metrics.gauge("ready", 1)
        logger.info("ready", extra={"fields": {"init_seconds": round(seconds, 3), "entry": str(entry.path)}})
        self._control.tell("ready", init_seconds=round(seconds, 6), warnings=notes)
        if not self._settings.listen.hold:
            self._accept()
        if self._ending.is_set():
            self._runner.stop()

    def _fail(self, error: StartError) -> None:
        self._failed = True
        self._scoring.why_not = "the entry script failed"
        self._control.tell("failed", reason=error.reason, detail=error.detail)
        self._grace = 0.0
        self._end(0.0)

    def _accept(self) -> None:
        async def accept() -> None:
            await self._listeners.accept()
            self._control.tell("accepting")

        if self._ending is not None and not self._ending.is_set() and not self._listeners.accepting:
            self._accepting = self._loop.create_task(accept())

    def _drain(self) -> None:
        self._end(self._settings.limits.drain_idle)

    def _reload_keys(self) -> None:
        self._keys.refresh(force=True)

    def _orphaned(self) -> None:
        if self._ending is not None and not self._ending.is_set():
            logger.error("the supervisor is gone: finishing what is under way and stopping")
            self._grace = min(self._grace, ORPHAN_GRACE)
            self._end(0.0)

    def _on_signal(self, wakeup: socket.socket) -> None:
        for number in wakeup.recv(64):
            self._signalled(number)

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._keys.refresh(force=True)
        elif number in (signal.SIGTERM, signal.SIGINT):
            assert self._ending is not None
            if number == signal.SIGINT and self._ending.is_set() and time.monotonic() - self._ended_at > 0.5:
                _leave(130)  # a second Ctrl-C
            self._end(self._settings.limits.stop_idle if number == signal.SIGTERM else 0.0)

    def _end(self, drain_idle: float) -> None:
        assert self._ending is not None
        if not self._ending.is_set():
            self._drain_idle = drain_idle
            self._ended_at = time.monotonic()
            self._ending.set()

    async def _finish(self) -> None:
        """Stop taking connections, answer what came, and let the main thread go."""
        deadline = self._loop.time() + self._grace
        if hasattr(self, "_listeners"):
            await self._listeners.stop()
        self._control.tell("draining")
        logger.info("draining", extra={"fields": {"connections": len(self._connections.connections)}})
        self._connections.draining = self._app.draining = True
        for connection in self._connections.guarded():
            connection.begin_drain()
        # Connections that the kernel handed over just before may not have reached their protocol yet.
        settle = min(self._grace, SETTLE_TLS if self._tls is not None else SETTLE_PLAIN)
        earliest = self._loop.time() + settle
        while self._connections.connections or self._loop.time() < earliest:
            now = self._loop.time()
            if now >= deadline:
                break
            for connection in self._connections.guarded():
                connection.sweep(now, self._drain_idle)
            await asyncio.sleep(0.01)
        left = len(self._connections.connections)
        if left:
            logger.warning("stopped with %d connections open: the graceful time is over", left)
        self._listeners.close()
        self._metrics.gauge("ready", 0)
        self._control.tell("drained", cut=left)
        await self._control.close()
        self._runner.stop()
        if self._failed:
            return
        if not self._script_running:
            self._stop_telemetry()
            _leave(0)  # told to stop in the middle of init()
        while not self._script_done.is_set() and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        if not self._script_done.is_set():
            self._stop_telemetry()
            _leave(0)

    # -- what is done now and then

    async def _watch_runs(self) -> None:
        pause = max(0.01, min(0.25, self._settings.limits.timeout / 10))
        stuck = False
        while True:
            await asyncio.sleep(pause)
            self._scoring.check(time.perf_counter())
            if self._scoring.stuck != stuck:
                stuck = self._scoring.stuck
                self._control.tell("stuck" if stuck else "recovered")

    async def _sweep(self) -> None:
        limits = self._settings.limits
        pause = max(0.05, min(0.5, limits.header_timeout / 4, limits.body_timeout / 4))
        while True:
            await asyncio.sleep(pause)
            now = self._loop.time()
            for connection in self._connections.guarded():
                connection.sweep(now, None)

    async def _every_second(self) -> None:
        samples: deque[tuple[float, float]] = deque(maxlen=BUSY_WINDOW + 1)
        while True:
            await asyncio.sleep(1.0)
            self._new_date()
            self._keys.refresh()
            self._renew_certificate()
            now = time.perf_counter()
            samples.append((now, self._scoring.sample(now)))
            (then, before), (_, after) = samples[0], samples[-1]
            if now > then:
                ratio = (after - before) / (now - then) / self._settings.limits.concurrency
                self._metrics.gauge("busy_ratio", max(0.0, min(1.0, ratio)))
            self._scoring.show()

    def _new_date(self) -> None:
        self._connections.set_date(formatdate(time.time(), usegmt=True).encode())

    def _certificate_time(self) -> int:
        file = self._settings.listen.tls_cert
        return file.stat().st_mtime_ns if file is not None and file.exists() else 0

    def _renew_certificate(self) -> None:
        seen = self._certificate_time()
        if self._tls is not None and seen not in (0, self._certificate):
            self._certificate = seen
            try:
                listeners.load_certificate(self._tls, self._settings.listen)
                logger.info("TLS certificate read again")
            except StartError as error:
                logger.error("keeping the TLS certificate in use: %s", error.reason)


def _allow_many_connections() -> None:
    """Raise the soft limit of open files, within the hard one: connections that stall must not use them up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _telemetry(settings: Settings) -> Telemetry | None:
    if not settings.telemetry:
        return None
    from .telemetry import Telemetry

    return Telemetry(settings.service)


def _leave(code: int) -> None:
    """End the process although the script does not return."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
