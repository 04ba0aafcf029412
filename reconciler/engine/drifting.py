"""What is written down and said of drift: when it begins, changes, comes back again and again, and ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import structlog

from reconciler.core.change import Drift
from reconciler.core.drifting import WHOLE, Event, Noticed, Turn, healed, noticed
from reconciler.core.resources import Observation, ResourceId
from reconciler.engine.outcome import Look
from reconciler.engine.store import Attempt, Store

log = structlog.get_logger(__name__)


def notice_drift(store: Store, look: Look, own: Collection[str] | None, now: float) -> None:
    """Records the drift that a look saw; what it shares with the last look is not written again.

    Args:
        own: The targets whose drift is to be noted; None for all.
        now: Unix seconds.
    """
    known = store.drift()
    drift = [item for item in look.plan.drift if own is None or item.id.target in own]
    observations = look.situation.observations
    seen = {id_ for id_ in known if (own is None or id_.target in own) and _complete(observations.get(id_.target))}
    _write(store, look, noticed(known, drift, seen, now), now)


def drift_healed(store: Store, look: Look, done: Collection[ResourceId], now: float) -> frozenset[ResourceId]:
    """Records that drift was taken back by changes that were carried out; the resources concerned."""
    taken = [item for item in look.plan.drift if item.healing and item.id in done]
    if taken:
        _write(store, look, healed(store.drift(), taken, done, now), now)
    return frozenset(item.id for item in taken)


def _complete(observation: Observation | None) -> bool:
    return observation is not None and observation.complete


def _write(store: Store, look: Look, made: Noticed, now: float) -> None:
    store.put_drift(*made.changed)
    store.drop_drift(made.forgotten)
    found = {item.id: item for item in look.plan.drift}
    for event in made.events:
        data = _told(event, found.get(event.memory.id), look)
        ended = event.turn is Turn.ENDED
        store.record(Attempt(now, str(look.plan.revision), "recovered" if ended else "drift", data))
        (log.info if ended else log.warning)("drift ended" if ended else "drift", **data)


def _told(event: Event, drift: Drift | None, look: Look) -> Mapping[str, Any]:
    memory = event.memory
    data: dict[str, Any] = {"id": str(memory.id), "service": memory.service, "turn": event.turn.value}
    data["fields"] = [pointer for pointer in event.fields if pointer != WHOLE]
    if event.turn is Turn.ENDED:
        return data | {"healed": event.healed, "seconds": round(event.seconds, 3)}
    data["times"] = max(spell.count for spell in memory.lasting.values())
    if drift is not None:
        data |= {"gone": drift.gone, "note": drift.note}
        data["policies"] = {one.pointer: one.policy.value for one in drift.fields}
        data["by"] = _owners(drift, look)
    return {name: value for name, value in data.items() if value or name in ("fields", "gone")}


def _owners(drift: Drift, look: Look) -> str:
    observation = look.situation.observations.get(drift.id.target)
    seen = observation.resources.get(drift.id) if observation else None
    owners = [seen.owner_of(one.pointer) for one in drift.fields] if seen else []
    return ", ".join(sorted({owner.manager for owner in owners if owner is not None}))
