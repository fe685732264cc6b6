"""The `openstack` command, unchanged, over every resource and extension that the API says it has."""

from collections.abc import Callable, Iterator

import pytest

import client_coverage
from doubles.identity import PROJECTS, identity_service
from openstack_dialog import Dialog, Refused, dialog
from served_api import served

pytest.importorskip("openstackclient")

SERVER = "9b1f3c52-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def api_url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def cli(api_url: str) -> Iterator[Dialog]:
    with (
        identity_service(api_url) as auth_url,
        dialog(
            OS_AUTH_URL=auth_url,
            OS_USERNAME="admin",
            OS_PASSWORD="x",
            OS_PROJECT_NAME="admin",
            OS_USER_DOMAIN_ID="default",
            OS_PROJECT_DOMAIN_ID="default",
            OS_IDENTITY_API_VERSION="3",
        ) as opened,
    ):
        yield opened


def networks(cli: Dialog) -> None:
    made = cli(
        "network create net --description d --mtu 1400 --tag a --tag b --disable-port-security"
        " --availability-zone-hint zone-1"
    )
    assert made["availability_zone_hints"] == ["zone-1"]
    assert (made["mtu"], made["description"], made["tags"]) == (1400, "d", ["a", "b"])
    assert made["provider:network_type"] == "vxlan"
    assert not made["port_security_enabled"]
    assert [it["Tags"] for it in cli("network list --name net --long --tags a,b")] == [["a", "b"]]
    cli.do("network set --name web --no-tag --tag c --disable --enable-port-security net")
    cli.do("network unset --tag c web")
    for filters in ("--disable", "--no-share", "--internal", "--status ACTIVE --provider-network-type vxlan"):
        assert [it["Name"] for it in cli(f"network list --name web {filters}")] == ["web"]
    for filters in ("--external", "--share", "--enable"):
        assert cli(f"network list --name web {filters}") == []
    shown = cli("network show web")
    assert (shown["admin_state_up"], shown["tags"], shown["port_security_enabled"]) == (False, [], True)
    cli.do("network delete web")


def subnets(cli: Dialog) -> None:
    cli("network create subs")
    made = cli(
        "subnet create --network subs --subnet-range 10.0.0.0/24 --dns-nameserver 192.0.2.1"
        " --gateway 10.0.0.254 --host-route destination=10.9.0.0/16,gateway=10.0.0.9"
        " --allocation-pool start=10.0.0.10,end=10.0.0.99 --tag t a"
    )
    assert made["allocation_pools"] == [{"start": "10.0.0.10", "end": "10.0.0.99"}]
    assert made["host_routes"] == [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}]
    cli.do("subnet set --service-type compute:az1 a")
    assert cli("subnet show a")["service_types"] == ["compute:az1"]
    cli.do("subnet unset --service-type compute:az1 a")
    cli.do("subnet set --no-dhcp --name b --dns-nameserver 192.0.2.2 --no-host-route --description x a")
    cli.do("subnet unset --dns-nameserver 192.0.2.1 b")
    (listed,) = cli("subnet list --network subs --long --no-dhcp --ip-version 4 --gateway 10.0.0.254")
    assert (listed["Name"], listed["Name Servers"], listed["Tags"]) == ("b", ["192.0.2.2"], ["t"])
    assert cli("subnet list --network subs --dhcp") == []
    assert [it["Name"] for it in cli("subnet list --subnet-range 10.0.0.0/24 --name b")] == ["b"]
    (used,) = [it for it in cli("ip availability list") if it["Network Name"] == "subs"]
    assert (used["Total IPs"], used["Used IPs"]) == (90, 0)
    assert cli("ip availability show subs")["total_ips"] == 90
    assert cli("subnet show b")["description"] == "x"
    cli.do("subnet delete b")
    cli.do("network delete subs")


def subnet_pools(cli: Dialog) -> None:
    cli("address scope create --ip-version 4 wide")
    assert [it["Name"] for it in cli("address scope list --name wide --ip-version 4")] == ["wide"]
    cli.do("address scope set --name wider wide")
    assert cli("address scope show wider")["ip_version"] == 4
    cli(
        "subnet pool create --pool-prefix 10.32.0.0/16 --default-prefix-length 24 --min-prefix-length 20"
        " --max-prefix-length 28 --address-scope wider --default-quota 1024 --description d --tag t pool"
    )
    (listed,) = cli("subnet pool list --no-default --address-scope wider --long")
    assert (listed["Prefixes"], listed["Tags"]) == (["10.32.0.0/16"], ["t"])
    cli.do("subnet pool set --pool-prefix 10.33.0.0/16 --name pond --no-tag --description e --default pool")
    assert cli("subnet pool show pond")["is_default"]
    cli("network create pooled")
    cut = cli("subnet create --network pooled --subnet-pool pond --prefix-length 26 cut")
    assert cut["cidr"].endswith("/26")
    by_default = cli("subnet create --network pooled --use-default-subnet-pool more")
    assert by_default["cidr"].endswith("/24")
    cli("network create alone")
    cli("subnet create --network alone --subnet-range 10.70.0.0/24 lone")
    cli.do("subnet pool add network alone pond")
    assert cli("subnet show lone")["subnetpool_id"]
    with pytest.raises(Refused):
        cli.do("subnet pool delete pond")
    cli.do("subnet delete cut more lone")
    cli.do("network delete pooled alone")
    cli.do("subnet pool delete pond")
    cli.do("address scope delete wider")


def ports(cli: Dialog) -> None:
    cli("network create wired")
    cli("subnet create --network wired --subnet-range 10.1.0.0/24 wired-a")
    made = cli(
        "port create --network wired --fixed-ip subnet=wired-a,ip-address=10.1.0.20 --host host-1"
        f" --device {SERVER} --device-owner compute:az1 --mac-address fa:16:3e:00:00:01 --vnic-type normal"
        " --allowed-address ip-address=10.1.0.77 --extra-dhcp-option name=42,value=10.1.0.3"
        " --binding-profile a=b --tag x nic"
    )
    assert (made["binding_vif_type"], made["binding_host_id"]) == ("ovs", "host-1")
    assert made["binding_profile"] == {"a": "b"}
    assert made["allowed_address_pairs"] == [{"ip_address": "10.1.0.77", "mac_address": "fa:16:3e:00:00:01"}]
    assert made["extra_dhcp_opts"] == [{"opt_name": "42", "opt_value": "10.1.0.3", "ip_version": 4}]
    assert made["ip_allocation"] == "immediate"
    for filters in (
        f"--device-id {SERVER}",
        "--device-owner compute:az1 --network wired",
        "--host host-1 --mac-address fa:16:3e:00:00:01",
        "--fixed-ip ip-address=10.1.0.20",
        "--fixed-ip ip-substring=1.0.2",
        f"--security-group {made['security_group_ids'][0]} --tags x",
    ):
        assert [it["Name"] for it in cli(f"port list {filters}")] == ["nic"], filters
    cli.do("port set --name card --no-allowed-address --disable --no-security-group nic")
    cli.do("port set --disable-port-security --description d card")
    cli.do("port set --enable-port-security --security-group default --data-plane-status DOWN card")
    cli.do("port unset --binding-profile a --data-plane-status --tag x --device --device-owner --host card")
    shown = cli("port show card")
    assert (shown["binding_vif_type"], shown["device_id"], shown["binding_profile"]) == ("unbound", "", {})
    assert (shown["allowed_address_pairs"], shown["tags"], shown["data_plane_status"]) == ([], [], None)
    cli.do("port set --fixed-ip subnet=wired-a,ip-address=10.1.0.30 card")
    cli.do("port unset --fixed-ip subnet=wired-a,ip-address=10.1.0.20 card")
    assert [it["ip_address"] for it in cli("port show card")["fixed_ips"]] == ["10.1.0.30"]
    cli.do("port delete card")
    cli.do("network delete wired")


def dual_stack(cli: Dialog) -> None:
    cli("network create both")
    cli("subnet create --network both --subnet-range 10.6.0.0/24 four")
    six = "subnet create --network both --ip-version 6"
    auto = cli(f"{six} --subnet-range 2001:db8:a::/64 --ipv6-ra-mode slaac --ipv6-address-mode slaac auto")
    assert (auto["ipv6_ra_mode"], auto["gateway_ip"]) == ("slaac", "2001:db8:a::1")
    leased = cli(
        f"{six} --subnet-range 2001:DB8:B::/64 --ipv6-ra-mode dhcpv6-stateful"
        " --ipv6-address-mode dhcpv6-stateful --dns-nameserver 2001:db8::53 --gateway 2001:db8:b::ff"
        " --allocation-pool start=2001:db8:b::10,end=2001:db8:b::99"
        " --host-route destination=2001:db8:9::/48,gateway=2001:db8:b::ff leased"
    )
    assert leased["allocation_pools"] == [{"start": "2001:db8:b::10", "end": "2001:db8:b::99"}]
    assert {it["Name"] for it in cli("subnet list --network both --ip-version 6")} == {"auto", "leased"}
    with pytest.raises(Refused):
        cli(f"{six} --subnet-range fe80::/64 local")
    with pytest.raises(Refused):
        cli(f"{six} --subnet-range 2001:db8:d::/64 --ipv6-ra-mode slaac --no-dhcp none")
    made = cli(
        "port create --network both --mac-address fa:16:3e:00:00:06 --allowed-address ip-address=fd00::/64"
        " --extra-dhcp-option name=dns-server,value=2001:db8::53,ip-version=6 nic"
    )
    assert {it["ip_address"] for it in made["fixed_ips"]} == {
        "10.6.0.2",
        "2001:db8:a:0:f816:3eff:fe00:6",
        "2001:db8:b::10",
    }
    assert made["extra_dhcp_opts"] == [{"opt_name": "dns-server", "opt_value": "2001:db8::53", "ip_version": 6}]
    assert [it["Name"] for it in cli("port list --fixed-ip ip-address=2001:DB8:B::0010")] == ["nic"]
    cli.do("port set --fixed-ip subnet=leased,ip-address=2001:db8:b::11 nic")
    cli("router create six")
    for subnet in ("four", "auto", "leased"):
        cli.do(f"router add subnet six {subnet}")
    cli.do("router set --route destination=::/0,gateway=2001:db8:b::11 six")
    cli.do("router unset --route destination=::/0,gateway=2001:db8:b::11 six")
    with pytest.raises(Refused):
        cli.do("subnet delete auto")
    for subnet in ("four", "auto", "leased"):
        cli.do(f"router remove subnet six {subnet}")
    cli.do("router delete six")
    cli.do("subnet delete auto")
    assert len(cli("port show nic")["fixed_ips"]) == 3
    cli("security group create six")
    rule = cli(
        "security group rule create --ethertype IPv6 --protocol ipv6-icmp --icmp-type 128"
        " --remote-ip 2001:db8::/32 six"
    )
    assert (rule["ether_type"], rule["remote_ip_prefix"]) == ("IPv6", "2001:db8::/32")
    cli.do("security group delete six")
    cli("address scope create --ip-version 6 six")
    pool = cli("subnet pool create --pool-prefix 2001:db8:c::/48 --address-scope six six")
    assert (pool["ip_version"], pool["default_prefixlen"]) == (6, 64)
    cli("network create cut")
    cut = cli("subnet create --network cut --ip-version 6 --subnet-pool six --prefix-length 80 cut")
    assert cut["cidr"] == "2001:db8:c::/80"
    assert cli("network show cut")["ipv6_address_scope"] == pool["address_scope_id"]
    cli.do("network delete cut")
    cli.do("subnet pool delete six")
    cli.do("address scope delete six")
    cli.do("port delete nic")
    cli.do("network delete both")


def routers(cli: Dialog) -> None:
    cli("network create legs")
    cli("subnet create --network legs --subnet-range 10.2.0.0/24 legs-a")
    assert cli("router create hub --description d --tag t --availability-zone-hint zone-1")[
        "availability_zones"
    ]
    cli.do("router add subnet hub legs-a")
    assert [it["ip_address"] for it in cli("router show hub")["interfaces_info"]] == ["10.2.0.1"]
    assert len(cli("port list --router hub")) == 1
    route = "--route destination=10.9.0.0/16,gateway=10.2.0.9"
    assert cli(f"router add route {route} hub")["routes"]
    assert cli(f"router remove route {route} hub")["routes"] == []
    cli.do(f"router set {route} --name nabe --disable --no-tag hub")
    (listed,) = cli("router list --name nabe --disable --long")
    assert (len(listed["Routes"]), listed["Tags"]) == (1, [])
    cli.do(f"router unset {route} nabe")
    cli.do("router remove subnet nabe legs-a")
    cli("port create --network legs leg")
    cli.do("router add port nabe leg")
    cli.do("router remove port nabe leg")
    assert cli("floating ip list") == []
    cli.do("router delete nabe")
    cli.do("network delete legs")


def trunks(cli: Dialog) -> None:
    cli("network create trunked")
    cli("subnet create --network trunked --subnet-range 10.4.0.0/24 trunked-a")
    for name in ("carrier", "one", "two"):
        cli(f"port create --network trunked {name}")
    under = "port={},segmentation-type=vlan,segmentation-id={}"
    made = cli(f"network trunk create --parent-port carrier --subport {under.format('one', 100)} t")
    assert (made["status"], made["port_id"]) == ("DOWN", cli("port show carrier")["id"])
    cli.do(f"network trunk set --description d --subport {under.format('two', 200)} t")
    assert len(cli("network subport list --trunk t")) == 2
    with pytest.raises(Refused):
        cli.do("port delete one")
    cli.do("network trunk unset --subport two t")
    shown = cli("network trunk show t")
    assert (shown["description"], len(shown["sub_ports"])) == ("d", 1)
    assert [it["Name"] for it in cli("network trunk list")] == ["t"]
    assert cli("port show carrier")["trunk_details"]["trunk_id"] == shown["id"]
    cli.do("network trunk delete t")
    cli.do("port delete carrier one two")
    cli.do("network delete trunked")


def security_groups(cli: Dialog) -> None:
    assert cli("security group create web --description d --tag t")["tags"] == ["t"]
    made = cli(
        "security group rule create --protocol tcp --dst-port 80:81 --remote-ip 10.0.0.9/8 --description r web"
    )
    assert (made["port_range_max"], made["normalized_cidr"]) == (81, "10.0.0.0/8")
    (listed,) = cli("security group rule list --protocol tcp --ingress web")
    assert (listed["ID"], listed["Port Range"]) == (made["id"], "80:81")
    assert cli(f"security group rule show {made['id']}")["description"] == "r"
    cli("security group rule create --protocol icmp --icmp-type 8 --egress --remote-group web web")
    cli.do(f"security group rule delete {made['id']}")
    cli.do("security group set --name www --tag u web")
    assert [it["Name"] for it in cli("security group list --tags u")] == ["www"]
    cli.do("security group unset --tag u www")
    assert not cli("security group create --stateless loose")["stateful"]
    cli.do("security group set --stateful loose")
    assert cli("security group show loose")["stateful"]
    cli.do("security group delete loose")
    assert cli("security group show www")["tags"] == ["t"]
    cli.do("security group delete www")


def auto_topology(cli: Dialog) -> None:
    cli("subnet pool create --pool-prefix 10.90.0.0/16 --default --default-prefix-length 24 --share auto")
    cli("network auto allocated topology create --check-resources")
    made = cli("network auto allocated topology create")
    assert [it["ID"] for it in cli("network list --name auto_allocated_network")] == [made["id"]]
    cli.do("network auto allocated topology delete")
    assert cli("network list --name auto_allocated_network") == []
    cli.do("subnet pool delete auto")


def address_groups(cli: Dialog) -> None:
    assert cli("address group create --address 10.0.0.0/8 --description d dmz")["addresses"] == ["10.0.0.0/8"]
    cli.do("address group set --address 192.0.2.1 --name far dmz")
    cli.do("address group unset --address 10.0.0.0/8 far")
    (listed,) = cli("address group list --name far")
    assert listed["Addresses"] == ["192.0.2.1/32"]
    cli("security group create guard")
    rule = cli("security group rule create --protocol sctp --dst-port 80:81 --remote-address-group far guard")
    assert (rule["protocol"], rule["remote_address_group_id"]) == ("sctp", listed["ID"])
    with pytest.raises(Refused):
        cli.do("address group delete far")
    cli.do("security group delete guard")
    assert cli("address group show far")["description"] == "d"
    cli.do("address group delete far")


def default_rules(cli: Dialog) -> None:
    before = cli("default security group rule list")
    made = cli(
        "default security group rule create --protocol tcp --dst-port 22 --for-custom-sg --description d"
    )
    assert (made["protocol"], made["used_in_non_default_sg"]) == ("tcp", True)
    assert len(cli("default security group rule list")) == len(before) + 1
    assert cli(f"default security group rule show {made['id']}")["port_range_min"] == 22
    cli("security group create templated")
    assert len(cli("security group rule list --protocol tcp templated")) == 1
    cli.do("security group delete templated")
    cli.do(f"default security group rule delete {made['id']}")


def rbac_policies(cli: Dialog) -> None:
    cli("network create ours")
    cli("security group create ours")
    made = cli("network rbac create --type network --action access_as_shared --target-project blue ours")
    everybody = "--action access_as_shared --target-all-projects"
    group = cli(f"network rbac create --type security_group {everybody} ours")
    assert (made["target_project_id"], group["target_project_id"]) == (PROJECTS["blue"], "*")
    assert [it["ID"] for it in cli("network rbac list --type security_group")] == [group["id"]]
    cli.do(f"network rbac set --target-project admin {made['id']}")
    assert cli(f"network rbac show {made['id']}")["target_project_id"] == PROJECTS["admin"]
    cli.do(f"network rbac delete {made['id']} {group['id']}")
    cli("address scope create ours")
    cli("subnet pool create --pool-prefix 10.40.0.0/16 ours")
    cli("address group create ours")
    for kind, name in (
        ("address_scope", "address scope"),
        ("subnetpool", "subnet pool"),
        ("address_group", "address group"),
    ):
        shared = cli(f"network rbac create --type {kind} {everybody} ours")
        assert cli(f"{name} show ours").get("shared", True)
        cli.do(f"network rbac delete {shared['id']}")
        cli.do(f"{name} delete ours")
    cli.do("security group delete ours")
    cli.do("network delete ours")


def quotas(cli: Dialog) -> None:
    def shown(arguments: str) -> dict[str, int]:
        return {each["Resource"]: each["Limit"] for each in cli(f"quota show --network {arguments}")}

    defaults = shown("--default blue")
    cli.do("quota set --ports 7 --secgroups 3 blue")
    assert shown("blue") == {**defaults, "ports": 7, "security_groups": 3}
    (listed,) = cli("quota list --network")
    assert (listed["Project ID"], listed["Ports"]) == (PROJECTS["blue"], 7)
    used = cli("quota show --network --usage blue")
    assert {"Resource": "ports", "Limit": 7, "In Use": 0, "Reserved": 0} in used
    cli.do("quota delete --network blue")
    assert shown("blue") == defaults


def agents(cli: Dialog) -> None:
    agents = {it["Host"]: it for it in cli("network agent list --long")}
    assert (agents["host-1"]["Alive"], agents["host-9"]["Alive"]) == (True, False)
    assert [it["Host"] for it in cli("network agent list --host host-1")] == ["host-1"]
    gone = agents["host-9"]["ID"]
    cli.do(f"network agent set --description gone {gone}")
    assert cli(f"network agent show {gone}")["binary"] == "alcor-agent"
    with pytest.raises(Refused):
        cli.do(f"network agent set --disable {gone}")
    cli.do(f"network agent delete {gone}")
    with pytest.raises(Refused):
        cli.do(f"network agent delete {agents['host-1']['ID']}")
    assert [it["Host"] for it in cli("network agent list")] == ["host-1"]
    zones = cli("availability zone list --network --long")
    assert [(it["Zone Name"], it["Zone Status"], it["Zone Resource"]) for it in zones] == [
        ("zone-1", "available", "network"),
        ("zone-1", "available", "router"),
    ]
    (provider,) = cli("network service provider list")
    assert provider == {"Service Type": "L3_ROUTER_NAT", "Name": "alcor", "Default": True}


def extensions(cli: Dialog) -> None:
    listed = cli("extension list --network")
    assert cli("extension show binding")["alias"] == "binding"
    assert len(listed) == len({it["Alias"] for it in listed})


SCENARIOS: dict[str, Callable[[Dialog], None]] = {
    scenario.__name__: scenario
    for scenario in (
        networks,
        subnets,
        subnet_pools,
        ports,
        dual_stack,
        routers,
        trunks,
        auto_topology,
        security_groups,
        address_groups,
        default_rules,
        rbac_policies,
        quotas,
        agents,
        extensions,
    )
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_command_line_client(cli: Dialog, name: str) -> None:
    SCENARIOS[name](cli)


def test_every_resource_and_extension_has_a_scenario(api_url: str) -> None:
    client_coverage.check(api_url, SCENARIOS)
