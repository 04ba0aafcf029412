"""`reconciler validate`: every problem of the manifests, with its place."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.annotating import annotate, annotating
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_annotations, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.core.dataclass import replace
from reconciler.core.problems import Problem, Severity, errors_of
from reconciler.views import problems as problem_view
from reconciler.views.values import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.contents import Tree
    from reconciler.engine.desired import DesiredState
    from reconciler.manifests.cache import DocumentCache


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Check all manifests: syntax, keys, references, files, environments. Needs no target and no state.\n"
        "They are checked as they are and in every environment, or with --env in that one.",
        (
            ("reconciler validate", "this working copy, uncommitted files too"),
            ("reconciler validate --ref HEAD", "the last commit"),
            ("reconciler validate --env production", "one environment"),
            ("reconciler validate -o json", "for an editor or a pipeline"),
            ("reconciler validate --annotations github", "problems beside the files of a pull request"),
        ),
    )
    parser.add_argument("--strict", action="store_true", help="fail on warnings, too")
    add_annotations(parser)
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Loads, resolves and renders everything, and prints what is wrong."""
    session = Session(arguments)
    try:
        with annotating(session, console):
            tree = session.tree()
            cache = wiring.document_cache(session.places)
            names = [arguments.env] if arguments.env is not None else _environments(tree, cache)
            states = {name: _state(session, tree, cache, name) for name in names}
            cache.save()
        found = _problems(states)
        annotate(found, session, console)
    finally:
        session.close()
    valid = not (found if arguments.strict else errors_of(found))
    first, services = states[names[0]], max(len(state.services) for state in states.values())
    if console.output == "json":
        console.json(
            {
                "kind": "Validation",
                "formatVersion": 1,
                "valid": valid,
                "revision": str(first.revision),
                "services": services,
                "environments": [name for name in names if name],
                "problems": problem_view.as_json(found),
            }
        )
    else:
        for line in problem_view.text(found, console.style):
            console.line(line)
        named = [name for name in names if name]
        where = f" in {plural(len(named), 'environment')} ({', '.join(named)})" if named else ""
        counted = problem_view.count_line(found)
        console.line(f"{first.revision.short}: {plural(services, 'service')}{where}, {counted}")
    return exits.DONE if valid else exits.INVALID


def _environments(tree: Tree, cache: DocumentCache) -> list[str]:
    """The manifests as they are, then every environment, those whose overlay cannot be used too."""
    from reconciler.manifests.load import load

    repo = load(tree, cache)
    broken = {name for kind, name in repo.broken if kind == "Overlay" and name}
    return ["", *sorted(broken | repo.overlays.keys())]


def _state(session: Session, tree: Tree, cache: DocumentCache, environment: str) -> DesiredState:
    return wiring.offline(session.places, session.settings, cache, environment).states.of(tree)


def _problems(states: Mapping[str, DesiredState]) -> list[Problem]:
    """Every problem once; what is wrong in some environments alone says in which."""
    where: dict[Problem, list[str]] = {}
    for name, state in states.items():
        rendering = (warning for desired in state.desired for warning in desired.warnings)
        for problem in dict.fromkeys((*state.problems, *state.warnings, *rendering)):
            where.setdefault(problem, []).append(name)
    found: list[Problem] = []
    for problem, names in where.items():
        # What is wrong with an overlay is an error where that is chosen, and only a warning elsewhere.
        if replace(problem, severity=Severity.ERROR) in where and problem.severity is Severity.WARNING:
            continue
        if "" in names or problem.subject == f"Overlay/{names[0]}":
            found.append(problem)
        else:
            found.append(replace(problem, message=f"{problem.message} (in {', '.join(names)})"))
    return found
