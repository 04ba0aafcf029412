"""`reconciler import`: the manifests of what exists at a target."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, RefusedError, UsageError
from reconciler.manifests.kinds.names import IN_WORDS, SERVICE_NAME
from reconciler.views import importing as view

if TYPE_CHECKING:
    from reconciler.core.described import SourceFile

_LONGEST_NAME = 32


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Write the manifests of something that exists at a target and that no manifest names: of ours whose documents\n"
        "were lost, or of others', to be taken over. Nothing at the target is changed, no file is overwritten, and\n"
        "what no manifest can say is listed.",
        (
            ("reconciler import local diabetes", "a service whose documents were lost"),
            ("reconciler import local diabetes --dry-run", "print what would be written"),
            ("reconciler import laptop my_model --as model", "a container, and what to call its service"),
        ),
    )
    parser.add_argument("target", metavar="TARGET", help="name of the target")
    parser.add_argument("name", metavar="NAME", help="what it is called there")
    parser.add_argument("--as", dest="service", metavar="SERVICE", help="what to call the service (default: from NAME)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="DIR", help="write below this folder instead of into the manifest repo")
    where.add_argument("--dry-run", action="store_true", help="print the files and write nothing")
    parser.add_argument(
        "--anyway", action="store_true", help="write the files even if a plan would still change something there"
    )
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Looks at the target and writes files."""
    service = _service_of(arguments)
    session = Session(arguments)
    try:
        folder = None if arguments.dry_run else _folder(arguments, session)
        opened = session.installation()
        importing = wiring.importing(opened, opened.use(session.tree()), session.environment)
        proposal = importing.propose(arguments.target, arguments.name, service)
        if not proposal.exact and not arguments.anyway and not arguments.dry_run:
            hint = "--dry-run shows the manifests, --anyway writes them all the same"
            raise RefusedError(view.refusal(proposal), hint=hint)
        if folder is not None:
            _write(folder, proposal.files)
            importing.bind(proposal, arguments.name)
    finally:
        session.close()
    if console.output == "json":
        console.json(view.as_json(proposal, written=folder is not None))
        return exits.DONE
    if folder is None:
        console.write(view.files(proposal))
        for line in view.notes(proposal, console.error_style):
            console.note(line)
    else:
        console.write(view.text(proposal, console.style))
    return exits.DONE


def _service_of(arguments: Namespace) -> str:
    """The name of the service: as given, else made of the one that the target has."""
    given: str | None = arguments.service
    if given is not None:
        if len(given) > _LONGEST_NAME or not re.fullmatch(SERVICE_NAME, given):
            raise UsageError(f"{given!r} is no name for a service", hint=IN_WORDS[SERVICE_NAME])
        return given
    name = re.sub(r"[^a-z0-9]+", "-", arguments.name.removeprefix(f"{arguments.target}.").lower())
    found = re.sub(r"^[^a-z]+", "", name)[:_LONGEST_NAME].rstrip("-")
    if not found:
        raise UsageError(f"{arguments.name!r} gives no name for a service", hint="give one: --as NAME")
    return found


def _folder(arguments: Namespace, session: Session) -> Path:
    """Where the files go: the manifest folder of the working copy, unless another one is named."""
    if arguments.out is not None:
        return Path(arguments.out)
    from reconciler.source.local import LocalSource

    source = session.source
    work = source.repository.work_folder if isinstance(source, LocalSource) else None
    if work is None or not session.working_copy:
        raise UsageError(
            "the manifest repo has no files here to write to",
            hint="run this in a clone of it, or name a folder with --out",
        )
    return work / source.path


def _write(folder: Path, files: Sequence[SourceFile]) -> None:
    """Writes all files or none; never over one that is there, never outside of the folder."""
    root = folder.resolve()
    written: list[Path] = []
    try:
        for file in files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(root):
                raise InvalidError(f"{path.parent} leads out of {folder}", hint="replace the link by a folder")
            with path.open("xb") as stream:
                written.append(path)
                stream.write(file.data)
            if file.executable:
                path.chmod(0o755)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise RefusedError(f"{error.filename} exists already", hint="nothing is overwritten") from error
        if isinstance(error, OSError):
            raise InvalidError(f"{error.filename} cannot be written: {error.strerror}") from error
        raise
