"""Chained books: each update names the one before it."""

from __future__ import annotations

from itertools import islice

from ..codec import decode
from .track import GAP, SETTLED, WINDOW, LineId, Place, Track, Verdict

__all__ = ["Book", "sequence"]

SEQ_ID, PREV_SEQ_ID = b'"seqId":', b',"prevSeqId":'
SNAPSHOT = b'"action":"snapshot"'
#: What precedes the data of a book is shorter.
HEAD = 300


def sequence(payload: bytes) -> tuple[int, int] | None:
    """Return (prevSeqId, seqId) of a book's message; None if it has none, as in recordings of 2021 and 2022."""
    try:
        # As OKX writes them: at the very end, in this order. A third of what a regular expression takes.
        last, _, before = payload[payload.rindex(SEQ_ID) + len(SEQ_ID) : -3].partition(PREV_SEQ_ID)
        return int(before), int(last)
    except ValueError:
        pass
    try:
        (row,) = decode(payload)["data"]
        prevSeqId, seqId = row["prevSeqId"], row["seqId"]
    except (LookupError, TypeError, ValueError):
        return None
    return (prevSeqId, seqId) if type(prevSeqId) is type(seqId) is int else None


class Book(Track):
    """A chained book: each update names the one before it.

    Numbers are not compared by size: after maintenance they may begin anew, lower (okx-protocol.md 6.2). What was
    delivered is known by its pair of numbers, since the last whole book.
    """

    chained = True

    def __init__(self) -> None:
        super().__init__()
        self._last: bytes | None = None
        self._seqId: int | None = None
        #: Of what was delivered since the last whole book: (prevSeqId, seqId), and seqId alone.
        self._pairs: dict[tuple[int, int], None] = {}
        self._seqIds: set[int] = set()
        #: The seqId of that book: an update up to it is in it.
        self._begun: int | None = None

    def place(self, payload: bytes) -> Place:
        numbers = sequence(payload)
        if numbers is None:
            return "ahead"
        prevSeqId, seqId = numbers
        if prevSeqId == seqId or self.whole(payload):
            return "old" if seqId in self._seqIds else "ahead"
        if prevSeqId == self._seqId:
            return "next"
        return "old" if self._delivered(numbers) else "ahead"

    def lacks(self, payload: bytes) -> bool:
        return False  # its chain tells

    def reaches(self, payload: bytes) -> bool:
        numbers = sequence(payload)
        return numbers is not None and numbers[1] == self._seqId

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        if payload == self._last and line != self.lead:
            return SETTLED
        numbers = sequence(payload)
        if numbers is None:
            if self.lead not in (line, None):
                return GAP
        else:
            prevSeqId, seqId = numbers
            if self.whole(payload) or self._seqId is None:
                return GAP
            if prevSeqId == seqId and seqId in self._seqIds:  # a keep-alive: each connection has its own
                if seqId == self._seqId and self.lead in (line, None):
                    out.append(payload)
                return SETTLED
            if prevSeqId != self._seqId:
                return SETTLED if self._delivered(numbers) else GAP
            self._remember(numbers)
        self._last, self.lead = payload, line
        out.append(payload)
        return SETTLED

    def _delivered(self, numbers: tuple[int, int]) -> bool:
        return numbers in self._pairs or numbers[1] == self._begun

    def begin(self, line: LineId, payload: bytes, out: list[bytes]) -> None:
        self._last, self.lead = payload, line
        self.renewing = self.renewing and not self.whole(payload)
        self._pairs, self._seqIds = {}, set()
        numbers = sequence(payload)
        if numbers is not None:
            self._begun = numbers[1]
            self._remember(numbers)
        out.append(payload)

    def whole(self, payload: bytes) -> bool:
        return payload.find(SNAPSHOT, 0, HEAD) >= 0

    def renew(self) -> None:
        self.renewing = True

    def _remember(self, numbers: tuple[int, int]) -> None:
        self._seqId = numbers[1]
        self._pairs[numbers] = None
        self._seqIds.add(numbers[1])
        if len(self._pairs) > 2 * WINDOW:
            self._pairs = dict.fromkeys(islice(self._pairs, WINDOW, None))
            self._seqIds = {seqId for _, seqId in self._pairs}
