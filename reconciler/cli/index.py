"""The commands and where they live: all that is loaded before the one that was called."""

from __future__ import annotations

import importlib
from argparse import Namespace
from typing import TYPE_CHECKING, Protocol, cast

from reconciler.core.dataclass import dataclass

if TYPE_CHECKING:
    from reconciler.cli.console import Console
    from reconciler.cli.parser import Parser


class Command(Protocol):
    """What a command's module gives."""

    def configure(self, parser: Parser) -> None:
        """Declares arguments, description and examples."""
        ...

    def run(self, arguments: Namespace, console: Console) -> int:
        """Carries it out; returns the exit code."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: its module below `reconciler.cli.commands`, and its line in the overview."""

    module: str
    summary: str

    def load(self, name: str) -> Command:
        """Imports the command's module; where one holds several commands, the object named like the command."""
        module, _, attribute = self.module.partition(":")
        found = importlib.import_module(f"reconciler.cli.commands.{module}")
        return cast("Command", getattr(found, attribute) if attribute else found)


COMMANDS: dict[str, Entry] = {
    "init": Entry("init", "make a manifest repo that works at once"),
    "validate": Entry("validate", "check manifests; needs no target and no state"),
    "render": Entry("render", "print the manifests that count, and where each value comes from"),
    "plan": Entry("plan", "show what would change, and why"),
    "plan verify": Entry("verify", "check that a saved plan still holds"),
    "comment": Entry("comment", "put a plan into a comment of its pull request"),
    "promote": Entry("promote", "commit another version of a model to the services that serve it"),
    "import azureml": Entry("import_azureml", "write manifests for what Azure ML's v1 command line deployed"),
    "models lock": Entry("models:LOCK", "write down which bytes the addresses of models stand for"),
    "apply": Entry("apply", "make the targets match Git, and wait until they do"),
    "run": Entry("run", "the daemon: watch Git and targets, apply, report"),
    "status": Entry("status", "how the services are"),
    "drift": Entry("drift", "what changed outside of Git"),
    "history": Entry("history", "what was applied, when, and how it ended"),
    "logs": Entry("logs", "a service's log"),
    "score": Entry("score", "send data to a service and print its answer"),
    "keys": Entry("keys", "a service's keys: show, regenerate"),
    "suspend": Entry("suspend:SUSPEND", "stop changing a service"),
    "resume": Entry("suspend:RESUME", "let a suspended service go on"),
    "approve": Entry("approve", "approve a plan that waits for it, or that a rail refused"),
    "approvals": Entry("approvals", "which approvals stand, and who gave them"),
    "import": Entry("importing", "write the manifests of what exists at a target"),
    "destroy": Entry("destroy", "take services away from their targets"),
    "snapshot": Entry("snapshot", "what is observed, signed and without secrets, for planning elsewhere"),
    "schema": Entry("schema", "JSON Schemas of the manifests, for editors"),
    "lock list": Entry("lock:LIST", "who is at work on the state: the lease"),
    "lock release": Entry("lock:RELEASE", "take the lease from a holder that does not give it back"),
    "capacity": Entry("capacity", "how many replicas a load needs, and the autoscaler's settings"),
    "doctor": Entry("doctor", "check this machine and the settings"),
    "completion": Entry("completion", "shell completion for bash, zsh or fish"),
}
