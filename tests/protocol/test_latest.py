"""`protocol.latest`: trades of options and spreads, from the newest that REST has."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol.backfill import Unusable
from okx_ws.protocol.latest import LatestTrades, TradeMemory
from okx_ws.protocol.memories import memory_of
from okx_ws.protocol.reconcile import repair_of

FAMILY = {"channel": "option-trades", "instType": "OPTION", "instFamily": "BTC-USD"}
OPTION = {"channel": "option-trades", "instType": "OPTION", "instId": "BTC-USD-270101-1-C"}
SPREAD = {"channel": "sprd-public-trades", "sprdId": "BTC-USDT_BTC-USDT-SWAP"}
SINCE = 1_700_000_000_000


def option(place, id, ts=None):
    row = {"instId": f"BTC-USD-270101-{place}-C", "instFamily": "BTC-USD", "tradeId": str(id), "px": "1", "sz": "1"}
    return {**row, "side": "buy", "ts": str(SINCE + (id if ts is None else ts))}


def spread(id, sprdId=SPREAD["sprdId"]):
    return {"sprdId": sprdId, "tradeId": str(id), "px": "-1", "sz": "1", "side": "sell", "ts": str(SINCE + id)}


def push(arg, *rows):
    return json.dumps({"arg": arg, "data": list(rows)}, separators=(",", ":")).encode()


def repair(arg, *before, since_ms=SINCE):
    memory = TradeMemory()
    memory.learn(before)
    last = push(arg, before[-1]) if before else None
    return LatestTrades(arg, push(arg).partition(b',"data"')[0], last, since_ms, memory)


def ids(found):
    return [int(row["tradeId"]) for message in found.messages() for row in json.loads(message)["data"]]


@pytest.mark.parametrize(
    ("arg", "path", "params"),
    [
        (FAMILY, "/api/v5/public/option-trades", {"instFamily": "BTC-USD"}),
        (OPTION, "/api/v5/public/option-trades", {"instId": OPTION["instId"]}),
        (SPREAD, "/api/v5/sprd/public-trades", {"sprdId": SPREAD["sprdId"]}),
    ],
)
def test_what_is_asked(arg, path, params):
    """One endpoint for options, by instrument or by family; one for spreads."""
    ask = repair_of(arg, b"", None, SINCE).next_ask()
    assert (ask.path, ask.params, ask.pause_s) == (path, params, 0.0)
    memory = memory_of(arg["channel"])
    assert memory is None or isinstance(memory, TradeMemory)


def test_the_missing_ones_come_in_order_and_end_before_the_first_live_one():
    """Numbers with holes between them; a row of the page is what the message is."""
    one = repair(SPREAD, spread(10))
    assert one.waits
    one.see(push(SPREAD, spread(40)))
    assert not one.waits
    one.take(one.next_ask(), [spread(id) for id in (50, 40, 30, 20, 10, 5)])
    assert one.next_ask() is None and ids(one) == [20, 30] and one.missing() == ""
    assert json.loads(one.messages()[0]) == {"arg": SPREAD, "data": [spread(20)], "backfill": True}


def test_a_page_that_lags_is_asked_for_again():
    """Until it shows the first live one; what it never shows is named."""
    one = repair(SPREAD, spread(10))
    one.see(push(SPREAD, spread(40)))
    one.take(one.next_ask(), [spread(20), spread(10)])
    assert one.next_ask().pause_s > 0 and "just before tradeId 40" in one.missing()
    one.take(one.next_ask(), [spread(id) for id in (40, 30, 20)])
    assert one.next_ask() is None and ids(one) == [20, 30] and one.missing() == ""


def test_a_hole_that_is_older_than_the_page_is_named():
    """REST has only so many."""
    one = repair(FAMILY, option("1", 1))
    one.take(one.next_ask(), [option("2", id) for id in range(300, 200, -1)])
    assert one.next_ask() is None and ids(one) == list(range(201, 301))
    assert one.missing() == f"what was traded from {SINCE} to {SINCE + 201} (Unix ms): REST has the last 100"


def test_of_a_family_each_option_has_its_own_numbers():
    """A trade that OKX has kept, of before the hole, proves nothing; nor is it delivered again."""
    one = repair(FAMILY, option("1", 70, 0), option("2", 5, 0), since_ms=SINCE)
    one.see(push(FAMILY, option("1", 70, 0)))
    one.see(push(FAMILY, option("3", 8, -50)))
    assert one.waits
    one.see(push(FAMILY, option("2", 8, 30)))
    page = [option("2", 9, 40), option("2", 8, 30), option("1", 71, 30), option("2", 6, 20), option("4", 1, 10)]
    one.take(one.next_ask(), [*page, option("2", 5, 0), option("1", 70, 0), option("3", 8, -50)])
    assert [json.loads(m)["data"][0] for m in one.messages()] == [page[4], page[3], page[2]]
    assert one.missing() == "" and one.next_ask() is None
    assert one.place_of(push(FAMILY, option("1", 71, 30))) == "known", "REST was quicker than the stream"
    assert one.place_of(push(FAMILY, option("3", 8, -50))) == "known"
    assert [one.place_of(push(FAMILY, option(*new))) for new in (("2", 9), ("1", 72), ("5", 1))] == ["next"] * 3
    assert one.place_of(b"{") == "next"


def test_without_a_trade_before_the_hole_the_time_tells():
    """What is older than the hole was not missed, our clock being right; a page that is not full is all there is."""
    one = repair(SPREAD)
    one.take(one.next_ask(), [spread(3), spread(2), {**spread(1), "ts": str(SINCE - 5001)}])
    assert ids(one) == [2, 3] and one.missing() == ""
    one = repair(SPREAD)
    one.take(one.next_ask(), [])
    assert one.messages() == [] and one.missing() == "" and one.next_ask() is None
    one = repair(SPREAD)
    assert one.missing() == f"what was traded since {SINCE - 5000} (Unix ms)"
    one.take(one.next_ask(), [spread(id) for id in range(600, 100, -1)])
    assert one.missing().startswith(f"what was traded from {SINCE - 5000} to {SINCE + 101}")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [1],
        [{"sprdId": SPREAD["sprdId"]}],
        [spread(11, "ETH-USDT_ETH-USDT-SWAP")],
        [option("1", 3)],
        [{**spread(11), "tradeId": 11}],
        [{**spread(11), "ts": "soon"}],
        [{**spread(11), "px": None}],
    ],
)
def test_an_answer_that_cannot_be_right_is_refused(rows):
    """A wrong number is never served."""
    one = repair(SPREAD, spread(10))
    with pytest.raises(Unusable):
        one.take(one.next_ask(), rows)
    assert one.messages() == []


def test_the_memory_is_bounded(monkeypatch):
    """Options expire; who was heard of longest ago is forgotten."""
    monkeypatch.setattr("okx_ws.protocol.latest.MOST_PLACES", 2)
    memory = TradeMemory()
    memory.learn([option("1", 1), option("2", 1), option("1", 2), "?", option("3", 1), option("1", 1)])
    assert memory.newest == {"BTC-USD-270101-1-C": 2, "BTC-USD-270101-3-C": 1}


@given(st.lists(st.tuples(st.sampled_from("123"), st.integers(1, 4), st.integers(0, 3)), min_size=2), st.data())
def test_before_filled_and_after_are_all_there_was(steps, data):
    """Property: whatever was lost, and however far REST is ahead of the stream or doubles its rows, each comes once."""
    numbers, ts, market = dict.fromkeys("123", 0), 0, []
    for place, step, pause in steps:
        numbers[place] += step
        ts += pause
        market.append(option(place, numbers[place], ts))
    lost_from = data.draw(st.integers(1, len(market)))
    back_at = data.draw(st.integers(lost_from, len(market)))
    ahead = data.draw(st.integers(0, len(market) - back_at))
    before, after = market[:lost_from], market[back_at:]
    one = repair(FAMILY, *before, since_ms=int(before[-1]["ts"]))
    for row in after[:-ahead] if ahead else after:
        one.see(push(FAMILY, row))
    page = [*reversed(market), *before[-1:]]
    one.take(one.next_ask(), page)
    assert one.next_ask() is None and one.missing() == ""
    filled = [json.loads(message)["data"][0] for message in one.messages()]
    got = before + filled + [row for row in after if one.place_of(push(FAMILY, row)) == "next"]
    assert sorted(got, key=market.index) == market and len(got) == len(market), "each once"
    for place in "123":
        own = [row for row in got if row["instId"] == option(place, 1)["instId"]]
        assert own == sorted(own, key=lambda row: int(row["tradeId"])), "of each option in order"
