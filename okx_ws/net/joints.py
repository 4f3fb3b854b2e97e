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
from typing import Any, NamedTuple, Protocol

from ..protocol import codec, gaps
from ..protocol.hole_watch import HoleWatch, News
from ..protocol.merging import Merge
from ..protocol.routing import Outlet
from ..protocol.subscriptions import Stream
from .site import Mending

__all__ = ["LOST", "Both", "Bypass", "Ending", "Joint", "Owner", "Side"]

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


class Owner(Protocol):
    """Whose joint it is: `Seams`. Called outside the joint's lock."""

    def resume(self) -> None:
        """Links that paused for a joint may go on."""

    def wait_for(self, joint: Joint) -> None:
        """A joint waits for something, until `until_ms`. Called under its lock."""

    def hole_began(self, joint: Joint, cause: str, since_ms: int, told: bool) -> None:
        """A hole begins: count it; `told`: tell it, too."""

    def hole_ended(self, joint: Joint, marker: dict[str, Any], told: bool) -> None:
        """A hole has ended that nobody fills."""


class Ending(NamedTuple):
    """Why something has ended on a link.

    Attributes:
        cause: As in markers; None: it was not wanted any more.
        told: Events tell of the hole, if there is one.
        mute: The other link was as silent.
    """

    cause: str | None = "disconnect"
    told: bool = True
    mute: bool = False


LOST = Ending()


class OpenHole(NamedTuple):
    """A hole that goes on.

    Attributes:
        cause, since_ms: As in markers.
        begun: That it has begun was counted and told.
        told: Events tell of it.
    """

    cause: str
    since_ms: int
    begun: bool
    told: bool


class Joint:
    """Merges what several links bring for one outlet.

    Args:
        arg: The arg of the messages.
        markers: Hand on the markers of holes.
        owner: Told of what happens.
    """

    def __init__(self, arg: Mapping[str, Any], markers: bool, owner: Owner) -> None:
        self.arg = dict(arg)
        self._merge = Merge(arg)
        self._markers = markers
        self._owner = owner
        #: Whose messages they are, on one of the links. Replaced under the endpoint's mutex.
        self.streams: list[Stream] = []
        self._closed = False
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
        #: There is a marker in what waits.
        self._marked = False
        self._watch = HoleWatch()
        #: What was delivered last, and is no marker.
        self._last: bytes | None = None

    # ------------------------------------------------------------------ links

    def side(self, link: Hashable) -> Side:
        """Return the outlet of one link, the same each time."""
        return self._sides.setdefault(link, Side(self, link))

    def begin(self, link: Hashable, since_ms: int, newest: bytes | None, hole: Ending | None) -> None:
        """The first link: what it delivered last, and the hole that it has had since then; None: there is none."""
        with self._lock:
            self._merge.enter(link, since_ms, newest)
            self._last = newest
            if hole is not None:
                self._merge.lost(link, since_ms, hole.cause)
                self._merge.enter(link, since_ms)
                self._watch.goes_on(self._merge, hole.told)

    def life(self, link: Hashable) -> int:
        """Return which of its lives a link is in, of which each ends with `lost`."""
        with self._lock:
            return self._lives[link]

    def sure(self, link: Hashable, life: int = 0) -> None:
        """Nothing from before this link began is under way on the others; void if that life of it is over."""
        with self._lock:
            if life != self._lives[link] or self._closed:
                return
            self._enter(link)
            self._waiting += self._chosen(self._merge.flushed(link, now_ms()))
        self._hand_on()

    def lost(self, link: Hashable, why: Ending = LOST) -> None:
        """A link has ended, or its subscription: see `Merge.lost`."""
        with self._lock:
            if self._closed:
                return
            self._lives[link] += 1
            payloads = self._merge.lost(link, now_ms(), why.cause)
            if why.mute:
                self._merge.suspect(why.cause)
            self._waiting += self._chosen(payloads, why.told)
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

    def part(self) -> OpenHole | None:
        """Somebody else goes on: return the hole whose end is not told yet, or that there may be, if any."""
        with self._lock:
            begun = self._merge.pending is not None
            if not begun and self._merge.doubtful:
                self._merge.suspect(None)
            pending = self._merge.pending
            return None if pending is None else OpenHole(*pending, begun, self._watch.told)

    @property
    def delivered(self) -> bytes | None:
        """What was delivered last; by the merge, or by who fills holes behind it."""
        last = self.mending.last if self.mending is not None else None
        return last or self._last

    @property
    def has_begun(self) -> bool:
        """A link has entered, ever."""
        with self._lock:
            return self._merge.has_begun

    @property
    def doubtful(self) -> bool:
        """What is left has not brought all that was delivered, as if it was behind, or mute."""
        with self._lock:
            return self._merge.doubtful

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

    def close(self) -> None:
        """Nobody wants its messages any more: from now on it takes none, and tells nothing."""
        with self._lock:
            self._closed = True
            self.outlet = None

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
            if self._closed:
                return False
            self._enter(link)
            self._waiting += self._chosen(self._merge.receive(link, batch, now_ms()))
        self._hand_on()
        return self.congested

    def _enter(self, link: Hashable) -> None:
        if link not in self._merge.lines:
            self._merge.enter(link, now_ms())

    def _chosen(self, payloads: list[bytes], told: bool = True) -> list[bytes]:
        merge = self._merge
        if not merge.caught_up and merge.until_ms is not None:
            self._owner.wait_for(self)
        if self._watch.is_news(merge):
            filling = any(stream.filling for stream in self.streams)
            news = self._watch.look(merge, payloads, now_ms(), told, filling)
            self._jobs.extend(partial(self._tell, one) for one in news)
            for stream in self.streams if self._watch.grows else ():
                for one in filter(None, (stream, stream.twin)):
                    one.grew = True
            self._marked = self._marked or any(map(gaps.is_marker, payloads))
        return payloads

    def _tell(self, news: News) -> None:
        if news.over:
            self._owner.hole_ended(self, news.data, news.told)
        else:
            self._owner.hole_began(self, news.data["cause"], news.data["since_ms"], news.told)

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
            self._owner.resume()

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
        outlet, mending, last = self.outlet, self.mending, self._last
        markers = list(filter(gaps.is_marker, batch)) if marked else []
        messages = [one for one in batch if not gaps.is_marker(one)] if marked else batch
        self._last = messages[-1] if messages else last
        ends = [(marker, self._watch.ended()) for marker in markers if not gaps.is_suspicion(marker)]
        if mending is not None and (marked or mending.busy):
            mending.deliver(outlet, batch, last)
            return
        for marker, told in ends:
            self._owner.hole_ended(self, codec.decode(marker), told)
        chosen = messages
        if self._markers:
            chosen = [one for one in batch if not gaps.is_suspicion(one)] if markers else batch
        if outlet is not None and chosen:
            outlet.deliver(chosen)


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
