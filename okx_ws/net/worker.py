"""`RestWorker`: the one thread for all REST in the background.

Law. It runs one job at a time, each no sooner than it was asked for, and none once it was stopped. What a job raises
costs that job alone.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import OkxWsError

__all__ = ["RestWorker", "answer_of"]

log = logging.getLogger(__name__)

SLICE_S = 1.0

T = TypeVar("T")


def answer_of(question: Callable[[], T]) -> T | OkxWsError:
    """Ask, on the worker's thread; return the answer, or why there is none: somebody on another thread waits for it."""
    try:
        return question()
    except OkxWsError as exc:
        return exc
    except Exception as exc:  # a bug of ours must not leave anybody waiting
        log.exception("a question to REST failed")
        return OkxWsError(f"{type(exc).__name__}: {exc}")


class RestWorker:
    """The thread `okx-ws:rest`: runs jobs one after another, each at its time; started with the first.

    A daemon: a call under way cannot be interrupted, and touches nothing once the worker was stopped.
    """

    def __init__(self) -> None:
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._jobs: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self.stopped = False

    def submit(self, job: Callable[[], None], delay_s: float = 0.0) -> None:
        """Run `job` on the thread after `delay_s`; nothing once stopped."""
        with self._changed:
            if self.stopped:
                return
            heapq.heappush(self._jobs, (time.monotonic() + delay_s, next(self._numbers), job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="okx-ws:rest", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Run no further job."""
        with self._changed:
            self.stopped = True
            self._jobs.clear()
            self._changed.notify()

    def join(self, until: float) -> bool:
        """Wait for the thread to end, until `until` (monotonic); return whether it has."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, until - time.monotonic()))
        return self._thread is None or not self._thread.is_alive()

    def is_current(self) -> bool:
        """Tell whether the calling thread is this one."""
        return self._thread is threading.current_thread()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # a bug of ours must cost a job, not the thread
                log.exception("a REST job failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self.stopped:
                left = self._jobs[0][0] - time.monotonic() if self._jobs else SLICE_S
                if left <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(min(left, SLICE_S))
        return None
