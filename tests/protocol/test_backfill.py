"""`protocol.backfill`: what to ask for a hole, what to believe, and what comes out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol.backfill import Trades, Unusable
from okx_ws.protocol.bars import Candles

TRADES = {"channel": "trades", "instId": "BTC-USDT"}
CANDLES = {"channel": "candle1m", "instId": "BTC-USDT"}
MINUTE = 60_000


def push(arg, *rows):
    return json.dumps({"arg": arg, "data": list(rows)}, separators=(",", ":")).encode()


def head(arg):
    return json.dumps({"arg": arg}, separators=(",", ":"))[:-1].encode()


def trade(number, count=None, **fields):
    row = {"instId": "BTC-USDT", "tradeId": str(number), "px": "1", "sz": "2", "side": "buy", "ts": str(1000 + number)}
    return {**row, **({"count": str(count)} if count else {}), **fields}


def candle(start, confirm="1"):
    return [str(start), "1", "2", "1", "2", "5", "5", "5", confirm]


class Rest:
    """An exchange's trades or candles: pages as OKX gives them, the newest first."""

    def __init__(self, numbers, newest=500, page=100, kept=None):
        self.numbers = sorted(numbers)
        self.newest, self.size = newest, page
        self.kept = self.numbers[0] if kept is None and self.numbers else kept
        self.asked = []

    def answer(self, ask):
        self.asked.append(ask)
        after = int(ask.params.get("after", 10**18))
        size = self.size if "history" in ask.path else min(self.newest, int(ask.params["limit"]))
        found = [n for n in self.numbers if n < after and n >= self.kept]
        return [self.row(n) for n in found[-size:][::-1]]

    def row(self, number):
        return trade(number)


class Bars(Rest):
    def answer(self, ask):
        if "history" not in ask.path:
            self.kept, kept = max(self.kept, self.numbers[-1] - 1440 * MINUTE), self.kept
            try:
                return super().answer(ask)
            finally:
                self.kept = kept
        return super().answer(ask)

    def row(self, number):
        return candle(number, "0" if number == self.numbers[-1] else "1")


def run(repair, rest, most=200):
    """Let the repair ask until it has nothing more to ask; return the numbers it gives."""
    for _ in range(most):
        ask = repair.next_ask()
        if ask is None:
            break
        repair.take(ask, rest.answer(ask))
    rows = [json.loads(message)["data"][0] for message in repair.messages()]
    return [int(row["tradeId"] if isinstance(row, dict) else row[0]) for row in rows]


def trades(last=None, first=None, since_ms=0, arg=TRADES):
    repair = Trades(arg, head(arg), None if last is None else push(arg, last), since_ms)
    if first is not None:
        repair.see(push(arg, first))
    return repair


def candles(last=None, first=None, since_ms=0, arg=CANDLES):
    repair = Candles(arg, head(arg), None if last is None else push(arg, last), since_ms)
    if first is not None:
        repair.see(push(arg, first))
    return repair


# ---------------------------------------------------------------------------------------------------------- trades


def test_the_trades_of_a_hole_come_one_by_one_in_order_and_marked():
    """Acceptance 86: shaped as the channel's own, with a count, since each is one trade."""
    repair = trades(trade(10), trade(14))
    assert run(repair, Rest(range(1, 20))) == [11, 12, 13] and repair.missing() == ""
    message = json.loads(repair.messages()[0])
    assert message == {"arg": TRADES, "data": [trade(11, 1)], "backfill": True}


def test_an_aggregated_push_stands_for_all_its_trades():
    """Acceptance 86: count 3 up to tradeId 14 is 12, 13 and 14; a whole one before the hole ends at its tradeId."""
    assert run(trades(trade(10, 4), trade(14, 3)), Rest(range(1, 20))) == [11]


def test_nothing_is_asked_where_nothing_is_missing():
    """The first message after the loss follows the last one before it; or the numbers begin anew."""
    for first in (trade(11), trade(13, 3), trade(5, ts="9999")):
        repair = trades(trade(10), first)
        assert repair.next_ask() is None and repair.messages() == [] and repair.missing() == ""


def test_an_older_hole_is_read_further_back_page_by_page():
    """`trades` has the newest 500; `history-trades` the rest, by tradeId."""
    rest = Rest(range(1, 2000))
    assert run(trades(trade(700), trade(1999)), rest) == list(range(701, 1999))
    assert [ask.path.rpartition("/")[2] for ask in rest.asked] == ["trades"] + 8 * ["history-trades"]
    assert rest.asked[1].params == {"instId": "BTC-USDT", "type": "1", "after": "1500", "limit": "100"}


def test_what_rest_has_forgotten_is_named():
    """Acceptance 86: `missing` says which tradeIds; what could be had is given."""
    repair = trades(trade(100), trade(1999))
    assert run(repair, Rest(range(1, 2000), kept=1200)) == list(range(1200, 1999))
    assert repair.missing() == "tradeId from 101 to 1199"


def test_an_answer_that_lags_behind_is_asked_for_again():
    """REST's caches are younger than the stream: until it shows what the stream has shown."""
    repair = trades(trade(10), trade(20))
    ask = repair.next_ask()
    assert ask.pause_s == 0
    repair.take(ask, [trade(n) for n in range(15, 5, -1)])
    assert repair.missing() == "tradeId from 16 to 19"
    ask = repair.next_ask()
    assert ask.pause_s > 0 and "after" not in ask.params
    assert run(repair, Rest(range(1, 30))) == list(range(11, 20)) and repair.missing() == ""


def test_a_quiet_market_is_read_to_its_end_and_what_follows_finds_its_place():
    """No message has come: all that REST has is given; then what it told already is known, and a jump is a gap."""
    repair = trades(trade(10))
    assert run(repair, Rest(range(1, 15))) == [11, 12, 13, 14] and repair.missing() == ""
    assert repair.place_of(push(TRADES, trade(14))) == repair.place_of(push(TRADES, trade(12, 2))) == "known"
    assert repair.place_of(push(TRADES, trade(15))) == repair.place_of(push(TRADES, trade(17, 3))) == "next"
    assert repair.place_of(push(TRADES, trade(17))) == "gap"


def test_numbers_that_are_left_out_are_not_missing_where_the_page_goes_over_them():
    """OKX does not promise that tradeIds have no holes."""
    repair = trades(trade(10), trade(20))
    assert run(repair, Rest([1, 5, 10, 13, 17, 20, 21])) == [13, 17] and repair.missing() == ""


def test_without_a_message_before_the_hole_its_time_counts():
    """From when it was acknowledged, by a clock that may be five seconds ahead: too much is better than too little."""
    repair = trades(None, trade(20), since_ms=6015)
    assert run(repair, Rest(range(1, 30))) == [15, 16, 17, 18, 19] and repair.missing() == ""


@pytest.mark.parametrize(
    "rows",
    [
        [None],
        [{}],
        [["1", "2"]],
        [trade(12, instId="ETH-USDT")],
        [trade(12, tradeId="twelve")],
        [trade(12, tradeId=12)],
        [trade(12, px=None)],
        [],
    ],
)
def test_an_answer_that_cannot_be_right_is_not_believed(rows):
    """A lie ends the repair; nothing of it is delivered."""
    repair = trades(trade(10), trade(14))
    with pytest.raises(Unusable):
        repair.take(repair.next_ask(), rows)
    assert repair.messages() == [] and repair.missing() == "tradeId from 11 to 13"


def test_a_page_that_does_not_go_back_is_not_believed():
    """Else it would be asked for for ever."""
    repair = trades(trade(10), trade(900))
    repair.take(repair.next_ask(), [trade(n) for n in range(899, 500, -1)])
    with pytest.raises(Unusable, match="older than 501"):
        repair.take(repair.next_ask(), [trade(n) for n in range(899, 800, -1)])


def test_what_was_delivered_already_is_no_beginning():
    """REST was quicker than the stream, in the hole before: what it told comes late."""
    repair = trades(trade(10), trade(9))
    assert repair.low is None and repair.place_of(push(TRADES, trade(9))) == "known"
    assert repair.place_of(push(TRADES, trade(9, ts="9999"))) == "next", "younger, whatever its number"


@given(
    st.sets(st.integers(1, 400), min_size=5),
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(3, 60),
    st.integers(3, 60),
    st.integers(0, 200),
    st.booleans(),
)
def test_trades_of_any_history_come_once_in_order_or_are_missing(numbers, one, two, newest, page, kept, seen):
    """Property: whatever was traded, wherever the hole is, and however REST cuts its pages and forgets."""
    known = sorted(numbers)
    last, first = known[min(one, two) % (len(known) - 1)], known[-1]
    repair = trades(trade(last), trade(first) if seen else None)
    got = run(repair, Rest(known, newest, page, kept=min(kept, first)))
    wanted = [n for n in known if last < n and (n < first or not seen)]
    assert got == [n for n in wanted if n >= kept or n == first]
    lost = [n for n in wanted if n not in got]
    assert repair.missing() or not lost
    if lost:
        begin, end = repair.missing().split(" ")[2::2]
        assert int(begin) <= lost[0] and lost[-1] <= int(end)


# ---------------------------------------------------------------------------------------------------------- candles


def test_every_closed_candle_of_a_hole_comes_once():
    """Acceptance 87: the one that was open before, those between, and not the one that is open now."""
    rest = Bars(range(0, 100 * MINUTE, MINUTE))
    repair = candles(candle(10 * MINUTE, "0"), candle(14 * MINUTE, "0"))
    assert run(repair, rest) == [n * MINUTE for n in (10, 11, 12, 13)] and repair.missing() == ""
    assert rest.asked[0].params == {"instId": "BTC-USDT", "bar": "1m", "limit": "300", "after": str(14 * MINUTE)}
    assert run(candles(candle(10 * MINUTE, "1"), candle(14 * MINUTE, "1")), rest) == [n * MINUTE for n in (11, 12, 13)]


@pytest.mark.parametrize(("confirm", "next_bar"), [("0", 10), ("1", 11)])
def test_candles_that_follow_leave_no_hole(confirm, next_bar):
    """The same bar goes on, or the next one has begun."""
    assert candles(candle(10 * MINUTE, confirm), candle(next_bar * MINUTE, "0")).next_ask() is None


def test_the_bar_that_closed_in_the_hole_is_awaited_where_rest_lags():
    """REST still shows it open: it is asked again, until it is closed or time is up."""
    repair = candles(candle(10 * MINUTE, "0"), candle(11 * MINUTE, "0"))
    repair.take(repair.next_ask(), [candle(10 * MINUTE, "0"), candle(9 * MINUTE)])
    assert repair.messages() == [] and repair.missing() == f"candles from {10 * MINUTE} to {11 * MINUTE - 1}"
    assert repair.next_ask().pause_s > 0
    repair.take(repair.next_ask(), [candle(10 * MINUTE), candle(9 * MINUTE)])
    assert repair.next_ask() is None and len(repair.messages()) == 1 and repair.missing() == ""


def test_a_bar_that_rest_told_before_the_stream_comes_once():
    """Acceptance 87: REST was quicker than the first live message; one that comes too late to follow is a gap."""
    repair = candles(candle(10 * MINUTE))
    assert run(repair, Bars([n * MINUTE for n in range(5, 14)])) == [11 * MINUTE, 12 * MINUTE]
    assert repair.place_of(push(CANDLES, candle(12 * MINUTE))) == "known"
    assert repair.place_of(push(CANDLES, candle(11 * MINUTE, "0"))) == "known", "it is closed: it does not open again"
    assert repair.place_of(push(CANDLES, candle(13 * MINUTE, "0"))) == "next"
    assert repair.place_of(push(CANDLES, candle(12 * MINUTE), candle(13 * MINUTE, "0"))) == "next"
    assert repair.place_of(push(CANDLES, candle(14 * MINUTE, "0"))) == "gap"


def test_bars_that_do_not_exist_are_asked_for_twice_and_then_believed():
    """An instrument that was suspended has none."""
    repair = candles(candle(10 * MINUTE, "0"), candle(20 * MINUTE, "0"))
    rows = [candle(n * MINUTE) for n in (12, 11, 10, 9)]
    repair.take(repair.next_ask(), rows)
    repair.take(repair.next_ask(), rows)
    assert repair.next_ask() is None and len(repair.messages()) == 3 and repair.missing() == ""


def test_older_candles_come_from_the_history():
    """`candles` has the newest 1 440."""
    rest = Bars(range(0, 3000 * MINUTE, MINUTE))
    repair = candles(candle(100 * MINUTE, "1"), candle(2999 * MINUTE, "0"))
    assert run(repair, rest) == [n * MINUTE for n in range(101, 2999)] and repair.missing() == ""
    assert {ask.path for ask in rest.asked} == {"/api/v5/market/candles", "/api/v5/market/history-candles"}


@pytest.mark.parametrize(
    ("channel", "path", "place"),
    [
        ("mark-price-candle1H", "mark-price-candles", {"instId": "X", "bar": "1H"}),
        ("index-candle1Dutc", "index-candles", {"instId": "X", "bar": "1Dutc"}),
        ("sprd-candle1m", "sprd-candles", {"sprdId": "X", "bar": "1m"}),
        ("candle3M", "candles", {"instId": "X", "bar": "3M"}),
    ],
)
def test_each_family_of_candles_has_its_endpoint(channel, path, place):
    """And months, whose bars are uneven, are read back all the same."""
    arg = {"channel": channel, "sprdId" if "sprd" in channel else "instId": "X"}
    ask = candles(candle(0)[:5] + ["1"], candle(400 * 86_400_000)[:5] + ["0"], arg=arg).next_ask()
    assert ask.path == f"/api/v5/market/{path}" and place.items() <= ask.params.items()


@pytest.mark.parametrize("row", [None, {}, ["1"], ["x", "1", "1", "1", "1", "1"], [1, 2, 3, 4, 5, 6]])
def test_candles_that_are_none_are_not_believed(row):
    """A lie ends the repair."""
    repair = candles(candle(0), candle(10 * MINUTE, "0"))
    with pytest.raises(Unusable):
        repair.take(repair.next_ask(), [row])


@given(st.integers(0, 900), st.integers(1, 900), st.booleans(), st.booleans(), st.integers(2, 300), st.integers(0, 500))
def test_candles_of_any_hole_come_once_in_order_or_are_missing(start, length, closed, seen, page, kept):
    """Property: wherever the hole is, and however far REST goes back."""
    bars = [n * MINUTE for n in range(start + length + 1)]
    repair = candles(candle(bars[start], "1" if closed else "0"), candle(bars[-1], "0") if seen else None)
    got = run(repair, Bars(bars, newest=page, page=page, kept=kept * MINUTE), most=2000)
    wanted = bars[start + closed : -1]
    assert got == [n for n in wanted if n >= kept * MINUTE]
    assert bool(repair.missing()) == (got != wanted) or seen is False
