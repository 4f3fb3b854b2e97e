"""Orders as OKX wants them: which operations there are, what belongs into each, and what it may cost. Pure.

Law. What is refused here cannot be right: a field that is missing, empty, a float, or spelled as something else. What
OKX alone can know (prices in range, balances, modes) is left to OKX. Source: OKX v5 docs, "WS / Place order" and its
siblings, read June 2026.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from ..errors import UsageError
from .rest import plain_of, text_of
from .windows import Cost

__all__ = ["BATCHES", "MOST_ORDERS", "OPS", "Op", "check_order", "check_steps", "costs_of", "expiry_of", "instType_of"]

#: Orders in one batch.
MOST_ORDERS = 20

#: What OKX calls the fields that people call otherwise.
NAMES = {
    "amount": "sz",
    "client_order_id": "clOrdId",
    "clientorderid": "clOrdId",
    "newprice": "newPx",
    "newsize": "newSz",
    "order_id": "ordId",
    "orderid": "ordId",
    "price": "px",
    "qty": "sz",
    "quantity": "sz",
    "size": "sz",
    "symbol": "instId",
    "type": "ordType",
}

PRICES = ("px", "pxUsd", "pxVol")
NEW_PRICES = ("newPx", "newPxUsd", "newPxVol")
WHICH = ("ordId", "clOrdId")

PLACE = frozenset(
    (
        *PRICES,
        *"""instId instIdCode tdMode ccy clOrdId tag side posSide ordType sz speedBump outcome reduceOnly tgtCcy
    banAmend pxAmendType tradeQuoteCcy slippagePct stpMode isElpTakerAccess rpiTakerAccess rpiPxRound
    attachAlgoOrds""".split(),
    )
)
AMEND = frozenset(
    (
        *NEW_PRICES,
        *WHICH,
        *"""instId instIdCode cxlOnFail reqId newSz pxAmendType speedBump isElpTakerAccess
    rpiTakerAccess attachAlgoOrds""".split(),
    )
)
CANCEL = frozenset(("instId", "instIdCode", *WHICH))
SPREAD_PLACE = frozenset("sprdId clOrdId tag side ordType sz px".split())
SPREAD_AMEND = frozenset((*WHICH, "reqId", "newSz", "newPx"))
MASS = frozenset(("instType", "instFamily", "lockInterval"))

EVERY_NAME = PLACE | AMEND | CANCEL | SPREAD_PLACE | SPREAD_AMEND | MASS

#: These have a price of their own making, or none.
UNPRICED = ("market", "optimal_limit_ioc")
#: These are known to need one; what OKX may invent is left to it.
PRICED = ("limit", "post_only", "fok", "ioc")

PATTERNS = {
    "clOrdId": (re.compile(r"[0-9A-Za-z]{1,32}"), "1 to 32 letters and digits, without hyphens"),
    "reqId": (re.compile(r"[0-9A-Za-z]{1,32}"), "1 to 32 letters and digits"),
    "tag": (re.compile(r"[0-9A-Za-z]{1,16}"), "1 to 16 letters and digits"),
    "side": (re.compile(r"buy|sell"), "'buy' or 'sell'"),
    "posSide": (re.compile(r"long|short|net"), "'long', 'short' or 'net'"),
}
#: Fields that are numbers; of a spread, a price may be less than 0.
NUMBERS = frozenset((*PRICES, *NEW_PRICES, "sz", "newSz"))
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Op(NamedTuple):
    """One of OKX's operations.

    Attributes:
        name: OKX's word for it.
        method: Ours, for errors.
        fields: What belongs into each of its orders.
        needed: What must.
        endpoint: Where it is sent.
        kind: ``"place"``, ``"amend"``, ``"cancel"`` or ``"mass"``.
        batch: OKX's word for it when it is about several orders.
        most, most_batch: How many orders OKX takes in 2 s, alone and in batches; for each instrument, if `by_inst`.
        by_inst: It is about an instrument, which is named by its code.
    """

    name: str
    method: str
    fields: frozenset[str]
    needed: tuple[str, ...]
    endpoint: str = "private"
    kind: str = "place"
    batch: str = ""
    most: int = 60
    most_batch: int = 300
    by_inst: bool = True


OPS = {
    op.name: op
    for op in (
        Op("order", "place_order", PLACE, ("tdMode", "side", "ordType", "sz"), batch="batch-orders"),
        Op("cancel-order", "cancel_order", CANCEL, (), kind="cancel", batch="batch-cancel-orders"),
        Op("amend-order", "amend_order", AMEND, (), kind="amend", batch="batch-amend-orders"),
        Op("mass-cancel", "mass_cancel", MASS, ("instType", "instFamily"), kind="mass", most=5, by_inst=False),
        Op(
            "sprd-order",
            "place_spread_order",
            SPREAD_PLACE,
            ("sprdId", "side", "ordType", "sz"),
            "business",
            most=20,
            by_inst=False,
        ),
        Op("sprd-cancel-order", "cancel_spread_order", frozenset(WHICH), (), "business", "cancel", "", 20, 0, False),
        Op("sprd-amend-order", "amend_spread_order", SPREAD_AMEND, (), "business", "amend", "", 20, 0, False),
        Op(
            "sprd-mass-cancel",
            "mass_cancel_spread_orders",
            frozenset({"sprdId"}),
            (),
            "business",
            "mass",
            "",
            5,
            0,
            False,
        ),
    )
}

#: The same by their words for several orders.
BATCHES = {op.batch: op for op in OPS.values() if op.batch}


# ---------------------------------------------------------------------------------------------------- checks


def check_order(op: Op, order: object) -> dict[str, Any]:
    """Return an order as it can be sent, but for its instrument's code: texts, flags and whole codes.

    Raises:
        UsageError: It cannot be right.
    """
    if not isinstance(order, Mapping):
        raise UsageError(f"{op.method}: an order must be a dict of OKX's fields, not {order!r}")
    for name in order:
        _check_name(op, name)
    checked = {name: _value(name, value) for name, value in order.items() if value is not None}
    missing = [name for name in op.needed if name not in checked]
    if missing:
        raise UsageError(f"{op.method} needs {' and '.join(missing)}")
    for name, (pattern, meant) in PATTERNS.items():
        if name in checked and not pattern.fullmatch(checked[name]):
            raise UsageError(f"{name} must be {meant}, not {checked[name]!r}")
    if op.by_inst and not ("instId" in checked or "instIdCode" in checked):
        raise UsageError(f"{op.method} needs an instId, or its instIdCode")
    if op.kind in ("cancel", "amend"):
        _exactly_one(op, checked, WHICH)
    if op.kind == "amend" and not any(name in checked for name in ("newSz", "attachAlgoOrds", *NEW_PRICES)):
        raise UsageError(f"{op.method} needs a newSz or a newPx: nothing would change")
    if op.kind == "place":
        _check_price(op, checked)
    return checked


def _check_name(op: Op, name: object) -> None:
    """Refuse a name that is spelled as OKX does not spell it, or that belongs to another operation."""
    if not isinstance(name, str) or not name:
        raise UsageError(f"{op.method}: the fields of an order have names, not {name!r}")
    if name in op.fields:
        return
    folded = {known.lower(): known for known in op.fields}
    meant = folded.get(name.lower().replace("_", "")) or NAMES.get(name.lower())
    if meant is None or meant not in op.fields:
        if name in EVERY_NAME:
            raise UsageError(f"{op.method} takes no {name}; it takes {', '.join(sorted(op.fields))}")
        close = difflib.get_close_matches(name, op.fields, 1, 0.7)
        meant = close[0] if close else None
    if meant is not None:
        raise UsageError(f"{op.method}: OKX writes {meant}, not {name}")


def _value(name: str, value: object) -> Any:
    if name == "instIdCode":
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"instIdCode must be an int, as OKX lists it, not {value!r}")
        return value
    if name in NUMBERS and (isinstance(value, bool) or (isinstance(value, str) and value and not is_number(value))):
        raise UsageError(f"{name} must be a number, not {value!r}")
    if isinstance(value, bool):
        return value
    if isinstance(value, (Mapping, list, tuple)):
        return plain_of(name, value)
    text = text_of(name, value)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"{name} cannot be sent: {exc}") from exc
    return text


def is_number(text: str) -> bool:
    """Tell whether a text is a number as OKX could read it: no blanks, and no digits but ASCII's."""
    return NUMBER.fullmatch(text) is not None


def _exactly_one(op: Op, order: Mapping[str, Any], names: Sequence[str]) -> None:
    given = [name for name in names if name in order]
    if len(given) != 1:
        what = "both are given" if given else "neither is given"
        raise UsageError(f"{op.method} needs {' or '.join(names)}, one of them: {what}")


def _check_price(op: Op, order: Mapping[str, Any]) -> None:
    given = [name for name in PRICES if name in order]
    if len(given) > 1:
        raise UsageError(f"{op.method} takes one of {', '.join(PRICES)}, not {' and '.join(given)}")
    if not given and order["ordType"] in PRICED:
        raise UsageError(f"{op.method} needs a px with ordType {order['ordType']!r}")


def expiry_of(op_name: str, expTime: object) -> str | None:
    """Return `expTime` as OKX wants it: Unix ms, as a text.

    Raises:
        UsageError: It is no such time, or the operation has none.
    """
    if expTime is None:
        return None
    text = text_of("expTime", expTime)
    if not re.fullmatch(r"[0-9]{13}", text):
        raise UsageError(f"expTime must be a time in Unix milliseconds, 13 digits, not {expTime!r}")
    if "cancel" in op_name:
        raise UsageError(f"{op_name} takes no expTime: only orders and changes expire")
    return text


def check_steps(order: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Refuse sizes and prices that are no whole number of the instrument's lots and ticks.

    Args:
        order: As `check_order` has returned it.
        row: The instrument, as OKX lists it.
    """
    in_quote = order.get("tgtCcy", "quote_ccy" if order.get("side") == "buy" else "base_ccy") == "quote_ccy"
    by_amount = row.get("instType") == "SPOT" and order.get("ordType") == "market" and in_quote
    if not by_amount:
        for name in ("sz", "newSz"):
            _whole_steps(name, order.get(name), row.get("lotSz"), "lots", row)
        _at_least(order.get("sz"), row)
    if row.get("instType") != "OPTION":  # whose ticks grow with the price
        for name in ("px", "newPx"):
            _whole_steps(name, order.get(name), row.get("tickSz"), "ticks", row)


def _number(text: object) -> Decimal | None:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _whole_steps(name: str, text: object, step: object, steps: str, row: Mapping[str, Any]) -> None:
    if text is None:
        return
    number, size = _number(text), _number(step)
    if number is not None and size and not _divides(size, number):
        raise UsageError(f"{name} {text} is no whole number of {steps}: {row.get('instId')} has {steps} of {step}")


def _divides(size: Decimal, number: Decimal) -> bool:
    try:
        return not number % size
    except InvalidOperation:  # more of them than anybody can count: nothing that OKX lists
        return False


def _at_least(text: object, row: Mapping[str, Any]) -> None:
    number, least = _number(text), _number(row.get("minSz"))
    if number is not None and least is not None and number < least:
        raise UsageError(f"sz {text} is under {row.get('instId')}'s smallest, {row['minSz']}")


def instType_of(instId: str) -> tuple[str, str | None]:
    """Return the type of an instrument, and the family where OKX lists by it, from its name.

    Raises:
        UsageError: Its name does not tell.
    """
    parts = instId.split("-")
    if all(parts):
        if len(parts) == 2:
            return "SPOT", None
        if len(parts) == 3:
            return ("SWAP", None) if parts[2] == "SWAP" else ("FUTURES", None)
        if len(parts) == 5 and parts[4] in ("C", "P"):
            return "OPTION", "-".join(parts[:2])
    raise UsageError(
        f"{instId!r} is not written like OKX's instIds (BTC-USDT, BTC-USDT-SWAP, BTC-USD-261225,"
        " BTC-USD-261225-90000-C): if it is right, give the instIdCode, which ws.rest.instruments lists"
    )


# ---------------------------------------------------------------------------------------------------- limits


def costs_of(op: Op, orders: Iterable[Mapping[str, Any]], most: int | None = None) -> list[Cost]:
    """Return what a call takes from OKX's limits, for each instrument in it.

    Args:
        op: What it does.
        orders: To what.
        most: Orders in 2 s where OKX allows less than to everybody (lead traders); None: OKX's figures.
    """
    keys = Counter(_limited_by(op, order) for order in orders)
    batch = keys.total() > 1  # a batch of one counts as none
    allowed = op.most_batch if batch else op.most
    if most is not None and op.by_inst:
        allowed = min(allowed, most)
    word = op.batch if batch else op.name
    return [Cost((word, name), allowed, n=n if op.kind != "mass" else 1) for name, n in keys.items()]


def _limited_by(op: Op, order: Mapping[str, Any]) -> str:
    if not op.by_inst:
        return ""
    parts = str(order.get("instId", "")).split("-")
    return "-".join(parts[:2]) if len(parts) == 5 else str(order.get("instIdCode") or order["instId"])
