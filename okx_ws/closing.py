"""`Closing`: the part of `Manager` that ends everything: links, waits, queues and handlers, in this order, in time.

Law. It may be called from anywhere: twice, from a handler, from a signal handler that has interrupted us under a lock
of ours, in a forked child. So it asks first and waits after; where waiting might be waiting for ourselves, it does not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from types import TracebackType
from typing import Any, TypeVar

from . import process
from .config import positive
from .delivery import SLICE_S
from .errors import ManagerClosed
from .order_entry import OrderEntry
from .wiring import Wiring

__all__ = ["Closing"]

log = logging.getLogger(__name__)

#: A REST call under way is waited for this long at close, lest its thread outlive a program that ends in good order.
REST_PATIENCE_S = 0.5

Self = TypeVar("Self", bound="Closing")


class Closing(Wiring):
    """The end."""

    _order_entry: OrderEntry
    #: When handlers are left behind (monotonic), once it is closing.
    _leave_at: float

    def close(self, timeout: float = 5.0) -> None:
        """End every link, let readers drain their queues, and finish what handlers have queued. Idempotent.

        Links end within a second from any state. Safe from handlers, from signal handlers, while connecting and while
        backing off. On a thread of ours, or inside a signal handler that interrupted one of our locks, it asks for the
        end and returns at once; the next `close` waits for it.

        Args:
            timeout: Seconds to wait for links and handlers at the most; then links are cut, and what handlers have
                not seen is counted in the event ``closed``.
        """
        self.end(timeout)

    def end(self, timeout: float) -> None:
        """As `close`, which a subclass may override to do more, or with other arguments."""
        until = time.monotonic() + positive("timeout", timeout, zero=True)
        if self._pid != os.getpid():
            self._closing = True  # a forked child: what lives of it lives in the parent, and locks may be held for ever
            return
        interrupted = self._holds_a_lock()
        with contextlib.nullcontext() if interrupted else self._manager_lock:  # so that no `subscribe` is half done
            self._leave_at = min(until, self._leave_at) if self._closing else until
            self._closing = True
        self._stop_all()
        if interrupted or self._is_own_thread():
            return  # the last link to end lets the readers go; what is left is the next close's
        endpoints = list(self._lines.values())
        for lines in [lines for lines in endpoints if not lines.join(until)]:
            lines.abort()
        self._worker.join(min(until, time.monotonic() + REST_PATIENCE_S))
        self._transport.close()
        self._finish()
        if not self._reporter.thread.join(until):
            log.warning("a handler is still running after %s s; it is left behind", timeout)
        process.forget(self)

    def wait_until_over(self) -> None:
        """Block until the manager is closed, or every endpoint in use has failed for good."""
        while self._shared.wait_end(time.monotonic() + SLICE_S) is None:
            pass

    def _stop_all(self) -> None:
        """Ask every thread but that of the handlers to end; returns at once."""
        self._switchboard.cut_off_inline()
        endpoints = list(self._lines.values())
        for lines in endpoints:
            lines.stop()
        self._worker.stop()
        self._order_entry.stop()
        self._rest.stop()
        if self._clock is not None:
            self._clock.wake()  # the worker will not
        if all(lines.failure is not None for lines in endpoints):
            self._finish()  # no link is left to do it

    def _finish(self) -> None:
        """Nothing more will come: let readers and handlers finish what is queued."""
        for queue in [*self._switchboard.queues, *self._switchboard.handler_queues]:
            queue.tell_losses()
        for queue in self._switchboard.queues:
            queue.end(ManagerClosed("the manager is closed"))
        thread = self._reporter.thread
        if thread.started:
            thread.stop(self._leave_at)
        else:
            self._reporter.closed(0)

    def _is_own_thread(self) -> bool:
        """Tell whether this is a thread of ours: to wait for the others might be to wait for each other."""
        endpoints = list(self._lines.values())
        return self._reporter.thread.is_current() or any(lines.is_current() for lines in endpoints)

    def _holds_a_lock(self) -> bool:
        """Tell whether this thread holds a lock of ours: then a signal handler has interrupted us inside one.

        To join threads that need that lock would wait until the time is up.
        """
        locks: list[Any] = [self._manager_lock, self._reporter.thread.lock, self._worker.lock]
        locks += [lines.mutex for lines in list(self._lines.values())]
        locks += [queue.lock for queue in self._switchboard.queues + self._switchboard.handler_queues]
        locks += self._switchboard.tap_locks
        return any(lock._is_owned() for lock in locks)  # as threading.Condition asks it

    def _exit(self, reason: SystemExit) -> None:
        """A handler has called `sys.exit`: whoever waits for messages shall exit, and everything ends."""
        for queue in self._switchboard.queues:
            queue.end(reason)
        self.end(0.0)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
