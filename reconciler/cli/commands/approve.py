"""`reconciler approve`: lets exactly one plan through that a rail refused, or that waits for somebody's word."""

from __future__ import annotations

import re
import time
from argparse import Namespace

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.doing import ask_daemon, daemon_of, who
from reconciler.cli.parser import Parser, add_output, add_settings
from reconciler.cli.session import Session
from reconciler.core.errors import UsageError
from reconciler.engine.approvals import approve, revoke


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Approve what a plan does by its digest, or what it does at one target: the rails that stop it let just that\n"
        "through, in `apply` and in the daemon, once. The history says who approved it, and when.",
        (
            ("reconciler approve 355a7a136c1e…", "the command that `reconciler plan` prints under a refusal"),
            ("reconciler approve 355a7a136c1e… --revoke", "take it back, while it is not used up"),
        ),
    )
    parser.add_argument("digest", help="all 64 digits")
    parser.add_argument("--revoke", action="store_true", help="take an approval back; what was begun under it stops")
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Notes the approval or its end, or asks the daemon to."""
    digest: str = arguments.digest
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"{digest!r} is not the digest of a plan", hint="copy all 64 digits that `plan` prints")
    session = Session(arguments)
    store = wiring.open_store(session.places)
    try:
        if daemon_of(store) is not None:
            data = {"digest": digest, "revoke": arguments.revoke}
            ask_daemon(store, session.places, "approve", data, console)
        else:
            with store.writing("approve"):
                (revoke if arguments.revoke else approve)(store, digest, who(), time.time())
    finally:
        store.close()
    word = "revoked" if arguments.revoke else "approved"
    if console.output == "json":
        console.json({word: digest})
        return exits.DONE
    console.line(f"{word} {digest}")
    if not arguments.revoke:
        days = wiring.rails(session.settings).approval_days
        console.note(f"the next `reconciler apply`, or the daemon, does just that; unused it lapses in {days:g} days")
    return exits.DONE
