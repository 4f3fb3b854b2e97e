"""The holes of one endpoint's streams: how each begins, what it is told as, and what ends it.

Law. A stream has one hole at a time, however much is missing: it begins after the newest message, and ends

1. with the next message, before which its marker goes (the sorter's part: see `Sorter`);
2. with the acknowledgement, where what fills it need not wait for a message;
3. with the end of the stream, since no message will come.

The markers of 2 and 3 have no message to go before: they wait in `marked`. What the twin of a stream brings is not
missing: whoever merges the two counts and tells what is.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import codec, gaps
from .login import ClockState
from .reconcile import can_repair
from .routing import Batch, Routes
from .skew import skew_of
from .subscriptions import Stream
from .telling import Teller, hole_began, hole_ended

__all__ = ["Holes", "end_hole"]


def end_hole(stream: Stream, until_ms: int) -> bytes:
    """End a stream's hole; return the text of its marker."""
    since_ms, stream.hole_since_ms = stream.hole_since_ms, None
    assert since_ms is not None  # there is a hole
    lost = 1 if stream.hole_cause == "malformed" else None
    missing = ""
    if not stream.held and not gaps.heals(stream.arg, stream.hole_cause):
        known = can_repair(stream.arg)
        missing = f"all of it: {'REST was not asked' if known else 'REST has no record of this channel'}"
    return gaps.marker(stream.arg, stream.hole_cause, since_ms, max(since_ms, until_ms), lost, missing)


class Holes:
    """The holes of one endpoint's streams.

    Args:
        routes: Where what comes after a hole has to be looked at anew.
        teller: Told of holes that nobody else tells of.
        markers: Who reads wants markers; without, only where an outlet wants them (`Stream.held`).
        clock: OKX's, if anybody asks for it.

    Attributes:
        markers: As given; changes take effect at once.
        merged: Somebody merges these streams with their twins; he counts and tells what both lack.
        marked: Markers of holes that no message ends. Not yet taken by the owner.
        now, now_ms: When something last arrived: monotonic, and by our clock (Unix ms); told by the session.
    """

    def __init__(self, routes: Routes, teller: Teller, markers: bool, clock: ClockState | None = None) -> None:
        self._routes = routes
        self._teller = teller
        self._clock = clock
        self.markers = markers
        self.merged = False
        self.marked: list[Batch] = []
        self.now = 0.0
        self.now_ms = 0
        #: By how many ms OKX's clock is ahead of ours, and for which moment that was found.
        self._skew = (0, 0.0)

    def take_marked(self) -> list[Batch]:
        """Hand over the markers of holes that no message ends."""
        taken, self.marked = self.marked, []
        return taken

    @property
    def _skew_ms(self) -> int:
        """By how much OKX's clock is ahead of ours: looked for once a moment, not for each of a thousand streams."""
        if self._skew[1] != self.now:
            self._skew = (skew_of(self._clock, self._routes, self.now, self.now_ms), self.now)
        return self._skew[0]

    @property
    def _until_ms(self) -> int:
        """What has been made until now, by either clock."""
        return self.now_ms + max(0, self._skew_ms)

    # ------------------------------------------------------------------ how one begins

    def begin(
        self, stream: Stream, cause: str, since_ms: int | None = None, told: bool = True, begun: bool = False
    ) -> None:
        """What a stream sends from here on until its next message is missing; its outlets are made anew.

        `told`: events tell of it, not an order book; `begun`: that it begins was counted and told already.
        """
        if stream.hole_since_ms is not None:
            return
        newest = stream.newest
        seen_ms = None if newest is None else gaps.time_of(newest, newest=True)
        since_ms = since_ms or seen_ms or (stream.active_ms or self.now_ms) + self._skew_ms
        stream.hole_since_ms = since_ms
        grows = stream.filling and newest is stream.hole_last  # nothing has come since: it is the same hole
        stream.hole_cause, stream.hole_told, stream.hole_last = cause, told, newest
        self._routes.forget_heads(stream)
        if not stream.holders:
            return
        if not stream.routes:
            self._routes.of_arg(stream.arg)  # there may never come a message that would make it
        self._routes.reconnect([stream])
        stream.grew = grows
        if self.merged or grows or begun:
            return
        stream.gaps += 1
        if told:
            self._teller.tell(arg=stream.arg, **hole_began(cause, since_ms))

    def malformed(self, stream: Stream, payload: bytes) -> int:
        """A message of the stream cannot be read: if it has no time, it was made after the one before it.

        Returns:
            Until when it was made, Unix ms.
        """
        self.begin(stream, "malformed", gaps.time_of(payload))
        return gaps.time_of(payload, newest=True) or self._until_ms

    def link_lost(self, streams: Iterable[Stream], up_since: float) -> None:
        """The link is gone: what was active on it (monotonic `up_since`) has a hole."""
        for stream in streams:
            if not stream.covered and self.has_begun(stream, up_since):
                self.begin(stream, "disconnect")

    def has_begun(self, stream: Stream, up_since: float) -> bool:
        """Tell whether what a stream sends is missing if it does not come, on a link since then (monotonic)."""
        if stream.swallowed:
            return False
        # Data counts as much as an acknowledgement, which may have been lost.
        flows = stream.acked or any(route.last_at >= up_since for route in stream.routes)
        return flows or stream.hole_since_ms is not None

    def share(self, stream: Stream) -> None:
        """What is missing from the twin, is missing: whichever is first to bring something tells it."""
        twin = stream.twin
        if twin is not None and stream.hole_since_ms is None:
            stream.hole_since_ms, stream.hole_cause = twin.hole_since_ms, twin.hole_cause
            stream.hole_told, stream.hole_last = twin.hole_told, twin.hole_last
            self._routes.forget_heads(stream)

    def moved(self, stream: Stream) -> None:
        """The newest message of a stream is another one than was thought: its hole begins after that."""
        newest = stream.newest
        if stream.hole_since_ms is not None and newest is not None:
            stream.hole_last = newest
            stream.hole_since_ms = gaps.time_of(newest, newest=True) or stream.hole_since_ms

    # ------------------------------------------------------------------ how one ends

    def over(self, stream: Stream, marker: bytes) -> None:
        """A hole has ended: tell how, unless somebody else does, later."""
        stalled, stream.stalls = stream.stalls > 0, 0
        if stream.held or self.merged:
            return
        told = codec.decode(marker)
        stream.repairs += told["repaired"]
        if stream.hole_told:
            self._teller.tell(arg=stream.arg, **hole_ended(told, stalled))

    def acknowledged(self, stream: Stream) -> None:
        """The server has the stream again: what fills its hole need not wait for a message, there may be none."""
        if stream.held and stream.hole_since_ms is not None and stream.routes:
            self.marked.append((stream.routes[0].outlet, [end_hole(stream, self._until_ms)]))

    def end(self, stream: Stream) -> None:
        """The stream has ended: a hole it has, or has from now on, will not end with a message any more."""
        if stream.live:
            self.begin(stream, "disconnect")
        if stream.hole_since_ms is not None:
            marker = end_hole(stream, self._until_ms)
            if self.markers or stream.held:
                self.marked += [(route.outlet, [marker]) for route in stream.routes if route.outlet is not None]
            self.over(stream, marker)
