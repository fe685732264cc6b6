"""The quick way through for port bodies gives what the long way gives."""

from typing import Any

import msgspec
import pytest

from alcor.management_plane.api import form, ports
from alcor.management_plane.api.call import Call
from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.ids import ProjectId, RequestId

NETWORK = "01890a5d-ac96-774b-bcce-b302099a8057"
BODIES: list[dict[str, Any]] = [
    {"network_id": NETWORK},
    {"network_id": NETWORK, "name": "n" * 255, "description": "", "admin_state_up": False},
    {"network_id": NETWORK, "name": "n" * 256},
    {"network_id": NETWORK, "name": "a\x00"},
    {"network_id": NETWORK, "admin_state_up": "true"},
    {"network_id": NETWORK, "fixed_ips": [{"subnet_id": NETWORK}, {"ip_address": "10.0.0.1"}]},
    {"network_id": NETWORK, "fixed_ips": [{"subnet": NETWORK}]},
    {"network_id": NETWORK, "fixed_ips": None},
    {"network_id": NETWORK, "security_groups": [NETWORK]},
    {"network_id": NETWORK, "security_groups": None},
    {"network_id": NETWORK, "security_groups": ["x"]},
    {"network_id": NETWORK, "device_id": "d", "device_owner": "compute:a", "port_security_enabled": True},
    {
        "network_id": NETWORK,
        "binding:host_id": "h",
        "binding:vnic_type": "normal",
        "binding:profile": {"a": [1]},
    },
    {"network_id": NETWORK, "binding:host_id": None, "binding:profile": None},
    {"network_id": NETWORK, "tags": ["b", "a"]},
    {"network_id": NETWORK, "project_id": "red"},
    {"network_id": NETWORK, "tenant_id": "blue"},
    {"network_id": NETWORK, "project_id": ""},
    {"network_id": NETWORK, "mac_address": "fa:00:00:00:00:01"},
    {"network_id": NETWORK.upper()},
    {"network_id": "x"},
    {"name": "x"},
    {"network_id": NETWORK, "status": "ACTIVE"},
    {"network_id": NETWORK, "colour": "red"},
]


def outcome(way: Any) -> object:
    try:
        return way()
    except errors.AlcorError as error:
        return (error.reason, error.message)


@pytest.mark.parametrize("is_admin", [False, True])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("is_bulk", [False, True])
def test_both_ways_agree(body: dict[str, Any], *, is_admin: bool, is_bulk: bool) -> None:
    caller = Caller(ProjectId("blue"), is_admin, RequestId("req-1"))
    content = msgspec.json.encode({"ports": [body, body]} if is_bulk else {"port": body})
    call = Call(caller, "POST", "http://a", "/v2.0/ports", (), None, content)
    long_way = outcome(lambda: form.created(ports.RESOURCE, content, caller))
    assert outcome(lambda: ports.asked_ports(call)) == long_way


def test_the_ordinary_body_goes_straight() -> None:
    content = msgspec.json.encode(
        {"ports": [{"network_id": NETWORK, "binding:host_id": "h", "project_id": "red"}]}
    )
    found = ports._decoded_straight(content)
    assert found is not None
    assert not ports._needs_care(found[0][0], is_admin=True)
    assert ports._needs_care(found[0][0], is_admin=False)
