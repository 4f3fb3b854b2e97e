"""`Trading`: what a manager can do with orders, over the socket. The names; `OrderEntry` does the work."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .config import GIVE_A_KEY
from .errors import UsageError
from .net.lines import Lines
from .order_entry import CallFuture, Host, OrderEntry
from .order_requests import RequestMaker
from .protocol.replies import OrderResult
from .switchboard import Tap
from .wiring import Wiring

__all__ = ["Trading"]

#: Seconds for one call, with everything: the instrument's code, the link, the login, OKX's limits, the reply.
TIMEOUT_S = 5.0

#: Leaves room for 63 bits in decimal.
PREFIX = re.compile(r"[0-9A-Za-z]{0,12}")

#: One value of an order. No floats: a float is not exactly the number that was meant.
Value = str | int | Decimal | bool | list[dict[str, Any]] | None
Order = Mapping[str, Any]


def check_prefix(prefix: object) -> str:
    """Return `prefix` if each clOrdId can begin with it; raise `UsageError` otherwise."""
    if not isinstance(prefix, str) or not PREFIX.fullmatch(prefix):
        raise UsageError(f"order_prefix must be up to 12 letters and digits, not {prefix!r}")
    return prefix


class SpreadTrading:
    """Spread orders; they go to /business. See `Trading`."""

    _order_entry: OrderEntry
    _order_requests: RequestMaker

    def place_spread_order(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, **order: Value
    ) -> OrderResult:
        """Place a spread order: ``sprdId``, ``side``, ``ordType``, ``sz``, ``px``; as `Trading.place_order`."""
        return self._order_entry.result(self._order_requests.single("sprd-order", order, timeout, expTime))

    def place_spread_order_nowait(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, **order: Value
    ) -> CallFuture:
        """As `place_spread_order`; returns a Future at once."""
        return self._order_entry.start(self._order_requests.single("sprd-order", order, timeout, expTime))

    def cancel_spread_order(self, *, timeout: float = TIMEOUT_S, **order: Value) -> OrderResult:
        """Cancel a spread order, named by ``ordId`` or ``clOrdId``; as `Trading.cancel_order`."""
        return self._order_entry.result(self._order_requests.single("sprd-cancel-order", order, timeout))

    def cancel_spread_order_nowait(self, *, timeout: float = TIMEOUT_S, **order: Value) -> CallFuture:
        """As `cancel_spread_order`; returns a Future at once."""
        return self._order_entry.start(self._order_requests.single("sprd-cancel-order", order, timeout))

    def amend_spread_order(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, **order: Value
    ) -> OrderResult:
        """Change a spread order: ``ordId`` or ``clOrdId``, ``newSz``, ``newPx``; as `Trading.amend_order`."""
        return self._order_entry.result(self._order_requests.single("sprd-amend-order", order, timeout, expTime))

    def amend_spread_order_nowait(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, **order: Value
    ) -> CallFuture:
        """As `amend_spread_order`; returns a Future at once."""
        return self._order_entry.start(self._order_requests.single("sprd-amend-order", order, timeout, expTime))

    def mass_cancel_spread_orders(self, sprdId: str | None = None, *, timeout: float = TIMEOUT_S) -> OrderResult:
        """Cancel all spread orders, or all of one spread."""
        return self._order_entry.result(self._order_requests.single("sprd-mass-cancel", {"sprdId": sprdId}, timeout))

    def mass_cancel_spread_orders_nowait(self, sprdId: str | None = None, *, timeout: float = TIMEOUT_S) -> CallFuture:
        """As `mass_cancel_spread_orders`; returns a Future at once."""
        return self._order_entry.start(self._order_requests.single("sprd-mass-cancel", {"sprdId": sprdId}, timeout))


class Trading(SpreadTrading, Wiring):
    """Orders over the socket, for any thread.

    Each call sends one request, once, and blocks for its reply, `timeout` seconds at the most, everything included: the
    instrument's code, the link, the login, OKX's limits. Each ends in one of three ways, and says which:

    * It returns: OKX has accepted the order (what becomes of it is told on the channel ``orders``, maybe before).
    * It raises what says that the order was certainly not carried out: `OrderRejected` (OKX's reasons), `ExchangeError`
      (OKX could not make sense of the request), `LoginError`, `ConnectionLost` or `ManagerClosed` (it was never sent),
      `RestError` (the instrument's code could not be had), `UsageError` (it cannot be right; nothing was sent).
    * It raises `OutcomeUnknown`: it was sent, and no reply came, or OKX does not know. Its ``resolve()`` asks.

    Fields are OKX's, by its names. Values are str, int, Decimal or bool, and are sent as exact texts; None leaves one
    out; floats are refused. An instrument is named by its instId, whose code OKX is asked for once, or by instIdCode.
    Each order gets a clOrdId, if it has none.

    With ``_nowait``, a call returns a `concurrent.futures.Future` at once and never waits for anything. What it ends
    with is its result, or its exception; functions that are added to it run on a thread of the library's, mostly the
    link's own, and must return quickly. It cannot be cancelled: cancel the order.

    Source: OKX v5 docs, "WS / Place order" and its siblings, read June 2026.
    """

    def _prepare_trading(self, prefix: str) -> None:
        """Set up; nothing is connected and no thread started."""
        self._order_requests = RequestMaker(check_prefix(prefix))
        host = Host(
            self.check_may_block,
            self._check_trading,
            self._trading_lines,
            lambda: list(self._lines.values()),
            self._exchange_ms,
        )
        report, limits = self._reporter.handler_error, self._settings.limits
        self._order_entry = OrderEntry(host, self._rest, self._worker, report, limits)
        self._instruments_heard = False

    # ------------------------------------------------------------------ single orders

    def place_order(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, check: bool = False, **order: Value
    ) -> OrderResult:
        """Place an order: ``place_order(instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", sz="1", px=…)``.

        Args:
            timeout: Seconds.
            expTime: OKX refuses it when it comes later than this, Unix ms.
            check: Refuse a price or size here that is no whole number of the instrument's ticks or lots.
            **order: OKX's fields: ``instId`` (or ``instIdCode``), ``tdMode``, ``side``, ``ordType``, ``sz``, mostly
                ``px``; ``clOrdId``, ``tag``, ``posSide``, ``reduceOnly``, ``tgtCcy`` and more.

        Returns:
            The order's row of the reply, a dict as OKX sent it, with ``ordId`` and ``clOrdId``.

        Raises:
            OrderRejected, ExchangeError, OutcomeUnknown, ConnectionLost, LoginError, RestError, ManagerClosed,
            UsageError: See the class.
        """
        return self._order_entry.result(self._order_requests.single("order", order, timeout, expTime, check))

    def place_order_nowait(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, check: bool = False, **order: Value
    ) -> CallFuture:
        """As `place_order`; returns a Future of its row at once."""
        return self._order_entry.start(self._order_requests.single("order", order, timeout, expTime, check))

    def cancel_order(self, *, timeout: float = TIMEOUT_S, **order: Value) -> OrderResult:
        """Cancel an order: ``cancel_order(instId="BTC-USDT", clOrdId="mine")``, or by ``ordId``.

        That it is accepted does not mean that the order is cancelled: the channel ``orders`` tells.
        """
        return self._order_entry.result(self._order_requests.single("cancel-order", order, timeout))

    def cancel_order_nowait(self, *, timeout: float = TIMEOUT_S, **order: Value) -> CallFuture:
        """As `cancel_order`; returns a Future of its row at once."""
        return self._order_entry.start(self._order_requests.single("cancel-order", order, timeout))

    def amend_order(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, check: bool = False, **order: Value
    ) -> OrderResult:
        """Change an order: ``amend_order(instId="BTC-USDT", clOrdId="mine", newPx="60000")``, or by ``ordId``.

        ``newSz`` is the whole size, with what is filled. ``reqId`` names the change on the channel ``orders``.
        """
        return self._order_entry.result(self._order_requests.single("amend-order", order, timeout, expTime, check))

    def amend_order_nowait(
        self, *, timeout: float = TIMEOUT_S, expTime: str | int | None = None, check: bool = False, **order: Value
    ) -> CallFuture:
        """As `amend_order`; returns a Future of its row at once."""
        return self._order_entry.start(self._order_requests.single("amend-order", order, timeout, expTime, check))

    # ------------------------------------------------------------------ several at once

    def place_orders(
        self,
        orders: list[Order],
        *,
        timeout: float = TIMEOUT_S,
        expTime: str | int | None = None,
        check: bool = False,
    ) -> list[OrderResult]:
        """Place 1 to 20 orders in one request; each a dict of OKX's fields, as for `place_order`.

        Returns:
            A row for each, in the order of `orders`: `OrderResult.ok` tells whether it was accepted. That some, or all,
            were refused raises nothing.
        """
        return self._order_entry.results(self._order_requests.batch("order", orders, timeout, expTime, check))

    def place_orders_nowait(
        self,
        orders: list[Order],
        *,
        timeout: float = TIMEOUT_S,
        expTime: str | int | None = None,
        check: bool = False,
    ) -> CallFuture:
        """As `place_orders`; returns a Future of the rows at once."""
        return self._order_entry.start(self._order_requests.batch("order", orders, timeout, expTime, check))

    def cancel_orders(self, orders: list[Order], *, timeout: float = TIMEOUT_S) -> list[OrderResult]:
        """Cancel 1 to 20 orders in one request; as `place_orders`."""
        return self._order_entry.results(self._order_requests.batch("cancel-order", orders, timeout))

    def cancel_orders_nowait(self, orders: list[Order], *, timeout: float = TIMEOUT_S) -> CallFuture:
        """As `cancel_orders`; returns a Future of the rows at once."""
        return self._order_entry.start(self._order_requests.batch("cancel-order", orders, timeout))

    def amend_orders(
        self,
        orders: list[Order],
        *,
        timeout: float = TIMEOUT_S,
        expTime: str | int | None = None,
        check: bool = False,
    ) -> list[OrderResult]:
        """Change 1 to 20 orders in one request; as `place_orders`."""
        return self._order_entry.results(self._order_requests.batch("amend-order", orders, timeout, expTime, check))

    def amend_orders_nowait(
        self,
        orders: list[Order],
        *,
        timeout: float = TIMEOUT_S,
        expTime: str | int | None = None,
        check: bool = False,
    ) -> CallFuture:
        """As `amend_orders`; returns a Future of the rows at once."""
        return self._order_entry.start(self._order_requests.batch("amend-order", orders, timeout, expTime, check))

    def mass_cancel(self, *, timeout: float = TIMEOUT_S, **which: Value) -> OrderResult:
        """Cancel the market maker's orders of an option family: ``instType="OPTION"``, ``instFamily="BTC-USD"``."""
        return self._order_entry.result(self._order_requests.single("mass-cancel", which, timeout))

    def mass_cancel_nowait(self, *, timeout: float = TIMEOUT_S, **which: Value) -> CallFuture:
        """As `mass_cancel`; returns a Future at once."""
        return self._order_entry.start(self._order_requests.single("mass-cancel", which, timeout))

    # ------------------------------------------------------------------ anything else

    def request(
        self, op: str, args: list[Order], timeout: float = TIMEOUT_S, *, expTime: str | int | None = None
    ) -> dict[str, Any]:
        """Send any operation that OKX answers with a reply, and return that reply, a dict as OKX sent it.

        Args:
            op: OKX's word: ``"order"``, ``"batch-orders"``, … Those that are known here are checked as the methods do.
            args: Dicts of OKX's fields.
            timeout: Seconds.
            expTime: OKX refuses it when it comes later than this, Unix ms.

        Raises:
            OrderRejected: OKX refused it as a whole, or the only arg in it.
            UsageError, OutcomeUnknown and the like: See the class.
        """
        return dict(self._order_entry.run(self._order_requests.any(op, args, timeout, expTime)))

    def request_nowait(
        self, op: str, args: list[Order], timeout: float = TIMEOUT_S, *, expTime: str | int | None = None
    ) -> CallFuture:
        """As `request`; returns a Future of the reply at once."""
        return self._order_entry.start(self._order_requests.any(op, args, timeout, expTime))

    # ------------------------------------------------------------------ for `OrderEntry`

    def _check_trading(self, endpoint: str) -> None:
        """Raise unless calls may be made over an endpoint."""
        self._check_open()
        if not self._credentials:
            raise UsageError(f"orders need a login: {GIVE_A_KEY}")
        if self._settings.overflow == "block":
            raise UsageError('overflow="block" is refused with orders: a full queue must not hold up their replies')
        self._check_link(endpoint, True)

    def _trading_lines(self, endpoint: str) -> Lines:
        """Return an endpoint's lines; made now, if there are none."""
        lines = self._lines.get(endpoint)
        if lines is not None and self._instruments_heard:
            return lines
        with self._manager_lock:
            self._check_open()
            if not self._instruments_heard:
                self._instruments_heard = True
                self._switchboard.add_tap("instruments", {}, Tap(self._hear_instruments))
                self._reconnect_outlets()
            if endpoint not in self._lines:
                self._lines[endpoint] = self._connect(endpoint)
            return self._lines[endpoint]

    def _exchange_ms(self) -> float:
        """Return OKX's time as far as it is known, Unix ms."""
        clock = self._clock
        return 1000 * (clock.now_s() if clock is not None else time.time_ns() / 1e9)

    def _hear_instruments(self, message: dict[str, Any]) -> bool:
        """Take note of what the channel ``instruments`` tells, on the link's thread; nothing is waited for."""
        rows = message["data"]
        self._order_entry.instruments.heard(row for row in rows if isinstance(row, dict))
        return False
