"""`Congestion`: the outlets of a link that are full, and how long its reading has paused for them."""

from __future__ import annotations

from ..protocol.routing import Outlet
from ..protocol.session import LinkFault
from .poller import NEVER

__all__ = ["Congestion"]


class Congestion:
    """What holds up the reading of one link; also while there is no link. On the link's thread.

    Args:
        timeout_s: The link falls when it has paused for so long.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._full: list[Outlet] = []
        #: Since when reading pauses (monotonic); None while it does not.
        self._since: float | None = None

    def add(self, outlet: Outlet) -> None:
        """An outlet is full."""
        self._full.append(outlet)

    def __bool__(self) -> bool:
        """Tell whether some were full when it was last looked at."""
        return bool(self._full)

    def lasts(self) -> bool:
        """Look whether some are full still."""
        self._full = [outlet for outlet in self._full if outlet.congested]
        return bool(self._full)

    @property
    def paused(self) -> bool:
        """Reading has stopped."""
        return self._since is not None

    def end(self) -> None:
        """Nothing is read any more, or it is again."""
        self._since = None

    def pause(self, now: float) -> bool:
        """Reading pauses; return whether it does so from now on.

        Raises:
            LinkFault: It has for too long.
        """
        if self._since is None:
            self._since = now
            return True
        if now >= self.due:
            raise LinkFault(f"overflow: a queue stayed full for {self._timeout_s:g} s")
        return False

    @property
    def due(self) -> float:
        """When the link falls, if nothing happens before."""
        return NEVER if self._since is None else self._since + self._timeout_s
