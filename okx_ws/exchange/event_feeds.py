"""The feeds of market data that is pushed when something happens: liquidations, deliveries, new terms. Pure."""

from __future__ import annotations

from typing import Any

from .feeds import ChangeFeed, Feed, Push
from .markets import Market, Trade, Trades, World
from .rows import block_row

__all__ = ["AuctionFeed", "BlockTickerFeed", "InstrumentFeed", "LiquidationFeed", "estimated_price_feed"]

#: One trade in so many is a liquidation.
LIQUIDATED = 53

#: An estimated price is told for so long before delivery or exercise.
WINDOW_MS = 30 * 60_000


def markets_of(world: World, arg: dict[str, str]) -> list[Market]:
    """Return the markets that an arg names by instType, and by instId or instFamily; margin is traded on spot."""
    instType = "SPOT" if arg["instType"] == "MARGIN" else arg["instType"]
    narrow = "instId" if "instId" in arg else "instFamily"
    return [
        market
        for market in world.markets.values()
        if market.instrument.instType == instType and arg.get(narrow) in (None, getattr(market.instrument, narrow))
    ]


class LiquidationFeed(Feed):
    """``liquidation-orders``: some of the trades were one; all who are subscribed see the same."""

    every_ms = 1

    def __init__(self, world: World, arg: dict[str, str]) -> None:
        super().__init__(world)
        self._instType = arg["instType"]
        self._markets = markets_of(world, arg)
        self._new: list[Push] = []

    def watch(self, trades: Trades) -> None:
        self._new += [
            self._row(market, trade)
            for market in self._markets
            for trade in trades.get(market.instrument.instId, ())
            if trade.tradeId % LIQUIDATED < trade.count
        ]

    def push(self) -> list[Push]:
        new, self._new = self._new, []
        return [{"data": [row]} for row in new]

    def _row(self, market: Market, trade: Trade) -> Push:
        place = market.instrument
        detail = {
            "side": trade.side,
            "posSide": "short" if trade.side == "buy" else "long",
            "bkPx": place.px(trade.ticks),
            "sz": place.sz(trade.lots),
            "bkLoss": "0",
            "ccy": "",
            "ts": str(trade.ts),
        }
        names = {"instId": place.instId, "uly": place.instFamily, "instFamily": place.instFamily}
        return {"instType": self._instType, **names, "details": [detail]}


def estimated_price_feed(world: World, arg: dict[str, str]) -> Feed:
    """Return the feed of ``estimated-price``: only in the half hour before delivery or exercise."""
    found = [market for market in markets_of(world, arg) if market.instrument.expTime]

    def rows() -> list[dict[str, Any]]:
        near = (m.instrument for m in found if 0 < m.instrument.expTime - world.now_ms <= WINDOW_MS)
        return [
            {
                "instType": place.instType,
                "instId": place.instId,
                "settlePx": f"{world.indices[place.index].price:.2f}",
                "settleType": "exercise" if place.instType == "OPTION" else "delivery",
            }
            for place in near
        ]

    return ChangeFeed(world, rows, 200)


class BlockTickerFeed(Feed):
    """``block-tickers``: every five minutes; there are no block trades here."""

    every_ms = 5 * 60_000

    def __init__(self, world: World, market: Market) -> None:
        super().__init__(world)
        self._market = market

    def push(self) -> list[Push]:
        return [{"data": [{**block_row(self._market), "ts": str(self._world.ts)}]}]


class AuctionFeed(Feed):
    """``call-auction-details``: once a second during a call auction, and once when it is over."""

    every_ms = 1000

    def __init__(self, world: World, market: Market) -> None:
        super().__init__(world)
        self._market = market
        self._gathered = market.gathers

    def _frame(self) -> Push:
        market, place = self._market, self._market.instrument
        row = {
            "instId": place.instId,
            "eqPx": place.px(market.mark),
            "matchedSz": place.sz(market.crossed_lots),
            "unmatchedSz": place.sz(market.bids.levels[market.bids.best][0]),
            "auctionEndTime": str(int(market.auctionEnd)),
            "state": "call_auction" if market.gathers else "continuous_trading",
            "ts": str(self._world.ts),
        }
        return {"data": [row]}

    def first(self) -> list[Push]:
        return [self._frame()] if self._market.gathers else []

    def push(self) -> list[Push]:
        before, self._gathered = self._gathered, self._market.gathers
        return [self._frame()] if before or self._gathered else []


class InstrumentFeed(Feed):
    """``instruments``: what has changed, and nothing at first: the list is asked of REST."""

    def __init__(self, world: World, arg: dict[str, str]) -> None:
        super().__init__(world)
        self._instType = arg["instType"]
        self._last = self._rows()

    def _rows(self) -> dict[str, Push]:
        rows = (row for row in self._world.instrument_rows() if row["instType"] == self._instType)
        return {row["instId"]: {key: row[key] for key in row if key != "tradeQuoteCcyList"} for row in rows}

    def push(self) -> list[Push]:
        last, self._last = self._last, self._rows()
        changed = [row for name, row in self._last.items() if last.get(name) != row]
        return [{"data": changed}] if changed else []
