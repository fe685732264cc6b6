"""What an agent names of what it holds, beside Hello: all of it when asked, or one section by turns."""

from alcor.contracts.agent_channel import Holds
from alcor.host_agent.applier import Applier


class HeldTurns:
    """Owner of what is due to be named."""

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self._is_asked = False
        self._is_due = False
        self._last = ""  # the section whose digest was told last

    def asked(self) -> None:
        """The controller wants to know all that is held."""
        self._is_asked = True

    def due(self) -> None:
        """It is time for the next section's turn."""
        self._is_due = True

    def take(self, *, may_tell: bool) -> Holds | None:
        """Give what is to be named now, between two changes; what may not be told now is not due any longer."""
        is_asked, is_due = self._is_asked, self._is_due
        self._is_asked = self._is_due = False
        if may_tell and is_asked:
            return Holds(self._applier.held(), is_all=True)
        if may_tell and is_due and (one := self._applier.held_next(self._last)) is not None:
            self._last = one.key
            return Holds((one,), is_all=False)
        return None
