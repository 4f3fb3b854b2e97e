"""`OrderBook`: a live order book, readable from any thread, and only while it is proven current.

Law. The threads of its links, one at a time, change the book. Readers take no lock and hold nobody up: a counter is odd
while a message is applied, and a reader that saw it odd, or changed, reads again. What was read counts only if the book
was proven at that moment: synced, of the epoch that the server acknowledged, and not about to be asked for anew. A lost
link begins a new epoch, unless another one goes on, so that nobody has to be told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Literal, NamedTuple, TypeVar

from .config import Settings
from .delivery import SLICE_S
from .errors import AckTimeout, BookOutOfSync, UsageError
from .events import Event
from .protocol import codec, gaps
from .protocol.book import LAYOUTS, Book, BookBroken, Level, NoSnapshot
from .protocol.splice import DEPTHS
from .protocol.subscriptions import Stream
from .reporting import Reporter
from .sinks import RawSink
from .splicing import InTurn, Splicing
from .subscription import Owner, Subscription, check_arg

__all__ = ["SNAPSHOT_S", "BookView", "OrderBook", "book_arg"]

#: After an acknowledgement the snapshot comes at once (captures: within 0.3 s); by then it will not come any more.
SNAPSHOT_S = 10.0

#: Sums and products of prices and sizes need a few dozen digits; a result that was rounded raises.
EXACT_DIGITS = 1000

T = TypeVar("T")
Number = Decimal | int | str


class BookView(NamedTuple):
    """One consistent copy of a book.

    Attributes:
        bids, asks: Levels, the best ones first.
        seqId: OKX's number of this state of the book; None in recordings that have none.
        ts: When OKX made it, as it wrote it: Unix ms.
        synced: It was proven current when it was copied.
    """

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    seqId: int | None
    ts: str
    synced: bool


def book_arg(instId: Any, channel: Any) -> dict[str, str]:
    """Return the arg of a book; raises `UsageError` if there is no such channel, or the arg cannot be right."""
    if not isinstance(channel, str) or channel not in LAYOUTS:
        raise UsageError(f"channel must be one of {', '.join(LAYOUTS)}, not {channel!r}")
    return check_arg({"channel": channel, "sprdId" if channel.startswith("sprd-") else "instId": instId})


def number(name: str, value: Any) -> Decimal:
    """Return a number that a user gave, exactly."""
    try:
        if type(value) in (str, int, Decimal) and (found := Decimal(value)).is_finite():
            return found
    except InvalidOperation:
        pass
    raise UsageError(f"{name} must be a number as str, int or Decimal (a float is not exact), not {value!r}")


def check_depth(name: str, depth: Any) -> None:
    """Raise `UsageError` unless `depth` is a number of levels, or None for all."""
    if depth is not None and (type(depth) is not int or depth < 0):
        raise UsageError(f"{name} must be a number of levels, or None for all, not {depth!r}")


def exact() -> Context:
    """Return a context that never rounds."""
    return Context(prec=EXACT_DIGITS, traps=[Inexact, InvalidOperation])


class OrderBook:
    """A live order book; made by `order_book`, not by you.

    Every number in it is the exchange's own text (`Level`); what is computed is an exact `Decimal`. A gap, a malformed
    message or a lost link makes the book unreadable at once; it is subscribed anew, on the same link if that stands,
    and readable again with the next snapshot (events ``gap``, ``repaired``).

    Threads: everything may be called from any thread, and from `on_update`; only `wait_ready` blocks.

    Attributes:
        arg: What is subscribed; not to be changed.
    """

    def __init__(
        self,
        manager: Owner,
        settings: Settings,
        reporter: Reporter,
        arg: dict[str, str],
        on_update: Callable[[OrderBook], object] | None,
        verify_checksum: bool,
    ) -> None:
        self.arg = arg
        self._manager = manager
        self._reporter = reporter
        self._on_update = on_update
        self._book = Book(LAYOUTS[arg["channel"]], verify_checksum)
        #: Odd while the link's thread changes the book.
        self._version = 0
        #: The epoch of the stream that the book is of, and the one in which it was last proven.
        self._epoch = self._proven = -1
        #: What broke it last; and that this was told, and its repair is not yet.
        self._why = ""
        self._gap_told = False
        #: Under way where the stream sent no snapshot.
        self._splicing: Splicing | None = None
        self._stream: Stream | None = None
        #: The process whose link changes it.
        self._pid = os.getpid()
        # For the manager.
        self.sink = RawSink(self._receive, settings, reporter)
        self.subscription: Subscription

    # ------------------------------------------------------------------ whether it is current

    @property
    def synced(self) -> bool:
        """It is proven current: reading it does not raise."""
        if os.getpid() != self._pid:
            return False  # nothing changes it in a forked child; and locks may be held there for ever
        stream = self._find_stream()
        return (
            stream is not None
            and self._book.state == "synced"
            and stream.stands
            and stream.epoch == self._proven
            and not self.sink.dead
            and not self.subscription.lines.is_paused(stream)
        )

    def wait_ready(self, timeout: float | None = 10.0) -> OrderBook:
        """Block until the book is synced; return it, so that ``ws.order_book(...).wait_ready()`` can be chained.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            SubscribeError, LoginError: OKX refused the subscription, or the login it needs.
            ConnectionLost: Its endpoint has failed for good.
            ManagerClosed: The manager was closed.
            AckTimeout: Not in time; the text says why. It goes on trying.
            UsageError: The book was closed; or called on a link's own thread, which would wait for itself.
        """
        self._manager.check_may_block()
        deadline = None if timeout is None else time.monotonic() + timeout
        lines = self.subscription.lines
        with lines.changed:
            while not self.synced:
                if self.subscription.state in ("rejected", "closed"):
                    self.subscription.wait(0)  # which raises
                left = SLICE_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    last = f"; last error: {lines.last_error}" if lines.last_error else ""
                    raise AckTimeout(f"no book of {self.arg} in {timeout:g} s: {self._reason()}{last}")
                lines.changed.wait(min(left, SLICE_S))
        return self

    def _reason(self) -> str:
        """Return why the book cannot be read."""
        if os.getpid() != self._pid:
            return f"it belongs to another process ({self._pid}); make one after the fork"
        stream = self._find_stream()
        if self.sink.dead or stream is None:
            return "it was closed"
        if stream.refusal is not None:
            return f"OKX refused it: {stream.refusal}"
        if not self.subscription.lines.is_up(stream):
            return "there is no link"
        if self.subscription.lines.is_paused(stream):
            return 'its link is paused: a queue is full (overflow="block")'
        return self._why or "its snapshot has not come yet"

    # ------------------------------------------------------------------ reading

    def view(self, depth: int | None = None, stale_ok: bool = False) -> BookView:
        """Return one consistent copy of the book.

        Args:
            depth: Levels of each side; None: all.
            stale_ok: Return what there is, with ``synced=False``, also while it is not proven current.

        Raises:
            BookOutOfSync: It is not proven current. So do all that follow.
        """
        check_depth("depth", depth)
        (bids, asks, seqId, ts), synced = self._read(
            lambda book: (book.best_bids(depth), book.best_asks(depth), book.seqId, book.ts), stale_ok
        )
        return BookView(bids, asks, seqId, ts, synced)

    def bids(self, n: int | None = None) -> tuple[Level, ...]:
        """Return the best `n` bids (None: all), the best one first."""
        check_depth("n", n)
        return self._read(lambda book: book.best_bids(n))[0]

    def asks(self, n: int | None = None) -> tuple[Level, ...]:
        """Return the best `n` asks (None: all), the best one first."""
        check_depth("n", n)
        return self._read(lambda book: book.best_asks(n))[0]

    @property
    def best_bid(self) -> Level | None:
        """The best bid; None if there is none."""
        return next(iter(self.bids(1)), None)

    @property
    def best_ask(self) -> Level | None:
        """The best ask; None if there is none."""
        return next(iter(self.asks(1)), None)

    @property
    def mid(self) -> Decimal | None:
        """The middle between the best bid and the best ask; None if a side is empty."""
        best = self._best()
        return None if best is None else exact().multiply(exact().add(*best), Decimal("0.5"))

    @property
    def spread(self) -> Decimal | None:
        """The best ask less the best bid, negative in a crossed book (pre-open); None if a side is empty."""
        best = self._best()
        return None if best is None else exact().subtract(best[1], best[0])

    def _best(self) -> tuple[Decimal, Decimal] | None:
        (bids, asks), _ = self._read(lambda book: (book.best_bids(1), book.best_asks(1)))
        return (Decimal(bids[0].px), Decimal(asks[0].px)) if bids and asks else None

    def depth_at(self, px: Number) -> Decimal:
        """Return the size that rests at exactly this price; 0 if none does.

        Args:
            px: The price: a str, an int or a Decimal.
        """
        price = number("px", px)
        sizes, _ = self._read(lambda book: book.sizes_at(price))
        total = Decimal(0)
        for size in sizes:  # of both sides, in a crossed book
            total = exact().add(total, Decimal(size))
        return total

    def cost_to_fill(self, side: Literal["buy", "sell"], sz: Number) -> Decimal | None:
        """Return what a market order of this size would pay or receive: the sum of price times size.

        Sizes of derivatives are contracts: multiply by the contract's value.

        Args:
            side: ``"buy"`` takes asks, ``"sell"`` takes bids.
            sz: How much: a str, an int or a Decimal, not negative.

        Returns:
            None if the book does not hold so much.
        """
        left, context = number("sz", sz), exact()
        if side not in ("buy", "sell") or left < 0:
            raise UsageError(f"side must be 'buy' or 'sell', sz not negative; not {side!r}, {sz!r}")
        cost = Decimal(0)
        for level in self.asks() if side == "buy" else self.bids():
            if not left:
                break
            taken = min(left, Decimal(level.sz))
            cost = context.fma(Decimal(level.px), taken, cost)
            left = context.subtract(left, taken)
        return None if left else cost

    def _read(self, take: Callable[[Book], T], stale_ok: bool = False) -> tuple[T, bool]:
        """Return what `take` finds in the book, all of one moment, and whether it was proven current then."""
        while True:
            version = self._version
            synced = self.synced
            if not synced and not stale_ok:
                raise BookOutOfSync(f"the book of {self.arg} is not proven current: {self._reason()}")
            if version % 2 == 0:
                try:
                    found = take(self._book)
                except LookupError:  # a level went while it was looked at
                    if version == self._version:
                        raise
                else:
                    if version == self._version:
                        return found, synced
            time.sleep(0)  # let the link's thread finish

    # ------------------------------------------------------------------ the link's thread

    def _find_stream(self) -> Stream | None:
        """Return the stream; at the very beginning, when the link may be quicker than the manager, find it."""
        if self._stream is None:
            with self.subscription.lines.mutex:
                self._stream = self.subscription.lines.find(self.arg)
        return self._stream

    def _receive(self, payload: bytes) -> None:
        """Apply a message. Neither raises nor blocks, whatever it is."""
        stream = self._find_stream()
        if stream is None or not stream.takes or gaps.is_marker(payload):
            return  # of a chain that has ended
        if stream.epoch != self._epoch:
            self._epoch = stream.epoch
            self._restart()
        try:
            message = codec.decode(payload)
        except codec.DecodeError as exc:
            self._reporter.malformed(payload, exc)
            message = None  # which the book cannot read either
        if self._splicing is not None and not self._is_snapshot(message):
            self._splicing.add(message)
        else:
            self._apply(stream, message)

    def _apply(self, stream: Stream, message: Any) -> None:
        self._version += 1
        try:
            done = self._book.apply(message)
        except BookBroken as exc:
            if not (isinstance(exc, NoSnapshot) and self._splice(stream, message)):
                self._broken(stream, str(exc))
            return
        finally:
            self._version += 1
        # What came before the acknowledgement may be of an attempt that was given up: it counts as soon as something
        # that came after it follows from it.
        if stream.stands:
            news = done != "keep-alive" or self._proven != stream.epoch
            if self._proven != stream.epoch:
                self._proven = stream.epoch
                self._ready()
            if news:
                self._call()

    def _restart(self) -> None:
        """What came before says nothing about what comes now."""
        self._book.restart()
        if self._splicing is not None:
            self._splicing.over = True
            self._splicing = None

    # ------------------------------------------------------------------ a stream without snapshots

    def _is_snapshot(self, message: Any) -> bool:
        """A snapshot has come after all: begin with it."""
        if isinstance(message, dict) and message.get("action") == "snapshot":
            self._restart()
            return True
        return False

    def _splice(self, stream: Stream, message: Any) -> bool:
        """Build the book from REST's, beginning with this update; return whether that can be tried."""
        keeper = getattr(stream.link, "keeper", None)
        if not stream.stands or keeper is None or self.arg["channel"] not in DEPTHS:
            return False
        self._why = "its channel sends no snapshot: it is being built from REST's book"
        self._splicing = Splicing(InTurn(keeper, self.sink.turn), self.arg, self._build, self._give_up)
        self._splicing.add(message)
        return True

    def _build(self, messages: list[dict[str, Any]]) -> None:
        """Begin with REST's book and the updates that follow from it."""
        self._restart()
        stream = self._find_stream()
        for message in messages:
            if stream is not None and self._is_current(stream):
                self._apply(stream, message)

    def _give_up(self, why: str) -> None:
        """REST could not help: a new subscription may bring a snapshot."""
        self._splicing = None
        stream = self._find_stream()
        if stream is not None and self._is_current(stream):
            self._broken(stream, f"an update before any snapshot; {why}")

    def _is_current(self, stream: Stream) -> bool:
        return stream.epoch == self._epoch and stream.stands and not self.sink.dead

    def _broken(self, stream: Stream, why: str) -> None:
        """Ask for a new snapshot, unless one is to come with an acknowledgement."""
        if not stream.stands:
            self._restart()
            return
        self._why = why
        lines = self.subscription.lines
        if lines.resubscribe(stream) and not self._gap_told:  # once, however many snapshots it takes
            self._gap_told = True
            self._reporter.tell(Event("gap", lines.endpoint, self.arg, msg=why))

    def _ready(self) -> None:
        """It can be read (again): tell, and let those go who wait for it."""
        lines = self.subscription.lines
        self._why = ""
        if self._gap_told:
            self._gap_told = False
            self._reporter.tell(Event("repaired", lines.endpoint, self.arg, msg="by a new snapshot"))
        with lines.changed:
            lines.changed.notify_all()

    def _call(self) -> None:
        if self._on_update is None:
            return
        try:
            self._on_update(self)
        except BaseException as exc:  # SystemExit too: it must not end the link
            self._reporter.handler_error(self._on_update, exc)

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Want it no longer: unsubscribe, and refuse to be read. Never blocks; idempotent."""
        self._manager.end_subscription(self.subscription)

    unsubscribe = close

    def __repr__(self) -> str:
        return f"<OrderBook {self.arg} {'synced' if self.synced else 'not synced'} seqId={self._book.seqId}>"
