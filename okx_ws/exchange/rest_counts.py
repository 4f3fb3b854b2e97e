"""How often OKX answers: counts of requests, for an exchange that keeps its limits. Pure.

Source: OKX v5 docs, each endpoint's page, read June 2026.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

__all__ = ["Counts"]

#: Path → requests in so many ms, and what else they are counted by: a parameter, or the account ("user").
MOST: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "/api/v5/public/time": (10, 2000, ()),
    "/api/v5/public/instruments": (20, 2000, ("instType",)),
    "/api/v5/public/mark-price": (10, 2000, ("instId",)),
    "/api/v5/public/funding-rate": (10, 2000, ("instId",)),
    "/api/v5/public/funding-rate-history": (10, 2000, ("instId",)),
    "/api/v5/market/books-full": (10, 2000, ()),
    "/api/v5/market/books-rpi": (20, 2000, ()),
    "/api/v5/market/books": (40, 2000, ()),
    "/api/v5/market/ticker": (20, 2000, ()),
    "/api/v5/market/tickers": (20, 2000, ()),
    "/api/v5/market/candles": (40, 2000, ()),
    "/api/v5/market/history-candles": (20, 2000, ()),
    "/api/v5/market/mark-price-candles": (20, 2000, ()),
    "/api/v5/market/history-mark-price-candles": (10, 2000, ()),
    "/api/v5/market/index-candles": (20, 2000, ()),
    "/api/v5/market/history-index-candles": (10, 2000, ()),
    "/api/v5/market/sprd-candles": (40, 2000, ()),
    "/api/v5/market/sprd-history-candles": (20, 2000, ()),
    "/api/v5/public/option-trades": (20, 2000, ()),
    "/api/v5/sprd/public-trades": (20, 2000, ()),
    "/api/v5/market/trades": (100, 2000, ()),
    "/api/v5/market/history-trades": (20, 2000, ()),
    "/api/v5/system/status": (1, 5000, ()),
    "/api/v5/account/instruments": (20, 2000, ("user", "instType")),
    "/api/v5/asset/currencies": (6, 1000, ("user",)),
    "/api/v5/account/config": (5, 2000, ("user",)),
    "/api/v5/account/set-position-mode": (5, 2000, ("user",)),
    "/api/v5/account/balance": (10, 2000, ("user",)),
    "/api/v5/account/positions": (10, 2000, ("user",)),
    "/api/v5/trade/orders-pending": (60, 2000, ("user",)),
    "/api/v5/trade/order": (60, 2000, ("user", "instId")),
    "/api/v5/trade/orders-history": (40, 2000, ("user",)),
    "/api/v5/trade/orders-history-archive": (20, 2000, ("user",)),
    "/api/v5/trade/cancel-all-after": (1, 1000, ("user",)),
    "/api/v5/trade/fills": (60, 2000, ("user",)),
    "/api/v5/sprd/spreads": (20, 2000, ()),
    "/api/v5/sprd/order": (20, 2000, ("user",)),
    "/api/v5/sprd/orders-pending": (10, 2000, ("user",)),
    "/api/v5/sprd/orders-history": (20, 2000, ("user",)),
    "/api/v5/sprd/trades": (20, 2000, ("user",)),
}


class Counts:
    """Requests of the last seconds. All clients of a local exchange have one address."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, ...], deque[int]] = {}

    def too_many(self, path: str, asked: Mapping[str, str], now_ms: int) -> bool:
        """Count a request; tell whether it is one too many, which is not counted.

        Args:
            path: Of the endpoint.
            asked: Its parameters, and the key as ``"user"``.
            now_ms: The server's clock.
        """
        if path not in MOST:
            return False
        most, window_ms, by = MOST[path]
        times = self._times.setdefault((path, *(asked.get(name, "") for name in by)), deque(maxlen=most))
        if len(times) == most and now_ms < times[0] + window_ms:
            return True
        times.append(now_ms)
        return False
