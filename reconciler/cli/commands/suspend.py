"""`reconciler suspend` and `resume`: stop changing a service, and go on."""

from __future__ import annotations

from argparse import Namespace

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.doing import ask_daemon, daemon_of, who
from reconciler.cli.parser import Parser, add_output, add_settings
from reconciler.cli.recorded import known_service
from reconciler.cli.session import Session
from reconciler.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class _Command:
    """One of the two; they differ in a word."""

    name: str

    def configure(self, parser: Parser) -> None:
        """Declares the arguments."""
        if self.name == "suspend":
            parser.about(
                "Stop changing a service: nothing of it is written until it is resumed; drift is still reported.",
                (("reconciler suspend diabetes --reason 'looking into it'", "until resumed"),),
            )
            parser.add_argument("--reason", default="", help="why, for those who wonder")
        else:
            parser.about(
                "Let a suspended service go on: the next apply, or the daemon, brings it to what Git says.",
                (("reconciler resume diabetes", "go on"),),
            )
        parser.add_argument("service", help="name of the service")
        add_settings(parser)
        add_output(parser)

    def run(self, arguments: Namespace, console: Console) -> int:
        """Notes it, or asks the daemon to."""
        places = Session(arguments).places
        store = wiring.open_store(places)
        try:
            service: str = arguments.service
            if self.name == "suspend" or service not in store.suspensions():
                known_service(store, service)
            data = {"service": service, "reason": getattr(arguments, "reason", "")}
            if daemon_of(store) is not None:
                ask_daemon(store, places, self.name, data, console)
                changed = True
            elif self.name == "suspend":
                with store.writing("suspend"):
                    store.suspend(service, who(), arguments.reason)
                changed = True
            else:
                with store.writing("resume"):
                    changed = store.resume(service)
        finally:
            store.close()
        word = {"suspend": "suspended", "resume": "resumed" if changed else "not suspended"}[self.name]
        if console.output == "json":
            console.json({"service": service, "suspended": self.name == "suspend", "changed": changed})
        else:
            console.line(f"{service}: {word}")
        return exits.DONE


SUSPEND = _Command("suspend")
RESUME = _Command("resume")
