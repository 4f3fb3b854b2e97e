"""`OrderBook`: a live order book, readable from any thread, and only while it is proven current.

Law. As of its stream, see `live_stream`; and the book itself has to be synced. Readers take no lock and hold nobody up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Literal, NamedTuple, TypeVar

from .config import Settings
from .errors import AckTimeout, BookOutOfSync, UsageError
from .live_stream import LiveStream, wait_until
from .protocol.book import LAYOUTS, Book, BookBroken, Level, NoSnapshot
from .protocol.splice import DEPTHS
from .protocol.subscriptions import Stream
from .reporting import Reporter
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
        self._on_update = on_update
        self._book = Book(LAYOUTS[arg["channel"]], verify_checksum)
        #: Under way where the stream sent no snapshot.
        self._splicing: Splicing | None = None
        #: The process whose link changes it.
        self._pid = os.getpid()
        #: For the manager.
        self.live = LiveStream(settings, reporter, arg, self._receive, takes=True)

    @property
    def subscription(self) -> Subscription:
        """What it is kept from."""
        return self.live.subscription

    # ------------------------------------------------------------------ whether it is current

    @property
    def synced(self) -> bool:
        """It is proven current: reading it does not raise."""
        # Nothing changes it in a forked child; and locks may be held there for ever.
        return os.getpid() == self._pid and self._book.state == "synced" and self.live.current

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

        def late() -> AckTimeout:
            error = self.live.lines.last_error
            last = f"; last error: {error}" if error else ""
            return AckTimeout(f"no book of {self.arg} in {timeout:g} s: {self._reason()}{last}")

        self._manager.check_may_block()
        wait_until([self.live], lambda: self.synced or None, timeout, late)
        return self

    def _reason(self) -> str:
        """Return why the book cannot be read."""
        if os.getpid() != self._pid:
            return f"it belongs to another process ({self._pid}); make one after the fork"
        return self.live.reason

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
        while (found := self.live.read(lambda: (take(self._book), self.synced))) is None:
            pass
        if not found[1] and not stale_ok:
            raise BookOutOfSync(f"the book of {self.arg} is not proven current: {self._reason()}")
        return found

    # ------------------------------------------------------------------ the link's thread

    def _receive(self, live: LiveStream, message: Any) -> None:
        """Apply a message. Neither raises nor blocks, whatever it is."""
        stream = live.find()
        assert stream is not None  # it has brought the message
        if stream.epoch != live.epoch:
            live.epoch = stream.epoch
            self._restart()
        if self._splicing is not None and not self._is_snapshot(message):
            self._splicing.add(message)
        else:
            self._apply(stream, message)

    def _apply(self, stream: Stream, message: Any) -> None:
        try:
            with self.live.changing:
                done = self._book.apply(message)
        except BookBroken as exc:
            if not (isinstance(exc, NoSnapshot) and self._splice(stream, message)):
                self._broken(stream, str(exc))
            return
        # What came before the acknowledgement may be of an attempt that was given up: it counts as soon as something
        # that came after it follows from it.
        if stream.stands:
            first = self.live.proven != stream.epoch
            if first:
                self.live.mended(stream.epoch)
            if self._on_update is not None and (first or done != "keep-alive"):
                self.live.call(self._on_update, self)

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
        self.live.why = "its channel sends no snapshot: it is being built from REST's book"
        self._splicing = Splicing(InTurn(keeper, self.live.sink.turn), self.arg, self._build, self._give_up)
        self._splicing.add(message)
        return True

    def _build(self, messages: list[dict[str, Any]]) -> None:
        """Begin with REST's book and the updates that follow from it; read it can be when the last is in.

        Before that it is of a moment between two updates, with the number of the first.
        """
        self._restart()
        stream = self.live.find()
        if stream is None or not self._is_current(stream):
            return
        try:
            with self.live.changing:
                for message in messages[:-1]:
                    self._book.apply(message)
        except BookBroken as exc:
            self._broken(stream, str(exc))
            return
        self._apply(stream, messages[-1])

    def _give_up(self, why: str) -> None:
        """REST could not help: a new subscription may bring a snapshot."""
        self._splicing = None
        stream = self.live.find()
        if stream is not None and self._is_current(stream):
            self._broken(stream, f"an update before any snapshot; {why}")

    def _is_current(self, stream: Stream) -> bool:
        return stream.epoch == self.live.epoch and stream.stands and not self.live.sink.dead

    def _broken(self, stream: Stream, why: str) -> None:
        """Ask for a new snapshot, unless one is to come with an acknowledgement."""
        if stream.stands:
            self.live.ask_anew(stream, why)
        else:
            self._restart()

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Want it no longer: unsubscribe, and refuse to be read. Never blocks; idempotent."""
        self._manager.end_subscription(self.live.subscription)

    unsubscribe = close

    def __repr__(self) -> str:
        return f"<OrderBook {self.arg} {'synced' if self.synced else 'not synced'} seqId={self._book.seqId}>"
