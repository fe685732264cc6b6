"""One connection to an OVSDB server: transactions, and a monitor that reports only what changed (RFC 7047).

`monitor_cond` (ovsdb-server(7), section 4.1.12) rather than RFC 7047's `monitor`: it sends the difference of a
set, where the other repeats every port of the bridge for each port that is added (law 4).
"""

import asyncio
import codecs
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.model.errors import Broken, Unavailable
from alcor.runtime.pending_requests import PendingRequests

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Operation: TypeAlias = dict[str, Json]
TableUpdates: TypeAlias = dict[
    str, Json
]  # table -> row id -> {"initial" | "insert" | "modify" | "delete": row}

DATABASE = "Open_vSwitch"
ANSWER_S = 20.0
CONNECT_S = 5.0
MESSAGE_CHARACTERS_MAX = 256 * 1024 * 1024
OPERATIONS_MAX = 10_000


class WaitFailed(Broken):
    """A `wait` did not find what it was to find: nothing was done."""


class OvsdbConnection(asyncio.Protocol):
    """A connection in use. Owner of its socket; `on_lost` is called once when it ends unasked."""

    def __init__(self, *, on_update: Callable[[TableUpdates], None], on_lost: Callable[[str], None]) -> None:
        self._on_update = on_update
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._framing = JsonStream()
        self._numbers = itertools.count(1)
        self._pending = PendingRequests[Json]()
        self._writable = asyncio.Event()
        self._closing = False

    @classmethod
    async def open(
        cls, endpoint: Endpoint, *, on_update: Callable[[TableUpdates], None], on_lost: Callable[[str], None]
    ) -> "OvsdbConnection":
        """Connect. Raises Unavailable."""
        connection = cls(on_update=on_update, on_lost=on_lost)
        try:
            async with asyncio.timeout(CONNECT_S):
                await endpoint.connect(lambda: connection)
        except (OSError, TimeoutError) as error:
            connection.close()
            raise Unavailable(f"the database does not answer at {endpoint}", retry_after_s=0.2) from error
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
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream's transport; uvloop's are asyncio.Transport in all but name.
        self._transport = cast(asyncio.Transport, transport)
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framing.feed(self._decoder.decode(data)):
                self._receive(message)
        except ValueError as error:
            self._fail(f"the database sent what is not JSON-RPC: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        reason = f"the connection to the database ended: {error or 'closed'}"
        self._pending.end(lambda: Unavailable(reason, retry_after_s=0.2))
        if not self._closing:
            self._closing = True
            self._on_lost(reason)

    # -- messages

    def _receive(self, message: dict[str, Json]) -> None:
        method = message.get("method")
        if method == "update2":
            parameters = message["params"]
            assert isinstance(parameters, list)
            updates = parameters[1]
            assert isinstance(updates, dict)
            self._on_update(updates)
        elif method == "echo":
            self._send({"id": message["id"], "result": message["params"], "error": None})
        elif method is None:
            self._resolve(message)

    def _resolve(self, message: dict[str, Json]) -> None:
        number = message.get("id")
        if not isinstance(number, int):
            return
        if message.get("error") is not None:
            self._pending.refuse(number, Broken(f"the database refuses: {message['error']}"))
        else:
            self._pending.answer(number, message.get("result"))

    async def _ask(self, method: str, parameters: list[Json]) -> Json:
        if self._closing:
            raise Unavailable("the connection to the database is closed", retry_after_s=0.2)
        number = next(self._numbers)
        try:
            async with asyncio.timeout(ANSWER_S):
                with self._pending.expect(number) as answer:
                    await self._writable.wait()
                    self._send({"method": method, "params": parameters, "id": number})
                    return await answer
        except TimeoutError as error:
            self._fail("the database did not answer in time")
            raise Unavailable("the database did not answer in time", retry_after_s=0.2) from error

    def _send(self, message: dict[str, Json]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message, separators=(",", ":")).encode())

    def _fail(self, reason: str) -> None:
        if not self._closing:
            self._closing = True
            self._on_lost(reason)
        if self._transport is not None:
            self._transport.abort()


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
