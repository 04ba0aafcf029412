"""A target in memory (or in one JSON file): complete, scriptable, for tests of the engine and of the contract itself.

It is not offered to users. `World` is the target with its faults, `MemoryDriver` the driver; `driver_of` makes one for
a `Target` of type `memory`.
"""

from reconciler.targets.memory.driver import MemoryDriver, driver_of
from reconciler.targets.memory.faults import Crashed, Fault, WireError
from reconciler.targets.memory.world import World

__all__ = ["Crashed", "Fault", "MemoryDriver", "WireError", "World", "driver_of"]
