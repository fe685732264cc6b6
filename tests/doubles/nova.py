"""A small Nova: takes external events over real HTTP, and judges each by whether it knows the server."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/v2.1/os-server-external-events"
NAMES = {"network-vif-plugged", "network-vif-unplugged", "network-vif-deleted", "network-changed"}


class NovaDouble:
    """Owner of what was heard. It can be away, slow, broken, or ask for a token."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        self.requests = 0
        self.unknown_servers: set[str] = set()
        self.not_ready: set[str] = set()  # servers that have no host yet
        self.answers: list[int] = []  # statuses for the next requests, instead of judging
        self.delay_s = 0.0
        self.token = ""  # "": it asks nobody
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2.1"

    def start(self) -> None:
        """Listen; on the same port as before."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body leave together

            def do_POST(self) -> None:  # the library's name
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if double._server is None:  # it went away, and this connection with it
                    self.close_connection = True
                    return
                status, document = double._take(self.path, self.headers.get("X-Auth-Token", ""), body)
                answer = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)
            self._server = None

    def of(self, port_id: str) -> list[str]:
        """Name what was heard of a port, in order."""
        return [event["name"].removeprefix("network-") for event in self.heard if event.get("tag") == port_id]

    def _take(self, path: str, token: str, body: Any) -> tuple[int, Any]:
        self.requests += 1
        time.sleep(self.delay_s)
        if path != PATH:
            return 404, {"message": "The resource could not be found."}
        if token != self.token:
            return 401, {"error": {"code": 401, "message": "who are you?"}}
        if self.answers:
            return self.answers.pop(0), {"computeFault": {"message": "not now"}}
        events = body["events"]
        assert events
        judged = [self._judge(event) for event in events]
        if all(each["code"] == 404 for each in judged):
            return 404, {"itemNotFound": {"code": 404, "message": "No instances found for any event"}}
        self.heard += events
        return 200 if all(each["code"] == 200 for each in judged) else 207, {"events": judged}

    def _judge(self, event: dict[str, str]) -> dict[str, Any]:
        assert event["name"] in NAMES
        assert event.get("status", "completed") in ("completed", "failed")
        assert set(event) <= {"name", "server_uuid", "tag", "status"}
        server = event["server_uuid"]
        code = 404 if server in self.unknown_servers else 422 if server in self.not_ready else 200
        return {**event, "code": code, "status": "completed" if code == 200 else "failed"}
