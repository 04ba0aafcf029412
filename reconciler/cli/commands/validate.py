"""`reconciler validate`: every problem of the manifests, with its place."""

from __future__ import annotations

from argparse import Namespace

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.core.problems import errors_of
from reconciler.views import problems as problem_view
from reconciler.views.values import plural


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Check all manifests: syntax, keys, references, files, environments. Needs no target and no state.",
        (
            ("reconciler validate", "this working copy, uncommitted files too"),
            ("reconciler validate --ref HEAD", "the last commit"),
            ("reconciler validate -o json", "for an editor or a pipeline"),
        ),
    )
    parser.add_argument("--strict", action="store_true", help="fail on warnings, too")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Loads, resolves and renders everything, and prints what is wrong."""
    session = Session(arguments)
    try:
        tree = session.tree()
        cache = wiring.document_cache(session.places)
        state = wiring.offline(session.places, session.settings, cache).states.of(tree)
        cache.save()
    finally:
        session.close()
    warnings = [w for desired in state.desired for w in desired.warnings]
    found = list(dict.fromkeys((*state.problems, *state.warnings, *warnings)))
    valid = not (found if arguments.strict else errors_of(found))
    if console.output == "json":
        console.json(
            {
                "kind": "Validation",
                "formatVersion": 1,
                "valid": valid,
                "revision": str(state.revision),
                "services": len(state.services),
                "problems": problem_view.as_json(found),
            }
        )
    else:
        for line in problem_view.text(found, console.style):
            console.line(line)
        services = plural(len(state.services), "service")
        console.line(f"{state.revision.short}: {services}, {problem_view.count_line(found)}")
    return exits.DONE if valid else exits.INVALID
