"""`OrdersKeeper`: has the orders of a stream rebuilt over REST, whenever it was acknowledged anew or could not be read.

Law. REST is asked on the one worker thread, one question at a time; each answer is applied on the link's thread, if no
other hole has begun meanwhile. A question that fails is asked again: soon if that may help by itself, else each half
minute. What was pushed since the stream was asked for is known: REST, which may be behind, does not undo it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .config import Backoff
from .errors import ManagerClosed, OkxWsError, RestError
from .events import Event
from .live_stream import LiveStream
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .protocol.backoff import delay_before
from .protocol.holdings import PushBroken
from .protocol.order_life import ORDER, Orders, Question, Rebuild, Seen
from .protocol.rest import verdict_on

__all__ = ["BACKOFF", "OrdersKeeper"]

#: One question to REST, with its own retries: the worker is others', too.
QUESTION_S = 5.0

#: Between two attempts; the longest one at once, if trying again is not likely to help.
BACKOFF = Backoff(first_s=0.5, cap_s=30.0)

#: OKX does not know the order, or no longer its instrument.
NO_ORDER = ("51603", "51001")


class OrdersKeeper:
    """Rebuilds the orders of one stream.

    Args:
        live: The stream.
        orders: What is kept from it. Changed on the link's thread.
        rest: Asked, on the worker's thread only.
        worker: Runs the questions.
        tell: Told what answers have done; on the link's thread.
        report: Takes an event.
    """

    def __init__(
        self,
        live: LiveStream,
        orders: Orders,
        rest: RestClient,
        worker: RestWorker,
        *,
        tell: Callable[[list[Seen]], None],
        report: Callable[[Event], None],
    ) -> None:
        self._live = live
        self._orders = orders
        self._rest = rest
        self._worker = worker
        self._tell = tell
        self._report = report
        #: What REST understands of the arg; it has no "ANY".
        self._narrow = {name: value for name, value in live.arg.items() if name != "channel" and value != "ANY"}
        self._run: Rebuild | None = None
        #: Orders that were pushed before the run of their epoch began.
        self._early: list[str] = []
        self._early_epoch = -1
        #: How often the stream was malformed since all was known.
        self._breaks = 0
        #: Failures of the present question.
        self._failures = 0
        #: Its last failure, if trying again is not likely to help.
        self.lasting: OkxWsError | None = None
        #: What is waited for by clOrdId and instId, and by how many. Changed under the endpoint's mutex.
        self.waited: Counter[tuple[str, str]] = Counter()

    # ------------------------------------------------------------------ the stream

    def subscribed(self) -> None:
        """Have REST asked, unless that is done or under way since the stream was acknowledged."""
        stream = self._live.find()
        if stream is not None and stream.stands and not (self._run and self._live.epoch == stream.epoch):
            self._live.epoch = stream.epoch
            self._begin(0.0)

    def holed(self) -> None:
        """Have REST asked anew about a hole that a second link could not cover, though it goes on (`redundancy=2`).

        The loss of the only link needs none of this: the next acknowledgement begins a new epoch.
        """
        stream = self._live.find()
        if stream is not None and stream.stands and self._run is not None and self._live.epoch == stream.epoch:
            self._live.proven = -1
            self._begin(0.0)

    def pushed(self, epoch: int, ordIds: list[str]) -> None:
        """The stream has told of orders."""
        if self._run is not None and epoch == self._live.epoch:
            for ordId in ordIds:
                self._run.pushed(ordId)
        else:  # before the acknowledgement, or with it
            self._early = (self._early if self._early_epoch == epoch else []) + ordIds
            self._early_epoch = epoch

    def broken(self, why: str) -> None:
        """A message could not be read: have REST tell what it may have said."""
        self._live.proven = -1
        self._live.broken(why)
        self._breaks += 1
        self._begin(0.0 if self._breaks == 1 else delay_before(self._breaks, BACKOFF, random.random()))  # noqa: S311

    def _begin(self, delay_s: float) -> None:
        with self._live.lines.mutex:
            waited = list(self.waited)
        self._failures, self.lasting = 0, None
        self._live.why = "REST has not told yet which orders are open"
        self._run = run = Rebuild(self._orders, self._narrow, waited)
        for ordId in self._early if self._early_epoch == self._live.epoch else ():
            run.pushed(ordId)
        self._early = []
        self._ask(run, delay_s)

    # ------------------------------------------------------------------ REST

    def _ask(self, run: Rebuild, delay_s: float = 0.0) -> None:
        """Have the next question asked; when there is none, all is known."""
        if run.question is not None:
            self._worker.submit(partial(self._question, run, run.question), delay_s + run.question.pause_s)
            return
        self._breaks = 0
        self._live.mended(self._live.epoch)

    def _question(self, run: Rebuild, question: Question) -> None:
        """Ask REST; on the worker's thread."""
        if run is not self._run or self._live.sink.dead:
            return
        answer: list[Any] | OkxWsError
        try:
            answer = self._rest.get(question.path, timeout=QUESTION_S, signed=True, **question.params)
        except ManagerClosed:
            return
        except OkxWsError as exc:
            answer = exc
        self._live.call_soon(partial(self._answered, run, answer))

    def _answered(self, run: Rebuild, answer: list[Any] | OkxWsError) -> None:
        """Take an answer; on the link's thread."""
        stream = self._live.find()
        if run is not self._run or stream is None or stream.epoch != self._live.epoch or run.question is None:
            return  # of a hole that is over, or part of the next one
        if isinstance(answer, RestError) and answer.code in NO_ORDER and run.question.path == ORDER:
            answer = []
        if isinstance(answer, OkxWsError):
            self._failed(run, answer)
            return
        try:
            with self._live.changing:
                seen = run.answer(answer)
        except PushBroken as exc:
            self._failed(run, RestError("", str(exc), path=run.question.path))
            return
        self._failures, self.lasting = 0, None
        self._tell(seen)
        self._ask(run)

    def _failed(self, run: Rebuild, error: OkxWsError) -> None:
        """Ask again, after a while."""
        self._failures += 1
        # What is no answer of OKX's at all (half a page, a list of something else) says nothing about the next one.
        lasting = verdict_on(error) == "final" and not (isinstance(error, RestError) and not error.code)
        delay_s = BACKOFF.cap_s if lasting else delay_before(self._failures, BACKOFF, random.random())  # noqa: S311
        self._live.why = f"REST does not tell the orders: {error}"
        if lasting and self.lasting is None:
            told = f"the view of the orders is not current: {self._live.why}"
            self._report(Event("notice", self._live.lines.endpoint, self._live.arg, msg=told))
        self.lasting = error if lasting else None
        self._live.notify()
        self._ask(run, delay_s)

    @contextmanager
    def awaiting(self, clOrdId: str | None, instId: str | None) -> Iterator[None]:
        """Note what is waited for, so that it is asked for after a hole; and ask at once, if it is unheard of."""
        if clOrdId is None or instId is None:
            yield
            return
        mutex = self._live.lines.mutex
        with mutex:
            self.waited[clOrdId, instId] += 1
        try:
            self._worker.submit(partial(self._look_for, clOrdId, instId))
            yield
        finally:
            with mutex:
                self.waited[clOrdId, instId] -= 1
                self.waited += Counter()  # drops what nobody waits for

    def _look_for(self, clOrdId: str, instId: str) -> None:
        """Ask for one order, once: it may have come and gone before the view began; on the worker's thread."""
        if self._live.sink.dead or self._orders.find(clOrdId, None) is not None:
            return
        try:
            rows = self._rest.get(ORDER, timeout=QUESTION_S, signed=True, instId=instId, clOrdId=clOrdId)
        except OkxWsError:
            return  # there is none yet; or it is asked for with the next rebuild
        self._live.call_soon(partial(self._found, rows))

    def _found(self, rows: list[Any]) -> None:
        """Take what REST says of an order; on the link's thread."""
        try:
            with self._live.changing:
                seen = [self._orders.take(row, rest=True) for row in rows]
        except PushBroken:
            return
        self._tell(seen)
