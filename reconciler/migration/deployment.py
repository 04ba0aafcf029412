"""Azure ML's `deploymentconfig.json` (azure-cli-ml, and `deploy_configuration` of azureml-core 1.61) as settings of a
`Service`: one function for each `computeType`."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.migration.draft import Draft, Secrets
from reconciler.migration.reading import Reader

# What the file calls a target -> what it is here.
TYPES = {"local": "local", "aci": "aci", "aks": "aks", "iot": "edge"}
# Keys that the file of some target has.
_SOMEWHERE = frozenset(
    [
        "port",
        "containerResourceRequirements",
        "location",
        "authEnabled",
        "sslEnabled",
        "appInsightsEnabled",
        "sslCertificate",
        "sslKey",
        "cname",
        "dnsNameLabel",
        "autoScaler",
        "dataCollection",
        "tokenAuthEnabled",
        "scoringTimeoutMs",
        "maxConcurrentRequestsPerContainer",
        "maxQueueWaitMs",
        "numReplicas",
        "keys",
        "gpuCores",
        "livenessProbeRequirements",
        "namespace",
        "amlModule",
        "externalModules",
        "routes",
        "iotDeviceId",
        "acrCredentials",
    ]
)


def type_of(reader: Reader) -> str | None:
    """The type of target; None, with a problem, if it is none of ours."""
    written = reader.text("computeType")
    if written is None:
        if not reader.has("computeType"):
            hint = f"one of {', '.join(TYPES)}"
            reader.wrong("computeType", "is missing", hint, "missing-key")
        return None
    kind = TYPES.get(written.lower())
    if kind is None:
        reader.wrong("computeType", f"must be one of {', '.join(TYPES)}", "", "unknown-value")
    return kind


def deployment(reader: Reader, kind: str, draft: Draft, secrets: Secrets) -> None:
    """Fills the service; what needs a hand becomes a note."""
    draft.description = reader.text("description") or ""
    draft.tags = reader.texts("tags") or {}
    if reader.has("properties") and kind != "local":
        draft.put(f"/deployment/{kind}/properties", reader.texts("properties"), reader.at("properties"))
    _OF_TYPE[kind](reader, draft, secrets)
    for key in list(reader.left()):
        if key in _SOMEWHERE:
            reader.note(key, f"Azure ML does not read it for `{reader.text('computeType')}`")
        else:
            reader.unknown(key, tuple(_SOMEWHERE))


def _copy(reader: Reader, draft: Draft, pairs: dict[str, str], read: Callable[[str], object]) -> None:
    for key, pointer in pairs.items():
        draft.put(pointer, read(key), reader.at(key))


def _on(reader: Reader, draft: Draft, pairs: dict[str, str]) -> None:
    """Switches: only those that are on, since off is what is so anyway."""
    for key, pointer in pairs.items():
        if reader.flag(key):
            draft.put(pointer, value=True, at=reader.at(key))


def _resources(reader: Reader, draft: Draft, limits: str = "") -> None:
    resources = reader.mapping("containerResourceRequirements")
    if resources is None:
        return
    pairs = {"cpu": "/deployment/cpuCores", "memoryInGB": "/deployment/memoryGb"}
    if limits:
        pairs |= {"cpuLimit": f"{limits}/cpuCoresLimit", "memoryInGBLimit": f"{limits}/memoryGbLimit"}
    _copy(resources, draft, pairs, resources.number)
    _rest(resources)


def _rest(reader: Reader) -> None:
    for key in list(reader.left()):
        reader.unknown(key)


def _local(reader: Reader, draft: Draft, secrets: Secrets) -> None:
    _copy(reader, draft, {"port": "/deployment/port"}, reader.whole)


def _aci(reader: Reader, draft: Draft, secrets: Secrets) -> None:
    block = "/deployment/aci"
    _resources(reader, draft)
    _copy(reader, draft, {"authEnabled": "/auth/enabled"}, reader.flag)
    pairs = {"location": f"{block}/location", "dnsNameLabel": f"{block}/dnsNameLabel"}
    _copy(reader, draft, pairs, reader.text)
    _on(reader, draft, {"appInsightsEnabled": f"{block}/enableAppInsights"})
    if not reader.flag("sslEnabled"):
        for key in ("sslCertificate", "sslKey", "cname"):
            if reader.has(key):
                reader.note(key, "without `sslEnabled` it means nothing")
        return
    draft.put(f"{block}/sslEnabled", value=True, at=reader.at("sslEnabled"))
    _copy(reader, draft, {"cname": f"{block}/sslCname"}, reader.text)
    certificate, key = reader.text("sslCertificate"), reader.text("sslKey")
    if certificate is not None:
        name = certificate.replace("\\", "/").rpartition("/")[2]
        draft.put(f"{block}/sslCertPemFile", f"certificates/{name}", reader.at("sslCertificate"))
        reader.note("sslCertificate", f"put the certificate into the repo, as certificates/{name}", todo=True)
    if key is not None:
        name = key.replace("\\", "/").rpartition("/")[2]
        draft.put(f"{block}/sslKeyPemFile", {"valueFrom": {"file": f"/etc/reconciler/{name}"}}, reader.at("sslKey"))
        said = (
            f"a private key does not belong in the repo: it is read from /etc/reconciler/{name}, which the operator's "
            "settings must allow (`secrets.folders`)"
        )
        reader.note("sslKey", said, todo=True)


def _aks(reader: Reader, draft: Draft, secrets: Secrets) -> None:
    block = "/deployment/aks"
    _resources(reader, draft, block)
    whole = {
        "scoringTimeoutMs": "/deployment/scoringTimeoutMs",
        "maxConcurrentRequestsPerContainer": "/deployment/maxConcurrentRequests",
        "maxQueueWaitMs": "/deployment/maxRequestWaitTime",
        "numReplicas": "/deployment/replicas",
        "gpuCores": f"{block}/gpuCores",
    }
    _copy(reader, draft, whole, reader.whole)
    _copy(reader, draft, {"namespace": f"{block}/namespace"}, reader.text)
    _copy(reader, draft, {"authEnabled": "/auth/enabled"}, reader.flag)
    if reader.flag("appInsightsEnabled"):
        at, variable = reader.at("appInsightsEnabled"), "APPLICATIONINSIGHTS_CONNECTION_STRING"
        draft.put(f"{block}/enableAppInsights", value=True, at=at)
        draft.put(f"{block}/appInsightsConnectionString", {"valueFrom": {"env": variable}}, at)
        said = (
            "the workspace knew its Application Insights resource: put the resource's connection string into the "
            f"variable {variable}, which the operator's settings must allow (`secrets.envPrefixes`)"
        )
        reader.note("appInsightsEnabled", said, todo=True)
    if reader.flag("tokenAuthEnabled"):
        reader.note("tokenAuthEnabled", "its tokens came from the workspace; callers send a key instead", todo=True)
    collection = reader.mapping("dataCollection")
    if collection is not None:
        if collection.flag("storageEnabled"):
            collection.note("storageEnabled", "there is no workspace whose storage would keep inputs and outputs")
        _rest(collection)
    scaler = reader.mapping("autoScaler")
    if scaler is not None:
        _copy(scaler, draft, {"autoscaleEnabled": f"{block}/autoscale/enabled"}, scaler.flag)
        pairs = {
            "minReplicas": f"{block}/autoscale/minReplicas",
            "maxReplicas": f"{block}/autoscale/maxReplicas",
            "targetUtilization": f"{block}/autoscale/targetUtilization",
        }
        _copy(scaler, draft, pairs, scaler.whole)
        if scaler.has("refreshPeriodInSeconds"):
            scaler.note("refreshPeriodInSeconds", "a Kubernetes cluster decides for all services at once")
        _rest(scaler)
        if scaler.flag("autoscaleEnabled") and reader.has("numReplicas"):
            hint = "as in Azure ML: remove one of the two"
            reader.wrong("numReplicas", "and `autoScaler.autoscaleEnabled` exclude each other", hint, "excludes")
    probe = reader.mapping("livenessProbeRequirements")
    if probe is not None:
        names = ("periodSeconds", "initialDelaySeconds", "timeoutSeconds", "failureThreshold")
        _copy(probe, draft, {name: f"{block}/livenessProbe/{name}" for name in names}, probe.whole)
        if probe.whole("successThreshold") not in (None, 1):
            probe.note("successThreshold", "Kubernetes takes nothing but 1 for liveness probes")
        _rest(probe)
    keys = reader.mapping("keys")
    if keys is not None:
        draft.put("/auth/primaryKey", secrets.reference(keys, "primaryKey", "PRIMARY_KEY"), keys.at("primaryKey"))
        draft.put(
            "/auth/secondaryKey", secrets.reference(keys, "secondaryKey", "SECONDARY_KEY"), keys.at("secondaryKey")
        )
        _rest(keys)


def _edge(reader: Reader, draft: Draft, secrets: Secrets) -> None:
    block = "/deployment/edge"
    _copy(reader, draft, {"iotDeviceId": f"{block}/deviceId"}, reader.text)
    _copy(reader, draft, {"routes": f"{block}/routes"}, reader.texts)
    module = reader.mapping("amlModule")
    if module is not None:
        place = f"{block}/amlModule"
        draft.put(f"{place}/moduleName", module.text("moduleName"), module.at("moduleName"))
        _module(module, draft, place)
        variables = secrets.variables(module, "environmentVariables")
        draft.put("/deployment/environmentVariables", variables or None, module.at("environmentVariables"))
        _rest(module)
    others: list[dict[str, object]] = []
    for each in reader.items("externalModules"):
        # A draft of its own, since what is made of a list has no pointers yet.
        inner = Draft(draft.kind, draft.name, draft.path, each.at())
        inner.put("/moduleName", each.text("moduleName"))
        inner.put("/imageLocation", each.text("imageLocation"))
        _module(each, inner, "")
        inner.put("/environmentVariables", secrets.variables(each, "environmentVariables") or None)
        _rest(each)
        others.append(inner.spec)
        draft.mark(f"{block}/externalModules/{len(others) - 1}", each.at())
    draft.put(f"{block}/externalModules", others or None, reader.at("externalModules"))
    credentials: list[dict[str, object]] = []
    for each in reader.items("acrCredentials"):
        found: dict[str, object] = {
            "location": each.text("location"),
            "user": each.text("user"),
            "password": secrets.reference(each, "password", "ACR_PASSWORD"),
        }
        credentials.append({name: value for name, value in found.items() if value is not None})
        _rest(each)
        draft.mark(f"{block}/registryCredentials/{len(credentials) - 1}", each.at())
    draft.put(f"{block}/registryCredentials", credentials or None, reader.at("acrCredentials"))


def _module(reader: Reader, draft: Draft, place: str) -> None:
    draft.put(f"{place}/createOptions", reader.plain("createOptions") or None, reader.at("createOptions"))
    draft.put(f"{place}/propertiesDesired", reader.plain("propertiesDesired") or None, reader.at("propertiesDesired"))


_OF_TYPE: dict[str, Callable[[Reader, Draft, Secrets], None]] = {
    "local": _local,
    "aci": _aci,
    "aks": _aks,
    "edge": _edge,
}
