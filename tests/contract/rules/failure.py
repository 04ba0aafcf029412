# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""What goes wrong, and how it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.errors import TargetError, TerminalError, ThrottledError, UnavailableError

from ..fixture import FAILURES, DriverFixture, needs
from .base import CANARY, Rules, assert_holds, only, there


class ErrorRules(Rules):
    """What the target says becomes a class that says how to go on."""

    @needs("fail")
    def test_every_failure_maps_to_its_class(self, target: DriverFixture) -> None:
        """401, 403, 404, 409, 412, 429, 5xx, time-out and a broken connection each come out as their class, chained."""
        bench = target.bench()
        bench.settle([target.desired()])
        update = only(bench.plan([target.desired(variant="changed")]))
        for failure in FAILURES:
            wanted = target.fail(failure)
            with pytest.raises(TargetError) as caught:
                bench.drivers[update.id.target].apply(replace(update, step=update.steps[0]))
            assert type(caught.value) is wanted, failure
            assert caught.value.__cause__ is not None, failure
            assert caught.value.hint, failure

    @needs("fail")
    def test_a_throttled_answer_keeps_the_time_asked_for(self, target: DriverFixture) -> None:
        """Retry-After comes through."""
        bench = target.bench()
        create = only(bench.plan([target.desired()]))
        target.fail("429")
        with pytest.raises(ThrottledError) as caught:
            bench.drivers[create.id.target].apply(replace(create, step=create.steps[0]))
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 0

    @needs("fail")
    def test_an_answer_that_was_lost_is_not_a_second_write(self, target: DriverFixture) -> None:
        """A write that happened although its answer was lost is found as done by the next plan."""
        bench, desired = target.bench(), target.desired()
        for failure in ("timeout", "broken", "500"):
            target.fail(failure, when="after")
            with pytest.raises(UnavailableError):
                bench.settle([desired])
            bench.settle([desired])
            assert list(bench.observe()[desired.id.target].resources) == [desired.id]
            assert_holds(there(bench, desired), desired)
            bench.settle([])

    @needs("invalid")
    def test_what_the_target_refuses_is_terminal(self, target: DriverFixture) -> None:
        """A spec that is wrong for the target stops until it changes."""
        bench = target.bench()
        create = only(bench.plan([target.invalid("wrong")]))
        with pytest.raises(TerminalError):
            bench.drivers[create.id.target].apply(replace(create, step=create.steps[0]))
        assert bench.look(create.id) is None

    @needs("secret", "fail")
    def test_no_secret_in_any_text(self, target: DriverFixture) -> None:
        """No error, hint, cause or answer holds a secret, whatever goes wrong with it in hand."""
        bench, desired = target.bench(), target.secret("keeper", CANARY)
        create = only(bench.plan([desired]))
        driver = bench.drivers[create.id.target]
        for failure in FAILURES:
            target.fail(failure)
            with pytest.raises(TargetError) as caught:
                driver.apply(replace(create, step=create.steps[0]))
            exc: BaseException | None = caught.value
            while exc is not None:
                assert CANARY not in f"{exc!r} {exc} {getattr(exc, 'hint', '')}"
                exc = exc.__cause__
        assert CANARY not in repr(driver.apply(replace(create, step=create.steps[0])))
        assert CANARY not in repr(driver)
