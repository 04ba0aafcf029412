"""Saved plans on the command line: saving one, standing at its commit again, and telling what differs since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli.session import Session
from reconciler.core.errors import (
    InvalidError,
    PlanChangedError,
    RefusedError,
    StaleError,
    UnavailableError,
    UsageError,
)
from reconciler.core.reviewed import Since, only, since

if TYPE_CHECKING:
    from reconciler.core.change import Plan
    from reconciler.engine.outcome import Look
    from reconciler.engine.saved import SavedPlan

_AGAIN = "make a new plan and look at it:\n  reconciler plan --out FILE"


def save_plan(path: str, look: Look, session: Session) -> None:
    """Saves the plan of a look at the targets.

    Raises:
        RefusedError: It is one of uncommitted files, which nobody could find again by its commit.
        InvalidError: The file cannot be written.
    """
    from reconciler.engine.saved import save

    revision = look.plan.revision
    if revision.dirty:
        raise RefusedError(
            "the plan is not saved: it is one of uncommitted files, and is applied by its commit",
            hint="commit them, or plan the last commit: --ref HEAD",
        )
    # A commit named by its id is not followed: it never moves.
    given, shown = session.ref, revision.ref
    follows = (shown and given) if given else (shown or "HEAD")
    identity, origin = session.installation().identity, wiring.origin_of(session.source)
    save(Path(path), look, identity, origin=origin, follows=follows)


def take_up(path: str, session: Session) -> SavedPlan:
    """Reads a saved plan, and makes the session stand at its commit and environment.

    Raises:
        UsageError: An option says otherwise.
        InvalidError: The file cannot be used, or was made from another repo.
        StaleError: The ref has moved on.
    """
    from reconciler.engine.identity import load_identity
    from reconciler.engine.saved import load

    arguments = session.arguments
    for option in ("ref", "allow_dirty"):
        if getattr(arguments, option, None):
            flag = f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag} cannot stand beside a saved plan, which is of one commit", hint="leave it out")
    saved = load(Path(path), load_identity(session.places.identity))
    if getattr(arguments, "env", None) not in (None, saved.environment):
        of = f"environment {saved.environment!r}" if saved.environment else "no environment"
        raise UsageError(f"the saved plan is one for {of}", hint="leave --env out")
    here = wiring.origin_of(session.source)
    if saved.origin != here:
        raise InvalidError(
            f"{path} was made from another repo or path ({saved.origin}); this is {here}",
            hint="go there, or name it with --repo and --path",
        )
    if saved.follows:
        _not_superseded(saved, session)
    session.pin(saved.sha, saved.ref, saved.environment)
    return saved


def _not_superseded(saved: SavedPlan, session: Session) -> None:
    try:
        now = session.source.peek(saved.follows)
    except InvalidError as error:
        raise StaleError(f"the plan is superseded: {error.message}", hint=_AGAIN) from error
    if now != saved.sha:
        raise StaleError(
            f"the plan is superseded: it is of {saved.sha[:7]}, and {saved.follows} is at {now[:7]} now",
            hint=f"{_AGAIN}\nor, to go back to that commit on purpose:\n  reconciler plan --ref {saved.sha} --out FILE",
        )


def what_is_left(saved: SavedPlan, look: Look) -> tuple[Plan, Since]:
    """The plan of now cut down to what was saved, and what else there is to do.

    Raises:
        PlanChangedError: It is not the saved plan any more; the message tells the difference.
        UnavailableError: That cannot be told, since a target was not wholly seen.
    """
    from reconciler.views import plan_json
    from reconciler.views.plan_difference import as_json, text

    plan, baselines = look.plan, look.situation.baselines
    found = since(saved.reviewed, plan, baselines)
    if found.same:
        return only(plan, saved.reviewed.going_on(plan, baselines)), found
    if found.unseen:
        why = "; ".join(f"target {name}: {plan.unseen.get(name) or 'not wholly seen'}" for name in found.unseen)
        raise UnavailableError(f"whether the saved plan still holds cannot be told: {why}", hint="try again later")
    now = plan_json.as_json(plan)
    raise PlanChangedError(
        "\n".join(["the plan is not the saved one any more:", *text(found, saved.document, now)]),
        differences=as_json(found, saved.document, now),
        hint=_AGAIN,
    )
