"""REST's market data: the world that the WebSocket feeds show, asked instead of pushed. Pure.

A bar, a trade, a book and its seqId are the same here and there. There is no time before the exchange was started, and
no bar of a series from before somebody first asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from .book_feeds import RpiBookFeed
from .candles import Candles
from .channels import make_feed
from .funding import funding_row, settled_rates
from .markets import Market, World
from .rest_answers import Answer, Query, edge_of, empty, no_place, number_of, ok, page, wrong
from .rest_rare import RarePages
from .rows import mark_row, ticker_row
from .rules import CANDLES
from .trade_log import TradeLog

__all__ = ["MarketPages", "listed"]

INST_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")
STATES = ("scheduled", "ongoing", "pre_open", "completed", "canceled")

#: Endpoint → the channels whose bars it has, and whether only closed ones.
BARS = {
    "candles": ("candle", False),
    "history-candles": ("candle", True),
    "mark-price-candles": ("mark-price-candle", False),
    "history-mark-price-candles": ("mark-price-candle", True),
    "index-candles": ("index-candle", False),
    "history-index-candles": ("index-candle", True),
}


def listed(world: World, query: Query) -> list[dict[str, Any]]:
    """Return the instruments that were asked for."""
    instType = type_of(query)
    if instType == "OPTION" and not (query.get("instFamily") or query.get("uly")):
        raise empty("instFamily")
    if instType == "EVENTS" and not query.get("seriesId"):
        raise empty("seriesId")
    rows = world.instrument_rows()
    wanted = {key: value for key, value in query.items() if key in ("instType", "instId", "instFamily", "uly")}
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    if not found and query.get("instId"):
        raise no_place()
    return found


def type_of(query: Query) -> str:
    """Return the type of instruments that was asked for."""
    if not query.get("instType"):
        raise empty("instType")
    if query["instType"] not in INST_TYPES:
        raise wrong("instType")
    return query["instType"]


class MarketPages:
    """The endpoints that need no key.

    Args:
        world: What there is.
        clock_ms: The server's clock, Unix ms.
    """

    def __init__(self, world: World, clock_ms: Callable[[], int]) -> None:
        self._world = world
        self._clock_ms = clock_ms
        self._log = TradeLog()
        world.followers["trades of REST"] = self._log
        #: Path → what answers.
        self.paths: dict[str, Callable[[Query], Answer]] = {
            "/api/v5/public/time": lambda query: ok([{"ts": str(self._clock_ms())}]),
            "/api/v5/public/instruments": lambda query: ok(listed(self._world, query)),
            "/api/v5/market/ticker": lambda query: ok([self._ticker(self._market(query))]),
            "/api/v5/market/tickers": self._tickers,
            "/api/v5/public/mark-price": self._mark_price,
            "/api/v5/public/funding-rate": lambda query: ok([self._funding(self._swap(query))]),
            "/api/v5/public/funding-rate-history": self._funding_history,
            "/api/v5/market/books": self._book,
            **{f"/api/v5/market/{name}": partial(self._bars, *how) for name, how in BARS.items()},
            "/api/v5/market/books-full": self._full_book,
            "/api/v5/market/books-rpi": self._rpi_book,
            "/api/v5/market/trades": self._trades,
            "/api/v5/market/history-trades": self._history_trades,
            "/api/v5/system/status": self._status,
            **RarePages(world).paths,
        }

    def _market(self, query: Query) -> Market:
        if not query.get("instId"):
            raise empty("instId")
        market = self._world.markets.get(query["instId"])
        if market is None:
            raise no_place()
        return market

    def _ticker(self, market: Market) -> dict[str, Any]:
        return {**ticker_row(market), "ts": str(self._world.ts)}

    def _tickers(self, query: Query) -> Answer:
        instType = type_of(query)
        if instType == "MARGIN":
            raise wrong("instType")
        family = query.get("instFamily") or query.get("uly")
        places = [market for market in self._world.markets.values() if market.instrument.instType == instType]
        return ok([self._ticker(place) for place in places if family in (None, place.instrument.instFamily)])

    def _book(self, query: Query) -> Answer:
        market, depth = self._market(query), number_of(query, "sz", 1, 400)
        asks, bids = market.rows(market.asks, depth), market.rows(market.bids, depth)
        return ok([{"asks": asks, "bids": bids, "ts": str(self._world.ts), "seqId": market.seqId}])

    def _bars(self, family: str, older: bool, query: Query) -> Answer:
        series = self._series(family, query)
        rows = [*([] if older else [series.row()]), *reversed(series.closed)]
        return ok(page(rows, query, lambda row: row[0], 300))

    def _full_book(self, query: Query) -> Answer:
        market, depth = self._market(query), number_of(query, "sz", 1, 5000)
        asks, bids = (
            [[px, sz, count] for px, sz, _, count in market.rows(side, depth)] for side in (market.asks, market.bids)
        )
        return ok([{"asks": asks, "bids": bids, "ts": str(self._world.ts)}])

    def _rpi_book(self, query: Query) -> Answer:
        market, depth = self._market(query), number_of(query, "sz", 1, 400)
        (row,) = RpiBookFeed(self._world, market, depth, 0).first()[0]["data"]
        return ok([{key: row[key] for key in ("asks", "bids", "ts", "seqId")}])

    def _mark_price(self, query: Query) -> Answer:
        instType, instId = type_of(query), query.get("instId")
        if instType == "SPOT":
            raise wrong("instType")
        wanted = "SPOT" if instType == "MARGIN" else instType
        places = [market for market in self._world.markets.values() if market.instrument.instType == wanted]
        found = [market for market in places if instId in (None, "", market.instrument.instId)]
        if not found and instId:
            raise no_place()
        return ok([{**mark_row(market), "instType": instType, "ts": str(self._world.ts)} for market in found])

    def _swap(self, query: Query) -> Market:
        market = self._market(query)
        if market.instrument.instType != "SWAP":
            raise wrong("instId")
        return market

    def _funding(self, market: Market) -> dict[str, Any]:
        return {**funding_row(self._world, market), "ts": str(self._world.ts)}

    def _funding_history(self, query: Query) -> Answer:
        rates = settled_rates(self._world, self._swap(query))
        return ok(page(rates, query, lambda row: row["fundingTime"], 400, 400))

    def _series(self, family: str, query: Query) -> Candles:
        """Return a series of bars; the one that subscribers see, begun now if there was none."""
        if not query.get("instId"):
            raise empty("instId")
        instId, channel = query["instId"], f"{family}{query.get('bar') or '1m'}"
        if not CANDLES.fullmatch(channel):
            raise wrong("bar")
        if make_feed(self._world, {"channel": channel, "instId": instId}, None) is None:
            raise no_place()
        found = self._world.followers[f"{channel} {instId}"]
        assert isinstance(found, Candles)  # the feed has put it there
        return found

    def _trades(self, query: Query) -> Answer:
        rows = self._log.rows(self._market(query))
        return ok(list(islice(rows, number_of(query, "limit", 100, 500))))

    def _history_trades(self, query: Query) -> Answer:
        market, kind = self._market(query), query.get("type") or "1"
        if kind not in ("1", "2"):
            raise wrong("type")
        if kind == "2" and query.get("before"):
            raise wrong("before")  # by times, OKX goes back only
        after, newer = edge_of(query, "after"), edge_of(query, "before")
        older = {"tradeId": after} if kind == "1" else {"ts": after}
        return ok(list(islice(self._log.rows(market, **older, newer=newer), number_of(query, "limit", 100, 100))))

    def _status(self, query: Query) -> Answer:
        state = query.get("state")
        if state and state not in STATES:
            raise wrong("state")
        states = (state,) if state else STATES[:3]
        return ok([row for row in self._world.status if row["state"] in states])
