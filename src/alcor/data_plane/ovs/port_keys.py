"""Where port keys must be on record, so that the next agent gives ports the same ones. Pure."""

from alcor.data_plane.ovs.attachments import AttachmentView, KeyPlace
from alcor.model.goal_state import LocalPort
from alcor.model.ids import PortId


def to_record(
    view: AttachmentView, port_id: PortId, port: LocalPort | None, key: int | None
) -> dict[KeyPlace, int | None]:
    """Give what must be written for a port (None: gone) that is not on record as it is. O(1).

    A port's key is on its own interface, a sub-port's on that of its parent.
    """
    row, recorded = view.sub_port_key(port_id)
    found: dict[KeyPlace, int | None] = {}
    if port is not None and port.tag is not None:
        parent = view.attachment(port.tag.parent)
        if parent is not None and (row, recorded) != (parent.interface, key):
            found[KeyPlace.of_sub_port(parent.interface, port_id)] = key
        return found
    if row:
        found[KeyPlace.of_sub_port(row, port_id)] = None
    own = view.attachment(port_id) if port is not None else None
    if own is not None and own.key != key:
        found[KeyPlace(own.interface)] = key
    return found
