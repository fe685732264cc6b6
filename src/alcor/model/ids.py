"""Distinct types for distinct identifiers. Object ids are canonical lower-case UUID text."""

from typing import NewType

NetworkId = NewType("NetworkId", str)
SubnetId = NewType("SubnetId", str)
PortId = NewType("PortId", str)
GroupId = NewType("GroupId", str)  # security group
RuleId = NewType("RuleId", str)
RouterId = NewType("RouterId", str)
TrunkId = NewType("TrunkId", str)
PortGroupId = NewType("PortGroupId", str)
PolicyId = NewType("PolicyId", str)  # RBAC policy
HostId = NewType("HostId", str)  # host name, as in binding:host_id
ProjectId = NewType("ProjectId", str)
AddressScopeId = NewType("AddressScopeId", str)
SubnetPoolId = NewType("SubnetPoolId", str)
AddressGroupId = NewType("AddressGroupId", str)
AddressGroupEntryId = NewType("AddressGroupEntryId", str)
DefaultRuleId = NewType("DefaultRuleId", str)
RequestId = NewType("RequestId", str)
Vni = NewType("Vni", int)  # 1 .. 2**24 - 1
