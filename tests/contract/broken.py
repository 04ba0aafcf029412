"""For each rule of the contract a driver that breaks it, and nothing else: the suite must catch every one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from reconciler.core.change import Action, Change, Step
from reconciler.core.described import Described
from reconciler.core.driver import Capabilities, Done, InProgress
from reconciler.core.errors import ForeignError, TargetError, TerminalError, UnavailableError
from reconciler.core.resources import Completeness, Health, Observation, Observed, ResourceId
from reconciler.targets.memory import MemoryDriver
from reconciler.targets.memory.native import from_native

from .memory import MemoryFixture, MemoryStagedFixture, key_of


class Broken(MemoryDriver):
    """A driver that is not as it should be."""

    def tamper(self, observed: Observed) -> Observed:
        """What this driver makes of a resource it read."""
        return observed

    def _observed(self, key: str, record: dict[str, Any]) -> Observed:
        return self.tamper(super()._observed(key, record))


class InventsAResource(Broken):
    def observe(self, known: Sequence[ResourceId]) -> Observation:
        seen = super().observe(known)
        ghosts = {id_: Observed(id_, {}, health=Health.MISSING) for id_ in known}
        return replace(seen, resources={**ghosts, **seen.resources})


class WritesWhileLooking(Broken):
    def observe(self, known: Sequence[ResourceId]) -> Observation:
        seen = super().observe(known)
        for id_ in seen.resources:
            self.world.write(key_of(id_), self.world.native(key_of(id_)) or {}, self.world.mark(key_of(id_)))
        return seen


class ListsForeign(Broken):
    def observe(self, known: Sequence[ResourceId]) -> Observation:
        everything = [ResourceId(self.target, *key.split("/")) for key in self.world.names()]
        return super().observe(everything)


class EmptyWhenDown(Broken):
    def observe(self, known: Sequence[ResourceId]) -> Observation:
        try:
            return super().observe(known)
        except UnavailableError:
            return Observation(self.target, Completeness.COMPLETE)


class PartialIsComplete(Broken):
    def observe(self, known: Sequence[ResourceId]) -> Observation:
        return replace(super().observe(known), completeness=Completeness.COMPLETE, missing="")


class UnknownIsHealthy(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, health=Health.HEALTHY) if observed.health is Health.UNKNOWN else observed


class OldHealthForNewVersion(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, health=Health.HEALTHY, busy=False)


class ForgetsAField(Broken):
    def _payload(self, change: Change, current: dict[str, Any] | None) -> Any:
        return {k: v for k, v in super()._payload(change, current).items() if k != "models"}


class ReportsAnotherValue(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, spec={**observed.spec, "replicas": str(self.world.calls)})


class RawSpelling(Broken):
    def tamper(self, observed: Observed) -> Observed:
        ports = observed.spec.get("ports")
        spec = {**observed.spec, "ports": list(reversed(ports))} if isinstance(ports, list) else observed.spec
        return replace(observed, spec=spec)


class ShowsSecrets(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, outputs={"secrets": self.world.hidden(key_of(observed.id))})


class TouchesOnLook(Broken):
    """Writes whatever it sees at the start of every call to observe."""

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        for key in self.world.names():
            self.world.write(key, self.world.native(key) or {}, self.world.mark(key))
        return super().observe(known)


class CreatesAnother(Broken):
    def apply(self, change: Change) -> Done | InProgress:
        if change.action is Action.CREATE and change.step is Step.APPLY and key_of(change.id) in self.world.names():
            other = change.id._replace(name=change.id.name + "-2")
            mark = replace(change.mark, self_ref=str(other)) if change.mark else None
            return super().apply(replace(change, id=other, mark=mark))
        return super().apply(change)


class DeleteMustFind(Broken):
    def _delete(self, key: str, change: Change) -> Done | InProgress:
        if key not in self.world.names():
            raise TerminalError(f"{key} does not exist", hint="nothing to delete")
        return super()._delete(key, change)


class MarksLater(Broken):
    """Makes the resource first and marks it in a second call: what a crash leaves in between is nobody's."""

    def _write(self, key: str, change: Change) -> Done | InProgress:
        if key not in self.world.names():
            self.world.write(key, {}, None, create=True)
            version = self.world.get(key)["etag"]
            made = Observed(change.id, {}, version=version)
            change = replace(change, action=Action.ADOPT, observed=made)
        return super()._write(key, change)


class ForgetsItsMark(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, mark=replace(observed.mark, spec_digest="")) if observed.mark else observed


class Overwrites(Broken):
    def _payload(self, change: Change, current: dict[str, Any] | None) -> Any:
        assert change.desired is not None
        return change.desired.spec


class NeverRemoves(Broken):
    def _payload(self, change: Change, current: dict[str, Any] | None) -> Any:
        before = from_native(current["native"]) if current else {}
        return {**before, **super()._payload(change, current)}


class NeverRemovesUnrecorded(Broken):
    def _payload(self, change: Change, current: dict[str, Any] | None) -> Any:
        kept = tuple(field for field in change.fields if field.pointer != "/mark/specDigest")
        return super()._payload(replace(change, fields=kept), current)


class SeesOnlyTheMark(Broken):
    """Compares nothing but digests: reports the spec as it was when it was marked."""

    memory: ClassVar[dict[int, dict[str, Any]]] = {}

    def tamper(self, observed: Observed) -> Observed:
        known = self.memory.setdefault(id(self.world), {})
        spec = known.setdefault(observed.mark.spec_digest if observed.mark else "", observed.spec)
        return replace(observed, spec=spec)


class ReportsWhatIsGone(Broken):
    """Tells what was once there as if it still were."""

    before: ClassVar[dict[int, Mapping[ResourceId, Observed]]] = {}

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        seen = super().observe(known)
        told = {**self.before.get(id(self.world), {}), **seen.resources}
        self.before[id(self.world)] = told
        return replace(seen, resources=told)


class NothingIsImmutable(Broken):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, immutable=())


class LastWriteWins(Broken):
    def _version(self, change: Change) -> str:
        return ""

    def _delete(self, key: str, change: Change) -> Done | InProgress:
        return super()._delete(key, replace(change, observed=None))


class StagesInPlace(Broken):
    def _stage(self, key: str, change: Change) -> Done | InProgress:
        return self._write(key, replace(change, action=Action.UPDATE) if key in self.world.names() else change)


class PromotesOnce(Broken):
    def _promote(self, key: str, change: Change) -> Done:
        digest = (self.world.mark(key) or {}).get("specDigest")
        if change.mark is not None and digest == change.mark.spec_digest:
            raise TerminalError("already promoted", hint="nothing to do")
        return super()._promote(key, change)


class StagedLooksServing(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, health=Health.HEALTHY) if observed.health is Health.MISSING else observed


class TakesOverForeign(Broken):
    def _current(self, key: str, change: Change) -> Any:
        return super()._current(key, replace(change, action=Action.ADOPT) if key in self.world.names() else change)


class NeverAdopts(Broken):
    def apply(self, change: Change) -> Done | InProgress:
        if change.action is Action.ADOPT:
            raise ForeignError(f"{change.id} is not ours", hint="remove it; adopt is not possible")
        return super().apply(change)


class DeletesByPrefix(Broken):
    def _delete(self, key: str, change: Change) -> Done | InProgress:
        answer = super()._delete(key, change)
        for other in self.world.names():
            if other.startswith(key):
                self.world.remove(other)
        return answer


class LosesItsMark(Broken):
    def _write(self, key: str, change: Change) -> Done | InProgress:
        there = key in self.world.names()
        answer = super()._write(key, change)
        if there:
            self.world.set_mark(key, None)
        return answer


class ForgetsProtection(Broken):
    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, mark=replace(observed.mark, protect=False)) if observed.mark else observed


class CopiesAreOurs(Broken):
    def tamper(self, observed: Observed) -> Observed:
        mark = observed.mark
        return replace(observed, mark=replace(mark, self_ref=str(observed.id))) if mark else observed


class DeletesWhateverIsThere(Broken):
    def _delete(self, key: str, change: Change) -> Done | InProgress:
        with contextlib.suppress(KeyError):
            self.world.remove(key)
        return Done()


class AllMarksAreOurs(Broken):
    def tamper(self, observed: Observed) -> Observed:
        mark = observed.mark
        return replace(observed, mark=replace(mark, installation=self.installation)) if mark else observed


class Waits(Broken):
    """Does not return before slow work is over."""

    def apply(self, change: Change) -> Done | InProgress:
        answer = super().apply(change)
        while isinstance(answer, InProgress):
            answer = Done(super().observe([change.id]).resources.get(change.id))
        return answer


class BeginsAnew(Broken):
    """After a crash it takes away what was begun, and never comes to an end."""

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        seen = super().observe(known)
        for id_, observed in seen.resources.items():
            if observed.busy or (observed.staged and observed.staged.health is Health.PROGRESSING):
                self.world.remove(key_of(id_))
        return seen


class SlowDeleteIsDone(Broken):
    def _delete(self, key: str, change: Change) -> Done | InProgress:
        super()._delete(key, change)
        return Done()


class OneErrorForAll(Broken):
    def apply(self, change: Change) -> Done | InProgress:
        try:
            return super().apply(change)
        except TargetError as exc:
            raise UnavailableError(exc.message, hint=exc.hint) from exc


class ForgetsRetryAfter(Broken):
    def apply(self, change: Change) -> Done | InProgress:
        try:
            return super().apply(change)
        except TargetError as exc:
            exc.retry_after = None
            raise


class LostAnswerIsConflict(Broken):
    """Takes what it finds after a lost answer for somebody else's."""

    lost: ClassVar[set[int]] = set()

    def apply(self, change: Change) -> Done | InProgress:
        if id(self.world) in self.lost and self.world.names():
            raise ForeignError(f"{change.id} exists", hint="adopt it")
        try:
            return super().apply(change)
        except UnavailableError:
            self.lost.add(id(self.world))
            raise

    def tamper(self, observed: Observed) -> Observed:
        return replace(observed, mark=None) if id(self.world) in self.lost else observed


class InvalidIsRetried(Broken):
    def apply(self, change: Change) -> Done | InProgress:
        try:
            return super().apply(change)
        except TerminalError as exc:
            raise UnavailableError(exc.message) from exc


class RenamesByMaking(Broken):
    """Makes another one under the new name and leaves the old one where it is."""

    def _rename(self, key: str, change: Change, old_key: str) -> Change:
        return replace(change, action=Action.CREATE, observed=None, moved_from=None)


class DeletesToRename(Broken):
    """Takes the old one away before the new one is there."""

    def _rename(self, key: str, change: Change, old_key: str) -> Change:
        if old_key in self.world.names():
            self.world.delete(old_key)
        return replace(change, action=Action.CREATE, observed=None, moved_from=None)


class RenamesThenMarks(Broken):
    """A crash between its two calls leaves a resource under one name with the mark of another."""

    def _rename(self, key: str, change: Change, old_key: str) -> Change:
        if old_key in self.world.names():
            self.world.rename(old_key, key, self.world.mark(old_key) or {})
            mark = {**(self.world.mark(key) or {}), "self": str(change.id), "service": change.service}
            self.world.write(key, self.world.native(key) or {}, mark)
        return super()._rename(key, change, old_key)


class DeletesFirst(Broken):
    """Has the old one go as soon as the new one is asked for."""

    def apply(self, change: Change) -> Done | InProgress:
        if change.moved_from is not None and key_of(change.moved_from) in self.world.names():
            self.world.delete(key_of(change.moved_from))
        return super().apply(change)


class TellsSecrets(Broken):
    def apply(self, change: Change) -> Done | InProgress:
        try:
            return super().apply(change)
        except TargetError as exc:
            secrets: Any = (change.desired.spec.get("secrets") if change.desired else None) or {}
            raise type(exc)(f"{exc} {[s.reveal() for s in secrets.values()]}", hint=exc.hint) from exc


class StrangeKind(Broken):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, kinds=frozenset({"something"}))


class StagesWhatItDoesNotKnow(Broken):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, stages=frozenset({"nothing"}))


class DeclaresTooLittle(Broken):
    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, fields=("/replicas", "/models/*/name"))


class SaysLess(Broken):
    def describe(self, name: str, service: str) -> Described | None:
        found = super().describe(name, service)
        return replace(found, deployment={**found.deployment, "replicas": 1}) if found else None


class SaysOursAlone(Broken):
    def describe(self, name: str, service: str) -> Described | None:
        found = super().describe(name, service)
        return found if found and found.observed.owned_by(self.installation) else None


class SaysSecrets(Broken):
    def describe(self, name: str, service: str) -> Described | None:
        found = super().describe(name, service)
        hidden = self.world.hidden(key_of(found.observed.id)) if found else {}
        return replace(found, deployment={**found.deployment, "environmentVariables": hidden}) if found else None


class SaysAnything(Broken):
    def describable(self) -> Sequence[str]:
        return [*super().describable(), "nobody"]


class ClosesTheTarget(Broken):
    def close(self) -> None:
        for key in self.world.names():
            self.world.remove(key)


BROKEN: Mapping[str, tuple[type[Broken], type[MemoryFixture]]] = {
    "test_an_empty_target_is_complete_and_empty": (InventsAResource, MemoryFixture),
    "test_observing_writes_nothing": (WritesWhileLooking, MemoryFixture),
    "test_foreign_resources_are_not_ours": (ListsForeign, MemoryFixture),
    "test_a_target_that_is_down_raises": (EmptyWhenDown, MemoryFixture),
    "test_a_reading_that_breaks_off_is_partial": (PartialIsComplete, MemoryFixture),
    "test_every_native_state_maps_to_a_health": (UnknownIsHealthy, MemoryFixture),
    "test_health_is_of_this_version": (OldHealthForNewVersion, MemoryFixture),
    "test_create_then_observe_equals_render": (ForgetsAField, MemoryFixture),
    "test_the_second_plan_is_empty": (ReportsAnotherValue, MemoryFixture),
    "test_the_targets_own_spelling_is_no_drift": (RawSpelling, MemoryFixture),
    "test_a_secret_arrives_and_is_not_read_back": (ShowsSecrets, MemoryFixture),
    "test_the_second_reconcile_writes_nothing": (TouchesOnLook, MemoryFixture),
    "test_creating_twice_leaves_one": (CreatesAnother, MemoryFixture),
    "test_deleting_what_is_gone_succeeds": (DeleteMustFind, MemoryFixture),
    "test_a_crash_before_or_after_any_write_converges": (MarksLater, MemoryFixture),
    "test_a_lost_record_is_made_anew": (ForgetsItsMark, MemoryFixture),
    "test_only_the_named_fields_change": (Overwrites, MemoryFixture),
    "test_a_field_taken_out_of_git_goes": (NeverRemoves, MemoryFixture),
    "test_a_field_taken_out_goes_without_record": (NeverRemovesUnrecorded, MemoryFixture),
    "test_drift_is_seen_and_healed": (SeesOnlyTheMark, MemoryFixture),
    "test_what_was_deleted_by_hand_comes_back": (ReportsWhatIsGone, MemoryFixture),
    "test_an_immutable_field_means_replace": (NothingIsImmutable, MemoryFixture),
    "test_a_stale_version_conflicts_and_writes_nothing": (LastWriteWins, MemoryFixture),
    "test_a_staged_version_serves_nobody": (StagesInPlace, MemoryStagedFixture),
    "test_staging_and_promoting_twice_is_doing_it_once": (PromotesOnce, MemoryStagedFixture),
    "test_a_staged_first_version_can_be_discarded": (StagedLooksServing, MemoryStagedFixture),
    "test_a_move_leaves_no_gap": (DeletesFirst, MemoryStagedFixture),
    "test_a_move_is_an_update_where_the_target_renames": (RenamesByMaking, MemoryFixture),
    "test_a_rename_keeps_what_others_set": (DeletesToRename, MemoryFixture),
    "test_a_move_that_dies_converges": (RenamesThenMarks, MemoryFixture),
    "test_foreign_is_refused_and_the_message_says_how_to_adopt": (TakesOverForeign, MemoryFixture),
    "test_foreign_is_adopted_on_request": (NeverAdopts, MemoryFixture),
    "test_delete_takes_exactly_one": (DeletesByPrefix, MemoryFixture),
    "test_the_mark_survives_updates": (LosesItsMark, MemoryFixture),
    "test_protection_is_recorded_at_the_target": (ForgetsProtection, MemoryFixture),
    "test_a_copy_of_ours_is_not_ours": (CopiesAreOurs, MemoryFixture),
    "test_a_driver_deletes_only_what_is_ours": (DeletesWhateverIsThere, MemoryFixture),
    "test_another_installation_owns_nothing_of_ours": (AllMarksAreOurs, MemoryFixture),
    "test_what_is_said_of_ours_changes_nothing": (SaysLess, MemoryFixture),
    "test_what_is_said_of_others_is_adopted_as_it_is": (SaysOursAlone, MemoryFixture),
    "test_what_is_said_holds_no_secret": (SaysSecrets, MemoryFixture),
    "test_nothing_is_said_of_what_is_not_there": (SaysAnything, MemoryFixture),
    "test_slow_work_is_in_progress_until_observed_done": (Waits, MemoryFixture),
    "test_a_crash_while_it_is_slow_loses_nothing": (BeginsAnew, MemoryFixture),
    "test_a_slow_delete_is_over_when_it_is_gone": (SlowDeleteIsDone, MemoryFixture),
    "test_every_failure_maps_to_its_class": (OneErrorForAll, MemoryFixture),
    "test_a_throttled_answer_keeps_the_time_asked_for": (ForgetsRetryAfter, MemoryFixture),
    "test_an_answer_that_was_lost_is_not_a_second_write": (LostAnswerIsConflict, MemoryFixture),
    "test_what_the_target_refuses_is_terminal": (InvalidIsRetried, MemoryFixture),
    "test_no_secret_in_any_text": (TellsSecrets, MemoryFixture),
    "test_rendering_is_pure_and_in_normal_form": (StrangeKind, MemoryFixture),
    "test_capabilities_speak_of_declared_kinds": (StagesWhatItDoesNotKnow, MemoryFixture),
    "test_every_place_is_declared": (DeclaresTooLittle, MemoryFixture),
    "test_closing_leaves_the_target_alone": (ClosesTheTarget, MemoryFixture),
}
