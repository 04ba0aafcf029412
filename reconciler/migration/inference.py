"""Azure ML's `inferenceconfig.json` (azureml-core 1.61, `InferenceConfig`) as an `InferenceConfig` document."""

from __future__ import annotations

import posixpath

from reconciler.core.dataclass import dataclass, field
from reconciler.manifests.writing import to_yaml
from reconciler.migration.draft import Draft, Secrets, secrets_in
from reconciler.migration.reading import Reader

# Given beside `environment`, Azure ML ignores these.
_REPLACED = (
    "runtime",
    "condaFile",
    "extraDockerFileSteps",
    "extraDockerfileSteps",
    "enableGpu",
    "cudaVersion",
    "baseImage",
    "baseImageRegistry",
)
# What an `Environment` object holds besides: by path, why it is left out.
_OF_RUNS = "it is about training runs"
_ENVIRONMENT: dict[str, str] = {
    "name": "names and versions of a workspace's environments have no equivalent: what is in it counts",
    "inferencingStackVersion": "the scoring runtime is reconciler's own",
    "r": "entry scripts are in Python",
    "databricks": "services do not run on Databricks",
    "spark": "of `spark-py` only the entry script's imports are provided; install packages in the base image",
}
_PYTHON: dict[str, str] = {
    "interpreterPath": "the interpreter is the one that the environment is built with",
    "baseCondaEnvironment": "environments are built from what they declare, on none that exists",
}
_DOCKER: dict[str, str] = {
    "enabled": _OF_RUNS,
    "arguments": _OF_RUNS,
    "sharedVolumes": _OF_RUNS,
    "shmSize": "containers have the engine's shared memory",
    "gpuSupport": "it was deprecated in Azure ML, too; `enableGpu` in the InferenceConfig asks for CUDA",
    "baseDockerfile": "build that image, push it, and name it as `baseImage`, or finished as `image`",
    "platform": "images are built for the machine that builds them",
    "buildContext": "build that image, push it, and name it as `baseImage`, or finished as `image`",
}


@dataclass(slots=True)
class Code:
    """Where the files of an inference config are and where they are to be.

    Args:
        folder: From the manifest folder, what the config's paths count from afterwards; empty for that folder itself.
        moved: They are brought there, since they lie elsewhere now.
        brought: What has to be brought: by its path as the config has it, where to.
        needed: What has to be there: by its path from the manifest folder, the key and the config's own path.
        made: Files that are written: by their path from the manifest folder, the text.
    """

    folder: str
    moved: bool
    brought: dict[str, str] = field(default_factory=dict[str, str])
    needed: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    made: dict[str, str] = field(default_factory=dict[str, str])


def inference(reader: Reader, draft: Draft, code: Code, secrets: Secrets) -> None:
    """Fills the document; what needs a hand becomes a note, what cannot be a problem."""
    draft.description = reader.text("description") or ""
    source = _source(reader, draft, code)
    _file(reader, "entryScript", draft, code, source)
    if not reader.has("entryScript"):
        reader.wrong("entryScript", "is missing", "it is the Python file with `init()` and `run(data)`", "missing-key")
    environment = reader.mapping("environment")
    if environment is not None:
        for key in _REPLACED:
            if reader.is_one_of(key, ("python", False)):
                reader.skip(key)
            elif reader.has(key):
                reader.note(key, "Azure ML ignores it, since `environment` is given")
        _environment(environment, draft, code, source, secrets)
        _rest(reader)
        return
    draft.put("/runtime", reader.text("runtime"), reader.at("runtime"))
    _file(reader, "condaFile", draft, code, source)
    # The command line reads the one, its documentation says the other.
    for key in ("extraDockerFileSteps", "extraDockerfileSteps"):
        _file(reader, key, draft, code, source, "extraDockerFileSteps")
    gpu = reader.flag("enableGpu")
    if gpu:
        draft.put("/enableGpu", value=True, at=reader.at("enableGpu"))
        draft.put("/cudaVersion", reader.text("cudaVersion"), reader.at("cudaVersion"))
    elif reader.has("cudaVersion"):
        reader.note("cudaVersion", "without `enableGpu` it means nothing")
    _image(reader, draft, secrets)
    _rest(reader)


def _source(reader: Reader, draft: Draft, code: Code) -> str | None:
    """The source directory as the document has it; None where the config names none."""
    written = reader.text("sourceDirectory")
    if written is None:
        return None
    if code.moved:
        where = code.folder
        code.brought[written] = where
    else:
        where = _placed(reader, "sourceDirectory", written, code.folder) or "."
        code.needed[where] = ("sourceDirectory", written)
    draft.put("/sourceDirectory", where, reader.at("sourceDirectory"))
    return where


def _file(reader: Reader, key: str, draft: Draft, code: Code, source: str | None, to: str = "") -> None:
    """A path of the config: as it is below a source directory, else from the manifest folder."""
    written = reader.text(key)
    if written is None:
        return
    where = _placed(reader, key, written, code.folder if source is None else source)
    if where is None:
        return
    code.needed[where] = (key, written)
    if source is None and code.moved:
        code.brought[written] = where
    value = where if source is None else posixpath.normpath(written)
    draft.put(f"/{to or key}", value, reader.at(key))


def _placed(reader: Reader, key: str, written: str, folder: str) -> str | None:
    """A path from the manifest folder; None, with a problem, if it leads out of there."""
    plain = written.replace("\\", "/")
    whole = posixpath.normpath(posixpath.join(folder, plain))
    if plain.startswith("/") or plain[1:2] == ":" or whole == ".." or whole.startswith("../"):
        hint = "put the files into the manifest repo, and name them from the folder of this file"
        reader.wrong(key, "leads out of where it may be", hint, "bad-path")
        return None
    return whole


def _image(reader: Reader, draft: Draft, secrets: Secrets) -> None:
    draft.put("/baseImage", reader.text("baseImage"), reader.at("baseImage"))
    registry = reader.mapping("baseImageRegistry")
    if registry is None or not any(registry.has(key) for key in ("address", "username", "password")):
        return
    if not reader.has("baseImage"):
        reader.note("baseImageRegistry", "without `baseImage` it means nothing")
        return
    draft.put("/baseImageRegistry/address", registry.text("address"), registry.at("address"))
    draft.put("/baseImageRegistry/username", registry.text("username"), registry.at("username"))
    draft.put("/baseImageRegistry/password", secrets.reference(registry, "password", "REGISTRY_PASSWORD"))
    if not registry.has("address"):
        registry.wrong("address", "is missing", code="missing-key")
    _rest(registry)


def _environment(reader: Reader, draft: Draft, code: Code, source: str | None, secrets: Secrets) -> None:
    """A whole `Environment` object, as azureml-core writes it."""
    variables = secrets.variables(reader, "environmentVariables")
    draft.put("/environmentVariables", variables or None, reader.at("environmentVariables"))
    python = reader.mapping("python")
    if python is not None:
        _python(python, draft, code, source)
    docker = reader.mapping("docker")
    if docker is not None:
        _image(docker, draft, secrets)
        _left_out(docker, _DOCKER)
        _rest(docker)
    _left_out(reader, _ENVIRONMENT)
    reader.skip("version", "assetId")
    _rest(reader)


def _python(reader: Reader, draft: Draft, code: Code, source: str | None) -> None:
    own = reader.flag("userManagedDependencies")
    inline = reader.plain("condaDependencies")
    if own:
        said = "the packages are those of the image: name it, with its scoring server, as `image`, or list them here"
        reader.note("userManagedDependencies", said, todo=True)
        reader.skip("condaDependencies", "condaDependenciesFile")
    elif inline and any(True for _ in secrets_in(inline)):
        hint = "take them out; the operator's settings can name package indexes (`environments.extraIndexes`)"
        reader.wrong("condaDependencies", "holds credentials, which cannot stand in the repo", hint, "secret-literal")
    elif inline:
        file = f"{draft.name}.conda.yml"
        where = posixpath.join(source if source is not None else "inference", file)
        code.made[posixpath.normpath(where)] = to_yaml(inline)
        draft.put("/condaFile", file if source is not None else where, reader.at("condaDependencies"))
        reader.skip("condaDependenciesFile")
    else:
        _file(reader, "condaDependenciesFile", draft, code, source, "condaFile")
    _left_out(reader, _PYTHON)
    _rest(reader)


# What Azure ML writes without being asked; nobody misses it.
_DEFAULTS: dict[str, tuple[object, ...]] = {
    "interpreterPath": ("python",),
    "enabled": (True, False),
    "sharedVolumes": (True, False),
    "gpuSupport": (False,),
    "inferencingStackVersion": ("latest",),
}


def _left_out(reader: Reader, known: dict[str, str]) -> None:
    for key, said in known.items():
        if not reader.has(key):
            continue
        if reader.is_one_of(key, _DEFAULTS.get(key, ())) or reader.is_empty(key):
            reader.skip(key)
        else:
            reader.note(key, said)


def _rest(reader: Reader) -> None:
    for key in list(reader.left()):
        reader.unknown(key)
