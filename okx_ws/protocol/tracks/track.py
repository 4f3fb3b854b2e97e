"""What all tracks have in common."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Literal

import orjson

from ..codec import decode

__all__ = ["GAP", "NOBODY", "RESTART", "SETTLED", "WINDOW", "LineId", "Place", "Track", "Verdict", "cut"]

#: How many identities are remembered, at least: at 1,000 messages a second, lines may be 10 s apart.
WINDOW = 10_000

Place = Literal["old", "next", "ahead"]
LineId = Hashable
#: Leads where the line that delivered last need not be the furthest: what any line brings is compared.
NOBODY: LineId = object()


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
        lead: The line that delivered last, or `NOBODY`; None if it has ended or has a hole.
        recalling: The first push of a line may tell what happened long ago.
        gapless: Numbers count one by one: what `skips` is missing. If not, it may be, or there was nothing.
        chained: Only its own numbers prove that a message continues what was delivered.
        renewing: The next whole message is to be delivered, whoever brings it.
    """

    gapless = False
    recalling = False
    chained = False
    renewing = False

    def __init__(self) -> None:
        self.lead: LineId | None = None

    def place(self, payload: bytes) -> Place:
        """Tell whether a message was delivered (or is outdated), is proven to be the next, or may be ahead of that."""
        raise NotImplementedError

    def skips(self, payload: bytes) -> bool:
        """Tell whether numbers say that something between what was delivered and this message is missing."""
        return False

    def lacks(self, payload: bytes) -> bool:
        """Tell whether something may be missing before the next message of a line that was left behind."""
        return self.place(payload) == "ahead"

    def reaches(self, payload: bytes) -> bool:
        """Tell whether nothing that was delivered is newer than this message, though it may read otherwise."""
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

    def hole(self) -> None:
        """A hole was told: the next message comes after it."""

    def dropped(self, line: LineId) -> None:
        """A line has ended, or has a hole."""
        if self.lead in (line, NOBODY):
            self.lead = None

    def forget(self, line: LineId) -> None:
        """A line has ended."""
        self.dropped(line)


def cut(payload: bytes, kept: list[bool]) -> bytes:
    """Return a message with only those rows of its data; the whole of it if its rows are others than was thought."""
    message = decode(payload)
    if len(message["data"]) != len(kept):
        return payload
    message["data"] = [row for row, keep in zip(message["data"], kept, strict=True) if keep]
    return orjson.dumps(message)
