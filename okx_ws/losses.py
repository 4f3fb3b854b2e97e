"""What a full queue lets go: counted, told, and marked at its place; and what the rest of it weighs.

Law. No lock is taken here: whoever owns the queue's lock calls. Messages are payloads as they came; anything else
counts as a message without a name.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

from .protocol import codec, gaps

__all__ = ["Losses", "Weight", "arg_of", "now_ms"]

#: While a queue goes on overflowing, its losses are told this often.
TELL_EVERY_S = 1.0


def now_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def arg_of(payload: bytes) -> bytes:
    """Return what tells args apart in payloads: a book's snapshots and updates have one arg and two heads."""
    return codec.head_of(payload).partition(b"}")[0]


class Holes:
    """What is missing at one end of a queue, by arg."""

    def __init__(self) -> None:
        self._lost: dict[bytes, gaps.Lost] = {}
        #: Markers that were dropped with the messages around them: they are handed out nevertheless.
        self._kept: dict[bytes, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._lost or self._kept)

    def add(self, payload: bytes) -> None:
        """A message is missing."""
        arg = arg_of(payload)
        if arg not in self._lost:
            self._lost[arg] = gaps.Lost(payload)
        self._lost[arg].add(payload)

    def keep(self, marker: bytes) -> None:
        """A marker has no place in the queue; those of one arg and cause become one."""
        whose = marker.partition(b',"since_ms"')[0]
        known = self._kept.get(whose)
        self._kept[whose] = marker if known is None else gaps.merged(known, marker)

    def next_marker(self) -> bytes | None:
        """Return a marker of what is missing, whatever its arg; None if there is none."""
        if self._kept:
            return self._kept.pop(next(iter(self._kept)))
        while self._lost:
            marker = self._lost.pop(next(iter(self._lost))).marker(now_ms())
            if marker is not None:
                return marker
        return None

    def markers_before(self, payload: bytes) -> list[bytes]:
        """Return the markers that belong before this message: those that were kept, and that of its own arg."""
        markers = list(self._kept.values())
        self._kept.clear()
        lost = self._lost.pop(arg_of(payload), None)
        marker = lost.marker(now_ms()) if lost is not None else None
        return markers if marker is None else [*markers, marker]


class Losses:
    """What a queue has dropped.

    Args:
        markers: Holes are to be marked.

    Attributes:
        head, tail: What was dropped from the head, and what was refused at the tail, since it was last marked.
        dropped: Messages dropped, ever.
        untold: Those that nobody has been told of, by their head.
    """

    def __init__(self, markers: bool) -> None:
        self._markers = markers
        self.head, self.tail = Holes(), Holes()
        self.dropped = 0
        self.untold: Counter[bytes] = Counter()
        self._told_at = -TELL_EVERY_S

    def lose(self, payload: bytes, holes: Holes) -> None:
        """A message is dropped; a marker is kept."""
        if gaps.is_marker(payload):
            holes.keep(payload)
            return
        self.dropped += 1
        self.untold[codec.head_of(payload)] += 1
        if self._markers and payload:
            holes.add(payload)

    def to_tell(self, now: float, at_once: bool) -> Counter[bytes] | None:
        """Return what is to be told: the first loss at once, more of them at intervals; None: later."""
        if not at_once and now < self._told_at + TELL_EVERY_S:
            return None
        told, self.untold = self.untold, Counter()
        if told:
            self._told_at = now
        return told


class Weight:
    """The bytes in a queue, counted without touching what takes from it.

    Marks note how many bytes had come with how many messages; what has left is known, to the precision of a mark, from
    the number of messages left.

    Args:
        most: The queue's limit, which says how precise a mark must be.
    """

    def __init__(self, most: int) -> None:
        self._mark_bytes = min(65_536, most // 64)
        self._came = 0
        self._came_bytes = 0
        self._gone_bytes = 0
        #: Of the first mark's bytes, those that were dropped.
        self._dropped_bytes = 0
        self._marks: deque[tuple[int, int]] = deque()

    def add(self, batch: list[Any]) -> None:
        """Messages have come."""
        self._came += len(batch)
        self._came_bytes += sum(map(len, batch))
        marks = self._marks
        # A mark within reach of the one before it replaces it, so that small batches do not cost a mark each.
        before = marks[-2][1] if len(marks) > 1 else self._gone_bytes
        if marks and self._came_bytes - before <= self._mark_bytes:
            marks[-1] = (self._came, self._came_bytes)
        else:
            marks.append((self._came, self._came_bytes))

    def drop(self, item: Any) -> None:
        """A message was dropped from the head."""
        self._dropped_bytes += len(item)

    def of(self, left: int) -> int:
        """Return the bytes of what is left, so many messages, or a little more."""
        taken = self._came - left
        marks = self._marks
        while marks and marks[0][0] <= taken:
            self._gone_bytes = marks.popleft()[1]
            self._dropped_bytes = 0
        return self._came_bytes - self._gone_bytes - self._dropped_bytes

    def exceeds(self, most: int, left: int) -> bool:
        """Tell whether what is left weighs more than `most`."""
        # First with what is known to be gone: nearly always that says enough.
        return self._came_bytes - self._gone_bytes > most and self.of(left) > most
