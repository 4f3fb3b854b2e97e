"""`OrderEntry`: from a call such as `place_order` to its outcome. What `Trading` and its names stand on.

Law. A call ends in one of three ways, and says which: its reply; an error after which it has certainly not been carried
out (`UsageError`, `OrderRejected`, `ExchangeError`, `LoginError`, `ConnectionLost`, `ManagerClosed`); or
`OutcomeUnknown`, after which it may have been. Nothing is ever sent again. Checks, the instrument's code, the link, the
login and OKX's limits all share the call's one deadline; the reply is matched by its id.
"""

from __future__ import annotations

import concurrent.futures
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from .config import Limits, positive
from .delivery import SLICE_S
from .errors import ExchangeError, ManagerClosed, OkxWsError, OutcomeUnknown, UsageError
from .net.connection import Connection
from .net.instruments import Instruments
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .protocol.calls import Call, Cost, Outcome
from .protocol.codes import UNKNOWN_CODES
from .protocol.orders import BATCHES, MOST_ORDERS, OPS, Op, check_order, check_steps, costs_of, expiry_of
from .protocol.replies import OrderResult, only_result, results_of, whole_reply
from .protocol.rest import plain_of
from .resolving import Doubt, Resolution, resolve

__all__ = ["CallFuture", "Host", "OrderEntry", "Request"]

#: A call's end is told by the link's thread; if that is busy with a user's function, it is not waited for longer.
GRACE_S = 1.0

#: Subscriptions have methods of their own; logins are the manager's.
NOT_CALLS = ("login", "subscribe", "unsubscribe")


class Host(Protocol):
    """The manager, as far as it matters here."""

    def check_may_block(self) -> None:
        """Raise `UsageError` on a thread that must not wait."""

    def check_trading(self, endpoint: str) -> None:
        """Raise unless calls may be made over an endpoint."""

    def trading_link(self, endpoint: str) -> Connection:
        """Return the endpoint's connection; made now, if there is none."""

    def trading_links(self) -> list[Connection]:
        """Return the connections there are."""

    def exchange_ms(self) -> float:
        """Return OKX's time, Unix ms."""


class CallFuture(concurrent.futures.Future[Any]):
    """The outcome of a call that was not waited for. On a link's own thread it can be looked at, not waited for."""

    def __init__(self, guard: Callable[[], None]) -> None:
        super().__init__()
        self._guard = guard
        self.set_running_or_notify_cancel()  # what was sent cannot be cancelled: `cancel_order` is a call of its own

    def result(self, timeout: float | None = None) -> Any:
        """Return the outcome, or raise its error; waits for it, `timeout` seconds at the most."""
        if not self.done():
            self._guard()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, None if there was none; waits for the outcome, `timeout` seconds at the most."""
        if not self.done():
            self._guard()
        return super().exception(timeout)


@dataclass
class Request:
    """One call, checked.

    Attributes:
        word: OKX's word for the operation.
        orders: What it is about, without the codes of instruments.
        until: When its time is up (monotonic).
        read: Makes its value of a reply, or raises.
        op: What is known about the operation; None if nothing is.
        expTime: OKX shall not carry it out later than this, Unix ms.
        check: Look at ticks and lots.
        sent: What went over the wire.
    """

    word: str
    orders: list[dict[str, Any]]
    until: float
    read: Callable[[Mapping[str, Any]], Any]
    op: Op | None = None
    expTime: str | None = None
    check: bool = False
    sent: list[dict[str, Any]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Where it is sent."""
        if self.op is not None:
            return self.op.endpoint
        return "business" if self.word.startswith("sprd-") else "private"

    @property
    def names(self) -> list[str]:
        """The clOrdId of each order, where it has one."""
        return [str(order.get("clOrdId", "")) for order in self.orders]


class OrderEntry:
    """Makes calls for one manager; thread-safe.

    Args:
        host: The manager.
        rest: For instruments, and for outcomes that are not known.
        worker: Runs what must not hold up a caller.
        report: Told what a user's function has raised that was called with an outcome.
        limits: Whether, and how, calls are held back.
        prefix: Begins each clOrdId that is made here.
    """

    def __init__(
        self,
        host: Host,
        rest: RestClient,
        worker: RestWorker,
        report: Callable[[Callable[..., object], BaseException], None],
        limits: Limits,
        prefix: str = "",
    ) -> None:
        self._host = host
        self._rest = rest
        self._worker = worker
        self._report = report
        self._limits = limits
        self._prefix = prefix
        self.instruments = Instruments(rest)
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self._lock = threading.RLock()
        #: Calls whose instrument is being asked for.
        self._preparing: set[CallFuture] = set()
        self._stopped = False
        #: When the worker looks at calls whose time is up (monotonic).
        self._look_at = float("inf")

    # ------------------------------------------------------------------ requests, before anything is sent

    def single(
        self, word: str, order: Mapping[str, Any], timeout: float, expTime: object = None, check: bool = False
    ) -> Request:
        """Return the request for one order.

        Raises:
            UsageError: It cannot be right.
        """
        op, until = OPS[word], _until(timeout)
        checked = [self._checked(op, order)]
        return Request(word, checked, until, only_result, op, expiry_of(word, expTime), _check_flag(check, checked))

    def batch(self, word: str, orders: object, timeout: float, expTime: object = None, check: bool = False) -> Request:
        """Return the request for 1 to 20 orders.

        Raises:
            UsageError: One of them cannot be right; the text says which.
        """
        op, until = OPS[word], _until(timeout)
        if not isinstance(orders, Sequence) or isinstance(orders, str) or not 1 <= len(orders) <= MOST_ORDERS:
            told = f"{len(orders)} of them" if isinstance(orders, Sequence) else repr(orders)
            raise UsageError(f"{op.method}s takes a list of 1 to {MOST_ORDERS} orders, not {told}")
        checked = []
        for number, order in enumerate(orders):
            try:
                checked.append(self._checked(op, order))
            except UsageError as exc:
                raise UsageError(f"orders[{number}]: {exc}") from exc
        names = [order["clOrdId"] for order in checked if "clOrdId" in order]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None and op.kind == "place":
            raise UsageError(f"two orders of one batch have the clOrdId {twice!r}")
        read = partial(results_of, n=len(checked))
        return Request(op.batch, checked, until, read, op, expiry_of(word, expTime), _check_flag(check, checked))

    def any(self, word: object, args: object, timeout: float, expTime: object = None) -> Request:
        """Return the request for any operation.

        Raises:
            UsageError: It is none, or its args cannot be right.
        """
        if not isinstance(word, str) or not word.isascii() or not word:
            raise UsageError(f"op must be OKX's word for an operation, such as 'order', not {word!r}")
        if word in NOT_CALLS:
            raise UsageError(f"{word!r} is no call: the manager has a method for it, or does it by itself")
        if not isinstance(args, Sequence) or isinstance(args, str) or not args:
            raise UsageError(f"args must be a non-empty list of dicts, not {args!r}")
        op, until = OPS.get(word) or BATCHES.get(word), _until(timeout)
        if op is not None:
            orders = [self._checked(op, order) for order in args]
        elif all(isinstance(arg, Mapping) for arg in args):
            orders = [plain_of(f"args[{number}]", arg) for number, arg in enumerate(args)]
        else:
            raise UsageError(f"args must be a non-empty list of dicts, not {args!r}")
        read = partial(whole_reply, n=len(orders))
        return Request(word, orders, until, read, op, expiry_of(word, expTime))

    def _checked(self, op: Op, order: object) -> dict[str, Any]:
        checked = check_order(op, order)
        if op.kind == "place" and "clOrdId" not in checked:
            checked["clOrdId"] = self.new_clOrdId()
        return checked

    def new_clOrdId(self) -> str:
        """Return a name that no other order has: the prefix, and 63 bits of chance in decimal.

        OKX's channel ``fills`` tells a clOrdId only if it is a positive 64-bit number: without a prefix, this is one.
        """
        return f"{self._prefix}{secrets.randbelow(2**63 - 1) + 1}"

    # ------------------------------------------------------------------ sending

    def run(self, request: Request) -> Any:
        """Send a request, wait for its reply, and return its value; blocks until `request.until`.

        Raises:
            OkxWsError: See the module's law.
        """
        self._host.check_may_block()
        self._host.check_trading(request.endpoint)
        for order in request.orders:
            if self._lacks_code(request, order):
                self.instruments.find(order["instId"], request.until)
        future = CallFuture(lambda: None)
        connection = self._launch(request, future)
        while not future.done():
            left = request.until - time.monotonic()
            if left <= -GRACE_S:  # the link's thread has the outcome, and is held up by a user's function
                raise self._unknown(request, OutcomeUnknown(f"no reply to {request.word} in time"), request.until)
            if left <= 0:
                connection.expire_calls()
            try:
                future.exception(max(0.01, min(left, SLICE_S)))
            except concurrent.futures.TimeoutError:
                continue
        return future.result()

    def result(self, request: Request) -> OrderResult:
        """As `run`, for one order."""
        found: OrderResult = self.run(request)
        return found

    def results(self, request: Request) -> list[OrderResult]:
        """As `run`, for a batch."""
        found: list[OrderResult] = self.run(request)
        return found

    def start(self, request: Request) -> CallFuture:
        """Send a request and return at once; nothing here waits for the network.

        Raises:
            OkxWsError: It cannot be sent at all.
        """
        self._host.check_trading(request.endpoint)
        future = CallFuture(self._host.check_may_block)
        if any(self._lacks_code(request, order) for order in request.orders):
            with self._lock:
                self._preparing.add(future)
            self._worker.submit(partial(self._prepare, request, future))
            if self._stopped:  # meanwhile: the worker may have dropped it
                self.stop()
        else:
            self._launch(request, future)
            self._watch(request.until)
        return future

    def _prepare(self, request: Request, future: CallFuture) -> None:
        """On the worker: have the codes, then send."""
        error: OkxWsError | None = None
        try:
            for order in request.orders:
                if self._lacks_code(request, order):
                    self.instruments.find(order["instId"], request.until)
            self._host.check_trading(request.endpoint)
            with self._lock:
                self._preparing.discard(future)
            if not future.done():
                self._launch(request, future)
                self._watch(request.until)
        except OkxWsError as exc:
            error = exc
        if error is not None:
            self._finish(future, error)

    def _lacks_code(self, request: Request, order: Mapping[str, Any]) -> bool:
        """Tell whether the instrument of an order has to be asked for."""
        needed = request.op is not None and request.op.by_inst and "instId" in order
        return (
            needed and ("instIdCode" not in order or request.check) and self.instruments.known(order["instId"]) is None
        )

    def _launch(self, request: Request, future: CallFuture) -> Connection:
        """Put a request on its way; every code is known."""
        op = request.op
        request.sent = [self._wired(request, order) for order in request.orders]
        costs: Sequence[Cost] = ()
        if op is not None and self._limits.pace_orders:
            named = [{**order, **sent} for order, sent in zip(request.orders, request.sent, strict=True)]
            costs = costs_of(op, named, self._limits.orders_per_2s)
        done = partial(self._done, request, future)
        call = Call(request.word, request.sent, request.until, done, costs=costs, expTime=request.expTime)
        connection = self._host.trading_link(request.endpoint)
        connection.call(call)
        return connection

    def _wired(self, request: Request, order: dict[str, Any]) -> dict[str, Any]:
        """Return an order as it goes over the wire: an instrument by its code."""
        if request.op is None or not request.op.by_inst or "instId" not in order:
            return order
        row = self.instruments.known(order["instId"])
        if request.check and row is not None:
            check_steps(order, row)
        rest = {name: value for name, value in order.items() if name not in ("instId", "instIdCode")}
        if "instIdCode" in order:
            return {"instIdCode": order["instIdCode"], **rest}
        if row is None:  # forgotten this very moment
            raise UsageError(f"the instIdCode of {order['instId']} has just become invalid: try again")
        return {"instIdCode": row["instIdCode"], **rest}

    # ------------------------------------------------------------------ outcomes

    def _done(self, request: Request, future: CallFuture, call: Call, outcome: Outcome) -> None:
        """A call is over."""
        sent_at = call.sent_at if call.sent_at is not None else time.monotonic()
        try:
            value: Any = self._value(request, outcome)
        except OutcomeUnknown as exc:
            value = self._unknown(request, exc, sent_at)
        except OkxWsError as exc:
            value = exc
        self._finish(future, value)

    def _value(self, request: Request, outcome: Outcome) -> Any:
        if isinstance(outcome, ExchangeError) and outcome.code in UNKNOWN_CODES:
            raise OutcomeUnknown(f"OKX does not know what became of it ({outcome})", code=outcome.code)
        if isinstance(outcome, OkxWsError):
            raise outcome
        data = outcome.get("data")
        for order, row in zip(request.orders, data if isinstance(data, list) else [], strict=False):
            if isinstance(row, dict) and row.get("sCode") == "51001" and "instIdCode" not in order:
                self.instruments.doubt(str(order.get("instId")))
        return request.read(outcome)

    def _finish(self, future: CallFuture, value: Any) -> None:
        """Settle a future; the functions that its owner has hung on it run here."""
        try:
            if isinstance(value, OkxWsError):
                future.set_exception(value)
            else:
                future.set_result(value)
        except concurrent.futures.InvalidStateError:  # it was settled by the end of the manager
            pass
        except BaseException as exc:  # SystemExit, say: it must not end a thread of ours
            self._report(self._finish, exc)

    def _unknown(self, request: Request, error: OutcomeUnknown, sent_at: float) -> OutcomeUnknown:
        """Return an error that knows what it is about, and how to ask."""
        ask = partial(self._resolve, request, sent_at)
        return OutcomeUnknown(str(error.args[0]), [name for name in request.names if name], error.code, ask)

    def _resolve(self, request: Request, sent_at: float, timeout: float) -> Resolution | list[Resolution]:
        until = time.monotonic() + positive("timeout", timeout)
        found = []
        for order in request.orders:
            instId = order.get("instId") or self.instruments.name_of(order.get("instIdCode", 0))
            kind = request.op.kind if request.op is not None else request.word
            spread = request.word.startswith("sprd-")
            doubt = Doubt(kind, order, instId, spread, sent_at, request.expTime)
            left = max(0.001, until - time.monotonic())
            found.append(resolve(doubt, self._rest, self._host.exchange_ms, left))
        return found[0] if len(found) == 1 and request.word not in BATCHES else found

    # ------------------------------------------------------------------ time, and the end

    def _watch(self, until: float) -> None:
        """See that a call nobody waits for ends in time, though there may be no link whose thread would see to it."""
        with self._lock:
            if until >= self._look_at:
                return
            self._look_at = until
        self._worker.submit(self._expire, max(0.0, until - time.monotonic()))

    def _expire(self) -> None:
        with self._lock:
            self._look_at = float("inf")
        due = min((link.expire_calls() for link in self._host.trading_links()), default=float("inf"))
        if due < float("inf"):
            self._watch(due)

    def stop(self) -> None:
        """The manager closes: what has not come to a link yet never will."""
        with self._lock:
            self._stopped = True
            preparing, self._preparing = self._preparing, set()
        for future in preparing:
            self._finish(future, ManagerClosed("the manager is closed"))


def _until(timeout: float) -> float:
    return time.monotonic() + positive("timeout", timeout)


def _check_flag(check: object, orders: Sequence[Mapping[str, Any]]) -> bool:
    if not isinstance(check, bool):
        raise UsageError(f"check must be True or False, not {check!r}")
    if check and not all("instId" in order for order in orders):
        raise UsageError("check=True needs the instId: ticks and lots are listed by it")
    return check
