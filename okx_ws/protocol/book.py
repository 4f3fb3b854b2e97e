"""One order book: snapshot, updates, and whether they prove it current.

Law. A book is readable only while it is *synced*: a snapshot, and an unbroken chain of updates since. What breaks the
chain, or cannot be read, breaks the book: nothing of that message is applied (but for a checksum, known only
afterwards), and all else is dropped until `restart`, which the owner calls when the server begins anew (it was asked
to, or the link was lost).

    state   | snapshot           | update that chains | any other update  | malformed | restart
    --------+--------------------+--------------------+-------------------+-----------+--------
    waiting | → synced           | → broken           | → broken          | → broken  | –
    synced  | replaces the book  | applied            | → broken (a gap)  | → broken  | → waiting
    broken  | dropped            | dropped            | dropped           | dropped   | → waiting

An update chains if its ``prevSeqId`` is the last ``seqId``; the new one may be anything, also smaller (a reset by
maintenance). An empty one that repeats the number is a keep-alive. Books of a channel without ``action`` come whole
each time, and their numbers are no chain. Recordings from before there were numbers are proven by their checksums.

A stream without snapshots (OKX announced that in 2026 and did not do it) breaks the book with `NoSnapshot`: `splice`
makes one of REST's book.

Source: OKX v5 docs, "Order book channel", read June 2026; captures of 2021, 2022 and 2026.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Literal, NamedTuple
from zlib import crc32

from .codec import decode

__all__ = ["LAYOUTS", "Book", "BookBroken", "Layout", "Level", "NoSnapshot", "Side"]

#: Levels of each side that a checksum covers.
CHECKSUM_DEPTH = 25

#: Prices of up to 15 digits are exact as float keys (or int, without a dot): no two of them share one, and their order
#: is kept, since IEEE doubles hold 15 digits. A book that shows a longer text is keyed by Decimal from then on.
FLOAT_DIGITS = 15

Key = float | Decimal
#: A level as it came: a list of texts.
Row = list[str]
#: What a message says of one side: keys, rows, and sizes, rounded.
Levels = Iterable[tuple[Key, Row, float]]


class Level(NamedTuple):
    """One price level, in the exchange's own texts.

    Attributes:
        px: The price.
        sz: The size resting there: contracts of derivatives, else the base coin.
        orders: How many orders that is.
        nonRpiSz: Of ``books-rpi`` and its like only: the part of `sz` that is no retail price improvement; else None.
    """

    px: str
    sz: str
    orders: str
    nonRpiSz: str | None = None


class Layout(NamedTuple):
    """How a channel writes its books.

    Attributes:
        whole: Each message is the whole book.
        orders: Where in a row the number of orders stands; rows have that many fields and one more, at least.
        rpi: The third field of a row is the size without retail orders.
    """

    whole: bool = False
    orders: int = 3
    rpi: bool = False

    def level(self, row: Row) -> Level:
        """Return a row as users see it."""
        return Level(row[0], row[1], row[self.orders], row[2] if self.rpi else None)


LAYOUTS = {
    "books": Layout(),
    "books50-l2-tbt": Layout(),
    "books-l2-tbt": Layout(),
    "books-elp": Layout(),
    "books-elp-all": Layout(rpi=True),
    "books-rpi": Layout(rpi=True),
    "books5": Layout(whole=True),
    "bbo-tbt": Layout(whole=True),
    "sprd-books-l2-tbt": Layout(orders=2),
    "sprd-books5": Layout(whole=True, orders=2),
    "sprd-bbo-tbt": Layout(whole=True, orders=2),
}


class BookBroken(Exception):
    """A message broke the book; its text says why."""


class NoSnapshot(BookBroken):
    """An update came before any snapshot: the book may be built from REST's (see `splice`)."""


class Side:
    """One side of a book: the rows by price, and the prices in ascending order.

    A dict and a sorted list, measured over the 1,794 book messages of the captures (10,064 changed levels, Python
    3.11): 3.5 ms with float keys, 6.5 ms with int keys of a fixed scale, 9.9 ms with Decimal; rows by text beside a
    list of (float, text): 4.1 ms, and equal prices in different texts would be two levels. Rows stay the lists that the
    decoder made: 305 kB for 400 + 400.
    """

    __slots__ = ("keys", "rows")

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.keys: list[Key] = []

    def put(self, levels: Levels) -> None:
        """Set or delete levels; to delete one that is not there is no error."""
        rows, keys = self.rows, self.keys
        for key, row, size in levels:
            if key in rows:
                if size or row[1].strip("0."):  # a size too small for a float is one
                    rows[key] = row
                else:
                    del rows[key], keys[bisect_left(keys, key)]
            elif size or row[1].strip("0."):
                insort(keys, key)
                rows[key] = row
            # else the server's window and ours differ: captures have hundreds of deletes of levels never seen

    def replace(self, levels: Levels) -> None:
        """Set all levels; nothing of the old ones survives."""
        rows = {key: row for key, row, size in levels if size or row[1].strip("0.")}
        self.rows, self.keys = rows, sorted(rows)


class Book:
    """The order book of one arg.

    Not thread-safe: `apply` and `restart` are for one thread.

    Args:
        layout: How its channel writes books, see `LAYOUTS`.
        verify: Compare checksums where the server gives one. It gives 0 since June 2026, which means none.

    Attributes:
        state: See the table above.
        bids, asks: The two sides.
        seqId: The number of the last message applied; None before the first, and in recordings without numbers.
        ts: When the server made the book, as it wrote it: Unix ms.
    """

    def __init__(self, layout: Layout, verify: bool = False) -> None:
        self._layout = layout
        self._verify = verify
        #: Keys are of type Decimal.
        self._by_decimal = False
        self.state: Literal["waiting", "synced", "broken"] = "waiting"
        self.bids, self.asks = Side(), Side()
        self.seqId: int | None = None
        self.ts = ""

    # ------------------------------------------------------------------ in

    def restart(self) -> None:
        """A snapshot is due: what came before says nothing about what comes now."""
        self.state = "waiting"

    def apply(self, message: Any) -> Literal["snapshot", "update", "keep-alive", "dropped"]:
        """Apply one decoded push; return what it was.

        Raises:
            BookBroken: It does not chain, or cannot be right. The book is broken from here on.
        """
        if self.state == "broken":
            return "dropped"
        try:
            return self._apply(message)
        except (AttributeError, LookupError, TypeError, ValueError) as exc:
            self.state = "broken"
            raise BookBroken(f"malformed: {exc!r}") from exc
        except BookBroken:
            self.state = "broken"
            raise

    def _apply(self, message: Any) -> Literal["snapshot", "update", "keep-alive"]:
        (row,) = message["data"]
        seqId, ts, whole = row.get("seqId"), row["ts"], self._layout.whole
        if type(ts) is not str or type(seqId) not in (int, type(None)):
            raise ValueError(f"ts {ts!r}, seqId {seqId!r}")
        action = "snapshot" if whole else message["action"]
        if action == "update":
            self._check_chain(seqId, row.get("prevSeqId"))
        elif action != "snapshot":
            raise ValueError(f"action {action!r}")
        asks, bids = self._levels(row["asks"], row["bids"])  # both, before any of it is applied
        alive = action == "update" and seqId == self.seqId and not row["asks"] and not row["bids"]
        if action == "snapshot":
            self.asks.replace(asks)
            self.bids.replace(bids)
        else:
            self.asks.put(asks)
            self.bids.put(bids)
        self._check_sum(row.get("checksum"), seqId)
        if not alive:
            self.seqId, self.ts, self.state = seqId, ts, "synced"
        return "keep-alive" if alive else ("snapshot" if action == "snapshot" else "update")

    def _check_chain(self, seqId: int | None, prevSeqId: Any) -> None:
        if self.state == "waiting":
            raise NoSnapshot("an update before any snapshot")
        if (seqId is None) != (self.seqId is None):
            raise ValueError(f"seqId {seqId!r} after {self.seqId!r}")
        if prevSeqId != self.seqId:
            raise BookBroken(f"a gap: prevSeqId {prevSeqId} after seqId {self.seqId}")

    def _check_sum(self, offered: Any, seqId: int | None) -> None:
        """Compare the checksum, where one is given and nothing else proves the message, or it is wanted."""
        if not offered:  # 0 since June 2026, in other channels absent: none is given
            if seqId is None and not self._layout.whole:  # nothing would ever prove what follows it
                raise ValueError("neither seqId nor checksum")
        elif (self._verify or seqId is None) and not self._layout.whole:
            found = self.checksum()
            if offered != found:
                raise BookBroken(f"checksum {offered}, but the book's is {found}")

    def _levels(self, asks: Any, bids: Any) -> tuple[Levels, Levels]:
        """Return what the rows of both sides say; raises unless all of them are levels.

        Looked at all together, in loops of C: to look at each alone costs more than to apply it.
        """
        rows = asks + bids
        if not rows and type(rows) is list:
            return (), ()
        if type(rows) is not list or {*map(type, rows)} != {list} or min(map(len, rows)) <= self._layout.orders:
            raise ValueError(f"no levels: {rows!r:.100}")
        prices = [row[0] for row in rows]
        texts = ",".join(prices + [row[1] for row in rows]).encode()
        if texts.translate(None, b"0123456789.,"):
            raise ValueError(f"no numbers: {rows!r:.100}")
        # The decoder knows what a number is, and reads many of them faster than float() reads each.
        numbers = decode(b"[%b]" % texts)
        many, keys = len(rows), numbers
        if len(numbers) != 2 * many:
            raise ValueError(f"no numbers: {rows!r:.100}")
        if self._by_decimal or max(map(len, prices)) > FLOAT_DIGITS:
            self._key_by_decimal()
            keys = [Decimal(px) for px in prices]
        split = len(asks)
        return zip(keys, asks, numbers[many:]), zip(keys[split:many], bids, numbers[many + split :])

    def _key_by_decimal(self) -> None:
        if not self._by_decimal:
            self._by_decimal = True
            for side in (self.asks, self.bids):
                side.replace([(Decimal(row[0]), row, 1) for row in side.rows.values()])

    # ------------------------------------------------------------------ out

    def best_bids(self, n: int | None = None) -> tuple[Level, ...]:
        """Return the best `n` bids (None: all), the best one first."""
        keys = self.bids.keys[::-1] if n is None else self.bids.keys[: -n - 1 : -1]
        return self._shown(self.bids, keys)

    def best_asks(self, n: int | None = None) -> tuple[Level, ...]:
        """Return the best `n` asks (None: all), the best one first."""
        return self._shown(self.asks, self.asks.keys[:n])

    def _shown(self, side: Side, keys: list[Key]) -> tuple[Level, ...]:
        rows, level = side.rows, self._layout.level
        return tuple([level(rows[key]) for key in keys])

    def sizes_at(self, px: Decimal) -> list[str]:
        """Return the sizes that rest at exactly this price: none, one, or in a crossed book one of each side."""
        key = px if self._by_decimal else float(px)
        rows = [row for side in (self.bids, self.asks) if (row := side.rows.get(key)) is not None]
        return [row[1] for row in rows if Decimal(row[0]) == px]

    def checksum(self) -> int:
        """Return OKX's checksum of the book: a signed CRC-32 over the texts of the best levels of both sides in turns.

        A side that has run out is passed over.
        """
        pairs = zip_longest(self.best_bids(CHECKSUM_DEPTH), self.best_asks(CHECKSUM_DEPTH))
        text = ":".join([f"{level.px}:{level.sz}" for pair in pairs for level in pair if level is not None])
        crc = crc32(text.encode())
        return crc - (1 << 32) if crc >> 31 else crc
