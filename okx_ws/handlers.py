"""The thread that most of users' handlers run on.

Law. Events are served before data, and handlers take turns, so that a busy one does not starve the others. What user
code raises harms neither the thread nor other handlers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .delivery import SLICE_S, MessageQueue, Reports
from .events import Event

__all__ = ["EventHandler", "EventSink", "Handler", "HandlerThread", "name_of"]

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], object]
EventHandler = Callable[[Event], object]

#: Lines about dropped events are this far apart.
WARN_EVERY_S = 1.0

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


class Work(Protocol):
    """A sink that has messages for its handler.

    Attributes:
        queue: What waits.
        scheduled: It stands in the thread's list of sinks with something to do.
    """

    queue: MessageQueue
    scheduled: bool

    def turn(self) -> bool:
        """Call the handler with the messages of one turn; return whether more may be waiting."""


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
        self._sinks: deque[Work] = deque()
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

    def schedule(self, sink: Work) -> None:
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
