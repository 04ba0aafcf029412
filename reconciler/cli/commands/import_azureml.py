"""`reconciler import azureml`: manifests for what Azure ML's v1 command line was given."""

from __future__ import annotations

import posixpath
import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.adding import Addition, add, brought_files
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, RefusedError, UsageError
from reconciler.core.problems import Problem, errors_of
from reconciler.views import problems as problem_view
from reconciler.views.values import plural, printable

if TYPE_CHECKING:
    from reconciler.manifests.repo import Repo
    from reconciler.migration.azureml import Import, ModelArgument
    from reconciler.migration.reading import Note

_MOST_BYTES = 1 << 20
_ARGUMENT = re.compile(r"([A-Za-z0-9][-._A-Za-z0-9]{0,254})(?::([1-9][0-9]{0,9}))?(?:=(.+))?", re.DOTALL)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//.*|/[^/].*)")


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Write manifests that say what `az ml model deploy` of Azure ML v1 was given: a service, its inference\n"
        "config, its models, and a target where the repo has none. Both files may be JSON or YAML. Files that lie\n"
        "outside of the manifest repo are copied into it. Nothing is overwritten, no secret is taken over, and what\n"
        "has no equivalent is listed with the reason.",
        (
            ("reconciler import azureml --inference ic.json --model m:1=m.pkl", "a model in a file, served locally"),
            ("reconciler import azureml --inference ic.json --deployment dc.json --model m:1", "one that the repo has"),
            ("reconciler import azureml --inference ic.json --deployment dc.json --dry-run", "only show it"),
        ),
    )
    parser.add_argument("--inference", metavar="FILE", required=True, help="inferenceconfig.json (`--ic` of az)")
    parser.add_argument(
        "--deployment", metavar="FILE", help="deploymentconfig.json (`--dc` of az); without it, a local service"
    )
    parser.add_argument(
        "--model",
        metavar="NAME[:VERSION][=PATH|URI]",
        action="append",
        default=[],
        type=model,
        help="a model (`-m` of az), and where its bytes are unless the repo declares it; may be given again",
    )
    parser.add_argument("--name", help="of the service (`-n` of az; default: made of the first model's)")
    parser.add_argument("--target", metavar="NAME", default="", help="where (default: the repo's of that type)")
    parser.add_argument("--resource-group", metavar="NAME", help="for a target that has to be written")
    parser.add_argument("--subscription", metavar="ID", help="for a target that has to be written")
    parser.add_argument("--cluster", metavar="NAME", help="the AKS cluster, for a target that has to be written")
    parser.add_argument("--hub", metavar="NAME", help="the IoT hub, for a target that has to be written")
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, write nothing")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def model(text: str) -> tuple[str, int | None, str]:
    """A model's name, number, and where its bytes are.

    Raises:
        ArgumentTypeError: It is none (argparse makes a usage error of it).
    """
    match = _ARGUMENT.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no model: write NAME:VERSION, and =PATH or =URI for its bytes")
    name, version, where = match.groups()
    return name, int(version) if version else None, where or ""


def run(arguments: Namespace, console: Console) -> int:
    """Reads the files, makes documents of them, writes and checks these."""
    if arguments.ref or arguments.env is not None:
        raise UsageError("manifests are written into the working copy", hint="leave out --ref and --env")
    session = Session(arguments)
    try:
        return _import(arguments, console, session)
    finally:
        session.close()


def _import(arguments: Namespace, console: Console, session: Session) -> int:
    from reconciler.manifests.load import load
    from reconciler.migration.azureml import Given, imported

    root = _root(session)
    repo = load(session.tree(), wiring.document_cache(session.places))
    name = _name(arguments)
    base = Path(arguments.inference).resolve().parent
    moved = not base.is_relative_to(root)
    models, addition = _models(arguments.model, repo, root)
    made = imported(
        Given(
            name,
            (_bytes(arguments.inference), arguments.inference),
            (_bytes(arguments.deployment), arguments.deployment) if arguments.deployment else None,
            models,
            f"inference/{name}" if moved else base.relative_to(root).as_posix(),
            moved,
            {target: document.spec["type"] for target, document in repo.targets.items()},
            arguments.target,
            _place(arguments),
        )
    )
    problems = [*made.problems, *_missing(made, root, base, arguments.inference)]
    if problems:
        raise InvalidError("nothing was written", problems=problems)
    for written, to in made.code.brought.items():
        skipped = [Path(each).resolve() for each in (arguments.inference, arguments.deployment) if each]
        addition.copies |= brought_files(base / written, to, skipped)
    schemas = "schema" if (root / "schema/service.json").is_file() else ""
    addition.texts |= made.code.made
    addition.texts |= {document.path: document.text(schemas) for document in made.documents}
    addition.refuse_taken(root)
    if arguments.dry_run:
        _shown(addition, made, console)
        return exits.DONE
    add(root, addition)
    found = _checked(session)
    _told(addition, made, found, console)
    return exits.INVALID if _invalid(found) else exits.DONE


def _root(session: Session) -> Path:
    from reconciler.source.local import LocalSource

    source = session.source
    if not isinstance(source, LocalSource) or source.repository.work_folder is None:
        raise UsageError("manifests are written into a working copy", hint="clone the repo first")
    return (source.repository.work_folder / source.path).resolve()


def _name(arguments: Namespace) -> str:
    from reconciler.migration.azureml import service_name

    if arguments.name is not None:
        if service_name(arguments.name) != arguments.name:
            hint = "lower-case letters, digits and `-`, beginning with a letter, 32 characters at most"
            raise UsageError(f"{arguments.name!r} is no name for a service", hint=hint)
        return arguments.name
    first = arguments.model[0][0] if arguments.model else Path(arguments.inference).resolve().parent.name
    name = service_name(first)
    if not name:
        raise UsageError("the service needs a name", hint="--name NAME, as `-n` of `az ml model deploy`")
    return name


def _place(arguments: Namespace) -> dict[str, str]:
    given = {
        "resourceGroup": arguments.resource_group,
        "subscriptionId": arguments.subscription,
        "clusterName": arguments.cluster,
        "hub": arguments.hub,
    }
    return {key: value for key, value in given.items() if value}


def _bytes(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise InvalidError(f"{path} has more than {_MOST_BYTES} bytes", hint="is it the right file?")
    return data


# Models


def _models(
    given: Sequence[tuple[str, int | None, str]], repo: Repo, root: Path
) -> tuple[list[ModelArgument], Addition]:
    """The models with where their bytes are to be, and the files to be brought for that."""
    from reconciler.migration.azureml import ModelArgument

    addition = Addition()
    found: list[ModelArgument] = []
    for name, version, where in given:
        if any((model.name, model.version) == (name, version) for model in found):
            id_ = name if version is None else f"{name}:{version}"
            raise UsageError(f"model {id_} is given twice", hint="leave out one of them")
        declared = repo.models.get(name, ())
        numbers = [document.spec.get("version") for document in declared]
        there = bool(declared) and (version is None or version in numbers or None in numbers)
        if not where and there:
            found.append(ModelArgument(name, version))
            continue
        if where and there and (version is None or version in numbers):
            place = str(declared[0].position)
            raise RefusedError(f"{place} declares model {name!r} already", hint=f"leave out `={where}`")
        if not where and not declared:
            found.append(ModelArgument(name, version, _fetched_path(name, version, root)))
        elif _URI.fullmatch(where):
            found.append(ModelArgument(name, version, uri=where))
        else:
            found.append(ModelArgument(name, version, _model_path(name, version, where, root, addition)))
    return found, addition


def _fetched_path(name: str, version: int | None, root: Path) -> str:
    """Where `az ml model download` puts a model, if it was told to put it into models/."""
    if (root / "models" / name).exists():
        return f"models/{name}"
    id_ = name if version is None else f"{name}:{version}"
    raise UsageError(
        f"where the bytes of model {id_} are is not known: a registered model is in its workspace",
        hint=f"fetch it (`az ml model download -i {id_} -t models`) and say where it is: "
        f"--model {id_}=models/FILE, or an address",
    )


def _model_path(name: str, version: int | None, where: str, root: Path, addition: Addition) -> str:
    if not where:
        declared = f"the repo declares {name!r}, but not version {version}"
        raise UsageError(declared, hint=f"say where the bytes of that version are: --model {name}:{version}=PATH")
    path = Path(where).resolve()
    if root.is_relative_to(path):
        raise UsageError(f"{where} holds the manifest repo itself", hint="name the model's file or folder")
    if not path.exists():
        raise InvalidError(f"there is no file {where}", hint="a path counts from the current folder")
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    id_ = name if version is None else f"{name}-{version}"
    # Files of many models are called model.pkl, and their names are kept: entry scripts know them.
    to = f"models/{path.name}" if _free(f"models/{path.name}", root, addition) else f"models/{id_}/{path.name}"
    addition.copies |= brought_files(path, to)
    return to


def _free(to: str, root: Path, addition: Addition) -> bool:
    """Nothing is at a place of the repo, nor will be."""
    stands = (root / to).exists() or (root / to).is_symlink()
    return not stands and not any(path == to or path.startswith(f"{to}/") for path in addition.copies)


# Files


def _missing(made: Import, root: Path, base: Path, file: str) -> Iterator[Problem]:
    """Files that the config names and that are not there."""
    documents = {document.kind: document for document in made.documents}
    for where, (key, written) in made.code.needed.items():
        path = root / where
        for source, to in made.code.brought.items():
            if where == to or where.startswith(f"{to}/"):
                path = base / source / posixpath.relpath(where, to)
        if not path.exists():
            field = "extraDockerFileSteps" if key == "extraDockerfileSteps" else key
            field = "condaFile" if key == "condaDependenciesFile" else field
            at = documents["InferenceConfig"].at(f"/spec/{field}")
            yield Problem("missing-file", f"there is no {printable(written)}", at, f"it was looked for at {path}")


def _checked(session: Session) -> list[Problem]:
    """Every problem of the repo as it is now."""
    cache = wiring.document_cache(session.places)
    state = wiring.offline(session.places, session.settings, cache).states.of(session.tree())
    cache.save()
    rendering = (warning for desired in state.desired for warning in desired.warnings)
    return list(dict.fromkeys((*state.problems, *state.warnings, *rendering)))


# What is told


def _shown(addition: Addition, made: Import, console: Console) -> None:
    if console.output == "json":
        _json(addition, made, None, console)
        return
    for path, text in sorted(addition.texts.items()):
        console.line(f"--- # {printable(path)}")
        console.write(text)
    for path, source in sorted(addition.copies.items()):
        console.line(f"# {printable(path)} is copied from {printable(str(source))}")
    for line in _notes(made.notes):
        console.line(f"# {line}" if line else "#")
    console.line("# Nothing was written (--dry-run).")


def _told(addition: Addition, made: Import, found: Sequence[Problem], console: Console) -> None:
    if console.output == "json":
        _json(addition, made, found, console)
        return
    for path in sorted({*addition.texts, *addition.copies}):
        console.line(f"  {printable(path)}")
    for line in _notes(made.notes):
        console.line(line)
    console.line()
    for line in problem_view.text(found, console.style):
        console.line(line)
    wrong = len(_invalid(found))
    console.line(
        f"The repo has {plural(wrong, 'error')} now." if wrong else "The manifests are valid. Next: reconciler plan"
    )


def _invalid(found: Sequence[Problem]) -> list[Problem]:
    """Errors of documents: that there is no driver for a target says nothing about those."""
    return [problem for problem in errors_of(found) if problem.code != "no-driver"]


def _notes(notes: Sequence[Note]) -> Iterator[str]:
    for title, todo in (("To do:", True), ("Without equivalent:", False)):
        some = [note for note in notes if note.todo is todo]
        if some:
            yield ""
            yield title
        for note in some:
            where = f"{note.position}: " if note.position else ""
            yield f"  {printable(where)}{printable(note.key)}: {printable(note.said)}"


def _json(addition: Addition, made: Import, found: Sequence[Problem] | None, console: Console) -> None:
    notes: list[Mapping[str, Any]] = [
        {
            "key": note.key,
            "said": note.said,
            "todo": note.todo,
            "file": note.position.file if note.position else None,
            "line": note.position.line if note.position else None,
            "column": note.position.column if note.position else None,
        }
        for note in made.notes
    ]
    console.json(
        {
            "kind": "Import",
            "formatVersion": 1,
            "written": found is not None,
            "files": sorted({*addition.texts, *addition.copies}),
            "notes": notes,
            "problems": problem_view.as_json(found or ()),
        }
    )
