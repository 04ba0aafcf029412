"""Environments from the configured package index: the seed case, pins without wheels."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.artifacts.environments.driver import EnvironmentsDriver
from reconciler.artifacts.environments.machine import Machine, find_machine
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.deployment import Environment, File
from reconciler.core.errors import TerminalError
from reconciler.core.resources import Health

from .conftest import Bench, conda

SEED = Path(__file__).parent / "cases" / "seed.yml"
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def driver(bench: Bench) -> EnvironmentsDriver:
    """A driver as the daemon has it, with this machine's indexes, Pythons and cache."""
    made = EnvironmentsDriver.on_this_machine(bench.state, EnvironmentSettings(), os.environ)
    bench.drivers.append(made)
    bench.patience = 500.0
    return made


def test_seed_case_with_real_packages(bench: Bench) -> None:
    """The first v1 user's file gives an environment in which the decorators and scikit-learn can be imported."""
    environment = Environment(conda_file=File("inference/conda.yml", "", SEED.read_bytes()))
    built = bench.build(driver(bench), environment)
    assert built.health is Health.HEALTHY
    code = (
        "import sklearn, starlette, uvicorn, httptools, uvloop\n"
        "from inference_schema.schema_decorators import input_schema\n"
        "from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType\n"
    )
    subprocess.run([str(built.outputs["python"]), "-I", "-c", code], check=True)
    assert list(Path(str(built.outputs["path"])).glob("lib/python*/site-packages/sklearn/__pycache__/*.pyc"))


def test_pins_without_wheels(bench: Bench) -> None:
    """A pin from the days of Python 3.6 says that it has no wheel, where it stands and what to do."""
    made = driver(bench)
    environment = conda("dependencies:\n- python=3.6.2\n- scikit-learn==0.20.3\n")
    with pytest.raises(TerminalError, match=r"inference/conda.yml:3:3: scikit-learn==0.20.3") as caught:
        bench.settle(made, bench.change(made, environment))
    assert "raise the pin" in caught.value.hint


def test_another_python(bench: Bench) -> None:
    """A declared Python other than reconciler's own is used where the machine has one."""
    machine = find_machine(os.environ, EnvironmentSettings())
    others = [item for item in machine.interpreters if item.minor != machine.interpreters[0].minor]
    other = [*others, machine.interpreters[0]][0]
    made = EnvironmentsDriver(
        bench.state, EnvironmentSettings(), lambda: Machine(machine.interpreters), os.environ, lambda _: ()
    )
    bench.drivers.append(made)
    bench.patience = 500.0
    built = bench.build(made, replace(conda("dependencies: [six]"), python=other.short))
    assert str(built.outputs["pythonVersion"]).startswith(other.short)
