"""Which policy decides about which fields of a service, in the order in which rules are asked, and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.core.policy import Policy
from reconciler.views.style import PLAIN, Style
from reconciler.views.table import Cell, table
from reconciler.views.values import printable

HEAD = ("SERVICE", "POLICY", "FIELDS", "SAID BY")
_BUILT_IN = "built in"
_REST = "all others"


def text(policies: Mapping[str, Policy], style: Style = PLAIN) -> str:
    """One line a rule: the first that matches a field decides."""
    rows = [
        [
            Cell(printable(service) if index == 0 else "", ("bold",)),
            Cell(policy),
            Cell(printable(fields)),
            Cell(printable(origin)),
        ]
        for service, own in sorted(policies.items())
        for index, (policy, fields, origin) in enumerate(_rules(own))
    ]
    return "\n".join(table(HEAD, rows, style) or ["There are no services."]) + "\n"


def _rules(policy: Policy) -> list[tuple[str, str, str]]:
    rules = [(r.policy.value, r.pattern, f"{r.origin}{f' ({r.position})' if r.position else ''}") for r in policy.rules]
    return [*reversed(rules), (policy.drift.value, _REST, policy.origin or _BUILT_IN)]


def as_json(policies: Mapping[str, Policy]) -> dict[str, Any]:
    """The same as plain values; the first rule that matches a field decides, else the default."""
    return {
        "kind": "DriftPolicies",
        "formatVersion": 1,
        "services": {
            service: {
                "default": {"policy": policy.drift.value, "origin": policy.origin},
                "rules": [
                    {
                        "policy": rule.policy.value,
                        "pattern": rule.pattern,
                        "origin": rule.origin,
                        "position": str(rule.position) if rule.position else None,
                    }
                    for rule in reversed(policy.rules)
                ],
            }
            for service, policy in sorted(policies.items())
        },
    }
