"""The driver contract as tests: one abstract class a chapter, one test a rule, over any driver's fixture.

A driver's module says `class TestIt(Contract): fixture = ItsFixture`. `test_suite` proves that every rule here catches
a driver that breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from reconciler.core.change import Action, Change, Disruption, Plan, Step
from reconciler.core.diff import three_way
from reconciler.core.driver import Driver, InProgress
from reconciler.core.errors import (
    ConflictError,
    ForeignError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.resources import Completeness, Desired, Health, Observed, ResourceId
from reconciler.core.rollout import mark_of
from reconciler.core.values import MISSING, lookup, walk

from .fixture import FAILURES, DriverFixture, needs
from .harness import INSTALLATION, Bench

CANARY = "c4n4ry-do-not-tell"


class Rules:
    """What every chapter has: the fixture, made anew for each rule, and the skips it declares."""

    fixture: ClassVar[type[DriverFixture]]

    def make(self, tmp_path: Path) -> DriverFixture:
        """One empty target."""
        return self.fixture()

    @pytest.fixture
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DriverFixture]:
        """The driver's fixture; a rule that needs what the target cannot do is skipped with the declared reason."""
        for hook in getattr(request.function, "needs", ()):
            if hook in self.fixture.cannot:
                pytest.skip(f"{hook}: {self.fixture.cannot[hook]}")
        target = self.make(tmp_path)
        yield target
        target.close()


def only(plan: Plan) -> Change:
    """The one change of a plan that does something."""
    (change,) = plan.effective()
    return change


def there(bench: Bench, desired: Desired) -> Observed:
    """The resource as observed, which must be there."""
    observed = bench.look(desired.id)
    assert observed is not None, f"{desired.id} is not observed"
    return observed


def assert_holds(observed: Observed, desired: Desired, write_only: tuple[str, ...] = ()) -> None:
    """Every field that is wanted reads as it is wanted."""
    comparison = three_way(
        desired.id.kind, desired.spec, observed.spec, desired.spec, desired.spec, write_only=write_only
    )
    assert comparison.changes == (), comparison.changes


def change_for(bench: Bench, desired: Desired, action: Action, step: Step = Step.APPLY) -> Change:
    """A change as the planner would make it, without planning."""
    situation = bench.situation([desired])
    observed = situation.observations[desired.id.target].resources.get(desired.id)
    return Change(desired.id, action, desired=desired, observed=observed, mark=mark_of(situation, desired), step=step)


def added(target: DriverFixture) -> list[str]:
    """The places that the variant `more` adds."""
    before = dict(walk(target.desired().spec))
    return [pointer for pointer, _ in walk(target.desired(variant="more").spec) if pointer not in before]


def left(bench: Bench, target: DriverFixture) -> list[str]:
    """Those of them that are at the target."""
    return [p for p in added(target) if lookup(there(bench, target.desired()).spec, p) is not MISSING]


class ObserveRules(Rules):
    """Observing: true, complete or honest about it, and without a trace."""

    def test_an_empty_target_is_complete_and_empty(self, target: DriverFixture) -> None:
        """A target with nothing on it is completely seen, and nothing is seen."""
        observation = target.make_driver().observe([target.desired().id])
        assert observation.completeness is Completeness.COMPLETE
        assert dict(observation.resources) == {}

    def test_observing_writes_nothing(self, target: DriverFixture) -> None:
        """Looking changes nothing, however often."""
        bench = target.bench()
        bench.settle([target.desired()])
        before = target.writes(), there(bench, target.desired())
        bench.observe([target.desired().id])
        assert (target.writes(), there(bench, target.desired())) == before

    @needs("add_foreign")
    def test_foreign_resources_are_not_ours(self, target: DriverFixture) -> None:
        """What somebody else made is seen only where we asked for that very id, and never as ours."""
        id_ = target.desired("theirs").id
        target.add_foreign(id_)
        driver = target.make_driver()
        assert dict(driver.observe([]).resources) == {}
        assert not driver.observe([id_]).resources[id_].owned_by(INSTALLATION)

    @needs("down")
    def test_a_target_that_is_down_raises(self, target: DriverFixture) -> None:
        """No answer is an error, never an empty observation."""
        bench = target.bench()
        bench.settle([target.desired()])
        target.down()
        with pytest.raises(UnavailableError):
            bench.drivers[target.desired().id.target].observe([])

    @needs("fail_second_page")
    def test_a_reading_that_breaks_off_is_partial(self, target: DriverFixture) -> None:
        """A listing that fails half-way is partial, says what is missing, and leads to no deletion."""
        bench = target.bench()
        bench.settle([target.desired("one"), target.desired("two"), target.desired("three")])
        target.fail_second_page()
        (observation,) = bench.observe().values()
        assert observation.completeness is Completeness.PARTIAL
        assert observation.missing
        target.fail_second_page()
        made = bench.plan([])
        assert made.count(Action.DELETE) == 0
        assert made.count(Action.FORGET) == 0

    @needs("condition")
    def test_every_native_state_maps_to_a_health(self, target: DriverFixture) -> None:
        """Each state the target knows means one health, a state nobody knows means Unknown."""
        bench = target.bench()
        bench.settle([target.desired()])
        wanted, seen = {}, {}
        for state in target.states:
            wanted[state] = target.condition(target.desired().id, state)
            seen[state] = there(bench, target.desired()).health
        assert seen == wanted
        assert Health.UNKNOWN in wanted.values()

    @needs("slow")
    def test_health_is_of_this_version(self, target: DriverFixture) -> None:
        """While a change is in progress the mark does not name the new version together with Healthy."""
        bench = target.bench()
        bench.settle([target.desired()])
        target.slow()
        change = only(bench.plan([target.desired(variant="changed")]))
        assert change.mark is not None
        answer = bench.drivers[change.id.target].apply(replace(change, step=change.steps[0]))
        observed = there(bench, target.desired())
        assert isinstance(answer, InProgress)
        assert observed.mark is not None
        assert (observed.mark.spec_digest, observed.health) != (change.mark.spec_digest, Health.HEALTHY)


class RoundTripRules(Rules):
    """What was wanted is what is read back."""

    def test_create_then_observe_equals_render(self, target: DriverFixture) -> None:
        """A resource reads back as it was wanted, healthy and under our mark."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        observed = there(bench, desired)
        assert_holds(observed, desired, bench.drivers[desired.id.target].capabilities.write_only)
        assert observed.owned_by(INSTALLATION)
        assert observed.mark is not None
        assert observed.mark.spec_digest == desired.spec_digest
        assert observed.health is Health.HEALTHY

    def test_the_second_plan_is_empty(self, target: DriverFixture) -> None:
        """After one reconcile nothing is left to do, for any variant."""
        bench = target.bench()
        for variant in ("", "more", "changed", ""):
            bench.reconcile([target.desired(variant=variant)])
            assert list(bench.plan([target.desired(variant=variant)]).effective()) == []

    @needs("awkward")
    def test_the_targets_own_spelling_is_no_drift(self, target: DriverFixture) -> None:
        """Defaults the target adds, the order of its lists and its units are no difference, with or without record."""
        bench, desired = target.bench(), target.awkward("awkward")
        bench.reconcile([desired])
        assert bench.plan([desired]).empty
        assert bench.plan([desired]).drift == ()
        bench.baselines.clear()
        assert [c.steps for c in bench.plan([desired]).effective()] == [()]

    @needs("secret")
    def test_a_secret_arrives_and_is_not_read_back(self, target: DriverFixture) -> None:
        """A secret reaches the target, is written again only when it changes, and no observation shows it."""
        bench = target.bench()
        bench.settle([target.secret("keeper", CANARY)])
        assert target.hidden(target.secret("keeper", CANARY).id) == CANARY
        assert CANARY not in repr(there(bench, target.secret("keeper", CANARY)))
        assert bench.plan([target.secret("keeper", CANARY)]).empty
        made = bench.reconcile([target.secret("keeper", CANARY + "2")])
        assert target.hidden(target.secret("keeper", CANARY).id) == CANARY + "2"
        assert CANARY not in repr(made)
        assert bench.plan([target.secret("keeper", CANARY + "2")]).empty


class IdempotenceRules(Rules):
    """Doing it twice is doing it once."""

    def test_the_second_reconcile_writes_nothing(self, target: DriverFixture) -> None:
        """A no-op is never written."""
        bench = target.bench()
        bench.settle([target.desired()])
        before = target.writes()
        bench.reconcile([target.desired()])
        assert target.writes() == before

    def test_creating_twice_leaves_one(self, target: DriverFixture) -> None:
        """A create that is repeated after a crash completes what was begun."""
        bench, desired = target.bench(), target.desired()
        create = only(bench.plan([desired]))
        for _ in range(2):
            for step in create.steps:
                bench.call(replace(create, step=step))
        assert list(bench.observe()[desired.id.target].resources) == [desired.id]
        assert_holds(there(bench, desired), desired)

    def test_deleting_what_is_gone_succeeds(self, target: DriverFixture) -> None:
        """A delete of something that is not there, or not there any more, is done."""
        bench, desired = target.bench(), target.desired()
        bench.call(change_for(bench, desired, Action.DELETE))
        bench.settle([desired])
        delete = change_for(bench, desired, Action.DELETE)
        bench.call(delete)
        bench.call(delete)
        assert bench.look(desired.id) is None

    @needs("crash")
    def test_a_crash_before_or_after_any_write_converges(self, target: DriverFixture) -> None:
        """Whichever write dies, on either side of it, the next reconciles end where they should, leaving one."""
        desired = target.desired()
        for when in ("before", "after"):
            for write in range(1, 4):
                bench = target.bench()
                bench.settle([])
                for variant in ("more", "changed", "gone"):
                    wanted = [target.desired(variant=variant)] if variant != "gone" else []
                    died = target.crash(when, write)
                    with pytest.raises(died):
                        bench.settle(wanted)
                        raise died
                    target.crash("never", 0)
                    bench.settle(wanted)
                    assert list(bench.observe()[desired.id.target].resources) == [d.id for d in wanted]
                    for one in wanted:
                        assert_holds(there(bench, one), one)
                        assert bool(left(bench, target)) == (variant == "more")

    def test_a_lost_record_is_made_anew(self, target: DriverFixture) -> None:
        """Without any record, what runs is adopted by its mark: nothing is written, nothing doubled."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        before = target.writes()
        bench.baselines.clear()
        assert [c.action for c in bench.reconcile([desired]).effective()] == [Action.ADOPT]
        assert target.writes() == before
        assert bench.plan([desired]).empty


class UpdateRules(Rules):
    """Changing what is there."""

    @needs("edit_foreign")
    def test_only_the_named_fields_change(self, target: DriverFixture) -> None:
        """An update leaves alone what others set."""
        bench = target.bench()
        bench.settle([target.desired()])
        stands = target.edit_foreign(target.desired().id)
        bench.settle([target.desired(variant="changed")])
        assert_holds(there(bench, target.desired()), target.desired(variant="changed"))
        assert stands()

    def test_a_field_taken_out_of_git_goes(self, target: DriverFixture) -> None:
        """What was added and then removed is gone from the target."""
        bench = target.bench()
        bench.settle([target.desired(variant="more")])
        assert left(bench, target) == added(target) != []
        bench.settle([target.desired()])
        assert left(bench, target) == []

    def test_a_field_taken_out_goes_without_record(self, target: DriverFixture) -> None:
        """It goes also where the record was lost in between."""
        bench = target.bench()
        bench.settle([target.desired(variant="more")])
        bench.baselines.clear()
        bench.settle([target.desired()])
        assert left(bench, target) == []

    @needs("edit")
    def test_drift_is_seen_and_healed(self, target: DriverFixture) -> None:
        """A field of ours that was changed by hand is told as drift, at its pointer, and written back."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        pointer = target.edit(desired.id)
        made = bench.reconcile([desired])
        assert [f.pointer for d in made.drift for f in d.fields] == [pointer]
        assert only(made).drift_only
        assert_holds(there(bench, desired), desired)
        assert bench.plan([desired]).empty

    @needs("remove")
    def test_what_was_deleted_by_hand_comes_back(self, target: DriverFixture) -> None:
        """A resource that is gone is told as drift, and made again."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        target.remove(desired.id)
        made = bench.reconcile([desired])
        assert [(d.id, d.gone) for d in made.drift] == [(desired.id, True)]
        assert only(made).drift_only
        assert_holds(there(bench, desired), desired)
        assert bench.plan([desired]).empty

    @needs("immutable")
    def test_an_immutable_field_means_replace(self, target: DriverFixture) -> None:
        """A field that cannot be changed replaces the resource, says so, and arrives."""
        bench = target.bench()
        bench.settle([target.immutable("fixed", "a")])
        change = only(bench.reconcile([target.immutable("fixed", "b")]))
        assert change.action is Action.REPLACE
        assert (change.disruption is Disruption.REPLACE) == (Step.STAGE not in change.steps)
        assert_holds(there(bench, target.immutable("fixed", "b")), target.immutable("fixed", "b"))
        assert bench.plan([target.immutable("fixed", "b")]).empty

    @needs("touch")
    def test_a_stale_version_conflicts_and_writes_nothing(self, target: DriverFixture) -> None:
        """An update or delete planned on what has changed since is refused, and changes nothing."""
        bench, changed = target.bench(), target.desired(variant="changed")
        bench.settle([target.desired()])
        update = only(bench.plan([changed]))
        delete = change_for(bench, target.desired(), Action.DELETE)
        target.touch(changed.id)
        before = there(bench, changed)
        for change in (update, delete):
            with pytest.raises(ConflictError):
                bench.call(replace(change, step=change.steps[0]))
            after = there(bench, changed)
            assert (after.spec, after.mark, after.staged) == (before.spec, before.mark, before.staged)

    @needs("staged")
    def test_a_staged_version_serves_nobody(self, target: DriverFixture) -> None:
        """Staging leaves the serving version as it was; promoting moves; discarding takes the staged one away."""
        bench, old, new = target.bench(), target.staged("stage"), target.staged("stage", "changed")
        bench.settle([old])
        serving = there(bench, old)
        change = only(bench.plan([new]))
        assert change.steps[0] is Step.STAGE
        for ending in (Step.DISCARD, Step.PROMOTE):
            bench.call(replace(change, step=Step.STAGE))
            between = there(bench, old)
            assert (between.spec, between.mark, between.version) == (serving.spec, serving.mark, serving.version)
            assert between.staged is not None
            assert between.staged.spec_digest == new.spec_digest
            assert between.staged.health is Health.HEALTHY
            bench.call(replace(change, step=ending))
            assert there(bench, old).staged is None
        assert_holds(there(bench, new), new)

    @needs("staged")
    def test_staging_and_promoting_twice_is_doing_it_once(self, target: DriverFixture) -> None:
        """Each step repeated after a crash completes what was begun."""
        bench, new = target.bench(), target.staged("stage", "changed")
        change = only(bench.plan([new]))
        for step in (Step.STAGE, Step.STAGE, Step.PROMOTE, Step.PROMOTE, Step.DISCARD, Step.DISCARD):
            bench.call(replace(change, step=step))
        assert_holds(there(bench, new), new)
        assert there(bench, new).staged is None

    @needs("staged")
    def test_a_staged_first_version_can_be_discarded(self, target: DriverFixture) -> None:
        """A first version that is staged is known as ours, not as serving, and leaves nothing when discarded."""
        bench, new = target.bench(), target.staged("stage")
        change = only(bench.plan([new]))
        bench.call(replace(change, step=Step.STAGE))
        observed = there(bench, new)
        assert observed.health is not Health.HEALTHY
        assert observed.owned_by(INSTALLATION)
        bench.call(replace(change, step=Step.DISCARD))
        assert bench.look(new.id) is None


class OwnershipRules(Rules):
    """Ours is what carries our mark for its own name, and nothing else."""

    @needs("add_foreign")
    def test_foreign_is_refused_and_the_message_says_how_to_adopt(self, target: DriverFixture) -> None:
        """A name that is taken stops the plan's change with the way on, and the driver refuses by itself too."""
        bench, desired = target.bench(), target.desired("theirs")
        create = only(bench.plan([desired]))
        untouched = target.add_foreign(desired.id)
        made = bench.reconcile([desired])
        assert made.empty
        assert [(r.code, r.id, "adopt" in r.hint) for r in made.refusals] == [("foreign", desired.id, True)]
        with pytest.raises(ForeignError) as caught:
            bench.call(replace(create, step=create.steps[0]))
        assert "adopt" in caught.value.hint
        assert untouched()

    @needs("add_foreign")
    def test_foreign_is_adopted_on_request(self, target: DriverFixture) -> None:
        """With `adopt` it becomes ours, marked, and the plan says so."""
        bench, desired = target.bench(), target.desired("theirs")
        target.add_foreign(desired.id)
        wanted = replace(desired, policy=replace(desired.policy, adopt=True))
        assert only(bench.reconcile([wanted])).action is Action.ADOPT
        assert there(bench, wanted).owned_by(INSTALLATION)
        assert_holds(there(bench, wanted), wanted)
        assert bench.plan([wanted]).empty

    def test_delete_takes_exactly_one(self, target: DriverFixture) -> None:
        """What was taken out of Git goes; its neighbours stay."""
        bench = target.bench()
        bench.settle([target.desired("one"), target.desired("one-more"), target.desired("two")])
        bench.reconcile([target.desired("one-more"), target.desired("two")])
        left = bench.observe()[target.desired().id.target].resources
        assert sorted(left) == sorted([target.desired("one-more").id, target.desired("two").id])

    def test_the_mark_survives_updates(self, target: DriverFixture) -> None:
        """After an update the resource is still ours, and the mark names the new version."""
        bench = target.bench()
        for variant in ("", "changed", "more"):
            bench.settle([target.desired(variant=variant)])
            observed = there(bench, target.desired())
            assert observed.owned_by(INSTALLATION)
            assert observed.mark is not None
            assert observed.mark.spec_digest == target.desired(variant=variant).spec_digest

    def test_protection_is_recorded_at_the_target(self, target: DriverFixture) -> None:
        """`protect` stands in the mark, so that lifting it takes one merge and deleting takes the next."""
        bench, desired = target.bench(), target.desired()
        safe = replace(desired, policy=replace(desired.policy, protect=True))
        bench.settle([desired])
        bench.settle([safe])
        mark = there(bench, desired).mark
        assert mark is not None
        assert mark.protect
        assert [r.code for r in bench.reconcile([]).refusals] == ["protected"]
        bench.settle([desired])
        bench.settle([])
        assert bench.look(desired.id) is None

    @needs("copy")
    def test_a_copy_of_ours_is_not_ours(self, target: DriverFixture) -> None:
        """A copy with our mark under another name is never listed as ours, changed or deleted."""
        bench = target.bench()
        bench.settle([target.desired()])
        twin = target.copy(target.desired().id)
        seen = bench.observe([twin])[twin.target].resources[twin]
        assert not seen.owned_by(INSTALLATION)
        bench.settle([])
        assert bench.look(target.desired().id) is None
        assert twin in bench.observe([twin])[twin.target].resources

    @needs("copy")
    def test_a_driver_deletes_only_what_is_ours(self, target: DriverFixture) -> None:
        """Asked to delete a copy, the driver refuses by itself."""
        bench = target.bench()
        bench.settle([target.desired()])
        twin = target.copy(target.desired().id)
        delete = replace(change_for(bench, target.desired(), Action.DELETE), id=twin)
        with pytest.raises(TargetError):
            bench.call(replace(delete, observed=bench.look(twin)))
        assert bench.look(twin) is not None

    def test_another_installation_owns_nothing_of_ours(self, target: DriverFixture) -> None:
        """A second installation at the same target neither lists nor deletes what is ours."""
        bench = target.bench()
        bench.settle([target.desired()])
        other = Bench(target.make_driver("somebody-else"), installation="somebody-else", pause=target.pause)
        assert dict(other.observe()[target.desired().id.target].resources) == {}
        assert [r.code for r in other.reconcile([target.desired()]).refusals] == ["foreign"]
        assert there(bench, target.desired()).owned_by(INSTALLATION)


class TimeRules(Rules):
    """Slow work is handed back, not waited for."""

    @needs("slow")
    def test_slow_work_is_in_progress_until_observed_done(self, target: DriverFixture) -> None:
        """A slow change returns at once, is seen as busy or progressing, and is over when observing says so."""
        bench, desired = target.bench(), target.desired()
        target.slow()
        create = only(bench.plan([desired]))
        driver = bench.drivers[desired.id.target]
        answer = driver.apply(replace(create, step=create.steps[0]))
        assert isinstance(answer, InProgress)
        assert 0 <= answer.retry_after <= driver.capabilities.deadline_seconds
        seen = there(bench, desired)
        staged = seen.staged is not None and seen.staged.health is Health.PROGRESSING
        assert seen.busy or seen.health is Health.PROGRESSING or staged
        bench.settle([desired])
        assert there(bench, desired).health is Health.HEALTHY
        assert not there(bench, desired).busy

    @needs("slow")
    def test_a_crash_while_it_is_slow_loses_nothing(self, target: DriverFixture) -> None:
        """Whoever comes back in between finds the work going on, does not begin it anew, and records its end."""
        bench, desired = target.bench(), target.desired()
        target.slow()
        create = only(bench.plan([desired]))
        for step in create.steps[:1]:
            bench.intend(create, step, None)
            bench.drivers[desired.id.target].apply(replace(create, step=step))
        again = target.bench()
        again.baselines = bench.baselines
        again.until(lambda: not list(again.reconcile([desired]).effective()) and not again.plan([desired]).blocked)
        assert_holds(there(again, desired), desired)
        assert again.plan([desired]).empty
        assert again.baselines[desired.id].pending is None
        assert list(again.observe()[desired.id.target].resources) == [desired.id]

    @needs("slow_delete")
    def test_a_slow_delete_is_over_when_it_is_gone(self, target: DriverFixture) -> None:
        """A slow delete returns at once; asked again it does not fail; at last the resource is gone."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        target.slow_delete()
        delete = change_for(bench, desired, Action.DELETE)
        driver = bench.drivers[desired.id.target]
        assert isinstance(driver.apply(delete), InProgress)
        driver.apply(delete)
        bench.until(lambda: bench.look(desired.id) is None)


class ErrorRules(Rules):
    """What the target says becomes a class that says how to go on."""

    @needs("fail")
    def test_every_failure_maps_to_its_class(self, target: DriverFixture) -> None:
        """401, 403, 404, 409, 412, 429, 5xx, time-out and a broken connection each come out as their class, chained."""
        bench = target.bench()
        bench.settle([target.desired()])
        update = only(bench.plan([target.desired(variant="changed")]))
        for failure in FAILURES:
            wanted = target.fail(failure)
            with pytest.raises(TargetError) as caught:
                bench.drivers[update.id.target].apply(replace(update, step=update.steps[0]))
            assert type(caught.value) is wanted, failure
            assert caught.value.__cause__ is not None, failure
            assert caught.value.hint, failure

    @needs("fail")
    def test_a_throttled_answer_keeps_the_time_asked_for(self, target: DriverFixture) -> None:
        """Retry-After comes through."""
        bench = target.bench()
        create = only(bench.plan([target.desired()]))
        target.fail("429")
        with pytest.raises(ThrottledError) as caught:
            bench.drivers[create.id.target].apply(replace(create, step=create.steps[0]))
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 0

    @needs("fail")
    def test_an_answer_that_was_lost_is_not_a_second_write(self, target: DriverFixture) -> None:
        """A write that happened although its answer was lost is found as done by the next plan."""
        bench, desired = target.bench(), target.desired()
        for failure in ("timeout", "broken", "500"):
            target.fail(failure, when="after")
            with pytest.raises(UnavailableError):
                bench.settle([desired])
            bench.settle([desired])
            assert list(bench.observe()[desired.id.target].resources) == [desired.id]
            assert_holds(there(bench, desired), desired)
            bench.settle([])

    @needs("invalid")
    def test_what_the_target_refuses_is_terminal(self, target: DriverFixture) -> None:
        """A spec that is wrong for the target stops until it changes."""
        bench = target.bench()
        create = only(bench.plan([target.invalid("wrong")]))
        with pytest.raises(TerminalError):
            bench.drivers[create.id.target].apply(replace(create, step=create.steps[0]))
        assert bench.look(create.id) is None

    @needs("secret", "fail")
    def test_no_secret_in_any_text(self, target: DriverFixture) -> None:
        """No error, hint, cause or answer holds a secret, whatever goes wrong with it in hand."""
        bench, desired = target.bench(), target.secret("keeper", CANARY)
        create = only(bench.plan([desired]))
        driver = bench.drivers[create.id.target]
        for failure in FAILURES:
            target.fail(failure)
            with pytest.raises(TargetError) as caught:
                driver.apply(replace(create, step=create.steps[0]))
            exc: BaseException | None = caught.value
            while exc is not None:
                assert CANARY not in f"{exc!r} {exc} {getattr(exc, 'hint', '')}"
                exc = exc.__cause__
        assert CANARY not in repr(driver.apply(replace(create, step=create.steps[0])))
        assert CANARY not in repr(driver)


class ShapeRules(Rules):
    """What the contract says of the driver itself."""

    def test_rendering_is_pure_and_in_normal_form(self, target: DriverFixture) -> None:
        """What is wanted twice is equal, of a declared kind, at this target."""
        driver, desired = target.make_driver(), target.desired()
        assert desired == target.desired()
        assert desired.id.kind in driver.capabilities.kinds
        assert desired.id.target == driver.target
        assert ResourceId.parse(str(desired.id)) == desired.id

    def test_capabilities_speak_of_declared_kinds(self, target: DriverFixture) -> None:
        """Staged, tested and retained kinds are kinds; limits are positive."""
        told = target.make_driver().capabilities
        assert told.stages | told.endpoints | told.retained <= told.kinds
        assert told.parallel > 0
        assert told.deadline_seconds > 0

    def test_closing_leaves_the_target_alone(self, target: DriverFixture) -> None:
        """Closing a driver takes nothing away, and can be done twice."""
        bench = target.bench()
        bench.settle([target.desired()])
        driver: Driver = bench.drivers[target.desired().id.target]
        driver.close()
        driver.close()
        assert target.bench().look(target.desired().id) is not None


class Contract(
    ObserveRules, RoundTripRules, IdempotenceRules, UpdateRules, OwnershipRules, TimeRules, ErrorRules, ShapeRules
):
    """All chapters."""


def rules() -> list[str]:
    """The names of all rules."""
    return sorted(name for name in dir(Contract) if name.startswith("test_"))
