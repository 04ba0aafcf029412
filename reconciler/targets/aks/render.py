"""From a deployment to the objects that a service is made of. Pure: the cluster is not asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import Deployment
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.images import image_name
from reconciler.core.problems import Problem, Severity
from reconciler.core.resources import Desired, ResourceId, Rollout
from reconciler.core.values import Spec, Value
from reconciler.targets.aks import canary, objects, scaling
from reconciler.targets.aks.clusters.render import cluster_of
from reconciler.targets.aks.kinds import KINDS, Place

# The API refuses to change these: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#selector
IMMUTABLE = ("Deployment:/spec/selector/**", "Secret:/type", "PodDisruptionBudget:/spec/selector/**")

# Of a Deployment, what is no part of the pods.
IN_PLACE = tuple(
    f"Deployment:/{place}"
    for place in (
        "metadata/**",
        "spec/replicas",
        "spec/strategy/**",
        "spec/progressDeadlineSeconds",
        "spec/revisionHistoryLimit",
        "spec/minReadySeconds",
        "spec/paused",
    )
)

# One more key, and requests go elsewhere, or somebody else gets in.
CLOSED = (
    "Secret:/auth/keys",
    "Secret:/data",
    "Service:/spec/selector",
    "NetworkPolicy:/spec/podSelector/matchLabels",
)


@dataclass(frozen=True, slots=True)
class Images:
    """What the operator's settings say of images.

    Args:
        default_base: What images are built on where no `baseImage` is named.
        registry: Address that built images are pushed to; "" for none.
        certain: These are the operator's settings; else, without any, nothing can be said against a missing registry.
    """

    default_base: str
    registry: str = ""
    certain: bool = True


class AksRenderer:
    """Implements `core.driver.Renderer`."""

    def __init__(self, target: str, images: Images) -> None:
        self._target = target
        self._images = images

    @property
    def target(self) -> str:
        """The target's name."""
        return self._target

    @property
    def capabilities(self) -> Capabilities:
        """A new version is tested beside the one before, which it then replaces pod by pod."""
        return Capabilities(
            kinds=frozenset(KINDS),
            immutable=IMMUTABLE,
            closed=CLOSED,
            stages=frozenset({"Deployment"}),
            in_place=IN_PLACE,
            endpoints=frozenset({"Deployment"}),
            # Without one of those, requests still arrive and are answered.
            accessories=frozenset(KINDS) - {"Deployment", "Service", "Ingress"},
            parallel=16,
            deadline_seconds=3600.0,
        )

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """All objects of a service, each after what it needs.

        Raises:
            InvalidError: The target or the settings ask for what cannot be; every problem with its position.
        """
        problems = _problems(deployment, self._images)
        if errors := [problem for problem in problems if problem.severity is Severity.ERROR]:
            count = f"{len(errors)} problems" if len(errors) > 1 else "a problem"
            raise InvalidError(f"it cannot be deployed to a cluster: {count}", problems=errors)
        return _Rendering(self._target, deployment, self._images, tuple(problems)).all()


class _Rendering:
    """One service's objects, gathered one by one."""

    def __init__(self, target: str, deployment: Deployment, images: Images, warnings: tuple[Problem, ...]) -> None:
        self._target = target
        self._deployment = deployment
        self._images = images
        self._warnings = warnings
        self._namespace = str(deployment.settings.block["namespace"] or deployment.target.block["namespace"])
        cluster = cluster_of(deployment.target.block)
        self._below = (cluster,) if cluster is not None else ()

    def all(self) -> list[Desired]:
        deployment, block = self._deployment, self._deployment.settings.block
        name = deployment.service
        before: list[Desired] = []
        pull = [str(one) for one in block["imagePullSecrets"]]
        if block["registryCredentials"]:
            before.append(
                self._one("Secret", objects.registries(deployment, block["registryCredentials"]), "registries", "pull")
            )
            pull.append(objects.pull_secret(name))
        pulling = tuple(one.id for one in before)
        before.append(self._one("ServiceAccount", objects.service_account(deployment, pull), depends=pulling))
        if deployment.auth.enabled and not deployment.image.image:
            before.append(self._one("Secret", objects.keys(deployment), "digests of its keys", "keys"))
        if variables := objects.secret_variables(deployment):
            count = f"{len(variables)} variable{'' if len(variables) == 1 else 's'}"
            before.append(self._one("Secret", objects.opaque(deployment, dict(variables)), count, "variables"))
        before.append(self._one("NetworkPolicy", objects.network_policy(deployment), f"port {objects.PORT} alone"))
        found = [*before, self._workload(tuple(one.id for one in before))]
        workload = found[-1].id
        autoscale = block["autoscale"]
        if autoscale["enabled"]:
            made = scaling.of(deployment, self._namespace)
            found.append(self._one(made.kind, made.spec, made.words, depends=(workload,)))
        if autoscale["enabled"] or deployment.settings.replicas > 1:
            found.append(self._one("PodDisruptionBudget", objects.budget(deployment), "one replica at a time"))
        port = deployment.settings.port or 80
        balanced = ", behind a load balancer" if block["expose"] == "loadBalancer" else ""
        found.append(self._one("Service", objects.service(deployment), f"port {port}{balanced}"))
        if block["expose"] == "ingress":
            found += self._way_in(found[-1].id)
        return found

    def _workload(self, before: tuple[ResourceId, ...]) -> Desired:
        deployment = self._deployment
        models = tuple(dict.fromkeys(model.id for model in deployment.models))
        digest: Value = None
        if deployment.image.image:
            reference, artifacts = deployment.image.image, models
        else:
            name = image_name(deployment, self._images.default_base)
            reference, artifacts = name.reference(self._images.registry), (*models, name.id)
            digest = objects.image_digest(str(name.id))
        versions = ", ".join(f"{model.name}:{model.version}" for model in deployment.models)
        autoscaled = deployment.settings.block["autoscale"]["enabled"]
        count = deployment.settings.replicas
        replicas = "" if autoscaled else f"{count} replica{'' if count == 1 else 's'}"
        return self._one(
            "Deployment",
            objects.workload(deployment, reference, digest),
            ", ".join(part for part in (versions, deployment.image.image, replicas) if part),
            depends=(*artifacts, *before),
        )

    def _way_in(self, service: ResourceId) -> list[Desired]:
        deployment, block = self._deployment, self._deployment.settings.block
        found: list[Desired] = []
        if block["sslEnabled"] and block["sslCertPem"] is not None:
            data: dict[str, Value] = {"tls.crt": block["sslCertPem"], "tls.key": block["sslKeyPem"]}
            spec = objects.opaque(deployment, data, "kubernetes.io/tls")
            found.append(self._one("Secret", spec, "certificate and key", "tls"))
        scheme = "https" if block["sslEnabled"] else "http"
        needs = (service, *(one.id for one in found))
        words = f"{scheme}://{block['cname']}/"
        return [*found, self._one("Ingress", objects.ingress(deployment), words, depends=needs)]

    def _one(
        self, kind: str, spec: Spec, summary: str = "", part: str = "", depends: tuple[ResourceId, ...] = ()
    ) -> Desired:
        deployment = self._deployment
        name = f"{deployment.service}.{part}" if part else deployment.service
        main = kind == "Deployment"
        return Desired(
            id=ResourceId(self._target, kind, str(Place(self._namespace, name))),
            spec=spec,
            service=deployment.service,
            depends_on=(*self._below, *depends),
            policy=deployment.policy,
            summary=summary,
            warnings=self._warnings if main else (),
            tests=deployment.tests if main else (),
            rollout=_rollout(deployment) if main else Rollout(staged=False),
        )


def _rollout(deployment: Deployment) -> Rollout:
    """Beside the version before where there is something to find out there; a first version is tested in its place."""
    block = deployment.settings.block
    if block["strategy"] != "canary":
        return Rollout(staged=bool(deployment.tests), always=False)
    asked: Mapping[str, Any] = block["canary"]
    # An image that was not built here tells nobody how many requests it fails.
    rate = None if deployment.image.image else float(asked["maxErrorRate"])
    shares = tuple(int(share) for share in asked["steps"])
    return Rollout(always=False, shares=shares, interval=float(asked["stepSeconds"]), max_error_rate=rate)


def _rounded(deployment: Deployment) -> tuple[str, str]:
    """What is to be said of a canary's shares that so few replicas cannot give, and what helps; "" where they can."""
    block = deployment.settings.block
    if block["strategy"] != "canary":
        return "", ""
    autoscale = block["autoscale"]
    count = int(autoscale["minReplicas"] if autoscale["enabled"] else deployment.settings.replicas)
    shares = [int(share) for share in block["canary"]["steps"]]
    greater = canary.rounded(shares, count) if count else []
    if not greater:
        return "", ""
    told = ", ".join(f"{share} % are {real:.0f} % of the requests" for share, real in greater)
    replicas = f"{count} replica{'' if count == 1 else 's'}"
    message = (
        f"`canary.steps` with {replicas}{', the fewest of its autoscaler' if autoscale['enabled'] else ''}: {told}"
    )
    near = f"{canary.enough_for(shares, count)} replicas come within {canary.NEAR} points"
    return message, f"a new version has whole pods beside those before it: {near}"


def _problems(deployment: Deployment, images: Images) -> list[Problem]:
    subject = f"Service/{deployment.service}"
    found: list[Problem] = []

    def say(code: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> None:
        found.append(Problem(code, message, deployment.position, hint, subject, severity))

    block, settings = deployment.settings.block, deployment.settings
    if not deployment.image.image and not images.registry:
        severity = Severity.ERROR if images.certain else Severity.WARNING
        message = "its image needs a registry that the cluster can pull from, and the settings name none"
        say("registry-missing", message, "set `images.registry` in the operator's settings", severity)
    if block["expose"] == "ingress" and not block["cname"]:
        say("together", "`expose: ingress` needs a `cname`", "it is the name that callers use")
    if block["sslEnabled"]:
        if block["expose"] != "ingress":
            say("together", "`sslEnabled` needs `expose: ingress`", "the ingress is where HTTPS ends")
        if block["sslCertPem"] is None and not block["sslSecretName"]:
            say("together", "`sslEnabled` needs `sslCertPem` and `sslKeyPem`, or `sslSecretName`", "add one of them")
    if block["dnsNameLabel"] and block["expose"] != "loadBalancer":
        say("together", "`dnsNameLabel` needs `expose: loadBalancer`", "only load balancers get a name from Azure")
    for side, limit, name in (
        (settings.cpu_cores, block["cpuCoresLimit"], "cpuCoresLimit"),
        (settings.memory_gb, block["memoryGbLimit"], "memoryGbLimit"),
    ):
        if limit is not None and side is not None and limit < side:
            say("wrong-range", f"`{name}` is less than what is requested", "raise it, or request less")
    message, hint = _rounded(deployment)
    if message:
        say("canary-rounded", message, hint, Severity.WARNING)
    if settings.host is not None:
        message = "host is not used on a cluster"
        say("not-used-by-kubernetes", message, "`expose` says from where it is reached", Severity.WARNING)
    if deployment.image.image and deployment.auth.enabled:
        message = "no keys are asked for: a ready-made image looks after that itself"
        say("not-used-by-kubernetes", message, "`auth: {enabled: false}` says so", Severity.WARNING)
    return found
