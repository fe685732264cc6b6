"""The little of Keystone that clients ask before they come to us: a token, a catalogue, names of projects."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECTS = {"admin": "a" * 32, "blue": "b" * 32}


@contextmanager
def identity_service(network_url: str) -> Iterator[str]:
    """Serve on loopback until left; give the URL for `--os-auth-url`. Refuses nobody."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            path, _, query = self.path.partition("?")
            name = path.rpartition("/")[2]
            known = [_project(each) for each in PROJECTS if f"name={each}" in query or "name=" not in query]
            found = [_project(each) for each, id_ in PROJECTS.items() if id_ == name]
            if path == "/v3/projects":
                self._answer(200, {"projects": known, "links": {}})
            elif found:
                self._answer(200, {"project": found[0]})
            elif path.rstrip("/") in ("", "/v3"):
                version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{url}/v3/"}]}
                self._answer(200, {"version": version} if "v3" in path else {"versions": {"values": [version]}})
            else:
                self._answer(404, {"error": {"code": 404, "message": path, "title": "Not Found"}})

        def do_POST(self) -> None:  # the library's name
            self.rfile.read(int(self.headers["content-length"]))
            self._answer(201, {"token": _token({"identity": f"{url}/v3", "network": network_url})})

        def _answer(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Subject-Token", "t")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{url}/v3"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _project(name: str) -> dict[str, object]:
    return {"id": PROJECTS[name], "name": name, "domain_id": "default", "enabled": True, "links": {}}


def _token(services: dict[str, str]) -> dict[str, object]:
    domain = {"id": "default", "name": "Default"}
    catalog = [
        {
            "id": type_,
            "type": type_,
            "name": type_,
            "endpoints": [
                {"id": type_, "interface": "public", "region": "r", "region_id": "r", "url": endpoint}
            ],
        }
        for type_, endpoint in services.items()
    ]
    return {
        "methods": ["password"],
        "user": {"id": "u" * 32, "name": "admin", "domain": domain},
        "project": {"id": PROJECTS["admin"], "name": "admin", "domain": domain},
        "roles": [{"id": "r", "name": "admin"}],
        "catalog": catalog,
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "expires_at": "2126-01-01T00:00:00.000000Z",
    }
