"""Filling holes from REST, in place: a hole's messages come before the first live one after it, each once, in order.

Law. A stream with a hole gets a `Hold` for an outlet, and a direct one again when all is settled: in ordinary life
nothing here touches a message. The link's thread alone touches holds; the worker only asks REST, and leaves its answers
where the link's thread looks next. All deliveries are made on the link's thread, outside every lock.

    hole begins → (marker: acknowledged, or the first message) → asking, holding → told, delivered → direct
                   ↑ the link falls: another hole, another marker, behind what is held ↲
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .config import Settings
from .delivery import FanOut
from .errors import OkxWsError
from .events import Event
from .fallback import Fallback, Link
from .holds import Hold
from .mending import Mending, apart, wants_repair
from .net.rest_client import RestClient
from .net.worker import RestWorker, answer_of
from .protocol.backfill import Ask, rows_of
from .protocol.memories import Memory, memory_of
from .protocol.reconcile import can_repair
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream
from .protocol.telling import hole_began

__all__ = ["Recovery"]


class Remembering:
    """An outlet from which a memory learns. Orders, fills and option trades are few: each is decoded here once more."""

    def __init__(self, outlet: Outlet, memory: Memory) -> None:
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
        #: What is to be done on the link's thread, now that REST has answered.
        self._answered: deque[Callable[[], None]] = deque()

    # ------------------------------------------------------------------ outlets

    def outlet_of(self, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where pushes with this arg go: through a hold, if one of these streams has a hole that can be filled.

        Past it go those who mend themselves: held up, they would take for current what is not. Called under the
        connection's mutex.
        """
        whole = self._outlet_of(streams, arg)
        prompt, direct = apart(whole)
        if direct is None or not self._on:
            for stream in streams:
                self._forget(stream)
            return whole
        direct = self.learning(streams, direct)
        for stream in streams:
            hold = self._holds.get(stream)
            if hold is None and stream.hole_since_ms is not None and wants_repair(stream) and can_repair(stream.arg):
                hold = self._holds[stream] = Hold(self, stream, direct)
                stream.held = True
            if hold is not None:
                hold.direct = direct
                return FanOut([*prompt, hold]) if prompt else hold
        return FanOut([*prompt, direct]) if prompt else direct

    def learning(self, streams: list[Stream], outlet: Outlet) -> Outlet:
        """Return an outlet that learns on the way what later repairs need to know. Under the connection's mutex."""
        for stream in streams:
            memory = self.memory_of(stream) if self._on and wants_repair(stream) else None
            if memory is not None:
                return Remembering(outlet, memory)
        return outlet

    def mending(self, streams: list[Stream], later: Callable[[Callable[[], None]], None]) -> Mending | None:
        """Return what fills the holes of streams that two links carry; None if that cannot be done, or is not wanted.

        `later` has something done in the order of their messages. Called under the connection's mutex.
        """
        for stream in streams:
            if self._on and wants_repair(stream) and can_repair(stream.arg):
                return Mending(self, stream, later)
        return None

    def memory_of(self, stream: Stream) -> Memory | None:
        """Return what was learnt from a stream, and its twin, for repairs; None if nothing has to be."""
        if stream.memory is None:
            twins = stream.twin.memory if stream.twin is not None else None
            stream.memory = twins or memory_of(stream.arg["channel"])
        if stream.twin is not None:
            stream.twin.memory = stream.memory
        memory: Memory | None = stream.memory
        return memory

    def _forget(self, stream: Stream) -> None:
        self._holds.pop(stream, None)
        stream.memory = None
        stream.held = stream.filling = False

    def depart(self, now: float) -> bool:
        """Let go of holds in which nothing waits, since the link is to be handed over; return whether none is left.

        What was handed on last is what the new link has to go on from. On the link's thread.
        """
        with self.link.mutex:
            for stream, hold in [pair for pair in self._holds.items() if pair[1].may_go(now)]:
                for route in stream.routes:
                    route.last = hold.last or route.last
                self._let_go(stream)
            return not self._holds

    # ------------------------------------------------------------------ the link's thread

    def upkeep(self, now: float) -> float:
        """Go on with the repairs; return when to be called again (monotonic)."""
        due = self._fallback.upkeep(now)
        self.settle()
        if not self._holds:
            return due
        for stream, hold in list(self._holds.items()):
            if now >= hold.due and self._holds.get(stream) is hold:
                hold.go_on(now)
        self._release(now)
        return min([due, *(hold.due for hold in list(self._holds.values()))])

    def settle(self) -> None:
        """Hand on the answers of REST that have come."""
        while self._answered:
            self._answered.popleft()()

    def conclude(self) -> None:
        """Streams may move to other links: hand on what is held, unrepaired."""
        self.ended = True
        for hold in list(self._holds.values()):
            hold.go_on(time.monotonic())
        self.ended = False
        with self.link.mutex:
            for stream in list(self._holds):
                self._let_go(stream)

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
                    self._let_go(stream)

    def _let_go(self, stream: Stream) -> None:
        self._holds.pop(stream, None)
        if stream.link is self.link:  # else it has moved to another link, which holds it now
            stream.held = False
            self.link.session.routes.reconnect([stream])

    def _outlet_without_link(self, stream: Stream) -> Outlet | None:
        """Return where a stream's messages go; None while some are held that come first."""
        pair = self.link.pair
        if pair is not None:
            return pair.seams.outlet_without_links(stream)  # type: ignore[no-any-return]  # see `Link.pair`
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

    def tell_hole(self, stream: Stream, cause: str, since_ms: int) -> None:
        """Tell of a hole that was suspected only, until REST was asked."""
        stream.gaps += 1
        self._tell(Event(endpoint=self.endpoint, arg=stream.arg, **hole_began(cause, since_ms)))

    def tell(self, stream: Stream, marker: dict[str, Any], filled: int) -> None:
        """Tell how a hole has ended."""
        stream.repairs += marker["repaired"]
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
        self,
        ask: Ask,
        until: float,
        then: Callable[[list[Any] | OkxWsError], None],
        wanted: Callable[[], bool],
        hand_in: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Ask on the worker's thread, and call `then` with the answer on the link's; no more if it is not `wanted`.

        `hand_in` gets the call to be made, if another thread than this link's is to make it.
        """
        hand_in = hand_in or self._hand_in

        params: dict[str, Any] = {**ask.params}

        def question() -> list[Any] | None:
            room_s = self._rest.room_in(ask.path, **params)
            left_s = until - time.monotonic()
            if 0 < room_s < left_s:  # others, whose limits have room, shall not wait behind this
                self._worker.submit(job, room_s)
                return None
            return self._rest.get(ask.path, timeout=max(0.001, left_s), **params)

        def job() -> None:
            answer = answer_of(question) if wanted() else None
            if answer is not None:
                hand_in(partial(then, answer))

        self._worker.submit(job, ask.pause_s)

    def _hand_in(self, job: Callable[[], None]) -> None:
        self._answered.append(job)
        self.link.poke()

    def wake_at(self, at: float) -> None:
        """Have the link's thread look at that time (monotonic), also while there is no link."""
        self.call_at(at, self.link.poke)

    def call_at(self, at: float, job: Callable[[], None]) -> None:
        """Have `job` called on the worker's thread at that time (monotonic); it must not hold that up."""
        self._worker.submit(job, max(0.0, at - time.monotonic()))
