"""What was told of orders, fills and trades before a hole, for what REST tells after it to be compared with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Protocol

from .latest import TradeMemory

__all__ = ["FillMemory", "Memory", "OrderMemory", "matches_of", "memory_of", "time_of"]

LIVE = ("live", "partially_filled")

#: Open orders that are remembered, and asked for one by one: OKX lets nobody have more than 4,000.
MOST_OPEN = 5_000
#: Orders that are over and are remembered.
MOST_OVER = 1_000
#: Matches that are remembered.
MOST_FILLS = 10_000
#: A taker's matches at one price are told as one row, of not more than so many.
MOST_TOGETHER = 1_000


class Memory(Protocol):
    """What learns from the messages of a stream."""

    def learn(self, rows: Iterable[Any]) -> None:
        """Take the rows of a push, or of REST."""


def time_of(row: Mapping[str, Any]) -> int:
    """Return when the order last changed, Unix ms; 0 if the row does not say."""
    text = str(row.get("uTime", ""))
    return int(text) if text.isdecimal() else 0


class OrderMemory:
    """The orders that are open, as far as messages have told, and those that were: newest row by ordId."""

    def __init__(self) -> None:
        self.open: dict[str, dict[str, Any]] = {}
        self.over: dict[str, dict[str, Any]] = {}
        #: No open order was ever too many.
        self.whole = True

    def learn(self, rows: Iterable[Any]) -> None:
        """Take the rows of a push, or of REST."""
        for row in rows:
            if not isinstance(row, dict) or not {str} == {type(row.get("ordId")), type(row.get("instId"))}:
                continue
            known = self.open.pop(row["ordId"], None)
            if known is not None and time_of(known) > time_of(row):
                row = known
            (self.open if row.get("state") in LIVE else self.over)[row["ordId"]] = row
        self.whole = self.whole and len(self.open) <= MOST_OPEN
        for rows_by_id, most in ((self.open, MOST_OPEN), (self.over, MOST_OVER)):
            while len(rows_by_id) > most:
                del rows_by_id[next(iter(rows_by_id))]


class FillMemory:
    """The newest matches that were told, each for itself."""

    def __init__(self) -> None:
        self.told: dict[Hashable, None] = {}

    def learn(self, rows: Iterable[Any]) -> None:
        """Take the rows of a push, or of REST."""
        self.told.update(dict.fromkeys(matches_of(rows)))
        while len(self.told) > MOST_FILLS:
            del self.told[next(iter(self.told))]


def matches_of(rows: Iterable[Any]) -> set[Hashable]:
    """Return what tells matches apart; a row of ``fills`` stands for `count` of them, of which it names the last.

    REST tells them one by one. Source: okx-protocol.md 5.4: a taker's are added up by price.
    """
    found: set[Hashable] = set()
    for row in rows:
        if not isinstance(row, dict) or not {"instId", "ordId", "tradeId"} <= row.keys():
            continue
        last, count = str(row["tradeId"]), str(row.get("count") or 1)
        if not (last.isdecimal() and count.isdecimal() and len(last) <= 20 and len(count) <= 4):
            found.add((row["instId"], row["ordId"], last))
            continue
        together = range(max(0, int(last) - min(int(count), MOST_TOGETHER) + 1), int(last) + 1)
        found |= {(row["instId"], row["ordId"], str(tradeId)) for tradeId in together}
    return found


def memory_of(channel: str) -> Memory | None:
    """Return what shall learn from a channel's messages; None: nothing need."""
    makers: dict[str, Callable[[], Memory]] = {
        "orders": OrderMemory,
        "fills": FillMemory,
        "option-trades": TradeMemory,
    }
    return makers[channel]() if channel in makers else None
