"""A real Keystone for tests: installed in an environment of its own, with SQLite, on loopback.

Installing takes a quarter of a minute once; setting up and starting as long for each test session.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from alcor.lab.region_process import free_port

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "keystone"
ENVIRONMENT = ROOT / ".venv-keystone"
INSTALL_TIMEOUT_S = 300.0
COMMAND_TIMEOUT_S = 120.0
PASSWORD = "a-password-for-tests"
CONFIGURATION = """\
[database]
connection = sqlite:///{directory}/keystone.sqlite
[fernet_tokens]
key_repository = {directory}/keys
[fernet_receipts]
key_repository = {directory}/keys
[identity]
password_hash_rounds = 4
[cache]
enabled = false
"""


def installed() -> Path:
    """Install Keystone as its lock file says, unless that is done; give its Python."""
    lock = FOLDER / "requirements.lock"
    stamp = ENVIRONMENT / ".lock"
    with (ROOT / ".venv-keystone.lock").open("w") as only_one:
        fcntl.flock(only_one, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            _run(sys.executable, "-m", "venv", "--clear", ENVIRONMENT)
            pip = (ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
            _run(*pip, "--require-hashes", "-r", lock, timeout_s=INSTALL_TIMEOUT_S)
            stamp.write_bytes(lock.read_bytes())
    return ENVIRONMENT / "bin" / "python"


class KeystoneServer:
    """One Keystone under a directory. Owner of its process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v3"
        self._python = installed()
        self._process: subprocess.Popen[bytes] | None = None

    def set_up(self) -> None:
        """Make its database, keys and first administrator."""
        for folder in ("etc", "keys"):
            (self._directory / folder).mkdir(parents=True)
        text = CONFIGURATION.format(directory=self._directory)
        (self._directory / "etc" / "keystone.conf").write_text(text)
        manage = (ENVIRONMENT / "bin" / "keystone-manage", "--config-dir", self._directory / "etc")
        user = ("--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid()))
        _run(*manage, "db_sync")
        _run(*manage, "fernet_setup", *user)
        public = ("--bootstrap-public-url", self.url, "--bootstrap-region-id", "tests")
        _run(*manage, "bootstrap", "--bootstrap-password", PASSWORD, *public)

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {**os.environ, "OS_KEYSTONE_CONFIG_DIR": str(self._directory / "etc")}
        with (self._directory / "keystone.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, FOLDER / "serve.py", str(self._port)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + COMMAND_TIMEOUT_S
        while True:
            assert self._process.poll() is None, (self._directory / "keystone.log").read_text()[-4000:]
            try:
                if httpx.get(self.url).status_code == 200:
                    return
            except httpx.TransportError:
                assert time.monotonic() < deadline, "Keystone does not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def token(self, user: str, project: str | None) -> str:
        """Get a token of a user, scoped to a project or to nothing."""
        named = {"name": user, "password": PASSWORD, "domain": {"id": "default"}}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": named}}}
        auth["scope"] = {"project": {"name": project, "domain": {"id": "default"}}} if project else "unscoped"
        answer = httpx.post(f"{self.url}/auth/tokens", json={"auth": auth}, timeout=COMMAND_TIMEOUT_S)
        assert answer.status_code == 201, answer.text
        return answer.headers["x-subject-token"]

    def ask(self, method: str, path: str, body: object = None, *, token: str = "") -> Any:
        """Make a request as the administrator."""
        headers = {"X-Auth-Token": self.token("admin", "admin")}
        if token:
            headers["X-Subject-Token"] = token
        answer = httpx.request(
            method, f"{self.url}{path}", json=body, headers=headers, timeout=COMMAND_TIMEOUT_S
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def new_project(self, name: str) -> str:
        """Make a project; give its id."""
        made = self.ask("POST", "/projects", {"project": {"name": name, "domain_id": "default"}})
        return str(made["project"]["id"])

    def new_user(self, name: str, project_id: str, role: str) -> None:
        """Make a user with a role in a project."""
        user = {"name": name, "password": PASSWORD, "domain_id": "default"}
        user_id = self.ask("POST", "/users", {"user": user})["user"]["id"]
        role_id = self.ask("GET", f"/roles?name={role}")["roles"][0]["id"]
        self.ask("PUT", f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def new_endpoint(self, service: str, url: str) -> None:
        """Enter a service into the catalogue."""
        made = self.ask("POST", "/services", {"service": {"type": service, "name": "alcor"}})
        endpoint = {
            "service_id": made["service"]["id"],
            "interface": "public",
            "url": url,
            "region_id": "tests",
        }
        self.ask("POST", "/endpoints", {"endpoint": endpoint})


def _run(*command: object, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
