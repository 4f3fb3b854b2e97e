"""`Wiring`: what the parts of `Manager` share: its objects, and the checks that come before everything."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .config import Credentials, Settings
from .delivery import MessageQueue
from .errors import ManagerClosed, UsageError
from .net.clock import Clock
from .net.lines import Lines
from .net.pacing import OrderPace
from .net.proxy import is_loopback
from .net.rest import RestTransport
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .reporting import Reporter
from .switchboard import Pattern, Switchboard

__all__ = ["Wiring"]


class Wiring:
    """The objects that `Manager` makes, for its parts.

    They are `Subscribing`, `Views`, `Reading`, `Trading`, `Safeguards` and `Closing`.
    """

    #: Re-entrant: close() may come from a signal handler that interrupted this very thread inside. Taken before an
    #: endpoint's mutex, never after it.
    _manager_lock: threading.RLock
    _credentials: Credentials
    _settings: Settings
    _urls: dict[str, str]
    _lines: dict[str, Lines]
    _switchboard: Switchboard
    _reporter: Reporter
    _transport: RestTransport
    _rest: RestClient
    _worker: RestWorker
    _clock: Clock | None
    _order_pace: OrderPace
    _shared: MessageQueue
    _take: Callable[[float | None], Any]
    _closing: bool
    #: The process it works in: threads and locks do not survive a fork.
    _pid: int

    def _connect(self, endpoint: str) -> Lines:
        """Make the lines of an endpoint."""
        raise NotImplementedError

    def _stop_all(self) -> None:
        """Ask every thread but that of the handlers to end; returns at once."""
        raise NotImplementedError

    def check_may_block(self) -> None:
        """Raise `UsageError` if called on a link's own thread: it would wait for itself; or in a forked child."""
        self._check_process()
        if any(lines.is_current() for lines in list(self._lines.values())):
            raise UsageError(
                "this call waits, and was made on a link's own thread (inline); use a handler without inline"
            )

    def _check_rest(self) -> None:
        """Raise unless REST may be asked, on this thread."""
        raise NotImplementedError

    def _check_open(self) -> None:
        self._check_process()
        if self._closing:
            raise ManagerClosed("the manager is closed")

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise UsageError(f"this manager belongs to process {self._pid}; make one after the fork")

    def _check_link(self, endpoint: str, login: bool) -> None:
        """Refuse a private link that might be paused, and a login in the clear."""
        if endpoint == "private" and self._settings.overflow == "block":
            raise UsageError(
                'overflow="block" is refused for private links: a full queue must not hold up your own orders'
            )
        parts = urlsplit(self._urls[endpoint])
        if login and parts.scheme == "ws" and not is_loopback(str(parts.hostname)):
            raise UsageError(
                f"no login over {self._urls[endpoint]}: without TLS the key would travel in the clear; use wss://"
            )

    def _resume(self) -> None:
        for lines in list(self._lines.values()):
            lines.resume()

    def _reconnect_outlets(self) -> None:
        for lines in self._lines.values():
            lines.reconnect_outlets()

    def _remove_pattern(self, pattern: Pattern) -> None:
        self._check_process()
        with self._manager_lock:
            losers = self._switchboard.remove_pattern(pattern)
            self._reconnect_outlets()
        self._resume()  # a link may be paused for this very handler
        for queue in losers:
            queue.tell_losses()
