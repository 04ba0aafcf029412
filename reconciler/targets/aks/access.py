"""What may be done at a cluster: the rights that the driver needs, whether it has them, and roles that give them.

Sources: https://kubernetes.io/docs/reference/access-authn-authz/rbac/ and the answers of a 1.36 API server.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from reconciler.core.driver import Right
from reconciler.core.errors import InvalidError
from reconciler.core.resources import ResourceId
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import MANAGER, PREFIX, Place, looked_at
from reconciler.targets.aks.parts import part

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_AT_ONCE = 8
_SUBJECTS = {"serviceaccount": "ServiceAccount", "user": "User", "group": "Group"}
_LOOKING, _WRITING, _WORDS = "drift", "changes", "reasons and logs"
# Server-side apply is a patch; making what is not there asks for `create`, too.
_WRITES = ("get", "create", "patch", "delete")
# A tunnel is opened by a GET that is upgraded: since 1.35 that takes both verbs.
_TUNNEL = ("get", "create")


def rights(namespaces: Iterable[str], used: Sequence[ResourceId], more: Collection[str] = ()) -> list[Right]:
    """The least that looking after some objects takes.

    Every kind is listed, so that what Git no longer names is found; only kinds in use are written.

    Args:
        more: Kinds that not every cluster knows, and this one does.
    """
    places = {namespace: set[str]() for namespace in namespaces}
    for id_ in used:
        places.setdefault(Place.of(id_.name).namespace, set()).add(id_.kind)
    found: list[Right] = []
    for namespace, kinds in sorted(places.items()):
        for kind in looked_at({*more, *(id_.kind for id_ in used)}):
            found += [Right(verb, kind.resource, namespace, _LOOKING) for verb in ("list", "watch")]
            if kind.name in kinds:
                found += [Right(verb, kind.resource, namespace, _WRITING) for verb in _WRITES]
        if "Deployment" in kinds:
            found += [Right("list", "pods", namespace, _WORDS), Right("get", "pods/log", namespace, _WORDS)]
            found += [Right(verb, "pods/portforward", namespace, "tests and `score`") for verb in _TUNNEL]
    return found


def denied(cluster: Cluster, wanted: Sequence[Right]) -> dict[Right, str]:
    """Those that the cluster does not give, with its reason.

    Raises:
        TargetError: It cannot be asked.
    """

    def refusal(right: Right) -> str | None:
        plural, group = _split(right.resource)
        resource, _, below = plural.partition("/")
        attributes = {"namespace": right.where, "verb": right.verb, "group": group, "resource": resource}
        attributes |= {"subresource": below} if below else {}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = cluster.call("POST", _REVIEWS, "asking what is allowed", None, body)
        status = part(answer, "status")
        return None if status.get("allowed") is True else str(status.get("reason") or "no role allows it")

    with ThreadPoolExecutor(_AT_ONCE, "access") as pool:
        answers = zip(wanted, pool.map(refusal, wanted), strict=True)
        return {right: reason for right, reason in answers if reason is not None}


def grants(wanted: Sequence[Right], subject: str) -> str:
    """A Role for each namespace, and who gets it, as YAML documents.

    Args:
        subject: `serviceaccount:NAMESPACE:NAME`, `user:NAME` or `group:NAME`; "" for the roles alone.

    Raises:
        InvalidError: It is none of these.
    """
    bound = _subject(subject) if subject else None
    documents: list[Mapping[str, object]] = []
    for namespace in sorted({right.where for right in wanted}):
        metadata = {"name": MANAGER, "namespace": namespace, "labels": {f"{PREFIX}/role": MANAGER}}
        head = {"apiVersion": "rbac.authorization.k8s.io/v1"}
        rules = _rules([right for right in wanted if right.where == namespace])
        documents.append({**head, "kind": "Role", "metadata": metadata, "rules": rules})
        if bound is not None:
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": MANAGER}
            binding = {"kind": "RoleBinding", "metadata": metadata, "subjects": [bound], "roleRef": role}
            documents.append({**head, **binding})
    return "".join(f"---\n{_yaml(document)}" for document in documents)


def _rules(wanted: Sequence[Right]) -> list[dict[str, object]]:
    verbs: dict[str, list[str]] = {}
    for right in wanted:
        verbs.setdefault(right.resource, []).append(right.verb)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for resource, asked in verbs.items():
        plural, group = _split(resource)
        alike.setdefault((group, tuple(sorted(asked))), []).append(plural)
    return [
        {"apiGroups": [group], "resources": plurals, "verbs": list(asked)} for (group, asked), plurals in alike.items()
    ]


def _split(resource: str) -> tuple[str, str]:
    plural, _, group = resource.partition(".")
    return plural, group


def _subject(text: str) -> dict[str, str]:
    sort, _, name = text.partition(":")
    kind = _SUBJECTS.get(sort.lower())
    namespace, _, own = name.rpartition(":") if kind == "ServiceAccount" else ("", "", name)
    if kind is None or not own or (kind == "ServiceAccount" and not namespace):
        raise InvalidError(
            f"{text!r} is nobody that a role can be given to",
            hint="serviceaccount:NAMESPACE:NAME, user:NAME or group:NAME",
        )
    if kind == "ServiceAccount":
        return {"kind": kind, "name": own, "namespace": namespace}
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": own}


def _yaml(document: Mapping[str, object]) -> str:
    """A document whose values are JSON, which YAML contains."""
    lines: list[str] = []
    for key, value in document.items():
        if isinstance(value, list):
            items = cast("Sequence[object]", value)
            lines += [f"{key}:", *(f"  - {json.dumps(item)}" for item in items)]
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"
