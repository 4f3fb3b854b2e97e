"""Accounts: keys that may log in, and what they own. Pure.

Nothing here is secret: these keys open this exchange only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .markets import World

__all__ = ["Account", "Key", "login_refusal"]

#: A login older than this by the server's clock is refused.
LOGIN_WINDOW_S = 30

#: Unix seconds; OKX's own samples have a fraction.
TIMESTAMP = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


class Key(TypedDict):
    """What a client needs to log in, by the names of its parameters."""

    apiKey: str
    secretKey: str
    passphrase: str


@dataclass
class Account:
    """One account and its key.

    Attributes:
        apiKey, secretKey, passphrase: What a login must know.
        uid: Goes into the arg of private pushes.
        demo: The key is for demo trading.
        level: VIP level.
        balances: Currency → amount.
    """

    apiKey: str = "local-key"
    secretKey: str = "local-secret-22582BD0CFF14C41"
    passphrase: str = "local-passphrase"
    uid: str = "77982378738415879"
    demo: bool = False
    level: int = 5
    balances: dict[str, float] = field(default_factory=lambda: {"BTC": 1.5, "ETH": 20.0, "USDT": 50_000.0})

    @property
    def credentials(self) -> Key:
        """The key as keyword arguments for a client."""
        return {"apiKey": self.apiKey, "secretKey": self.secretKey, "passphrase": self.passphrase}

    def snapshot(self, world: World, ccy: str | None) -> dict[str, Any]:
        """Return the row of the channel ``account``: all currencies, or only `ccy`."""
        ts = str(world.ts)
        details = [
            self._detail(name, amount, world, ts) for name, amount in self.balances.items() if ccy in (None, name)
        ]
        total = f"{sum(float(detail['eqUsd']) for detail in details):.4f}"
        empty = dict.fromkeys(
            "adjEq availEq borrowFroz imr mgnRatio mmr notionalUsd notionalUsdForBorrow notionalUsdForFutures"
            " notionalUsdForOption notionalUsdForSwap ordFroz upl".split(),
            "",
        )
        return {"uTime": ts, "totalEq": total, "isoEq": "0", **empty, "details": details}

    def _detail(self, ccy: str, amount: float, world: World, ts: str) -> dict[str, Any]:
        market = world.markets.get(f"{ccy}-USDT")
        price = market.instrument.price(market.last_ticks) if market is not None else 1.0
        text = f"{amount:.8f}".rstrip("0").rstrip(".")
        zeros = dict.fromkeys(
            "crossLiab fixedBal frozenBal interest isoEq isoLiab isoUpl liab ordFrozen rewardBal".split(), "0"
        )
        return {
            "ccy": ccy,
            "eq": text,
            "cashBal": text,
            "availBal": text,
            "availEq": text,
            "disEq": f"{amount * price:.4f}",
            "eqUsd": f"{amount * price:.4f}",
            "coinUsdPrice": f"{price:.4f}",
            "uTime": ts,
            **zeros,
        }


def login_refusal(args: Any, accounts: dict[str, Account], now_s: float, demo: bool) -> tuple[Account | None, str, str]:
    """Check the args of a login; return the account, or None with code and msg.

    Source: OKX v5 docs, "WebSocket: Login", and captured refusals.
    """
    if not isinstance(args, list) or not args or not all(isinstance(login, dict) for login in args):
        return None, "60012", "Invalid request: a login needs its args"
    if len(args) > 1:
        return None, "60031", "No multiple or repeated logins are allowed"
    login = args[0]
    apiKey, passphrase = str(login.get("apiKey", "")), str(login.get("passphrase", ""))
    timestamp, sign = str(login.get("timestamp", "")), str(login.get("sign", ""))
    account = accounts.get(apiKey)
    if account is None:
        return None, "60032", "API key doesn't exist"
    if account.demo != demo:
        return None, "50101", "APIKey does not match current environment."
    if not TIMESTAMP.fullmatch(timestamp):
        return None, "60004", "Invalid timestamp"
    if abs(now_s - float(timestamp)) > LOGIN_WINDOW_S:
        return None, "60006", "Timestamp request expired"
    text = f"{timestamp}GET/users/self/verify"
    expected = base64.b64encode(hmac.new(account.secretKey.encode(), text.encode(), hashlib.sha256).digest())
    if not hmac.compare_digest(expected, sign.encode()):
        return None, "60007", "Invalid sign"
    if passphrase != account.passphrase:
        return None, "60024", "Wrong passphrase"
    return account, "0", ""
