"""Faults of order books: snapshots that do not come, levels that are none, numbers that start anew, checksums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from .fault_frames import Holding
from .fault_kinds import Kind, OnFrames, Sent, Site, Strike, describe, named, option
from .line import Line, Payload

__all__ = ["BOOK_FAULTS"]


def is_snapshot(sent: Sent) -> bool:
    """Tell whether a push is the whole of a book that goes on by updates."""
    return sent.message.get("action") == "snapshot"


@dataclass
class MalformedLevel(OnFrames):
    """Put a level into a book that is none, or leave its seqId out."""

    once: ClassVar[bool] = True

    how: str = option(
        "short",
        "short (a price alone), exponent (a size of 1e5), negative (a size less than 0), number (JSON numbers), seqId"
        " (left out)",
        "short",
        "exponent",
        "negative",
        "number",
        "seqId",
    )
    action: str = option("", "only a snapshot, or an update", "", "snapshot", "update")

    def concerns(self, line: Line, sent: Sent) -> bool:
        return (
            super().concerns(line, sent)
            and "action" in sent.message
            and self.action in ("", sent.message["action"])
            and "seqId" in sent.rows[0]
            and any(is_whole(sent.rows[0].get(side)) for side in ("asks", "bids"))
        )

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        row = dict(sent.rows[0])
        side = "asks" if is_whole(row["asks"]) else "bids"
        if self.how == "seqId":
            del row["seqId"]
        else:
            row[side] = [spoiled(self.how, *row[side][0]), *row[side][1:]]
        return (Sent.of({**sent.message, "data": [row]}),)


def spoiled(how: str, px: str, sz: str, *more: str) -> list[Any]:
    """Return what becomes of a level."""
    if how == "short":
        return [px]
    if how == "number":
        return [float(px), float(sz), 0, 1]
    return [px, "1e5" if how == "exponent" else f"-{sz if sz != '0' else '1'}", *more]


def is_whole(levels: list[Any] | None) -> bool:
    """Tell whether a side of a book begins with a level that no other fault has spoiled."""
    sz = levels[0][1] if levels and len(levels[0]) > 1 else None
    return isinstance(sz, str) and sz.replace(".", "").isdecimal()


@dataclass
class UnknownDelete(OnFrames):
    """Delete a level, in an update of a book, that was never there: no fault at all, and some trip over it."""

    once: ClassVar[bool] = True

    def concerns(self, line: Line, sent: Sent) -> bool:
        return super().concerns(line, sent) and sent.message.get("action") == "update"

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        row = sent.rows[0]
        row = {**row, "asks": [*row["asks"], ["9999999", "0", "0", "0"]]}
        return (Sent.of({**sent.message, "data": [row]}),)


@dataclass
class NoSnapshot(OnFrames):
    """Begin books with an update, as OKX had announced it for 2026."""

    def concerns(self, line: Line, sent: Sent) -> bool:
        return super().concerns(line, sent) and is_snapshot(sent)

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        return ()


@dataclass
class MissingSnapshot(NoSnapshot):
    """Leave a book's snapshot out, once."""

    once: ClassVar[bool] = True


@dataclass
class LateSnapshot(Holding):
    """Be late with a book's snapshot, and with what follows it."""

    once: ClassVar[bool] = True

    delay_s: float = option(2.0, "seconds")

    def outgoing(self, line: Line, sent: Sent, strike: Strike) -> Iterable[Sent | Payload]:
        if "action" not in sent.message or not self.selects(line, sent.arg):
            return (sent,)
        key = repr(sorted(sent.arg.items()))
        if is_snapshot(sent) and strike(line, describe(sent)):
            self.held(line, key).keep(sent.text, self.delay_s)
        elif self._held.get((line, key)):
            self._held[line, key].keep(sent.text, 0.0)
        else:
            return (sent,)
        return ()


@dataclass
class Reset(Kind):
    """Let a book's seqId start anew from a smaller number, as maintenance does; the chain goes on."""

    once: ClassVar[bool] = True

    instId: str = option("", "which; all if empty")

    def open(self, site: Site, strike: Strike) -> None:
        markets = [market for name, market in site.world.markets.items() if self.instId in ("", name)]
        if markets and strike(None, self.instId or f"{len(markets)} instruments"):
            for market in markets:
                market.seqId = site.rng.randrange(1, 1000)


@dataclass
class HistoricChecksums(Kind):
    """Send real checksums of books, as OKX did until June 2026, instead of 0."""

    once: ClassVar[bool] = True
    lasting: ClassVar[bool] = True

    @property
    def state(self) -> bool:
        return True

    def open(self, site: Site, strike: Strike) -> None:
        if strike(None, "checksums are real"):
            site.world.checksums = True

    def shut(self, site: Site) -> None:
        site.world.checksums = False


@dataclass
class WrongChecksum(OnFrames):
    """Send a book with a checksum that is not 0, and not its own."""

    once: ClassVar[bool] = True

    def concerns(self, line: Line, sent: Sent) -> bool:
        return super().concerns(line, sent) and "action" in sent.message and "checksum" in sent.rows[0]

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        row = {**sent.rows[0], "checksum": sent.rows[0]["checksum"] ^ 0x55AA}
        return (Sent.of({**sent.message, "data": [row]}),)


BOOK_FAULTS = named(
    MalformedLevel,
    UnknownDelete,
    NoSnapshot,
    MissingSnapshot,
    LateSnapshot,
    Reset,
    HistoricChecksums,
    WrongChecksum,
)
