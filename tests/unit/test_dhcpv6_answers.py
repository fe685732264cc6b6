"""DHCPv6 by the messages of RFC 8415, section 18.3."""

import msgspec
import pytest

from alcor.data_plane import dhcpv6
from alcor.model.addressing import Cidr, link_local_ip
from alcor.model.goal_state import DHCPV6, LocalPort, SubnetEntry
from alcor.model.records import FixedIp
from doubles.dhcpv6_client import (
    ADVERTISE,
    CLIENT_ID,
    CONFIRM,
    DECLINE,
    DNS,
    DUID,
    IA_PD,
    IA_TA,
    INFORMATION,
    MAC,
    PREFERENCE,
    RAPID,
    REBIND,
    RECONFIGURE,
    RELEASE,
    RENEW,
    REPLY,
    REQUEST,
    SEARCH,
    SERVER_ID,
    SOLICIT,
    STATUS,
    Answer,
    asked,
    association,
    message,
    option,
    read,
)
from doubles.dhcpv6_server import (
    FAR,
    NETWORK,
    ONE,
    OTHER,
    OWN,
    PORT,
    RESOLVER,
    SECOND,
    SERVER,
    SERVER_MAC,
    reply,
    subnet,
)

SUCCESS, NO_ADDRESSES, NO_BINDING, NOT_ON_LINK, NO_PREFIX = 0, 2, 3, 4, 6

TWO = LocalPort("p", MAC, (FixedIp("s", OWN), FixedIp("s2", SECOND)), (), True, True)


BOTH = (*ONE, subnet("s2", "2001:db8:1::/64"))


def answer(frame: bytes, port: LocalPort = PORT, subnets=ONE) -> Answer:
    return read(reply(frame, port, subnets))


def given(said: Answer, number: int = 1) -> list[bytes]:
    """Name the addresses that an association may use."""
    return [each.ip for each in said.associations[number.to_bytes(4, "big")].addresses if each.valid_s]


def test_a_solicit_is_offered_the_ports_address() -> None:
    said = answer(message(SOLICIT, association()))
    assert said.type == ADVERTISE
    assert said.options[CLIENT_ID] == DUID
    assert said.options[SERVER_ID] == SERVER
    assert said.options[PREFERENCE] == b"\xff"
    assert said.options[DNS] == RESOLVER
    (association_of,) = said.associations.values()
    assert association_of.status is None
    assert association_of.renew_s == dhcpv6.RENEW_S
    assert association_of.addresses == [(OWN, dhcpv6.PREFERRED_S, dhcpv6.VALID_S)]


def test_the_answer_goes_to_who_asked_from_a_link_local_address() -> None:
    packet = answer(message(SOLICIT, association())).packet
    assert (packet.source, packet.destination) == (link_local_ip(SERVER_MAC), link_local_ip(MAC))
    assert (packet.eth_src, packet.eth_dst) == (SERVER_MAC, MAC)


def test_times_grow() -> None:
    assert dhcpv6.RENEW_S < dhcpv6.REBIND_S < dhcpv6.PREFERRED_S < dhcpv6.VALID_S


def test_rapid_commit_is_committed_at_once() -> None:
    said = answer(message(SOLICIT, association(), option(RAPID, b"")))
    assert said.type == REPLY
    assert said.options[RAPID] == b""
    assert given(said) == [OWN]


def test_a_request_is_granted() -> None:
    said = answer(message(REQUEST, association(OWN), server=SERVER))
    assert said.type == REPLY
    assert RAPID not in said.options
    assert PREFERENCE not in said.options
    assert given(said) == [OWN]


@pytest.mark.parametrize(
    ("why", "frame"),
    [
        ("no client", message(SOLICIT, association(), client=None)),
        ("a server is chosen already", message(SOLICIT, association(), server=SERVER)),
        ("no server is chosen", message(REQUEST, association(OWN))),
        ("another server is chosen", message(REQUEST, association(OWN), server=DUID)),
        ("another server's lease", message(RENEW, association(OWN), server=DUID)),
        ("a renewal names its server", message(RENEW, association(OWN))),
        ("rebinding is for any server", message(REBIND, association(OWN), server=SERVER)),
        ("confirming is for any server", message(CONFIRM, association(OWN), server=SERVER)),
        ("nothing to confirm", message(CONFIRM)),
        ("release without server", message(RELEASE, association(OWN))),
        ("decline to another", message(DECLINE, association(OWN), server=DUID)),
        ("information with addresses", message(INFORMATION, association())),
        ("information of another server", message(INFORMATION, server=DUID)),
        ("a server's message", message(ADVERTISE, association(), server=SERVER)),
        ("a server's message", message(REPLY, server=SERVER)),
        ("a server's message", message(RECONFIGURE, server=SERVER)),
        ("relayed", message(12)),
        ("unknown", message(99)),
        ("somebody else's MAC address", message(SOLICIT, association(), mac=MAC + 1)),
        ("not from its link", message(SOLICIT, association(), source=OWN)),
        ("not to all servers", message(SOLICIT, association(), destination="ff02::1:3")),
        ("to one server", message(SOLICIT, association(), destination="2001:db8::1")),
        ("an identifier that is too short", message(SOLICIT, association(), client=b"\x00\x01")),
        ("an identifier that is too long", message(SOLICIT, association(), client=bytes(131))),
        ("more associations than it may have", message(SOLICIT, *(association(number=n) for n in range(9)))),
        (
            "more addresses than it may name",
            message(SOLICIT, association(*[OTHER[:15] + bytes([n]) for n in range(17)])),
        ),
        ("half an association", message(SOLICIT, option(3, bytes(11)))),
        ("half an option", message(SOLICIT, association(), b"\x00\x06\x00\x09\x00")),
    ],
)
def test_what_is_not_for_us_is_not_answered(why: str, frame: bytes) -> None:
    assert reply(frame) is None, why


def test_a_client_with_one_association_gets_every_address() -> None:
    assert given(answer(message(SOLICIT, association()), TWO, BOTH)) == [OWN, SECOND]
    for named in ((OWN,), (SECOND, OWN)):
        said = answer(message(REQUEST, association(*named), server=SERVER), TWO, BOTH)
        assert sorted(given(said)) == [OWN, SECOND]


def test_associations_share_the_addresses_and_keep_their_own() -> None:
    said = answer(message(SOLICIT, association(number=1), association(number=2)), TWO, BOTH)
    assert (given(said, 1), given(said, 2)) == ([OWN], [SECOND])
    swapped = (association(SECOND, number=1), association(OWN, number=2))
    said = answer(message(RENEW, *swapped, server=SERVER), TWO, BOTH)
    assert (given(said, 1), given(said, 2)) == ([SECOND], [OWN])


@pytest.mark.parametrize(
    ("kind", "status"),
    [(SOLICIT, NO_ADDRESSES), (REQUEST, NO_ADDRESSES), (RENEW, NO_BINDING), (REBIND, NO_BINDING)],
)
def test_an_association_too_many_is_told_so(kind: int, status: int) -> None:
    server = SERVER if kind in (REQUEST, RENEW) else None
    said = answer(message(kind, association(OWN, number=1), association(number=2), server=server))
    assert given(said, 1) == [OWN]
    assert said.associations[b"\0\0\0\2"] == (3, [], status, 0)


def test_prefixes_and_temporary_addresses_are_not_given() -> None:
    wanted = (association(number=1), association(number=2, kind=IA_PD), association(number=3, kind=IA_TA))
    said = answer(message(SOLICIT, *wanted))
    assert given(said, 1) == [OWN]
    assert said.associations[b"\0\0\0\2"] == (IA_PD, [], NO_PREFIX, 0)
    assert said.associations[b"\0\0\0\3"] == (IA_TA, [], NO_ADDRESSES, 0)


def test_a_request_for_an_address_of_another_link_is_refused() -> None:
    said = answer(message(REQUEST, association(FAR), server=SERVER))
    assert said.associations[b"\0\0\0\1"] == (3, [], NOT_ON_LINK, 0)


def test_a_request_for_anothers_address_gets_the_ports_own() -> None:
    assert given(answer(message(REQUEST, association(OTHER), server=SERVER))) == [OWN]
    assert given(answer(message(SOLICIT, association(FAR)))) == [OWN]


@pytest.mark.parametrize(("kind", "server"), [(RENEW, SERVER), (REBIND, None)])
def test_a_renewal_takes_back_what_the_port_has_no_longer(kind: int, server: bytes | None) -> None:
    said = answer(message(kind, association(OTHER, FAR), server=server))
    (association_of,) = said.associations.values()
    assert association_of.status is None
    assert [(each.ip, each.valid_s, each.preferred_s) for each in association_of.addresses] == [
        (OWN, dhcpv6.VALID_S, dhcpv6.PREFERRED_S),
        (OTHER, 0, 0),
        (FAR, 0, 0),
    ]


@pytest.mark.parametrize(("ip", "status"), [(OWN, SUCCESS), (OTHER, NOT_ON_LINK), (FAR, NOT_ON_LINK)])
def test_only_the_ports_own_address_is_confirmed(ip: bytes, status: int) -> None:
    said = answer(message(CONFIRM, association(ip)))
    assert said.type == REPLY
    assert said.options[STATUS][:2] == status.to_bytes(2, "big")
    assert not said.associations


@pytest.mark.parametrize("kind", [RELEASE, DECLINE])
def test_who_gives_back_is_thanked_and_may_ask_again(kind: int) -> None:
    parts = (association(OWN, number=1), association(OTHER, number=2))
    said = answer(message(kind, *parts, server=SERVER))
    assert said.options[STATUS][:2] == b"\0\0"
    assert said.associations == {b"\0\0\0\2": (3, [], NO_BINDING, 0)}
    assert given(answer(message(SOLICIT, association()))) == [OWN]


def test_only_options_that_are_asked_for_are_given() -> None:
    search = b"\x07example\x00"
    port = msgspec.structs.replace(PORT, dhcp_options=((6, b"\x01\x02\x03\x04"), (DHCPV6 | SEARCH, search)))
    everything = answer(message(SOLICIT, association()), port).options
    assert everything.keys() == {CLIENT_ID, SERVER_ID, PREFERENCE, DNS, SEARCH}
    assert everything[SEARCH] == search
    assert answer(message(SOLICIT, association(), asked(SEARCH, 77)), port).options.keys() == {
        *(CLIENT_ID, SERVER_ID, PREFERENCE, SEARCH)
    }
    assert DNS not in answer(message(SOLICIT, association(), asked()), port).options


def test_an_option_of_the_port_goes_before_that_of_its_subnet() -> None:
    port = msgspec.structs.replace(PORT, dhcp_options=((DHCPV6 | DNS, OTHER),))
    assert answer(message(SOLICIT, association()), port).options[DNS] == OTHER


def test_information_is_given_without_addresses() -> None:
    for mode in ("dhcpv6-stateful", "dhcpv6-stateless"):
        said = answer(message(INFORMATION, asked(DNS)), subnets=(subnet(mode=mode),))
        assert said.type == REPLY
        assert said.options == {CLIENT_ID: DUID, SERVER_ID: SERVER, DNS: RESOLVER}
        assert not said.associations
    anonymous = answer(message(INFORMATION, client=None))
    assert CLIENT_ID not in anonymous.options
    assert anonymous.options[DNS] == RESOLVER


def test_a_stateless_subnet_gives_no_address() -> None:
    stateless = (subnet(mode="dhcpv6-stateless"),)
    assert reply(message(SOLICIT, association()), subnets=stateless) is None
    mixed = (subnet(mode="dhcpv6-stateless"), subnet("s2", "2001:db8:1::/64"))
    assert given(answer(message(SOLICIT, association()), TWO, mixed)) == [SECOND]


@pytest.mark.parametrize(
    "entry",
    [
        subnet(mode="slaac"),
        subnet(mode=""),
        subnet(address_mode=""),  # another DHCPv6 server gives addresses there
        subnet(enable_dhcp=False),
        SubnetEntry("s", tuple(Cidr.from_text("10.0.0.0/24")), None, True, (), ()),
    ],
)
def test_other_subnets_are_silent(entry: SubnetEntry) -> None:
    for frame in (message(SOLICIT, association()), message(INFORMATION), message(CONFIRM, association(OWN))):
        assert reply(frame, subnets=(entry,)) is None


def test_the_mode_of_advertisements_does_not_matter() -> None:
    assert given(answer(message(SOLICIT, association()), subnets=(subnet(ra_mode=""),))) == [OWN]


def test_every_host_of_a_network_is_the_same_server() -> None:
    here = answer(message(SOLICIT, association()))
    frame = message(RENEW, association(OWN), server=here.options[SERVER_ID])
    there = dhcpv6.reply(frame, PORT, NETWORK, (subnet(),), server_mac=SERVER_MAC + 1)
    assert given(read(there)) == [OWN]
    other_network = msgspec.structs.replace(NETWORK, id="m")
    assert reply(frame, network=other_network) is None


def test_an_answer_that_fits_no_frame_is_not_sent() -> None:
    options = tuple((DHCPV6 | code, bytes(200)) for code in range(100, 107))
    port = msgspec.structs.replace(PORT, dhcp_options=options)
    assert reply(message(SOLICIT, association()), port) is None
    assert reply(message(SOLICIT, association(), asked(100)), port) is not None
