"""Who asks: the signature of a REST request, and its timestamp. Pure.

Source: OKX v5 docs, "REST Authentication" and "Error Code: REST API", read June 2026; 50119 as it was captured.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping

from .accounts import LOGIN_WINDOW_S, Account
from .rest_answers import Refused

__all__ = ["signed_account"]

#: Header → code if it is missing.
NEEDED = {
    "ok-access-key": "50103",
    "ok-access-passphrase": "50104",
    "ok-access-sign": "50106",
    "ok-access-timestamp": "50107",
}

KEY = re.compile(r"[0-9A-Za-z-]{1,64}")

TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


def signed_account(
    headers: Mapping[str, str], method: str, target: str, body: bytes, accounts: Mapping[str, Account], now_ms: int
) -> Account:
    """Return whose request it is.

    Args:
        headers: By their names in small letters.
        method, target, body: As they came.
        accounts: By their keys.
        now_ms: The server's clock, Unix ms.

    Raises:
        Refused: It is nobody's.
    """
    for name, code in NEEDED.items():
        if not headers.get(name):
            raise Refused(code, f"Request header \"{name.upper().replace('-', '_')}\" can't be blank.", 401)
    if not KEY.fullmatch(headers["ok-access-key"]):
        raise Refused("50111", "Invalid OK_ACCESS_KEY", 401)
    account = accounts.get(headers["ok-access-key"])
    if account is None:
        raise Refused("50119", "API key doesn't exist", 401, bare=True)
    if account.demo != (headers.get("x-simulated-trading") == "1"):
        raise Refused("50101", "APIKey does not match current environment.", 401)
    timestamp = headers["ok-access-timestamp"]
    if abs(now_ms - milliseconds(timestamp)) > LOGIN_WINDOW_S * 1000:
        raise Refused("50102", "Timestamp request expired", 401)
    text = f"{timestamp}{method}{target}".encode() + body
    expected = base64.b64encode(hmac.new(account.secretKey.encode(), text, hashlib.sha256).digest())
    if not hmac.compare_digest(expected, headers["ok-access-sign"].encode()):
        raise Refused("50113", "Invalid Sign", 401)
    if headers["ok-access-passphrase"] != account.passphrase:
        raise Refused("50105", 'Request header "OK_ACCESS_PASSPHRASE" incorrect.', 401)
    return account


def milliseconds(timestamp: str) -> int:
    """Return an ISO 8601 time in UTC as Unix ms."""
    try:
        if not TIMESTAMP.fullmatch(timestamp):
            raise ValueError
        at = datetime.datetime.fromisoformat(timestamp[:-1]).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Refused("50112", "Invalid OK_ACCESS_TIMESTAMP", 401) from None
    return int(at.timestamp() * 1000)
