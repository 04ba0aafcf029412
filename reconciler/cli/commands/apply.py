"""`reconciler apply`: makes the targets match Git and waits until they do."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from reconciler.cli import exits
from reconciler.cli.commands import plan as plan_command
from reconciler.cli.console import Console
from reconciler.cli.doing import ask_daemon, carry_out, daemon_of, show, who
from reconciler.cli.parser import Parser, add_output, add_settings, add_source, percent, seconds
from reconciler.cli.pasting import plan_for, summary_for
from reconciler.cli.saved import take_up, what_is_left
from reconciler.cli.session import Session
from reconciler.cli.statuses import Telling, telling
from reconciler.core.approval import Approval, approval_of
from reconciler.core.change import Action
from reconciler.core.dataclass import replace
from reconciler.core.errors import InvalidError, RefusedError, StaleError
from reconciler.core.problems import errors_of
from reconciler.core.safety import standing
from reconciler.engine.approvals import approve
from reconciler.engine.outcome import ApplyOptions
from reconciler.engine.summary import Summary

if TYPE_CHECKING:
    from reconciler.core.change import Plan
    from reconciler.engine.outcome import Look
    from reconciler.engine.saved import SavedPlan
    from reconciler.wiring import Installation

_ALLOWED_EMPTY = "empties-target"


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Make the targets match Git: carry the plan out, run the services' tests before traffic moves, and wait until\n"
        "everything that changed is healthy. With a daemon at work on the same state, it is asked to do so.",
        (
            ("reconciler apply", "the last commit of this working copy"),
            ("reconciler apply --ref v2", "a tag"),
            ("reconciler apply --allow-dirty", "what lies here, uncommitted files too"),
            ("reconciler apply --plan plan.json", "what `plan --out plan.json` saved, if it still is the plan"),
            ("reconciler apply --approve DIGEST", "exactly the plan that was reviewed"),
            ("reconciler apply --timeout 10m -o json", "in a pipeline"),
            ("reconciler apply --commit-status", "and tell the forge how it went"),
        ),
    )
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="give up waiting after so long (90s, 15m, 2h)")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for what changed to be healthy")
    parser.add_argument("--partial", action="store_true", help="go on with the rest if some manifests have errors")
    parser.add_argument("--allow-dirty", action="store_true", help="apply uncommitted files of the working copy, too")
    parser.add_argument("--allow-empty", action="store_true", help="let a target lose all of its services")
    parser.add_argument(
        "--max-delete", type=percent, metavar="PERCENT", help="let up to this part of a target's resources be deleted"
    )
    parser.add_argument("--plan", metavar="FILE", help="apply the saved plan, and nothing else; its commit is taken")
    parser.add_argument("--approve", metavar="DIGEST", help="apply only if this is the plan, and approve it")
    parser.add_argument(
        "--commit-status", action="store_true", help="tell the forge: pending, then success or failure (docs/ci.md)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before deleting, on a terminal")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Asks the daemon if there is one; else takes the lease and does it."""
    session = Session(arguments)
    try:
        saved = take_up(arguments.plan, session) if arguments.plan else None
        with telling(arguments.commit_status, session, console) as told:
            opened = session.installation()
            if daemon_of(opened.store) is not None:
                return _ask_daemon(arguments, console, opened, told, saved)
            with opened.store.writing("apply"):
                return _apply(arguments, console, session, opened, told, saved)
    finally:
        session.close()


def _ask_daemon(
    arguments: Namespace, console: Console, opened: Installation, told: Telling, saved: SavedPlan | None
) -> int:
    if arguments.ref or arguments.repo or arguments.path or arguments.allow_dirty:
        raise RefusedError(
            "a daemon keeps this state at what its own repo and ref say, so nothing else is applied beside it",
            hint="leave --repo, --ref, --path and --allow-dirty out, or stop the daemon",
        )
    reviewed: dict[str, Any] = {}
    if saved is not None:
        left = _of_saved(saved, opened.reconciler.look(holds=False), console)
        if console.output == "text":
            plan_command.show(plan_for(left, arguments), console)
        _check(left, arguments, saved)
        reviewed = {"reviewed": saved.reviewed.to_json(), "revision": saved.sha, "environment": saved.environment}
    wanted: dict[str, Any] = {
        "partial": arguments.partial,
        "environment": arguments.env,
        "allowed": [_ALLOWED_EMPTY] if arguments.allow_empty else [],
        "maxDelete": arguments.max_delete,
        "digest": None if saved else arguments.approve,
        "approve": bool(arguments.approve),
        "ignoreHolds": True,
        "wait": not arguments.no_wait,
        "timeout": arguments.timeout,
        **reviewed,
    }
    wait = not arguments.no_wait
    limit = arguments.timeout
    answer = ask_daemon(opened.store, opened.places, "apply", wanted, console, timeout=limit, wait=wait)
    if answer is None:
        return exits.DONE
    summary = Summary.from_json(answer)
    told.end(summary)
    return show(summary_for(summary, arguments), console)


def _apply(
    arguments: Namespace,
    console: Console,
    session: Session,
    opened: Installation,
    told: Telling,
    saved: SavedPlan | None,
) -> int:
    reconciler = opened.reconciler.held_to(arguments.max_delete)
    tree = session.tree()
    if tree.revision.dirty and not arguments.allow_dirty:
        raise _dirty(session)
    told.begin(tree.revision)
    look = reconciler.look(holds=False)
    plan = _of_saved(saved, look, console) if saved else look.plan
    if console.output == "text":
        plan_command.show(plan_for(_lifted(plan, arguments, opened, console, saved), arguments), console)
    _check(plan, arguments, saved)
    if arguments.approve and any(refusal.approvable for refusal in plan.refusals):
        approve(opened.store, plan.digest, who(), opened.clock.now())
    if not _confirmed(plan, arguments, console):
        raise RefusedError("nothing was changed", hint="answer `yes`, or pass --yes")
    options = ApplyOptions(
        partial=arguments.partial,
        allowed=frozenset({_ALLOWED_EMPTY} if arguments.allow_empty else ()),
        max_delete_percent=arguments.max_delete,
        timeout=arguments.timeout,
        wait=not arguments.no_wait,
        ignore_holds=True,
        by=who(),
        only=saved.reviewed if saved else None,
    )
    summary = carry_out(lambda progress, cancel: reconciler.carry_out(look, options, progress, cancel), console)
    told.end(summary)
    return show(summary_for(summary, arguments), console)


def _of_saved(saved: SavedPlan, look: Look, console: Console) -> Plan:
    """What of the plan of now was saved; what else there is to do is told and left alone."""
    left, found = what_is_left(saved, look)
    if found.beside:
        from reconciler.views import plan_json
        from reconciler.views.plan_difference import beside

        console.note("not in the saved plan, and left to another one:")
        for line in beside(found, plan_json.as_json(look.plan), console.error_style):
            console.note(line)
    return left


def _lifted(plan: Plan, arguments: Namespace, opened: Installation, console: Console, saved: SavedPlan | None) -> Plan:
    """The plan with the refusals that still stand, for people to read; what is lifted is said."""
    digests = _digests(plan, saved)
    given = opened.reconciler.approvals()
    # An approval of a saved plan is one of what is left of it.
    of_saved = [replace(a, digest=plan.digest) for a in given if a.work is None and a.digest in digests]
    own = [Approval(plan.digest, who())] if arguments.approve in digests else []
    approvals = (*given, *of_saved, *own)
    allowed = frozenset({_ALLOWED_EMPTY} if arguments.allow_empty else ())
    left = standing(plan, approvals, allowed, arguments.max_delete)
    for refusal in plan.refusals:
        if refusal not in left:
            approval = approval_of(plan, refusal, approvals)
            by = f"approved by {approval.by}" if approval else "let through by an option"
            console.note(f"{by}: {refusal.message} [{refusal.code}]")
    return replace(plan, refusals=tuple(left))


def _digests(plan: Plan, saved: SavedPlan | None) -> tuple[str, ...]:
    """What the plan is called by those who approve it: a saved one also by the digest that it was saved with."""
    return (plan.digest, saved.reviewed.digest) if saved else (plan.digest,)


def _dirty(session: Session) -> RefusedError:
    from reconciler.source.local import LocalSource

    source = session.source
    changed = source.uncommitted() if isinstance(source, LocalSource) else ()
    listed = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return RefusedError(
        f"the working copy has uncommitted files ({listed}), which nobody could find in Git afterwards",
        hint="commit them; or pass --allow-dirty to apply them anyway, or --ref HEAD to apply the last commit",
    )


def _check(plan: Plan, arguments: Namespace, saved: SavedPlan | None) -> None:
    """Stops before anything is done.

    Raises:
        InvalidError: Some manifests have errors.
        StaleError: The plan is not the one that was approved.
    """
    wrong = errors_of(plan.problems)
    if wrong and not arguments.partial:
        raise InvalidError(
            "nothing was changed: some manifests have errors",
            problems=wrong,
            hint="mend them, or pass --partial to apply the rest",
        )
    if arguments.approve and arguments.approve not in _digests(plan, saved):
        raise StaleError(
            f"the plan is not the approved one: it is {plan.digest} now",
            hint="look at it with `reconciler plan` and approve it again",
        )


def _confirmed(plan: Plan, arguments: Namespace, console: Console) -> bool:
    """Asks before something is taken away, if there is somebody to ask."""
    lost = sum(change.action in (Action.DELETE, Action.REPLACE) for change in plan.effective())
    if not lost or arguments.yes or arguments.approve or not (sys.stdin.isatty() and console.err.isatty()):
        return True
    console.beside(f"{lost} to delete or replace. Go on? Only `yes` does: ")
    return sys.stdin.readline().strip() == "yes"
