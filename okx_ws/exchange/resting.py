"""Orders that rest: what they share, whatever they are on, their queue, and how the public book shows them. Pure.

Law. ``live`` and ``partially_filled`` are open; ``filled``, ``canceled`` and ``mmp_canceled`` are terminal, and nothing
leaves them. Prices are ticks and sizes are lots, as in the books they are matched against.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Generic, TypeVar

from .markets import Market, Trade

__all__ = ["OPEN", "BookOrder", "Resting", "show"]

OPEN = ("live", "partially_filled")


class BookOrder:
    """What an order on an instrument and one on a spread have in common.

    Attributes:
        side: ``"buy"`` or ``"sell"``.
        ticks: Its limit; None for the best price there is.
        lots: All of it, filled or not.
        filled: So many of them are.
        rank: Place in the queue of its price: who came first goes first.
        state: See above.
        shown: Where the public book shows it, and how many lots of it; None while it does not rest.
    """

    side: str
    ticks: int | None
    lots: int
    filled: int
    rank: int
    state: str
    shown: tuple[int, int] | None

    @property
    def left(self) -> int:
        """Lots that are still to be filled."""
        return self.lots - self.filled

    @property
    def open(self) -> bool:
        """It can still be filled."""
        return self.state in OPEN

    @property
    def sign(self) -> int:
        """1 for buy, -1 for sell."""
        return 1 if self.side == "buy" else -1

    def reaches(self, ticks: int) -> bool:
        """Tell whether its limit allows a price."""
        return self.ticks is None or self.sign * ticks <= self.sign * self.ticks


OrderT = TypeVar("OrderT", bound=BookOrder)


def show(order: BookOrder, market: Market, rests: bool) -> bool:
    """Let the public book show what rests of an order; return whether that is another than before."""
    now = (order.ticks, order.left) if rests and order.ticks is not None else None
    if now == order.shown:
        return False
    side = market.bids if order.side == "buy" else market.asks
    for shown, sign in ((order.shown, -1), (now, 1)):
        if shown is not None:
            market.host(side, shown[0], sign * shown[1], sign)
    order.shown = now
    return True


def place_of(order: BookOrder) -> tuple[int, int]:
    """Return an order's place in the queue: the smaller, the sooner."""
    return -order.sign * (order.ticks or 0), order.rank


class Resting(Generic[OrderT]):
    """Both sides of a book of orders."""

    def __init__(self) -> None:
        self._sides: dict[str, list[OrderT]] = {"buy": [], "sell": []}

    def __len__(self) -> int:
        return len(self._sides["buy"]) + len(self._sides["sell"])

    def __contains__(self, order: OrderT) -> bool:
        return self._find(order) is not None

    def add(self, order: OrderT) -> None:
        """Put an order into the queue of its price."""
        bisect.insort(self._sides[order.side], order, key=place_of)

    def remove(self, order: OrderT) -> None:
        """Take an order out, if it is there."""
        at = self._find(order)
        if at is not None:
            del self._sides[order.side][at]

    def best(self, side: str) -> OrderT | None:
        """Return the order that is filled first."""
        orders = self._sides[side]
        return orders[0] if orders else None

    def passed_by(self, trade: Trade) -> Iterator[tuple[OrderT, int, int]]:
        """Yield the orders that a trade of the world beyond their price would have met first, with ticks and lots.

        Each is to be filled so before the next one is asked for.
        """
        side, sign = ("buy", 1) if trade.side == "sell" else ("sell", -1)
        lots = trade.lots
        while lots and (order := self.best(side)) is not None and order.ticks is not None:
            if sign * order.ticks <= sign * trade.ticks:
                return
            size = min(lots, order.left)
            lots -= size
            yield order, order.ticks, size

    def all(self, side: str) -> list[OrderT]:
        """Return the orders of a side, those that are filled first before the others."""
        return self._sides[side]

    def _find(self, order: OrderT) -> int | None:
        orders = self._sides[order.side]
        at = bisect.bisect_left(orders, place_of(order), key=place_of)
        return at if at < len(orders) and orders[at] is order else None
