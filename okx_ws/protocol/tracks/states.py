"""States, of which the newest replaces all before, by time; and candles, which are states for a while."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from .. import gaps
from ..bars import bar_ms
from ..codec import HEAD_END, decode
from .track import NOBODY, SETTLED, LineId, Place, Track, Verdict, cut

__all__ = ["Candles", "State"]

#: Pages of one snapshot that are kept until the last has come: OKX has no account with so many positions.
MAX_PAGES = 1_000
PAGE = re.compile(rb'"curPage":(\d+),"lastPage":(true|false)')
#: How many of the newest messages are kept, to know those of the same time (or of the same open candle) again.
RECENT = 16


TS = b'"ts":"'


def newest_time(payload: bytes) -> int | None:
    """Return the newest time of a push about one thing: mostly its last ``ts``; as `gaps.time_of` does, if not."""
    at = payload.rfind(TS) + len(TS)
    try:
        return int(payload[at : payload.index(b'"', at)])
    except ValueError:
        return gaps.time_of(payload, newest=True)


class State(Track):
    """Something whose newest message replaces all before it, by time.

    A message as new as the newest is delivered if none of the recent ones reads the same. One without a time (an
    empty list of positions) is believed of the lead only. The pages of a snapshot are delivered together, when the
    last has come: pages of two lines, or an update among them, would tear it.

    Args:
        paged: Its snapshots have pages.
        repeated: OKX repeats it now and then, to each connection at times of its own.
    """

    def __init__(self, paged: bool, repeated: bool) -> None:
        super().__init__()
        self._paged = paged
        self._repeated = repeated
        #: What was delivered last, the newest at the end.
        self._recent: deque[bytes] = deque(maxlen=RECENT)
        #: The time of the newest; None while it has not been looked up, or there is none.
        self._at: int | None = None
        #: Of each line: how many pages of a snapshot have come, and they with what came between them.
        self._groups: dict[LineId, tuple[int, list[bytes]]] = {}

    def place(self, payload: bytes) -> Place:
        at, newest = newest_time(payload), self._newest()
        if at is None or newest is None:
            return "ahead"
        return "old" if at < newest or payload in self._recent else "ahead"

    def lacks(self, payload: bytes) -> bool:
        return False  # the newest holds it all

    def reaches(self, payload: bytes) -> bool:
        at, newest = newest_time(payload), self._newest()
        return self._repeated or at is None or newest is None or at >= newest

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        recent = self._recent
        if line != self.lead:
            if recent and payload == recent[-1]:
                return SETTLED
            newest = self._newest()
            if newest and not self._paged and (newest_time(payload) or newest) < newest:
                return SETTLED
        for group in self._complete(line, payload) if self._paged else ([payload],):
            if line == self.lead:
                self._deliver(line, group, out)
            elif self._newer(group):
                new = [one for one in group if one not in recent] if len(group) > 1 else group
                newest = self._newest()
                self._deliver(NOBODY if newest and newest_of(new) == newest else line, new, out)
        return SETTLED

    def _deliver(self, lead: LineId, payloads: list[bytes], out: list[bytes]) -> None:
        self.lead, self._at = lead, None
        self._recent.extend(payloads)
        out += payloads

    def _complete(self, line: LineId, payload: bytes) -> list[list[bytes]]:
        """Return what is to be delivered together or not at all, now that a line has brought this message.

        What comes between the pages of a snapshot stays there.
        """
        page = PAGE.search(payload, 0, max(0, payload.find(HEAD_END)))
        number, group = self._groups.pop(line, (0, []))
        if page is None:
            if not number or len(group) >= MAX_PAGES:
                return [[one] for one in group if not PAGE.search(one)] + [[payload]]
            self._groups[line] = (number, [*group, payload])
            return []
        if int(page[1]) == number + 1 and len(group) < MAX_PAGES:
            if page[2] == b"true":
                return [[*group, payload]]
            self._groups[line] = (number + 1, [*group, payload])
            return []
        freed = [[one] for one in group if not PAGE.search(one)]  # its pages are of no use: one is missing
        if page[1] == b"1":
            self._groups[line] = (0, [])
            return freed + self._complete(line, payload)
        return freed

    def _newer(self, payloads: list[bytes]) -> bool:
        at, newest = newest_of(payloads), self._newest()
        if at is None:
            return self.lead is None
        if newest is None or at > newest:
            return True
        return at == newest and not all(payload in self._recent for payload in payloads)

    def _newest(self) -> int | None:
        if self._at is None:
            times = map(newest_time, reversed(self._recent))
            self._at = next((at for at in times if at is not None), None)
        return self._at

    def dropped(self, line: LineId) -> None:
        super().dropped(line)
        self._groups.pop(line, None)


def newest_of(payloads: Iterable[bytes]) -> int | None:
    """Return the newest time that these name."""
    times = [at for payload in payloads if (at := newest_time(payload)) is not None]
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
    is delivered if it reads otherwise than the recent ones. A bar that is left out proves nothing: OKX does not say
    that it pushes those in which nothing was traded (above all seconds).
    """

    def __init__(self, channel: str) -> None:
        super().__init__()
        self._bar_ms = bar_ms(channel)
        self._recent: deque[bytes] = deque(maxlen=4 * RECENT)
        self._newest: CandleKey = (-1, False, 0)
        #: The start of the last candle whose end was delivered, or is not missed.
        self._closed: int | None = None

    def place(self, payload: bytes) -> Place:
        keys = candle_keys(payload)
        if payload in self._recent:
            return "old"
        if not keys or max(keys) >= self._newest:
            return "ahead"
        return "ahead" if self._closed is not None and any(map(self._unclosed, keys)) else "old"

    def hole(self) -> None:
        self._closed = None  # what is missing stays so, or comes from elsewhere

    def skips(self, payload: bytes) -> bool:
        keys = candle_keys(payload)
        if not keys or self._closed is None or self._bar_ms is None:
            return False
        return min(keys)[0] > self._closed + self._bar_ms

    def lacks(self, payload: bytes) -> bool:
        return self.skips(payload)

    def reaches(self, payload: bytes) -> bool:
        keys = candle_keys(payload)
        return bool(keys) and max(keys or ())[:2] >= self._newest[:2]

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        lead = line == self.lead
        if not lead and payload in self._recent:
            return SETTLED
        keys = candle_keys(payload)
        fresh = [lead or self._unclosed(key) or (not key[1] and key >= self._newest) for key in keys or ()]
        if keys and not any(fresh):
            return SETTLED
        if lead or not keys or max(keys) >= self._newest:
            self.lead = NOBODY if keys and not lead and max(keys) == self._newest else line
        for key in keys or ():
            if self._closed is None:
                self._closed = key[0] - 1  # what was before the first message, is not missed
            if key[1]:
                self._closed = max(self._closed, key[0])
            self._newest = max(self._newest, key)
        self._recent.append(payload)
        out.append(payload if all(fresh) else cut(payload, fresh))
        return SETTLED

    def _unclosed(self, key: CandleKey) -> bool:
        return key[1] and (self._closed is None or key[0] > self._closed)
