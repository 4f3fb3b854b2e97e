"""Where the messages of one handler go: the sinks that call it, on the link's own thread or the handlers' one.

Law. User code runs outside every lock. What it raises is logged with its name, told as `handler_error`, and harms
neither the thread nor other handlers. Handlers may subscribe, unsubscribe and close from inside; each gets its messages
in order, one at a time, and none after its last subscription has ended.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from .config import Settings
from .delivery import MessageQueue, Reports
from .handlers import Handler, HandlerThread, name_of
from .losses import now_ms
from .protocol import codec, gaps

__all__ = ["HandlerSink", "InlineSink", "QueuedSink", "RawSink", "TextSink", "Turn"]

ArgKey = frozenset[tuple[str, Any]]

#: Messages one handler gets before the next one has its turn.
TURN = 256

#: Long after a batch has found its way from the link to a sink.
FORGET_S = 60.0

#: Messages that other links may bring for an inline handler that is still busy; beyond, they pause.
MAX_WAITING = 10_000


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

    def _time_near(self, payload: bytes) -> int:
        """Return about when a message was made that names no time, Unix ms."""
        return now_ms()

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
                marker = gaps.malformed(payload, self._time_near(payload)) if self._markers else None
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
        self.queue = MessageQueue(f"the queue of handler {name_of(handler)}", settings, reports)
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

    def _time_near(self, payload: bytes) -> int:
        return self.queue.time_near(payload)

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
