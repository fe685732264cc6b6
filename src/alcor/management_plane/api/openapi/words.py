"""What the document says in words. Names that mean the same everywhere are explained once."""

INTRODUCTION = """\
The network control plane of a region: OpenStack Neutron's API v2.0 as it is, so its clients work unchanged, and
what Alcor adds under the same conventions.

**Form.** One object is `{"network": {...}}`, many are `{"networks": [...]}`. A POST with the plural makes all
of them or none. Every GET answers HEAD as well; a method that a path does not have is 405, and `Allow` names
those it has.

**Refusals** have the form `{"NeutronError": {"type": ..., "message": ..., "detail": ""}}`. What belongs to
another project is 404, as if it were not there.

**Lists** are filtered by attributes (`name=a&name=b`: one or the other), sorted by `sort_key` and `sort_dir`,
and paged: `limit` and `marker`, or the links at the end of a page. No page is longer than 10,000 objects.

**Changes.** `If-Match: revision_number=N` holds an update against what you have seen. `Idempotency-Key` lets
you send a POST again. Every change is answered with `X-Alcor-Revision`; `GET /v2.0/changes/{revision}` tells
which hosts have it.
"""

TAG_WORDS = {
    "discovery": "Where clients begin.",
    "networks": "Isolated networks of layer 2.",
    "subnets": "Ranges of addresses on a network.",
    "ports": "Where workloads are plugged in.",
    "port-groups": "Many ports from one template, in one call.",
    "security-groups": "Who may talk to whom.",
    "security-group-rules": "What a security group allows.",
    "address-groups": "Addresses that rules may be about.",
    "default-security-group-rules": "The rules that new security groups get.",
    "routers": "Ways between subnets.",
    "rbac-policies": "What projects share with others.",
    "extensions": "What of the API is in force here.",
    "hosts": "The hosts, and what each holds.",
    "agents": "The hosts as Neutron's clients know them.",
    "service-providers": "Who provides the services.",
    "floatingips": "None: they are not supported yet.",
    "availability-zones": "Where hosts are.",
    "network-ip-availabilities": "How many addresses are left.",
    "changes": "Which hosts have a change.",
    "events": "What changes, as it happens.",
    "projects": "What the operator says of tenants.",
    "quotas": "How much projects may have.",
    "resync": "How far the restart of a region is.",
    "audit": "Who did what, when, from where.",
    "subnetpools": "Prefixes of which subnets are cut.",
    "address-scopes": "Where addresses are unique, and within which routers forward.",
    "auto-allocated-topology": "A network, subnet and router for who asks for nothing else.",
    "trace": "Which rule decides over a packet.",
}

PATH_WORDS = {
    "id": "The object's id.",
    "tag": "The tag.",
    "host": "The host's name.",
    "alias": "The extension's short name.",
    "revision": "The number from `X-Alcor-Revision`.",
}

WORDS = {
    "id": "Names the object for ever.",
    "name": "For people; need not be unique.",
    "project_id": "Whose it is. Only administrators may say another's.",
    "tenant_id": "Another name of `project_id`.",
    "description": "For people.",
    "created_at": "When it was made, UTC.",
    "updated_at": "When it last changed, UTC.",
    "revision_number": "Grows with every change of the object, or of what is part of it.",
    "tags": "Words to find it by.",
    "network_id": "The network it is on.",
    "admin_state_up": "False: it is switched off.",
    "status": "Of ports: ACTIVE when its host has it and its workload is there, BUILD on the way, else DOWN.",
    "mtu": "The largest packet, in bytes.",
    "shared": "Whether other projects may use it.",
    "subnets": "The ids of its subnets.",
    "port_security_enabled": "False: neither security groups nor protection from forged addresses.",
    "router:external": "Whether it leads outside.",
    "provider:network_type": "How packets travel between hosts.",
    "provider:segmentation_id": "The VXLAN network identifier.",
    "provider:physical_network": "Always null: overlays have none.",
    "ip_version": "The version of IP.",
    "cidr": "The range of addresses.",
    "gateway_ip": "The router's address; null: none.",
    "allocation_pools": "What ports get addresses from.",
    "dns_nameservers": "Told to workloads by DHCP.",
    "host_routes": "Routes told to workloads by DHCP.",
    "enable_dhcp": "Whether DHCP answers here.",
    "service_types": "Device owners whose ports get addresses here; none: all.",
    "subnetpool_id": "The pool that its range is cut from; null: none.",
    "use_default_subnetpool": "Cut the range from the region's default pool.",
    "prefixlen": "How long the prefix to cut is; of the pool's default length if not said.",
    "prefixes": "The ranges that subnets are cut from; written as the fewest there can be.",
    "min_prefixlen": "The shortest prefix that is cut.",
    "max_prefixlen": "The longest prefix that is cut.",
    "default_prefixlen": "The length of prefixes that are cut if none is said.",
    "default_quota": "How many addresses of the pool a project may have; null: any number.",
    "is_default": "Whether subnets are cut from it where no pool is named. Only administrators may say so.",
    "address_scope_id": "The address scope it is in; null: in none.",
    "ipv4_address_scope": "The address scope that its IPv4 subnets are in; null: in none.",
    "ipv6_address_scope": "Always null.",
    "mac_address": "The Ethernet address; drawn if not said.",
    "fixed_ips": "Its addresses and their subnets; found if not said.",
    "security_groups": "The ids of its security groups; the project's default group if not said.",
    "allowed_address_pairs": "Further addresses that it may send from and receive for.",
    "extra_dhcp_opts": "Further options told by DHCP.",
    "device_id": "Whose port it is: a server, a container.",
    "device_owner": "What kind of device that is.",
    "binding:host_id": "The host it is on.",
    "binding:profile": "What the host's virtualisation wants to keep with the port.",
    "binding:vif_type": "`ovs` on a live host, `binding_failed` on another, `unbound` on none.",
    "binding:vif_details": "How the workload's interface is plugged.",
    "binding:vnic_type": "The kind of interface.",
    "alcor:fast_path": "Goes before bulk on its way to the host.",
    "alcor:in_force": "Whether its host has acknowledged it as it is now.",
    "alcor:applied_revision": "The revision that its host has acknowledged.",
    "alcor:reason": "Why it is as it is, in words.",
    "alcor:port_group": "The port group that it was made by.",
    "count": "How many ports.",
    "hosts": "One port on each of these hosts.",
    "port": "What the ports have in common.",
    "direction": "Seen from the workload.",
    "ethertype": "IPv4 or IPv6.",
    "protocol": "Name or number; null: any.",
    "port_range_min": "The first port, or the ICMP type.",
    "port_range_max": "The last port, or the ICMP code.",
    "remote_group_id": "Only from, or to, the members of this group.",
    "remote_ip_prefix": "Only from, or to, these addresses.",
    "remote_address_group_id": "Only from, or to, what is in this address group.",
    "belongs_to_default_sg": "Whether it is a rule of the project's default group.",
    "addresses": "What is in it, as networks.",
    "used_in_default_sg": "Whether projects' default groups get such a rule.",
    "used_in_non_default_sg": "Whether all other new groups get such a rule.",
    "normalized_cidr": "`remote_ip_prefix` as it is in force.",
    "security_group_id": "The group it belongs to.",
    "security_group_rules": "Its rules.",
    "stateful": "Whether answers to what is allowed are allowed.",
    "object_type": "What kind of object is shared, as `network` or `security_group`.",
    "object_id": "The object that is shared.",
    "action": "How: access_as_shared.",
    "target_tenant": "With which project; `*`, with all, is for administrators to say.",
    "target_project": "Another name of `target_tenant`.",
}
