"""What a channel pushes, and when: from the world to the ``data`` of pushes. Pure.

A feed serves one arg. `first` gives a new subscriber what OKX sends at once; `due` is asked at every step of the world
and gives what goes to everybody. Cadences after OKX v5 docs, read June 2026, in the world's own time. What is pushed
is a dict of everything that follows ``arg`` in the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .markets import Market, Trade, Trades, World
from .options import OPTION_VOLATILITY

__all__ = [
    "ChangeFeed",
    "Feed",
    "OptionTradeFeed",
    "Push",
    "TradeFeed",
    "option_trade_row",
    "single_trades",
    "trade_row",
]

Push = dict[str, Any]


class Feed:
    """One arg's pushes."""

    #: World milliseconds between two looks at what to push; infinite if `first` is all there is.
    every_ms: float = 100

    def __init__(self, world: World) -> None:
        self._world = world
        self._next = world.now_ms + self.every_ms

    def first(self) -> list[Push]:
        """Return what a new subscriber gets at once."""
        return []

    def due(self, trades: Trades) -> list[Push]:
        """Return what goes to every subscriber after this step, in which `trades` happened."""
        self.watch(trades)
        if self._world.now_ms < self._next:
            return []
        # From the clock, not from the last time: a loop that was late must not catch up with a burst.
        self._next = self._world.now_ms + self.every_ms - (self._world.now_ms - self._next) % self.every_ms
        return self.push()

    def watch(self, trades: Trades) -> None:
        """See the trades of a step."""

    def push(self) -> list[Push]:
        """Return what is pushed at the feed's cadence."""
        raise NotImplementedError


class ChangeFeed(Feed):
    """Pushes rows when they have changed, at most every `every_ms`, and at least every `repeat_ms` if that is set."""

    def __init__(
        self, world: World, rows: Callable[[], list[Push]], every_ms: float, repeat_ms: float = float("inf")
    ) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._rows = rows
        self._repeat_ms = repeat_ms
        self._last = rows()
        self._last_ms = world.now_ms

    def _push(self, rows: list[Push]) -> list[Push]:
        return [{"data": [{**row, "ts": str(self._world.ts)} for row in rows]}] if rows else []

    def first(self) -> list[Push]:
        return self._push(self._rows())

    def push(self) -> list[Push]:
        rows = self._rows()
        if rows == self._last and self._world.now_ms < self._last_ms + self._repeat_ms:
            return []
        self._last, self._last_ms = rows, self._world.now_ms
        return self._push(rows)


class TradeFeed(Feed):
    """The channels ``trades`` (aggregated) and ``trades-all`` (one by one)."""

    every_ms = 1

    def __init__(self, world: World, market: Market, aggregated: bool) -> None:
        super().__init__(world)
        self._market = market
        self._aggregated = aggregated
        self._new: list[Trade] = []

    def watch(self, trades: Trades) -> None:
        self._new += trades.get(self._market.instrument.instId, ())

    def push(self) -> list[Push]:
        new, self._new = self._new, []
        if self._aggregated:
            return [
                {"data": [{**self._row(t, t.tradeId, t.lots), "count": str(t.count), "source": "0", "seqId": t.seqId}]}
                for t in new
            ]
        return [{"data": [self._row(t, id, lots)]} for t in new for id, lots in single_trades(t)]

    def _row(self, trade: Trade, tradeId: int, lots: int) -> Push:
        return trade_row(self._market, trade, tradeId, lots)


def trade_row(market: Market, trade: Trade, tradeId: int, lots: int) -> Push:
    """Return the row of a trade, of one of its parts, or of all of them."""
    return {
        "instId": market.instrument.instId,
        "tradeId": str(tradeId),
        "px": market.instrument.px(trade.ticks),
        "sz": market.instrument.sz(lots),
        "side": trade.side,
        "ts": str(trade.ts),
    }


class OptionTradeFeed(Feed):
    """``option-trades``: those of one option or of a family, one a push, with what the option was worth then."""

    every_ms = 1

    def __init__(self, world: World, markets: list[Market]) -> None:
        super().__init__(world)
        self._markets = markets
        self._new: list[Push] = []

    def watch(self, trades: Trades) -> None:
        for market in self._markets:
            new = trades.get(market.instrument.instId, ())
            self._new += [option_trade_row(self._world, market, trade) for trade in new]

    def push(self) -> list[Push]:
        new, self._new = self._new, []
        return [{"data": [row]} for row in new]


def option_trade_row(world: World, market: Market, trade: Trade) -> Push:
    """Return the row of a trade of an option: what happened, and what the option was worth then."""
    place = market.instrument
    index = f"{world.indices[place.index].price:.2f}"
    return {
        "instId": place.instId,
        "instFamily": place.instFamily,
        "tradeId": str(trade.tradeId),
        "px": place.px(trade.ticks),
        "sz": place.sz(trade.lots),
        "side": trade.side,
        "optType": place.optType,
        "fillVol": str(OPTION_VOLATILITY),
        "fwdPx": index,
        "idxPx": index,
        "markPx": place.px(market.mark),
        "ts": str(trade.ts),
    }


def single_trades(trade: Trade) -> list[tuple[int, int]]:
    """Split an aggregated trade into its single ones: (tradeId, lots), whose lots add up."""
    part = trade.lots // trade.count
    lots = [part] * (trade.count - 1) + [trade.lots - part * (trade.count - 1)]
    return [(trade.tradeId - trade.count + 1 + i, size) for i, size in enumerate(lots)]
