"""`Connection`: one link of an endpoint, kept up by one thread for as long as something is wanted.

Law. The thread `okx-ws:<endpoint>` dials, runs the link, and waits the back-off; nobody else touches the socket, and
nothing but the end of `_run` ends the thread. The session is touched under `mutex` only, never during I/O, a wait, or
user code. Other threads change wishes in the session and wake the thread.

    waiting for a wish → (back-off) → connect budget → dial → upgrade → open → lost → …
                                                                           ↘ stopped, or failed for good → end
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..config import Credentials, Settings
from ..errors import AckTimeout, ConnectionLost, LoginError, ManagerClosed, OkxWsError
from ..events import Event
from ..protocol.backoff import delay_before
from ..protocol.calls import Call
from ..protocol.codes import CLOSE_CODES, CROWDED_CLOSES, FATAL_CLOSES, SLOW_CLOSES
from ..protocol.login import ClockState
from ..protocol.routing import Outlet
from ..protocol.session import LOGIN, PING, LinkFault, Session
from ..protocol.subscriptions import Stream
from .app import LinkApp, Loss
from .opening import open_wire
from .pairs import Pair
from .wire import Poller, Stopped, Waker, Wire, WireError

__all__ = ["Connection", "Owner", "Site", "Wish"]

log = logging.getLogger(__name__)

#: A wait is cut into slices, since Windows does not let Ctrl-C end a longer one.
SLICE_S = 1.0

#: How data pushes begin.
DATA_START = b'{"arg":{'

#: A link that others can do without is closed when nothing was subscribed on it for so long: who unsubscribes often
#: subscribes something else next.
LINGER_S = 30.0


class Wish(NamedTuple):
    """What somebody wants.

    Attributes:
        arg: The arg.
        needs_login: OKX serves it only after a login.
        holder: Who wants it; opaque here.
        max_silence: See `Session.subscribe`.
        snapshot_s: It must begin with a snapshot, within so many seconds; see `Session.want_snapshots`.
    """

    arg: Mapping[str, str]
    needs_login: bool
    holder: Any
    max_silence: float | None = None
    snapshot_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the links of one endpoint have in common.

    Attributes:
        endpoint: Its name.
        url: Its address.
        settings: Times, limits, TLS.
        outlet_of: Makes the outlet of a route (see `Routes`); called under the mutex.
        tell: Takes events; called outside it.
        raw: Gets every text that is no pong, beside and before the outlets; None: nobody does.
        pong: Called on a link's thread with the payload of each control pong.
        login: Returns the text of a freshly signed login; None without credentials.
        credentials: Taken out of what OKX says before it is told.
        hint: Added to the remedy of a refused login.
        clock: What logins are signed with; None: the local clock.
    """

    endpoint: str
    url: str
    settings: Settings
    outlet_of: Callable[[list[Stream], Mapping[str, Any]], Outlet | None]
    tell: Callable[[Event], None]
    raw: Outlet | None = None
    pong: Callable[[bytes], None] = lambda payload: None
    login: Callable[[], str] | None = None
    credentials: Credentials | None = None
    hint: str = ""
    clock: ClockState | None = None


class Owner(Protocol):
    """Whose connection it is; every call comes on the connection's thread."""

    def failed(self, connection: Connection) -> None:
        """It has become of no use; its `failure` says why. Called outside the mutex."""

    def crowded(self, connection: Connection) -> bool:
        """OKX closed it for too many subscriptions: move some away; return whether any could be. Under the mutex."""

    def is_spare(self, connection: Connection) -> bool:
        """Tell whether the endpoint can do without it, as soon as it has no subscriptions."""

    def is_new(self, connection: Connection) -> bool:
        """Tell whether it is to take the place of another one, and has not yet."""

    def hand_over(self, connection: Connection) -> object:
        """It will be closed by OKX, or is old: see to a new one."""

    def begin_hand_over(self, connection: Connection) -> None:
        """It is between two reads: have a new one join it now."""

    def gone(self, connection: Connection) -> None:
        """It was spare, or another one has what it had, and it has ended. Called outside the mutex."""


class Connection:
    """One link of an endpoint.

    Args:
        site: What it shares with the endpoint's other links.
        owner: Whose it is.
        changed: Notified when an answer came, the link changed, or the end has come. Its lock is the mutex, and
            re-entrant: close() may come from a signal handler that interrupted this very thread inside.
    """

    def __init__(self, site: Site, owner: Owner, changed: threading.Condition, mutex: threading.RLock) -> None:
        self.site = site
        self.endpoint, self.url, self._settings = site.endpoint, site.url, site.settings
        self._owner = owner
        self._tell = site.tell
        self.mutex = mutex
        self.changed = changed
        self.session = Session(
            site.endpoint,
            site.settings,
            self._outlet_of,
            credentials=site.credentials,
            hint=f"tried {site.url}{site.hint}",
            clock=site.clock,
        )
        #: While another link carries the same subscriptions.
        self.pair: Pair | None = None
        #: It is to be handed over to a new link, which begins between two reads.
        self.departing = False
        #: The link is to be dialled anew at once, without a word: another one has everything.
        self._redialling = False
        #: When it is handed over because of its age (monotonic).
        self._old_at = float("inf")
        self._waker = Waker()
        self._thread: threading.Thread | None = None
        self._stopping = False
        #: The thread does nothing any more.
        self._ended = False
        #: It has ended, or is about to, since nobody needs it any more.
        self.retired = False
        #: Since when it has had no subscription (monotonic); None while it has one.
        self._empty_since: float | None = None
        self._held_open = False
        #: Why the endpoint is of no use any more; None while it is. After a refused login, public channels that are
        #: subscribed here bring it back; any other failure is the end.
        self.failure: OkxWsError | None = None
        #: The newest reason for being down, for the texts of time-outs.
        self.last_error = ""
        self.last_error_at = 0.0
        self._app: LinkApp | None = None
        #: Reconnect attempts since the last healthy link.
        self._attempt = 0
        self._up_at = 0.0
        #: Outlets that are full (also while there is no link), and since when reading pauses for them.
        self._congested: list[Outlet] = []
        self._paused_at: float | None = None
        # Counts for `stats()`.
        self.connects = 0
        self._bytes_before = 0

    # ------------------------------------------------------------------ wishes, from any thread

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
            return self.pair.outlet_of(self, streams, arg)
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
            begun = self.session.resubscribe(stream, time.monotonic())
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
        """Wait until it is logged in with the present key, or needs no login; until `until` (monotonic).

        Raises:
            LoginError, ConnectionLost, ManagerClosed: It never will be.
            AckTimeout: Not in time; it goes on trying.
        """
        with self.changed:
            while True:
                ended = self.failure or self.session.login_error
                if ended is not None:
                    raise type(ended)(*ended.args)
                if self.session.logged_in:
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
            if self._thread is None or not (self._held_open and self.session.login_wanted):
                self.hold_open(login=True)
            if self._stopping:
                raise ManagerClosed("the manager is closed")
            ended = self.failure or self.session.login_error
            if ended is not None:
                raise type(ended)(*ended.args)
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

    def nudge(self) -> None:
        """Something outside has changed that requests may wait for."""
        with self.mutex:
            self.session.nudge()
        self._waker.wake()

    def wake(self) -> None:
        """Have the thread look at what is due."""
        self._waker.wake()

    def resume(self) -> None:
        """A queue has room again: go on reading."""
        with self.changed:
            self.changed.notify_all()
        self._waker.wake()

    def inherit(self, old: Connection) -> None:
        """Take the place of a connection that has ended. Under the mutex."""
        self._held_open = self._held_open or old._held_open
        self.session.login_wanted = self.session.login_wanted or old.session.login_wanted
        self.session.nudge()

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

    def redial(self) -> None:
        """Close the link and dial a new one at once, since another link has everything. On the thread.

        Raises:
            LinkFault: Always.
        """
        self._redialling = True
        raise LinkFault("handed over")

    @property
    def over(self) -> bool:
        """The thread has run and ended."""
        return self._thread is not None and (self._ended or not self._thread.is_alive())

    def join(self, until: float) -> bool:
        """Wait for the thread to end, until `until` (monotonic); return whether it has."""
        if self._thread is not None and not self.is_current():
            self._thread.join(max(0.0, until - time.monotonic()))
        return self._thread is None or not self._thread.is_alive()

    def abort(self) -> None:
        """Cut the socket: the thread hangs in user code, or the peer holds it."""
        app = self._app
        if app is not None:
            app.wire.abort()

    def is_current(self) -> bool:
        """Tell whether the caller runs on this connection's thread."""
        return threading.current_thread() is self._thread

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while self._wait_for_wish():
                try:
                    loss = self._link()
                    if not self._stopping:
                        self._after(loss)
                except Exception as exc:  # a bug of ours must cost an attempt, not the thread: others wait for it
                    self.last_error_at = time.monotonic()
                    self.last_error = f"internal error: {exc!r}"
                    log.exception("%s: the connection's own code failed", self.endpoint)
                    self._pause(SLICE_S)
        finally:
            if self.retired:
                self._owner.gone(self)
            elif self._stopping:
                self._fail(ManagerClosed("the manager is closed"))
            self._ended = True
            self._waker.close()

    def _wait_for_wish(self) -> bool:
        """Wait until a link is needed, and there is room for what it brings; return False at the end."""
        with self.changed:
            while not self._stopping and not isinstance(self.failure, ConnectionLost):
                if self.needed and not self._still_congested():
                    return True
                self._retire_at(time.monotonic())
                self.changed.wait(SLICE_S)
        return False

    def _retire_at(self, now: float) -> float:
        """End, if nobody has needed this link for a while; return when to ask again. Under the mutex."""
        if len(self.session.subscriptions) or self._held_open or not self._owner.is_spare(self):
            self._empty_since = None
            return float("inf")
        if self._empty_since is None:
            self._empty_since = now
        if now >= self._empty_since + LINGER_S and not self._stopping:
            self.retired = self._stopping = True
            log.info(
                "%s: a link is closed, since nothing is left on it (connId %s)", self.endpoint, self.session.conn_id
            )
        return self._empty_since + LINGER_S

    @property
    def needed(self) -> bool:
        """A link is needed."""
        return self.session.needed or (self._held_open and self.session.login_error is None)

    def _link(self) -> Loss:
        """Dial and run one link; return why it ended."""
        settings = self._settings
        poller: Poller | None = None
        wire: Wire | None = None
        try:
            poller = Poller(self._waker, lambda: self._stopping)
            wire = open_wire(self.url, settings, poller, self._waker)
            self._app = app = LinkApp(self.url, wire, self, settings.max_message_bytes)
            app.run_forever(ping_interval=settings.ping_interval)
            return app.loss or Loss(1006, "the upgrade failed", opened=False)
        except WireError as exc:
            return Loss(1006, str(exc), opened=False)
        except Stopped:
            return Loss(1000, "closed by us", opened=False)
        except OSError as exc:  # no file descriptor left, for example
            return Loss(1006, f"this machine refuses a connection: {exc.strerror or exc}", opened=False)
        finally:
            self._app = None
            self._paused_at = None
            with self.changed:
                self.departing = False
                self.session.link_down()
                self.changed.notify_all()
            if wire is not None:
                self._bytes_before += wire.bytes_in
                wire.close()
            if poller is not None:
                poller.close()
            self._settle_calls()
            if self.pair is not None:
                self.pair.link_lost(self)

    def _after(self, loss: Loss) -> None:
        """Tell a loss, and wait before the next attempt, or give the endpoint up."""
        now = time.monotonic()
        meaning = CLOSE_CODES.get(loss.code, "")
        if self._redialling:
            self._redialling = False
            return
        self.last_error = text = loss.reason or meaning
        self.last_error_at = now
        quiet = self.pair is not None and self.pair.is_quiet(self)
        ended = self.pair is not None and self.pair.after_loss(self)
        if loss.opened and not quiet:
            self._tell(Event("disconnected", self.endpoint, code=str(loss.code), msg=text))
        if loss.opened and now - self._up_at >= self._settings.backoff.healthy_s:
            self._attempt = 0
        if ended:
            return
        with self.changed:
            # A login that was refused with something to retry may be followed by a close; the key is still good.
            fatal = loss.code in FATAL_CLOSES and not (loss.code == 4001 and self.session.login_pending)
            fatal = fatal and not self.session.old_key
            if fatal and self.session.login_error is None:
                self.session.refuse_login(str(loss.code), text)
            # What was too much is moved, so that coming back at once does not repeat it.
            split = loss.code in CROWDED_CLOSES and self._owner.crowded(self)
            needed = self.needed
            events = self._take_events()
            if self.session.login_error is not None and not needed:
                self.failure = self.session.login_error  # before anybody can subscribe to what needs no login
                self.changed.notify_all()
        self._tell_all(events)
        if self.failure is not None:
            self._owner.failed(self)
        elif not self._settings.reconnect and self._owner.is_new(self):
            self.retire()
        elif not self._settings.reconnect:
            self._fail(ConnectionLost(f"{self.endpoint}: {text} (reconnect=False)"))
        elif needed:
            self._back_off(loss.code in SLOW_CLOSES and not split, text)

    def _back_off(self, slow: bool, text: str) -> None:
        self._attempt += 1
        policy = self._settings.backoff
        # Jitter spreads clients, it guards no secret. What repeats itself is tried at the longest distance.
        delay = policy.cap_s if slow else delay_before(self._attempt, policy, random.random())  # noqa: S311
        self._tell(Event("reconnecting", self.endpoint, attempt=self._attempt, delay_s=delay, msg=text))
        self._pause(delay)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self.changed:
            while not self._stopping and (left := until - time.monotonic()) > 0:
                self.changed.wait(min(left, SLICE_S))

    def _fail(self, error: OkxWsError) -> None:
        with self.changed:
            self.failure = self.failure if isinstance(self.failure, ConnectionLost) else error
            self.session.calls.end(error)
            self.changed.notify_all()
        self._settle_calls()
        self._owner.failed(self)

    # ------------------------------------------------------------------ what the link tells (LinkOwner)

    def link_opened(self, app: LinkApp, now: float) -> None:
        """The upgrade succeeded: tell, and have what is wanted sent."""
        self._up_at = now
        self._old_at = now + (self._settings.max_link_age or float("inf"))
        self.connects += 1
        with self.changed:
            self.session.link_up(now, app.ping_every)
            self.changed.notify_all()
        self._tell(Event("connected", self.endpoint, msg=self.url))

    def received(self, payloads: list[bytes]) -> None:
        """Sort what arrived, and deliver it outside the mutex."""
        session = self.session
        with self.mutex:
            batches = session.receive(payloads, time.monotonic(), time.time_ns() // 1_000_000)
            if session.events:
                self.changed.notify_all()
            events = self._take_events()
            urgent = session.due == 0.0
        self._tell_all(events)
        if self.pair is not None and events:
            self.pair.stir(self)
        if self.site.raw is not None:
            texts = [payload for payload in payloads if payload != b"pong"]
            if self.pair is not None:  # data goes there when it is merged
                texts = [text for text in texts if not text.startswith(DATA_START)]
            batches = [(self.site.raw, texts), *batches]
        for outlet, batch in batches:
            if outlet.deliver(batch):
                self._congested.append(outlet)
        if urgent and self._app is not None:
            self._app.wire.serve_soon()

    def control_pong(self, payload: bytes) -> None:
        """A control pong proves nothing (see `Heartbeat`), but somebody may want to know."""
        self.site.pong(payload)

    def serve(self, now: float, idle: bool) -> float:
        """Send what the session has to send."""
        app = self._app
        assert app is not None  # called by its wire
        pair_due = self._step(now)
        try:
            with self.mutex:
                life = app.reader.life_at()
                if life is not None:
                    self.session.heartbeat.life(life)
                texts = self.session.pump(now, idle, room=not app.wire.unsent)
                due = min(self.session.due, self._retire_at(now), self._old_at, pair_due)
        finally:
            with self.mutex:
                events = self._take_events()
            self._tell_all(events)
        for text in texts:
            if text == PING:
                app.send_ping()
            else:
                app.send_text(self._sign() if text == LOGIN else text)
        return due if self._paused_at is None else min(due, self._paused_at + self._settings.block_timeout)

    def _step(self, now: float) -> float:
        """Look at what concerns other links, too; return when to look again. All that was read has been delivered."""
        due = self.session.notice or now >= self._old_at
        if due and (self.pair is None or self.pair.permanent or self.pair.first is self):  # else a little later
            self.session.notice, self._old_at = False, now + (self._settings.max_link_age or float("inf"))
            self._owner.hand_over(self)
        if self.departing:
            self._owner.begin_hand_over(self)
        return float("inf") if self.pair is None else self.pair.step(self, now)

    def _sign(self) -> str:
        """Return a login signed now; outside the mutex, since it may call users' code."""
        assert self.site.login is not None  # the session asks for logins only with credentials
        try:
            return self.site.login()
        except Exception as exc:
            log.exception("%s: the login could not be made", self.endpoint)
            raise LinkFault(f"the login could not be made: {type(exc).__name__}") from exc

    def must_pause(self) -> bool:
        """Tell whether a full queue stops the reading; a link that has to wait too long falls."""
        if not self._congested:
            return False
        paused = self._still_congested()
        now = time.monotonic()
        with self.mutex:
            self.session.heartbeat.pause(paused, now)
        if not paused:
            self._paused_at = None
        elif self._paused_at is None:
            self._paused_at = now
            if self._app is not None:
                self._app.wire.serve_soon()  # the next time to be served has changed
        elif now >= self._paused_at + self._settings.block_timeout:
            raise LinkFault(f"overflow: a queue stayed full for {self._settings.block_timeout:g} s")
        return paused

    # ------------------------------------------------------------------ inside

    def _still_congested(self) -> bool:
        self._congested = [outlet for outlet in self._congested if outlet.congested]
        return bool(self._congested)

    def _take_events(self) -> list[Event]:
        events, self.session.events = self.session.events, []
        return events

    def _tell_all(self, events: list[Event]) -> None:
        """Tell what the session has said, and calls what became of them; outside every lock."""
        for event in events:
            self._tell(event)
        self._settle_calls()

    @property
    def paused(self) -> bool:
        """Reading has stopped, since a queue is full."""
        return self._paused_at is not None

    @property
    def counts(self) -> Counter[str]:
        """What `stats` adds up over the links of an endpoint. Under the mutex."""
        session = self.session
        return Counter(
            connects=self.connects, messages=session.messages, bytes=self.bytes_in, malformed=session.malformed
        )

    @property
    def bytes_in(self) -> int:
        """Bytes of WebSocket traffic that came, over all links."""
        app = self._app
        return self._bytes_before + (app.wire.bytes_in if app is not None else 0)
