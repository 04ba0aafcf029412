"""Planning against a snapshot that a daemon published: no target, no store, no credentials."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli.parser import Parser, seconds
from reconciler.core.errors import RefusedError, UsageError
from reconciler.core.plan import plan

if TYPE_CHECKING:
    from reconciler.cli.session import Session
    from reconciler.core.change import Plan
    from reconciler.engine.snapshot.document import Snapshot
    from reconciler.engine.snapshot.signing import PublicKey

# A clock that goes so much behind the daemon's may go as much behind anything.
_AHEAD_SECONDS = 300.0


def add_snapshot(parser: Parser) -> None:
    """`--snapshot` and what goes with it."""
    group = parser.add_argument_group("against a snapshot")
    group.add_argument(
        "--snapshot",
        metavar="FILE|URL",
        help="compare with what a daemon observed and signed (its /snapshot); no target, no state, no credentials",
    )
    group.add_argument(
        "--snapshot-key",
        metavar="KEY",
        action="append",
        help="whose signature to believe, as `reconciler snapshot --public-key` prints it (default: the settings')",
    )
    group.add_argument(
        "--snapshot-repo",
        metavar="URL",
        help="the repo that it must be of (default: this one's origin); for forks, whose origin is another",
    )
    group.add_argument("--max-age", metavar="TIME", type=seconds, help="refuse an older one (90s, 15m, 2h)")
    group.add_argument("--allow-http", action="store_true", help="fetch it over http:// from another machine, too")


def refuse_stray(arguments: Namespace) -> None:
    """Refuses what says something about a snapshot where none is named.

    Raises:
        UsageError: There is such an option.
    """
    for option in ("snapshot_key", "snapshot_repo", "max_age", "allow_http"):
        if getattr(arguments, option) not in (None, False):
            name = option.replace("_", "-")
            raise UsageError(f"--{name} says something about a snapshot", hint="name it with --snapshot FILE|URL")


def plan_against(session: Session, arguments: Namespace) -> Plan:
    """The plan of what lies in the working copy, or of a commit, against a snapshot.

    Raises:
        UsageError: Nobody's signature is believed.
        RefusedError: It is not signed by one who is, is of another repo or path, or too old.
        InvalidError: It cannot be read.
        UnavailableError: It cannot be fetched.
    """
    from reconciler.engine.snapshot.document import from_text
    from reconciler.engine.snapshot.fetching import fetch
    from reconciler.engine.snapshot.reading import situation_from
    from reconciler.engine.snapshot.signing import open_envelope

    keys = _keys(session, arguments)
    payload, key = open_envelope(fetch(arguments.snapshot, plain_http=arguments.allow_http), keys)
    snapshot = from_text(payload)
    now = time.time()
    _check(session, snapshot, key, arguments, now)
    cache = wiring.document_cache(session.places)
    offline = wiring.offline_with(snapshot, cache)
    state = offline.states.of(session.tree())
    recorded = {name: seen.target for name, seen in snapshot.seen.items() if seen.target is not None}
    renderers = offline.renderers({**recorded, **state.targets})
    capabilities = {name: renderer.capabilities for name, renderer in renderers.items()}
    made = plan(situation_from(snapshot, state, capabilities, now))
    cache.save()
    return made


def _keys(session: Session, arguments: Namespace) -> list[PublicKey]:
    from reconciler.engine.snapshot.signing import PublicKey

    given = arguments.snapshot_key or (session.settings.snapshot.keys if session.settings else ())
    if not given:
        raise UsageError(
            "nobody's snapshots are believed here",
            hint="`reconciler snapshot --public-key`, where the daemon runs, prints what to give with --snapshot-key "
            "or to set as snapshot.keys",
        )
    return [PublicKey.parse(text) for text in given]


def _check(session: Session, snapshot: Snapshot, key: PublicKey, arguments: Namespace, now: float) -> None:
    from reconciler.source.origin import same_origin
    from reconciler.views.values import age

    if snapshot.installation != key.installation:
        raise RefusedError(
            f"the snapshot is of installation {snapshot.installation}, its key is pinned for {key.installation}",
            hint="give the key as `reconciler snapshot --public-key` prints it",
        )
    source = session.source
    expected = arguments.snapshot_repo or source.origin
    if not same_origin(snapshot.origin, expected):
        raise RefusedError(
            f"the snapshot is of the repo {snapshot.origin}, this is {expected}",
            hint=f"in a fork or a copy of it, say so: --snapshot-repo {snapshot.origin}",
        )
    if snapshot.path != source.path:
        raise RefusedError(
            f"the snapshot is of the folder {snapshot.path or '(root)'} of the repo, this is {source.path or '(root)'}",
            hint=f"--path {snapshot.path or '.'} plans for that one",
        )
    if session.environment and session.environment != snapshot.environment:
        raise RefusedError(
            f"the snapshot is of the environment {snapshot.environment or '(none)'}, this is {session.environment}",
            hint="get the snapshot of that environment's daemon; without --env the snapshot's own is taken",
        )
    old = now - snapshot.observed_at
    if old < -_AHEAD_SECONDS:
        raise RefusedError(
            f"the snapshot was made {age(-old)} from now: one of the clocks is wrong", hint="set this machine's clock"
        )
    if arguments.max_age is not None and old > arguments.max_age:
        raise RefusedError(
            f"the snapshot is {age(old)} old, more than --max-age allows ({age(arguments.max_age)})",
            hint="get a newer one; if there is none, see why the daemon does not look at its targets (/healthz)",
        )
