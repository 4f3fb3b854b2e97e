"""`Reading`: the part of `Manager` that is read: the shared queue, taps, and the newest message."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from .config import positive
from .delivery import SLICE_S, MessageQueue
from .errors import UsageError, copy_of
from .protocol import codec, gaps
from .subscription import check_arg, check_fields
from .switchboard import Tap
from .wiring import Wiring

__all__ = ["Reading"]


class Reading(Wiring):
    """The shared queue and what goes past it."""

    @property
    def msgQueue(self) -> MessageQueue:
        """The shared queue: what no handler takes. Also `get`, iteration and `messages` read it."""
        return self._shared

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message of the shared queue, a dict as OKX sent it; see `MessageQueue.take`.

        Args:
            timeout: Seconds to wait at the most; None waits until a message comes or the manager is closed.

        Raises:
            queue.Empty: None came in time.
            ManagerClosed: The manager is closed and the queue is drained.
            ConnectionLost, LoginError: Every endpoint in use has failed for good, and the queue is drained.
            SystemExit: A handler has called `sys.exit`.
            UsageError: Called on a link's own thread with nothing queued.
        """
        return self._take(timeout)

    def messages(self, timeout: float | None = None) -> Iterator[Any]:
        """Iterate over the shared queue until the manager is closed, or until no message came for `timeout` seconds."""
        return self._shared.stream(timeout)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the shared queue; blocks for each message, ends once the manager is closed and it is drained."""
        return self._shared.stream()

    def wait_for(
        self, wanted: str | Callable[[dict[str, Any]], object], timeout: float = 10.0, **arg: str
    ) -> dict[str, Any]:
        """Wait for one message of what is subscribed, and return it; takes nothing from any queue or handler.

        Args:
            wanted: A channel's name (or shell pattern), or a function that is given each message and returns true for
                the wanted one. It runs on the link's thread: it must return quickly. What it raises is raised here.
            timeout: Seconds.
            **arg: Only messages whose arg has these fields.

        Raises:
            TimeoutError: None came in time.
            ManagerClosed, ConnectionLost, LoginError: None can come any more.
            UsageError: Called on a link's own thread, or `wanted` is neither.
        """
        self.check_may_block()
        check_fields(arg)
        if not callable(wanted) and not (isinstance(wanted, str) and wanted):
            raise UsageError(f"wanted must be a channel's name or a function, not {wanted!r}")
        channel, predicate = (wanted, lambda message: True) if isinstance(wanted, str) else ("*", wanted)
        until = time.monotonic() + positive("timeout", timeout, zero=True)
        tap = Tap(predicate)
        with self._manager_lock:
            self._check_open()
            pattern = self._switchboard.add_tap(channel, arg, tap)
            self._reconnect_outlets()
        try:
            while (message := tap.wait(min(until, time.monotonic() + SLICE_S))) is None:
                if self._shared.ended is not None:
                    raise copy_of(self._shared.ended)
                if time.monotonic() >= until:
                    raise TimeoutError(f"no such message in {timeout:g} s: {wanted} {arg or ''}".rstrip())
            return message
        finally:
            self._remove_pattern(pattern)

    def latest(self, channel: str, **arg: Any) -> dict[str, Any] | None:
        """Return the newest message of a subscription, decoded; None if there is none. Takes nothing, never waits.

        Args:
            channel: The channel's name, with the other fields of the arg as keywords, as they were subscribed.

        Raises:
            UsageError: Nothing of that arg is subscribed.
        """
        self._check_process()
        checked = check_arg({"channel": channel, **arg})
        for lines in list(self._lines.values()):
            with lines.mutex:
                stream = lines.find(checked)
                payload = stream.newest if stream is not None else None
            if stream is not None:
                try:
                    return None if payload is None or gaps.is_marker(payload) else codec.decode(payload)
                except codec.DecodeError:
                    return None  # told by whoever it was for
        raise UsageError(f"{checked} is not subscribed")
