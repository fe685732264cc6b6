"""Beats as datagrams: nobody but the two ends can make one up, change one or turn one round."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.contracts import beat_datagram
from alcor.contracts.beat_datagram import AGENT, CONTROLLER, DATAGRAM_MAX, HEAD, HELD_MAX, BeatKey, sealed

HELD = st.binary(max_size=HELD_MAX)
KEY = BeatKey(7, bytes(range(32)))


@given(number=st.integers(0, 2**64 - 1), held=HELD)
def test_what_an_end_seals_is_its_own_and_within_the_bound(number: int, held: bytes) -> None:
    datagram = sealed(KEY, number, held, by=AGENT)
    assert HEAD.unpack_from(datagram) == (KEY.session, number)
    assert len(datagram) <= DATAGRAM_MAX
    assert beat_datagram.is_sealed(datagram, KEY.key, by=AGENT)
    assert not beat_datagram.is_sealed(datagram, KEY.key, by=CONTROLLER)
    assert not beat_datagram.is_sealed(datagram, bytes(32), by=AGENT)


@given(held=HELD, at=st.integers(0, DATAGRAM_MAX - 1), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(held: bytes, at: int, bit: int) -> None:
    datagram = bytearray(sealed(KEY, 7, held, by=AGENT))
    datagram[at % len(datagram)] ^= 1 << bit
    assert not beat_datagram.is_sealed(bytes(datagram), KEY.key, by=AGENT)


@given(noise=st.binary(max_size=DATAGRAM_MAX))
def test_noise_is_no_beat(noise: bytes) -> None:
    assert not beat_datagram.is_sealed(noise, KEY.key, by=AGENT)
