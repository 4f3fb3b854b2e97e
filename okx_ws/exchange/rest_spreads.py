"""REST's spread endpoints: what may be traded, and orders placed, changed, canceled and looked up. Pure.

Source: OKX v5 docs, "Spread Trading / REST API", read June 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .accounts import Account
from .markets import World
from .order_desk import OrderDesk
from .rest_answers import Answer, Query, Refused, body_of, empty, no_order, ok, page
from .spread_markets import BELOW, spread_of
from .spread_orders import SpreadOrder, spread_order_row, spread_trade_row
from .spreads import spread_ids

__all__ = ["SpreadPages", "listed_spreads"]


class SpreadPages:
    """The endpoints under ``/sprd`` that need a key.

    Args:
        orders: Takes orders.
    """

    def __init__(self, orders: OrderDesk) -> None:
        self._orders = orders
        #: Method and path → what answers an account's request with its query, its body and its expTime.
        self.paths: dict[tuple[str, str], Callable[[Account, Query, bytes, str], Answer]] = {
            ("GET", "/api/v5/sprd/order"): self._order,
            ("GET", "/api/v5/sprd/orders-pending"): lambda account, query, *_: self._listed(account, query, True),
            ("GET", "/api/v5/sprd/orders-history"): lambda account, query, *_: self._listed(account, query, False),
            ("GET", "/api/v5/sprd/trades"): self._trades,
        }
        for name in ("order", "cancel-order", "amend-order", "mass-cancel"):
            self.paths["POST", f"/api/v5/sprd/{name}"] = self._poster(f"sprd-{name}")

    def _poster(self, op: str) -> Callable[[Account, Query, bytes, str], Answer]:
        def post(account: Account, query: Query, body: bytes, expTime: str) -> Answer:
            row = body_of(body)
            if not isinstance(row, dict):
                raise Refused("50002", "JSON syntax error", 400)
            return 200, self._orders.carry_out_spread(account, op, row)

        return post

    def _order(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        if not (query.get("ordId") or query.get("clOrdId")):
            raise empty("ordId")
        order = self._orders.spreads.find(account, query.get("ordId", ""), query.get("clOrdId", ""))
        if order is None:
            raise no_order()
        return ok([spread_order_row(order, order.last)])

    def _listed(self, account: Account, query: Query, open: bool) -> Answer:
        found = (order for order in self._orders.spreads.orders(account) if order.open == open and fits(order, query))
        return ok([spread_order_row(one, one.last) for one in paged(found, query)])

    def _trades(self, account: Account, query: Query, body: bytes, expTime: str) -> Answer:
        pairs = self._orders.spreads.fills(account)
        fitting = (pair for pair in pairs if fits(pair[0], query) and query.get("ordId") in (None, "", pair[0].ordId))
        rows = [spread_trade_row(order, fill) for order, fill in fitting]
        return ok(page(rows, query, lambda row: str(row["tradeId"]), 100))


def fits(order: SpreadOrder, query: Query) -> bool:
    """Tell whether an order is asked for."""
    own = {"sprdId": order.place.instId, "ordType": order.ordType, "state": order.state}
    return all(query.get(name) in (None, "", value) for name, value in own.items())


def paged(orders: Iterable[SpreadOrder], query: Query) -> list[SpreadOrder]:
    """Return the page of orders that was asked for: those before `beginId` are older, those after `endId` newer."""
    asked = {"limit": query.get("limit", ""), "after": query.get("beginId", ""), "before": query.get("endId", "")}
    return page(orders, asked, lambda order: order.ordId, 100)


def listed_spreads(world: World, query: Query) -> list[dict[str, Any]]:
    """Return the spreads there are; a spread that is bought sells its first leg and buys the second."""
    wanted = query.get("sprdId")
    return [spread_row(world, sprdId) for sprdId in sorted(spread_ids(world)) if wanted in (None, "", sprdId)]


def spread_row(world: World, sprdId: str) -> dict[str, Any]:
    """Return a spread as OKX lists it."""
    place = spread_of(world, sprdId).place
    spot, swap = sprdId.split("_")
    base, quote = spot.split("-")
    return {
        "sprdId": sprdId,
        "sprdType": "linear",
        "state": "live",
        "baseCcy": base,
        "szCcy": base,
        "quoteCcy": quote,
        "tickSz": place.px(BELOW + 1),
        "minSz": place.sz(1),
        "lotSz": place.sz(1),
        "listTime": "1686556800000",
        "expTime": "",
        "uTime": str(world.start_ms),
        "legs": [{"instId": spot, "side": "sell"}, {"instId": swap, "side": "buy"}],
    }
