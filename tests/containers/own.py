"""A second container engine, of one test alone: it can be ended and started again, and takes TLS where asked."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.certificates import certificate_in
from tests.containers.engine import engine, standin
from tests.containers.waiting import PATIENCE, until


class OwnEngine:
    """Runs `dockerd` with everything of its own: data, socket, bridge; the machine's packet filter is left alone.

    Args:
        tls: Folder with `ca.pem`, `cert.pem` and `key.pem` for a TCP port on loopback; None for none.
    """

    def __init__(self, tls: Path | None = None) -> None:
        engine().close()
        # Sockets have short names, so a test's own folder is too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/var/tmp"))
        self._bridge = f"rt{secrets.token_hex(4)}"
        self._net = 1 + secrets.randbelow(250)
        self.url = f"unix://{self.folder}/s"
        self.tcp = ""
        self._listen = ["--host", self.url]
        if tls is not None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.tcp = f"tcp://127.0.0.1:{free.getsockname()[1]}"
            files = ["--tlscacert", f"{tls}/ca.pem", "--tlscert", f"{tls}/cert.pem", "--tlskey", f"{tls}/key.pem"]
            self._listen += ["--host", self.tcp, "--tlsverify", *files]
        for words in (
            ["link", "add", self._bridge, "type", "bridge"],
            ["addr", "add", f"10.213.{self._net}.1/24", "dev", self._bridge],
            ["link", "set", self._bridge, "up"],
        ):
            subprocess.run(["ip", *words], check=True)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
            self._copy(standin())
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Starts it, and waits until it answers; on a busy machine its first try may end for want of patience."""
        until(self._answers, lambda: (self.folder / "log").read_text()[-2000:])

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._process = self._started()
        return not subprocess.run(self._docker("version"), capture_output=True, check=False).returncode

    def _started(self) -> subprocess.Popen[bytes]:
        # No address pool: an engine that is given one and starts again removes the machine's docker0.
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    "dockerd", *self._listen, "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/x",
                    "--pidfile", f"{self.folder}/pid", "--bridge", self._bridge, "--iptables=false", "--ip-masq=false",
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        """Ends it as a service manager does: its containers end, and begin again with it."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)

    def docker(self, *words: str) -> str:
        """The docker command at this engine."""
        done = subprocess.run(self._docker(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _docker(self, *words: str) -> list[str]:
        return ["docker", "--host", self.url, *words]

    def _copy(self, image: str) -> None:
        """Gives it an image of the other engine's."""
        saving = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        assert saving.stdout is not None
        subprocess.run(self._docker("load", "--quiet"), stdin=saving.stdout, check=True, capture_output=True)
        saving.stdout.close()
        assert saving.wait() == 0

    def close(self) -> None:
        """Ends it with all that it made, also what it left behind if it ended badly."""
        if self._process is not None and self._process.poll() is None:
            if left := self.docker("ps", "--all", "--quiet").split():
                self.docker("rm", "--force", "--volumes", *left)
            self.docker("network", "prune", "--force")
            self.stop()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(self.folder).encode() in (process / "cmdline").read_bytes():
                    for child in (process / "task" / process.name / "children").read_text().split():
                        os.kill(int(child), signal.SIGKILL)
                    os.kill(int(process.name), signal.SIGKILL)
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False)
        subprocess.run(["ip", "link", "del", self._bridge], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def certificate(folder: Path) -> Path:
    """A folder as docker has it, with one certificate that is everything: authority, server and client."""
    folder.mkdir()
    certificate_in(folder)
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    return folder


class Sshd:
    """An `sshd` on loopback that lets one key in, and an `ssh` that knows it, first on the path.

    Args:
        folder: For keys, configuration and the command.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        for name in ("host", "key", "other"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, capture_output=True)
        server = folder / "sshd_config"
        server.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/key.pub\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PidFile {folder}/pid\n"
        )
        host = (folder / "host.pub").read_text().split()
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {host[0]} {host[1]}\n")
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.admit(folder / "key")
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(server)], stdout=self._log, stderr=self._log
        )
        until(self._listens, (folder / "log").read_text)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            assert self._process.poll() is None
            return False
        return True

    def admit(self, key: Path) -> None:
        """Makes `ssh` use a key."""
        options = f"-F none -o UserKnownHostsFile={key.parent}/known -o IdentitiesOnly=yes -i {key}"
        command = self.bin / "ssh"
        command.write_text(f'#!/bin/sh\nexec {shutil.which("ssh", path=os.defpath)} {options} "$@"\n')
        command.chmod(0o755)

    @property
    def path(self) -> str:
        """`PATH` with that ssh first."""
        return f"{self.bin}:{os.environ['PATH']}"

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()
