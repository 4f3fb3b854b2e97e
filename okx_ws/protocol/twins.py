"""One arg on two sessions: twins, and streams that go from one session to another.

Law. A stream and its twin have the same holders; whoever reads merges what the two bring. While one of them is live,
nothing is missing. When the link of a stream is gone for good, the stream takes the place of its twin, and stands where
that stands: to its holders nothing happens. Without a twin there, it is carried on as one that has still to be asked
for, with the hole that its lost link has left.
"""

from __future__ import annotations

from .asking import Asking
from .holes import Holes
from .requests import Requests
from .routing import Route, Routes
from .silence import Silence
from .standing import Standing
from .subscriptions import Stream, Subscriptions

__all__ = ["Twins"]


class Twins:
    """What other sessions have to do with the streams of this one.

    Args:
        subscriptions: The streams of this session.
        routes: Where their messages go.
        requests: Where their answers are awaited.
        holes: What is missing from them.
        silence: Told that there are others now.
        standing: Told that they are wanted.
        asking: Told that there may be something to ask.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        routes: Routes,
        requests: Requests,
        *,
        holes: Holes,
        silence: Silence,
        standing: Standing,
        asking: Asking,
    ) -> None:
        self._subscriptions = subscriptions
        self._routes = routes
        self._requests = requests
        self._holes = holes
        self._silence = silence
        self._standing = standing
        self._asking = asking

    def want(self, stream: Stream) -> None:
        """Want what another session's stream wants, as its twin."""
        twin = self._subscriptions.want_twin(stream)
        if twin.max_silence is not None:
            self._silence.look()
        self._routes.changed()
        self._standing.holders_changed(twin)
        self._asking.nudge()
        self._standing.wanted(twin)

    def take_over(self, stream: Stream) -> None:
        """A stream of another session, whose link is gone, takes the place of its twin here."""
        twin, routes = stream.twin, stream.routes[:]
        assert twin is not None
        told = any(route.last_at for route in [*routes, *twin.routes])  # by whoever merges the two
        self._requests.replace(twin, stream)
        self._subscriptions.replace(twin, stream)
        if told or stream.covered:
            stream.hole_since_ms = None
        self._holes.share(stream)
        stream.take_over(twin)
        self._routes.inherit(stream, routes)
        self._silence.look()
        self._asking.nudge()

    def give(self, stream: Stream, other: Twins) -> None:
        """Have another session carry on with a stream, its hole with it; with a link, the server is told to leave it.

        What this link and a twin, which is left behind, would bring until the stream is active again counts as missing.
        """
        twin, served = stream.twin, stream.wire != "off"
        if twin is not None or served:
            self._holes.begin(stream, "disconnect")
        if twin is not None:
            stream.twin = twin.twin = None
        routes = stream.routes[:]
        self._routes.removed(stream)
        self._subscriptions.forget(stream)
        if served:
            self._requests.forget(stream)
            self._subscriptions.adopt(stream.arg)
            stream.leave_link()
            self._asking.nudge()
        other.carry_on(stream, routes)

    def carry_on(self, stream: Stream, routes: list[Route]) -> None:
        """Go on with a stream of another session, where these were its routes."""
        self._subscriptions.add(stream)
        self._routes.changed()
        self._routes.inherit(stream, routes)
        self._silence.look()
        self._asking.nudge()
