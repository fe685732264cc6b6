"""The way in for every request: its id, its body within bounds, its caller; and every way out in its form."""

import functools
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alcor.contracts.audit import Actor, Entry
from alcor.contracts.identity import Identity, IdentitySource
from alcor.management_plane.api import call as calls
from alcor.management_plane.api import errors as error_form
from alcor.management_plane.api.bodies import BODY_MAX, Bodies, Body
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.limits import Limits
from alcor.management_plane.api.policy import Policy, require
from alcor.management_plane.audit.trail import AuditTrail
from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.ids import ProjectId, RequestId
from alcor.model.roles import Level
from alcor.runtime.clock import new_request_id
from alcor.runtime.event_log import EventLog

URL_MAX = 16 * 1024  # twice Neutron's: clients that get 414 ask in several requests
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_READING = frozenset({"GET", "HEAD"})
_KIND = re.compile("[a-z_]{1,40}")
_PATH_MAX = 512  # of what the audit trail keeps of a path

Answer = Callable[[Request], Awaitable[Response]]
Endpoint = Callable[[Call, Mapping[str, str]], Awaitable[Response]]


class GuardedRoute(Route):
    """A route that only the gate makes."""

    def __init__(self, path: str, answer: Answer, policy: Policy, endpoints: Mapping[str, Endpoint]) -> None:
        """`endpoints`: by method; a GET answers HEAD as well."""
        super().__init__(path, answer)
        self.methods = set()  # all come to the gate: it knows what to say of those that are not served
        self.policy = policy
        self.endpoints = endpoints


class Gate:
    """Turns endpoints into routes: none without a policy, and nobody gets past it unknown."""

    def __init__(
        self, log: EventLog, identities: IdentitySource, limits: Limits, trail: AuditTrail | None = None
    ) -> None:
        self._log = log
        self._identities = identities
        self._limits = limits
        self._trail = trail
        self._bodies = Bodies()

    def route(
        self,
        path: str,
        *,
        policy: Policy,
        get: Endpoint | None = None,
        post: Endpoint | None = None,
        put: Endpoint | None = None,
        delete: Endpoint | None = None,
        body_max: int = BODY_MAX,
        media_type: str = "application/json",
    ) -> GuardedRoute:
        """Make the route of a path from the endpoints of its methods. `policy`: who may call them."""
        said = {"GET": get, "POST": post, "PUT": put, "DELETE": delete}
        endpoints = {method: endpoint for method, endpoint in said.items() if endpoint is not None}
        allowed = ", ".join(endpoints if get is None else [*endpoints, "HEAD"])

        async def answer(request: Request) -> Response:
            request_id = new_request_id()
            refusal = ""
            try:
                _check_form(request, media_type)
                caller = await self._enter(request, request_id, policy)
                endpoint = endpoints.get("GET" if request.method == "HEAD" else request.method)
                if endpoint is None:
                    raise errors.Invalid(
                        "The method is not allowed for this resource.", reason="HTTPMethodNotAllowed"
                    )
                response = await self._carry_out(request, caller, policy, endpoint, body_max)
            except errors.AlcorError as error:
                refusal = error.reason
                self._note(error, request, request_id)
                response = self._refusal(error)
                if refusal == "HTTPMethodNotAllowed":
                    response.headers["Allow"] = allowed
            self._audit(request, request_id, response, refusal)
            response.headers["X-Openstack-Request-Id"] = request_id
            return response

        return GuardedRoute(path, answer, policy, endpoints)

    async def _carry_out(
        self, request: Request, caller: Caller, policy: Policy, endpoint: Endpoint, body_max: int
    ) -> Response:
        again = functools.partial(self._admit_again, request, policy, caller)
        self._limits.at_once.begin(caller.project_id, is_admin=caller.is_admin)
        body = Body(self._bodies, caller.project_id)
        try:
            if request.method in _WITH_BODY:
                await body.read(request, body_max)
            return await endpoint(calls.from_request(request, body.content, caller, again), request.path_params)
        finally:
            body.release()
            self._limits.at_once.end(caller.project_id)

    async def not_found(self, request: Request, error: Exception) -> Response:
        """Answer for paths that do not exist; to those who may not know what does, as for those that do."""
        try:
            await self._identity(request)
        except errors.AlcorError as refusal:
            return self._refusal(refusal)
        return error_form.response(errors.Missing("The resource could not be found.", reason="HTTPNotFound"))

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer for our own mistakes; the stack goes to the log of whoever runs us, not to the client."""
        self._log.error(
            "request_failed",
            method=request.method,
            path=request.url.path,
            stack="".join(traceback.format_exception(error)),
        )
        return error_form.internal()

    async def _enter(self, request: Request, request_id: RequestId, policy: Policy) -> Caller:
        """Let a request in, before its body is read. Raises Invalid (401, 403), LimitReached, Unavailable."""
        if policy.is_public and request.method in ("GET", "HEAD"):
            return Caller(ProjectId(""), False, request_id)
        identity = await self._identity(request)
        self._limits.admit(identity)
        require(policy, identity, request.method)
        return Caller(
            project_id=identity.project_id,
            is_admin=identity.level is Level.ADMIN,
            request_id=request_id,
            user_id=identity.user_id,
            roles=identity.roles,
            actor=_actor(request, identity) if self._trail is not None else None,
        )

    def _audit(self, request: Request, request_id: RequestId, response: Response, refusal: str) -> None:
        """Note what was to change something and committed nothing; what was committed, the change log has."""
        if self._trail is None or request.method in _READING or "x-alcor-revision" in response.headers:
            return
        try:
            identity = self._identities.known(request.headers)
        except errors.AlcorError:
            identity = None
        path = request.scope["path"]
        self._trail.note(
            Entry(
                self._trail.now_us(),
                request_id,
                _actor(request, identity),
                request.method.lower(),
                _kind(path),
                (),
                0,
                0,
                response.status_code,
                refusal,
            )
        )

    async def _admit_again(self, request: Request, policy: Policy, caller: Caller) -> None:
        """Hold a caller whose request goes on against what is known now. Raises Invalid, Unavailable."""
        identity = await self._identity(request)
        require(policy, identity, request.method)
        if (identity.project_id, identity.level is Level.ADMIN) != (caller.project_id, caller.is_admin):
            raise errors.Invalid("The caller's rights have changed.", reason="PolicyNotAuthorized")

    async def _identity(self, request: Request) -> Identity:
        identity = self._identities.known(request.headers)
        if identity is not None:
            return identity
        address = request.client.host if request.client is not None else ""
        self._limits.may_attempt(address)
        try:
            return await self._identities.identify(request.headers)
        except errors.Invalid:
            self._limits.failed(address)
            raise

    def _refusal(self, error: errors.AlcorError) -> Response:
        return error_form.response(error, challenge=self._identities.challenge)

    def _note(self, error: errors.AlcorError, request: Request, request_id: str) -> None:
        if isinstance(error, errors.Broken):
            self._log.error(
                "request_broken", request_id=request_id, path=request.url.path, reason=error.message
            )


def _actor(request: Request, identity: Identity | None) -> Actor:
    address = request.client.host if request.client is not None else ""
    path = request.scope["path"][:_PATH_MAX].encode(errors="replace").decode()
    if identity is None:
        return Actor("", "", (), address, request.method, path)
    return Actor(identity.project_id, identity.user_id, identity.roles, address, request.method, path)


def _kind(path: str) -> str:
    """Give the kind that a path is about: `security_group` of /v2.0/security-groups/ID."""
    parts = path.split("/")
    plural = parts[2].replace("-", "_") if len(parts) > 2 else ""
    kind = f"{plural[:-3]}y" if plural.endswith("ies") else plural.removesuffix("s")
    return kind if _KIND.fullmatch(kind) else "unknown"


def _check_form(request: Request, media_type: str) -> None:
    """Raise Invalid for a URL that is too long, and for clients that take no answer of ours."""
    scope = request.scope
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > URL_MAX:
        raise errors.Invalid(f"The URL is longer than {URL_MAX} bytes.", reason="HTTPRequestURITooLong")
    accepted = request.headers.get("accept")
    if accepted is not None and request.method != "DELETE" and not _is_accepted(accepted, media_type):
        raise errors.Invalid(f"The answer is {media_type}, which is not accepted.", reason="HTTPNotAcceptable")


@functools.lru_cache(maxsize=256)  # clients have few kinds of it
def _is_accepted(accepted: str, media_type: str) -> bool:
    """Tell whether a list of media ranges has the type (RFC 9110, 12.5.1). The most specific range decides."""
    ranges = {}
    for text in accepted.split(","):
        name, _, parameters = text.partition(";")
        is_refused = re.search(r"(?:^|;)\s*q=0(?:\.0{0,3})?\s*(?:;|$)", parameters) is not None
        ranges[name.strip().lower()] = not is_refused
    main = media_type.partition("/")[0]
    decisive = (ranges[name] for name in (media_type, f"{main}/*", "*/*") if name in ranges)
    return next(decisive, set(ranges) == {""})
