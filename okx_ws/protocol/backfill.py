"""What is missing in a stream, and what to ask REST for it: repairs, and that of trades. Pure.

Law. A `Repair` is shown what came last before a hole and first after it, says what to ask next, takes the rows of each
answer, and ends with messages in the order of the stream and with what could not be had. REST is believed in nothing
that can be checked: an answer that cannot be right raises `Unusable`. Pages of REST go back from the newest row without
a break: between its oldest and its newest row nothing is missing, whatever the numbers are.

    hole     last +1 ........................ low -1      (low: the first that came live; unknown while nothing came)
    answers                reach ........ top             (goes on until reach <= last + 1 and top >= low - 1)

Source: OKX v5 docs, "Get trades" and "Get trades history", read June 2026.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

from . import codec
from .identity import trade_ids

__all__ = [
    "LAG_S",
    "MAX_ROWS",
    "Ask",
    "Place",
    "Ranged",
    "Repair",
    "Trade",
    "Trades",
    "Unusable",
    "is_number",
    "message_of",
    "rows_of",
    "trade_of",
    "whole",
]

#: Rows of one repair; what is older stays missing.
MAX_ROWS = 10_000

#: REST answers from caches that lag behind the stream; asked again after so long.
LAG_S = 0.2

#: Our clock may be ahead of OKX's by so much. One that is off by more is told (`net.clock`).
SKEW_MS = 5_000

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

#: How a message that comes after a repair stands to it.
Place = Literal["known", "next", "gap"]


class Unusable(Exception):
    """An answer of REST cannot be right; its text says why."""


class Ask(NamedTuple):
    """One question: a GET of OKX's REST API, after a pause; `further`: it goes back from what was answered before."""

    path: str
    params: dict[str, str]
    further: bool = False
    pause_s: float = 0.0


def message_of(head: bytes, row: Any, mark: str = "backfill") -> bytes:
    """Return the text of a message with this row that did not come over the wire: it says so."""
    return b'%b,"data":[%b],"%b":true}' % (head, orjson.dumps(row), mark.encode())


def rows_of(payload: bytes | None) -> list[Any]:
    """Return the rows of a push; none if it cannot be read."""
    try:
        rows = codec.decode(payload)["data"] if payload is not None else []
    except (codec.DecodeError, LookupError, TypeError):
        return []
    return rows if isinstance(rows, list) else []


def whole(value: Any) -> int:
    """Return a number that OKX writes as a text of digits."""
    if not isinstance(value, str) or not value.isdecimal() or len(value) > 20:
        raise Unusable(f"{value!r} is no number")
    return int(value)


def is_number(value: Any) -> bool:
    """Tell whether this is a number, as OKX writes prices and amounts."""
    return isinstance(value, str) and NUMBER.fullmatch(value) is not None


class Trade(NamedTuple):
    """What tells a trade from others: the instrument (or spread) and the tradeId; and when it was made (Unix ms)."""

    place: str
    id: int
    ts: int


def trade_of(row: Any) -> Trade:
    """Return what tells a row's trade from others.

    Raises:
        Unusable: It is no trade.
    """
    place = (row.get("instId") or row.get("sprdId")) if isinstance(row, dict) else None
    if not isinstance(place, str) or not is_number(row.get("px")) or not is_number(row.get("sz")):
        raise Unusable(f"no trade: {row!r:.80}")
    if row.get("side") not in ("buy", "sell"):
        raise Unusable(f"no trade: {row!r:.80}")
    return Trade(place, whole(row.get("tradeId")), whole(row.get("ts")))


class Repair(ABC):
    """One hole of one stream.

    Args:
        arg: The arg that was subscribed.
        head: What the stream's messages begin with.
        last: The newest message before the hole; None if there was none.
        since_ms: When the hole began, Unix ms.

    Attributes:
        awaits: It is better asked when the first message after the hole has come.
        ordered: Its messages come in one order: from the first one on that is not known, all others follow.
        watching: It wants to `see` the messages that came after the hole.
    """

    awaits = True
    ordered = True

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        self.arg = arg
        self.head = head
        # Without a message from OKX the time may be ours, whose clock may be ahead.
        self.since_ms = since_ms if last is not None else max(0, since_ms - SKEW_MS)
        self.watching = True

    @property
    def waits(self) -> bool:
        """No message has come after the hole that tells what to ask for."""
        return self.watching

    @abstractmethod
    def see(self, payload: bytes) -> None:
        """A message came after the hole; called in order, while `watching`."""

    @abstractmethod
    def next_ask(self) -> Ask | None:
        """Return what to ask now; None: there is nothing more to ask. It does not change by being asked."""

    @abstractmethod
    def take(self, ask: Ask, rows: list[Any]) -> None:
        """Take the rows that answer a question.

        Raises:
            Unusable: They cannot be right.
        """

    @abstractmethod
    def messages(self) -> list[bytes]:
        """Return what was missing and could be had, in order."""

    @abstractmethod
    def missing(self) -> str:
        """Return what could not be had; empty if nothing is missing."""

    def place_of(self, payload: bytes) -> Place:
        """Tell how a message that came after the repair stands to it; from ``"next"`` on nobody needs to ask."""
        return "next"

    def refused(self, ask: Ask, code: str) -> bool:
        """OKX refused a question with this code; tell whether that was an answer."""
        return False


class Ranged(Repair):
    """A hole in rows that are numbered upwards, by a tradeId or by a time."""

    #: Of the numbers, for texts.
    unit: str

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        super().__init__(arg, head, last, since_ms)
        #: The first number that is missing, if any; and the first that came live.
        self.first: int | None = None
        self.low: int | None = None
        #: The rows that are wanted, by number.
        self.rows: dict[int, Any] = {}
        #: From here to there REST has shown everything it has.
        self.reach: int | None = None
        self.top: int | None = None
        #: There is nothing older to be had.
        self.exhausted = False

    @property
    def empty(self) -> bool:
        """What came live follows what came last."""
        return self.low is not None and self.first is not None and self.low <= self.first

    @property
    def reaches_back(self) -> bool:
        """The answers go back to where the hole begins."""
        return self.first is not None and self.reach is not None and self.reach <= self.first

    @property
    def reaches_up(self) -> bool:
        """The answers go up to where the hole ends; or at least to what came before it."""
        end = self.first if self.low is None else self.low
        return self.top is not None and (end is None or self.top >= end - 1)

    def page(self, numbers: list[int], newest: bool) -> None:
        """Note what a page has shown, the newest one or one further back."""
        if not numbers:
            self.exhausted = self.exhausted or not newest
            return
        if newest:
            joined = self.top is not None and min(numbers) <= self.top + 1 and self.reach is not None
            self.reach = min(min(numbers), self.reach or 0) if joined else min(numbers)
            self.top = max(numbers)
        elif min(numbers) >= (self.reach or 0):
            raise Unusable(f"rows older than {self.reach} were asked for, and came back up to {max(numbers)}")
        else:
            self.reach = min(numbers)

    def wanted(self, number: int) -> bool:
        """Tell whether this one is missing."""
        return (self.first is None or number >= self.first) and (self.low is None or number < self.low)

    @property
    def newest(self) -> int | None:
        """The newest number that was delivered, before the hole or in it."""
        return max(self.rows, default=None if self.first is None else self.first - 1)

    def missing(self) -> str:
        if self.empty:
            return ""
        end = "" if self.low is None else f" to {self.low - 1}"
        begin = f"from {self.first}" if self.first is not None else f"since {self.since_ms} (Unix ms)"
        if self.reach is None or self.top is None:
            return f"{self.unit} {begin}{end}"
        parts = []
        if not self.reaches_back:
            parts.append(f"{self.unit} {begin} to {min(self.reach, self.low or self.reach) - 1}")
        if not self.reaches_up:
            parts.append(f"{self.unit} from {max(self.top + 1, self.first or 0)}{end}")
        return ", ".join(parts)


class Trades(Ranged):
    """``trades`` and ``trades-all``: by tradeId, which counts the trades of an instrument one by one.

    A push of ``trades`` stands for `count` trades up to its tradeId.
    """

    NEWEST, OLDER = "/api/v5/market/trades", "/api/v5/market/history-trades"
    unit = "tradeId"

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        super().__init__(arg, head, last, since_ms)
        known = [span.high for span in spans(last)]
        self.first = max(known) + 1 if known else None
        #: When the newest trade was made that was delivered, Unix ms.
        self._newest_ms = max((span.ts for span in spans(last)), default=0)
        #: A trade from before the hole was shown: that tells the beginning where no tradeId does.
        self._seen_before = False

    def see(self, payload: bytes) -> None:
        found = spans(payload)
        if found and not self._has(found, self.first):
            self.low = min(span.low for span in found)
            self.watching = False
            self.rows = {number: row for number, row in self.rows.items() if self.wanted(number)}

    def next_ask(self) -> Ask | None:
        if self.empty or len(self.rows) >= MAX_ROWS:
            return None
        place = {"instId": self.arg["instId"]}
        if self.reach is None or not self.reaches_up:
            pause_s = LAG_S if self.reach is not None else 0.0
            return Ask(self.NEWEST, {**place, "limit": "500"}, pause_s=pause_s)
        if self.reaches_back or self._seen_before or self.exhausted:
            return None
        return Ask(self.OLDER, {**place, "type": "1", "after": str(self.reach), "limit": "100"}, further=True)

    def take(self, ask: Ask, rows: list[Any]) -> None:
        found = {}
        for row in rows:
            trade = trade_of(row)
            if trade.place != self.arg["instId"]:
                raise Unusable(f"no trade of {self.arg['instId']}: {row!r:.80}")
            found[trade.id] = (trade, row)
        if not rows and not ask.further:
            if self.first is not None or self.low is not None:
                raise Unusable("no trades, though there were some")
            self.exhausted, self.reach, self.top = True, 0, 0
        self.page(list(found), newest=not ask.further)
        since = self.since_ms if self.first is None else 0
        self._seen_before = self._seen_before or any(trade.ts < since for trade, _ in found.values())
        self.rows.update({n: row for n, (trade, row) in found.items() if self.wanted(n) and trade.ts >= since})

    def missing(self) -> str:
        return "" if self._seen_before and self.reaches_up else super().missing()

    def messages(self) -> list[bytes]:
        counted = self.arg["channel"] == "trades"  # whose rows say how many trades they are
        more = {"count": "1"} if counted else {}
        return [message_of(self.head, {**more, **self.rows[number]}) for number in sorted(self.rows)]

    def place_of(self, payload: bytes) -> Place:
        newest, found = self.newest, spans(payload)
        if newest is None or not found:
            return "next"
        if self._has(found, newest + 1):
            return "known"
        if self.low is not None:
            return "next"
        return "gap" if min(span.low for span in found) > newest + 1 else "next"

    def _has(self, found: list[Span], beyond: int | None) -> bool:
        """Tell whether these were delivered: REST may have been quicker than the stream. Not so younger ones, whatever
        their numbers: those may begin anew.
        """
        newest_ms = max([self._newest_ms, *(int(row["ts"]) for row in self.rows.values())])
        return beyond is not None and all(span.high < beyond and span.ts <= newest_ms for span in found)


class Span(NamedTuple):
    """The trades that a row stands for: the tradeIds of the first and the last, and when they were made (Unix ms)."""

    low: int
    high: int
    ts: int


def spans(payload: bytes | None) -> list[Span]:
    """Return what the rows of a push stand for."""
    found = []
    for row in rows_of(payload):
        try:
            found.append(Span(*trade_ids(row), int(row["ts"])))
        except (AttributeError, LookupError, TypeError, ValueError):  # OKX does not write such
            continue
    return found
