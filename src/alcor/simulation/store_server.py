"""The store's server under simulation: it crashes, and comes back with all that was committed."""

from alcor.contracts.memory_leases import MemoryBlockLeases
from alcor.contracts.memory_store import MemoryStore
from alcor.runtime.clock import Clock


class StoreServer:
    """Owner of what is durable. `store` and `leases` are there for those who watch, crashed or not."""

    def __init__(self, clock: Clock) -> None:
        self.store = MemoryStore(clock)
        self.leases = MemoryBlockLeases(self.store)
        self.is_up = True
        self.crashes = 0

    def crash(self) -> None:
        """End: whoever waits for an answer gets none, whether what it asked for is done or not."""
        self.is_up = False
        self.crashes += 1

    def come_back(self) -> None:
        """Answer again."""
        self.is_up = True
