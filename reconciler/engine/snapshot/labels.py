"""Secrets and other people's values as labels: a snapshot says which of them are equal and nothing else.

Neither secrets nor their keyed fingerprints are published. Equal fingerprints would tell who shares a password, and let
anybody who may set one secret try guesses of another. The daemon compares, for it has the key; the reader learns the
outcome, place by place:

    =env:A     what the reference gives now
    !env:A#1   something else than the reference gives now
    ?env:A#1   what the reference gave once; it is not used now, or leads nowhere; `?#1` where it is not known
    ~1         not a field of ours: there is one of that name, and its value is nobody's business

A number tells different values of one place apart; the same value at two places has nothing in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.diff import equal
from reconciler.core.resources import Baseline, Desired, Health, Observed
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import MISSING, canonical, digest, escape, has_secret, lookup, transform

_PLAIN = (str, int, float, type(None))
CURRENT, OTHER, UNKNOWN, FOREIGN = "=", "!", "?", "~"


def named(ref: SecretRef) -> str:
    """A reference as text; of one into an encrypted file also which encrypted value it names."""
    return f"{ref}@{ref.digest}" if ref.digest else str(ref)


def current(ref: SecretRef) -> Secret:
    """The label of what a reference gives now; who has the reference can make it."""
    return Secret(f"{CURRENT}{named(ref)}", ref)


def is_foreign(value: Any) -> bool:
    """Whether a label stands for a value that is not ours."""
    return isinstance(value, Secret) and value.fingerprint.startswith(FOREIGN)


def unknown_of(value: Any) -> str | None:
    """The reference of a secret that could not be compared, empty where that is not known; None for other values."""
    if not isinstance(value, Secret) or not value.fingerprint.startswith(UNKNOWN):
        return None
    return value.fingerprint[len(UNKNOWN) :].rpartition("#")[0]


def generated_name(label: Secret) -> str:
    """The name that a generated key is made of, as its label has it; empty for other secrets."""
    text = label.fingerprint[1:]
    if not label.fingerprint.startswith(CURRENT):
        text = text.rpartition("#")[0]
    source, _, name = text.partition(":")
    return name.rpartition("/")[0] if source == "generated" else ""


def labelled(desired: Any) -> Any:
    """A spec as Git wants it, its secrets as labels."""
    return transform(desired, _label_of) if has_secret(desired) else desired


def _label_of(leaf: Any) -> Any:
    if isinstance(leaf, SecretRef):
        return current(leaf)
    return (current(leaf.ref) if leaf.ref else Secret(f"{UNKNOWN}#")) if isinstance(leaf, Secret) else leaf


@dataclass
class Labels:
    """One resource as it may be published.

    Args:
        desired: As Git wants it, secrets filled in; None if it does not, or if that is not known.
    """

    desired: Desired | None
    observed: Observed | None
    baseline: Baseline | None
    _numbers: dict[tuple[str, str], dict[str, int]] = field(
        default_factory=dict[tuple[str, str], "dict[str, int]"], init=False
    )
    _known: list[tuple[Any, Any]] = field(default_factory=list[tuple[Any, Any]], init=False)

    def published(self) -> tuple[Observed | None, Baseline | None]:
        """What the target reports and what is recorded, without secrets and without what is not ours."""
        baseline = self.baseline
        if baseline is not None:
            pending = baseline.pending
            baseline = replace(
                baseline,
                sent=self._hidden(baseline.sent),
                answered=self._hidden(baseline.answered),
                outputs={},
                pending=None
                if pending is None
                else replace(pending, sent=self._hidden(pending.sent), token="", started_at=0.0),
            )
        observed = self.observed
        if observed is not None:
            mark, staged = observed.mark, observed.staged
            observed = replace(
                observed,
                spec=self._hidden(observed.spec),
                mark=replace(mark, spec_digest=self.digest(mark.spec_digest)) if mark else None,
                staged=replace(staged, spec_digest=self.digest(staged.spec_digest), reason="") if staged else None,
                # Only of what is gone does a plan say why; any other reason may hold the last words of a script.
                reason=observed.reason if observed.health is Health.MISSING else "",
                version="",
                outputs={},
                events=(),
                owners={},
            )
        return observed, baseline

    def digest(self, of: str) -> str:
        """The digest that a spec of ours has once its secrets are labels; any other digest as it is."""
        for spec in self._own():
            if has_secret(spec) and digest(spec) == of:
                return digest(labelled(spec) if self.desired and spec is self.desired.spec else self._hidden(spec))
        return of

    def _own(self) -> Iterator[Any]:
        """The specs that make a field ours."""
        if self.desired is not None:
            yield self.desired.spec
        if self.baseline is not None and self.baseline.sent is not None:
            yield self.baseline.sent
        pending = self.baseline.pending if self.baseline else None
        if pending is not None and pending.sent is not None:
            yield pending.sent

    def _hidden(self, spec: Any) -> Any:
        if spec is None:
            return None
        # At rest, what was sent, what was answered and what is there are equal.
        for one, hidden in self._known:
            if equal(one, spec):
                return hidden
        hidden = self._node(spec, tuple(self._own()), "")
        self._known.append((spec, hidden))
        return hidden

    def _node(self, value: Any, owners: Sequence[Any], pointer: str) -> Any:
        """A value without secrets, and without what no owner has at its place."""
        if isinstance(value, _PLAIN):
            return value if owners else self._foreign(value, pointer)
        if isinstance(value, Secret):
            return self._secret(value, pointer)
        # What needs no label stays the very object that the daemon has anyway.
        if isinstance(value, (dict, Mapping)):
            there = cast("Mapping[str, Any]", value)
            items = {k: self._node(v, _below(owners, k), f"{pointer}/{escape(k)}") for k, v in there.items()}
            return there if all(items[k] is v for k, v in there.items()) else items
        if isinstance(value, (list, tuple)):
            members = cast("Sequence[Any]", value)
            listed = [self._node(v, _below(owners, n), f"{pointer}/{n}") for n, v in enumerate(members)]
            return members if all(a is b for a, b in zip(listed, members, strict=True)) else listed
        return value if owners else self._foreign(value, pointer)

    def _foreign(self, value: Any, pointer: str) -> Secret:
        return Secret(self._numbered(FOREIGN, "", pointer, canonical(value)))

    def _secret(self, secret: Secret, pointer: str) -> Secret:
        wanted = lookup(self.desired.spec, pointer) if self.desired is not None else MISSING
        ref = wanted.ref if isinstance(wanted, Secret) else None
        if ref is not None and isinstance(wanted, Secret) and wanted.fingerprint == secret.fingerprint:
            return current(ref)
        came_from = secret.ref or ref
        if ref is not None and came_from == ref:
            return Secret(self._numbered(OTHER, f"{named(ref)}#", pointer, secret.fingerprint))
        name = named(came_from) if came_from is not None else ""
        return Secret(self._numbered(UNKNOWN, f"{name}#", pointer, secret.fingerprint))

    def _numbered(self, sign: str, name: str, pointer: str, value: str) -> str:
        numbers = self._numbers.setdefault((sign + name, pointer), {})
        return f"{sign}{name}{numbers.setdefault(value, len(numbers) + 1)}"


def _below(owners: Sequence[Any], step: str | int) -> list[Any]:
    """What the owners have one step down; a plain value or a list of another length owns all that was made of it."""
    found = [_inner(owner, step) for owner in owners]
    return [inner for inner in found if inner is not MISSING]


def _inner(owner: Any, step: str | int) -> Any:
    if isinstance(owner, (dict, Mapping)) and isinstance(step, str):
        return cast("Mapping[str, Any]", owner).get(step, MISSING)
    if isinstance(owner, (list, tuple)) and isinstance(step, int):
        items = cast("Sequence[Any]", owner)
        return items[step] if step < len(items) else items
    return cast("Any", owner)
