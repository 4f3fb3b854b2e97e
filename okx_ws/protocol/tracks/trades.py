"""Trades of one instrument, by their growing tradeIds."""

from __future__ import annotations

import re
from itertools import islice

from ..codec import decode
from ..identity import trade_ids
from .track import RESTART, SETTLED, WINDOW, LineId, Place, Track, Verdict, cut

__all__ = ["Trades"]

TRADE_ID = re.compile(rb'"tradeId":"(\d+)"')


class Trades(Track):
    """Trades of one instrument, whose tradeIds grow.

    One that a line left out and another brings is delivered late rather than never; but what lies in a hole that was
    told stays missing, since trades behind it would be out of order. Ids that begin anew, lower, are believed of a line
    that had brought all that was delivered.
    """

    gapless = True

    def __init__(self) -> None:
        super().__init__()
        self._last = -1
        #: Ids from here on are known one by one.
        self._floor = 0
        self._seen: dict[int | bytes, None] = {}
        #: A hole was told, so what comes next is where to go on from.
        self._after_hole = False
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

    def skips(self, payload: bytes) -> bool:
        return self._last >= 0 and self.place(payload) == "ahead"

    def lacks(self, payload: bytes) -> bool:
        return self.skips(payload)

    def reaches(self, payload: bytes) -> bool:
        return max(map(int, TRADE_ID.findall(payload)), default=-1) >= self._last

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        ids = TRADE_ID.findall(payload)
        if len(ids) != 1:
            return self._admit_rows(line, payload, [int(text) for text in ids], out)
        tradeId = int(ids[0])
        at = self._at.get(line, -1)
        self._at[line] = tradeId
        if tradeId > self._last:
            self._forward(tradeId, line)
        elif tradeId < self._floor:
            if at < self._last and line != self.lead:
                return SETTLED  # it was delivered, and forgotten since
            self._restart(line, tradeId)
            out.append(payload)
            return RESTART
        elif tradeId in self._seen and line != self.lead:
            return SETTLED
        self._remember(tradeId)
        out.append(payload)
        return SETTLED

    def _admit_rows(self, line: LineId, payload: bytes, ids: list[int], out: list[bytes]) -> Verdict:
        """Admit a message of several trades, of which some may have been delivered; or one without any."""
        keys: list[int | bytes] = [*ids] or [payload]
        fresh = [line == self.lead or not self._known(key) for key in keys]
        if ids:
            self._at[line] = max(ids)
            if max(ids) > self._last:
                self._forward(max(ids), line)
        if any(fresh):
            out.append(payload if all(fresh) else cut(payload, fresh))
            for key in keys:
                self._remember(key)
        return SETTLED

    def hole(self) -> None:
        self._after_hole = True

    def _forward(self, tradeId: int, line: LineId) -> None:
        self._last, self.lead = tradeId, line
        if self._after_hole:
            self._after_hole = False
            self._seen = {}  # `_remember` sets the floor

    def _known(self, key: int | bytes) -> bool:
        return key in self._seen or (isinstance(key, int) and key < self._floor)

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
