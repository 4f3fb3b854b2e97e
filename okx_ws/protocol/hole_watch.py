"""When the holes of a merged stream begin and end: each is told once, whatever its lines bring meanwhile. Pure.

Law. A hole begins when nothing that is joined continues what was delivered, or where a marker shows it, if that comes
first. It ends with its marker; or without one, when the next message shows that nothing was missing. One that grows
while it is being filled, before any message came, is the same.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from . import codec, gaps
from .merging import Merge

__all__ = ["HoleWatch", "News"]


class News(NamedTuple):
    """A hole begins, or (`over`) was none after all.

    Attributes:
        data: Its ``cause`` and ``since_ms``; of one that was none, its marker, decoded.
        told: Events tell of it; else an order book does.
    """

    data: dict[str, Any]
    told: bool
    over: bool = False


class HoleWatch:
    """Watches one merge."""

    def __init__(self) -> None:
        #: Why, and since when, something is missing; None: nothing is.
        self._open: tuple[str, int] | None = None
        #: Events tell of the newest hole.
        self.told = True
        #: How many markers there were.
        self._holes = 0
        #: What was delivered last when the newest marker came.
        self._marked_behind: bytes | None = None
        #: What was seen last is that a hole grows which is being filled.
        self.grows = False
        #: Of each marker that is on its way to who reads: whether events tell of it.
        self.ends: deque[bool] = deque()

    def goes_on(self, merge: Merge, told: bool) -> None:
        """The merge begins with a hole, of which others have told."""
        self._open, self.told = merge.pending, told

    def is_news(self, merge: Merge) -> bool:
        """Tell whether there is anything to look at."""
        return self._open is not None or merge.holes != self._holes or merge.pending is not None

    def look(self, merge: Merge, payloads: list[bytes], now_ms: int, told: bool, filling: bool) -> list[News]:
        """Return what is new, after the merge has let these go on.

        Args:
            merge: The merge.
            payloads: What it has just returned.
            now_ms: Now, Unix ms.
            told: Events tell of what begins now.
            filling: The newest hole is being filled.
        """
        news: list[News] = []
        self.grows = False
        if merge.holes != self._holes:
            self._holes = merge.holes
            for payload in filter(gaps.is_marker, payloads):
                if gaps.is_suspicion(payload):
                    continue
                marker = codec.decode(payload)
                self._begin(news, (marker["cause"], marker["since_ms"]), told)
                self.ends.append(self.told)
                self._open = None
            self._marked_behind = merge.newest
        pending = merge.pending
        if pending is not None:
            if self._open is None and filling and merge.newest is self._marked_behind:
                self._open, self.told, self.grows = pending, told, True
            self._begin(news, pending, told)
        elif self._open is not None:
            cause, since_ms = self._open
            none = {"event": "gap", "cause": cause, "since_ms": since_ms, "until_ms": max(since_ms, now_ms)}
            news.append(News({**none, "lost": None, "repaired": True}, self.told, over=True))
            self._open = None
        return news

    def _begin(self, news: list[News], hole: tuple[str, int], told: bool) -> None:
        if self._open is None:
            self._open, self.told = hole, told
            news.append(News({"cause": hole[0], "since_ms": hole[1]}, told))

    def ended(self) -> bool:
        """The next marker has come to who reads; return whether events tell of it."""
        return self.ends.popleft()
