"""The five kinds of document.

Field names are those of Azure ML's Model.register and InferenceConfig (azureml-core 1.61) in camelCase, as in its
`inferenceconfig.json`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from reconciler.core.suspects import CREDENTIALS_IN_TEXT
from reconciler.manifests.kinds.base import (
    ModelName,
    Name,
    RepoPath,
    ServiceName,
    Sha256,
    Shorthand,
    Strict,
    Tags,
    Text,
    refuse,
)
from reconciler.manifests.kinds.deployment import DeploymentSettings
from reconciler.manifests.kinds.names import FIELD_PATTERN, PYTHON_VERSION, REPO_PATH
from reconciler.manifests.kinds.secrets import NameOrSecret, Secret, Variables
from reconciler.manifests.kinds.targets import AciTarget, AksTarget, BatchTarget, EdgeTarget, LocalTarget

FieldPattern = Annotated[str, Field(pattern=FIELD_PATTERN, examples=["/spec/replicas", "Deployment:/spec/**"])]


class DriftPolicy(Strict):
    """What a difference between the baseline and reality means, field by field: the narrowest pattern wins.

    Patterns are JSON pointers into a resource's normal form as plans print them, `*` for one step, `**` for any number,
    `[name=x]` for the item of a list that is named so, with an optional `<kind>:` before them. See docs/drift.md.
    """

    default: Literal["heal", "report", "ignore", "createOnly"] = Field(
        default="heal", description="For fields that no list names."
    )
    heal: list[FieldPattern] = Field(default_factory=list[FieldPattern], description="Ours: taken back.")
    report: list[FieldPattern] = Field(default_factory=list[FieldPattern], description="Ours: reported, left as it is.")
    ignore: list[FieldPattern] = Field(
        default_factory=list[FieldPattern], description="Others': keeps its live value, whatever Git or we write."
    )
    create_only: list[FieldPattern] = Field(
        default_factory=list[FieldPattern], description="Ours whenever the resource is made, others' afterwards."
    )


class Policy(Strict):
    """What may be done to a service's resources."""

    prune: bool = Field(default=True, description="What Git no longer wants is deleted.")
    protect: bool = Field(default=False, description="Never deleted; lift it in one commit, delete in the next.")
    suspend: bool = Field(default=False, description="Nothing is written; drift is still reported.")
    adopt: bool = Field(default=False, description="Take over a resource of that name that is not ours.")
    drift: DriftPolicy = Field(default_factory=DriftPolicy, description="Who wins when reality differs.")


class TargetPolicy(Policy):
    """What may be done to the services of a target, and at the target as a whole."""

    approval: Literal["none", "required"] = Field(
        default="none",
        description="`required`: nothing is done here until somebody approves the plan (`reconciler approve`). Taking "
        "it back is a merge of its own; the operator's settings may ask for it, whatever stands here.",
    )


LockMode = Literal["pin", "follow", "warn"]


class ModelSpec(Strict):
    """What is served: one version of a model."""

    path: RepoPath | None = Field(
        default=None,
        description="File or folder in the repo, from the folder that holds models/ and services/.",
        examples=["models/diabetes.pkl"],
    )
    uri: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s]+$", max_length=4096)] | None = Field(
        default=None,
        description="Where else the bytes are (https, file, any fsspec scheme).",
        examples=["https://example.com/m.onnx"],
    )
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Its number. If omitted: that of the registered version with the same bytes, else the next.",
    )
    sha256: Sha256 | None = Field(default=None, description="Digest the bytes must have.")
    lock: LockMode | None = Field(
        default=None,
        description="What counts when the bytes behind `uri` change: those in `model.lock` (`pin`), those too but with "
        "a warning in plans (`warn`), or the new ones (`follow`). If omitted, the `modelLock` of the defaults.",
    )
    framework: Literal["Custom", "TensorFlow", "ScikitLearn", "Onnx", "TfKeras", "PyTorch", "Multi"] = Field(
        default="Custom", description="What it was made with."
    )
    framework_version: Text | None = Field(default=None, description="Version of that, in quotes.", examples=["1.5.2"])
    properties: Tags = Field(
        default_factory=dict, description="Facts about it that do not change, such as the run that made it."
    )

    @model_validator(mode="after")
    def _source(self) -> "ModelSpec":
        if (self.path is None) == (self.uri is None):
            raise refuse("path-or-uri", "a model has either `path` or `uri`", at=("uri",) if self.uri else ())
        if self.uri is not None and CREDENTIALS_IN_TEXT.search(self.uri):
            hint = "remove it; credentials for a store are the operator's to set"
            raise refuse(
                "secret-literal", "this address holds a secret, which cannot stand in the repo", hint=hint, at=("uri",)
            )
        if self.lock is not None and self.uri is None:
            raise refuse("together", "`lock` is for a model with a `uri`", hint="remove it", at=("lock",))
        if self.lock is not None and self.sha256 is not None:
            hint = "remove one of the two"
            raise refuse("excludes", "`sha256` fixes the bytes, and `lock` is not needed", hint=hint, at=("lock",))
        if self.lock == "follow" and self.version is not None:
            hint = "remove `version`: what comes gets the next number"
            raise refuse("excludes", "a model with a fixed number cannot follow its `uri`", hint=hint, at=("version",))
        return self


class BaseImageRegistry(Strict):
    """Where the base image is pulled from."""

    address: Text = Field(description="Host.", examples=["example.azurecr.io"])
    username: NameOrSecret | None = Field(default=None, description="User name, or `valueFrom`.")
    password: Secret | None = Field(default=None, description="Password.")


class EnvironmentSpec(Strict):
    """A Python environment written out in place of a conda or requirements file."""

    python: Annotated[str, Field(pattern=PYTHON_VERSION)] | None = Field(
        default=None, description="Python version, in quotes.", examples=["3.11"]
    )
    dependencies: list[Text] = Field(
        default_factory=list[Text],
        description="Requirements as pip takes them.",
        examples=[["scikit-learn==1.5.*", "pandas"]],
    )


_EXCLUDED_BY_ENVIRONMENT = (
    "runtime",
    "conda_file",
    "requirements_file",
    "extra_docker_file_steps",
    "enable_gpu",
    "cuda_version",
    "base_image",
)


def _also_spelt(schema: dict[str, Any]) -> None:
    # azure-cli-ml reads `extraDockerfileSteps`, its documentation says `extraDockerFileSteps`.
    schema["properties"]["extraDockerfileSteps"] = {
        **schema["properties"]["extraDockerFileSteps"],
        "description": "The same as `extraDockerFileSteps`.",
        "deprecated": True,
    }


class InferenceConfigSpec(Strict):
    """How models are served: the code and what it needs. Paths count from `sourceDirectory` if that is given."""

    model_config = ConfigDict(json_schema_extra=_also_spelt)

    entry_script: Annotated[str, Field(min_length=4, max_length=1024, pattern=REPO_PATH)] | None = Field(
        default=None,
        description="Python file with `init()` and `run(data)`; needed unless there is an `image`.",
        examples=["score.py"],
    )
    source_directory: RepoPath | None = Field(
        default=None,
        description="Folder that is shipped as a whole; without it the entry script alone is.",
        examples=["inference/sklearn"],
    )
    runtime: Literal["python", "spark-py", "python-slim"] = Field(default="python", description="What runs the script.")
    conda_file: RepoPath | None = Field(
        default=None, description="Conda file of the environment.", examples=["env.yml"]
    )
    conda_packages: Literal["refuse", "baseImage"] = Field(
        default="refuse",
        description="What becomes of conda packages that the Python package index does not have: an error, or the "
        "micromamba or conda of `baseImage` installs them.",
    )
    requirements_file: RepoPath | None = Field(default=None, description="Requirements file, in place of a conda file.")
    environment: EnvironmentSpec | None = Field(
        default=None, description="Environment written out; excludes the fields that describe one otherwise."
    )
    environment_variables: Variables = Field(
        default_factory=dict, description="Variables the script needs wherever it is deployed."
    )
    base_image: Text | None = Field(default=None, description="Image to build on.", examples=["python:3.11-slim"])
    base_image_registry: BaseImageRegistry | None = Field(
        default=None, description="Where the base image is pulled from."
    )
    image: Text | None = Field(
        default=None, description="A finished image to run, nothing is built. It answers on port 5001."
    )
    extra_docker_file_steps: RepoPath | None = Field(
        default=None,
        validation_alias=AliasChoices("extraDockerFileSteps", "extraDockerfileSteps"),
        serialization_alias="extraDockerFileSteps",
        description="File of Dockerfile lines to run at the end of the build (also spelt `extraDockerfileSteps`).",
    )
    enable_gpu: bool = Field(default=False, description="The image needs CUDA.")
    cuda_version: Text | None = Field(default=None, description="Version of CUDA, in quotes; needs `enableGpu`.")

    @model_validator(mode="after")
    def _excludes(self) -> "InferenceConfigSpec":
        if self.entry_script is None and self.image is None:
            hint = "name the Python file with `init()` and `run(data)`, or a finished `image`"
            raise refuse("missing-key", "`entryScript` is missing", hint=hint)
        if self.entry_script is not None and not self.entry_script.endswith(".py"):
            raise refuse("entry-script-name", "the entry script's name must end in `.py`", at=("entryScript",))
        if self.environment is not None:
            fields = type(self).model_fields
            both = tuple(
                str(fields[name].serialization_alias or fields[name].alias)
                for name in _EXCLUDED_BY_ENVIRONMENT
                if name in self.model_fields_set
            )
            if both:
                raise refuse("excludes", "cannot stand beside `environment`", hint="keep one of the two", at=both)
        if self.conda_file is not None and self.requirements_file is not None:
            raise refuse("excludes", "`condaFile` and `requirementsFile` exclude each other", at=("requirementsFile",))
        if self.conda_packages == "baseImage" and (self.conda_file is None or self.base_image is None):
            raise refuse(
                "together",
                "`condaPackages: baseImage` needs a `condaFile`, and a `baseImage` with micromamba or conda",
                at=("condaPackages",),
            )
        if self.cuda_version is not None and not self.enable_gpu:
            raise refuse("together", "`cudaVersion` needs `enableGpu: true`", at=("cudaVersion",))
        return self


class TargetSpec(Strict):
    """Where services go: the type and the block of that name."""

    type: Literal["local", "aci", "aks", "edge", "batch"] = Field(description="Kind of target.")
    local: LocalTarget | None = Field(default=None, description="This machine.")
    aci: AciTarget | None = Field(default=None, description="Azure Container Instances (provisional).")
    aks: AksTarget | None = Field(default=None, description="Kubernetes.")
    edge: EdgeTarget | None = Field(default=None, description="Azure IoT Edge (provisional).")
    batch: BatchTarget | None = Field(default=None, description="Azure ML batch inference (provisional).")
    deployment: DeploymentSettings | None = Field(
        default=None, description="Settings for all services here; the service's own win."
    )
    policy: TargetPolicy | None = Field(
        default=None, description="Policy for all services here; the service's own wins."
    )

    @model_validator(mode="after")
    def _block(self) -> "TargetSpec":
        types = ("local", "aci", "aks", "edge", "batch")
        others = tuple(name for name in types if name != self.type and getattr(self, name) is not None)
        if others:
            raise refuse(
                "wrong-block", f"the target's type is `{self.type}`", hint="remove it, or change `type`", at=others
            )
        if self.type != "local" and getattr(self, self.type) is None:
            raise refuse("missing-key", f"a target of type `{self.type}` needs the block `{self.type}`")
        return self


_SHORT_MODEL = re.compile(r"([A-Za-z0-9][-._A-Za-z0-9]{0,254})(?::([1-9][0-9]{0,9}|latest))?")


def _short_model(text: str) -> dict[str, Any]:
    match = _SHORT_MODEL.fullmatch(text)
    if match is None:
        hint = "write `name:2`, `name:latest` or `name`"
        raise refuse("model-reference", "not a model and its version", hint=hint)
    name, version = match.groups()
    if version is None:
        return {"name": name}
    return {"name": name, "version": version if version == "latest" else int(version)}


class ModelRef(Strict):
    """A model a service serves."""

    name: ModelName = Field(description="Name of the model.")
    version: Annotated[int, Field(ge=1)] | Literal["latest"] = Field(
        default="latest",
        description="Its number, or `latest`: the highest declared in the repo, else the highest registered.",
    )


class AuthSpec(Strict):
    """Keys of the endpoint. A slot without a reference gets a generated key."""

    enabled: bool | None = Field(
        default=None, description="Requests need a key. As in Azure ML, true at `aks` and false elsewhere if omitted."
    )
    primary_key: Secret | None = Field(default=None, description="First key.")
    secondary_key: Secret | None = Field(
        default=None, description="Second key, so that keys can be changed without a gap."
    )


class Expectation(Strict):
    """What an answer must be; all that is given must hold."""

    status: Annotated[int, Field(ge=100, le=599)] = Field(default=200, description="HTTP status.")
    equals: Any = Field(default=None, description="JSON the answer must equal.")
    shape: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, description="Lengths of the nested lists of the answer, outermost first.", examples=[[1], [3, 2]]
    )
    contains: Any = Field(
        default=None,
        description="JSON the answer must hold: text in a text, an item of a list, keys of a mapping.",
        examples=[{"species": [0]}],
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="How far a number may be from the one in `equals` or `contains`."
    )
    max_seconds: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        default=None, description="Seconds the answer may take."
    )


class SmokeTestSpec(Strict):
    """One request that a new version must answer before traffic moves to it."""

    name: Name | None = Field(default=None, description="Name in reports; `test-1` and so on if omitted.")
    request: Any = Field(default=None, description="JSON body.", examples=[{"data": [[1, 2, 3]]}])
    body: str | None = Field(default=None, description="Text body in place of a JSON one.")
    content_type: Text = Field(default="application/json", description="Content type of the request.")
    method: Literal["GET", "POST", "PUT", "DELETE", "OPTIONS"] = Field(default="POST", description="HTTP method.")
    path: Annotated[str, Field(pattern=r"^/[^\s]*$")] = Field(
        default="/score", description="Path, with a query if need be."
    )
    expect: Expectation = Field(default_factory=Expectation, description="What the answer must be.")

    @model_validator(mode="after")
    def _one_body(self) -> "SmokeTestSpec":
        if "request" in self.model_fields_set and self.body is not None:
            raise refuse("excludes", "`request` and `body` exclude each other", at=("body",))
        return self


class ServiceSpec(Strict):
    """Which models are served, with which inference config, where, and how."""

    target: Name | None = Field(default=None, description="Where; the default's if omitted, else the built-in `local`.")
    models: list[
        Annotated[ModelRef, Shorthand(_short_model, {"type": "string", "pattern": f"^{_SHORT_MODEL.pattern}$"})]
    ] = Field(
        default_factory=list[ModelRef],
        description="Models, also as `name:version`.",
        examples=[["diabetes-ridge:latest"]],
    )
    inference: Name = Field(description="Inference config.", examples=["sklearn"])
    auth: AuthSpec = Field(default_factory=AuthSpec, description="Keys of the endpoint.")
    deployment: DeploymentSettings = Field(default_factory=DeploymentSettings, description="How it is deployed.")
    tests: list[SmokeTestSpec] = Field(
        default_factory=list[SmokeTestSpec], description="Run at each roll-out, before traffic moves."
    )
    policy: Policy = Field(default_factory=Policy, description="What may be done to its resources.")


class DefaultsSpec(Strict):
    """What holds for every service and model that does not say otherwise."""

    target: Name | None = Field(default=None, description="Target of services that name none.")
    model_lock: LockMode | None = Field(
        default=None, description="`lock` of models with a `uri` that leave open which bytes count."
    )
    deployment: DeploymentSettings | None = Field(default=None, description="Settings; targets' and services' own win.")
    policy: Policy | None = Field(default=None, description="Policy; targets' and services' own wins.")


class Metadata(Strict):
    """Name and description of a document."""

    name: Name = Field(description="Name, by which other documents refer to it.")
    description: str = Field(default="", description="A sentence for people.")
    tags: Tags = Field(default_factory=dict, description="Free key-value pairs.")


class ModelMetadata(Metadata):
    """Name and description of a model."""

    name: ModelName = Field(description="Name; several versions of a model are documents of the same name.")
    moved_from: ModelName | None = Field(
        default=None,
        description="Its former name, so that version numbers go on; may be removed once it is applied everywhere.",
        examples=["ridge"],
    )


class ServiceMetadata(Metadata):
    """Name and description of a service."""

    name: ServiceName = Field(description="Name: lower case, digits and `-`, 32 characters at most.")
    moved_from: ServiceName | None = Field(
        default=None,
        description="Its former name: a move that keeps keys and, where the target can, the endpoint, in place of a "
        "deletion and a creation; may be removed once it is applied everywhere.",
        examples=["ridge"],
    )


class DefaultsMetadata(Metadata):
    """Optional name of the defaults."""

    name: Name = Field(default="defaults", description="Not used.")


class Document(Strict):
    """What every document begins with."""

    api_version: Literal["reconciler/v1"] = Field(description="Version of this format.")


class Model(Document):
    """What is served: a file or folder, with version, tags and digest."""

    kind: Literal["Model"] = Field(description="What this document is.")
    metadata: ModelMetadata = Field(description="Name and description.")
    spec: ModelSpec = Field(description="The model.")


class InferenceConfig(Document):
    """How models are served: entry script, environment, base image."""

    kind: Literal["InferenceConfig"] = Field(description="What this document is.")
    metadata: Metadata = Field(description="Name and description.")
    spec: InferenceConfigSpec = Field(description="The inference config.")


class Target(Document):
    """Where: a named local machine, resource group, cluster, hub or workspace."""

    kind: Literal["Target"] = Field(description="What this document is.")
    metadata: Metadata = Field(description="Name and description.")
    spec: TargetSpec = Field(description="The target.")


class Service(Document):
    """Which models are served, with which inference config, on which target, with which settings."""

    kind: Literal["Service"] = Field(description="What this document is.")
    metadata: ServiceMetadata = Field(description="Name and description.")
    spec: ServiceSpec = Field(description="The service.")


class Defaults(Document):
    """Repo-wide defaults, in `reconciler.yaml`."""

    kind: Literal["Defaults"] = Field(description="What this document is.")
    metadata: DefaultsMetadata = Field(default_factory=DefaultsMetadata, description="Optional.")
    spec: DefaultsSpec = Field(description="The defaults.")


KINDS: dict[str, type[Document]] = {
    "Model": Model,
    "InferenceConfig": InferenceConfig,
    "Target": Target,
    "Service": Service,
    "Defaults": Defaults,
}
