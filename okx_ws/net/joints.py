"""`Joint`: one outlet that several links feed: what they bring is merged, and handed on in order.

Law. The merge decides under the joint's lock, and what is to be delivered is appended to its output there. Whoever
appends while nobody delivers, delivers, outside the lock, until nothing is left: so order holds, handlers run outside
every lock, and nobody waits for anybody. What a slow handler leaves behind is bounded: beyond it, links pause.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, Protocol

from ..protocol import gaps
from ..protocol.merging import Merge
from ..protocol.routing import Outlet
from .site import Mending

__all__ = ["Both", "Bypass", "Joint", "Side"]

#: Messages that may wait while another link's thread delivers; beyond it, the links that bring them pause.
MAX_WAITING = 10_000


def now_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Links(Protocol):
    """Two links: `Pair`."""

    @property
    def is_up(self) -> bool:
        """One of them is up."""


class Joint:
    """Merges what several links bring for one outlet.

    Args:
        arg: The arg of the messages.
        markers: Hand on the markers of holes.
        resume: Called when links that paused for it may go on.
        waits: Called when it waits for something, until `until_ms`.
    """

    def __init__(
        self,
        arg: Mapping[str, Any],
        markers: bool,
        resume: Callable[[], None],
        waits: Callable[[Joint], None] = lambda joint: None,
    ) -> None:
        self._merge = Merge(arg)
        self._markers = markers
        self._resume = resume
        self._waits = waits
        # Re-entrant, as every lock here.
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._delivering = False
        #: Where messages go; None: to nobody. Replaced under the endpoint's mutex.
        self.outlet: Outlet | None = None
        self._sides: dict[Hashable, Side] = {}
        #: How many lives of each link are over: another link's thread may still be about to call it sure.
        self._lives: Counter[Hashable] = Counter()
        #: Fills its holes; None: nobody does. Replaced under the endpoint's mutex.
        self.mending: Mending | None = None
        #: What else is to be done, by whoever delivers.
        self._jobs: deque[Callable[[], None]] = deque()
        #: There is a marker in what waits; and how many there were ever.
        self._marked = False
        self._holes = 0
        #: What was delivered last, and is no marker.
        self._last: bytes | None = None

    # ------------------------------------------------------------------ links

    def side(self, link: Hashable) -> Side:
        """Return the outlet of one link, the same each time."""
        return self._sides.setdefault(link, Side(self, link))

    def begin(self, link: Hashable, since_ms: int, newest: bytes | None, hole: str | None) -> None:
        """The first link: what it delivered last, and why something may be missing after that; None: nothing is."""
        with self._lock:
            self._merge.enter(link, since_ms, newest)
            self._last = newest
            if hole is not None:
                self._merge.lost(link, since_ms, hole)
                self._merge.enter(link, since_ms)

    def life(self, link: Hashable) -> int:
        """Return which of its lives a link is in, of which each ends with `lost`."""
        with self._lock:
            return self._lives[link]

    def sure(self, link: Hashable, life: int = 0) -> None:
        """Nothing from before this link began is under way on the others; void if that life of it is over."""
        with self._lock:
            if life != self._lives[link]:
                return
            self._enter(link)
            self._waiting += self._chosen(self._merge.flushed(link, now_ms()))
        self._hand_on()

    def lost(self, link: Hashable, cause: str | None = "disconnect") -> None:
        """A link has ended, or its subscription: see `Merge.lost`."""
        with self._lock:
            self._lives[link] += 1
            self._waiting += self._chosen(self._merge.lost(link, now_ms(), cause))
        self._hand_on()

    @property
    def until_ms(self) -> int | None:
        """When `expire` has something to do, Unix ms; None: nothing is waited for."""
        with self._lock:
            return self._merge.until_ms

    def expire(self) -> None:
        """Wait no longer for what does not come."""
        with self._lock:
            self._waiting += self._chosen(self._merge.expire(now_ms()))
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
    def newest(self) -> bytes | None:
        """The newest message that was handed on."""
        with self._lock:
            return self._merge.newest

    @property
    def pending(self) -> tuple[str, int] | None:
        """Why, and since when (Unix ms), something may be missing that was not told yet; None: nothing is."""
        with self._lock:
            return self._merge.pending

    @property
    def idle(self) -> bool:
        """Nothing waits, and nobody delivers."""
        with self._lock:
            return not (self._waiting or self._delivering or self._jobs) and (self.mending is None or self.mending.idle)

    def soon(self, job: Callable[[], None]) -> None:
        """Have something done by whoever delivers, between two deliveries: now, if nobody does."""
        with self._lock:
            self._jobs.append(job)
        self._hand_on()

    def finish(self) -> None:
        """Nothing more will come: hand on what is held back."""
        if self.mending is not None:
            self.soon(self.mending.finish)

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
        if not self._merge.caught_up and self._merge.until_ms is not None:
            self._waits(self)
        if self._merge.holes == self._holes:
            return payloads
        self._holes = self._merge.holes
        self._marked = self._marked or self._markers or self.mending is not None
        return payloads if self._marked else [payload for payload in payloads if not gaps.is_marker(payload)]

    def _hand_on(self) -> None:
        """Deliver what waits, unless somebody is about it."""
        with self._lock:
            if self._delivering or not (self._waiting or self._jobs):
                return
            self._delivering = True
        most = 0
        try:
            while work := self._next():
                batch, marked, jobs = work
                most = max(most, len(batch))
                for job in jobs:
                    job()
                if batch:
                    self._deliver(batch, marked)
        except BaseException:  # outlets do not raise; a bug of ours must not end the delivery for good
            self._delivering = False
            raise
        if most > MAX_WAITING:
            self._resume()

    def _next(self) -> tuple[list[bytes], bool, list[Callable[[], None]]] | None:
        """Return what is to be delivered next, whether a marker is in it, and what is to be done before.

        If it is nothing, whoever comes next delivers.
        """
        with self._lock:
            work = list(self._waiting), self._marked, list(self._jobs)
            self._waiting.clear()
            self._jobs.clear()
            self._marked = False
            self._delivering = bool(work[0] or work[2])
            return work if self._delivering else None

    def _deliver(self, batch: list[bytes], marked: bool) -> None:
        outlet, mending = self.outlet, self.mending
        if mending is not None and (marked or mending.busy):
            mending.deliver(outlet, batch, self._last)
        elif outlet is not None:
            outlet.deliver(batch)
        self._last = (
            next((one for one in reversed(batch) if not gaps.is_marker(one)), self._last) if marked else batch[-1]
        )


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


class Bypass:
    """Delivers past the merge what no link has brought, in the joint's order, as long as neither link is up."""

    congested = False

    def __init__(self, joint: Joint, pair: Links) -> None:
        self._joint = joint
        self._pair = pair

    def deliver(self, batch: list[bytes]) -> bool:
        """Deliver messages, or drop them if a link is up by then; return `congested`."""
        self._joint.soon(partial(self._deliver, batch))
        return False

    def _deliver(self, batch: list[bytes]) -> None:
        outlet = self._joint.outlet
        if outlet is not None and not self._pair.is_up:
            outlet.deliver(batch)


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
