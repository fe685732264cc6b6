"""Subnet pools: their bounds, what they give and take back."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alcor.management_plane.caller import Caller
from alcor.management_plane.subnet_pool import decisions
from alcor.management_plane.subnet_pool.decisions import Scoped, SubnetPoolFields
from alcor.model import errors, prefixes
from alcor.model.addressing import Cidr
from alcor.model.ids import AddressScopeId, NetworkId, ProjectId, RequestId, SubnetId, SubnetPoolId
from alcor.model.records import AddressScope, Subnet, SubnetPool

CALLER = Caller(ProjectId("blue"), False, RequestId("req-1"))
SCOPE = AddressScope(id=AddressScopeId("scope"), project_id=ProjectId("blue"))


def cidrs(*texts: str) -> tuple[Cidr, ...]:
    return tuple(map(Cidr.from_text, texts))


def pool(*texts: str, scoped: Scoped | None = None, **said: object) -> SubnetPool:
    fields = SubnetPoolFields(name="p", prefixes=cidrs(*texts), **said)  # type: ignore[arg-type]
    return decisions.create(fields, pool_id="p", scoped=scoped, caller=CALLER, now_us=1)


def texts(found: tuple[tuple[bytes, int], ...]) -> list[str]:
    return [str(Cidr(*prefix)) for prefix in found]


def subnet(text: str, number: int = 1) -> Subnet:
    return Subnet(
        id=SubnetId(f"s-{number}"),
        project_id=ProjectId("blue"),
        network_id=NetworkId("n"),
        cidr=Cidr.from_text(text),
        subnetpool_id=SubnetPoolId("p"),
    )


def reason_of(call: pytest.ExceptionInfo[errors.AlcorError]) -> str:
    return call.value.reason


def test_prefixes_are_compacted_and_lengths_have_neutrons_defaults() -> None:
    made = pool("10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "10.9.0.0/16")
    assert texts(made.prefixes) == ["10.0.0.0/23", "10.9.0.0/16"] == texts(made.free)
    assert (made.min_prefixlen, made.default_prefixlen, made.max_prefixlen) == (8, 8, 32)
    assert pool("10.0.0.0/8", min_prefixlen=20).default_prefixlen == 20


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"min_prefixlen": 24, "max_prefixlen": 20}, "min_prefixlen=24, max_prefixlen=20"),
        ({"max_prefixlen": 33}, "max_prefixlen=33, ip_version_max=32"),
        ({"min_prefixlen": 16, "default_prefixlen": 12}, "default_prefixlen=12, min_prefixlen=16"),
        ({"max_prefixlen": 24, "default_prefixlen": 26}, "default_prefixlen=26, max_prefixlen=24"),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(said: dict[str, object], message: str) -> None:
    with pytest.raises(errors.Invalid, match=message) as refused:
        pool("10.0.0.0/8", **said)
    assert reason_of(refused) == "IllegalSubnetPoolPrefixBounds"


@pytest.mark.parametrize(
    ("given_prefixes", "reason"),
    [
        ((), "EmptySubnetPoolPrefixList"),
        (("10.0.0.0/8", "fd00::/48"), "PrefixVersionMismatch"),
        (("fe80::/48",), "InvalidInput"),
        (("::/3",), "InvalidInput"),
        (("ff00::/16",), "InvalidInput"),
        (("127.0.0.0/16",), "InvalidInput"),
        (("0.0.0.0/0",), "InvalidInput"),
        (("224.0.0.0/8",), "InvalidInput"),
    ],
)
def test_prefixes_without_hosts_or_of_two_versions_are_refused(
    given_prefixes: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        pool(*given_prefixes)
    assert reason_of(refused) == reason


def test_the_smallest_block_that_fits_is_cut_at_its_lowest_address() -> None:
    held = pool("10.0.0.0/16", "10.200.0.0/24", default_prefixlen=26, min_prefixlen=20)
    first, held = decisions.cut(held, cidr=None, prefix_len=None, used=0)
    assert str(first) == "10.200.0.0/26"
    second, held = decisions.cut(held, cidr=None, prefix_len=25, used=0)
    assert str(second) == "10.200.0.128/25"
    third, held = decisions.cut(held, cidr=None, prefix_len=24, used=0)
    assert str(third) == "10.0.0.0/24"
    named, held = decisions.cut(held, cidr=Cidr.from_text("10.0.64.0/20"), prefix_len=None, used=0)
    assert str(named) == "10.0.64.0/20"
    assert prefixes.common(held.free, (first, second, third, named)) == ()


@pytest.mark.parametrize(
    ("cidr", "length", "reason"),
    [
        (None, 19, "MinPrefixSubnetAllocationError"),
        (None, 29, "MaxPrefixSubnetAllocationError"),
        ("10.0.0.0/19", None, "MinPrefixSubnetAllocationError"),
        ("10.0.0.128/25", None, "SubnetAllocationError"),  # taken below
        ("10.0.0.0/23", None, "SubnetAllocationError"),
        ("10.99.0.0/24", None, "SubnetAllocationError"),
        (None, 20, "SubnetAllocationError"),
    ],
)
def test_what_the_pool_does_not_have_is_refused(cidr: str | None, length: int | None, reason: str) -> None:
    held = pool("10.0.0.0/20", min_prefixlen=20, max_prefixlen=28)
    _, held = decisions.cut(held, cidr=Cidr.from_text("10.0.0.0/24"), prefix_len=None, used=0)
    named = None if cidr is None else Cidr.from_text(cidr)
    with pytest.raises(errors.AlcorError) as refused:
        decisions.cut(held, cidr=named, prefix_len=length, used=0)
    assert reason_of(refused) == reason


def test_a_project_has_no_more_addresses_than_the_quota_and_none_means_any() -> None:
    held = pool("10.0.0.0/16", default_quota=512)
    decisions.cut(held, cidr=None, prefix_len=24, used=256)
    with pytest.raises(errors.Conflict) as refused:
        decisions.cut(held, cidr=None, prefix_len=24, used=257)
    assert reason_of(refused) == "SubnetPoolQuotaExceeded"
    decisions.cut(pool("10.0.0.0/16", default_quota=0), cidr=None, prefix_len=16, used=10**6)


def test_prefixes_only_grow_by_update_and_shrink_where_no_subnet_is() -> None:
    held = pool("10.0.0.0/24", "10.0.4.0/24")
    _, held = decisions.cut(held, cidr=Cidr.from_text("10.0.4.0/26"), prefix_len=None, used=0)
    with pytest.raises(errors.Invalid) as refused:
        decisions.update(held, SubnetPoolFields(prefixes=cidrs("10.0.0.0/24")), scoped=None, now_us=2)
    assert reason_of(refused) == "IllegalSubnetPoolPrefixUpdate"
    grown = decisions.update(held, SubnetPoolFields(prefixes=cidrs("10.0.0.0/21")), scoped=None, now_us=2)
    assert texts(grown.prefixes) == ["10.0.0.0/21"]
    assert prefixes.without(grown.prefixes, grown.free) == cidrs("10.0.4.0/26")
    assert grown.revision_number == held.revision_number + 1
    with pytest.raises(errors.Invalid) as refused:
        decisions.with_fewer(grown, cidrs("10.0.4.0/23"), now_us=3)
    assert reason_of(refused) == "IllegalSubnetPoolPrefixUpdate"
    fewer = decisions.with_fewer(grown, cidrs("10.0.5.0/24", "192.168.0.0/16"), now_us=3)
    assert texts(fewer.prefixes) == ["10.0.0.0/22", "10.0.4.0/24", "10.0.6.0/23"]
    assert prefixes.without(fewer.prefixes, fewer.free) == cidrs("10.0.4.0/26")


def test_onboarded_subnets_are_as_if_cut_from_the_pool() -> None:
    held = pool("10.0.0.0/24")
    onboarded = decisions.with_subnets(
        held, [subnet("10.0.0.0/26"), subnet("10.5.0.0/24", 2)], scoped=None, now_us=2
    )
    assert texts(onboarded.prefixes) == ["10.0.0.0/24", "10.5.0.0/24"]
    assert texts(onboarded.free) == ["10.0.0.64/26", "10.0.0.128/25"]
    with pytest.raises(errors.Invalid, match="conflicts with allocated") as refused:
        decisions.with_subnets(onboarded, [subnet("10.5.0.128/25", 3)], scoped=None, now_us=3)
    assert reason_of(refused) == "IllegalSubnetPoolUpdate"


def test_pools_of_a_scope_do_not_overlap() -> None:
    first = pool("10.0.0.0/16", address_scope_id="scope", scoped=Scoped(SCOPE, ()))
    with pytest.raises(errors.Conflict) as refused:
        decisions.create(
            SubnetPoolFields(name="q", prefixes=cidrs("10.0.128.0/17"), address_scope_id="scope"),
            pool_id="q",
            scoped=Scoped(SCOPE, (first,)),
            caller=CALLER,
            now_us=1,
        )
    assert reason_of(refused) == "AddressScopePrefixConflict"
    decisions.with_more(
        first, cidrs("10.1.0.0/16"), scoped=Scoped(SCOPE, (first,)), now_us=2
    )  # itself is no other


@dataclass
class World:
    """A pool with the subnets cut from it, for comparison with what is counted by hand."""

    pool: SubnetPool
    subnets: list[Subnet] = field(default_factory=list)

    def cut(self, length: int) -> None:
        room = prefixes.without(self.pool.prefixes, [it.cidr for it in self.subnets])
        try:
            found, self.pool = decisions.cut(self.pool, cidr=None, prefix_len=length, used=0)
        except errors.Conflict:
            assert all(block[1] > length for block in room), "there was room"
            return
        assert prefixes.without((found,), room) == (), "given twice, or not of the pool"
        self.subnets.append(subnet(str(found), len(self.subnets)))

    def give_back(self, which: int) -> None:
        if self.subnets:
            gone = self.subnets.pop(which % len(self.subnets))
            (self.pool,) = decisions.given_back({"p": self.pool}, [gone], now_us=1)


@given(st.lists(st.tuples(st.booleans(), st.integers(24, 30), st.integers(0, 99)), max_size=40))
def test_what_is_free_is_what_no_subnet_has_after_any_history(steps: list[tuple[bool, int, int]]) -> None:
    world = World(pool("10.0.0.0/25", "10.0.1.0/26"))
    for is_cut, length, which in steps:
        if is_cut:
            world.cut(length)
        else:
            world.give_back(which)
        assert world.pool.free == prefixes.without(world.pool.prefixes, [it.cidr for it in world.subnets])


SIX = AddressScope(id=AddressScopeId("six"), project_id=ProjectId("blue"), ip_version=6)


def test_pools_of_ipv6_have_lengths_of_their_own() -> None:
    made = pool("2001:db8::/33", "2001:db8:8000::/33")
    assert (made.ip_version, texts(made.prefixes)) == (6, ["2001:db8::/32"])
    assert (made.min_prefixlen, made.default_prefixlen, made.max_prefixlen) == (64, 64, 128)
    with pytest.raises(errors.Invalid, match="max_prefixlen=129, ip_version_max=128"):
        pool("2001:db8::/32", max_prefixlen=129)
    got, left = decisions.cut(made, cidr=None, prefix_len=None, used=0)
    assert str(got) == "2001:db8::/64"
    assert len(left.free) == 32


def test_quotas_of_ipv6_count_64s() -> None:
    made = pool("2001:db8::/32", min_prefixlen=48, default_quota=2)
    size = 1 << 64
    decisions.cut(made, cidr=None, prefix_len=63, used=0)
    decisions.cut(made, cidr=None, prefix_len=64, used=size)
    decisions.cut(made, cidr=None, prefix_len=128, used=2 * size - 1)
    for length, used in ((62, 0), (64, size + 1), (128, 2 * size)):
        with pytest.raises(errors.Conflict) as refused:
            decisions.cut(made, cidr=None, prefix_len=length, used=used)
        assert reason_of(refused) == "SubnetPoolQuotaExceeded"


def test_a_pool_stays_of_one_version_and_its_scope_is_of_the_same() -> None:
    made = pool("2001:db8::/32")
    for change in (
        lambda: decisions.with_more(made, cidrs("10.0.0.0/8"), scoped=None, now_us=2),
        lambda: decisions.with_fewer(made, cidrs("10.0.0.0/8"), now_us=2),
        lambda: decisions.update(made, SubnetPoolFields(prefixes=cidrs("10.0.0.0/8")), scoped=None, now_us=2),
    ):
        with pytest.raises(errors.Invalid) as refused:
            change()
        assert reason_of(refused) == "PrefixVersionMismatch"
    within = Scoped(SIX, ())
    assert pool("2001:db8::/32", scoped=within, address_scope_id="six").address_scope_id == "six"
    with pytest.raises(errors.Invalid) as refused:
        pool("10.0.0.0/8", scoped=within, address_scope_id="six")
    assert reason_of(refused) == "IllegalSubnetPoolIpVersionAssociationToAddressScope"
