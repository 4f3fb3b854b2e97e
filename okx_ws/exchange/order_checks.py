"""What an order may do, given the market and the account: limits of price, of size and of money. Pure."""

from __future__ import annotations

from decimal import ROUND_DOWN

from .accounts import Account
from .instruments import Instrument
from .ledger import Key, decimal_of
from .markets import Market, Side
from .orders import Order, Unfit
from .reserves import keep, opening_lots

__all__ = [
    "against",
    "cap",
    "check_close",
    "check_funds",
    "check_limits",
    "closing_lots",
    "poor",
    "size_at",
    "worst_price",
]

NOTHING_TO_CLOSE = "Order failed because you don't have any positions in this direction to reduce or close."


def against(order: Order, market: Market) -> Side:
    """Return the side of the world's book that an order would take from."""
    return market.asks if order.side == "buy" else market.bids


def worst_price(order: Order, market: Market) -> int:
    """Return the worst price an order may trade at; without a limit of its own, the instrument's."""
    if order.ticks is not None:
        return order.ticks
    buy, sell = market.limits
    return buy if order.side == "buy" else sell


def size_at(order: Order, ticks: int) -> int:
    """Return how many lots an order still wants at a price."""
    if not order.draft.quote:
        return order.left
    lot, px = decimal_of(order.place.sz(1)), decimal_of(order.place.px(ticks))
    return int((order.quote / px / lot).to_integral_value(ROUND_DOWN))


def check_close(order: Order) -> None:
    """Refuse an order that would close more than what is there to be closed, and not being closed already.

    Raises:
        Unfit: It would.
    """
    if not order.closing:
        return
    account = order.account
    held = int(abs(account.ledger.pos(*order.key)) / decimal_of(order.place.sz(1)))
    if not held:
        raise Unfit("51169", NOTHING_TO_CLOSE)
    if order.left > held - closing_lots(account, order.key, order):
        raise Unfit("51112", "Close order size exceeds your available size.")


def closing_lots(account: Account, key: Key, but: Order | None = None) -> int:
    """Return how many lots of a position open orders are to close."""
    return sum(o.left for o in account.log.open if o.closing and o.key == key and o is not but)


def cap(order: Order) -> bool:
    """Make a reduce-only order no larger than what there is to reduce; tell whether it was.

    Raises:
        Unfit: There is nothing to reduce.
    """
    if not order.draft.reduceOnly:
        return False
    closable = order.left - opening_lots(order, order.left)
    if not closable:
        raise Unfit("51169", NOTHING_TO_CLOSE)
    capped = closable < order.left
    order.lots, order.opening = order.filled + closable, 0
    return capped


def check_funds(order: Order, market: Market) -> None:
    """Refuse an order that its account cannot afford.

    Raises:
        Unfit: It cannot.
    """
    best = against(order, market).best
    if order.draft.quote and size_at(order, best) < int(decimal_of(order.place.minSz) / decimal_of(order.place.sz(1))):
        raise Unfit("51020", "Your order should meet or exceed the minimum order amount.")
    ccy, amount = keep(order, best if order.ticks is None else order.ticks, market)
    if amount > order.account.ledger.available(ccy):
        raise poor(ccy, order.place)


def check_limits(market: Market, side: str, ticks: int) -> None:
    """Refuse a price that is beyond the instrument's limit.

    Raises:
        Unfit: It is.
    """
    place, (buy, sell) = market.instrument, market.limits
    if side == "buy" and ticks > buy or side == "sell" and ticks < sell:
        if place.instType != "SPOT":
            bounds = f"(Maximum buy price: {place.px(buy)}, minimum sell price: {place.px(sell)})"
            raise Unfit("51006", f"Order price is not within the price limit {bounds}")
        if side == "buy":
            raise Unfit("51137", f"The highest price limit for buy orders is {place.px(buy)}.")
        raise Unfit("51138", f"The lowest price limit for sell orders is {place.px(sell)}.")


def poor(ccy: str, place: Instrument) -> Unfit:
    """An account has not enough of a currency."""
    what = "balance" if place.instType == "SPOT" else "margin"
    return Unfit("51008", f"Order failed. Insufficient {ccy} {what} in account", "1000")
