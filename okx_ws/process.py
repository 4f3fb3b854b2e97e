"""Managers and the life of the process: they end with it, or, if asked to, keep it alive.

A process whose main thread has run to its end still has our daemon threads; cut off in the middle of a write to stderr
they would bring it down with a fatal error. So what is open then is closed. `keep` is for code that counts on a call
that blocks: the interpreter calls us when the main thread's code has ended, before it joins other threads, and there we
wait. (A thread that is no daemon would do as well, but Ctrl-C in the interpreter's own wait leaves a traceback and a
process that does not end.)
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  # before us: its pools shut down after what we keep alive is over
import logging
import os
import sys
import threading
import time
import weakref
from typing import Literal, Protocol

__all__ = ["forget", "keep", "may_keep", "watch"]

log = logging.getLogger(__name__)

#: At the end of the process, links and handlers are waited for no longer.
LAST_CLOSE_S = 0.5


class Work(Protocol):
    """Something that works in the background."""

    def wait_until_over(self) -> None:
        """Return once there is nothing to stay alive for."""

    def end(self, timeout: float) -> None:
        """End it, in this many seconds at the most."""


#: A thread that main has started as its last act gets this long to ask to be kept.
GRACE_S = 0.3

_watched: weakref.WeakSet[Work] = weakref.WeakSet()
#: What wants to be kept, and the process it lives in.
_kept: weakref.WeakKeyDictionary[Work, int] = weakref.WeakKeyDictionary()
_phase: Literal["new", "registered", "over"] = "new"


def watch(work: Work) -> None:
    """Have `work` closed at the end of the process, if it is not by then."""
    _watched.add(work)


def may_keep(work: Work) -> None:
    """`keep` may be called for `work`, perhaps by a thread that outlives main."""
    global _phase
    _watched.add(work)
    if _phase == "new":
        try:
            threading._register_atexit(_wait_for_kept)  # type: ignore[attr-defined]  # as concurrent.futures does
            _phase = "registered"
        except RuntimeError:  # main has ended already
            _phase = "over"


def keep(work: Work) -> None:
    """Have the process stay alive until `work` is over; idempotent. A daemon thread asks in vain, as it is meant to."""
    if threading.current_thread().daemon:
        return
    _kept[work] = os.getpid()
    if _phase == "over":  # only a thread that is no daemon can help now
        threading.Thread(target=work.wait_until_over, name="okx-ws:keep").start()


def forget(work: Work) -> None:
    """It has ended."""
    _watched.discard(work)
    _kept.pop(work, None)


def _wait_for_kept() -> None:
    global _phase
    try:
        # An error that nobody caught has ended the program, or somebody has left a prompt: nobody will use what comes.
        if getattr(sys, "last_value", None) is None and not hasattr(sys, "ps1"):
            _give_grace()
            for work in _mine():
                log.info("the program has ended; it is kept alive until close() or Ctrl-C")
                work.wait_until_over()
    except KeyboardInterrupt:
        pass
    _phase = "over"
    for work in _mine():
        _end(work)


def _mine() -> list[Work]:
    return [work for work, pid in list(_kept.items()) if pid == os.getpid()]


def _give_grace() -> None:
    """Let threads that outlive main come to their `keep`."""
    until = time.monotonic() + GRACE_S
    while not _kept and _watched and _others() and time.monotonic() < until:
        time.sleep(0.005)


def _others() -> bool:
    return any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate())


@atexit.register
def _close_all() -> None:
    for work in list(_watched):
        _end(work)


def _end(work: Work) -> None:
    try:
        work.end(LAST_CLOSE_S)
    except Exception:  # the others shall end as well
        log.exception("%r could not be ended", work)
