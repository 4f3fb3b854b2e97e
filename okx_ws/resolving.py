"""What became of an order whose reply never came: asked over REST, until that is certain or the time is up.

Law. Nothing is sent again, and nothing is concluded that was not seen. That an order is there proves that it was
placed. That it is not there proves nothing while it may still be under way (only an ``expTime`` that has passed does),
and nothing any more once OKX may have forgotten it. One that its own question does not find is looked for among the
orders that are over. One that is older than the call is another one: a clOrdId is unique among live orders only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from .config import positive
from .errors import ConnectionLost, RestError, UsageError
from .net.rest_client import RestClient
from .protocol.orders import instType_of

__all__ = ["Doubt", "Resolution", "resolve"]

#: An order that is not there so long after it was sent is told as not placed; OKX takes milliseconds.
SETTLED_S = 3.0

#: Between two questions.
PAUSE_S = 0.25

#: OKX's clock must be so much past an expTime: ours is only known to be near it.
EXPIRED_MS = 1000

#: OKX forgets orders that were canceled without a fill after two hours (docs, "Get order details").
FORGOTTEN_S = 7200.0

#: An order was made at this time by OKX's clock, as far as ours is known to be near it.
SKEW_MS = 5000

HISTORY = "/api/v5/trade/orders-history"

OVER = ("filled", "canceled", "mmp_canceled")
ABSENT = "51603"


@dataclass(frozen=True)
class Resolution:
    """What became of one order (or of one change, or cancellation, of it).

    Attributes:
        state: ``"done"``: it was carried out; ``"not_done"``; ``"unknown"``.
        certain: It was proven. A ``not_done`` that is not certain was not carried out as far as can be seen some
            seconds after it was sent; only an ``expTime`` given with the order makes its absence a proof.
        order: The order as REST has it, a dict; None if it is not there.
        msg: A text for people: what was seen.
    """

    state: Literal["done", "not_done", "unknown"]
    certain: bool
    order: Mapping[str, Any] | None
    msg: str


@dataclass(frozen=True)
class Doubt:
    """One order whose outcome is asked for.

    Attributes:
        kind: ``"place"``, ``"amend"``, ``"cancel"``, ``"mass"``, or another op's word.
        order: As it was sent.
        instId: Its instrument; None if only a code is known, or for spreads.
        spread: It is a spread order.
        sent_at: When, or later (monotonic).
        made_at: When the call was made, which is not after it was sent (monotonic).
        expTime: OKX was not to carry it out later than this, Unix ms.
    """

    kind: str
    order: Mapping[str, Any]
    instId: str | None
    spread: bool
    sent_at: float
    made_at: float
    expTime: str | None


def resolve(doubt: Doubt, rest: RestClient, now_ms: Callable[[], float], timeout: float) -> Resolution:
    """Ask until it is certain, or cannot become so; blocks, `timeout` seconds at the most.

    Raises:
        UsageError, ManagerClosed: It cannot be asked from here, or not any more.
    """
    until = time.monotonic() + positive("timeout", timeout)
    if doubt.kind not in ("place", "amend", "cancel"):
        return Resolution("unknown", False, None, "look at ws.rest.orders_pending(): this is not about one order")
    if doubt.instId is None and not doubt.spread:
        return Resolution("unknown", False, None, "REST asks by instId, and only the instIdCode is known")
    found = Resolution("unknown", False, None, "REST gave no answer in time")
    looked = doubt.spread  # whose history has another address
    while (left := until - time.monotonic()) > 0:
        try:
            found = judge(doubt, _ask(doubt, rest, left), now_ms(), time.monotonic())
            if found.order is None and not looked and (found.state == "unknown" or _is_end(found, doubt)):
                row = _in_history(doubt, rest, now_ms(), until)
                looked = True
                found = found if row is None else judge(doubt, row, now_ms(), time.monotonic())
        except (ConnectionLost, RestError) as exc:
            if found.state == "unknown":
                found = Resolution("unknown", False, None, f"REST could not say: {exc}")
        if _is_end(found, doubt):
            break
        threading.Event().wait(min(PAUSE_S, max(0.0, until - time.monotonic())))
    return found


def _is_end(found: Resolution, doubt: Doubt) -> bool:
    """Tell whether nothing else is to be expected."""
    return found.certain or (found.state == "not_done" and time.monotonic() >= doubt.sent_at + SETTLED_S)


def _in_history(doubt: Doubt, rest: RestClient, now_ms: float, until: float) -> Mapping[str, Any] | None:
    """Return the order from those that are over; None if it is not among them, or its name does not say where."""
    which = _which(doubt)
    place: dict[str, Any] = {"instId": doubt.instId}
    if str(which.get("ordId", "")).isdecimal():
        place |= {"after": str(int(which["ordId"]) + 1), "limit": "1"}
    elif doubt.kind == "place":
        place["begin"] = _earliest_ms(doubt, now_ms, time.monotonic())
    try:
        instType, _ = instType_of(str(doubt.instId))
    except UsageError:
        return None
    for name in (instType, "MARGIN") if instType == "SPOT" and doubt.order.get("tdMode") != "cash" else (instType,):
        rows = rest.get(HISTORY, timeout=max(0.001, until - time.monotonic()), instType=name, **place)
        for row in rows:
            if isinstance(row, dict) and all(row.get(name) == value for name, value in which.items()):
                return row
    return None


def _earliest_ms(doubt: Doubt, now_ms: float, now: float) -> int:
    """Return the time (Unix ms) before which OKX cannot have made an order of this call."""
    return int(now_ms - 1000 * (now - doubt.made_at)) - SKEW_MS


def _which(doubt: Doubt) -> dict[str, Any]:
    return {name: doubt.order[name] for name in ("ordId", "clOrdId") if name in doubt.order}


def _ask(doubt: Doubt, rest: RestClient, timeout: float) -> Mapping[str, Any] | None:
    """Return the order; None if OKX has none of that name."""
    which = _which(doubt)
    try:
        if doubt.spread:
            rows = rest.get("/api/v5/sprd/order", timeout=timeout, **which)
        else:
            rows = rest.order(str(doubt.instId), timeout=timeout, **which)
    except RestError as exc:
        if exc.code == ABSENT:
            return None
        raise
    return rows[0] if rows else None


def judge(doubt: Doubt, row: Mapping[str, Any] | None, now_ms: float, now: float) -> Resolution:
    """Return what an answer of REST's says; `row` is the order, None if there is none."""
    if doubt.kind == "place":
        made_ms = str(row.get("cTime", "")) if row is not None else ""
        if made_ms.isdecimal() and int(made_ms) < _earliest_ms(doubt, now_ms, now):
            return Resolution("unknown", False, row, "the newest order of this name is an earlier one")
        if row is not None:
            return Resolution("done", True, row, f"the order is there: {row.get('state')}")
        if now > doubt.sent_at + FORGOTTEN_S:
            return Resolution("unknown", False, None, "there is no such order, and OKX may have forgotten it by now")
        if doubt.expTime is not None and now_ms > int(doubt.expTime) + EXPIRED_MS:
            return Resolution("not_done", True, None, "there is no such order, and its expTime has passed")
        waited = now - doubt.sent_at
        return Resolution("not_done", False, None, f"there is no such order, {waited:.1f} s after it was sent")
    if row is None:
        return Resolution("unknown", False, None, "there is no such order")
    state = row.get("state")
    if doubt.kind == "cancel" and state != "filled" and state in OVER:
        return Resolution("done", True, row, "the order is cancelled")
    amended = _is_amended(doubt.order, row) if doubt.kind == "amend" else False
    if amended:
        return Resolution("done", True, row, "the order has what was asked for")
    if amended is None:
        return Resolution("unknown", False, row, f"the order is {state}, and does not show what was to be changed")
    if state in OVER:
        return Resolution("not_done", True, row, f"the order is {state}")
    return Resolution("not_done", False, row, f"the order is {state}, as before")


def _is_amended(order: Mapping[str, Any], row: Mapping[str, Any]) -> bool | None:
    """Tell whether an order was changed so; None if it does not show it.

    With the amendResult "1", the change has failed, and the order was canceled for that.
    """
    if "reqId" in order and row.get("reqId") == order["reqId"]:
        return row.get("amendResult") == "0"
    asked = {"newSz": "sz", "newPx": "px", "newPxUsd": "pxUsd", "newPxVol": "pxVol"}
    pairs = [(order[name], row.get(known)) for name, known in asked.items() if name in order]
    return all(_same(one, other) for one, other in pairs) if pairs else None


def _same(one: object, other: object) -> bool:
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except InvalidOperation:
        return False
