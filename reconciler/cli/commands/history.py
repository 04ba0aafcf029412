"""`reconciler history`: what was applied, when, and how it ended."""

from __future__ import annotations

from argparse import Namespace

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, positive
from reconciler.cli.session import Session
from reconciler.views import history as view


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "List what was applied, newest first.",
        (
            ("reconciler history", "the last 20"),
            ("reconciler history -n 200 -o json", "more, with every change and its reason"),
        ),
    )
    parser.add_argument("-n", "--lines", type=positive, default=20, metavar="N", help="how many (default: 20)")
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Reads the record."""
    store = wiring.open_store(Session(arguments).places)
    try:
        attempts = store.history(arguments.lines)
    finally:
        store.close()
    if console.output == "json":
        console.json(view.as_json(attempts))
    else:
        console.write(view.text(attempts, console.style))
    return exits.DONE
