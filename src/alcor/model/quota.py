"""How many records of each kind a project may have. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

UNLIMITED = -1
LIMIT_MAX = 2**31 - 1  # what clients of the Neutron API may say

# Of a project of which the operator said nothing else (`alcor up --quota KIND=LIMIT`), by every kind counted.
# Far above what Neutron grants by default: one call makes 10,000 ports, one tenant a million.
DEFAULT_LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "network": 10_000,
        "subnet": 20_000,
        "port": 2_000_000,
        "security_group": 10_000,
        "security_group_rule": 100_000,
        "router": 10_000,
        "port_group": 100_000,
        "rbac_policy": 10_000,
        "address_scope": 10_000,
        "subnetpool": 10_000,
        "address_group": 10_000,
        "address_group_entry": 100_000,  # a list shows all of them
        "trunk": 10_000,
    }
)


def is_over(used: int, limit: int) -> bool:
    """Is this more than the limit allows? UNLIMITED, or any negative limit, allows all."""
    return 0 <= limit < used
