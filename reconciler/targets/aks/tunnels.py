"""Connections to ports of pods, through the API: the kubernetes package's, over a websocket that is not waited for.

What the package opens itself has no time limit: an API server that takes a connection and then says nothing, as one
whose node is gone, would be waited for until the network gives up.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from reconciler.core.errors import TargetError, UnavailableError
from reconciler.core.packages import importing
from reconciler.targets.aks.parts import parsed
from reconciler.targets.aks.refusals import REACH, MissingError, refusal


def tunnelled(configuration: Any, url: str, headers: Mapping[str, str], port: int, seconds: float) -> Any:
    """A `PortForward` of the kubernetes package.

    Args:
        configuration: The package's, of the cluster.
        url: Of what forwards, with the scheme of the API's.
        headers: With those that say who asks.
        seconds: How long the API may be silent until there is a connection; what comes through it takes its time.

    Raises:
        OSError, ValueError, websocket.WebSocketException: There is none; the last has the API's answer, if any.
    """
    with importing():
        from kubernetes.stream import ws_client
        from websocket import WebSocket

    # Neither has types.
    package: Any = ws_client
    websocket: Any
    options: dict[str, Any] = {"header": [f"{name}: {value}" for name, value in headers.items()]}
    if configuration.proxy or configuration.proxy_headers:
        options = package.websocket_proxycare(options, configuration, url, headers)
    websocket = WebSocket(sslopt=_tls(configuration), skip_utf8_validation=False)
    websocket.settimeout(seconds)
    websocket.connect(package.get_websocket_url(url), **options)
    websocket.settimeout(None)
    return package.PortForward(websocket, [port])


def untunnelled(answer: Exception, what: str) -> TargetError:
    """Why there is no tunnel.

    Args:
        answer: What `tunnelled` raised, whose own text may hold headers.
        what: What was not reached, for messages.
    """
    code: int | None = getattr(answer, "status_code", None)
    if code is None:
        return UnavailableError(what, hint=REACH)
    error = refusal(code, parsed(getattr(answer, "resp_body", None) or b""), what)
    if isinstance(error, MissingError):
        return UnavailableError(error.message, hint="it is looked for again")
    return error


def _tls(configuration: Any) -> dict[str, Any]:
    """How the API is known, and this user to it, as for all other requests."""
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE}
    if configuration.verify_ssl:
        options |= {"ca_certs": configuration.ssl_ca_cert} if configuration.ssl_ca_cert else {}
        checked = configuration.assert_hostname
        options |= {"check_hostname": checked} if checked is not None else {}
    options |= {"certfile": configuration.cert_file} if configuration.cert_file else {}
    options |= {"keyfile": configuration.key_file} if configuration.key_file else {}
    options |= {"server_hostname": configuration.tls_server_name} if configuration.tls_server_name else {}
    return options
