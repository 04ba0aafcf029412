"""`reconciler destroy`: takes services away from their targets, whatever Git says."""

from __future__ import annotations

import sys
from argparse import Namespace

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.doing import ask_daemon, carry_out, daemon_of, show, who
from reconciler.cli.nothing import NoTree
from reconciler.cli.parser import Parser, add_output, add_settings, seconds
from reconciler.cli.session import Session
from reconciler.core.errors import RefusedError, UsageError
from reconciler.engine.summary import Summary


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Delete services from their targets although Git names them, and suspend them, so that nothing brings them\n"
        "back until `reconciler resume` does. What is protected stays. Git is not asked and not changed.",
        (
            ("reconciler destroy diabetes --yes", "one service"),
            ("reconciler destroy --all --yes", "everything this installation made, models and environments too"),
        ),
    )
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="names")
    parser.add_argument("--all", action="store_true", help="everything")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="give up after so long (90s, 15m, 2h)")
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Asks the daemon if there is one; else takes the lease and does it."""
    if bool(arguments.services) == arguments.all:
        raise UsageError("name services, or pass --all", hint="see `reconciler destroy --help`")
    if not _confirmed(arguments, console):
        raise RefusedError("nothing was deleted", hint="pass --yes")
    session = Session(arguments)
    try:
        opened = session.installation()
        if daemon_of(opened.store) is not None:
            wanted = {"all": arguments.all, "services": arguments.services, "timeout": arguments.timeout}
            answer = ask_daemon(opened.store, opened.places, "destroy", wanted, console, timeout=arguments.timeout)
            return exits.DONE if answer is None else show(Summary.from_json(answer), console, deleting=True)
        from reconciler.engine.destroy import destroy

        services = None if arguments.all else frozenset(arguments.services)
        with opened.store.writing("destroy"):
            summary = carry_out(
                lambda progress, cancel: destroy(
                    opened.reconciler,
                    services,
                    progress,
                    cancel,
                    tree=NoTree(),
                    by=who(),
                    timeout=arguments.timeout,
                ),
                console,
            )
        return show(summary, console, deleting=True)
    finally:
        session.close()


def _confirmed(arguments: Namespace, console: Console) -> bool:
    if arguments.yes:
        return True
    if not (sys.stdin.isatty() and console.err.isatty()):
        return False
    what = "everything" if arguments.all else ", ".join(arguments.services)
    console.beside(f"Delete {what}? Only `yes` does: ")
    return sys.stdin.readline().strip() == "yes"
