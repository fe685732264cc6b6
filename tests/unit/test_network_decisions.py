"""Networks: numbers on the wire."""

import pytest

from alcor.management_plane.caller import Caller
from alcor.management_plane.network import decisions
from alcor.management_plane.network.decisions import NetworkFields
from alcor.model import errors
from alcor.model.ids import ProjectId, RequestId

CALLER = Caller(ProjectId("blue"), False, RequestId("req-1"))


def test_vnis_are_never_zero_and_fit_in_24_bits() -> None:
    drawn = [
        decisions.vni_from(entropy) for entropy in (b"\0\0\0", b"\xff\xff\xff", b"\xff\xff\xfe", b"\0\0\1")
    ]
    assert drawn == [1, 1, 16777215, 2]


def test_an_mtu_that_tunnels_cannot_carry_is_refused() -> None:
    for mtu in (1451, 67, -1):
        with pytest.raises(errors.Invalid):
            decisions.create(NetworkFields(mtu=mtu), network_id="n", caller=CALLER, drawn_vni=5, now_us=1)
    made = decisions.create(NetworkFields(mtu=0), network_id="n", caller=CALLER, drawn_vni=5, now_us=1)
    assert (made.mtu, made.vni, made.revision_number) == (1450, 5, 1)
    assert decisions.update(made, NetworkFields(mtu=1400), now_us=2).mtu == 1400
