"""What creating ports reads, kept from request to request: networks, subnets, groups, what shares them. Pure.

Dropped as soon as a change of it is heard of. That may be late, for changes of other processes: so a write that
was decided on what is kept guards it as unchanged, and a refusal is decided on fresh reads only
(`service.py`). What is not there is not kept.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from alcor.contracts.store import Change
from alcor.model.records import Network, RbacPolicy, SecurityGroup, Subnet

_V = TypeVar("_V")

NETWORKS_MAX = 10_000  # with their subnets; beyond, the oldest goes
GROUPS_MAX = 20_000
GRANTS_MAX = 20_000  # pairs of an object and a project


class Kept(msgspec.Struct, frozen=True):
    """Some of what creating ports reads. Subnets by network, in id order; every network here has its own.

    `grants`: by object, the policy by which the project in question uses it.
    """

    networks: dict[str, Network]
    subnets: dict[str, Sequence[Subnet]]
    groups: dict[str, SecurityGroup]
    grants: dict[str, RbacPolicy]


class Reading:
    """A read of the store under way. Remembers what changed meanwhile: that is not kept."""

    __slots__ = ("spoiled",)

    def __init__(self) -> None:
        self.spoiled: set[str] = set()


class ReadCache:
    """Owner of what is kept, oldest first, and of the readings under way."""

    def __init__(self, *, networks_max: int = NETWORKS_MAX, groups_max: int = GROUPS_MAX) -> None:
        self._networks_max = networks_max
        self._groups_max = groups_max
        self._networks: dict[str, tuple[Network, Sequence[Subnet]]] = {}
        self._groups: dict[str, SecurityGroup] = {}
        self._grants: dict[str, dict[str, RbacPolicy]] = {}  # by object and project
        self._grants_held = 0
        self._readings: set[Reading] = set()

    def find(self, network_ids: Iterable[str], group_ids: Iterable[str], project_id: str) -> Kept:
        """Give what is kept of these, and what shares them with a project. O(ids)."""
        found = {id_: self._networks[id_] for id_ in network_ids if id_ in self._networks}
        return Kept(
            {id_: network for id_, (network, _) in found.items()},
            {id_: subnets for id_, (_, subnets) in found.items()},
            {id_: self._groups[id_] for id_ in group_ids if id_ in self._groups},
            {
                id_: self._grants[id_][project_id]
                for id_ in (*network_ids, *group_ids)
                if id_ in self._grants and project_id in self._grants[id_]
            },
        )

    def begin(self) -> Reading:
        """Say that a read of the store begins. It must be ended."""
        reading = Reading()
        self._readings.add(reading)
        return reading

    def keep(self, reading: Reading, found: Kept, project_id: str = "") -> None:
        """Keep what the reading has found, but for what changed since it began. `project_id`: of the grants."""
        for id_, network in found.networks.items():
            # A network without subnets is new: its first subnet is on its way.
            if id_ not in reading.spoiled and found.subnets[id_]:
                _put(self._networks, id_, (network, found.subnets[id_]), self._networks_max)
        for id_, group in found.groups.items():
            if id_ not in reading.spoiled:
                _put(self._groups, id_, group, self._groups_max)
        for id_, policy in found.grants.items():
            if id_ not in reading.spoiled:
                self._keep_grant(id_, project_id, policy)

    def end(self, reading: Reading) -> None:
        """Say that a read has ended, whatever became of it."""
        self._readings.discard(reading)

    def on_change(self, change: Change) -> None:
        """Drop what a commit changed; any order, repeated or not. O(records of these kinds in it)."""
        for records in (change.puts, change.deletes):
            self._drop(record.id for record in records.networks)
            self._drop(record.network_id for record in records.subnets)
            self._drop(record.id for record in records.security_groups)
            self._drop(record.object_id for record in records.rbac_policies)

    def _drop(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._networks.pop(id_, None)
            self._groups.pop(id_, None)
            self._grants_held -= len(self._grants.pop(id_, ()))
            for reading in self._readings:
                reading.spoiled.add(id_)

    def _keep_grant(self, object_id: str, project_id: str, policy: RbacPolicy) -> None:
        of_object = self._grants.setdefault(object_id, {})
        self._grants_held += project_id not in of_object
        of_object[project_id] = policy
        while self._grants_held > GRANTS_MAX:
            oldest = next(iter(self._grants))
            self._grants_held -= len(self._grants.pop(oldest))


def _put(kept: dict[str, _V], id_: str, value: _V, size_max: int) -> None:
    kept.pop(id_, None)
    if len(kept) >= size_max:
        del kept[next(iter(kept))]
    kept[id_] = value
