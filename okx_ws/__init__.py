"""OKX's v5 WebSocket API for ordinary threads: subscribe, then read a queue or register handlers. Unofficial.

from okx_ws import OkxWebSocketManager

with OkxWebSocketManager() as ws:
    ws.subscribe("tickers", instId="BTC-USDT")
    for message in ws:
        print(message["data"][0]["last"])
"""

import logging

from .account_view import AccountState, AccountView
from .config import Backoff, Limits
from .errors import (
    AckTimeout,
    BookOutOfSync,
    ConnectionLost,
    ExchangeError,
    LoginError,
    ManagerClosed,
    OkxWsError,
    OrderEnded,
    OrderRejected,
    OutcomeUnknown,
    ProtocolError,
    QueueOverflow,
    RestError,
    SubscribeError,
    UsageError,
    ViewOutOfSync,
)
from .events import Event
from .legacy import OkxWebSocketManager
from .net.rest_client import RestClient
from .orderbook import BookView, OrderBook
from .orders_view import OrdersState, OrdersView
from .protocol.book import Level
from .protocol.holdings import Balance, Position
from .protocol.order_life import Fill, Order
from .protocol.replies import OrderResult
from .resolving import Resolution
from .subscription import Subscription

__all__ = [
    "AccountState",
    "AccountView",
    "AckTimeout",
    "Backoff",
    "Balance",
    "BookOutOfSync",
    "BookView",
    "ConnectionLost",
    "Event",
    "ExchangeError",
    "Fill",
    "Level",
    "Limits",
    "LoginError",
    "ManagerClosed",
    "OkxWebSocketManager",
    "OkxWsError",
    "Order",
    "OrderBook",
    "OrderEnded",
    "OrderRejected",
    "OrderResult",
    "OrdersState",
    "OrdersView",
    "OutcomeUnknown",
    "Position",
    "ProtocolError",
    "QueueOverflow",
    "Resolution",
    "RestClient",
    "RestError",
    "SubscribeError",
    "Subscription",
    "UsageError",
    "ViewOutOfSync",
]

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
