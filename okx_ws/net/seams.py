"""`Seams`: the joints of two links that carry the same subscriptions, one for each arg.

Law. They change under the endpoint's mutex, and deliver outside it. What REST answers for one of them is handed on in
its order, on either link's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..events import Event
from ..protocol.routing import Outlet, Route
from ..protocol.subscriptions import Stream
from ..protocol.telling import hole_began, hole_ended
from .joints import LOST, Both, Bypass, Ending, Joint, now_ms

if TYPE_CHECKING:
    from .connection import Connection
    from .site import Site

__all__ = ["Seams"]


class Seams:
    """The joints of two links.

    Args:
        site: What the links have in common.
        first: Has the streams that users hold.
        second: Has their twins.
    """

    def __init__(self, site: Site, first: Connection, second: Connection) -> None:
        self._site = site
        self._first, self._second = first, second
        self._joints: dict[frozenset[tuple[str, str]], Joint] = {}
        #: What nobody wants any more, though a link may still have it: who wants it again begins anew.
        self._left: dict[frozenset[tuple[str, str]], list[Stream]] = {}
        #: Joints that wait for what may never come.
        self.waiting: set[Joint] = set()
        #: What is to be done on either link's thread, such as with REST's answers.
        self._jobs: deque[Callable[[], None]] = deque()

    @property
    def all(self) -> list[Joint]:
        """Every joint."""
        return list(self._joints.values())

    @property
    def caught_up(self) -> bool:
        """Any link may go, and nothing will be missing."""
        return all(joint.caught_up for joint in self.all)

    @property
    def idle(self) -> bool:
        """No joint has anything left to deliver."""
        return all(joint.idle for joint in self.all)

    @property
    def is_up(self) -> bool:
        """A link is up."""
        return bool(self._first.session.up or self._second.session.up)

    # ------------------------------------------------------------------ one for each arg

    def begin(self, route: Route) -> None:
        """Make the joint of what the first link has brought so far."""
        streams = route.streams
        joint = self._joint(route.arg, streams)
        if streams and all(map(self._first.session.has_begun, streams)):
            holes = [stream for stream in streams if stream.hole_since_ms is not None]
            joint.begin(
                self._first,
                min(stream.hole_since_ms or stream.active_ms or now_ms() for stream in streams),
                route.last,
                Ending(holes[0].hole_cause, holes[0].hole_told) if holes else None,
            )
            for stream in holes:
                stream.hole_since_ms = None

    def _joint(self, arg: Mapping[str, Any], streams: list[Stream]) -> Joint:
        whose = streams[0].arg if len(streams) == 1 else arg
        joint = self._joints[identity(arg)] = Joint(whose, self._site.settings.markers, self)
        joint.streams = streams
        if self._left.pop(identity(arg), None) is not None:
            joint.renew()
        return joint

    def forget(self, stream: Stream) -> None:
        """Nobody wants a stream any more: who wants it again begins anew, though one link may never have left."""
        for whose, joint in list(self._joints.items()):
            if stream in joint.streams or stream.twin in joint.streams:
                joint.close()
                self._left[whose] = joint.streams
                del self._joints[whose]

    def joint_of(self, route: Route) -> Joint | None:
        """Return the joint of what is a route on one of the links."""
        return self._joints.get(route.identity)

    def newest(self, route: Route) -> bytes | None:
        """Return the newest message that was handed on of what is a route on one of the links."""
        joint = self._joints.get(route.identity)
        return None if joint is None else joint.newest

    def outlet_of(self, link: object, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where a link's pushes with this arg go."""
        inner = self._site.outlet_of(streams, arg)
        if inner is not None and self._first.keeper is not None:
            inner = self._first.keeper.learning(streams, inner)  # a hand-over must not forget what is open
        if self._site.raw is not None and streams:
            inner = self._site.raw if inner is None else Both(self._site.raw, inner)
        joint = self._joints.get(identity(arg))
        if joint is None:
            if inner is None:
                return None
            joint = self._joint(arg, streams)
            for one in (self._first, self._second) if link is self._first else (self._second, self._first):
                if self._are_sure(one, streams):
                    joint.sure(one)  # it is new and empty: there is nothing to deliver yet
        joint.streams = streams
        joint.outlet = inner
        self._mend(joint, streams)
        return joint.side(link)

    def _mend(self, joint: Joint, streams: list[Stream]) -> None:
        """See that the holes of these streams are filled, if they can be."""
        keeper = self._first.keeper
        if joint.mending is None and keeper is not None and self._site.raw is None:
            of_first = [stream for stream in self._on(self._first, streams) if stream is not None]
            joint.mending = keeper.mending(of_first, partial(self._later, joint))
        for stream in streams:
            for one in (stream, stream.twin):
                if one is not None:
                    one.held = joint.mending is not None and joint.mending.wanted

    def outlet_without_links(self, stream: Stream) -> Outlet | None:
        """Return where to deliver what REST tells of a stream while neither link is up; None: nothing can be now."""
        joint = self._joints.get(identity(stream.routes[0].arg if stream.routes else stream.arg))
        return Bypass(joint, self) if joint is not None and joint.idle else None

    def _later(self, joint: Joint, job: Callable[[], None]) -> None:
        """Have something done in the order of a joint, on either link's thread."""
        self._jobs.append(partial(joint.soon, job))
        self._first.poke()
        self._second.poke()

    def renew(self, stream: Stream) -> None:
        """The consumer of a stream has to begin anew."""
        for joint in self._joints.values():
            if stream in joint.streams or stream.twin in joint.streams:
                joint.renew()

    # ------------------------------------------------------------------ how their streams stand

    def sure(self, link: Connection) -> list[tuple[Joint, int]]:
        """Return the joints whose streams are sure on a link, and the life of it that is meant."""
        return [(joint, joint.life(link)) for joint in self._joints.values() if self._are_sure(link, joint.streams)]

    def ended(self, link: Connection, ended: set[Stream]) -> list[tuple[Joint, Ending]]:
        """Return the joints of streams that have ended on a link, and why they have."""
        found = []
        for joint in self._joints.values():
            whose = [one for one in self._on(link, joint.streams) if one is not None and one in ended]
            if whose:
                found.append((joint, why_ended(link, whose[0])))
        return found

    def behind(self, link: Connection) -> list[Stream]:
        """Return the streams of a link, the only one they stand on, that have not brought what the other one has."""
        doubtful = [joint for joint in self._joints.values() if joint.doubtful]
        streams = [one for joint in doubtful for one in self._on(link, joint.streams)]
        return [one for one in streams if one is not None and one.live and not (one.twin and one.twin.live)]

    def _on(self, link: Connection, streams: list[Stream]) -> list[Stream | None]:
        """Return these streams as they are on one of the links."""
        return [stream if stream.link is link else stream.twin for stream in streams]

    def _are_sure(self, link: Connection, streams: list[Stream]) -> bool:
        on_link = self._on(link, streams)
        return bool(on_link) and all(stream is not None and stream.live and stream.sure for stream in on_link)

    def sweep(self) -> None:
        """Forget the joints of what is not subscribed any more."""
        known = {id(stream) for link in (self._first, self._second) for stream in link.session.subscriptions}

        def is_known(streams: list[Stream]) -> bool:
            return any(id(stream) in known for stream in streams)

        self._joints = {whose: joint for whose, joint in self._joints.items() if is_known(joint.streams)}
        self._left = {whose: left for whose, left in self._left.items() if is_known(left)}

    # ------------------------------------------------------------------ what joints tell (Owner)

    def resume(self) -> None:
        """Links that paused for a joint may go on."""
        self._first.resume()
        self._second.resume()

    def wait_for(self, joint: Joint) -> None:
        """A joint waits for something."""
        if joint not in self.waiting:
            self.waiting.add(joint)
            self.resume()

    def hole_began(self, joint: Joint, cause: str, since_ms: int, told: bool) -> None:
        """A hole begins."""
        for stream in self._of_users(joint):
            stream.gaps += 1
            if told:
                self._site.tell(Event(endpoint=self._site.endpoint, arg=stream.arg, **hole_began(cause, since_ms)))

    def hole_ended(self, joint: Joint, marker: dict[str, Any], told: bool) -> None:
        """A hole has ended that nobody fills."""
        for stream in self._of_users(joint):
            stream.repairs += marker["repaired"]
            if told:
                one = hole_ended({**marker, "arg": stream.arg}, marker["cause"] == "stall")
                self._site.tell(Event(endpoint=self._site.endpoint, arg=stream.arg, **one))

    def _of_users(self, joint: Joint) -> list[Stream]:
        """Return the streams that users hold."""
        return [one if one.link is self._first or one.twin is None else one.twin for one in joint.streams]

    # ------------------------------------------------------------------ what is to be done later

    def expire(self) -> None:
        """See whether some have waited long enough."""
        for joint in list(self.waiting):
            until_ms = joint.until_ms
            if until_ms is None:
                self.waiting.discard(joint)
            elif now_ms() >= until_ms:
                joint.expire()

    def work(self) -> None:
        """Do what was left for either link's thread."""
        while self._jobs:
            with suppress(IndexError):  # the other one was quicker
                self._jobs.popleft()()


def why_ended(link: Connection, stream: Stream) -> Ending:
    """Return why a stream has ended on a link."""
    if link.session.subscriptions.find(stream.arg) is stream:
        if stream.hole_since_ms is not None:
            cause = stream.hole_cause
            return Ending(cause, stream.hole_told, mute=cause == "stall" and not stream.outdone)
        if stream.refusal is not None:
            return LOST
    return Ending(None)


def identity(arg: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Return what identifies the pushes of an arg; as `Route.identity`."""
    return frozenset((name, str(value)) for name, value in arg.items())
