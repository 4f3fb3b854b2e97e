"""`HandOver`: a new link takes the place of one that will be closed, while both live: nothing lost, nothing twice.

Law. Each step is taken on the thread of the link it concerns, between two reads, so that nothing that was read is on
its way when outlets change. If in doubt, the old link serves on.

    state          | event                                             | what follows
    ---------------+---------------------------------------------------+---------------------------------------------
    joining        | the new link has everything, for sure, and every  | → emptying: calls go over the new link
                   | joint has caught up                               |
    emptying       | that is still so, and no call is in flight on the | → leaving: the old link is closed
                   | old link (or for too long)                        |
    joining,       | the old link is lost, and the new one has it all  | → leaving: the old one's thread ends
    emptying       | the old link is lost before that                  | → withdrawing; an ordinary reconnect follows
                   | time is up, the new link cannot be had, or it may | → withdrawing: the new link is closed
                   | not have a channel that the old one has: OKX      |
                   | counts both                                       |
    leaving        | the old link's thread has ended                   | its streams take the place of their twins;
                   |                                                   | a while after that, the joints go
                   | and if the new link is lost before that           | they go at once: an ordinary reconnect follows
    withdrawing    | the new link's thread has ended                   | a while after that, the joints go
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from ..protocol.codes import CROWDED
from .pairs import CALLS_S, NEVER, SOON_S, Pair

if TYPE_CHECKING:
    from ..protocol.subscriptions import Stream
    from .connection import Connection
    from .site import Site

__all__ = ["HANDOVER_S", "HandOver"]

#: By then the new link must have everything. OKX closes the old one about 60 s after its notice.
HANDOVER_S = 45.0

#: A link that was lost goes on alone; for the end of the other one, which was asked to end, it waits so long.
PART_S = 1.0


class HandOver(Pair):
    """The old link (`first`) and the new one (`second`)."""

    def __init__(self, site: Site, old: Connection, new: Connection) -> None:
        super().__init__(site, old, new)
        self.state: Literal["joining", "emptying", "leaving", "withdrawing"] = "joining"
        self._until = time.monotonic() + HANDOVER_S
        self._calls_until = NEVER

    # ------------------------------------------------------------------ between two reads, on the links' threads

    def step(self, link: Connection, now: float) -> float:
        """Do what is due for a link; return when to be asked next."""
        due = super().step(link, now)
        with self._mutex:
            if link is self.second:
                return min(due, self._step_new(now))
            if self.state == "withdrawing":
                return self._step_back(now)
            return self._step_old(now) if self.state != "leaving" else NEVER

    def _step_old(self, now: float) -> float:
        """See whether the old link can go, or the new one has to."""
        new = self.second
        if now >= self._until or new.over or new.failure is not None or any(map(is_crowded, self._wanted)):
            self._withdraw()
        elif new.session.up and new.session.logged_in and self._complete:
            if self.state == "joining":
                self.state, self._calls_until = "emptying", now + CALLS_S
                self._pass_calls(self.first, new)
            if not self.first.session.calls.in_flight or now >= self._calls_until:
                self.state = "leaving"
                self.first.retire()
        return now + SOON_S  # joints catch up by data, which does not stop to tell us

    def _step_back(self, now: float) -> float:
        """Go on with the old link alone, as soon as the new one has ended."""
        return self._go_on(self.first, self.second, now)

    def _step_new(self, now: float) -> float:
        """Go on with the new link alone, as soon as the old one has ended."""
        if self.state != "leaving":
            return NEVER
        return self._go_on(self.second, self.first, now)

    def _go_on(self, link: Connection, gone: Connection, now: float) -> float:
        if not gone.over or not self._may_part(link, now):
            return now + SOON_S
        self.part(link)
        return now

    def _withdraw(self) -> None:
        if self.state == "emptying":
            self._pass_calls(self.second, self.first)
        self.state = "withdrawing"
        self.second.retire()
        if self.first.renewing:  # it has a key that was replaced, and cannot go on with it for ever
            self.first.renewing = False
            self.first.login_again()

    def _pass_calls(self, old: Connection, new: Connection) -> None:
        old.session.pass_calls(new.session)
        new.wake()

    def unwanted(self, stream: Stream) -> None:
        """Nobody wants a stream of the old link any more: if that is closed already, who comes has nothing of it."""
        super().unwanted(stream)
        if self.state == "leaving" and stream.link is self.first and stream.wire == "on":
            stream.wire = "leaving"

    # ------------------------------------------------------------------ losses

    def is_quiet(self, link: Connection) -> bool:
        """Tell whether the loss of a link, which happens now, is nobody's business."""
        with self._mutex:  # without the new link nothing is missing; without the old one, if the new one has it all
            if link is self.second:
                return self.state != "leaving"  # then it is all there is
            sure = all(s.twin is not None and s.twin.live and s.twin.sure for s in self._wanted)
            return sure and self.state != "withdrawing"

    def after_loss(self, link: Connection) -> bool:
        """A link was lost; return whether it shall end, since the other takes its place. On its thread."""
        with self._mutex:
            if link is self.second and self.state != "leaving":
                return False
            if link is self.first and self.state != "withdrawing" and self.second.session.up and self._has_all:
                if self.state == "joining":
                    self._pass_calls(self.first, self.second)
                self.state = "leaving"
                link.retire()
                return True
            if link is self.first:
                self._withdraw()
        other = self.other(link)
        other.join(time.monotonic() + PART_S)
        if not other.over:  # a handler holds it, and what it brought goes first: see `step`
            return False
        self.finish()
        with self._mutex:
            self.part(link)
        return False

    @property
    def _has_all(self) -> bool:
        return all(
            s.twin is not None and (s.twin.live or (s.twin.refusal is not None and not is_crowded(s)))
            for s in self._wanted
        )

    # ------------------------------------------------------------------ who is who

    @property
    def caller(self) -> Connection:
        """The link that calls go over."""
        return self.second if self.state in ("emptying", "leaving") else self.first

    def heir(self, link: Connection) -> Connection | None:
        """Return who takes the place of a link that has ended: the new one that of the old one."""
        return self.second if link is self.first and self.state == "leaving" else None


def is_crowded(stream: Stream) -> bool:
    """Tell whether the new link may not have a stream because the old one has it: OKX counts both."""
    twin = stream.twin
    return twin is not None and twin.refusal is not None and twin.refusal.code == CROWDED
