"""One connection to an OVSDB server: transactions, and a monitor that reports only what changed (RFC 7047).

`monitor_cond` (ovsdb-server(7), section 4.1.12) rather than RFC 7047's `monitor`: it sends the difference of a
set, where the other repeats every port of the bridge for each port that is added (law 4).
"""

import codecs
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from alcor.data_plane.ovs.dialogue import Dialogue
from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.model.errors import Broken

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Operation: TypeAlias = dict[str, Json]
TableUpdates: TypeAlias = dict[
    str, Json
]  # table -> row id -> {"initial" | "insert" | "modify" | "delete": row}

DATABASE = "Open_vSwitch"
MESSAGE_CHARACTERS_MAX = 256 * 1024 * 1024
OPERATIONS_MAX = 10_000


class WaitFailed(Broken):
    """A `wait` did not find what it was to find: nothing was done."""


class OvsdbConnection:
    """A connection in use. Owner of its dialogue; `on_lost` is called once when it ends unasked."""

    def __init__(self, *, on_update: Callable[[TableUpdates], None], on_lost: Callable[[str], None]) -> None:
        self._on_update = on_update
        self._dialogue: Dialogue[Json] = Dialogue("database", on_data=self._read, on_lost=on_lost)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._framing = JsonStream()
        self._numbers = itertools.count(1)

    @classmethod
    async def open(
        cls, endpoint: Endpoint, *, on_update: Callable[[TableUpdates], None], on_lost: Callable[[str], None]
    ) -> "OvsdbConnection":
        """Connect. Raises Unavailable."""
        connection = cls(on_update=on_update, on_lost=on_lost)
        await connection._dialogue.open(endpoint)
        return connection

    async def transact(self, operations: Sequence[Operation]) -> list[dict[str, Json]]:
        """Make all operations in one transaction and give a result for each.

        Raises Broken when the database refuses one (nothing is done then), WaitFailed, Unavailable.
        """
        assert len(operations) <= OPERATIONS_MAX
        answer = await self._ask("transact", [DATABASE, *operations])
        assert isinstance(answer, list)
        results = []
        for result in answer:
            if isinstance(result, dict) and "error" in result:
                if result["error"] == "timed out":
                    raise WaitFailed("what a transaction was to find in the database is not there")
                raise Broken(f"the database refuses: {result['error']}: {result.get('details', '')}")
            results.append(result if isinstance(result, dict) else {})
        return results

    async def monitor(self, tables: Mapping[str, Sequence[str]]) -> TableUpdates:
        """Watch columns of tables; gives all their rows, and from then on `on_update` is called."""
        requests: Json = {table: [{"columns": list(columns)}] for table, columns in tables.items()}
        answer = await self._ask("monitor_cond", [DATABASE, "alcor", requests])
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        """Let go of the connection; `on_lost` is not called."""
        self._dialogue.close()

    # -- messages

    def _read(self, data: bytes) -> None:
        try:
            for message in self._framing.feed(self._decoder.decode(data)):
                self._receive(message)
        except ValueError as error:
            self._dialogue.give_up(f"the database sent what is not JSON-RPC: {error}")

    def _receive(self, message: dict[str, Json]) -> None:
        method = message.get("method")
        if method == "update2":
            parameters = message["params"]
            assert isinstance(parameters, list)
            updates = parameters[1]
            assert isinstance(updates, dict)
            self._on_update(updates)
        elif method == "echo":
            self._dialogue.send(_encoded({"id": message["id"], "result": message["params"], "error": None}))
        elif method is None:
            self._resolve(message)

    def _resolve(self, message: dict[str, Json]) -> None:
        number = message.get("id")
        if not isinstance(number, int):
            return
        if message.get("error") is not None:
            self._dialogue.pending.refuse(number, Broken(f"the database refuses: {message['error']}"))
        else:
            self._dialogue.pending.answer(number, message.get("result"))

    async def _ask(self, method: str, parameters: list[Json]) -> Json:
        number = next(self._numbers)
        request = _encoded({"method": method, "params": parameters, "id": number})
        async with self._dialogue.patience("the database did not answer in time"):
            return await self._dialogue.ask(number, request)


def _encoded(message: dict[str, Json]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


class JsonStream:
    """Splits a stream of JSON objects that follow each other without any separator. Owner of its buffer."""

    def __init__(self) -> None:
        self._buffer = ""
        self._try_at = 0
        self._decoder = json.JSONDecoder()

    def feed(self, text: str) -> list[dict[str, Json]]:
        """Give the objects that are complete now. Raises ValueError on what is no object, or too long.

        An object that is not complete is parsed again only when its text has doubled or a brace ends it, so
        that a long one costs little more than once.
        """
        self._buffer += text
        found: list[dict[str, Json]] = []
        while self._buffer and (len(self._buffer) >= self._try_at or self._buffer.endswith("}")):
            if not self._buffer.startswith("{"):
                raise ValueError("an object must start with a brace")
            try:
                value, end = self._decoder.raw_decode(self._buffer)
            except json.JSONDecodeError:
                if len(self._buffer) > MESSAGE_CHARACTERS_MAX:
                    raise
                self._try_at = 2 * len(self._buffer)
                break
            found.append(value)
            self._buffer = self._buffer[end:].lstrip()
            self._try_at = 0
        return found
