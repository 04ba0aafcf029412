"""Git repositories served over HTTP, by Git's own backend."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .conftest import ENVIRONMENT


class _Backend(BaseHTTPRequestHandler):
    """git http-backend, behind basic authentication where there is a token."""

    root: Path
    token: str

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Serves."""
        self._serve(b"")

    def do_POST(self) -> None:
        """Serves."""
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        if self.token and self.headers.get("Authorization") != self.token:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=x")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env=ENVIRONMENT
            | {
                "GIT_PROJECT_ROOT": str(self.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "CONTENT_LENGTH": str(len(body)),
            },
        )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(rest)


@contextmanager
def served(root: Path, login: str = "", host: str = "127.0.0.1") -> Iterator[str]:
    """`host:port` of a server of all repositories below a folder.

    Args:
        login: `user:password` that it asks for; "" for none.
        host: Address of this machine to listen on.
    """
    token = "Basic " + base64.b64encode(login.encode()).decode() if login else ""
    handler = type("Handler", (_Backend,), {"root": root, "token": token})
    with ThreadingHTTPServer((host, 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{host}:{httpd.server_address[1]}"
        finally:
            httpd.shutdown()
            thread.join()
