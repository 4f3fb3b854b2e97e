"""From the link's thread to the user: bounded queues.

Law. A link hands over batches of undecoded messages (`Outlet.deliver`): one lock and one wake-up a batch. They are
decoded where they are used. Nothing here is unbounded, and what a full queue drops is counted, told, and marked at its
place if markers are on.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from .backlog import BACKLOGS, Own
from .config import Settings, seconds
from .errors import ManagerClosed, OkxWsError, QueueOverflow, copy_of
from .losses import arg_of, now_ms
from .protocol import codec, gaps
from .protocol.routing import Outlet

__all__ = ["FanOut", "MessageQueue", "Reports"]

log = logging.getLogger(__name__)

#: So many messages are looked through for the time of one that has none.
LOOK_AHEAD = 1_000

#: A wait is cut into slices, since Windows does not let Ctrl-C end a longer one.
SLICE_S = 1.0


class Reports(Protocol):
    """Where queues and handlers report what users must know. Called outside every lock; must not block."""

    #: Messages that a handler did not get since the manager was closing.
    left_over: int

    def overflow(self, queue: str, lost: Counter[bytes]) -> None:
        """A full queue dropped messages, counted by head."""

    def owe(self, queue: MessageQueue) -> None:
        """A queue has losses that are not told yet: see that `MessageQueue.tell_losses` is called soon."""

    def malformed(self, payload: bytes, exc: Exception) -> None:
        """A message could not be decoded when it was used."""

    def handler_error(self, handler: Any, exc: BaseException) -> None:
        """A handler raised."""

    def resume(self) -> None:
        """A full queue has room again: links may go on reading."""

    def check_may_block(self) -> None:
        """Raise `UsageError` if the calling thread must not wait."""


class MessageQueue:
    """A bounded queue of messages, with the methods of `queue.Queue` (but ``join`` and ``task_done``).

    Any number of threads may read; each message goes to one of them. Messages are decoded by the reader. One that
    cannot be decoded is counted, told, and passed over (a marker takes its place, if markers are on). What users `put`
    comes out as it is.

    When it is full, by messages or by bytes (one read of the socket more, at most), the policy decides; each is a class
    of `backlog`. With ``"error"`` the next `take` raises `QueueOverflow`; with ``"block"`` links pause, and so does
    `put`.

    Args:
        name: For reports: whose queue it is.
        settings: Bounds, policy, markers.
        reports: Told of drops and of undecodable messages.
    """

    def __init__(self, name: str, settings: Settings, reports: Reports) -> None:
        self.name = name
        self._markers = settings.markers
        self._reports = reports
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self.lock = threading.RLock()
        self._ready = threading.Condition(self.lock)
        self._backlog = BACKLOGS[settings.overflow](settings, self.lock)
        self._items, self._losses = self._backlog.items, self._backlog.losses
        # At hand, since these are looked at for every message: what takes the next one, and whether something comes
        # before it (as the backlog says, whenever the lock is free).
        self._take_next = self._backlog.take
        self._attention = False
        self._waiting = 0
        #: Notified apart from readers, lest a message wakes somebody who does not want it.
        self._over = threading.Condition(self.lock)
        self._room = threading.Condition(self.lock)
        self._ended: OkxWsError | SystemExit | None = None
        #: Reading pauses until this is cleared (policy "block").
        self._full = False
        self._warned = False

    # ------------------------------------------------------------------ in

    @property
    def congested(self) -> bool:
        """Reading must pause (policy "block" only)."""
        return self._full

    def deliver(self, batch: list[bytes]) -> bool:
        """Append a batch; return whether reading must pause."""
        with self._ready:
            if self._ended is not None and self._is_over:
                return False
            came = self._let_in(batch)
            if self._waiting:
                self._ready.notify(came)
        if self._losses.untold:
            self._tell()
        return self._full

    def _let_in(self, batch: list[Any]) -> int:
        """Append a batch as the policy says; return how many came in. Under the lock."""
        backlog = self._backlog
        came = backlog.add(batch)
        self._attention = backlog.attention
        if backlog.pauses and backlog.crowded:
            self._full = True
            if backlog.half_empty:  # readers, who take without the lock, were quicker: none may come to see it
                self._full = False
        return came

    @property
    def dropped(self) -> int:
        """Messages dropped, ever."""
        return self._losses.dropped

    def tell_losses(self) -> None:
        """Tell what was dropped and is not told yet."""
        self._tell(now=True)

    def _tell(self, now: bool = False) -> None:
        """Tell what was dropped, or have it told later; `now`: whatever there is."""
        with self.lock:
            lost = self._losses.to_tell(time.monotonic(), now)
            warn = bool(lost) and not self._warned and self._backlog.warns
            self._warned = self._warned or warn
            reader = "slow reader" if self._waiting else "nobody is reading it"
        if lost is None:
            self._reports.owe(self)
        if warn:
            with contextlib.suppress(Exception):  # a log handler that raises must not cost what comes next
                log.warning("%s is full: %s", self.name, reader)
        if lost:
            self._reports.overflow(self.name, lost)

    def end(self, reason: OkxWsError | SystemExit) -> None:
        """Nothing more will come: readers drain what is here, then get `reason`. Idempotent."""
        with self._ready:
            if self._ended is None:
                self._ended = reason
            self._full = False
            for condition in (self._ready, self._over, self._room):
                condition.notify_all()

    @property
    def _is_over(self) -> bool:
        """It has ended for good; what ended by a failure or a refusal takes what was on its way with that."""
        return isinstance(self._ended, (ManagerClosed, SystemExit))

    @property
    def ended(self) -> OkxWsError | SystemExit | None:
        """Why nothing more will come; None while something may."""
        return self._ended

    def wait_end(self, until: float) -> OkxWsError | SystemExit | None:
        """Wait until nothing more will come, or until `until` (monotonic); return why, or None."""
        with self._over:
            while self._ended is None and (left := until - time.monotonic()) > 0:
                self._over.wait(min(left, SLICE_S))
        return self._ended

    def reopen(self) -> None:
        """Something may come again after a failure or a refusal; after `close` or `unsubscribe` nothing does."""
        with self._ready:
            if not self._is_over:
                self._ended = None

    # ------------------------------------------------------------------ out

    def take(self, timeout: float | None = None) -> Any:
        """Return the next message, decoded, waiting for it.

        Args:
            timeout: Seconds to wait at the most; None waits until a message comes or the queue ends.

        Raises:
            queue.Empty: None came in time.
            QueueOverflow: Messages were dropped here (policy "error"); the next call goes on behind the hole.
            ManagerClosed: The manager was closed, and the queue is drained.
            ConnectionLost: The last link is gone for good, and the queue is drained.
            UsageError: Called on a link's own thread with nothing queued: it would wait for itself.
        """
        deadline: float | None = None
        while True:
            item: Any = self._attend(raising=True) if self._attention else None
            if item is None:
                try:
                    item = self._take_next()
                except IndexError:
                    pass
            if item is None:  # out here, so that what a wait raises is not shown as raised "during" an IndexError
                if deadline is None and timeout is not None:
                    deadline = time.monotonic() + seconds("timeout", timeout)
                self._wait(deadline)
                continue
            if self._full:
                self._make_room()
            if type(item) is not bytes:
                return item.item
            try:
                return codec.decode(item)
            except codec.DecodeError as exc:
                self._reports.malformed(item, exc)
            marker = gaps.malformed(item, self.time_near(item)) if self._markers else None
            if marker is not None:
                return codec.decode(marker)

    def time_near(self, payload: bytes) -> int:
        """Return when the message that follows this one of its arg was made; or our time. Unix ms."""
        arg, following = arg_of(payload), list(itertools.islice(self._items, LOOK_AHEAD))
        near = (gaps.time_of(item) for item in following if type(item) is bytes and arg_of(item) == arg)
        return next((at for at in near if at is not None), None) or now_ms()

    def take_raw(self) -> bytes | None:
        """Return the next message or marker undecoded, or None if there is none; for handlers."""
        item: bytes | None = self._attend(raising=False) if self._attention else None
        if item is None:
            try:
                item = self._take_next()
            except IndexError:
                return None
        if self._full:
            self._make_room()
        return item

    def _attend(self, raising: bool) -> bytes | None:
        """Do what is due before the next message: raise an overflow, or return a marker."""
        with self._ready:
            errors, marker = self._backlog.due(raising)
            self._attention = self._backlog.attention
        if errors:
            raise QueueOverflow(f"{self.name} was full: {errors} messages were dropped", errors)
        return marker

    def _make_room(self) -> None:
        """Let the links read again once the queue is half empty."""
        with self._ready:
            if not self._full or not self._backlog.half_empty:
                return
            self._full = False
            self._room.notify_all()
        self._reports.resume()

    def _wait(self, deadline: float | None) -> None:
        """Wait until there may be something to take; raise `queue.Empty` at `deadline`, or why nothing will come."""
        if deadline is None or deadline > time.monotonic():
            self._reports.check_may_block()
        with self._ready:
            self._waiting += 1
            try:
                while not (self._items or self._attention):
                    if self._ended is not None:
                        raise copy_of(self._ended)
                    left = SLICE_S if deadline is None else deadline - time.monotonic()
                    if left <= 0:
                        raise queue.Empty
                    self._ready.wait(min(left, SLICE_S))
            finally:
                self._waiting -= 1

    def stream(self, timeout: float | None = None) -> Iterator[Any]:
        """Yield messages until the queue ends, or until none came for `timeout` seconds."""
        while True:
            try:
                message = self.take(timeout)
            except (queue.Empty, ManagerClosed):
                return
            yield message

    # ------------------------------------------------------------------ as queue.Queue

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next message, as `queue.Queue.get`; see `take` for what it raises."""
        return self.take(timeout if block else 0.0)

    def get_nowait(self) -> Any:
        """Return the next message, or raise `queue.Empty` at once."""
        return self.take(0.0)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append something of your own; it counts as one message, and comes out as it is.

        A full queue does with it what the policy says. Only ``"block"`` waits: until the queue is half empty.

        Raises:
            queue.Full: There was no room in time (policy ``"block"``).
            UsageError: It would wait on a link's own thread.
        """
        self._put(Own(item), timeout if block else 0.0)

    def put_payload(self, payload: bytes) -> None:
        """As `put`, for a message as it came, undecoded: its bytes count, and markers tell of it if it is dropped."""
        self._put(payload, None)

    def _put(self, item: Any, patience: float | None) -> None:
        deadline = None if patience is None else time.monotonic() + patience
        with self._ready:
            if self._backlog.pauses and self.full() and self._ended is None:
                self._wait_for_room(deadline)
            self._ready.notify(self._let_in([item]))
        if self._losses.untold:
            self._tell()

    def put_nowait(self, item: Any) -> None:
        """As `put`, but never waits."""
        self.put(item, block=False)

    def _wait_for_room(self, deadline: float | None) -> None:
        if deadline is None or deadline > time.monotonic():
            self._reports.check_may_block()
        self._full = True
        while self._full and not self._backlog.half_empty:
            left = SLICE_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise queue.Full
            self._room.wait(min(left, SLICE_S))

    def qsize(self) -> int:
        """Return the number of messages waiting."""
        return len(self._items)

    def empty(self) -> bool:
        """Tell whether nothing is waiting."""
        return not self._items

    def full(self) -> bool:
        """Tell whether the next message would overflow the queue."""
        return self._backlog.full


class FanOut:
    """Hands every batch to several outlets."""

    def __init__(self, outlets: Iterable[Outlet]) -> None:
        self.outlets = tuple(outlets)

    @property
    def congested(self) -> bool:
        """Reading must pause."""
        return any(outlet.congested for outlet in self.outlets)

    def deliver(self, batch: list[bytes]) -> bool:
        """Hand the batch to each outlet."""
        return any([outlet.deliver(batch) for outlet in self.outlets])  # a list: any() alone would stop at the first
