"""From the first bytes of a push to its outlet, without decoding it.

Everything before ``,"data":`` repeats literally from push to push of a subscription. The first push of a head is
decoded and matched with the subscriptions (`Subscriptions.receivers`); then its head is known, and the next one costs a
`partition` and a dict lookup. The route lives as long as the streams behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from .subscriptions import Stream, Subscriptions

__all__ = ["Batch", "Outlet", "Route", "Routes"]

#: A head is some 60 bytes; private ones vary with their page number. A full table is emptied and learnt anew.
MAX_HEADS = 16_384

Identity = frozenset[tuple[str, str]]


class Outlet(Protocol):
    """Where the messages of a route go: a queue, a handler, or several of them.

    Messages travel as the JSON text that came, and are decoded where they are used: thousands of live decoded books
    would wake the cyclic collector and halve the speed, and a text has a size that can be counted.
    """

    @property
    def congested(self) -> bool:
        """Reading must pause until there is room again."""

    def deliver(self, batch: list[bytes]) -> bool:
        """Take messages in order, neither raising nor blocking; return `congested`."""


#: Messages for one outlet, in order.
Batch = tuple[Outlet, list[bytes]]


class Route:
    """All pushes with one arg: the streams they belong to, their outlet, and what has come.

    Attributes:
        arg: The arg of the pushes (with ``uid``, if private).
        streams: The streams that receive it; empty if nothing fits.
        heads: The heads that were learnt for it.
        outlet: Where messages go; None if there is nobody.
        messages: How many came.
        last: The newest one.
        last_at: When it came (monotonic seconds); 0 before the first.
        told: That nothing fits has been told.
    """

    __slots__ = ("arg", "heads", "identity", "last", "last_at", "messages", "outlet", "streams", "told")

    def __init__(self, identity: Identity, arg: Mapping[str, Any], streams: list[Stream]) -> None:
        self.identity = identity
        self.arg = dict(arg)
        self.streams = streams
        self.heads: list[bytes] = []
        self.outlet: Outlet | None = None
        self.messages = 0
        self.last: bytes | None = None
        self.last_at = 0.0
        self.told = False


class Routes:
    """The routes of one endpoint.

    Args:
        subscriptions: Where streams are looked up.
        outlet_of: Makes the outlet for these streams and a push's arg, None if nobody holds them; must not block.
    """

    def __init__(
        self, subscriptions: Subscriptions, outlet_of: Callable[[list[Stream], Mapping[str, Any]], Outlet | None]
    ) -> None:
        self._subscriptions = subscriptions
        self._outlet_of = outlet_of
        self._by_head: dict[bytes, Route] = {}
        self._by_arg: dict[Identity, Route] = {}
        #: Routes that no stream fits exactly: the next subscription may change what they belong to.
        self._near: list[Route] = []
        #: The route of a head, or None if the head is unknown.
        self.of_head = self._by_head.get

    def of_arg(self, arg: Mapping[str, Any]) -> Route:
        """Return the route of pushes with this arg, made now if need be."""
        identity = frozenset((name, str(value)) for name, value in arg.items())
        route = self._by_arg.get(identity)
        if route is None:
            if len(self._by_arg) >= MAX_HEADS:
                self._drop(list(self._by_arg.values()))
                self._near = []
            streams, exact = self._subscriptions.receivers(arg)
            route = self._by_arg[identity] = Route(identity, arg, streams)
            if not exact:
                self._near.append(route)
            for stream in streams:
                stream.routes.append(route)
            self._connect(route)
        return route

    def __iter__(self) -> Iterator[Route]:
        return iter(list(self._by_arg.values()))

    def learn(self, head: bytes, route: Route) -> None:
        """Remember that payloads which begin with `head` belong to `route`."""
        if len(self._by_head) >= MAX_HEADS:
            self._by_head.clear()
            for known in self._by_arg.values():
                known.heads.clear()
        self._by_head[head] = route
        route.heads.append(head)

    def forget_heads(self, stream: Stream) -> None:
        """Let the next push of this stream be looked at as if it was the first: something precedes it."""
        for route in stream.routes:
            for head in route.heads:
                self._by_head.pop(head, None)
            route.heads.clear()

    def changed(self) -> None:
        """What is wanted has changed: pushes that fit nothing exactly may belong to somebody else now."""
        self._drop(self._near)
        self._near = []

    def removed(self, stream: Stream) -> None:
        """A stream was forgotten."""
        self._drop(stream.routes[:])

    def inherit(self, stream: Stream, routes: list[Route]) -> None:
        """A stream came from another session, where these were its routes: keep what they knew of its messages."""
        for known in routes:
            route = self.of_arg(known.arg)
            if stream in route.streams and known.last_at > route.last_at:
                route.last, route.last_at = known.last, known.last_at

    def reconnect(self, streams: list[Stream] | None = None) -> None:
        """Make the outlets anew, of routes to these streams or of all: holders or handlers have changed."""
        for route in self._by_arg.values() if streams is None else [r for s in streams for r in s.routes]:
            self._connect(route)

    def _connect(self, route: Route) -> None:
        swallowed = route.streams and all(stream.swallowed for stream in route.streams)
        route.outlet = None if swallowed else self._outlet_of(route.streams, route.arg)

    def _drop(self, routes: list[Route]) -> None:
        for route in routes:
            if self._by_arg.get(route.identity) is not route:
                continue  # it fell with another stream
            del self._by_arg[route.identity]
            for head in route.heads:
                self._by_head.pop(head, None)
            for stream in route.streams:
                stream.routes.remove(route)
                stream.past += route.messages
