"""`Lines`: the links of one endpoint, as many as its subscriptions need.

Law. An arg lives on one line, where it stays: a second subscription of it, or of one with the same key, joins it there.
A new one goes to the line with the fewest that has room; where none has, a further line is opened, within the connects
a second. Channels that need a login stay together by name, since OKX counts the connections of each. All lines share
one mutex, so that a subscription moves from one to another in one step, and one condition, so that nobody has to know
on which line an answer comes. A line's loss replays only its own.

The first line is there from the beginning, and stays; any other one ends when nothing was left on it for a while.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConnectionLost, ManagerClosed, OkxWsError
from ..events import Event
from ..protocol.calls import Call
from ..protocol.spreading import Load, excess, place
from ..protocol.subscriptions import Stream
from .connection import Connection, Site, Wish

__all__ = ["Lines"]


class Lines:
    """The links of one endpoint.

    Args:
        site: What they have in common.
        failed: Called when the endpoint has become of no use; `failure` says why.
    """

    def __init__(self, site: Site, failed: Callable[[], None]) -> None:
        self.site = site
        self.endpoint, self.url = site.endpoint, site.url
        self._failed = failed
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self.mutex = threading.RLock()
        #: Notified when an answer came, a link changed, or the end has come.
        self.changed = threading.Condition(self.mutex)
        self._stopping = False
        #: What a line may carry; less, once OKX has closed one for carrying too much.
        self.limit = site.settings.subscriptions_per_link
        #: Replaced as a whole, so that it can be read without the mutex.
        self.connections: tuple[Connection, ...] = ()
        #: Counts of lines that are gone.
        self.past: Counter[str] = Counter()
        self._open()

    def _open(self) -> Connection:
        connection = Connection(self.site, self, self.changed, self.mutex)
        self.connections = (*self.connections, connection)
        return connection

    # ------------------------------------------------------------------ wishes, from any thread

    def subscribe(self, wishes: list[Wish]) -> list[Stream]:
        """Want several args all at once, so that they travel in few requests; start threads if needed.

        What is known at once (a login that was refused before) is left for `tell_pending`.
        """
        with self.mutex:
            if self._stopping:
                raise ManagerClosed("the manager is closed")
            places = self._place([(wish.arg, wish.needs_login) for wish in wishes])
            lines = list(dict.fromkeys(places))
            for line in lines:
                line.start()  # all of them before anything is wanted: there may be no thread to be had
            streams: dict[int, Stream] = {}
            for line in lines:
                chosen = [index for index, place in enumerate(places) if place is line]
                streams.update(zip(chosen, line.subscribe([wishes[index] for index in chosen]), strict=True))
            return [streams[index] for index in range(len(wishes))]

    def tell_pending(self) -> None:
        """Tell what a call of ours has brought about; to be called outside every lock."""
        for connection in self.connections:
            connection.tell_pending()

    def find(self, arg: Mapping[str, str]) -> Stream | None:
        """Return the stream of exactly this arg. Under the mutex."""
        found = (connection.session.subscriptions.find(arg) for connection in self.connections)
        return next((stream for stream in found if stream is not None), None)

    def unsubscribe(self, stream: Stream, holder: Any) -> None:
        """`holder` wants `stream` no longer."""
        with self.mutex:
            self._line_of(stream).unsubscribe(stream, holder)

    def resubscribe(self, stream: Stream) -> bool:
        """Have a new snapshot of `stream`; returns at once: see `Session.resubscribe`."""
        with self.mutex:
            return self._line_of(stream).resubscribe(stream)

    def call_soon(self, stream: Stream, job: Callable[[], None]) -> None:
        """Have `job` called on the thread of this stream's link: see `Connection.call_soon`."""
        with self.mutex:
            self._line_of(stream).call_soon(job)

    def hold_open(self, login: bool = False) -> None:
        """Have a link even if nothing is wanted, logged in or not; start its thread if needed."""
        with self.mutex:
            if self._stopping:
                raise ManagerClosed("the manager is closed")
            self.connections[0].hold_open(login)

    def send(self, text: str) -> None:
        """Send a text as it is, over the first link that is up.

        Raises:
            ConnectionLost: There is none.
        """
        with self.mutex:
            up = [connection for connection in self.connections if connection.session.up]
            (up or self.connections)[0].send(text)

    def login_again(self) -> None:
        """The key was replaced: see `Session.login_again`."""
        with self.mutex:
            for connection in self.connections:
                connection.login_again()

    def wait_login(self, until: float) -> None:
        """Wait until all of them are logged in that have to be; see `Connection.wait_login`."""
        for connection in self.connections:
            connection.wait_login(until)

    def call(self, call: Call) -> None:
        """Have a call sent; see `Connection.call`."""
        with self.mutex:
            self.connections[0].call(call)

    def expire_calls(self) -> float:
        """End the calls whose time is up, link or not; return when the next one's is."""
        return min([connection.expire_calls() for connection in self.connections])

    def reconnect_outlets(self) -> None:
        """Handlers were added or removed: make all outlets anew."""
        for connection in self.connections:
            connection.reconnect_outlets()

    def nudge(self) -> None:
        """Something outside has changed that requests may wait for."""
        for connection in self.connections:
            connection.nudge()

    def resume(self) -> None:
        """A queue has room again: go on reading."""
        for connection in self.connections:
            connection.resume()

    # ------------------------------------------------------------------ how it stands

    def _line_of(self, stream: Stream) -> Connection:
        line: Connection = stream.link
        return line

    @property
    def up(self) -> bool:
        """Some link is up."""
        return any(connection.session.up for connection in self.connections)

    def is_up(self, stream: Stream) -> bool:
        """Tell whether the link of this stream is up."""
        return self._line_of(stream).session.up

    def is_paused(self, stream: Stream) -> bool:
        """Tell whether the link of this stream has stopped reading, since a queue is full."""
        return self._line_of(stream).paused

    @property
    def failure(self) -> OkxWsError | None:
        """Why the endpoint is of no use any more; None while it is of some."""
        failures = [connection.failure for connection in self.connections]
        lost = next((failure for failure in failures if isinstance(failure, ConnectionLost)), None)
        return lost or (None if None in failures else failures[-1])

    @property
    def last_error(self) -> str:
        """The newest reason for being down, for the texts of time-outs."""
        return max(self.connections, key=lambda connection: connection.last_error_at).last_error

    def is_current(self) -> bool:
        """Tell whether the caller runs on the thread of one of its links."""
        return any(connection.is_current() for connection in self.connections)

    # ------------------------------------------------------------------ which line

    def _place(self, args: list[tuple[Mapping[str, str], bool]], without: Connection | None = None) -> list[Connection]:
        """Return the line of each arg (with whether it needs a login); open lines if need be. Under the mutex."""
        lines = [line for line in self.connections if not line.retired and line is not without]
        loads = [Load(line.session.subscriptions) for line in lines]
        refused = next((line for line in lines if line.session.login_error is not None), None)
        places = place(args, loads, self.limit)
        lines += [self._open() for _ in loads[len(lines) :]]
        of_load = dict(zip(map(id, loads), lines, strict=True))
        # A key that was refused for good on one line is not tried on another.
        return [
            refused if login and refused is not None else of_load[id(load)]
            for load, (_, login) in zip(places, args, strict=True)
        ]

    # ------------------------------------------------------------------ what connections ask and tell (Owner)

    def failed(self, connection: Connection) -> None:
        """A line has become of no use; the loss of one that shall not reconnect is the end of all."""
        if isinstance(connection.failure, ConnectionLost):
            for other in self.connections:
                other.give_up(connection.failure)
        self._failed()

    def crowded(self, connection: Connection) -> bool:
        """Move half of what a line carries elsewhere, since OKX closed it for carrying too much."""
        subscriptions = connection.session.subscriptions
        limit = (len(subscriptions) + 1) // 2
        moving = excess(subscriptions, limit)
        if self._stopping or not moving:
            return False
        self.limit = min(self.limit, limit)
        places = self._place([(stream.arg, stream.needs_login) for stream in moving], without=connection)
        for stream, line in zip(moving, places, strict=True):
            connection.session.give(stream, line.session)
            stream.link = line
        for line in set(places):
            line.start()
        told = f"too much for one link: {len(moving)} subscriptions moved, {self.limit} a link from now on"
        connection.session.events.append(Event("notice", self.endpoint, msg=told))
        return True

    def is_spare(self, connection: Connection) -> bool:
        """Tell whether the endpoint can do without a line that is empty: any but the first."""
        return connection is not self.connections[0]

    def gone(self, connection: Connection) -> None:
        """A line that was spare has ended."""
        with self.mutex:
            self.connections = tuple(line for line in self.connections if line is not connection)
            self.past += connection.counts

    # ------------------------------------------------------------------ the end

    def stop(self) -> None:
        """Ask all threads to end; returns at once."""
        with self.mutex:
            self._stopping = True
            for connection in self.connections:
                connection.stop()

    def join(self, until: float) -> bool:
        """Wait for the threads to end, until `until` (monotonic); return whether all have."""
        return all([connection.join(until) for connection in self.connections])

    def abort(self) -> None:
        """Cut the sockets of threads that still live: they hang in user code, or the peer holds them."""
        for connection in self.connections:
            if not connection.join(0.0):
                connection.abort()
