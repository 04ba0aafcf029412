"""What a declared environment is as a resource: what the plan shows of it, and what has to be built.

It follows from the declared inputs, the Pythons of this machine and the operator's settings. All of it is remembered
where there is a memory: reading requirements takes longer than a plan of a thousand services that share them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.artifacts.environments.interpreters import Interpreter
from reconciler.artifacts.environments.machine import SPARK, Machine
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.deployment import ENVIRONMENTS_TARGET, Deployment, Environment
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.memory import ByIdentity, Facts
from reconciler.core.problems import Position, Problem, Severity, errors_of
from reconciler.core.resources import Desired
from reconciler.core.values import digest

KIND = "environment"
_FACT = "environment"
_REMEMBERED = 4096


class EnvironmentRenderer:
    """Implements `core.driver.Renderer` for `registry/environments`.

    Args:
        find_machine: Finds the machine's Pythons and Java; called when first needed.
        facts: Remembers what environments were rendered to, between runs.
    """

    def __init__(
        self, settings: EnvironmentSettings, find_machine: Callable[[], Machine], facts: Facts | None = None
    ) -> None:
        self._settings = settings
        self._find_machine = find_machine
        self._facts = facts
        self._machine: Machine | None = None
        self._desired: dict[Environment, Desired] = {}
        self._same = ByIdentity(self._equal)

    @property
    def target(self) -> str:
        """The built-in target's name."""
        return ENVIRONMENTS_TARGET

    @property
    def capabilities(self) -> Capabilities:
        """Environments are retained after their last use and never changed in place but to repair them."""
        return Capabilities(
            kinds=frozenset({KIND}),
            retained=frozenset({KIND}),
            parallel=self._settings.parallel,
            deadline_seconds=self._settings.build_seconds + 60.0,
        )

    def surroundings(self) -> Mapping[str, Any]:
        """This machine's Pythons and Java, of which a plan tells, and whether others may take their place."""
        return {
            "pythons": [".".join(map(str, one.version)) for one in self.machine.interpreters],
            "java": self.machine.java is not None,
            "allowPythonOverride": self._settings.allow_python_override,
        }

    @classmethod
    def elsewhere(cls, surroundings: Mapping[str, Any], facts: Facts | None = None) -> EnvironmentRenderer:
        """One that renders as the one does that told of these surroundings.

        Raises:
            InvalidError: They are none.
        """
        try:
            pythons = [tuple(int(part) for part in str(text).split(".")) for text in surroundings.get("pythons", ())]
        except (TypeError, ValueError) as exc:
            raise InvalidError("the versions of Python that environments are made of cannot be read") from exc
        nowhere = Path(os.devnull)
        found = tuple(Interpreter(version, nowhere) for version in pythons)
        machine = Machine(found, nowhere if surroundings.get("java") else None)
        settings = EnvironmentSettings(allow_python_override=bool(surroundings.get("allowPythonOverride", True)))
        return cls(settings, lambda: machine, facts)

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The environment a deployment declares.

        Raises:
            InvalidError: Its files ask for what cannot be had; every problem with its position.
        """
        return [self._same[deployment.environment]]

    def render_environment(self, environment: Environment) -> Desired:
        """One declared environment as a resource; see `render`."""
        return self._same[environment]

    def _equal(self, environment: Environment) -> Desired:
        known = self._desired.get(environment)
        if known is None:
            known = self._remembered(environment)
            if len(self._desired) >= _REMEMBERED:
                self._desired.clear()
            self._desired[environment] = known
        return known

    def _remembered(self, environment: Environment) -> Desired:
        if self._facts is None:
            return self._render(environment)
        key = _key(environment, self.machine, self._settings)
        known = self._facts.fact(_FACT, key)
        if known is not None:
            return _desired(environment, *known)
        made = self._render(environment)
        warnings = [_packed(warning) for warning in made.warnings]
        spec = made.spec
        self._facts.remember(_FACT, key, (spec["python"], spec["requirements"], made.summary, warnings))
        return made

    @property
    def machine(self) -> Machine:
        """This machine, as it was when it was first needed or last built on."""
        if self._machine is None:
            self._machine = self._find_machine()
        return self._machine

    def _render(self, environment: Environment) -> Desired:
        # Imported here, since a run in which no environment changed does without reading requirements.
        from reconciler.artifacts.environments.declared import declared
        from reconciler.artifacts.environments.python import choose

        asked = declared(environment)
        choice = choose(
            asked.python or "",
            self.machine.interpreters,
            allow_override=self._settings.allow_python_override,
            position=asked.python_position,
        )
        found = [*asked.problems, *([choice.problem] if choice.problem else [])]
        if errors := errors_of(found):
            count = f"{len(errors)} problems" if len(errors) > 1 else "a problem"
            raise InvalidError(f"the environment cannot be built: {count}", problems=errors)
        warnings = [problem for problem in found if problem.severity is Severity.WARNING]
        if environment.runtime == SPARK and self.machine.java is None:
            warnings.append(
                Problem(
                    "java-missing",
                    "the runtime spark-py needs a Java runtime, and this machine has none",
                    environment.position,
                    "install one (Java 17 or later) so that 'java -version' works",
                    severity=Severity.WARNING,
                )
            )
        gave_way = [note.message for note in asked.notes if note.code == "package-gives-way"]
        count = len(asked.requirements)
        words = f"python {choice.version}, {count} requirement{'' if count == 1 else 's'}"
        lines = [item.line for item in asked.requirements]
        packed = [_packed(warning) for warning in warnings]
        return _desired(environment, asked.python or "", lines, "; ".join([words, *gave_way]), packed)


def _desired(environment: Environment, python: str, lines: list[str], summary: str, warnings: list[Any]) -> Desired:
    return Desired(
        environment.id,
        {
            "identity": environment.identity,
            "python": python,
            "runtime": environment.runtime,
            "requirements": lines,
            "rawRequests": environment.raw_requests,
            "built": True,
        },
        summary=summary,
        warnings=tuple(_unpacked(*warning) for warning in warnings),
    )


def _key(environment: Environment, machine: Machine, settings: EnvironmentSettings) -> str:
    """The digest of everything that `_render` depends on."""
    files = [file.path if file else None for file in (environment.conda_file, environment.requirements_file)]
    pythons = [[list(interpreter.version), str(interpreter.path)] for interpreter in machine.interpreters]
    java = environment.runtime == SPARK and machine.java is None
    at = _place(environment.position)
    return digest([environment.identity, files, at, pythons, java, settings.allow_python_override])


def _packed(problem: Problem) -> tuple[Any, ...]:
    severity = problem.severity.value
    return problem.code, problem.message, _place(problem.position), problem.hint, problem.subject, severity


def _unpacked(code: str, message: str, at: list[Any] | None, hint: str, subject: str, severity: str) -> Problem:
    return Problem(code, message, Position(*at) if at is not None else None, hint, subject, Severity(severity))


def _place(position: Position | None) -> tuple[str, int, int] | None:
    return (position.file, position.line, position.column) if position is not None else None
