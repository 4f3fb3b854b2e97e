"""Filling holes from REST, in place: a hole's messages come before the first live one after it, each once, in order.

Law. A stream with a hole gets a `Hold` for an outlet. The hole's marker begins a repair; what follows it is held back
until the repair has what it needs, or its time or room is up; then marker, backfilled messages and held ones go on, and
the outlet is direct again: in ordinary life nothing here touches a message. The link's thread alone touches holds; the
worker only asks REST, and leaves its answers where the link's thread looks next. All deliveries are made on the link's
thread, outside every lock.

    hole begins → (marker: acknowledged, or the first message) → asking, holding → told, delivered → direct
                   ↑ the link falls: another hole, another marker, behind what is held ↲
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from .config import Settings
from .errors import OkxWsError, RestError
from .events import Event
from .fallback import Fallback, Link
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .protocol import codec, gaps
from .protocol.backfill import Ask, Repair, Unusable, rows_of
from .protocol.reconcile import OrderMemory, repair_of
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream

__all__ = ["Recovery"]

log = logging.getLogger(__name__)

#: Messages of one stream that wait for a repair at the most.
MAX_HELD = 10_000

#: A repair that is better begun with the first message after the hole waits for it so long: REST has caught up by then.
QUIET_S = 1.0

#: REST may be quicker than the stream: after a repair, messages of what it told may still be under way for so long.
LATE_S = 2.0


class Remembering:
    """An outlet that learns which orders are open. Orders are few: each push is decoded here once more."""

    def __init__(self, outlet: Outlet, memory: OrderMemory) -> None:
        self.outlet = outlet
        self._memory = memory

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        return self.outlet.congested

    def deliver(self, batch: list[bytes]) -> bool:
        """Learn, and hand on."""
        for payload in batch:
            self._memory.learn(rows_of(payload))
        return self.outlet.deliver(batch)


class Work:
    """A repair under way.

    Attributes:
        repair: Decides.
        marker: The hole's, decoded.
        deadline: When it ends, whatever it has (monotonic).
        first_by: Until then it waits for a first message.
        asked: The question under way.
        error: Why it cannot go on.
    """

    def __init__(self, repair: Repair, marker: dict[str, Any], now: float, deadline: float) -> None:
        self.repair = repair
        self.marker = marker
        self.deadline = deadline
        self.first_by = min(now + QUIET_S, deadline) if repair.awaits else now
        self.asked: Ask | None = None
        self.error = ""
        #: How many of the held messages it was shown.
        self.shown = 0

    def missing(self) -> str:
        """Return what could not be had, and why; empty if nothing is missing."""
        missing = self.repair.missing()
        return f"{missing} ({self.error})" if missing and self.error else missing


class Hold:
    """The outlet of a stream with a hole.

    Args:
        owner: Asks REST, and delivers.
        stream: Whose it is.

    Attributes:
        direct: Where its messages go; whoever makes outlets sets it.
    """

    def __init__(self, owner: Recovery, stream: Stream, direct: Outlet) -> None:
        self.stream = stream
        self.direct = direct
        self.work: Work | None = None
        self._owner = owner
        #: The newest message that was handed on, or came before the hole.
        self._last = stream.hole_last
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
            elif not (isinstance(answer, RestError) and work.repair.refused(ask, answer.code)):
                work.error = str(answer)
        except Unusable as exc:
            work.error = f"REST {ask.path}: {exc}"
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
        if work.error or now >= work.deadline or len(self._held) > MAX_HELD:
            work.error = work.error or "the time, or the room for what waits, was up"
            return True
        if work.asked is not None or (work.repair.watching and now < work.first_by):
            return False
        ask = work.repair.next_ask()
        if ask is None:
            return True
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
                work.marker["until_ms"] = codec.decode(self._held.popleft())["until_ms"]
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
        repair = repair_of(arg, head, last, marker["since_ms"], self._owner.memory_of(self.stream))
        assert repair is not None  # else there would be no hold
        self.work = Work(repair, marker, now, came + self._owner.timeout_s)
        self._past = None
        self._owner.wake_at(self.work.first_by)
        self._owner.wake_at(self.work.deadline)

    def _conclude(self, work: Work, now: float) -> None:
        self.work = None
        missing = work.missing()
        filled = work.repair.messages()
        self._bound(work, filled)
        told = gaps.settled(work.marker, missing)
        if filled:
            self._last = filled[-1]
        if self._owner.markers:
            filled.insert(0, orjson.dumps(told))
        self._owner.tell(self.stream, told, len(filled) - self._owner.markers)
        self._past = work
        self._past_until = now + LATE_S
        self._owner.hand_over(self.direct, filled)

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
        if repair.awaits and place != "known":
            self._past = None
        return place

    def _second_marker(self, payload: bytes) -> bytes:
        since_ms = gaps.time_of(self._last, newest=True) if self._last is not None else None
        until_ms = gaps.time_of(payload, newest=True) or 0
        bounds = (since_ms or until_ms, max(until_ms, since_ms or 0))
        self._owner.tell_hole(self.stream, bounds[0])
        return gaps.marker(self.stream.arg, self.stream.hole_cause, *bounds)

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

    def is_settled(self, now: float) -> bool:
        """Tell whether messages need not come through here any more."""
        if not self.is_idle or (self.stream.hole_since_ms is not None and self.stream.link is self._owner.link):
            return False
        return self._past is None or (now > self._past_until and not self._past.repair.awaits)


class Recovery:
    """The holes of one connection.

    Args:
        rest: Asked, on the worker's thread only.
        worker: Runs the questions, in turns.
        settings: Whether, and for how long.
        tell: Takes events.
        outlet_of: Makes outlets as they are without holes; see `Routes`.
        link: The connection.
    """

    def __init__(
        self,
        rest: RestClient,
        worker: RestWorker,
        settings: Settings,
        tell: Callable[[Event], None],
        outlet_of: Callable[[list[Stream], Mapping[str, Any]], Outlet | None],
        link: Link,
    ) -> None:
        self.endpoint = link.endpoint
        self.markers = settings.markers
        self.timeout_s = settings.backfill_timeout
        self._on = settings.backfill
        self._rest = rest
        self._worker = worker
        self._tell = tell
        self._outlet_of = outlet_of
        self.link = link
        self._fallback = Fallback(rest, worker, settings, tell, link, self._outlet_without_link)
        #: Nothing more will come.
        self.ended = False
        self._holds: dict[Stream, Hold] = {}
        self._memories: dict[Stream, OrderMemory] = {}
        self._answers: deque[tuple[Callable[[list[Any] | OkxWsError], None], list[Any] | OkxWsError]] = deque()

    # ------------------------------------------------------------------ outlets

    def outlet_of(self, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where pushes with this arg go: through a hold, if one of these streams has a hole that can be filled.

        Called under the connection's mutex.
        """
        direct = self._outlet_of(streams, arg)
        if direct is None or not self._on:
            for stream in streams:
                self._forget(stream)
            return direct
        for stream in streams:
            if stream.arg["channel"] == "orders":
                direct = Remembering(direct, self.memory_of(stream))
                break
        for stream in streams:
            hold = self._holds.get(stream)
            if hold is None and stream.hole_since_ms is not None and can_repair(stream.arg):
                hold = self._holds[stream] = Hold(self, stream, direct)
                stream.held = True
            if hold is not None:
                hold.direct = direct
                return hold
        return direct

    def memory_of(self, stream: Stream) -> OrderMemory:
        """Return what is known of a stream's open orders."""
        return self._memories.setdefault(stream, OrderMemory())

    def _forget(self, stream: Stream) -> None:
        self._holds.pop(stream, None)
        self._memories.pop(stream, None)
        stream.held = False

    # ------------------------------------------------------------------ the link's thread

    def upkeep(self, now: float) -> float:
        """Go on with the repairs; return when to be called again (monotonic)."""
        due = self._fallback.upkeep(now)
        while self._answers:
            then, answer = self._answers.popleft()
            then(answer)
        if not self._holds:
            return due
        for stream, hold in list(self._holds.items()):
            if now >= hold.due and self._holds.get(stream) is hold:
                hold.go_on(now)
        self._release(now)
        return min([due, *(hold.due for hold in list(self._holds.values()))])

    def finish(self) -> None:
        """The thread ends: hand on what is held, unrepaired."""
        self.ended = True
        for hold in list(self._holds.values()):
            hold.go_on(time.monotonic())
        self._holds.clear()

    def _release(self, now: float) -> None:
        settled = [stream for stream, hold in list(self._holds.items()) if hold.is_settled(now)]
        if settled:
            with self.link.mutex:
                for stream in settled:
                    self._holds.pop(stream, None)
                    if stream.link is self.link:  # else it has moved to another link, which holds it now
                        stream.held = False
                        self.link.session.routes.reconnect([stream])

    def _outlet_without_link(self, stream: Stream) -> Outlet | None:
        """Return where a stream's messages go; None while some are held that come first."""
        with self.link.mutex:
            routes = stream.routes or [self.link.session.routes.of_arg(stream.arg)]
            hold = self._holds.get(stream)
            if hold is None:
                return routes[0].outlet  # type: ignore[no-any-return]  # see `Link.session`
            return hold.direct if hold.is_idle else None

    def hand_over(self, outlet: Outlet, batch: list[bytes]) -> None:
        """Deliver messages."""
        if batch:
            self.link.hand_over(outlet, batch)

    def tell_hole(self, stream: Stream, since_ms: int) -> None:
        """Tell of a hole that was found behind a repair."""
        hole = {"cause": stream.hole_cause, "since_ms": since_ms}
        msg = f"{stream.hole_cause}: what came after {since_ms} (Unix ms) is missing"
        self._tell(Event("gap", self.endpoint, stream.arg, msg=msg, data=hole))

    def tell(self, stream: Stream, marker: dict[str, Any], filled: int) -> None:
        """Tell how a hole has ended."""
        if marker["repaired"]:
            event = Event("repaired", self.endpoint, stream.arg, msg=f"{filled} messages over REST", data=marker)
        else:
            event = Event("gap", self.endpoint, stream.arg, msg=f"not repaired: {marker['missing']}", data=marker)
        self._tell(event)

    # ------------------------------------------------------------------ REST

    def ask(self, hold: Hold, ask: Ask, deadline: float) -> None:
        """Have a question asked, in turn with those of others; the answer goes to the hold."""
        work = hold.work
        self.fetch(ask, deadline, partial(hold.answered, ask), lambda: hold.work is work)

    def fetch(
        self, ask: Ask, until: float, then: Callable[[list[Any] | OkxWsError], None], wanted: Callable[[], bool]
    ) -> None:
        """Ask on the worker's thread, and call `then` with the answer on the link's; no more if it is not `wanted`."""

        def job() -> None:
            if not wanted():
                return
            try:
                params: dict[str, Any] = {**ask.params}
                room_s = self._rest.room_in(ask.path, **params)
                if 0 < room_s < until - time.monotonic():  # others, whose limits have room, shall not wait behind this
                    self._worker.submit(job, room_s)
                    return
                answer: list[Any] | OkxWsError = self._rest.get(
                    ask.path, timeout=max(0.001, until - time.monotonic()), **params
                )
            except OkxWsError as exc:
                answer = exc
            except Exception as exc:  # a bug of ours must not leave anybody waiting
                log.exception("a question to REST failed")
                answer = OkxWsError(f"{type(exc).__name__}: {exc}")
            self._answers.append((then, answer))
            self.link.poke()

        self._worker.submit(job, ask.pause_s)

    def wake_at(self, at: float) -> None:
        """Have the link's thread look at that time (monotonic), also while there is no link."""
        self._worker.submit(self.link.poke, max(0.0, at - time.monotonic()))


def can_repair(arg: Mapping[str, str]) -> bool:
    """Tell whether REST has what such a stream sends."""
    return repair_of(arg, b"", None, 0, OrderMemory()) is not None
