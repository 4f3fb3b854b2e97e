"""`Redundant`: every subscription on two links for good, so that the loss of one costs nothing.

A link that shall be handed over is simply dialled anew, as soon as the other one has everything for sure; calls go over
that one from then on, and those in flight have their replies first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .pairs import CALLS_S, Pair

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Redundant"]

#: A link that waits for its turn looks so often whether the other one has everything.
TURN_S = 0.05


class Redundant(Pair):
    """Two links of one line."""

    permanent = True

    def begin(self) -> None:
        """Before either link's thread is started."""
        self._turns: list[Connection] = []
        #: Until when the calls in flight on the link whose turn has come are awaited; None while none's has.
        self._calls_until: float | None = None
        self.join()

    def hand_over(self, link: Connection) -> bool:
        """Have a link dialled anew, one after the other; return whether that is new. Under the mutex."""
        if link in self._turns or not link.session.up:
            return False
        self._turns.append(link)
        link.wake()
        return True

    @property
    def caller(self) -> Connection:
        """The link that calls go over: the first, unless only the second is up, or the first is about to go."""
        if self._calls_until is not None:
            return self.other(self._turns[0])
        return self.second if self.second.session.up and not self.first.session.up else self.first

    def step(self, link: Connection, now: float) -> float:
        """Do what is due for a link; return when to be asked next."""
        due = super().step(link, now)
        with self._mutex:
            if link not in self._turns:
                return due
            if self._turns[0] is not link or not self._may_go(link, now):
                return now + TURN_S
        link.redial()  # its turn ends when it is down
        return due

    def _may_go(self, link: Connection, now: float) -> bool:
        """Tell whether the other link has everything, and no reply is awaited here. Under the mutex."""
        other = self.other(link)
        if link.session.login_wanted and not other.session.login_wanted:
            other.session.login_wanted = True
            other.session.nudge()
            other.wake()
        if not (other.session.up and other.session.logged_in and self._complete):
            if self._calls_until is not None:
                self._calls_until = None
                other.session.pass_calls(link.session)
            return False
        if self._calls_until is None:
            self._calls_until = now + CALLS_S
            link.session.pass_calls(other.session)
            other.wake()
        return not link.session.calls.in_flight or now >= self._calls_until

    def link_lost(self, link: Connection) -> None:
        """A link is gone, and all that it brought was delivered."""
        with self._mutex:
            if self._turns[:1] == [link]:
                self._calls_until = None
            self._turns = [waiting for waiting in self._turns if waiting is not link]
        super().link_lost(link)
