"""OKX's envelope of REST answers, and the checks of what was asked for. Pure.

Source: OKX v5 docs, "Error Code: REST API", read June 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import orjson

__all__ = [
    "Answer",
    "Query",
    "Refused",
    "body_of",
    "edge_of",
    "empty",
    "no_order",
    "no_place",
    "number_of",
    "ok",
    "page",
    "wrong",
]

#: HTTP status and body.
Answer = tuple[int, dict[str, Any]]

Query = dict[str, str]


class Refused(Exception):
    """OKX refuses a request: its code, its words, and the HTTP status."""

    def __init__(self, code: str, msg: str, status: int = 200, *, bare: bool = False) -> None:
        super().__init__(code, msg, status, bare)
        self.answer: Answer = (status, {"msg": msg, "code": code} if bare else {"code": code, "msg": msg, "data": []})


def ok(data: list[Any]) -> Answer:
    """Return a successful answer."""
    return 200, {"code": "0", "msg": "", "data": data}


def empty(name: str) -> Refused:
    """A parameter is missing."""
    return Refused("50014", f"Parameter {name} can not be empty.", 400)


def wrong(name: str) -> Refused:
    """A parameter has a value it cannot have."""
    return Refused("51000", f"Parameter {name} error")


def no_place() -> Refused:
    """There is no such instrument."""
    return Refused("51001", "Instrument ID, Instrument ID code or Spread ID doesn't exist.")


def no_order() -> Refused:
    """There is no such order."""
    return Refused("51603", "Order does not exist")


def number_of(query: Query, name: str, usual: int, most: int) -> int:
    """Return a whole number from 1 to `most` that was asked for, or the usual one."""
    text = query.get(name) or str(usual)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise wrong(name)
    return int(text)


def edge_of(query: Query, name: str) -> int | None:
    """Return where a page ends: a whole number; None if it was not asked for."""
    text = query.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise wrong(name)
    return int(text)


def page(rows: Iterable[Any], query: Query, place: Callable[[Any], str], most: int, usual: int = 100) -> list[Any]:
    """Return the page of `rows` (the newest first) that was asked for: older than `after`, newer than `before`."""
    limit = number_of(query, "limit", usual, most)
    after, before = edge_of(query, "after"), edge_of(query, "before")
    fitting = (
        row
        for row in rows
        if (after is None or int(place(row)) < after) and (before is None or int(place(row)) > before)
    )
    return list(islice(fitting, limit))


def body_of(body: bytes) -> object:
    """Return what a body is in JSON; None if it is nothing."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
