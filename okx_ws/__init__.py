"""OKX's v5 WebSocket API for ordinary threads: subscribe, then read a queue or register handlers. Unofficial.

from okx_ws import OkxWebSocketManager

with OkxWebSocketManager() as ws:
    ws.subscribe("tickers", instId="BTC-USDT")
    for message in ws:
        print(message["data"][0]["last"])
"""

import logging

from .config import Backoff, Limits
from .errors import (
    AckTimeout,
    BookOutOfSync,
    ConnectionLost,
    ExchangeError,
    LoginError,
    ManagerClosed,
    OkxWsError,
    OrderRejected,
    OutcomeUnknown,
    ProtocolError,
    QueueOverflow,
    RestError,
    SubscribeError,
    UsageError,
)
from .events import Event
from .legacy import OkxWebSocketManager
from .net.rest_client import RestClient
from .orderbook import BookView, OrderBook
from .protocol.book import Level
from .protocol.replies import OrderResult
from .resolving import Resolution
from .subscription import Subscription

__all__ = [
    "AckTimeout",
    "Backoff",
    "BookOutOfSync",
    "BookView",
    "ConnectionLost",
    "Event",
    "ExchangeError",
    "Level",
    "Limits",
    "LoginError",
    "ManagerClosed",
    "OkxWebSocketManager",
    "OkxWsError",
    "OrderBook",
    "OrderRejected",
    "OrderResult",
    "OutcomeUnknown",
    "ProtocolError",
    "QueueOverflow",
    "Resolution",
    "RestClient",
    "RestError",
    "SubscribeError",
    "Subscription",
    "UsageError",
]

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
