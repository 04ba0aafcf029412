"""`reconciler capacity`: how many replicas a load needs, and the settings of the autoscaler that follow."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, positive
from reconciler.core.capacity import Load

_LEAST, _MOST = Decimal("0.000001"), 1_000_000


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Say how many replicas a load needs, by the formula of Azure ML's AKS services, and which settings follow. "
        "Reads nothing and asks nobody.",
        (
            ("reconciler capacity --rps 20 --seconds-per-request 10", "286 replicas"),
            ("reconciler capacity --rps 50 --seconds-per-request 0.2 --max-concurrent 4", "4 requests at once each"),
            ("reconciler capacity --rps 20 --seconds-per-request 10 --target-utilization 0.9", "less to spare"),
        ),
    )
    parser.add_argument(
        "--rps", required=True, type=_amount, metavar="NUMBER", help="requests per second at the busiest time"
    )
    parser.add_argument(
        "--seconds-per-request", required=True, type=_amount, metavar="SECONDS", help="how long one request takes"
    )
    parser.add_argument(
        "--target-utilization",
        type=_share,
        default=70,
        metavar="SHARE",
        help="share of replicas that are busy, 0.01 to 1 (default: 0.7)",
    )
    parser.add_argument(
        "--max-concurrent",
        type=positive,
        default=1,
        metavar="COUNT",
        help="requests a replica works on at once: the service's maxConcurrentRequests (default: 1)",
    )
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Prints the replicas and the settings."""
    load = Load(
        arguments.rps, arguments.seconds_per_request, arguments.target_utilization, min(arguments.max_concurrent, _MOST)
    )
    autoscale = {"enabled": True, "minReplicas": 1, "maxReplicas": load.replicas, "targetUtilization": load.utilization}
    if arguments.output == "json":
        found = {
            "formatVersion": 1,
            "requestsUnderWay": float(load.under_way),
            "replicas": load.replicas,
            "deployment": {"maxConcurrentRequests": load.at_once, "aks": {"autoscale": autoscale}},
        }
        console.write(json.dumps(found, indent=2) + "\n")
        return exits.DONE
    for line in _lines(load, autoscale):
        console.line(line)
    return exits.DONE


def _lines(load: Load, autoscale: Mapping[str, object]) -> list[str]:
    inner = ", ".join(f"{key}: {json.dumps(value)}" for key, value in autoscale.items())
    replicas = f"{load.replicas:,} replica{'' if load.replicas == 1 else 's'}"
    each = "one at a time" if load.at_once == 1 else f"{load.at_once:,} at once in each"
    return [
        f"{replicas}: {float(load.under_way):,.10g} requests under way, {each}, replicas {load.utilization} % busy",
        "",
        "As settings of the service:",
        "  deployment:",
        f"    maxConcurrentRequests: {load.at_once}",
        f"    aks: {{autoscale: {{{inner}}}}}",
        f"or without an autoscaler: `replicas: {load.replicas}`.",
        "",
        f"The HorizontalPodAutoscaler then has minReplicas 1, maxReplicas {load.replicas} and averageUtilization "
        f"{load.utilization}.",
        "It adds replicas at once, takes them away after a minute, and measures the requested CPU that is in use. A",
        "script that waits while it works is busy without using CPU: give it `replicas`, or have the target scale on",
        "requests (its `autoscaler`).",
    ]


def _amount(text: str) -> Fraction:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    # Compared before it is made a fraction: that of 1e999999999 would fill the memory.
    if not (number.is_finite() and _LEAST <= number <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {_LEAST} to {_MOST}")
    return Fraction(number)


def _share(text: str) -> int:
    percent = _amount(text) * 100
    if percent.denominator != 1 or percent > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0.01 to 1 in whole percents")
    return int(percent)
