"""`protocol.reconcile`: what orders, fills and the funding rate have become while nobody listened."""

import json

import pytest

from okx_ws.protocol.backfill import Unusable
from okx_ws.protocol.memories import MOST_OPEN, MOST_OVER, FillMemory, OrderMemory, memory_of
from okx_ws.protocol.reconcile import (
    ARCHIVE,
    FILLS,
    HISTORY,
    ORDER,
    PENDING,
    Fills,
    FundingRate,
    Orders,
    repair_of,
)

ORDERS = {"channel": "orders", "instType": "ANY"}
FILL_ARG = {"channel": "fills"}
RATE = {"channel": "funding-rate", "instId": "BTC-USDT-SWAP"}
SINCE = 1_000_000


def order(ordId, state="live", uTime=SINCE, accFillSz="0"):
    row = {"instId": "BTC-USDT", "ordId": str(ordId), "state": state, "uTime": str(uTime), "accFillSz": accFillSz}
    return {"instType": "SPOT", **row}


def fill(tradeId, ordId=1, ts=SINCE + 1, instId="BTC-USDT", **more):
    return {
        "instId": instId,
        "tradeId": str(tradeId),
        "ordId": str(ordId),
        "ts": str(ts),
        "billId": str(tradeId),
        **more,
    }


def push(arg, *rows):
    return json.dumps({"arg": arg, "data": list(rows)}, separators=(",", ":")).encode()


def head(arg):
    return push(arg).partition(b',"data"')[0]


class Rest:
    """Lists and orders as REST gives them; `over` stands in its history, `old` in that of three months."""

    def __init__(self, pending=(), fills=(), orders=(), over=(), old=()):
        self.lists = {
            PENDING: ("ordId", list(pending)),
            FILLS: ("billId", list(fills)),
            HISTORY: ("ordId", list(over)),
            ARCHIVE: ("ordId", list(old)),
        }
        self.orders = {row["ordId"]: row for row in orders}
        self.asked = []

    def serve(self, repair):
        while (ask := repair.next_ask()) is not None:
            self.asked.append(ask)
            if ask.path == ORDER:
                row = self.orders.get(ask.params["ordId"])
                if row is None:
                    assert repair.refused(ask, "51603")
                else:
                    repair.take(ask, [row])
                continue
            repair.take(ask, self.page(ask))
        return [json.loads(message)["data"][0] for message in repair.messages()]

    def page(self, ask):
        name, rows = self.lists[ask.path]
        if ask.path in (HISTORY, ARCHIVE):
            rows = [row for row in rows if row["instType"] == ask.params["instType"]]
            rows = [row for row in rows if int(row.get("cTime", SINCE)) >= int(ask.params.get("begin", 0))]
        rows = [row for row in rows if int(row[name]) < int(ask.params.get("after", 10**9))]
        return rows[: int(ask.params["limit"])]


def orders(*before, arg=ORDERS):
    memory = OrderMemory()
    memory.learn(before)
    last = push({**arg, "uid": "7"}, before[-1]) if before else None
    return Orders(arg, head({**arg, "uid": "7"}), last, SINCE, memory)


def test_orders_that_changed_come_once_in_the_order_of_their_changes():
    """Acceptance 90: canceled, filled, changed and new ones; not those that are as they were."""
    repair = orders(order(1), order(2), order(3), order(4))
    canceled, filled = order(1, "canceled", SINCE + 30), order(2, "filled", SINCE + 10, "5")
    partly, new = order(3, "partially_filled", SINCE + 20, "2"), order(9, "live", SINCE + 40)
    rest = Rest([new, order(4), partly], [fill(1, ordId=2), fill(2, ordId=3)], [canceled, filled])
    assert rest.serve(repair) == [filled, partly, canceled, new] and repair.missing() == ""
    assert json.loads(repair.messages()[0]) == {"arg": {**ORDERS, "uid": "7"}, "data": [filled], "backfill": True}
    assert [ask.params for ask in rest.asked if ask.path == ORDER] == [
        {"instId": "BTC-USDT", "ordId": "1"},
        {"instId": "BTC-USDT", "ordId": "2"},
    ]


def test_an_order_that_came_and_went_is_found_by_its_fill():
    """It is in no list of open orders, and nobody knew it."""
    repair = orders()
    gone = order(5, "filled", SINCE + 5, "1")
    assert Rest([], [fill(1, ordId=5)], [gone]).serve(repair) == [gone]


def test_what_the_stream_tells_itself_is_left_to_it():
    """A message came after the hole: what REST says of that order might be older, or newer, than the next one."""
    repair = orders(order(1))
    repair.see(push(ORDERS, order(1, "filled", SINCE + 50)))
    rest = Rest([order(1, "partially_filled", SINCE + 20, "1")])
    assert rest.serve(repair) == [] and repair.missing() == ""


def test_a_push_that_rest_was_quicker_than_is_known():
    """The same state twice is one too many; the next one is news."""
    repair = orders(order(1))
    filled = order(1, "filled", SINCE + 9, "5")
    assert Rest([], [], [filled]).serve(repair) == [filled]
    assert repair.place_of(push(ORDERS, filled)) == "known"
    assert repair.place_of(push(ORDERS, filled, order(2))) == repair.place_of(push(ORDERS, order(2))) == "next"


def test_an_order_that_okx_has_forgotten_is_named():
    """Canceled without a fill, and long ago."""
    repair = orders(order(1))
    assert Rest().serve(repair) == [] and repair.missing() == "what became of the orders 1"


@pytest.mark.parametrize("where", ["over", "old"])
def test_an_order_that_its_question_does_not_find_any_more_is_found_in_its_history(where):
    """Acceptance 90: it was open before the hole, and `order` says 51603; of the last days, or of three months."""
    repair = orders(order(7))
    filled = {**order(7, "filled", SINCE + 5, "1"), "cTime": "1"}
    others = [{**order(n, "filled", SINCE - 5, "1"), "cTime": "1"} for n in (9, 8, 6)]
    rest = Rest(**{where: [*others[:2], filled, others[2]]})
    assert rest.serve(repair) == [filled] and repair.missing() == ""
    asked = [ask for ask in rest.asked if ask.path in (ORDER, HISTORY, ARCHIVE) and "begin" not in ask.params]
    assert [ask.path for ask in asked] == [ORDER, HISTORY] + [ARCHIVE] * (where == "old")
    assert asked[-1].params == {"instType": "SPOT", "instId": "BTC-USDT", "after": "8", "limit": "1"}


def test_an_order_that_came_and_went_without_a_fill_is_found_in_the_history():
    """Acceptance 90: nobody had heard of it, it is not open, and no fill tells of it."""
    repair = orders()
    gone = {**order(5, "canceled", SINCE + 5), "instType": "SWAP", "cTime": str(SINCE + 1)}
    rest = Rest(over=[gone, {**order(4, "canceled", SINCE - 9000), "cTime": str(SINCE - 9000)}])
    assert rest.serve(repair) == [gone] and repair.missing() == ""
    types = [ask.params["instType"] for ask in rest.asked if ask.path == HISTORY]
    assert types == ["SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"]
    narrow = Rest()
    narrow.serve(orders({**order(1), "instType": "EVENTS"}, arg={"channel": "orders", "instType": "SWAP"}))
    assert [ask.params["instType"] for ask in narrow.asked if ask.params.get("begin") and ask.path == HISTORY] == [
        "SWAP"
    ]


def test_of_orders_that_nobody_has_told_of_all_is_found_but_a_cancellation():
    """They were placed before the stream was subscribed; REST lists those that are over by when they were placed."""
    changed, filled, gone = (
        order(3, uTime=SINCE + 3),
        order(4, "filled", SINCE + 4, "1"),
        order(5, "canceled", SINCE + 5),
    )
    over = [{**row, "cTime": str(SINCE - 9000)} for row in (gone, filled)]
    repair = orders()
    assert Rest([changed, order(2, uTime=SINCE - 9000)], [fill(1, ordId=4)], over, over).serve(repair) == [
        changed,
        over[1],
    ]
    assert repair.missing() == "", "see README"


def test_a_history_that_okx_does_not_have_is_no_hole():
    """A type it added, or does not list: 51000."""
    repair = orders({**order(1), "instType": "EVENTS"})
    rest, paths = Rest([order(1)]), []
    while (ask := repair.next_ask()) is not None:
        paths.append(ask.path)
        if ask.path == HISTORY and ask.params["instType"] == "EVENTS":
            assert not repair.refused(ask, "50011") and repair.refused(ask, "51000")
        else:
            repair.take(ask, rest.page(ask))
    assert paths.count(HISTORY) == 6 and repair.missing() == ""


def test_an_order_whose_end_was_told_before_the_hole_is_not_told_again():
    """The hole begins with that very message, and REST's lists begin there, too."""
    repair = orders(order(1), order(1, "filled", SINCE, "5"))
    rest = Rest(
        [], [fill(1, ordId=1, ts=SINCE)], [order(1, "filled", SINCE, "5")], over=[order(1, "filled", SINCE, "5")]
    )
    assert rest.serve(repair) == [] and repair.missing() == ""
    assert ORDER not in [ask.path for ask in rest.asked]


def test_more_rows_than_a_repair_takes_are_told_as_missing():
    """10,000: what is older is not there, and nobody shall think that all is well."""
    repair = orders()
    rest = Rest([order(n, uTime=SINCE + 1) for n in range(10_500, 0, -1)])
    assert len(rest.serve(repair)) == 10_000 and "in part" in repair.missing()


def test_lists_are_read_page_by_page():
    """100 rows each, by ordId and billId; narrowed as the subscription is."""
    arg = {"channel": "orders", "instType": "SPOT", "instId": "BTC-USDT"}
    rest = Rest([order(n, uTime=SINCE + n) for n in range(250, 0, -1)])
    assert len(rest.serve(orders(arg=arg))) == 250
    pages = [ask.params for ask in rest.asked if ask.path == PENDING]
    assert [page.get("after") for page in pages] == [None, "151", "51"]
    assert pages[0] == {"instType": "SPOT", "instId": "BTC-USDT", "limit": "100"}


def test_time_that_is_up_leaves_something_missing():
    """And says since when."""
    assert str(SINCE) in orders(order(1)).missing()


@pytest.mark.parametrize("rows", [[1], [{}], [{"ordId": 5, "instId": "X"}]])
def test_rows_that_are_no_orders_are_not_believed(rows):
    """Nor is an order that was not asked for."""
    repair = orders(order(1))
    with pytest.raises(Unusable):
        repair.take(repair.next_ask(), rows)
    other = orders(order(1))
    while other.next_ask().path != ORDER:
        other.take(other.next_ask(), [])
    with pytest.raises(Unusable, match="not the order 1"):
        other.take(other.next_ask(), [order(2)])


def test_a_page_that_leads_to_itself_is_not_believed():
    """Else it would be read for ever."""
    repair = orders()
    page = [order(7)] * 100
    repair.take(repair.next_ask(), page)
    with pytest.raises(Unusable, match="leads to itself"):
        repair.take(repair.next_ask(), page)


def test_open_orders_are_remembered_until_they_end():
    """By their newest row, whatever comes late; bounded."""
    memory = OrderMemory()
    memory.learn([order(1, uTime=5), order(2), None, {"ordId": "3"}])
    memory.learn([order(1, "partially_filled", 9), order(2, "canceled", SINCE + 1)])
    memory.learn([order(1, "live", 7)])
    assert list(memory.open) == ["1"] and memory.open["1"]["state"] == "partially_filled"
    memory.learn(order(n) for n in range(MOST_OPEN))
    assert len(memory.open) == MOST_OPEN and memory.whole
    memory.learn([order(MOST_OPEN)])
    assert len(memory.open) == MOST_OPEN and not memory.whole
    memory.learn(order(n, "filled", SINCE + 2) for n in range(MOST_OPEN + 1))
    assert len(memory.open) == 0 and len(memory.over) == MOST_OVER


def test_nobody_who_has_more_open_orders_than_are_remembered_is_told_that_all_is_well():
    """As many as OKX lets one have are remembered."""
    many = [order(n) for n in range(1, 4001)]
    rest = Rest(many[:0:-1], orders=[order(1, "canceled", SINCE + 5)])
    repair = orders(*many)
    assert rest.serve(repair) == [order(1, "canceled", SINCE + 5)] and repair.missing() == ""
    repair = orders(*(order(n) for n in range(MOST_OPEN + 1)))
    assert "older than" in repair.missing()


def test_fills_of_a_hole_come_once_in_order():
    """Acceptance 90: those told before it and after it are left out; another instrument's numbers are its own."""
    repair = Fills(FILL_ARG, head(FILL_ARG), push(FILL_ARG, fill(10, ts=SINCE)), SINCE, FillMemory())
    repair.see(push(FILL_ARG, fill(13)))
    rest = Rest(fills=[fill(13), fill(12, ts=SINCE + 3), fill(10, instId="ETH-USDT"), fill(11), fill(10, ts=SINCE)])
    got = rest.serve(repair)
    assert [(row["instId"], row["tradeId"]) for row in got] == [
        ("ETH-USDT", "10"),
        ("BTC-USDT", "11"),
        ("BTC-USDT", "12"),
    ]
    assert got[0]["count"] == "1" and rest.asked[0].params == {"begin": str(SINCE), "limit": "100"}
    assert repair.place_of(push(FILL_ARG, fill(13))) == "next", "it was the stream that told it"
    assert repair.place_of(push(FILL_ARG, fill(12))) == "known" and repair.place_of(push(FILL_ARG, fill(14))) == "next"


def test_a_fill_that_was_told_added_up_is_not_told_again_one_by_one():
    """okx-protocol 5.4: a taker's matches at one price are one row, of which REST tells each."""
    repair = Fills(FILL_ARG, head(FILL_ARG), push(FILL_ARG, fill(10, ts=SINCE, count="3")), SINCE, FillMemory())
    repair.see(push(FILL_ARG, fill(15, count="2")))
    rest = Rest(fills=[fill(n, ts=SINCE + n - 10) for n in range(15, 7, -1)])
    assert [row["tradeId"] for row in rest.serve(repair)] == ["11", "12", "13"]
    assert repair.place_of(push(FILL_ARG, fill(13, count="3"))) == "known", "REST was quicker"
    assert repair.place_of(push(FILL_ARG, fill(17, count="5"))) == "next"


def test_fills_of_one_moment_are_not_told_again_though_they_came_in_several_messages():
    """The hole begins with the time of the last one, and REST's list, too."""
    memory = FillMemory()
    memory.learn([fill(9, ts=SINCE, count="2"), None, {"tradeId": "1"}])
    memory.learn([fill(10, ts=SINCE)])
    repair = Fills(FILL_ARG, head(FILL_ARG), push(FILL_ARG, fill(10, ts=SINCE)), SINCE, memory)
    rest = Rest(fills=[fill(n, ts=SINCE) for n in (11, 10, 9, 8)])
    assert [row["tradeId"] for row in rest.serve(repair)] == ["11"]
    memory.learn(fill(n) for n in range(30_000))
    assert len(memory.told) == 10_000
    memory.learn([fill("x", count="many"), fill(5, count="99999")])
    assert len(memory.told) == 10_000


def test_the_present_funding_rate_comes_if_it_is_news():
    """OKX pushes it once a minute; a message makes the question needless."""
    row = {"instId": "BTC-USDT-SWAP", "fundingRate": "0.1", "ts": "2000"}
    for before, comes in (("1000", 1), ("2000", 0)):
        repair = FundingRate(RATE, head(RATE), push(RATE, {**row, "ts": before}), SINCE)
        ask = repair.next_ask()
        assert ask.params == {"instId": "BTC-USDT-SWAP"} and repair.missing()
        repair.take(ask, [row])
        assert repair.next_ask() is None and len(repair.messages()) == comes and repair.missing() == ""
        assert repair.place_of(push(RATE, row)) == ("known" if comes else "next")
        assert repair.place_of(push(RATE, {**row, "ts": "3000"})) == "next"
    repair = FundingRate(RATE, head(RATE), None, SINCE)
    repair.see(push(RATE, row))
    assert repair.next_ask() is None and repair.messages() == [] and repair.missing() == ""
    repair.take(ask, [row])
    assert repair.messages() == [] and repair.place_of(push(RATE, row)) == "next", "it was the stream that told it"
    with pytest.raises(Unusable):
        repair.take(ask, [{**row, "instId": "X"}])


@pytest.mark.parametrize(
    "channel", ["tickers", "books", "liquidation-orders", "public-block-trades", "account", "candle7x"]
)
def test_other_channels_cannot_be_filled(channel):
    """REST has nothing that could, or the next message makes up for it."""
    assert repair_of({"channel": channel, "instId": "X"}, b"", None, 0, memory_of(channel)) is None
