"""`Redundant`: every subscription on two links for good, so that the loss of one costs nothing.

A link that shall be handed over is simply dialled anew, as soon as the other one has everything for sure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .pairs import Pair

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
        """The link that calls go over: the first, unless only the second is up."""
        return self.second if self.second.session.up and not self.first.session.up else self.first

    def step(self, link: Connection, now: float) -> float:
        """Do what is due for a link; return when to be asked next."""
        due = super().step(link, now)
        with self._mutex:
            if link not in self._turns:
                return due
            if self._turns[0] is not link or not self.other(link).session.up or not self._complete:
                return now + TURN_S
        link.redial()  # its turn ends when it is down
        return due

    def link_lost(self, link: Connection) -> None:
        """A link is gone, and all that it brought was delivered."""
        with self._mutex:
            self._turns = [waiting for waiting in self._turns if waiting is not link]
        super().link_lost(link)
