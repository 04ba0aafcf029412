"""`reconciler plan verify`: whether a saved plan still holds; for merge queues."""

from __future__ import annotations

from argparse import Namespace

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings
from reconciler.cli.saved import take_up, what_is_left
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, PlanChangedError
from reconciler.core.problems import errors_of
from reconciler.views import plan_json
from reconciler.views.plan_difference import beside
from reconciler.views.values import plural, printable


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Check that a saved plan still holds: its commit is still the newest, and looking at the targets again, every\n"
        "action means the same. Nothing is changed.",
        (
            ("reconciler plan verify plan.json", "0: apply --plan would do just that; 14: it would not, and why"),
            ("reconciler plan verify plan.json -o json", "the difference as data, for a merge queue"),
        ),
    )
    parser.add_argument("file", metavar="FILE", help="what `reconciler plan --out FILE` saved")
    group = parser.common
    group.add_argument("--repo", metavar="PATH|URL", help="the manifest repo (default: as for `plan`)")
    group.add_argument("--path", metavar="FOLDER", help="the manifest folder in the repo (default: as for `plan`)")
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Looks again and compares."""
    session = Session(arguments)
    try:
        saved = take_up(arguments.file, session)
        look = session.installation().reconciler.look(holds=False)
        plan = look.plan
        wrong = errors_of(plan.problems)
        if wrong:
            raise InvalidError("the plan cannot be applied: some manifests have errors", problems=wrong)
        differences = []
        try:
            _, found = what_is_left(saved, look)
        except PlanChangedError as error:
            if console.output != "json":
                raise
            differences, found = error.differences, None
    finally:
        session.close()
    if console.output == "json":
        console.json(
            {
                "kind": "PlanVerification",
                "formatVersion": 1,
                "same": not differences,
                "digest": saved.reviewed.digest,
                "revision": saved.document["revision"],
                "differences": differences,
                "done": [str(id_) for id_ in found.done] if found else [],
                "beside": [str(id_) for id_ in found.beside] if found else [],
            }
        )
        return exits.DONE if not differences else exits.STALE
    assert found is not None
    if found.beside:
        console.line("Also to be done now, and left to another plan:")
        for line in beside(found, plan_json.as_json(plan), console.style):
            console.line(line)
    actions = plural(len(saved.reviewed.actions), "action")
    done = f", {len(found.done):,} of them done already" if found.done else ""
    console.line(f"{printable(arguments.file)} still holds: {actions} at {printable(plan.revision.short)}{done}.")
    return exits.DONE
