"""Orders on spreads: taken, changed and canceled as OKX does. Pure.

Nobody trades spreads here: an order rests until it is canceled, and one that may not rest is canceled at once.

Source: OKX v5 docs, "Spread Trading", read June 2026.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .accounts import Account
from .markets import World
from .order_events import Told
from .order_forms import choice_in, identity_of, number_in, text_in
from .orders import Unfit

__all__ = ["Spreads", "spread_ids"]

Row = dict[str, Any]

ALNUM = re.compile(r"[0-9A-Za-z]{1,32}")
PRICE = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")

EMPTY = ("fillSz", "fillPx", "tradeId", "avgPx", "cancelSource", "code", "msg", "reqId", "amendResult")


def spread_ids(world: World) -> set[str]:
    """Return the spreads there are: spot against its swap."""
    return {f"{name}_{name}-SWAP" for name in world.markets if f"{name}-SWAP" in world.markets}


@dataclass(eq=False)
class SpreadOrder:
    """An order on a spread."""

    account: Account
    row: Row

    @property
    def open(self) -> bool:
        """It rests."""
        return bool(self.row["state"] == "live")


class Spreads:
    """All orders on spreads.

    Args:
        world: What there is, and its clock.
        tell: Takes what happens.
    """

    def __init__(self, world: World, tell: Callable[[Told], None]) -> None:
        self._world = world
        self._tell = tell
        self._numbers = itertools.count(world.start_ms * 1_000 + 500)
        self._open: dict[str, SpreadOrder] = {}
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

    def _place(self, account: Account, row: Row) -> Row:
        if row.get("sprdId") not in spread_ids(self._world):
            raise Unfit("51001", "Instrument ID, Instrument ID code or Spread ID doesn't exist.")
        clOrdId, ordType = text_in(row, "clOrdId", ALNUM), choice_in(
            row, "ordType", ("market", "limit", "post_only", "ioc")
        )
        side = choice_in(row, "side", ("buy", "sell"))
        if clOrdId and self._find(account, "", clOrdId) is not None:
            raise Unfit("51016", "Duplicated client order ID")
        number_in(row, "sz")
        px = "" if ordType == "market" else price_in(row, "px")
        ordId, ts = str(next(self._numbers)), str(self._world.ts)
        shown = {name: str(row.get(name) or "") for name in ("sprdId", "clOrdId", "tag", "ordType", "sz")}
        zeros = dict.fromkeys(("accFillSz", "pendingFillSz", "pendingSettleSz", "canceledSz"), "0")
        told = {**dict.fromkeys(EMPTY, ""), **shown, **zeros, "ordId": ordId, "px": px, "side": side}
        order = SpreadOrder(account, {**told, "state": "live", "cTime": ts, "uTime": ts})
        self._open[ordId] = order
        self._change(order)
        if ordType in ("market", "ioc"):
            self._end(order, "14")
        return {"clOrdId": clOrdId, "ordId": ordId, "tag": shown["tag"], "sCode": "0", "sMsg": ""}

    def _amend(self, account: Account, row: Row) -> Row:
        order = self._find(account, *identity_of(row))
        if order is None:
            raise Unfit("51503", "Order modification failed as the order has been filled, canceled or does not exist.")
        reqId = text_in(row, "reqId", ALNUM)
        if row.get("newSz") not in (None, ""):
            number_in(row, "newSz")
            order.row["sz"] = str(row["newSz"])
        if row.get("newPx") not in (None, ""):
            order.row["px"] = price_in(row, "newPx")
        self._change(order, reqId=reqId, amendResult="0")
        return {**named(order), "reqId": reqId, "sCode": "0", "sMsg": ""}

    def _cancel(self, account: Account, row: Row) -> Row:
        order = self._find(account, *identity_of(row))
        if order is None:
            raise Unfit("51400", "Order cancellation failed as the order has been filled, canceled or does not exist.")
        self._end(order, "1")
        return {**named(order), "sCode": "0", "sMsg": ""}

    def _mass_cancel(self, account: Account, row: Row) -> Row:
        for order in list(self._open.values()):
            if order.account is account and row.get("sprdId") in (None, "", order.row["sprdId"]):
                self._end(order, "1")
        return {"result": True}

    def _find(self, account: Account, ordId: str, clOrdId: str) -> SpreadOrder | None:
        for order in self._open.values():
            same = order.row["ordId"] == ordId if ordId else order.row["clOrdId"] == clOrdId
            if order.account is account and same:
                return order
        return None

    def _end(self, order: SpreadOrder, source: str) -> None:
        del self._open[order.row["ordId"]]
        order.row |= {"state": "canceled", "cancelSource": source, "canceledSz": order.row["sz"]}
        self._change(order)

    def _change(self, order: SpreadOrder, **more: str) -> None:
        order.row["uTime"] = str(self._world.ts)
        self._tell(Told("sprd-orders", order.account, None, {**order.row, **more}))


def named(order: SpreadOrder) -> Row:
    """Return what a reply calls an order."""
    return {"clOrdId": order.row["clOrdId"], "ordId": order.row["ordId"]}


def extra(op: str, row: Mapping[str, Any]) -> Row:
    """Return what else a refusal says, as a success would."""
    if op == "sprd-order":
        return {"tag": str(row.get("tag") or "")}
    return {"reqId": str(row.get("reqId") or "")} if op == "sprd-amend-order" else {}


def price_in(row: Mapping[str, Any], name: str) -> str:
    """Return the price of a spread, which may be less than 0."""
    text = row.get(name)
    if text in (None, ""):
        raise Unfit("50014", f"Parameter {name} can not be empty")
    if not (isinstance(text, str) and PRICE.fullmatch(text)):
        raise Unfit("51000", f"Parameter {name} error")
    return text
