"""`LiveStream`: one stream that something live is kept from: whether it is proven current, and how it is read.

Law. The threads of its links, one at a time, change what the stream gave. Readers take no lock and hold nobody up: a
counter is odd while something is changed, and a reader that saw it odd, or changed, reads again. What was read counts
only if the stream was proven at that moment: acknowledged, of the epoch that was proven, and not about to be asked for
anew. A lost link begins a new epoch, unless another one goes on, so that nobody has to be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from .config import Settings
from .delivery import SLICE_S
from .events import Event
from .net.lines import Lines
from .protocol import codec, gaps
from .protocol.subscriptions import Stream
from .reporting import Reporter
from .sinks import RawSink, Turn
from .subscription import Subscription

__all__ = ["LiveStream", "wait_until"]

T = TypeVar("T")


class Changing:
    """A version that is odd while something is changed. (As a generator it would cost each message 1 µs more.)"""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0

    def __enter__(self) -> None:
        self.version += 1

    def __exit__(self, *error: object) -> None:
        self.version += 1


class LiveStream:
    """One stream that a view is kept from, and whether what it gave is proven current.

    Args:
        arg: What is subscribed.
        take: Called on the link's thread with each decoded message; None in the place of one that cannot be decoded.
        turn: Shared with the other streams of a view: their links take turns.
        takes: What it gets does not go to the shared queue.

    Attributes:
        epoch, proven: The epoch of the stream that the view is of, and the one in which it was last proven.
        why: What broke it last, or keeps it from being proven; may be empty.
        gap_told: That it broke was told, and its repair is not yet.
        subscription: For the manager, which sets it.
    """

    def __init__(
        self,
        settings: Settings,
        reporter: Reporter,
        arg: dict[str, str],
        take: Callable[[LiveStream, Any], None],
        turn: Turn | None = None,
        *,
        takes: bool = False,
    ) -> None:
        self.arg = arg
        self._reporter = reporter
        self._take = take
        self.sink = RawSink(self._receive, settings, reporter, turn, takes=takes)
        self.subscription: Subscription
        self.epoch = self.proven = -1
        self.why = ""
        self.gap_told = False
        #: Entered while what the stream gave is changed, on its link's thread.
        self.changing = Changing()
        self._stream: Stream | None = None

    @property
    def lines(self) -> Lines:
        """The links of its endpoint."""
        return self.subscription.lines

    def find(self) -> Stream | None:
        """Return the stream; at the very beginning, when the link may be quicker than the manager, find it."""
        if self._stream is None:
            with self.lines.mutex:
                self._stream = self.lines.find(self.arg)
        return self._stream

    @property
    def live(self) -> bool:
        """Messages of it come now, and none is missing that is not known to be."""
        stream = self.find()
        return stream is not None and stream.stands and not self.sink.dead and not self.lines.is_paused(stream)

    @property
    def current(self) -> bool:
        """What it gave is proven current."""
        stream = self.find()
        return stream is not None and self.live and stream.epoch == self.proven

    @property
    def reason(self) -> str:
        """Why it is not."""
        stream = self.find()
        if self.sink.dead or stream is None:
            return "it was closed"
        if stream.rejected:
            return f"OKX refused it: {stream.refusal}"
        if not self.lines.is_up(stream):
            return "there is no link"
        if self.lines.is_paused(stream):
            return 'its link is paused: a queue is full (overflow="block")'
        return self.why or "its snapshot has not come yet"

    def broken(self, why: str) -> None:
        """Something is missing: tell, once until it is mended."""
        self.why = why
        if not self.gap_told:
            self.gap_told = True
            self._reporter.tell(Event("gap", self.lines.endpoint, self.arg, msg=why))

    def mended(self, epoch: int) -> None:
        """What it gave is proven current from here on: tell, and let those look who wait for it."""
        self.proven, self.why = epoch, ""
        if self.gap_told:
            self.gap_told = False
            self._reporter.tell(Event("repaired", self.lines.endpoint, self.arg, msg="it is whole again"))
        self.notify()

    def ask_anew(self, stream: Stream, why: str) -> None:
        """What it gave cannot be right, or lacks something: have a new snapshot, and tell so."""
        self.why = why
        if self.lines.resubscribe(stream):
            self.broken(why)

    def notify(self) -> None:
        """Let those look who wait."""
        with self.lines.changed:
            self.lines.changed.notify_all()

    def call(self, handler: Callable[[Any], object], value: Any) -> None:
        """Call a user's function; what it raises is told."""
        try:
            handler(value)
        except BaseException as exc:  # SystemExit too: it must not end the link
            self._reporter.handler_error(handler, exc)

    def read(self, take: Callable[[], T]) -> T | None:
        """Return what `take` finds, all of one moment; None if it was changed meanwhile: try again."""
        version = self.changing.version
        if version % 2 == 0:
            try:
                found = take()
            except (LookupError, RuntimeError):  # a dict changed while it was looked at
                if version == self.changing.version:
                    raise
            else:
                if version == self.changing.version:
                    return found
        time.sleep(0)  # let the link's thread finish
        return None

    def call_soon(self, job: Callable[[], None]) -> None:
        """Have `job` called on its link's thread; never, if the link is lost before."""
        stream = self.find()
        if stream is not None:
            self.lines.call_soon(stream, partial(self.sink.turn.take, job))

    def _receive(self, payload: bytes) -> None:
        """Hand over a message. Neither raises nor blocks, whatever it is."""
        stream = self.find()
        if stream is None or not stream.takes or gaps.is_marker(payload):
            return  # of what has ended
        try:
            message = codec.decode(payload)
        except codec.DecodeError as exc:
            self._reporter.malformed(payload, exc)
            message = None  # which no view can read either
        self._take(self, message)


def wait_until(
    streams: Sequence[LiveStream], ready: Callable[[], T | None], timeout: float | None, late: Callable[[], Exception]
) -> T:
    """Block until `ready` returns something; raise `late()` if that takes too long, or why it cannot come.

    All of one endpoint. `ready` is called under its mutex.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    changed = streams[0].lines.changed
    with changed:
        while (found := ready()) is None:
            for stream in streams:
                if stream.subscription.state in ("rejected", "closed"):
                    stream.subscription.wait(0)  # which raises
            left = SLICE_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise late()
            changed.wait(min(left, SLICE_S))
    return found
