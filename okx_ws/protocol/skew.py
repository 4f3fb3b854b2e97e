"""By how much OKX's clock is ahead of ours, for the bounds of holes where no message of the stream tells them. Pure.

Law. No message was made after it came: what OKX wrote into it, less the time at which it came by our clock, is the
least that OKX's clock is ahead; of all the newest messages the greatest counts. OKX's clock itself, if it was asked, is
better.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import gaps
from .login import ClockState
from .routing import Route

__all__ = ["skew_of"]

#: No clock that anybody uses is more wrong: what differs by more is an old message.
MOST_MS = 3_600_000


def skew_of(clock: ClockState | None, routes: Iterable[Route], now: float, now_ms: int) -> int:
    """Return by how many ms OKX's clock is ahead of ours, at the least; 0 if nothing tells.

    Args:
        clock: What was asked of OKX's, if anybody has asked.
        routes: Whose newest messages may tell: not those of candles, which have the time of their beginning.
        now, now_ms: One moment, monotonic seconds and by our clock (Unix ms).
    """
    if clock is not None and clock.known:
        return round(clock.offset_s * 1000)
    skews = []
    for route in routes:
        told = None if route.last is None or "candle" in route.arg["channel"] else gaps.time_of(route.last, newest=True)
        if told is not None:
            skews.append(told - now_ms + round((now - route.last_at) * 1000))
    skew = max(skews, default=0)
    return skew if abs(skew) <= MOST_MS else 0
