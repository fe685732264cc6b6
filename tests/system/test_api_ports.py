"""What ports do, over HTTP against a store in memory."""

import asyncio
from typing import Any

from api_scene import error_of, scene

OTHER = {"project": "red"}


async def test_a_port_gets_the_addresses_it_asks_for() -> None:
    async with scene() as s:
        network_id, first = await s.wired_network("10.0.0.0/24")
        second = (await s.make("subnet", network_id=network_id, ip_version=4, cidr="10.1.0.0/24"))["id"]
        asked = [{"subnet_id": second}, {"ip_address": "10.0.0.9"}]
        port = await s.make("port", network_id=network_id, fixed_ips=asked)
        assert {fixed["ip_address"] for fixed in port["fixed_ips"]} == {"10.1.0.2", "10.0.0.9"}
        none = await s.make("port", network_id=network_id, fixed_ips=[])
        assert none["fixed_ips"] == []
        for fixed_ips, reason in (
            ([{"ip_address": "10.0.0.9"}], "IpAddressInUse"),
            ([{"subnet_id": second, "ip_address": "10.0.0.10"}], "InvalidIpForSubnet"),
            ([{"ip_address": "10.7.0.1"}], "InvalidIpForNetwork"),
            ([{"ip_address": "10.0.0.255"}], "InvalidIpForSubnet"),
            ([{"ip_address": "10.0.0.x"}], "HTTPBadRequest"),
            ([{}], "InvalidInput"),
            ([{"subnet_id": network_id}], "InvalidInput"),
            ([{"subnet_id": first}] * 6, "InvalidInput"),
        ):
            body = {"port": {"network_id": network_id, "fixed_ips": fixed_ips}}
            assert error_of(await s.ask("POST", "/ports", body))[1] == reason
        path = f"/ports/{port['id']}"
        after = await s.ask("PUT", path, {"port": {"fixed_ips": [{"subnet_id": second}]}}, expect=200)
        assert [fixed["ip_address"] for fixed in after.json()["port"]["fixed_ips"]] == ["10.1.0.2"]
        again = await s.make("port", network_id=network_id, fixed_ips=[{"ip_address": "10.0.0.9"}])
        found = await s.ask("GET", "/ports?fixed_ips=ip_address=10.0.0.9")
        assert [each["id"] for each in found.json()["ports"]] == [again["id"]]
        found = await s.ask("GET", f"/ports?fixed_ips=subnet_id={second}&fields=id")
        assert found.json() == {"ports": [{"id": port["id"]}]}
        found = await s.ask("GET", "/ports?fixed_ips=ip_address_substr=10.1.0")
        assert [each["id"] for each in found.json()["ports"]] == [port["id"]]


async def test_a_batch_spills_into_the_next_subnet_when_the_first_is_full() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network("10.0.0.0/29")
        await s.make("subnet", network_id=network_id, ip_version=4, cidr="10.1.0.0/29")
        body = {"ports": [{"network_id": network_id}] * 8}
        ports = (await s.ask("POST", "/ports", body, expect=201)).json()["ports"]
        assert len({port["fixed_ips"][0]["ip_address"] for port in ports}) == 8
        assert error_of(await s.ask("POST", "/ports", body))[1] == "IpAddressGenerationFailure"
        body = {"ports": [{"network_id": network_id}] * 2}
        await s.ask("POST", "/ports", body, expect=201)


async def test_ports_take_their_security_from_what_is_said() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        assert (await s.make("port", network_id=network_id, security_groups=[]))["security_groups"] == []
        open_port = await s.make("port", network_id=network_id, port_security_enabled=False)
        assert open_port["security_groups"] == []
        default = (await s.make("port", network_id=network_id))["security_groups"]
        body = {"port": {"network_id": network_id, "port_security_enabled": False, "security_groups": default}}
        assert error_of(await s.ask("POST", "/ports", body))[0] == 400
        body = {"port": {"security_groups": default}}
        assert error_of(await s.ask("PUT", f"/ports/{open_port['id']}", body))[0] == 400
        body["port"]["port_security_enabled"] = True
        await s.ask("PUT", f"/ports/{open_port['id']}", body, expect=200)
        found = (await s.ask("GET", f"/ports?security_groups={default[0]}")).json()["ports"]
        assert len(found) == 2


async def test_a_port_is_bound_and_unbound_as_nova_does() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        port = await s.make("port", network_id=network_id, admin=True, device_id="vm")
        assert port["binding:vif_type"] == "unbound"
        bind = {"binding:host_id": "host-1", "device_owner": "compute:nova", "binding:profile": {"a": [1]}}
        path = f"/ports/{port['id']}"
        bound = (await s.ask("PUT", path, {"port": bind}, admin=True, expect=200)).json()["port"]
        assert (bound["binding:vif_type"], bound["binding:profile"]) == ("ovs", {"a": [1]})
        assert bound["status"] == "BUILD"
        assert "binding:host_id" not in (await s.ask("GET", path)).json()["port"]
        found = (await s.ask("GET", "/ports?binding:host_id=host-1&device_id=vm", admin=True)).json()["ports"]
        assert len(found) == 1
        dead = {"port": {"binding:host_id": "nowhere"}}
        answer = await s.ask("PUT", path, dead, admin=True, expect=200)
        assert answer.json()["port"]["binding:vif_type"] == "binding_failed"
        unbind = {"port": {"binding:host_id": None, "device_id": "", "device_owner": ""}}
        unbound = (await s.ask("PUT", path, unbind, admin=True, expect=200)).json()["port"]
        assert unbound["binding:vif_type"] == "unbound"


async def test_a_wait_tells_the_truth() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        body = {"port": {"network_id": network_id, "binding:host_id": "host-1"}}
        late = await s.ask("POST", "/ports?wait=in_force&timeout=0.02", body, admin=True, expect=201)
        assert late.headers["x-alcor-wait"] == "timeout"
        assert late.json()["port"]["alcor:in_force"] is False
        s.convergence.acknowledges_at_once = True
        soon = await s.ask("POST", "/ports?wait=in_force", body, admin=True, expect=201)
        assert soon.headers["x-alcor-wait"] == "satisfied"
        assert soon.json()["port"]["alcor:applied_revision"] == int(soon.headers["x-alcor-revision"])
        port_id = soon.json()["port"]["id"]
        asyncio.get_running_loop().call_later(0.02, s.convergence.plug, port_id)
        active = await s.ask("GET", f"/ports/{port_id}?wait=active&timeout=5", expect=200)
        assert active.json()["port"]["status"] == "ACTIVE"
        assert error_of(await s.ask("POST", "/ports?wait=always", body, admin=True))[0] == 400
        assert error_of(await s.ask("POST", "/ports?wait=active&timeout=-1", body, admin=True))[0] == 400
        receipt = await s.ask("GET", f"/changes/{soon.headers['x-alcor-revision']}", admin=True, expect=200)
        assert [host["host"] for host in receipt.json()["change"]["hosts"]] == ["host-1"]
        assert error_of(await s.ask("GET", f"/changes/{soon.headers['x-alcor-revision']}", **OTHER))[0] == 404


async def test_address_pairs_are_kept_shown_and_checked() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        port = await s.make(
            "port", network_id=network_id, allowed_address_pairs=[{"ip_address": "10.9.9.0/24"}]
        )
        mac = port["mac_address"]
        assert port["allowed_address_pairs"] == [{"ip_address": "10.9.9.0/24", "mac_address": mac}]
        path = f"/ports/{port['id']}"
        vrrp = {"ip_address": "10.9.9.9", "mac_address": "00:00:5e:00:01:33"}
        for asked, expected in (
            ({"allowed_address_pairs": [vrrp]}, [vrrp]),
            ({"mac_address": "fa:00:00:00:00:01"}, [vrrp]),
            ({"name": "n"}, [vrrp]),
            ({"allowed_address_pairs": None}, []),
            (
                {"allowed_address_pairs": [{"ip_address": "10.9.9.1"}]},
                [{"ip_address": "10.9.9.1", "mac_address": "fa:00:00:00:00:01"}],
            ),
            (
                {"mac_address": "fa:00:00:00:00:02"},
                [{"ip_address": "10.9.9.1", "mac_address": "fa:00:00:00:00:02"}],
            ),
        ):
            answer = await s.ask("PUT", path, {"port": asked})
            assert answer.status_code == 200
            assert answer.json()["port"]["allowed_address_pairs"] == expected
        own = port["fixed_ips"][0]["ip_address"]
        many = [{"ip_address": f"10.8.0.{number}"} for number in range(1, 12)]
        for pairs, status, reason in (
            ([{"ip_address": own}], 400, "AddressPairMatchesPortFixedIPAndMac"),
            ([vrrp, vrrp], 400, "DuplicateAddressPairInRequest"),
            (many, 409, "AllowedAddressPairExhausted"),
            ([{"ip_address": "fd00::1%eth0"}], 400, "HTTPBadRequest"),
            ([{"ip_address": "10.9.9.1/33"}], 400, "HTTPBadRequest"),
            ([{"mac_address": "fa:00:00:00:00:01"}], 400, "HTTPBadRequest"),
            ([{"ip_address": "10.9.9.1", "mac_address": "x"}], 400, "HTTPBadRequest"),
            ("10.9.9.1", 400, "HTTPBadRequest"),
        ):
            found = error_of(await s.ask("PUT", path, {"port": {"allowed_address_pairs": pairs}}))
            assert found == (status, reason), pairs
        bare = {"port_security_enabled": False, "security_groups": []}
        refused = error_of(await s.ask("PUT", path, {"port": bare}))
        assert refused == (409, "AddressPairAndPortSecurityRequired")
        both = {"port": {**bare, "allowed_address_pairs": []}}
        assert (await s.ask("PUT", path, both)).status_code == 200


async def test_extra_dhcp_options_are_merged_shown_and_checked() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        ntp = {"opt_name": "ntp-server", "opt_value": "10.0.0.9", "ip_version": 4}
        boot = {"opt_name": "67", "opt_value": "pxelinux.0", "ip_version": 4}
        port = await s.make("port", network_id=network_id, extra_dhcp_opts=[ntp, {"opt_name": "mtu"}])
        assert port["extra_dhcp_opts"] == [ntp]
        path = f"/ports/{port['id']}"
        for asked, expected in (
            ([boot], [boot, ntp]),
            ([{"opt_name": "ntp-server", "opt_value": None}], [boot]),
            ([], [boot]),
            (None, [boot]),
            ([{**ntp, "ip_version": "4"}], [boot, ntp]),
        ):
            answer = await s.ask("PUT", path, {"port": {"extra_dhcp_opts": asked}})
            assert answer.status_code == 200
            assert answer.json()["port"]["extra_dhcp_opts"] == expected
        for name, value in (
            ("nonsense", "1"),
            ("53", "1"),
            ("255", "1"),
            ("256", "1"),
            ("ntp-server", "ten"),
            ("ntp-server", "fd00::1"),
            ("mtu", "65536"),
            ("mtu", "-1"),
            ("netbios-nodetype", ""),
            ("classless-static-route", "10.0.0.0/8"),
            ("hostname", "h\u00fc"),
            ("42", "10.0.0.8"),
            ("200", "9" * 20),
        ):
            body = {"port": {"extra_dhcp_opts": [{"opt_name": name, "opt_value": value}]}}
            assert error_of(await s.ask("PUT", path, body)) == (400, "HTTPBadRequest"), name
        many = [{"opt_name": str(number), "opt_value": "x"} for number in range(160, 200)]
        assert error_of(await s.ask("PUT", path, {"port": {"extra_dhcp_opts": many}}))[0] == 400
        ipv6 = [{"opt_name": "ntp-server", "opt_value": "10.0.0.1", "ip_version": 6}]
        assert error_of(await s.ask("PUT", path, {"port": {"extra_dhcp_opts": ipv6}}))[0] == 400


async def test_mac_addresses_and_port_security_change_as_in_neutron() -> None:
    async with scene() as s:
        network_id, _ = await s.wired_network()
        port = await s.make("port", network_id=network_id)
        path = f"/ports/{port['id']}"

        async def put(**fields: object) -> tuple[int, str] | dict[str, Any]:
            answer = await s.ask("PUT", path, {"port": fields}, project=None)
            return answer.json()["port"] if answer.status_code == 200 else error_of(answer)

        changed = await put(mac_address="fa:00:00:00:00:07")
        assert isinstance(changed, dict)
        assert changed["mac_address"] == "fa:00:00:00:00:07"
        assert isinstance(await put(**{"binding:host_id": "host-1"}), dict)
        assert await put(mac_address="fa:00:00:00:00:08") == (409, "PortBound")
        assert isinstance(await put(mac_address="fa:00:00:00:00:07"), dict), "it has it already"
        assert isinstance(await put(mac_address="fa:00:00:00:00:08", **{"binding:host_id": ""}), dict)
        assert await put(port_security_enabled=False) == (409, "PortSecurityPortHasSecurityGroup")
        assert isinstance(await put(port_security_enabled=False, security_groups=[]), dict)
        refused = await put(security_groups=port["security_groups"])
        assert refused == (400, "PortSecurityAndIPRequiredForSecurityGroups")
        both = await put(port_security_enabled=True, security_groups=port["security_groups"])
        assert isinstance(both, dict)
        assert both["security_groups"] == port["security_groups"]
