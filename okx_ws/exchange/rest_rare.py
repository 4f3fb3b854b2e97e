"""REST's trades and bars of spreads, and trades of options: what the WebSocket feeds have pushed, the newest. Pure.

Source: OKX v5 docs, "Get option trades" and, for spreads, "Get public trades" and "Get candlesticks", read June 2026.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from .feeds import option_trade_row
from .markets import Trades, World
from .rest_answers import Answer, Query, empty, no_place, ok, page, wrong
from .rules import SPREAD_CANDLES
from .spread_markets import SpreadCandles, make_spread_feed, spread_of
from .spreads import spread_ids

__all__ = ["RarePages"]

#: Rows of an answer about options, and about a spread.
OPTION_TRADES, SPREAD_TRADES = 100, 500


class OptionLog:
    """The newest trades of all options, with what each was worth then; goes along with the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: By instId, and by instFamily.
        self.rows: dict[str, deque[dict[str, Any]]] = {}

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world."""
        for instId, new in trades.items():
            market = self._world.markets[instId]
            for trade in new if market.instrument.instType == "OPTION" else ():
                row = option_trade_row(self._world, market, trade)
                for name in (instId, market.instrument.instFamily):
                    self.rows.setdefault(name, deque(maxlen=OPTION_TRADES)).appendleft(row)


class RarePages:
    """The endpoints; see `MarketPages`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._options = OptionLog(world)
        world.followers["option trades of REST"] = self._options
        #: Path → what answers.
        self.paths: dict[str, Callable[[Query], Answer]] = {
            "/api/v5/public/option-trades": self._option_trades,
            "/api/v5/sprd/public-trades": self._spread_trades,
            "/api/v5/market/sprd-candles": partial(self._spread_bars, False),
            "/api/v5/market/sprd-history-candles": partial(self._spread_bars, True),
        }

    def _option_trades(self, query: Query) -> Answer:
        name = query.get("instId") or query.get("instFamily")
        if not name:
            raise empty("instId")
        kind = query.get("optType")
        return ok([row for row in self._options.rows.get(name, ()) if kind in (None, "", row["optType"])])

    def _sprdId(self, query: Query) -> str:
        sprdId = query.get("sprdId")
        if not sprdId:
            raise empty("sprdId")
        if sprdId not in spread_ids(self._world):
            raise no_place()
        return sprdId

    def _spread_trades(self, query: Query) -> Answer:
        spread = spread_of(self._world, self._sprdId(query))
        return ok(list(islice(spread.newest_first(), SPREAD_TRADES)))

    def _spread_bars(self, older: bool, query: Query) -> Answer:
        channel = f"sprd-candle{query.get('bar') or '1m'}"
        if not SPREAD_CANDLES.fullmatch(channel):
            raise wrong("bar")
        sprdId = self._sprdId(query)
        make_spread_feed(self._world, {"channel": channel, "sprdId": sprdId})
        series = self._world.followers[f"{channel} {sprdId}"]
        assert isinstance(series, SpreadCandles)  # the feed has put it there
        rows = [*([] if older else [series.row()]), *reversed(series.closed)]
        return ok(page(rows, query, lambda row: row[0], 300))
