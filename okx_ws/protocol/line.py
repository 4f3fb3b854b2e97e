"""What a merge keeps of its lines: each by itself, which of them are joined, and how far the stream was delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from . import codec, gaps
from .tracks import LineId, Track

__all__ = ["MAX_HELD", "PATIENCE_MS", "Edge", "Line", "LineUp"]

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


class LineUp:
    """The lines, in the order in which they entered, and which of them are joined.

    Args:
        track: Told of those that are not any more.

    Attributes:
        holding: How many are not joined.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self._lines: dict[LineId, Line] = {}
        self.holding = 0
        #: By its name; None: it has not entered.
        self.get = self._lines.get

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    @property
    def ids(self) -> tuple[LineId, ...]:
        """Their names."""
        return tuple(self._lines)

    @property
    def none_joined(self) -> bool:
        """Nobody leads."""
        return self.holding == len(self._lines)

    @property
    def alone(self) -> bool:
        """Exactly one is joined."""
        return self.holding == len(self._lines) - 1

    @property
    def held(self) -> int:
        """How many messages wait for proof."""
        return sum(len(line.held) for line in self._lines.values())

    @property
    def until_ms(self) -> int | None:
        """When the first has waited for long enough, Unix ms; None: nothing is waited for."""
        waiting = (line.until_ms for line in self._lines.values() if line.held and line.until_ms is not None)
        return min(waiting, default=None) if self.holding else None

    def enter(self, id: LineId) -> Line:
        """Add a line: it is joined if no other is.

        Raises:
            ValueError: It has entered already.
        """
        if id in self._lines:
            raise ValueError(f"{id!r} has entered already")
        line = Line(id)
        if self.none_joined:
            line.joined = True
        else:
            self.holding += 1
        self._lines[id] = line
        return line

    def remove(self, id: LineId) -> Line | None:
        """Remove a line that has ended; return it, None if it was not there."""
        line = self._lines.pop(id, None)
        if line is not None:
            self._track.forget(id)
            self.holding -= not line.joined
        return line

    def join(self, line: Line) -> deque[bytes]:
        """A line is proven to continue; return what it has held."""
        line.joined = True
        self.holding -= 1
        return line.release()

    def part(self, line: Line) -> None:
        """A joined line is not proven to continue any more; others are, or will be."""
        line.joined = line.fresh = line.doubtful = False
        self.holding += 1
        self._track.dropped(line.id)

    def heir(self, whole: bool = False) -> Line | None:
        """Return the first line that holds something, or (`whole`) something to begin with."""
        for line in self._lines.values():
            if line.held and not (whole and not self._track.whole(line.held[0])):
                return line
        return None


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
