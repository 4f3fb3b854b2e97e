"""Candles: bars of trades or of a price, cut where OKX cuts them, and their feed. Pure."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable

from .feeds import Feed, Push
from .instruments import DAY_MS
from .markets import Market, Trades, World

__all__ = ["CandleFeed", "Candles", "bar_bounds"]

HOUR_MS = 3_600_000

UNITS = {"s": 1000, "m": 60_000, "H": HOUR_MS, "D": DAY_MS, "W": 7 * DAY_MS}
#: Bars from six hours up open on UTC+8, unless their name ends in ``utc``.
LONG = ("6H", "12H")
SHIFT_MS = 8 * HOUR_MS
#: Weeks start on a Monday; the epoch was a Thursday.
MONDAY_MS = 4 * DAY_MS


def bar_bounds(bar: str, ts: int) -> tuple[int, int]:
    """Return start and end, in Unix ms, of the bar such as ``"15m"`` or ``"1Dutc"`` that holds `ts`."""
    name = bar.removesuffix("utc")
    count, unit = int(name[:-1]), name[-1]
    shift = SHIFT_MS if name == bar and (unit in "DWMY" or name in LONG) else 0
    if unit in "MY":
        months = count * (12 if unit == "Y" else 1)
        day = datetime.datetime.fromtimestamp((ts + shift) / 1000, datetime.timezone.utc)
        first = (12 * day.year + day.month - 1) // months * months
        return month_ms(first) - shift, month_ms(first + months) - shift
    origin = (MONDAY_MS if unit == "W" else 0) - shift
    length = count * UNITS[unit]
    start = (ts - origin) // length * length + origin
    return start, start + length


def month_ms(months: int) -> int:
    """Return when a month starts, in Unix ms; months are counted from the year 0."""
    return int(datetime.datetime(months // 12, months % 12 + 1, 1, tzinfo=datetime.timezone.utc).timestamp()) * 1000


class Candles:
    """One series of bars. It belongs to the world: a bar does not depend on who watches it, or since when.

    A bar repeats the last close until its first trade, which opens it.

    Args:
        bar: As OKX names it.
        ts: Now, Unix ms.
        price: The price as OKX writes it; asked at the start, and at every step if there is no `market`.
        market: Whose trades make the bars; None for bars of a price alone, which have no volumes.
    """

    #: Closed bars that are kept; OKX's REST has as many.
    KEPT = 1440
    #: After a pause that is longer than so many, those in between are left out.
    CAUGHT_UP = 100

    def __init__(self, bar: str, ts: int, price: Callable[[], str], market: Market | None) -> None:
        self._bar = bar
        self._price = price
        self._market = market
        self._ohlc = [price()] * 4
        #: The newest closed bars, and how many there have been.
        self.closed: deque[list[str]] = deque(maxlen=self.KEPT)
        self.closes = 0
        self._open(ts)

    def _open(self, ts: int) -> None:
        self._start, self._end = bar_bounds(self._bar, ts)
        self._ohlc = [self._ohlc[3]] * 4
        self._untouched = True
        self._lots, self._coins, self._turnover = 0, 0.0, 0.0

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world, at whose end it is `ts`."""
        missed = 0
        while ts >= self._end:
            self.closed.append(self.row("1"))
            self.closes += 1
            missed += 1
            self._open(self._end if missed < self.CAUGHT_UP else ts)
        if self._market is None:
            self._see(self._price())
            return
        place = self._market.instrument
        for trade in trades.get(place.instId, ()):
            self._see(place.px(trade.ticks))
            self._lots += trade.lots
            self._coins += place.coins(trade.lots, trade.ticks)
            self._turnover += place.turnover(trade.lots, trade.ticks)

    def _see(self, price: str) -> None:
        if self._untouched:
            self._ohlc, self._untouched = [price] * 4, False
        opened, high, low, _ = self._ohlc
        self._ohlc = [opened, max(high, price, key=float), min(low, price, key=float), price]

    def row(self, confirm: str = "0") -> list[str]:
        """Return the open bar as OKX writes it."""
        volumes = []
        if self._market is not None:
            place = self._market.instrument
            quote = number(self._turnover)
            volumes = [place.sz(self._lots), quote if place.instType == "SPOT" else number(self._coins), quote]
        return [str(self._start), *self._ohlc, *volumes, confirm]


def number(value: float) -> str:
    """Return a number without trailing zeros."""
    return f"{value:.8f}".rstrip("0").rstrip(".")


class CandleFeed(Feed):
    """``candle*``, ``mark-price-candle*``, ``index-candle*``: the open bar at most once a second, and every close."""

    every_ms = 1000

    def __init__(self, world: World, candles: Candles) -> None:
        super().__init__(world)
        self._candles = candles
        self._closes = candles.closes
        self._last = candles.row()

    def first(self) -> list[Push]:
        return [{"data": [self._candles.row()]}]

    def due(self, trades: Trades) -> list[Push]:
        # A bar that closes does not wait for the second to be over.
        new = min(self._candles.closes - self._closes, len(self._candles.closed))
        self._closes = self._candles.closes
        closed = [{"data": [row]} for row in list(self._candles.closed)[len(self._candles.closed) - new :]]
        return closed + super().due(trades)

    def push(self) -> list[Push]:
        row = self._candles.row()
        if row == self._last:
            return []
        self._last = row
        return [{"data": [row]}]
