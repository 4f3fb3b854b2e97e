"""`Connection`: one link of an endpoint, kept up by one thread for as long as something is wanted.

Law. The thread `okx-ws:<endpoint>` dials, runs the link, and waits the back-off; nobody else touches the socket, and
nothing but the end of `_run` ends the thread. The session is touched under `mutex` only, never during I/O, a wait, or
user code. Other threads change wishes in the session and wake the thread: see `Wishes`.

    waiting for a wish → (back-off) → connect budget → dial → upgrade → open → lost → …
                                                                           ↘ stopped, or failed for good → end
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter

from ..errors import ConnectionLost, ManagerClosed, OkxWsError
from ..events import Event
from ..protocol.backoff import delay_before
from ..protocol.codes import CLOSE_CODES, CROWDED_CLOSES, FATAL_CLOSES, SLOW_CLOSES
from ..protocol.routing import Outlet
from ..protocol.session import LOGIN, PING, LinkFault
from .app import LinkApp, Loss
from .congestion import Congestion
from .opening import open_wire
from .poller import NEVER, Poller, Stopped, WireError
from .site import Owner, Site
from .wire import Wire
from .wishes import SLICE_S, Wishes

__all__ = ["Connection"]

log = logging.getLogger(__name__)

#: How data pushes begin.
DATA_START = b'{"arg":{'

#: A link that others can do without is closed when nothing was subscribed on it for so long: who unsubscribes often
#: subscribes something else next.
LINGER_S = 30.0

#: A link that is to be handed over looks so often whether the repairs on it are over.
DEPART_S = 0.1


class Connection(Wishes):
    """One link of an endpoint.

    Args:
        site: What it shares with the endpoint's other links.
        owner: Whose it is.
        changed, mutex: See `Wishes`.
    """

    def __init__(self, site: Site, owner: Owner, changed: threading.Condition, mutex: threading.RLock) -> None:
        super().__init__(site, changed, mutex)
        self._owner = owner
        #: It is to be handed over to a new link, which begins between two reads.
        self.departing = False
        #: The link is to be dialled anew at once, without a word: another one has everything.
        self._redialling = False
        #: The newest loss is nobody's business, as things stood when it happened.
        self._quiet = False
        #: When it is handed over because of its age (monotonic).
        self._old_at = float("inf")
        #: Since when it has had no subscription (monotonic); None while it has one.
        self._empty_since: float | None = None
        self._app: LinkApp | None = None
        #: Reconnect attempts since the last healthy link.
        self._attempt = 0
        self._up_at = 0.0
        self._congestion = Congestion(site.settings.block_timeout)
        # Counts for `stats()`.
        self.connects = 0
        self._bytes_before = 0

    # ------------------------------------------------------------------ the thread

    def redial(self) -> None:
        """Close the link and dial a new one at once, since another link has everything. On the thread.

        Raises:
            LinkFault: Always.
        """
        self._redialling = True
        raise LinkFault("handed over")

    @property
    def is_served(self) -> bool:
        """It is up, or another link is that carries the same subscriptions."""
        pair = self.pair
        return bool(self.session.up) or (pair is not None and pair.seams.is_up)

    def abort(self) -> None:
        """Cut the socket: the thread hangs in user code, or the peer holds it."""
        app = self._app
        if app is not None:
            app.wire.abort()

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
            if self.keeper is not None:
                self.keeper.finish()
            if self.pair is not None:
                self.pair.ended(self)
            if self.retired:
                self._owner.gone(self)
            elif self._stopping:
                self._fail(ManagerClosed("the manager is closed"))
            self._ended = True
            self._waker.close()

    def _wait_for_wish(self) -> bool:
        """Wait until a link is needed, and there is room for what it brings; return False at the end."""
        while True:
            due = self._keep_up()
            with self.changed:
                if self._stopping or isinstance(self.failure, ConnectionLost):
                    return False
                if self.needed and not self._congestion.lasts():
                    return True
                due = min(due, self._retire_at(time.monotonic()))
                self._wait(due)

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
                "%s: a link is closed, since nothing is left on it (connId %s)",
                self.endpoint,
                self.session.teller.conn_id,
            )
        return self._empty_since + LINGER_S

    def _link(self) -> Loss:
        """Dial and run one link; return why it ended."""
        settings = self._settings
        poller: Poller | None = None
        wire: Wire | None = None
        try:
            poller = Poller(self._waker, self._must_stop)
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
            self._congestion.end()
            with self.changed:
                self.departing = False
                if self.pair is None or self.pair.permanent:
                    self.renewing = False  # the next one logs in with the new key
                self._quiet = self.pair is not None and self.pair.is_quiet(self)
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
            if not self.retired:
                self._soon.clear()

    def _after(self, loss: Loss) -> None:
        """Tell a loss, and wait before the next attempt, or give the endpoint up."""
        now = time.monotonic()
        meaning = CLOSE_CODES.get(loss.code, "")
        if self._redialling:
            self._redialling = False
            return
        self.last_error = text = loss.reason or meaning
        self.last_error_at = now
        ended = self.pair is not None and self.pair.after_loss(self)
        if loss.opened and not self._quiet:
            conn_id = self.session.teller.conn_id
            self._tell(Event("disconnected", self.endpoint, code=str(loss.code), msg=text, conn_id=conn_id))
        if loss.opened and now - self._up_at >= self._settings.backoff.healthy_s:
            self._attempt = 0
        if ended:
            return
        if loss.code in CROWDED_CLOSES and self.keeper is not None and self.pair is None:
            self.keeper.conclude()  # before anything moves
        with self.changed:
            # A login that was refused with something to retry may be followed by a close; the key is still good.
            fatal = loss.code in FATAL_CLOSES and not (loss.code == 4001 and self.session.login.retrying)
            fatal = fatal and not self.session.login.old_key
            if fatal and self.session.login.error is None:
                self.session.refuse_login(str(loss.code), text)
            # What was too much is moved, so that coming back at once does not repeat it.
            split = loss.code in CROWDED_CLOSES and self._owner.crowded(self)
            needed = self.needed
            events = self._take_events()
            if self.session.login.error is not None and not needed:
                self.failure = self.session.login.error  # before anybody can subscribe to what needs no login
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
        while True:
            due = self._keep_up()
            with self.changed:
                if self._stopping or time.monotonic() >= until:
                    return
                self._wait(min(until, due))

    def _wait(self, until: float) -> None:
        """Wait for a change, under the mutex, until `until` or a slice at most; not at all if the thread was poked."""
        if not self._poked:
            self.changed.wait(max(0.0, min(until - time.monotonic(), SLICE_S)))

    def _keep_up(self) -> float:
        self._poked = False
        try:
            self._hand_over_marked()
            pair = self.pair
            if pair is not None:
                pair.seams.work()
            if self.keeper is not None and (pair is None or (pair.permanent and pair.first is self)):
                return self.keeper.upkeep(time.monotonic())
            if self.keeper is not None:
                self.keeper.settle()
        except Exception:  # a bug of ours must cost a repair, neither the link nor the thread
            log.exception("%s: the upkeep failed", self.endpoint)
        return NEVER

    def _must_stop(self) -> bool:
        """For waits; those of a dial and an upgrade go on with the upkeep, those of a link have `serve` for it."""
        if self._poked and not self.session.up and not self._stopping:
            self._keep_up()
        return self._stopping

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
            events = self._take_events()
            if events:
                self.changed.notify_all()
            urgent = session.due == 0.0
        refusals: list[Event] = []
        if events or session.calls.settled:  # most reads bring neither
            # A refusal ends queues: what came before it goes first.
            refusals = [event for event in events if event.type == "subscribe_failed"]
            self._tell_all([event for event in events if event.type != "subscribe_failed"])
        if self.site.raw is not None:
            texts = [payload for payload in payloads if payload != b"pong"]
            if self.pair is not None:  # data goes there when it is merged
                texts = [text for text in texts if not text.startswith(DATA_START)]
            batches = [(self.site.raw, texts), *batches]
        for outlet, batch in batches:
            self.hand_over(outlet, batch)
        if refusals:
            self._tell_all(refusals)
        if self.pair is not None and (events or urgent):
            self.pair.stir(self)
        if urgent and self._app is not None:
            self._app.wire.serve_soon()

    def hand_over(self, outlet: Outlet, batch: list[bytes]) -> None:
        """Deliver messages; on the thread, outside the mutex."""
        if outlet.deliver(batch):
            self._congestion.add(outlet)

    def _hand_over_marked(self) -> None:
        if self.session.holes.marked:
            with self.mutex:
                batches = self.session.holes.take_marked()
            for outlet, batch in batches:
                self.hand_over(outlet, batch)

    def control_pong(self, payload: bytes) -> None:
        """A control pong proves nothing (see `Heartbeat`), but somebody may want to know."""
        self.site.pong(payload)

    def serve(self, now: float, idle: bool) -> float:
        """Send what the session has to send."""
        app = self._app
        assert app is not None  # called by its wire
        while self._soon:
            self._soon.popleft()()
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
        due = min(due, self._keep_up())
        return min(due, self._congestion.due)

    def _step(self, now: float) -> float:
        """Look at what concerns other links, too; return when to look again. All that was read has been delivered."""
        due = self.session.teller.closing or now >= self._old_at
        if due and (self.pair is None or self.pair.permanent or self.pair.first is self):  # else a little later
            self.session.teller.heeded()
            self._old_at = now + (self._settings.max_link_age or float("inf"))
            self._owner.hand_over(self)
        if self.renewing and self.pair is None:
            self._owner.hand_over(self)
        if self.departing and self.keeper is not None and not self.keeper.depart(now):
            return now + DEPART_S  # when what is held back is delivered
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
        if not self._congestion:
            return False
        paused = self._congestion.lasts()
        now = time.monotonic()
        with self.mutex:
            self.session.heartbeat.pause(paused, now)
        if not paused:
            self._congestion.end()
        elif self._congestion.pause(now) and self._app is not None:
            self._app.wire.serve_soon()  # the next time to be served has changed
        return paused

    # ------------------------------------------------------------------ inside

    @property
    def paused(self) -> bool:
        """Reading has stopped, since a queue is full."""
        return self._congestion.paused

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
