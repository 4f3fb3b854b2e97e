"""OKX's limits, kept by waiting, never by dropping: connects a second, requests an hour, bytes a frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from ..config import Limits

__all__ = ["ConnectBudget", "RequestBudget", "chunks"]

#: OKX counts when a connect arrives, we when it leaves: a second on our side is a little more than one on its side.
CONNECT_WINDOW_S = 1.1

HOUR_S = 3600.0

#: Requests that go out as they come; from there to half of the hour's budget, they keep a second's distance.
FREE_REQUESTS = 60


class ConnectBudget:
    """Connection attempts to one (host, port): at most `connects_per_s` in any second."""

    def __init__(self) -> None:
        #: When the latest attempts started; a limit beyond this many a second is no limit.
        self._starts: deque[float] = deque(maxlen=1024)

    def reserve(self, limits: Limits, now: float) -> float:
        """Take the next free place and return its time: the attempt may start then, and no earlier."""
        n = limits.connects_per_s
        at = now
        if len(self._starts) >= n:
            at = max(now, self._starts[-n] + CONNECT_WINDOW_S)
        self._starts.append(at)
        return at


class RequestBudget:
    """subscribe, unsubscribe and login requests of one link: at most `limits.requests_per_h` in any hour.

    The first ones go at once. Beyond half of the budget, requests keep the distance at which the other half lasts for
    an hour (15 s for OKX's 480): what is asked for in between travels in one request, and nobody ever waits for an hour
    because a loop subscribed one instrument at a time.
    """

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.requests_per_h
        self._sent: deque[float] = deque()

    def ready_at(self, now: float) -> float:
        """Return when the next request may go: `now`, or later."""
        # Written as below: with `<= now - HOUR_S`, rounding could keep what has expired, and the limit would not hold.
        while self._sent and self._sent[0] + HOUR_S <= now:
            self._sent.popleft()
        used, limit = len(self._sent), self._limit
        free = min(FREE_REQUESTS, limit)
        half = max(free, limit // 2)
        if used < free:
            return now
        if used < half:
            return max(now, self._sent[-1] + min(1.0, HOUR_S / limit))
        if used < limit:
            return max(now, self._sent[-1] + HOUR_S / (limit - half))
        return self._sent[0] + HOUR_S

    def take(self, now: float) -> None:
        """Count one request as sent."""
        self._sent.append(now)


def chunks(texts: Iterable[str], room: int) -> Iterator[list[str]]:
    """Split JSON texts into lists that weigh at most `room` bytes each, commas included (one text at least)."""
    chunk: list[str] = []
    weight = 0
    for text in texts:
        more = len(text.encode()) + 1
        if chunk and weight + more > room:
            yield chunk
            chunk, weight = [], 0
        chunk.append(text)
        weight += more
    if chunk:
        yield chunk
