"""The driver of AKS clusters: looks at the resource groups they are in, and asks Azure to make, change, delete one.

What was asked for is never waited for: Azure's own state of the cluster, by the next look, says whether it has come
about. Azure takes no version with a write, so what changed since it was observed is found by reading once more just
before; what somebody changes in the moment between the two is written over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reconciler.azure.refusals import Hints, MissingError
from reconciler.core.change import Action, Change
from reconciler.core.dataclass import replace
from reconciler.core.deployment import CLUSTERS_TARGET
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import (
    BusyError,
    ConflictError,
    ForeignError,
    TargetError,
    TerminalError,
)
from reconciler.core.resources import Completeness, Health, Observation, Observed, ResourceId
from reconciler.targets.aks.attached import ClusterId, permitted
from reconciler.targets.aks.clusters.form import (
    Json,
    asked_for,
    body_of,
    health_of,
    is_busy,
    is_taken,
    mark_of,
    retained,
    same,
    scales_itself,
    spec_of,
    state_of,
    version_of,
)
from reconciler.targets.aks.clusters.render import KIND, ClusterRenderer
from reconciler.targets.aks.containerservice import ContainerService

_SOON = 1.0
_QUOTA = (
    "ask for more vCPUs of that family in that region (`az vm list-usage --location REGION` shows how many there are), "
    "or take fewer nodes or another size"
)
_SIZE = "`az vm list-skus --location REGION --size SIZE` says what there is; name another size or location"
_AGAIN = "once that is put right, Azure is asked again: by the next `reconciler apply`, or the daemon after a pause"
_REGISTER = "`az provider register --namespace Microsoft.ContainerService`, once for each subscription"
# "Troubleshoot AKS cluster creation issues"; "Resolve common Azure deployment errors".
HINTS = Hints(
    role="the identity needs the role `Azure Kubernetes Service Contributor Role` at the resource group, and `Network "
    "Contributor` at the subnet where one is named",
    missing="check subscription and resource group: `az group list --output table`",
    codes={
        "QuotaExceeded": _QUOTA,
        "ErrCode_InsufficientVCPUQuota": _QUOTA,
        "InsufficientVCPUQuota": _QUOTA,
        "OperationNotAllowed": _QUOTA,
        "SkuNotAvailable": _SIZE,
        "VMSizeNotSupported": _SIZE,
        "AKSCapacityError": _SIZE,
        "AKSCapacityHeavyUsage": _SIZE,
        "LocationNotAvailableForResourceType": "`az account list-locations --output table` lists regions",
        "InvalidLocation": "`az account list-locations --output table` lists regions",
        "ResourceGroupNotFound": "the resource group has to be there: `az group create --name GROUP --location REGION`",
        "MissingSubscriptionRegistration": _REGISTER,
        "RequestDisallowedByPolicy": "a policy of the subscription forbids it: whoever looks after it knows more",
        "InvalidResourceReference": "check `vnetResourcegroupName`, `vnetName` and `subnetName`",
        "SubscriptionNotFound": "check azure.subscription, or the target's `subscriptionId`",
    },
    otherwise="nothing was changed unless Azure says so; it is looked at again",
)


@dataclass(frozen=True, slots=True)
class _Operation:
    """What Azure was asked to do.

    Args:
        digest: Of the spec that was written.
        url: Where it says how that goes; "" where it did not tell.
    """

    digest: str
    url: str


class ClustersDriver(ClusterRenderer):
    """All clusters that targets ask for.

    Args:
        service: Gives the way to Azure when it is first needed; settings that are not complete show then.
        installation: Id of this installation; what it did not make is not its own.
        subscription: The operator's, for clusters whose target names none.
        allowed: Clusters that the operator lets manifests name; None for all.
    """

    def __init__(
        self,
        service: Callable[[], ContainerService],
        installation: str,
        subscription: str = "",
        allowed: tuple[str, ...] | None = None,
    ) -> None:
        self._open = service
        self._opened: ContainerService | None = None
        self._lock = threading.Lock()
        self._installation = installation
        self._subscription = subscription
        self._allowed = allowed
        self._groups: set[tuple[str, str]] = set()
        self._operations: dict[ResourceId, _Operation] = {}
        self._failures: dict[ResourceId, str] = {}

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """The clusters that are known, and others of ours in the same groups that are not to stay by themselves.

        Raises:
            TargetError: Nothing at all can be read.
        """
        places: dict[str, ResourceId] = {}
        for id_ in known:
            if id_.target == CLUSTERS_TARGET:
                # One that has come to be spelled otherwise is what Git calls it, which is named before what is
                # recorded: under its former name it would be there to be deleted.
                places.setdefault(_key(self._place(id_)), id_)
        missing: list[TargetError] = []
        groups: set[tuple[str, str]] = set()
        for place in map(self._place, places.values()):
            try:
                permitted(place, self._allowed)
                groups.add((place.subscription, place.group))
            except TargetError as error:
                missing.append(error)
        self._groups |= groups
        found: dict[ResourceId, Observed] = {}
        read = not self._groups and not missing
        for subscription, group in sorted(self._groups):
            try:
                for cluster in self._listed(subscription, group):
                    read = True
                    id_ = places.get(_key(ClusterId(subscription, group, str(cluster.get("name"))))) or self._own(
                        cluster
                    )
                    if id_ is not None:
                        found[id_] = self._observed(id_, cluster)
                read = True
            except TargetError as error:
                missing.append(error)
        if missing and not read:
            raise missing[0]
        self._failures = {id_: said for id_, said in self._failures.items() if id_ in found}
        completeness = Completeness.PARTIAL if missing else Completeness.COMPLETE
        return Observation(CLUSTERS_TARGET, completeness, found, "; ".join(error.message for error in missing))

    def apply(self, change: Change) -> Done | InProgress:
        """Asks for one change; see the contract.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError, AccessError: As the contract says.
        """
        place = self._place(change.id)
        permitted(place, self._allowed)
        self._groups.add((place.subscription, place.group))
        verb = (
            "deleting" if change.action is Action.DELETE else "making" if change.action is Action.CREATE else "changing"
        )
        with self._service.calls(place.subscription, f"{verb} {place}", HINTS) as client:
            there = _read(client, place)
            if change.action is Action.DELETE:
                return self._delete(client, place, change, there)
            return self._write(client, place, change, there)

    def close(self) -> None:
        """Lets go of the identity; what Azure does goes on."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    @property
    def _service(self) -> ContainerService:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    # -- looking ----------------------------------------------------------------------------------------------------

    def _place(self, id_: ResourceId) -> ClusterId:
        *subscription, group, name = id_.name.split(":")
        return ClusterId(subscription[0] if subscription else self._subscription, group, name)

    def _listed(self, subscription: str, group: str) -> Iterator[Json]:
        """The clusters of a group, page by page."""
        try:
            with self._service.calls(subscription, f"listing the AKS clusters of {group}", HINTS) as client:
                for one in client.managed_clusters.list_by_resource_group(group):
                    yield _plain(one)
        except MissingError:
            # Nothing is in a group that is not there; making something in it is what Azure refuses.
            return

    def _own(self, cluster: Json) -> ResourceId | None:
        """The id of a cluster of ours that nothing names any more; None for one that is nobody's of ours, or stays."""
        mark = mark_of(cluster)
        if mark is None or mark.installation != self._installation or retained(cluster):
            return None
        try:
            id_ = ResourceId.parse(mark.self_ref)
        except ValueError:
            return None
        same_place = id_.kind == KIND and id_.name.rpartition(":")[2] == cluster.get("name")
        return id_ if id_.target == CLUSTERS_TARGET and same_place else None

    def _observed(self, id_: ResourceId, cluster: Json) -> Observed:
        health, reason = health_of(cluster)
        events = ("its nodes scale themselves: their number is Azure's",) if scales_itself(cluster) else ()
        if health is Health.DEGRADED:
            reason = self._why(id_, cluster) or reason
        else:
            self._failures.pop(id_, None)
        return Observed(
            id_,
            spec_of(cluster),
            mark_of(cluster),
            health,
            reason,
            version_of(cluster),
            {"resourceId": str(cluster.get("id") or "")},
            busy=is_taken(cluster),
            events=events,
        )

    def _why(self, id_: ResourceId, cluster: Json) -> str:
        """What Azure says of an operation that failed, as far as it was begun here; else where it is to be found."""
        place = self._place(id_)
        if id_ not in self._failures:
            operation = self._operations.get(id_)
            told = self._told(place, operation.url) if operation is not None and operation.url else ""
            look = f"`az aks show --resource-group {place.group} --name {place.name}` and the activity log say why"
            self._failures[id_] = f"Azure says {state_of(cluster)}: {told or look}"
        return self._failures[id_]

    def _told(self, place: ClusterId, url: str) -> str:
        from azure.core.rest import HttpRequest

        try:
            with self._service.calls(place.subscription, f"asking how it went with {place}", HINTS) as client:
                response = client.send_request(HttpRequest("GET", url))
                response.raise_for_status()
                answer: object = response.json()
        except TargetError:
            return ""
        error: object = cast("Json", answer).get("error") if isinstance(answer, dict) else None
        if not isinstance(error, dict):
            return ""
        said = cast("Json", error)
        code, message = str(said.get("code") or "")[:80], str(said.get("message") or "")[:500]
        hint = HINTS.codes.get(code, "")
        return "; ".join(part for part in (f"{code}: {message}".strip(": "), hint) if part)

    # -- writing ----------------------------------------------------------------------------------------------------

    def _write(self, client: Any, place: ClusterId, change: Change, there: Json | None) -> Done | InProgress:
        desired, mark = change.desired, change.mark
        assert desired is not None, "whoever plans a write says what"
        assert mark is not None, "and whose"
        body = body_of(desired.spec, mark, place.name, place.subscription, there)
        if there is None:
            if change.action in (Action.UPDATE, Action.ADOPT):
                raise ConflictError(f"{place} is gone since it was observed", hint="it is looked for again")
        else:
            self._permit(change, place, there)
            begun = mark_of(there) is not None and asked_for(there) == mark.spec_digest
            if is_busy(there):
                if begun and state_of(there) != "Deleting":
                    return InProgress(_SOON)
                raise BusyError(f"{place}: Azure says {state_of(there)}", hint="it is waited for")
            operation = self._operations.get(change.id)
            if health_of(there)[0] is Health.DEGRADED:
                if operation is not None and operation.digest == mark.spec_digest:
                    # Told once; the next time it is asked for anew.
                    why = self._why(change.id, there)
                    del self._operations[change.id]
                    raise TerminalError(f"{place} could not be made what it is to be: {why}", hint=_AGAIN)
            elif same(body, there):
                return Done(self._observed(change.id, there))
        self._operations.pop(change.id, None)
        self._failures.pop(change.id, None)
        heard: dict[str, str] = {}

        def listen(response: Any) -> None:
            heard.update(url=str(response.http_response.headers.get("Azure-AsyncOperation") or ""))

        client.managed_clusters.begin_create_or_update(
            place.group, place.name, body, polling=False, raw_response_hook=listen
        )
        url = heard.get("url", "")
        # The token goes along to wherever that leads.
        trusted = url if url.startswith(f"{self._service.management}/") else ""
        self._operations[change.id] = _Operation(mark.spec_digest, trusted)
        return InProgress(_SOON)

    def _delete(self, client: Any, place: ClusterId, change: Change, there: Json | None) -> Done | InProgress:
        if there is None:
            return Done(None)
        self._permit(change, place, there)
        if state_of(there) == "Deleting":
            return InProgress(_SOON)
        if is_busy(there):
            raise BusyError(f"{place}: Azure says {state_of(there)}", hint="it is waited for")
        client.managed_clusters.begin_delete(place.group, place.name, polling=False)
        return InProgress(_SOON)

    def _permit(self, change: Change, place: ClusterId, there: Json) -> None:
        mark = mark_of(there)
        seen = Observed(change.id, {}, mark)
        if not seen.owned_by(self._installation) and change.action is not Action.ADOPT:
            raise ForeignError(
                f"{place} is there and is not ours",
                hint="name another one, or take it over with `policy: {adopt: true}` in the target's document",
            )
        expected = change.observed.version if change.observed is not None else ""
        written = mark is not None and replace(mark, spec_digest=asked_for(there)) == change.mark
        if expected and not written and not is_busy(there) and version_of(there) != expected:
            raise ConflictError(f"{place} changed since it was observed", hint="it is looked at again")


def _key(place: ClusterId) -> str:
    return place.resource_id.lower()


def _plain(model: Any) -> Json:
    return cast("Json", model.as_dict())


def _read(client: Any, place: ClusterId) -> Json | None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return _plain(client.managed_clusters.get(place.group, place.name))
    except ResourceNotFoundError as error:
        if getattr(error.error, "code", "") == "ResourceNotFound":
            return None
        raise
