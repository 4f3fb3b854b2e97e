"""`Joint`: one outlet that several links feed: what they bring is merged, and handed on in order.

Law. The merge decides under the joint's lock, and what is to be delivered is appended to its output there. Whoever
appends while nobody delivers, delivers, outside the lock, until nothing is left: so order holds, handlers run outside
every lock, and nobody waits for anybody. What a slow handler leaves behind is bounded: beyond it, links pause.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from ..protocol import gaps
from ..protocol.merging import Merge
from ..protocol.routing import Outlet

__all__ = ["Both", "Joint", "Side"]

#: Messages that may wait while another link's thread delivers; beyond it, the links that bring them pause.
MAX_WAITING = 10_000


def now_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Joint:
    """Merges what several links bring for one outlet.

    Args:
        arg: The arg of the messages.
        markers: Hand on the markers of holes.
        resume: Called when links that paused for it may go on.
    """

    def __init__(self, arg: Mapping[str, Any], markers: bool, resume: Callable[[], None]) -> None:
        self._merge = Merge(arg)
        self._markers = markers
        self._resume = resume
        # Re-entrant, as every lock here.
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._delivering = False
        #: Where messages go; None: to nobody. Replaced under the endpoint's mutex.
        self.outlet: Outlet | None = None
        self._sides: dict[Hashable, Side] = {}

    # ------------------------------------------------------------------ links

    def side(self, link: Hashable) -> Side:
        """Return the outlet of one link, the same each time."""
        return self._sides.setdefault(link, Side(self, link))

    def begin(self, link: Hashable, since_ms: int, newest: bytes | None, hole: str | None) -> None:
        """The first link: what it delivered last, and why something may be missing after that; None: nothing is."""
        with self._lock:
            self._merge.enter(link, since_ms, newest)
            if hole is not None:
                self._merge.lost(link, since_ms, hole)
                self._merge.enter(link, since_ms)

    def sure(self, link: Hashable) -> None:
        """Nothing from before this link began is under way on the others."""
        with self._lock:
            self._enter(link)
            self._waiting += self._chosen(self._merge.flushed(link, now_ms()))
        self._hand_on()

    def lost(self, link: Hashable, cause: str | None = "disconnect") -> None:
        """A link has ended, or its subscription: see `Merge.lost`."""
        with self._lock:
            self._waiting += self._chosen(self._merge.lost(link, now_ms(), cause))
        self._hand_on()

    def renew(self) -> None:
        """The consumer has to begin anew: the next snapshot is for it, whoever brings it."""
        with self._lock:
            self._merge.renew()

    @property
    def caught_up(self) -> bool:
        """Any link may go, and nothing will be missing."""
        return self._merge.caught_up

    @property
    def idle(self) -> bool:
        """Nothing waits, and nobody delivers."""
        with self._lock:
            return not self._waiting and not self._delivering

    # ------------------------------------------------------------------ messages

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        outlet = self.outlet
        return len(self._waiting) > MAX_WAITING or (outlet is not None and outlet.congested)

    def receive(self, link: Hashable, batch: list[bytes]) -> bool:
        """Take what a link has brought; return whether its reading must pause."""
        with self._lock:
            self._enter(link)
            self._waiting += self._chosen(self._merge.receive(link, batch, now_ms()))
        self._hand_on()
        return self.congested

    def _enter(self, link: Hashable) -> None:
        if link not in self._merge.lines:
            self._merge.enter(link, now_ms())

    def _chosen(self, payloads: list[bytes]) -> list[bytes]:
        return payloads if self._markers else [payload for payload in payloads if not gaps.is_marker(payload)]

    def _hand_on(self) -> None:
        """Deliver what waits, unless somebody is about it."""
        with self._lock:
            if self._delivering or not self._waiting:
                return
            self._delivering = True
        most = 0
        try:
            while batch := self._next():
                most = max(most, len(batch))
                if self.outlet is not None:
                    self.outlet.deliver(batch)
        except BaseException:  # outlets do not raise; a bug of ours must not end the delivery for good
            self._delivering = False
            raise
        if most > MAX_WAITING:
            self._resume()

    def _next(self) -> list[bytes]:
        """Return what is to be delivered next; if it is nothing, whoever comes next delivers."""
        with self._lock:
            batch = list(self._waiting)
            self._waiting.clear()
            self._delivering = bool(batch)
            return batch


class Side:
    """The outlet of one link: its messages go into the joint."""

    def __init__(self, joint: Joint, link: Hashable) -> None:
        self._joint = joint
        self._link = link

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        return self._joint.congested

    def deliver(self, batch: list[bytes]) -> bool:
        """Take messages in order; return `congested`."""
        return self._joint.receive(self._link, batch)


class Both:
    """Hands every batch to two outlets."""

    def __init__(self, first: Outlet, second: Outlet) -> None:
        self._outlets = (first, second)

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        return any(outlet.congested for outlet in self._outlets)

    def deliver(self, batch: list[bytes]) -> bool:
        """Hand the batch to each outlet."""
        return any([outlet.deliver(batch) for outlet in self._outlets])
