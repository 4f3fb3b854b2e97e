"""What an account's channels push: its state, in pages, at once and on a timer. Pure.

``orders``, ``fills`` and the rest send no state of their own; what happens is pushed by `pushes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import orjson

from .accounts import Account
from .feeds import Feed, Push
from .holdings import account_row, balance_and_position_row, detail_rows, greek_rows, position_rows
from .markets import World

__all__ = ["make_private_feed"]

#: How often a state is repeated, in world milliseconds, unless the subscriber says otherwise.
REPEAT_MS = 5_000.0
#: What ``updateInterval`` of ``positions`` may ask for; ``"0"`` is: only what happens.
INTERVALS = {"0": math.inf, "2000": 2000.0, "3000": 3000.0, "4000": 4000.0}


class StateFeed(Feed):
    """A state of an account: all its pages to a new subscriber, and all of them again on a timer."""

    def __init__(self, world: World, pages: Callable[[], list[Push]], every_ms: float) -> None:
        self.every_ms = every_ms
        super().__init__(world)
        self._pages = pages

    def first(self) -> list[Push]:
        return self._pages()

    def push(self) -> list[Push]:
        return self._pages()


def paged(rows: list[Any], size: int) -> list[tuple[Push, list[Any]]]:
    """Return the rows cut into pages, each with what a push says of it; no rows are one empty page."""
    parts = [rows[i : i + size] for i in range(0, len(rows), size)] or [[]]
    return [
        ({"eventType": "snapshot", "curPage": number, "lastPage": number == len(parts)}, part)
        for number, part in enumerate(parts, 1)
    ]


def interval_ms(arg: dict[str, str]) -> float:
    """Return how often a state is repeated, in ms; infinity for never. Other values than OKX's are passed over."""
    extra = orjson.loads(arg.get("extraParams", "{}"))
    asked = str(extra.get("updateInterval", ""))
    known = INTERVALS if arg["channel"] == "positions" else {"0": math.inf}
    return known.get(asked, REPEAT_MS)


def make_private_feed(world: World, arg: dict[str, str], account: Account) -> Feed | None:
    """Return the feed of an account's channel, or None if it has no state to send."""

    def account_pages() -> list[Push]:
        details = detail_rows(account, world, arg.get("ccy"))
        return [
            {**page, "data": [{**account_row(account, world), "details": part}]}
            for page, part in paged(details, account.page_rows)
        ]

    def position_pages() -> list[Push]:
        rows = position_rows(account, world, arg)
        return [{**page, "data": part} for page, part in paged(rows, account.page_rows)]

    def whole() -> list[Push]:
        positions = position_rows(account, world, {"instType": "ANY"})
        return [{"data": [balance_and_position_row(world, "snapshot", detail_rows(account, world, None), positions)]}]

    if arg["channel"] == "account":
        return StateFeed(world, account_pages, interval_ms(arg))
    if arg["channel"] == "positions":
        return StateFeed(world, position_pages, interval_ms(arg))
    if arg["channel"] == "balance_and_position":
        return StateFeed(world, whole, math.inf)
    if arg["channel"] == "account-greeks":
        return StateFeed(world, lambda: [{"data": greek_rows(account, world, arg.get("ccy"))}], REPEAT_MS)
    return None
