"""`reconciler score`: sends data to a service, with its key, and prints the answer."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli import exits
from reconciler.cli.commands.keys import generated, takes_keys
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, add_settings, add_source, seconds
from reconciler.cli.recorded import address_of, known_service
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, UnhealthyError, UsageError
from reconciler.views.values import paragraph

if TYPE_CHECKING:
    from reconciler.core.driver import Address
    from reconciler.wiring import Installation

MOST_BYTES = 1 << 30


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Send data to a service and print its answer. A generated key is used without being shown.",
        (
            ("""reconciler score diabetes --data '{"data": [[1, 2, 3]]}'""", "JSON"),
            ("reconciler score diabetes --data @rows.json", "from a file; `-` is standard input"),
            ("reconciler score images --data @cat.png --content-type image/png", "raw bytes"),
            ("reconciler score diabetes --data @rows.json --key env:DIABETES_KEY", "with a key of one's own"),
        ),
    )
    parser.add_argument("service", help="name of the service")
    parser.add_argument("-d", "--data", default="", metavar="DATA|@FILE|-", help="the body (default: none, a GET)")
    parser.add_argument("--content-type", default="application/json", metavar="TYPE", help="of the body")
    parser.add_argument("--path", dest="url_path", default="/score", help="path of the request (default: /score)")
    parser.add_argument(
        "--key", metavar="env:NAME|file:PATH|-", help="where the key is, if it is not the service's generated one"
    )
    parser.add_argument("--timeout", type=seconds, default=60.0, metavar="TIME", help="for the answer (default: 60s)")
    add_source(parser, path=False)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Sends it; exits with 16 unless the answer is a good one."""
    body = _body(arguments.data)
    session = Session(arguments)
    try:
        opened = session.installation()
        _, address = address_of(opened, arguments.service)
        key = _key(arguments, session, opened)
        # The way to it may be the driver's, and end with it.
        status, kind, answer = _send(arguments, address, body, key)
    finally:
        session.close()
    if console.output == "json":
        console.json({"status": status, "contentType": kind, "body": _parsed(answer)})
    else:
        _print(answer, console)
    if status >= 400:
        console.note(f"{arguments.service} answered {status}")
        return exits.UNHEALTHY
    return exits.DONE


def _print(answer: bytes, console: Console) -> None:
    """The bytes as they are, or, on a terminal, text that cannot command it."""
    if console.out.isatty():
        for line in paragraph(answer.decode("utf-8", "replace")):
            console.line(line)
        return
    console.data(answer if answer.endswith(b"\n") else answer + b"\n")


def _body(data: str) -> bytes | None:
    if not data:
        return None
    if data == "-":
        return sys.stdin.buffer.read(MOST_BYTES)
    if not data.startswith("@"):
        return data.encode("utf-8", "surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"the data file {data[1:]} cannot be read: {error.strerror}") from error


def _key(arguments: Namespace, session: Session, opened: Installation) -> str:
    given: str | None = arguments.key
    if given is not None:
        return _given_key(given)
    recorded = known_service(opened.store, arguments.service)
    if not takes_keys(recorded):
        return ""
    own = generated(opened, arguments.service, recorded)
    if own:
        return next(iter(own.values())).reveal()
    # The key is one that the manifest refers to.
    state = opened.reconciler.states.of(opened.reconciler.source())
    secret = state.keys.get(arguments.service)
    if secret is None:
        raise InvalidError(
            f"the key of {arguments.service} cannot be found from here", hint="say where it is: --key env:NAME"
        )
    return secret.reveal()


def _given_key(given: str) -> str:
    source, _, name = given.partition(":")
    if given == "-":
        return sys.stdin.readline().strip()
    if source == "env" and name:
        if name not in os.environ:
            raise UsageError(f"the variable {name} is not set")
        return os.environ[name].strip()
    if source == "file" and name:
        try:
            return Path(name).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the key file {name} cannot be read") from error
    raise UsageError(
        "--key takes env:NAME, file:PATH or -, not the key itself",
        hint="others on this machine could read it from the list of processes",
    )


def _send(arguments: Namespace, address: Address, body: bytes | None, key: str) -> tuple[int, str, bytes]:
    import httpx

    headers = dict(address.headers)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if body is not None:
        headers["Content-Type"] = arguments.content_type
    transport = httpx.HTTPTransport(verify=address.verify, uds=address.uds or None)
    try:
        with httpx.Client(transport=transport, base_url=address.url, headers=headers, trust_env=False) as client:
            answer = client.request(
                "GET" if body is None else "POST", arguments.url_path, content=body, timeout=arguments.timeout
            )
    except httpx.TimeoutException as error:
        raise UnhealthyError(
            f"{arguments.service} did not answer within {arguments.timeout:g} s",
            hint=f"`reconciler logs {arguments.service}` may say why",
        ) from error
    except httpx.HTTPError as error:
        raise UnhealthyError(
            f"{arguments.service} cannot be reached at {address.url}: {type(error).__name__}",
            hint=f"`reconciler status {arguments.service}` says how it is",
        ) from error
    return answer.status_code, answer.headers.get("content-type", ""), answer.content


def _parsed(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace")
