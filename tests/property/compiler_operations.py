"""What is done to a small cloud at random, and how often."""

import random
from dataclasses import dataclass

# How often each operation is drawn: ports most, what tears things down least.
WEIGHTS = {
    "add_network": 3,
    "add_subnet": 2,
    "change_network": 1,
    "change_subnet": 1,
    "add_pool": 2,
    "rescope_pool": 4,
    "onboard_subnet": 4,
    "delete_pool": 1,
    "delete_subnet": 1,
    "delete_network": 1,
    "add_port": 8,
    "add_ports": 6,
    "move_port": 6,
    "regroup_port": 5,
    "secure_port": 3,
    "pair_port": 2,
    "trunk_port": 3,
    "announce": 3,
    "raise_port": 3,
    "configure_port": 1,
    "rename_port": 1,
    "readdress_port": 3,
    "swap_addresses": 2,
    "change_owner": 1,
    "delete_port": 4,
    "add_router": 3,
    "raise_router": 1,
    "reroute": 3,
    "delete_router": 1,
    "add_interface": 6,
    "delete_interface": 4,
    "add_group": 4,
    "change_group": 1,
    "delete_group": 1,
    "add_rule": 6,
    "delete_rule": 4,
    "add_address_group": 2,
    "add_address": 4,
    "remove_address": 3,
    "delete_address_group": 1,
    "register_host": 4,
    "rezone_host": 1,
    "forget_host": 1,
}
NAMES = tuple(name for name, weight in WEIGHTS.items() for _ in range(weight))


@dataclass(frozen=True)
class Operation:
    """One thing to do. The numbers choose among what exists, modulo."""

    name: str
    a: int = 0
    b: int = 0
    c: int = 0
    flag: bool = False
    joins: bool = False  # committed together with the operation before


def random_operation(choice: random.Random, name: str | None = None) -> Operation:
    """Draw an operation evenly, where hypothesis would prefer small numbers."""
    return Operation(
        name or choice.choice(NAMES),
        choice.randrange(64),
        choice.randrange(64),
        choice.randrange(64),
        choice.random() < 0.5,
        choice.random() < 0.3,
    )


def replace_op(op: Operation, b: int, c: int) -> Operation:
    """Give the operation with other choices."""
    return Operation(op.name, op.a, b, c, op.flag, op.joins)
