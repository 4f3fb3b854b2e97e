"""What users are told: events to their handlers, lines to the log. One place stamps, counts and phrases them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from .config import Credentials
from .delivery import MessageQueue
from .events import Event
from .handlers import EventHandler, EventSink, HandlerThread, name_of
from .losses import now_ms
from .protocol import codec
from .protocol.telling import first_words

__all__ = ["Reporter"]

log = logging.getLogger(__name__)

LEVELS = {
    "connected": logging.INFO,
    "disconnected": logging.WARNING,
    "reconnecting": logging.INFO,
    "subscribed": logging.DEBUG,
    "subscribe_failed": logging.WARNING,
    "login_failed": logging.ERROR,
    "stalled": logging.WARNING,
    "overflow": logging.WARNING,
    "gap": logging.WARNING,
    "repaired": logging.INFO,
    "malformed": logging.WARNING,
    "unmatched": logging.WARNING,
    "late_reply": logging.WARNING,
    "switch_failed": logging.WARNING,
    "switch_lapsed": logging.ERROR,
    "notice": logging.INFO,
    "handler_error": logging.DEBUG,  # the traceback is logged apart
    "closed": logging.INFO,
}

#: Lines a second of one type; a flood of malformed messages must not become a flood of log lines.
LINES_PER_S = 5


def safe_repr(exc: BaseException) -> str:
    """Return the repr of a user's exception, or its type's name if that raises."""
    try:
        return repr(exc)
    except Exception:
        return type(exc).__qualname__


class Reporter:
    """Takes events from any thread, outside every lock; logs them and passes them to the event handlers.

    Args:
        credentials: Taken out of what is told.
        resume: Lets paused links go on.
        check_may_block: Raises `UsageError` on a thread that must not wait.
        exit: Called when a handler has raised `SystemExit`.
    """

    def __init__(
        self,
        credentials: Credentials,
        resume: Callable[[], None],
        check_may_block: Callable[[], None],
        exit: Callable[[SystemExit], None],
    ) -> None:
        self._credentials = credentials
        self.resume = resume
        self.check_may_block = check_may_block
        self._exit = exit
        self._handlers: tuple[EventSink, ...] = ()
        self.thread = HandlerThread(self, self.closed, self._tell_owed)
        #: Queues with losses that are not told yet.
        self._owing: set[MessageQueue] = set()
        #: Messages that inline handlers did not get since the manager was closing.
        self.left_over = 0
        self._ended = False
        #: By type: the second, and the lines logged in it.
        self._lines: dict[str, tuple[int, int]] = {}
        # Counts for `stats()`.
        self.malformed_count = 0
        self.handler_error_count = 0

    # ------------------------------------------------------------------ event handlers

    def add(self, handler: EventHandler) -> EventSink:
        """Call `handler` with every event from now on. Its owner calls this and `remove` under one lock."""
        sink = EventSink(handler)
        self._handlers = (*self._handlers, sink)
        return sink

    def remove(self, sink: EventSink) -> None:
        """Call the sink's handler no more, not even with what is queued for it."""
        sink.dead = True
        self._handlers = tuple(known for known in self._handlers if known is not sink)

    def tell(self, event: Event) -> None:
        """Stamp an event, log it, and queue it for the event handlers."""
        blot = self._credentials.blot_frame  # a server's words; its texts and args are blotted where they come in
        code, conn_id = blot(event.code), blot(event.conn_id)
        event = replace(event, at_ms=now_ms(), code=code, conn_id=conn_id)
        self._log(event)
        for sink in self._handlers:
            self.thread.post(sink, event)

    def _lines_now(self, type: str) -> int:
        """Count a line of this type; return how many there were in this second."""
        second, lines = self._lines.get(type, (0, 0))
        now = int(time.monotonic())
        lines = lines + 1 if now == second else 1
        self._lines[type] = (now, lines)
        return lines

    def _log(self, event: Event) -> None:
        lines = self._lines_now(event.type)
        if lines > LINES_PER_S:
            return
        told = {
            "arg": event.arg,
            "code": event.code,
            "msg": event.msg,
            "attempt": event.attempt,
            "delay_s": None if event.delay_s is None else round(event.delay_s, 3),
            "lost": event.lost,
            "connId": event.conn_id,
        }
        line = " ".join(f"{name}={value}" for name, value in told.items() if value not in (None, ""))
        more = " (further lines of this second left out)" if lines == LINES_PER_S else ""
        where = f"{event.endpoint}: " if event.endpoint else ""
        with contextlib.suppress(Exception):  # a log handler that raises must not end a link, and could not be told
            log.log(LEVELS[event.type], "%s%s %s%s", where, event.type, line, more)

    # ------------------------------------------------------------------ reports of queues and handlers

    def overflow(self, queue: str, lost: Counter[bytes]) -> None:
        """A full queue dropped messages, counted by head: tell each subscription's loss."""
        for head, number in lost.items():
            self.tell(Event("overflow", arg=codec.data_head_arg(head), msg=f"{queue} is full", lost=number))

    def owe(self, queue: MessageQueue) -> None:
        """A queue has losses that it does not tell yet, since it told others just now.

        They are told within a second if anybody listens to events; if not, with the queue's next loss, or at its end.
        """
        self._owing.add(queue)

    def _tell_owed(self) -> None:
        while self._owing:
            self._owing.pop().tell_losses()

    def malformed(self, payload: bytes, exc: Exception) -> None:
        """A message with a known head could not be decoded when it was used."""
        self.malformed_count += 1
        start = first_words(payload, self._credentials)
        arg = codec.data_head_arg(payload.partition(codec.HEAD_END)[0])
        self.tell(Event("malformed", arg=arg, msg=f"not JSON: {exc}: {start!r}"))

    def handler_error(self, handler: Callable[..., object], exc: BaseException) -> None:
        """A handler raised: log its traceback, and tell. `SystemExit` is no error but a wish."""
        if isinstance(exc, SystemExit):
            self._exit(exc)
            return
        self.handler_error_count += 1
        if self._lines_now("traceback") <= LINES_PER_S:
            with contextlib.suppress(Exception):  # see `_log`; and some exceptions cannot be formatted
                log.error("handler %s raised", name_of(handler), exc_info=exc)
        self.tell(Event("handler_error", msg=self._credentials.blot(f"{name_of(handler)}: {safe_repr(exc)}")))

    def closed(self, lost: int) -> None:
        """Everything has ended: the last event, told once, and called at once, since nothing is queued any more."""
        if self._ended:
            return
        self._ended = True
        event = Event("closed", lost=lost + self.left_over, at_ms=now_ms())
        self._log(event)
        for sink in self._handlers:
            self.thread.call(sink, event)
