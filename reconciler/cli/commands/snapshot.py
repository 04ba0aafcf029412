"""`reconciler snapshot`: what is observed now, signed and without secrets, for planning elsewhere."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, UsageError
from reconciler.core.resources import Completeness


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Look at the targets and write what is there, signed and without secrets, for `plan --snapshot` elsewhere.\n"
        "A daemon gives the same at /snapshot, and keeps the file that snapshot.file names up to date.",
        (
            ("reconciler snapshot --out snapshot.json", "to a file"),
            ("reconciler snapshot --public-key", "what whoever reads it needs to believe it"),
            ("reconciler plan --snapshot snapshot.json --snapshot-key KEY", "elsewhere"),
        ),
    )
    parser.add_argument("--out", metavar="FILE", help="write there in place of printing")
    parser.add_argument("--public-key", action="store_true", help="print the key that its signatures are checked with")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Looks, signs and writes."""
    if arguments.public_key and arguments.out:
        raise UsageError("--public-key writes no snapshot", hint="leave --out away")
    session = Session(arguments)
    try:
        return _key(session, console) if arguments.public_key else _snapshot(session, arguments.out, console)
    finally:
        session.close()


def _key(session: Session, console: Console) -> int:
    from reconciler.engine.identity import load_identity
    from reconciler.engine.snapshot.signing import Signer

    path = session.places.identity
    if not path.exists():
        raise InvalidError(
            f"there is no installation in {session.places.state_dir}",
            hint="name its state directory with --state-dir; the first `apply` or `run` makes one",
        )
    identity = load_identity(path)
    key = Signer(identity.installation, identity.key).public_key
    if console.output == "json":
        console.json({"kind": "PublicKey", "installation": key.installation, "key": str(key)})
    else:
        console.line(str(key))
    return exits.DONE


def _snapshot(session: Session, out: str | None, console: Console) -> int:
    opened = session.installation()
    look = opened.reconciler.look(tree=opened.use(session.committed()))
    observations = look.situation.observations
    signed = wiring.publisher(opened, session.source)(dict.fromkeys(observations, look.situation))
    if out is None:
        console.write(signed.decode())
    else:
        _write(Path(out).expanduser(), signed)
        console.note(f"{out}: what {opened.identity.installation} saw at {look.plan.revision.short}")
    unseen = [o for o in observations.values() if o.completeness is not Completeness.COMPLETE]
    for observation in unseen:
        console.note(f"target {observation.target} was not wholly seen: {observation.missing}")
    return exits.TARGET if unseen else exits.DONE


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}") from error
