"""Everything a declared environment asks for: its files and lists together, as one normal form. Pure."""

from __future__ import annotations

from functools import lru_cache

from reconciler.artifacts.environments.conda import parse_conda_file
from reconciler.artifacts.environments.machine import SPARK
from reconciler.artifacts.environments.python import specifiers_of
from reconciler.artifacts.environments.requirements import (
    Requirement,
    Requirements,
    parse_lines,
    parse_requirements_file,
)
from reconciler.core.deployment import Environment
from reconciler.core.problems import Problem

RUNTIMES = ("python", SPARK)

# What the scoring runtime imports. Raising a floor here calls for another ENVIRONMENT_RECIPE: locks that were recorded
# before are kept for ever.
RUNTIME_REQUIREMENTS = ("anyio>=4.9", "starlette>=0.49.1", "uvicorn>=0.51")
SPEED_REQUIREMENTS = ("httptools>=0.6.4", "uvloop>=0.21")
RAW_REQUIREMENTS = ("werkzeug>=3.1",)
# The first with the records that `serving.insights` makes; all of its versions are called betas.
TELEMETRY_REQUIREMENTS = ("azure-monitor-opentelemetry-exporter>=1.0.0b46",)


@lru_cache(maxsize=1024)
def declared(environment: Environment, *, conda: bool = False) -> Requirements:
    """The user's requirements, sorted, each once, and the declared Python as specifiers ("" for any).

    Args:
        conda: Whether there is a conda for what only conda has.
    """
    listed = parse_lines((line, environment.position) for line in environment.requirements)
    result = _python(environment) + listed
    if environment.requirements_file:
        result += parse_requirements_file(environment.requirements_file)
    if environment.conda_file:
        result += parse_conda_file(environment.conda_file, conda=conda)
    if environment.telemetry:
        result += parse_lines((line, environment.position) for line in TELEMETRY_REQUIREMENTS)
    if environment.runtime not in RUNTIMES:
        known = " and ".join(RUNTIMES)
        message = f"there is no runtime '{environment.runtime}', only {known}"
        result += Requirements(problems=(Problem("unknown-runtime", message, environment.position),))
    requirements = list(result.requirements)
    if environment.runtime == SPARK and not any(item.name == "pyspark" for item in requirements):
        requirements.append(Requirement("pyspark", "pyspark", environment.position))
    schema = [item for item in requirements if item.name == "inference-schema" and item.text != "inference-schema"]
    unique = {item.line: item for item in reversed(requirements) if not (schema and item.text == "inference-schema")}
    return Requirements(
        result.python or "",
        tuple(unique[line] for line in sorted(unique)),
        tuple(dict.fromkeys(result.problems)),
        tuple(dict.fromkeys(result.notes)),
        result.python_position or environment.position,
        tuple({item.text: item for item in sorted(result.conda, key=lambda item: item.text)}.values()),
        tuple(dict.fromkeys(result.channels)),
    )


def _python(environment: Environment) -> Requirements:
    if not environment.python:
        return Requirements()
    try:
        return Requirements(specifiers_of(environment.python), python_position=environment.position)
    except ValueError as exc:
        problem = Problem("python-invalid", str(exc), environment.position, "write 3.12, or >=3.11,<3.13")
        return Requirements(problems=(problem,))
