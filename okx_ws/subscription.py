"""`Subscription`: what `subscribe` returns; and the checking of args."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import orjson

from .config import seconds
from .delivery import SLICE_S, MessageQueue
from .errors import AckTimeout, ManagerClosed, OkxWsError, UsageError, copy_of
from .net.lines import Lines
from .protocol.subscriptions import Stream
from .sinks import InlineSink, QueuedSink

__all__ = ["Subscription", "check_arg", "check_fields"]

#: OKX's names for what an arg may hold, to recognise misspellings of them; other names pass as they are.
ARG_NAMES = ("channel", "instId", "instType", "instFamily", "ccy", "algoId", "sprdId", "uly", "seriesId", "extraParams")
_BY_FOLDED = {name.lower(): name for name in ARG_NAMES}


def check_arg(arg: Any) -> dict[str, str]:
    """Return `arg` as it goes over the wire, or raise `UsageError` naming what is wrong with it.

    Values are non-empty str; ``extraParams`` may be a dict, which OKX wants as a JSON text.
    """
    if not isinstance(arg, Mapping):
        raise UsageError(
            f"an arg must be a mapping such as {{'channel': 'tickers', 'instId': 'BTC-USDT'}}, not {arg!r}"
        )
    if "channel" not in arg:
        raise UsageError(f"the arg {dict(arg)} names no channel")
    checked: dict[str, str] = {}
    for name, value in arg.items():
        check_name(name)
        if name == "extraParams" and isinstance(value, Mapping):
            try:
                value = orjson.dumps(value).decode()
            except TypeError as exc:
                raise UsageError(f"extraParams must be of what JSON can say: {exc}") from exc
        if not isinstance(value, str) or not value:
            many = " (many instruments: pass a list of args)" if isinstance(value, (list, tuple, set)) else ""
            raise UsageError(f"{name} must be a non-empty str, not {value!r}{many}")
        if not encodable(value):
            raise UsageError(f"{name} must be text that UTF-8 can encode, not {value!r}")
        checked[name] = value
    return checked


def check_name(name: Any) -> None:
    """Raise `UsageError` unless `name` can be a field of an arg, and is spelled as OKX spells it."""
    if not isinstance(name, str) or not name or not encodable(name):
        raise UsageError(f"the names in an arg are str, not {name!r}")
    meant = _BY_FOLDED.get(name.lower().replace("_", ""), name)
    if meant != name:
        raise UsageError(f"OKX writes {meant}, not {name}")


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless these could be fields of an arg: what `on` and `wait_for` look for."""
    for name, value in fields.items():
        check_name(name)
        if not isinstance(value, str) or not value:
            raise UsageError(f"{name} must be a non-empty str, not {value!r}")


def encodable(text: str) -> bool:
    """Tell whether `text` is without lone surrogates, which no frame can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Owner(Protocol):
    """The manager, as far as it matters here."""

    def check_may_block(self) -> None:
        """Raise `UsageError` on a thread that must not wait."""

    def end_subscription(self, subscription: Subscription) -> None:
        """Want one subscription no longer."""


class Subscription:
    """One subscription of yours; several may share an arg, and the wire, with each other.

    Attributes:
        arg: The arg as it was asked for; not to be changed.
        endpoint: ``"public"``, ``"private"`` or ``"business"``.

    Made by `Manager.subscribe`, not by you. Threads: every method may be called from any thread.
    """

    def __init__(
        self,
        manager: Owner,
        lines: Lines,
        arg: dict[str, str],
        *,
        sink: InlineSink | QueuedSink | None = None,
        own_queue: MessageQueue | None = None,
    ) -> None:
        self._manager = manager
        # For the manager, as are sink and own_queue.
        self.lines = lines
        self.stream: Stream | None = None
        self.left = False
        self.arg = arg
        self.endpoint = lines.endpoint
        #: Where its messages go: a handler, a queue of its own, or (neither) the shared queue.
        self.sink = sink
        self.own_queue = own_queue

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self.arg["channel"]

    @property
    def state(self) -> Literal["pending", "active", "rejected", "closed"]:
        """Where it stands.

        ``"pending"`` until OKX acknowledges it, and again while the link is down; ``"active"``; ``"rejected"`` if OKX
        refused it for good; ``"closed"`` once unsubscribed, or when its endpoint has ended.
        """
        stream = self.stream
        if self.left or stream is None:
            return "closed"
        if stream.rejected:
            return "rejected"
        if self.lines.failure is not None:
            return "closed"
        return "active" if stream.acked or stream.stands else "pending"

    def wait(self, timeout: float | None = 10.0) -> Subscription:
        """Block until OKX has acknowledged it; return it, so that ``ws.subscribe(...).wait()`` can be chained.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            SubscribeError: OKX refused it.
            LoginError: OKX refused the login it needs.
            ConnectionLost: Its endpoint has failed for good.
            ManagerClosed: The manager was closed.
            AckTimeout: No acknowledgement in time (the text ends with the last connection error). It stays wanted.
            UsageError: It was unsubscribed; or called on a link's own thread, which would wait for itself.
        """
        self._manager.check_may_block()
        deadline = None if timeout is None else time.monotonic() + seconds("timeout", timeout)
        lines = self.lines
        with lines.changed:
            while (state := self.state) != "active":
                if state != "pending":
                    raise self._why_not()
                left = SLICE_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    last = f"; last error: {lines.last_error}" if lines.last_error else ""
                    raise AckTimeout(f"no acknowledgement of {self.arg} in {timeout:g} s{last}")
                lines.changed.wait(min(left, SLICE_S))
        return self

    def _why_not(self) -> OkxWsError:
        stream = self.stream
        if self.left or stream is None:
            return UsageError(f"{self.arg} was unsubscribed")
        error = stream.refusal or self.lines.failure or ManagerClosed("the manager is closed")
        return copy_of(error)

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message of this subscription's own queue; see `MessageQueue.take`.

        Raises:
            UsageError: It has no queue of its own: subscribe with ``queue=True``.
        """
        return self._queue().take(timeout)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over this subscription's own queue, until it is unsubscribed or the manager closed.

        Raises:
            SubscribeError, LoginError, ConnectionLost: Nothing can come any more, and the queue is drained.
        """
        return self._queue().stream()

    def _queue(self) -> MessageQueue:
        if self.own_queue is None:
            raise UsageError(
                f"{self.arg} has no queue of its own: subscribe with queue=True, or read the manager's queue"
            )
        return self.own_queue

    def unsubscribe(self) -> None:
        """Want it no longer; nothing new reaches its handler once this has returned. Never blocks; idempotent.

        The server is told when the last subscription to the arg leaves. What its own queue holds can still be read.
        """
        self._manager.end_subscription(self)

    def __repr__(self) -> str:
        return f"<Subscription {self.arg} {self.state}>"
