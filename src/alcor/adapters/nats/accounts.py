"""Who may do what at a region's own queue, without a list of hosts: who holds a key says it in signed words.

    operator --signs--> account of the controller: owns the stream; lets the other account hear and ask
             --signs--> account of the agents: lets the controller hear answers
                            --signs--> a host's credentials: its own subjects, and no others

The server knows the operator and the two accounts; a host's permissions come with the host. Two accounts,
because an answer of the stream goes wherever who asks wants it: within the agents' account that can be no
stream, no controller, and nothing that carries a session.
"""

import time
from pathlib import Path

import msgspec

from alcor.adapters import certificates
from alcor.adapters.nats import subjects
from alcor.adapters.nats.access import Credentials
from alcor.adapters.nats.nkeys import Key, Kind
from alcor.model import errors
from alcor.model.ids import HostId

FILE = "queue.keys"
PARTITION = "0"
VALID_S = int(certificates.CERTIFICATE_LIFE.total_seconds())  # as long as the certificate beside it
_NO_LIMIT = -1


class _Seeds(msgspec.Struct, frozen=True):
    operator: str
    system: str
    controller: str
    agents: str


class Accounts:
    """The accounts of one region. Owner of their keys, in one file of the authority's directory."""

    def __init__(self, seeds: _Seeds) -> None:
        self._operator = Key.from_seed(seeds.operator)
        self._system = Key.from_seed(seeds.system)
        self._controller = Key.from_seed(seeds.controller)
        self._agents = Key.from_seed(seeds.agents)

    @classmethod
    def open(cls, directory: Path) -> "Accounts":
        """Take up the keys kept there, or make them. Raises Unavailable."""
        path = directory / FILE
        try:
            if not path.exists():
                _make(path)
            return cls(msgspec.json.decode(path.read_bytes(), type=_Seeds))
        except (OSError, msgspec.MsgspecError, errors.Invalid) as error:
            raise errors.Unavailable(
                f"the queue's keys in {path} cannot be used: {error}", retry_after_s=1
            ) from error

    def server_lines(self) -> list[str]:
        """Give what the server's configuration says of who is who. O(1): hosts are not in it."""
        operator = self._operator.state(
            self._operator.name,
            "alcor",
            {"type": "operator", "system_account": self._system.name},
            issued_at_s=_now_s(),
        )
        accounts = (
            (self._system, self._account("system", self._system, disk=0)),
            (self._controller, self._controller_account()),
            (self._agents, self._agents_account()),
        )
        known = "".join(f"  {key.name}: {statement}\n" for key, statement in accounts)
        return [
            f"operator: {operator}",
            f"system_account: {self._system.name}",
            "resolver: MEMORY",
            f"resolver_preload: {{\n{known}}}",
        ]

    def controller(self) -> Credentials:
        """Make credentials for all there is."""
        return self._user(self._controller, "controller", {"pub": {}, "sub": {}})

    def host(self, host: HostId) -> Credentials:
        """Make credentials for one host's subjects."""
        return self._agent(str(host), host)

    def fleet(self) -> Credentials:
        """Make credentials for all hosts' subjects: emulated hosts share a connection."""
        return self._agent(certificates.FLEET_NAME, None)

    def _agent(self, name: str, host: HostId | None) -> Credentials:
        publishes, subscribes = subjects.agent_may(PARTITION, host)
        return self._user(self._agents, name, {"pub": {"allow": publishes}, "sub": {"allow": subscribes}})

    def _user(self, account: Key, name: str, permissions: dict[str, object]) -> Credentials:
        key = Key.new(Kind.USER)
        claims = {
            "type": "user",
            "subs": _NO_LIMIT,
            "data": _NO_LIMIT,
            "payload": _NO_LIMIT,
            "allowed_connection_types": ["STANDARD"],
            **permissions,
        }
        now_s = _now_s()
        return Credentials(
            account.state(key.name, name, claims, issued_at_s=now_s, expires_at_s=now_s + VALID_S), key
        )

    def _controller_account(self) -> str:
        return self._account(
            "controller",
            self._controller,
            disk=_NO_LIMIT,
            exports=[
                _export("alcor.goal.>", "stream"),
                _export("alcor.beat.*", "stream"),
                _export(f"{subjects.GETS}.>", "service"),
            ],
            imports=[_import("alcor.answer.>", "stream", self._agents)],
        )

    def _agents_account(self) -> str:
        return self._account(
            "agents",
            self._agents,
            disk=0,
            exports=[_export("alcor.answer.>", "stream")],
            imports=[
                _import("alcor.goal.>", "stream", self._controller),
                _import("alcor.beat.*", "stream", self._controller),
                _import(f"{subjects.GETS}.>", "service", self._controller),
            ],
        )

    def _account(self, name: str, key: Key, *, disk: int, **shared: object) -> str:
        limits = dict.fromkeys(
            ("subs", "data", "payload", "imports", "exports", "conn", "streams", "consumer"), _NO_LIMIT
        )
        claims = {
            "type": "account",
            "limits": {**limits, "wildcards": True, "leaf": 0, "mem_storage": 0, "disk_storage": disk},
            "default_permissions": {"pub": {}, "sub": {}},
            **shared,
        }
        return self._operator.state(key.name, name, claims, issued_at_s=_now_s())


def _export(subject: str, kind: str) -> dict[str, object]:
    answers = {"response_type": "Singleton"} if kind == "service" else {}
    return {"name": subject, "subject": subject, "type": kind, **answers}


def _import(subject: str, kind: str, account: Key) -> dict[str, object]:
    return {
        "name": subject,
        "subject": subject,
        "local_subject": subject,
        "type": kind,
        "account": account.name,
    }


def _make(path: Path) -> None:
    """Write new keys, unless somebody else does at the same time: then theirs count."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = [Key.new(Kind.ACCOUNT).seed for _ in range(3)]
    seeds = _Seeds(Key.new(Kind.OPERATOR).seed, *account)
    certificates.write_secret_once(path, msgspec.json.encode(seeds))


def _now_s() -> int:
    return int(time.time())
