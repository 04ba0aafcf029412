"""Commits must carry a signature by a trusted key where the operator asks for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.core.errors import InvalidError
from reconciler.source import Verify

from .conftest import ENVIRONMENT, Opener, Repo

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


def ssh_key(folder: Path, name: str) -> Path:
    """A new key."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)],
        check=True,
        env=ENVIRONMENT,
    )
    return folder / name


def sign(repo: Repo, key: Path) -> str:
    """Commits with a signature by that key."""
    repo.write({"a.yaml": key.name})
    repo.git("add", "-A")
    repo.git("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "commit", "-q", "-S", "-m", "signed")
    return repo.git("rev-parse", "HEAD")


@needs_ssh
@pytest.mark.parametrize("remote", [False, True])
def test_ssh_signatures(repo: Repo, opened: Opener, tmp_path: Path, remote: bool) -> None:
    """A trusted key's commit is taken; an unsigned, a foreign and a forged one are refused, saying why."""
    trusted, other = ssh_key(tmp_path, "trusted"), ssh_key(tmp_path, "other")
    signers = tmp_path / "signers"
    signers.write_text(f"ada@example.com {trusted.with_suffix('.pub').read_text()}")
    location = {True: f"file://{repo.folder}", False: str(repo.folder)}[remote]
    verify = Verify(allowed_signers=signers)
    repo.commit({"a.yaml": "1"})
    with pytest.raises(InvalidError, match="is not signed"):
        opened(location, ref="main", verify=verify).fetch()
    good = sign(repo, trusted)
    assert opened(location, ref="main", verify=verify).fetch().sha == good
    raw = repo.git("cat-file", "commit", good)
    forged = repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=f"{raw}!\n".encode())
    repo.git("update-ref", "refs/heads/forged", forged)
    with pytest.raises(InvalidError, match="no good signature"):
        opened(location, ref="forged", verify=verify).fetch()
    sign(repo, other)
    with pytest.raises(InvalidError, match="no good signature"):
        opened(location, ref="main", verify=verify).fetch()


@needs_ssh
def test_a_repo_cannot_name_its_own_signers(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """Trust comes from the operator's settings, not from the config of the repo that is verified."""
    key, trusted = ssh_key(tmp_path, "mine"), ssh_key(tmp_path, "trusted")
    (tmp_path / "mine-too").write_text(f"ada@example.com {key.with_suffix('.pub').read_text()}")
    (tmp_path / "signers").write_text(f"ada@example.com {trusted.with_suffix('.pub').read_text()}")
    sign(repo, key)
    repo.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "mine-too"))
    repo.git("config", "gpg.ssh.program", "/bin/true")
    with pytest.raises(InvalidError, match="no good signature"):
        opened(repo.folder, verify=Verify(allowed_signers=tmp_path / "signers")).fetch()


@needs_gpg
def test_openpgp_signatures(repo: Repo, opened: Opener, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A key in the operator's GnuPG home is trusted; without it the same commit is refused."""
    # gpg-agent's socket needs a short path.
    home = Path(subprocess.check_output(["mktemp", "-d", "/tmp/gpgXXXXXX"], text=True).strip())
    try:
        gpg = {"GNUPGHOME": str(home)}
        subprocess.run(
            ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "Ada <ada@example.com>", "ed25519"],
            check=True,
            env=ENVIRONMENT | gpg,
            capture_output=True,
        )
        repo.write({"a.yaml": "1"})
        repo.git("add", "-A")
        repo.git("commit", "-q", "-Sada@example.com", "-m", "signed", **gpg)
        assert opened(repo.folder, verify=Verify(gnupg_home=home)).fetch().subject == "signed"
        empty = tmp_path_factory.mktemp("g")
        empty.chmod(0o700)
        with pytest.raises(InvalidError, match="no good signature"):
            opened(repo.folder, verify=Verify(gnupg_home=empty)).fetch()
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=ENVIRONMENT | {"GNUPGHOME": str(home)}, check=False)
        shutil.rmtree(home, ignore_errors=True)
