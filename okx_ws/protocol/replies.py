"""What a reply to an order says: accepted, refused, or that OKX does not know. Pure.

The reason of a refusal stands in the order's row (``sCode``, ``sMsg``, ``subCode``); the reply's own ``code`` is
``"0"``, ``"1"`` (all refused), ``"2"`` (some), or one that refuses the request as a whole. Source: OKX v5 docs, "WS /
Place order", read June 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import OrderRejected, OutcomeUnknown
from .codes import UNKNOWN_CODES, remedy

__all__ = ["OrderResult", "only_result", "results_of", "whole_reply"]


class OrderResult(dict[str, Any]):
    """What OKX replied about one order: its row of the reply, a dict as OKX sent it.

    Accepted means that OKX has taken the order (the change, the cancellation) on; what becomes of it is told on the
    channel ``orders``, and may be told there before.

    Attributes:
        reply: The whole reply.
    """

    def __init__(self, row: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.reply = reply

    @property
    def ok(self) -> bool:
        """OKX has accepted it."""
        return self.sCode == "0" and self.get("result") is not False

    @property
    def unknown(self) -> bool:
        """OKX does not know whether it was carried out: ask for it."""
        return self.sCode in UNKNOWN_CODES

    @property
    def ordId(self) -> str:
        """OKX's name for the order; empty if it was refused."""
        return str(self.get("ordId") or "")

    @property
    def clOrdId(self) -> str:
        """Yours, or the one that was made for it."""
        return str(self.get("clOrdId") or "")

    @property
    def sCode(self) -> str:
        """``"0"``, or why it was refused."""
        return str(self.get("sCode") or self.reply.get("code", ""))

    @property
    def sMsg(self) -> str:
        """OKX's words for it, unchanged."""
        return str(self.get("sMsg") or "")

    @property
    def subCode(self) -> str:
        """A finer code, or nothing."""
        return str(self.get("subCode") or "")

    def error(self) -> OrderRejected:
        """Return what a call about this order alone would have raised."""
        reply = self.reply
        code, msg = str(reply.get("code", "")), str(reply.get("msg") or "")
        return OrderRejected(code, msg, self.sCode, self.sMsg, self.subCode, self, remedy(self.sCode))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.reply)


def _rows_of(reply: Mapping[str, Any]) -> list[OrderResult]:
    """Return the rows of a reply that is about single orders.

    Raises:
        OrderRejected: The request was refused as a whole.
        OutcomeUnknown: OKX does not know.
    """
    code, msg, data = str(reply.get("code", "")), str(reply.get("msg") or ""), reply.get("data")
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    if code in UNKNOWN_CODES:
        raise OutcomeUnknown(f"OKX does not know what became of it ({code}: {msg})", code=code)
    if code not in ("0", "1", "2") or (code == "1" and not rows):
        raise OrderRejected(code, msg, data=rows[0] if rows else None, remedy=remedy(code))
    return [OrderResult(row, reply) for row in rows]


def results_of(reply: Mapping[str, Any], n: int) -> list[OrderResult]:
    """Return the results of `n` orders, in the order of the request; some or all of them may be refusals.

    Raises:
        OrderRejected: The request was refused as a whole.
        OutcomeUnknown: OKX does not know, or its reply does not tell.
    """
    rows = _rows_of(reply)
    if len(rows) != n:
        raise OutcomeUnknown(f"OKX's reply is about {len(rows)} orders, and the request was about {n}")
    return rows


def only_result(reply: Mapping[str, Any]) -> OrderResult:
    """Return the result of one order.

    Raises:
        OrderRejected: It was refused.
        OutcomeUnknown: OKX does not know, or its reply does not tell.
    """
    (result,) = results_of(reply, 1)
    if result.unknown:
        raise OutcomeUnknown(f"OKX does not know what became of it ({result.sCode}: {result.sMsg})", code=result.sCode)
    if not result.ok:
        raise result.error()
    return result


def whole_reply(reply: Mapping[str, Any], n: int) -> Mapping[str, Any]:
    """Return a reply as it is, to a request of `n` args.

    Raises:
        OrderRejected: The request, or its only arg, was refused.
        OutcomeUnknown: OKX does not know.
    """
    rows = _rows_of(reply)
    if n == 1 and len(rows) == 1:
        only_result(reply)
    return reply
