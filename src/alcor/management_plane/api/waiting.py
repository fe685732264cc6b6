"""`?wait=in_force|active&timeout=S`: answering only when the hosts have it."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.contracts.convergence import Convergence, Until
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.described import Operation, takes
from alcor.model import errors
from alcor.model.ids import PortId

TIMEOUT_DEFAULT_S = 5.0
TIMEOUT_MAX_S = 300.0
TAKES = (
    takes(
        "wait",
        "Answer only when the hosts have it (`in_force`), or its workload is there too (`active`).",
        {"enum": ["in_force", "active"]},
    ),
    takes(
        "timeout",
        f"Seconds to wait at most; {TIMEOUT_DEFAULT_S:.0f} if it is not said.",
        {"type": "number", "minimum": 0, "maximum": TIMEOUT_MAX_S},
    ),
)
WAITED = "X-Alcor-Wait"  # how the waiting ended


def described(operations: Mapping[str, Operation], *names: str) -> Mapping[str, Operation]:
    """Add the waiting to the descriptions of calls; to create, show and update, if none are named."""
    return {
        name: _waiting(operation) if name in (names or ("create", "show", "update")) else operation
        for name, operation in operations.items()
    }


def _waiting(operation: Operation) -> Operation:
    gives = tuple(msgspec.structs.replace(gift, headers=(*gift.headers, WAITED)) for gift in operation.gives)
    return msgspec.structs.replace(operation, takes=(*operation.takes, *TAKES), gives=gives)


class Wish(msgspec.Struct, frozen=True):
    """What the client waits for."""

    until: Until
    timeout_s: float


def wish_of(call: Call) -> Wish | None:
    """Read the wish from the query, before anything is done. Raises Invalid."""
    parameters = dict(call.parameters)
    until = parameters.get("wait")
    if until is None:
        return None
    if until not in ("in_force", "active"):
        raise errors.Invalid(f"Invalid input for wait. Reason: '{until}' is not in ['in_force', 'active'].")
    try:
        timeout_s = float(parameters.get("timeout", TIMEOUT_DEFAULT_S))
    except ValueError:
        timeout_s = -1.0
    if not 0 <= timeout_s <= TIMEOUT_MAX_S:
        raise errors.Invalid(f"Invalid input for timeout. Reason: it must be 0 to {TIMEOUT_MAX_S:.0f} seconds.")
    return Wish("in_force" if until == "in_force" else "active", timeout_s)


async def fulfil(
    wish: Wish | None, convergence: Convergence, port_ids: Sequence[PortId], revision: int
) -> dict[str, str]:
    """Wait as wished; give the header that says how it went."""
    if wish is None:
        return {}
    is_satisfied = await convergence.wait(
        port_ids, revision=revision, until=wish.until, timeout_s=wish.timeout_s
    )
    return {WAITED: "satisfied" if is_satisfied else "timeout"}
