"""Names on the queue: any text is one token and comes back; what every message has is worked out once."""

import pytest

from alcor.adapters.nats import subjects
from alcor.model.goal_state import group_key
from alcor.model.ids import HostId

NAMES = (
    "host-1",
    "compute-1.example.org",
    "group:6b8b4567-327b-23c6-643c-986966334873",
    "a b.*.>=41",
    "rechner-ü.例え",
    "",
)


@pytest.mark.parametrize("name", NAMES)
def test_any_text_is_one_token_and_comes_back(name: str) -> None:
    token = subjects.encoded(name)
    assert set(token).isdisjoint(".*> ")
    assert token.isascii()
    assert subjects.decoded(token) == name


def test_what_subjects_may_hold_stays_readable() -> None:
    assert subjects.encoded("Host_1-a") == "Host_1-a"
    assert subjects.encoded("compute-1.example.org") == "compute-1=2Eexample=2Eorg"


@pytest.mark.parametrize("token", ["=ZZ", "=FF", "a="])
def test_what_nothing_is_encoded_as_is_refused(token: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        subjects.decoded(token)
    assert subjects.speaker(f"alcor.answer.0.{token}.1") is None


def test_a_change_for_all_hosts_costs_each_name_once() -> None:
    hosts = [HostId(f"counted-{number}.example.org") for number in range(1000)]
    encoded, decoded = subjects.encoded.cache_info().misses, subjects.decoded.cache_info().misses
    for _ in range(3):
        for host in hosts:
            subjects.goal("0", host, group_key("counted"))
            subjects.speaker(f"alcor.answer.0.{subjects.encoded(host)}.7")
    assert subjects.encoded.cache_info().misses - encoded == len(hosts) + 1
    assert subjects.decoded.cache_info().misses - decoded == len(hosts)
