"""What an order needs of an account: to be taken, and while it rests. Pure."""

from __future__ import annotations

from decimal import Decimal

from .ledger import decimal_of, fee_of, margin_of, worth_of
from .markets import Market
from .orders import Order

__all__ = ["keep", "opening_lots"]


def opening_lots(order: Order, lots: int) -> int:
    """Return how many of an order's lots would open or enlarge a position, not reduce it; all of them, for SPOT."""
    if order.place.instType == "SPOT":
        return lots
    if order.draft.posSide != "net":
        return 0 if order.closing else lots
    pos = order.account.ledger.pos(*order.key)
    if pos * order.sign >= 0:
        return lots
    return max(0, lots - int(abs(pos) / decimal_of(order.place.sz(1))))


def keep(order: Order, ticks: int, market: Market | None = None) -> tuple[str, Decimal]:
    """Return what is left of an order needs at a price: the currency, and how much of it.

    Args:
        market: Of an order that is to be taken: one without a limit is reckoned by what the book asks for.
    """
    place, px = order.place, decimal_of(order.place.px(ticks))
    size = decimal_of(place.sz(order.left))
    if place.instType == "SPOT":
        base, quote = place.instId.split("-")
        if order.draft.quote:
            return (quote, order.quote) if order.side == "buy" else (base, order.quote / px)
        if order.side == "sell":
            return base, size
        if order.ticks is None and market is not None:
            return quote, cost_of(order, market)
        return quote, size * px
    if place.instType == "OPTION" and order.side == "buy":
        return place.settleCcy, worth_of(place, size, px) + fee_of(place, size, px, False)
    opening = decimal_of(place.sz(min(order.opening, order.left)))
    if not opening:
        return place.settleCcy, Decimal(0)
    return place.settleCcy, margin_of(place, opening * order.sign, px) + fee_of(place, size, px, False)


def cost_of(order: Order, market: Market) -> Decimal:
    """Return what a purchase without a limit costs at the most: all of it from the world's book, down its levels."""
    side, left, cost = market.asks, order.left, Decimal(0)
    ticks = side.best
    for ticks in side.top(len(side)):
        lots = min(left, side.levels[ticks][0])
        cost += decimal_of(order.place.sz(lots)) * decimal_of(order.place.px(ticks))
        left -= lots
        if not left:
            break
    return cost + decimal_of(order.place.sz(left)) * decimal_of(order.place.px(ticks))
