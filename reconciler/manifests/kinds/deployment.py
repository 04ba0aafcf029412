"""How a service is deployed: the settings that mean the same everywhere, and one block per type of target.

Field names and defaults are those of Azure ML's deploy_configuration (azureml-core 1.61: LocalWebservice,
AciWebservice, AksWebservice; azureml-contrib-iot 1.62: IotWebservice) wherever the meaning is the same. Defaults given
here are also in `defaults`, which is what planning reads; a test holds the two together.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from reconciler.manifests.kinds.base import (
    Cores,
    Gigabytes,
    Milliseconds,
    Name,
    Port,
    Positive,
    RepoPath,
    Seconds,
    Strict,
    Tags,
    Text,
    refuse,
)
from reconciler.manifests.kinds.secrets import NameOrSecret, Secret, Variables


class Common(Strict):
    """Settings that mean the same at every target. A block may repeat them; there they hold for that type alone."""

    port: Port | None = Field(
        default=None, description="Port the service answers on; a free one if omitted.", examples=[8890]
    )
    host: Text | None = Field(
        default=None, description="Address to listen on; loopback if omitted, as far as the target knows such a thing."
    )
    cpu_cores: Cores | None = Field(
        default=None, description="CPU cores per replica; fractions allowed.", examples=[0.5]
    )
    memory_gb: Gigabytes | None = Field(
        default=None, description="Memory per replica in gigabytes (10^9 bytes).", examples=[0.5]
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Worker processes or containers.")
    max_concurrent_requests: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="Calls of `run()` at once per replica; Azure ML entry scripts expect 1."
    )
    scoring_timeout_ms: Milliseconds = Field(default=60_000, description="Milliseconds one request may take.")
    max_request_wait_time: Milliseconds | None = Field(
        default=None, description="Milliseconds a request may wait in the queue before it is answered with 503."
    )
    max_body_mb: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        default=None, description="Megabytes (10^6 bytes) a request's body may have."
    )
    ready_timeout_seconds: Seconds = Field(default=300.0, description="Seconds from start to ready, `init()` included.")
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0, description="Seconds a replaced version has to finish its requests."
    )
    cors_origins: list[Text] = Field(
        default_factory=list[Text],
        description="Origins that browsers may call from; `*` for any.",
        examples=[["https://app.example.com"]],
    )
    environment_variables: Variables = Field(
        default_factory=dict, description="Variables the entry script sees. Secrets only by `valueFrom`."
    )


class Volume(Strict):
    """A folder of the machine, or a volume of the container engine, inside a container."""

    source: Text = Field(description="Path on the machine, or name of a volume.", examples=["/data/lookup"])
    path: Annotated[str, Field(pattern=r"^/[^:]*$")] = Field(description="Path in the container.")
    read_only: bool = Field(default=True, description="It cannot be written.")


class Local(Common):
    """At a local machine: a supervised process, or a container of the Docker engine."""

    engine: Literal["auto", "process", "docker"] | None = Field(
        default=None, description="What runs it; the target's `engine` if omitted."
    )
    open_files: Annotated[int, Field(ge=64, le=1_048_576)] | None = Field(
        default=None, description="How many files a worker may have open."
    )
    tls_cert_file: Text | None = Field(default=None, description="PEM file of the certificate on the target machine.")
    tls_key_file: Text | None = Field(default=None, description="PEM file of its key on the target machine.")
    log_max_mb: Annotated[float, Field(ge=0, le=10_000)] = Field(
        default=10.0, description="Megabytes after which a log file is rotated; 0 for never, in containers alone."
    )
    log_files: Annotated[int, Field(ge=1, le=100)] = Field(default=5, description="How many log files are kept.")
    restart: Annotated[str, Field(pattern=r"^(no|always|unless-stopped|on-failure(:[1-9][0-9]{0,3})?)$")] | None = (
        Field(default=None, description="When a container that ended is started again; `unless-stopped` if omitted.")
    )
    read_only: bool = Field(
        default=True, description="A container's files cannot be written, but for `/tmp`; false where a script must."
    )
    gpus: Annotated[str, Field(pattern=r"^(all|[1-9][0-9]?)$")] | None = Field(
        default=None, description="GPUs a container gets: `all`, or how many, in quotes."
    )
    networks: list[Text] | None = Field(
        default=None, description="Networks of the container engine to be on, in place of its default one."
    )
    volumes: list[Volume] | None = Field(
        default=None, description="What a container sees of the machine, as far as the operator's settings allow it."
    )

    @model_validator(mode="after")
    def _tls(self) -> "Local":
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise refuse("together", "`tlsCertFile` and `tlsKeyFile` go together")
        return self


class Aci(Common):
    """Azure Container Instances (provisional). Default of `auth.enabled`: false."""

    cpu_cores: Cores | None = Field(default=0.1, description="CPU cores.")
    memory_gb: Gigabytes | None = Field(default=0.5, description="Memory in gigabytes.")
    location: Text | None = Field(
        default=None, description="Azure region; the target's if omitted.", examples=["westeurope"]
    )
    properties: Tags = Field(
        default_factory=dict, description="Properties as Azure ML keeps them; they cannot be changed later."
    )
    ssl_enabled: bool = Field(default=False, description="Answer over HTTPS.")
    ssl_cert_pem_file: RepoPath | None = Field(default=None, description="Certificate, PEM.")
    ssl_key_pem_file: Secret | None = Field(default=None, description="Key of the certificate, PEM.")
    ssl_cname: Text | None = Field(default=None, description="DNS name the certificate is for.")
    enable_app_insights: bool = Field(default=False, description="Send telemetry to Application Insights.")
    collect_model_data: bool = Field(default=False, description="Keep inputs and outputs in the workspace's storage.")
    dns_name_label: Text | None = Field(default=None, description="First part of the DNS name; generated if omitted.")
    cmk_vault_base_url: Text | None = Field(default=None, description="Key vault of a customer-managed key.")
    cmk_key_name: Text | None = Field(default=None, description="Name of that key.")
    cmk_key_version: Text | None = Field(default=None, description="Version of that key.")
    vnet_name: Text | None = Field(default=None, description="Virtual network to deploy into.")
    subnet_name: Text | None = Field(default=None, description="Subnet of that network.")

    @model_validator(mode="after")
    def _groups(self) -> "Aci":
        ssl = (self.ssl_cert_pem_file, self.ssl_key_pem_file, self.ssl_cname)
        if self.ssl_enabled and None in ssl:
            raise refuse(
                "together", "`sslEnabled` needs `sslCertPemFile`, `sslKeyPemFile` and `sslCname`", at=("sslEnabled",)
            )
        cmk = (self.cmk_vault_base_url, self.cmk_key_name, self.cmk_key_version)
        if None in cmk and any(cmk):
            raise refuse("together", "`cmkVaultBaseUrl`, `cmkKeyName` and `cmkKeyVersion` go together")
        if (self.vnet_name is None) != (self.subnet_name is None):
            raise refuse("together", "`vnetName` and `subnetName` go together")
        return self


class Autoscale(Strict):
    """Scaling by load; on unless `replicas` is given."""

    enabled: bool | None = Field(default=None, description="On unless `replicas` is given.")
    min_replicas: Positive = Field(default=1, description="Fewest replicas.")
    max_replicas: Positive = Field(default=10, description="Most replicas.")
    refresh_seconds: Positive | None = Field(
        default=None, description="Refused: how often is decided is one setting for the whole cluster."
    )
    target_utilization: Annotated[int, Field(ge=1, le=100)] = Field(
        default=70, description="Percent to aim at: of the requested CPU, or of the requests a replica takes at once."
    )

    @model_validator(mode="after")
    def _order(self) -> "Autoscale":
        if self.min_replicas > self.max_replicas:
            raise refuse("wrong-range", "`minReplicas` is more than `maxReplicas`", at=("minReplicas",))
        if self.refresh_seconds is not None:
            raise _without_effect(
                "refreshSeconds",
                "a Kubernetes cluster decides for all services at once, every 15 seconds",
                "the cluster's --horizontal-pod-autoscaler-sync-period sets it",
            )
        return self


class Canary(Strict):
    """How a new version gets its requests with `strategy: canary`."""

    steps: Annotated[list[Annotated[int, Field(ge=1, le=50)]], Field(min_length=1, max_length=10)] = Field(
        default_factory=lambda: [10, 50],
        description="Percentages of the requests, one after another; 10 and 50 if omitted. "
        "Its pods come on top: at 50, as many again.",
        examples=[[5, 20, 50]],
    )
    step_seconds: Positive = Field(default=60, description="Seconds that it keeps each of them.")
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="Part of its requests that may end with a status of 500 or more, of at least 20."
    )

    @model_validator(mode="after")
    def _order(self) -> "Canary":
        if self.steps != sorted(set(self.steps)):
            raise refuse("wrong-range", "each of `steps` has to be more than the one before", at=("steps",))
        return self


class LivenessProbe(Strict):
    """When a replica counts as dead."""

    period_seconds: Positive = Field(default=10, description="Seconds between two probes.")
    initial_delay_seconds: Positive = Field(default=310, description="Seconds from ready to the first probe.")
    timeout_seconds: Positive = Field(default=2, description="Seconds a probe may take.")
    success_threshold: Positive = Field(default=1, description="Successes after which it is alive again; only 1.")
    failure_threshold: Positive = Field(default=3, description="Failures after which it is restarted.")

    @model_validator(mode="after")
    def _once(self) -> "LivenessProbe":
        if self.success_threshold != 1:
            raise _without_effect(
                "successThreshold", "Kubernetes takes nothing but 1 for liveness probes", "take it out"
            )
        return self


class Toleration(Strict):
    """A taint of nodes that replicas put up with."""

    key: Text = Field(description="Key of the taint.", examples=["sku"])
    value: str = Field(default="", description="Its value; any if omitted.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Its effect; any if omitted."
    )


class RegistryCredential(Strict):
    """Lets a device pull from a registry."""

    location: Text = Field(description="Host of the registry.", examples=["example.azurecr.io"])
    user: NameOrSecret = Field(description="User name.")
    password: Secret = Field(description="Password.")


class Aks(Common):
    """Kubernetes, in Azure or anywhere else. Default of `auth.enabled`: true."""

    cpu_cores: Cores | None = Field(default=0.1, description="CPU cores requested per replica.")
    memory_gb: Gigabytes | None = Field(default=0.5, description="Memory in gigabytes requested per replica.")
    max_request_wait_time: Milliseconds | None = Field(
        default=500, description="Milliseconds a request may wait in the queue before it is answered with 503."
    )
    cpu_cores_limit: Cores | None = Field(default=None, description="Most CPU cores a replica may use.")
    memory_gb_limit: Gigabytes | None = Field(default=None, description="Most memory in gigabytes a replica may use.")
    gpu_cores: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs per replica.")
    extended_resources: dict[Text, Positive] = Field(
        default_factory=dict,
        description="Devices per replica, by the name that nodes offer them under.",
        examples=[{"intel.com/fpga": 1}],
    )
    autoscale: Autoscale = Field(default_factory=Autoscale, description="Scaling by load; excludes `replicas`.")
    strategy: Literal["rolling", "canary"] = Field(
        default="rolling",
        description="How a new version takes over: pod by pod, or after it has had a part of the requests.",
    )
    canary: Canary = Field(default_factory=Canary, description="With `strategy: canary`: which part, and how long.")
    liveness_probe: LivenessProbe = Field(default_factory=LivenessProbe, description="When a replica counts as dead.")
    token_auth_enabled: bool = Field(default=False, description="Refused: nothing here issues tokens; keys are.")
    enable_app_insights: bool = Field(
        default=False,
        description="Send telemetry to Application Insights: requests, and what the script prints, logs and raises.",
    )
    app_insights_connection_string: Secret | None = Field(
        default=None,
        description="Connection string of the Application Insights resource, unless the environment variable "
        "`APPLICATIONINSIGHTS_CONNECTION_STRING` is given.",
    )
    collect_model_data: bool = Field(default=False, description="Refused: there is no workspace to keep them in.")
    properties: Tags = Field(default_factory=dict, description="Properties as Azure ML keeps them.")
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] | None = Field(
        default=None, description="Namespace; the target's if omitted."
    )
    compute_target_name: Name | None = Field(default=None, description="Refused: the service's `target` says where.")
    blobfuse_enabled: bool | None = Field(default=None, description="Refused if true: models are in the image.")
    expose: Literal["cluster", "loadBalancer", "ingress"] = Field(
        default="cluster",
        description="From where it is reached: inside of the cluster, by a load balancer or by an ingress of its own.",
    )
    dns_name_label: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")] | None = Field(
        default=None, description="First part of the DNS name that Azure gives to a public load balancer."
    )
    cname: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]([-a-z0-9]*[a-z0-9])?$")] | None = (
        Field(default=None, description="DNS name that callers use at the ingress.", examples=["scoring.example.com"])
    )
    ssl_enabled: bool = Field(default=False, description="HTTPS at the ingress.")
    ssl_cert_pem: Secret | None = Field(default=None, description="Certificate chain of `cname`, PEM.")
    ssl_key_pem: Secret | None = Field(default=None, description="Its private key, PEM.")
    ssl_secret_name: Text | None = Field(
        default=None, description="A Secret of the namespace that has both, in place of them (cert-manager's)."
    )
    ingress_class: Text | None = Field(
        default=None, description="Class of the ingress; the cluster's default if omitted.", examples=["nginx"]
    )
    ingress_annotations: Tags = Field(default_factory=dict, description="What the ingress' controller is to know.")
    image_pull_secrets: list[Text] = Field(
        default_factory=list[Text], description="Secrets of the namespace that images are pulled with."
    )
    registry_credentials: list[RegistryCredential] = Field(
        default_factory=list[RegistryCredential], description="What images are pulled with, where no Secret has it."
    )
    node_selector: Tags = Field(
        default_factory=dict, description="Labels that nodes must have.", examples=[{"agentpool": "gpu"}]
    )
    tolerations: list[Toleration] = Field(
        default_factory=list[Toleration], description="Taints of nodes that replicas put up with."
    )

    @model_validator(mode="after")
    def _limits(self) -> "Aks":
        if self.autoscale.enabled and "replicas" in self.model_fields_set:
            raise refuse("excludes", "`autoscale` and `replicas` exclude each other", at=("autoscale",))
        # Where it is not said here, what is requested stands outside of this block, or is a default.
        cores = self.cpu_cores if "cpu_cores" in self.model_fields_set else None
        memory = self.memory_gb if "memory_gb" in self.model_fields_set else None
        if self.cpu_cores_limit is not None and self.cpu_cores_limit < (cores or 0):
            raise refuse("wrong-range", "`cpuCoresLimit` is less than `cpuCores`", at=("cpuCoresLimit",))
        if self.memory_gb_limit is not None and self.memory_gb_limit < (memory or 0):
            raise refuse("wrong-range", "`memoryGbLimit` is less than `memoryGb`", at=("memoryGbLimit",))
        return self

    @model_validator(mode="after")
    def _tls(self) -> "Aks":
        if (self.ssl_cert_pem is None) != (self.ssl_key_pem is None):
            raise refuse("together", "`sslCertPem` and `sslKeyPem` go together")
        if self.ssl_cert_pem is not None and self.ssl_secret_name is not None:
            raise refuse("excludes", "`sslSecretName` and `sslCertPem` exclude each other", at=("sslSecretName",))
        return self

    @model_validator(mode="after")
    def _of_azure_ml(self) -> "Aks":
        for asked, key, why, instead in (
            (self.token_auth_enabled, "tokenAuthEnabled", "its tokens came from the workspace", "use `auth`: keys"),
            (
                self.collect_model_data,
                "collectModelData",
                "there is no workspace whose storage would keep inputs and outputs",
                "let the entry script write what is to be kept",
            ),
            (
                self.compute_target_name is not None,
                "computeTargetName",
                "there is no workspace that clusters are attached to",
                "the service's `target` names the Target",
            ),
            (
                self.blobfuse_enabled,
                "blobfuseEnabled",
                "models are in the image, and nothing is mounted",
                "take it out",
            ),
        ):
            if asked:
                raise _without_effect(key, why, instead)
        return self


def _without_effect(key: str, why: str, instead: str) -> Exception:
    """A setting of Azure ML that cannot have its effect here."""
    return refuse("not-here", f"`{key}` can have no effect: {why}", hint=instead, at=(key,))


class AmlModule(Strict):
    """The module that runs the service on the device."""

    module_name: Name | None = Field(default=None, description="Name on the device; the service's if omitted.")
    create_options: dict[str, Any] = Field(
        default_factory=dict, description="Docker's create options for the container."
    )
    properties_desired: dict[str, Any] = Field(
        default_factory=dict, description="Desired properties of the module's twin."
    )


class ExternalModule(Strict):
    """Another module of the same deployment."""

    module_name: Name = Field(description="Name on the device.")
    image_location: Text = Field(description="Image reference.")
    create_options: dict[str, Any] = Field(
        default_factory=dict, description="Docker's create options for the container."
    )
    environment_variables: Variables = Field(default_factory=dict, description="Variables the module sees.")
    properties_desired: dict[str, Any] = Field(
        default_factory=dict, description="Desired properties of the module's twin."
    )


class Edge(Common):
    """Azure IoT Edge (provisional)."""

    device_id: Text | None = Field(default=None, description="The one device to deploy to.", examples=["device-1"])
    target_condition: Text | None = Field(
        default=None, description="Which devices to deploy to.", examples=["tags.site='north'"]
    )
    priority: Annotated[int, Field(ge=0, le=2_147_483_647)] = Field(default=0, description="Highest wins on a device.")
    labels: Tags = Field(default_factory=dict, description="Labels of the deployment.")
    routes: dict[str, Text] = Field(
        default_factory=dict,
        description="Message routes by name.",
        examples=[{"all": "FROM /messages/* INTO $upstream"}],
    )
    aml_module: AmlModule = Field(default_factory=AmlModule, description="The module that runs the service.")
    external_modules: list[ExternalModule] = Field(default_factory=list[ExternalModule], description="Further modules.")
    registry_credentials: list[RegistryCredential] = Field(
        default_factory=list[RegistryCredential], description="What devices pull images with."
    )
    properties: Tags = Field(default_factory=dict, description="Properties as Azure ML keeps them.")

    @model_validator(mode="after")
    def _one(self) -> "Edge":
        if self.device_id is not None and self.target_condition is not None:
            raise refuse("excludes", "`deviceId` and `targetCondition` exclude each other", at=("targetCondition",))
        return self


class RetrySettings(Strict):
    """What is done with a mini-batch that fails."""

    max_retries: Annotated[int, Field(ge=0)] = Field(default=3, description="How often it is tried again.")
    timeout_seconds: Positive = Field(default=30, description="Seconds one try may take.")


class Batch(Common):
    """Azure ML batch inference (provisional)."""

    compute: Name | None = Field(default=None, description="Compute cluster; the target's if omitted.")
    instance_count: Positive = Field(default=1, description="Nodes per job.")
    max_concurrency_per_instance: Positive = Field(default=1, description="Processes per node.")
    mini_batch_size: Positive = Field(default=10, description="Files per call of `run()`.")
    output_action: Literal["AppendRow", "SummaryOnly"] = Field(
        default="AppendRow", description="How outputs are put together."
    )
    output_file_name: Text = Field(default="predictions.csv", description="File that rows are appended to.")
    error_threshold: Annotated[int, Field(ge=-1)] = Field(
        default=-1, description="Failed files to put up with; -1 for any."
    )
    logging_level: Literal["Debug", "Info", "Warning"] = Field(default="Info", description="How much is logged.")
    retry_settings: RetrySettings = Field(
        default_factory=RetrySettings, description="What is done with a mini-batch that fails."
    )
    properties: Tags = Field(default_factory=dict, description="Properties as Azure ML keeps them.")


class DeploymentSettings(Common):
    """Common settings, and one block per type of target: the resolved target picks its own, the others stay unused."""

    local: Local | None = Field(default=None, description="At a local machine.")
    aci: Aci | None = Field(default=None, description="At Azure Container Instances (provisional).")
    aks: Aks | None = Field(default=None, description="At Kubernetes.")
    edge: Edge | None = Field(default=None, description="At Azure IoT Edge (provisional).")
    batch: Batch | None = Field(default=None, description="At Azure ML batch inference (provisional).")
