"""`OrdersView`: the orders of an account and their life, kept live, and rebuilt over REST after every hole.

Law. The stream `orders` sends no state of its own. So once it is acknowledged, REST is asked what is open, and what has
become of each order that was open and no longer is; meanwhile pushes are taken as they come, since what is known of an
order only grows (`protocol.order_life`). When all is answered, the view is synced, until the next hole. REST is asked
on the one worker thread, one question at a time, and each answer is applied on the link's thread. A question that fails
is asked again: soon if that may help by itself, else each half minute.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from .config import Backoff, Settings
from .errors import ManagerClosed, OkxWsError, OrderEnded, RestError, UsageError
from .events import Event
from .live import LiveStream, LiveView, ViewOwner
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .protocol.backoff import delay_before
from .protocol.holdings import PushBroken
from .protocol.order_life import ORDER, STATES, Order, Orders, Question, Rebuild, Seen
from .protocol.rest import verdict_on
from .reporting import Reporter

__all__ = ["KEEP", "OrdersState", "OrdersView"]

#: Orders that have ended, and are kept.
KEEP = 1_000

#: One question to REST, with its own retries: the worker is others', too.
QUESTION_S = 5.0

#: Between two attempts; the longest one at once, if trying again is not likely to help.
BACKOFF = Backoff(first_s=0.5, cap_s=30.0)

#: OKX does not know the order, or no longer its instrument.
NO_ORDER = ("51603", "51001")

OrderHandler = Callable[[Order], object]


class OrdersState(NamedTuple):
    """One copy of the orders, all of one moment.

    Attributes:
        open: The open ones.
        done: Those that ended lately, the last one last.
        synced: It was proven current when it was copied.
    """

    open: tuple[Order, ...]
    done: tuple[Order, ...]
    synced: bool


class OrdersView(LiveView):
    """The orders of an account, live; `Manager.orders` makes it, not you.

    All open orders, and the last 1,000 that ended while it watched: each an `Order`, a copy that does not change, with
    the exchange's own texts. A lost link, or a malformed message, makes it unreadable at once, until REST has told what
    is open, and what became of the rest.

    Threads: everything may be called from any thread, and from `on_update`; only `wait`, `wait_synced` and `Order.wait`
    block.
    """

    _name = "view of the orders"

    def __init__(
        self,
        manager: ViewOwner,
        settings: Settings,
        reporter: Reporter,
        arg: dict[str, str],
        rest: RestClient,
        worker: RestWorker,
    ) -> None:
        super().__init__(manager, reporter)
        self._rest = rest
        self._worker = worker
        #: With each: only news is for it.
        self._handlers: tuple[tuple[OrderHandler, bool], ...] = ()
        self._orders = Orders(KEEP, self._wait_for_ordId)
        #: What REST understands of the arg; it has no "ANY".
        self._narrow = {name: value for name, value in arg.items() if name != "channel" and value != "ANY"}
        self.streams = (LiveStream(settings, reporter, arg, self._apply),)
        (self._live,) = self.streams
        self._run: Rebuild | None = None
        #: Orders that were pushed before the run of their epoch began.
        self._early: list[str] = []
        self._early_epoch = -1
        #: How often the stream was malformed since the view was whole.
        self._breaks = 0
        #: Failures of its present question, and the last one if trying again is not likely to help.
        self._failures = 0
        self._lasting: OkxWsError | None = None
        #: What is waited for by clOrdId and instId, and by how many. Changed under the endpoint's mutex.
        self._waited: Counter[tuple[str, str]] = Counter()

    @property
    def _failure(self) -> OkxWsError | None:
        return self._lasting

    def wait_synced(self, timeout: float | None = 10.0) -> OrdersView:
        """Block until it is synced; return it, so that ``ws.orders().wait_synced()`` can be chained.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            SubscribeError, LoginError: OKX refused the channel, or the login.
            RestError, UsageError: OKX refuses to tell the orders over REST, or cannot be asked. It goes on trying.
            ConnectionLost: The endpoint has failed for good.
            ManagerClosed: The manager was closed.
            AckTimeout: Not in time; the text says why. It goes on trying.
            UsageError: The view was closed; or called on a link's own thread, which would wait for itself.
        """
        self._wait_synced(timeout)
        return self

    # ------------------------------------------------------------------ reading

    def view(self, stale_ok: bool = False) -> OrdersState:
        """Return one copy of everything.

        Args:
            stale_ok: Return what there is, with ``synced=False``, also while it is not proven current.

        Raises:
            ViewOutOfSync: It is not proven current. So do all that follow.
        """
        orders = self._orders
        (open_, done), synced = self._read(
            self._live, lambda: (tuple(orders.open.values()), tuple(orders.done.values())), stale_ok
        )
        return OrdersState(open_, done, synced)

    def open(self, instId: str | None = None) -> tuple[Order, ...]:
        """Return the open orders, all or of one instrument."""
        found = self._read(self._live, lambda: tuple(self._orders.open.values()))[0]
        return tuple([order for order in found if instId in (None, order.instId)])

    def get(self, clOrdId: str | None = None, *, ordId: str | None = None) -> Order | None:
        """Return one order, open or ended, by your id or by OKX's; None if none is known by it."""
        check_reference(clOrdId, ordId)
        return self._read(self._live, lambda: self._orders.find(clOrdId, ordId))[0]

    def wait(
        self,
        clOrdId: str | None = None,
        state: str = "done",
        timeout: float | None = 10.0,
        *,
        ordId: str | None = None,
        instId: str | None = None,
    ) -> Order:
        """Block until an order has reached a state; it need not be known yet. Works through holes.

        Args:
            clOrdId: Your id of it.
            state: ``"live"``, ``"partially_filled"``, ``"filled"``, ``"canceled"``, ``"mmp_canceled"``, or ``"done"``
                for any end. What came past a state has reached it: an order that is filled at once was live.
            timeout: Seconds; None waits as long as it takes.
            ordId: OKX's id of it, instead.
            instId: Its instrument: then an order that is made and ends while the link is down is found, too. With a
                `clOrdId` only.

        Returns:
            The order as it is then.

        Raises:
            OrderEnded: It ended otherwise, and can never reach the state.
            TimeoutError: Not in time; the text says how far it is.
            SubscribeError, LoginError, ConnectionLost, ManagerClosed: Nothing can be told of it any more.
            UsageError: There is no such state, or no id; or called on a link's own thread, which would wait for itself.
        """
        check_reference(clOrdId, ordId)
        if state != "done" and state not in STATES:
            raise UsageError(f"state must be 'done' or one of {', '.join(STATES)}, not {state!r}")
        if instId is not None and (clOrdId is None or not isinstance(instId, str) or not instId):
            raise UsageError(f"instId must be a non-empty str beside a clOrdId, not {instId!r}")

        def ready() -> Order | None:
            order = self._read(self._live, lambda: self._orders.find(clOrdId, ordId), stale_ok=True)[0]
            if order is not None and order.done and not order.has_reached(state):
                raise OrderEnded(f"order {clOrdId or ordId} is {order.state}; it was never {state}", order)
            return order if order is not None and order.has_reached(state) else None

        def late() -> TimeoutError:
            order = self._read(self._live, lambda: self._orders.find(clOrdId, ordId), stale_ok=True)[0]
            found = "unheard of" if order is None else f"{order.state} (filled {order.accFillSz or '0'} of {order.sz})"
            doubt = "" if self.synced else f"; the view is not proven current: {self._why(self.streams)}"
            return TimeoutError(f"order {clOrdId or ordId} is not {state} in {timeout:g} s: it is {found}{doubt}")

        with self._awaiting(clOrdId, instId):
            return self._wait(ready, timeout, late)

    def _wait_for_ordId(self, ordId: str, state: str, timeout: float | None) -> Order:
        return self.wait(None, state, timeout, ordId=ordId)

    # ------------------------------------------------------------------ the link's thread

    def add_handler(self, *handler: Any) -> None:
        """Call a function, with news only or with every push. For the manager."""
        function, dedupe = handler
        self._handlers = (*self._handlers, (function, dedupe))

    def subscribed(self) -> None:
        """Have REST asked, unless that is done or under way since the stream was acknowledged."""
        stream = self._live.find()
        if stream is not None and stream.wire == "on" and not (self._run and self._live.epoch == stream.epoch):
            self._live.epoch = stream.epoch
            self._rebuild(0.0)

    def _rebuild(self, delay_s: float) -> None:
        with self._live.lines.mutex:
            waited = list(self._waited)
        self._failures, self._lasting = 0, None
        self._live.why = "REST has not told yet which orders are open"
        self._run = run = Rebuild(self._orders, self._narrow, waited)
        for ordId in self._early if self._early_epoch == self._live.epoch else ():
            run.pushed(ordId)
        self._early = []
        self._ask(run, delay_s)

    def _apply(self, live: LiveStream, message: Any) -> None:
        """Take a message."""
        stream = live.find()
        assert stream is not None  # it has brought the message
        seen, broken = self._take(message)
        told = [one.order.ordId for one in seen]
        if self._run is not None and stream.epoch == live.epoch:
            for ordId in told:
                self._run.pushed(ordId)
        else:  # before the acknowledgement, or with it
            self._early = (self._early if self._early_epoch == stream.epoch else []) + told
            self._early_epoch = stream.epoch
        self._tell(seen)
        if broken and stream.wire == "on":
            self._broken(broken)

    def _take(self, message: Any) -> tuple[list[Seen], str]:
        """Take the rows of a push; return what they have done, and what is wrong with the first one that is wrong."""
        seen: list[Seen] = []
        try:
            with self._live.changing():
                for row in message["data"]:
                    seen.append(self._orders.take(row))
        except (LookupError, TypeError) as exc:
            return seen, f"malformed: {exc!r:.200}"
        except PushBroken as exc:
            return seen, str(exc)
        return seen, ""

    def _broken(self, why: str) -> None:
        """A message could not be read: have REST tell what it may have said."""
        self._live.proven = -1
        self._live.broken(why)
        self._breaks += 1
        self._rebuild(0.0 if self._breaks == 1 else delay_before(self._breaks, BACKOFF, random.random()))  # noqa: S311

    def _tell(self, seen: list[Seen]) -> None:
        if seen:
            self._notify()
        for order, news in seen:
            for handler, dedupe in self._handlers:
                if news or not dedupe:
                    self._call(handler, order)

    # ------------------------------------------------------------------ REST

    def _ask(self, run: Rebuild, delay_s: float = 0.0) -> None:
        """Have the next question asked; when there is none, the view is whole."""
        if run.question is not None:
            self._worker.submit(partial(self._question, run, run.question), delay_s + run.question.pause_s)
            return
        self._breaks = 0
        self._live.mended(self._live.epoch)
        self._notify()

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
            with self._live.changing():
                seen = run.answer(answer)
        except PushBroken as exc:
            self._failed(run, RestError("", str(exc), path=run.question.path))
            return
        self._failures, self._lasting = 0, None
        self._tell(seen)
        self._ask(run)

    def _failed(self, run: Rebuild, error: OkxWsError) -> None:
        """Ask again, after a while."""
        self._failures += 1
        lasting = verdict_on(error) == "final"
        delay_s = BACKOFF.cap_s if lasting else delay_before(self._failures, BACKOFF, random.random())  # noqa: S311
        self._live.why = f"REST does not tell the orders: {error}"
        if lasting and self._lasting is None:
            told = f"the view of the orders is not current: {self._live.why}"
            self._reporter.tell(Event("notice", self._live.lines.endpoint, self._live.arg, msg=told))
        self._lasting = error if lasting else None
        self._notify()
        self._ask(run, delay_s)

    @contextmanager
    def _awaiting(self, clOrdId: str | None, instId: str | None) -> Iterator[None]:
        """Note what is waited for, so that it is asked for after a hole; and ask at once, if it is unheard of."""
        if clOrdId is None or instId is None:
            yield
            return
        mutex = self._live.lines.mutex
        with mutex:
            self._waited[clOrdId, instId] += 1
        try:
            self._worker.submit(partial(self._look_for, clOrdId, instId))
            yield
        finally:
            with mutex:
                self._waited[clOrdId, instId] -= 1
                self._waited += Counter()  # drops what nobody waits for

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
            with self._live.changing():
                seen = [self._orders.take(row, rest=True) for row in rows]
        except PushBroken:
            return
        self._tell(seen)


def check_reference(clOrdId: Any, ordId: Any) -> None:
    """Raise `UsageError` unless exactly one of the two is given, and a text."""
    given = [value for value in (clOrdId, ordId) if value is not None]
    if len(given) != 1 or not isinstance(given[0], str) or not given[0]:
        raise UsageError(f"an order is known by its clOrdId or its ordId, a non-empty str; not {clOrdId!r}, {ordId!r}")
