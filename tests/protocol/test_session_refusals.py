"""`protocol.session`: whose an answer is, and what a refusal does."""

import json

import pytest

from okx_ws import Limits
from okx_ws.protocol.session import ANSWER_S

from .wired import TICKERS, TRADES, Wired, push, states, timed


def test_one_bad_arg_of_thirty_fails_alone():
    """Acceptance 27: the others stay live, and the bad one is not asked for again."""
    wired = Wired()
    args = [{"channel": "tickers", "instId": f"X{n}-USDT"} for n in range(30)]
    streams = wired.want(*args)
    (request,) = wired.sent()
    wired.ack(request, *args[:7])
    wired.refuse(
        "60018",
        "Wrong URL or channel:tickers, instId:X7-USDT doesn't exist. Please use the correct URL.",
        request["id"],
    )
    wired.ack(request, *args[8:])
    assert [s.wire for s in streams].count("on") == 29
    assert streams[7].refusal.code == "60018" and streams[7].refusal.arg == args[7]
    wired.reconnect()
    (again,) = wired.sent()
    assert again["args"] == args[:7] + args[8:]


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize(
    "msg",
    [
        "Wrong URL or channel:trades, instId:BTC-USDT doesn't exist. Please use the correct URL.",
        "Wrong URL or channel:trades,instId:BTC-USDT doesn't exist",
        "Subscribe failed, wrong URL or channel:trades",
        "channel:trades doesn't exist",
        "no such thing",
    ],
)
def test_a_refusal_is_pinned_by_id_by_name_or_by_elimination(msg, with_id):
    """Acceptance 28: every wording, with and without id; what names nothing is known once its siblings are acked."""
    wired = Wired()
    tickers, trades = wired.want(TICKERS, TRADES)
    (request,) = wired.sent()
    wired.refuse("60018", msg, request["id"] if with_id else None)
    wired.ack(request, TICKERS)
    assert (tickers.wire, trades.wire) == ("on", "off")
    assert trades.refusal.code == "60018" and trades.refusal.msg == msg


def test_as_many_nameless_refusals_as_open_args_refuse_them_all():
    """Nothing is left open for a time-out to settle."""
    wired = Wired()
    streams = wired.want(TICKERS, TRADES)
    wired.sent()
    wired.refuse("60018", "no")
    assert states(streams) == ["asked", "asked"]
    wired.refuse("60033", "neither")
    assert [stream.refusal.code for stream in streams] == ["60018", "60033"]


def test_a_request_okx_could_not_read_fails_as_a_whole():
    """60012 concerns the request; the id in the repeated text says which."""
    wired = Wired()
    (tickers,) = wired.want(TICKERS)
    wired.sent()
    (trades,) = wired.want(TRADES)
    (second,) = wired.sent()
    wired.refuse("60012", 'Illegal request: {"id": "%s", "op":"subscribe"' % second["id"])
    assert (tickers.wire, trades.refusal.code) == ("asked", "60012")


@pytest.mark.parametrize("code", ["60014", "63999", "64007", "50001", "50011", "50026", "50061"])
def test_a_refusal_worth_a_retry_is_sent_again_later(code):
    """Acceptance 58: transient refusals retry with growing distances; the intent is kept."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    (request,) = wired.sent()
    for delay in (1, 2, 4):
        wired.refuse(code, "busy", request["id"])
        assert stream.refusal is None
        wired.now += delay - 0.01
        assert wired.sent() == []
        wired.now += 0.01
        (request,) = wired.sent()
        assert request["args"] == [TICKERS]
    wired.ack(request)
    assert stream.wire == "on"


def test_an_error_after_the_acknowledgement_rejects():
    """Okx acked first and refused then (books-l2-tbt without a login, 2022)."""
    wired = Wired()
    (stream,) = wired.want(TRADES)
    wired.ack(*wired.sent())
    wired.refuse("60018", "channel:trades, instId:BTC-USDT doesn't exist")
    assert stream.refusal.code == "60018"


def test_a_rejected_arg_comes_back_only_if_a_user_asks_anew():
    """Never replayed by itself; an explicit subscribe is a new wish."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    (request,) = wired.sent()
    wired.refuse("60018", "no", request["id"])
    wired.reconnect()
    assert wired.sent() == [] and not wired.session.needed
    wired.want(TICKERS, holder="b")
    assert [r["args"] for r in wired.sent()] == [[TICKERS]]
    assert stream.refusal is None


def test_a_refused_unsubscribe_keeps_the_arg_known():
    """Acceptance 29: the server still has it; it is asked once more, and what it pushes is swallowed."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.session.unsubscribe(stream, "me")
    (leaving,) = wired.sent()
    wired.refuse("60012", "Invalid request", leaving["id"])
    assert stream in wired.session.subscriptions and stream.wire == "on"
    assert wired.get(push(TICKERS)) == []
    wired.now += 1
    (again,) = wired.sent()
    assert again["op"] == "unsubscribe"
    wired.refuse("60012", "Invalid request", again["id"])
    wired.now += 60
    wired.get(b"pong")
    assert wired.sent() == []
    wired.want(TICKERS, holder="back")
    assert stream.wire == "on" and len(wired.get(push(TICKERS))) == 1


def test_an_answer_that_never_comes_is_asked_for_again():
    """Nothing stays pending for ever."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.sent()
    wired.now += ANSWER_S
    assert wired.sent() == []
    assert wired.events()[-1] == ("subscribe_failed", TICKERS, None)
    wired.now += 1
    assert [r["args"] for r in wired.sent()] == [[TICKERS]]


def test_data_stands_in_for_an_acknowledgement_that_was_lost():
    """The subscription is there if its data flows."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.sent()
    wired.now += 1
    wired.get(push(TICKERS))
    wired.now += ANSWER_S
    assert wired.sent() == []
    assert stream.wire == "on"


def test_an_unsubscribe_the_server_does_by_itself_is_asked_for_again():
    """Acceptance 41: the stream is lost, told, and wanted again."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.events()
    wired.get({"event": "unsubscribe", "arg": TICKERS, "connId": "c0"})
    assert stream.wire == "off"
    assert wired.events() == [("gap", TICKERS, None), ("subscribe_failed", TICKERS, None)]
    wired.now += 1
    assert [r["args"] for r in wired.sent()] == [[TICKERS]]


def test_what_the_server_unsubscribes_by_itself_is_lost_though_its_acknowledgement_was_too():
    """Acceptance 41: its data has shown that the server had it; the lost answer is not awaited any more."""
    wired = Wired(markers=True)
    (stream,) = wired.want(TICKERS)
    wired.sent()
    wired.now += 1
    wired.get(timed(TICKERS, 1_700_000_000_001))
    wired.get({"event": "unsubscribe", "arg": TICKERS, "connId": "c0"})
    assert stream.wire == "off"
    assert wired.events() == [("gap", TICKERS, None), ("subscribe_failed", TICKERS, None)]
    wired.now += 1
    (again,) = wired.sent()
    wired.ack(again)
    marker, _ = map(json.loads, wired.get(timed(TICKERS, 1_700_000_000_009)))
    assert (marker["since_ms"], marker["until_ms"]) == (1_700_000_000_001, 1_700_000_000_009)
    wired.events()
    wired.now += ANSWER_S
    assert wired.sent() == [] and wired.events() == [] and stream.wire == "on"


def test_a_late_answer_to_an_unsubscribe_does_not_end_what_was_asked_for_since():
    """It comes before anything of the new subscription."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.get(push(TICKERS))
    wired.session.resubscribe(stream, wired.now)
    (leaving,) = wired.sent()
    wired.now += ANSWER_S
    (again,) = [request for _ in range(2) for request in wired.sent()]
    wired.ack(leaving)
    assert stream.wire == "asked"
    wired.ack(again)
    assert stream.live


def test_too_many_connections_fail_every_arg_of_the_channel():
    """Acceptance 39: channel-conn-count informs, channel-conn-count-error fails, after the ack."""
    wired = Wired()
    orders = [{"channel": "orders", "instType": t} for t in ("SPOT", "SWAP")]
    streams = wired.want(*orders, TICKERS)
    wired.ack(*wired.sent())
    wired.get({"event": "channel-conn-count", "channel": "orders", "connCount": "2", "connId": "c0"})
    assert states(streams) == ["on"] * 3
    wired.get({"event": "channel-conn-count-error", "channel": "orders", "connCount": "30", "connId": "c0"})
    assert [stream.refusal is not None for stream in streams] == [True, True, False]
    assert "30" in streams[0].refusal.msg


# ---------------------------------------------------------------------- whose an answer is


VIP = {"channel": "books-l2-tbt", "instId": "BTC-USDT"}
ETH = {"channel": "tickers", "instId": "ETH-USDT"}
ABSENT = {"channel": "tickers", "instId": "NOPE"}
NO_SUCH = "Wrong URL or channel:tickers, instId:NOPE doesn't exist. Please use the correct URL"


@pytest.mark.parametrize("with_id", [True, False])
def test_please_log_in_after_the_acknowledgement_hits_what_needs_a_login(with_id):
    """OKX has acknowledged a VIP book first and refused it then; its neighbour in the request is not meant."""
    wired = Wired()
    (vip,) = wired.want(VIP, login=True)
    (tickers,) = wired.want(TICKERS)
    (request,) = wired.sent()
    wired.ack(request, VIP)
    wired.refuse("60011", "Please log in", request["id"] if with_id else None)
    wired.ack(request, TICKERS)
    assert (vip.refusal.code, tickers.wire, tickers.refusal) == ("60011", "on", None)


def test_an_error_about_something_settled_is_pinned_on_nothing_else():
    """Its id or its name says what it is about, and that is over."""
    wired = Wired()
    wired.want(ABSENT)
    (first,) = wired.sent()
    wired.refuse("60018", NO_SUCH, first["id"])
    (eth,) = wired.want(ETH)
    (second,) = wired.sent()
    wired.refuse("60018", NO_SUCH, first["id"])
    wired.refuse("60018", NO_SUCH)
    wired.refuse("60012", "Invalid request", first["id"])
    wired.ack(second)
    assert eth.wire == "on"


def test_an_exact_name_in_flight_goes_before_a_part_of_one():
    """Also if the part is in an earlier request."""
    wired = Wired()
    family = {"channel": "orders", "instType": "ANY", "instFamily": "NO-PE"}
    (any_order,) = wired.want({"channel": "orders", "instType": "ANY"})
    (first,) = wired.sent()
    (narrow,) = wired.want(family)
    wired.sent()
    wired.refuse("60018", "Wrong URL or channel:orders, instType:ANY, instFamily:NO-PE doesn't exist.")
    wired.ack(first)
    assert (any_order.wire, narrow.refusal.code) == ("on", "60018")


def test_an_exact_name_acknowledged_goes_before_a_part_of_one_in_flight():
    """A refusal after the acknowledgement."""
    wired = Wired()
    (narrow,) = wired.want({"channel": "account", "ccy": "XYZ"})
    wired.ack(*wired.sent())
    (wide,) = wired.want({"channel": "account"})
    (second,) = wired.sent()
    wired.refuse("60018", "Wrong URL or channel:account, ccy:XYZ doesn't exist.")
    wired.ack(second)
    assert (wide.wire, narrow.refusal.code) == ("on", "60018")


def test_a_name_that_fits_several_waits_for_the_others_answers():
    """Only the channel is named, and both are of it."""
    wired = Wired()
    tickers, absent = wired.want(TICKERS, ABSENT)
    (request,) = wired.sent()
    wired.refuse("60018", "Subscribe failed, wrong URL or channel:tickers", request["id"])
    wired.ack(request, TICKERS)
    assert (tickers.wire, absent.refusal.code) == ("on", "60018")


def test_a_second_acknowledgement_settles_nothing():
    """It must not count as a neighbour's."""
    wired = Wired()
    tickers, absent = wired.want(TICKERS, ABSENT)
    (request,) = wired.sent()
    wired.ack(request, TICKERS, TICKERS)
    wired.refuse("60018", "no such thing", request["id"])
    assert (tickers.wire, absent.refusal.code) == ("on", "60018")


def test_an_acknowledgement_takes_a_guess_back():
    """An error without name or id was pinned on the oldest request, wrongly."""
    wired = Wired()
    (tickers,) = wired.want(TICKERS)
    (first,) = wired.sent()
    (eth,) = wired.want(ETH)
    wired.sent()
    wired.refuse("60018", "no such thing")
    assert tickers.refusal is not None
    wired.ack(first)
    assert tickers.refusal is None and tickers.wire == "on" and len(wired.get(push(TICKERS))) == 1


def test_an_acknowledgement_that_comes_late_counts():
    """Given up after 10 s, it came after 11: the server has it, so it is not asked again."""
    wired = Wired()
    (tickers,) = wired.want(TICKERS)
    (request,) = wired.sent()
    wired.now += ANSWER_S
    wired.get(b"pong")
    wired.sent()
    wired.ack(request)
    assert tickers.wire == "on"
    wired.now += 2
    assert wired.sent() == []


def test_what_the_server_has_and_nobody_wants_is_unsubscribed():
    """Given up, unsubscribed by the user, and then acknowledged."""
    wired = Wired()
    (tickers,) = wired.want(TICKERS)
    (request,) = wired.sent()
    wired.now += ANSWER_S
    wired.get(b"pong")
    wired.sent()
    wired.session.unsubscribe(tickers, "me")
    wired.ack(request)
    (leaving,) = wired.sent()
    assert (leaving["op"], leaving["args"]) == ("unsubscribe", [TICKERS])
    wired.events()
    assert wired.get(push(TICKERS)) == [] and wired.events() == []
    wired.ack(leaving)
    assert list(wired.session.subscriptions) == []


def test_a_late_unsubscribe_acknowledgement_harms_no_other_instrument():
    """Exactly what it names is gone, and that was left already."""
    wired = Wired()
    tickers, eth = wired.want(TICKERS, ETH)
    wired.ack(*wired.sent())
    wired.session.unsubscribe(tickers, "me")
    (leaving,) = wired.sent()
    wired.ack(leaving)
    wired.events()
    wired.ack(leaving)
    assert eth.wire == "on" and wired.events() == []


def test_an_answer_overdue_is_not_settled_by_data_from_before_it_was_asked():
    """Data of the subscription that the server has ended says nothing about the new one."""
    wired = Wired()
    (tickers,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.get(push(TICKERS))
    wired.get({"event": "unsubscribe", "arg": TICKERS, "connId": "c0"})
    wired.now += 1
    wired.sent()
    wired.now += ANSWER_S
    wired.get(b"pong")
    wired.sent()
    assert tickers.wire == "off"


def test_what_is_fed_is_active_and_the_rest_is_asked_for_alone():
    """One refusal without a name, no acknowledgement: data tells one apart, requests of their own the others."""
    wired = Wired()
    streams = wired.want(TICKERS, ABSENT, ETH)
    (request,) = wired.sent()
    wired.refuse("60018", "no such thing", request["id"])
    wired.now += 1
    wired.get(push(TICKERS))
    wired.now += ANSWER_S
    wired.get(b"pong")
    wired.sent()
    assert states(streams) == ["on", "off", "off"]
    wired.now += 1
    requests = wired.sent()
    assert [request["args"] for request in requests] == [[ABSENT], [ETH]]
    wired.refuse("60018", "no such thing", requests[0]["id"])
    wired.ack(requests[1])
    assert streams[1].refusal.code == "60018" and streams[2].wire == "on"


def test_a_retry_that_is_refused_again_and_again_keeps_its_distance():
    """Acknowledged and then refused for ever: an acknowledgement is no success yet."""
    wired = Wired()
    wired.want(TICKERS)
    requests = 0
    for _ in range(1200):
        for request in wired.sent():
            requests += 1
            wired.ack(request)
            wired.refuse("64007", "channel:tickers, instId:BTC-USDT failed")
        wired.now += 0.5
        wired.get(b"pong")
    assert requests < 30


def test_too_many_connections_concern_an_arg_in_flight_too():
    """Acceptance 39: it is refused though its acknowledgement comes; then the server is told to drop it."""
    wired = Wired()
    orders = [{"channel": "orders", "instType": kind} for kind in ("SPOT", "SWAP")]
    acked, flying = wired.want(*orders)
    (request,) = wired.sent()
    wired.ack(request, orders[0])
    wired.get({"event": "channel-conn-count-error", "channel": "orders", "connCount": "30", "connId": "c0"})
    assert acked.refusal and flying.refusal
    wired.session.unsubscribe(acked, "me")
    wired.session.unsubscribe(flying, "me")
    wired.ack(request, orders[1])
    (leaving,) = wired.sent()
    assert (leaving["op"], leaving["args"]) == ("unsubscribe", [orders[1]])
    wired.ack(leaving)
    assert list(wired.session.subscriptions) == []


def test_unsubscribes_do_not_starve_subscribes():
    """Both wait for the hour's budget: they take turns."""
    wired = Wired(limits=Limits(requests_per_h=4))
    leaving = wired.want(*({"channel": "tickers", "instId": f"U{n}"} for n in range(40)))
    wired.ack(*wired.sent())
    (wanted,) = wired.want(TRADES)
    for stream in leaving:
        wired.session.unsubscribe(stream, "me")
        for request in wired.sent():
            wired.ack(request)
        wired.now += 600
        wired.get(b"pong")
    assert wanted.wire == "on"


# ---------------------------------------------------------------------- args that differ only in extraParams


ACCOUNT = {"channel": "account"}
QUIET = {"channel": "account", "extraParams": '{"updateInterval":"0"}'}


def test_the_server_is_not_told_while_a_sibling_is_wanted():
    """For the server they are one subscription."""
    wired = Wired()
    one, two = wired.want(ACCOUNT, QUIET)
    (request,) = wired.sent()
    wired.ack(request, ACCOUNT, ACCOUNT)
    wired.session.unsubscribe(two, "me")
    assert wired.sent() == [] and list(wired.session.subscriptions) == [one]
    assert len(wired.get(push({**ACCOUNT, "uid": "1"}))) == 1
    wired.session.unsubscribe(one, "me")
    assert [r["op"] for r in wired.sent()] == ["unsubscribe"]


def test_a_sibling_that_comes_later_gets_the_pushes_too():
    """The route of the first one is made anew."""
    wired = Wired()
    wired.want(ACCOUNT)
    wired.ack(*wired.sent())
    wired.get(push({**ACCOUNT, "uid": "1"}))
    (later,) = wired.want(QUIET, holder="second")
    wired.ack(*wired.sent(), ACCOUNT)
    wired.get(push({**ACCOUNT, "uid": "1"}))
    assert later.messages == 1


def test_a_lost_link_while_a_sibling_is_leaving_does_no_harm():
    """It once ended the link's thread."""
    wired = Wired()
    one, two = wired.want(ACCOUNT, QUIET)
    wired.ack(*wired.sent(), ACCOUNT, ACCOUNT)
    wired.get(push({**ACCOUNT, "uid": "1"}))
    wired.session.unsubscribe(two, "me")
    wired.reconnect()
    assert [r["args"] for r in wired.sent()] == [[ACCOUNT]]
