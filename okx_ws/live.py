"""`LiveView`: what the live views of private streams share: whether they are current, reading, waiting, the end.

Law. As of its streams: see `live_stream`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from .errors import AckTimeout, OkxWsError, ViewOutOfSync, copy_of
from .live_stream import LiveStream, wait_until
from .reporting import Reporter
from .subscription import Owner

__all__ = ["LiveView", "ViewOwner"]

T = TypeVar("T")


class ViewOwner(Owner, Protocol):
    """The manager, as far as it matters here."""

    def end_view(self, view: Any) -> None:
        """Want a view no longer."""


class LiveView:
    """Base of the live views of private streams.

    Args:
        manager: Who made it.
        reporter: Told of handlers that raise.
        streams: What it is kept from; all of one endpoint.
    """

    #: What users call it.
    _name = "view"

    def __init__(self, manager: ViewOwner, reporter: Reporter) -> None:
        self._manager = manager
        self._reporter = reporter
        #: The process whose link changes it.
        self._pid = os.getpid()
        # For the manager.
        self.streams: tuple[LiveStream, ...] = ()

    # ------------------------------------------------------------------ whether it is current

    @property
    def synced(self) -> bool:
        """It is proven current: reading it does not raise."""
        return self._current(self.streams)

    def _current(self, streams: Iterable[LiveStream]) -> bool:
        # Nothing changes it in a forked child; and locks may be held there for ever.
        return os.getpid() == self._pid and all([stream.current for stream in streams])

    @property
    def _failure(self) -> OkxWsError | None:
        """What keeps it from being current, though it is subscribed, and will not mend itself soon."""
        return None

    def _why(self, streams: Iterable[LiveStream]) -> str:
        if os.getpid() != self._pid:
            return f"it belongs to another process ({self._pid}); make one after the fork"
        return "; ".join([f"{stream.arg['channel']}: {stream.reason}" for stream in streams if not stream.current])

    def _wait(self, ready: Callable[[], T | None], timeout: float | None, late: Callable[[], Exception]) -> T:
        """Block until `ready` returns something; raise `late()` if that takes too long, or why it cannot come."""
        self._manager.check_may_block()
        return wait_until(self.streams, ready, timeout, late)

    def _wait_synced(self, timeout: float | None) -> None:
        def ready() -> bool | None:
            failure = self._failure
            if failure is not None and not self.synced:
                raise copy_of(failure)
            return self.synced or None

        def late() -> AckTimeout:
            error = self.streams[0].lines.last_error
            last = f"; last error: {error}" if error else ""
            return AckTimeout(f"no {self._name} in {timeout:g} s: {self._why(self.streams)}{last}")

        self._wait(ready, timeout, late)

    # ------------------------------------------------------------------ reading

    def _read(self, live: LiveStream, take: Callable[[], T], stale_ok: bool = False) -> tuple[T, bool]:
        """Return what `take` finds in what a stream gave, of one moment, and whether it was proven current then."""
        while (found := live.read(lambda: (take(), self._current([live])))) is None:
            pass
        if not found[1] and not stale_ok:
            raise ViewOutOfSync(f"the {self._name} is not proven current: {self._why([live])}")
        return found

    # ------------------------------------------------------------------ the link's thread

    def add_handler(self, *handler: Any) -> None:
        """Call a user's handler, too. For the manager."""
        raise NotImplementedError

    def subscribed(self) -> None:
        """OKX acknowledged one of its streams. For the manager, on the link's thread."""

    def holed(self, live: LiveStream) -> None:
        """A stream has a hole, though a link of it may go on. For the manager, on the link's thread."""

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Want it no longer, for everybody who has it: unsubscribe, refuse to be read. Never blocks; idempotent."""
        self._manager.end_view(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'synced' if self.synced else 'not synced'}>"
