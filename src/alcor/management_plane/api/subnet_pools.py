"""Subnet pools on the wire, and the actions on their prefixes."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import form, gate, policy, validation
from alcor.management_plane.api.accepts import list_of, object_of
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection, written
from alcor.management_plane.api.described import describes, gives
from alcor.management_plane.api.standard import STANDARD, Answer, shared_by_admin, standard
from alcor.management_plane.subnet_pool.decisions import PREFIXES_MAX, SubnetPoolFields
from alcor.management_plane.subnet_pool.service import SubnetPoolService
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.records import RecordSet, SubnetPool

_LENGTH_MAX = 128  # of any prefix; what the pool's IP version has, the decision knows
_QUOTA_MAX = 2**31 - 1
_PREFIXES = object_of({"prefixes": {**list_of(validation.CIDR, most=PREFIXES_MAX), "minItems": 1}}, "prefixes")
_length = validation.integer(0, _LENGTH_MAX)


def _lengths(name: str) -> Attribute:
    return Attribute(name=name, parse=_length, post=True, put=True, filterable=True, sortable=True)


RESOURCE = Resource(
    singular="subnetpool",
    plural="subnetpools",
    kind=SubnetPool,
    fields=SubnetPoolFields,
    attributes=(
        *(each for each in STANDARD if each.name != "name"),
        Attribute(
            name="name",
            parse=validation.name,
            post=True,
            put=True,
            required=True,
            filterable=True,
            sortable=True,
            column="name",
        ),
        Attribute(name="prefixes", parse=validation.prefixes(PREFIXES_MAX), post=True, put=True, required=True),
        _lengths("min_prefixlen"),
        _lengths("max_prefixlen"),
        _lengths("default_prefixlen"),
        Attribute(
            name="default_quota",
            parse=validation.optional(validation.integer(0, _QUOTA_MAX)),
            post=True,
            put=True,
            filterable=True,
            sortable=True,
        ),
        Attribute(
            name="address_scope_id",
            parse=validation.optional(validation.uuid_text),
            post=True,
            put=True,
            filterable=True,
            sortable=True,
            column="address_scope_id",
        ),
        Attribute(name="ip_version", filterable=True, sortable=True),
        Attribute(
            name="is_default",
            parse=validation.boolean,
            post=True,
            put=True,
            admin_only=True,
            default=False,
            filterable=True,
            sortable=True,
        ),
        shared_by_admin(put=False),
    ),
)


class SubnetPoolAnswer(Answer, kw_only=True):
    """A subnet pool as it is shown."""

    prefixes: list[str]
    min_prefixlen: int
    max_prefixlen: int
    default_prefixlen: int
    default_quota: int | None
    address_scope_id: str | None
    ip_version: int
    is_default: bool
    shared: bool


class Prefixes(msgspec.Struct, frozen=True):
    """The prefixes of a pool, after they were changed."""

    prefixes: list[str]


class Onboarded(msgspec.Struct, frozen=True):
    """A subnet that is from the pool now."""

    id: str
    cidr: str


class SubnetPoolCollection(Collection[SubnetPoolFields]):
    """Serves subnet pools."""

    def __init__(self, store: Store, service: SubnetPoolService) -> None:
        async def answers(call: Call, pools: Sequence[SubnetPool]) -> list[SubnetPoolAnswer]:
            shared = await access.shared_ids(store, call.caller, pools)
            return [_answer(pool, shared=pool.id in shared) for pool in pools]

        super().__init__(RESOURCE, store, service, answers, create=service.create, as_made=_as_made)
        self._pools = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        one = "/v2.0/subnetpools/{id}"
        return [
            *super().routes(entrance),
            entrance.route(f"{one}/add_prefixes", policy=policy.TENANT, put=self.add_prefixes),
            entrance.route(f"{one}/remove_prefixes", policy=policy.TENANT, put=self.remove_prefixes),
            entrance.route(f"{one}/onboard_network_subnets", policy=policy.TENANT, put=self.onboard),
        ]

    @describes(gives(200, of=Prefixes), summary="Add prefixes to a subnet pool", body=_PREFIXES, refuses=(409,))
    async def add_prefixes(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT add_prefixes."""
        revision, pool = await self._pools.add_prefixes(call.caller, path["id"], _prefixes(call))
        return written(Prefixes(_texts(pool)), 200, revision=revision)

    @describes(gives(200, of=Prefixes), summary="Remove prefixes from a subnet pool", body=_PREFIXES)
    async def remove_prefixes(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT remove_prefixes."""
        revision, pool = await self._pools.remove_prefixes(call.caller, path["id"], _prefixes(call))
        return written(Prefixes(_texts(pool)), 200, revision=revision)

    @describes(
        gives(200, of=Onboarded, is_many=True),
        summary="Make the subnets of a network subnets from the pool",
        body=object_of({"network_id": validation.UUID}, "network_id"),
        refuses=(409,),
    )
    async def onboard(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT onboard_network_subnets."""
        document = form.decoded(call.body)
        if document.get("network_id") is None:
            raise errors.Invalid(
                "Invalid input for operation: network_id must be specified.", reason="InvalidInput"
            )
        form.check_known(document, ("network_id",))
        try:
            network_id = validation.uuid_text(document["network_id"])
        except ValueError as reason:
            raise form.invalid_input("network_id", reason) from None
        revision, subnets = await self._pools.onboard(call.caller, path["id"], network_id)
        return written(
            [Onboarded(subnet.id, str(Cidr(*subnet.cidr))) for subnet in subnets], 200, revision=revision
        )


async def _as_made(call: Call, made: RecordSet) -> list[SubnetPoolAnswer]:
    shared = {policy.object_id for policy in made.rbac_policies}
    return [_answer(pool, shared=pool.id in shared) for pool in made.subnetpools]


def _answer(pool: SubnetPool, *, shared: bool) -> SubnetPoolAnswer:
    return SubnetPoolAnswer(
        **standard(pool),  # type: ignore[arg-type]  # the common part, by name
        prefixes=_texts(pool),
        min_prefixlen=pool.min_prefixlen,
        max_prefixlen=pool.max_prefixlen,
        default_prefixlen=pool.default_prefixlen,
        default_quota=pool.default_quota,
        address_scope_id=pool.address_scope_id,
        ip_version=pool.ip_version,
        is_default=pool.is_default,
        shared=shared,
    )


def _texts(pool: SubnetPool) -> list[str]:
    return [str(Cidr(*prefix)) for prefix in pool.prefixes]


def _prefixes(call: Call) -> tuple[Cidr, ...]:
    document = form.decoded(call.body)
    if not document.get("prefixes") or not isinstance(document["prefixes"], list):
        raise errors.Invalid("Request body contains invalid data")
    form.check_known(document, ("prefixes",))
    try:
        return validation.prefixes(PREFIXES_MAX)(document["prefixes"])
    except ValueError as reason:
        raise form.invalid_input("prefixes", reason) from None
