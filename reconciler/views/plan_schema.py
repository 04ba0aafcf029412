"""The JSON Schema of a plan as JSON (`schema/plan.json`): what `views.plan_json` writes, with what each key means.

Keys are only ever added within a `formatVersion`, so readers ignore those they do not know; the schema allows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from reconciler.core.change import Action, Cause, Disruption, Step
from reconciler.core.policy import FieldPolicy
from reconciler.core.problems import Severity
from reconciler.core.resources import Completeness
from reconciler.views.plan_json import FORMAT_VERSION

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]


def schema() -> _Schema:
    """The schema, of the document that `plan -o json` prints and `plan --out` saves."""
    return {
        "$schema": DIALECT,
        "title": "Plan",
        "description": "What `reconciler plan -o json` prints. Within a formatVersion, keys are only ever added.",
        **_object(
            {
                "kind": {"const": "Plan", "description": "What this document is."},
                "formatVersion": {"const": FORMAT_VERSION, "description": "Version of this format."},
                "digest": _digest("Of what the plan does: equal for plans that do the same."),
                "revision": _ref("Revision", "The commit that the plan is for."),
                "environment": _text("The environment that `--env` or the settings chose; empty for none."),
                "basis": {
                    "description": "What it was made against; null where that is the targets as they are now.",
                    "anyOf": [{"type": "null"}, _ref("Basis")],
                },
                "summary": {
                    "type": "object",
                    "description": "How many resources there are for each action.",
                    "required": [action.value for action in Action],
                    "properties": {action.value: _count(f"To {action.value}.") for action in Action},
                },
                "pending": _flag("Git wants something changed."),
                "drifted": _flag("Something was changed outside of Git."),
                "changes": _list(_ref("Change"), "What is done, what others depend on first."),
                "drift": _list(_ref("Drift"), "What was changed outside of Git, whether or not the plan heals it."),
                "kept": _list(_ref("Kept"), "What is ours, no longer named in Git, and not deleted."),
                "blocked": _list(_ref("Blocked"), "What cannot be changed now."),
                "refusals": _list(_ref("Refusal"), "What is not done without somebody's word."),
                "problems": _list(_ref("Problem"), "What is wrong with the manifests."),
                "warnings": _list(_ref("Problem"), "What to know of the manifests and of what is done."),
                "targets": _map(_ref("Target"), "The targets looked at, by name."),
                "suspended": _list({"type": "string"}, "Services that `reconciler suspend` stopped."),
                "estimate": {
                    "description": "How long carrying it out takes; null where nothing is known to take a minute.",
                    "anyOf": [{"type": "null"}, _ref("Estimate")],
                },
                "saved": _ref("Saved", "What `apply --plan` needs; only in a file that `plan --out` wrote."),
            },
            optional=("saved",),
        ),
        "$defs": _definitions(),
    }


def _definitions() -> _Schema:
    resource = {
        "resource": _text("Its id: target, kind and name."),
        "target": _text("Where it is."),
        "kind": _text("What it is, in the target's words."),
        "name": _text("Its name."),
    }
    return {
        "Revision": _object(
            {
                "sha": _text("The commit's id."),
                "ref": _text("Branch or tag by which it was read; empty for a commit by its id."),
                "subject": _text("First line of its message."),
                "dirty": _flag("With uncommitted files of the working copy."),
                "text": _text("All of it, as the history writes it."),
            },
            "A commit.",
        ),
        "Basis": {
            "description": "What a plan was made against, where that is not the targets as they are now.",
            "anyOf": [_ref("CommitBasis"), _ref("SnapshotBasis")],
        },
        "CommitBasis": _object(
            {
                "kind": {"const": "commit", "description": "Another commit, as if it had been applied."},
                "revision": _text("Which; empty for none, where everything is new."),
            },
            "A plan between two commits.",
        ),
        "SnapshotBasis": _object(
            {
                "kind": {"const": "snapshot", "description": "What a daemon observed, signed."},
                "revision": _text("The one that was being reconciled then."),
                "installation": _text("Whose snapshot it is."),
                "observedAt": _text("When the target was seen that was seen longest ago (ISO 8601, UTC)."),
                "ageSeconds": _count("Seconds from then to this plan."),
                "old": _flag("Older than the daemon should let it become."),
                "notCompared": _list(_ref("NotCompared"), "Of which the snapshot does not say what there is."),
            },
            "A plan against a snapshot.",
        ),
        "NotCompared": _object(
            {
                "resource": _text("Its id: target, kind and name."),
                "pointer": _text("Where in it, as a JSON pointer."),
                "reference": _text("Where the secret comes from; empty for a field that was not ours before."),
            },
            "A value that could not be compared.",
        ),
        "Change": _object(
            {
                **resource,
                "service": _text("The service it belongs to; empty for what services share."),
                "action": _one_of(set(Action) - {Action.NOOP}, "What is done."),
                "reason": _text("Why it is done."),
                "summary": _text("What it is, in a few words."),
                "disruption": _one_of(Disruption, "What that does to those who use it."),
                "steps": _list(
                    _one_of(Step, "One call."), "The calls it takes, in order; none where only the record changes."
                ),
                "tests": _list({"type": "string"}, "The service's tests that it has to pass before traffic moves."),
                "driftOnly": _flag("Git did not change; reality did."),
                "dependsOn": _list({"type": "string"}, "Ids of what comes first."),
                "fields": _list(_ref("Field"), "What differs; none for create and delete."),
                "spec": {
                    "type": ["object", "null"],
                    "description": "All of it, for what is created; secrets and what is known later as words.",
                },
                "sensitive": _list({"type": "string"}, "Pointers into `spec` where secrets stand."),
                "knownAfterApply": _map(
                    {"type": "string"}, "Pointers into `spec` of what is known later -> the resource that tells it."
                ),
                "digest": _digest("Equal for changes that mean the same."),
            },
            "What is done to one resource.",
        ),
        "Field": _object(
            {
                "pointer": _text("JSON pointer into the resource; can be pasted into a policy."),
                "cause": _one_of(Cause, "`pending`: Git changed. `drift`: the target did. `conflict`: both did."),
                "before": {"description": "As it is; without this key it is not there."},
                "after": {"description": "As it will be; without this key it goes."},
                "left": {"description": "As it was left, where somebody else changed it."},
                "sensitive": _flag("It holds a secret, which is masked."),
                "knownAfterApply": _flag("What it will be is known only then."),
            },
            "One field that differs.",
            optional=("before", "after", "left"),
        ),
        "Drift": _object(
            {
                **resource,
                "service": _text("The service it belongs to."),
                "fields": _list(_ref("DriftedField"), "What no longer reads as it was left."),
                "gone": _flag("The whole resource is gone."),
                "healing": _flag("The plan takes it back."),
                "note": _text("What else is known."),
            },
            "A resource that was changed outside of Git.",
        ),
        "DriftedField": _object(
            {
                "pointer": _text("JSON pointer into the resource; can be pasted into a policy."),
                "policy": _one_of(FieldPolicy, "What is done about it."),
                "conflict": _flag("Git changed it, too."),
                "left": {"description": "As it was left; without this key it was not there."},
                "now": {"description": "As it is; without this key it is gone."},
                "wanted": {"description": "As Git wants it; without this key it does not say."},
                "sensitive": _flag("It holds a secret, which is masked."),
            },
            "One field that drifted.",
            optional=("left", "now", "wanted"),
        ),
        "Kept": _object(
            {**resource, "reason": _text("Why it is not deleted."), "code": _text("The same as a stable word.")},
            "Something that is not deleted.",
        ),
        "Blocked": _object(
            {**resource, "reason": _text("What stands against it."), "code": _text("A stable word, for some.")},
            "A change that cannot be made now.",
        ),
        "Refusal": _object(
            {
                "code": _text("The rail, as a stable word."),
                "message": _text("Why, with the numbers."),
                "hint": _text("What to look at before taking one of the ways on."),
                "targets": _list({"type": "string"}, "Targets at which nothing is done; none: that resource alone."),
                "resource": {"type": ["string", "null"], "description": "The resource it is about, if it is one."},
                "approvable": _flag("An approval lifts it."),
                "digest": _digest("What to approve.", null=True),
                "approve": {"type": ["string", "null"], "description": "The command that approves it."},
                "ways": _list(_ref("Way"), "Every way on, the usual one first."),
            },
            "What a safety rail stops.",
        ),
        "Way": _object(
            {
                "text": _text("What it does, or when it is the right one."),
                "command": _text("A command to paste."),
                "edit": _text("The change in Git, with its place."),
            },
            "A way on from a refusal: a command or an edit.",
            optional=("command", "edit"),
        ),
        "Problem": _object(
            {
                "severity": _one_of(Severity, "An error stops the document it stands in."),
                "code": _text("A stable word, listed in docs/messages.md."),
                "message": _text("What is wrong."),
                "hint": _text("What to do."),
                "subject": _text("The document or resource."),
                "file": _text("The file, from the manifest folder."),
                "line": _count("Counted from 1.", 1),
                "column": _count("Counted from 1.", 1),
            },
            "Something wrong, or worth knowing.",
            optional=("hint", "subject", "file", "line", "column"),
        ),
        "Target": _object(
            {
                "completeness": _one_of(Completeness, "Whether it was seen whole."),
                "missing": _text("What was not seen, and why."),
                "digest": _digest("Of what is done there; null for nothing.", null=True),
            },
            "A target as it was seen.",
        ),
        "Saved": _object(
            {
                "planVersion": _count("Version of what the digests are made of.", 1),
                "installation": _text("Who saved it; nobody else applies it."),
                "origin": _text("The repo and the path in it."),
                "follows": _text("The ref that must still name the commit; empty for a commit by its id."),
                "digest": _digest("That of the plan."),
                "actions": _map(
                    {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                    "Each resource that is changed -> digests of the change, and of what was recorded of it before.",
                ),
                "seal": _digest("Over all of the document, with the installation's key."),
            },
            "Where a saved plan comes from.",
        ),
        "Slow": _object(
            {"seconds": _count("For what is done there."), "why": _text("What makes it long.")},
            "A target that takes long.",
        ),
        "Estimate": _object(
            {"seconds": _count("For all of it."), "targets": _map(_ref("Slow"), "The targets that take long.")},
            "How long it takes.",
        ),
    }


def _object(properties: _Schema, description: str = "", *, optional: Iterable[str] = ()) -> _Schema:
    about = {"description": description} if description else {}
    required = [name for name in properties if name not in optional]
    return {**about, "type": "object", "required": required, "properties": properties}


def _ref(name: str, description: str = "") -> _Schema:
    return {"$ref": f"#/$defs/{name}", **({"description": description} if description else {})}


def _list(items: _Schema, description: str) -> _Schema:
    return {"type": "array", "description": description, "items": items}


def _map(values: _Schema, description: str) -> _Schema:
    return {"type": "object", "description": description, "additionalProperties": values}


def _text(description: str) -> _Schema:
    return {"type": "string", "description": description}


def _flag(description: str) -> _Schema:
    return {"type": "boolean", "description": description}


def _count(description: str, least: int = 0) -> _Schema:
    return {"type": "integer", "minimum": least, "description": description}


def _digest(description: str, *, null: bool = False) -> _Schema:
    return {"type": ["string", "null"] if null else "string", "pattern": "^[0-9a-f]{64}$", "description": description}


def _one_of(words: Iterable[Enum], description: str) -> _Schema:
    return {"enum": sorted(str(word.value) for word in words), "description": description}
