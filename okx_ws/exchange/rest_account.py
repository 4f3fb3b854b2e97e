"""REST's account endpoints: what the private channels push, asked instead. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .accounts import POSITION_MODES, Account
from .currencies import CURRENCIES, currency_row
from .holdings import account_row, detail_rows, position_rows
from .markets import World
from .rest_answers import Answer, Query, Refused, body_of, empty, ok, wrong
from .rest_market import listed

__all__ = ["AccountPages"]

IN_USE = "Setting failed. Cancel any open orders, close positions, and stop trading bots first."


class AccountPages:
    """The endpoints that need a key.

    Args:
        world: What there is.
        clock_ms: The server's clock, Unix ms.
    """

    def __init__(self, world: World, clock_ms: Callable[[], int]) -> None:
        self._world = world
        self._clock_ms = clock_ms
        #: Method and path → what answers an account's request with its query and its body.
        self.paths: dict[tuple[str, str], Callable[[Account, Query, bytes], Answer]] = {
            ("GET", "/api/v5/account/instruments"): lambda account, query, body: ok(listed(self._world, query)),
            ("GET", "/api/v5/account/config"): lambda account, query, body: ok([config_row(account)]),
            ("GET", "/api/v5/asset/currencies"): lambda account, query, body: ok(currency_rows(query)),
            ("GET", "/api/v5/account/balance"): self._balance,
            ("GET", "/api/v5/account/positions"): self._positions,
            ("POST", "/api/v5/account/set-position-mode"): self._set_position_mode,
        }

    def _balance(self, account: Account, query: Query, body: bytes) -> Answer:
        wanted = query["ccy"].split(",") if query.get("ccy") else [None]
        details = [row for ccy in wanted for row in detail_rows(account, self._world, ccy)]
        return ok([{**account_row(account, self._world), "details": details}])

    def _positions(self, account: Account, query: Query, body: bytes) -> Answer:
        arg = {"instType": query.get("instType") or "ANY"}
        if query.get("instId"):
            arg["instId"] = query["instId"]
        rows = position_rows(account, self._world, arg)
        return ok([row for row in rows if query.get("posId") in (None, row["posId"])])

    def _set_position_mode(self, account: Account, query: Query, body: bytes) -> Answer:
        asked = body_of(body)
        if not isinstance(asked, dict):
            raise Refused("50002", "JSON syntax error", 400)
        posMode = asked.get("posMode")
        if posMode in (None, ""):
            raise empty("posMode")
        if posMode not in POSITION_MODES:
            raise wrong("posMode")
        busy = any(len(order.place.instId.split("-")) == 3 for order in account.log.open)
        if posMode != account.posMode and (busy or any(holding.pos for holding in account.ledger.holdings.values())):
            raise Refused("59000", IN_USE)
        account.posMode = posMode
        return ok([{"posMode": posMode}])


def currency_rows(query: Query) -> list[dict[str, Any]]:
    """Return the currencies that are asked for; all, if none is named."""
    wanted = query["ccy"].split(",") if query.get("ccy") else list(CURRENCIES)
    return [currency_row(ccy) for ccy in wanted if ccy in CURRENCIES]


def config_row(account: Account) -> dict[str, Any]:
    """Return how an account is set up."""
    return {
        "uid": account.uid,
        "mainUid": account.uid,
        "acctLv": "2",
        "acctStpMode": "cancel_maker",
        "posMode": account.posMode,
        "autoLoan": False,
        "greeksType": "PA",
        "feeType": "0",
        "level": f"Lv{account.level}",
        "levelTmp": "",
        "ctIsoMode": "automatic",
        "mgnIsoMode": "automatic",
        "roleType": "0",
        "traderInsts": [],
        "spotRoleType": "0",
        "spotTraderInsts": [],
        "opAuth": "0",
        "kycLv": "3",
        "label": "local",
        "ip": "",
        "perm": "read_only,trade",
        "liquidationGear": "-1",
        "enableSpotBorrow": False,
        "spotBorrowAutoRepay": False,
        "type": "0",
        "settleCcy": "USDT",
        "settleCcyList": ["USDT", "USDC"],
    }
