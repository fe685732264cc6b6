"""Who says Hello: what is believed of it depends on how its name is known. Pure.

Neighbours are ordered to hosts, and let into their switches, by their names: so only names that are known for
certain help, are ordered, and take the place of a session whose own name is certain.
"""

from typing import NamedTuple

import msgspec

from alcor.contracts.agent_channel import Hello
from alcor.model import errors
from alcor.model.ids import HostId


class Speaker(NamedTuple):
    """How the name of who speaks on a channel is known.

    `certified`: whom the stream's certificate names. `at_queue`: in whose place at the queue it speaks.
    `is_believed`: whatever it says, for it is of our own user, or no names matter here.
    """

    certified: str | None
    at_queue: HostId | None
    is_believed: bool

    @property
    def is_plain(self) -> bool:
        """Is nothing known but what it says?"""
        return not (self.certified or self.at_queue or self.is_believed)

    def judge(self, hello: Hello) -> Hello:
        """Leave out of a Hello what is not believed of this speaker. Raises Invalid, or Conflict."""
        name = hello.rescuer or hello.host
        if self.certified is not None and self.certified != name:
            raise errors.Invalid(f"the certificate names '{self.certified}', Hello names '{name}'")
        if self.at_queue is not None and not self.at_queue == hello.host == name:
            raise errors.Invalid(f"host '{hello.host}' speaks in the place of '{self.at_queue}'")
        if not self.is_plain:
            return hello
        if hello.rescuer:
            raise errors.Conflict(f"'{name}' has no certificate, and cannot write for host '{hello.host}'")
        return msgspec.structs.replace(hello, helps=False, public_key=b"", helped=())

    def require_may_replace(self, former: "Speaker") -> None:
        """Raise Conflict where this speaker may not take the place of one whose session lasts.

        Of the queue any may: emulated hosts share its certificate, and have none for their streams.
        """
        if self.is_plain and former.certified is not None:
            raise errors.Conflict(
                f"'{former.certified}' speaks for this host with a certificate; this has none"
            )
