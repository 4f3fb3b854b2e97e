"""The order desk: operations over WebSocket and REST, and what comes of them, to the engine and back. Pure.

Law. A request is read when it arrives and carried out `delay_s` later; its connection may be gone by then, and it is
carried out all the same. The reply and the pushes of one request go out together, in the order `push_order` says.

Source: OKX v5 docs, "WebSocket: Place order" and its neighbours, read June 2026; keys in the alphabetical order of
captures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import orjson

from .accounts import Account
from .dead_man import DeadManSwitches
from .markets import World
from .matching import Engine
from .order_limits import MASS, SPREAD
from .order_ops import LIMIT_WORDS, OPS, Requests, Row, Work, code_of
from .pushes import Publisher, Subscriber
from .spread_matching import SpreadEngine
from .spreads import Spreads

__all__ = ["OrderDesk"]

#: Orders one request may be about.
MOST = 20

#: What an expTime is.
LONGEST_TIME = 15


class Client(Protocol):
    """A connection that is logged in."""

    account: Account | None
    send: Callable[[str], None]


class OrderDesk:
    """All operations on orders.

    Args:
        world: What there is.
        accounts: Who trades.
        clock_us: The server's clock, Unix microseconds.
        subscribers: Gives all connections.
        later: Calls a function after so many seconds.
        strict: Keep OKX's limits (50011, 50061).
    """

    def __init__(
        self,
        world: World,
        accounts: Iterable[Account],
        *,
        clock_us: Callable[[], int],
        subscribers: Callable[[], Iterable[Subscriber]] = lambda: (),
        later: Callable[[float, Callable[[], None]], object] = lambda delay_s, call: None,
        strict: bool = False,
    ) -> None:
        self._clock_us = clock_us
        self._later = later
        self._strict = strict
        self._rng = random.Random(1)
        self.engine = Engine(world, accounts)
        self.pushes = Publisher(world, subscribers, later)
        self.requests = Requests(world, self.engine, strict, lambda: clock_us() // 1000)
        self.dead_man = DeadManSwitches(world, self.engine)
        self._spread_engine = SpreadEngine(world, self.engine.position_changed)
        self._spread_engine.stepped = self._publish
        self.spreads = Spreads(world, self._spread_engine)
        #: Seconds a request takes on its way to the books.
        self.delay_s = 0.0
        #: Whether the pushes of a request go out before its reply or after it; ``"either"``: as it comes.
        self.push_order: Literal["after", "before", "either"] = "after"
        self.engine.stepped = self._publish

    # ------------------------------------------------------------------ over WebSocket

    def operate(self, client: Client, request: dict[str, Any]) -> None:
        """Act on an operation of a client that is logged in, on its own endpoint."""
        account = client.account
        assert account is not None  # the desk has refused the others
        op, inTime = request["op"], self._clock_us()
        rows = rows_of(request.get("args"), OPS[op][1] if op in OPS else False)
        if rows is None:
            self._refuse(client, request, "60013", "Invalid args", inTime)
        elif op in OPS:
            self._order(client, account, request, rows, inTime)
        elif op == "mass-cancel":
            self._mass_cancel(client, account, request, rows[0])
        else:
            self._spread(client, account, request, rows[0])

    def _order(self, client: Client, account: Account, request: Row, rows: list[Row], inTime: int) -> None:
        what, _ = OPS[request["op"]]
        expires_ms, wrong = None, None
        if what != "cancel":
            expires_ms, wrong = self.expiry(request.get("expTime"))
        if wrong is not None:
            self._refuse(client, request, *wrong, inTime)
            return
        works = self.requests.read(account, what, rows, by_code=True)
        first = works[0].refused
        if len(works) == 1 and first is not None and first.sCode in LIMIT_WORDS:
            self._refuse(client, request, first.sCode, first.sMsg, inTime)
            return

        def carry_out() -> None:
            data = self.requests.run(account, what, works, expires_ms)
            times = {"inTime": str(inTime), "outTime": str(self._clock_us())}
            self._answer(client, {**head(request), "code": code_of(data), "msg": "", "data": data, **times})

        self._when_it_arrives(carry_out)

    def _mass_cancel(self, client: Client, account: Account, request: Row, row: Row) -> None:
        if self._strict and not self.requests.limits.take((account.uid, "mass-cancel"), MASS, self._clock_us() // 1000):
            self._refuse(client, request, "50011", LIMIT_WORDS["50011"], self._clock_us())
            return
        for name, right in (("instType", row.get("instType") == "OPTION"), ("instFamily", bool(row.get("instFamily")))):
            if not right:
                self._refuse(client, request, "51000", f"Parameter {name} error", self._clock_us())
                return
        self.engine.mass_cancel(account, str(row["instFamily"]))
        self._answer(client, {**head(request), "code": "0", "msg": "", "data": [{"result": True}]})

    def _spread(self, client: Client, account: Account, request: Row, row: Row) -> None:
        op = request["op"]
        most = MASS if op == "sprd-mass-cancel" else SPREAD
        if self._strict and not self.requests.limits.take((account.uid, op), most, self._clock_us() // 1000):
            self._answer(client, {**head(request), "code": "50011", "msg": LIMIT_WORDS["50011"], "data": []})
            return

        def carry_out() -> None:
            code, data = self.spreads.act(op, account, row)
            self._answer(client, {**head(request), "code": code, "msg": "", "data": [data]})

        self._when_it_arrives(carry_out)

    def _when_it_arrives(self, carry_out: Callable[[], None]) -> None:
        if self.delay_s > 0:
            self._later(self.delay_s, carry_out)
        else:
            carry_out()

    def _refuse(self, client: Client, request: Row, code: str, msg: str, inTime: int) -> None:
        times = {"inTime": str(inTime), "outTime": str(self._clock_us())}
        self._answer(client, {**head(request), "code": code, "msg": msg, "data": [], **times})

    def _answer(self, client: Client, reply: Row) -> None:
        """Send a reply, and push what has happened, in the order that is set."""
        before = self.push_order == "before" or self.push_order == "either" and self._rng.random() < 0.5
        if before:
            self._publish()
        client.send(orjson.dumps(reply, option=orjson.OPT_SORT_KEYS).decode())
        self._publish()

    def _publish(self) -> None:
        self.pushes.publish([*self._spread_engine.drain(), *self.engine.drain()])

    # ------------------------------------------------------------------ for REST too

    def expiry(self, expTime: object) -> tuple[int | None, tuple[str, str] | None]:
        """Return when a request expires, Unix ms; or OKX's code and words if that is over, or no time."""
        if expTime in (None, ""):
            return None, None
        text = str(expTime)
        if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_TIME):
            return None, ("51000", "Parameter expTime error")
        if int(text) < self._clock_us() // 1000:
            return None, ("50036", "The expTime can't be earlier than the current system time.")
        return int(text), None

    def carry_out(self, account: Account, what: str, rows: list[Row], expires_ms: int | None) -> tuple[Row, list[Work]]:
        """Carry out a request of REST; return its answer, and what was read.

        What happens is pushed before the answer or after it, as `push_order` says.
        """
        inTime = self._clock_us()
        works = self.requests.read(account, what, rows, by_code=False)
        data = self.requests.run(account, what, works, expires_ms)
        if self.push_order == "after":
            self._later(0.0, self._publish)  # the answer is written first
        else:
            self._publish()
        times = {"inTime": str(inTime), "outTime": str(self._clock_us())}
        return {"code": code_of(data), "msg": "", "data": data, **times}, works

    def carry_out_spread(self, account: Account, op: str, row: Row) -> Row:
        """Carry out a request of REST about spreads; return its answer. What happens is pushed as by `carry_out`."""
        code, data = self.spreads.act(op, account, row)
        if self.push_order == "after":
            self._later(0.0, self._publish)
        else:
            self._publish()
        return {"code": code, "msg": "", "data": [data]}


def head(request: Row) -> Row:
    """Return what a reply repeats of its request."""
    return {"id": request.get("id"), "op": request["op"]}


def rows_of(args: object, batch: bool) -> list[Row] | None:
    """Return the rows of a request, or None if they are none, or too many."""
    if not isinstance(args, list) or not args or len(args) > (MOST if batch else 1):
        return None
    return args if all(isinstance(row, dict) for row in args) else None
