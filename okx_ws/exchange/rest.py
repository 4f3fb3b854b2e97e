"""The REST endpoints: requests to answers. Pure; `rest_server` speaks HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from .accounts import Account
from .markets import World
from .order_desk import OrderDesk
from .recent import Recent
from .rest_account import AccountPages
from .rest_answers import Answer, Refused, ok
from .rest_counts import Counts
from .rest_login import signed_account
from .rest_market import MarketPages
from .rest_spreads import SpreadPages, listed_spreads
from .rest_trade import TradePages

__all__ = ["RestDesk"]

log = logging.getLogger(__name__)

#: Requests that are remembered.
REQUESTS = 10_000


class RestDesk:
    """Answers requests; told everything, does no I/O.

    Args:
        world: What there is.
        clock_ms: The server's clock, Unix milliseconds.
        accounts: By their keys.
        strict: Keep OKX's limits: 429 with 50011 beyond them.
        orders: Takes orders; one of its own if not given.
    """

    def __init__(
        self,
        world: World,
        clock_ms: Callable[[], int],
        accounts: Mapping[str, Account] | None = None,
        strict: bool = False,
        orders: OrderDesk | None = None,
    ) -> None:
        #: The newest requests, as "METHOD target", for tests.
        self.requests: list[str] = Recent(REQUESTS)
        self._clock_ms = clock_ms
        self._accounts = accounts if accounts is not None else {}
        self._strict = strict
        self._counts = Counts()
        self._market = MarketPages(world, lambda: self._clock_ms())
        self._market.paths["/api/v5/sprd/spreads"] = lambda query: ok(listed_spreads(world, query))
        self._account = AccountPages(world, lambda: self._clock_ms())
        if orders is None:
            orders = OrderDesk(world, self._accounts.values(), clock_us=lambda: self._clock_ms() * 1000, strict=strict)
        self._trade = TradePages(world, lambda: self._clock_ms(), orders)
        self._trade.paths |= SpreadPages(orders).paths

    def answer(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Return status and body for a request.

        Whatever it is, there is an answer: a failure of ours is logged, and answered with OKX's 50026.

        Args:
            method, target, body: As they came; a target is path and query.
            headers: By their names in small letters.
        """
        self.requests.append(f"{method} {target}")
        try:
            return self._answer(method, target, headers or {}, body)
        except Refused as exc:
            return exc.answer
        except Exception:
            log.exception("the exchange failed at a request: %s %s", method, target)
            return Refused("50026", "System error, please try again later.", 500).answer

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            parts = urlsplit(target)
        except ValueError:  # such as "//["
            raise Refused("50404", "no such path", 404) from None
        path, query = parts.path, dict(parse_qsl(parts.query))
        private, trade = self._account.paths.get((method, path)), self._trade.paths.get((method, path))
        public = self._market.paths.get(path) if method == "GET" else None
        if private is None and trade is None and public is None:
            raise Refused("50404" if method == "GET" else "50405", f"no {method} {path} here", 404)
        counted = {**query, "user": headers.get("ok-access-key", "")}
        placed = method == "POST" and path.endswith("/order")  # has the same path as looking one up
        if self._strict and not placed and self._counts.too_many(path, counted, self._clock_ms()):
            raise Refused("50011", "Too Many Requests", 429)
        if public is not None:
            return public(query)
        account = signed_account(headers, method, target, body, self._accounts, self._clock_ms())
        if trade is not None:
            return trade(account, query, body, headers.get("exptime", ""))
        assert private is not None  # one of the three was found
        return private(account, query, body)
