"""An order on a spread, and the rows that tell of it and of its trades. Pure.

Fields after OKX v5 docs, "Spread Trading: Order channel" and "Trades channel", read June 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .accounts import Account
from .ledger import Fill, text_of
from .orders import POST_ONLY
from .resting import BookOrder
from .spread_markets import SpreadInstrument

__all__ = ["Leg", "SpreadFill", "SpreadOrder", "spread_order_row", "spread_trade_row"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Leg:
    """One side of a spread's trade.

    Attributes:
        size: In the base coin; less than 0 if sold.
        contracts: Of a swap; empty for SPOT.
        booked: What it did to the account.
    """

    instId: str
    px: Decimal
    size: Decimal
    contracts: str
    tradeId: str
    booked: Fill


@dataclass(frozen=True)
class SpreadFill:
    """One trade of an order."""

    tradeId: int
    ticks: int
    lots: int
    maker: bool
    ts: int
    legs: tuple[Leg, ...]


@dataclass(eq=False)
class SpreadOrder(BookOrder):
    """An order on a spread. Prices are ticks and sizes are lots, as in the spread's book."""

    account: Account
    ordId: str
    place: SpreadInstrument
    side: str
    ordType: str
    #: None for the best price there is.
    ticks: int | None
    lots: int
    clOrdId: str
    tag: str
    cTime: int
    rank: int
    uTime: int = 0
    state: str = "live"
    filled: int = 0
    #: Sum of ticks times lots of what was filled.
    paid_ticks: int = 0
    cancelSource: str = ""
    last: SpreadFill | None = None
    #: Where the public book shows it, and how many lots of it; None while it does not rest.
    shown: tuple[int, int] | None = None

    @property
    def post_only(self) -> bool:
        """It never takes."""
        return self.ordType in POST_ONLY


def spread_order_row(order: SpreadOrder, fill: SpreadFill | None = None, more: Mapping[str, str] | None = None) -> Row:
    """Return an order as the channel ``sprd-orders`` and REST show it.

    Args:
        fill: The trade that is told, if one is.
        more: What else it is about: ``reqId``, ``amendResult``, ``code``, ``msg``.
    """
    place = order.place
    average = place.average_px(order.paid_ticks, order.filled) if order.filled else ""
    return {
        "sprdId": place.instId,
        "ordId": order.ordId,
        "clOrdId": order.clOrdId,
        "tag": order.tag,
        "px": "" if order.ticks is None else place.px(order.ticks),
        "sz": place.sz(order.lots),
        "ordType": order.ordType,
        "side": order.side,
        "fillSz": place.sz(fill.lots) if fill is not None else "",
        "fillPx": place.px(fill.ticks) if fill is not None else "",
        "tradeId": str(fill.tradeId) if fill is not None else "",
        "accFillSz": place.sz(order.filled),
        "pendingFillSz": place.sz(order.left if order.open else 0),
        "pendingSettleSz": "0",  # what is traded is settled at once
        "canceledSz": place.sz(0 if order.open else order.left),
        "state": order.state,
        "avgPx": average,
        "cancelSource": order.cancelSource,
        "uTime": str(order.uTime),
        "cTime": str(order.cTime),
        "code": "0",
        "msg": "",
        "reqId": "",
        "amendResult": "",
        **(more or {}),
    }


def spread_trade_row(order: SpreadOrder, fill: SpreadFill, code: str = "0", msg: str = "") -> Row:
    """Return a trade as the channel ``sprd-trades`` and REST show it; with a code other than 0, it was rejected."""
    place = order.place
    return {
        "sprdId": place.instId,
        "tradeId": str(fill.tradeId),
        "ordId": order.ordId,
        "clOrdId": order.clOrdId,
        "tag": order.tag,
        "fillPx": place.px(fill.ticks),
        "fillSz": place.sz(fill.lots),
        "state": "filled" if code == "0" else "rejected",
        "side": order.side,
        "execType": "M" if fill.maker else "T",
        "ts": str(fill.ts),
        "legs": [leg_row(leg) for leg in fill.legs],
        "code": code,
        "msg": msg,
    }


def leg_row(leg: Leg) -> dict[str, str]:
    """Return one leg of a trade."""
    return {
        "instId": leg.instId,
        "px": text_of(leg.px),
        "sz": text_of(abs(leg.size)),
        "szCont": leg.contracts,
        "side": "buy" if leg.size > 0 else "sell",
        "fillPnl": text_of(leg.booked.pnl),
        "fee": text_of(leg.booked.fee),
        "feeCcy": leg.booked.feeCcy,
        "tradeId": leg.tradeId,
    }
