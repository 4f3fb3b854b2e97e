"""Bytes to message and its kind; request to text. The only JSON on the path.

OKX writes numbers as JSON strings, and its sequence numbers as 64-bit integers: both survive decoding exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson

from ..errors import UsageError

__all__ = [
    "HEAD_END",
    "arg_key",
    "arg_text",
    "call_text",
    "classify",
    "data_head_arg",
    "decode",
    "head_arg",
    "head_of",
    "named_arg",
    "request",
]

#: What ends the head of a data push: the text up to here names the subscription, and repeats from push to push.
HEAD_END = b',"data":'

#: Keys that OKX puts before ``data`` in a push (okx-protocol: books have action, account and positions the rest).
HEAD_KEYS = frozenset({"arg", "action", "eventType", "curPage", "lastPage"})

#: Not part of a subscription's identity on the wire: the server adds uid to private pushes and strips extraParams.
UNECHOED = frozenset({"uid", "extraParams"})

decode = orjson.loads
#: What `decode` raises for a text that is no JSON: a `ValueError`.
DecodeError = orjson.JSONDecodeError

Kind = Literal["event", "reply", "data", "unknown"]


def classify(message: Any) -> Kind:
    """Tell what a decoded frame is, in the order OKX's own samples demand.

    Pushes may carry an ``id`` (liquidation-orders does in the docs), so an id decides nothing.
    """
    if isinstance(message, dict):
        if "event" in message:
            return "event"
        if "op" in message:
            return "reply"
        arg = message.get("arg")
        if isinstance(arg, dict) and isinstance(arg.get("channel"), str) and "data" in message:
            return "data"
    return "unknown"


def data_head_arg(head: bytes) -> dict[str, Any] | None:
    """Return the arg of a push whose text before ``,"data":`` is `head`, or None if `head` does not prove one.

    A head proves a push if, closed by a brace, it is a JSON object with an arg and nothing but `HEAD_KEYS`. Then every
    payload that starts with these very bytes and goes on with ``,"data":`` is a push for that arg.
    """
    try:
        message = decode(head + b"}")
    except DecodeError:
        return None
    if not isinstance(message, dict) or not message.keys() <= HEAD_KEYS:
        return None
    arg = message.get("arg")
    return arg if isinstance(arg, dict) and isinstance(arg.get("channel"), str) else None


def head_of(payload: bytes) -> bytes:
    """Return the text of a push before ``,"data":``."""
    return payload.partition(HEAD_END)[0]


def head_arg(payload: bytes) -> dict[str, Any] | None:
    """Return the arg of a push, from its head alone: the rest may be broken."""
    return data_head_arg(head_of(payload))


def arg_key(arg: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Return the identity of an arg as pushes and acks show it: all keys but ``uid`` and ``extraParams``."""
    return frozenset((name, value) for name, value in arg.items() if name not in UNECHOED and value.__hash__)


def arg_text(arg: Mapping[str, str]) -> str:
    """Return the JSON text of one arg, as it goes into a request."""
    return orjson.dumps(arg).decode()


def request(op: str, arg_texts: Iterable[str], id: str) -> str:
    """Return the text of a subscribe or unsubscribe request for args that are already JSON texts."""
    return f'{{"id":"{id}","op":"{op}","args":[{",".join(arg_texts)}]}}'


def call_text(id: str, op: str, args: Sequence[Mapping[str, Any]], expTime: str | None) -> str:
    """Return the text of a request that is answered by a reply.

    Raises:
        UsageError: It holds what JSON has no word for: a lone surrogate, a number of more than 64 bits.
    """
    until = {} if expTime is None else {"expTime": expTime}
    try:
        return orjson.dumps({"id": id, "op": op, **until, "args": args}).decode()
    except orjson.JSONEncodeError as exc:
        raise UsageError(f"{op} cannot be sent: {exc}") from exc


# 60018 names the arg in its text: "…channel:index-tickers, instId:NEAR-USDT-SWAP doesn't exist…"; older servers put no
# blank after the comma, and some values end at the sentence's next word.
NAMED = re.compile(r"channel:\s*([\w-]+)((?:,\s*\w+:\s*[^,\s]+)*)")


def named_arg(msg: str) -> frozenset[tuple[str, str]] | None:
    """Return the key of the arg that an error text names, or None if it names none."""
    found = NAMED.search(msg)
    if found is None:
        return None
    pairs = (pair.partition(":") for pair in found[2].split(",") if pair.strip())
    return frozenset([("channel", found[1]), *((name.strip(), value.strip()) for name, _, value in pairs)])
