"""Signatures: of the WebSocket login and of REST requests.

Source: OKX v5 docs, "WebSocket: Login" and "REST Authentication", read June 2026.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac

import orjson

from ..config import Credentials

__all__ = ["SignedHeaders", "login_request", "rest_headers", "sign"]


def sign(secretKey: str, text: str) -> str:
    """Return Base64(HMAC-SHA256(secretKey, text))."""
    return base64.b64encode(hmac.digest(secretKey.encode(), text.encode(), hashlib.sha256)).decode()


def login_request(credentials: Credentials, timestamp_s: float) -> str:
    """Return the text of a login signed at `timestamp_s`, Unix seconds; OKX refuses it when 30 s old (60006).

    Never log the result: it holds the key, the passphrase and a signature.
    """
    credentials = credentials.frozen()
    timestamp = str(int(timestamp_s))  # whole seconds, as a string; REST wants ISO-8601 instead
    login = {
        "apiKey": credentials.apiKey,
        "passphrase": credentials.passphrase,
        "timestamp": timestamp,
        "sign": sign(credentials.secretKey, f"{timestamp}GET/users/self/verify"),
    }
    return orjson.dumps({"op": "login", "args": [login]}).decode()


class SignedHeaders(dict[str, str]):
    """Headers whose values do not show where somebody prints a frame's variables."""

    def __repr__(self) -> str:
        return "SignedHeaders(***)"


def rest_headers(credentials: Credentials, timestamp_s: float, method: str, target: str, body: str) -> SignedHeaders:
    """Return the headers of a REST request signed at `timestamp_s`, Unix seconds; refused when 30 s off (50102).

    Args:
        credentials: Whose request it is.
        timestamp_s: Now, by OKX's clock.
        method: In capitals.
        target: Path and query, exactly as they are sent.
        body: The text, exactly as it is sent; empty for none.

    Never log the result: it holds the key, the passphrase and a signature.
    """
    credentials = credentials.frozen()
    at = datetime.datetime.fromtimestamp(timestamp_s, datetime.timezone.utc)
    timestamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return SignedHeaders(
        {
            "OK-ACCESS-KEY": credentials.apiKey,
            "OK-ACCESS-SIGN": sign(credentials.secretKey, f"{timestamp}{method}{target}{body}"),
            "OK-ACCESS-TIMESTAMP": timestamp,
            "OK-ACCESS-PASSPHRASE": credentials.passphrase,
        }
    )
