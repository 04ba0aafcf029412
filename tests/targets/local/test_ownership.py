"""What is ours, what is not, and what cannot be read."""

import json
import shutil

import pytest

from reconciler.core.change import Action, Change, Step
from reconciler.core.errors import ConflictError, ForeignError
from reconciler.core.resources import Completeness, Health

from .harness import score


def test_empty_target_is_complete_and_empty(bench):
    """Nothing there, and known to be nothing."""
    seen = bench.driver.observe([])
    assert seen.complete
    assert seen.resources == {}


def test_foreign_folder_is_seen_only_where_it_matters(bench):
    """A folder without our identity is reported, unmarked, where a service of ours would stand; else not at all."""
    bench.folder().mkdir(parents=True)
    assert bench.driver.observe([]).resources == {}
    assert bench.observe().mark is None


@pytest.mark.parametrize("step", [Step.STAGE, Step.PROMOTE, Step.DISCARD, Step.APPLY])
def test_foreign_folder_is_not_taken_over(bench, step):
    """Writing over it is refused, with how to adopt it."""
    bench.folder().mkdir(parents=True)
    with pytest.raises(ForeignError) as caught:
        bench.apply(bench.change(bench.deployment(), step))
    assert "adopt: true" in caught.value.hint
    assert list(bench.folder().iterdir()) == []


def test_foreign_folder_is_not_deleted(bench):
    """Deleting takes only what is ours."""
    bench.folder().mkdir(parents=True)
    with pytest.raises(ForeignError):
        bench.apply(Change(bench.id(), Action.DELETE))
    assert bench.folder().exists()


def test_foreign_folder_is_adopted_on_request(bench):
    """With adopt, the folder becomes ours and the service serves from it."""
    bench.folder().mkdir(parents=True)
    seen = bench.deploy(bench.deployment(), action=Action.ADOPT)
    assert seen.owned_by("installation-1")
    assert score(seen) == (200, "one")


def test_copied_folder_is_not_ours(bench):
    """A copy of a service's folder keeps the mark of the original and so is nobody's of that name."""
    seen = bench.deploy(bench.deployment())
    skip = shutil.ignore_patterns("*.sock", "lock")
    shutil.copytree(bench.folder(), bench.folder("copy"), ignore=skip)
    found = bench.driver.observe([bench.id("copy")]).resources
    assert not found[bench.id("copy")].owned_by("installation-1")
    assert bench.id("copy") not in bench.driver.observe([]).resources
    with pytest.raises(ForeignError):
        bench.apply(Change(bench.id("copy"), Action.DELETE))
    assert score(seen) == (200, "one")


def test_service_of_another_installation_is_not_ours(bench):
    """Two installations on one state directory leave each other alone."""
    bench.deploy(bench.deployment())
    identity = bench.folder() / "identity.json"
    identity.write_text(json.dumps({**json.loads(identity.read_text()), "installation": "other"}))
    assert bench.driver.observe([]).resources == {}
    with pytest.raises(ForeignError):
        bench.apply(bench.change(bench.deployment("two"), Step.STAGE))


def test_stale_version_conflicts_and_writes_nothing(bench):
    """A change planned before another one was made is refused."""
    stale = bench.deploy(bench.deployment("one"))
    bench.deploy(bench.deployment("two"))
    before = bench.state()
    for change in (
        bench.change(bench.deployment("three"), Step.STAGE, observed=stale),
        bench.change(bench.deployment("three"), Step.APPLY, observed=stale),
        Change(bench.id(), Action.DELETE, observed=stale),
    ):
        with pytest.raises(ConflictError):
            bench.apply(change)
    after = bench.state()
    assert (after["generation"], after["record"], after["staged"]) == (before["generation"], before["record"], None)


def test_damaged_state_makes_the_reading_partial(bench):
    """One service that cannot be read does not hide the others, and is not taken for gone."""
    bench.deploy(bench.deployment())
    bench.deploy(bench.deployment(name="other"))
    (bench.folder("other") / "identity.json").write_text("{")
    seen = bench.driver.observe([bench.id("other")])
    assert seen.completeness is Completeness.PARTIAL
    assert "other: " in seen.missing
    assert list(seen.resources) == [bench.id()]


def test_state_file_damaged_while_nothing_runs(bench):
    """A supervisor that starts over a damaged state file serves; port and events are lost, not the service."""
    import os

    seen = bench.deploy(bench.deployment())
    os.kill(seen.outputs["pid"], 9)
    (bench.folder() / "service.json").write_text("{}")
    assert bench.observe().health is Health.MISSING
    assert score(bench.deploy(bench.deployment())) == (200, "one")
