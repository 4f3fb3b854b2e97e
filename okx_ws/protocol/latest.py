"""What is missing of ``option-trades`` and ``sprd-public-trades``: REST has the newest trades, on one page. Pure.

Law. A page has no holes. It goes back far enough if it shows a trade from before the hole, and up far enough if it
shows one that came after it. TradeIds grow, those of each instrument by themselves, but need not count one by one: what
was delivered is known by the newest of each instrument (`TradeMemory`), and what came after the hole by the first.

Source: OKX v5 docs, "Get option trades" (100 of an option or a family), and for spreads "Get public trades" (500); both
20 requests in 2 s, read June 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .backfill import LAG_S, Ask, Place, Repair, Trade, Unusable, message_of, rows_of, trade_of

__all__ = ["LatestTrades", "TradeMemory"]

#: Instruments that are remembered; a family has some 1,500 options.
MOST_PLACES = 10_000


def trades_of(rows: Iterable[Any]) -> Iterator[Trade]:
    """Give the trades of a push; OKX sends no rows that are none."""
    for row in rows:
        try:
            yield trade_of(row)
        except Unusable:
            continue


class TradeMemory:
    """The newest tradeId of each instrument that was delivered."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}

    def learn(self, rows: Iterable[Any]) -> None:
        """Take the rows of a push, or of REST."""
        for trade in trades_of(rows):
            self.newest[trade.place] = max(trade.id, self.newest.pop(trade.place, trade.id))
        while len(self.newest) > MOST_PLACES:
            del self.newest[next(iter(self.newest))]

    def has(self, trade: Trade) -> bool:
        """Tell whether this trade was delivered."""
        return trade.id <= self.newest.get(trade.place, -1)


class LatestTrades(Repair):
    """Trades of an option, a family of options, or a spread.

    Args:
        memory: What was delivered before the hole.
    """

    ordered = False

    def __init__(
        self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int, memory: TradeMemory
    ) -> None:
        super().__init__(arg, head, last, since_ms)
        if "sprdId" in arg:
            self._path, self._most, self._name = "/api/v5/sprd/public-trades", 500, "sprdId"
        else:
            self._path, self._most = "/api/v5/public/option-trades", 100
            self._name = "instId" if "instId" in arg else "instFamily"
        self._before = TradeMemory()
        self._before.newest.update(memory.newest)
        self._before.learn(rows_of(last))
        #: The first trade that came after the hole, of all and of each instrument.
        self._first: Trade | None = None
        self._firsts: dict[str, int] = {}
        #: What REST has shown, the oldest first.
        self._shown: dict[tuple[str, int], tuple[Trade, Any]] = {}
        self._reaches_back = False

    @property
    def waits(self) -> bool:
        return self._first is None

    def see(self, payload: bytes) -> None:
        for trade in trades_of(rows_of(payload)):
            if not self._is_old(trade):
                self._first = self._first or trade
                self._firsts.setdefault(trade.place, trade.id)

    def _is_old(self, trade: Trade) -> bool:
        """Tell whether a trade is from before the hole: the first push may be one that OKX has kept."""
        return self._before.has(trade) or (trade.place not in self._before.newest and trade.ts < self.since_ms)

    @property
    def _reaches_up(self) -> bool:
        first = self._first
        return first is None or any(place == first.place and id >= first.id for place, id in self._shown)

    def next_ask(self) -> Ask | None:
        asked = bool(self._shown) or self._reaches_back
        if asked and self._reaches_up:
            return None
        return Ask(self._path, {self._name: self.arg[self._name]}, pause_s=LAG_S if asked else 0.0)

    def take(self, ask: Ask, rows: list[Any]) -> None:
        found = {}
        for row in reversed(rows):
            trade = trade_of(row)
            if row.get(self._name) != self.arg[self._name]:
                raise Unusable(f"no trade of {self.arg[self._name]}: {row!r:.80}")
            found[trade.place, trade.id] = (trade, row)
        heard = bool(self._before.newest) or self._first is not None
        if not rows and heard:
            raise Unusable("no trades, though there were some")
        older = any(self._is_old(trade) for trade, _ in found.values())
        joined = self._reaches_back and (not self._shown or bool(self._shown.keys() & found.keys()))
        everything = len(rows) < self._most and not self._before.newest
        self._reaches_back = older or joined or everything
        self._shown = {**self._shown, **found}

    @property
    def _news(self) -> list[tuple[Trade, Any]]:
        """What is missing and was shown, in order."""
        news = [
            (trade, row)
            for trade, row in self._shown.values()
            if not self._is_old(trade) and trade.id < self._firsts.get(trade.place, trade.id + 1)
        ]
        return sorted(news, key=lambda one: (one[0].ts, one[0].id))

    def messages(self) -> list[bytes]:
        return [message_of(self.head, row) for _, row in self._news]

    def missing(self) -> str:
        if not self._shown and not self._reaches_back:
            return f"what was traded since {self.since_ms} (Unix ms)"
        parts = []
        oldest = min((trade.ts for trade, _ in self._shown.values()), default=self.since_ms)
        if not self._reaches_back:
            parts.append(f"what was traded from {self.since_ms} to {oldest} (Unix ms): REST has the last {self._most}")
        if not self._reaches_up and self._first is not None:
            parts.append(f"what was traded just before tradeId {self._first.id} of {self._first.place}")
        return ", ".join(parts)

    def place_of(self, payload: bytes) -> Place:
        told = TradeMemory()
        told.learn(row for _, row in self._news)
        trades = list(trades_of(rows_of(payload)))
        known = all(self._is_old(trade) or told.has(trade) for trade in trades)
        return "known" if trades and known else "next"
