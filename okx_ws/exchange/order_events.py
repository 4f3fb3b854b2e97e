"""What the engine tells: rows of ``orders`` and ``fills``, and what changed in an account. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .accounts import Account
from .instruments import Instrument
from .ledger import Key
from .orders import Match, Order

__all__ = ["Event", "Told", "Touched", "fill_row"]


@dataclass(frozen=True)
class Told:
    """A row for ``orders``, ``fills`` or ``sprd-orders``, where there is no one instrument."""

    channel: str
    account: Account
    place: Instrument | None
    row: dict[str, Any]


@dataclass(frozen=True)
class Touched:
    """A balance, or a position, that changed; by which trade, if by one."""

    account: Account
    ccy: str = ""
    key: Key | None = None
    trade: tuple[str, str] | None = None


Event = Told | Touched


def fill_row(order: Order, matches: list[Match]) -> dict[str, str]:
    """Return a row of ``fills``: a taker's matches at one price, or one of a maker's."""
    last, clOrdId = matches[-1], order.draft.clOrdId
    numeric = clOrdId.isdigit() and clOrdId[0] != "0" and int(clOrdId) < 2**63
    return {
        "instId": order.place.instId,
        "fillSz": order.place.sz(sum(match.lots for match in matches)),
        "fillPx": order.place.px(last.ticks),
        "side": order.side,
        "ts": str(last.ts),
        "ordId": order.ordId,
        "clOrdId": clOrdId if numeric else "0",
        "tradeId": str(last.tradeId),
        "execType": "M" if last.maker else "T",
        "count": str(len(matches)),
    }
