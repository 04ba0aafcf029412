"""A pure model of a target, and strategies for what may be wanted of it and done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from reconciler.core.change import Action, Change, Plan
from reconciler.core.contents import Revision
from reconciler.core.diff import assign
from reconciler.core.driver import Capabilities
from reconciler.core.memo import Memo
from reconciler.core.outputs import fill_change
from reconciler.core.plan import plan
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.record import confirmed, intended
from reconciler.core.resources import Baseline, Completeness, Desired, Mark, Observation, Observed, Pending, ResourceId
from reconciler.core.rollout import DIGEST_FIELD
from reconciler.core.situation import Situation
from reconciler.core.values import Spec

US = "us"
KIND = "thing"


class Died(Exception):
    """The process died here."""


@dataclass
class ModelTarget:
    """A target as a value: server-side defaults, one spelling of its own, versions that count up."""

    name: str = "t"
    defaults: Mapping[str, Any] = field(default_factory=lambda: {"d1": "default", "m": {"d2": 7}})
    records: dict[ResourceId, Observed] = field(default_factory=dict)
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(frozenset({KIND})))
    counter: int = 0
    writes: int = 0

    def server(self, spec: Any, defaults: Any) -> Any:
        """What the target makes of a spec: defaults where it says nothing, strings in capitals under `upper`."""
        result = dict(spec)
        for key, value in defaults.items():
            if key not in result:
                result[key] = value
            elif isinstance(value, dict) and isinstance(result[key], dict):
                result[key] = self.server(result[key], value)
        if isinstance(result.get("upper"), str):
            result["upper"] = result["upper"].upper()
        return result

    def put(self, id_: ResourceId, spec: Spec, mark: Mark | None) -> Observed:
        """Writes a resource."""
        self.counter += 1
        self.writes += 1
        observed = Observed(id_, self.server(spec, self.defaults), mark, version=str(self.counter))
        self.records[id_] = observed
        return observed

    def apply(self, change: Change) -> Observed | None:
        """One change, as a driver would do it."""
        if change.action is Action.DELETE:
            self.writes += 1
            self.records.pop(change.id, None)
            return None
        assert change.desired is not None
        current = self.records.get(change.id)
        if change.moved_from is not None and change.action is Action.UPDATE:
            current = self._rename(change) or current
        whole = change.action in (Action.CREATE, Action.REPLACE) or current is None
        if whole or any(f.pointer == DIGEST_FIELD for f in change.fields):
            return self.put(change.id, change.desired.spec, change.mark)
        spec: Any = current.spec
        for one in change.fields:
            spec = spec if one.pointer.startswith("/mark/") else assign(spec, one.pointer, one.after)
        return self.put(change.id, spec, change.mark)

    def _rename(self, change: Change) -> Observed | None:
        """Gives a resource its new name and the mark for it, in one step."""
        assert change.moved_from is not None
        former = self.records.pop(change.moved_from, None)
        if former is None:
            return None
        assert former.mark is not None
        mark = replace(former.mark, self_ref=str(change.id), service=change.service)
        self.records[change.id] = replace(former, id=change.id, mark=mark)
        return self.records[change.id]

    def observe(self) -> Observation:
        """All there is."""
        return Observation(self.name, Completeness.COMPLETE, dict(self.records))


@dataclass
class Loop:
    """A reconciler over one model target, able to die before or after any write; what it remembers changes nothing."""

    target: ModelTarget = field(default_factory=ModelTarget)
    memo: Memo = field(default_factory=Memo)
    baselines: dict[ResourceId, Baseline] = field(default_factory=dict)
    revision: int = 0

    def situation(self, desired: Sequence[Desired], **more: Any) -> Situation:
        """What a plan depends on now."""
        return Situation(
            **{
                "revision": Revision(f"{self.revision:040x}"),
                "desired": tuple(desired),
                "observations": {self.target.name: self.target.observe()},
                "capabilities": {self.target.name: self.target.capabilities},
                "baselines": dict(self.baselines),
                "installation": US,
                **more,
            }
        )

    def reconcile(
        self, desired: Sequence[Desired], die: Callable[[int, str], bool] = lambda n, when: False, **more: Any
    ) -> Plan:
        """Plans and carries out.

        Args:
            die: Asked with the number of the write and `before` or `after`.
        """
        self.revision += 1
        situation = self.situation(desired, **more)
        made = plan(situation, self.memo)
        assert made == plan(situation)
        number = 0
        outputs = {c.id: c.observed.outputs for c in made.changes if c.observed is not None}
        for planned in made.effective():
            change = fill_change(planned, outputs.get)
            prior = self.baselines.get(change.id)
            former = change.moved_from if change.action is Action.UPDATE else None
            if former is not None and former in self.baselines:
                prior = replace(self.baselines[former], id=change.id, service=change.service)
            if change.action is Action.FORGET:
                self.baselines.pop(change.id, None)
                continue
            answered = change.observed
            if change.steps:
                number += 1
                base = prior or Baseline(change.id, change.service)
                self.baselines[change.id] = replace(
                    base, pending=Pending(change.action.value, "apply", intended(change))
                )
                if die(number, "before"):
                    raise Died
                answered = self.target.apply(change)
                if die(number, "after"):
                    raise Died
            if change.action is Action.DELETE:
                self.baselines.pop(change.id, None)
            else:
                assert answered is not None
                self.baselines[change.id] = confirmed(change, answered, prior)
                if former is not None:
                    self.baselines.pop(former, None)
        return made

    def intent(self, change: Change) -> Pending:
        """The write-ahead record of a change."""
        return Pending(change.action.value, "apply", intended(change))

    def settle(self, desired: Sequence[Desired], **more: Any) -> Plan:
        """Reconciles until the plan is empty, which must be soon."""
        for _ in range(4):
            made = self.reconcile(desired, **more)
            if made.empty:
                return made
        raise AssertionError([(str(c.id), c.action, c.reason, c.fields) for c in made.effective()])


def id_of(name: str) -> ResourceId:
    """A resource of the model target."""
    return ResourceId("t", KIND, name)


def want(name: str, spec: Spec, **more: Any) -> Desired:
    """A resource to want."""
    return Desired(id_of(name), spec, name, **more)


NAMES = st.sampled_from(["a", "b", "c", "m", "upper", "n/~1"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.sampled_from(["", "x", "y"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
SPECS = st.dictionaries(NAMES, VALUES, max_size=4)
POINTERS = st.sampled_from(["/a", "/b", "/m", "/m/a", "/m/**", "/*/a", "/c/0", "/**", "/upper"])
POLICIES = st.builds(
    lambda rules: Policy(rules=tuple(rules)),
    st.lists(st.builds(DriftRule, POINTERS, st.sampled_from(FieldPolicy)), max_size=2),
)
