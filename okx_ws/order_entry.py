"""`OrderEntry`: from a call such as `place_order` to its outcome. What `Trading` and its names stand on.

Law. A call ends in one of three ways, and says which: its reply; an error after which it has certainly not been carried
out (`UsageError`, `OrderRejected`, `ExchangeError`, `LoginError`, `ConnectionLost`, `ManagerClosed`); or
`OutcomeUnknown`, after which it may have been. Nothing is ever sent again. Checks, the instrument's code, the link, the
login and OKX's limits all share the call's one deadline; the reply is matched by its id.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from .config import Limits, positive
from .delivery import SLICE_S
from .errors import ConnectionLost, ExchangeError, ManagerClosed, OkxWsError, OutcomeUnknown, UsageError
from .net.instruments import Instruments
from .net.lines import Lines
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .order_requests import Request
from .protocol.calls import Call, Outcome
from .protocol.codes import UNKNOWN_CODES
from .protocol.orders import BATCHES, check_steps, costs_of
from .protocol.replies import OrderResult
from .protocol.windows import Cost
from .resolving import Doubt, Resolution, resolve

__all__ = ["CallFuture", "Host", "OrderEntry"]

log = logging.getLogger(__name__)

#: A call's end is told by the link's thread; if that is busy with a user's function, it is not waited for longer.
GRACE_S = 1.0


class Host(NamedTuple):
    """What the manager does for `OrderEntry`.

    Attributes:
        check_may_block: Raises `UsageError` on a thread that must not wait.
        check: Raises unless calls may be made over an endpoint.
        lines: Returns the lines of an endpoint; made now, if there are none.
        all_lines: Returns those there are.
        now_ms: Returns OKX's time, Unix ms.
    """

    check_may_block: Callable[[], None]
    check: Callable[[str], None]
    lines: Callable[[str], Lines]
    all_lines: Callable[[], list[Lines]]
    now_ms: Callable[[], float]


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


class OrderEntry:
    """Makes calls for one manager; thread-safe.

    Args:
        host: The manager.
        rest: For instruments, and for outcomes that are not known.
        worker: Runs what must not hold up a caller.
        report: Told what a user's function has raised that was called with an outcome.
        limits: Whether, and how, calls are held back.
    """

    def __init__(
        self,
        host: Host,
        rest: RestClient,
        worker: RestWorker,
        report: Callable[[Callable[..., object], BaseException], None],
        limits: Limits,
    ) -> None:
        self._host = host
        self._rest = rest
        self._worker = worker
        self._report = report
        self._limits = limits
        self.instruments = Instruments(rest)
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self._lock = threading.RLock()
        #: Calls whose instrument is being asked for.
        self._preparing: set[CallFuture] = set()
        self._stopped = False
        #: When the worker looks at calls whose time is up (monotonic).
        self._look_at = float("inf")

    # ------------------------------------------------------------------ sending

    def run(self, request: Request) -> Any:
        """Send a request, wait for its reply, and return its value; blocks until `request.until`.

        Raises:
            OkxWsError: See the module's law.
        """
        self._host.check_may_block()
        self._host.check(request.endpoint)
        for order in request.orders:
            if self._lacks_code(request, order):
                self.instruments.find(order["instId"], request.until)
        future = CallFuture(lambda: None)
        lines = self._launch(request, future)
        while not future.done():
            left = request.until - time.monotonic()
            if left <= -GRACE_S:  # the link's thread has the outcome, and is held up by a user's function
                raise self._unknown(request, OutcomeUnknown(f"no reply to {request.word} in time"), request.until)
            if left <= 0:
                lines.expire_calls()
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
        self._host.check(request.endpoint)
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
            self._host.check(request.endpoint)
            with self._lock:
                self._preparing.discard(future)
            if not future.done():
                self._launch(request, future)
                self._watch(request.until)
        except OkxWsError as exc:
            error = exc
        except Exception as exc:  # a bug of ours must have an end, too: somebody waits for it
            log.exception("%s could not be sent", request.word)
            unknown = OutcomeUnknown(f"it is not known whether it was sent: {exc!r}")
            error = self._unknown(request, unknown, time.monotonic())
        if error is not None:
            self._finish(future, error)

    def _lacks_code(self, request: Request, order: Mapping[str, Any]) -> bool:
        """Tell whether the instrument of an order has to be asked for."""
        needed = request.op is not None and request.op.by_inst and "instId" in order
        return (
            needed and ("instIdCode" not in order or request.check) and self.instruments.known(order["instId"]) is None
        )

    def _launch(self, request: Request, future: CallFuture) -> Lines:
        """Put a request on its way; every code is known."""
        op = request.op
        request.sent = [self._wired(request, order) for order in request.orders]
        costs: Sequence[Cost] = ()
        if op is not None and self._limits.pace_orders:
            named = [{**order, **sent} for order, sent in zip(request.orders, request.sent, strict=True)]
            costs = costs_of(op, named, self._limits.orders_per_2s)
        done = partial(self._done, request, future)
        call = Call(request.word, request.sent, request.until, done, costs=costs, expTime=request.expTime)
        lines = self._host.lines(request.endpoint)
        lines.call(call)
        return lines

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
        except ConnectionLost as exc:
            value = ConnectionLost(f"{exc}{self._why_unsent(request.endpoint)}")
        except OkxWsError as exc:
            value = exc
        except Exception as exc:  # a bug of ours must cost a call, not the link: others wait for their replies
            log.exception("the reply to %s could not be read", request.word)
            value = self._unknown(request, OutcomeUnknown(f"the reply could not be read: {exc!r}"), sent_at)
        self._finish(future, value)

    def _why_unsent(self, endpoint: str) -> str:
        """Return why a call was never sent, if that is not said already."""
        lines = next((lines for lines in self._host.all_lines() if lines.endpoint == endpoint), None)
        if lines is None or lines.failure is not None:
            return ""
        if not lines.up:
            return f": there is no {endpoint} link ({lines.last_error or 'not connected yet'})"
        return ": no room within OKX's limits" if lines.logged_in else f": the {endpoint} link is not logged in"

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
            doubt = Doubt(kind, order, instId, spread, sent_at, request.made_at, request.expTime)
            left = max(0.001, until - time.monotonic())
            try:
                found.append(resolve(doubt, self._rest, self._host.now_ms, left))
            except ManagerClosed as exc:
                asked = ", ".join(name for name in request.names if name) or "the order"
                raise ManagerClosed(f"{exc}: ask ws.rest.order of another one for {asked}") from exc
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
        due = min((lines.expire_calls() for lines in self._host.all_lines()), default=float("inf"))
        if due < float("inf"):
            self._watch(due)

    def stop(self) -> None:
        """The manager closes: what has not come to a link yet never will."""
        with self._lock:
            self._stopped = True
            preparing, self._preparing = self._preparing, set()
        for future in preparing:
            self._finish(future, ManagerClosed("the manager is closed"))
