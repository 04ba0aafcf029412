"""Testing a deployment: sends a service's own tests to the version that is about to take traffic."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import httpx

from reconciler.core.driver import Address
from reconciler.core.secrets import Secret
from reconciler.core.smoke import SmokeTest, failure

DEFAULT_LIMIT_SECONDS = 60.0


def run_tests(
    address: Address, tests: Sequence[SmokeTest], key: Secret | None, secrets: Sequence[str] = ()
) -> list[str]:
    """Runs every test and says which failed and why.

    Args:
        key: Sent as a Bearer key where the service wants one.
        secrets: What the service was given; no line holds them, even if it answers with one.

    Returns:
        One line a failed test, without secrets; empty if all passed.
    """
    transport = httpx.HTTPTransport(verify=address.verify, uds=address.uds or None)
    headers = dict(address.headers)
    if key is not None:
        headers["Authorization"] = f"Bearer {key.reveal()}"
    problems: list[str] = []
    hidden = [*secrets, *([key.reveal()] if key is not None else [])]
    with httpx.Client(transport=transport, base_url=address.url, headers=headers, trust_env=False) as client:
        for number, test in enumerate(tests, 1):
            reason = _one(client, test, hidden)
            if reason:
                problems.append(f"test {test.name or number}: {reason}")
    return problems


def _one(client: httpx.Client, test: SmokeTest, secrets: Sequence[str]) -> str:
    limit = float(test.expect.get("maxSeconds", DEFAULT_LIMIT_SECONDS))
    content = test.body if test.body is not None else json.dumps(test.request)
    has_body = test.body is not None or test.request is not None
    started = time.monotonic()
    try:
        response = client.request(
            test.method,
            test.path,
            content=content if has_body else None,
            headers={"Content-Type": test.content_type} if has_body else {},
            timeout=limit + 1.0,
        )
    except httpx.TimeoutException:
        return f"no answer within {limit:g} s"
    except httpx.HTTPError as exc:
        return f"no answer: {type(exc).__name__}"
    return failure(test, response.status_code, _body(response), time.monotonic() - started, secrets)


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text
