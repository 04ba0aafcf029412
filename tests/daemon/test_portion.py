"""What of a plan one target's run may carry out by itself."""

from __future__ import annotations

from reconciler.core.change import Action, Change
from reconciler.core.resources import Baseline, Desired, ResourceId
from reconciler.engine.portion import portion

ENVIRONMENT = ResourceId("registry/environments", "environment", "py-1")
SERVICE = ResourceId("east", "service", "a")
OTHER = ResourceId("east", "service", "b")


def test_what_needs_something_elsewhere_waits_for_it_and_the_rest_goes_on():
    """A slow build delays only the service that needs it."""
    changes = [
        Change(ENVIRONMENT, Action.CREATE),
        Change(SERVICE, Action.CREATE, depends_on=(ENVIRONMENT,)),
        Change(OTHER, Action.CREATE),
    ]
    cut = portion(changes, {"east"}, {})
    assert [c.id for c in cut.changes] == [OTHER]
    assert cut.awaited == {"registry/environments"}


def test_waiting_is_handed_on_along_dependencies():
    """What depends on something that waits, waits too."""
    changes = [
        Change(ENVIRONMENT, Action.CREATE),
        Change(SERVICE, Action.CREATE, depends_on=(ENVIRONMENT,)),
        Change(OTHER, Action.CREATE, depends_on=(SERVICE,)),
    ]
    assert portion(changes, {"east"}, {}).changes == ()


def test_what_is_only_recorded_elsewhere_is_not_waited_for():
    """A change without a call leaves the resource as it is, so others may use it."""
    changes = [
        Change(ENVIRONMENT, Action.ADOPT, steps=()),
        Change(SERVICE, Action.CREATE, depends_on=(ENVIRONMENT,)),
    ]
    assert [c.id for c in portion(changes, {"east"}, {}).changes] == [SERVICE]


def test_what_another_target_still_uses_is_not_deleted():
    """A registry's run sees no targets; the record tells it who needs what."""
    changes = [Change(ENVIRONMENT, Action.DELETE)]
    used = {SERVICE: Baseline(SERVICE, depends_on=(ENVIRONMENT,))}
    assert portion(changes, {"registry/environments"}, used).changes == ()
    assert len(portion(changes, {"registry/environments"}, {}).changes) == 1


def test_a_service_that_moves_is_not_deleted_before_it_was_made_elsewhere():
    """The old target's run waits for the new one's."""
    there = Desired(ResourceId("west", "service", "a"), {}, "a")
    changes = [Change(SERVICE, Action.DELETE, service="a")]

    cut = portion(changes, {"east"}, {}, [there])

    assert cut.changes == ()
    assert cut.awaited == {"west"}
    made = {there.id: Baseline(there.id, sent={})}
    assert portion(changes, {"east"}, made, [there]).changes == tuple(changes)
