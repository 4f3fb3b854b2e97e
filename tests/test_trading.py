"""Orders over the socket, against scripted peers: every outcome known, or said to be unknown."""

import concurrent.futures
import json
import logging
import os
import pickle
import random
import threading
import time
from decimal import Decimal

import pytest

from okx_ws import (
    ConnectionLost,
    ExchangeError,
    Limits,
    LoginError,
    ManagerClosed,
    OkxWebSocketManager,
    OrderRejected,
    OrderResult,
    OutcomeUnknown,
    UsageError,
)
from tests.trading import KEY, ORDER, accepted, answering, refused
from tests.watch import Watch, eventually

UNPACED = Limits(connects_per_s=1000, pace_orders=False)


@pytest.fixture
def trade(peer, connect):
    """Make a manager whose exchange answers each request with what a function returns."""

    def make(answer=lambda talk, request: accepted(request), script=None, **settings):
        server = peer(script or answering(answer))
        ws = connect(**{"urls": server.urls, "clock_sync": False, **KEY, **settings})
        ws.server = server
        return ws

    return make


# ---------------------------------------------------------------------------------------------------- replies


def test_an_accepted_order_is_its_row(trade):
    """Acceptance 74: the reply is matched by its id; numbers are exact texts; the row is as OKX sent it."""
    seen = []

    def answer(talk, request):
        seen.append(request)
        return accepted(request, inTime="1", outTime="2")

    ws = trade(answer)
    order = ws.place_order(**{**ORDER, "px": Decimal("6E+4"), "sz": 1, "reduceOnly": False, "tag": None})
    assert isinstance(order, OrderResult) and order.ok and not order.unknown and order["ordId"] == order.ordId == "1"
    assert order.reply["inTime"] == "1" and pickle.loads(pickle.dumps(order)) == order
    (sent,) = seen[0]["args"]
    clOrdId = sent.pop("clOrdId")
    assert sent == {**ORDER, "px": "60000", "sz": "1", "reduceOnly": False}
    assert order.clOrdId == clOrdId and clOrdId.isdecimal() and 0 < int(clOrdId) < 2**63
    assert set(seen[0]) == {"id", "op", "args"} and seen[0]["op"] == "order"
    assert ws.cancel_order(instIdCode=10459, ordId=7).ok
    assert ws.amend_order(instIdCode=10459, clOrdId="mine", newPx="59990", cxlOnFail=True, expTime=1779000005000).ok
    assert seen[1]["args"] == [{"instIdCode": 10459, "ordId": "7"}] and "expTime" not in seen[1]
    assert seen[2]["args"] == [{"instIdCode": 10459, "clOrdId": "mine", "newPx": "59990", "cxlOnFail": True}]
    assert seen[2]["expTime"] == "1779000005000"


@pytest.mark.parametrize(
    ("sCode", "sMsg", "code"),
    [
        ("51000", "Parameter clOrdId  error ", "1"),
        ("51008", "Order failed. Insufficient USDT balance in account", "1"),
        ("51016", "Duplicated client order ID", "0"),
    ],
)
def test_a_refused_order_is_an_error_with_okxs_own_words(sCode, sMsg, code, trade):
    """Acceptance 75: code 0 or 1; sCode, sMsg and subCode verbatim, the blank at the end too."""
    ws = trade(lambda talk, request: refused(request, sCode, sMsg, code, subCode="1000"))
    with pytest.raises(OrderRejected) as caught:
        ws.place_order(**ORDER, clOrdId="a1")
    error = caught.value
    assert (error.code, error.sCode, error.sMsg, error.subCode) == (code, sCode, sMsg, "1000")
    assert error.data["clOrdId"] == "a1" and str(error).startswith(f"{sCode}: {sMsg}")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize("code", ["60013", "50011", "60028"])
def test_a_request_that_is_refused_as_a_whole_is_an_error(code, trade):
    """okx-protocol 7.3: a code of the gateway, with no data or none at all; also for batches."""
    ws = trade(lambda talk, request: {"id": request["id"], "op": request["op"], "code": code, "msg": "Invalid args"})
    for call in (lambda: ws.place_order(**ORDER), lambda: ws.place_orders([ORDER, ORDER])):
        with pytest.raises(OrderRejected, match=f"{code}: Invalid args") as caught:
            call()
        assert (caught.value.code, caught.value.sCode) == (code, "")


@pytest.mark.parametrize("code", ["0", "1", "2"])
def test_a_batch_gives_a_result_for_each_order(code, trade):
    """Acceptance 76: in the order of the request, and no exception for some that failed."""
    ws = trade(lambda talk, request: refused(request, "51008", "Order failed. ", code, subCode="1000"))
    first, second = ws.place_orders([{**ORDER, "clOrdId": "a1"}, ORDER])
    assert first.ok and first.clOrdId == "a1" and second.clOrdId != ""
    assert not second.ok and (second.sCode, second.sMsg, second.subCode) == ("51008", "Order failed. ", "1000")
    assert isinstance(second.error(), OrderRejected) and second.error().sCode == "51008"
    assert [row.ok for row in ws.cancel_orders([{"instIdCode": 1, "ordId": "1"}, {"instIdCode": 1, "ordId": "2"}])]
    assert len(ws.amend_orders([{"instIdCode": 1, "ordId": "1", "newSz": "2"}])) == 1


def test_an_error_event_with_our_id_fails_that_call_only(trade):
    """Acceptance 77, 80: another call in flight goes on, and so does the next one."""

    def answer(talk, request):
        if request["args"][0]["sz"] == "2":
            return {"id": request["id"], "event": "error", "code": "60012", "msg": "Invalid request", "connId": "c0"}
        return accepted(request)

    ws = trade(answer)
    good = ws.place_order_nowait(**ORDER)
    with pytest.raises(ExchangeError, match="60012: Invalid request") as caught:
        ws.place_order(**{**ORDER, "sz": "2"})
    assert type(caught.value) is ExchangeError
    assert good.result(5).ok and ws.place_order(**ORDER).ok


def test_please_log_in_fails_what_is_pending_and_the_next_call_works(trade):
    """okx-protocol 7.3: 60011 comes without an id; the library logs in anew."""
    told = []

    def answer(talk, request):
        if request["op"] == "login":
            return {"event": "login", "code": "0", "msg": "", "connId": "c0"}
        if not told:
            told.append(request)
            return {"event": "error", "msg": "Please log in", "code": "60011", "connId": "c0"}
        return accepted(request)

    ws = trade(answer)
    with pytest.raises(ExchangeError, match="60011"):
        ws.place_order(**ORDER)
    assert ws.place_order(**ORDER).ok


def test_a_hundred_calls_get_each_their_own_reply(trade):
    """Acceptance 81: in shuffled order, from many threads; no two ids alike."""
    ids = []

    def script(talk):
        talk.upgrade()
        talk.accept_login()
        requests = [talk.read_request("order") for _ in range(100)]
        ids.extend(request["id"] for request in requests)
        random.shuffle(requests)
        for request in requests:
            reply = accepted(request)
            reply["data"][0]["ordId"] = request["args"][0]["sz"]
            talk.json(reply)
        talk.until_gone()

    ws = trade(script=script, limits=UNPACED)
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        sizes = list(range(1, 101))
        rows = list(pool.map(lambda size: ws.place_order(**{**ORDER, "sz": size}, timeout=20), sizes))
    assert [row["ordId"] for row in rows] == [str(size) for size in sizes]
    assert len(set(ids)) == 100 and all(id.isalnum() and len(id) <= 32 for id in ids)


def test_spread_orders_go_to_business(trade):
    """okx-protocol 7.1: their ops, their fields, their replies, which have no ts."""
    seen = []

    def answer(talk, request):
        seen.append((request["op"], request["args"]))
        if request["op"] == "sprd-mass-cancel":
            return {"id": request["id"], "op": request["op"], "code": "0", "msg": "", "data": [{"result": True}]}
        return accepted(request)

    ws = trade(answer)
    spread = "BTC-USDT_BTC-USDT-SWAP"
    assert ws.place_spread_order(sprdId=spread, side="buy", ordType="limit", sz="2", px="2.15", clOrdId="b15").ok
    assert ws.amend_spread_order(clOrdId="b15", newPx="2.1").ok
    assert ws.cancel_spread_order(clOrdId="b15").ok
    assert ws.mass_cancel_spread_orders(spread).ok and ws.mass_cancel_spread_orders()["result"] is True
    assert ws.place_spread_order_nowait(sprdId=spread, side="sell", ordType="market", sz="1").result(5).ok
    assert [op for op, _ in seen[:4]] == ["sprd-order", "sprd-amend-order", "sprd-cancel-order", "sprd-mass-cancel"]
    assert seen[3][1] == [{"sprdId": spread}] and seen[4][1] == [{}] and list(ws.stats()["endpoints"]) == ["business"]


def test_any_operation_can_be_requested(trade):
    """Its reply comes as OKX sent it; known ones are checked all the same."""

    def answer(talk, request):
        if request["op"] == "order":
            return refused(request, "51000")
        return {"id": request["id"], "op": request["op"], "code": "0", "msg": "", "data": [{"result": True}]}

    ws = trade(answer)
    assert ws.mass_cancel(instType="OPTION", instFamily="BTC-USD", lockInterval=0).ok
    reply = ws.request("some-op", [{"a": Decimal("1.10")}], 5)
    assert reply["op"] == "some-op" and reply["data"] == [{"result": True}]
    assert ws.request_nowait("some-op", [{}]).result(5)["code"] == "0"
    with pytest.raises(OrderRejected, match="51000"):
        ws.request("order", [ORDER])
    with pytest.raises(UsageError, match="needs sz"):
        ws.request("order", [{**ORDER, "sz": None}])
    for op, args in [
        ("subscribe", [{}]),
        ("", [{}]),
        (5, [{}]),
        ("x", []),
        ("x", {}),
        ("x", ["y"]),
        ("x", [{"a": 1.5}]),
    ]:
        with pytest.raises(UsageError):
            ws.request(op, args)


def test_an_expired_order_is_refused_not_a_time_out(trade):
    """Acceptance 85: 50036 as the reply's code, or in the row."""
    ws = trade(lambda talk, request: {"id": request["id"], "op": "order", "code": "50036", "msg": "past", "data": []})
    with pytest.raises(OrderRejected, match="50036: past .*expTime"):
        ws.place_order(**ORDER, expTime="1600000000000")


# ---------------------------------------------------------------------------------------------------- unknown


def test_no_reply_in_time_is_an_unknown_outcome_and_a_late_one_is_told(trade):
    """Acceptance 78: and it is not given to a newer call."""
    first = []

    def answer(talk, request):
        if not first:
            first.append(request)
            return None
        talk.json(refused(first[0], "51008"))
        return accepted(request)

    ws = trade(answer)
    watch = Watch(ws)
    with pytest.raises(OutcomeUnknown, match="no reply to order in time") as caught:
        ws.place_order(**ORDER, clOrdId="mine", timeout=0.3)
    assert caught.value.clOrdId == "mine" and caught.value.clOrdIds == ("mine",) and "mine" in str(caught.value)
    assert ws.place_order(**ORDER).ok
    event = watch.wait("late_reply")
    assert event.data["data"][0]["clOrdId"] == "mine" and event.endpoint == "private" and event.code == "1"


def test_a_lost_link_fails_what_is_in_flight_at_once_and_nothing_is_sent_again(trade):
    """Acceptance 79."""
    seen = []

    def script(talk):
        talk.upgrade()
        talk.accept_login()
        while True:
            request = talk.read_request()
            seen.append(request["args"][0]["clOrdId"])
            if talk.number == 1:
                if len(seen) == 3:
                    talk.reset()
                continue
            talk.json(accepted(request))

    ws = trade(script=script)
    started = time.monotonic()
    futures = [ws.place_order_nowait(**ORDER, clOrdId=f"n{number}", timeout=20) for number in range(3)]
    for number, future in enumerate(futures):
        error = future.exception(5)
        assert isinstance(error, OutcomeUnknown) and error.clOrdId == f"n{number}" and "lost" in str(error)
    assert time.monotonic() - started < 5
    assert ws.place_order(**ORDER, clOrdId="next").ok and sorted(seen) == ["n0", "n1", "n2", "next"]


@pytest.mark.parametrize("code", ["50004", "50026"])
def test_when_okx_does_not_know_either_the_outcome_is_unknown(code, trade):
    """As the reply's code, in the row of one order, and of one in a batch."""
    whole = [True]

    def answer(talk, request):
        if whole[0]:
            return {"id": request["id"], "op": request["op"], "code": code, "msg": "timeout", "data": []}
        return refused(request, code, "timeout")

    ws = trade(answer)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match=code) as caught:
            ws.place_order(**ORDER, clOrdId="mine")
        assert caught.value.code == code and caught.value.clOrdId == "mine"
        whole[0] = False
    rows = ws.place_orders([ORDER, ORDER])
    assert [(row.ok, row.unknown) for row in rows] == [(True, False), (False, True)]


def test_a_reply_that_does_not_tell_is_an_unknown_outcome(trade):
    """Fewer rows than orders: which of them is which?"""

    def answer(talk, request):
        reply = accepted(request)
        return {**reply, "data": reply["data"][:-1]}

    ws = trade(answer)
    with pytest.raises(OutcomeUnknown, match="1 orders.* 2"):
        ws.place_orders([ORDER, ORDER])
    with pytest.raises(OutcomeUnknown, match="0 orders"):
        ws.place_order(**ORDER)


def test_what_was_never_sent_was_certainly_not_carried_out(connect):
    """Design 3.4: without a link, a call is withdrawn when its time is up, also if nobody waits for it."""
    ws = connect(urls={"private": "ws://127.0.0.1:9/ws/v5/private", "rest": "http://127.0.0.1:9"}, **KEY)
    future = ws.place_order_nowait(**ORDER, timeout=0.3)
    started = time.monotonic()
    with pytest.raises(ConnectionLost, match=r"withdrawn: there is no private link \(.*not connected|refused\)"):
        ws.place_order(**ORDER, timeout=0.2)
    assert 0.15 < time.monotonic() - started < 1.5
    assert isinstance(future.exception(5), ConnectionLost)


def test_a_login_that_never_ends_lets_a_call_wait_and_then_withdraws_it(trade):
    """Acceptance 82: before the login nothing is sent."""
    seen = []

    def script(talk):
        talk.upgrade()
        seen.append(talk.read_request("login")["op"])
        seen.append(talk.read_text())

    ws = trade(script=script)
    with pytest.raises(ConnectionLost, match="not sent in time.*: the private link is not logged in"):
        ws.place_order(**ORDER, timeout=0.5)
    assert seen == ["login"]


def test_a_call_waits_for_the_link_to_come_back(trade):
    """Within its time: it was not sent yet, so it may be now."""

    def script(talk):
        if talk.number < 3:
            return
        answering(lambda talk, request: accepted(request))(talk)

    assert trade(script=script).place_order(**ORDER, timeout=20).ok


def test_a_refused_login_is_the_answer_to_a_call(trade):
    """At once, also for later ones."""

    def script(talk):
        talk.upgrade()
        talk.read_request("login")
        talk.json({"event": "error", "msg": "Login failed.", "code": "60009", "connId": "c0"})
        talk.until_gone()

    ws = trade(script=script)
    for _ in range(2):
        with pytest.raises(LoginError, match="60009"):
            ws.place_order(**ORDER, timeout=20)


def test_without_reconnecting_a_loss_is_the_end(trade):
    """In flight: unknown; what comes later was certainly not sent, and is told at once."""

    def answer(talk, request):
        talk.reset()

    ws = trade(answer, reconnect=False)
    with pytest.raises(OutcomeUnknown):
        ws.place_order(**ORDER, timeout=20)
    eventually(lambda: ws.stats()["endpoints"]["private"]["state"] == "failed")
    for call in (lambda: ws.place_order(**ORDER, timeout=20), lambda: ws.place_order_nowait(**ORDER)):
        with pytest.raises(ConnectionLost, match="reconnect=False"):
            call()


def test_close_fails_what_is_pending(trade):
    """In flight: unknown; not sent: the manager is closed."""
    arrived = threading.Event()

    def answer(talk, request):
        arrived.set()

    ws = trade(answer, limits=Limits(connects_per_s=1000, orders_per_2s=1))
    flying = ws.place_order_nowait(**ORDER, timeout=30)
    waiting = ws.place_order_nowait(**ORDER, timeout=30)
    assert arrived.wait(5)
    ws.close()
    assert isinstance(flying.exception(5), OutcomeUnknown) and isinstance(waiting.exception(5), ManagerClosed)
    with pytest.raises(ManagerClosed):
        ws.place_order(**ORDER)


# ---------------------------------------------------------------------------------------------------- local refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": None}, "needs side"),
        ({"sz": None, "tdMode": None}, "needs tdMode and sz"),
        ({"px": None}, "needs a px with ordType 'limit'"),
        ({"instIdCode": None}, "needs an instId"),
        ({"instIdCode": "10459"}, "must be an int"),
        ({"px": 60000.5}, "px must not be a float: 60000.5 is not exactly the number"),
        ({"sz": ""}, "sz is empty"),
        ({"side": "long"}, "side must be 'buy' or 'sell', not 'long'"),
        ({"clOrdId": "my-order"}, "without hyphens, not 'my-order'"),
        ({"clOrdId": "x" * 33}, "1 to 32"),
        ({"tag": "x" * 17}, "1 to 16"),
        ({"size": "1"}, "OKX writes sz, not size"),
        ({"price": "1"}, "OKX writes px, not price"),
        ({"td_mode": "cash"}, "OKX writes tdMode, not td_mode"),
        ({"ordtype": "limit"}, "OKX writes ordType, not ordtype"),
        ({"reduceonly": True}, "OKX writes reduceOnly"),
        ({"reducOnly": True}, "OKX writes reduceOnly"),
        ({"newSz": "1"}, "place_order takes no newSz"),
        ({"ordId": "1"}, "place_order takes no ordId"),
        ({"pxUsd": "1"}, "one of px, pxUsd, pxVol"),
        ({"attachAlgoOrds": [{"tpTriggerPx": "\ud800"}]}, "order cannot be sent"),
        ({"instIdCode": 2**64}, "order cannot be sent"),
        ({"ccy": "\ud800"}, "ccy cannot be sent"),
        ({"sz": Decimal("NaN")}, "finite"),
        ({"attachAlgoOrds": [{"tpTriggerPx": 1.5}]}, "must not be a float"),
        ({"expTime": "tomorrow"}, "Unix milliseconds"),
        ({"timeout": 0}, "timeout must be"),
        ({"check": 1}, "check must be"),
        ({"check": True}, "check=True needs the instId"),
    ],
)
def test_an_order_that_cannot_be_right_is_refused_before_anything_is_sent(change, words, exchange, connect):
    """Issue, local checks; design 3.4: never a TypeError."""
    ws = connect(exchange, **exchange.credentials)
    with pytest.raises(UsageError, match=words):
        ws.place_order(**{**ORDER, **change})
    assert exchange.connects == [] and ws.stats()["endpoints"] == {}


@pytest.mark.parametrize("method", ["cancel_order", "amend_order"])
def test_an_order_is_named_once(method, exchange, connect):
    """Acceptance 83: both are refused, and so is neither."""
    ws = connect(exchange, **exchange.credentials)
    more = {"newSz": "1"} if method == "amend_order" else {}
    for which in ({}, {"ordId": "1", "clOrdId": "a"}):
        with pytest.raises(UsageError, match="ordId or clOrdId"):
            getattr(ws, method)(instIdCode=1, **which, **more)
    with pytest.raises(UsageError, match="nothing would change"):
        ws.amend_order(instIdCode=1, ordId="1")
    with pytest.raises(UsageError, match="amend_order takes no sz"):
        ws.amend_order(instIdCode=1, ordId="1", sz="1")
    assert exchange.connects == []


def test_a_batch_that_cannot_be_right_is_refused_whole(exchange, connect):
    """1 to 20; the text says which order is wrong."""
    ws = connect(exchange, **exchange.credentials)
    for orders in ([], [ORDER] * 21, "order", None, 5, {"a": 1}):
        with pytest.raises(UsageError, match="1 to 20"):
            ws.place_orders(orders)
    with pytest.raises(UsageError, match=r"orders\[1\]: place_order needs side"):
        ws.place_orders([ORDER, {**ORDER, "side": None}])
    with pytest.raises(UsageError, match=r"orders\[0\]: place_order: an order must be a dict"):
        ws.place_orders(["x"])
    with pytest.raises(UsageError, match="two orders of one batch"):
        ws.place_orders([{**ORDER, "clOrdId": "a"}] * 2)
    assert exchange.connects == []


def test_orders_without_a_key_are_refused_before_anything_is_opened(exchange, connect):
    """Acceptance 19, design 3.4."""
    ws = connect(exchange)
    with pytest.raises(UsageError, match="orders need a login"):
        ws.place_order(**ORDER)
    with pytest.raises(UsageError, match="orders need a login"):
        ws.place_order_nowait(**ORDER)
    assert exchange.connects == []


def test_orders_over_plain_ws_are_refused_locally(connect):
    """Acceptance 95: only loopback may see a key in the clear; each endpoint by itself."""
    ws = connect(urls={"private": "ws://ws.okx.com/ws/v5/private", "business": "ws://10.0.0.1/x"}, **KEY)
    with pytest.raises(UsageError, match="wss://"):
        ws.place_order(**ORDER)
    with pytest.raises(UsageError, match="wss://"):
        ws.mass_cancel_spread_orders()


def test_orders_are_refused_where_a_full_queue_could_hold_them_up(exchange, connect):
    """As private links are, with overflow="block"."""
    ws = connect(exchange, **exchange.credentials, overflow="block")
    with pytest.raises(UsageError, match="overflow"):
        ws.place_order(**ORDER)


def test_a_blocking_call_on_a_links_own_thread_is_refused_and_a_future_is_not(trade):
    """It would wait for itself. The future can be looked at there, not waited for."""
    found = []
    done = threading.Event()

    def after(future):
        for call in (lambda: ws.place_order(**ORDER), lambda: ws.cancel_order_nowait(instIdCode=1, ordId="1").result()):
            try:
                call()
            except UsageError as exc:
                found.append(str(exc))
        found.append(future.result().ok)
        done.set()

    hung = threading.Event()
    ws = trade(lambda talk, request: accepted(request) if hung.wait(5) else None)
    ws.place_order_nowait(**ORDER).add_done_callback(after)
    hung.set()  # before, it would be called here
    assert done.wait(5)
    assert "link's own thread" in found[0] and "link's own thread" in found[1] and found[2] is True


def test_a_forked_child_may_not_trade(trade):
    """Its parent's link is not its own."""
    ws = trade()
    assert ws.place_order(**ORDER).ok
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            ws.place_order_nowait(**ORDER)
            text = "placed"
        except UsageError as exc:
            text = str(exc)
        os.write(writer, text.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"belongs to process" in os.read(reader, 1000)
    os.close(reader), os.close(writer)
    assert ws.place_order(**ORDER).ok


@pytest.mark.parametrize("prefix", ["bot-1", "x" * 13, 5, None])
def test_a_prefix_that_cannot_begin_a_clOrdId_is_refused(prefix):
    """When the manager is made."""
    with pytest.raises(UsageError, match="order_prefix"):
        OkxWebSocketManager(order_prefix=prefix)


def test_a_prefix_begins_every_clOrdId_that_is_made(trade):
    """And no clOrdId is made twice."""
    ws = trade(order_prefix="bot1")
    names = [row.clOrdId for row in ws.place_orders([ORDER] * 20)]
    assert len(set(names)) == 20 and all(name.startswith("bot1") and len(name) <= 32 for name in names)


# ---------------------------------------------------------------------------------------------------- pacing


def test_orders_wait_for_okxs_limit_and_can_be_let_loose(trade):
    """Issue: lead traders have 4 in 2 s; the switch lets OKX itself refuse."""
    times = []

    def answer(talk, request):
        times.append(time.monotonic())
        return accepted(request)

    ws = trade(answer, limits=Limits(connects_per_s=1000, orders_per_2s=4))
    futures = [ws.place_order_nowait(**ORDER) for _ in range(5)]
    other = ws.place_order_nowait(**{**ORDER, "instIdCode": 7})
    assert all(future.result(5).ok for future in [*futures, other])
    assert times[4] - times[0] < 1 and 2.0 <= times[5] - times[0] < 4
    with pytest.raises(ConnectionLost, match="not sent in time.*: no room within OKX's limits"):
        [ws.place_order(**ORDER, timeout=0.3) for _ in range(5)]
    loose = trade(limits=UNPACED)
    started = time.monotonic()
    assert all(future.result(5).ok for future in [loose.place_order_nowait(**ORDER) for _ in range(200)])
    assert time.monotonic() - started < 2


# ---------------------------------------------------------------------------------------------------- secrets


def test_no_secret_appears_anywhere(trade, caplog):
    """Acceptance 94, as far as orders go: debug logs, reprs, errors, events; also when OKX repeats a login."""

    def answer(talk, request):
        return {"id": request["id"], "event": "error", "code": "60012", "msg": f"no {json.dumps(KEY)}", "connId": "c0"}

    with caplog.at_level(logging.DEBUG):
        ws = trade(answer)
        watch = Watch(ws)
        with pytest.raises(ExchangeError) as caught:
            ws.place_order(**ORDER)
        with pytest.raises(OutcomeUnknown) as lost:
            trade(lambda talk, request: None).place_order(**ORDER, timeout=0.2)
        told = (
            caplog.text
            + repr(watch.events)
            + str(caught.value)
            + repr(caught.value)
            + repr(lost.value)
            + repr(vars(ws))
        )
    assert not any(secret in told for secret in KEY.values())
