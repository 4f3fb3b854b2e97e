"""Requests to OKX about orders: made of what users say, checked, and with a name for each new order.

Law. A request that cannot be right is not made; nothing has been sent, looked up or opened by then.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .config import positive
from .errors import UsageError
from .protocol.orders import BATCHES, MOST_ORDERS, OPS, Op, check_order, expiry_of
from .protocol.replies import only_result, results_of, whole_reply
from .protocol.rest import plain_of

__all__ = ["Request", "RequestMaker"]

#: Subscriptions have methods of their own; logins are the manager's.
NOT_CALLS = ("login", "subscribe", "unsubscribe")


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
        made_at: When it was made (monotonic).
    """

    word: str
    orders: list[dict[str, Any]]
    until: float
    read: Callable[[Mapping[str, Any]], Any]
    op: Op | None = None
    expTime: str | None = None
    check: bool = False
    sent: list[dict[str, Any]] = field(default_factory=list)
    made_at: float = field(default_factory=time.monotonic)

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


class RequestMaker:
    """Makes requests.

    Args:
        prefix: Begins each clOrdId that is made here.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

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


def _until(timeout: float) -> float:
    return time.monotonic() + positive("timeout", timeout)


def _check_flag(check: object, orders: Sequence[Mapping[str, Any]]) -> bool:
    if not isinstance(check, bool):
        raise UsageError(f"check must be True or False, not {check!r}")
    if check and not all("instId" in order for order in orders):
        raise UsageError("check=True needs the instId: ticks and lots are listed by it")
    return check
