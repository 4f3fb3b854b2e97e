"""The orders and fills of one account: the open ones, and the newest of the others. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .recent import Recent

if TYPE_CHECKING:
    from .orders import Match, Order

__all__ = ["OrderLog"]

#: Orders that are over, and fills, that are remembered.
REMEMBERED = 50_000


class OrderLog:
    """What one account has ordered.

    A clOrdId is unique among open orders only: it finds the open one, else the newest that had it.
    """

    def __init__(self) -> None:
        self._orders: OrderedDict[str, Order] = OrderedDict()
        self._by_clOrdId: dict[str, Order] = {}
        self._open: dict[str, Order] = {}
        #: Every fill with its order, the oldest first.
        self.fills: list[tuple[Order, Match]] = Recent(REMEMBERED)

    def add(self, order: Order) -> None:
        """Remember a new order; the oldest that is over goes if there are too many."""
        self._orders[order.ordId] = order
        if order.draft.clOrdId:
            self._by_clOrdId[order.draft.clOrdId] = order
        self._open[order.ordId] = order
        if len(self._orders) - len(self._open) > REMEMBERED:
            self._forget(next(old for old in self._orders.values() if not old.open))

    def _forget(self, order: Order) -> None:
        del self._orders[order.ordId]
        if self._by_clOrdId.get(order.draft.clOrdId) is order:
            del self._by_clOrdId[order.draft.clOrdId]

    def close(self, order: Order) -> None:
        """An order is over."""
        self._open.pop(order.ordId, None)

    def find(self, ordId: str, clOrdId: str) -> Order | None:
        """Return an order; the ordId counts more."""
        return self._orders.get(ordId) if ordId else self._by_clOrdId.get(clOrdId)

    @property
    def open(self) -> list[Order]:
        """The open orders, the oldest first."""
        return list(self._open.values())

    def newest(self) -> Iterator[Order]:
        """Give all orders that are remembered, the newest first."""
        return reversed(self._orders.values())
