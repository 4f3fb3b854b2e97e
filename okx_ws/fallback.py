"""Polling over REST while there is no link: a state that is a second old is better than one of before the loss.

Law. One question of an endpoint is under way at a time, on the worker; its answer is delivered on the link's thread,
and only while there is still no link: so an older polled state never comes behind a newer live one, nor behind a newer
polled one. Of OKX's limits polling leaves half to everybody else. Among what is due, the path that was asked longest
ago comes first: a hundred books do not starve a candle. Whoever keeps an order book is not fed: a polled book is not
proven current.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .config import Settings
from .errors import OkxWsError
from .events import Event
from .net.rest_client import RestClient
from .net.worker import RestWorker, answer_of
from .protocol.backfill import Unusable
from .protocol.polling import Key, Polled, Question, State, plan
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream

__all__ = ["Fallback", "Link"]

log = logging.getLogger(__name__)

#: The same question is asked so often at the most; after failures at distances that double up to the second.
POLL_S = 1.0
SLOW_S = 16.0

#: This part of each limit of OKX's is left to repairs and to users' own questions.
LEFT = 0.5

#: One question: so short that one under way when the link is back does not use up the time of the repairs behind it.
TIMEOUT_S = 1.5


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


class Turn:
    """When a question is asked next (monotonic), and how long after that again."""

    def __init__(self, now: float) -> None:
        self.due = now
        self.pause_s = POLL_S

    def asked(self, now: float, well: bool) -> None:
        """It was answered, well or not."""
        self.pause_s = POLL_S if well else min(2 * self.pause_s, SLOW_S)
        self.due = now + self.pause_s


class Fallback:
    """The polling of one connection; touched by its thread alone, but for the answers that the worker leaves.

    Args:
        rest: Asked, on the worker's thread.
        worker: Runs the questions.
        settings: `fallback_after`.
        tell: Takes events.
        link: The connection.
        outlet_of: Returns where a stream's messages go; None if nowhere, or if some wait that come first.
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
        self._questions: list[Question] = []
        self._turns: dict[Key, Turn] = {}
        #: When each path was asked last (monotonic).
        self._asked_at: dict[str, float] = {}
        #: The question under way.
        self._asked: Question | None = None
        self._answers: deque[tuple[Question, list[Any] | OkxWsError]] = deque()
        #: When the worker will poke the link next (monotonic): a dial does not ask when we are due.
        self._poked_at = 0.0

    def upkeep(self, now: float) -> float:
        """Go on; return when to be called again (monotonic)."""
        if self._after_s is None:
            return float("inf")
        if self._link.is_served or not self._is_needed():
            self._end()
            return float("inf")
        if self._down_since is None:
            self._down_since = now
        begins = self._down_since + self._after_s
        if now < begins:
            if self._link.connects:  # at the very beginning that may wait
                self._poke_at(begins, now)
            return begins
        self._look(now)
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
            self._polled, self._questions, self._turns = {}, [], {}

    def _poke_at(self, at: float, now: float) -> None:
        if not now < self._poked_at <= at:
            self._poked_at = at
            self._worker.submit(self._link.poke, at - now)

    # ------------------------------------------------------------------ what to ask

    def _look(self, now: float) -> None:
        """See what is wanted now, and tell, once, that it is polled."""
        with self._link.mutex:
            wanted = [stream for stream in self._link.session.subscriptions if stream.wanted]
        known = self._polled
        if wanted != list(known):
            self._polled = {s: known[s] if s in known else Polled(s.arg, s.newest) for s in wanted}
            self._plan(now)
        if self._questions and not self._told:
            self._told = True
            number = sum(len(question.polled) for question in self._questions)
            told = f"no link for {self._after_s:g} s: {number} subscriptions are polled over REST"
            self._tell(Event("notice", self._link.endpoint, msg=told))

    def _plan(self, now: float) -> None:
        self._questions = plan(self._polled.values())
        turns = self._turns
        self._turns = {question.key: turns.get(question.key) or Turn(now) for question in self._questions}

    def _ask(self, now: float) -> float:
        """Ask for what is due and has room, if nothing is under way; return when something is."""
        if not self._questions or self._asked is not None:
            return float("inf")
        heads: dict[str, Question] = {}
        for question in sorted(self._questions, key=lambda question: self._turns[question.key].due):
            heads.setdefault(question.ask.path, question)
        at = {question: max(self._turns[question.key].due, self._room_at(question, now)) for question in heads.values()}
        ready = [question for question in at if at[question] <= now]
        if not ready:
            due = min(at.values())
            self._poke_at(due, now)
            return due
        chosen = min(ready, key=lambda question: self._asked_at.get(question.ask.path, 0.0))
        self._asked, self._asked_at[chosen.ask.path] = chosen, now
        self._worker.submit(lambda: self._question(chosen))
        return float("inf")

    def _room_at(self, question: Question, now: float) -> float:
        return now + self._rest.room_in(question.ask.path, left=LEFT, **question.ask.params)

    def _question(self, question: Question) -> None:
        """Ask; on the worker's thread."""
        if self._asked is not question:
            return  # the link came back meanwhile
        path, params = question.ask.path, {**question.ask.params}
        room_s = self._rest.room_in(path, left=LEFT, **params)
        if room_s > 0:  # another link took it
            self._worker.submit(lambda: self._question(question), room_s)
            return
        answer = answer_of(lambda: self._rest.get(path, timeout=TIMEOUT_S, signed=None, **params))
        self._answers.append((question, answer))
        self._link.poke()

    # ------------------------------------------------------------------ what was answered

    def _answered(self, question: Question, answer: list[Any] | OkxWsError, now: float) -> None:
        if self._asked is not question:
            return  # of an outage that is over
        self._asked = None
        found: dict[Polled, State | None | Unusable] = {}
        fault: Exception | None = answer if isinstance(answer, OkxWsError) else None
        try:
            found = question.read(answer) if isinstance(answer, list) else {}
        except Unusable as exc:
            fault = exc
        faults = [state for state in found.values() if isinstance(state, Unusable)]
        if fault is None and len(faults) == len(found):
            fault = next(iter(faults), None)
        for one in (fault, *faults[:1]):
            if one is not None:
                log.info("%s: polling %s: %s", self._link.endpoint, question.ask.path, one)
        if question.key in self._turns:
            self._turns[question.key].asked(now, well=fault is None)
        self._deliver(found)
        if question.bulk and any(one.alone for one in question.polled):
            self._plan(now)

    def _deliver(self, found: dict[Polled, State | None | Unusable]) -> None:
        """Hand over what is news, to those who want it still: whoever got one before may have unsubscribed another."""
        for stream, one in self._polled.items():
            state = found.get(one)
            if state is None or isinstance(state, Unusable) or not stream.wanted:
                continue
            outlet = self._outlet_of(stream)
            if outlet is None or outlet.congested:
                continue
            message = one.news(state)
            if message is not None:
                self._link.hand_over(outlet, [message])
