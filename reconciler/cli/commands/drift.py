"""`reconciler drift`: what changed outside of Git, and what is done about it; only reads."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from typing import TypeVar

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import FORMATS, Parser, add_output, add_settings, add_source, closest
from reconciler.cli.session import Session
from reconciler.core.errors import UsageError
from reconciler.core.resources import Completeness
from reconciler.views import problems as problem_view

_T = TypeVar("_T")


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Compare every target with what was left there, and say what changed since by other hands: both values, since\n"
        "when, how often, by whom where the target knows, and what is done about it. Nothing is changed.",
        (
            ("reconciler drift", "every drifted field, as it was left and as it is"),
            ("reconciler drift diabetes", "of one service"),
            ("reconciler drift --all", "also what policies leave to others, and fields that are not ours"),
            ("reconciler drift --policy", "which policy decides about which fields, and who says so"),
            ("reconciler drift -o markdown", "for a ticket"),
            ("reconciler drift --detailed-exitcode", "3 if there is drift, 2 if Git wants changes, 4 if both"),
        ),
    )
    parser.add_argument("service", nargs="?", help="only this one")
    parser.add_argument("--all", action="store_true", help="every difference, also those that are nobody's drift")
    parser.add_argument("--policy", action="store_true", help="the drift policy of services instead; looks nowhere")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 3 for drift, 2 pending, 4 both")
    add_source(parser)
    add_settings(parser)
    add_output(parser, FORMATS)


def run(arguments: Namespace, console: Console) -> int:
    """Looks and prints the drift."""
    if arguments.policy:
        return _policies(arguments, console)
    from reconciler.core.drift_report import drift_report

    session = Session(arguments)
    try:
        opened = session.installation()
        look = opened.reconciler.look()
        memories = opened.store.drift()
    finally:
        session.close()
    if arguments.service:
        _named(arguments.service, dict.fromkeys(look.state.services))
    now = time.time()
    service = arguments.service or ""
    report = drift_report(look.plan, look.situation, memories, look.state.deployments, now, service)
    match console.output:
        case "json":
            from reconciler.views import drift_json

            console.json(drift_json.as_json(report, everything=arguments.all))
        case "markdown":
            from reconciler.views import drift_markdown

            console.write(drift_markdown.render(report, now))
        case _:
            from reconciler.views import drift

            console.write(drift.text(report, now, console.style, everything=arguments.all))
            for line in problem_view.text(look.plan.problems, console.error_style):
                console.note(line)
    if any(state is not Completeness.COMPLETE for state in look.plan.targets.values()):
        return exits.TARGET
    if not arguments.detailed_exitcode:
        return exits.DONE
    if service:
        return exits.detailed(pending=report.sync.pending, drifted=report.sync.drifted)
    return exits.of_plan(look.plan)


def _policies(arguments: Namespace, console: Console) -> int:
    from reconciler.views import drift_policy

    session = Session(arguments)
    try:
        deployments = session.installation().reconciler.states.of(session.tree()).deployments
    finally:
        session.close()
    policies = {name: deployment.policy for name, deployment in deployments.items()}
    if arguments.service:
        policies = {arguments.service: _named(arguments.service, policies)}
    if console.output == "json":
        console.json(drift_policy.as_json(policies))
    else:
        console.write(drift_policy.text(policies, console.style))
    return exits.DONE


def _named(service: str, known: Mapping[str, _T]) -> _T:
    if service not in known:
        hint = closest(service, [*known]) or f"there are {', '.join(sorted(known)) or 'none'}"
        raise UsageError(f"there is no service {service!r}", hint=hint)
    return known[service]
