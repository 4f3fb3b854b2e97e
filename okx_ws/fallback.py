"""Polling over REST while there is no link: a state that is a second old is better than one of before the loss.

Law. One question of an endpoint is under way at a time, on the worker; its answer is delivered on the link's thread,
and only while there is still no link: so an older polled state never comes behind a newer live one, nor behind a newer
polled one. Whoever keeps an order book is not fed: a polled book is not proven current.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .config import Settings
from .errors import OkxWsError
from .events import Event
from .net.rest_client import RestClient
from .net.worker import RestWorker, answer_of
from .protocol import gaps
from .protocol.backfill import Unusable
from .protocol.polling import Poll, poll_of
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream

__all__ = ["Fallback", "Link"]

log = logging.getLogger(__name__)

#: The same subscription is asked for so often at the most; after failures at distances that double up to the second.
POLL_S = 1.0
SLOW_S = 16.0

#: Between two questions: half of what OKX allows for tickers.
SPACE_S = 0.2

#: One question.
TIMEOUT_S = 3.0


class Link(Protocol):
    """A connection, as far as it matters here."""

    endpoint: str
    connects: int
    mutex: Any
    session: Any
    pair: Any

    @property
    def is_served(self) -> bool:
        """It is up, or another link is that carries the same subscriptions."""

    def poke(self) -> None:
        """Have the thread call `upkeep` soon; from any thread."""

    def hand_over(self, outlet: Outlet, batch: list[bytes]) -> None:
        """Deliver messages; on the thread, outside the mutex."""


class Polled:
    """One subscription that is polled.

    Attributes:
        due: When it is asked for next (monotonic).
        newest: When OKX made what was delivered last, Unix ms; and that message.
    """

    def __init__(self, stream: Stream, poll: Poll, now: float) -> None:
        self.stream = stream
        self.poll = poll
        self.due = now
        self.pause_s = POLL_S
        before = stream.newest
        self.newest = (gaps.time_of(before, newest=True) or 0) if before is not None else 0
        self.last = before


class Fallback:
    """The polling of one connection; touched by its thread alone, but for the answers that the worker leaves.

    Args:
        rest: Asked, on the worker's thread.
        worker: Runs the questions.
        settings: `fallback_after`.
        tell: Takes events.
        link: The connection.
        outlet_of: Returns where a stream's messages go, whatever it waits for.
    """

    def __init__(
        self,
        rest: RestClient,
        worker: RestWorker,
        settings: Settings,
        tell: Callable[[Event], None],
        link: Link,
        outlet_of: Callable[[Stream], Outlet | None],
    ) -> None:
        self._after_s = settings.fallback_after
        self._rest = rest
        self._worker = worker
        self._tell = tell
        self._link = link
        self._outlet_of = outlet_of
        #: Since when there has been no link though one is needed (monotonic).
        self._down_since: float | None = None
        self._told = False
        self._polled: dict[Stream, Polled] = {}
        self._asked: Polled | None = None
        self._space_until = 0.0
        self._answers: deque[tuple[Polled, list[Any] | OkxWsError]] = deque()

    def upkeep(self, now: float) -> float:
        """Go on; return when to be called again (monotonic)."""
        if self._after_s is None:
            return float("inf")
        if self._link.is_served or not self._is_needed():
            self._end()
            return float("inf")
        if self._down_since is None:
            self._down_since = now
            if self._link.connects:  # a dial does not ask when we are due; at the very beginning that may wait
                self._worker.submit(self._link.poke, self._after_s)
        if now < self._down_since + self._after_s:
            return self._down_since + self._after_s
        while self._answers:
            self._answered(*self._answers.popleft(), now)
        return self._ask(now)

    def _is_needed(self) -> bool:
        with self._link.mutex:
            return bool(self._link.session.needed)

    def _end(self) -> None:
        """The link is back, or nobody needs one."""
        self._answers.clear()
        if self._down_since is not None:
            self._down_since, self._asked, self._told = None, None, False
            self._polled.clear()

    def _ask(self, now: float) -> float:
        """Ask for what is due, if nothing is under way; return when the next one is."""
        self._look()
        if not self._polled or self._asked is not None:
            return float("inf")
        one = min(self._polled.values(), key=lambda polled: polled.due)
        at = max(one.due, self._space_until)
        if now < at:
            self._worker.submit(self._link.poke, at - now)
            return at
        self._asked, self._space_until = one, now + SPACE_S
        self._worker.submit(lambda: self._question(one))
        return float("inf")

    def _look(self) -> None:
        """See what is wanted now, and tell, once, that it is polled."""
        with self._link.mutex:
            wanted = [stream for stream in self._link.session.subscriptions if stream.wanted]
        self._polled = {stream: known for stream, known in self._polled.items() if stream in wanted}
        for stream in wanted:
            poll = poll_of(stream.arg) if stream not in self._polled else None
            if poll is not None:
                self._polled[stream] = Polled(stream, poll, time.monotonic())
        if self._polled and not self._told:
            self._told = True
            told = f"no link for {self._after_s:g} s: {len(self._polled)} subscriptions are polled over REST"
            self._tell(Event("notice", self._link.endpoint, msg=told))

    def _question(self, one: Polled) -> None:
        if self._asked is not one:
            return  # the link came back meanwhile
        ask = one.poll.ask
        params: dict[str, Any] = {**ask.params}
        answer = answer_of(lambda: self._rest.get(ask.path, timeout=TIMEOUT_S, **params))
        self._answers.append((one, answer))
        self._link.poke()

    def _answered(self, one: Polled, answer: list[Any] | OkxWsError, now: float) -> None:
        if self._asked is one:
            self._asked = None
        found = None
        try:
            if isinstance(answer, OkxWsError):
                raise answer
            found = one.poll.message(answer)
            one.pause_s = POLL_S
        except (OkxWsError, Unusable) as exc:
            log.info("%s: polling %s: %s", self._link.endpoint, one.stream.text, exc)
            one.pause_s = min(2 * one.pause_s, SLOW_S)
        one.due = now + one.pause_s
        if found is not None and self._polled.get(one.stream) is one and self._is_news(one, *found):
            one.newest, one.last = found
            outlet = self._outlet_of(one.stream)
            if outlet is not None:
                self._link.hand_over(outlet, [found[1]])

    def _is_news(self, one: Polled, made_ms: int, message: bytes) -> bool:
        """Tell whether it is newer than what was delivered; an open bar, which keeps its time, whether it differs."""
        same = made_ms == one.newest and "candle" in one.stream.arg["channel"] and message != one.last
        return made_ms > one.newest or same
