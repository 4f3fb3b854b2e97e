"""An order: what was asked for, and what has become of it. Pure.

Law. As of all orders in a book, see `resting`.

Fields after OKX v5 docs, "Order channel" and "Get order", read June 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .accounts import Account
from .instruments import Instrument
from .ledger import Key as PositionKey
from .ledger import text_of
from .resting import BookOrder

__all__ = ["AT_ONCE", "POST_ONLY", "PROTECTED", "Draft", "Match", "Order", "Unfit", "order_row"]

#: They never rest.
AT_ONCE = ("market", "fok", "ioc", "optimal_limit_ioc", "op_fok")
#: Market-maker-protected: of options.
PROTECTED = ("mmp", "mmp_and_post_only")
#: They never take.
POST_ONLY = ("post_only", "mmp_and_post_only")

EMPTY = (
    "algoClOrdId algoId attachAlgoClOrdId ccy fillFwdPx fillIdxPx fillMarkPx fillMarkVol fillPxUsd fillPxVol outcome"
    " pxType pxUsd pxVol quickMgnType rebate rebateCcy slOrdPx slTriggerPx slTriggerPxType source stpId tpOrdPx"
    " tpTriggerPx tpTriggerPxType"
).split()

ZERO = Decimal(0)


class Unfit(Exception):
    """OKX does not take an order: sCode, sMsg and, where there is one, subCode."""

    def __init__(self, sCode: str, sMsg: str, subCode: str = "") -> None:
        super().__init__(sCode, sMsg)
        self.sCode, self.sMsg, self.subCode = sCode, sMsg, subCode


@dataclass(frozen=True)
class Draft:
    """What an order asks for, checked.

    Attributes:
        ticks: Its limit; None for the best price there is.
        lots: Its size; 0 if it is told by `quote`.
        quote: Of a market order: how much of the quote currency to trade.
    """

    place: Instrument
    tdMode: str
    side: str
    ordType: str
    ticks: int | None
    lots: int
    sz: str
    px: str = ""
    quote: Decimal = ZERO
    tgtCcy: str = ""
    clOrdId: str = ""
    tag: str = ""
    posSide: str = ""
    ccy: str = ""
    reduceOnly: bool = False
    banAmend: bool = False
    stpMode: str = "cancel_maker"


@dataclass
class Match:
    """One match of an order, as its push and REST's fills tell it."""

    tradeId: int
    ticks: int
    lots: int
    maker: bool
    ts: int
    fee: Decimal
    feeCcy: str
    pnl: Decimal
    billId: int


@dataclass(eq=False)
class Order(BookOrder):
    """One order of one account."""

    account: Account
    ordId: str
    place: Instrument
    tdMode: str
    side: str
    ordType: str
    ticks: int | None
    #: All of it, filled or not.
    lots: int
    draft: Draft
    cTime: int
    #: Place in the queue of its price: who came first goes first.
    rank: int = 0
    uTime: int = 0
    state: str = "live"
    filled: int = 0
    #: What is left of a market order that is sized in quote currency.
    quote: Decimal = ZERO
    #: Sum of ticks times lots of what was filled.
    paid_ticks: int = 0
    #: Where the public book shows it, and how many lots of it; None while it does not rest.
    shown: tuple[int, int] | None = None
    #: What it keeps, of which currency.
    frozen: Decimal = ZERO
    frozen_ccy: str = ""
    #: Lots of it that open or enlarge a position; all, for SPOT.
    opening: int = 0
    fee: Decimal = ZERO
    rebate: Decimal = ZERO
    feeCcy: str = ""
    pnl: Decimal = ZERO
    cancelSource: str = ""
    last: Match | None = None
    matches: list[Match] = field(default_factory=list)

    @property
    def key(self) -> PositionKey:
        """The position it is about, unless it is for SPOT."""
        return self.place.instId, self.tdMode, self.draft.posSide

    @property
    def closing(self) -> bool:
        """It closes a long or a short position, and cannot do more than that."""
        return (self.draft.posSide, self.side) in (("long", "sell"), ("short", "buy"))

    @property
    def avgPx(self) -> str:
        """The average price of what was filled; empty before."""
        if not self.filled:
            return ""
        unit = Decimal(self.place.px(1))
        return text_of((Decimal(self.paid_ticks) * unit / self.filled).quantize(Decimal("1e-10")))


def order_row(order: Order, match: Match | None = None, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return an order as the channel ``orders`` and REST show it.

    Args:
        match: The fill that is told, if one is.
        more: What else it is about: ``reqId``, ``amendResult``, ``amendSource``, ``code``, ``msg``.
    """
    place, draft = order.place, order.draft
    return {
        "instType": place.instType,
        "instId": place.instId,
        "tgtCcy": draft.tgtCcy,
        "tradeQuoteCcy": place.instId.split("-")[1] if place.instType == "SPOT" else "",
        "ordId": order.ordId,
        "clOrdId": draft.clOrdId,
        "tag": draft.tag,
        "px": place.px(order.ticks) if order.ticks is not None else "",
        "sz": draft.sz if draft.quote else place.sz(order.lots),
        "notionalUsd": "" if order.ticks is None else f"{place.turnover(order.lots, order.ticks):.4f}",
        "ordType": order.ordType,
        "side": order.side,
        "posSide": draft.posSide,
        "tdMode": order.tdMode,
        "accFillSz": place.sz(order.filled),
        **fill_part(order, match),
        "avgPx": order.avgPx or "0",
        "state": order.state,
        "lever": "0" if place.instType in ("SPOT", "OPTION") else "3",
        "attachAlgoOrds": [],
        "linkedAlgoOrd": {"algoId": ""},
        "stpMode": draft.stpMode,
        "feeCcy": order.feeCcy or fee_ccy(order),
        "fee": text_of(order.fee),
        "pnl": text_of(order.pnl),
        "cancelSource": order.cancelSource,
        "cancelSourceReason": "",
        "category": "normal",
        "isTpLimit": "false",
        "reduceOnly": "true" if draft.reduceOnly else "false",
        "uTime": str(order.uTime),
        "cTime": str(order.cTime),
        "reqId": "",
        "amendResult": "",
        "amendSource": "",
        "lastPx": "",
        "code": "0",
        "msg": "",
        **dict.fromkeys(EMPTY, ""),
        **(more or {}),
    }


def fee_ccy(order: Order) -> str:
    """Return what a fee will be taken in."""
    if order.place.instType != "SPOT":
        return order.place.settleCcy
    base, quote = order.place.instId.split("-")
    return base if order.side == "buy" else quote


def fill_part(order: Order, match: Match | None) -> dict[str, str]:
    """Return the fields of one fill; of none, they are empty and ``fillSz`` is ``"0"``."""
    if match is None:
        names = "fillPx tradeId fillTime fillFeeCcy execType fillNotionalUsd".split()
        return {**dict.fromkeys(names, ""), "fillSz": "0", "fillPnl": "0", "fillFee": "0"}
    place = order.place
    return {
        "fillPx": place.px(match.ticks),
        "tradeId": str(match.tradeId),
        "fillSz": place.sz(match.lots),
        "fillPnl": text_of(match.pnl),
        "fillTime": str(match.ts),
        "fillFee": text_of(match.fee),
        "fillFeeCcy": match.feeCcy,
        "execType": "M" if match.maker else "T",
        "fillNotionalUsd": f"{place.turnover(match.lots, match.ticks):.4f}",
    }
