"""Where a link's thread waits, how it is woken, and how a wait ends otherwise.

Law. The thread blocks in one place, `Poller.wait`, which ends at a point in time, at a wake-up, or when a socket is
ready. Everything here is the link's thread's but `Waker.wake`, which is anybody's.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import cast

__all__ = ["NEVER", "Poller", "Stopped", "Waker", "WireError"]

#: No limit: later than any clock.
NEVER = float("inf")


class Stopped(Exception):
    """The owner asked the link to end."""


class WireError(Exception):
    """The link failed; the text names the cause. (Not an `OSError`: websocket-client would rewrite those.)"""


class Waker:
    """Wakes the link's thread out of its wait: a socket pair, since a lock cannot be waited for beside sockets.

    `wake` is safe from any thread and from a signal handler. Wake-ups while one is pending cost nothing.
    """

    def __init__(self) -> None:
        self._in, self._out = socket.socketpair()
        self._in.setblocking(False)
        self._out.setblocking(False)
        #: Set by `wake`, cleared by the link's thread *before* it looks at what it was woken for.
        self.pending = False

    def wake(self) -> None:
        """End the present or next wait of the link's thread."""
        if not self.pending:
            self.pending = True
            with contextlib.suppress(OSError):  # full: it is awake anyway; closed: there is nobody to wake
                self._out.send(b"\0")

    def clear(self) -> None:
        """Take the wake-up. What was asked for before it will be seen; what is asked for after it wakes again."""
        self.pending = False
        with contextlib.suppress(OSError):
            self._in.recv(4096)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._in.fileno()

    def close(self) -> None:
        """Release the pair."""
        self._in.close()
        self._out.close()


class Poller:
    """The one place where a link's thread waits.

    Args:
        waker: Ends a wait from outside.
        stopped: Asked around each wait; True raises `Stopped` in the waiting thread.
    """

    def __init__(self, waker: Waker, stopped: Callable[[], bool]) -> None:
        self._waker = waker
        self._stopped = stopped
        self._selector = selectors.DefaultSelector()
        self._selector.register(waker, selectors.EVENT_READ)
        #: Set while the closing handshake is under way: it must not be stopped by what started it.
        self.unstoppable = False

    def watch(self, sock: socket.socket, events: int) -> None:
        """Wait for `events` of `sock` from now on; 0 forgets it."""
        known = self._selector.get_map().get(sock.fileno())
        if known is None:
            if events:
                self._selector.register(sock, events)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events:
            self._selector.modify(sock, events)

    def wait(self, until: float) -> list[tuple[socket.socket, int]]:
        """Return the sockets that are ready with their events, or nothing at `until` (monotonic) or when woken.

        Raises:
            Stopped: If the owner asked the link to end.
        """
        self.check()
        timeout = None if until == NEVER else max(0.0, until - time.monotonic())
        ready = self._selector.select(0 if self._waker.pending else timeout)
        self.check()
        sockets = []
        for key, mask in ready:
            if key.fileobj is self._waker:
                self._waker.pending = True  # a byte may be left there whose `wake` met a `clear`: it has to be taken
            else:
                sockets.append((cast(socket.socket, key.fileobj), mask))
        return sockets

    def check(self) -> None:
        """Raise `Stopped` if the owner asked the link to end."""
        if self._stopped() and not self.unstoppable:
            raise Stopped

    def close(self) -> None:
        """Release the selector; the sockets stay open."""
        self._selector.close()
