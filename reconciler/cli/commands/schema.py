"""`reconciler schema`: JSON Schemas of manifests, for editors; of plans, drift and snapshots, for what reads them."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, closest
from reconciler.core.errors import InvalidError, UsageError


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Print the JSON Schema of a kind, of any manifest, of a plan or drift as JSON, or of a snapshot; "
        "or write all of them to a folder.",
        (
            ("reconciler schema", "of any manifest"),
            ("reconciler schema Service", "of one kind"),
            ("reconciler schema Plan", "of what `reconciler plan -o json` prints"),
            ("reconciler schema Drift", "of what `reconciler drift -o json` prints"),
            ("reconciler schema Snapshot", "of what `reconciler snapshot` signs"),
            ("reconciler schema --write schema", "one file a kind; name it in a first line for an editor"),
        ),
    )
    parser.add_argument(
        "kind", nargs="?", help="Model, InferenceConfig, Target, Service, Defaults, Overlay, Plan, Drift or Snapshot"
    )
    parser.add_argument("--write", metavar="DIR", help="write files in place of printing")
    add_output(parser, ("text", "json"))


def run(arguments: Namespace, console: Console) -> int:
    """Prints or writes."""
    from reconciler.engine.snapshot.schema import schema as of_snapshots
    from reconciler.manifests.schema import schemas, write
    from reconciler.views.drift_schema import schema as of_drift
    from reconciler.views.plan_schema import schema as of_plans

    found = {**schemas(), "plan.json": of_plans(), "drift.json": of_drift(), "snapshot.json": of_snapshots()}
    if arguments.write:
        try:
            for path in write(found, Path(arguments.write)):
                console.line(str(path))
        except OSError as error:
            raise InvalidError(f"{arguments.write} cannot be written: {error.strerror}") from error
        return exits.DONE
    name = f"{(arguments.kind or 'manifest').lower()}.json"
    if name not in found:
        kinds = [key.removesuffix(".json") for key in found]
        hint = closest(arguments.kind.lower(), kinds) or f"there are {', '.join(kinds)}"
        raise UsageError(f"there is no kind {arguments.kind!r}", hint=hint)
    console.write(json.dumps(found[name], indent=2, ensure_ascii=False) + "\n")
    return exits.DONE
