"""The JSON Schema of a snapshot (`schema/snapshot.json`): what was signed, inside of the envelope."""

from __future__ import annotations

from reconciler.core.resources import Completeness, Health
from reconciler.engine.snapshot.document import FORMAT_VERSION, KIND, SAME
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

_TIME = {"type": "number", "description": "Unix time in seconds."}
_NULL = {"type": "null"}


def schema() -> Schema:
    """The schema, of the payload that `/snapshot` and `reconciler snapshot` sign."""
    return {
        "$schema": DIALECT,
        "title": "Snapshot",
        "description": "The payload of the envelope that `reconciler snapshot` writes and a daemon has at /snapshot. "
        "Within a formatVersion, keys are only ever added.",
        **record(
            {
                "kind": {"const": KIND, "description": "What this document is."},
                "formatVersion": {"const": FORMAT_VERSION, "description": "Version of this format."},
                "installation": text("Whose it is."),
                "madeAt": {**_TIME, "description": "When it was put together (Unix time in seconds)."},
                "repo": record(
                    {"origin": text("Its address, without credentials."), "path": text("The manifest folder in it.")},
                    "What is reconciled.",
                ),
                "environment": text("Whose overlay it is read with; empty for none."),
                "revision": record(
                    {
                        "sha": text("The commit; empty if there is none yet."),
                        "ref": text("The branch or tag that names it."),
                        "subject": text("The first line of its message."),
                        "committedAt": {**_TIME, "description": "When it was committed (Unix time in seconds)."},
                    },
                    "The commit that was being reconciled.",
                ),
                "rails": record(
                    {
                        "maxDeletePercent": {
                            "type": "number",
                            "description": "Of a target's resources that may be deleted at once.",
                        },
                        "minResources": count("From how many resources on that counts."),
                        "approvalTargets": list_of(
                            {"type": "string"}, "Targets at which nothing is done without an approval."
                        ),
                    },
                    "The operator's safety rails.",
                ),
                "allowedTargets": {
                    "type": ["array", "null"],
                    "items": {"type": "string"},
                    "description": "Targets that manifests may use; null for all.",
                },
                "targets": map_of(ref("Target"), "Everything that is known of each target, by its name."),
                "suspended": list_of({"type": "string"}, "Services that `reconciler suspend` stopped."),
                "models": map_of(
                    {"type": "object", "additionalProperties": {"type": "string"}},
                    "Registered model versions: name -> version -> digest.",
                ),
                "references": list_of({"type": "string"}, "Secret references whose values are at hand there."),
                "surroundings": {
                    "type": "object",
                    "description": "What rendering depends on there beyond manifests: settings, and by driver.",
                },
            }
        ),
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
    return {
        "Target": record(
            {
                "observedAt": {**_TIME, "description": "When it was looked at (Unix time in seconds)."},
                "completeness": one_of(Completeness, "Whether it was seen whole; absent if nobody asked for it."),
                "missing": text("What was not seen, and why."),
                "type": text("What it is: local, aci …; absent for the built-in registries."),
                "block": {"type": "object", "description": "The settings of its document."},
                "retainSeconds": {"type": "number", "description": "How long what nothing uses is kept there."},
                "services": list_of({"type": "string"}, "Services that the last whole revision named there."),
                "approval": flag("Its policy asked for approvals when it was last applied to; absent if not."),
                "origin": record(
                    {"repo": text("Repo and folder."), "environment": text("The environment; empty for none.")},
                    "From where it was last applied to.",
                ),
                "resources": list_of(ref("Resource"), "What is there, and what is recorded of it."),
            },
            "A target.",
            optional=(
                "observedAt",
                "completeness",
                "missing",
                "type",
                "block",
                "retainSeconds",
                "services",
                "origin",
                "approval",
            ),
        ),
        "Resource": record(
            {
                "kind": text("What it is, in the target's words."),
                "name": text("Its name."),
                "observed": ref("Observed", "As the target reports it; absent if it is not there."),
                "recorded": ref("Recorded", "What was last sent; absent if nothing ever was."),
                "hold": ref("Hold", "A change of it that failed and waits."),
            },
            "One thing at a target.",
            optional=("observed", "recorded", "hold"),
        ),
        "Spec": {
            "type": "object",
            "description": "A resource in its driver's normal form. Secrets, and values of fields that are not ours, "
            "are objects with the one key `$secret` and a label in place of a value.",
        },
        "Observed": record(
            {
                "spec": ref("Spec"),
                "health": one_of(Health, "How it is."),
                "mark": record(
                    {
                        "installation": text("Whose it is."),
                        "service": text("The service it belongs to."),
                        "revision": text("The commit it was last written at."),
                        "specDigest": text("Of the spec that was written; of one with labels where it holds secrets."),
                        "self": text("Its own id, so that a copy is none."),
                        "protect": flag("It must not be deleted."),
                    },
                    "Our mark on it; absent if it carries none.",
                    optional=("protect",),
                ),
                "reason": text("Why it is missing, if it is."),
                "outputs": {"type": "object", "description": "What others ask of it, and nothing else."},
                "busy": flag("A slow operation is under way."),
                "staged": record(
                    {
                        "specDigest": text("Of its spec."),
                        "health": one_of(Health, "How it is."),
                        "share": {"type": "integer", "description": "Percent of the requests that it gets already."},
                    },
                    "A version that waits beside it.",
                ),
            },
            "As the target reports it.",
            optional=("mark", "reason", "outputs", "busy", "staged"),
        ),
        "Recorded": record(
            {
                "service": text("The service it belongs to; absent for what services share."),
                "sent": _spec_or_same("What was last sent"),
                "answered": _spec_or_same("What the target answered to that"),
                "outputs": {"type": "object", "description": "What others ask of it, and nothing else."},
                "revision": text("The commit it was sent at."),
                "protect": flag("It must not be deleted."),
                "prune": flag("It is deleted when Git no longer names it."),
                "dependsOn": list_of({"type": "string"}, "Ids of what it needs."),
                "unusedSince": {**_TIME, "description": "Since when nothing uses it (Unix time in seconds)."},
                "pending": record(
                    {
                        "action": text("What was begun."),
                        "step": text("How far it came."),
                        "sent": {
                            "description": "What was being sent; null for a deletion.",
                            "anyOf": [_NULL, ref("Spec")],
                        },
                    },
                    "A write that was begun and is not confirmed.",
                ),
            },
            "What we know of it ourselves.",
            optional=("service", "outputs", "revision", "protect", "dependsOn", "unusedSince", "pending"),
        ),
        "Hold": record(
            {
                "specDigest": text("Of what failed."),
                "reason": text("Why."),
                "until": {**_TIME, "description": "When it is tried again (Unix time in seconds)."},
            },
            "A change that waits.",
        ),
    }


def _spec_or_same(what: str) -> Schema:
    return {
        "description": f"{what}; `{SAME}` where the target reports the very same; null if nothing is known.",
        "anyOf": [_NULL, {"const": SAME}, ref("Spec")],
    }
