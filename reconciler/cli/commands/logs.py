"""`reconciler logs`: a service's log."""

from __future__ import annotations

import signal
from argparse import Namespace
from threading import Event
from types import FrameType

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, count
from reconciler.cli.recorded import with_drivers
from reconciler.cli.session import Session
from reconciler.core.driver import Logs
from reconciler.core.errors import RefusedError
from reconciler.views.values import printable


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Print a service's log: what the entry script and the runtime wrote.",
        (
            ("reconciler logs diabetes", "the last 100 lines"),
            ("reconciler logs diabetes -f -n 10", "ten, then new ones until Ctrl-C"),
        ),
    )
    parser.add_argument("service", help="name of the service")
    parser.add_argument("-n", "--lines", type=count, default=100, metavar="N", help="how many (default: 100)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
    add_settings(parser)
    add_output(parser, ("text",))


def run(arguments: Namespace, console: Console) -> int:
    """Prints the lines."""
    session = Session(arguments)
    try:
        opened = session.installation()
        found = list(with_drivers(opened, arguments.service))
        # What answers requests is what people mean by a service's log.
        found.sort(key=lambda each: each[0].id.kind not in each[1].capabilities.endpoints)
        for baseline, driver in found:
            if isinstance(driver, Logs):
                stop = Event()
                interrupted = _stopping(stop)
                for line in driver.logs(baseline.id, lines=arguments.lines, follow=arguments.follow, stop=stop):
                    console.line(_visible(line))
                return exits.INTERRUPTED if interrupted.is_set() else exits.DONE
    finally:
        session.close()
    raise RefusedError(f"the target of {arguments.service} keeps no log that can be read from here")


def _visible(line: str) -> str:
    """A line of somebody else's program: tabs stay, everything that a terminal would act on is made visible."""
    return "\t".join(printable(part) for part in line.rstrip("\r\n").split("\t"))


def _stopping(stop: Event) -> Event:
    interrupted = Event()

    def handler(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        stop.set()

    signal.signal(signal.SIGINT, handler)
    return interrupted
