"""Signatures: the WebSocket login (OKX v5 docs, "WebSocket: Login", read June 2026)."""

from __future__ import annotations

import base64
import hashlib
import hmac

import orjson

from ..config import Credentials

__all__ = ["login_request", "sign"]


def sign(secretKey: str, text: str) -> str:
    """Return Base64(HMAC-SHA256(secretKey, text))."""
    return base64.b64encode(hmac.digest(secretKey.encode(), text.encode(), hashlib.sha256)).decode()


def login_request(credentials: Credentials, timestamp_s: float) -> str:
    """Return the text of a login signed at `timestamp_s`, Unix seconds; OKX refuses it when 30 s old (60006).

    Never log the result: it holds the key, the passphrase and a signature.
    """
    timestamp = str(int(timestamp_s))  # whole seconds, as a string; REST wants ISO-8601 instead
    login = {
        "apiKey": credentials.apiKey,
        "passphrase": credentials.passphrase,
        "timestamp": timestamp,
        "sign": sign(credentials.secretKey, f"{timestamp}GET/users/self/verify"),
    }
    return orjson.dumps({"op": "login", "args": [login]}).decode()
