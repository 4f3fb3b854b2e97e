"""`Pair`: two links that carry the same subscriptions, and what they bring made one.

Law. The first link has the streams that users hold, the second has a twin of each, wanted for as long as the stream is.
While both live, the outlet of each arg is a `Joint`. A stream is *sure* once nothing from before its acknowledgement is
under way on the other link: a ping goes out on that one a while later (`LAG_S`), and its pong comes behind all that. A
link whose subscription has ended continues nothing: the joint parts from it. What belongs to a link is looked at on its
own thread, between two reads (`step`), when all it has read has been delivered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..protocol.subscriptions import Stream
from .joints import Ending
from .seams import Seams

if TYPE_CHECKING:
    from .connection import Connection
    from .joints import Joint
    from .site import Site

__all__ = ["Pair"]

#: What no other thread tells (a pong that was asked for, a joint that has caught up) is looked for so often.
SOON_S = 0.02

#: A link that is left alone may still bring what the other one has delivered: what it has not read yet (a pong comes
#: behind that), and what OKX pushes later on one connection than on another. For so long doubles are looked for.
ALONE_S = 5.0

#: What goes on pings a link may be quicker than what brings it data, and one connection may lag behind another: nothing
#: that came before an acknowledgement is under way any more only when it is so old.
LAG_S = 1.0

#: What one link has brought the other one brings long before so much time is up, or it withholds that stream.
MUTE_S = 10.0

#: Calls in flight on a link that goes are awaited so long, once all else is done: longer than OKX lets them take.
CALLS_S = 10.0

NEVER = float("inf")


class Pair:
    """Two links with the same subscriptions.

    Args:
        site: What they have in common.
        first: Has the streams that users hold.
        second: Has their twins.
    """

    #: It lasts as long as the first link; else it is for a hand-over.
    permanent = False

    def __init__(self, site: Site, first: Connection, second: Connection) -> None:
        self._site = site
        self.first, self.second = first, second
        self._mutex = first.mutex
        self.seams = Seams(site, first, second)
        #: Links that something has changed for.
        self._stirred: set[Connection] = set()
        #: The streams that each link had when it was last looked at, and since when (see `Stream.on_since`).
        self._had: dict[Connection, dict[Stream, float]] = {first: {}, second: {}}
        #: By the link that was pinged: how many pongs it must have, and which of the other's streams are sure then, if
        #: they have not been acknowledged anew meanwhile.
        self._pinged: dict[Connection, tuple[int, list[tuple[Stream, float]]]] = {}
        #: The newest connection of each link at the time when some of what it carried was moved elsewhere.
        self.relieved: dict[Connection, int] = {}
        #: Links whose threads have ended.
        self._over: set[Connection] = set()
        #: The link that was left when the other one was lost, and when it must have brought what that one had.
        self._left: tuple[Connection, float] | None = None
        #: Once one link is alone: how many pongs it must have, and when it has been so for long enough.
        self._alone: tuple[int, float] | None = None

    def other(self, link: Connection) -> Connection:
        """Return the other link."""
        return self.second if link is self.first else self.first

    def stir(self, link: Connection) -> None:
        """Something has changed on a link: have both look."""
        with self._mutex:
            self._stirred |= {self.first, self.second}
        self.first.wake()
        self.second.wake()

    # ------------------------------------------------------------------ streams, under the mutex

    def join(self) -> None:
        """Begin: give every stream its twin, and every route its joint. On the first link's thread."""
        first, second = self.first, self.second
        for link in (first, second):
            link.pair = self
            link.session.merged(True)
        for stream in first.session.subscriptions:
            stream.sure = stream.live
            self.changed(stream)
        self._had[first] = standing(first)
        for route in first.session.routes:
            self.seams.begin(route)
        first.session.routes.reconnect()

    def changed(self, stream: Stream) -> None:
        """A stream of the first link is new, or its holders have changed."""
        if stream.wanted or (stream.twin is not None and stream.twin.holders is stream.holders):
            self.second.session.want_twin(stream)
            if stream.twin is not None:
                stream.twin.link = self.second
                if (
                    not stream.twin.goes_on
                ):  # it came from other links with a hole: whichever is first to bring it tells it
                    self.second.session.holes.share(stream.twin)
            self.second.wake()

    def unwanted(self, stream: Stream) -> None:
        """Nobody wants a stream of the first link any more."""
        self.seams.forget(stream)

    def leave(self, stream: Stream) -> None:
        """A stream of the first link moves elsewhere: its twin is not wanted any more."""
        for route in [*stream.routes, *(stream.twin.routes if stream.twin is not None else ())]:
            joint = self.seams.joint_of(route)
            if joint is not None:  # what waits there is handed on to nobody any more
                route.last = joint.delivered
        self.first.session.holes.moved(stream)
        self.seams.forget(stream)
        if stream.twin is not None:
            stream.twin.holders = []
            self.second.session.holders_changed(stream.twin)
            self.second.wake()

    def replaced(self, twin: Stream, stream: Stream) -> None:
        """A stream of the first link stands where its twin stood on the second."""
        had = self._had[self.second]
        if twin in had:
            had[stream] = had.pop(twin)

    # ------------------------------------------------------------------ what links tell, on their own threads

    def step(self, link: Connection, now: float) -> float:
        """Do what is due for a link; return when to be asked next."""
        if link in self._stirred:
            self._let_go(link)
        self._make_sure(link, now)
        if self.seams.waiting:
            self.seams.expire()
        soon = self.seams.waiting or link in self._pinged or link in self._stirred
        return min(now + SOON_S if soon else NEVER, self._see_mute(link, now))

    def _see_mute(self, link: Connection, now: float) -> float:
        """Have subscribed anew what a link that was left alone has withheld; return when to look again."""
        left = self._left
        if left is None or left[0] is not link:
            return NEVER
        if now < left[1]:
            return left[1]
        with self._mutex:
            self._left = None
            for stream in self.seams.behind(link):
                link.session.withheld(stream, now)
        return NEVER

    def ended(self, link: Connection) -> None:
        """A link's thread ends; with the second one, what waits for REST goes on as it is."""
        with self._mutex:
            self._over.add(link)
            last = len(self._over) == 2
        if last:
            self.finish()

    def finish(self) -> None:
        """Hand on what waits for REST."""
        with self._mutex:
            joints = self.seams.all
        for joint in joints:
            joint.finish()

    def link_lost(self, link: Connection) -> None:
        """A link is gone, and all that it brought was delivered."""
        with self._mutex:
            self._pinged.clear()
            self._alone = None
            joints = self.seams.all
            self._had[link] = {}
            if self._left is None or self._left[0] is link:  # else it is one more attempt in vain
                self._left = (self.other(link), time.monotonic() + MUTE_S)
            for stream in link.session.subscriptions:
                if stream.twin is not None and stream.hole_since_ms is not None and not stream.twin.goes_on:
                    self.other(link).session.holes.share(stream.twin)
        why = Ending(told=not link.closing)
        for joint in joints:
            joint.lost(link, why)
        if self.other(link).session.up:
            link.pass_jobs(self.other(link))
        self.stir(link)
        self.first.poke()  # it sees to what is done while neither is up

    def after_loss(self, link: Connection) -> bool:
        """A link was lost; return whether it shall end, since the other takes its place."""
        return False

    @property
    def caller(self) -> Connection:
        """The link that calls go over."""
        return self.first

    def heir(self, link: Connection) -> Connection | None:
        """Return who takes the place of a link that has ended."""
        return None

    def is_quiet(self, link: Connection) -> bool:
        """Tell whether the loss of a link, which happens now, is nobody's business."""
        return False

    # ------------------------------------------------------------------ inside

    def _let_go(self, link: Connection) -> None:
        """Part joints from a link whose subscription has ended: what comes after another one continues nothing.

        The link has not asked for it again, since it does so later than this, on the same thread.
        """
        with self._mutex:
            had, self._had[link] = self._had[link], standing(link)
            ended = {stream for stream, since in had.items() if self._had[link].get(stream) != since}
            parting = self.seams.ended(link, ended) if ended else []
        for joint, why in parting:
            joint.lost(link, why)

    def _make_sure(self, link: Connection, now: float) -> None:
        """See whether a link's pong has come; if there is something to prove, have it pinged."""
        other = self.other(link)
        with self._mutex:
            target, proven = self._pinged.get(link, (0, []))
            if proven and link.session.pongs >= target:
                del self._pinged[link]
                for stream, on_since in proven:
                    stream.sure = stream.live and stream.on_since == on_since
                joints = self.seams.sure(other)
            elif link in self._stirred and not proven:
                self._stirred.discard(link)
                self.seams.sweep()
                self._ask(link, other, now)
                return
            else:
                return
        for joint, life in joints:
            joint.sure(other, life)
        self.stir(link)

    def _ask(self, link: Connection, other: Connection, now: float) -> None:
        """Ping a link if it can prove something about the other one."""
        if not link.session.up:
            return
        if not other.session.up:
            for stream in link.session.subscriptions:
                stream.sure = stream.live  # there is nobody else
            return
        doubtful = [stream for stream in other.session.subscriptions if stream.live and not stream.sure]
        ready = [(stream, stream.on_since) for stream in doubtful if now >= stream.on_since + LAG_S]
        if ready:
            self._pinged[link] = (link.session.ping(), ready)
            link.wake()
        elif doubtful:
            self._stirred.add(link)

    @property
    def _wanted(self) -> list[Stream]:
        return [stream for stream in self.first.session.subscriptions if stream.wanted]

    @property
    def _complete(self) -> bool:
        """Either link has everything for sure, and no joint holds anything back. Under the mutex."""
        return (
            all(
                one is not None and (one.refusal is not None or (one.live and one.sure))
                for stream in self._wanted
                for one in (stream, stream.twin)
            )
            and self.seams.caught_up
        )

    def _may_part(self, link: Connection, now: float) -> bool:
        """Tell whether a link that is alone has brought all that the other one has."""
        if self._alone is None and link.session.up:
            self._alone = (link.session.ping(), now + ALONE_S)
            link.wake()
        if self._alone is None:
            return False
        pongs, at = self._alone
        return now >= at and link.session.pongs >= pongs and self.seams.idle

    def part(self, link: Connection) -> None:
        """End: its pushes go straight to their outlets again. On its thread; the other link's has ended."""
        link.pair = None
        link.session.merged(False)
        for stream in link.session.subscriptions:
            if stream.twin is not None:
                link.session.routes.inherit(stream, stream.twin.routes)
                if stream.twin.live:
                    stream.refusal = None  # its holders did not hear of it: it is asked for again
            stream.twin, stream.held = None, False
        for route in link.session.routes:  # the newest by arrival may be one that the other link had brought before
            route.last = self.seams.newest(route) or route.last
            for stream in route.streams:
                self._go_on_with(link, stream, self.seams.joint_of(route))
        for stream in link.session.subscriptions:
            link.session.holes.moved(stream)
        link.session.routes.reconnect()

    def _go_on_with(self, link: Connection, stream: Stream, joint: Joint | None) -> None:
        """See that what neither link had brought of a stream is told by the link that is left."""
        holes = link.session.holes
        since_ms, stream.hole_since_ms = stream.hole_since_ms, None
        if joint is None or not joint.has_begun:
            if since_ms is not None:
                holes.begin(stream, stream.hole_cause, since_ms, told=stream.hole_told)
        elif (hole := joint.part()) is not None:  # else what one link lacked the other one had, or it was told
            holes.begin(stream, hole.cause, hole.since_ms, told=hole.told, begun=hole.begun)


def standing(link: Connection) -> dict[Stream, float]:
    """Return the streams that the server has on a link, and since when."""
    return {stream: stream.on_since for stream in link.session.subscriptions if stream.wire in ("on", "leaving")}
