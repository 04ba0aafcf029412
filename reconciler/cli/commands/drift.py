"""`reconciler drift`: what changed outside of Git; only reads."""

from __future__ import annotations

import time
from argparse import Namespace

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.core.resources import Completeness
from reconciler.views import drift as view


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Compare every target with what was left there, and say what changed since by other hands. Nothing is changed.",
        (
            ("reconciler drift", "every drifted field, as it is and as it was left"),
            ("reconciler drift --detailed-exitcode", "3 if there is drift, 2 if Git wants changes, 4 if both"),
        ),
    )
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 3 for drift, 2 pending, 4 both")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Looks and prints the drift."""
    session = Session(arguments)
    try:
        opened = session.installation()
        plan = opened.reconciler.look().plan
        since = {id_: at for id_, (at, _) in opened.store.drift_since().items()}
    finally:
        session.close()
    if console.output == "json":
        console.json(view.as_json(plan, since))
    else:
        console.write(view.text(plan, since, time.time(), console.style))
    if any(state is not Completeness.COMPLETE for state in plan.targets.values()):
        return exits.TARGET
    return exits.of_plan(plan) if arguments.detailed_exitcode else exits.DONE
