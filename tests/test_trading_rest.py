"""What orders need REST for: codes of instruments, and outcomes that are not known."""

import pickle
import threading
import time

import pytest

from okx_ws import ManagerClosed, OrderRejected, OutcomeUnknown, RestError, UsageError, resolving
from okx_ws.exchange import LocalExchange
from okx_ws.net import instruments
from tests.trading import KEY, ROW, Rest, accepted, answering, refused

SWAP = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "limit", "px": "60000.1", "sz": "2"}


NONE = {"code": "51603", "msg": "Order does not exist", "data": []}


@pytest.fixture
def rest(peer):
    return Rest(peer)


@pytest.fixture
def trade(peer, connect, rest):
    """Make a manager whose exchange answers each request with what a function returns, and REST as `rest` does."""

    def make(answer=lambda talk, request: accepted(request), script=None, **settings):
        urls = {**peer(script or answering(answer)).urls, "rest": rest.url}
        return connect(**{"urls": urls, "clock_sync": False, **KEY, **settings})

    return make


# ---------------------------------------------------------------------------------------------------- instruments


def test_an_instrument_is_sent_by_its_code_which_is_asked_for_once(trade, rest):
    """okx-protocol 7.2: instIdCode, a whole number; the instId does not travel."""
    seen = []
    ws = trade(lambda talk, request: seen.append(request["args"]) or accepted(request))
    for _ in range(3):
        ws.place_order(**SWAP, clOrdId="a1")
    assert seen[0] == [{"instIdCode": 77, "clOrdId": "a1", **{k: v for k, v in SWAP.items() if k != "instId"}}]
    assert rest.of("instruments") == [("GET", "/api/v5/public/instruments", {"instType": "SWAP"}, None)]
    ws.place_orders([SWAP, {**SWAP, "instIdCode": 5}])
    assert [arg["instIdCode"] for arg in seen[-1]] == [77, 5] and "instId" not in seen[-1][1]
    assert ws.place_order_nowait(**SWAP).result(5).ok and len(rest.asked) == 1


def test_many_who_need_a_listing_at_once_ask_for_it_once(trade, rest):
    """Futures too, which wait for nothing: the first one's listing is asked for on the worker."""
    rest.delay_s = 0.2
    ws = trade()
    started = time.monotonic()
    futures = [ws.place_order_nowait(**SWAP) for _ in range(5)]
    assert time.monotonic() - started < 0.2
    results = []
    threads = [threading.Thread(target=lambda: results.append(ws.place_order(**SWAP))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert all(future.result(5).ok for future in futures) and len(results) == 5 and len(rest.of("instruments")) == 1


def test_an_empty_listing_is_an_error_and_no_news_of_an_instrument(trade, rest):
    """Acceptance 89: it was not certain that there is none; the next order asks again, at once."""
    rest.rows["/api/v5/public/instruments"] = []
    ws = trade()
    with pytest.raises(RestError, match="list of SWAP instruments is empty"):
        ws.place_order(**SWAP)
    rest.rows["/api/v5/public/instruments"] = [ROW]
    assert ws.place_order(**SWAP).ok and len(rest.asked) == 2


@pytest.mark.parametrize(
    ("instId", "listing"),
    [
        ("BTC-USDT", {"instType": "SPOT"}),
        ("BTC-USDT-261225", {"instType": "FUTURES"}),
        ("BTC-USD-261225-60000-C", {"instType": "OPTION", "instFamily": "BTC-USD"}),
    ],
)
def test_the_listing_follows_from_the_name(instId, listing, trade, rest):
    """OPTION needs its family."""
    rest.rows["/api/v5/public/instruments"] = [{**ROW, "instId": instId, "instIdCode": 5}]
    assert trade().cancel_order(instId=instId, ordId="1").ok
    assert rest.of("instruments")[0][2] == listing


def test_an_instrument_without_a_code_is_an_error_that_shows_the_way_out(trade, rest, monkeypatch):
    """null until it is generated, absent, or of a type that its name does not tell."""
    rest.rows["/api/v5/public/instruments"] = [{**ROW, "instIdCode": None}]
    ws = trade()
    with pytest.raises(UsageError, match="no instIdCode for BTC-USDT-SWAP yet.*ws.rest.post"):
        ws.place_order(**SWAP)
    with pytest.raises(UsageError, match="lists no ETH-USDT-SWAP"):
        ws.place_order(**{**SWAP, "instId": "ETH-USDT-SWAP"})
    assert isinstance(ws.place_order_nowait(**SWAP).exception(5), UsageError)
    with pytest.raises(UsageError, match="not written like OKX's instIds .BTC-USDT, BTC-USDT-SWAP.*instIdCode"):
        ws.place_order(**{**SWAP, "instId": "SOMETHING"})
    assert len(rest.asked) == 1
    monkeypatch.setattr(instruments, "MISSING_S", 0.0)
    rest.rows["/api/v5/public/instruments"] = [ROW]
    assert ws.place_order(**SWAP).ok


def test_codes_are_asked_for_anew_after_51001_but_not_for_ever(trade, rest):
    """A relisting changes the code; the order is not sent again by itself."""
    codes = []

    def answer(talk, request):
        codes.append(request["args"][0]["instIdCode"])
        return refused(request, "51001") if codes[-1] == 77 else accepted(request)

    ws = trade(answer)
    with pytest.raises(OrderRejected, match="51001"):
        ws.place_order(**SWAP)
    rest.rows["/api/v5/public/instruments"] = [{**ROW, "instIdCode": 78}]
    assert ws.place_order(**SWAP).ok and codes == [77, 78]
    rest.rows["/api/v5/public/instruments"] = [ROW]
    ws._order_entry.instruments.heard([ROW])
    for _ in range(3):
        with pytest.raises(OrderRejected, match="51001"):
            ws.place_order(**SWAP)
    assert len(rest.of("instruments")) == 2


def test_the_channel_instruments_keeps_the_codes_fresh(trade, rest, peer):
    """Changes are pushed; who reads the channel reads it as before."""
    pushed = threading.Event()

    def script(talk):
        talk.upgrade()
        request = talk.read_request()
        if request["op"] == "subscribe":
            talk.ack(request)
            pushed.wait(5)
            row = {**ROW, "instIdCode": 99}
            talk.json({"arg": request["args"][0], "data": [row, {**ROW, "instId": "NEVER-SEEN-SWAP"}]})
            talk.until_gone()
        talk.json({"event": "login", "code": "0", "msg": "", "connId": "c0"})
        while True:
            request = talk.read_request()
            talk.json(accepted(request, seen=request["args"][0]["instIdCode"]))

    ws = trade(script=script)
    ws.subscribe("instruments", instType="SWAP").wait(5)
    assert ws.place_order(**SWAP).reply["seen"] == 77
    pushed.set()
    assert ws.get(timeout=5)["data"][0]["instIdCode"] == 99
    assert ws.place_order(**SWAP).reply["seen"] == 99 and len(rest.of("instruments")) == 1


def test_demo_and_live_have_codes_of_their_own(peer, connect):
    """Against the local exchange, whose codes differ as OKX's do."""
    codes = []
    for demo in (False, True):
        with LocalExchange(demo=demo) as exchange:
            seen = peer(answering(lambda talk, request: accepted(request, code0=request["args"][0]["instIdCode"])))
            urls = {**exchange.urls, "private": seen.urls["private"]}
            ws = connect(urls=urls, sandbox=demo, **exchange.credentials)
            codes.append(ws.place_order(**SWAP).reply["code0"])
            (row,) = ws.rest.instruments("SWAP", instId="BTC-USDT-SWAP")
            assert row["instIdCode"] == codes[-1]
            ws.close()
    assert codes[0] != codes[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"px": "60000.15"}, "px 60000.15 is no whole number of ticks: BTC-USDT-SWAP has ticks of 0.1"),
        ({"sz": "2.005"}, "sz 2.005 is no whole number of lots"),
        ({"sz": "0"}, "under BTC-USDT-SWAP's smallest, 0.01"),
    ],
)
def test_ticks_and_lots_are_checked_if_asked(change, words, trade):
    """Only then: OKX has the last word."""
    ws = trade()
    assert ws.place_order(**SWAP, check=True).ok
    with pytest.raises(UsageError, match=words):
        ws.place_order(**{**SWAP, **change}, check=True)
    with pytest.raises(UsageError, match=words):
        ws.place_orders([{**SWAP, **change}], check=True)
    assert ws.place_order(**{**SWAP, **change}).ok


def test_a_market_order_by_amount_has_no_lots(trade, rest):
    """A spot buy is for so many USDT, unless tgtCcy says otherwise."""
    rest.rows["/api/v5/public/instruments"] = [{**ROW, "instId": "BTC-USDT", "instType": "SPOT", "minSz": "1"}]
    ws = trade()
    buy = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "0.005"}
    assert ws.place_order(**buy, check=True).ok
    with pytest.raises(UsageError, match="lots"):
        ws.place_order(**buy, tgtCcy="base_ccy", check=True)


def test_a_listing_that_cannot_be_had_fails_the_call_before_anything_is_sent(trade, rest):
    """With REST's own error; within the call's time."""
    rest.rows["/api/v5/public/instruments"] = {"code": "50011", "msg": "Too Many Requests", "data": []}
    ws = trade()
    with pytest.raises(RestError, match="50011"):
        ws.place_order(**SWAP, timeout=0.5)
    assert isinstance(ws.place_order_nowait(**SWAP, timeout=0.5).exception(5), RestError)
    assert ws.stats()["endpoints"] == {}


def test_a_bug_of_ours_ends_a_call_whose_instrument_is_being_asked_for(trade, monkeypatch):
    """Its future is waited for: whatever happens on the worker, it has an end."""
    ws = trade()

    def broken(request, future):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ws._order_entry, "_launch", broken)
    error = ws.place_order_nowait(**SWAP).exception(5)
    assert isinstance(error, OutcomeUnknown) and "can't start new thread" in str(error) and error.clOrdId


def test_close_ends_a_call_whose_instrument_is_being_asked_for(trade, rest):
    """Its future ends with the manager."""
    rest.delay_s = 5
    ws = trade()
    futures = [ws.place_order_nowait(**SWAP, timeout=20) for _ in range(2)]
    ws.close()
    assert [type(future.exception(5)) for future in futures] == [ManagerClosed] * 2


# ---------------------------------------------------------------------------------------------------- resolve


@pytest.fixture
def lost(trade):
    """Make an `OutcomeUnknown`, by a method of the manager whose link is cut with each call."""

    def make(method="place_order", **order):
        def script(talk):
            talk.upgrade()
            talk.accept_login()
            talk.read_request()
            talk.reset()

        ws = trade(script=script)
        with pytest.raises(OutcomeUnknown) as caught:
            getattr(ws, method)(**order) if order else getattr(ws, method)([SWAP, {**SWAP, "clOrdId": "second"}])
        return caught.value

    return make


def test_an_order_that_is_there_was_placed(lost, rest):
    """Asked by its clOrdId; busy answers and absence at first do not count."""
    answers = iter([{"code": "50013", "msg": "busy", "data": []}, NONE])
    row = {"instId": "BTC-USDT-SWAP", "clOrdId": "mine", "state": "live"}
    rest.rows["/api/v5/trade/order"] = lambda query, body: next(answers, [row])
    found = lost(**SWAP, clOrdId="mine").resolve()
    assert (found.state, found.certain, found.order) == ("done", True, row)
    assert rest.of("trade/order")[0][2] == {"instId": "BTC-USDT-SWAP", "clOrdId": "mine"}


def test_an_order_that_is_not_there_is_not_certain_to_be_absent(lost, rest, monkeypatch):
    """It might still be under way; it is asked for again until it could hardly be."""
    monkeypatch.setattr(resolving, "SETTLED_S", 0.7)
    rest.rows["/api/v5/trade/order"] = NONE
    found = lost(**SWAP).resolve()
    assert (found.state, found.certain, found.order) == ("not_done", False, None) and "no such order" in found.msg
    assert len(rest.of("trade/order")) >= 3


def test_an_expTime_that_has_passed_makes_absence_certain(lost, rest):
    """OKX would refuse it now."""
    rest.rows["/api/v5/trade/order"] = NONE
    found = lost(**SWAP, expTime=int(time.time() * 1000) + 200).resolve()
    assert (found.state, found.certain) == ("not_done", True) and "expTime" in found.msg


def test_an_order_that_its_question_does_not_find_is_looked_for_among_those_that_are_over(lost, rest, monkeypatch):
    """By its name since it was sent; by its number, as the newest that is no newer."""
    monkeypatch.setattr(resolving, "SETTLED_S", 0.3)
    rest.rows["/api/v5/trade/order"] = NONE
    rest.rows[resolving.HISTORY] = [
        {"clOrdId": "other", "ordId": "9", "state": "filled"},
        {"clOrdId": "mine", "ordId": "7", "state": "filled"},
    ]
    before_ms = int(time.time() * 1000)
    found = lost(**SWAP, clOrdId="mine").resolve()
    assert (found.state, found.certain, found.order["ordId"]) == ("done", True, "7")
    asked = rest.of("orders-history")[0][2]
    assert abs(int(asked.pop("begin")) + resolving.SKEW_MS - before_ms) < 5000
    assert asked == {"instType": "SWAP", "instId": "BTC-USDT-SWAP"}
    found = lost("cancel_order", instId="BTC-USDT-SWAP", ordId="7").resolve()
    assert (found.state, found.certain) == ("not_done", True) and "filled" in found.msg
    assert rest.of("orders-history")[1][2] == {
        "instType": "SWAP",
        "instId": "BTC-USDT-SWAP",
        "after": "8",
        "limit": "1",
    }


def test_a_history_that_does_not_answer_leaves_what_is_known(lost, rest, monkeypatch):
    """The order's own question has answered: it is not there, as far as can be seen."""
    monkeypatch.setattr(resolving, "SETTLED_S", 0.0)
    rest.rows["/api/v5/trade/order"] = NONE
    rest.rows[resolving.HISTORY] = {"code": "51000", "msg": "no such type", "data": []}
    found = lost(**SWAP).resolve()
    assert (found.state, found.certain) == ("not_done", False)


def test_absence_proves_nothing_once_okx_may_have_forgotten(lost, rest, monkeypatch):
    """Canceled without a fill, an order is gone after two hours: an expTime that has passed makes nothing certain."""
    monkeypatch.setattr(resolving, "FORGOTTEN_S", 0.0)
    rest.rows["/api/v5/trade/order"] = NONE
    found = lost(**SWAP, expTime=int(time.time() * 1000) - 5000).resolve(0.5)
    assert (found.state, found.certain) == ("unknown", False) and "forgotten" in found.msg


def test_an_order_that_okx_may_have_forgotten_is_looked_for_in_the_history_too(lost, rest, monkeypatch):
    """It was filled: that is not forgotten, and nothing else would tell."""
    monkeypatch.setattr(resolving, "FORGOTTEN_S", 0.0)
    rest.rows["/api/v5/trade/order"] = NONE
    rest.rows[resolving.HISTORY] = [{"clOrdId": "mine", "ordId": "7", "state": "filled"}]
    found = lost(**SWAP, clOrdId="mine").resolve(0.5)
    assert (found.state, found.certain, found.order["ordId"]) == ("done", True, "7")


def test_an_earlier_order_of_the_same_name_proves_nothing(lost, rest):
    """A clOrdId is unique among live orders only, and REST tells the newest that had it: ours may never have come."""
    earlier = {"clOrdId": "mine", "ordId": "7", "state": "filled", "cTime": str(int(time.time() * 1000) - 60_000)}
    rest.rows["/api/v5/trade/order"] = [earlier]
    error = lost(**SWAP, clOrdId="mine")
    found = error.resolve(0.5)
    assert (found.state, found.certain, found.order) == ("unknown", False, earlier) and "earlier" in found.msg
    ours = {**earlier, "ordId": "8", "cTime": str(int(time.time() * 1000))}
    rest.rows["/api/v5/trade/order"] = [ours]
    found = error.resolve(0.5)
    assert (found.state, found.certain, found.order) == ("done", True, ours)


def test_an_order_is_not_taken_for_an_earlier_one_because_its_call_waited_long():
    """When it was sent is not always known: then the time at which its call was over stands for it."""
    now = time.monotonic()
    doubt = resolving.Doubt("place", {"clOrdId": "mine"}, "BTC-USDT", False, now, now - 60, None)
    row = {"clOrdId": "mine", "state": "live", "cTime": "1700000000000"}
    assert resolving.judge(doubt, row, 1700000050000, now).certain
    assert not resolving.judge(doubt, row, 1700000070000, now).certain


@pytest.mark.parametrize(
    ("method", "order", "row", "state", "certain"),
    [
        ("cancel_order", {"ordId": "7"}, {"state": "canceled"}, "done", True),
        ("cancel_order", {"ordId": "7"}, {"state": "filled"}, "not_done", True),
        ("cancel_order", {"ordId": "7"}, {"state": "live"}, "not_done", False),
        ("cancel_order", {"ordId": "7"}, None, "unknown", False),
        ("amend_order", {"clOrdId": "a", "newPx": "1.0"}, {"state": "live", "px": "1", "sz": "2"}, "done", True),
        (
            "amend_order",
            {"clOrdId": "a", "newPx": "1", "newSz": "3"},
            {"state": "live", "px": "1", "sz": "2"},
            "not_done",
            False,
        ),
        ("amend_order", {"clOrdId": "a", "newPx": "1"}, {"state": "canceled", "px": "2"}, "not_done", True),
        (
            "amend_order",
            {"clOrdId": "a", "newPx": "1", "reqId": "r"},
            {"state": "live", "reqId": "r", "amendResult": "0"},
            "done",
            True,
        ),
        (
            "amend_order",
            {"clOrdId": "a", "newPx": "1", "reqId": "r"},
            {"state": "canceled", "reqId": "r", "amendResult": "1", "px": "2"},
            "not_done",
            True,
        ),
        ("amend_order", {"clOrdId": "a", "newPx": "1"}, {"state": "live", "px": "much"}, "not_done", False),
        (
            "amend_order",
            {"clOrdId": "a", "attachAlgoOrds": [{"newTpOrdPx": "1"}]},
            {"state": "filled"},
            "unknown",
            False,
        ),
    ],
)
def test_changes_and_cancellations_are_read_off_the_order(method, order, row, state, certain, lost, rest, monkeypatch):
    """What the order is now says what became of it."""
    monkeypatch.setattr(resolving, "SETTLED_S", 0.0)
    rest.rows["/api/v5/trade/order"] = NONE if row is None else [row]
    found = lost(method, instId="BTC-USDT-SWAP", **order).resolve(0.5)
    assert (found.state, found.certain) == (state, certain)


def test_a_batch_is_resolved_order_by_order(lost, rest, monkeypatch):
    """A list, as the batch was."""
    monkeypatch.setattr(resolving, "SETTLED_S", 0.0)
    rest.rows["/api/v5/trade/order"] = lambda query, body: NONE if query["clOrdId"] == "second" else [{"state": "live"}]
    error = lost("place_orders")
    assert len(error.clOrdIds) == 2 and [found.state for found in error.resolve()] == ["done", "not_done"]


def test_what_rest_cannot_say_is_unknown(lost, rest):
    """Within its time, and with the reason."""
    rest.rows["/api/v5/trade/order"] = {"code": "50013", "msg": "busy", "data": []}
    started = time.monotonic()
    found = lost(**SWAP).resolve(0.6)
    assert (found.state, found.certain) == ("unknown", False) and "50013" in found.msg
    assert time.monotonic() - started < 3
    with pytest.raises(UsageError, match="timeout"):
        lost(**SWAP).resolve(0)


def test_a_code_without_a_name_cannot_be_asked_for(lost, rest):
    """Unless its listing is known."""
    error = lost(instIdCode=5, **{name: value for name, value in SWAP.items() if name != "instId"})
    assert error.resolve().state == "unknown" and "instId" in error.resolve().msg


def test_spread_orders_and_mass_cancels(lost, rest):
    """Spreads have an address of their own; a mass cancel is not about one order."""
    rest.rows["/api/v5/sprd/order"] = [{"state": "live"}]
    order = {"sprdId": "A_B", "side": "buy", "ordType": "market", "sz": "1", "clOrdId": "b15"}
    assert lost("place_spread_order", **order).resolve().state == "done"
    assert rest.of("sprd/order")[0][2] == {"clOrdId": "b15"}
    found = lost("mass_cancel", instType="OPTION", instFamily="BTC-USD").resolve()
    assert found.state == "unknown" and "orders_pending" in found.msg


def test_a_copy_of_the_error_from_elsewhere_says_what_to_ask(lost):
    """Pickled, it has lost its manager."""
    error = pickle.loads(pickle.dumps(lost(**SWAP, clOrdId="mine")))
    assert error.clOrdId == "mine"
    with pytest.raises(UsageError, match="ask ws.rest.order for mine"):
        error.resolve()


def test_an_outcome_that_is_asked_for_too_late_says_who_can_tell(trade):
    """The manager that could ask is closed: another one can, by these names."""
    arrived = threading.Event()
    ws = trade(lambda talk, request: arrived.set())
    future = ws.place_order_nowait(**SWAP, clOrdId="mine", timeout=20)
    assert arrived.wait(5)
    ws.close()
    error = future.exception(5)
    with pytest.raises(ManagerClosed, match="another one.*mine"):
        error.resolve()
