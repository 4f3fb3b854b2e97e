"""An order book without a snapshot on the stream: REST's book joined with the updates. Pure.

Law. Updates are kept from the first one on; REST is asked until its book is not older than they begin; those it holds
already are left out; the first it does not hold must begin where it ends, or, if no such book is to be had, before;
from there the chain's own rule holds. What comes out are messages that `Book.apply` proves like any others: a snapshot
numbered as the first update that follows wants it, and the updates.

Numbers may begin anew in between, after maintenance, and prove nothing then: a book that holds an update is not older
than it by OKX's clock either.

    updates    (prev, seq] (prev, seq] (prev, seq] (prev, seq] …
    REST                            ↑ seqId: the third one follows, prevSeqId <= seqId of REST < its seqId

Source: OKX's announcement of 12 Feb 2026 (snapshots would end; it was not done so far), okx-protocol 6.4.
"""

from __future__ import annotations

from typing import Any

from .book import BookBroken

__all__ = ["DEPTHS", "MAX_UPDATES", "Splice"]

#: Channels whose numbers are those of REST's book, and how many levels of each side they have.
DEPTHS = {"books": "400", "books-l2-tbt": "400", "books50-l2-tbt": "50"}

#: The clocks of OKX's servers agree so far.
SKEW_MS = 200

#: Updates that wait for REST: ten seconds of the fastest channel.
MAX_UPDATES = 1_000


class Splice:
    """The updates of one book that wait for REST's.

    Attributes:
        exact: Join only a book that ends where an update does. OKX's rule takes one of a moment between two as well;
            but a level that had changed by then, and was as before in the end, is in no update: it would stay wrong.
    """

    def __init__(self) -> None:
        self.exact = True
        self._updates: list[dict[str, Any]] = []
        #: REST's book; None until there is one that is young enough.
        self._row: dict[str, Any] | None = None

    def add(self, message: Any) -> list[dict[str, Any]] | None:
        """Keep an update; return the messages that make the book, once they join.

        None: REST's book is none that can be joined; ask again.

        Raises:
            BookBroken: It does not follow the one before, or cannot be read, or there are too many.
        """
        seqId, prevSeqId = numbers_of(message)
        if self._updates and prevSeqId != numbers_of(self._updates[-1])[0]:
            raise BookBroken(f"a gap before the book was there: prevSeqId {prevSeqId}")
        if seqId < prevSeqId:
            raise BookBroken(f"the numbers began anew before the book was there: seqId {seqId} after {prevSeqId}")
        if len(self._updates) >= MAX_UPDATES:
            raise BookBroken(f"no book of REST joined {MAX_UPDATES} updates")
        self._updates.append(message)
        return self._joined()

    def offer(self, rows: list[Any]) -> list[dict[str, Any]] | None:
        """Take REST's answer; return the messages that make the book, or none of them yet.

        None: the book is older than the updates, or not `exact`; ask again.

        Raises:
            BookBroken: It is no book.
        """
        if len(rows) != 1 or not isinstance(rows[0], dict) or type(rows[0].get("seqId")) is not int:
            raise BookBroken(f"no book of REST: {rows!r:.80}")
        if rows[0]["seqId"] < numbers_of(self._updates[0])[1]:
            return None
        self._row = rows[0]
        return self._joined()

    def _joined(self) -> list[dict[str, Any]] | None:
        if self._row is None:
            return []
        held = self._row["seqId"]
        if any(numbers_of(update)[0] < held and is_later(update["data"][0], self._row) for update in self._updates):
            self._row = None  # it is from before the numbers began anew
            return None
        news = [update for update in self._updates if numbers_of(update)[0] > held]
        newest = numbers_of(self._updates[-1])[0]
        if not news and newest != held:
            return []  # REST is ahead: what it holds already is still to come
        begins = numbers_of(news[0])[1] if news else newest
        if self.exact and begins != held:
            self._row = None
            return None
        return [{"action": "snapshot", "data": [{**self._row, "seqId": begins, "prevSeqId": -1}]}, *news]


def numbers_of(message: Any) -> tuple[int, int]:
    """Return an update's seqId and prevSeqId."""
    try:
        (row,) = message["data"]
        seqId, prevSeqId = row["seqId"], row["prevSeqId"]
    except (LookupError, TypeError, ValueError) as exc:
        raise BookBroken(f"malformed: {exc!r}") from exc
    if type(seqId) is not int or type(prevSeqId) is not int:
        raise BookBroken(f"malformed: seqId {seqId!r}, prevSeqId {prevSeqId!r}")
    return seqId, prevSeqId


def is_later(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether a book or an update was certainly made after another one."""
    times = [str(one.get("ts", "")) for one in (row, other)]
    return all(time.isdecimal() for time in times) and int(times[0]) > int(times[1]) + SKEW_MS
