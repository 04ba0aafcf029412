"""`reconciler render`: the manifests that count in the end, and where each value of them comes from."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source, closest
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, UsageError
from reconciler.core.problems import errors_of
from reconciler.views import problems as problem_view
from reconciler.views.values import masked

if TYPE_CHECKING:
    from reconciler.core.problems import Problem
    from reconciler.core.resources import Desired
    from reconciler.manifests.effective import Effective, Source
    from reconciler.manifests.repo import Repo


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Print the manifests that count: overlays laid over them, defaults and settings of targets folded into the\n"
        "services. Needs no target and no state.",
        (
            ("reconciler render", "every document"),
            ("reconciler render diabetes --env production", "one service there, and what it refers to"),
            ("reconciler render diabetes --explain", "with the line that set each value"),
            ("reconciler render diabetes --resources", "what is wanted at its target"),
            ("reconciler render -o json", "for a pipeline"),
        ),
    )
    parser.add_argument("service", nargs="?", help="only this one, and what it refers to")
    parser.add_argument("--explain", action="store_true", help="say where each value comes from")
    parser.add_argument("--resources", action="store_true", help="print what its driver makes of it instead")
    add_source(parser)
    add_settings(parser)
    add_output(parser, ("yaml", "json"))


def run(arguments: Namespace, console: Console) -> int:
    """Prints documents or resources; problems go to standard error."""
    if arguments.explain and arguments.resources:
        raise UsageError("--explain speaks of manifests, --resources of what is made of them", hint="give one of them")
    session = Session(arguments)
    try:
        return (_resources if arguments.resources else _manifests)(arguments, console, session)
    finally:
        session.close()


def _manifests(arguments: Namespace, console: Console, session: Session) -> int:
    from reconciler.manifests.load import load
    from reconciler.manifests.overlays.environment import in_environment

    tree = session.tree()
    cache = wiring.document_cache(session.places)
    repo = in_environment(load(tree, cache), session.environment, cache).repo
    cache.save()
    documents = list(_documents(repo, arguments.service))
    head = _head(session, tree.revision.short)
    if console.output == "json":
        data: dict[str, Any] = {"documents": [document.value for document in documents]}
        if arguments.explain:
            data["sources"] = [_source(d, pointer, source) for d in documents for pointer, source in d.sources()]
        console.json({"kind": "Manifests", "formatVersion": 1, **head, **data})
    else:
        console.write(_yaml(head, ((d.value, _comment(d) if arguments.explain else None) for d in documents)))
    return _told(repo.problems, console)


def _documents(repo: Repo, service: str | None) -> Iterator[Effective]:
    from reconciler.manifests.effective import effective, effective_service

    if service is None:
        yield from effective(repo)
        return
    if service not in repo.services:
        if ("Service", service) in repo.broken:
            raise InvalidError(f"the manifest of service {service!r} cannot be used", problems=errors_of(repo.problems))
        known = ", ".join(sorted(repo.services)[:10]) or "none"
        raise UsageError(
            f"there is no service {service!r}", hint=closest(service, repo.services) or f"there are {known}"
        )
    found = effective_service(repo, service)
    yield found
    spec: Mapping[str, Any] = found.value["spec"]
    needed = {("Target", spec["target"]), ("InferenceConfig", spec["inference"])}
    needed |= {("Model", reference["name"]) for reference in spec.get("models", ())}
    yield from (document for document in effective(repo, services=False) if (document.kind, document.name) in needed)


def _resources(arguments: Namespace, console: Console, session: Session) -> int:
    tree = session.tree()
    cache = wiring.document_cache(session.places)
    state = wiring.offline(session.places, session.settings, cache, session.environment).states.of(tree)
    cache.save()
    chosen: Sequence[Desired] = state.desired
    if arguments.service is not None:
        if arguments.service not in state.services:
            names = sorted(state.services)
            hint = closest(arguments.service, names) or f"there are {', '.join(names[:10]) or 'none'}"
            raise UsageError(f"there is no service {arguments.service!r}", hint=hint)
        own = [desired for desired in chosen if desired.service == arguments.service]
        needed = {id_ for desired in own for id_ in desired.depends_on}
        chosen = [*(desired for desired in chosen if desired.id in needed), *own]
    head = _head(session, tree.revision.short)
    found = [_resource(desired) for desired in chosen]
    if console.output == "json":
        console.json({"kind": "Resources", "formatVersion": 1, **head, "resources": found})
    else:
        console.write(_yaml(head, ((resource, None) for resource in found)))
    return _told(state.problems, console)


def _resource(desired: Desired) -> dict[str, Any]:
    data: dict[str, Any] = {"resource": str(desired.id)}
    if desired.service:
        data["service"] = desired.service
    if desired.depends_on:
        data["dependsOn"] = [str(needed) for needed in desired.depends_on]
    return {**data, "spec": masked(desired.spec)}


def _head(session: Session, revision: str) -> dict[str, str]:
    return {"revision": revision, "environment": session.environment}


def _yaml(head: Mapping[str, str], documents: Any) -> str:
    from reconciler.manifests.writing import to_yaml

    where = f" in {head['environment']}" if head["environment"] else ""
    parts = [f"# {head['revision']}{where}\n"]
    for value, comment in documents:
        parts.append("---\n" + (to_yaml(value, comment) if comment else to_yaml(value)))
    return "".join(parts)


def _comment(document: Effective) -> Any:
    def said(pointer: str) -> str:
        source = document.source(pointer)
        return _in_words(document, source) if source is not None else ""

    return said


def _in_words(document: Effective, source: Source) -> str:
    if source.position is None:
        return "built in"
    plain = source.document == document.subject or source.layer.value == "defaults"
    return f"{source.position} {source.layer.value}{'' if plain else f' ({source.document})'}"


def _source(document: Effective, pointer: str, source: Source) -> dict[str, Any]:
    data: dict[str, Any] = {"resource": document.subject, "pointer": pointer, "layer": source.layer.value}
    if source.document:
        data["document"] = source.document
    if source.overlay:
        data["overlay"] = source.overlay
    if source.position is not None:
        data |= {"file": source.position.file, "line": source.position.line, "column": source.position.column}
    return data


def _told(problems: Sequence[Problem], console: Console) -> int:
    for line in problem_view.text(problems, console.error_style):
        console.note(line)
    return exits.INVALID if errors_of(problems) else exits.DONE
