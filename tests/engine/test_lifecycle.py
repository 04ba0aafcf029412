"""The transition table of a change: walked, so that no state can be stuck. What drives it is tested in test_apply."""

from reconciler.engine.lifecycle import FINAL, TABLE, Signal, State


def test_every_open_state_has_a_deadline_and_leads_somewhere_on_it():
    """A state that is not final names its deadline and has an exit for it."""
    for state in set(State) - FINAL:
        assert TABLE[state].deadline
        assert Signal.DEADLINE in TABLE[state].exits
        assert Signal.CANCELLED in TABLE[state].exits


def test_every_state_reaches_a_final_one():
    """From each state some chain of exits ends in a final state."""
    for start in TABLE:
        reached, frontier = {start}, [start]
        while frontier:
            found = set(TABLE[frontier.pop()].exits.values()) if frontier[-1] not in FINAL else set()
            frontier += [s for s in found - reached if s not in FINAL]
            reached |= found
        assert reached & FINAL


def test_final_states_have_no_exits():
    """Nothing leads out of a final state."""
    assert not FINAL & TABLE.keys()


def test_every_state_and_signal_is_used():
    """The table has no state that is never entered and no signal that never occurs."""
    entered = {State.WAITING} | {state for row in TABLE.values() for state in row.exits.values()}
    used = {signal for row in TABLE.values() for signal in row.exits}

    assert entered == set(State)
    assert used == set(Signal)
