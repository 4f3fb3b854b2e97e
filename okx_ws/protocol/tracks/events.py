"""Events: nothing but their identity tells whether they were delivered."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b
from itertools import islice

from ..codec import decode
from ..identity import RECALLING, key_of
from .track import SETTLED, WINDOW, LineId, Place, Track, Verdict, cut

__all__ = ["Events"]


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
        self._last = b""

    def place(self, payload: bytes) -> Place:
        return "old" if any(key in self._seen for key in self._keys(payload)) else "ahead"

    def reaches(self, payload: bytes) -> bool:
        return not set(self._keys(self._last)).isdisjoint(self._keys(payload))

    def admit(self, line: LineId, payload: bytes, out: list[bytes]) -> Verdict:
        if payload == self._last and line != self.lead:
            return SETTLED  # lines that keep pace: undecoded
        seen = self._seen
        keys = self._keys(payload)
        fresh = [seen.get(key, line) == line for key in keys]
        if any(fresh):
            self._last, self.lead = payload, line
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
                if keys:
                    return keys
            except (LookupError, TypeError, ValueError, AttributeError):
                pass
        return [blake2b(payload, digest_size=16).digest()]  # texts may be long, and 20,000 of them are kept
