"""What a switch would refuse: fields and actions of which the match does not say that they are there."""

import pytest

from alcor.data_plane.pipeline.flow import (
    Action,
    Commit,
    DecTtl,
    Field,
    Flow,
    FlowChange,
    FlowKey,
    Goto,
    Match,
    Move,
    SetField,
    Term,
    Track,
)
from alcor.data_plane.pipeline.matching import IS_ARP, IS_ICMPV6, IS_IPV4, IS_IPV6, IS_SOLICITATION
from alcor.data_plane.pipeline.prerequisites import missing
from alcor.data_plane.simulated.switch import Switch

SOLICITED: Match = (IS_IPV6, IS_ICMPV6, IS_SOLICITATION)
ANY: Match = ()


def flow(match: Match, *actions: Action) -> Flow:
    return Flow(FlowKey(10, 100, match), actions)


@pytest.mark.parametrize(
    ("match", "actions", "expected"),
    [
        ((IS_IPV6, Term(Field.IPV6_SRC, 1)), (), []),
        ((IS_IPV4, Term(Field.IPV6_SRC, 1)), (), ["IPV6_SRC"]),
        ((Term(Field.ETH_TYPE, 0x0800, 0xFF00), Term(Field.IP_SRC, 1)), (), ["IP_SRC"]),
        ((IS_IPV6, Term(Field.IP_PROTO, 6), Term(Field.TCP_DST, 80)), (), []),
        ((IS_IPV6, Term(Field.TCP_DST, 80)), (), ["TCP_DST"]),
        ((IS_IPV4, Term(Field.IP_PROTO, 58), Term(Field.ICMPV6_TYPE, 128)), (), ["ICMPV6_TYPE"]),
        (SOLICITED, (SetField(Field.ND_SLL, 1), SetField(Field.ND_RESERVED, 0)), []),
        (SOLICITED, (SetField(Field.ICMPV6_TYPE, 136), SetField(Field.ND_TLL, 1)), ["ND_TLL"]),
        ((IS_ARP,), (Move(Field.ARP_SPA, Field.REG4), Move(Field.IP_SRC, Field.REG5)), ["IP_SRC"]),
        (ANY, (DecTtl(),), ["DecTtl"]),
        ((IS_IPV6,), (DecTtl(), Track(Field.REG1, 20), Commit(Field.REG1, 0)), []),
        ((IS_ARP,), (Commit(Field.REG1, 0),), ["Commit"]),
        (ANY, (Goto(20),), []),
    ],
)
def test_what_is_missing_is_named(match: Match, actions: tuple[Action, ...], expected: list[str]) -> None:
    assert missing(flow(match, *actions)) == expected


def test_the_simulated_switch_takes_no_such_flow() -> None:
    with pytest.raises(AssertionError, match="IPV6_DST"):
        Switch(lambda: 0.0).apply(FlowChange([flow(ANY, SetField(Field.IPV6_DST, 1))], [], []))
