"""Who gets what: sinks, queues and patterns, and the outlet of each stream.

Each subscription has one sink: its handler, its own queue, or the shared queue. Handlers of `on` get every match
besides. Own queues always receive; the shared queue receives only what no handler took.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol, cast
from weakref import WeakValueDictionary

from .config import Settings
from .delivery import FanOut, MessageQueue
from .handlers import Handler
from .protocol import codec
from .protocol.codec import arg_key
from .protocol.routing import Outlet
from .reporting import Reporter
from .sinks import HandlerSink, InlineSink, QueuedSink, TextSink

__all__ = ["Pattern", "Registration", "Switchboard", "Tap"]


class Holder(Protocol):
    """A subscription, as far as it matters here."""

    arg: dict[str, str]
    endpoint: str
    sink: InlineSink | QueuedSink | None
    own_queue: MessageQueue | None


class Registration:
    """A handler of `on` or `on_event`; calling it calls the handler, so a decorated function stays a function."""

    def __init__(self, handler: Callable[..., object], remove: Callable[[], None]) -> None:
        self.handler = handler
        self._remove = remove

    def remove(self) -> None:
        """Nothing new reaches the handler once this has returned. Idempotent."""
        self._remove()

    def __call__(self, *args: Any) -> Any:
        return self.handler(*args)


def identity(handler: Handler | InlineSink) -> tuple[Any, ...]:
    """Return what tells handlers apart: `is`, not `==`; bound methods are made anew at each access.

    Ids stay their owners', since the sink keeps the handler alive.
    """
    try:
        owner = getattr(handler, "__self__", None)
        method = getattr(handler, "__func__", None) or getattr(handler, "__name__", None)  # a method of C: its name
    except Exception:  # an attribute that raises: no bound method at any rate
        return (id(handler), None)
    return (id(handler), None) if owner is None or method is None else (id(owner), method)


class Tap:
    """Sees messages on the link's thread until one is wanted; takes nothing from anybody."""

    congested = False

    def __init__(self, wanted: Callable[[dict[str, Any]], object]) -> None:
        self._wanted = wanted
        self._found: dict[str, Any] | None = None
        self._error: Exception | None = None
        self.changed = threading.Condition(threading.RLock())

    def deliver(self, batch: list[bytes]) -> bool:
        """Look at messages, up to the wanted one."""
        for payload in batch:
            if self._found is not None or self._error is not None:
                break
            try:
                message = codec.decode(payload)
            except codec.DecodeError:
                continue  # told by whoever it was for
            try:
                if "data" in message and self._wanted(message):
                    self._found = message
            except Exception as exc:  # the caller's own function: the caller shall have it
                self._error = exc
        if self._found is not None or self._error is not None:
            with self.changed:
                self.changed.notify_all()
        return False

    def wait(self, until: float) -> dict[str, Any] | None:
        """Return the wanted message, or None at `until` (monotonic); raise what the caller's function raised."""
        with self.changed:
            if self._found is None and self._error is None:
                self.changed.wait(max(0.0, until - time.monotonic()))
        if self._error is not None:
            raise self._error
        return self._found


class Pattern:
    """What `on` and `wait_for` want to see: which messages, and where they go.

    Args:
        channel: A channel's name, or a shell pattern.
        fields: Only messages whose arg has these.
        outlet: Gets them.
        takes: It is a handler: what it gets does not go to the shared queue.
    """

    def __init__(
        self, channel: str, fields: Mapping[str, str], outlet: InlineSink | QueuedSink | Tap, takes: bool
    ) -> None:
        self._channel = channel
        self._fields = fields.items()
        self.outlet = outlet
        self.takes = takes

    def matches(self, arg: Mapping[str, Any]) -> bool:
        """Tell whether messages with this arg are wanted."""
        return fnmatchcase(arg["channel"], self._channel) and self._fields <= arg.items()


class Switchboard:
    """The sinks and queues of one manager.

    Its owner calls it under one lock, but for `outlet_of`, which reads only what is replaced as a whole.
    """

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self._settings = settings
        self._reporter = reporter
        self.shared = MessageQueue("the manager's queue", settings, reporter)
        #: Gets what no handler takes; None: nobody does.
        self.default: Outlet | None = self.shared
        self._patterns: tuple[Pattern, ...] = ()
        #: Of subscriptions: one a handler, so that a handler gets all its args in order.
        self._sinks: dict[tuple[Any, ...], InlineSink | QueuedSink] = {}
        self._own: dict[Holder, MessageQueue] = {}
        #: Those of `text_sink` and `publish_to`.
        self._extra: list[QueuedSink] = []
        #: Kept alive by the routes that use them.
        self._fan_outs: WeakValueDictionary[tuple[Outlet, ...], FanOut] = WeakValueDictionary()

    # ------------------------------------------------------------------ who there is

    def sink(self, handler: Handler | InlineSink, inline: bool) -> InlineSink | QueuedSink:
        """Return the sink of a subscription's handler."""
        key = (*identity(handler), inline)
        sink = self._sinks.get(key)
        if sink is None:
            sink = self._sinks[key] = self._new_sink(handler, inline)
        return sink

    def _new_sink(self, handler: Handler | InlineSink, inline: bool) -> InlineSink | QueuedSink:
        if issubclass(type(handler), InlineSink):  # by type alone: a user's object may raise at any question
            return cast(InlineSink, handler)  # an order book brings its own
        function = cast(Handler, handler)
        if inline:
            return InlineSink(function, self._settings, self._reporter)
        self._reporter.thread.start()
        return QueuedSink(function, self._settings, self._reporter, self._reporter.thread)

    def text_sink(self, handler: Callable[[str], object]) -> TextSink:
        """Return a sink for every text as it came; its messages reach nothing else."""
        self._reporter.thread.start()
        sink = TextSink(handler, self._settings, self._reporter, self._reporter.thread)
        self._extra.append(sink)
        return sink

    def publish_to(self, handler: Handler | None) -> None:
        """Have what no handler takes go to this one instead of the shared queue; None: to nobody."""
        self.default = None
        if handler is not None:
            self._reporter.thread.start()
            self.default = QueuedSink(handler, self._settings, self._reporter, self._reporter.thread)
            self._extra.append(self.default)

    def new_queue(self, arg: Mapping[str, str]) -> MessageQueue:
        """Return a queue for one subscription."""
        return MessageQueue(f"the queue of {dict(arg)}", self._settings, self._reporter)

    def enter(self, holder: Holder) -> None:
        """A subscription begins."""
        if holder.sink is not None:
            holder.sink.begin(arg_key(holder.arg))
        if holder.own_queue is not None:
            self._own[holder] = holder.own_queue

    def leave(self, holder: Holder) -> list[MessageQueue]:
        """A subscription has ended: nothing new reaches its handler. Return queues that end with it."""
        self._own.pop(holder, None)
        if holder.sink is not None:
            holder.sink.finish(arg_key(holder.arg))
            if holder.sink.dead:
                self._sinks = {key: sink for key, sink in self._sinks.items() if sink is not holder.sink}
                return queues_of([holder.sink])
        return []

    def add_handler(self, channel: str, fields: Mapping[str, str], handler: Handler, inline: bool) -> Pattern:
        """Add a handler of `on`."""
        return self._add(Pattern(channel, fields, self._new_sink(handler, inline), takes=True))

    def add_tap(self, channel: str, fields: Mapping[str, str], tap: Tap) -> Pattern:
        """Add a tap of `wait_for`."""
        return self._add(Pattern(channel, fields, tap, takes=False))

    def _add(self, pattern: Pattern) -> Pattern:
        self._patterns = (*self._patterns, pattern)
        return pattern

    def remove_pattern(self, pattern: Pattern) -> list[MessageQueue]:
        """Remove a handler or a tap: nothing new reaches it. Return its queue, if it has one."""
        if isinstance(pattern.outlet, HandlerSink):
            pattern.outlet.dead = True
        self._patterns = tuple(known for known in self._patterns if known is not pattern)
        return queues_of([pattern.outlet])

    # ------------------------------------------------------------------ what they get

    def outlet_of(self, holders: list[Any], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where messages with this arg go. Called under a connection's mutex."""
        matches = [pattern for pattern in self._patterns if pattern.matches(arg)]
        sinks = [holder.sink for holder in holders if holder.sink is not None]
        handlers = [pattern.outlet for pattern in matches if pattern.takes]
        taken = bool(handlers) or any(sink.takes for sink in sinks)
        # Taps first: who is told that instruments have changed must find what was remembered of them forgotten.
        outlets: list[Outlet] = [*(pattern.outlet for pattern in matches if not pattern.takes), *sinks, *handlers]
        outlets += [holder.own_queue for holder in holders if holder.own_queue is not None]
        if not taken and any(holder.sink is None and holder.own_queue is None for holder in holders):
            outlets += [] if self.default is None else [self.default]
        unique = tuple(dict.fromkeys(outlets))
        if len(unique) < 2:
            return unique[0] if unique else None
        # The same outlets share one fan-out, so that their messages stay together in a batch.
        return self._fan_outs.setdefault(unique, FanOut(unique))

    # ------------------------------------------------------------------ all of them

    @property
    def own_queues(self) -> dict[Holder, MessageQueue]:
        """The queues of subscriptions that have one."""
        return dict(self._own)

    @property
    def queues(self) -> list[MessageQueue]:
        """Every queue that users read."""
        return [self.shared, *self._own.values()]

    @property
    def handler_queues(self) -> list[MessageQueue]:
        """The queues of handlers on the handlers' thread."""
        return queues_of(self._handler_sinks)

    @property
    def tap_locks(self) -> list[threading.Condition]:
        """The locks of the taps."""
        return [pattern.outlet.changed for pattern in self._patterns if isinstance(pattern.outlet, Tap)]

    def cut_off_inline(self) -> None:
        """The manager closes: inline handlers get nothing more, lest they hold up their links."""
        for sink in self._handler_sinks:
            if isinstance(sink, InlineSink):
                sink.cut_off()

    @property
    def _handler_sinks(self) -> list[InlineSink | QueuedSink | Tap]:
        return [*self._sinks.values(), *(pattern.outlet for pattern in self._patterns), *self._extra]


def queues_of(sinks: Iterable[InlineSink | QueuedSink | Tap]) -> list[MessageQueue]:
    """Return the queues of those that have one."""
    return [sink.queue for sink in sinks if isinstance(sink, QueuedSink)]
