"""What a run tells those who watch it, and what it leaves behind of each change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from reconciler.core.change import Action, Step
from reconciler.core.dataclass import dataclass
from reconciler.core.resources import ResourceId
from reconciler.engine.lifecycle import State


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """A change moved on; `text` is for people and holds no secrets."""

    id: ResourceId
    action: Action
    step: Step
    state: State
    text: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        words = {"action": self.action.value, "step": self.step.value, "state": self.state.value}
        return {"id": str(self.id), **words, "text": self.text, "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProgressEvent:
        """The inverse of `to_json`."""
        return cls(
            ResourceId.parse(data["id"]),
            Action(data["action"]),
            Step(data["step"]),
            State(data["state"]),
            str(data["text"]),
            float(data["seconds"]),
        )


Progress: TypeAlias = Callable[[ProgressEvent], None]


@dataclass(frozen=True, slots=True)
class Result:
    """How one change ended.

    Args:
        reason: Why it failed, was skipped or was not attempted.
        code: The error's code (`tests-failed`, `conflict`, …); empty if done.
        steps: The steps carried out, `discard` included.
        seconds: From its first call to its end.
        before: The name that its service had before, where the change moves it.
    """

    id: ResourceId
    action: Action
    state: State
    service: str = ""
    reason: str = ""
    code: str = ""
    hint: str = ""
    steps: tuple[Step, ...] = ()
    seconds: float = 0.0
    spec_digest: str = ""
    before: str = ""
