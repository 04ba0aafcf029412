"""`reconciler history`: what was applied, when, and how it ended."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, positive
from reconciler.cli.session import Session
from reconciler.views import history as view

if TYPE_CHECKING:
    from reconciler.engine.store import Store


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "List what was applied, newest first; of one service also what was applied under a name it had before.",
        (
            ("reconciler history", "the last 20"),
            ("reconciler history diabetes", "what concerns one service"),
            ("reconciler history -n 200 -o json", "more, with every change and its reason"),
        ),
    )
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="only what concerns this one")
    parser.add_argument("-n", "--lines", type=positive, default=20, metavar="N", help="how many (default: 20)")
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Reads the record."""
    store = wiring.open_store(Session(arguments).places)
    try:
        attempts = _of(store, arguments)
    finally:
        store.close()
    if console.output == "json":
        console.json(view.as_json(attempts))
    else:
        console.write(view.text(attempts, console.style))
    return exits.DONE


def _of(store: Store, arguments: Namespace) -> Sequence[view.Attempt]:
    if not arguments.service:
        return store.history(arguments.lines)
    from reconciler.engine.store.store import HISTORY_LIMIT
    from reconciler.views.service_history import of_service

    return list(islice(of_service(store.history(HISTORY_LIMIT), arguments.service), arguments.lines))
