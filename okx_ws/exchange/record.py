"""What the exchange has generated for its subscriptions, to judge a client by: before any fault, whoever was connected.

Everything here runs on the exchange's own thread; what it returns are copies.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from .desk import Arg, arg_id

__all__ = ["Generated", "Record"]


@dataclass(frozen=True)
class Generated:
    """A push that was generated.

    Attributes:
        at_ms: When, Unix ms of the real clock.
        push: Everything that follows ``arg`` in the frame: ``data``, and ``action`` if it has one.
    """

    at_ms: int
    push: dict[str, Any]


class Record:
    """Keeps the newest pushes of every arg of market data that has been subscribed since it is on."""

    def __init__(self) -> None:
        #: How many are kept of an arg; 0 while it is off.
        self.most = 0
        self._kept: dict[str, deque[Generated]] = {}
        self._forgotten: dict[str, int] = {}

    def turn(self, most: int) -> None:
        """Begin anew with so many for each arg, or turn it off with 0."""
        self.most = most
        self._kept, self._forgotten = {}, {}

    def note(self, arg: Arg, push: dict[str, Any]) -> None:
        """Keep a push."""
        id = arg_id(arg)
        kept = self._kept.setdefault(id, deque(maxlen=self.most))
        if len(kept) == self.most:
            self._forgotten[id] = self._forgotten.get(id, 0) + 1
        kept.append(Generated(time.time_ns() // 1_000_000, push))

    def of(self, arg: Arg) -> list[Generated]:
        """Return the pushes of an arg, the oldest first.

        Raises:
            LookupError: The oldest are forgotten: there were more than are kept.
        """
        id = arg_id(arg)
        if self._forgotten.get(id):
            raise LookupError(f"{self._forgotten[id]} pushes of {arg} are forgotten: {self.most} are kept")
        return list(self._kept.get(id, ()))
