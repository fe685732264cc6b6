"""Who asks: the project, the user and their roles, whether it is an administrator, and the request's id."""

import msgspec

from alcor.contracts.audit import Actor
from alcor.contracts.store import Once
from alcor.model.ids import ProjectId, RequestId
from alcor.model.records import AnyRecord, Port


class Caller(msgspec.Struct, frozen=True):
    """The identity behind one request."""

    project_id: ProjectId
    is_admin: bool
    request_id: RequestId
    user_id: str = ""  # empty: nobody said
    roles: tuple[str, ...] = ()  # as whoever knows the caller names them; what they allow, the gate decides
    once: Once | None = None  # the key of the request, if it is to be carried out once only

    actor: Actor | None = None  # as the audit trail names who asks

    def owns(self, record: AnyRecord) -> bool:
        """May the caller change the record?"""
        return self.is_admin or record.project_id == self.project_id

    def sees(self, record: AnyRecord) -> bool:
        """May the caller know of the record, whatever is shared? Of ports on its networks it may, too."""
        return self.owns(record) or (isinstance(record, Port) and record.network_owner == self.project_id)
