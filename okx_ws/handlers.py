"""Users' handlers: the sinks that call them, and the thread most of them run on.

Law. User code runs outside every lock. What it raises is logged with its name, told as `handler_error`, and harms
neither the thread nor other handlers. Handlers may subscribe, unsubscribe and close from inside. Events are served
before data, and handlers take turns, so that a busy one does not starve the others; each gets its messages in order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .config import Settings
from .delivery import SLICE_S, Reports, make_queue, now_ms
from .events import Event
from .protocol import codec, gaps

__all__ = ["HandlerSink", "HandlerThread", "InlineSink", "QueuedSink", "TextSink", "name_of"]

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], object]
EventHandler = Callable[[Event], object]
ArgKey = frozenset[tuple[str, Any]]

#: Messages one handler gets before the next one has its turn.
TURN = 256

#: Long after a batch has found its way from the link to a sink.
FORGET_S = 60.0

#: Events that may wait for handlers; beyond, the oldest are dropped, which the log tells.
MAX_EVENTS = 10_000


def name_of(handler: Callable[..., object]) -> str:
    """Return what people call a handler."""
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    module = getattr(handler, "__module__", None)
    return f"{module}.{name}" if module else str(name)


class HandlerSink:
    """Calls one handler with decoded messages; base of `InlineSink` and `QueuedSink`."""

    def __init__(self, handler: Handler, settings: Settings, reports: Reports) -> None:
        self.handler = handler
        self._decode: Callable[[bytes], Any] = codec.decode
        self._markers = settings.markers
        self._reports = reports
        #: Nothing reaches the handler any more.
        self.dead = False
        #: Args whose subscription has ended, and when: messages of theirs may still be under way.
        self._ended: dict[ArgKey, float] = {}
        self._uses = 0

    def begin(self, key: ArgKey) -> None:
        """A subscription to this arg uses the sink."""
        self._uses += 1
        self._ended.pop(key, None)

    def finish(self, key: ArgKey) -> None:
        """A subscription to this arg has ended: what is under way for it is not handed over any more."""
        self._uses -= 1
        self.dead = not self._uses
        now = time.monotonic()
        if self.idle:
            for old in [old for old, at in self._ended.items() if at < now - FORGET_S]:
                del self._ended[old]
        self._ended[key] = now

    @property
    def idle(self) -> bool:
        """Nothing is queued for the handler."""
        return True

    def feed(self, payloads: Iterable[bytes]) -> None:
        """Decode messages and call the handler with each, one by one."""
        decode, handler, ended = self._decode, self.handler, self._ended
        for payload in payloads:
            try:
                message = decode(payload)
            except codec.DecodeError as exc:
                self._reports.malformed(payload, exc)
                marker = gaps.malformed(payload, now_ms()) if self._markers else None
                if marker is None:
                    continue
                message = decode(marker)
            if self.dead or (ended and codec.arg_key(message["arg"]) in ended):
                continue
            try:
                handler(message)
            except BaseException as exc:  # SystemExit too: it must not end a thread that others need
                self._reports.handler_error(handler, exc)


class InlineSink(HandlerSink):
    """Calls the handler on the link's own thread: the lowest delay, and the handler must return quickly."""

    congested = False

    def deliver(self, batch: list[bytes]) -> bool:
        """Call the handler with each message."""
        self.feed(batch)
        return False


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


class HandlerThread:
    """The thread `okx-ws:handlers`: calls event handlers first, then data handlers in turns.

    A daemon: a handler that never returns must not keep the interpreter alive. It ends by `stop`.

    Args:
        reports: Told of handlers that raise.
        last_word: Called on the thread as the last thing it does, with the number of messages and events left over.
    """

    def __init__(self, reports: Reports, last_word: Callable[[int], None]) -> None:
        self._reports = reports
        self._last_word = last_word
        self.events: deque[tuple[EventHandler, Event]] = deque()
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
                sink.scheduled = True
                self._sinks.append(sink)
                self._wake.notify()

    def post(self, handler: EventHandler, event: Event) -> None:
        """See that `handler` is called with `event`, before any data."""
        with self._wake:
            if len(self.events) >= MAX_EVENTS:
                dropped = self.events.popleft()[1]
                log.warning("event handlers are too slow: a %s event was dropped", dropped.type)
            self.events.append((handler, event))
            self._wake.notify()

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
            while self.events:
                self.call(*self.events.popleft())
            if self._sinks:
                sink = self._sinks.popleft()
                sink.scheduled = False  # before its turn: what comes meanwhile schedules it again
                if sink.turn():
                    self.schedule(sink)
        left = {id(sink): sink.queue.qsize() for sink in self._sinks}
        self._last_word(sum(left.values()) + len(self.events))

    def _wait(self) -> bool:
        """Wait for something to do; return False once it is time to leave."""
        with self._wake:
            while True:
                if self._leave_at is not None and time.monotonic() >= self._leave_at:
                    return False
                if self.events or self._sinks:
                    return True
                if self.stopping:
                    return False
                self._wake.wait(SLICE_S)

    def call(self, handler: EventHandler, event: Event) -> None:
        """Call one event handler; what it raises is told, unless it raised about just that."""
        try:
            handler(event)
        except BaseException as exc:
            if event.type == "handler_error":
                log.exception("event handler %s raised on a handler_error", name_of(handler))
            else:
                self._reports.handler_error(handler, exc)
