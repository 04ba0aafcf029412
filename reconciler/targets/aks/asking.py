"""What pods say of the requests that they answered, read from the scoring runtime's `/metrics` through the API."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import UnavailableError
from reconciler.core.secrets import Secret
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import PORT

_SECONDS = 10.0
_MOST_BYTES = 4_000_000
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.MULTILINE | re.IGNORECASE)
_REQUESTS = re.compile(rb'^reconciler_serving_requests_total\{code="(\d{3})"\} (\d+)', re.MULTILINE)
# Fewer requests than these say nothing of a rate: one that failed would be half of two.
FEW = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """How many requests were answered, and how many of them with an error of the server's."""

    total: int = 0
    failed: int = 0

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.total + other.total, self.failed + other.failed)

    def __str__(self) -> str:
        return f"{self.failed:,} of {self.total:,} requests failed"

    def more_than(self, rate: float) -> bool:
        """Whether more than a part of them failed, of few requests taken as more."""
        return self.failed > rate * max(self.total, FEW)


def answers_of(text: bytes) -> Answers:
    """What an exposition says; status 499 is the caller's going away, and no error of the server's."""
    found = [(int(code), int(count)) for code, count in _REQUESTS.findall(text)]
    return Answers(sum(count for _, count in found), sum(count for code, count in found if code >= 500))


def answers(cluster: Cluster, namespace: str, pods: Iterable[str], key: Secret | None) -> Answers:
    """What all of some pods answered since each began.

    Args:
        key: Of the service, since what it tells is not for everybody.

    Raises:
        UnavailableError: One of them cannot be asked.
    """
    whole = Answers()
    for pod in pods:
        whole += answers_of(_metrics(cluster, namespace, pod, key))
    return whole


def _whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(ended) and length is not None and len(body) >= int(length[1])


def _metrics(cluster: Cluster, namespace: str, pod: str, key: Secret | None) -> bytes:
    head = ["GET /metrics HTTP/1.0", f"host: {pod}", "accept: text/plain"]
    if key is not None:
        head.append(f"authorization: Bearer {key.reveal()}")
    tunnel = cluster.tunnel(namespace, pod, PORT)
    try:
        far: Any = tunnel.socket(PORT)
        far.settimeout(_SECONDS)
        far.sendall("\r\n".join([*head, "", ""]).encode())
        answer = b""
        # By its length: the end of a connection is not always passed on.
        while not _whole(answer) and len(answer) < _MOST_BYTES and (data := far.recv(65536)):
            answer += data
    except OSError as error:
        raise UnavailableError(f"{cluster}: pod {pod} does not answer /metrics", hint="see its log") from error
    finally:
        with contextlib.suppress(Exception):
            tunnel.close()
    status, _, body = answer.partition(b"\r\n\r\n")
    code = status.split(b" ", 2)[1:2]
    if code != [b"200"]:
        said = code[0].decode(errors="replace") if code else "nothing"
        raise UnavailableError(f"{cluster}: pod {pod} answers /metrics with {said}", hint="see its log")
    return body
