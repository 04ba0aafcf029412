"""Commands that messages name, with the options of the call that prints them, so that they can be pasted."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from typing import TYPE_CHECKING

from reconciler.core.dataclass import replace

if TYPE_CHECKING:
    from reconciler.core.change import Plan
    from reconciler.engine.summary import Summary

_PLACE = ("settings", "state_dir")
_TAKES = {"approve": _PLACE, "apply": ("repo", "ref", "path", *_PLACE)}
_COMMAND = re.compile(rf"^(\s*)(reconciler ({'|'.join(_TAKES)})\b.*)$", re.MULTILINE)


def pasteable(text: str, given: Namespace) -> str:
    """Text whose lines with a command of ours have the options that `given` has and the command takes."""

    def with_options(found: re.Match[str]) -> str:
        named = {name: getattr(given, name, None) for name in _TAKES[found[3]]}
        options = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in named.items() if value]
        return found[1] + " ".join([found[2], *options])

    return _COMMAND.sub(with_options, text)


def plan_for(plan: Plan, given: Namespace) -> Plan:
    """The plan whose refusals name commands as this caller has to give them."""
    refusals = tuple(
        replace(r, ways=tuple(replace(w, command=pasteable(w.command, given)) for w in r.ways)) for r in plan.refusals
    )
    return replace(plan, refusals=refusals) if refusals else plan


def summary_for(summary: Summary, given: Namespace) -> Summary:
    """The same for how a run ended."""
    refusals = tuple(replace(stop, hint=pasteable(stop.hint, given)) for stop in summary.refusals)
    return replace(summary, refusals=refusals) if refusals else summary
