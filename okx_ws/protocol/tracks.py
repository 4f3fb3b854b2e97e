"""What was delivered of one stream, and how a message of one of its lines stands to it. One track per kind of stream.

A track is asked two things: where a message stands (`place`; nothing changes), and to deliver it unless it was
delivered (`admit`). The line that delivered last is the *lead*: its own order is the truth, and what it says twice is
passed on twice, as over one line alone. Only what another line brings is compared.

A track that cannot read a message takes it for an event that only its text tells apart. It never raises.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from enum import Enum
from itertools import islice
from typing import Any, Literal

import orjson

from . import gaps
from .codec import HEAD_END, decode
from .identity import RECALLING, key_of, kind_of, trade_ids

__all__ = ["Book", "Candles", "Events", "State", "Track", "Trades", "Verdict", "track_of"]

#: How many identities are remembered, at least: at 1,000 messages a second, lines may be 10 s apart.
WINDOW = 10_000
#: Pages of one snapshot that are kept until the last has come: OKX has no account with so many positions.
MAX_PAGES = 1_000

Place = Literal["old", "next", "ahead"]
LineId = Hashable


class Verdict(Enum):
    """What became of a message.

    SETTLED: It was delivered, or there was no need to. GAP: It does not continue what was delivered; nothing was
    done. RESTART: It was delivered, and its line numbers anew: what the other lines bring is not comparable.
    """

    SETTLED = 0
    GAP = 1
    RESTART = 2


SETTLED, GAP, RESTART = Verdict


class Track:
    """What was delivered of one stream.

    Attributes:
        lead: The line that delivered last; None if it has ended or has a hole.
        recalling: The first push of a line may tell what happened long ago.
        chained: Only its own numbers prove that a message continues what was delivered.
        renewing: The next whole message is to be delivered, whoever brings it.
    """

    recalling = False
    chained = False
    renewing = False

    def __init__(self) -> None:
        self.lead: LineId | None = None

    def place(self, payload: bytes) -> Place:
        """Tell whether a message was delivered (or is outdated), is proven to be the next, or may be ahead of that."""
        raise NotImplementedError

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        """Append to `out` what is new in the next message of a line that has no hole."""
        raise NotImplementedError

    def begin(self, line: LineId, payload: bytes, out: list[bytes]) -> None:
        """Deliver a message that need not continue what was delivered."""
        self.lead = line
        self.admit(line, payload, out)

    def whole(self, payload: bytes) -> bool:
        """Tell whether a consumer can begin with this message, whatever was before; only books have such messages."""
        return False

    def renew(self) -> None:
        """The consumer has to begin anew."""

    def dropped(self, line: LineId) -> None:
        """A line has ended, or has a hole."""
        if self.lead == line:
            self.lead = None

    def forget(self, line: LineId) -> None:
        """A line has ended."""
        self.dropped(line)


# ---------------------------------------------------------------------- books

SEQUENCE = re.compile(rb'"seqId":(-?\d+),"prevSeqId":(-?\d+)\}\]\}$|"prevSeqId":(-?\d+),"seqId":(-?\d+)\}\]\}$')
#: The longest tail with two numbers of 64 bits in it.
TAIL = 80
SNAPSHOT = b'"action":"snapshot"'


def sequence(payload: bytes) -> tuple[int, int] | None:
    """Return (prevSeqId, seqId) of a book's message; None if it has none, as in recordings of 2021 and 2022."""
    found = SEQUENCE.search(payload, max(0, len(payload) - TAIL))
    if found is not None:
        if found[1] is not None:
            return int(found[2]), int(found[1])
        return int(found[3]), int(found[4])
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
        return SNAPSHOT in payload[: payload.find(HEAD_END)]

    def renew(self) -> None:
        self.renewing = True

    def _remember(self, numbers: tuple[int, int]) -> None:
        self._seqId = numbers[1]
        self._pairs[numbers] = None
        self._seqIds.add(numbers[1])
        if len(self._pairs) > 2 * WINDOW:
            self._pairs = dict.fromkeys(islice(self._pairs, WINDOW, None))
            self._seqIds = {seqId for _, seqId in self._pairs}


# ---------------------------------------------------------------------- trades

TRADE_ID = re.compile(rb'"tradeId":"(\d+)"')


class Trades(Track):
    """Trades of one instrument, whose tradeIds grow.

    One that a line left out and another brings is delivered late rather than never. Ids that begin anew, lower, are
    believed of a line that had brought all that was delivered.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last = -1
        #: Ids from here on are known one by one.
        self._floor = 0
        self._seen: dict[int | bytes, None] = {}
        #: The last id that each line has brought.
        self._at: dict[LineId, int] = {}

    def place(self, payload: bytes) -> Place:
        ids = TRADE_ID.findall(payload)
        if not ids:
            return "old" if payload in self._seen else "ahead"
        if int(ids[0]) <= self._last:
            return "old"
        try:
            first, _ = trade_ids(decode(payload)["data"][0])
        except (LookupError, TypeError, ValueError):
            return "ahead"
        return "next" if first <= self._last + 1 else "ahead"

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        ids = TRADE_ID.findall(payload)
        if len(ids) != 1:
            return self._admit_rows(line, payload, [int(text) for text in ids], out)
        tradeId = int(ids[0])
        at = self._at.get(line, -1)
        self._at[line] = tradeId
        if tradeId > self._last:
            self._last = tradeId
        elif tradeId < self._floor:
            if at < self._last and line != self.lead:
                return SETTLED  # it was delivered, and forgotten since
            self._restart(line, tradeId)
            out.append(payload)
            return RESTART
        elif tradeId in self._seen and line != self.lead:
            return SETTLED
        self._remember(tradeId)
        self.lead = line
        out.append(payload)
        return SETTLED

    def _admit_rows(self, line: LineId, payload: bytes, ids: list[int], out: list[bytes]) -> Verdict:
        """Admit a message of several trades, of which some may have been delivered; or one without any."""
        keys: list[int | bytes] = [*ids] or [payload]
        fresh = [line == self.lead or not self._known(key) for key in keys]
        if ids:
            self._at[line] = max(ids)
            self._last = max(self._last, *ids)
        if any(fresh):
            self.lead = line
            out.append(payload if all(fresh) else cut(payload, fresh))
            for key in keys:
                self._remember(key)
        return SETTLED

    def _known(self, key: int | bytes) -> bool:
        return key in self._seen or (isinstance(key, int) and key < self._floor)

    def begin(self, line: LineId, payload: bytes, out: list[bytes]) -> None:
        self.lead = line
        self.admit(line, payload, out)
        # What is before it was told to be missing, and stays so: nothing is both.
        self._floor = max([self._floor, *map(int, TRADE_ID.findall(payload)[:1])])

    def _restart(self, line: LineId, tradeId: int) -> None:
        self._seen, self._at = {}, {line: tradeId}
        self._last = self._floor = tradeId
        self.lead = line
        self._remember(tradeId)

    def _remember(self, key: int | bytes) -> None:
        seen = self._seen
        if not seen and isinstance(key, int):
            self._floor = key
        seen[key] = None
        if len(seen) > 2 * WINDOW:
            self._floor = max([self._floor, *(key + 1 for key in islice(seen, WINDOW) if isinstance(key, int))])
            self._seen = dict.fromkeys(islice(seen, WINDOW, None))

    def forget(self, line: LineId) -> None:
        super().forget(line)
        self._at.pop(line, None)


def cut(payload: bytes, kept: list[bool]) -> bytes:
    """Return a message with only those rows of its data; the whole of it if its rows are others than was thought."""
    message = decode(payload)
    if len(message["data"]) != len(kept):
        return payload
    message["data"] = [row for row, keep in zip(message["data"], kept, strict=True) if keep]
    return orjson.dumps(message)


# ---------------------------------------------------------------------- states

PAGE = re.compile(rb'"curPage":(\d+),"lastPage":(true|false)')
#: How many of the newest messages are kept, to know those of the same time (or of the same open candle) again.
RECENT = 16


class State(Track):
    """Something whose newest message replaces all before it, by time.

    A message as new as the newest is delivered if none of the recent ones reads the same. One without a time (an
    empty list of positions) is believed of the lead only. The pages of a snapshot are delivered together, when the
    last has come: pages of two lines, or an update among them, would tear it.
    """

    def __init__(self) -> None:
        super().__init__()
        #: What was delivered last, the newest at the end.
        self._recent: deque[bytes] = deque(maxlen=RECENT)
        #: The time of the newest; None while it has not been looked up, or there is none.
        self._at: int | None = None
        self._pages: dict[LineId, list[bytes]] = {}

    def place(self, payload: bytes) -> Place:
        if payload in self._recent:
            return "old"
        at, newest = gaps.time_of(payload, newest=True), self._newest()
        return "old" if at is not None and newest is not None and at < newest else "ahead"

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        recent = self._recent
        if line != self.lead and recent and payload == recent[-1]:
            return SETTLED
        page = PAGE.search(payload, 0, max(0, payload.find(HEAD_END)))
        if page is None:
            if line == self.lead or self._newer([payload]):
                self._deliver(line, [payload], out)
            return SETTLED
        pages = self._pages.setdefault(line, [])
        number = int(page[1])
        if number == 1:
            pages.clear()
        if number != len(pages) + 1 or number > MAX_PAGES:
            pages.clear()  # its beginning is missing, or was another snapshot's
            return SETTLED
        pages.append(payload)
        if page[2] == b"true":
            del self._pages[line]
            if line == self.lead or self._newer(pages):
                self._deliver(line, pages, out)
        return SETTLED

    def _deliver(self, line: LineId, payloads: list[bytes], out: list[bytes]) -> None:
        self.lead, self._at = line, None
        self._recent.extend(payloads)
        out += payloads

    def _newer(self, payloads: list[bytes]) -> bool:
        at, newest = newest_of(payloads), self._newest()
        if at is None:
            return self.lead is None and not all(payload in self._recent for payload in payloads)
        if newest is None or at > newest:
            return True
        return at == newest and not all(payload in self._recent for payload in payloads)

    def _newest(self) -> int | None:
        if self._at is None:
            self._at = newest_of(self._recent)
        return self._at

    def dropped(self, line: LineId) -> None:
        super().dropped(line)
        self._pages.pop(line, None)


def newest_of(payloads: Iterable[bytes]) -> int | None:
    """Return the newest time that these name."""
    times = [at for payload in payloads if (at := gaps.time_of(payload, newest=True)) is not None]
    return max(times, default=None)


# ---------------------------------------------------------------------- candles

#: A candle's start, whether it is closed, and its volume.
CandleKey = tuple[int, bool, float]


def candle_keys(payload: bytes) -> list[CandleKey] | None:
    """Return the keys of a push's candles; None if it cannot be read. Those of prices have no volume."""
    try:
        rows = decode(payload)["data"]
        return [(int(row[0]), len(row) != 7 and row[-1] == "1", float(row[5]) if len(row) > 6 else 0) for row in rows]
    except (LookupError, TypeError, ValueError):
        return None


class Candles(Track):
    """Candles of one instrument and one length.

    A closed candle is delivered once, also late. Of an open one the larger volume is newer; as much, or none at all,
    is delivered if it reads otherwise than the recent ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[bytes] = deque(maxlen=4 * RECENT)
        self._newest: CandleKey = (-1, False, 0)
        #: The start of the last candle whose end was delivered.
        self._closed: int | None = None

    def place(self, payload: bytes) -> Place:
        keys = candle_keys(payload)
        if payload in self._recent:
            return "old"
        if not keys or self._closed is None:
            return "ahead"
        return "old" if max(keys) < self._newest and not any(map(self._unclosed, keys)) else "ahead"

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        lead = line == self.lead
        if not lead and payload in self._recent:
            return SETTLED
        keys = candle_keys(payload)
        fresh = [lead or self._unclosed(key) or (not key[1] and key >= self._newest) for key in keys or ()]
        if keys and not any(fresh):
            return SETTLED
        for key in keys or ():
            if self._closed is None:
                self._closed = key[0] - 1  # what was before the first message, is not missed
            if key[1]:
                self._closed = max(self._closed, key[0])
            self._newest = max(self._newest, key)
        self.lead = line
        self._recent.append(payload)
        out.append(payload if all(fresh) else cut(payload, fresh))
        return SETTLED

    def _unclosed(self, key: CandleKey) -> bool:
        return key[1] and (self._closed is None or key[0] > self._closed)


# ---------------------------------------------------------------------- events


class Events(Track):
    """Messages without an order that could be compared: each row once, known by its key, or each message by its text.

    What the line that brought a row brings again is passed on: it is OKX's own repetition.
    """

    def __init__(self, channel: str) -> None:
        super().__init__()
        self._key = key_of(channel)
        self.recalling = channel in RECALLING
        #: The rows that were delivered, and the line that brought them.
        self._seen: dict[Hashable, LineId] = {}

    def place(self, payload: bytes) -> Place:
        return "old" if any(key in self._seen for key in self._keys(payload)) else "ahead"

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        seen = self._seen
        keys = self._keys(payload)
        fresh = [seen.get(key, line) == line for key in keys]
        if any(fresh):
            self.lead = line
            out.append(payload if all(fresh) else cut(payload, fresh))
            seen.update(dict.fromkeys((key for key, new in zip(keys, fresh, strict=True) if new), line))
            if len(seen) > 2 * WINDOW:
                self._seen = dict(islice(seen.items(), WINDOW, None))
        return SETTLED

    def _keys(self, payload: bytes) -> list[Hashable]:
        if self._key is not None:
            try:
                keys = [self._key(row) for row in decode(payload)["data"]]
                hash(tuple(keys))  # a field that should be a text may be a list
                return keys or [payload]
            except (LookupError, TypeError, ValueError, AttributeError):
                pass
        return [payload]


def track_of(arg: Mapping[str, Any]) -> Track:
    """Return the track for a stream with this arg, with nothing delivered yet."""
    kind = kind_of(arg)
    if kind == "event":
        return Events(arg["channel"])
    return {"book": Book, "trade": Trades, "candle": Candles, "state": State}[kind]()
