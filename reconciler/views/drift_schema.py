"""The JSON Schema of a drift report as JSON (`schema/drift.json`): what `views.drift_json` writes."""

from __future__ import annotations

from reconciler.core.drift_report import Next
from reconciler.core.policy import FieldPolicy
from reconciler.core.sync import Sync
from reconciler.views import plan_schema
from reconciler.views.drift_json import FORMAT_VERSION
from reconciler.views.json_schema import (
    DIALECT,
    Schema,
    count,
    flag,
    list_of,
    map_of,
    one_of,
    record,
    ref,
    text,
)
from reconciler.views.plan_schema import RESOURCE

_NULL: Schema = {"type": "null"}


def schema() -> Schema:
    """The schema of the document that `drift -o json` prints."""
    shared = plan_schema.definitions()
    return {
        "$schema": DIALECT,
        "title": "Drift",
        "description": "What `reconciler drift -o json` prints. Within a formatVersion, keys are only ever added.",
        **record(
            {
                "kind": {"const": "Drift", "description": "What this document is."},
                "formatVersion": {"const": FORMAT_VERSION, "description": "Version of this format."},
                "revision": ref("Revision", "The commit that the targets were compared for."),
                "environment": text("The environment that `--env` or the settings chose; empty for none."),
                "drifted": flag("Something was changed outside of Git."),
                "pending": flag("Git wants something changed."),
                "sync": one_of(Sync, "Both in one word."),
                "since": _moment("When the oldest drift was first seen."),
                "summary": ref("Summary"),
                "drift": list_of(ref("Resource"), "What was changed outside of Git."),
                "notCompared": list_of(ref("Kept"), "What is ours and is not named in Git."),
                "targets": map_of(ref("Target"), "The targets looked at, by name."),
                "leftToOthers": list_of(ref("Aside"), "Differences that are nobody's drift; with `--all` alone."),
            },
            optional=("leftToOthers",),
        ),
        "$defs": {"Revision": shared["Revision"], "Target": _target(shared["Target"])} | _definitions(shared),
    }


def _target(of_plan: Schema) -> Schema:
    keys = {name: of_plan["properties"][name] for name in ("completeness", "missing")}
    return record(keys, of_plan["description"])


def _definitions(shared: Schema) -> Schema:
    field = shared["DriftedField"]
    return {
        "Kept": record({**RESOURCE, "reason": text("Why it is not deleted.")}, "Something that was not compared."),
        "Summary": record(
            {
                "resources": count("Resources that drifted."),
                "gone": count("Of these, those that are gone as a whole."),
                "fields": count("Fields that drifted."),
                "heal": count("Of these, those that are taken back."),
                "conflicts": count("Those that Git changed, too."),
                "report": count("Those that are reported only."),
                "held": count("Those that would be taken back, and are not now."),
                "fights": count("Resources of which something comes back again and again."),
                "leftToOthers": count("Differences in fields that policies leave to others."),
                "notOurs": count("Differences in fields that were never ours."),
            },
            "How much there is.",
        ),
        "Resource": record(
            {
                **RESOURCE,
                "service": text("The service it belongs to; empty for what services share."),
                "sync": one_of(Sync, "Whether Git wants it changed, and whether reality moved."),
                "gone": flag("The whole resource is gone."),
                "note": text("What the target says about it."),
                "held": text("Why nothing is done about it now; empty if something is."),
                "since": _moment("When the oldest drift of it was first seen."),
                "times": count("How often it was found to have drifted, being as it was left in between.", 1),
                "fight": flag("It comes back again and again: somebody else writes it, too."),
                "fields": list_of(ref("Field"), "What no longer reads as it was left; none if it is gone."),
                "advice": {"description": "What ends a fight about fields.", "anyOf": [_NULL, ref("Advice")]},
            },
            "A resource that was changed outside of Git.",
        ),
        "Field": record(
            {
                **field["properties"],
                "origin": text("Who says what its policy is; empty where nobody does."),
                "next": one_of(Next, "What the next reconcile does about it."),
                "since": _moment("When this was first seen."),
                "times": count("How often it was found to have drifted.", 1),
                "fight": flag("It comes back again and again."),
                "by": {"description": "Who wrote it, where the target knows.", "anyOf": [_NULL, ref("Owner")]},
                "pattern": text("What a policy would call it."),
            },
            "One field that drifted.",
            optional=("left", "now", "wanted"),
        ),
        "Owner": record(
            {"manager": text("Who, in the target's words."), "at": _moment("When.")}, "Who wrote a field last."
        ),
        "Advice": record(
            {"file": text("The service's file."), "yaml": text("The lines that it then has.")},
            "How to leave fields to others.",
        ),
        "Aside": record(
            {
                **RESOURCE,
                "service": text("The service it belongs to."),
                "pointer": text("JSON pointer into the resource."),
                "policy": {
                    "enum": [*sorted(policy.value for policy in FieldPolicy), None],
                    "description": "The policy that leaves it to others; null for a field that was never ours.",
                },
                "origin": text("Who says so."),
                "expected": {"description": "As Git has it, or as it read before; without this key it was not there."},
                "now": {"description": "As it is; without this key it is gone."},
                "sensitive": flag("It holds a secret, which is masked."),
            },
            "A difference that is nobody's drift.",
            optional=("expected", "now"),
        ),
    }


def _moment(description: str) -> Schema:
    return {"type": ["number", "null"], "description": f"{description} Unix seconds; null where that is not known."}
