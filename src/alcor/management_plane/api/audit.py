"""`GET /v2.0/audit`: who did what, when, from where, with which result; oldest first, by pages."""

import calendar
import time
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from alcor.contracts.audit import Asked, Entry
from alcor.management_plane.api import gate, policy
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written
from alcor.management_plane.api.described import describes, gives, takes
from alcor.management_plane.audit.trail import AuditTrail
from alcor.model import errors
from alcor.model.roles import Level

PAGE_MAX = 1_000
_PARAMETERS = frozenset({"project_id", "kind", "since", "until", "limit", "marker"})

_MOMENT = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string"}


class AuditAnswer(msgspec.Struct):
    """An entry as it is shown. `status` is that of a request that committed nothing."""

    id: str
    time: str
    request_id: str
    project_id: str
    user_id: str
    roles: tuple[str, ...]
    address: str
    method: str
    path: str
    action: str
    kind: str
    targets: tuple[str, ...]
    count: int
    outcome: str
    revision: int | None
    status: int | None
    reason: str
    repeats: int


class AuditCollection:
    """Serves the trail: to a project what its own people did, to administrators all."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route."""
        allowed = policy.Policy(Level.READER, Level.ADMIN)
        return [entrance.route("/v2.0/audit", policy=allowed, get=self.list)]

    @describes(
        gives(200, "audit", of=AuditAnswer, is_many=True, links="audit_links"),
        summary="List who did what",
        takes=(
            takes("project_id", "Only of this project; other projects' for administrators.", _TEXT),
            takes("kind", "Only about this kind of objects.", _TEXT),
            takes("since", "Not before this moment, like 2026-01-01T00:00:00Z.", _MOMENT),
            takes("until", "Before this moment.", _MOMENT),
            takes("limit", "At most so many on a page.", {"type": "integer", "minimum": 0}),
            takes("marker", "The last entry of the page before.", _TEXT),
        ),
    )
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET a page."""
        asked = _asked(call)
        found = await self._trail.entries(msgspec.structs.replace(asked, limit=asked.limit + 1))
        page = found[: asked.limit]
        document: dict[str, object] = {"audit": [_answer(entry) for entry in page]}
        if len(found) > asked.limit:
            kept = [pair for pair in call.parameters if pair[0] not in ("marker", "limit")]
            query = urlencode([*kept, ("limit", str(asked.limit)), ("marker", page[-1].id)])
            document["audit_links"] = [{"rel": "next", "href": f"{call.base_url}{call.path}?{query}"}]
        return written(document, 200)


def _answer(entry: Entry) -> AuditAnswer:
    at_s, rest_us = divmod(entry.at, 1_000_000)
    is_failure = entry.status >= 400
    return AuditAnswer(
        id=entry.id,
        time=f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_s))}.{rest_us:06d}Z",
        request_id=entry.request_id,
        project_id=entry.actor.project_id,
        user_id=entry.actor.user_id,
        roles=entry.actor.roles,
        address=entry.actor.address,
        method=entry.actor.method,
        path=entry.actor.path,
        action=entry.operation,
        kind=entry.kind,
        targets=entry.targets,
        count=entry.count,
        outcome="failure" if is_failure else "success",
        revision=entry.revision or None,
        status=entry.status or None,
        reason=entry.reason,
        repeats=entry.repeats,
    )


def _asked(call: Call) -> Asked:
    """Read what is asked for. Raises Invalid."""
    values = dict(call.parameters)
    unknown = sorted(values.keys() - _PARAMETERS)
    if unknown:
        raise errors.Invalid(f"{unknown} is invalid attribute for filtering")
    project_id = values.get("project_id")
    if not call.caller.is_admin:
        if project_id not in (None, call.caller.project_id):
            raise errors.Invalid(
                "The trail of other projects needs the admin role.", reason="PolicyNotAuthorized"
            )
        project_id = call.caller.project_id
    limit = values.get("limit", str(PAGE_MAX))
    if not limit.isascii() or not limit.isdigit() or len(limit) > 9:
        raise errors.Invalid(f"Limit must be an integer 0 or greater and not '{limit}'", reason="BadRequest")
    marker = values.get("marker", "")
    if any("\0" in value for value in values.values()):
        raise errors.Invalid("A filter has no NUL in it.")
    return Asked(
        project_id=project_id,
        kind=values.get("kind"),
        since=_moment("since", values.get("since"), Asked().since),
        until=_moment("until", values.get("until"), Asked().until),
        after=marker,
        limit=min(int(limit), PAGE_MAX) or PAGE_MAX,
    )


def _moment(name: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) * 1_000_000
    except ValueError:
        raise errors.Invalid(
            f"Invalid input for {name}. Reason: '{text}' is not like 2026-01-01T00:00:00Z."
        ) from None
