"""`protocol.session`: what is wanted is asked for, once, and again on each link; and what else arrives."""

import json

import pytest

from okx_ws import Limits
from okx_ws.protocol.session import LinkFault

from .wired import TICKERS, TRADES, Wired, push, states


def test_many_args_travel_in_one_request_and_are_acknowledged_one_by_one():
    """One frame; acks by arg, in any order."""
    wired = Wired()
    streams = wired.want(TICKERS, TRADES)
    (request,) = wired.sent()
    assert (request["op"], request["args"]) == ("subscribe", [TICKERS, TRADES])
    assert request["id"].isalnum() and len(request["id"]) <= 32
    wired.ack(request, TRADES)
    assert states(streams) == ["asked", "on"]
    wired.ack(request, TICKERS)
    assert states(streams) == ["on", "on"]
    assert wired.events() == [("subscribed", TRADES, None), ("subscribed", TICKERS, None)]
    assert wired.sent() == []


def test_data_before_the_acknowledgement_is_delivered():
    """Acceptance 26: data may precede the ack."""
    wired = Wired()
    wired.want(TICKERS)
    (request,) = wired.sent()
    assert len(wired.get(push(TICKERS), push(TICKERS))) == 2
    wired.ack(request)
    assert len(wired.get(push(TICKERS))) == 1


def test_an_acknowledgement_without_id_is_matched_by_its_arg():
    """Old servers and requests: the arg says it."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.sent()
    wired.get({"event": "subscribe", "arg": {"instId": "BTC-USDT", "channel": "tickers"}})
    assert stream.wire == "on"


def test_an_acknowledgement_strips_extra_params():
    """The ack echoes the arg without extraParams; it is still ours."""
    wired = Wired(credentials=True)
    arg = {"channel": "account", "extraParams": '{"updateInterval":"0"}'}
    (stream,) = wired.want(arg)
    (request,) = wired.sent()
    assert request["args"] == [arg]
    wired.ack(request, {"channel": "account"})
    assert stream.wire == "on"


def test_a_second_holder_sends_nothing_and_the_last_one_leaving_unsubscribes():
    """Acceptance 31: refer-counted."""
    wired = Wired()
    (stream,) = wired.want(TICKERS, holder="a")
    wired.ack(*wired.sent())
    assert wired.want(TICKERS, holder="b") == [stream]
    assert wired.sent() == []
    wired.session.unsubscribe(stream, "a")
    assert wired.sent() == []
    wired.session.unsubscribe(stream, "b")
    (request,) = wired.sent()
    assert (request["op"], request["args"]) == ("unsubscribe", [TICKERS])
    assert wired.get(push(TICKERS)) == [], "pushes of an arg that is leaving are swallowed"
    wired.ack(request)
    assert list(wired.session.subscriptions) == []


def test_an_unsubscribe_and_a_subscribe_do_not_overtake_each_other():
    """The new subscribe waits for the unsubscribe's answer."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.session.unsubscribe(stream, "me")
    (leaving,) = wired.sent()
    wired.want(TICKERS)
    assert wired.sent() == []
    wired.ack(leaving)
    (again,) = wired.sent()
    wired.ack(again)
    assert stream.wire == "on"
    assert len(wired.get(push(TICKERS))) == 1


def test_a_quick_change_of_mind_sends_nothing():
    """Unsubscribed and subscribed again before the link's thread came by: no gap."""
    wired = Wired()
    (stream,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.session.unsubscribe(stream, "me")
    wired.want(TICKERS)
    assert wired.sent() == []
    assert len(wired.get(push(TICKERS))) == 1


def test_wishes_while_down_are_sent_once_when_up():
    """Acceptance 35: recorded, sent once."""
    wired = Wired(up=False)
    wired.want(TICKERS)
    assert wired.sent() == []
    wired.session.link_up(wired.now, 15)
    assert [request["args"] for request in wired.sent()] == [[TICKERS]]
    assert wired.sent() == []


def test_an_unsubscribe_while_down_sends_nothing_and_does_not_come_back():
    """Acceptance 34: the intent is dropped at once."""
    wired = Wired()
    tickers, _ = wired.want(TICKERS, TRADES)
    wired.ack(*wired.sent())
    wired.session.link_down()
    wired.session.unsubscribe(tickers, "me")
    wired.session.link_up(wired.now, 15)
    assert [request["args"] for request in wired.sent()] == [[TRADES]]


def test_after_a_reconnect_everything_wanted_is_asked_for_again_with_its_own_args():
    """Acceptance 5: user subscriptions are unchanged, extraParams too."""
    wired = Wired()
    args = [TICKERS, {"channel": "account", "extraParams": '{"updateInterval":"0"}'}]
    wired.want(*args)
    wired.ack(*wired.sent())
    wired.reconnect()
    (request,) = wired.sent()
    assert request["args"] == args


def test_requests_fit_into_the_frame_limit():
    """Acceptance 38: args are chunked under the limit."""
    wired = Wired(limits=Limits(frame_bytes=2000))
    args = [{"channel": "tickers", "instId": f"X{n:04}-USDT"} for n in range(100)]
    wired.want(*args)
    texts = wired.session.pump(wired.now)
    assert len(texts) > 2 and max(len(text) for text in texts) <= 2000
    assert [arg for text in texts for arg in json.loads(text)["args"]] == args


def test_an_hours_budget_makes_requests_wait_and_tells():
    """Acceptance 38: over the limit the client waits, it does not drop, and says so."""
    wired = Wired(limits=Limits(requests_per_h=2))
    for n in range(3):
        wired.want({"channel": "tickers", "instId": f"X{n}-USDT"})
        if n < 2:
            wired.ack(*wired.sent())
    assert wired.sent() == []
    assert ("notice", None, None) in wired.events()
    wired.now += 3599
    wired.get(b"pong")
    assert [request for request in wired.session.pump(wired.now) if request != "ping"] == []
    wired.now += 1
    assert [request["args"] for request in wired.sent()] == [[{"channel": "tickers", "instId": "X2-USDT"}]]


@pytest.mark.parametrize("payload", [b"{not json", b"", b"null", b"[]", b"42", b"NaN", b"\xff\xfe", b'{"arg":'])
def test_what_cannot_be_read_is_told_and_the_session_goes_on(payload):
    """Acceptance 64: counted, reported, later frames processed."""
    wired = Wired()
    wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.events()
    assert len(wired.get(push(TICKERS), payload, push(TICKERS))) == 2
    assert wired.events() == [("malformed", None, None)]
    assert wired.session.malformed == 1


def test_a_text_ping_is_answered_with_a_text_pong():
    """Acceptance 13: the four letters, not JSON."""
    wired = Wired()
    wired.get(b"ping")
    assert wired.session.due == 0.0
    assert wired.session.pump(wired.now) == ["pong"]


def test_a_pong_is_neither_data_nor_malformed():
    """Acceptance 11: it reaches nobody."""
    wired = Wired()
    assert wired.get(b"pong") == [] and wired.events() == []


def test_unknown_events_and_notices_are_told():
    """Acceptance 40, 43: surfaced, not swallowed, not fatal; a pretty-printed notice too."""
    wired = Wired()
    wired.get({"event": "brand-new", "msg": "hello"})
    wired.get(b'{\n  "code": "64008",\n  "msg": "will soon be closed",\n  "event": "notice",\n  "connId": "c0"\n}')
    assert wired.events() == [("notice", None, None), ("notice", None, "64008")]


def test_an_error_that_concerns_nothing_in_flight_is_told():
    """It may be about the connection itself."""
    wired = Wired()
    wired.refuse("60012", "Illegal request: hello")
    assert wired.events() == [("notice", None, "60012")]


def test_data_for_no_subscription_is_told_once():
    """Acceptance 63: reported, not delivered, not repeated for each message."""
    wired = Wired()
    assert wired.get(push(TRADES), push(TRADES)) == [] and wired.get(push(TRADES)) == []
    assert wired.events() == [("unmatched", TRADES, None)]


@pytest.mark.parametrize("odd", [{"id": {}}, {"id": 7}, {"id": ["s1"]}, {"code": None}, {"msg": None}, {"connId": 5}])
def test_odd_types_in_events_do_no_harm(odd):
    """A field of another type than documented must not end the link."""
    wired = Wired()
    wired.want(TICKERS)
    wired.sent()
    wired.get({"event": "error", "code": "60018", "msg": "x", **odd})
    wired.get({"event": "subscribe", "arg": {"instId": ["x"]}, **odd})
    wired.get({"event": {"a": 1}, "arg": [], **odd}, {"event": "unsubscribe", "arg": {}, **odd})
    wired.get({"event": "channel-conn-count-error", "channel": {}, **odd})


def test_silence_brings_a_ping_and_then_the_end():
    """Acceptance 10, 11: through the session as a whole."""
    wired = Wired(pong_timeout=5.0)
    assert wired.sent() == []
    wired.now += 15
    assert wired.session.due == wired.now
    assert wired.session.pump(wired.now) == ["ping"]
    wired.now += 5
    with pytest.raises(LinkFault, match="no sign of life"):
        wired.session.pump(wired.now)


# ---------------------------------------------------------------------- pushes that leave out what was subscribed

FAMILIES = [{"channel": "positions", "instType": "ANY", "instFamily": family} for family in ("BTC-USD", "ETH-USD")]
PUSH = {"arg": {"channel": "positions", "instType": "ANY", "uid": "1"}, "data": []}


def test_a_push_belongs_to_the_only_one_of_its_channel_if_they_agree():
    """What both name must be the same: another instrument's push is nobody's (acceptance 63)."""
    wired = Wired()
    wired.want({"channel": "books", "instId": "BTC-USDT"}, FAMILIES[0])
    wired.ack(*wired.sent())
    wired.events()
    assert len(wired.get(PUSH)) == 1
    assert wired.get(push({"channel": "books", "instId": "ETH-USDT"})) == []
    assert wired.events() == [("unmatched", {"channel": "books", "instId": "ETH-USDT"}, None)]


def test_a_push_that_was_ambiguous_belongs_to_the_one_that_is_left():
    """And a push that came while its subscription was leaving reaches the next one."""
    wired = Wired()
    _, eth = wired.want(*FAMILIES)
    wired.ack(*wired.sent())
    assert wired.get(PUSH) == []
    wired.session.unsubscribe(eth, "me")
    (leaving,) = wired.sent()
    wired.ack(leaving)
    assert len(wired.get(PUSH)) == 1


def test_what_nobody_wanted_for_a_moment_is_delivered_when_it_is_wanted_again():
    """A push between the unsubscribe and the new subscribe teaches nothing false."""
    wired = Wired()
    (stream,) = wired.want(FAMILIES[0])
    wired.ack(*wired.sent())
    wired.session.unsubscribe(stream, "me")
    (leaving,) = wired.sent()
    assert wired.get(PUSH) == []
    wired.want(FAMILIES[0], holder="b")
    wired.ack(leaving)
    wired.ack(*wired.sent())
    assert len(wired.get(PUSH)) == 1
