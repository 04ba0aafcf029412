"""Who asks, as a cluster tells it to what runs inside of it."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.config import incluster_config

from reconciler.core.errors import UnavailableError
from reconciler.targets.aks import connection
from reconciler.targets.aks.connection import Connection


class Hours(datetime.datetime):
    """Whoever asks for the time again does so an hour later."""

    passed = 0

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Hours:
        """Some hours after noon."""
        cls.passed += 1
        return cls(2026, 11, 22, 12, tzinfo=tz) + datetime.timedelta(hours=cls.passed)


@pytest.mark.parametrize("content", [None, ""])
def test_a_token_that_is_gone_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """The file of a pod's token is written anew now and then: whoever reads it meanwhile is told in words."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("of-the-pod")
    authority.write_text("certificates")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    clock = SimpleNamespace(datetime=Hours, timedelta=datetime.timedelta)
    monkeypatch.setattr(incluster_config, "datetime", clock)
    monkeypatch.setattr(connection, "FRESH_SECONDS", 0.0)
    inside = Connection("cluster 'c'", "", "", None, None)
    assert inside.credentials() == {"authorization": "bearer of-the-pod"}
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
    with pytest.raises(UnavailableError, match=r"^cluster 'c': "):
        inside.credentials()
    token.write_text("of-today")
    assert inside.credentials() == {"authorization": "bearer of-today"}
