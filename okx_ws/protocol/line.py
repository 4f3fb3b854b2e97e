"""One line of a stream, and how far the stream was delivered: what a merge keeps of its lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from . import codec, gaps
from .tracks import LineId

__all__ = ["MAX_HELD", "PATIENCE_MS", "Edge", "Line"]

#: Where numbers say that something before what a line brought is still under way on another, it is waited for so long:
#: what answers pings may be quicker than what sends data. After that, it is missing.
PATIENCE_MS = 2_000

#: Messages that one line may hold. Some minutes of a busy book; beyond it, the oldest are dropped.
MAX_HELD = 10_000


class Line:
    """One line.

    Attributes:
        joined: It is proven to continue what was delivered.
        held: What it has brought since it entered or had a hole, while it is not joined.
        torn: Of that, the oldest were dropped.
        fresh: It has brought nothing yet.
        last: What it brought last; or what was delivered last when it joined by the owner's word.
        recalled: Its first message, of a channel where that may tell what happened long ago.
        doubtful: It is joined by the owner's word; the number of its first message has to agree.
        until_ms: It holds no longer, since the owner's word stands against numbers; Unix ms, None while it has not.
    """

    __slots__ = ("doubtful", "fresh", "held", "id", "joined", "last", "recalled", "torn", "until_ms")

    def __init__(self, id: LineId) -> None:
        self.id = id
        self.joined = self.doubtful = False
        self.until_ms: int | None = None
        self.torn = False
        self.fresh = True
        self.last: bytes | None = None
        self.recalled: bytes | None = None
        self.held: deque[bytes] = deque()

    def hold(self, payload: bytes) -> None:
        """Keep a message until it is known what to do with it."""
        if not self.held and gaps.is_marker(payload):
            return  # nothing is before it
        if len(self.held) >= MAX_HELD:
            self.held.popleft()
            self.torn = True
        self.held.append(payload)

    def release(self) -> deque[bytes]:
        """Hand over what was held."""
        held, self.held, self.torn, self.recalled, self.until_ms = self.held, deque(), False, None, None
        return held


class Edge:
    """How far the stream was delivered: where a hole begins that comes next.

    Attributes:
        last: What was delivered last; None before anything was.
        at_ms: When that was; before, when the stream began; Unix ms.
    """

    __slots__ = ("at_ms", "last")

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.last: bytes | None = None

    def move(self, out: list[bytes], now_ms: int) -> None:
        """All of `out` is delivered, markers among it."""
        for payload in reversed(out):
            if not payload.startswith(gaps.MARKER_START):
                self.last, self.at_ms = payload, now_ms
                return

    def time_ms(self) -> int:
        """Return the time of what was delivered last: of its arrival, if it names none."""
        named = None if self.last is None else gaps.time_of(self.last, newest=True)
        return named or self.at_ms

    def is_before(self, payload: bytes) -> bool:
        """Tell whether a message is not older than what was delivered last, by the time that it names, if any."""
        at = gaps.time_of(payload, newest=True)
        return at is None or at >= self.time_ms()

    def marker(self, arg: Mapping[str, Any], cause: str, payload: bytes, now_ms: int) -> bytes:
        """Return the marker for what may be missing from here to a message."""
        since_ms = self.time_ms()
        until_ms = max(since_ms, gaps.time_of(payload, newest=True) or now_ms)
        make = gaps.suspicion if cause == gaps.SUSPICION else gaps.marker
        return make(arg, "sequence" if cause == gaps.SUSPICION else cause, since_ms, until_ms)

    def widened(self, marker: bytes, begins_here: bool) -> bytes:
        """Return a line's own marker with bounds that hold what is missing of the stream.

        Args:
            marker: What the line lacks.
            begins_here: The line has not brought what was delivered last: the hole is at least from there.
        """
        told = codec.decode(marker)
        if self.last is None:
            since_ms = min(told["since_ms"], self.at_ms) if begins_here else told["since_ms"]
        else:
            since_ms = self.time_ms() if begins_here else max(told["since_ms"], self.time_ms())
        lost = told["lost"] if since_ms == told["since_ms"] else None
        return gaps.marker(told["arg"], told["cause"], since_ms, max(since_ms, told["until_ms"]), lost)
