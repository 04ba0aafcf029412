"""The calls that make, change and take away one object; each can be repeated after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from reconciler.core.change import Action, Cause, Change, Step
from reconciler.core.dataclass import replace
from reconciler.core.diff import assign
from reconciler.core.errors import BusyError, ConflictError, ForeignError, TerminalError
from reconciler.core.resources import Desired, Mark, Observed, Owner, ResourceId
from reconciler.core.values import MISSING, Spec, digest
from reconciler.targets.aks import fields
from reconciler.targets.aks.absence import Absence
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.form import Secrets, mark_of, spec_of, to_object
from reconciler.targets.aks.kinds import HANDOVER, KINDS, MANAGER, Kind, Place
from reconciler.targets.aks.parts import Json
from reconciler.targets.aks.refusals import ManagerConflictError, MissingError
from reconciler.targets.aks.removing import STRATEGIC, left_behind, removal

_SOON = 1.0
_TRIES = 5
# What scales a Deployment in our place, or kept its replicas while it began to.
_SCALERS = frozenset({"kube-controller-manager", HANDOVER})
_REPLICAS = ("spec", "replicas")


def version_of(found: Json, spec: Spec) -> str:
    """What tells whether an object is still the same to us: its status may change, and an autoscaler work.

    Args:
        spec: What it says, as `form.spec_of` reads it.
    """
    mark = mark_of(found)
    uid = found["metadata"].get("uid")
    if found["kind"] == "Deployment" and _autoscaled(found):
        spec = assign(spec, "/spec/replicas", MISSING)
    return digest([uid, spec, mark.to_json() if mark else None])[:16]


def _autoscaled(found: Json) -> bool:
    owner = fields.owners(found).get("/spec/replicas")
    return not fields.owned(found, _REPLICAS) and (owner is None or owner.manager in _SCALERS)


def _with_ours(seen: Any, there: Any, ours: Any) -> Any:
    """What was seen, with what stands there now wherever that is ours.

    Args:
        ours: What has a value at every place of ours.
    """
    if not (isinstance(seen, Mapping) and isinstance(there, Mapping) and isinstance(ours, Mapping)):
        return cast("Any", there)
    before, now = cast("Mapping[str, Any]", seen), cast("Mapping[str, Any]", there)
    inner = cast("Mapping[str, Any]", ours)
    made = {key: value for key, value in before.items() if key not in inner}
    for key in inner.keys() & now.keys():
        made[key] = _with_ours(before.get(key), now[key], inner[key])
    return made


class Writer:
    """Writes to one cluster.

    Args:
        installation: Id of this installation; what it did not make is not its own.
    """

    def __init__(self, cluster: Cluster, secrets: Secrets, installation: str) -> None:
        self._cluster = cluster
        self._secrets = secrets
        self._installation = installation
        self._absence = Absence(cluster)

    def there(self, id_: ResourceId) -> Json | None:
        """An object as it is; None if it is not there."""
        kind, place = KINDS[id_.kind], Place.of(id_.name)
        found = self._cluster.get(kind.path(place.namespace, place.name))
        return {"apiVersion": kind.api, "kind": kind.name, **found} if found is not None else None

    def write(self, change: Change) -> Json:
        """Makes an object what is wanted; what the API answered.

        Raises:
            ConflictError, ForeignError, BusyError: As the contract says.
            TerminalError: It cannot be what is wanted.
        """
        desired, mark = _wanted(change)
        if change.action is Action.CREATE and change.observed is None and self._absence.of(change.id):
            return self._make(change, desired, mark)
        last: ConflictError | None = None
        for _ in range(_TRIES):
            found = self.there(change.id)
            self._permitted(change, found)
            if found is not None and change.action is Action.REPLACE and self._before(change, found):
                self._take_away(change, found)
                raise BusyError(f"{_name(change.id)}: the one before is being deleted", retry_after=_SOON)
            try:
                return self._send(change, desired, mark, found)
            except (ManagerConflictError, MissingError):
                raise
            except ConflictError as error:
                # Its status moved between the two calls: look again, whether anything of ours did.
                last = error
        raise ConflictError(f"{_name(change.id)} keeps changing", hint="it is looked for again") from last

    def rehearse(self, change: Change) -> None:
        """Asks the API what would come of a change that makes or changes an object; nothing is written.

        Raises:
            TargetError: As making it would.
        """
        desired, mark = _wanted(change)
        kind, place = KINDS[change.id.kind], Place.of(change.id.name)
        path, what = kind.path(place.namespace, place.name), f"writing {_name(change.id)}"
        hidden = kind.name == "Secret"
        body = to_object(change.id, desired.spec, mark, self._secrets)
        try:
            self._cluster.apply(path, body, what, dry=True, hidden=hidden)
        except ManagerConflictError as error:
            found = self.there(change.id)
            if found is None or not self._ours_to_take(change, found):
                raise self._taken(change, found, error) from error
            self._cluster.apply(path, body, what, force=True, dry=True, hidden=hidden)

    def standing(self, change: Change) -> Json | None:
        """What stands where a change is about, if it may be made; None if nothing does.

        Raises:
            ConflictError, ForeignError, BusyError: As the contract says.
        """
        found = self.there(change.id)
        self._permitted(change, found)
        return found

    def delete(self, change: Change) -> bool:
        """Asks for an object to go; whether it is gone."""
        found = self.there(change.id)
        if found is None:
            return True
        self._permitted(change, found)
        self._take_away(change, found)
        return self.there(change.id) is None

    # -- details ----------------------------------------------------------------------------------------------------

    def _permitted(self, change: Change, found: Json | None) -> None:
        if found is None:
            if change.action in (Action.UPDATE, Action.ADOPT):
                raise _gone(change.id)
            return
        mark = mark_of(found)
        ours = Observed(change.id, {}, mark).owned_by(self._installation)
        if not ours and change.action is not Action.ADOPT:
            raise ForeignError(
                f"{_name(change.id)} exists and is not ours",
                hint="remove or rename it, or take it over with `policy: {adopt: true}`",
            )
        if found["metadata"].get("deletionTimestamp"):
            if change.action is not Action.DELETE:
                raise BusyError(f"{_name(change.id)}: the one before is being deleted", retry_after=_SOON)
            return
        expected = change.observed.version if change.observed else ""
        done = mark is not None and change.mark is not None and mark == replace(change.mark, self_ref=str(change.id))
        if expected and not done and self._moved(change, found, expected):
            raise ConflictError(f"{_name(change.id)} changed since it was observed", hint="it is looked for again")

    def _moved(self, change: Change, found: Json, expected: str) -> bool:
        """Whether something differs from what was looked at, beside what is none of ours.

        What was staged has taken its time, and controllers write on a Deployment meanwhile: what is sent does not touch
        that. Any other write comes soon after its look, and is held to all of it.
        """
        spec = spec_of(found, self._secrets)
        if version_of(found, spec) == expected:
            return False
        if change.step is not Step.PROMOTE or change.action is not Action.UPDATE:
            return True
        if change.desired is None or change.observed is None:
            return True
        ours = change.desired.spec
        for field in change.fields:
            # What is taken out is in nothing that is wanted, and ours all the same.
            ours = assign(ours, field.pointer, field.before) if field.after is MISSING else ours
        return version_of(found, _with_ours(change.observed.spec, spec, ours)) != expected

    def _before(self, change: Change, found: Json) -> bool:
        """Whether what stands there is still the one to be replaced."""
        expected = change.observed.version if change.observed else ""
        return bool(expected) and version_of(found, spec_of(found, self._secrets)) == expected

    def _take_away(self, change: Change, found: Json) -> None:
        metadata = found["metadata"]
        if metadata.get("deletionTimestamp"):
            return
        kind, place = KINDS[change.id.kind], Place.of(change.id.name)
        self._cluster.delete(
            kind.path(place.namespace, place.name),
            f"deleting {_name(change.id)}",
            uid=str(metadata.get("uid")),
            version=str(metadata.get("resourceVersion")),
        )

    def _make(self, change: Change, desired: Desired, mark: Mark) -> Json:
        """Makes what was absent a few seconds ago; what somebody else made since is left as they made it."""
        kind, place = KINDS[change.id.kind], Place.of(change.id.name)
        path, what = kind.path(place.namespace, place.name), f"writing {_name(change.id)}"
        body = to_object(change.id, desired.spec, mark, self._secrets)
        try:
            answer, made = self._cluster.make(path, body, what, hidden=kind.name == "Secret")
        except ManagerConflictError as error:
            raise _appeared(change.id) from error
        found = {"apiVersion": kind.api, "kind": kind.name, **answer}
        if made:
            return found
        if any(owner.manager not in _SCALERS for owner in fields.owners(found).values()):
            # Applied to nothing but its name, all that was put into their object is taken out again.
            metadata = {"name": place.name, "namespace": place.namespace}
            self._cluster.apply(path, {"apiVersion": kind.api, "kind": kind.name, "metadata": metadata}, what)
        raise _appeared(change.id)

    def _send(self, change: Change, desired: Desired, mark: Mark, found: Json | None) -> Json:
        kind, place = KINDS[change.id.kind], Place.of(change.id.name)
        path, what = kind.path(place.namespace, place.name), f"writing {_name(change.id)}"
        hidden = kind.name == "Secret"
        body = to_object(change.id, desired.spec, mark, self._secrets)
        if found is not None:
            body["metadata"]["resourceVersion"] = str(found["metadata"].get("resourceVersion"))
            self._hand_over(path, what, body, found)
        try:
            answer = self._cluster.apply(path, body, what, hidden=hidden)
        except ManagerConflictError as error:
            if found is None or not self._ours_to_take(change, found):
                raise self._taken(change, found, error) from error
            self._cluster.apply(path, body, what, force=True, dry=True, hidden=hidden)
            answer = self._cluster.apply(path, body, what, force=True, hidden=hidden)
        made = {"apiVersion": kind.api, "kind": kind.name, **answer}
        if left := left_behind(change, spec_of(made, self._secrets)):
            made |= self._without(kind, path, what, left, made)
        return made

    def _without(self, kind: Kind, path: str, what: str, pointers: list[str], found: Json) -> Json:
        patch = removal(kind, pointers)
        if not patch:
            return found
        patch.setdefault("metadata", {})["resourceVersion"] = str(found["metadata"].get("resourceVersion"))
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        return self._cluster.call("PATCH", path, what, query, patch, STRATEGIC)

    def _hand_over(self, path: str, what: str, body: Json, found: Json) -> None:
        """Where an autoscaler is to decide from now on, the number of replicas stays what it is.

        A field that nobody has any more would fall back to its default, one replica.
        https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#migrating-deployments-and-statefulsets-to-horizontal-autoscaling
        """
        if found["kind"] != "Deployment" or "replicas" in body["spec"] or not fields.owned(found, _REPLICAS):
            return
        metadata = {"name": body["metadata"]["name"], "namespace": body["metadata"]["namespace"]}
        kept = {"replicas": found["spec"].get("replicas", 1)}
        only = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": kept}
        answer = self._cluster.apply(path, only, what, manager=HANDOVER, force=True)
        body["metadata"]["resourceVersion"] = str(answer["metadata"].get("resourceVersion"))

    def _ours_to_take(self, change: Change, found: Json) -> bool:
        """Whether all that others have of what is written was ours, and is to be ours again."""
        if change.action is Action.ADOPT:
            return True
        others = Observed(change.id, {}, owners=fields.owners(found))
        held = [(f, owner) for f in change.fields if (owner := others.owner_of(f.pointer)) is not None]
        return all(
            f.cause in (Cause.DRIFT, Cause.CONFLICT) or _scaled(change.id, f.pointer, owner) for f, owner in held
        )

    def _taken(self, change: Change, found: Json | None, error: ManagerConflictError) -> ForeignError:
        others = fields.owners(found) if found is not None else {}
        wanted = [f for f in change.fields if f.after is not MISSING]
        seen = Observed(change.id, {}, owners=others)
        pointers = [(f.pointer, owner) for f in wanted if (owner := seen.owner_of(f.pointer)) is not None]
        if not pointers:
            return ForeignError(error.message, hint=_OFFER)
        listed = ", ".join(f"{change.id.kind}:{pointer} (of '{owner.manager}')" for pointer, owner in pointers)
        return ForeignError(f"{_name(change.id)}: others have {listed}", hint=_OFFER)


_OFFER = "take them over with `policy: {adopt: true}`, or leave them with `policy: {drift: {ignore: [...]}}`"


def _scaled(id_: ResourceId, pointer: str, owner: Owner) -> bool:
    return id_.kind == "Deployment" and pointer == "/spec/replicas" and owner.manager in _SCALERS


def _name(id_: ResourceId) -> str:
    return f"{id_.kind} {id_.name}"


def _gone(id_: ResourceId) -> ConflictError:
    return ConflictError(f"{_name(id_)} is not there any more", hint="it is looked for again")


def _appeared(id_: ResourceId) -> ConflictError:
    return ConflictError(f"{_name(id_)} was made by somebody else meanwhile", hint="it is looked for again")


def _wanted(change: Change) -> tuple[Desired, Mark]:
    if change.desired is None or change.mark is None:
        raise TerminalError(f"{change.id}: this change has nothing desired")
    return change.desired, replace(change.mark, self_ref=str(change.id))
