"""`reconciler run`: the daemon."""

from __future__ import annotations

import gc
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.engine.requests import WAKE_FILE

if TYPE_CHECKING:
    from reconciler.engine.daemon.parts import Parts as DaemonParts
    from reconciler.engine.daemon.standby import Election
    from reconciler.web.metrics import Metrics


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Keep the targets as Git wants them until told to stop: apply each commit, notice drift and take it back.\n"
        "SIGTERM ends it after the steps under way; SIGHUP reads the settings again. Only commits count, never\n"
        "uncommitted files.",
        (
            ("reconciler run", "the repo around this folder"),
            ("reconciler run --repo https://git.example/ml.git --ref main", "a remote, polled"),
            ("reconciler run --settings /etc/reconciler/settings.yaml", "as a service"),
        ),
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="for /healthz, /metrics … (default: the settings')")
    parser.add_argument("--log-format", choices=("auto", "text", "json"), help="default: the settings'")
    add_source(parser)
    add_settings(parser)
    add_output(parser, ("text",))


def run(arguments: Namespace, console: Console) -> int:
    """Runs until told to stop."""
    from reconciler.engine.daemon.logs import configure_logging
    from reconciler.engine.daemon.standby import StandBy
    from reconciler.web.app import serving
    from reconciler.web.metrics import Metrics

    # A large run makes many objects and few cycles; at the usual thresholds the collector stopped all threads for a
    # tenth of the time of a first apply.
    gc.set_threshold(50_000, 10, 10)
    gc.enable()
    session = Session(arguments)
    settings = session.settings
    level = "debug" if console.verbose else settings.log.level if settings else "info"
    configure_logging(arguments.log_format or (settings.log.format if settings else "auto"), level, sys.stderr)
    metrics = Metrics()
    listen = arguments.listen or (settings.daemon.listen if settings else DEFAULT_LISTEN)
    election = wiring.leader_election(settings)
    if election is None:
        return _daemon(arguments, session, metrics, listen, None)
    # A replica that stands by opens no state: it is the leader's alone, wherever it is shared from.
    try:
        code = StandBy(election, serving(listen, Metrics())).wait()
        return code if code is not None else _daemon(arguments, session, metrics, listen, election)
    finally:
        election.release()


def _daemon(arguments: Namespace, session: Session, metrics: Metrics, listen: str, election: Election | None) -> int:
    """Applies, until told to stop."""
    from reconciler.engine.daemon.daemon import Daemon
    from reconciler.web.app import serving

    places, settings = session.places, session.settings
    store = wiring.open_store(places)
    try:
        wanted = wiring.source_settings(session.repo, session.ref, session.path, settings)
        parts = wiring.daemon_parts(places, settings, wanted, store, session.environment)

        def reload() -> DaemonParts:
            fresh = Session(arguments)
            anew = wiring.source_settings(fresh.repo, fresh.ref, fresh.path, fresh.settings)
            return wiring.daemon_parts(places, fresh.settings, anew, store, fresh.environment)

        daemon = Daemon(
            parts,
            store,
            serve=serving(listen, metrics),
            reload=reload,
            wake_file=places.state_dir / WAKE_FILE,
            observers=(metrics,),
            election=election,
        )
        return daemon.run()
    finally:
        store.close()


# As in the settings, which need not be loaded for it; a test holds the two together.
DEFAULT_LISTEN = "127.0.0.1:9464"
