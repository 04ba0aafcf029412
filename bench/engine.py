"""What the container bench compares with: a compose project of the same containers, and those of somebody else."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.containers.engine import docker, remove_all

# Docker Compose as a program, of the group `test`.
COMPOSE = Path(sys.executable).with_name("docker-compose")


class Compose:
    """A compose project of the same containers as a `Shop`'s."""

    def __init__(self, folder: Path, image: str, many: int) -> None:
        self._name = f"bench{secrets.token_hex(4)}"
        self._file = folder / f"{self._name}.json"
        service = {
            "image": image,
            "environment": {"ANSWER": "first"},
            "restart": "unless-stopped",
            "read_only": True,
            "tmpfs": ["/tmp:mode=1777"],
            "init": True,
            "mem_limit": "250000000",
            "memswap_limit": "250000000",
            "stop_grace_period": "15s",
            "logging": {"driver": "json-file", "options": {"max-size": "10000000", "max-file": "5"}},
        }
        with ports(many) as free:
            services = {f"s{n:03d}": {**service, "ports": [f"127.0.0.1:{port}:5001"]} for n, port in enumerate(free)}
        self._file.write_text(json.dumps({"name": self._name, "services": services}))

    def version(self) -> str:
        """Its version."""
        done = subprocess.run([COMPOSE, "version", "--short"], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def up(self, *words: str) -> float:
        """Seconds of `up --detach`."""
        return self._run("up", "--detach", *words)

    def down(self) -> None:
        """Takes it away."""
        self._run("down", "--timeout", "0")

    def _run(self, *words: str) -> float:
        began = time.perf_counter()
        done = subprocess.run([COMPOSE, "--file", str(self._file), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"compose {' '.join(words)}: {done.stderr[-500:]}")
        return time.perf_counter() - began


@contextmanager
def ports(many: int) -> Iterator[list[int]]:
    """Free ports, all different."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    try:
        yield [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


@contextmanager
def foreign(many: int, image: str) -> Iterator[None]:
    """So many containers of somebody else on the engine."""
    name = f"foreign{secrets.token_hex(4)}"
    try:
        for number in range(many):
            docker("create", "--name", f"{name}.{number}", "--label", "somebody=else", image)
        yield
    finally:
        remove_all(f"{name}.")
