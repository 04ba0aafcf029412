"""A manifest repo with a local target of its own on the real engine, and commands run as a user runs them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from tests.containers.engine import docker, engine, remove_all

RECONCILER = Path(sys.executable).with_name("reconciler")
EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart"
DATA = '{"data": [[0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0.0, 0.02, -0.02]]}'


class Shop:
    """The quickstart, served by the engine."""

    def __init__(self, folder: Path) -> None:
        engine().close()
        self.target = f"t{secrets.token_hex(4)}"
        self.folder, self.state = folder / "shop", folder / "state"
        self.settings = folder / "settings.yaml"
        self.settings.write_text(json.dumps({"images": {}}))
        self.run("init", str(self.folder), where=folder)
        (self.folder / "targets").mkdir()
        self.write(
            f"targets/{self.target}.yaml",
            "apiVersion: reconciler/v1\nkind: Target\n"
            f"metadata: {{name: {self.target}}}\nspec: {{type: local, local: {{engine: docker}}}}\n",
        )
        service = self.folder / "services" / "diabetes.yaml"
        service.write_text(service.read_text().replace("target: local", f"target: {self.target}"))
        script = self.folder / "inference" / "sklearn" / "score.py"
        # Content of its own: what the engine has from elsewhere would not be built.
        script.write_text(f"{script.read_text()}\n# {self.target}\n")
        self.commit("Containers")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)

    def commit(self, message: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        for words in (["add", "--all"], [*identity, "commit", "--quiet", "--message", message]):
            subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)

    def run(self, *words: str, where: Path | None = None, code: int = 0) -> str:
        environment = {**os.environ, "RECONCILER_STATE_DIR": str(self.state), "NO_COLOR": "1"}
        done = subprocess.run(
            [str(RECONCILER), *words],
            cwd=where or self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apply(self, code: int = 0, *words: str) -> str:
        return self.run("apply", "--yes", "--settings", str(self.settings), *words, code=code)

    def close(self) -> None:
        """Takes away what it made on the engine."""
        remove_all(f"{self.target}.")
        named = docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        ours = {f"reconciler/{path.name}" for path in (self.state / "images").glob("*:*")}
        for name in named:
            if name in ours or f"/{self.target}/" in name:
                subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)
