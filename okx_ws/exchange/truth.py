"""The truth about an account, to judge a client by: a copy that nobody changes any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .accounts import Account
from .ledger import Key
from .orders import order_row
from .rest_trade import fill_row
from .spread_orders import spread_order_row, spread_trade_row
from .spreads import Spreads

__all__ = ["Truth", "truth_of"]


@dataclass(frozen=True)
class Truth:
    """What an account owns and has ordered, at one moment.

    Attributes:
        balances: Currency → amount.
        frozen: Currency → what open orders keep of it.
        available: Currency → what a new order may use of it.
        posMode: Whether it has one position of a swap or future, or a long and a short one.
        positions: instId, margin mode and posSide → contracts, less than 0 if short; what is closed is not there.
        orders: ordId → the order as the channel ``orders`` shows it, the oldest first.
        fills: Every match as REST's fills show it, the oldest first.
        spread_orders: ordId → an order on a spread as the channel ``sprd-orders`` shows it, the oldest first.
        spread_trades: Every trade of a spread as the channel ``sprd-trades`` shows it, the oldest first.
    """

    balances: dict[str, Decimal]
    frozen: dict[str, Decimal]
    available: dict[str, Decimal]
    posMode: str
    positions: dict[Key, Decimal]
    orders: dict[str, dict[str, Any]]
    fills: list[dict[str, Any]]
    spread_orders: dict[str, dict[str, Any]]
    spread_trades: list[dict[str, Any]]

    @property
    def open(self) -> list[dict[str, Any]]:
        """The orders that can still be filled."""
        return [row for row in self.orders.values() if row["state"] in ("live", "partially_filled")]

    def order(self, clOrdId: str) -> dict[str, Any] | None:
        """Return the newest order with this clOrdId, or None."""
        return next((row for row in reversed(self.orders.values()) if row["clOrdId"] == clOrdId), None)


def truth_of(account: Account, spreads: Spreads) -> Truth:
    """Return the truth; only the exchange's thread may ask."""
    ledger, log = account.ledger, account.log
    return Truth(
        balances=dict(ledger.balances),
        frozen=dict(ledger.frozen),
        available={ccy: ledger.available(ccy) for ccy in ledger.balances},
        posMode=account.posMode,
        positions={key: holding.pos for key, holding in ledger.holdings.items() if holding.pos},
        orders={order.ordId: order_row(order, order.last) for order in reversed(list(log.newest()))},
        fills=[fill_row(order, match) for order, match in log.fills],
        spread_orders={o.ordId: spread_order_row(o, o.last) for o in reversed(list(spreads.orders(account)))},
        spread_trades=[spread_trade_row(*pair) for pair in reversed(list(spreads.fills(account)))],
    )
