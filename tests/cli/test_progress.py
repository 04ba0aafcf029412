"""Progress lines and how a run's end is told."""

from __future__ import annotations

import io

import pytest

from reconciler.cli import ending
from reconciler.cli.console import Console
from reconciler.cli.progress import Progress
from reconciler.core.change import Action, Step
from reconciler.core.resources import ResourceId
from reconciler.engine.lifecycle import State
from reconciler.engine.progress import ProgressEvent
from reconciler.engine.summary import Step as Done
from reconciler.engine.summary import Stop, Summary

ID = ResourceId("laptop", "process", "diabetes")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def event(state: State, text: str = "", seconds: float = 0.0) -> ProgressEvent:
    """Something that happened to one change."""
    return ProgressEvent(ID, Action.UPDATE, Step.STAGE, state, text, seconds)


def test_piped_progress_is_lines() -> None:
    """Without a terminal, each thing said is one line, said once."""
    err = io.StringIO()
    progress = Progress(Console(err=err, out=io.StringIO()), clock=lambda: 0.0)
    progress(event(State.CALLING))
    progress(event(State.IN_PROGRESS, "starting"))
    progress(event(State.IN_PROGRESS, "starting"))
    progress(event(State.DONE, seconds=1.5))
    progress.close()
    assert err.getvalue() == "  ~ laptop/diabetes  stage: in progress  starting\n  ~ laptop/diabetes  done (1.5 s)\n"


def test_a_terminal_shows_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, one line is drawn over and over and is gone at the end."""
    monkeypatch.setenv("TERM", "xterm")
    err, now = Terminal(), iter(range(1000))
    progress = Progress(Console(err=err, out=io.StringIO(), plain=True), clock=lambda: float(next(now)))
    progress(event(State.CALLING))
    progress(event(State.DONE))
    progress.close()
    assert "\r\x1b[2K  … laptop/diabetes stage" in err.getvalue()
    assert err.getvalue().endswith("\r\x1b[2K  ~ laptop/diabetes  done\n")


def test_text_from_targets_is_harmless() -> None:
    """What a target says cannot command the terminal."""
    err = io.StringIO()
    Progress(Console(err=err, out=io.StringIO()))(event(State.FAILED, "bad\x1b[2J\nlast line"))
    assert "\x1b" not in err.getvalue()
    assert "\n      last line\n" in err.getvalue()


def summary(**changes: object) -> Summary:
    """An end, with a failure, a skip, a refusal and a block."""
    given = {
        "outcome": "partly",
        "revision": f"main@sha1:{'9c41f02' + '0' * 33}",
        "digest": "d" * 64,
        "exit_code": 16,
        "changes": (
            Done(str(ID), "update", "failed", "diabetes", "test one-patient: status 500", "tests-failed", "see logs"),
            Done("laptop/process/iris", "create", "done", "iris"),
        ),
        "refusals": (Stop("", "too-many-deletes", "too many", "look\nto go on:\n  reconciler approve 1"),),
        "blocked": (Stop("edge/module/x", "blocked", "target edge cannot be seen"),),
        "unseen": {"edge": "timed out"},
    }
    return Summary(**{**given, **changes})  # type: ignore[arg-type]


def test_the_end_of_a_run() -> None:
    """What failed, what was refused with each way on, what was not done or seen, and one sentence."""
    assert list(ending.text(summary())) == [
        "failed: update laptop/diabetes: test one-patient: status 500 [tests-failed]",
        "  see logs",
        "refused: too many [too-many-deletes]",
        "  look",
        "  to go on:",
        "    reconciler approve 1",
        "not done: edge/module/x: target edge cannot be seen",
        "not seen: target edge was not wholly seen: timed out",
        "Applied main@9c41f02: 1 change done, 1 failed.",
    ]


def test_other_ends() -> None:
    """Interrupted, out of time, nothing to do, nothing done, destroyed: each has its sentence."""
    nothing = {"changes": (), "refusals": (), "blocked": ()}
    assert ending.sentence(summary(cancelled="interrupted")).startswith("Stopped (interrupted): 1 change done")
    assert ending.sentence(summary(timed_out=True, **nothing)).startswith("Not done in the time given: nothing begun.")
    assert ending.sentence(summary(**nothing)) == "main@9c41f02: nothing to do."
    assert ending.sentence(summary(changes=())) == "main@9c41f02: nothing done."
    assert ending.sentence(summary(), deleting=True) == "Destroyed: 1 change done, 1 failed."
