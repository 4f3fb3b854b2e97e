"""Accounts: keys that may log in, and what they own. Pure.

Nothing here is secret: these keys open this exchange only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .ledger import Ledger, decimal_of
from .order_log import OrderLog

__all__ = ["POSITION_MODES", "Account", "Key", "Position", "login_refusal", "rekey"]

#: A login older than this by the server's clock is refused.
LOGIN_WINDOW_S = 30

POSITION_MODES = ("net_mode", "long_short_mode")

#: Unix seconds; OKX's own samples have a fraction.
TIMESTAMP = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


class Key(TypedDict):
    """What a client needs to log in, by the names of its parameters."""

    apiKey: str
    secretKey: str
    passphrase: str


@dataclass(frozen=True)
class Position:
    """A position: `pos` contracts, less than 0 if short, bought or sold at `avgPx`.

    Raises:
        ValueError: They are no numbers, or the price is not more than 0.
    """

    instId: str
    pos: str
    avgPx: str

    def __post_init__(self) -> None:
        if not math.isfinite(float(self.pos)) or not 0 < float(self.avgPx) < math.inf:
            raise ValueError(f"no position: {self}")


@dataclass
class Account:
    """One account and its key.

    Attributes:
        apiKey, secretKey, passphrase: What a login must know.
        uid: Goes into the arg of private pushes.
        demo: The key is for demo trading.
        level: VIP level.
        posMode: ``"net_mode"``, or ``"long_short_mode"``: of a swap or future, a long and a short position may be held.
        balances: Currency → amount, to begin with.
        positions: What is open, to begin with.
        page_rows: Rows of a page, of what ``account`` and ``positions`` push in pages.
    """

    apiKey: str = "local-key"
    secretKey: str = "local-secret-22582BD0CFF14C41"
    passphrase: str = "local-passphrase"
    uid: str = "77982378738415879"
    demo: bool = False
    level: int = 5
    posMode: str = "net_mode"
    balances: dict[str, float] = field(default_factory=lambda: {"BTC": 1.5, "ETH": 20.0, "USDT": 50_000.0})
    positions: list[Position] = field(
        default_factory=lambda: [Position("BTC-USDT-SWAP", "12", "64150"), Position("ETH-USDT-SWAP", "-5", "1832.5")]
    )
    page_rows: int = 20
    #: What it owns now; the exchange's thread alone touches it (`LocalExchange.truth` tells others).
    ledger: Ledger = field(init=False, repr=False, compare=False)

    #: What it has ordered; the exchange's thread alone touches it.
    log: OrderLog = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.log = OrderLog()
        self.ledger = Ledger({ccy: decimal_of(amount) for ccy, amount in self.balances.items()})
        if self.posMode not in POSITION_MODES:
            raise ValueError(f"posMode must be one of {', '.join(POSITION_MODES)}, not {self.posMode!r}")
        for position in self.positions:
            pos = decimal_of(position.pos)
            posSide = ("short" if pos < 0 else "long") if self.hedges(position.instId) else "net"
            self.ledger.hold((position.instId, "cross", posSide), pos, decimal_of(position.avgPx))

    def hedges(self, instId: str) -> bool:
        """Tell whether its orders on an instrument have to say which position they are about, the long or the short."""
        return self.posMode == "long_short_mode" and len(instId.split("-")) == 3  # a swap or future

    @property
    def credentials(self) -> Key:
        """The key as keyword arguments for a client."""
        return {"apiKey": self.apiKey, "secretKey": self.secretKey, "passphrase": self.passphrase}


def rekey(accounts: dict[str, Account], account: Account, key: Key | None) -> None:
    """Give an account another key, or none, among the `accounts` by their keys."""
    accounts.pop(account.apiKey, None)
    if key is not None:
        account.apiKey, account.secretKey, account.passphrase = key["apiKey"], key["secretKey"], key["passphrase"]
        accounts[account.apiKey] = account


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
