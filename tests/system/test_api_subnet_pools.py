"""Subnet pools and address scopes over HTTP, against a store in memory."""

import asyncio
from typing import Any

import pytest

from api_scene import Scene, error_of, scene

OTHER = {"project": "red"}


async def subnet_of(s: Scene, network: str, expect: int = 201, **said: Any) -> Any:
    answer = await s.ask("POST", "/subnets", {"subnet": {"network_id": network, "ip_version": 4, **said}})
    assert answer.status_code == expect, answer.text
    return answer.json()["subnet"] if expect == 201 else error_of(answer)[1]


async def test_a_pool_shows_what_neutrons_shows_and_lists_by_it() -> None:
    async with scene() as s:
        made = await s.make(
            "subnetpool", name="p", prefixes=["10.0.1.0/24", "10.0.0.5/24"], default_prefixlen="26"
        )
        assert made["prefixes"] == ["10.0.0.0/23"]
        shown = {name: made[name] for name in made if name not in ("id", "created_at", "updated_at")}
        assert shown == {
            "name": "p",
            "description": "",
            "project_id": "blue",
            "tenant_id": "blue",
            "revision_number": 1,
            "tags": [],
            "prefixes": ["10.0.0.0/23"],
            "min_prefixlen": 8,
            "default_prefixlen": 26,
            "max_prefixlen": 32,
            "default_quota": None,
            "address_scope_id": None,
            "ip_version": 4,
            "is_default": False,
            "shared": False,
        }
        await s.make("subnetpool", name="q", prefixes=["10.0.0.0/23"])  # without a scope pools may overlap
        for query, count in (
            ("name=p", 1),
            ("ip_version=4&sort_key=name&sort_dir=desc", 2),
            ("default_prefixlen=26", 1),
            ("is_default=true", 0),
            ("shared=False", 2),
            ("limit=1", 1),
            (f"address_scope_id={made['id']}", 0),
        ):
            found = (await s.ask("GET", f"/subnetpools?{query}", expect=200)).json()["subnetpools"]
            assert len(found) == count, query
        assert (await s.ask("GET", "/subnetpools?fields=name&name=p")).json()["subnetpools"] == [{"name": "p"}]
        await s.ask("PUT", f"/subnetpools/{made['id']}/tags", {"tags": ["a"]}, expect=200)
        assert len((await s.ask("GET", "/subnetpools?tags=a")).json()["subnetpools"]) == 1
        many = {"subnetpools": [{"name": "x", "prefixes": ["10.0.0.0/8"]}, {"name": "y", "prefixes": []}]}
        assert error_of(await s.ask("POST", "/subnetpools", many)) == (400, "EmptySubnetPoolPrefixList")
        assert len((await s.ask("GET", "/subnetpools")).json()["subnetpools"]) == 2


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"prefixes": ["10.0.0.0/8"]}, 400),  # no name
        ({"name": " ", "prefixes": ["10.0.0.0/8"]}, 400),
        ({"name": "p"}, 400),
        ({"name": "p", "prefixes": "10.0.0.0/8"}, 400),
        ({"name": "p", "prefixes": ["10.0.0.0"]}, 400),
        ({"name": "p", "prefixes": ["10.0.0.0/8", "10.0.0.0/8"]}, 400),
        ({"name": "p", "prefixes": ["10.0.0.0/8"], "min_prefixlen": -1}, 400),
        ({"name": "p", "prefixes": ["10.0.0.0/8"], "shared": True}, 403),
        ({"name": "p", "prefixes": ["10.0.0.0/8"], "is_default": True}, 403),
        ({"name": "p", "prefixes": ["10.0.0.0/8"], "ip_version": 4}, 400),
        ({"name": "p", "prefixes": ["10.0.0.0/8"], "address_scope_id": "x"}, 400),
        ({"name": "p", "prefixes": ["fe80::/16"]}, 400),
        ({"name": "p", "prefixes": ["10.0.0.0/8"], "default_quota": -1}, 400),
    ],
)
async def test_what_a_pool_cannot_be_is_refused(said: dict[str, Any], status: int) -> None:
    async with scene() as s:
        assert error_of(await s.ask("POST", "/subnetpools", {"subnetpool": said}))[0] == status
        assert await s.store.revision() == 0


async def test_subnets_are_cut_from_a_pool_and_come_back_to_it() -> None:
    async with scene() as s:
        pool = await s.make(
            "subnetpool", name="p", prefixes=["10.0.0.0/24"], default_prefixlen=26, min_prefixlen=24
        )
        from_pool = {"subnetpool_id": pool["id"]}
        network = (await s.make("network"))["id"]
        first = await subnet_of(s, network, **from_pool)
        assert (first["cidr"], first["gateway_ip"], first["subnetpool_id"]) == (
            "10.0.0.0/26",
            "10.0.0.1",
            pool["id"],
        )
        named = await subnet_of(
            s,
            network,
            **from_pool,
            cidr="10.0.0.128/26",
            gateway_ip=None,
            allocation_pools=[{"start": "10.0.0.130", "end": "10.0.0.140"}],
        )
        assert (named["cidr"], named["gateway_ip"]) == ("10.0.0.128/26", None)
        for said, reason in (
            ({**from_pool, "prefixlen": 25}, "SubnetAllocationError"),
            ({**from_pool, "prefixlen": 23}, "MinPrefixSubnetAllocationError"),
            ({**from_pool, "prefixlen": 33}, "MaxPrefixSubnetAllocationError"),
            ({**from_pool, "prefixlen": 31}, "InvalidInput"),  # nobody would have room in it
            ({**from_pool, "cidr": "10.0.0.128/27"}, "SubnetAllocationError"),
            ({**from_pool, "cidr": "10.0.0.64/26", "prefixlen": 26}, "BadRequest"),
            ({**from_pool, "use_default_subnetpool": True}, "BadRequest"),
            ({**from_pool, "allocation_pools": [{"start": "10.0.0.70", "end": "10.0.0.80"}]}, "BadRequest"),
            ({"use_default_subnetpool": True}, "BadRequest"),
            ({"prefixlen": 26}, "BadRequest"),
            ({}, "BadRequest"),
            ({**from_pool, "gateway_ip": "10.99.0.1"}, "InvalidInput"),
            ({"subnetpool_id": network}, "SubnetPoolNotFound"),
            ({"cidr": "192.168.0.0/24"}, "NetworkSubnetPoolAffinityError"),
        ):
            status = {"SubnetAllocationError": 409, "SubnetPoolNotFound": 404}.get(reason, 400)
            assert await subnet_of(s, network, status, **said) == reason, said
        assert error_of(await s.ask("DELETE", f"/subnetpools/{pool['id']}")) == (400, "SubnetPoolDeleteError")
        await s.ask("DELETE", f"/subnets/{named['id']}", expect=204)
        half = await subnet_of(s, network, **from_pool, prefixlen=25)
        assert half["cidr"] == "10.0.0.128/25"
        assert (await s.ask("GET", f"/subnets?subnetpool_id={pool['id']}&sort_key=cidr")).json()["subnets"] == [
            first,
            half,
        ]
        await s.ask("DELETE", f"/networks/{network}", expect=204)
        again = (await s.make("network"))["id"]
        assert (await subnet_of(s, again, **from_pool, prefixlen=24))["cidr"] == "10.0.0.0/24"
        await s.ask("DELETE", f"/networks/{again}", expect=204)
        await s.ask("DELETE", f"/subnetpools/{pool['id']}", expect=204)


async def test_one_pool_is_the_default_and_serves_who_names_none() -> None:
    async with scene() as s:
        who = {"project": "blue", "admin": True}
        pool = await s.make(
            "subnetpool", name="p", prefixes=["10.0.0.0/16"], default_prefixlen=24, is_default=True, **who
        )
        body: dict[str, Any] = {"subnetpool": {"name": "q", "prefixes": ["10.0.0.0/16"], "is_default": True}}
        refused = await s.ask("POST", "/subnetpools", body, admin=True)
        assert error_of(refused) == (400, "InvalidInput")
        network = (await s.make("network"))["id"]
        assert (await subnet_of(s, network, use_default_subnetpool=True))["subnetpool_id"] == pool["id"]
        assert (await subnet_of(s, network, use_default_subnetpool=True, prefixlen=26))["cidr"] == "10.0.1.0/26"
        path = f"/subnetpools/{pool['id']}"
        assert error_of(await s.ask("PUT", path, {"subnetpool": {"is_default": False}}))[0] == 403
        await s.ask("PUT", path, {"subnetpool": {"is_default": False}}, **who, expect=200)
        two = {"subnetpools": [body["subnetpool"], body["subnetpool"]]}
        assert error_of(await s.ask("POST", "/subnetpools", two, admin=True)) == (400, "InvalidInput")
        asked = await asyncio.gather(*(s.ask("POST", "/subnetpools", body, admin=True) for _ in range(8)))
        assert sorted(answer.status_code for answer in asked) == [201] + [400] * 7
        # What is another project's and not shared is no default of ours.
        theirs = {
            "subnet": {
                "network_id": (await s.make("network", **OTHER))["id"],
                "ip_version": 4,
                "use_default_subnetpool": True,
            }
        }
        assert error_of(await s.ask("POST", "/subnets", theirs, **OTHER)) == (400, "BadRequest")


async def test_a_project_has_no_more_of_a_pool_than_its_quota_however_many_ask() -> None:
    async with scene() as s:
        pool = await s.make(
            "subnetpool", name="p", prefixes=["10.0.0.0/16"], default_prefixlen=26, default_quota=256
        )
        networks = [(await s.make("network"))["id"] for _ in range(8)]
        bodies = [
            {"subnet": {"network_id": it, "ip_version": 4, "subnetpool_id": pool["id"]}} for it in networks
        ]
        asked = await asyncio.gather(*(s.ask("POST", "/subnets", body) for body in bodies))
        assert sorted(answer.status_code for answer in asked) == [201] * 4 + [409] * 4
        assert {error_of(it)[1] for it in asked if it.status_code == 409} == {"SubnetPoolQuotaExceeded"}
        many = {"subnets": [bodies[0]["subnet"] for _ in range(2)]}
        made = next(it for it in asked if it.status_code == 201).json()["subnet"]["id"]
        await s.ask("DELETE", f"/subnets/{made}", expect=204)
        assert error_of(await s.ask("POST", "/subnets", many)) == (409, "SubnetPoolQuotaExceeded")
        await s.ask("PUT", f"/subnetpools/{pool['id']}", {"subnetpool": {"default_quota": None}}, expect=200)
        await s.ask("POST", "/subnets", many, expect=201)


async def test_prefixes_are_added_removed_and_onboarded() -> None:
    async with scene() as s:
        pool = await s.make("subnetpool", name="p", prefixes=["10.0.0.0/24"])
        other = await s.make("subnetpool", name="q", prefixes=["10.7.0.0/16"], default_prefixlen=24)
        path = f"/subnetpools/{pool['id']}"
        added = await s.ask("PUT", f"{path}/add_prefixes", {"prefixes": ["10.0.1.0/24"]}, expect=200)
        assert added.json() == {"prefixes": ["10.0.0.0/23"]}
        network = (await s.make("network"))["id"]
        await subnet_of(s, network, subnetpool_id=pool["id"], cidr="10.0.1.0/26")
        removed = await s.ask("PUT", f"{path}/remove_prefixes", {"prefixes": ["10.0.1.0/24"]})
        assert error_of(removed) == (400, "IllegalSubnetPoolPrefixUpdate")
        removed = await s.ask(
            "PUT", f"{path}/remove_prefixes", {"prefixes": ["10.0.0.0/24", "10.9.0.0/16"]}, expect=200
        )
        assert removed.json() == {"prefixes": ["10.0.1.0/24"]}
        shrunk = {"subnetpool": {"prefixes": ["10.0.1.0/25"]}}
        assert error_of(await s.ask("PUT", path, shrunk)) == (400, "IllegalSubnetPoolPrefixUpdate")
        grown = {"subnetpool": {"prefixes": ["10.0.1.0/24", "10.0.2.0/24"], "default_prefixlen": 24}}
        assert (await s.ask("PUT", path, grown, expect=200)).json()["subnetpool"]["default_prefixlen"] == 24
        for action in ("add_prefixes", "remove_prefixes"):
            for body in (
                {},
                {"prefixes": []},
                {"prefixes": "x"},
                {"prefixes": ["x"]},
                {"prefixes": ["10.0.0.0/8"], "x": 1},
                {"prefixes": ["fd00::/64"]},
            ):
                assert error_of(await s.ask("PUT", f"{path}/{action}", body))[0] == 400, body
        bare, bare_subnet = await s.wired_network("10.5.0.0/24")
        from_other = (await s.make("network"))["id"]
        moved = await subnet_of(s, from_other, subnetpool_id=other["id"])
        onboard = f"{path}/onboard_network_subnets"
        answer = await s.ask("PUT", onboard, {"network_id": bare}, expect=200)
        assert answer.json() == [{"id": bare_subnet, "cidr": "10.5.0.0/24"}]
        assert (await s.ask("GET", f"/subnets/{bare_subnet}")).json()["subnet"]["subnetpool_id"] == pool["id"]
        assert error_of(await s.ask("PUT", onboard, {"network_id": bare})) == (400, "IllegalSubnetPoolUpdate")
        await s.ask("PUT", onboard, {"network_id": from_other}, expect=200)
        assert (await s.ask("GET", path)).json()["subnetpool"]["prefixes"] == [
            "10.0.1.0/24",
            "10.0.2.0/24",
            "10.5.0.0/24",
            moved["cidr"],
        ]
        await s.ask("DELETE", f"/subnetpools/{other['id']}", expect=204)  # nothing is left of it
        for body, status in (({}, 400), ({"network_id": "x"}, 400), ({"network_id": pool["id"]}, 404)):
            assert error_of(await s.ask("PUT", onboard, body))[0] == status
        theirs, _ = await s.wired_network(**OTHER)
        assert error_of(await s.ask("PUT", onboard, {"network_id": theirs})) == (404, "NetworkNotFound")
        assert error_of(await s.ask("PUT", onboard, {"network_id": bare}, **OTHER)) == (
            404,
            "SubnetPoolNotFound",
        )


async def test_a_scope_holds_pools_that_do_not_overlap_and_the_subnets_of_a_network_are_in_one() -> None:
    async with scene() as s:
        scope = (await s.make("address_scope", name="a", ip_version=4))["id"]
        second = (await s.make("address_scope", ip_version="4"))["id"]
        said = {"name": "p", "prefixes": ["10.0.0.0/16"], "default_prefixlen": 24, "address_scope_id": scope}
        pool = (await s.make("subnetpool", **said))["id"]
        overlapping = {"subnetpool": {**said, "prefixes": ["10.0.9.0/24"]}}
        assert error_of(await s.ask("POST", "/subnetpools", overlapping)) == (409, "AddressScopePrefixConflict")
        bodies = {"subnetpool": {**said, "prefixes": ["10.1.0.0/16"]}}
        asked = await asyncio.gather(*(s.ask("POST", "/subnetpools", bodies) for _ in range(8)))
        assert sorted(answer.status_code for answer in asked) == [201] + [409] * 7
        beside = next(it for it in asked if it.status_code == 201).json()["subnetpool"]["id"]
        elsewhere = (await s.make("subnetpool", **{**said, "address_scope_id": second}))["id"]
        free = (await s.make("subnetpool", **{**said, "address_scope_id": None}))["id"]
        add = await s.ask("PUT", f"/subnetpools/{beside}/add_prefixes", {"prefixes": ["10.0.1.0/24"]})
        assert error_of(add) == (409, "AddressScopePrefixConflict")
        network = (await s.make("network"))["id"]
        await subnet_of(s, network, subnetpool_id=pool)
        shown = (await s.ask("GET", f"/networks/{network}")).json()["network"]
        assert (shown["ipv4_address_scope"], shown["ipv6_address_scope"]) == (scope, None)
        await subnet_of(s, network, subnetpool_id=beside)  # another pool of the same scope
        for wrong in (elsewhere, free):
            assert await subnet_of(s, network, 400, subnetpool_id=wrong) == "NetworkAddressScopeAffinityError"
        assert await subnet_of(s, network, 400, cidr="10.9.0.0/24") == "NetworkSubnetPoolAffinityError"
        path = f"/subnetpools/{pool}"
        for scope_id in (second, None):
            moved = await s.ask("PUT", path, {"subnetpool": {"address_scope_id": scope_id}})
            assert error_of(moved)[1] in ("NetworkAddressScopeAffinityError", "AddressScopePrefixConflict")
        assert error_of(await s.ask("DELETE", f"/address-scopes/{scope}")) == (409, "AddressScopeInUse")
        alone = (await s.make("network"))["id"]
        await subnet_of(s, alone, subnetpool_id=free)
        assert (await s.ask("GET", f"/networks/{alone}")).json()["network"]["ipv4_address_scope"] is None
        third = (await s.make("address_scope", name="c", ip_version=4))["id"]
        await s.ask("PUT", f"/subnetpools/{free}", {"subnetpool": {"address_scope_id": third}}, expect=200)
        assert (await s.ask("GET", f"/networks/{alone}")).json()["network"]["ipv4_address_scope"] == third
        await s.ask("PUT", f"/address-scopes/{third}", {"address_scope": {"name": "d"}}, expect=200)
        assert len((await s.ask("GET", "/address-scopes?name=d&ip_version=4")).json()["address_scopes"]) == 1
        for body in ({"ip_version": 5}, {}, {"ip_version": "x"}):
            assert error_of(await s.ask("POST", "/address-scopes", {"address_scope": body}))[0] == 400
        theirs = {"subnetpool": {**said, "prefixes": ["10.3.0.0/16"]}}
        assert error_of(await s.ask("POST", "/subnetpools", theirs, **OTHER)) == (404, "AddressScopeNotFound")


async def test_pools_and_scopes_are_counted_against_their_quotas() -> None:
    async with scene() as s:
        await s.ask(
            "PUT", "/quotas/blue", {"quota": {"subnetpool": 1, "address_scope": 1}}, admin=True, expect=200
        )
        for _ in range(2):
            answers = [
                await s.ask("POST", "/subnetpools", {"subnetpool": {"name": "p", "prefixes": ["10.0.0.0/8"]}}),
                await s.ask("POST", "/address-scopes", {"address_scope": {"ip_version": 4}}),
            ]
        assert [error_of(answer) for answer in answers] == [(409, "OverQuota")] * 2


async def test_creates_that_are_sent_again_cut_nothing_anew() -> None:
    async with scene() as s:
        pool = {"subnetpool": {"name": "p", "prefixes": ["10.0.0.0/16"], "default_prefixlen": 24}}
        made = [await s.ask("POST", "/subnetpools", pool, headers={"Idempotency-Key": "1"}) for _ in range(2)]
        assert made[0].json() == made[1].json()
        network = (await s.make("network"))["id"]
        body = {"network_id": network, "ip_version": 4, "subnetpool_id": made[0].json()["subnetpool"]["id"]}
        cut = [
            await s.ask("POST", "/subnets", {"subnet": body}, headers={"Idempotency-Key": "2"})
            for _ in range(2)
        ]
        assert cut[0].json() == cut[1].json()
        assert len((await s.ask("GET", "/subnets")).json()["subnets"]) == 1
        assert (await subnet_of(s, network, subnetpool_id=body["subnetpool_id"]))["cidr"] == "10.0.1.0/24"
