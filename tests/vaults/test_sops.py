"""Encrypted files through the real sops, and what is refused before sops sees it.

Keys of cloud providers are not asked for here: that takes the provider. That the child process is given what it needs
to sign in to Azure, and nothing else, a stand-in for sops tells.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.azure.login import AzureLogin
from reconciler.core.errors import AccessError, InvalidError, ReconcilerError, RefusedError, UnavailableError
from reconciler.core.secrets import SecretRef
from reconciler.manifests.sops import parse_sealed
from reconciler.secrets.scope import Sops, Vaults
from reconciler.secrets.sops import SopsFiles

from .sealing import age_key_file, seal, sops_program

VALUES: dict[str, Any] = {
    "database": {"password": "hunter2 → ü\n", "port": 5432, "tls": True, "ratio": 1.5},
    "a/b~c": ["first", "second"],
    "long": "x" * 100_000,
}
READABLE = {
    "/database/password": "hunter2 → ü\n",
    "/database/port": "5432",
    "/database/tls": "true",
    "/database/ratio": "1.5",
    "/a~1b~0c/1": "second",
    "/long": "x" * 100_000,
}


@pytest.fixture
def scope(tmp_path: Path) -> Sops:
    """What an operator allows who has the key."""
    return Sops(("secrets",), binary=sops_program(), age_key_file=age_key_file(tmp_path))


def reader(scope: Sops, data: bytes, vaults: Vaults | None = None) -> SopsFiles:
    """A reader over a repo of one file."""
    return SopsFiles(scope, vaults or Vaults(), lambda path, object_id: data, parse_sealed)


def ref(pointer: str, path: str = "secrets/prod.yaml") -> SecretRef:
    """A reference into the file."""
    return SecretRef("sops", f"{path}#{pointer}")


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_values_come_out_as_they_went_in(scope: Sops, kind: str) -> None:
    """Texts as they are, numbers and booleans as JSON writes them."""
    files = reader(scope, seal(VALUES, kind))
    assert {p: files.read(ref(p, f"secrets/prod.{kind}")).text for p in READABLE} == READABLE
    for pointer in ("/database", "/a~1b~0c", "/nothing", "/database/password/x"):
        with pytest.raises(InvalidError, match="no single value"):
            files.read(ref(pointer, f"secrets/prod.{kind}"))


def test_a_file_is_decrypted_once(scope: Sops, tmp_path: Path) -> None:
    """However many of its values are read, until its bytes change."""
    counter = tmp_path / "runs"
    program = _script(tmp_path, f'open({str(counter)!r}, \'a\').write(\'x\'); print(\'{{"a": "1", "b": "2"}}\')')
    files = reader(replace(scope, binary=program), seal({"a": "1", "b": "2"}))
    assert [files.read(ref(p)).text for p in ("/a", "/b", "/a")] == ["1", "2", "1"]
    assert counter.read_text() == "x"


@pytest.mark.parametrize("path", ["other/prod.yaml", "secrets-not.yaml", "prod.yaml", "secretsx/prod.yaml"])
def test_only_allowed_files_are_read(scope: Sops, path: str) -> None:
    """A folder allows what is below it, and nothing is allowed that was not named."""
    with pytest.raises(RefusedError, match=r"secrets\.sops\.files"):
        reader(scope, b"").read(ref("/a", path))
    with pytest.raises(RefusedError, match=r"secrets\.sops\.files"):
        reader(replace(scope, files=()), b"").read(ref("/a"))


def _with_metadata(**more: Any) -> bytes:
    document = json.loads(seal({"a": "secret"}, "json"))
    document["sops"].update(more)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "metadata",
    [
        {"hc_vault": [{"vault_address": "http://203.0.113.1", "engine_path": "t", "key_name": "k", "enc": "x"}]},
        {"HC_Vault": [{"vault_address": "http://203.0.113.1", "engine_path": "t", "key_name": "k", "enc": "x"}]},
        {"kms": [{"arn": "arn:aws:kms:eu-central-1:1:key/1", "enc": "x"}]},
        {"gcp_kms": [{"resource_id": "projects/p", "enc": "x"}]},
        {"azure_kv": [{"vault_url": "https://evil.vault.azure.net", "name": "k", "version": "1", "enc": "x"}]},
        {"key_groups": [{"age": []}, {"hc_vault": [{"vault_address": "http://203.0.113.1"}]}]},
        {"Key_Groups": [{"hc_vault": [{"vault_address": "http://203.0.113.1"}]}]},
        {"key_groups": ["odd"]},
        {"something_new": [{"address": "http://203.0.113.1"}]},
    ],
)
def test_keys_that_nobody_allowed_are_not_asked_for(scope: Sops, tmp_path: Path, metadata: dict[str, Any]) -> None:
    """Who writes the file does not decide whom sops talks to: sops does not even start."""
    ran = tmp_path / "ran"
    program = _script(tmp_path, f"open({str(ran)!r}, 'w')")
    with pytest.raises(RefusedError, match=r"secrets\.sops\.keySources"):
        reader(replace(scope, binary=program), _with_metadata(**metadata)).read(ref("/a", "secrets/x.json"))
    assert not ran.exists()


def test_metadata_with_a_key_twice_is_refused(scope: Sops) -> None:
    """sops does not tell upper from lower case there, so what differs in nothing else could hide something."""
    with pytest.raises(InvalidError, match="metadata that sops did not write"):
        reader(scope, _with_metadata(AGE=[])).read(ref("/a", "secrets/x.json"))


def test_a_vault_must_be_an_allowed_one(scope: Sops) -> None:
    """Allowing keys of key vaults allows those of the vaults that are named, not of any."""
    key = {"name": "k", "version": "1", "created_at": "2026-01-01T00:00:00Z", "enc": "x"}
    data = _with_metadata(azure_kv=[{"vault_url": "https://evil.vault.azure.net", **key}])
    allowing = replace(scope, key_sources=frozenset({"age", "azure_kv"}))
    with pytest.raises(RefusedError, match=r"secrets\.keyVault\.vaults"):
        reader(allowing, data, Vaults.of(["good"], "vault.azure.net")).read(ref("/a", "secrets/x.json"))
    found = reader(allowing, data, Vaults.of(["evil"], "vault.azure.net")).read(ref("/a", "secrets/x.json"))
    assert found.text == "secret"


def test_the_child_process_gets_nothing_of_ours(scope: Sops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what finds the program and its keys; for key vaults, what signs in to Azure."""
    monkeypatch.setenv("APP_TOKEN", "c4n4ry")
    monkeypatch.setenv("VAULT_TOKEN", "c4n4ry")
    program = _script(tmp_path, "import json, os; print(json.dumps({'env': json.dumps(sorted(os.environ))}))")
    login = AzureLogin("clientSecret", tenant_id="t", client_id="c", client_secret="s", ca_file=Path("/ca.pem"))
    gnupg = replace(scope, binary=program, gnupg_home=tmp_path)
    environment = login.variables({"APP_TOKEN": "c4n4ry", "IDENTITY_HEADER": "h"})
    seen = [
        set(json.loads(reader(each, seal({"a": "b"})).read(ref("/env")).text)) - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
        for each in (gnupg, replace(gnupg, environment=environment))
    ]
    own = {"PATH", "LC_ALL", "HOME", "SOPS_AGE_KEY_FILE", "GNUPGHOME"}
    azure = {"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST"}
    assert seen == [own, own | azure | {"IDENTITY_HEADER", "SSL_CERT_FILE"}]
    assert environment["AZURE_AUTHORITY_HOST"] == "https://login.microsoftonline.com/"


OTHERS = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def test_a_file_for_somebody_else_says_so(scope: Sops) -> None:
    """No key opens it: that is a matter of access, and of the vault's availability where a vault holds the key."""
    data = seal({"a": "secret"}, recipient=OTHERS)
    with pytest.raises(AccessError, match=r"no key at hand opens secrets/prod\.yaml, which is encrypted for age"):
        reader(scope, data).read(ref("/a"))


def test_a_vault_that_may_be_down_is_no_verdict(scope: Sops, tmp_path: Path) -> None:
    """Without an answer from the vault nobody knows whether we may use its key."""
    program = _script(tmp_path, "raise SystemExit(128)")
    allowing = replace(scope, key_sources=frozenset({"age", "azure_kv"}), binary=program)
    data = _with_metadata(azure_kv=[{"vault_url": "https://good.vault.azure.net", "name": "k", "enc": "x"}])
    with pytest.raises(UnavailableError):
        reader(allowing, data, Vaults.of(["good"], "vault.azure.net")).read(ref("/a", "secrets/x.json"))


def _altered() -> bytes:
    document = json.loads(seal({"a": "secret", "b": "other"}, "json"))
    document["a"], document["b"] = document["b"], document["a"]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_altered, "changed after it was encrypted"),
        (lambda: b'{"a": "c4n4ry"}', "is not encrypted by sops"),
        (lambda: b'{"a": "c4n4ry', "is not JSON that sops wrote"),
        (lambda: b'{"a": 1, "a": "c4n4ry", "sops": {"mac": 1}}', "is not JSON that sops wrote"),
        (lambda: b"\xff\xfec4n4ry", "is not JSON that sops wrote"),
        (lambda: b"[" * 100_000, "is not JSON that sops wrote"),
    ],
)
def test_what_cannot_be_decrypted_is_not_repeated(scope: Sops, make: Callable[[], bytes], message: str) -> None:
    """The message says what is wrong with the file, and nothing of what is in it."""
    with pytest.raises(InvalidError, match=message) as caught:
        reader(scope, make()).read(ref("/a", "secrets/x.json"))
    assert "c4n4ry" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["a: [c4n4ry\n", "a: 1\n---\nb: c4n4ry\n", "a: c4n4ry\n", "- c4n4ry\n", ""])
def test_yaml_that_sops_did_not_write(scope: Sops, text: str) -> None:
    """The same for YAML, several documents among them."""
    with pytest.raises(InvalidError) as caught:
        reader(scope, text.encode()).read(ref("/a"))
    assert "c4n4ry" not in f"{caught.value} {caught.value.hint}"


def test_a_program_that_is_missing_hangs_or_talks_nonsense(scope: Sops, tmp_path: Path) -> None:
    """Each ends in an error that says so; one that hangs is ended with all it started."""
    data = seal({"a": "secret"})
    told: list[str] = []
    cases = {
        "no-such-program": 30.0,
        _script(tmp_path, "import time; time.sleep(3600)", "hangs"): 0.2,
        _script(tmp_path, "print('c4n4ry: no JSON')", "talks"): 30.0,
        _script(tmp_path, "raise SystemExit(7)", "fails"): 30.0,
    }
    for binary, timeout in cases.items():
        with pytest.raises(ReconcilerError) as caught:
            reader(replace(scope, binary=binary, timeout=timeout), data).read(ref("/a"))
        told.append(str(caught.value))
    assert [("c4n4ry" in text) for text in told] == [False] * 4
    words = ("not installed here", "did not end within", "not JSON", "ended with code 7")
    assert [word in text for word, text in zip(words, told, strict=True)] == [True] * 4


def _script(folder: Path, body: str, name: str = "sops") -> str:
    """A program in place of sops that reads its input and does something else."""
    path = folder / name
    path.write_text(f"#!{sys.executable} -I\nimport sys\nsys.stdin.buffer.read()\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
