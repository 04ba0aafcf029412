"""Taking services away on command, although Git names them: their resources are deleted, and they are suspended.

Suspended, because the next reconcile would bring them back at once; `reconciler resume` does so when it is wanted.
Protected resources are refused. `prune: false` speaks of deletions that follow from Git, and does not stop a command.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from reconciler.core.change import Action, Change, Kept, Plan
from reconciler.core.contents import Tree
from reconciler.core.dataclass import replace
from reconciler.core.errors import UsageError
from reconciler.core.plan import plan
from reconciler.core.resources import ResourceId
from reconciler.engine.clock import Cancel
from reconciler.engine.outcome import ApplyOptions, Look, Outcome
from reconciler.engine.progress import Progress, Result
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.record import record_run

REASON = "destroyed; `reconciler resume` brings it back"
STAYS = "it is not a service's: it goes by a commit that takes its document out, where its policy says to delete it"
# A resource that is ours by its mark alone is recorded first and deleted in the next round.
MAX_ROUNDS = 3


def destroy(
    reconciler: Reconciler,
    services: frozenset[str] | None,
    progress: Progress = lambda event: None,
    cancel: Cancel | None = None,
    *,
    tree: Tree | None = None,
    by: str = "",
    timeout: float | None = None,
) -> Outcome:
    """Deletes what belongs to services, under the lease that the caller holds, and suspends them.

    Args:
        services: Their names; None for everything this installation owns, models and environments included.
        tree: The revision to read; the newest if not given.
        by: Who asked, for the record.
        timeout: Seconds for carrying it out.

    Returns:
        The outcome; its plan holds only what this command did, would not do (`refusals`: protected) or could not see
        (`kept`).

    Raises:
        UsageError: There is no such service, in Git or in the record.
        StaleError: The lease was lost.
    """
    cancel = cancel or Cancel()
    started = reconciler.clock.monotonic()
    look = reconciler.look(None, tree, holds=False)
    named = _named(look, services)
    everything = services is None
    made = _plan(look, named, everything=everything)
    suspended = reconciler.store.suspensions()
    for service in sorted(named - suspended.keys() - _refused(look, made)):
        reconciler.store.suspend(service, by, REASON)
    results: dict[ResourceId, Result] = {}
    for _ in range(MAX_ROUNDS):
        # Twice seen: what a second observation does not show as ours is not deleted.
        again = reconciler.look(None, look.tree, holds=False)
        second = _plan(again, named, everything=everything)
        wanted = {c.id for c in made.changes}
        changes = [c for c in second.changes if c.id in wanted and c.id not in _finished(results)]
        look, made = again, second
        if not changes or cancel.requested:
            break
        options = ApplyOptions(timeout=timeout, by=by)
        results.update((r.id, r) for r in reconciler.execute(look, changes, options, progress, cancel))
        if all(c.action is not Action.ADOPT for c in changes):
            break
        look = reconciler.look(None, look.tree, holds=False)
        made = _plan(look, named, everything=everything)
    last = reconciler.look(None, look.tree, holds=False)
    outcome = Outcome(made, last, tuple(results.values()), made.refusals, cancelled=cancel.reason)
    if results:
        record_run(
            reconciler.store,
            look,
            outcome,
            ApplyOptions(by=by),
            reconciler.clock.monotonic() - started,
            reconciler.clock.now(),
        )
    return outcome


def _finished(results: Mapping[ResourceId, Result]) -> set[ResourceId]:
    return {i for i, r in results.items() if r.action is not Action.ADOPT}


def _refused(look: Look, made: Plan) -> frozenset[str]:
    """Services of which nothing is deleted because a rail forbids it, or such a service needs it: they go on."""
    baselines = look.situation.baselines
    stays = {r.id for r in made.refusals if r.id is not None} | {k.id for k in made.kept if k.code == "in-use"}
    staying = {baselines[id_].service for id_ in stays if id_ in baselines}
    return frozenset(staying) - {change.service for change in made.changes}


def _named(look: Look, services: frozenset[str] | None) -> frozenset[str]:
    recorded = {b.service for b in look.situation.baselines.values() if b.service}
    marked = {
        o.mark.service
        for observation in look.situation.observations.values()
        for o in observation.resources.values()
        if o.mark is not None and o.mark.service and o.owned_by(look.situation.installation)
    }
    known = look.state.services | recorded | marked
    if services is None:
        return frozenset(known)
    unknown = sorted(services - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], sorted(known), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
        raise UsageError(f"there is no service '{unknown[0]}'", hint=hint)
    return services


def _plan(look: Look, services: frozenset[str], *, everything: bool) -> Plan:
    """The plan of a world in which Git does not name the services, cut down to them."""
    situation = look.situation
    mine = _owned(look, services)

    def stays(id_: ResourceId) -> bool:
        capabilities = situation.capabilities.get(id_.target)
        return capabilities is not None and id_.kind in capabilities.irreplaceable

    def concerned(id_: ResourceId) -> bool:
        return (everything or id_ in mine) and not stays(id_)

    wanted = () if everything else tuple(d for d in situation.desired if d.id not in mine)
    asked = replace(
        situation,
        desired=wanted,
        baselines={i: replace(b, prune=True) if concerned(i) else b for i, b in situation.baselines.items()},
        capabilities={name: replace(c, retain_seconds=0.0) for name, c in situation.capabilities.items()}
        if everything
        else situation.capabilities,
        loaded_whole=True,
        suspended=situation.suspended - services,
        removed=situation.removed | services,
        incomplete=frozenset(),
        moves={},
    )
    made = plan(asked)
    changes = tuple(c for c in made.effective() if concerned(c.id) and _takes_away(c))
    return replace(
        made,
        changes=changes,
        drift=(),
        kept=(
            *(k for k in made.kept if concerned(k.id)),
            *(Kept(i, STAYS, "not-by-command") for i in sorted(situation.baselines) if everything and stays(i)),
        ),
        refusals=tuple(r for r in made.refusals if r.id is not None and concerned(r.id)),
        blocked=tuple(b for b in made.blocked if concerned(b.id)),
    )


def _takes_away(change: Change) -> bool:
    return change.action in (Action.DELETE, Action.FORGET) or (change.action is Action.ADOPT and not change.steps)


def _owned(look: Look, services: frozenset[str]) -> set[ResourceId]:
    """What belongs to the services alone; what they share with others belongs to none of them."""
    situation = look.situation
    shared = {d.id for d in situation.desired if d.service not in services}
    mine = {d.id for d in situation.desired if d.service in services}
    mine |= {i for i, b in situation.baselines.items() if b.service in services}
    for observation in situation.observations.values():
        mine |= {
            i
            for i, o in observation.resources.items()
            if o.mark is not None and o.mark.service in services and o.owned_by(situation.installation)
        }
    retained = {i for i in mine if i.kind in _retained(look, i)}
    return mine - shared - retained


def _retained(look: Look, id_: ResourceId) -> frozenset[str]:
    """Artifacts outlive their last use; what nobody needs any more is collected in its time."""
    capabilities = look.situation.capabilities.get(id_.target)
    return capabilities.retained if capabilities else frozenset()
