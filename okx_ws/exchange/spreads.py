"""Requests about orders on spreads: read, refused as OKX does, or carried out. Pure.

Source: OKX v5 docs, "Spread Trading", read June 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from .accounts import Account
from .markets import World
from .order_forms import choice_in, identity_of, number_in, text_in, units_of
from .orders import Unfit
from .spread_markets import BELOW, SpreadInstrument
from .spread_matching import SpreadEngine
from .spread_orders import SpreadFill, SpreadOrder

__all__ = ["Spreads", "spread_ids"]

Row = dict[str, Any]

ALNUM = re.compile(r"[0-9A-Za-z]{1,32}")
TAG = re.compile(r"[0-9A-Za-z]{1,16}")
PRICE = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


def spread_ids(world: World) -> set[str]:
    """Return the spreads there are: spot against its swap."""
    return {f"{name}_{name}-SWAP" for name in world.markets if f"{name}-SWAP" in world.markets}


class Spreads:
    """What accounts may ask about spreads.

    Args:
        world: What there is, and its clock.
        engine: Takes their orders.
    """

    def __init__(self, world: World, engine: SpreadEngine) -> None:
        self._world = world
        self._engine = engine
        self.ops: dict[str, Callable[[Account, Row], Row]] = {
            "sprd-order": self._place,
            "sprd-amend-order": self._amend,
            "sprd-cancel-order": self._cancel,
            "sprd-mass-cancel": self._mass_cancel,
        }

    def act(self, op: str, account: Account, row: Row) -> tuple[str, Row]:
        """Do what a request asks for; return the reply's code and its row."""
        try:
            return "0", self.ops[op](account, row)
        except Unfit as exc:
            told = {"clOrdId": str(row.get("clOrdId") or ""), "ordId": str(row.get("ordId") or "")}
            return "1", {**told, **extra(op, row), "sCode": exc.sCode, "sMsg": exc.sMsg}

    def orders(self, account: Account) -> Iterator[SpreadOrder]:
        """Give the orders of an account that are remembered, the newest first."""
        known = [*self._engine.over, *self._engine.open.values()]
        return (order for order in sorted(known, key=lambda one: -int(one.ordId)) if order.account is account)

    def fills(self, account: Account) -> Iterator[tuple[SpreadOrder, SpreadFill]]:
        """Give the trades of an account that are remembered, the newest first."""
        return (pair for pair in reversed(self._engine.fills) if pair[0].account is account)

    def find(self, account: Account, ordId: str, clOrdId: str) -> SpreadOrder | None:
        """Return an order, the newest of that name; the ordId counts more."""
        for order in self.orders(account):
            if order.ordId == ordId if ordId else order.clOrdId == clOrdId:
                return order
        return None

    def _place(self, account: Account, row: Row) -> Row:
        sprdId = row.get("sprdId")
        if not isinstance(sprdId, str) or sprdId not in spread_ids(self._world):
            raise Unfit("51001", "Instrument ID, Instrument ID code or Spread ID doesn't exist.")
        if account.posMode != "net_mode":
            raise Unfit("51010", "You can't complete this request under your current account mode.")
        place = self._engine.spread(sprdId).place
        clOrdId, tag = text_in(row, "clOrdId", ALNUM), text_in(row, "tag", TAG)
        ordType = choice_in(row, "ordType", ("market", "limit", "post_only", "ioc"))
        side = choice_in(row, "side", ("buy", "sell"))
        if clOrdId and self._open(account, "", clOrdId) is not None:
            raise Unfit("51016", "Duplicated client order ID")
        lots = lots_in(row, "sz", place)
        ticks = None if ordType == "market" else ticks_in(row, "px", place)
        number, ts = next(self._engine.numbers), self._world.ts
        order = SpreadOrder(account, str(number), place, side, ordType, ticks, lots, clOrdId, tag, ts, number)
        self._engine.place(order)
        return {"clOrdId": clOrdId, "ordId": order.ordId, "tag": tag, "sCode": "0", "sMsg": ""}

    def _amend(self, account: Account, row: Row) -> Row:
        order = self._open(account, *identity_of(row))
        if order is None:
            raise Unfit("51503", "Order modification failed as the order has been filled, canceled or does not exist.")
        reqId = text_in(row, "reqId", ALNUM)
        new = {name: row.get(name) not in (None, "") for name in ("newSz", "newPx")}
        if not any(new.values()):
            raise Unfit("50014", "Parameter newSz can not be empty")
        lots = lots_in(row, "newSz", order.place) if new["newSz"] else order.lots
        ticks = ticks_in(row, "newPx", order.place) if new["newPx"] else order.ticks
        if lots <= order.filled:
            raise Unfit("51000", "Parameter newSz error")
        self._engine.amend(order, lots, ticks, reqId)
        return {**named(order), "reqId": reqId, "sCode": "0", "sMsg": ""}

    def _cancel(self, account: Account, row: Row) -> Row:
        order = self._open(account, *identity_of(row))
        if order is None:
            raise Unfit("51400", "Order cancellation failed as the order has been filled, canceled or does not exist.")
        self._engine.end(order)
        return {**named(order), "sCode": "0", "sMsg": ""}

    def _mass_cancel(self, account: Account, row: Row) -> Row:
        for order in list(self._engine.open.values()):
            if order.account is account and row.get("sprdId") in (None, "", order.place.instId):
                self._engine.end(order)
        return {"result": True}

    def _open(self, account: Account, ordId: str, clOrdId: str) -> SpreadOrder | None:
        for order in self._engine.open.values():
            same = order.ordId == ordId if ordId else order.clOrdId == clOrdId
            if order.account is account and same:
                return order
        return None


def named(order: SpreadOrder) -> Row:
    """Return what a reply calls an order."""
    return {"clOrdId": order.clOrdId, "ordId": order.ordId}


def extra(op: str, row: Mapping[str, Any]) -> Row:
    """Return what else a refusal says, as a success would."""
    if op == "sprd-order":
        return {"tag": str(row.get("tag") or "")}
    return {"reqId": str(row.get("reqId") or "")} if op == "sprd-amend-order" else {}


def lots_in(row: Mapping[str, Any], name: str, place: SpreadInstrument) -> int:
    """Return a size in lots."""
    lots = units_of(number_in(row, name), place.sz(1))
    if lots is None:
        raise Unfit("51121", "Order quantity must be a multiple of the lot size.")
    return lots


def ticks_in(row: Mapping[str, Any], name: str, place: SpreadInstrument) -> int:
    """Return the price of a spread in ticks; the price may be 0 or less, its ticks never are."""
    text = row.get(name)
    if text in (None, ""):
        raise Unfit("50014", f"Parameter {name} can not be empty")
    ticks = units_of(Decimal(text), place.px(BELOW + 1)) if isinstance(text, str) and PRICE.fullmatch(text) else None
    if ticks is None or ticks + BELOW < 1:
        raise Unfit("51000", f"Parameter {name} error")
    return ticks + BELOW
