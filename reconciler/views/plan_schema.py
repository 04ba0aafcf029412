"""The JSON Schema of a plan as JSON (`schema/plan.json`): what `views.plan_json` writes, with what each key means.

Keys are only ever added within a `formatVersion`, so readers ignore those they do not know; the schema allows them.
"""

from __future__ import annotations

from reconciler.core.change import Action, Cause, Disruption, Step
from reconciler.core.policy import FieldPolicy
from reconciler.core.problems import Severity
from reconciler.core.resources import Completeness
from reconciler.views.json_schema import (
    DIALECT,
    Schema,
    count,
    digest,
    flag,
    list_of,
    map_of,
    null_or,
    one_of,
    record,
    ref,
    text,
)  # fmt: skip
from reconciler.views.plan_json import FORMAT_VERSION

RESOURCE: Schema = {
    "resource": text("Its id: target, kind and name."),
    "target": text("Where it is."),
    "kind": text("What it is, in the target's words."),
    "name": text("Its name."),
}


def schema() -> Schema:
    """The schema, of the document that `plan -o json` prints and `plan --out` saves."""
    return {
        "$schema": DIALECT,
        "title": "Plan",
        "description": "What `reconciler plan -o json` prints. Within a formatVersion, keys are only ever added.",
        **record(
            {
                "kind": {"const": "Plan", "description": "What this document is."},
                "formatVersion": {"const": FORMAT_VERSION, "description": "Version of this format."},
                "digest": digest("Of what the plan does: equal for plans that do the same."),
                "revision": ref("Revision", "The commit that the plan is for."),
                "environment": text("The environment that `--env` or the settings chose; empty for none."),
                "basis": {
                    "description": "What it was made against; null where that is the targets as they are now.",
                    "anyOf": [{"type": "null"}, ref("Basis")],
                },
                "summary": {
                    "type": "object",
                    "description": "How many resources there are for each action.",
                    "required": [action.value for action in Action],
                    "properties": {action.value: count(f"To {action.value}.") for action in Action},
                },
                "pending": flag("Git wants something changed."),
                "drifted": flag("Something was changed outside of Git."),
                "changes": list_of(ref("Change"), "What is done, what others depend on first."),
                "drift": list_of(ref("Drift"), "What was changed outside of Git, whether or not the plan heals it."),
                "kept": list_of(ref("Kept"), "What is ours, no longer named in Git, and not deleted."),
                "blocked": list_of(ref("Blocked"), "What cannot be changed now."),
                "refusals": list_of(ref("Refusal"), "What is not done without somebody's word."),
                "problems": list_of(ref("Problem"), "What is wrong with the manifests."),
                "warnings": list_of(ref("Problem"), "What to know of the manifests and of what is done."),
                "targets": map_of(ref("Target"), "The targets looked at, by name."),
                "suspended": list_of({"type": "string"}, "Services that `reconciler suspend` stopped."),
                "estimate": {
                    "description": "How long carrying it out takes; null where nothing is known to take a minute.",
                    "anyOf": [{"type": "null"}, ref("Estimate")],
                },
                "saved": ref("Saved", "What `apply --plan` needs; only in a file that `plan --out` wrote."),
            },
            optional=("saved",),
        ),
        "$defs": definitions(),
    }


def definitions() -> Schema:
    """What stands under `$defs`, by name."""
    return {
        "Revision": record(
            {
                "sha": text("The commit's id."),
                "ref": text("Branch or tag by which it was read; empty for a commit by its id."),
                "subject": text("First line of its message."),
                "dirty": flag("With uncommitted files of the working copy."),
                "text": text("All of it, as the history writes it."),
            },
            "A commit.",
        ),
        "Basis": {
            "description": "What a plan was made against, where that is not the targets as they are now.",
            "anyOf": [ref("CommitBasis"), ref("SnapshotBasis")],
        },
        "CommitBasis": record(
            {
                "kind": {"const": "commit", "description": "Another commit, as if it had been applied."},
                "revision": text("Which; empty for none, where everything is new."),
            },
            "A plan between two commits.",
        ),
        "SnapshotBasis": record(
            {
                "kind": {"const": "snapshot", "description": "What a daemon observed, signed."},
                "revision": text("The one that was being reconciled then."),
                "installation": text("Whose snapshot it is."),
                "observedAt": text("When the target was seen that was seen longest ago (ISO 8601, UTC)."),
                "ageSeconds": count("Seconds from then to this plan."),
                "old": flag("Older than the daemon should let it become."),
                "notCompared": list_of(ref("NotCompared"), "Of which the snapshot does not say what there is."),
            },
            "A plan against a snapshot.",
        ),
        "NotCompared": record(
            {
                "resource": text("Its id: target, kind and name."),
                "pointer": text("Where in it, as a JSON pointer."),
                "reference": text("Where the secret comes from; empty for a field that was not ours before."),
            },
            "A value that could not be compared.",
        ),
        "Change": record(
            {
                **RESOURCE,
                "service": text("The service it belongs to; empty for what services share."),
                "action": one_of(set(Action) - {Action.NOOP}, "What is done."),
                "reason": text("Why it is done."),
                "summary": text("What it is, in a few words."),
                "disruption": one_of(Disruption, "What that does to those who use it."),
                "steps": list_of(
                    one_of(Step, "One call."), "The calls it takes, in order; none where only the record changes."
                ),
                "shares": list_of(
                    {"type": "integer", "minimum": 1, "maximum": 99},
                    "What each `shift` among the steps gives the new version, in percent of the requests.",
                ),
                "tests": list_of({"type": "string"}, "The service's tests that it has to pass before traffic moves."),
                "driftOnly": flag("Git did not change; reality did."),
                "dependsOn": list_of({"type": "string"}, "Ids of what comes first."),
                "fields": list_of(ref("Field"), "What differs; none for create and delete."),
                "spec": {
                    "type": ["object", "null"],
                    "description": "All of it, for what is created; secrets and what is known later as words.",
                },
                "sensitive": list_of({"type": "string"}, "Pointers into `spec` where secrets stand."),
                "knownAfterApply": map_of(
                    {"type": "string"}, "Pointers into `spec` of what is known later -> the resource that tells it."
                ),
                "movedFrom": null_or("What it was under its service's former name."),
                "movedTo": null_or("What it is made as under its service's new name."),
                "successor": text("The service that goes on in place of the one it belongs to; empty for none."),
                "digest": digest("Equal for changes that mean the same."),
            },
            "What is done to one resource.",
        ),
        "Field": record(
            {
                "pointer": text("JSON pointer into the resource; can be pasted into a policy."),
                "cause": one_of(Cause, "`pending`: Git changed. `drift`: the target did. `conflict`: both did."),
                "before": {"description": "As it is; without this key it is not there."},
                "after": {"description": "As it will be; without this key it goes."},
                "left": {"description": "As it was left, where somebody else changed it."},
                "sensitive": flag("It holds a secret, which is masked."),
                "knownAfterApply": flag("What it will be is known only then."),
            },
            "One field that differs.",
            optional=("before", "after", "left"),
        ),
        "Drift": record(
            {
                **RESOURCE,
                "service": text("The service it belongs to."),
                "fields": list_of(ref("DriftedField"), "What no longer reads as it was left."),
                "gone": flag("The whole resource is gone."),
                "healing": flag("The plan takes it back."),
                "note": text("What else is known."),
            },
            "A resource that was changed outside of Git.",
        ),
        "DriftedField": record(
            {
                "pointer": text("JSON pointer into the resource; can be pasted into a policy."),
                "policy": one_of(FieldPolicy, "What is done about it."),
                "conflict": flag("Git changed it, too."),
                "left": {"description": "As it was left; without this key it was not there."},
                "now": {"description": "As it is; without this key it is gone."},
                "wanted": {"description": "As Git wants it; without this key it does not say."},
                "sensitive": flag("It holds a secret, which is masked."),
            },
            "One field that drifted.",
            optional=("left", "now", "wanted"),
        ),
        "Kept": record(
            {**RESOURCE, "reason": text("Why it is not deleted."), "code": text("The same as a stable word.")},
            "Something that is not deleted.",
        ),
        "Blocked": record(
            {**RESOURCE, "reason": text("What stands against it."), "code": text("A stable word, for some.")},
            "A change that cannot be made now.",
        ),
        "Refusal": record(
            {
                "code": text("The rail, as a stable word."),
                "message": text("Why, with the numbers."),
                "hint": text("What to look at before taking one of the ways on."),
                "targets": list_of({"type": "string"}, "Targets at which nothing is done; none: that resource alone."),
                "resource": {"type": ["string", "null"], "description": "The resource it is about, if it is one."},
                "approvable": flag("An approval lifts it."),
                "digest": digest("What to approve.", null=True),
                "approve": {"type": ["string", "null"], "description": "The command that approves it."},
                "approvedBy": {"type": ["string", "null"], "description": "Who has approved it already."},
                "ways": list_of(ref("Way"), "Every way on, the usual one first."),
            },
            "What a safety rail stops.",
        ),
        "Way": record(
            {
                "text": text("What it does, or when it is the right one."),
                "command": text("A command to paste."),
                "edit": text("The change in Git, with its place."),
            },
            "A way on from a refusal: a command or an edit.",
            optional=("command", "edit"),
        ),
        "Problem": record(
            {
                "severity": one_of(Severity, "An error stops the document it stands in."),
                "code": text("A stable word, listed in docs/messages.md."),
                "message": text("What is wrong."),
                "hint": text("What to do."),
                "subject": text("The document or resource."),
                "file": text("The file, from the manifest folder."),
                "line": count("Counted from 1.", 1),
                "column": count("Counted from 1.", 1),
            },
            "Something wrong, or worth knowing.",
            optional=("hint", "subject", "file", "line", "column"),
        ),
        "Target": record(
            {
                "completeness": one_of(Completeness, "Whether it was seen whole."),
                "missing": text("What was not seen, and why."),
                "digest": digest("Of what is done there; null for nothing.", null=True),
            },
            "A target as it was seen.",
        ),
        "Saved": record(
            {
                "planVersion": count("Version of what the digests are made of.", 1),
                "installation": text("Who saved it; nobody else applies it."),
                "origin": text("The repo and the path in it."),
                "follows": text("The ref that must still name the commit; empty for a commit by its id."),
                "digest": digest("That of the plan."),
                "actions": map_of(
                    {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                    "Each resource that is changed -> digests of the change, and of what was recorded of it before.",
                ),
                "seal": digest("Over all of the document, with the installation's key."),
            },
            "Where a saved plan comes from.",
        ),
        "Slow": record(
            {"seconds": count("For what is done there."), "why": text("What makes it long.")},
            "A target that takes long.",
        ),
        "Estimate": record(
            {"seconds": count("For all of it."), "targets": map_of(ref("Slow"), "The targets that take long.")},
            "How long it takes.",
        ),
    }
