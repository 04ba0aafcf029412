"""`reconciler promote`: a commit that makes services serve another version of a model."""

from __future__ import annotations

import difflib
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source, closest
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, UsageError
from reconciler.core.problems import errors_of
from reconciler.views.values import printable

if TYPE_CHECKING:
    from reconciler.core.contents import Tree
    from reconciler.manifests.overlays.environment import Environment
    from reconciler.manifests.promotion import Promotion, Reference
    from reconciler.manifests.resolve import Resolution
    from reconciler.source.local import LocalSource

LATEST = "latest"


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Change which version of a model services serve, as a commit: on the branch that is checked out, or with\n"
        "--branch on a new one. Only the versions change; comments, quotes and anchors of the files stay. With --env\n"
        "the environment's overlay is changed, else the manifests. What follows `latest` is left alone, unless it is\n"
        "named with --service.",
        (
            ("reconciler promote diabetes-ridge --to 3", "in all services that name a version of it"),
            ("reconciler promote diabetes-ridge --to 3 --env production", "in one environment"),
            ("reconciler promote diabetes-ridge --to 3 --branch promote-3 --push", "for a pull request"),
            ("reconciler promote diabetes-ridge --to 3 --dry-run", "only show the difference"),
        ),
    )
    parser.add_argument("model", help="its name")
    parser.add_argument("--to", metavar="VERSION", required=True, type=version, help="a number, or `latest`")
    parser.add_argument("--service", metavar="NAME", action="append", help="only this service; may be given again")
    parser.add_argument("--branch", metavar="NAME", help="make this branch and commit there; nothing else is touched")
    parser.add_argument("--push", action="store_true", help="push the branch")
    parser.add_argument("--remote", default="origin", help="where to push (default: origin)")
    parser.add_argument("-m", "--message", help="the commit's message (default: says what changed)")
    parser.add_argument("--dry-run", action="store_true", help="show the difference, write nothing")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def version(text: str) -> int | str:
    """A model's version.

    Raises:
        ArgumentTypeError: It is none (argparse makes a usage error of it).
    """
    if text == LATEST:
        return text
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    raise ArgumentTypeError(f"{text!r} is no version: a number from 1 on, or latest")


def run(arguments: Namespace, console: Console) -> int:
    """Finds what must change, shows it, commits it."""
    session = Session(arguments)
    try:
        return _promote(arguments, console, session)
    finally:
        session.close()


def _promote(arguments: Namespace, console: Console, session: Session) -> int:
    from reconciler.source.commit import Committing, in_repository
    from reconciler.source.person import person

    source = _local(session, arguments)
    tree = source.tree(source.fetch(arguments.ref or "HEAD"))
    before, resolution = _state(tree, session)
    _known(before, resolution, arguments)
    found = _found(tree, before, arguments)
    files = {in_repository(source, path): data for path, data in found.files.items()}
    committing = None
    if files and not arguments.dry_run:
        committing = Committing(source, person(source.git))
        committing.refuse_uncommitted(files)
        if arguments.branch:
            committing.refuse_taken(arguments.branch)
    sha = ""
    if committing is not None:
        made = {in_repository(source, path): _edit(found, path) for path in found.files}
        text = arguments.message or message(arguments.model, arguments.to, before.name, found)
        sha = committing.commit(tree.revision.sha, made, text, arguments.branch)
        if arguments.push:
            committing.push(arguments.branch or tree.revision.ref, arguments.remote)
    newest = resolution.memory.families[arguments.model].find(LATEST)
    elsewhere = dict(_elsewhere(tree, before, found, arguments))
    told = _Told(arguments, before, found, sha, elsewhere, newest.version if newest else "")
    if console.output == "json":
        console.json(told.json(tree, files))
    else:
        for line in told.text(tree, console):
            console.line(line)
    return exits.DONE


def _local(session: Session, arguments: Namespace) -> LocalSource:
    from reconciler.source.local import LocalSource

    if arguments.ref and not arguments.branch:
        raise UsageError("a commit goes on the branch that is checked out", hint="with --ref, name a new --branch")
    if arguments.push and not arguments.branch:
        raise UsageError("--push pushes a new branch", hint="name it: --branch NAME")
    source = session.source
    if not isinstance(source, LocalSource):
        raise UsageError("only a repo on this machine can be committed to", hint="clone it first")
    return source


def _state(tree: Tree, session: Session) -> tuple[Environment, Resolution]:
    """The manifests of the environment, and what is known of models."""
    from reconciler.manifests.load import load
    from reconciler.manifests.overlays.environment import in_environment
    from reconciler.manifests.resolve import resolve

    cache = wiring.document_cache(session.places)
    environment = in_environment(load(tree, cache), session.environment, cache)
    resolution = resolve(environment.repo, tree, wiring.registered_models(session.places), None, cache)
    wrong = errors_of(resolution.problems)
    if wrong:
        raise InvalidError("nothing is promoted while manifests have errors", problems=wrong, hint="mend them first")
    return environment, resolution


def _known(environment: Environment, resolution: Resolution, arguments: Namespace) -> None:
    """Makes sure that there is such a model, such a version and such a service.

    Raises:
        UsageError: There is not.
    """
    model, wanted = arguments.model, arguments.to
    family = resolution.memory.families.get(model)
    if family is None:
        names = sorted(resolution.memory.families)
        hint = closest(model, names) or f"there are {', '.join(names[:10]) or 'none'}"
        raise UsageError(f"there is no model {model!r}, in the repo or the registry", hint=hint)
    known = family.known()
    if wanted != LATEST and str(wanted) not in known:
        raise UsageError(
            f"there is no version {wanted} of model {model!r}, in the repo or the registry",
            hint=f"there is {', '.join(known)}; a new one is declared in models/ first",
        )
    services = environment.repo.services
    for name in arguments.service or ():
        if name not in services:
            hint = closest(name, services) or f"there are {', '.join(sorted(services)[:10]) or 'none'}"
            raise UsageError(f"there is no service {name!r}", hint=hint)
        if not any(ref["name"] == model for ref in services[name].spec.get("models", ())):
            serving = [n for n, s in services.items() if any(r["name"] == model for r in s.spec.get("models", ()))]
            hint = f"those that do: {', '.join(sorted(serving)[:10]) or 'none'}"
            raise UsageError(f"service {name!r} does not serve model {model!r}", hint=hint)


def _found(tree: Tree, before: Environment, arguments: Namespace) -> Promotion:
    from reconciler.manifests.load import load
    from reconciler.manifests.overlays.environment import in_environment
    from reconciler.manifests.promotion import EditedTree, check, promotion

    found = promotion(tree, before, arguments.model, arguments.to, arguments.service)
    after = in_environment(load(EditedTree(tree, found.files)), before.name)
    check(before, after, found, arguments.to)
    return found


def _edit(found: Promotion, path: str) -> Callable[[bytes], bytes]:
    return partial(found.edit, path)


def _elsewhere(
    tree: Tree, before: Environment, found: Promotion, arguments: Namespace
) -> Iterator[tuple[str, list[str]]]:
    """Environments in which changed services go on with another version, for what an overlay says there."""
    from reconciler.manifests.load import load
    from reconciler.manifests.overlays.environment import in_environment
    from reconciler.manifests.promotion import EditedTree

    if before.name or not found.changed:
        return
    repo = load(EditedTree(tree, found.files))
    for name in sorted(repo.overlays):
        services = in_environment(repo, name).repo.services
        kept: list[str] = []
        for reference in found.changed:
            service = services.get(reference.service)
            models = service.spec.get("models", ()) if service is not None else ()
            for index, each in enumerate(models):
                if each["name"] == arguments.model and each.get("version", LATEST) != arguments.to and service:
                    at = service.at(f"/spec/models/{index}/version")
                    kept.append(f"{reference.service} {each.get('version', LATEST)} ({at})")
        if kept:
            yield name, kept


def message(model: str, to: int | str, environment: str, found: Promotion) -> str:
    """The commit's message: what changed, service by service."""
    where = f" in {environment}" if environment else ""
    lines = [f"Promote {model} to {to}{where}", ""]
    lines += [f"{reference.service}: {reference.before} -> {to}" for reference in found.changed]
    return "\n".join(lines) + "\n"


class _Told:
    """What is told of a promotion."""

    def __init__(
        self,
        arguments: Namespace,
        before: Environment,
        found: Promotion,
        sha: str,
        elsewhere: Mapping[str, list[str]],
        latest: str,
    ) -> None:
        self.arguments = arguments
        self.environment = before.name
        self.found = found
        self.sha = sha
        self.elsewhere = elsewhere
        self.latest = latest

    def text(self, tree: Tree, console: Console) -> Iterator[str]:
        """For people."""
        model, to, found = self.arguments.model, self.arguments.to, self.found
        width = max((len(r.service) for r in (*found.changed, *found.same, *found.following)), default=0)
        for reference in found.changed:
            where = "added to the overlay" if reference.added else str(reference.position)
            yield f"{printable(reference.service):<{width}}  {reference.before} → {to}  {where}"
        for reference in found.following:
            yield (
                f"{printable(reference.service):<{width}}  follows latest, which is {self.latest}: left alone "
                f"(`--service {reference.service}` pins it)"
            )
        for reference in found.same:
            yield f"{printable(reference.service):<{width}}  is at {to} already"
        for name, kept in self.elsewhere.items():
            yield f"In {printable(name)} stays, as its overlay says: {', '.join(kept)}"
        if not found.changed:
            chosen = "every service that names a version of" if found.same else "no service names a version of"
            yield f"Nothing to do: {chosen} {printable(model)}{f' is at {to}' if found.same else ''}."
            return
        yield ""
        for line in difference(tree, found.files):
            yield console.style.paint(printable(line), {"+": "green", "-": "red"}.get(line[:1], ""))
        yield ""
        if not self.sha:
            yield "Nothing was written (--dry-run)."
            return
        branch = self.arguments.branch or tree.revision.ref or "HEAD"
        pushed = f", pushed to {self.arguments.remote}" if self.arguments.push else ""
        yield f"Committed {self.sha[:7]} to {printable(branch)}{pushed}."

    def json(self, tree: Tree, files: Mapping[str, bytes]) -> dict[str, Any]:
        """For machines."""
        found = self.found
        return {
            "kind": "Promotion",
            "formatVersion": 1,
            "model": self.arguments.model,
            "version": self.arguments.to,
            "environment": self.environment,
            "changed": [_reference(reference) for reference in found.changed],
            "same": [_reference(reference) for reference in found.same],
            "following": [_reference(reference) for reference in found.following],
            "keptIn": dict(self.elsewhere),
            "files": sorted(files),
            "difference": "\n".join(difference(tree, found.files)),
            "commit": self.sha or None,
            "branch": self.arguments.branch or tree.revision.ref or None,
            "pushed": bool(self.sha and self.arguments.push),
        }


def _reference(reference: Reference) -> dict[str, Any]:
    at = reference.position
    return {
        "service": reference.service,
        "before": reference.before,
        "added": reference.added,
        "file": at.file,
        "line": at.line,
        "column": at.column,
    }


def difference(tree: Tree, files: Mapping[str, bytes]) -> Sequence[str]:
    """The unified difference of the files that change."""
    lines: list[str] = []
    for path, data in sorted(files.items()):
        old = tree.read(path, 1 << 30).decode().splitlines()
        new = data.decode().splitlines()
        lines += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return lines
