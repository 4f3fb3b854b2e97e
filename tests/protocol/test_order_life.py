"""`Orders` and `Rebuild`: whatever comes twice, late or over REST, an order's life is told as it was."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.protocol.holdings import PushBroken
from okx_ws.protocol.order_life import LAG_S, MAX_FILLS, PAGE, Orders, Rebuild


def push(ordId="1", state="live", uTime=1, acc="0", **more):
    row = {"instId": "BTC-USDT", "ordId": ordId, "clOrdId": f"c{ordId}", "side": "buy", "ordType": "limit"}
    row |= {"px": "5", "sz": "10", "state": state, "accFillSz": acc, "avgPx": "", "cTime": "1", "uTime": str(uTime)}
    return row | {"tradeId": "", "fillSz": "0", "reqId": "", **more}


def fill(ordId="1", state="partially_filled", uTime=2, acc="1", tradeId="t1", **more):
    return push(ordId, state, uTime, acc, tradeId=tradeId, fillSz="1", fillPx="5", fillTime=str(uTime), **more)


def told(*rows, keep=10):
    orders = Orders(keep)
    return orders, [orders.take(row).news for row in rows]


def test_a_life_is_followed_to_its_end():
    """States with their times, fills, and what is filled at which price."""
    orders, news = told(
        push(), fill(), fill(uTime=3, acc="2", tradeId="t2", avgPx="5.1"), push(state="canceled", uTime=4, acc="2")
    )
    assert news == [True] * 4 and orders.open == {}
    order = orders.find("c1", None)
    assert order is orders.find(None, "1") and order.done and order.state == "canceled"
    assert order.history == (("live", "1"), ("partially_filled", "2"), ("canceled", "4"))
    assert [one.tradeId for one in order.fills] == ["t1", "t2"] and order.fills[0].fillPx == "5"
    assert order.accFillSz == "2" and order.fills_complete and order.raw["state"] == "canceled"


@pytest.mark.parametrize(
    "twice",
    [
        fill(),  # a fill, by its tradeId
        push(state="filled", acc="10"),  # a market order, filled, without one, and a fillSz of "0"
        push(state="canceled"),
        push(state="mmp_canceled"),
        push(reqId="r1", amendResult="0", uTime=5),
        push(uTime=7),
    ],
)
def test_duplicates_are_no_news(twice):
    """Okx-protocol 5.4: each rule; and nothing is counted twice."""
    orders, news = told(push(), twice, twice, {**twice, "notionalUsd": "6"} if twice["state"] != "live" else twice)
    assert news == [True, True, False, False]
    order = orders.find(None, "1")
    assert len(order.fills) == bool(twice["tradeId"]) and len(order.history) <= 2


def test_an_amendment_is_told_once_by_its_reqId():
    """A second outcome of the same request is none; one of another request is."""
    rows = [push(px="6", reqId="r1", uTime=2), push(px="6", reqId="r1", uTime=3), push(px="7", reqId="r2", uTime=4)]
    orders, news = told(push(), *rows)
    assert news == [True, True, False, True] and orders.find(None, "1").px == "7"


def test_reduce_only_override_shows_live_twice():
    """Amend source 4, then plain: they differ, so both are news."""
    assert told(push(), push(sz="8", amendSource="4", amendResult="0"), push(sz="8"))[1] == [True, True, True]


def test_a_post_only_order_that_would_cross_is_only_cancelled():
    """Since August 2026 no ``live`` comes before it (cancelSource 31)."""
    orders, news = told(push(state="canceled", ordType="post_only", cancelSource="31"))
    order = orders.find("c1", None)
    assert news == [True] and order.done and order.history == (("canceled", "1"),) and order.raw["cancelSource"] == "31"
    assert not order.has_reached("live") and order.has_reached("done")


def test_an_end_is_final_and_late_pushes_only_add_what_is_missing():
    """A fill that arrives after the end is counted, and opens nothing."""
    orders, news = told(push(), push(state="filled", uTime=5, acc="1"), fill(uTime=4), push(uTime=9))
    order = orders.find(None, "1")
    assert news == [True, True, True, False] and order.state == "filled" and orders.open == {}
    assert [one.tradeId for one in order.fills] == ["t1"] and order.uTime == "5"


def test_an_end_is_never_too_late():
    """Even if an amendment was told that is younger by the clock."""
    orders, news = told(push(uTime=9, px="6"), push(state="canceled", uTime=5))
    assert news == [True, True] and orders.find(None, "1").state == "canceled"


def test_an_older_row_of_rest_does_not_undo_a_push():
    """And one that says nothing new is no news, though it has other fields."""
    orders, _ = told(push(), fill())
    assert not orders.take(push(), rest=True).news
    assert not orders.take({**fill(), "source": "x"}, rest=True).news
    assert orders.find(None, "1").state == "partially_filled"
    assert orders.take(push(px="9", uTime=8, acc="1", state="partially_filled"), rest=True).news
    assert orders.find(None, "1").px == "9"


def test_what_came_past_a_state_has_reached_it():
    """An order that is filled at once was live."""
    orders, _ = told(push("1", "filled"), push("2", "canceled", acc="0"), fill("3"))
    first, second, third = (orders.find(None, ordId) for ordId in "123")
    assert all(first.has_reached(state) for state in ("live", "partially_filled", "filled", "done"))
    assert [state for state in ("live", "filled", "canceled", "done") if second.has_reached(state)] == [
        "canceled",
        "done",
    ]
    assert third.has_reached("live") and not third.has_reached("filled") and not third.has_reached("canceled")


def test_a_clOrdId_finds_the_newest_order_that_had_it():
    """It is unique among open orders only; and the order that was forgotten takes nothing with it."""
    orders, _ = told(push("1", "canceled", clOrdId="x"), push("2", clOrdId="x", cTime="2"), keep=1)
    assert orders.find("x", None).ordId == "2"
    orders.take(push("1", "canceled", clOrdId="x", uTime=9))  # late, and no newer order
    assert orders.find("x", None).ordId == "2"
    orders.take(push("3", "canceled"))  # the first is forgotten
    assert orders.find("x", None).ordId == "2" and orders.find(None, "1") is None
    orders.take(push("4", clOrdId=""))
    assert orders.find("", None) is None and orders.find(None, "4").clOrdId == ""


def test_memory_is_bounded():
    """Orders that ended, their names, fills and amendments: the newest are kept."""
    orders = Orders(keep=100)
    for number in range(5_000):
        orders.take(push(str(number)))
        orders.take(push(str(number), "canceled", uTime=2))
    assert orders.open == {} and list(orders.done) == [str(number) for number in range(4_900, 5_000)]
    assert len(orders._by_clOrdId) == 100
    for number in range(MAX_FILLS + 50):
        order = orders.take(fill("x", uTime=number, acc=str(number + 1), tradeId=str(number), reqId=f"r{number}")).order
    assert len(order.fills) == MAX_FILLS and order.fills[-1].tradeId == str(MAX_FILLS + 49)
    assert len(order.reqIds) <= 100 and len(order.history) == 1 and not order.fills_complete


@pytest.mark.parametrize(
    "row",
    [None, 5, [], {}, push(ordId=""), push(ordId=7), push(state=""), push(uTime="x"), push(acc="x"), push(px=5.0)],
)
def test_a_row_that_cannot_be_read_is_refused(row):
    """Nothing of it is taken."""
    orders = Orders(10)
    with pytest.raises(PushBroken, match="malformed"):
        orders.take(row)
    assert orders.open == {} == orders.done


def test_an_order_does_not_change_once_it_was_handed_out():
    """It is a copy."""
    orders, _ = told(push())
    before = orders.find(None, "1")
    orders.take(fill())
    assert before.state == "live" and before.fills == ()
    with pytest.raises(AttributeError):
        before.state = "filled"
    with pytest.raises(TypeError):
        before.raw["px"] = "9"


# ---------------------------------------------------------------------- any order of arrival


@st.composite
def lives(draw):
    """Return the true pushes of one order, in order."""
    rows, acc, now = [push()], 0, 1
    for step in draw(st.lists(st.sampled_from(["fill", "amend"]), max_size=6)):
        now += draw(st.integers(0, 1))
        if step == "fill":
            acc += 1
            rows.append(fill(uTime=now, acc=str(acc), tradeId=f"t{acc}", px=rows[-1]["px"]))
        else:
            now += 1
            state = "partially_filled" if acc else "live"
            rows.append(push(state=state, uTime=now, acc=str(acc), px=str(now), reqId=f"r{now}"))
    end = draw(st.sampled_from([None, "filled", "canceled"]))
    if end is not None:
        rows.append(push(state=end, uTime=now + 1, acc=str(acc), px=rows[-1]["px"]))
    return rows


@settings(max_examples=200, deadline=None)
@given(lives(), st.data())
def test_any_arrival_of_the_same_rows_tells_the_same_life(rows, data):
    """Each row at least once, some twice, some over REST, in any order: the same end, each fill and each end once."""
    arriving = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=4))))
    orders, news = Orders(10), Counter()
    for row in arriving:
        if orders.take(row, rest=data.draw(st.booleans())).news:
            news[row["tradeId"] or row["state"]] += 1
    order, last = orders.find(None, "1"), rows[-1]
    assert (order.state, order.px, order.accFillSz) == (last["state"], last["px"], last["accFillSz"])
    assert sorted(one.tradeId for one in order.fills) == sorted(row["tradeId"] for row in rows if row["tradeId"])
    assert order.fills_complete and ("1" in orders.open) == (not order.done)
    ends = [row["state"] for row in rows if row["state"] in ("filled", "canceled")]
    assert [news[end] for end in ends] == [1] * len(ends)
    assert all(news[f"t{number}"] <= 1 for number in range(9))


# ---------------------------------------------------------------------- after a hole


def answered(run, exchange):
    """Answer all questions as an exchange would whose orders are these; return the questions."""
    asked = []
    while (question := run.question) is not None:
        asked.append(question)
        if question.path.endswith("orders-pending"):
            open_ = sorted((row for row in exchange if row["state"] in ("live", "partially_filled")), key=number)[::-1]
            after = question.params.get("after")
            run.answer(
                [row for row in open_ if after is None or number(row) < int(after)][: int(question.params["limit"])]
            )
        else:
            name = "ordId" if "ordId" in question.params else "clOrdId"
            run.answer([row for row in exchange if row[name] == question.params[name]])
    return asked


def number(row):
    return int(row["ordId"])


def test_a_rebuild_asks_what_is_open_and_then_for_each_that_no_longer_is():
    """One filled, one cancelled, one forgotten by OKX, one new, one as it was."""
    orders, _ = told(push("1"), push("2"), push("3"), push("4"))
    exchange = [push("1", "filled", 9, "10"), push("2", "canceled", 9), push("4"), push("5")]
    run = Rebuild(orders, {"instType": "SPOT"})
    asked = answered(run, exchange)
    assert [dict(question.params) for question in asked] == [
        {"instType": "SPOT", "limit": "100"},
        {"instId": "BTC-USDT", "ordId": "1"},
        {"instId": "BTC-USDT", "ordId": "2"},
        {"instId": "BTC-USDT", "ordId": "3"},
        {"instId": "BTC-USDT", "ordId": "3"},
    ]
    assert [question.pause_s for question in asked] == [0, 0, 0, 0, LAG_S]
    assert sorted(orders.open) == ["4", "5"]
    assert {ordId: order.state for ordId, order in orders.done.items()} == {
        "1": "filled",
        "2": "canceled",
        "3": "unknown",
    }


def test_a_rebuild_turns_pages():
    """A full page may not be the last one."""
    exchange = [push(str(n)) for n in range(1, 2 * PAGE + 1)]
    orders = Orders(10)
    asked = answered(Rebuild(orders, {}), exchange)
    assert [question.params.get("after") for question in asked] == [None, "101", "1"]
    assert len(orders.open) == 200


def test_what_is_pushed_meanwhile_is_not_asked_for():
    """The stream tells it; and a row of REST that is older undoes nothing."""
    orders, _ = told(push("1"), push("2"), push("3"))
    run = Rebuild(orders, {})
    orders.take(push("1", "canceled", 9))
    run.pushed("1")
    orders.take(push("9", uTime=9))
    run.pushed("9")
    run.answer([push("1"), push("3")])  # made before the first was cancelled
    assert run.question.params["ordId"] == "2"
    orders.take(push("2", uTime=9, px="8"))
    run.pushed("2")
    assert run.answer([]) == []  # OKX's REST lags behind: the push knows better
    assert run.question is None
    run.pushed("5")
    assert run._told == {"1", "2", "3", "9"} and sorted(orders.open) == ["2", "3", "9"] and orders.find(None, "1").done


def test_an_order_that_is_waited_for_is_asked_for_by_its_name():
    """It may have come and gone while nobody was told; one that is known is not asked for."""
    orders, _ = told(push("1"))
    run = Rebuild(orders, {}, [("mine", "ETH-USDT"), ("c1", "BTC-USDT"), ("never", "BTC-USDT")])
    asked = answered(run, [push("1"), push("7", "filled", clOrdId="mine")])
    assert [question.params.get("clOrdId") for question in asked] == [None, "mine", "never", "never"]
    assert orders.find("mine", None).state == "filled" and orders.find("never", None) is None


def test_an_order_that_rest_knows_at_the_second_question_is_not_lost():
    """Or that the stream tells meanwhile. One pause for all of them."""
    orders, _ = told(push("1"), push("2"), push("3"))
    run = Rebuild(orders, {})
    for rows in ([], [], [], []):
        assert run.answer(rows) == []
    assert run.question.pause_s == LAG_S and run.question.params["ordId"] == "1"
    run.answer([push("1", "filled", 9, "10")])
    assert run.question.pause_s == 0 and run.question.params["ordId"] == "2"
    orders.take(push("3", uTime=7))
    run.pushed("3")
    (lost,) = run.answer([])
    assert (lost.order.ordId, lost.order.state) == ("2", "unknown") and run.question is None
    assert list(orders.open) == ["3"] and orders.find(None, "1").state == "filled"


def test_an_answer_that_cannot_be_read_leaves_the_question():
    """It is asked again."""
    run = Rebuild(Orders(10), {})
    question = run.question
    with pytest.raises(PushBroken):
        run.answer([{"ordId": "1"}])
    assert run.question is question


def test_an_unknown_order_that_turns_up_after_all_is_known_again():
    """What REST did not know, the stream may."""
    orders, _ = told(push("1"))
    orders.lose("1")
    assert orders.find(None, "1").state == "unknown" and orders.lose("1") is None
    orders.take(fill("1", uTime=5))
    assert list(orders.open) == ["1"] and orders.done == {}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["live", "fill", "end", "loss"])), max_size=40), st.data())
def test_after_every_rebuild_the_open_orders_are_the_exchanges(steps, data):
    """Random lives of five orders, with links lost at any moment and pushes lost with them."""
    truth, orders, now, heard = {}, Orders(100), 1, True
    run = None

    def tell(row):
        if heard:
            orders.take(row)
            if run is not None:
                run.pushed(row["ordId"])

    for ordId, step in steps:
        now += 1
        known = truth.get(str(ordId))
        if step == "loss":
            heard = not heard
            run = Rebuild(orders, {}) if heard else None
        elif step == "live" and known is None:
            truth[str(ordId)] = push(str(ordId), uTime=now)
            tell(truth[str(ordId)])
        elif known is not None and known["state"] in ("live", "partially_filled") and step in ("fill", "end"):
            acc = str(int(known["accFillSz"]) + (step == "fill"))
            row = fill(str(ordId), uTime=now, acc=acc, tradeId=f"t{now}") if step == "fill" else None
            truth[str(ordId)] = row or push(str(ordId), "canceled", now, acc)
            tell(truth[str(ordId)])
        if run is not None and run.question is not None and data.draw(st.booleans()):
            rows = [row for row in truth.values() if row["state"] in ("live", "partially_filled")]
            asked = run.question.params.get("ordId")
            run.answer(rows if asked is None else [truth[asked]])
    if heard:
        answered(run or Rebuild(orders, {}), list(truth.values()))
        expected = {k: (v["state"], v["accFillSz"]) for k, v in truth.items() if v["state"] != "canceled"}
        assert {k: (order.state, order.accFillSz) for k, order in orders.open.items()} == expected
