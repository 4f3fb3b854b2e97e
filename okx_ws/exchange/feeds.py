"""What each channel pushes, and when: from the world to the ``data`` of pushes. Pure.

A feed serves one arg. `first` gives a new subscriber what OKX sends at once; `due` is asked at every step of the world
and gives what goes to everybody. Cadences after OKX v5 docs, read June 2026, in the world's own time. What is pushed
is a dict of everything that follows ``arg`` in the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .instruments import DAY_MS
from .markets import Market, Trade, World
from .rows import funding_row, index_row, interest_row, limit_row, mark_row, ticker_row

__all__ = ["Feed", "make_feed"]

Push = dict[str, Any]
Trades = dict[str, list[Trade]]

HOUR_MS = 3_600_000

BAR_UNITS = {"s": 1000, "m": 60_000, "H": HOUR_MS, "D": DAY_MS, "W": 7 * DAY_MS, "M": 30 * DAY_MS, "Y": 365 * DAY_MS}


class Feed:
    """One arg's pushes."""

    #: World milliseconds between two looks at what to push.
    every_ms = 100

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
    """Pushes a row when it has changed, at most every `every_ms`, and at least every `repeat_ms` if that is set."""

    def __init__(
        self, world: World, row: Callable[[], Push], every_ms: int, repeat_ms: float = float("inf"), first: bool = True
    ) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._row = row
        self._repeat_ms = repeat_ms
        self._first = first
        self._last = row()
        self._last_ms = world.now_ms

    def first(self) -> list[Push]:
        return [{"data": [{**self._row(), "ts": str(self._world.ts)}]}] if self._first else []

    def push(self) -> list[Push]:
        row = self._row()
        if row == self._last and self._world.now_ms < self._last_ms + self._repeat_ms:
            return []
        self._last, self._last_ms = row, self._world.now_ms
        return [{"data": [{**row, "ts": str(self._world.ts)}]}]


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
        instrument = self._market.instrument
        return {
            "instId": instrument.instId,
            "tradeId": str(tradeId),
            "px": instrument.px(trade.ticks),
            "sz": instrument.sz(lots),
            "side": trade.side,
            "ts": str(trade.ts),
        }


def single_trades(trade: Trade) -> list[tuple[int, int]]:
    """Split an aggregated trade into its single ones: (tradeId, lots), whose lots add up."""
    part = trade.lots // trade.count
    lots = [part] * (trade.count - 1) + [trade.lots - part * (trade.count - 1)]
    return [(trade.tradeId - trade.count + 1 + i, size) for i, size in enumerate(lots)]


class WholeBookFeed(Feed):
    """``bbo-tbt`` and ``books5``: the best levels whole, when they have changed; no ``action``, no ``prevSeqId``."""

    def __init__(self, world: World, market: Market, depth: int, every_ms: int, with_instId: bool) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._market = market
        self._depth = depth
        self._extra = {"instId": market.instrument.instId} if with_instId else {}
        self._last = self._top()

    def _top(self) -> Push:
        market = self._market
        return {"asks": market.rows(market.asks, self._depth), "bids": market.rows(market.bids, self._depth)}

    def _frame(self) -> Push:
        return {"data": [{**self._top(), **self._extra, "ts": str(self._world.ts), "seqId": self._market.seqId}]}

    def first(self) -> list[Push]:
        return [self._frame()]

    def push(self) -> list[Push]:
        top = self._top()
        if top == self._last:
            return []
        self._last = top
        return [self._frame()]


class BookFeed(Feed):
    """``books``, ``books50-l2-tbt``, ``books-l2-tbt``: a snapshot, then what changed, chained by ``prevSeqId``.

    The published book is a copy: a subscriber who comes between two updates gets the snapshot that the next update
    chains on. ``checksum`` is the constant 0, as OKX's has been since June 2026.
    """

    #: OKX proves a book that does not change to be alive about once a minute.
    KEEP_ALIVE_MS = 60_000

    def __init__(self, world: World, market: Market, depth: int, every_ms: int) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._market = market
        self._depth = depth
        self._published = self._window()
        self._seqId = market.seqId
        self._pushed_ms = world.now_ms

    def _window(self) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
        market = self._market
        return (
            {ticks: market.asks.levels[ticks] for ticks in market.asks.top(self._depth)},
            {ticks: market.bids.levels[ticks] for ticks in market.bids.top(self._depth)},
        )

    def _rows(self, levels: dict[int, tuple[int, int]]) -> list[list[str]]:
        instrument = self._market.instrument
        return [[instrument.px(t), instrument.sz(lots), "0", str(orders)] for t, (lots, orders) in levels.items()]

    def _frame(self, action: str, asks: list[list[str]], bids: list[list[str]], prevSeqId: int) -> Push:
        row = {"asks": asks, "bids": bids, "ts": str(self._world.ts), "checksum": 0, "seqId": self._seqId}
        return {"action": action, "data": [{**row, "prevSeqId": prevSeqId}]}

    def first(self) -> list[Push]:
        asks, bids = self._published
        return [self._frame("snapshot", self._rows(asks), self._rows(bids), -1)]

    def push(self) -> list[Push]:
        before, now = self._published, self._window()
        asks, bids = (self._rows(changes(old, new)) for old, new in zip(before, now, strict=True))
        prevSeqId = self._seqId
        if asks or bids:
            self._published, self._seqId = now, self._market.seqId
        elif self._world.now_ms < self._pushed_ms + self.KEEP_ALIVE_MS:
            return []
        self._pushed_ms = self._world.now_ms
        return [self._frame("update", asks, bids, prevSeqId)]


def changes(old: dict[int, tuple[int, int]], new: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Return the levels of `new` that differ from `old`, and those that are gone with a size of 0."""
    gone = {ticks: (0, 0) for ticks in old if ticks not in new}
    return {**gone, **{ticks: level for ticks, level in new.items() if old.get(ticks) != level}}


class CandleFeed(Feed):
    """``candle*``, ``mark-price-candle*``, ``index-candle*``: the open candle at most once a second, then its close."""

    every_ms = 1000

    def __init__(self, world: World, price: Callable[[], str], bar_ms: int, market: Market | None) -> None:
        super().__init__(world)
        self._price = price
        self._bar_ms = bar_ms
        self._market = market
        self._closed: list[list[str]] = []
        self._changed = False
        self._open(world.ts - world.ts % bar_ms)

    def _open(self, start: int) -> None:
        self._start = start
        self._ohlc = [self._price()] * 4
        self._lots = 0

    def watch(self, trades: Trades) -> None:
        while self._world.ts >= self._start + self._bar_ms:
            self._closed.append(self._row("1"))
            self._open(self._start + self._bar_ms)
        if self._market is None:
            self._see(self._price())
            return
        instrument = self._market.instrument
        for trade in trades.get(instrument.instId, ()):
            self._lots += trade.lots
            self._see(instrument.px(trade.ticks))

    def _see(self, price: str) -> None:
        ohlc = self._ohlc
        if float(price) > float(ohlc[1]):
            ohlc[1] = price
        if float(price) < float(ohlc[2]):
            ohlc[2] = price
        self._changed = self._changed or price != ohlc[3] or self._market is not None
        ohlc[3] = price

    def _row(self, confirm: str) -> list[str]:
        volumes: list[str] = []
        if self._market is not None:
            volume = self._market.instrument.sz(self._lots)
            turnover = format(float(volume) * float(self._ohlc[3]), ".8f").rstrip("0").rstrip(".")
            volumes = [volume, turnover, turnover]
        return [str(self._start), *self._ohlc, *volumes, confirm]

    def first(self) -> list[Push]:
        return [{"data": [self._row("0")]}]

    def due(self, trades: Trades) -> list[Push]:
        pushes = super().due(trades)
        # A candle that closes does not wait for the second to be over.
        closed, self._closed = [{"data": [row]} for row in self._closed], []
        return closed + pushes

    def push(self) -> list[Push]:
        if not self._changed:
            return []
        self._changed = False
        return [{"data": [self._row("0")]}]


def bar_ms(bar: str) -> int:
    """Return the length of a bar such as ``"15m"`` or ``"1Dutc"`` (a month counts 30 days here)."""
    bar = bar.removesuffix("utc")
    return int(bar[:-1]) * BAR_UNITS[bar[-1]]


def make_feed(world: World, arg: dict[str, str]) -> Feed | None:
    """Return the feed of an arg that was accepted, or None if its channel is quiet here."""
    channel, instId = arg["channel"], arg.get("instId", "")
    market = world.markets.get(instId)
    index = world.indices.get(instId)
    if channel.startswith("index-"):
        if index is None:
            return None
        found = index
        if channel == "index-tickers":
            return ChangeFeed(world, lambda: index_row(found), 100, 60_000)
        return CandleFeed(world, lambda: f"{found.price:.2f}", bar_ms(channel.partition("candle")[2]), None)
    if market is None:
        return None
    place = market.instrument
    if channel.startswith("candle"):
        return CandleFeed(world, lambda: place.px(market.last_ticks), bar_ms(channel[len("candle") :]), market)
    if channel.startswith("mark-price-candle"):
        return CandleFeed(world, lambda: place.px(market.mark), bar_ms(channel.partition("candle")[2]), None)
    makers: dict[str, Callable[[], Feed]] = {
        "tickers": lambda: ChangeFeed(world, lambda: ticker_row(market), 100),
        "trades": lambda: TradeFeed(world, market, aggregated=True),
        "trades-all": lambda: TradeFeed(world, market, aggregated=False),
        "books": lambda: BookFeed(world, market, 400, 100),
        "books-l2-tbt": lambda: BookFeed(world, market, 400, 10),
        "books50-l2-tbt": lambda: BookFeed(world, market, 50, 10),
        "books5": lambda: WholeBookFeed(world, market, 5, 100, with_instId=True),
        "bbo-tbt": lambda: WholeBookFeed(world, market, 1, 10, with_instId=False),
        "mark-price": lambda: ChangeFeed(world, lambda: mark_row(market), 200, 10_000),
        "funding-rate": lambda: ChangeFeed(world, lambda: funding_row(world, market), 60_000, 60_000),
        "open-interest": lambda: ChangeFeed(world, lambda: interest_row(market), 3000),
        "price-limit": lambda: ChangeFeed(world, lambda: limit_row(market), 200),
    }
    maker = makers.get(channel)
    return maker() if maker is not None else None
