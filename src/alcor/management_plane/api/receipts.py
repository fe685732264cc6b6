"""Receipts: which hosts a change concerns, and how far each is."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from alcor.contracts.convergence import Convergence, HostReceipt, Omitted, Receipt
from alcor.contracts.store import Store
from alcor.management_plane.api import gate, moments, policy, waiting
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written
from alcor.management_plane.api.described import describes, gives
from alcor.model import errors


class ReceiptAnswer(msgspec.Struct):
    """A receipt as it is shown."""

    revision: int
    committed_at: str
    in_force: bool
    hosts: tuple[HostReceipt, ...]
    omitted: Omitted | None  # hosts that have it and are counted only, as of older changes; none took longer


class ReceiptCollection:
    """Serves receipts by revision: to administrators all, to others those of their own changes."""

    def __init__(self, store: Store, convergence: Convergence) -> None:
        self._store = store
        self._convergence = convergence

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route of one change."""
        return [entrance.route("/v2.0/changes/{revision}", policy=policy.TENANT, get=self.show)]

    @describes(
        gives(200, "change", of=ReceiptAnswer, headers=(waiting.WAITED,)),
        summary="Show how far the hosts are with a change",
        takes=waiting.TAKES,
    )
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the receipt of a revision, after waiting for it if wished."""
        wish = waiting.wish_of(call)
        text = path["revision"]
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise _missing(text)
        revision = int(text)
        if not await self._is_known(call, revision):
            raise _missing(text)
        headers = {}
        if wish is not None:
            is_satisfied = await self._convergence.wait_revision(revision, timeout_s=wish.timeout_s)
            headers[waiting.WAITED] = "satisfied" if is_satisfied else "timeout"
        receipt = await self._convergence.receipt(revision)
        if receipt is None:
            raise _missing(text)
        return written({"change": _answer(receipt)}, 200, headers=headers)

    async def _is_known(self, call: Call, revision: int) -> bool:
        if call.caller.is_admin:
            return 0 < revision <= await self._store.revision()
        try:
            changes = await self._store.changes(after=revision - 1, limit=1)
        except errors.Missing:
            return False
        return any(
            change.revision == revision and change.project_id == call.caller.project_id for change in changes
        )


def _answer(receipt: Receipt) -> ReceiptAnswer:
    committed_at = moments.text(receipt.committed_at)
    return ReceiptAnswer(receipt.revision, committed_at, receipt.in_force, receipt.hosts, receipt.omitted)


def _missing(revision: str) -> errors.Missing:
    return errors.Missing(
        f"Change {revision} could not be found: it does not exist, or its receipt is not kept any longer.",
        reason="ChangeNotFound",
    )
