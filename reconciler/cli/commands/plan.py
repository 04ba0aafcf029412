"""`reconciler plan`: what would change, and why; nothing is written anywhere but to the cache."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING

from reconciler.cli import exits
from reconciler.cli.against import add_snapshot, refuse_stray
from reconciler.cli.annotating import annotate, annotating
from reconciler.cli.console import Console
from reconciler.cli.parser import FORMATS, Parser, add_annotations, add_output, add_settings, add_source
from reconciler.cli.pasting import plan_for
from reconciler.cli.session import Session, no_commit_yet
from reconciler.core.errors import InvalidError, UsageError
from reconciler.core.problems import errors_of
from reconciler.core.resources import Completeness

if TYPE_CHECKING:
    from reconciler.core.change import Plan
    from reconciler.engine.outcome import Look


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Show what would change at the targets, and why. Nothing is changed. In a working copy, uncommitted\n"
        "files count; with --ref, that commit does.",
        (
            ("reconciler plan", "this working copy against the targets"),
            ("reconciler plan --ref v2", "a tag"),
            ("reconciler plan --repo https://git.example/ml.git", "a remote repo"),
            ("reconciler plan --base origin/main --offline", "what a branch changes, without access to anything"),
            ("reconciler plan --out plan.json", "save it, for `reconciler apply --plan plan.json`"),
            ("reconciler plan --snapshot https://ml.example/snapshot", "against what the daemon saw, without access"),
            ("reconciler plan -o markdown", "for a pull request"),
            ("reconciler plan --annotations github", "problems of manifests beside the files, in a workflow"),
            ("reconciler plan --detailed-exitcode", "2 pending, 3 drift, 4 both"),
        ),
    )
    parser.add_argument(
        "--offline", action="store_true", help="compare two commits; no target, no state, no network, no credentials"
    )
    parser.add_argument(
        "--base",
        metavar="REF",
        help="what to compare with offline (default: HEAD, for a working copy); implies --offline",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="save the plan, so that `apply --plan FILE` applies it and nothing else"
    )
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 2, 3 or 4 if there is work")
    add_annotations(parser)
    add_snapshot(parser)
    add_source(parser)
    add_settings(parser)
    add_output(parser, FORMATS)


def run(arguments: Namespace, console: Console) -> int:
    """Makes the plan and prints it."""
    session = Session(arguments)
    try:
        with annotating(session, console):
            look, made = _made(session, arguments)
        annotate((*made.problems, *made.warnings), session, console)
        show(plan_for(made, arguments), console)
        if look is not None and arguments.out:
            _save(look, arguments.out, session, console)
    finally:
        session.close()
    return code(made, detailed=arguments.detailed_exitcode)


def _made(session: Session, arguments: Namespace) -> tuple[Look | None, Plan]:
    """The plan, with the look at the targets that it comes from; None where nothing was looked at."""
    against = arguments.snapshot is not None
    offline = arguments.offline or arguments.base is not None
    if against and offline:
        raise UsageError("--snapshot and --base compare with different things", hint="leave one of them away")
    if (against or offline) and arguments.out:
        raise UsageError("only a plan made from the targets themselves can be saved", hint="plan online")
    if against:
        from reconciler.cli.against import plan_against

        return None, plan_against(session, arguments)
    refuse_stray(arguments)
    if offline:
        return None, offline_plan(session, arguments.base)
    from reconciler.core.approval import with_approvals

    look = _look(session)
    return look, with_approvals(look.plan, session.installation().reconciler.approvals())


def _save(look: Look, path: str, session: Session, console: Console) -> None:
    from reconciler.cli.saved import save_plan

    save_plan(path, look, session)
    console.note(f"saved; to apply just this:\n  reconciler apply --plan {shlex.quote(path)}")


def show(plan: Plan, console: Console) -> None:
    """Prints a plan in the format asked for."""
    match console.output:
        case "json":
            from reconciler.views import plan_json

            console.write(plan_json.render(plan))
        case "markdown":
            from reconciler.views import plan_markdown

            console.write(plan_markdown.render(plan))
        case _:
            from reconciler.views import plan_text

            console.write(plan_text.render(plan, console.style))


def code(plan: Plan, *, detailed: bool) -> int:
    """The exit code of a command that shows a plan: errors of the input first, then targets that were not seen."""
    if errors_of(plan.problems):
        return exits.INVALID
    if any(state is not Completeness.COMPLETE for state in plan.targets.values()):
        return exits.TARGET
    return exits.of_plan(plan) if detailed else exits.DONE


def offline_plan(session: Session, base_ref: str | None) -> Plan:
    """The plan from one commit to another, without access to anything.

    Args:
        base_ref: What to compare with; None is HEAD, for a working copy.

    Raises:
        UsageError: There is nothing to compare with, or the repo is a remote one.
        InvalidError: The repo or a ref cannot be read.
    """
    from reconciler import wiring
    from reconciler.cli.offline import compare, names_after

    session.local_only()
    tree = session.tree()
    try:
        base_tree = session.base(base_ref)
    except InvalidError as error:
        if base_ref is not None or not no_commit_yet(error):
            raise
        base_tree = None
    cache = wiring.document_cache(session.places)
    offline = wiring.offline(session.places, session.settings, cache, session.environment)
    base = offline.states.of(base_tree) if base_tree is not None else None
    if base is not None and base.moves:
        offline.states.key_names = names_after(base)
    head = offline.states.of(tree)
    targets = {**(base.targets if base else {}), **head.targets}
    found = compare(base, head, offline.renderers(targets), wiring.rails(session.settings))
    cache.save()
    return found


def _look(session: Session) -> Look:
    opened = session.installation()
    # What failed before waits for its time in the daemon alone; `apply` tries it at once, so this is its plan.
    return opened.reconciler.rehearsed(opened.reconciler.look(holds=False))
