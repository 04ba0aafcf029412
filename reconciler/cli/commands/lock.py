"""`reconciler lock list` and `lock release`: the lease that makes one writer of many, and its holder."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.doing import who
from reconciler.cli.parser import Parser, add_output, add_settings, positive
from reconciler.cli.session import Session
from reconciler.core.errors import RefusedError
from reconciler.views.table import Cell, table
from reconciler.views.values import age, printable

if TYPE_CHECKING:
    from reconciler.engine.store import LeaseInfo

_HEAD = ("ID", "STATE", "HOLDER", "HOST", "PID", "SINCE (UTC)", "EXPIRES")
_STYLES = {"held": "green", "dead": "yellow", "expired": "yellow"}


class _List:
    """Shows the lease."""

    def configure(self, parser: Parser) -> None:
        """Declares the arguments."""
        parser.about(
            "Say who is at work on the state, since when, and until when if it does not renew its lease.\n"
            "The id is the fencing number: each holder has a higher one, and what an earlier one still writes fails.",
            (("reconciler lock list", "the present lease"), ("reconciler lock list -o json", "for a script")),
        )
        add_settings(parser)
        add_output(parser)

    def run(self, arguments: Namespace, console: Console) -> int:
        """Reads the lease; writes nothing."""
        store = wiring.open_store(Session(arguments).places)
        try:
            lease = store.last_lease()
        finally:
            store.close()
        now = time.time()
        if console.output == "json":
            console.json({"kind": "Locks", "formatVersion": 1, "locks": [_json(lease, now)] if lease else []})
        elif lease is None:
            console.line("Nobody has been at work on this state yet.")
        else:
            for line in table(_HEAD, [_row(lease, now)], console.style):
                console.line(line)
        return exits.DONE


class _Release:
    """Takes the lease away."""

    def configure(self, parser: Parser) -> None:
        """Declares the arguments."""
        parser.about(
            "Take the lease from a holder that does not give it back: it can write nothing any more, and the next one\n"
            "may begin at once. A dead holder's lease passes on by itself; this is for one on another machine, or one\n"
            "that hangs. It is noted in the history.",
            (
                ("reconciler lock release 7", "the lease that `lock list` shows as 7"),
                ("reconciler lock release 7 --force", "also from a process that is alive, or may be"),
            ),
        )
        parser.add_argument("id", type=positive, metavar="ID", help="of the lease, as `lock list` shows it")
        parser.add_argument("--force", action="store_true", help="even if its holder is alive, or may be")
        add_settings(parser)
        add_output(parser)

    def run(self, arguments: Namespace, console: Console) -> int:
        """Ends the lease."""
        store = wiring.open_store(Session(arguments).places)
        try:
            lease = store.last_lease()
            if lease is not None and lease.fence == arguments.id and lease.state(time.time()) == "held":
                _consented(lease, arguments)
            store.end_lease(arguments.id, who())
        finally:
            store.close()
        if console.output == "json":
            console.json({"released": arguments.id})
        else:
            console.line(f"released lease {arguments.id}; what its holder still writes fails")
        return exits.DONE


def _consented(lease: LeaseInfo, arguments: Namespace) -> None:
    if not arguments.force:
        raise RefusedError(
            f"lease {lease.fence} is held by {lease.describe()}, which renewed it lately",
            hint="stop that process; if it hangs or its machine is gone, pass --force: it can write nothing then",
        )


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def _row(lease: LeaseInfo, now: float) -> list[Cell]:
    state = lease.state(now)
    left = lease.expires_at - now
    expires = "" if state == "released" else f"in {age(left)}" if left > 0 else f"{age(-left)} ago"
    return [
        Cell(str(lease.fence)),
        Cell(state, (_STYLES.get(state, "dim"),)),
        Cell(printable(f"{lease.purpose} {lease.holder}")),
        Cell(printable(lease.host)),
        Cell(str(lease.pid)),
        Cell(_utc(lease.started_at)),
        Cell(expires),
    ]


def _json(lease: LeaseInfo, now: float) -> dict[str, Any]:
    return {
        "id": lease.fence,
        "state": lease.state(now),
        "holder": lease.holder,
        "purpose": lease.purpose,
        "host": lease.host,
        "pid": lease.pid,
        "address": lease.address,
        "startedAt": lease.started_at,
        "expiresAt": lease.expires_at,
    }


LIST = _List()
RELEASE = _Release()
