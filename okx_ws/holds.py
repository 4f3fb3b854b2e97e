"""`Hold`: the outlet of a stream with a hole, which keeps what comes after the hole until that is filled.

Law. A marker begins a repair; what follows it is held back until the repair has what it needs, or its time or room is
up; then marker, backfilled messages and held ones go on, in this order. What the repair has told is not handed on a
second time, if it comes late. Only the link's thread touches a hold.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import orjson

from .errors import OkxWsError, RestError
from .protocol import codec, gaps
from .protocol.backfill import LAG_S, Ask, Repair, Unusable
from .protocol.memories import Memory
from .protocol.reconcile import repair_of
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream

__all__ = ["Hold"]

#: Messages of one stream that wait for a repair at the most.
MAX_HELD = 10_000

#: A repair that is better begun with the first message after the hole waits for it so long: REST has caught up by then.
QUIET_S = 1.0

#: A question whose answers are errors or cannot be right is asked so often.
ATTEMPTS = 3

#: REST may be quicker than the stream: after a repair, messages of what it told may still be under way for so long.
LATE_S = 2.0


class Owner(Protocol):
    """What a hold needs of `Recovery`.

    Attributes:
        markers: Markers are wanted.
        timeout_s: How long messages wait at the most.
        ended: Nothing more will come: what is held goes on, unrepaired.
        link: The connection.
    """

    markers: bool
    timeout_s: float
    ended: bool

    @property
    def link(self) -> object:
        """See above."""

    def memory_of(self, stream: Stream) -> Memory | None:
        """Return what was learnt from a stream for repairs; None if nothing has to be."""

    def ask(self, hold: Hold, ask: Ask, deadline: float) -> None:
        """Have a question asked; the answer goes to `Hold.answered`."""

    def wake_at(self, at: float) -> None:
        """Have `Hold.go_on` called at that time (monotonic)."""

    def hand_over(self, outlet: Outlet, batch: list[bytes]) -> None:
        """Deliver messages."""

    def tell(self, stream: Stream, marker: dict[str, Any], filled: int) -> None:
        """Tell how a hole has ended."""

    def tell_hole(self, stream: Stream, cause: str, since_ms: int) -> None:
        """Tell of a hole that was suspected only, until REST was asked."""


class Work:
    """A repair under way.

    Attributes:
        repair: Decides.
        marker: The hole's, decoded.
        deadline: When it ends, whatever it has (monotonic).
        first_by: Until then it waits for a first message.
        asked: The question under way.
        failures: Answers in a row that were none.
        doubt: What was wrong with the last one.
        error: Why it cannot go on.
    """

    def __init__(self, repair: Repair, marker: dict[str, Any], now: float, deadline: float) -> None:
        self.repair = repair
        self.marker = marker
        self.deadline = deadline
        self.first_by = min(now + QUIET_S, deadline) if repair.awaits else now
        self.asked: Ask | None = None
        self.failures = 0
        self.doubt = ""
        self.error = ""
        #: It may be that nothing is missing: then nothing is told.
        self.suspected = bool(marker.pop("suspected", False))
        #: How many of the held messages it was shown.
        self.shown = 0

    def failed(self, why: str, again: bool) -> None:
        """A question was answered with an error, or a lie: it may be asked `again`, a few times."""
        self.failures += 1
        self.doubt = why
        if not again or self.failures >= ATTEMPTS:
            self.error = why

    def missing(self) -> str:
        """Return what could not be had, and why; empty if nothing is missing."""
        missing = self.repair.missing()
        return f"{missing} ({self.error})" if missing and self.error else missing


class Hold:
    """The outlet of a stream with a hole.

    Args:
        owner: Asks REST, and delivers.
        stream: Whose it is.
        direct: Where its messages go.
        last: The newest message before the hole, if the stream itself does not know it.

    Attributes:
        direct: Where its messages go; whoever makes outlets sets it.
    """

    def __init__(self, owner: Owner, stream: Stream, direct: Outlet, last: bytes | None = None) -> None:
        self.stream = stream
        self.direct = direct
        self.work: Work | None = None
        self._owner = owner
        #: The newest message that was handed on, or came before the hole.
        self._last = last or stream.hole_last
        #: Messages, and markers between them.
        self._held: deque[bytes] = deque()
        #: When the markers among them came.
        self._marked: deque[float] = deque()
        #: The repair that is over, while messages may still come that it has told, and until when that may be.
        self._past: Work | None = None
        self._past_until = float("inf")

    # ------------------------------------------------------------------ what arrives

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        return self.direct.congested

    def deliver(self, batch: list[bytes]) -> bool:
        """Take messages; they go on at once if no repair is under way."""
        now = time.monotonic()
        self._held.extend(batch)
        self._marked.extend(now for payload in batch if gaps.is_marker(payload))
        self.go_on(now)
        return self.congested

    def answered(self, ask: Ask, answer: list[Any] | OkxWsError) -> None:
        """REST has answered, or failed."""
        work = self.work
        if work is None or work.asked is not ask:
            return
        work.asked = None
        try:
            if isinstance(answer, list):
                work.repair.take(ask, answer)
                work.failures = 0
            elif not (isinstance(answer, RestError) and work.repair.refused(ask, answer.code)):
                work.failed(str(answer), again=isinstance(answer, RestError))
        except Unusable as exc:
            work.failed(f"REST {ask.path}: {exc}", again=True)
        self.go_on(time.monotonic())

    # ------------------------------------------------------------------ what follows

    def go_on(self, now: float) -> None:
        """Do all that can be done now."""
        while self.work is None or self._is_over(self.work, now):
            if self.work is not None:
                self._conclude(self.work, now)
            self._pass_on(now)
            if not self._held:
                return
            self._begin(now)

    def _is_over(self, work: Work, now: float) -> bool:
        self._show(work)
        if self._owner.ended:
            work.error = work.error or "the link has ended"
        elif self.stream.refusal is not None:  # who waits for its messages is told so at once
            work.error = work.error or "it was refused when it was subscribed again"
        if work.error or now >= work.deadline or len(self._held) > MAX_HELD:
            work.error = work.error or work.doubt or "the time, or the room for what waits, was up"
            return True
        if work.asked is not None or (work.repair.waits and now < work.first_by):
            return False
        ask = work.repair.next_ask()
        if ask is None:
            return True
        if work.failures:
            ask = ask._replace(pause_s=max(ask.pause_s, LAG_S * work.failures))
        work.asked = ask
        self._owner.ask(self, ask, work.deadline)
        return False

    def _show(self, work: Work) -> None:
        """Show the repair what came after the hole, up to the next one; one that follows at once is the same hole."""
        while work.repair.watching and work.shown < len(self._held):
            payload = self._held[work.shown]
            if gaps.is_marker(payload):
                if work.shown:
                    return
                self.stream.grew = False
                same = codec.decode(self._held.popleft())
                work.marker["until_ms"] = same["until_ms"]
                work.suspected = work.suspected and "suspected" in same
                self._marked.popleft()
                continue
            work.shown += 1
            work.repair.see(payload)

    def _begin(self, now: float) -> None:
        """A marker is at the head: begin its repair."""
        marker = codec.decode(self._held.popleft())
        came = self._marked.popleft()
        arg = self.stream.arg
        last = self._last
        head = codec.head_of(last) if last is not None else orjson.dumps({"arg": arg})[:-1]
        told_ms = gaps.time_of(last, newest=True) if last is not None else None
        if told_ms is not None:  # by a repair, of which whoever began this hole knows nothing
            marker["since_ms"] = min(max(marker["since_ms"], told_ms), marker["until_ms"])
        repair = repair_of(arg, head, last, marker["since_ms"], self._owner.memory_of(self.stream))
        assert repair is not None  # else there would be no hold
        self.work = Work(repair, marker, now, came + self._owner.timeout_s)
        self.stream.filling = True
        if self.stream.grew:  # behind the hole that was thought to grow, which had just ended
            self.stream.grew = False
            self._owner.tell_hole(self.stream, marker["cause"], marker["since_ms"])
        self._past = None
        self._owner.wake_at(self.work.first_by)
        self._owner.wake_at(self.work.deadline)

    def _conclude(self, work: Work, now: float) -> None:
        self.work = None
        self.stream.filling = False
        missing = work.missing()
        filled = work.repair.messages()
        self._bound(work, filled)
        told = gaps.settled(work.marker, missing)
        if filled:
            self._last = filled[-1]
        self._past = work
        self._past_until = now + LATE_S
        if work.suspected and not missing and not filled:
            return
        if work.suspected:
            self._owner.tell_hole(self.stream, told["cause"], told["since_ms"])
        self._owner.tell(self.stream, told, len(filled))
        marker = [orjson.dumps(told)] if self._owner.markers else []
        self._owner.hand_over(self.direct, marker + filled)

    def _bound(self, work: Work, filled: list[bytes]) -> None:
        """A hole ends with the first message after it; where none has come, with what fills it, at the least."""
        marker = work.marker
        first_ms = gaps.time_of(self._held[0], newest=True) if work.shown else None
        if first_ms is not None:
            marker["until_ms"] = max(marker["since_ms"], first_ms)
        elif filled:
            marker["until_ms"] = max(marker["until_ms"], gaps.time_of(filled[-1], newest=True) or 0)

    def _pass_on(self, now: float) -> None:
        """Hand on what is held, up to the next marker."""
        batch = []
        while self._held and not gaps.is_marker(self._held[0]):
            payload = self._held.popleft()
            place = self._place_of(payload, now) if self._past is not None else "next"
            if place == "known":
                continue
            if place == "gap":  # REST had not yet had everything when it was asked
                self._held.appendleft(payload)
                self._held.appendleft(self._second_marker(payload))
                self._marked.appendleft(now)
                break
            batch.append(payload)
            self._last = payload
        self._owner.hand_over(self.direct, batch)

    def _place_of(self, payload: bytes, now: float) -> str:
        assert self._past is not None  # the caller has seen it
        repair = self._past.repair
        place = repair.place_of(payload)
        if place == "known" and now > self._past_until:
            place = "next"  # nothing is under way for so long: numbers have begun anew
        if place == "gap" and self._past.error:
            place = "next"  # which the marker has told already
        if repair.ordered and place != "known":
            self._past = None
        return place

    def _second_marker(self, payload: bytes) -> bytes:
        since_ms = gaps.time_of(self._last, newest=True) if self._last is not None else None
        until_ms = gaps.time_of(payload, newest=True) or 0
        bounds = (since_ms or until_ms, max(until_ms, since_ms or 0))
        return gaps.suspicion(self.stream.arg, self.stream.hole_cause, *bounds)

    @property
    def due(self) -> float:
        """When `go_on` has something to do, if nothing comes before."""
        work = self.work
        if work is None:
            return float("inf")
        if work.asked is None:  # it waits for a first message
            return work.first_by
        return work.deadline

    @property
    def is_idle(self) -> bool:
        """Nothing waits here."""
        return self.work is None and not self._held

    @property
    def last(self) -> bytes | None:
        """The newest message that was handed on, or came before the hole."""
        return self._last

    def may_go(self, now: float) -> bool:
        """Tell whether nothing waits here, nor is under way that was told already."""
        if not self.is_idle or (self.stream.hole_since_ms is not None and self.stream.link is self._owner.link):
            return False
        return self._past is None or now > self._past_until

    def is_settled(self, now: float) -> bool:
        """Tell whether messages need not come through here any more: the first one has been looked at, too."""
        return self.may_go(now) and (self._past is None or not self._past.repair.ordered)
