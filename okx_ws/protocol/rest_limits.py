"""OKX's limits of REST requests, kept by waiting: a table, and windows that are told the time. Pure.

Source: OKX v5 docs, each endpoint's page, read June 2026. What stands nowhere here is not held back: OKX says 50011
when it is too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .windows import Windows

__all__ = ["LIMITS", "Limit", "LimitKey", "RestBudget", "limit_key"]


class Limit(NamedTuple):
    """So many requests in so many seconds; of a user or else of an IP address; counted apart by these parameters."""

    most: int
    window_s: float = 2.0
    user: bool = False
    by: tuple[str, ...] = ()


LIMITS = {
    "/api/v5/public/time": Limit(10),
    "/api/v5/public/instruments": Limit(20, by=("instType",)),
    "/api/v5/public/mark-price": Limit(10, by=("instId",)),
    "/api/v5/public/funding-rate": Limit(10, by=("instId",)),
    "/api/v5/market/books": Limit(40),
    "/api/v5/market/books-full": Limit(10),
    "/api/v5/market/books-rpi": Limit(20),
    "/api/v5/market/ticker": Limit(20),
    "/api/v5/market/tickers": Limit(20),
    "/api/v5/market/candles": Limit(40),
    "/api/v5/market/history-candles": Limit(20),
    "/api/v5/market/mark-price-candles": Limit(20),
    "/api/v5/market/history-mark-price-candles": Limit(10),
    "/api/v5/market/index-candles": Limit(20),
    "/api/v5/market/history-index-candles": Limit(10),
    "/api/v5/market/sprd-candles": Limit(40),
    "/api/v5/market/sprd-history-candles": Limit(20),
    "/api/v5/market/trades": Limit(100),
    "/api/v5/public/option-trades": Limit(20),
    "/api/v5/sprd/public-trades": Limit(20),
    "/api/v5/market/history-trades": Limit(20),
    "/api/v5/system/status": Limit(1, 5.0),
    "/api/v5/account/instruments": Limit(20, user=True, by=("instType",)),
    "/api/v5/account/config": Limit(5, user=True),
    "/api/v5/account/balance": Limit(10, user=True),
    "/api/v5/account/positions": Limit(10, user=True),
    "/api/v5/trade/orders-pending": Limit(60, user=True),
    "/api/v5/trade/order": Limit(60, user=True, by=("instId",)),
    "/api/v5/trade/orders-history": Limit(40, user=True),
    "/api/v5/trade/orders-history-archive": Limit(20, user=True),
    "/api/v5/trade/fills": Limit(60, user=True),
    "/api/v5/trade/cancel-all-after": Limit(1, 1.0, user=True, by=("tag",)),
    "/api/v5/trade/account-rate-limit": Limit(1, 1.0, user=True),
}

LimitKey = tuple[str, ...]


def limit_key(method: str, path: str, params: Mapping[str, str], user: str) -> LimitKey:
    """Return what a request is counted under; `user` stands for the account, empty if there is none.

    A POST is not counted with a GET of the same path: they are two endpoints.
    """
    limit = LIMITS.get(path)
    if limit is None:
        return ()
    return (path, method, user if limit.user else "", *(params.get(name, "") for name in limit.by))


class RestBudget:
    """When requests may go. Told the time, monotonic seconds; not thread-safe."""

    def __init__(self) -> None:
        self._windows = Windows()

    def ready_at(self, key: LimitKey, now: float, left: float = 0.0) -> float:
        """Return when the next request under this key may go: `now` or later; no place is taken.

        `left`: this part of the limit shall stay free for others.
        """
        if not key:
            return now
        limit = LIMITS[key[0]]
        return self._windows.ready_at(key, limit.most, limit.window_s, now, spare=int(limit.most * left))

    def reserve(self, key: LimitKey, now: float, latest: float) -> float | None:
        """Take the next free place and return its time, `now` or later.

        None, and no place is taken, if that is past `latest`.
        """
        if not key:
            return now
        limit = LIMITS[key[0]]
        at = self.ready_at(key, now)
        if at > latest:
            return None
        self._windows.take(key, limit.most, limit.window_s, at)
        return at

    def full(self, key: LimitKey, now: float) -> None:
        """OKX has said that a window is full, whatever we have counted (another process may share it)."""
        if key:
            limit = LIMITS[key[0]]
            self._windows.fill(key, limit.most, limit.window_s, now)
