"""Requests about orders, from WebSocket and REST alike: rows to outcomes. Pure.

A request has rows; each has an outcome of its own, in the request's order. What cannot be right whatever the book is,
is found when a request arrives (`Requests.read`); the rest when it is carried out (`Requests.run`), which may be later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .accounts import Account
from .instruments import Instrument
from .markets import World
from .matching import Engine
from .order_forms import amendment_of, draft_of, identity_of
from .order_limits import OrderLimits
from .orders import Order, Unfit

__all__ = ["LIMIT_WORDS", "OPS", "Requests", "Row", "Work", "code_of"]

Row = dict[str, Any]

#: op → what it does, and whether to several orders.
OPS = {
    "order": ("place", False),
    "batch-orders": ("place", True),
    "cancel-order": ("cancel", False),
    "batch-cancel-orders": ("cancel", True),
    "amend-order": ("amend", False),
    "batch-amend-orders": ("amend", True),
}

#: Amendments of one order that may be under way at once.
AMENDS = 3

LIMIT_WORDS = {
    "50011": "Rate limit reached. Please refer to API documentation and throttle requests accordingly",
    "50061": "The maximum order rate limit of the sub-account has been reached.",
}

NO_PLACE = "Instrument ID, Instrument ID code or Spread ID doesn't exist."


@dataclass
class Work:
    """One row: what it is about, and why it is refused, if it is already."""

    row: Row
    place: Instrument | None = None
    refused: Unfit | None = None
    #: Counted among the amendments under way.
    amends: str = ""


class Requests:
    """Reads rows and carries them out.

    Args:
        world: What there is.
        engine: Takes orders.
        strict: Keep OKX's limits.
        clock_ms: The server's clock, Unix ms.
    """

    def __init__(self, world: World, engine: Engine, strict: bool, clock_ms: Callable[[], int]) -> None:
        self._world = world
        self._engine = engine
        self._strict = strict
        self._clock_ms = clock_ms
        self.limits = OrderLimits()
        self._codes = {market.instrument.instIdCode: market.instrument for market in world.markets.values()}
        self._amending: Counter[str] = Counter()
        self._acts = {"place": self._place, "cancel": self._cancel, "amend": self._amend}

    def read(self, account: Account, what: str, rows: list[Row], by_code: bool) -> list[Work]:
        """Return what is to be done.

        Args:
            by_code: They name instruments by instIdCode, as WebSocket requests do; REST's, by instId.
        """
        return [self._read(account, what, row, by_code, len(rows) > 1) for row in rows]

    def _read(self, account: Account, what: str, row: Row, by_code: bool, batch: bool) -> Work:
        work = Work(row)
        try:
            work.place = place = self._by_code(row) if by_code else self._by_instId(row)
            self._count(account, what, place, batch)
            if what == "amend":
                order = self._find(account, row, place)
                if order is not None:
                    self._count_amendment(order)
                    work.amends = order.ordId
        except Unfit as exc:
            work.refused = exc
        return work

    def _count(self, account: Account, what: str, place: Instrument, batch: bool) -> None:
        if not self._strict:
            return
        by = place.instFamily if place.instType == "OPTION" else place.instId
        derivative = place.instType != "SPOT"
        code = self.limits.refusal(account.uid, what, by, batch, derivative, self._clock_ms())
        if code is not None:
            raise Unfit(code, LIMIT_WORDS[code])

    def _count_amendment(self, order: Order) -> None:
        if self._amending[order.ordId] >= AMENDS:
            raise Unfit("51513", "Number of modification requests that are currently in progress exceeds 3.")
        self._amending[order.ordId] += 1

    def _by_code(self, row: Row) -> Instrument:
        code = row.get("instIdCode")
        if code in (None, ""):
            raise Unfit("50014", "Parameter instIdCode can not be empty")
        if isinstance(code, bool) or not isinstance(code, int):
            raise Unfit("51000", "Parameter instIdCode error")
        if code not in self._codes:
            raise self._unknown("instIdCode", code)
        return self._codes[code]

    def _by_instId(self, row: Row) -> Instrument:
        instId = row.get("instId")
        if instId in (None, ""):
            raise Unfit("50014", "Parameter instId can not be empty")
        market = self._world.markets.get(str(instId))
        if market is None:
            raise self._unknown("instId", instId)
        return market.instrument

    def _unknown(self, key: str, value: object) -> Unfit:
        if any(listed[key] == value for listed in self._world.preopen):
            return Unfit("51021", "The contract or trading pair is not open for trading yet.")
        return Unfit("51001", NO_PLACE)

    def run(self, account: Account, what: str, works: list[Work], expires_ms: int | None = None) -> list[Row]:
        """Carry them out; return the rows of the reply."""
        found = []
        for work in works:
            try:
                if work.refused is not None:
                    raise work.refused
                if expires_ms is not None and self._clock_ms() > expires_ms:
                    raise Unfit("50037", "The order has expired.")
                assert work.place is not None  # else it would be refused
                found.append(self._acts[what](account, work.row, work.place))
            except Unfit as exc:
                found.append(self._refused(what, work.row, exc))
            finally:
                if work.amends:
                    self._amending -= Counter([work.amends])  # what is at 0 goes
        return found

    def _find(self, account: Account, row: Row, place: Instrument) -> Order | None:
        order = account.log.find(*identity_of(row))
        return order if order is not None and order.place is place else None

    def _place(self, account: Account, row: Row, place: Instrument) -> Row:
        order = self._engine.place(account, draft_of(row, place, account.hedges(place.instId)))
        draft = order.draft
        return self._done({"clOrdId": draft.clOrdId, "ordId": order.ordId, "tag": draft.tag, "subCode": ""})

    def _cancel(self, account: Account, row: Row, place: Instrument) -> Row:
        order = self._find(account, row, place)
        self._engine.cancel(order)
        assert order is not None  # else it would be refused
        return self._done({"clOrdId": order.draft.clOrdId, "ordId": order.ordId})

    def _amend(self, account: Account, row: Row, place: Instrument) -> Row:
        order, change = self._find(account, row, place), amendment_of(row, place)
        self._engine.amend(order, change)
        assert order is not None  # else it would be refused
        told = {"clOrdId": order.draft.clOrdId, "ordId": order.ordId, "reqId": change.reqId, "subCode": ""}
        return {**self._done(told), "ts": str(order.cTime)}  # of an amendment, it is the order's

    def _done(self, row: Row) -> Row:
        return {**row, "ts": str(self._clock_ms()), "sCode": "0", "sMsg": ""}

    def _refused(self, what: str, row: Row, why: Unfit) -> Row:
        told = {"clOrdId": str(row.get("clOrdId") or ""), "ts": str(self._clock_ms())}
        told["ordId"] = "" if what == "place" else str(row.get("ordId") or "")
        if what == "place":
            told["tag"] = str(row.get("tag") or "")
        if what == "amend":
            told["reqId"] = str(row.get("reqId") or "")
        if what != "cancel":
            told["subCode"] = why.subCode
        return {**told, "sCode": why.sCode, "sMsg": why.sMsg}


def code_of(rows: list[Row]) -> str:
    """Return the code of a reply: all well, all refused, or some."""
    well = sum(row["sCode"] == "0" for row in rows)
    return "0" if well == len(rows) else "1" if not well else "2"
