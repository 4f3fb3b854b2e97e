"""Users' handlers: the sinks that call them, and the thread most of them run on.

Law. User code runs outside every lock. What it raises is logged with its name, told as `handler_error`, and harms
neither the thread nor other handlers. Handlers may subscribe, unsubscribe and close from inside. Events are served
before data, and handlers take turns, so that a busy one does not starve the others; each gets its messages in order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from .config import Settings
from .delivery import SLICE_S, Reports, make_queue, now_ms
from .events import Event
from .protocol import codec, gaps

__all__ = [
    "EventSink",
    "HandlerSink",
    "HandlerThread",
    "InlineSink",
    "QueuedSink",
    "RawSink",
    "TextSink",
    "Turn",
    "name_of",
]

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], object]
EventHandler = Callable[[Event], object]
ArgKey = frozenset[tuple[str, Any]]

#: Messages one handler gets before the next one has its turn.
TURN = 256

#: Long after a batch has found its way from the link to a sink.
FORGET_S = 60.0

#: Lines about dropped events are this far apart.
WARN_EVERY_S = 1.0

#: Messages that other links may bring for an inline handler that is still busy; beyond, they pause.
MAX_WAITING = 10_000

#: Events that may wait for handlers; beyond, the oldest are dropped, which the log tells.
MAX_EVENTS = 10_000


def name_of(handler: Callable[..., object]) -> str:
    """Return what people call a handler; never raises, whatever the object is."""
    try:
        name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
        module = getattr(handler, "__module__", None)
        return f"{module}.{name}" if module else str(name)
    except Exception:  # an attribute that raises
        return type(handler).__qualname__


def agree(mine: ArgKey, other: ArgKey) -> bool:
    """Tell whether two args are of one channel and contradict each other in nothing."""
    names = dict(mine)
    return all(names.get(name, value) == value for name, value in other) and ("channel", names["channel"]) in other


class HandlerSink:
    """Calls one handler with decoded messages; base of `InlineSink` and `QueuedSink`."""

    #: What it gets does not go to the shared queue.
    takes = True
    #: It needs no hole of its stream filled.
    mends_itself = False

    def __init__(self, handler: Handler, settings: Settings, reports: Reports) -> None:
        self.handler = handler
        self._decode: Callable[[bytes], Any] = codec.decode
        self._markers = settings.markers
        self._reports = reports
        #: Nothing reaches the handler any more.
        self.dead = False
        #: It is dead because the manager closes: what it does not get is counted.
        self._cut_off = False
        #: Args in use, by the number of subscriptions; and args whose last one has ended, and when: messages of theirs
        #: may still be under way.
        self._live: Counter[ArgKey] = Counter()
        self._ended: dict[ArgKey, float] = {}

    def begin(self, key: ArgKey) -> None:
        """A subscription to this arg uses the sink."""
        self._live[key] += 1
        self._ended.pop(key, None)

    def finish(self, key: ArgKey) -> None:
        """A subscription to this arg has ended: what is under way for it alone is not handed over any more."""
        self._live[key] -= 1
        if self._live[key]:
            return
        now = time.monotonic()
        if self.idle:
            self._ended = {old: at for old, at in self._ended.items() if at >= now - FORGET_S}
        self._ended[key] = now  # before it leaves the live ones: the thread that feeds looks at both
        del self._live[key]
        self.dead = self.dead or not self._live

    def cut_off(self) -> None:
        """The manager closes: hand over nothing more, and count it."""
        self._cut_off = self.dead = True

    def _has_ended(self, key: ArgKey) -> bool:
        """Tell whether a push with this arg belongs to what has ended, as `Subscriptions.receivers` assigns pushes."""
        live, ended = list(self._live), list(self._ended)
        for belongs in (ArgKey.__eq__, ArgKey.__le__, agree):
            if any(belongs(known, key) for known in live):
                return False
            if any(belongs(known, key) for known in ended):
                return True
        return False

    @property
    def idle(self) -> bool:
        """Nothing is queued for the handler."""
        return True

    def feed(self, payloads: Iterable[bytes]) -> None:
        """Decode messages and call the handler with each, one by one."""
        decode, handler = self._decode, self.handler
        for payload in payloads:
            if self.dead:
                self._reports.left_over += self._cut_off
                continue
            try:
                message = decode(payload)
            except codec.DecodeError as exc:
                self._reports.malformed(payload, exc)
                marker = gaps.malformed(payload, now_ms()) if self._markers else None
                if marker is None:
                    continue
                message = decode(marker)
            if self.dead or (self._ended and self._has_ended(codec.arg_key(message["arg"]))):
                continue
            try:
                handler(message)
            except BaseException as exc:  # SystemExit too: it must not end a thread that others need
                self._reports.handler_error(handler, exc)


class Turn:
    """One thread at a time works; what others bring meanwhile is done by that one, in order. Nobody waits.

    Args:
        resume: Called when links that paused for it may go on.
    """

    def __init__(self, resume: Callable[[], None]) -> None:
        self._resume = resume
        #: Held by who works; taken without waiting, and not again from inside.
        self._working = threading.Lock()
        self._waiting: deque[tuple[Callable[..., None], Any, int]] = deque()
        #: Guards the weight of what waits.
        self._lock = threading.RLock()
        self._weight = 0

    @property
    def full(self) -> bool:
        """More waits than shall be kept: who brings it pauses."""
        return self._weight > MAX_WAITING

    def take(self, work: Callable[..., None], what: Any = (), weight: int = 0) -> None:
        """Have `work(*what)` done, now or by the thread that is working; it does not raise."""
        if self._working.acquire(blocking=False):
            try:
                self._catch_up()
                work(*what)
                self._catch_up()
            finally:  # a bug of ours must not keep the others from working for good
                self._working.release()
        else:
            with self._lock:
                self._waiting.append((work, what, weight))
                self._weight += weight
        # Whoever worked may have looked for the last time just before.
        while self._waiting and self._working.acquire(blocking=False):
            try:
                self._catch_up()
            finally:
                self._working.release()

    def _catch_up(self) -> None:
        """Do what others have brought meanwhile."""
        while self._waiting:
            with self._lock:
                work, what, weight = self._waiting.popleft()
                was_full = self.full
                self._weight -= weight
                room = was_full and not self.full
            if room:
                self._resume()
            work(*what)


class InlineSink(HandlerSink):
    """Calls the handler on the link's own thread: the lowest delay, and the handler must return quickly.

    Several links may feed it: one at a time calls the handler, with what the others have brought as well.
    """

    def __init__(self, handler: Handler, settings: Settings, reports: Reports, turn: Turn | None = None) -> None:
        super().__init__(handler, settings, reports)
        self.turn = turn if turn is not None else Turn(reports.resume)

    @property
    def congested(self) -> bool:
        """Reading must pause: another link's thread has more to do than it can."""
        return self.turn.full

    def deliver(self, batch: list[bytes]) -> bool:
        """Call the handler with each message."""
        turn = self.turn
        turn.take(self.feed, (batch,), len(batch))
        return turn.full


class RawSink(InlineSink):
    """Hands on undecoded messages, to a book or a view: it has to know of those that cannot be decoded, too.

    Args:
        receive: Gets each payload; it mends the holes of its stream by itself.
        settings, reports: As for the others.
        turn: Shared with the other streams of what it is for; None: its own.
        takes: See `HandlerSink`.
    """

    mends_itself = True

    def __init__(
        self,
        receive: Callable[[bytes], object],
        settings: Settings,
        reports: Reports,
        turn: Turn | None = None,
        *,
        takes: bool = True,
    ) -> None:
        super().__init__(receive, settings, reports, turn)  # type: ignore[arg-type]  # of bytes
        self.takes = takes

    def feed(self, payloads: Iterable[bytes]) -> None:
        """Hand over messages, one by one."""
        for payload in payloads:
            if self.dead:
                self._reports.left_over += self._cut_off
            else:
                self.handler(payload)  # type: ignore[arg-type]  # as it was given


class QueuedSink(HandlerSink):
    """Queues for the handler, which is called on the handlers' thread."""

    def __init__(self, handler: Handler, settings: Settings, reports: Reports, thread: HandlerThread) -> None:
        super().__init__(handler, settings, reports)
        self.queue = make_queue(f"the queue of handler {name_of(handler)}", settings, reports)
        self._thread = thread
        #: It stands in the thread's list of sinks with something to do.
        self.scheduled = False

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        return self.queue.congested and not self.dead

    @property
    def idle(self) -> bool:
        """Nothing is queued for the handler."""
        return self.queue.empty()

    def deliver(self, batch: list[bytes]) -> bool:
        """Queue a batch and see that the thread comes by."""
        congested = self.queue.deliver(batch)
        self._thread.schedule(self)
        return congested

    def turn(self) -> bool:
        """Call the handler with the messages of one turn; return whether more may be waiting."""
        self.feed(self._turn())
        return not self.queue.empty()

    def _turn(self) -> Iterable[bytes]:
        thread, take = self._thread, self.queue.take_raw
        for _ in range(TURN):
            payload = take()
            if payload is None:
                return
            yield payload
            if thread.events or thread.stopping:
                return


class TextSink(QueuedSink):
    """Queues for a handler that wants every text as it came, a str."""

    def __init__(self, handler: Callable[[str], object], *args: Any) -> None:
        super().__init__(handler, *args)  # type: ignore[arg-type]  # it is given what `_decode` returns
        self._decode = lambda payload: payload.decode("utf-8", "replace")


class EventSink:
    """One registration of an event handler: it calls the handler until it is dead."""

    def __init__(self, handler: Callable[[Any], object]) -> None:
        self.handler = handler
        #: Nothing reaches the handler any more.
        self.dead = False


class HandlerThread:
    """The thread `okx-ws:handlers`: calls event handlers first, then data handlers in turns.

    A daemon: a handler that never returns must not keep the interpreter alive. It ends by `stop`.

    Args:
        reports: Told of handlers that raise.
        last_word: Called on the thread as the last thing it does, with the number of messages and events left over.
        chores: Called on the thread about once a second.
    """

    def __init__(self, reports: Reports, last_word: Callable[[int], None], chores: Callable[[], None]) -> None:
        self._reports = reports
        self._last_word = last_word
        self._chores = chores
        #: Events dropped, ever.
        self.events_dropped = 0
        self.events: deque[tuple[EventSink, Any]] = deque()
        self._warned_at = -WARN_EVERY_S
        self._chores_at = 0.0
        self._sinks: deque[QueuedSink] = deque()
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self.lock = threading.RLock()
        self._wake = threading.Condition(self.lock)
        #: When to leave even if something is left; None until `stop`.
        self._leave_at: float | None = None
        self.stopping = False
        self._thread = threading.Thread(target=self._run, name="okx-ws:handlers", daemon=True)
        self._started = False

    def start(self) -> None:
        """Start the thread, if it does not run yet. The caller sees that no two threads do so at once."""
        if not self._started:
            self._started = True
            self._thread.start()

    @property
    def started(self) -> bool:
        """The thread runs, or has run."""
        return self._started

    def is_current(self) -> bool:
        """Tell whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def schedule(self, sink: QueuedSink) -> None:
        """See that `sink` gets a turn."""
        if not sink.scheduled:
            with self._wake:
                if not sink.scheduled:
                    sink.scheduled = True
                    self._sinks.append(sink)
                    self._wake.notify()

    def post(self, sink: EventSink, event: Any) -> None:
        """See that the sink's handler is called with `event`, before any data."""
        with self._wake:
            dropped = len(self.events) >= MAX_EVENTS
            if dropped:
                self.events.popleft()
                self.events_dropped += 1
            self.events.append((sink, event))
            self._wake.notify()
        if dropped and (now := time.monotonic()) >= self._warned_at + WARN_EVERY_S:
            self._warned_at = now
            log.warning("event handlers are too slow: %s events were dropped so far", self.events_dropped)

    def stop(self, leave_at: float) -> None:
        """Finish what is queued, but leave at `leave_at` (monotonic) whatever is left."""
        with self._wake:
            self._leave_at = leave_at if self._leave_at is None else min(leave_at, self._leave_at)
            self.stopping = True
            self._wake.notify()

    def join(self, until: float) -> bool:
        """Wait for the thread to end; return whether it has."""
        if self._started and not self.is_current():
            self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._wait():
            try:
                self._turn()
            except Exception:  # a bug of ours must not end the thread that others need
                log.exception("the handlers' thread: its own code failed")
        self._last_word(sum(sink.queue.qsize() for sink in self._sinks) + len(self.events))

    def _turn(self) -> None:
        """Call one event handler, or let one sink have its turn."""
        if (now := time.monotonic()) >= self._chores_at:
            self._chores_at = now + SLICE_S
            self._chores()
        if self.events:  # one at a time, so that a slow one does not outlast the end
            self.call(*self.events.popleft())
        elif self._sinks:
            sink = self._sinks.popleft()
            sink.scheduled = False  # before its turn: what comes meanwhile schedules it again
            try:
                more = sink.turn()
            except BaseException:
                self.schedule(sink)
                raise
            if more:
                self.schedule(sink)

    def _wait(self) -> bool:
        """Wait for something to do, a slice at most; return False once it is time to leave."""
        with self._wake:
            while True:
                if self._leave_at is not None and time.monotonic() >= self._leave_at:
                    return False
                if self.events or self._sinks:
                    return True
                if self.stopping:
                    return False
                if not self._wake.wait(SLICE_S):
                    return True  # for the chores

    def call(self, sink: EventSink, event: Any) -> None:
        """Call one event handler; what it raises is told, unless it raised about just that."""
        if sink.dead:
            return
        try:
            sink.handler(event)
        except BaseException as exc:
            if isinstance(event, Event) and event.type == "handler_error":
                log.exception("event handler %s raised on a handler_error", name_of(sink.handler))
            else:
                self._reports.handler_error(sink.handler, exc)
