"""`Pair`: two links that carry the same subscriptions, and what they bring made one.

Law. The first link has the streams that users hold, the second has a twin of each, wanted for as long as the stream is.
While both live, the outlet of each arg is a `Joint`. A stream is *sure* once nothing from before its acknowledgement is
under way on the other link: a ping goes out on that one a while later (`LAG_S`), and its pong comes behind all that. A
link whose subscription has ended continues nothing: the joint parts from it. What belongs to a link is looked at on its
own thread, between two reads (`step`), when all it has read has been delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol.routing import Outlet, Route
from ..protocol.subscriptions import Stream
from .joints import Both, Bypass, Joint, now_ms

if TYPE_CHECKING:
    from .connection import Connection
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
        self._joints: dict[frozenset[tuple[str, str]], tuple[Joint, list[Stream]]] = {}
        #: Links that something has changed for.
        self._stirred: set[Connection] = set()
        #: The streams that each link had when it was last looked at, and since when (see `Stream.on_since`).
        self._had: dict[Connection, dict[Stream, float]] = {first: {}, second: {}}
        #: By the link that was pinged: how many pongs it must have, and which of the other's streams are sure then, if
        #: they have not been acknowledged anew meanwhile.
        self._pinged: dict[Connection, tuple[int, list[tuple[Stream, float]]]] = {}
        #: Joints that wait for what may never come.
        self._waiting: set[Joint] = set()
        #: The newest connection of each link at the time when some of what it carried was moved elsewhere.
        self.relieved: dict[Connection, int] = {}
        #: What is to be done on either link's thread, such as with REST's answers.
        self._jobs: deque[Callable[[], None]] = deque()
        #: Links whose threads have ended.
        self._over: set[Connection] = set()
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
            link.session.mark_holes(True)
        for stream in first.session.subscriptions:
            stream.sure = stream.live
            self.changed(stream)
        self._had[first] = standing(first)
        for route in first.session.routes:
            self._begin(route)
        first.session.routes.reconnect()

    def changed(self, stream: Stream) -> None:
        """A stream of the first link is new, or its holders have changed."""
        if stream.wanted or (stream.twin is not None and stream.twin.holders is stream.holders):
            self.second.session.want_twin(stream)
            if stream.twin is not None:
                stream.twin.link = self.second
            self.second.wake()

    def leave(self, stream: Stream) -> None:
        """A stream of the first link moves elsewhere: its twin is not wanted any more."""
        if stream.twin is not None:
            stream.twin.holders = []
            self.second.session.holders_changed(stream.twin)
            self.second.wake()

    def _begin(self, route: Route) -> None:
        """Make the joint of what the first link has brought so far."""
        streams = route.streams
        joint = self._joint(route.arg, streams)
        if streams and all(stream.wire == "on" for stream in streams):
            holes = [stream for stream in streams if stream.hole_since_ms is not None]
            joint.begin(
                self.first,
                min(stream.hole_since_ms or stream.active_ms or now_ms() for stream in streams),
                route.last,
                holes[0].hole_cause if holes else None,
            )
            for stream in holes:
                stream.hole_since_ms = None

    def _joint(self, arg: Mapping[str, Any], streams: list[Stream]) -> Joint:
        whose = streams[0].arg if len(streams) == 1 else arg
        joint = Joint(whose, self._site.settings.markers, self._resume, self._wait_for)
        self._joints[identity(arg)] = (joint, streams)
        return joint

    def outlet_of(self, link: object, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where a link's pushes with this arg go."""
        inner = self._site.outlet_of(streams, arg)
        if inner is not None and self.first.keeper is not None:
            inner = self.first.keeper.learning(streams, inner)  # a hand-over must not forget what is open
        if self._site.raw is not None and streams:
            inner = self._site.raw if inner is None else Both(self._site.raw, inner)
        known = self._joints.get(identity(arg))
        if known is None:
            if inner is None:
                return None
            joint = self._joint(arg, streams)
            for one in (self.first, self.second) if link is self.first else (self.second, self.first):
                if self._are_sure(one, streams):
                    joint.sure(one)  # it is new and empty: there is nothing to deliver yet
        else:
            joint = known[0]
            self._joints[identity(arg)] = (joint, streams)
        joint.outlet = inner
        self._mend(joint, streams)
        return joint.side(link)

    def _mend(self, joint: Joint, streams: list[Stream]) -> None:
        """See that the holes of these streams are filled, if they can be."""
        keeper = self.first.keeper
        if joint.mending is None and keeper is not None and self._site.raw is None:
            of_first = [stream for stream in self._on(self.first, streams) if stream is not None]
            joint.mending = keeper.mending(of_first, partial(self._later, joint))
        for stream in streams:
            for one in (stream, stream.twin):
                if one is not None:
                    one.held = joint.mending is not None and joint.mending.wanted

    def outlet_without_links(self, stream: Stream) -> Outlet | None:
        """Return where to deliver what REST tells of a stream while neither link is up; None: nothing can be now."""
        with self._mutex:
            known = self._joints.get(identity(stream.routes[0].arg if stream.routes else stream.arg))
        return Bypass(known[0], self) if known is not None and known[0].idle else None

    def _later(self, joint: Joint, job: Callable[[], None]) -> None:
        """Have something done in the order of a joint, on either link's thread."""
        self._jobs.append(partial(joint.soon, job))
        self.first.poke()
        self.second.poke()

    def resubscribed(self, stream: Stream) -> None:
        """The consumer of a stream has to begin anew."""
        for joint, streams in self._joints.values():
            if stream in streams or stream.twin in streams:
                joint.renew()

    def _resume(self) -> None:
        self.first.resume()
        self.second.resume()

    # ------------------------------------------------------------------ what links tell, on their own threads

    def step(self, link: Connection, now: float) -> float:
        """Do what is due for a link; return when to be asked next."""
        if link in self._stirred:
            self._let_go(link)
        self._make_sure(link, now)
        if self._waiting:
            self._expire()
        return now + SOON_S if self._waiting or link in self._pinged or link in self._stirred else NEVER

    def work(self) -> None:
        """Do what was left for either link's thread."""
        while self._jobs:
            with suppress(IndexError):  # the other one was quicker
                self._jobs.popleft()()

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
            joints = [joint for joint, _ in self._joints.values()]
        for joint in joints:
            joint.finish()

    @property
    def is_up(self) -> bool:
        """A link is up."""
        return bool(self.first.session.up or self.second.session.up)

    def link_lost(self, link: Connection) -> None:
        """A link is gone, and all that it brought was delivered."""
        with self._mutex:
            self._pinged.clear()
            self._alone = None
            joints = [joint for joint, _ in self._joints.values()]
            self._had[link] = {}
            for stream in link.session.subscriptions:
                if stream.twin is not None and stream.hole_since_ms is not None and not stream.twin.live:
                    self.other(link).session.holes.share(stream.twin)
        for joint in joints:
            joint.lost(link)
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
        """Tell whether the loss of a link, which has just happened, is nobody's business."""
        return False

    # ------------------------------------------------------------------ inside

    def _let_go(self, link: Connection) -> None:
        """Part joints from a link whose subscription has ended: what comes after another one continues nothing.

        The link has not asked for it again, since it does so later than this, on the same thread.
        """
        with self._mutex:
            had, self._had[link] = self._had[link], standing(link)
            ended = {stream for stream, since in had.items() if self._had[link].get(stream) != since}
            parting = [
                (joint, cause_of(link, whose[0]))
                for joint, streams in (self._joints.values() if ended else ())
                if (whose := [one for one in self._on(link, streams) if one is not None and one in ended])
            ]
        for joint, cause in parting:
            joint.lost(link, cause)

    def _wait_for(self, joint: Joint) -> None:
        if joint not in self._waiting:
            self._waiting.add(joint)
            self._resume()

    def _expire(self) -> None:
        for joint in list(self._waiting):
            until_ms = joint.until_ms
            if until_ms is None:
                self._waiting.discard(joint)
            elif now_ms() >= until_ms:
                joint.expire()

    def _make_sure(self, link: Connection, now: float) -> None:
        """See whether a link's pong has come; if there is something to prove, have it pinged."""
        other = self.other(link)
        with self._mutex:
            target, proven = self._pinged.get(link, (0, []))
            if proven and link.session.pongs >= target:
                del self._pinged[link]
                for stream, on_since in proven:
                    stream.sure = stream.live and stream.on_since == on_since
                sure = [joint for joint, streams in self._joints.values() if self._are_sure(other, streams)]
                joints = [(joint, joint.life(other)) for joint in sure]
            elif link in self._stirred and not proven:
                self._stirred.discard(link)
                self._sweep()
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

    def _on(self, link: Connection, streams: list[Stream]) -> list[Stream | None]:
        """Return these streams as they are on one of the links."""
        return [stream if stream.link is link else stream.twin for stream in streams]

    def _are_sure(self, link: Connection, streams: list[Stream]) -> bool:
        on_link = self._on(link, streams)
        return bool(on_link) and all(stream is not None and stream.live and stream.sure for stream in on_link)

    def _sweep(self) -> None:
        """Forget the joints of what is not subscribed any more."""
        known = {id(stream) for link in (self.first, self.second) for stream in link.session.subscriptions}
        self._joints = {
            whose: (joint, streams)
            for whose, (joint, streams) in self._joints.items()
            if any(id(stream) in known for stream in streams)
        }

    @property
    def _wanted(self) -> list[Stream]:
        return [stream for stream in self.first.session.subscriptions if stream.wanted]

    @property
    def _complete(self) -> bool:
        """Either link has everything for sure, and no joint holds anything back. Under the mutex."""
        return all(
            one is not None and (one.refusal is not None or (one.live and one.sure))
            for stream in self._wanted
            for one in (stream, stream.twin)
        ) and all(joint.caught_up for joint, _ in self._joints.values())

    def _may_part(self, link: Connection, now: float) -> bool:
        """Tell whether a link that is alone has brought all that the other one has."""
        if self._alone is None and link.session.up:
            self._alone = (link.session.ping(), now + ALONE_S)
            link.wake()
        if self._alone is None:
            return False
        pongs, at = self._alone
        return now >= at and link.session.pongs >= pongs and self.idle

    def part(self, link: Connection) -> None:
        """End: its pushes go straight to their outlets again. On its thread; the other link's has ended."""
        link.pair = None
        link.session.mark_holes(False)
        for stream in link.session.subscriptions:
            stream.twin, stream.held = None, False
        link.session.routes.reconnect()

    @property
    def idle(self) -> bool:
        """No joint has anything left to deliver."""
        return all(joint.idle for joint, _ in self._joints.values())


def standing(link: Connection) -> dict[Stream, float]:
    """Return the streams that the server has on a link, and since when."""
    return {stream: stream.on_since for stream in link.session.subscriptions if stream.wire in ("on", "leaving")}


def cause_of(link: Connection, stream: Stream) -> str | None:
    """Return why a stream has ended on a link, as in markers; None: it was not wanted any more."""
    if link.session.subscriptions.find(stream.arg) is not stream:
        return None
    if stream.hole_since_ms is not None:
        return stream.hole_cause
    return None if stream.refusal is None else "disconnect"


def identity(arg: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Return what identifies the pushes of an arg; as `Route.identity`."""
    return frozenset((name, str(value)) for name, value in arg.items())
