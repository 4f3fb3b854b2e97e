"""The resting orders of one instrument, in the order they are filled: by price, then by rank. Pure."""

from __future__ import annotations

import bisect
from typing import Generic, Protocol, TypeVar

__all__ = ["Resting"]


class Queued(Protocol):
    """An order that can rest."""

    side: str
    ticks: int | None
    rank: int

    @property
    def sign(self) -> int:
        """1 for buy, -1 for sell."""


OrderT = TypeVar("OrderT", bound=Queued)


def place_of(order: Queued) -> tuple[int, int]:
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

    def all(self, side: str) -> list[OrderT]:
        """Return the orders of a side, those that are filled first before the others."""
        return self._sides[side]

    def _find(self, order: OrderT) -> int | None:
        orders = self._sides[order.side]
        at = bisect.bisect_left(orders, place_of(order), key=place_of)
        return at if at < len(orders) and orders[at] is order else None
