"""`Instruments`: what is listed, by name; for the codes that orders over the socket want.

Law. A listing is asked for over REST when one of its instruments is first needed, and again when it may have changed:
the channel ``instruments`` has told so, OKX did not know a code of it (51001), or the instrument, or its code, was not
there. It belongs to one manager: demo trading lists other codes. Source: OKX v5 docs, "Get instruments", read June
2026.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any

from ..errors import ConnectionLost, RestError, UsageError
from ..protocol.orders import instType_of
from .rest_client import RestClient

__all__ = ["Instruments"]

#: A listing is not asked for again within this time because something is missing in it.
MISSING_S = 5.0

#: Nor again within this because OKX has refused the code of one and the same instrument.
DOUBTED_S = 60.0

#: What is kept of each instrument.
FIELDS = ("instId", "instType", "instIdCode", "tickSz", "lotSz", "minSz")

#: instType, and instFamily of options.
Listing = tuple[str, str | None]


class Instruments:
    """The instruments of one manager. Thread-safe; waits for REST outside its lock."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest
        # Re-entrant: a signal handler may call it, having interrupted this very thread inside.
        self._lock = threading.RLock()
        self._rows: dict[str, dict[str, Any]] = {}
        #: When a listing was last asked for (monotonic).
        self._asked_at: dict[Listing, float] = {}
        #: When OKX last refused the code of an instrument (monotonic).
        self._doubted_at: dict[str, float] = {}
        #: Under way.
        self._asking: dict[Listing, Future[None]] = {}

    def known(self, instId: str) -> Mapping[str, Any] | None:
        """Return an instrument if its code is known, without waiting."""
        row = self._rows.get(instId)
        return row if row is not None and row["instIdCode"] is not None else None

    def name_of(self, instIdCode: int) -> str | None:
        """Return the name behind a code, as far as it is known."""
        return next((name for name, row in list(self._rows.items()) if row["instIdCode"] == instIdCode), None)

    def find(self, instId: str, until: float) -> Mapping[str, Any]:
        """Return an instrument, asking for its listing if need be; blocks until `until` (monotonic) at the most.

        Raises:
            UsageError: OKX does not list it, or has no code for it yet.
            RestError, ConnectionLost, ManagerClosed: The listing could not be had in time.
        """
        listing = instType_of(instId)
        while (row := self.known(instId)) is None:
            if time.monotonic() < self._asked_at.get(listing, float("-inf")) + MISSING_S:
                raise self._missing(instId, listing[0])
            self._ask(listing, until)
        return row

    def _missing(self, instId: str, instType: str) -> UsageError:
        if instId not in self._rows:
            return UsageError(f"OKX lists no {instId} among its {instType} instruments: check the spelling")
        return UsageError(
            f"OKX has no instIdCode for {instId} yet, which orders over the socket need; REST takes the instId:"
            f" ws.rest.post('/api/v5/trade/order', {{'instId': {instId!r}, …}})"
        )

    def _ask(self, listing: Listing, until: float) -> None:
        """Ask for a listing, or wait for whoever does."""
        with self._lock:
            under_way = self._asking.get(listing)
            if under_way is None:
                mine = self._asking[listing] = Future()
        if under_way is not None:
            try:
                under_way.exception(max(0.0, until - time.monotonic()))
            except NotInTime:
                raise ConnectionLost(f"OKX's {listing[0]} instruments could not be had in time") from None
            return
        try:
            self._load(listing, until)
        finally:
            with self._lock:
                del self._asking[listing]
            mine.set_result(None)

    def _load(self, listing: Listing, until: float) -> None:
        instType, instFamily = listing
        left = max(0.001, until - time.monotonic())
        rows = self._rest.instruments(instType, instFamily=instFamily, refresh=True, timeout=left)
        if not rows:  # no news of an instrument, and not to be remembered as such
            told = f"OKX's list of {' '.join(filter(None, listing))} instruments is empty"
            raise RestError(
                "", told, "check the instrument's spelling, or try again", path="/api/v5/public/instruments"
            )
        with self._lock:
            self._rows.update(
                (str(row["instId"]), {name: row.get(name) for name in FIELDS}) for row in rows if "instId" in row
            )
            self._asked_at[listing] = time.monotonic()

    def heard(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The channel ``instruments`` has told of changes: take what it says, and forget what it does not."""
        for row in rows:
            instId = row.get("instId")
            if not isinstance(instId, str) or instId not in self._rows:
                continue
            with self._lock:
                if isinstance(row.get("instIdCode"), int):
                    self._rows[instId] = {name: row.get(name) for name in FIELDS}
                else:
                    self._forget(instId)

    def doubt(self, instId: str) -> None:
        """OKX does not know the code of an instrument (51001): ask anew when it is needed next, once in a while."""
        now = time.monotonic()
        with self._lock:
            if instId in self._rows and now >= self._doubted_at.get(instId, float("-inf")) + DOUBTED_S:
                self._doubted_at[instId] = now
                self._forget(instId)

    def _forget(self, instId: str) -> None:
        del self._rows[instId]
        self._asked_at.pop(instType_of(instId), None)
