"""`Mending`: fills the holes of one stream that two links carry, behind the joint that makes one stream of them.

Law. It stands before an outlet from a marker on until all that the marker has set going is settled; in ordinary life
nothing here touches a message. Whoever delivers for the joint calls it, one thread at a time. What REST answers, and
that a time is up, comes through `later`, in the joint's order, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from .delivery import FanOut
from .errors import OkxWsError
from .holds import Hold
from .protocol import gaps
from .protocol.backfill import Ask
from .protocol.memories import Memory
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream
from .sinks import InlineSink

__all__ = ["Mending", "apart", "wants_repair"]

Job = Callable[[], None]


class Keeper(Protocol):
    """Who asks REST and tells: `Recovery`."""

    markers: bool
    timeout_s: float

    def memory_of(self, stream: Stream) -> Memory | None:
        """Return what was learnt from a stream for repairs."""

    def fetch(
        self,
        ask: Ask,
        until: float,
        then: Callable[[list[Any] | OkxWsError], None],
        wanted: Callable[[], bool],
        hand_in: Callable[[Job], None] | None = None,
    ) -> None:
        """Ask in the background; `hand_in` gets what is to be done with the answer."""

    def call_at(self, at: float, job: Job) -> None:
        """Have `job` called at that time (monotonic), on a thread that must not be held up."""

    def tell(self, stream: Stream, marker: dict[str, Any], filled: int) -> None:
        """Tell how a hole has ended."""

    def tell_hole(self, stream: Stream, cause: str, since_ms: int) -> None:
        """Tell of a hole that was suspected only, until REST was asked."""


class Mending:
    """The holes of one stream.

    Args:
        keeper: Asks REST, and tells.
        stream: Whose messages they are.
        later: Has something done in the joint's order, on a link's thread.
    """

    def __init__(self, keeper: Keeper, stream: Stream, later: Callable[[Job], None]) -> None:
        self._keeper = keeper
        self._stream = stream
        self._later = later
        self._hold: Hold | None = None
        # What a hold wants of its owner, see `holds.Owner`.
        self.markers, self.timeout_s = keeper.markers, keeper.timeout_s
        self.ended = False
        self.link = None
        self.memory_of, self.tell, self.tell_hole = keeper.memory_of, keeper.tell, keeper.tell_hole

    # ------------------------------------------------------------------ what the joint calls, in its order

    @property
    def wanted(self) -> bool:
        """Somebody reads the stream who cannot mend it by himself."""
        return wants_repair(self._stream)

    @property
    def busy(self) -> bool:
        """Messages go through here."""
        return self._hold is not None

    @property
    def idle(self) -> bool:
        """Nothing waits here, nor is under way that was told already. From any thread."""
        hold = self._hold
        return hold is None or hold.may_go(time.monotonic())

    @property
    def last(self) -> bytes | None:
        """What was delivered last, while messages go through here. From any thread."""
        hold = self._hold
        return None if hold is None else hold.last

    def deliver(self, outlet: Outlet | None, batch: list[bytes], last: bytes | None) -> None:
        """Take messages for an outlet, markers among them; `last` was delivered before."""
        prompt, direct = apart(outlet)
        for one in prompt:
            one.deliver(batch)
        if direct is None or not self.wanted:
            self._hold, self._stream.filling = None, False
            self._pass_on(direct, batch)
            return
        if self._hold is None:
            self._hold = Hold(self, self._stream, direct, last)
        self._hold.direct = direct
        self._hold.deliver(batch)
        self._let_go()

    def finish(self) -> None:
        """Nothing more will come: hand on what is held, unrepaired."""
        self.ended = True
        self._go_on()
        self._hold = None

    # ------------------------------------------------------------------ what the hold calls

    def ask(self, hold: Hold, ask: Ask, deadline: float) -> None:
        """Have a question asked; the answer goes to the hold."""
        work = hold.work
        then = partial(self._answered, hold, ask)
        self._keeper.fetch(ask, deadline, then, lambda: hold.work is work, self._later)

    def wake_at(self, at: float) -> None:
        """Have the hold go on at that time."""
        self._keeper.call_at(at, partial(self._later, self._go_on))

    def hand_over(self, outlet: Outlet, batch: list[bytes]) -> None:
        """Deliver messages. An outlet that is full is asked by the joint."""
        if batch:
            outlet.deliver(batch)

    # ------------------------------------------------------------------ inside

    def _answered(self, hold: Hold, ask: Ask, answer: list[Any] | OkxWsError) -> None:
        hold.answered(ask, answer)
        self._let_go()

    def _go_on(self) -> None:
        if self._hold is not None:
            self._hold.go_on(time.monotonic())
            self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None and self._hold.is_settled(time.monotonic()):
            self._hold = None

    def _pass_on(self, outlet: Outlet | None, batch: list[bytes]) -> None:
        if outlet is not None:
            unwanted = gaps.is_suspicion if self.markers else gaps.is_marker
            self.hand_over(outlet, [payload for payload in batch if not unwanted(payload)])


def wants_repair(stream: Stream) -> bool:
    """Tell whether somebody reads a stream who cannot mend its holes by himself, as order books and live views do."""
    sinks = [holder.sink for holder in stream.holders]
    return any(sink is None or not sink.mends_itself for sink in sinks)


def apart(outlet: Outlet | None) -> tuple[list[Outlet], Outlet | None]:
    """Return those parts of an outlet that mend themselves, and the rest as one."""
    parts: tuple[Outlet, ...] = () if outlet is None else (outlet,)
    if isinstance(outlet, FanOut):
        parts = outlet.outlets
    prompt: list[Outlet] = [part for part in parts if isinstance(part, InlineSink) and part.mends_itself]
    if not prompt:
        return [], outlet
    rest = [part for part in parts if part not in prompt]
    return prompt, FanOut(rest) if rest else None
