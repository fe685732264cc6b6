"""Which addresses the agent asks its controller for, and which it knows to be nobody's. Pure: times are given.

packet for an address not held -> want -> (once each) -> Ask -> controller
                                    |<-- arrived -- Update with the placement
                                    |<-- heard ---- Unknown: not again for a while
"""

from collections import OrderedDict
from collections.abc import Iterable

from alcor.contracts.agent_channel import WANTS_MAX, Ask, Unknown, Update, Want
from alcor.model.goal_state import HostState, NetworkChange, NetworkSection
from alcor.model.ids import Vni

ASKED_S = 1.0  # an answer takes milliseconds; after this it is lost, and the next packet asks again
ASKED_MAX = 4_096
ABSENT_MAX = 16_384  # what is forgotten early is only asked for once more

_Address = tuple[Vni, bytes]


class Neighbours:
    """Owner of what was asked for and of what is known to be absent."""

    def __init__(self) -> None:
        self._asked: OrderedDict[_Address, float] = OrderedDict()  # until when an answer is waited for
        self._absent: OrderedDict[_Address, float] = OrderedDict()  # until when it is taken for absent
        self._to_send: list[Want] = []
        self._number = 0
        self.turned_away = 0  # packets that found the list of questions full

    def want(self, vni: Vni, ip: bytes, now_s: float) -> bool:
        """Take note that a packet needs the address. False: there is no use in waiting. O(1)."""
        address = (vni, ip)
        absent_until_s = self._absent.get(address)
        if absent_until_s is not None:
            if now_s < absent_until_s:
                return False
            del self._absent[address]
        if now_s < self._asked.get(address, now_s):
            return True
        self._forget_unanswered(now_s)
        if len(self._asked) >= ASKED_MAX:
            self.turned_away += 1
            return False
        self._asked[address] = now_s + ASKED_S
        self._to_send.append(Want(vni, ip))
        return True

    @property
    def has_questions(self) -> bool:
        """Is there something to send?"""
        return bool(self._to_send)

    def take(self) -> list[Ask]:
        """Give what is to be asked now, in as few messages as allowed."""
        wants, self._to_send = self._to_send, []
        asks = []
        for start in range(0, len(wants), WANTS_MAX):
            self._number += 1
            asks.append(Ask(self._number, tuple(wants[start : start + WANTS_MAX])))
        return asks

    def heard(self, answer: Unknown, now_s: float) -> None:
        """Take an answer that these addresses are nobody's, or are not looked up now."""
        for want in answer.wants:
            address = (want.vni, want.ip)
            self._asked.pop(address, None)
            self._absent.pop(address, None)
            self._absent[address] = now_s + answer.for_s
            if len(self._absent) > ABSENT_MAX:
                self._absent.popitem(last=False)

    def arrived(self, state: HostState, updates: Iterable[Update]) -> None:
        """Take note of placements that updates brought; `state` has them. O(their entries)."""
        if not (self._asked or self._absent):
            return
        for update in updates:
            for section_update in update.sections:
                section = state.sections.get(section_update.key)
                change = section_update.change
                if (
                    isinstance(section, NetworkSection)
                    and section.network is not None
                    and section.network.on_demand
                    and isinstance(change, NetworkChange)
                ):
                    for placement in change.set_placements:
                        for ip in (*placement.ips, *placement.announced):
                            self._asked.pop((section.network.vni, ip), None)
                            self._absent.pop((section.network.vni, ip), None)

    def forget(self) -> None:
        """The stream ended: nothing asked will be answered."""
        self._asked.clear()
        self._to_send.clear()

    def _forget_unanswered(self, now_s: float) -> None:
        while self._asked:
            address, until_s = next(iter(self._asked.items()))
            if now_s < until_s:
                return
            del self._asked[address]
