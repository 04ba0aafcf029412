"""What an import wrote, what it could not say, and what is to be done next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reconciler.core.change import Action
from reconciler.core.described import told
from reconciler.core.resources import Health
from reconciler.core.values import to_json, without_secrets
from reconciler.views.plan_text import field_lines
from reconciler.views.style import PLAIN, Style
from reconciler.views.values import printable

if TYPE_CHECKING:
    from reconciler.core.proposal import Proposal

_NOT_WELL = (Health.DEGRADED, Health.SUSPENDED, Health.MISSING)


def text(proposal: Proposal, style: Style = PLAIN) -> str:
    """What was written, and all there is to say about it."""
    lines = [f"{style.paint('Imported', 'bold')} {proposal.id} as service {printable(proposal.service)}", ""]
    lines += [f"  {printable(file.path)}" for file in proposal.files]
    if proposal.uses:
        lines.append(f"  served by InferenceConfig {printable(proposal.uses)}, which is there already")
    return "\n".join([*lines, *notes(proposal, style)]) + "\n"


def files(proposal: Proposal) -> str:
    """The manifests, one after the other; of other files the names."""
    parts: list[str] = []
    for file in proposal.files:
        if file.path.endswith((".yaml", ".yml")) and file.path.startswith("services/"):
            parts.append(f"# {file.path}\n{file.data.decode()}")
        else:
            parts.append(f"# {file.path}: {len(file.data):,} bytes\n")
    return "".join(parts)


def notes(proposal: Proposal, style: Style = PLAIN) -> Iterator[str]:
    """What no manifest can say, what has to be done first, and what a plan says then."""
    if proposal.unsaid:
        yield ""
        yield f"{style.paint('Not said', 'bold')} in the manifests:"
        yield from (f"  {printable(line)}" for line in told(proposal.unsaid))
    observed = proposal.described.observed
    if observed.health in _NOT_WELL:
        yield ""
        yield f"It is {observed.health.value}: {printable(observed.reason.splitlines()[0])}"
    steps = [*proposal.described.steps, *_of_secrets(proposal)]
    if steps:
        yield ""
        yield f"{style.paint('First', 'bold')}:"
        yield from (f"  {number}. {printable(step)}" for number, step in enumerate(steps, 1))
    yield ""
    yield _then(proposal)
    if not proposal.exact:
        yield from (f"  {line}" for line in differences(proposal))


def differences(proposal: Proposal) -> list[str]:
    """What a plan would change, and why else it would not be empty."""
    found = [line.strip() for line in field_lines(proposal.differences)]
    found += [problem.message + (f" ({problem.hint})" if problem.hint else "") for problem in proposal.problems]
    found += [refusal.message for refusal in proposal.made.refusals]
    if not found and proposal.change is None:
        found.append("it is not planned for")
    return found


def refusal(proposal: Proposal) -> str:
    """Why it is not imported, in lines."""
    why = "the manifests cannot be used here yet" if proposal.problems else "applying manifests would change it"
    lines = [*differences(proposal), *map(printable, told(proposal.described.unsaid))]
    return "\n  ".join([f"{proposal.id} is not imported, since {why}:", *lines])


def _of_secrets(proposal: Proposal) -> Iterator[str]:
    for name, ref in sorted(proposal.references.items()):
        yield (
            f"let manifests refer to {ref.name} (secrets.envPrefixes in the settings), and set it, where reconciler "
            f"runs, to what {name} is there"
        )


def _then(proposal: Proposal) -> str:
    change = proposal.change
    if not proposal.exact or change is None:
        return "Then `reconciler plan` would still change:"
    if change.action is Action.NOOP:
        return "Then `reconciler plan` has nothing to do for it."
    if change.action is Action.CREATE:
        return "It does not run: `reconciler plan` then says to start it, as it was."
    return "Then `reconciler plan` says to adopt it and changes nothing of it; `reconciler apply` makes it ours."


def as_json(proposal: Proposal, *, written: bool) -> dict[str, Any]:
    """The same for programs."""
    change = proposal.change
    return {
        "kind": "Import",
        "formatVersion": 1,
        "resource": str(proposal.id),
        "service": proposal.service,
        "inference": proposal.uses or proposal.service,
        "written": written,
        "exact": proposal.exact,
        "action": change.action.value if change is not None else None,
        "files": [
            {"path": file.path, "bytes": len(file.data), **({"text": file.data.decode()} if _shown(file.path) else {})}
            for file in proposal.files
        ],
        "unsaid": [{"what": each.what, "effect": each.effect} for each in proposal.unsaid],
        "secrets": [
            {"variable": name, "source": ref.source, "name": ref.name}
            for name, ref in sorted(proposal.references.items())
        ],
        "steps": [*proposal.described.steps, *_of_secrets(proposal)],
        "differences": [{"pointer": each.pointer, **_sides(each.before, each.after)} for each in proposal.differences],
        "problems": [{"code": each.code, "message": each.message, "hint": each.hint} for each in proposal.problems],
    }


def _shown(path: str) -> bool:
    return path.startswith("services/")


def _sides(before: Any, after: Any) -> dict[str, Any]:
    sides = {"before": before, "after": after}
    return {name: to_json(without_secrets(value)) for name, value in sides.items() if str(value) != "(absent)"}
