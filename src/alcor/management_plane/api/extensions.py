"""The extensions that are in force: clients decide by alias what they send, so no other is named."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from alcor.management_plane.api import gate, policy
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written
from alcor.management_plane.api.described import describes, gives
from alcor.model import errors


class Extension(msgspec.Struct, frozen=True):
    """An extension as it is shown."""

    alias: str
    name: str
    updated: str
    description: str = ""
    links: tuple[()] = ()


EXTENSIONS = tuple(
    Extension(alias, name, f"{date}T00:00:00-00:00", description or name)
    for alias, name, date, description in (
        ("address-scope", "Address scope", "2015-07-26", "Where addresses are unique and routers forward."),
        ("address-group", "Address group", "2020-07-15", "Support address group"),
        ("agent", "agent", "2013-02-03", "The hosts' agents."),
        ("agent_sort_key", "Agents Sort Key", "2013-02-03", ""),
        (
            "alcor-auto-topology",
            "Alcor auto topology",
            "2026-01-01",
            "/v2.0/auto-allocated-topology gives a network, subnet and router; not yet a way outside.",
        ),
        ("alcor-convergence", "Alcor convergence", "2026-01-01", "What is in force, waiting for it, receipts."),
        (
            "alcor-events",
            "Alcor events",
            "2026-01-01",
            "What changes, as server-sent events from the change log.",
        ),
        ("alcor-hosts", "Alcor hosts", "2026-01-01", "The hosts, and what each holds."),
        (
            "alcor-idempotency",
            "Alcor idempotency",
            "2026-01-01",
            "Idempotency-Key: creates that may be sent again.",
        ),
        ("alcor-projects", "Alcor projects", "2026-01-01", "Which tenants' hosts are synchronised first."),
        ("alcor-port-groups", "Alcor port groups", "2026-01-01", "Many ports from one template in one call."),
        ("alcor-resync", "Alcor resync", "2026-01-01", "How far the restart of a region is."),
        (
            "allowed-address-pairs",
            "Allowed Address Pairs",
            "2013-07-23",
            "Ports may send from and receive for further addresses.",
        ),
        ("availability_zone", "Availability Zone", "2015-01-01", ""),
        ("availability_zone_filter", "Availability Zone Filter Extension", "2018-06-22", ""),
        (
            "binding",
            "Port Binding",
            "2014-02-03",
            "Where ports are bound",
        ),
        (
            "binding-extended",
            "Ports Bindings Extended",
            "2017-07-17",
            "Bindings that are prepared on one host while another is in force.",
        ),
        (
            "data-plane-status",
            "Status of the underlying data plane",
            "2017-01-01",
            "What somebody outside says of a port's data plane.",
        ),
        (
            "default-subnetpools",
            "Default Subnetpools",
            "2016-02-18",
            "Provides ability to mark and use a default.",
        ),
        ("empty-string-filtering", "Empty String Filtering Extension", "2018-05-01", ""),
        (
            "extra_dhcp_opt",
            "Neutron Extra DHCP options",
            "2013-03-17",
            "Extra options of DHCP, by name and number.",
        ),
        ("extraroute", "Neutron Extra Route", "2013-02-01", "Extra routes configuration for L3 router"),
        (
            "extraroute-atomic",
            "Atomically add/remove extra routes",
            "2019-07-10",
            "Edit extra routes of a router on server side by atomically adding/removing extra routes",
        ),
        ("filter-validation", "Filter parameters validation", "2018-07-04", ""),
        ("ip_allocation", "IP Allocation", "2016-06-10", "When ports get their addresses: at once, or none."),
        ("ip-substring-filtering", "IP address substring filtering", "2017-11-28", ""),
        (
            "l3-port-ip-change-not-allowed",
            "Prevent L3 router ports IP address change extension",
            "2018-10-09",
            "",
        ),
        ("net-mtu", "Network MTU", "2015-03-25", "Provides MTU attribute for a network resource."),
        ("net-mtu-writable", "Network MTU (writable)", "2017-07-12", ""),
        (
            "network-ip-availability",
            "Network IP Availability",
            "2015-09-24",
            "Provides IP availability data for each network and subnet.",
        ),
        ("network_availability_zone", "Network Availability Zone", "2015-01-01", ""),
        ("pagination", "Pagination support", "2016-06-12", ""),
        ("port-mac-address-regenerate", "Neutron Port MAC address regenerate", "2018-05-03", ""),
        ("port-security", "Port Security", "2012-07-23", ""),
        ("port-security-groups-filtering", "Port filtering on security groups", "2018-01-09", ""),
        ("project-id", "project_id field enabled", "2016-09-09", ""),
        ("provider", "Provider Network", "2012-09-07", "Expose mapping of virtual networks to VXLAN"),
        (
            "quota-check-limit",
            "Quota engine limit check",
            "2021-12-01",
            "Limits are not set below what is used.",
        ),
        ("quota_details", "Quota details management support", "2017-02-10", "What is used of the quotas."),
        (
            "quotas",
            "Quota management support",
            "2012-07-29",
            "Expose functions for quotas management per project",
        ),
        ("rbac-address-group", "Add address_group type to RBAC", "2021-01-20", ""),
        ("rbac-address-scope", "Add address_scope type to RBAC", "2020-02-12", ""),
        ("rbac-policies", "RBAC Policies", "2015-06-17", "What projects share with others."),
        ("rbac-security-groups", "Add security_group type to network RBAC", "2019-02-14", ""),
        ("rbac-subnetpool", "Add subnetpool type to RBAC", "2020-02-05", ""),
        ("revision-if-match", "If-Match constraints based on revision_number", "2016-12-11", ""),
        ("router", "Neutron L3 Router", "2012-07-20", "Routers and their interfaces."),
        ("router_availability_zone", "Router Availability Zone", "2015-01-01", ""),
        ("security-group", "security-group", "2012-10-05", "The security groups extension."),
        (
            "security-groups-default-rules",
            "Default rules for security groups",
            "2022-12-19",
            "The rules that new security groups get.",
        ),
        ("security-groups-normalized-cidr", "Normalized CIDR field for security group rules", "2020-07-28", ""),
        (
            "security-groups-remote-address-group",
            "Remote address group id field for security group rules",
            "2020-08-25",
            "",
        ),
        (
            "security-groups-rules-belongs-to-default-sg",
            "Security group rule belongs to the project's default security group",
            "2023-05-23",
            "",
        ),
        (
            "security-groups-shared-filtering",
            "Security group filtering on the shared field",
            "2021-10-05",
            "Support filtering security groups on the shared field",
        ),
        ("service-type", "Neutron Service Type Management", "2013-01-20", "Who provides the services."),
        ("sort-key-validation", "Sort keys validation", "2018-07-04", ""),
        ("sorting", "Sorting support", "2016-06-12", ""),
        ("standard-attr-description", "standard-attr-description", "2016-02-10", ""),
        ("standard-attr-revisions", "Resource revision numbers", "2016-04-11", ""),
        ("standard-attr-tag", "Tag support for resources with standard attribute", "2017-01-01", ""),
        ("standard-attr-timestamp", "Resource timestamps", "2016-09-12", ""),
        (
            "stateful-security-group",
            "Stateful security group",
            "2019-11-26",
            "Groups with stateful=false track nothing.",
        ),
        (
            "subnet_allocation",
            "Subnet Allocation",
            "2015-03-30",
            "Enables allocation of subnets from a subnet pool",
        ),
        ("subnet_onboard", "Subnet Onboard", "2018-12-18", "Subnets that are there become a pool's."),
        (
            "subnet-service-types",
            "Subnet service types",
            "2016-03-15",
            "Subnets that serve some device owners only.",
        ),
        ("subnetpool-prefix-ops", "Subnet Pool Prefix Operations", "2019-02-08", ""),
        ("tag-creation", "Tag creation extension", "2024-07-23", ""),
        ("tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "2019-12-29", ""),
        ("trunk", "Trunk Extension", "2016-01-01", "Provides support for trunk ports"),
        ("trunk-details", "Trunk port details", "2016-01-01", "Expose trunk port details"),
    )
)


class ExtensionCollection:
    """Serves the extensions; `more` names those that depend on how the region is wired."""

    def __init__(self, more: tuple[Extension, ...]) -> None:
        self._by_alias = {extension.alias: extension for extension in (*EXTENSIONS, *more)}

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes of all and of one."""
        return [
            entrance.route("/v2.0/extensions", policy=policy.TENANT, get=self.list),
            entrance.route("/v2.0/extensions/{alias}", policy=policy.TENANT, get=self.show),
        ]

    @describes(gives(200, "extensions", of=Extension, is_many=True), summary="List extensions")
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET all."""
        return written({"extensions": sorted(self._by_alias.values(), key=lambda each: each.alias)}, 200)

    @describes(gives(200, "extension", of=Extension), summary="Show an extension")
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one."""
        extension = self._by_alias.get(path["alias"])
        if extension is None:
            raise errors.Missing(
                f"Extension with alias {path['alias']} does not exist", reason="ExtensionNotFound"
            )
        return written({"extension": extension}, 200)


TRACE = Extension(
    "alcor-trace", "Alcor trace", "2026-01-01T00:00:00-00:00", "Follow a packet through the rules."
)
