"""The older class's callbacks: what they are called with, and for which events.

Law. They run on the thread `okx-ws:handlers`. What one raises is told, and keeps no other from its turn. A lost link is
told once: by ``on_error``, unless it was closed in good order, and by ``on_close``; so the first attempt to mend it is
no news, and each one that fails after it is an ``on_error``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ConnectionLost, LoginError, SubscribeError
from .events import Event

__all__ = ["CALLBACKS", "Callback", "Callbacks"]

#: Those that are called for events, and ``on_pong``.
CALLBACKS = ("on_open", "on_error", "on_close", "on_pong")

#: Close codes of a link that was closed in good order.
IN_GOOD_ORDER = ("1000", "1005")


class Callback:
    """One overridden callback: called with the last n arguments, as many as it takes; with all for ``*args``."""

    def __init__(self, ws: Any, function: Callable[..., object]) -> None:
        self._ws = ws
        self._function = function
        # It is named in reports as what it calls.
        self.__qualname__ = getattr(function, "__qualname__", repr(function))
        self.__module__ = getattr(function, "__module__", "")
        self._takes = 99  # all
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # something in C that does not tell
            return
        if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            self._takes = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)

    def __call__(self, *args: Any) -> object:
        everything = (self._ws, *args)
        return self._function(*everything[max(0, len(everything) - self._takes) :])


class Callbacks:
    """Calls callbacks for events.

    Args:
        found: Those that are overridden, by name.
        report: Told of one that has raised, and what.
    """

    def __init__(
        self, found: Mapping[str, Callback], report: Callable[[Callable[..., object], BaseException], None]
    ) -> None:
        self._found = found
        self._report = report
        #: Endpoints whose link is up, as the callbacks were told.
        self._open: set[str] = set()
        #: Endpoints whose loss was told: the attempt that follows is no news.
        self._lost: set[str] = set()
        self._ways = {
            "connected": self._connected,
            "disconnected": self._disconnected,
            "reconnecting": self._reconnecting,
            "login_failed": self._login_failed,
            "subscribe_failed": self._subscribe_failed,
            "closed": self._closed,
        }

    def on_event(self, event: Event) -> None:
        """Call what an event is for; on the handlers' thread."""
        way = self._ways.get(event.type)
        if way is not None:
            way(str(event.endpoint), event)

    def _call(self, name: str, *args: Any) -> None:
        callback = self._found.get(name)
        if callback is None:
            return
        try:
            callback(*args)
        except BaseException as exc:
            self._report(callback, exc)

    def _connected(self, endpoint: str, event: Event) -> None:
        self._open.add(endpoint)
        self._call("on_open")

    def _disconnected(self, endpoint: str, event: Event) -> None:
        self._lost.add(endpoint)
        if event.code not in IN_GOOD_ORDER:
            self._call("on_error", ConnectionLost(f"{endpoint}: {event.msg}"))
        self._gone(endpoint, int(event.code or 1006), event.msg)

    def _reconnecting(self, endpoint: str, event: Event) -> None:
        if endpoint in self._lost:
            self._lost.discard(endpoint)
        else:
            self._call("on_error", ConnectionLost(f"{endpoint}: {event.msg}"))

    def _login_failed(self, endpoint: str, event: Event) -> None:
        if event.delay_s is None:  # else it is tried again
            self._call("on_error", LoginError(event.code or "", event.msg))

    def _subscribe_failed(self, endpoint: str, event: Event) -> None:
        if event.delay_s is None:
            self._call("on_error", SubscribeError(event.code or "", event.msg, arg=dict(event.arg or {})))

    def _closed(self, _: str, event: Event) -> None:
        for endpoint in list(self._open):
            self._gone(endpoint, 1000, "closed by us")

    def _gone(self, endpoint: str, code: int, msg: str) -> None:
        self._open.discard(endpoint)
        self._call("on_close", code, msg)
