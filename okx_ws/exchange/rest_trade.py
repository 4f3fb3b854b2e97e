"""REST's trade endpoints: orders placed, changed, canceled and looked up, on the engine of WebSocket orders. Pure.

Source: OKX v5 docs, "Order Book Trading / Trade", read June 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .accounts import Account
from .ledger import text_of
from .markets import World
from .order_desk import MOST, OrderDesk
from .order_ops import LIMIT_WORDS
from .orders import Match, Order, order_row
from .rest_answers import Answer, Query, Refused, body_of, edge_of, empty, no_order, ok, page, wrong

__all__ = ["TradePages"]

#: Seconds until everything is cancelled: 0 for never, else 10 to 120.
TIME_OUT = re.compile(r"0|[1-9][0-9]|1[01][0-9]|120")

#: What the history is listed by.
TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")

TAG = re.compile(r"[0-9A-Za-z]{0,16}")

#: Path → what is done, and whether to several orders.
POSTS = {
    "order": ("place", False),
    "batch-orders": ("place", True),
    "cancel-order": ("cancel", False),
    "cancel-batch-orders": ("cancel", True),
    "amend-order": ("amend", False),
    "amend-batch-orders": ("amend", True),
}

Headers = dict[str, str]


class TradePages:
    """The endpoints under ``/trade``.

    Args:
        world: What there is.
        clock_ms: The server's clock, Unix ms.
        orders: Takes orders.
    """

    def __init__(self, world: World, clock_ms: Callable[[], int], orders: OrderDesk) -> None:
        self._world = world
        self._clock_ms = clock_ms
        self._orders = orders
        #: Method and path → what answers an account's request with its query, its body and its expTime.
        self.paths: dict[tuple[str, str], Callable[[Account, Query, bytes, str], Answer]] = {
            ("GET", "/api/v5/trade/order"): self._order,
            ("GET", "/api/v5/trade/orders-pending"): self._pending,
            ("GET", "/api/v5/trade/orders-history"): self._history,
            ("GET", "/api/v5/trade/orders-history-archive"): self._archive,
            ("GET", "/api/v5/trade/fills"): self._fills,
            ("GET", "/api/v5/trade/fills-history"): self._fills,
            ("POST", "/api/v5/trade/cancel-all-after"): self._cancel_all_after,
        }
        for name, (what, batch) in POSTS.items():
            self.paths["POST", f"/api/v5/trade/{name}"] = self._poster(what, batch)

    def _poster(self, what: str, batch: bool) -> Callable[[Account, Query, bytes, str], Answer]:
        def post(account: Account, query: Query, body: bytes, expTime: str) -> Answer:
            rows = rows_in(body, batch)
            expires_ms, refused = (None, None) if what == "cancel" else self._orders.expiry(expTime)
            if refused is not None:
                raise Refused(*refused)
            answer, works = self._orders.carry_out(account, what, rows, expires_ms)
            only = works[0].refused
            if len(works) == 1 and only is not None and only.sCode in LIMIT_WORDS:
                raise Refused(only.sCode, only.sMsg, 429)
            return 200, answer

        return post

    # ------------------------------------------------------------------ what was ordered

    def _order(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        if not query.get("instId"):
            raise empty("instId")
        if not (query.get("ordId") or query.get("clOrdId")):
            raise empty("ordId")
        order = account.log.find(query.get("ordId", ""), query.get("clOrdId", ""))
        if order is None or order.place.instId != query["instId"]:
            raise no_order()
        return ok([rest_row(order)])

    def _pending(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        return ok(paged(reversed(account.log.open), query))

    def _history(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        return ok(paged((order for order in account.log.newest() if not order.open), typed(query)))

    def _archive(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        over = (order for order in account.log.newest() if not order.open)
        return ok(paged((order for order in over if order.filled or order.state == "filled"), typed(query)))

    def _fills(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        wanted = {name: query[name] for name in ("instType", "instId", "instFamily", "ordId") if query.get(name)}
        rows = (fill_row(order, match) for order, match in reversed(account.log.fills))
        fitting = (row for row in rows if all(row[name] == value for name, value in wanted.items()))
        return ok([shown(row) for row in page(fitting, query, lambda row: str(row["billId"]), 100)])

    # ------------------------------------------------------------------ the dead-man's switch

    def _cancel_all_after(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        asked = body_of(body)
        if not isinstance(asked, dict):
            raise Refused("50002", "JSON syntax error", 400)
        timeOut, tag = str(asked.get("timeOut", "")), str(asked.get("tag") or "")
        if not TIME_OUT.fullmatch(timeOut):
            raise wrong("timeOut")
        if not TAG.fullmatch(tag) or not self._orders.dead_man.arm(account, tag, int(timeOut)):
            raise wrong("tag")
        now_s = self._clock_ms() // 1000  # in seconds, unlike everything else
        trigger = str(now_s + int(timeOut)) if timeOut != "0" else "0"
        return ok([{"triggerTime": trigger, "tag": tag, "ts": str(now_s)}])


def rows_in(body: bytes, batch: bool) -> list[dict[str, Any]]:
    """Return the rows of a request: an object, or a list of up to twenty."""
    found = body_of(body)
    rows = found if batch else [found]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused("50002", "JSON syntax error", 400)
    if not 1 <= len(rows) <= MOST:
        raise wrong("args")
    return rows


def typed(query: Query) -> Query:
    """Return a query that says which type of instruments it is about, as those of the history have to."""
    if not query.get("instType"):
        raise empty("instType")
    if query["instType"] not in TYPES:
        raise wrong("instType")
    return query


def paged(orders: Iterable[Order], query: Query) -> list[dict[str, Any]]:
    """Return the page of orders that was asked for, the newest first."""
    fitting = (order for order in orders if fits(order, query))
    return [rest_row(order) for order in page(fitting, query, lambda order: str(order.ordId), 100)]


def fits(order: Order, query: Query) -> bool:
    """Tell whether an order is asked for."""
    place = order.place
    own = {
        "instType": place.instType,
        "instId": place.instId,
        "instFamily": place.instFamily,
        "ordType": order.ordType,
        "state": order.state,
    }
    begin, end = edge_of(query, "begin"), edge_of(query, "end")
    if not (begin or 0) <= order.cTime <= (order.cTime if end is None else end):
        return False
    return all(value in query[name].split(",") for name, value in own.items() if query.get(name))


def rest_row(order: Order) -> dict[str, Any]:
    """Return an order as REST shows it: with its last fill, and without what only a push tells."""
    row = order_row(order, order.last)
    for name in ("reqId", "amendResult", "amendSource", "code", "msg", "lastPx", "notionalUsd", "execType"):
        del row[name]
    return {**row, "avgPx": order.avgPx}


def fill_row(order: Order, match: Match) -> dict[str, Any]:
    """Return a match as REST's fills show it."""
    place = order.place
    return {
        "instType": place.instType,
        "instId": place.instId,
        "instFamily": place.instFamily,
        "tradeId": str(match.tradeId),
        "ordId": order.ordId,
        "clOrdId": order.draft.clOrdId,
        "billId": str(match.billId),
        "subType": "1" if order.side == "buy" else "2",
        "tag": order.draft.tag,
        "fillPx": place.px(match.ticks),
        "fillSz": place.sz(match.lots),
        **dict.fromkeys(("fillIdxPx", "fillPxVol", "fillPxUsd", "fillMarkVol", "fillFwdPx", "fillMarkPx"), ""),
        "fillPnl": text_of(match.pnl),
        "side": order.side,
        "posSide": order.draft.posSide,
        "execType": "M" if match.maker else "T",
        "feeCcy": match.feeCcy,
        "fee": text_of(match.fee),
        "ts": str(match.ts),
        "fillTime": str(match.ts),
        "feeRate": "",
        "tradeQuoteCcy": place.instId.split("-")[1] if place.instType == "SPOT" else "",
    }


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a fill without what it is only looked for by."""
    return {name: value for name, value in row.items() if name != "instFamily"}
