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

from ..protocol.routing import Outlet, Route
from ..protocol.subscriptions import Stream
from .joints import Both, Bypass, Joint, now_ms

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
        self._joints: dict[frozenset[tuple[str, str]], tuple[Joint, list[Stream]]] = {}
        #: Joints that wait for what may never come.
        self.waiting: set[Joint] = set()
        #: What is to be done on either link's thread, such as with REST's answers.
        self._jobs: deque[Callable[[], None]] = deque()

    @property
    def all(self) -> list[Joint]:
        """Every joint."""
        return [joint for joint, _ in self._joints.values()]

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
                holes[0].hole_cause if holes else None,
            )
            for stream in holes:
                stream.hole_since_ms = None

    def _joint(self, arg: Mapping[str, Any], streams: list[Stream]) -> Joint:
        whose = streams[0].arg if len(streams) == 1 else arg
        joint = Joint(whose, self._site.settings.markers, self._resume, self._wait_for)
        self._joints[identity(arg)] = (joint, streams)
        return joint

    def pending(self, route: Route) -> tuple[str, int] | None:
        """Return why, and since when, something may be missing that was not told yet of what is a route on a link."""
        known = self._joints.get(route.identity)
        return None if known is None else known[0].pending

    def newest(self, route: Route) -> bytes | None:
        """Return the newest message that was handed on of what is a route on one of the links."""
        known = self._joints.get(route.identity)
        return None if known is None else known[0].newest

    def outlet_of(self, link: object, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where a link's pushes with this arg go."""
        inner = self._site.outlet_of(streams, arg)
        if inner is not None and self._first.keeper is not None:
            inner = self._first.keeper.learning(streams, inner)  # a hand-over must not forget what is open
        if self._site.raw is not None and streams:
            inner = self._site.raw if inner is None else Both(self._site.raw, inner)
        known = self._joints.get(identity(arg))
        if known is None:
            if inner is None:
                return None
            joint = self._joint(arg, streams)
            for one in (self._first, self._second) if link is self._first else (self._second, self._first):
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
        known = self._joints.get(identity(stream.routes[0].arg if stream.routes else stream.arg))
        return Bypass(known[0], self) if known is not None and known[0].idle else None

    def _later(self, joint: Joint, job: Callable[[], None]) -> None:
        """Have something done in the order of a joint, on either link's thread."""
        self._jobs.append(partial(joint.soon, job))
        self._first.poke()
        self._second.poke()

    def renew(self, stream: Stream) -> None:
        """The consumer of a stream has to begin anew."""
        for joint, streams in self._joints.values():
            if stream in streams or stream.twin in streams:
                joint.renew()

    def _resume(self) -> None:
        self._first.resume()
        self._second.resume()

    # ------------------------------------------------------------------ how their streams stand

    def sure(self, link: Connection) -> list[tuple[Joint, int]]:
        """Return the joints whose streams are sure on a link, and the life of it that is meant."""
        return [(joint, joint.life(link)) for joint, streams in self._joints.values() if self._are_sure(link, streams)]

    def ended(self, link: Connection, ended: set[Stream]) -> list[tuple[Joint, str | None]]:
        """Return the joints of streams that have ended on a link, and why they have, see `Merge.lost`."""
        found = []
        for joint, streams in self._joints.values():
            whose = [one for one in self._on(link, streams) if one is not None and one in ended]
            if whose:
                found.append((joint, cause_of(link, whose[0])))
        return found

    def _on(self, link: Connection, streams: list[Stream]) -> list[Stream | None]:
        """Return these streams as they are on one of the links."""
        return [stream if stream.link is link else stream.twin for stream in streams]

    def _are_sure(self, link: Connection, streams: list[Stream]) -> bool:
        on_link = self._on(link, streams)
        return bool(on_link) and all(stream is not None and stream.live and stream.sure for stream in on_link)

    def sweep(self) -> None:
        """Forget the joints of what is not subscribed any more."""
        known = {id(stream) for link in (self._first, self._second) for stream in link.session.subscriptions}
        self._joints = {
            whose: (joint, streams)
            for whose, (joint, streams) in self._joints.items()
            if any(id(stream) in known for stream in streams)
        }

    # ------------------------------------------------------------------ what is to be done later

    def _wait_for(self, joint: Joint) -> None:
        if joint not in self.waiting:
            self.waiting.add(joint)
            self._resume()

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
