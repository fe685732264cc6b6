"""The network, subnet and router that are made for a project, and how they end. Pure.

Their ids are made from the project's name: so of many who ask at once one makes them, and the others find them.
"""

import uuid
from collections.abc import Sequence

import msgspec

from alcor.contracts.store import Write
from alcor.model import errors
from alcor.model.ids import NetworkId, RouterId
from alcor.model.records import Network, Port, Router

NETWORK_NAME = "auto_allocated_network"
SUBNET_NAME = "auto_allocated_subnet_v4"
ROUTER_NAME = "auto_allocated_router"
_NAMESPACE = uuid.UUID("5d1f9d3e-3c55-4c8e-9f0b-6a2c7d1e8b40")


def network_id_of(project_id: str) -> NetworkId:
    """Name the network of a project's topology."""
    return NetworkId(str(uuid.uuid5(_NAMESPACE, f"network {project_id}")))


def router_id_of(project_id: str) -> RouterId:
    """Name the router of a project's topology."""
    return RouterId(str(uuid.uuid5(_NAMESPACE, f"router {project_id}")))


def delete(
    write: Write, network: Network, router: Router | None, interfaces: Sequence[Port], ports: Sequence[Port]
) -> Write:
    """Have the write that removes the network take the router along.

    `interfaces`: the router's. `ports`: some on the network, two at least if there are as many.
    Raises Conflict while somebody uses the network, or the router elsewhere.
    """
    own = [port for port in interfaces if port.network_id == network.id]
    if any(port not in own for port in ports):
        raise errors.Conflict(
            f"Unable to complete operation on network {network.id}. "
            "There are one or more ports still in use on the network.",
            reason="NetworkInUse",
        )
    if router is not None and len(own) != len(interfaces):
        raise errors.Conflict(f"Router {router.id} still has ports", reason="RouterInUse")
    routers = () if router is None else (router,)
    deletes = msgspec.structs.replace(write.deletes, routers=routers, ports=tuple(own))
    return msgspec.structs.replace(write, deletes=deletes)


def failure(sentence: str) -> errors.Conflict:
    """Make the error for what the region does not have."""
    return errors.Conflict(f"Deployment error: {sentence}.", reason="AutoAllocationFailure")
