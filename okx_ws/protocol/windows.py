"""So many in so many seconds, counted by key: when the next may go. Pure; shared by REST and orders."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple

__all__ = ["Cost", "Windows"]

#: OKX counts when a request arrives, we when it leaves: our windows are a little longer than its.
MARGIN = 1.1

#: Windows that are remembered before those that are over are thrown away.
MANY = 1000


class Cost(NamedTuple):
    """What a call takes from one of OKX's limits: `n` of the `most` that may go under `key` in `window_s` seconds."""

    key: tuple[str, ...]
    most: int
    window_s: float = 2.0
    n: int = 1


class Windows:
    """When what is counted went, or will go. Told the time, monotonic seconds; not thread-safe."""

    def __init__(self) -> None:
        #: For each key, how long a window is, and the newest times, as many as its limit.
        self._known: dict[Hashable, tuple[float, deque[float]]] = {}

    def reserve(self, costs: Sequence[Cost], now: float) -> float:
        """Take what a call costs, if there is room for all of it, and return `now`; else when there may be."""
        at = max((self.ready_at(c.key, c.most, c.window_s, now, c.n) for c in costs), default=now)
        if at <= now:
            for cost in costs:
                self.take(cost.key, cost.most, cost.window_s, now, cost.n)
        return at

    def full(self, costs: Sequence[Cost], now: float) -> None:
        """Count no more for a while: OKX has found too many of what costs this."""
        for cost in costs:
            self.fill(cost.key, cost.most, cost.window_s, now)

    def ready_at(self, key: Hashable, most: int, window_s: float, now: float, n: int = 1, spare: int = 0) -> float:
        """Return when `n` may go under `key`, of which `most` are allowed in `window_s` seconds: `now` or later.

        More than `most` at once are let through when the window is empty: to wait would not help them. With `spare`,
        there must be room for so many others besides.
        """
        times = self._window(key, most, window_s, now)
        beyond = len(times) + min(n + spare, most) - most
        return now if beyond <= 0 else max(now, times[beyond - 1] + window_s * MARGIN)

    def take(self, key: Hashable, most: int, window_s: float, at: float, n: int = 1) -> None:
        """Count `n` that go at this time."""
        self._window(key, most, window_s, at).extend([at] * min(n, most))

    def fill(self, key: Hashable, most: int, window_s: float, now: float) -> None:
        """The other side has said that a window is full, whatever was counted here (another process may share it)."""
        times = self._window(key, most, window_s, now)
        times.extend([max(now, *times) if times else now] * most)

    def are_over(self, now: float) -> bool:
        """Tell whether nothing that was counted matters any more."""
        return not any(_lasts(window, now) for window in self._known.values())

    def _window(self, key: Hashable, most: int, window_s: float, now: float) -> deque[float]:
        if key not in self._known and len(self._known) >= MANY:
            self._known = {known: window for known, window in self._known.items() if _lasts(window, now)}
        times = self._known.setdefault(key, (window_s, deque(maxlen=most)))[1]
        if most > (times.maxlen or 0):  # who counts here may have been told of different limits
            times = deque(times, maxlen=most)
            self._known[key] = (window_s, times)
        return times


def _lasts(window: tuple[float, deque[float]], now: float) -> bool:
    width, times = window
    return bool(times) and times[-1] + width * MARGIN > now
