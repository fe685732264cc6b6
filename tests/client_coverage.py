"""What the API says that it has, against the scenarios of OpenStack's clients that exercise it.

A new extension or resource fails both clients' tests until it is named here, with its scenario, or with the
file that tests it where a client knows nothing of it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import httpx

ADMIN = {"X-Project-Id": "admin", "X-Roles": "admin"}
ROOT = Path(__file__).parent.parent

RESOURCES = {
    "networks": "networks",
    "subnets": "subnets",
    "subnetpools": "subnet_pools",
    "address_scopes": "subnet_pools",
    "ports": "ports",
    "port_groups": "tests/system/test_api_resources.py",  # Alcor's own: no client knows them
    "routers": "routers",
    "security_groups": "security_groups",
    "security_group_rules": "security_groups",
    "default_security_group_rules": "default_rules",
    "address_groups": "address_groups",
    "rbac_policies": "rbac_policies",
    "trunks": "trunks",
}
# Scenarios have the same name for both clients.
ALIASES = {
    "address-group": "address_groups",
    "address-scope": "subnet_pools",
    "agent": "agents",
    "agent_sort_key": "agents",
    "alcor-auto-topology": "auto_topology",
    "alcor-convergence": "tests/system/test_api_resources.py",
    "alcor-events": "tests/system/test_api_events.py",
    "alcor-hosts": "tests/system/test_api_policies.py",
    "alcor-idempotency": "tests/system/test_api_idempotency.py",
    "alcor-port-groups": "tests/system/test_api_resources.py",
    "alcor-projects": "tests/system/test_api_resync.py",
    "alcor-resync": "tests/system/test_api_resync.py",
    "allowed-address-pairs": "ports",
    "availability_zone": "agents",
    "availability_zone_filter": "agents",
    "binding": "ports",
    "binding-extended": "tests/system/test_nova_calls.py",  # the command line has nothing for it
    "data-plane-status": "ports",
    "default-subnetpools": "subnet_pools",
    "empty-string-filtering": "tests/system/test_api_resources.py",
    "extra_dhcp_opt": "ports",
    "extraroute": "routers",
    "extraroute-atomic": "routers",
    "filter-validation": "tests/system/test_api_bad_input.py",
    "ip-substring-filtering": "ports",
    "ip_allocation": "ports",
    "l3-port-ip-change-not-allowed": "tests/system/test_api_resources.py",
    "net-mtu": "networks",
    "net-mtu-writable": "networks",
    "network-ip-availability": "subnets",
    "network_availability_zone": "networks",
    "pagination": "tests/system/test_api_resources.py",
    "port-mac-address-regenerate": "tests/system/test_nova_calls.py",  # clients leave out what is null
    "port-security": "networks",
    "port-security-groups-filtering": "ports",
    "project-id": "networks",
    "provider": "networks",
    "quota-check-limit": "tests/system/test_api_quotas.py",
    "quota_details": "quotas",
    "quotas": "quotas",
    "rbac-address-group": "rbac_policies",
    "rbac-address-scope": "rbac_policies",
    "rbac-policies": "rbac_policies",
    "rbac-security-groups": "rbac_policies",
    "rbac-subnetpool": "rbac_policies",
    "revision-if-match": "tests/system/test_api_resources.py",
    "router": "routers",
    "router_availability_zone": "routers",
    "security-group": "security_groups",
    "security-groups-default-rules": "default_rules",
    "security-groups-normalized-cidr": "security_groups",
    "security-groups-remote-address-group": "address_groups",
    "security-groups-rules-belongs-to-default-sg": "tests/system/test_api_groups.py",
    "security-groups-shared-filtering": "tests/system/test_api_sharing.py",
    "service-type": "agents",
    "sort-key-validation": "tests/system/test_api_bad_input.py",
    "sorting": "tests/system/test_api_resources.py",
    "standard-attr-description": "networks",
    "standard-attr-revisions": "networks",
    "standard-attr-tag": "networks",
    "standard-attr-timestamp": "networks",
    "stateful-security-group": "security_groups",
    "subnet-service-types": "subnets",
    "subnet_allocation": "subnet_pools",
    "subnet_onboard": "subnet_pools",
    "subnetpool-prefix-ops": "tests/system/test_api_subnet_pools.py",
    "tag-creation": "networks",
    "tag-ports-during-bulk-creation": "tests/system/test_api_resources.py",
    "trunk": "trunks",
    "trunk-details": "trunks",
}


def check(api_url: str, scenarios: Collection[str]) -> None:
    """Hold the tables against what is served, and against a client's scenarios."""
    served = {each["alias"] for each in _get(api_url, "/v2.0/extensions")["extensions"]}
    collections = {each["collection"] for each in _get(api_url, "/v2.0/")["resources"]}
    for found, named in ((served, ALIASES), (collections, RESOURCES)):
        without = sorted(found - named.keys())
        assert not without, f"say in client_coverage.py which scenario exercises these: {without}"
        absent = sorted(named.keys() - found)
        assert not absent, f"these are not served: {absent}"
    for named in {*ALIASES.values(), *RESOURCES.values()}:
        assert named in scenarios or (ROOT / named).is_file(), f"there is no scenario or file {named}"


def _get(api_url: str, path: str) -> Any:
    return httpx.get(api_url + path, headers=ADMIN).raise_for_status().json()
