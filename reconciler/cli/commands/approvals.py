"""`reconciler approvals`: which approvals stand, and what is left to do under them."""

from __future__ import annotations

import time
from argparse import Namespace

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings
from reconciler.cli.session import Session
from reconciler.engine.approvals import live
from reconciler.views import approvals as view


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "List the approvals that stand: of what, by whom, since when, and what is left to do under each.\n"
        "What was done under an approval, and those that are used up, stand in the history.",
        (
            ("reconciler approvals", "a table, the oldest first"),
            ("reconciler approvals -o json", "with every resource that is left"),
        ),
    )
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Reads the record."""
    session = Session(arguments)
    days = wiring.rails(session.settings).approval_days
    store = wiring.open_store(session.places)
    try:
        found = live(store, time.time(), days)
    finally:
        store.close()
    if console.output == "json":
        console.json(view.as_json(found, days))
    else:
        console.write(view.text(found, days, console.style))
    return exits.DONE
