"""`OrdersView`: the orders of an account and their life, kept live, and rebuilt over REST after every hole.

Law. The stream `orders` sends no state of its own. So once it is acknowledged, REST is asked what is open, and what has
become of each order that was open and no longer is (`OrdersKeeper`); meanwhile pushes are taken as they come, since
what is known of an order only grows (`protocol.order_life`). When all is answered, the view is synced, until the next
hole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .config import Settings
from .errors import OkxWsError, OrderEnded, UsageError
from .live import LiveView, ViewOwner
from .live_stream import LiveStream
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .orders_keeper import OrdersKeeper
from .protocol.holdings import PushBroken
from .protocol.order_life import STATES, Order, Orders, Seen
from .reporting import Reporter

__all__ = ["KEEP", "OrdersState", "OrdersView"]

#: Orders that have ended, and are kept.
KEEP = 1_000

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
        #: With each: only news is for it.
        self._handlers: tuple[tuple[OrderHandler, bool], ...] = ()
        self._orders = Orders(KEEP, self._wait_for_ordId)
        self.streams = (LiveStream(settings, reporter, arg, self._apply),)
        (self._live,) = self.streams
        self._keeper = OrdersKeeper(self._live, self._orders, rest, worker, tell=self._tell, report=reporter.tell)

    @property
    def _failure(self) -> OkxWsError | None:
        return self._keeper.lasting

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

        with self._keeper.awaiting(clOrdId, instId):
            return self._wait(ready, timeout, late)

    def _wait_for_ordId(self, ordId: str, state: str, timeout: float | None) -> Order:
        return self.wait(None, state, timeout, ordId=ordId)

    # ------------------------------------------------------------------ the link's thread

    def add_handler(self, *handler: Any) -> None:
        """Call a function, with news only or with every push. For the manager."""
        function, dedupe = handler
        self._handlers = (*self._handlers, (function, dedupe))

    def subscribed(self) -> None:
        """OKX acknowledged the stream: what is open is not known yet. For the manager."""
        self._keeper.subscribed()

    def holed(self, live: LiveStream) -> None:
        """Something of the stream is missing: only REST knows it. For the manager."""
        self._keeper.holed()

    def _apply(self, live: LiveStream, message: Any) -> None:
        """Take a message."""
        stream = live.find()
        assert stream is not None  # it has brought the message
        seen, broken = self._take(message)
        self._keeper.pushed(stream.epoch, [one.order.ordId for one in seen])
        self._tell(seen)
        if broken and stream.stands:
            self._keeper.broken(broken)

    def _take(self, message: Any) -> tuple[list[Seen], str]:
        """Take the rows of a push; return what they have done, and what is wrong with the first one that is wrong."""
        seen: list[Seen] = []
        try:
            with self._live.changing:
                for row in message["data"]:
                    seen.append(self._orders.take(row))
        except (LookupError, TypeError) as exc:
            return seen, f"malformed: {exc!r:.200}"
        except PushBroken as exc:
            return seen, str(exc)
        return seen, ""

    def _tell(self, seen: list[Seen]) -> None:
        if seen:
            self._live.notify()
        for order, news in seen:
            for handler, dedupe in self._handlers:
                if news or not dedupe:
                    self._live.call(handler, order)


def check_reference(clOrdId: Any, ordId: Any) -> None:
    """Raise `UsageError` unless exactly one of the two is given, and a text."""
    given = [value for value in (clOrdId, ordId) if value is not None]
    if len(given) != 1 or not isinstance(given[0], str) or not given[0]:
        raise UsageError(f"an order is known by its clOrdId or its ordId, a non-empty str; not {clOrdId!r}, {ordId!r}")
