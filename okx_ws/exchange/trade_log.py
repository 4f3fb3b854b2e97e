"""The newest trades of all markets, for REST: one by one, the newest first. Pure."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator

from .feeds import single_trades
from .markets import Market, Trade, Trades

__all__ = ["TradeLog"]

#: Trades that are remembered of each market.
TRADES = 5_000


class TradeLog:
    """The newest trades of all markets; goes along with the world."""

    def __init__(self) -> None:
        self._trades: dict[str, deque[Trade]] = {}

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world."""
        for instId, new in trades.items():
            self._trades.setdefault(instId, deque(maxlen=TRADES)).extend(new)

    def rows(
        self, market: Market, *, tradeId: int | None = None, ts: int | None = None, newer: int | None = None
    ) -> Iterator[dict[str, str]]:
        """Give the trades of a market one by one, the newest first.

        Args:
            tradeId, ts: Only older ones than this; whoever pages to the beginning does not walk it anew each time.
            newer: Only those with a greater tradeId.
        """
        place, found = market.instrument, self._trades.get(market.instrument.instId, deque[Trade]())
        at = len(found)
        if tradeId is not None:  # the trade that holds it may hold older ones, too
            at = min(at, bisect.bisect_left(found, tradeId, key=lambda trade: trade.tradeId) + 1)
        elif ts is not None:
            at = bisect.bisect_left(found, ts, key=lambda trade: trade.ts)
        for index in range(at - 1, -1, -1):
            trade = found[index]
            for id, lots in reversed(single_trades(trade)):
                if newer is not None and id <= newer:
                    return
                if tradeId is None or id < tradeId:
                    yield {
                        "instId": place.instId,
                        "side": trade.side,
                        "sz": place.sz(lots),
                        "px": place.px(trade.ticks),
                        "source": "0",
                        "tradeId": str(id),
                        "ts": str(trade.ts),
                    }
