"""`reconciler status`: how the services are."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, cast

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source, closest
from reconciler.cli.pasting import plan_for
from reconciler.cli.session import Session
from reconciler.core.approval import with_approvals
from reconciler.core.errors import UsageError
from reconciler.core.failures import with_failures
from reconciler.core.resources import Completeness
from reconciler.engine.approvals import as_shown
from reconciler.views import plan_json, plan_text
from reconciler.views import problems as problem_view
from reconciler.views import status as view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.engine.store import Store


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Look at every target and say how each service is: its health, and whether it is what Git wants.\n"
        "What waits for somebody's approval, or is refused, is told with its ways on.",
        (
            ("reconciler status", "a table"),
            ("reconciler status diabetes", "one service with its resources, reasons and events"),
            ("reconciler status -o json", "everything that is known"),
        ),
    )
    parser.add_argument("service", nargs="?", help="only this one, in detail")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Looks and prints the report."""
    session = Session(arguments)
    try:
        opened = session.installation()
        look = opened.reconciler.look()
        plan = plan_for(with_approvals(as_shown(look), opened.reconciler.approvals()), arguments)
        applied = applied_at(opened.store)
    finally:
        session.close()
    report = with_failures(look.report, look.state.desired, look.situation.holds)
    chosen = None
    if arguments.service:
        chosen = next((s for s in report.services if s.name == arguments.service), None)
        if chosen is None:
            names = [s.name for s in report.services]
            raise UsageError(
                f"there is no service {arguments.service!r}",
                hint=closest(arguments.service, names) or f"there are {', '.join(names) or 'none'}",
            )
    now = time.time()
    if console.output == "json":
        whole = view.as_json(report, applied, plan_json.refusals(plan))
        console.json(view.service_json(chosen, applied.get(chosen.name)) if chosen else whole)
    elif chosen:
        console.write(view.details(chosen, now, console.style))
    else:
        console.write(view.text(report, now, applied, console.style))
        for line in plan_text.refused(plan, console.style):
            console.line(line)
        for line in problem_view.text(look.plan.problems, console.error_style):
            console.note(line)
    seen = all(state is Completeness.COMPLETE for state in look.plan.targets.values())
    return exits.DONE if seen else exits.TARGET


def applied_at(store: Store) -> dict[str, float]:
    """When each service was last changed, Unix seconds, as far as history goes back."""
    found: dict[str, float] = {}
    for attempt in store.history(1000):
        for change in cast("Sequence[Mapping[str, object]]", attempt.data.get("changes") or ()):
            service = str(change.get("service") or "")
            if service and change.get("state") == "done":
                found.setdefault(service, attempt.at)
    return found
