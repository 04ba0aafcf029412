"""`reconciler doctor`: whether this machine and the settings are fit, and what to do where they are not."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.rights import access_of, missing
from reconciler.cli.session import Session
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import ReconcilerError, UsageError
from reconciler.views.values import paragraph

if TYPE_CHECKING:
    from reconciler.engine.store import LeaseInfo

OK, WARN, FAIL = "ok", "warn", "fail"
_STYLES = {OK: "green", WARN: "yellow", FAIL: "red"}
_LEAST_GIT = (2, 31)
_LEAST_FREE = 1 << 30
_SCARCE = 5 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """What was found out."""

    name: str
    state: str
    finding: str
    advice: str = ""


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Check what reconciler needs: git, uv, Python, the state directory, settings, the repo, and who is at work.",
        (
            ("reconciler doctor", "every check, with what to do"),
            ("reconciler doctor --settings /etc/reconciler/settings.yaml", "with the daemon's settings"),
            ("reconciler doctor --target production", "and whether all is allowed there that its services need"),
            ("reconciler doctor --target production --roles | kubectl apply -f -", "give just that"),
        ),
    )
    parser.add_argument("--target", metavar="NAME", help="also check what may be done at this target")
    parser.add_argument(
        "--roles", action="store_true", help="print roles with just the rights that the target's services need"
    )
    parser.add_argument(
        "--bind",
        metavar="WHO",
        default="",
        help="with --roles: who gets them: serviceaccount:NAMESPACE:NAME, user:NAME or group:NAME",
    )
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Checks everything; exits with 11 if anything fails."""
    if (arguments.roles or arguments.bind) and not (arguments.roles and arguments.target):
        raise UsageError("--roles and --bind speak of a target", hint="doctor --target NAME --roles [--bind WHO]")
    session = Session(arguments)
    found: list[Check] = []
    try:
        if arguments.roles:
            driver, used = access_of(session, arguments.target)
            console.write(driver.grants(driver.rights(used), arguments.bind))
            return exits.DONE
        for check in (_python, _git, _uv):
            found += check()
        settled = list(_settings(session))
        found += settled
        if all(check.state != FAIL for check in settled):
            for of_session in (_state, _work, _source, _port):
                found += of_session(session)
            if arguments.target:
                found += _allowed(session)
    finally:
        session.close()
    failed = any(check.state == FAIL for check in found)
    if console.output == "json":
        checks = [{"name": c.name, "state": c.state, "finding": c.finding, "advice": c.advice} for c in found]
        console.json({"kind": "Doctor", "formatVersion": 1, "ok": not failed, "checks": checks})
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            word = console.style.paint(f"{check.state:<4}", _STYLES[check.state], "bold")
            console.line(f"{word}  {check.name:<{width}}  {paragraph(check.finding)[0]}")
            if check.advice:
                console.line(f"      {' ' * width}  {paragraph(check.advice)[0]}")
    return exits.INVALID if failed else exits.DONE


def _python() -> Iterator[Check]:
    yield Check("python", OK, f"{sys.version.split()[0]} at {sys.executable}")


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _git() -> Iterator[Check]:
    text = _version(["git", "--version"])
    numbers = re.search(r"(\d+)\.(\d+)", text)
    least = ".".join(map(str, _LEAST_GIT))
    if numbers is None:
        yield Check("git", FAIL, "not found", f"install git {least} or newer and put it on PATH")
    elif (int(numbers[1]), int(numbers[2])) < _LEAST_GIT:
        yield Check("git", FAIL, f"{text} is too old", f"install {least} or newer")
    else:
        yield Check("git", OK, text)
    if _version(["git", "lfs", "version"]):
        yield Check("git-lfs", OK, "found")
    else:
        yield Check("git-lfs", WARN, "not found", "only needed for models that are kept in Git LFS")


def _uv() -> Iterator[Check]:
    from uv import find_uv_bin

    try:
        text = _version([find_uv_bin(), "--version"])
    except FileNotFoundError:
        text = ""
    advice = "" if text else "install reconciler again; environments are built with it"
    yield Check("uv", OK if text else FAIL, text or "not found", advice)


def _settings(session: Session) -> Iterator[Check]:
    try:
        settings = session.settings
    except ReconcilerError as error:
        problems = "; ".join(str(problem).splitlines()[0] for problem in getattr(error, "problems", ()))
        yield Check("settings", FAIL, f"{error.message}{f': {problems}' if problems else ''}", error.hint)
        return
    if settings is None:
        yield Check("settings", OK, "none: the defaults hold")
        return
    named = session.arguments.settings or os.environ.get("RECONCILER_SETTINGS")
    yield Check("settings", OK, f"from {named}" if named else "from environment variables")
    from reconciler.settings import stray_variables

    for stray in stray_variables(os.environ, settings.secrets.env_prefixes):
        yield Check("settings", WARN, stray, "it has no effect")


def _state(session: Session) -> Iterator[Check]:
    from reconciler.wiring import make_private

    folder = session.places.state_dir
    try:
        make_private(folder)
        probe = folder / f".doctor-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except ReconcilerError as error:
        yield Check("state", FAIL, error.message, error.hint)
        return
    except OSError as error:
        yield Check("state", FAIL, f"{folder} cannot be written: {error.strerror}", "free space, or name another one")
        return
    if folder.stat().st_mode & 0o077:
        yield Check("state", WARN, f"{folder} can be entered by others", f"chmod 700 {folder}")
    else:
        yield Check("state", OK, str(folder))
    free = shutil.disk_usage(folder).free
    shown = f"{free / 1e9:.1f} GB free"
    if free < _LEAST_FREE:
        yield Check("disk", FAIL, shown, "environments and models need at least 1 GB; free some")
    else:
        yield Check(
            "disk", OK if free > _SCARCE else WARN, shown, "" if free > _SCARCE else "that may soon be too little"
        )


def _work(session: Session) -> Iterator[Check]:
    places = session.places
    if not places.database.exists():
        yield Check("record", OK, "nothing has been applied yet")
        return
    from reconciler.engine.identity import load_identity
    from reconciler.wiring import open_store

    try:
        store = open_store(places)
        try:
            lease = store.last_lease()
            count = len(store.baselines())
        finally:
            store.close()
        yield Check("record", OK, f"{count:,} resources")
        if places.identity.exists():
            yield Check("identity", OK, load_identity(places.identity).installation)
        else:
            yield Check(
                "identity",
                FAIL,
                f"{places.identity} is missing",
                "restore it from its backup before anything is applied",
            )
        yield _at_work(lease)
    except ReconcilerError as error:
        yield Check("record", FAIL, error.message, error.hint)


def _at_work(lease: LeaseInfo | None) -> Check:
    if lease is None or lease.state(time.time()) == "released":
        return Check("at work", OK, "nobody")
    if lease.state(time.time()) == "held":
        about = (
            f"{lease.describe()}, since {_utc(lease.started_at)}, lease {lease.fence} until {_utc(lease.expires_at)}"
        )
        return Check("at work", OK, about)
    advice = "nothing to do: whoever comes next takes the lease"
    return Check("at work", WARN, f"nobody; {lease.describe()} ended without giving lease {lease.fence} back", advice)


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _source(session: Session) -> Iterator[Check]:
    try:
        revision = session.source.fetch()
    except ReconcilerError as error:
        yield Check("repo", FAIL, error.message, error.hint)
        return
    yield Check("repo", OK, f"{session.source.location} at {revision.short}")


def _allowed(session: Session) -> Iterator[Check]:
    target: str = session.arguments.target
    name = f"target {target}"
    try:
        driver, used = access_of(session, target)
        rights = driver.rights(used)
        denied = driver.denied(rights)
    except UsageError:
        raise
    except ReconcilerError as error:
        yield Check(name, FAIL, error.message, error.hint)
        return
    for line in missing(denied):
        yield Check(name, FAIL, line, f"doctor --target {target} --roles prints a role that allows it")
    if not denied:
        yield Check(name, OK, f"all {len(rights)} rights that its services need are there")


def _port(session: Session) -> Iterator[Check]:
    settings = session.settings
    listen = settings.daemon.listen if settings else "127.0.0.1:9464"
    host, _, port = listen.rpartition(":")
    if port == "0":
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as error:
            advice = "fine if the daemon runs; else set daemon.listen, or `run --listen`"
            yield Check("port", WARN, f"{listen} cannot be had: {getattr(error, 'strerror', error)}", advice)
            return
    yield Check("port", OK, f"{listen} is free for the daemon")
