"""Building an order book from REST where the stream sends no snapshot: the questions, and who gets the answers.

Everything here runs on the link's own thread; only REST is asked on the worker's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from .errors import OkxWsError
from .protocol.backfill import LAG_S, Ask
from .protocol.book import BookBroken
from .protocol.splice import DEPTHS, Splice

__all__ = ["Fetcher", "InTurn", "Splicing"]

#: A book that has not joined by then is asked for anew, over the stream.
SPLICE_S = 3.0

#: For so long only a book of REST's that ends where an update does is taken.
EXACT_S = 1.5


class Fetcher(Protocol):
    """Asks REST: `Recovery`."""

    def fetch(
        self, ask: Ask, until: float, then: Callable[[list[Any] | OkxWsError], None], wanted: Callable[[], bool]
    ) -> None:
        """Ask on the worker's thread, and call `then` with the answer on the link's."""


class Turns(Protocol):
    """Where several threads take turns: `handlers.Turn`."""

    def take(self, work: Callable[[], None]) -> None:
        """Have `work` done, now or by the thread that is working."""


class InTurn:
    """Asks REST, and hands on the answer when it is the turn of whoever shares `turn`.

    Args:
        fetcher: Asks.
        turn: Of the sink that the answer is for: several links may feed it.
    """

    def __init__(self, fetcher: Fetcher, turn: Turns) -> None:
        self._fetcher = fetcher
        self._turn = turn

    def fetch(
        self, ask: Ask, until: float, then: Callable[[list[Any] | OkxWsError], None], wanted: Callable[[], bool]
    ) -> None:
        """See `Fetcher.fetch`."""
        self._fetcher.fetch(ask, until, lambda answer: self._turn.take(partial(then, answer)), wanted)


class Splicing:
    """One attempt to build one book.

    Args:
        fetcher: Asks REST.
        arg: The book's.
        build: Called once with the messages that make it.
        give_up: Called instead, with the reason, if nothing comes of it.

    Attributes:
        over: One of the two was called, or the attempt was dropped.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        arg: Mapping[str, str],
        build: Callable[[list[dict[str, Any]]], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._fetcher = fetcher
        self._params = {"instId": arg["instId"], "sz": DEPTHS[arg["channel"]]}
        self._build = build
        self._give_up = give_up
        self._splice = Splice()
        now = time.monotonic()
        self._until, self._exact_until = now + SPLICE_S, now + EXACT_S
        self.over = False
        self._ask(0.0)

    def add(self, message: Any) -> None:
        """Another update has come."""
        self._step(lambda: self._splice.add(message))

    def _ask(self, pause_s: float) -> None:
        ask = Ask("/api/v5/market/books", self._params, pause_s=pause_s)
        self._fetcher.fetch(ask, self._until, self._answered, lambda: not self.over)

    def _answered(self, answer: list[Any] | OkxWsError) -> None:
        if self.over:
            return
        if isinstance(answer, OkxWsError):
            self._end(str(answer))
        else:
            self._step(lambda: self._splice.offer(answer))

    def _step(self, step: Callable[[], list[dict[str, Any]] | None]) -> None:
        self._splice.exact = time.monotonic() < self._exact_until
        try:
            messages = step()
        except BookBroken as exc:
            self._end(str(exc))
            return
        if messages:
            self.over = True
            self._build(messages)
        elif time.monotonic() >= self._until:
            self._end(f"REST's book did not join in {SPLICE_S:g} s")
        elif messages is None:
            self._ask(LAG_S)

    def _end(self, why: str) -> None:
        self.over = True
        self._give_up(why)
