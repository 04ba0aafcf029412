"""The recipe: from what an image is made of to a Dockerfile and the settings beside it. Pure.

Two stages without anything that only BuildKit has: uv and the wheels stay in the first one. The layers are ordered by
how often they change, the models last, so that a new model version rebuilds one layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ROOT = "/opt/reconciler"
VENV = f"{ROOT}/venv"
RUNTIME = f"{ROOT}/runtime"
# Where Azure ML put script and models; old scripts know these paths.
APP_ROOT = "/var/azureml-app"
MODELS = f"{APP_ROOT}/azureml-models"
PORT = 5001
USER = "65532:65532"

LABEL_IDENTITY = "dev.reconciler.image.identity"
LABEL_RECIPE = "dev.reconciler.image.recipe"
LABEL_LOCK = "dev.reconciler.image.lock"
LABEL_RUNTIME = "dev.reconciler.image.runtime"
LABEL_PYTHON = "dev.reconciler.image.python"
# Stands on every layer of a build, so that what a failed one leaves behind is known as ours.
LABEL_STAGE = "dev.reconciler.image.stage"

CONDA = f"{ROOT}/conda"
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_PROBE = (
    "import json,os,platform,shutil,sys;"
    "g=os.confstr('CS_GNU_LIBC_VERSION') if 'CS_GNU_LIBC_VERSION' in os.confstr_names else '';"
    "print(json.dumps({'python':list(sys.version_info[:3]),'glibc':g,'machine':platform.machine(),"
    "'conda':shutil.which('micromamba') or shutil.which('conda'),'java':shutil.which('java')}))"
)
# Where there is no Python, conda may bring one.
_WITHOUT = (
    """printf '{"python": null, "glibc": "%s", "machine": "%s", "conda": "%s", "java": "%s"}\\n' """
    '"$(getconf GNU_LIBC_VERSION 2>/dev/null)" "$(uname -m)" "$(command -v micromamba || command -v conda)" '
    '"$(command -v java)"'
)
# Run in a base image before anything is built on it: what it brings, or why it cannot be used.
PROBE = (
    "sh",
    "-c",
    f'p=$(command -v python3 || command -v python); if [ -n "$p" ]; then exec "$p" -c "{_PROBE}"; else {_WITHOUT}; fi',
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what is in an image.

    Args:
        base: Reference of the base image.
        extra_steps: Dockerfile lines of the user's, run as root before anything of ours is copied.
        script: The entry script, relative to the source.
        models: Paths of the models below `azureml-models`: one gives its folder to the script, several give the root.
        offline: The packages come with the context, unpacked; the build needs no network.
        conda: Command line of the base image's conda that makes the folder `CONDA`, with a Python of its own; empty
            where everything comes from the package index.
        stage: What the layers below the code and the models follow from.
        labels: Of the OCI image spec and ours; none of them decides what is in a layer.
    """

    base: str
    script: str
    models: Sequence[tuple[str, str]]
    extra_steps: str = ""
    offline: bool = False
    conda: Sequence[str] = ()
    stage: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def model_dir(self) -> str:
        """The value of AZUREML_MODEL_DIR, as in Azure ML's v1: one model's own folder, else the folder of all."""
        if len(self.models) != 1:
            return MODELS
        ((name, version),) = self.models
        return f"{MODELS}/{name}/{version}"

    def dockerfile(self) -> str:
        """The text of the Dockerfile; the context holds `build/`, `runtime/`, `code/` and `models/`."""
        install = (
            f"cp -r /build/packages/. {VENV}/lib/python*/site-packages/ && {VENV}/bin/python -m compileall -q {VENV}"
            if self.offline
            else f"/build/uv pip sync --quiet --python {VENV}/bin/python --require-hashes --compile-bytecode "
            "--link-mode copy --no-cache --only-binary :all: --no-binary pyspark /build/requirements.txt"
        )
        python = f"{CONDA}/bin/python" if self.conda else '"$(command -v python3 || command -v python)"'
        environment = {
            "PATH": ":".join([f"{VENV}/bin", *([f"{CONDA}/bin"] if self.conda else []), *_SYSTEM_PATH]),
            "PYTHONPATH": RUNTIME,
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            "HOME": "/tmp",  # noqa: S108 - in the container, where it is the one place that can be written
            "AML_APP_ROOT": APP_ROOT,
            "AZUREML_ENTRY_SCRIPT": self.script,
            "AZUREML_SOURCE_DIRECTORY": APP_ROOT,
            "AZUREML_MODEL_DIR": self.model_dir,
        }
        health = (
            "import os,urllib.request as u;"
            "u.urlopen('http://127.0.0.1:'+os.environ.get('RECONCILER_PORT','5001')+'/health/live',timeout=4)"
        )
        lines = [
            f"FROM {self.base} AS build",
            f"LABEL {LABEL_STAGE}={json.dumps(self.stage)}",
            "USER root",
            *([f"RUN {json.dumps(list(self.conda))}"] if self.conda else []),
            "COPY build/ /build/",
            f"RUN /build/uv venv --quiet --no-project --python {python} {VENV} && {install}",
            f"FROM {self.base}",
            f"LABEL {LABEL_STAGE}={json.dumps(self.stage)}",
            "USER root",
            *([self.extra_steps.rstrip("\n")] if self.extra_steps.strip() else []),
            *([f"COPY --from=build {CONDA} {CONDA}"] if self.conda else []),
            f"COPY --from=build {VENV} {VENV}",
            f"COPY runtime/ {RUNTIME}/",
            f"ENV {_pairs(environment)}",
            f"WORKDIR {APP_ROOT}",
            f"EXPOSE {PORT}",
            f"HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD {json.dumps(['python', '-c', health])}",
            'ENTRYPOINT ["python", "-m", "reconciler.serving"]',
            f'CMD ["--host", "0.0.0.0", "--port", "{PORT}", "--log-format", "json"]',
            f"USER {USER}",
            f"COPY code/ {APP_ROOT}/",
            f"COPY models/ {MODELS}/",
            *([f"LABEL {_pairs(self.labels)}"] if self.labels else []),
        ]
        return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in values.items())
