"""`GET /openapi.json` and `GET /docs`: the document, and a page that shows it. Readable by anybody.

Both say what Alcor is, not what is in this region: clients are made from the document before anybody has a
token. The page needs nothing from elsewhere, and the browser is told to fetch nothing from there.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import metadata, resources

import msgspec
from starlette.responses import Response

from alcor.management_plane.api import policy
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON
from alcor.management_plane.api.described import describes, gives
from alcor.management_plane.api.gate import Gate, GuardedRoute
from alcor.management_plane.api.openapi.document import Ways, document

_HTML = "text/html"


class Description:
    """Serves the description of all routes, its own among them."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._routes: Sequence[GuardedRoute] = ()

    def routes(self, entrance: Gate) -> list[GuardedRoute]:
        """Give the routes."""
        return [
            entrance.route("/openapi.json", policy=policy.PUBLIC, get=self.show_document),
            entrance.route("/docs", policy=policy.PUBLIC, get=self.show_page, media_type=_HTML),
        ]

    def routes_are(self, routes: Sequence[GuardedRoute]) -> None:
        """Take the routes to describe, once all are made."""
        self._routes = routes

    @describes(gives(200, of={"type": "object"}), summary="Show this document")
    async def show_document(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the document."""
        return Response(self._document, media_type=JSON)

    @describes(gives(200, of={"type": "string"}, media_type=_HTML), summary="Show this document to people")
    async def show_page(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the page."""
        content, rules = _page()
        return Response(content, media_type=_HTML, headers={"Content-Security-Policy": rules})

    @functools.cached_property
    def _document(self) -> bytes:
        """The document, made when somebody asks first."""
        return msgspec.json.encode(document(self._routes, self._ways, metadata.version("alcor")))


@functools.cache
def _page() -> tuple[bytes, str]:
    """Read the page; give it with what the browser may do: run its own script, ask here."""
    content = resources.files(__package__).joinpath("page.html").read_bytes()
    inline = [
        base64.b64encode(hashlib.sha256(found).digest()).decode()
        for found in re.findall(rb"<(?:script|style)>(.*?)</(?:script|style)>", content, re.DOTALL)
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in inline)
    rules = f"default-src 'none'; script-src {allowed}; style-src {allowed}; connect-src 'self'; img-src data:"
    return content, f"{rules}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
