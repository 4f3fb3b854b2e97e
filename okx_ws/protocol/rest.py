"""REST as texts: the target that is signed and sent, the body, and what an answer means. Pure.

Law. What is signed is what is sent, character by character. An answer is OKX's envelope with code ``"0"`` and a list of
rows, or it is a `RestError`; nothing in it is ever turned into a float. Source: OKX v5 docs, "REST Authentication" and
"Error Code: REST API", read June 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, NoReturn
from urllib.parse import quote, urlencode

from ..errors import ConnectionLost, OkxWsError, RestError, UsageError
from .codes import REST_BUSY_CODES, REST_CLOCK_CODES, REST_LIMIT_CODES, remedy

__all__ = [
    "Verdict",
    "body_of",
    "is_public",
    "plain_of",
    "read_answer",
    "target_of",
    "text_of",
    "texts_of",
    "verdict_on",
]

#: What a failure asks for: the same again after a while, the same once there is room, a look at the clock, or nothing.
Verdict = Literal["again", "full", "clock", "final"]

PATH = re.compile(r"/api/v5(/[0-9A-Za-z_-]+)+")

#: What anybody may ask for; everything else is signed.
PUBLIC_PREFIXES = (
    "/api/v5/copytrading/public-",
    "/api/v5/finance/savings/lending-rate-",
    "/api/v5/market/",
    "/api/v5/public/",
    "/api/v5/rfq/public-trades",
    "/api/v5/rubik/",
    "/api/v5/sprd/books",
    "/api/v5/sprd/public-trades",
    "/api/v5/sprd/spreads",
    "/api/v5/sprd/ticker",
    "/api/v5/support/",
    "/api/v5/system/",
    "/api/v5/tradingBot/public/",
)

#: As much of an answer that is none as an error repeats.
SHOWN_CHARS = 80


def is_public(path: str) -> bool:
    """Tell whether OKX serves `path` without a key."""
    return path.startswith(PUBLIC_PREFIXES)


def text_of(name: str, value: object) -> str:
    """Return one value as OKX reads it in a query.

    Raises:
        UsageError: It is a float, which is not the number that was meant, or of another wrong type, or empty.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return decimal_text(name, value)
    _refuse(name, value)


def decimal_text(name: str, value: Decimal) -> str:
    """Return a Decimal without an exponent."""
    if not value.is_finite():
        raise UsageError(f"{name} must be a finite number, not {value}")
    return f"{value:f}"


def _refuse(name: str, value: object) -> NoReturn:
    if isinstance(value, float):
        raise UsageError(
            f"{name} must not be a float: {value!r} is not exactly the number that was meant; pass a str or a Decimal"
        )
    if value == "":
        raise UsageError(f"{name} is empty: leave it out, OKX refuses empty fields")
    raise UsageError(f"{name} must be a str, an int, a bool or a Decimal, not {type(value).__name__}")


def texts_of(params: Mapping[str, object]) -> dict[str, str]:
    """Return parameters as texts; those that are None are left out.

    Raises:
        UsageError: See `text_of`.
    """
    return {name: text_of(name, value) for name, value in params.items() if value is not None}


def target_of(path: str, params: Mapping[str, str]) -> str:
    """Return path and query as they are signed and sent.

    Raises:
        UsageError: The path is none of OKX's.
    """
    if not isinstance(path, str) or not PATH.fullmatch(path):
        raise UsageError(f"path must look like /api/v5/market/ticker, without a query, not {path!r}")
    try:
        return f"{path}?{urlencode(params, quote_via=quote, safe='')}" if params else path
    except UnicodeEncodeError as exc:  # a lone surrogate
        raise UsageError(f"a parameter cannot be sent: {exc}") from exc


def body_of(body: object) -> str:
    """Return the JSON text of a body: a dict, a list of dicts, or None for none.

    In it, a Decimal becomes a text, as OKX writes numbers, and what is None is left out of its object.

    Raises:
        UsageError: It holds a float, or something that JSON has no word for.
    """
    if body is None:
        return ""
    if not isinstance(body, (Mapping, list, tuple)):
        raise UsageError(f"body must be a dict or a list of dicts, not {type(body).__name__}")
    text = json.dumps(plain_of("body", body), separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"body cannot be sent: {exc}") from exc
    return text


def plain_of(name: str, value: object) -> Any:
    """Return a value as JSON says it: without floats, a Decimal as a text, without what is None in an object."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"{name} has the key {key!r}: keys must be str")
        return {key: plain_of(f"{name}[{key!r}]", item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain_of(f"{name}[{number}]", item) for number, item in enumerate(value)]
    if isinstance(value, (str, int)):  # a bool is an int, and JSON's true is OKX's
        return value
    if isinstance(value, Decimal):
        return decimal_text(name, value)
    _refuse(name, value)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def read_answer(status: int, payload: bytes, path: str, clean: Callable[[str], str] = str) -> list[Any]:
    """Return the rows of an answer: dicts or lists, with texts as OKX sent them and whole numbers exact.

    A number with a fraction that is no text (OKX sends none) becomes a Decimal.

    Args:
        status: The HTTP status.
        payload: The body.
        path: What was asked for.
        clean: Takes secrets out of a text that goes into an error: a page may repeat what was sent to it.

    Raises:
        RestError: OKX has refused the request, or this is no answer of OKX's.
    """
    envelope = _envelope(payload)
    if envelope is None:
        told = f"the answer is not OKX's: {clean(payload.decode(errors='replace'))[:SHOWN_CHARS]!r}"
        raise RestError("", told, status=status, path=path)
    code, msg, data = envelope
    rows = data if isinstance(data, list) else []
    if code != "0":
        raise _refusal(code, clean(msg), rows, status, path)
    if not 200 <= status < 300 or not isinstance(data, list) or not all(isinstance(row, (dict, list)) for row in data):
        raise RestError(code, "the answer has no list of rows, though it says success", status=status, path=path)
    return rows


def _envelope(payload: bytes) -> tuple[str, str, Any] | None:
    """Return code, msg and data; None if there are none. (What json raises would hold the whole text.)"""
    try:
        body = json.loads(payload.decode(), parse_float=Decimal, parse_constant=_no_number)
        return str(body["code"]), str(body.get("msg") or ""), body.get("data")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _refusal(code: str, msg: str, rows: list[Any], status: int, path: str) -> RestError:
    """Make the error of an envelope; with codes 1 and 2, the reasons stand in the rows."""
    failed = [row for row in rows if isinstance(row, dict) and row.get("sCode") not in (None, "", "0")]
    cause = str(failed[0]["sCode"]) if failed else code
    if failed and not msg:
        msg = f"{cause}: {failed[0].get('sMsg', '')}"
    return RestError(code, msg, remedy(cause), status=status, path=path, data=rows)


def verdict_on(error: OkxWsError) -> Verdict:
    """Return what can be done about a failure of a request that changes nothing."""
    if isinstance(error, ConnectionLost):
        return "again"
    if not isinstance(error, RestError):
        return "final"
    if error.code in REST_CLOCK_CODES:
        return "clock"
    if error.code in REST_BUSY_CODES:
        return "again"
    if error.code in REST_LIMIT_CODES or error.status == 429:
        return "full"
    return "again" if error.status is not None and error.status >= 500 else "final"
