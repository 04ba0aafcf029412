"""`reconciler capacity`: the example of Azure ML's page, as text and JSON."""

from __future__ import annotations

import json

import pytest
import yaml

from reconciler.cli.main import main
from reconciler.manifests.kinds.deployment import DeploymentSettings

PAGE = [
    "capacity",
    "--rps",
    "20",
    "--seconds-per-request",
    "10",
    "--target-utilization",
    "0.7",
    "--max-concurrent",
    "1",
]


def test_what_it_says_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    """The settings are YAML that a service takes, and the same as in JSON."""
    assert main(PAGE) == 0
    text = capsys.readouterr().out
    assert text.startswith("286 replicas: 200 requests under way")
    pasted = yaml.safe_load("\n".join(line[2:] for line in text.splitlines() if line.startswith("  ")))
    settings = DeploymentSettings.model_validate(pasted["deployment"])
    assert settings.aks is not None
    assert settings.aks.autoscale.max_replicas == 286
    assert settings.aks.autoscale.target_utilization == 70
    assert main([*PAGE, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["replicas"], found["requestsUnderWay"]) == (286, 200)
    assert found["deployment"] == pasted["deployment"]


@pytest.mark.parametrize("share", ["70", "0.705", "0", "-1", "nan", ""])
def test_a_share_that_is_none(capsys: pytest.CaptureFixture[str], share: str) -> None:
    """It is said which are."""
    assert main([*PAGE[:5], f"--target-utilization={share}"]) == 10
    assert "is no" in capsys.readouterr().err
