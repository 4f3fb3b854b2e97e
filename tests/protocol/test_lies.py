"""Every repair against a REST that lies: what cannot be right is refused whole, what is only untidy does no harm."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.protocol.backfill import Trades, Unusable
from okx_ws.protocol.bars import Candles
from okx_ws.protocol.latest import LatestTrades, TradeMemory
from okx_ws.protocol.reconcile import FILLS, ORDER, PENDING, Fills, FundingRate, OrderMemory, Orders

SINCE = 1_700_000_000_000
MINUTE = 60_000

#: What a field may turn into; and one that may be any text.
JUNK = [None, 7, 1.5, "", "x", "1e", "-", [], {}, True]
NO_TEXT = [value for value in JUNK if not value or not isinstance(value, str)]
TEXTS = ("ordId", "instId", "state")


def push(arg, *rows):
    return json.dumps({"arg": arg, "data": list(rows)}, separators=(",", ":")).encode()


def head(arg):
    return push(arg).partition(b',"data"')[0]


def begin(kind, arg, last, *more):
    return kind(arg, head(arg), push(arg, last), SINCE, *more)


class Market:
    """Trades, of which REST has 500 and pages of 100."""

    arg = {"channel": "trades", "instId": "BTC-USDT"}
    essential = ["instId", "tradeId", "px", "sz", "side", "ts"]

    def row(self, number):
        row = {"instId": "BTC-USDT", "tradeId": str(number), "px": "1.5", "sz": "2", "side": "buy"}
        return {**row, "ts": str(SINCE + number)}

    def begin(self):
        repair = begin(Trades, self.arg, self.row(10))
        repair.see(push(self.arg, self.row(900)))
        return repair

    def answer(self, ask):
        after = int(ask.params.get("after", 1_000))
        return [self.row(number) for number in range(after - 1, after - int(ask.params["limit"]) - 1, -1) if number > 0]

    @property
    def truth(self):
        return [{**self.row(number), "count": "1"} for number in range(11, 900)]


class Bars(Market):
    """Candles."""

    arg = {"channel": "candle1m", "instId": "BTC-USDT"}
    essential = [0, 1, 2, 3, 4, -1]

    def row(self, number, confirm="1"):
        return [str(SINCE // MINUTE * MINUTE + number * MINUTE), "1", "2.5", "1", "2", "5", "5", "5", confirm]

    def begin(self):
        repair = begin(Candles, self.arg, self.row(10))
        repair.see(push(self.arg, self.row(500, "0")))
        return repair

    def answer(self, ask):
        numbers = [number for number in range(520, 0, -1) if int(self.row(number)[0]) < int(ask.params["after"])]
        return [self.row(number) for number in numbers[: int(ask.params["limit"])]]

    @property
    def truth(self):
        return [self.row(number) for number in range(11, 500)]


class Spread(Market):
    """Trades of a spread."""

    arg = {"channel": "sprd-public-trades", "sprdId": "S"}
    essential = ["sprdId", "tradeId", "px", "sz", "side", "ts"]

    def row(self, number):
        row = super().row(number)
        return {"sprdId": "S", **{name: row[name] for name in self.essential[1:]}}

    def begin(self):
        repair = begin(LatestTrades, self.arg, self.row(100), TradeMemory())
        repair.see(push(self.arg, self.row(300)))
        return repair

    def answer(self, ask):
        return [self.row(number) for number in range(310, 0, -10)]

    @property
    def truth(self):
        return [self.row(number) for number in range(110, 300, 10)]


class Account(Market):
    """Orders: 150 are open, of two that were one was filled, and one canceled."""

    arg = {"channel": "orders", "instType": "SPOT", "instId": "BTC-USDT"}
    essential = ["ordId", "instId", "state", "uTime"]

    def row(self, number, state="live"):
        row = {"instType": "SPOT", "instId": "BTC-USDT", "ordId": str(number), "state": state, "accFillSz": "0"}
        return {**row, "uTime": str(SINCE + number)}

    def begin(self):
        memory = OrderMemory()
        memory.learn([self.row(1), self.row(2)])
        return begin(Orders, self.arg, self.row(2), memory)

    def fill(self, number):
        return {**self.row(number), "tradeId": str(number), "billId": str(number), "ts": str(SINCE + number)}

    def answer(self, ask):
        if ask.path == ORDER:
            return [self.row(int(ask.params["ordId"]), "filled" if ask.params["ordId"] == "1" else "canceled")]
        assert ask.path in (PENDING, FILLS)
        first = int(ask.params.get("after", 10**9))
        if ask.path == FILLS:
            return [self.fill(1)] if first > 1 else []
        return [self.row(number) for number in range(min(first, 160) - 1, 9, -1)][:100]

    @property
    def truth(self):
        return [self.row(1, "filled"), self.row(2, "canceled"), *map(self.row, range(10, 160))]


class Own(Account):
    """Fills."""

    arg = {"channel": "fills"}
    essential = ["ordId", "instId", "tradeId", "ts"]

    def begin(self):
        return begin(Fills, self.arg, self.fill(1))

    def answer(self, ask):
        return [self.fill(number) for number in range(min(int(ask.params.get("after", 10**9)), 160) - 1, 0, -1)][:100]

    @property
    def truth(self):
        return [{"count": "1", **self.fill(number)} for number in range(2, 160)]


class Rate(Market):
    """The funding rate."""

    arg = {"channel": "funding-rate", "instId": "BTC-USDT-SWAP"}
    essential = ["instId", "ts"]

    def row(self, number):
        return {"instId": "BTC-USDT-SWAP", "fundingRate": "0.0001", "ts": str(SINCE + number)}

    def begin(self):
        return begin(FundingRate, self.arg, self.row(1))

    def answer(self, ask):
        return [self.row(2)]

    @property
    def truth(self):
        return [self.row(2)]


KINDS = [Market, Bars, Spread, Account, Own, Rate]


def turned(row, place, value):
    """Return a row with another value at a place."""
    new = row.copy()
    new[place] = value
    return new


def lie(draw, kind, ask, rows):
    """Return a false answer, and whether it must be refused."""
    how = draw(st.sampled_from(["junk", "gone", "foreign", "no row", "double", "shuffle"]))
    at = draw(st.integers(0, len(rows) - 1)) if rows else 0
    if not rows or how == "shuffle":
        return draw(st.permutations(rows)), False
    place = draw(st.sampled_from(Own.essential if ask.path == FILLS else kind.essential))
    names = [name for name in ("instId", "sprdId") if name in kind.arg]
    false = rows[at]
    if how == "junk":
        false = turned(false, place, draw(st.sampled_from(NO_TEXT if place in TEXTS else JUNK)))
    elif how == "gone":
        false = false.copy()
        del false[place]
    elif how == "foreign" and isinstance(false, list):
        false = turned(false, 0, str(int(false[0]) + 7))
    elif how == "foreign" and names:
        false = turned(false, names[0], "DOGE-USDT")
    elif how == "no row":
        false = draw(st.sampled_from([None, 1, "x", []]))
    else:
        return [*rows[: at + 1], *rows[at:]], False
    return [*rows[:at], false, *rows[at + 1 :]], True


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_lie_changes_nothing(kind, data):
    """Property: lies that can be seen are refused and leave no trace; doubles and disorder do no harm."""
    kind = kind()
    repair = kind.begin()
    for _ in range(60):
        ask = repair.next_ask()
        if ask is None:
            break
        rows = kind.answer(ask)
        if data.draw(st.booleans()):
            false, refused = lie(data.draw, kind, ask, rows)
            if refused:
                with pytest.raises(Unusable):
                    repair.take(ask, false)
                assert repair.next_ask() == ask, "it is asked again"
                continue
            rows = false if len(rows) > 1 else rows
        repair.take(ask, rows)
    while (ask := repair.next_ask()) is not None:
        repair.take(ask, kind.answer(ask))
    got = [row for message in repair.messages() for row in json.loads(message)["data"]]
    assert got == kind.truth and repair.missing() == ""
