"""Sub-ports go where their parent goes, in the same write, whoever moves it."""

from alcor.contracts.store import Guard, Store
from alcor.management_plane import settlement, writes
from alcor.management_plane.trunk import decisions
from alcor.model.records import Port, Trunk


async def moved(
    store: Store, before: Port, after: Port, now_us: int
) -> tuple[tuple[Port, ...], tuple[Guard, ...]]:
    """Give the sub-ports of a parent that goes to another host, and that all is as it was read. O(sub-ports).

    Raises Again when the trunk is no longer there.
    """
    link = before.trunk
    if link is None or not link.is_parent or before.host == after.host:
        return (), ()
    trunk = (await store.get(Trunk, [link.trunk_id])).get(link.trunk_id)
    if trunk is None:
        raise settlement.Again
    ports = await store.get(Port, [sub.port_id for sub in trunk.sub_ports])
    found = decisions.moved(after, list(ports.values()), now_us=now_us)
    return found, writes.unchanged([trunk, *ports.values()])
