"""The feeds of order books: whole ones, and a snapshot with what changed since. Pure."""

from __future__ import annotations

import zlib
from itertools import zip_longest

from .feeds import Feed, Push
from .markets import Market, World

__all__ = ["BookFeed", "RpiBookFeed", "WholeBookFeed"]

#: Levels of each side that a checksum is made of.
CHECKED = 25


class WholeBookFeed(Feed):
    """``bbo-tbt`` and ``books5``: the best levels whole, when they have changed; no ``action``, no ``prevSeqId``."""

    #: What does not change is repeated about once a minute.
    REPEAT_MS = 60_000

    def __init__(self, world: World, market: Market, depth: int, every_ms: float, with_instId: bool) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._market = market
        self._depth = depth
        self._extra = {"instId": market.instrument.instId} if with_instId else {}
        self._last = self._top()
        self._pushed_ms = world.now_ms

    def _top(self) -> Push:
        market = self._market
        return {"asks": market.rows(market.asks, self._depth), "bids": market.rows(market.bids, self._depth)}

    def _frame(self) -> Push:
        return {"data": [{**self._top(), **self._extra, "ts": str(self._world.ts), "seqId": self._market.seqId}]}

    def first(self) -> list[Push]:
        return [self._frame()]

    def push(self) -> list[Push]:
        top = self._top()
        if top == self._last and self._world.now_ms < self._pushed_ms + self.REPEAT_MS:
            return []
        self._last, self._pushed_ms = top, self._world.now_ms
        return [self._frame()]


class BookFeed(Feed):
    """``books``, ``books50-l2-tbt``, ``books-l2-tbt``: a snapshot, then what changed, chained by ``prevSeqId``.

    The published book is a copy: a subscriber who comes between two updates gets the snapshot that the next update
    chains on. ``checksum`` is the constant 0, as OKX's has been since June 2026, unless the world wants real ones.
    """

    #: OKX proves a book that does not change to be alive about once a minute.
    KEEP_ALIVE_MS = 60_000

    #: Its pushes have a ``checksum``.
    summed = True

    def __init__(self, world: World, market: Market, depth: int, every_ms: float) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._market = market
        self._depth = depth
        self._published = self._window()
        self._seqId = market.seqId
        self._pushed_ms = world.now_ms

    def _window(self) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
        market = self._market
        return market.asks.shown(self._depth), market.bids.shown(self._depth)

    def _rows(self, levels: dict[int, tuple[int, int]]) -> list[list[str]]:
        instrument = self._market.instrument
        return [[instrument.px(t), instrument.sz(lots), "0", str(orders)] for t, (lots, orders) in levels.items()]

    def _frame(self, action: str, asks: list[list[str]], bids: list[list[str]], prevSeqId: int) -> Push:
        row = {"asks": asks, "bids": bids, "ts": str(self._world.ts), **self._checksum(), "seqId": self._seqId}
        return {"action": action, "data": [{**row, "prevSeqId": prevSeqId}]}

    def _checksum(self) -> dict[str, int]:
        if not self.summed:
            return {}
        if not self._world.checksums:
            return {"checksum": 0}
        asks, bids = (self._rows({t: side[t] for t in list(side)[:CHECKED]}) for side in self._published)
        levels = [row for pair in zip_longest(bids, asks) for row in pair if row is not None]
        crc = zlib.crc32(":".join(f"{px}:{sz}" for px, sz, *_ in levels).encode())
        return {"checksum": crc - (1 << 32) if crc >= 1 << 31 else crc}

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


class RpiBookFeed(BookFeed):
    """``books-rpi``: chained alike, but no ``checksum``, and rows of [px, total size, size without RPI, orders]."""

    summed = False

    def _rows(self, levels: dict[int, tuple[int, int]]) -> list[list[str]]:
        place = self._market.instrument
        # One level in four has retail orders in it, a third of its size.
        plain = {t: lots - lots // 3 if t % 4 == 0 else lots for t, (lots, _) in levels.items()}
        return [[place.px(t), place.sz(lots), place.sz(plain[t]), str(n)] for t, (lots, n) in levels.items()]


def changes(old: dict[int, tuple[int, int]], new: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Return the levels of `new` that differ from `old`, and those that are gone with a size of 0."""
    gone = {ticks: (0, 0) for ticks in old if ticks not in new}
    return {**gone, **{ticks: level for ticks, level in new.items() if old.get(ticks) != level}}
