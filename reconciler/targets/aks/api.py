"""A cluster's API, spoken to through the kubernetes package: JSON in, JSON out.

Its typed models are left aside: making and reading them takes twice as long as all the rest.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from reconciler.core.errors import TargetError, TerminalError, UnavailableError
from reconciler.core.packages import importing
from reconciler.targets.aks.connection import Connection
from reconciler.targets.aks.kinds import MANAGER, Kind
from reconciler.targets.aks.parts import Json, parsed
from reconciler.targets.aks.refusals import REACH, ExpiredError, MissingError, refusal
from reconciler.targets.aks.tunnels import tunnelled, untunnelled

if TYPE_CHECKING:
    from reconciler.targets.aks.attached import AttachedCluster

APPLY = "application/apply-patch+yaml"
NAMES = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
NAMED = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
PAGE = 500
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
# The API writes a bookmark about once a minute: whoever hears nothing for longer is not connected any more.
SILENT_SECONDS = 150.0


class Cluster:
    """One cluster. Safe to use from many threads; connected when first asked.

    Args:
        name: Of the target, for messages.
        kubeconfig: Path of the kubeconfig; "" for KUBECONFIG, the user's own, or the cluster's this runs in.
        context: Of the kubeconfig; "" for its current one.
        allowed: Contexts that may be used; None for all.
        attached: The AKS cluster that the target names in place of a context.
        patience: Seconds that an answer may take.
    """

    def __init__(
        self,
        name: str,
        *,
        kubeconfig: str = "",
        context: str = "",
        allowed: Sequence[str] | None = None,
        attached: AttachedCluster | None = None,
        patience: float = READ_SECONDS,
    ) -> None:
        self._patience = patience
        self._name = name
        self._connection = Connection(f"cluster '{name}'", kubeconfig, context, allowed, attached)

    def __str__(self) -> str:
        return f"cluster '{self._name}'"

    def place(self) -> str:
        """Which cluster it is, for what is remembered of it: a kubeconfig may lead to another one tomorrow.

        Raises:
            TargetError: It is not known how it is reached.
        """
        return self._connection.host()

    # -- one answer -------------------------------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json | None:
        """An object, None if there is none.

        Raises:
            TargetError: Of the class that says how to go on.
        """
        try:
            return self.call("GET", path, f"reading {path}", query)
        except MissingError:
            return None

    def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        what: str,
        *,
        manager: str = MANAGER,
        force: bool = False,
        dry: bool = False,
        hidden: bool = False,
    ) -> Json:
        """Server-side apply, with strict field validation.

        Args:
            force: Takes fields that others have.
            dry: Only says what would come of it.
            hidden: Secrets are in it: the API's words are not repeated.

        Raises:
            ManagerConflictError: Others have some of the fields. ConflictError: It is not there any more, or changed.
            TargetError: Any other refusal.
        """
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        query |= {"force": "true"} if force else {}
        query |= {"dryRun": "All"} if dry else {}
        return self.call("PATCH", path, what, query, body, APPLY, hidden=hidden)

    def make(self, path: str, body: Mapping[str, Any], what: str, *, hidden: bool = False) -> tuple[Json, bool]:
        """Server-side apply of what is taken for absent; with whether it was.

        Raises:
            As `apply`.
        """
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        response = self._send("PATCH", path, what, query, body, APPLY, read=self._patience)
        return self._judged(response, what, hidden=hidden), response.status == 201

    def delete(self, path: str, what: str, *, uid: str, version: str) -> None:
        """Asks for an object and what it owns to go, in that order; one that is gone is fine.

        Raises:
            ConflictError: It is another one, or changed.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid, "resourceVersion": version},
        }
        try:
            self.call("DELETE", path, what, None, body)
        except MissingError:
            return

    def call(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        *,
        hidden: bool = False,
    ) -> Json:
        """One request and its JSON.

        Args:
            what: What is done, for messages.

        Raises:
            TargetError: Of the class that says how to go on.
        """
        response = self._send(method, path, what, query, body, content_type, accept, read=self._patience)
        return self._judged(response, what, hidden=hidden)

    def _judged(self, response: Any, what: str, *, hidden: bool) -> Json:
        """An answer's JSON, or what it refuses."""
        data = parsed(response.data)
        if response.status >= 400:
            wait = response.headers.get("Retry-After", "")
            seconds = float(wait) if wait.isdecimal() else None
            raise refusal(response.status, data, f"{self}: {what}", retry_after=seconds, hidden=hidden)
        return data

    # -- lists and streams ------------------------------------------------------------------------------------------

    def listing(
        self, kind: Kind, namespace: str, selector: str = "", *, names: bool = False, path: str = ""
    ) -> Iterator[list[Json]]:
        """All objects of a kind in a namespace, page by page; begun anew once where the listing expires.

        Args:
            names: Only their metadata.
            path: Of the collection, where it is none of `KINDS`.
        """
        query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        again = True
        token = ""
        while True:
            page = {**query, **({"continue": token} if token else {})}
            accept = NAMES if names else "application/json"
            try:
                data = self.call(
                    "GET", path or kind.path(namespace), f"listing {kind.plural} in {namespace}", page, accept=accept
                )
            except TargetError as error:
                # An expired token answers 410, one that a restored API server does not know 400.
                if not token or not again or not isinstance(error, (ExpiredError, TerminalError)):
                    raise
                again, token = False, ""
                continue
            head = {"apiVersion": kind.api, "kind": kind.name}
            yield [{**head, **item} for item in cast("list[Json]", data.get("items") or [])]
            token = str(cast("Json", data.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def version_now(self, kind: Kind, namespace: str, selector: str) -> str:
        """What a watch begins after."""
        query = {"limit": "1", "labelSelector": selector}
        data = self.call("GET", kind.path(namespace), f"listing {kind.plural} in {namespace}", query)
        return str(cast("Json", data.get("metadata") or {}).get("resourceVersion") or "")

    def watch(
        self, kind: Kind, namespace: str, selector: str, since: str, opened: Callable[[Callable[[], None]], None]
    ) -> Iterator[str]:
        """Events after a version, of objects' metadata, until the API ends the stream or is silent for too long.

        As they come, a line each, to be read by `event` where there is time for it: the last of them before the next
        watch, since it says from where that goes on, and why this one ended.

        Args:
            opened: Is given what ends the stream from another thread.

        Raises:
            ExpiredError: The version is too old to go on from.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "labelSelector": selector,
            "timeoutSeconds": "600",
        }
        what = f"watching {kind.plural} in {namespace}"
        yield from self.lines(kind.path(namespace), what, query, SILENT_SECONDS, opened, NAMED)

    def event(self, line: str) -> Json:
        """An event that a watch told.

        Raises:
            ExpiredError: It says that the version is too old to go on from.
            TargetError: It says another reason for the watch's end.
        """
        event = parsed(line.encode())
        if event.get("type") == "ERROR":
            body = cast("Json", event.get("object") or {})
            raise refusal(int(body.get("code") or 500), body, f"{self}: watching")
        return event

    def lines(
        self,
        path: str,
        what: str,
        query: Mapping[str, str],
        silent: float | None,
        opened: Callable[[Callable[[], None]], None] = lambda _: None,
        accept: str = "application/json, */*",
    ) -> Iterator[str]:
        """A streamed answer, line by line.

        Args:
            silent: Seconds after which a stream that says nothing is given up; None to wait for ever.
            opened: Is given what ends the stream from another thread.
        """
        response = self._send("GET", path, what, query, None, "", accept, preload=False, read=silent)
        from urllib3.exceptions import HTTPError

        opened(lambda: _cut(response))
        try:
            if response.status >= 400:
                raise refusal(response.status, parsed(response.read()), f"{self}: {what}")
            rest = b""
            for chunk in response.stream(65536):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if rest:
                yield rest.decode(errors="replace")
        except (HTTPError, OSError, ValueError, AttributeError):
            # Ended from here, by silence, or by the network: whoever listens begins anew.
            return
        finally:
            response.close()

    def tunnel(self, namespace: str, pod: str, port: int) -> Any:
        """A connection to a port of a pod, through the API; a `PortForward` of the kubernetes package.

        Raises:
            AccessError: It is not allowed. TargetError: The pod cannot be reached.
        """
        with importing():
            from websocket import WebSocketException

        try:
            return self._tunnel(namespace, pod, port)
        except (OSError, ValueError, WebSocketException) as error:
            refused = untunnelled(error, f"{self}: pod {pod} cannot be reached")
            raise refused from refused.__cause__

    def _tunnel(self, namespace: str, pod: str, port: int, *, again: bool = True) -> Any:
        with importing():
            from websocket import WebSocketBadStatusException

        configuration: Any = self._connection.client().configuration
        headers = {**self._connection.credentials(), "sec-websocket-protocol": "v4.channel.k8s.io"}
        url = f"{self._connection.host()}/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
        try:
            return tunnelled(configuration, url, headers, port, min(CONNECT_SECONDS, self._patience))
        except WebSocketBadStatusException as error:
            if not again or error.status_code != 401:
                raise
        # As in `_send`.
        self.close()
        return self._tunnel(namespace, pod, port, again=False)

    def close(self) -> None:
        """Ends all connections; used again, it connects anew."""
        self._connection.close()

    # -- details ----------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        content_type: str,
        accept: str = "application/json",
        *,
        preload: bool = True,
        read: float | None,
        again: bool = True,
    ) -> Any:
        """An answer; one that does not know who asks is asked for once more, by whoever that is now.

        Args:
            again: Whether that is yet to be done.
        """
        sender, prefix = self._connection.sender()
        from urllib3 import Retry, Timeout
        from urllib3.exceptions import HTTPError

        headers = {"Accept": accept, "User-Agent": "reconciler", **self._connection.credentials()}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response = sender.urlopen(
                method,
                f"{prefix}{path}{f'?{urlencode(query)}' if query else ''}",
                body=_text(body) if body is not None else None,
                headers=headers,
                timeout=Timeout(connect=CONNECT_SECONDS, read=read),
                # Whether what was begun is begun again, the engine decides.
                retries=Retry(connect=1, read=0, redirect=0, other=0),
                preload_content=preload,
            )
        except (HTTPError, OSError) as error:
            raise UnavailableError(f"{self} does not answer, {what}: {_words(error)}", hint=REACH) from error
        if response.status != 401 or not again:
            return response
        # Credentials that were good may have been renewed, and nothing was done yet.
        response.close()
        self.close()
        sent = (method, path, what, query, body, content_type, accept)
        return self._send(*sent, preload=preload, read=read, again=False)


# Each escape of a text, so that a backslash which is escaped begins none; pairs as a whole.
_ESCAPE = re.compile(r"\\(?:ud[89ab]..\\ud[c-f]..|.)")


def _text(body: Mapping[str, Any]) -> bytes:
    """JSON that is YAML, too, as which the API reads what is applied: YAML has no pairs of escapes for one character.

    Source: https://yaml.org/spec/1.2.2/#57-escaped-characters
    """
    text = json.dumps(body)
    if "\\ud" in text:
        text = _ESCAPE.sub(lambda found: found[0] if len(found[0]) == 2 else str(json.loads(f'"{found[0]}"')), text)
    return text.encode()


def _cut(response: Any) -> None:
    """Ends a stream that another thread reads."""
    connection = getattr(response, "connection", None)
    own = getattr(connection, "sock", None)
    if own is not None:
        try:
            own.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _words(error: BaseException) -> str:
    """The innermost reason."""
    inner: BaseException = getattr(error, "reason", None) or error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = cast("BaseException", inner.__cause__ or inner.__context__)
    return (inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)) or type(inner).__name__
