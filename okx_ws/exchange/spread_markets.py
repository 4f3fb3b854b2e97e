"""Spreads: markets of the difference between a swap and its spot pair, and their feeds. Pure.

A spread's price can be 0 or less; inside, its ticks are counted from far below, so that they never are.

Source: OKX v5 docs, "Spread Trading", read June 2026.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from .book_feeds import BookFeed, WholeBookFeed
from .candles import CandleFeed, Candles
from .feeds import ChangeFeed, Feed, Push, TradeFeed, single_trades, trade_row
from .instruments import Instrument, decimal_text
from .ledger import decimal_of, text_of
from .markets import Market, Trade, Trades, World
from .rows import ticker_row

__all__ = ["BELOW", "Spread", "SpreadCandles", "SpreadInstrument", "make_spread_feed", "spread_of"]

#: Ticks below a price of 0.
BELOW = 1_000_000

#: Trades of a spread that are remembered.
LOGGED = 500


@dataclass(frozen=True)
class SpreadInstrument(Instrument):
    """A spread; its instId is its sprdId."""

    def px(self, ticks: int) -> str:
        return decimal_text((ticks - BELOW) * self.tick, self.tick_places)

    def ticks(self, price: float) -> int:
        return max(1, BELOW + int(round(price * 10**self.tick_places / self.tick)))

    def price(self, ticks: int) -> float:
        return float((ticks - BELOW) * self.tick / 10**self.tick_places)

    def average_px(self, paid_ticks: int, lots: int) -> str:
        """Return the average price of so many lots that cost so many ticks times lots in all."""
        average = (Decimal(paid_ticks) / lots - BELOW) * self.tick / 10**self.tick_places
        return text_of(average.quantize(Decimal("1e-10")))


class Spread:
    """The market of a spread; goes along with the world.

    Attributes:
        place: What is traded.
        spot, swap: Its legs.
    """

    def __init__(self, world: World, sprdId: str) -> None:
        self._spot, self._swap = (world.markets[name] for name in sprdId.split("_"))
        self.spot, self.swap = self._spot.instrument, self._swap.instrument
        place = self.swap
        self.place = SpreadInstrument("SPOT", sprdId, place.index, place.tick, place.tick_places, 2, 500, 0)
        self.market = Market(self.place, self._fair(), random.Random(sprdId))
        #: What was traded in the last step, and lately.
        self.trades: list[Trade] = []
        self._log: deque[Trade] = deque(maxlen=LOGGED)
        self._last_ms = world.now_ms

    @property
    def spot_px(self) -> Decimal:
        """The price of the coin in a trade of the spread."""
        return decimal_of(self.spot.px(self._spot.mark))

    def _fair(self) -> float:
        return self._swap.fair - self._spot.fair

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world."""
        self.trades = self.market.step(self._fair(), max(1.0, ts - self._last_ms), ts)
        self._log.extend(self.trades)
        self._last_ms = ts

    def newest_first(self) -> Iterator[Push]:
        """Give the rows of what was traded lately, one by one."""
        for trade in reversed(self._log):
            for tradeId, lots in reversed(single_trades(trade)):
                yield spread_row(trade_row(self.market, trade, tradeId, lots))


def three(rows: list[list[str]]) -> list[list[str]]:
    """Return levels as spreads have them: price, size, orders."""
    return [[px, sz, orders] for px, sz, _, orders in rows]


class SpreadWholeBookFeed(WholeBookFeed):
    """``sprd-bbo-tbt``, ``sprd-books5``."""

    def _top(self) -> Push:
        return {side: three(rows) for side, rows in super()._top().items()}


class SpreadBookFeed(BookFeed):
    """``sprd-books-l2-tbt``; its checksum is real."""

    @property
    def checked(self) -> bool:
        return True

    def _rows(self, levels: dict[int, tuple[int, int]]) -> list[list[str]]:
        return three(super()._rows(levels))


class SpreadTradeFeed(TradeFeed):
    """``sprd-public-trades``."""

    def __init__(self, world: World, spread: Spread) -> None:
        super().__init__(world, spread.market, aggregated=False)
        self._spread = spread

    def watch(self, trades: Trades) -> None:
        self._new += self._spread.trades

    def _row(self, trade: Trade, tradeId: int, lots: int) -> Push:
        return spread_row(super()._row(trade, tradeId, lots))


class SpreadCandles(Candles):
    """Bars of a spread's trades; one volume."""

    def __init__(self, bar: str, ts: int, spread: Spread) -> None:
        market = spread.market
        super().__init__(bar, ts, lambda: market.instrument.px(market.last_ticks), market)
        self._spread = spread

    def watch(self, ts: int, trades: Trades) -> None:
        super().watch(ts, {self._spread.market.instrument.instId: self._spread.trades})

    def row(self, confirm: str = "0") -> list[str]:
        row = super().row(confirm)
        return [*row[:6], row[-1]]


def spread_row(row: Push) -> Push:
    """Return a row of a market as one of a spread."""
    dropped = ("instType", "instId", "volCcy24h", "sodUtc0", "sodUtc8")
    return {"sprdId": row["instId"], **{key: value for key, value in row.items() if key not in dropped}}


def spread_of(world: World, sprdId: str) -> Spread:
    """Return a spread; it begins when it is first asked for, and stays."""
    found = world.followers.get(sprdId)
    if not isinstance(found, Spread):
        found = world.followers[sprdId] = Spread(world, sprdId)
    return found


def make_spread_feed(world: World, arg: dict[str, str]) -> Feed | None:
    """Return the feed of a spread's channel; None if it tells of an account."""
    channel, sprdId = arg["channel"], arg.get("sprdId", "")
    if channel in ("sprd-orders", "sprd-trades"):
        return None
    spread = spread_of(world, sprdId)
    market = spread.market
    makers: dict[str, Callable[[], Feed]] = {
        "sprd-bbo-tbt": lambda: SpreadWholeBookFeed(world, market, 1, 10, with_instId=False),
        "sprd-books5": lambda: SpreadWholeBookFeed(world, market, 5, 100, with_instId=False),
        "sprd-books-l2-tbt": lambda: SpreadBookFeed(world, market, 400, 10),
        "sprd-public-trades": lambda: SpreadTradeFeed(world, spread),
        "sprd-tickers": lambda: ChangeFeed(world, lambda: [spread_row(ticker_row(market))], 100),
    }
    if channel in makers:
        return makers[channel]()
    key = f"{channel} {sprdId}"
    candles = world.followers.get(key)
    if not isinstance(candles, SpreadCandles):
        candles = world.followers[key] = SpreadCandles(channel.removeprefix("sprd-candle"), world.ts, spread)
    return CandleFeed(world, candles)
