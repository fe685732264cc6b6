"""How many hosts of each zone were lost lately and have not come back: whether it is they, or we."""

from collections import Counter, deque

from alcor.model.ids import HostId


class Losses:
    """Owner of the hosts lost within `lately_s`. All of it O(1), but that the old ones go by and by."""

    def __init__(self, lately_s: float) -> None:
        self._lately_s = lately_s
        self._lost: dict[HostId, tuple[float, str]] = {}  # when, and its zone
        self._line: deque[tuple[float, HostId]] = deque()  # by time; those that came back are skipped
        self._by_zone: Counter[str] = Counter()

    def lost(self, host: HostId, zone: str, at_s: float, now_s: float) -> None:
        """A host was lost."""
        self.found(host)
        if now_s - at_s < self._lately_s:
            self._lost[host] = (at_s, zone)
            self._line.append((at_s, host))
            self._by_zone[zone] += 1

    def found(self, host: HostId) -> None:
        """It is lost no longer, or known no longer."""
        held = self._lost.pop(host, None)
        if held is not None:
            self._by_zone[held[1]] -= 1

    def lately(self, zone: str, now_s: float) -> int:
        """Count those of a zone."""
        while self._line and now_s - self._line[0][0] >= self._lately_s:
            at_s, host = self._line.popleft()
            held = self._lost.get(host)
            if held is not None and held[0] == at_s:
                self.found(host)
        return self._by_zone[zone]
