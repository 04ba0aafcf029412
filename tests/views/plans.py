"""Plans to render: one that has everything in it, and a strategy for any."""

from __future__ import annotations

from hypothesis import strategies as st

from reconciler.core.basis import Basis, NotCompared
from reconciler.core.change import (
    Action,
    Blocked,
    Cause,
    Change,
    Disruption,
    Drift,
    DriftedField,
    Estimate,
    FieldChange,
    Kept,
    Plan,
    Refusal,
    Step,
    Way,
)
from reconciler.core.contents import Revision
from reconciler.core.policy import FieldPolicy
from reconciler.core.problems import Position, Problem, Severity
from reconciler.core.resources import Completeness, Desired, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import MISSING, Unknown

REVISION = Revision("9c41f02" + "0" * 33, "main", "Serve version 2", 1_700_000_000.0)
WAYS = (
    Way("to let it through", command="reconciler approve 1234"),
    Way("to keep it", edit="services/old.yaml:1, below spec: policy: {prune: false}"),
)
CANARY = "canary-hunter2-canary"


def secret(text: str = CANARY) -> Secret:
    """A secret whose text must never be seen, nor its fingerprint."""
    return Secret(f"fp-{CANARY}-{text}", SecretRef("env", "API_KEY"), text)


def everything() -> Plan:
    """One plan with each kind of entry."""
    model = ResourceId("registry/models", "model", "diabetes-ridge:2")
    environment = ResourceId("registry/environments", "environment", "py-3f9c2a81b2c1")
    process = ResourceId("laptop", "process", "diabetes")
    other = ResourceId("laptop", "process", "iris")
    gone = ResourceId("laptop", "process", "old")
    rollout = (Step.STAGE, Step.TEST, Step.PROMOTE)
    return Plan(
        revision=REVISION,
        changes=(
            Change(
                model,
                Action.CREATE,
                "new in Git",
                desired=Desired(
                    model,
                    {"name": "diabetes-ridge", "token": secret("t"), "digest": Unknown(str(environment), "/digest")},
                    summary="1.2 MB sha256:9c41aabb",
                ),
            ),
            Change(environment, Action.NOOP, "in sync", steps=()),
            Change(
                process,
                Action.UPDATE,
                "changed in Git",
                "diabetes",
                (
                    FieldChange("/models/0/version", "1", "2"),
                    FieldChange("/auth/keys/primary", secret("a"), secret("b")),
                    FieldChange("/environment/digest", "8be01d77", Unknown(str(environment), "/digest")),
                    FieldChange("/env/MODE", MISSING, "fast"),
                    FieldChange("/workers", 4, 2, Cause.DRIFT),
                    FieldChange("/port", 8891, 8892, Cause.CONFLICT, 8890),
                ),
                desired=Desired(process, {}, service="diabetes", tests=(SmokeTest("answers"),)),
                depends_on=(model, environment),
                steps=rollout,
            ),
            Change(other, Action.REPLACE, "changed in Git", "iris", disruption=Disruption.REPLACE),
            Change(gone, Action.DELETE, "taken out of Git", "old", disruption=Disruption.DATA_LOSS),
        ),
        drift=(
            Drift(
                process,
                "diabetes",
                (
                    DriftedField("/workers", 2, 4, 2),
                    DriftedField("/port", 8890, 8891, 8892, conflict=True),
                    DriftedField("/limits/openFiles", 64, MISSING, 64, FieldPolicy.REPORT),
                ),
            ),
        ),
        kept=(Kept(ResourceId("registry/models", "model", "iris:1"), "not used any more", "retained"),),
        refusals=(
            Refusal("too-many-deletes", "target laptop: too many", "check", ("laptop",), ways=WAYS),
            Refusal("approval-required", "target laptop: 3 changes wait", "look", ("laptop",), ways=WAYS[:1]),
            Refusal(
                "approval-required",
                "target registry/models: a change waits",
                "look",
                ("registry/models",),
                approved="ann@ops",
            ),
        ),
        blocked=(Blocked(ResourceId("edge", "module", "x"), "target edge cannot be seen: timed out\nlast log line"),),
        warnings=(Problem("python-overridden", "python 3.6.2 cannot be had", severity=Severity.WARNING),),
        problems=(Problem("unknown-key", "unknown key 'memroyGb'", Position("services/a.yaml", 7, 5), "memoryGb?"),),
        targets={"laptop": Completeness.COMPLETE, "edge": Completeness.UNAVAILABLE},
        suspended=("paused",),
        unseen={"edge": "timed out after 10 s\nlast log line"},
        estimate=Estimate(725.0, {"laptop": (725.0, "it takes 20 calls a minute, and this needs 240")}),
        basis=Basis(
            "snapshot",
            "main@1f0c2d1",
            "rc-1f0c2d1a4b5e",
            1_700_000_000.0,
            1260.0,
            (NotCompared("laptop/process/diabetes", "/environmentVariables/TOKEN", "env:ML_TOKEN"),),
        ),
    )


texts = st.text(max_size=30)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=12)
ids = st.builds(ResourceId, st.sampled_from(["laptop", "registry/models", "edge"]), names, names)
secrets = st.builds(secret, st.sampled_from("abc"))
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), texts, secrets, st.builds(Unknown, st.just("a/b/c"), st.just("/x"))
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
fields = st.builds(
    FieldChange, texts, st.one_of(st.just(MISSING), values), st.one_of(st.just(MISSING), values), st.sampled_from(Cause)
)
drifted = st.builds(
    DriftedField,
    texts,
    *[st.one_of(st.just(MISSING), values)] * 3,
    st.sampled_from(FieldPolicy),
    st.booleans(),
)
drifts = st.builds(Drift, ids, texts, st.lists(drifted, max_size=3).map(tuple), st.booleans(), texts)
changes = st.builds(
    Change,
    ids,
    st.sampled_from(Action),
    texts,
    texts,
    st.lists(fields, max_size=4).map(tuple),
    disruption=st.sampled_from(Disruption),
    drift_only=st.booleans(),
)
problems = st.builds(
    Problem, st.just("some-code"), texts, st.none() | st.builds(Position, texts, st.integers(0, 9)), texts
)
estimates = st.builds(
    Estimate,
    st.floats(60, 1e6),
    st.dictionaries(names, st.tuples(st.floats(60, 1e6), texts), max_size=2),
)
plans = st.builds(
    Plan,
    st.builds(Revision, st.just("a" * 40), texts, texts),
    st.lists(changes, max_size=6).map(tuple),
    st.lists(
        st.builds(Drift, ids, texts, st.lists(drifted, max_size=3).map(tuple), st.booleans(), texts), max_size=3
    ).map(tuple),
    st.lists(st.builds(Kept, ids, texts, st.just("retained")), max_size=3).map(tuple),
    st.lists(st.builds(Refusal, st.just("protected"), texts, texts), max_size=3).map(tuple),
    st.lists(st.builds(Blocked, ids, texts), max_size=3).map(tuple),
    st.lists(problems, max_size=3).map(tuple),
    targets=st.dictionaries(names, st.sampled_from(Completeness), max_size=3),
    unseen=st.dictionaries(names, texts, max_size=2),
    estimate=st.none() | estimates,
    basis=st.none()
    | st.builds(Basis, st.sampled_from(["commit", "snapshot"]), texts, texts, st.floats(0, 2e9), st.floats(0, 1e7)),
)
