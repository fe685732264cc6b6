"""What a router joins, as it was read."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.model.records import Port, Subnet


class Joined(msgspec.Struct, frozen=True):
    """What a router has: its interfaces, and the subnets that they are in, by id."""

    interfaces: Sequence[Port]
    subnets: Mapping[str, Subnet]
