"""`reconciler approve`: lets exactly one plan through that a safety rail refused."""

from __future__ import annotations

import re
from argparse import Namespace

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.doing import ask_daemon, daemon_of, who
from reconciler.cli.parser import Parser, add_output, add_settings
from reconciler.cli.session import Session
from reconciler.core.errors import UsageError


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Approve a plan by its digest: the rails that refused it let it through, and no other plan.",
        (("reconciler approve 355a7a136c1e…", "the digest that `reconciler plan` printed last"),),
    )
    parser.add_argument("digest", help="all 64 digits")
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Notes the approval, or asks the daemon to."""
    digest: str = arguments.digest
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"{digest!r} is not the digest of a plan", hint="copy all 64 digits that `plan` prints last")
    places = Session(arguments).places
    store = wiring.open_store(places)
    try:
        if daemon_of(store) is not None:
            ask_daemon(store, places, "approve", {"digest": digest}, console)
        else:
            with store.writing("approve"):
                store.approve(digest, who())
    finally:
        store.close()
    if console.output == "json":
        console.json({"approved": digest})
    else:
        console.line(f"approved {digest}")
    return exits.DONE
