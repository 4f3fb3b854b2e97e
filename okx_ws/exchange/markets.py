"""Markets that move: indices that walk, order books that follow them, trades that happen. Pure, and seeded.

A step of a market brings changes of levels near the top, and trades: now and then a small one, and whenever the fair
price has left the spread, one that sweeps the book up to it. Sizes are lots, prices are ticks. Orders of accounts are
matched elsewhere (`matching`), against these books too: `take` removes what they took, `host` shows what they have
resting, `print` puts on the tape what they traded.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from .instruments import Instrument
from .options import YEAR_MS, option_value

__all__ = ["Index", "Market", "Side", "Trade", "Trades", "World"]

DEPTH = 400

#: Where the indices start: figures of July 2026.
START = {"BTC-USDT": 64_200.0, "BTC-USDC": 64_190.0, "BTC-USD": 64_180.0, "ETH-USDT": 1_830.0, "SOL-USDT": 78.0}

#: Relative standard deviation of an index over a second: about 50 % a year.
VOLATILITY = 0.5 / math.sqrt(365 * 86_400)


@dataclass(frozen=True)
class Trade:
    """One taker order's trades at one price, as the channel ``trades`` shows them; `count` of them up to `tradeId`."""

    tradeId: int
    ticks: int
    lots: int
    side: str
    ts: int
    count: int
    seqId: int


#: What a step brought, by instId.
Trades = dict[str, list[Trade]]


class Follower(Protocol):
    """Something that goes along with the world, whoever is subscribed."""

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step, at whose end it is `ts`."""


class Index:
    """A price that walks, with the statistics OKX's index-tickers shows."""

    def __init__(self, instId: str, price: float) -> None:
        self.instId = instId
        self.price = self.open24h = self.high24h = self.low24h = price
        self.sodUtc0 = price * 0.998
        self.sodUtc8 = price * 1.001

    def step(self, dt_ms: float, rng: random.Random) -> None:
        """Walk for `dt_ms`."""
        self.price *= math.exp(rng.gauss(0.0, VOLATILITY * math.sqrt(dt_ms / 1000)))
        self.high24h = max(self.high24h, self.price)
        self.low24h = min(self.low24h, self.price)


class Side:
    """One side of a book: sizes by price, and the prices in order, best last."""

    def __init__(self, sign: int) -> None:
        #: 1 for bids, -1 for asks: sign * ticks grows towards the best.
        self.sign = sign
        self.levels: dict[int, tuple[int, int]] = {}
        self._keys: list[int] = []
        #: What accounts have resting, by price: lots and orders. Shown with the levels, and no part of them.
        self.guests: dict[int, tuple[int, int]] = {}
        #: Levels were put since the market last looked.
        self.touched = False

    @property
    def best(self) -> int:
        """The best price; a side is never empty."""
        return self.sign * self._keys[-1]

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, ticks: int, lots: int, orders: int) -> None:
        """Set a level; 0 lots delete it, but never the last one."""
        known = ticks in self.levels
        self.touched = True
        if lots > 0:
            if not known:
                bisect.insort(self._keys, self.sign * ticks)
            self.levels[ticks] = (lots, orders)
        elif known and len(self._keys) > 1:
            del self._keys[bisect.bisect_left(self._keys, self.sign * ticks)]
            del self.levels[ticks]

    def top(self, depth: int) -> list[int]:
        """Return the `depth` best prices, best first."""
        return [self.sign * key for key in self._keys[: -depth - 1 : -1]]

    def worst(self) -> int:
        """Return the worst price."""
        return self.sign * self._keys[0]

    def host(self, ticks: int, lots: int, orders: int) -> None:
        """Show so many more lots and orders of accounts at a price; fewer, if they are less than 0."""
        have, known = self.guests.get(ticks, (0, 0))
        self.guests[ticks] = (have + lots, known + orders)
        if self.guests[ticks] == (0, 0):
            del self.guests[ticks]

    def shown(self, depth: int) -> dict[int, tuple[int, int]]:
        """Return the `depth` best levels as others see them, best first: the world's and the accounts' together."""
        found = {ticks: self.levels[ticks] for ticks in self.top(depth)}
        if not self.guests:
            return found
        for ticks, (lots, orders) in self.guests.items():
            have, known = self.levels.get(ticks, (0, 0))
            found[ticks] = (have + lots, known + orders)
        return {ticks: found[ticks] for ticks in sorted(found, key=lambda ticks: -self.sign * ticks)[:depth]}


class Market:
    """The market of one instrument."""

    def __init__(self, instrument: Instrument, fair: float, rng: random.Random) -> None:
        self.instrument = instrument
        self._rng = rng
        self.bids, self.asks = Side(1), Side(-1)
        #: Of the book; grows by uneven steps, as OKX's does.
        self.seqId = rng.randrange(10**9, 10**10)
        self._tradeId = rng.randrange(10**8, 10**9)
        middle = instrument.ticks(fair)
        self.fair = fair
        self._lay(self.bids, middle - 1)
        self._lay(self.asks, middle + 1)
        #: What accounts have traded since the last step.
        self._printed: list[Trade] = []
        self.last_ticks = middle
        self.last_lots = self._lots()
        self.open24h = fair * rng.uniform(0.97, 1.03)
        self.high24h = max(fair, self.open24h) * rng.uniform(1.001, 1.02)
        self.low24h = min(fair, self.open24h) * rng.uniform(0.98, 0.999)
        self.sodUtc0, self.sodUtc8 = fair * rng.uniform(0.98, 1.02), fair * rng.uniform(0.98, 1.02)
        #: Lots traded in 24 hours.
        self.vol24h = self._lots() * rng.randrange(50_000, 200_000)
        self.openInterest = self._lots() * 30_000

    def _lots(self) -> int:
        return max(1, round(self.instrument.typical_lots * self._rng.expovariate(1.0)))

    def _orders(self) -> int:
        return self._rng.choice((1, 1, 1, 1, 2, 2, 3, 5, 8))

    def _lay(self, side: Side, start: int) -> None:
        """Lay levels from `start` away from the middle, down to one tick at the least."""
        ticks = max(1, start)
        while len(side) < DEPTH and ticks >= 1:
            side.put(ticks, self._lots(), self._orders())
            ticks -= side.sign * self._rng.choice((1, 1, 2, 3))

    def step(self, fair: float, dt_ms: float, ts: int) -> list[Trade]:
        """Let `dt_ms` go by with the fair price now `fair`; return what was traded."""
        rng = self._rng
        self.fair = fair
        busy = dt_ms / 100
        seqId, self.bids.touched, self.asks.touched = self.seqId, False, False
        changes = min(60, round(rng.expovariate(1.0 / (6 * busy))))
        if changes:
            self.seqId += rng.randrange(1, 40)
        for _ in range(changes):
            self._change()
        trades, self._printed = self._printed, []
        target = self.instrument.ticks(fair)
        if target > self.asks.best:
            trades += self._sweep(self.asks, "buy", target, ts)
        elif target < self.bids.best:
            trades += self._sweep(self.bids, "sell", target, ts)
        elif rng.random() < min(1.0, 0.25 * busy):
            side, taker = rng.choice(((self.asks, "buy"), (self.bids, "sell")))
            trades.append(self._take(side, taker, self._lots(), ts))
        self._keep_depth(self.bids)
        self._keep_depth(self.asks)
        if self.seqId == seqId and (self.bids.touched or self.asks.touched):
            self.seqId += rng.randrange(1, 12)  # a book that changed has a number of its own
        return trades

    def _change(self) -> None:
        """Add, change or cancel one level, most often near the best; never cross the book."""
        rng = self._rng
        side, other = rng.choice(((self.bids, self.asks), (self.asks, self.bids)))
        away = int(rng.expovariate(1 / 8)) - 1
        ticks = side.best - side.sign * away
        if ticks < 1 or side.sign * ticks >= side.sign * other.best:
            return
        known = side.levels.get(ticks)
        side.put(ticks, 0 if known and rng.random() < 0.35 else self._lots(), self._orders())

    def _sweep(self, side: Side, taker: str, target: int, ts: int) -> list[Trade]:
        """Trade through up to five levels towards `target`, and let the other side follow."""
        trades = []
        for _ in range(5):
            if side.sign * side.best < side.sign * target or len(side) < 2:
                break
            trades.append(self._take(side, taker, side.levels[side.best][0], ts))
        other = self.bids if side is self.asks else self.asks
        self._lay_one(other, side.best + side.sign)
        return trades

    def _lay_one(self, side: Side, ticks: int) -> None:
        if ticks >= 1 and ticks not in side.levels:
            side.put(ticks, self._lots(), self._orders())

    def _take(self, side: Side, taker: str, lots: int, ts: int) -> Trade:
        """Trade against the best level of `side`, with one order or several."""
        ticks = side.best
        lots = self.take(side, lots)
        count = min(lots, self._rng.choice((1, 1, 1, 2, 3)))
        self._tradeId += count
        return self._trade(self._tradeId, ticks, lots, taker, ts, count)

    def _trade(self, tradeId: int, ticks: int, lots: int, taker: str, ts: int, count: int) -> Trade:
        self.last_ticks, self.last_lots = ticks, lots
        self.vol24h += lots
        price = self.instrument.price(ticks)
        self.high24h, self.low24h = max(self.high24h, price), min(self.low24h, price)
        return Trade(tradeId, ticks, lots, taker, ts, count, self.seqId)

    def _keep_depth(self, side: Side) -> None:
        while len(side) > DEPTH:
            side.put(side.worst(), 0, 0)
        while len(side) < DEPTH and side.worst() - side.sign >= 1:
            side.put(max(1, side.worst() - side.sign * self._rng.choice((1, 1, 2))), self._lots(), self._orders())

    # ------------------------------------------------------------------ what accounts do

    def take(self, side: Side, lots: int) -> int:
        """Remove up to so many lots of the best level of `side`; return how many."""
        ticks = side.best
        have, orders = side.levels[ticks]
        lots = min(lots, have)
        side.put(ticks, have - lots, max(1, orders - 1))
        self.seqId += self._rng.randrange(1, 12)
        return lots

    def host(self, side: Side, ticks: int, lots: int, orders: int) -> None:
        """Show what accounts have resting: so many more lots and orders at a price, or fewer."""
        side.host(ticks, lots, orders)
        self.seqId += self._rng.randrange(1, 12)

    def next_tradeId(self) -> int:
        """Return the number of one more match."""
        self._tradeId += 1
        return self._tradeId

    def print(self, tradeId: int, ticks: int, lots: int, taker: str, ts: int, count: int) -> None:
        """Put on the tape what accounts traded at one price, in `count` matches up to `tradeId`."""
        self._printed.append(self._trade(tradeId, ticks, lots, taker, ts, count))

    # ------------------------------------------------------------------ what others read

    def rows(self, side: Side, depth: int) -> list[list[str]]:
        """Return the best levels as OKX writes them: ``[px, sz, "0", orders]``."""
        place = self.instrument
        return [[place.px(t), place.sz(lots), "0", str(orders)] for t, (lots, orders) in side.shown(depth).items()]

    @property
    def mark(self) -> int:
        """The mark price in ticks: the fair price, kept within the book's spread."""
        return min(max(self.instrument.ticks(self.fair), self.bids.best), self.asks.best)

    @property
    def limits(self) -> tuple[int, int]:
        """The highest price of a purchase and the lowest of a sale, in ticks: 5 % around the mark price."""
        mark = self.mark
        away = max(round(mark * 0.05), 10)  # a few ticks for an option that is worth next to nothing
        return mark + away, max(1, mark - away)


class World:
    """All indices and markets, and their clock.

    Args:
        instruments: What is listed.
        now_ms: Where the clock starts.
        seed: The same seed and the same steps give the same world.
        preopen: Rows of what is listed and not traded yet.
    """

    def __init__(
        self, instruments: list[Instrument], now_ms: int, seed: int, preopen: Iterable[dict[str, Any]] = ()
    ) -> None:
        self._rng = random.Random(seed)
        self.start_ms = now_ms
        self.now_ms = float(now_ms)
        self.indices = {name: Index(name, price) for name, price in START.items()}
        self.markets = {i.instId: Market(i, self._fair(i), self._rng) for i in instruments}
        #: Listed, but not traded yet: rows of ``/public/instruments``.
        self.preopen = list(preopen)
        #: The newest entry of ``status``; none while nothing has been announced.
        self.status: list[dict[str, str]] = []
        #: Books carry real checksums, as they did until June 2026.
        self.checksums = False
        #: What goes along with every step, by name.
        self.followers: dict[str, Follower] = {}

    @property
    def ts(self) -> int:
        """The clock in whole milliseconds."""
        return int(self.now_ms)

    def step(self, dt_ms: float) -> Trades:
        """Let `dt_ms` go by; return the trades."""
        self.now_ms += dt_ms
        for index in self.indices.values():
            index.step(dt_ms, self._rng)
        found = {}
        for instId, market in self.markets.items():
            trades = market.step(self._fair(market.instrument), dt_ms, self.ts)
            if trades:
                found[instId] = trades
        for follower in self.followers.values():
            follower.watch(self.ts, found)
        return found

    def _fair(self, instrument: Instrument) -> float:
        """Return the price an instrument should have: its index with a premium, or an option's value in coin."""
        index = self.indices[instrument.index].price
        if instrument.instType == "SPOT":
            return index
        if instrument.instType == "SWAP":
            return index * 1.0002
        years = max(instrument.expTime - self.now_ms, 0.0) / YEAR_MS
        if instrument.instType == "FUTURES":
            return index * (1 + 0.05 * years)
        return option_value(index, float(instrument.stk), years, instrument.optType)
