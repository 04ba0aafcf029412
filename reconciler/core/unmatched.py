"""Drift rules that speak of nothing: a typo in a pattern must not silently leave a field to the wrong side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from reconciler.core.dataclass import dataclass
from reconciler.core.driver import Capabilities
from reconciler.core.patterns import Pattern, items_of, named_pointer, pattern_of
from reconciler.core.policy import DriftRule
from reconciler.core.problems import Problem, Severity
from reconciler.core.resources import Desired, Observation
from reconciler.core.values import walk


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A rule that speaks of no field of what Git wants; something at a target may still have the field.

    Args:
        governed: The resources that it could speak of.
    """

    rule: DriftRule
    governed: tuple[Desired, ...]
    problem: Problem


def unmatched_rules(
    governed: Iterable[tuple[Sequence[DriftRule], Sequence[Desired]]], capabilities: Mapping[str, Capabilities]
) -> list[Unmatched]:
    """The rules that match nothing, each once.

    Args:
        governed: For each service its rules, and its resources of which they speak.
        capabilities: By target name.
    """
    waiting: dict[DriftRule, list[Desired]] = {}
    settled: set[DriftRule] = set()
    for rules, resources in governed:
        for rule in rules:
            if rule in settled:
                continue
            if any(_matches(rule, desired, capabilities[desired.id.target]) for desired in resources):
                settled.add(rule)
                waiting.pop(rule, None)
            else:
                waiting.setdefault(rule, []).extend(resources)
    return [Unmatched(rule, tuple(found), _problem(rule, found, capabilities)) for rule, found in waiting.items()]


def still_unmatched(rules: Iterable[Unmatched], observations: Mapping[str, Observation]) -> tuple[Problem, ...]:
    """What is to be told of them, now that it is known what the targets hold."""
    return tuple(one.problem for one in rules if not any(_observed(one, observations)))


def _matches(rule: DriftRule, desired: Desired, capabilities: Capabilities) -> bool:
    pattern, kind = pattern_of(rule.pattern), desired.id.kind
    if not pattern.concerns(kind):
        return False
    # Which items a list holds only the resource itself can tell.
    if not pattern.keyed and any(pattern.meets(kind, pattern_of(place)) for place in capabilities.fields):
        return True
    items = items_of(desired.spec) if pattern.keyed else {}
    return any(pattern.matches(kind, pointer, items) for pointer, _ in walk(desired.spec))


def _observed(one: Unmatched, observations: Mapping[str, Observation]) -> Iterator[bool]:
    pattern = pattern_of(one.rule.pattern)
    for desired in one.governed:
        observation = observations.get(desired.id.target)
        seen = observation.resources.get(desired.id) if observation else None
        if seen is not None and pattern.concerns(desired.id.kind):
            items = items_of(seen.spec) if pattern.keyed else {}
            yield any(pattern.matches(desired.id.kind, pointer, items) for pointer, _ in walk(seen.spec))


def _problem(rule: DriftRule, resources: Sequence[Desired], capabilities: Mapping[str, Capabilities]) -> Problem:
    pattern = pattern_of(rule.pattern)
    kinds = sorted({desired.id.kind for desired in resources})
    known = sorted({kind for told in capabilities.values() for kind in told.kinds})
    if pattern.kind and not any(pattern.concerns(kind) for kind in kinds):
        what = f"no resource that this policy governs is of kind '{pattern.kind}'"
        hint = _meant(pattern.kind, kinds) or _meant(pattern.kind, known)
        hint = hint or (f"there {'is' if len(kinds) == 1 else 'are'} {', '.join(kinds)}" if kinds else "")
    else:
        what = f"'{rule.pattern}' names no field of any resource that this policy governs"
        hint = _field_meant(pattern, resources, capabilities)
    message = f"{what}, so `{rule.policy.value}` has no effect there"
    return Problem("pattern-unmatched", message, rule.position, hint, severity=Severity.WARNING)


def _field_meant(pattern: Pattern, resources: Sequence[Desired], capabilities: Mapping[str, Capabilities]) -> str:
    """The closest field: spelled alike, or the same name in another place."""
    places: dict[str, None] = {}
    for desired in resources[:100]:
        if pattern.concerns(desired.id.kind):
            items = items_of(desired.spec)
            places.update(dict.fromkeys(named_pointer(pointer, items) for pointer, _ in walk(desired.spec)))
            places.update(dict.fromkeys(capabilities[desired.id.target].fields))
    known = dict.fromkeys(above for place in places for above in _way(place))
    pointer = "/" + "/".join(pattern.steps)
    same_name = [place for place in known if place.rpartition("/")[2].lower() == pattern.steps[-1].lower()]
    close = _meant(pointer, [*known]) if pattern.steps else ""
    if len(same_name) == 1:
        close = f"did you mean '{same_name[0]}'?"
    return close or f"there are {', '.join(dict.fromkeys('/' + place.split('/')[1] for place in known))}"


def _way(pointer: str) -> Iterator[str]:
    steps = pointer.partition(":")[2].split("/") if ":" in pointer.split("/")[0] else pointer.split("/")
    for end in range(2, len(steps) + 1):
        yield "/".join(steps[:end])


def _meant(word: str, known: Sequence[str]) -> str:
    lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower()[:200], list(lower), n=1, cutoff=0.6)
    return f"did you mean '{lower[close[0]]}'?" if close else ""
