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
from .connection import Connection
from .handover import HandOver
from .redundancy import Redundant
from .site import Site, Wish

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
        # Both are replaced as a whole, so that they can be read without the mutex.
        #: Every connection there is.
        self.connections: tuple[Connection, ...] = ()
        #: Those that have the streams: all but a new one that is to take the place of another.
        self.lines: tuple[Connection, ...] = ()
        #: Counts of lines that are gone.
        self.past: Counter[str] = Counter()
        self._open()

    def _open(self) -> Connection:
        line = self._connect()
        self.lines = (*self.lines, line)
        if self.site.settings.redundancy == 2:
            Redundant(self.site, line, self._connect()).begin()
        return line

    def _start(self, line: Connection) -> None:
        for link in self.links_of(line):
            link.start()

    def links_of(self, line: Connection) -> tuple[Connection, ...]:
        """Return the links of a line: two, if each subscription is on two."""
        return (line, line.pair.second) if line.pair is not None and line.pair.permanent else (line,)

    def _connect(self) -> Connection:
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
                self._start(line)  # all of them before anything is wanted: there may be no thread to be had
            streams: dict[int, Stream] = {}
            for line in lines:
                chosen = [index for index, place in enumerate(places) if place is line]
                made = line.subscribe([wishes[index] for index in chosen])
                streams.update(zip(chosen, made, strict=True))
                for stream in made:
                    self._changed(line, stream)
            return [streams[index] for index in range(len(wishes))]

    def tell_pending(self) -> None:
        """Tell what a call of ours has brought about; to be called outside every lock."""
        for connection in self.connections:
            connection.tell_pending()

    def find(self, arg: Mapping[str, str]) -> Stream | None:
        """Return the stream of exactly this arg. Under the mutex."""
        found = (line.session.subscriptions.find(arg) for line in self.lines)
        return next((stream for stream in found if stream is not None), None)

    def unsubscribe(self, stream: Stream, holder: Any) -> None:
        """`holder` wants `stream` no longer."""
        with self.mutex:
            line = self._line_of(stream)
            line.unsubscribe(stream, holder)
            self._changed(line, stream)
            if line.pair is not None and not stream.holders:
                line.pair.unwanted(stream)

    def resubscribe(self, stream: Stream) -> bool:
        """Have a new snapshot of `stream`; returns at once: see `Session.resubscribe`."""
        with self.mutex:
            line, twin = self._line_of(stream), stream.twin
            begun = line.resubscribe(stream)
            if line.pair is not None and twin is not None:
                begun = self._line_of(twin).resubscribe(twin) or begun
                for one in (
                    (stream, twin) if begun else ()
                ):  # what is asked for already would pass for a link that goes on
                    one.anew = one.anew or one.wire == "asked"
                line.pair.seams.renew(stream)
            return begun

    def call_soon(self, stream: Stream, job: Callable[[], None]) -> None:
        """Have `job` called on the thread of this stream's link: see `Connection.call_soon`."""
        with self.mutex:
            self._line_of(stream).call_soon(job)

    def hold_open(self, login: bool = False) -> None:
        """Have a link even if nothing is wanted, logged in or not; start its thread if needed."""
        with self.mutex:
            if self._stopping:
                raise ManagerClosed("the manager is closed")
            for link in self.links_of(self.lines[0]):
                link.hold_open(login)

    def send(self, text: str) -> None:
        """Send a text as it is, over the first link that is up.

        Raises:
            ConnectionLost: There is none.
        """
        with self.mutex:
            links = [link for line in self.lines for link in self.links_of(line)]
            next((link for link in links if link.session.up), links[0]).send(text)

    @property
    def logged_in(self) -> bool:
        """Some link is logged in."""
        return any(link.session.up and link.session.login.state == "done" for link in self.connections)

    def login_again(self, hand_over: bool) -> None:
        """The key was replaced: have links that are logged in handed over, or made anew; see `Session.login_again`."""
        with self.mutex:
            for link in [link for link in self.connections if not link.retired]:
                session = link.session
                if hand_over and session.up and session.login.state == "done" and link.needed:
                    session.login.key_passes_on()
                    link.renewing = True
                    self.hand_over(link)  # now; or else once what it is a part of is over: see `Connection`
                else:
                    link.login_again()

    def wait_login(self, until: float) -> None:
        """Wait until all of them are logged in that have to be; see `Connection.wait_login`."""
        for connection in self.connections:
            connection.wait_login(until)

    def call(self, call: Call) -> None:
        """Have a call sent; see `Connection.call`."""
        with self.mutex:
            line = self.lines[0]
            (line if line.pair is None else line.pair.caller).call(call)

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
        """Tell whether a link of this stream is up."""
        return self.serves(self._line_of(stream))

    def serves(self, line: Connection) -> bool:
        """Tell whether a line is up."""
        return any(link.session.up for link in self.links_of(line))

    def is_paused(self, stream: Stream) -> bool:
        """Tell whether every link of this stream has stopped reading, since a queue is full."""
        links = [link for link in self.links_of(self._line_of(stream)) if link.session.up]
        return bool(links) and all(link.paused for link in links)

    @property
    def failure(self) -> OkxWsError | None:
        """Why the endpoint is of no use any more; None while it is of some."""
        failures = [self._failure_of(line) for line in self.lines if not line.retired or self._stopping]
        lost = next((failure for failure in failures if isinstance(failure, ConnectionLost)), None)
        return lost or (None if None in failures or not failures else failures[-1])

    def _failure_of(self, line: Connection) -> OkxWsError | None:
        failures = [link.failure for link in self.links_of(line)]
        return None if None in failures else failures[0]

    @property
    def last_error(self) -> str:
        """The newest reason for being down, for the texts of time-outs."""
        return max(self.connections, key=lambda connection: connection.last_error_at).last_error

    def is_current(self) -> bool:
        """Tell whether the caller runs on the thread of one of its links."""
        return any(connection.is_current() for connection in self.connections)

    def _changed(self, line: Connection, stream: Stream) -> None:
        if line.pair is not None:
            line.pair.changed(stream)

    def rotate(self) -> int:
        """Hand every link over to a new one; return how many are."""
        with self.mutex:
            return sum([self.hand_over(link) for line in self.lines for link in self.links_of(line)])

    # ------------------------------------------------------------------ which line

    def _place(self, args: list[tuple[Mapping[str, str], bool]], without: Connection | None = None) -> list[Connection]:
        """Return the line of each arg (with whether it needs a login); open lines if need be. Under the mutex."""
        # What comes to a line that is about to go moves with the rest.
        lines = [line for line in self.lines if line is not without and (line.pair is not None or not line.retired)]
        loads = [Load(line.session.subscriptions) for line in lines]
        refused = next((line for line in lines if line.session.login.error is not None), None)
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
        if self.is_new(connection) and not self._stopping:
            return  # it could not be had: see `HandOver`
        failure = self.failure
        if isinstance(failure, ConnectionLost):
            for other in self.connections:
                other.give_up(failure)
        self._failed()

    def crowded(self, connection: Connection) -> bool:
        """Move half of what a line carries elsewhere, since OKX closed it for carrying too much: one of its links."""
        pair = connection.pair
        if pair is not None and pair.relieved.get(connection) == connection.connects:
            return True  # what was too much for it has moved meanwhile
        full = connection if pair is None else pair.first
        subscriptions = full.session.subscriptions
        limit = (len(subscriptions) + 1) // 2
        moving = excess(subscriptions, limit)
        if self._stopping or not moving or full not in self.lines or (pair is not None and not pair.permanent):
            return False
        self.limit = min(self.limit, limit)
        if pair is not None:
            pair.relieved = {link: link.connects for link in (pair.first, pair.second)}
        places = self._place([(stream.arg, stream.needs_login) for stream in moving], without=full)
        for stream, line in zip(moving, places, strict=True):
            if pair is not None:
                pair.leave(stream)
            full.session.give(stream, line.session)
            stream.link = line
            self._changed(line, stream)
        for line in set(places):
            self._start(line)
        full.wake()  # it may be up, and has to tell what it has left
        told = f"too much for one link: {len(moving)} subscriptions moved, {self.limit} a link from now on"
        connection.session.events.append(Event("notice", self.endpoint, msg=told))
        return True

    def is_spare(self, connection: Connection) -> bool:
        """Tell whether the endpoint can do without a line that is empty: any but the first."""
        return connection in self.lines[1:] and (connection.pair is None or connection.pair.permanent)

    def is_new(self, connection: Connection) -> bool:
        """Tell whether a connection is to take the place of another one, and has not yet."""
        return connection not in self.lines and not (connection.pair is not None and connection.pair.permanent)

    def hand_over(self, connection: Connection) -> bool:
        """Have a new link take the place of one; return whether that begins now."""
        with self.mutex:
            if isinstance(connection.pair, Redundant):
                return connection.pair.hand_over(connection)
            idle = connection.pair is None and not connection.departing
            if not idle or connection.retired or not connection.session.up or not connection.needed:
                return False
            connection.departing = True
            connection.wake()
        return True

    def begin_hand_over(self, connection: Connection) -> None:
        """Have a new connection join one that is between two reads."""
        with self.mutex:
            connection.departing = False
            if not self._stopping:
                pair = HandOver(self.site, connection, self._connect())
                pair.second.inherit(connection)
                pair.join()
                pair.second.start()

    def gone(self, connection: Connection) -> None:
        """A connection has ended that was spare, or whose place another one takes."""
        with self.mutex:
            heir = connection.pair.heir(connection) if connection.pair is not None else None
            for link in self.links_of(connection)[1:]:
                link.retire()
            if heir is not None:
                inherit(connection, heir)
            rest = (heir if line is connection else line for line in self.lines)
            self.lines = tuple(line for line in rest if line is not None)
            self.connections = tuple(line for line in self.connections if line is not connection)
            self.past += connection.counts
            self.changed.notify_all()
        if heir is not None:
            heir.start()
        if self._stopping:
            self._failed()

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


def inherit(old: Connection, new: Connection) -> None:
    """Have the streams of a link that has ended take the place of their twins. Under the mutex."""
    new.inherit(old)
    for stream in list(old.session.subscriptions):
        twin = stream.twin
        if twin is not None and new.session.subscriptions.find(twin.arg) is twin:
            new.session.take_over(stream)
            if new.pair is not None:
                new.pair.replaced(twin, stream)
        elif stream.holders:
            old.session.give(stream, new.session)
        else:
            continue
        stream.link = new
