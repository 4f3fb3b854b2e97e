"""What is missing in a stream of candles, and what to ask REST for it: the closed ones, each once. Pure.

Source: OKX v5 docs, "Get candlesticks", "Get candlesticks history" and their like for index, mark price and spreads,
read June 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .backfill import LAG_S, MAX_ROWS, Ask, Place, Ranged, Unusable, is_number, message_of, rows_of, whole

__all__ = ["CANDLES", "FAMILIES", "Candles", "bar_ms"]

#: Channel's beginning → the endpoints of its newest and of its older bars, and what names the instrument.
FAMILIES = {
    "candle": ("/api/v5/market/candles", "/api/v5/market/history-candles", "instId"),
    "mark-price-candle": (
        "/api/v5/market/mark-price-candles",
        "/api/v5/market/history-mark-price-candles",
        "instId",
    ),
    "index-candle": ("/api/v5/market/index-candles", "/api/v5/market/history-index-candles", "instId"),
    "sprd-candle": ("/api/v5/market/sprd-candles", "/api/v5/market/sprd-history-candles", "sprdId"),
}

CANDLES = re.compile(r"((?:mark-price-|index-|sprd-)?candle)(\d+)([smHDWMY])(utc)?")

#: How many fields a bar has: its start, four prices, volumes, and whether it is closed.
FIELDS = {"candle": 9, "sprd-candle": 7, "mark-price-candle": 6, "index-candle": 6}

UNIT_MS = {"s": 1000, "m": 60_000, "H": 3_600_000, "D": 86_400_000, "W": 7 * 86_400_000}


def bar_ms(channel: str) -> int | None:
    """Return how long a bar of a channel lasts; None: months are uneven, or these are no candles."""
    kind = CANDLES.fullmatch(channel)
    return int(kind[2]) * UNIT_MS[kind[3]] if kind is not None and kind[3] in UNIT_MS else None


class Candles(Ranged):
    """Candles of all families: the closed ones, by the time they start at."""

    unit = "candles"

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        super().__init__(arg, head, last, since_ms)
        kind = CANDLES.fullmatch(arg["channel"])
        assert kind is not None  # see `repair_of`
        self._newest, self._history, self._name = FAMILIES[kind[1]]
        self._fields = FIELDS[kind[1]]
        self._bar = kind[2] + kind[3] + (kind[4] or "")
        self._bar_ms = bar_ms(arg["channel"])
        bars = starts(last)
        #: When some bar of this stream has started: all others do at whole bars from there. (Where bars of several days
        #: begin anew, OKX does not say.)
        self._start = max(bars)[0] if bars else None
        if bars:
            start, closed = max(bars)
            self.first = start + (self._bar_ms or 1) if closed else start
        else:
            self.first = max(0, self.since_ms - (self._bar_ms or 1) + 1)  # the bar that was open then
        self._path = self._newest
        #: The last answer about the newest bars, if it lacked some: the same again is all there is.
        self._short: list[int] | None = None
        self._lagging = False

    def see(self, payload: bytes) -> None:
        bars = starts(payload)
        if bars and self._start is None:
            self._start = bars[0][0]
        if bars and max(bars)[0] >= (self.first or 0):
            self.low = min(bars)[0]
            self.watching = False
            self.rows = {number: row for number, row in self.rows.items() if self.wanted(number)}

    @property
    def reaches_up(self) -> bool:
        return self.top is not None and not self._lagging

    def next_ask(self) -> Ask | None:
        if self.empty or len(self.rows) >= MAX_ROWS:
            return None
        params = {self._name: self.arg[self._name], "bar": self._bar, "limit": "300"}
        if not self.reaches_up:
            params |= {} if self.low is None else {"after": str(self.low)}
            return Ask(self._newest, params, pause_s=LAG_S if self._lagging else 0.0)
        if self.reaches_back or self.exhausted:
            return None
        return Ask(self._path, {**params, "after": str(self.reach)}, further=True)

    def take(self, ask: Ask, rows: list[Any]) -> None:
        found = {self._start_of(row): row for row in rows}
        if ask.further and not found and ask.path != self._history:
            self._path = self._history
            return
        below = sorted(number for number in found if self.low is None or number < self.low)
        self.page(below, newest=not ask.further)
        if not ask.further:
            self._look_up(below, found)
        self.rows.update({n: row for n, row in found.items() if row[-1] == "1" and self.wanted(n)})

    def _start_of(self, row: Any) -> int:
        """Return when a bar starts; one of another length, or of something else, does not look like this stream's."""
        if not isinstance(row, list) or len(row) < self._fields or not all(isinstance(value, str) for value in row):
            raise Unusable(f"no candle: {row!r:.80}")
        if not all(map(is_number, row[1:5])) or row[-1] not in ("0", "1"):
            raise Unusable(f"no candle: {row!r:.80}")
        start = whole(row[0])
        day_ms = UNIT_MS["D"]
        known = self._bar_ms is not None and (self._bar_ms <= day_ms or self._bar_ms == 7 * day_ms)
        if known and self._start is not None and (start - self._start) % (self._bar_ms or 1):
            raise Unusable(f"no candle of {self._bar}: {row!r:.80}")
        return start

    def _look_up(self, below: list[int], found: Mapping[int, list[str]]) -> None:
        """See whether the newest page lags behind what came live: bars before that one are closed, and there."""
        if not below:
            self.reach = self.top = (self.low or self.first or 1) - 1 if self.reach is None else self.reach
        if self.low is None:
            return
        opened = bool(below) and found[below[-1]][-1] != "1"
        behind = self._bar_ms is not None and (not below or below[-1] + self._bar_ms < self.low)
        self._lagging = opened or (behind and self._short != below)
        self._short = below

    def missing(self) -> str:
        if self.reach is not None and self._lagging and self.low is not None:
            newest = self.newest
            return f"{self.unit} from {self.first if newest is None else newest + 1} to {self.low - 1}"
        return super().missing()

    def messages(self) -> list[bytes]:
        return [message_of(self.head, self.rows[number]) for number in sorted(self.rows)]

    def place_of(self, payload: bytes) -> Place:
        bars, newest = starts(payload), max(self.rows, default=None)
        if bars and max(bars)[0] < max(self.first or 0, -1 if newest is None else newest + 1):
            return "known"
        if self.low is not None or not bars:
            return "next"
        follows = self.first if newest is None else newest + (self._bar_ms or 1)
        late = self._bar_ms is not None and follows is not None and min(bars)[0] > follows
        return "gap" if late else "next"


def starts(payload: bytes | None) -> list[tuple[int, bool]]:
    """Return when each candle of a push starts, Unix ms, and whether it is closed."""
    found = []
    for row in rows_of(payload):
        try:
            found.append((whole(row[0]), row[-1] == "1"))
        except (LookupError, TypeError, Unusable):  # OKX does not write such
            continue
    return found
