"""`Wishes`: what other threads want of a connection: subscriptions, calls, a login; and what its session says to them.

Law. Whoever wants something changes it in the session, under `mutex`, and wakes the thread. What the session has to
tell is taken under the mutex and told outside every lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import AckTimeout, ConnectionLost, LoginError, ManagerClosed, OkxWsError, copy_of
from ..events import Event
from ..protocol.calls import Call
from ..protocol.routing import Outlet
from ..protocol.session import Session
from ..protocol.subscriptions import Stream
from .pairs import Pair
from .poller import Waker
from .site import Site, Wish

__all__ = ["SLICE_S", "Wishes"]

#: A wait is cut into slices, since Windows does not let Ctrl-C end a longer one.
SLICE_S = 1.0


class Wishes:
    """The part of `Connection` that other threads use.

    Args:
        site: What it shares with the endpoint's other links.
        changed: Notified when an answer came, the link changed, or the end has come.
        mutex: Its lock, re-entrant: close() may come from a signal handler that interrupted this very thread inside.
    """

    def __init__(self, site: Site, changed: threading.Condition, mutex: threading.RLock) -> None:
        self.site = site
        self.endpoint, self.url, self._settings = site.endpoint, site.url, site.settings
        self._tell = site.tell
        self.mutex = mutex
        self.changed = changed
        #: While another link carries the same subscriptions.
        self.pair: Pair | None = None
        #: The upkeep is wanted: set from any thread, under the mutex.
        self._poked = False
        #: Keeps its streams without holes, and asks REST for whoever is on its thread.
        self.keeper = site.keeper(self) if site.keeper is not None else None
        self.session = Session(
            site.endpoint,
            site.settings,
            self._outlet_of,
            credentials=site.credentials,
            hint=f"tried {site.url}{site.hint}",
            clock=site.clock,
            pace=site.pace,
        )
        self._waker = Waker()
        self._thread: threading.Thread | None = None
        self._stopping = False
        #: The thread does nothing any more.
        self._ended = False
        self._held_open = False
        #: It has ended, or is about to, since nobody needs it any more.
        self.retired = False
        #: It is logged in with a key that was replaced; a new link is to take its place.
        self.renewing = False
        #: What `call_soon` was given.
        self._soon: deque[Callable[[], None]] = deque()
        #: Why the endpoint is of no use any more; None while it is. After a refused login, public channels that are
        #: subscribed here bring it back; any other failure is the end.
        self.failure: OkxWsError | None = None
        #: The newest reason for being down, for the texts of time-outs; and when that was (monotonic).
        self.last_error = ""
        self.last_error_at = 0.0

    def _run(self) -> None:
        """Be the thread."""
        raise NotImplementedError

    def subscribe(self, wishes: list[Wish]) -> list[Stream]:
        """Want several args all at once, so that they travel in one request; start the thread if needed.

        What is known at once (a login that was refused before) is left for `tell_pending`.
        """
        with self.changed:
            streams = [self._want(wish) for wish in wishes]
            self.start()
        return streams

    def start(self) -> None:
        """What is wanted has changed: start the thread, or wake it."""
        with self.changed:
            if isinstance(self.failure, LoginError) and self.needed:
                self.failure = None
            if self._thread is None:
                # A daemon: an open link must not keep the interpreter alive.
                thread = threading.Thread(target=self._run, name=f"okx-ws:{self.endpoint}", daemon=True)
                thread.start()
                self._thread = thread
            self.changed.notify_all()
        self._waker.wake()

    def _want(self, wish: Wish) -> Stream:
        stream = self.session.subscribe(wish.arg, wish.needs_login, wish.holder, wish.max_silence)
        stream.link = self
        if wish.snapshot_s is not None:
            self.session.want_snapshots(stream, wish.snapshot_s, time.monotonic())
        return stream

    def _outlet_of(self, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where pushes with this arg go."""
        if self.pair is not None:
            return self.pair.seams.outlet_of(self, streams, arg)
        if self.keeper is not None:
            return self.keeper.outlet_of(streams, arg)
        return self.site.outlet_of(streams, arg)

    def tell_pending(self) -> None:
        """Tell what a call of ours has brought about; to be called outside every lock."""
        with self.mutex:
            events = self._take_events()
        self._tell_all(events)

    def unsubscribe(self, stream: Stream, holder: Any) -> None:
        """`holder` wants `stream` no longer."""
        with self.changed:
            self.session.unsubscribe(stream, holder)
            self.changed.notify_all()
        self._waker.wake()

    def resubscribe(self, stream: Stream) -> bool:
        """Have a new snapshot of `stream`; returns at once: see `Session.resubscribe`."""
        with self.mutex:
            begun = self.session.resubscribe(stream, time.monotonic(), told=True)
        self._waker.wake()
        return begun

    def reconnect_outlets(self) -> None:
        """Handlers were added or removed: make all outlets anew."""
        with self.mutex:
            self.session.routes.reconnect()

    def hold_open(self, login: bool = False) -> None:
        """Have a link even if nothing is wanted, logged in or not; start the thread if needed."""
        with self.changed:
            self._held_open = True
            self.session.login_wanted = self.session.login_wanted or login
            self.session.nudge()
        self.subscribe([])

    def send(self, text: str) -> None:
        """Send a text as it is, over the present link.

        Raises:
            ConnectionLost: There is none.
        """
        with self.mutex:
            sent = self.session.send(text)
        if not sent:
            raise ConnectionLost(f"{self.endpoint}: not connected")
        self._waker.wake()

    def login_again(self) -> None:
        """The key was replaced: log in with the new one, if there was a login; see `Session.login_again`."""
        with self.changed:
            self.session.login_again()
            if isinstance(self.failure, LoginError):
                self.failure = None
            self.changed.notify_all()
        self._waker.wake()

    def wait_login(self, until: float) -> None:
        """Wait until it is logged in with the present key, or needs no login, or another link has taken its place.

        Raises:
            LoginError, ConnectionLost, ManagerClosed: It never will be.
            AckTimeout: Not in time; it goes on trying.
        """
        with self.changed:
            while True:
                ended = self.failure or self.session.login.error
                if ended is not None:
                    raise copy_of(ended)
                if (self.session.logged_in and not self.renewing) or self.retired:
                    return
                left = until - time.monotonic()
                if left <= 0:
                    last = f"; last error: {self.last_error}" if self.last_error else ""
                    raise AckTimeout(f"{self.endpoint}: not logged in in time{last}")
                self.changed.wait(min(left, SLICE_S))

    def call(self, call: Call) -> None:
        """Have a call sent, once there is a link and a login, within its time; its `done` is told what became of it.

        The link is had from now on, whether anything is subscribed or not: the next call shall not wait for it.

        Raises:
            ManagerClosed, LoginError, ConnectionLost: The endpoint has ended; nothing was or will be sent.
        """
        with self.changed:
            ended = self.failure or self.session.login.error
            if ended is not None:
                raise copy_of(ended)
            if self._stopping:
                raise ManagerClosed("the manager is closed")
            if self._thread is None or not (self._held_open and self.session.login_wanted):
                self.hold_open(login=True)
            self.session.calls.add(call)
        self._waker.wake()

    def expire_calls(self) -> float:
        """End the calls whose time is up, link or not; return when the next one's is."""
        with self.mutex:
            calls = self.session.calls
            calls.expire(time.monotonic())
            due, calls.due = calls.due, 0.0  # the link shall look itself, for whose turn it is
        self._settle_calls()
        return due

    def _settle_calls(self) -> None:
        """Tell calls what became of them; outside every lock."""
        calls = self.session.calls
        if calls.settled:
            with self.mutex:
                settled, calls.settled = calls.settled, []
            for call, outcome in settled:
                call.done(call, outcome)

    def call_soon(self, job: Callable[[], None]) -> None:
        """Have `job` called on the thread, between two reads; never, if the link is lost before. It must not raise."""
        self._soon.append(job)
        self._waker.wake()

    def pass_jobs(self, other: Wishes) -> None:
        """Have another connection, which goes on with the subscriptions, do what this one was given."""
        while self._soon:
            other.call_soon(self._soon.popleft())

    def nudge(self) -> None:
        """Something outside has changed that requests may wait for."""
        with self.mutex:
            self.session.nudge()
        self._waker.wake()

    def poke(self) -> None:
        """Have the thread do its upkeep soon."""
        with self.changed:
            self._poked = True
            self.changed.notify_all()
        self._waker.wake()

    def wake(self) -> None:
        """Have the thread look at what is due."""
        self._waker.wake()

    def resume(self) -> None:
        """A queue has room again: go on reading."""
        with self.changed:
            self.changed.notify_all()
        self._waker.wake()

    def inherit(self, old: Wishes) -> None:
        """Take the place of a connection that has ended. Under the mutex."""
        old.pass_jobs(self)
        self._held_open = self._held_open or old._held_open
        self.session.login_wanted = self.session.login_wanted or old.session.login_wanted
        self.session.nudge()

    @property
    def needed(self) -> bool:
        """A link is needed."""
        return self.session.needed or (self._held_open and self.session.login.error is None)

    # ------------------------------------------------------------------ the end

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        with self.changed:
            self._stopping = True
            if self._thread is None:  # it was never needed, or could not be started
                self.failure = ManagerClosed("the manager is closed")
                self._waker.close()  # no call waits: the first one starts the thread
            self.changed.notify_all()
        self._waker.wake()

    def give_up(self, error: ConnectionLost) -> None:
        """Ask the thread to end, since the endpoint has failed; returns at once."""
        with self.changed:
            if self.failure is None:
                self.failure = error
            self._stopping = True
            if self._thread is None:
                self._waker.close()
            self.changed.notify_all()
        self._waker.wake()

    def retire(self) -> None:
        """Ask the thread to end, since another link has what this one had; returns at once."""
        with self.changed:
            self.retired = self._stopping = True
            self.changed.notify_all()
        self._waker.wake()

    @property
    def closing(self) -> bool:
        """It ends together with its endpoint: nobody misses what would have come."""
        return self._stopping and not self.retired

    @property
    def over(self) -> bool:
        """The thread has run and ended."""
        return self._thread is not None and (self._ended or not self._thread.is_alive())

    def join(self, until: float) -> bool:
        """Wait for the thread to end, until `until` (monotonic); return whether it has."""
        if self._thread is not None and not self.is_current():
            self._thread.join(max(0.0, until - time.monotonic()))
        return self._thread is None or not self._thread.is_alive()

    def is_current(self) -> bool:
        """Tell whether the caller runs on this connection's thread."""
        return threading.current_thread() is self._thread

    # ------------------------------------------------------------------ what the session says

    def _take_events(self) -> list[Event]:
        events, self.session.events = self.session.events, []
        return events

    def _tell_all(self, events: list[Event]) -> None:
        """Tell what the session has said, and calls what became of them; outside every lock."""
        for event in events:
            self._tell(event)
        self._settle_calls()
