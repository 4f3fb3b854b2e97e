"""`protocol.session`: markers where messages are missing."""

import json

import pytest

from okx_ws.protocol import gaps

from .wired import TICKERS, TRADES, Wired, push, timed


def test_a_lost_link_leaves_a_marker_before_the_next_message_of_each_active_stream():
    """Acceptance 9: bounds from the last message before to the first after; one per stream, where there was a hole."""
    wired = Wired(markers=True)
    wired.want(TICKERS, TRADES)
    wired.ack(*wired.sent())
    wired.get(timed(TICKERS, 1_700_000_000_001), timed(TICKERS, 1_700_000_000_002))
    wired.now += 5
    wired.reconnect()
    (late,) = wired.want({"channel": "status"})
    wired.ack(*wired.sent())
    assert [json.loads(m)["data"] for m in wired.get(push({"channel": "status"}))] == [[{"n": 1}]], "it had no hole"
    marker, message = map(json.loads, wired.get(timed(TICKERS, 1_700_000_000_009)))
    assert marker == {
        "event": "gap",
        "arg": TICKERS,
        "cause": "disconnect",
        "since_ms": 1_700_000_000_002,
        "until_ms": 1_700_000_000_009,
        "lost": None,
        "repaired": True,  # by the ticker that follows
    }
    assert message["data"][0]["ts"] == "1700000000009"
    assert len(wired.get(timed(TICKERS, 1_700_000_000_010))) == 1
    marker, _ = map(json.loads, wired.get(push(TRADES)))
    assert marker["since_ms"] == 1_000_000 and marker["until_ms"] == 1_005_000, "receive times, where there is no ts"
    assert marker["repaired"] is False, "nobody has filled it"


def test_two_losses_before_a_message_are_one_hole():
    """From the first loss on."""
    wired = Wired(markers=True)
    wired.want(TICKERS)
    wired.ack(*wired.sent())
    wired.get(timed(TICKERS, 1_700_000_000_001))
    for _ in range(3):
        wired.reconnect()
        wired.ack(*wired.sent())
    marker, _ = map(json.loads, wired.get(timed(TICKERS, 1_700_000_000_009)))
    assert marker["since_ms"] == 1_700_000_000_001


def test_markers_are_no_messages_and_do_not_show_without_being_asked_for():
    """Counts and `latest` know only messages."""
    for markers in (True, False):
        wired = Wired(markers=markers)
        (stream,) = wired.want(TICKERS)
        wired.ack(*wired.sent())
        wired.get(timed(TICKERS, 1_700_000_000_001))
        wired.reconnect()
        wired.ack(*wired.sent())
        assert len(wired.get(timed(TICKERS, 1_700_000_000_002))) == 1 + markers
        assert stream.messages == 2 and b"1700000000002" in stream.newest


def test_every_hole_is_told_at_once_and_how_it_ended():
    """Also without markers; what nothing makes up for is told once more."""
    wired = Wired()
    wired.want(TICKERS, TRADES)
    wired.ack(*wired.sent())
    wired.get(timed(TICKERS, 1_700_000_000_001), timed(TRADES, 1_700_000_000_001))
    wired.told()
    wired.reconnect()
    gaps = wired.told()
    assert [(event.type, event.arg) for event in gaps] == [("gap", TICKERS), ("gap", TRADES)]
    assert gaps[0].data == {"cause": "disconnect", "since_ms": 1_700_000_000_001}
    wired.ack(*wired.sent())
    wired.told()
    wired.get(timed(TICKERS, 1_700_000_000_009), timed(TRADES, 1_700_000_000_009))
    repaired, lost = wired.told()
    assert (repaired.type, repaired.arg, repaired.data["repaired"]) == ("repaired", TICKERS, True)
    assert (lost.type, lost.arg, lost.data["repaired"]) == ("gap", TRADES, False) and "not repaired" in lost.msg
    wired.get(timed(TICKERS, 1_700_000_000_010), timed(TRADES, 1_700_000_000_010))
    assert wired.told() == []


def test_a_message_that_cannot_be_read_within_a_hole_belongs_to_it():
    """One marker, when something can be read again."""
    wired = Wired(markers=True)
    wired.want(TRADES)
    wired.ack(*wired.sent())
    wired.reconnect()
    wired.ack(*wired.sent())
    assert wired.get(b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"ts":"1700000000005"') == []
    marker, _ = map(json.loads, wired.get(timed(TRADES, 1_700_000_000_009)))
    assert (marker["cause"], marker["until_ms"]) == ("disconnect", 1_700_000_000_009)


def test_a_marker_is_never_the_newest_message():
    """`latest` returns what OKX sent."""
    wired = Wired(markers=True)
    (stream,) = wired.want(TICKERS)
    wired.ack(*wired.sent())
    good = timed(TICKERS, 1_700_000_000_001)
    assert len(wired.get(good, b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{')) == 2
    assert json.loads(stream.newest) == good


def test_a_marker_takes_the_place_of_a_message_that_cannot_be_read():
    """With the arg its head still tells."""
    wired = Wired(markers=True)
    wired.want(TICKERS)
    wired.ack(*wired.sent())
    broken = b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"ts":"1700000000005"'
    first, marker, last = map(json.loads, wired.get(timed(TICKERS, 1), broken, timed(TICKERS, 2)))
    assert (marker["cause"], marker["arg"], marker["lost"]) == ("malformed", TICKERS, 1)
    assert marker["since_ms"] == marker["until_ms"] == 1_700_000_000_005


def test_private_markers_carry_the_arg_as_it_was_asked_for():
    """Without the uid that pushes have."""
    wired = Wired(markers=True)
    wired.want({"channel": "account"})
    wired.ack(*wired.sent())
    wired.reconnect()
    wired.ack(*wired.sent())
    marker, _ = map(json.loads, wired.get(push({"channel": "account", "uid": "1"})))
    assert marker["arg"] == {"channel": "account"}


def test_data_without_an_acknowledgement_has_a_hole_too():
    """The ack was lost or late: what came counts, and so does what is missing after it."""
    wired = Wired(markers=True)
    wired.want(TICKERS)
    wired.sent()
    wired.get(timed(TICKERS, 1700000000000))
    wired.reconnect()
    wired.ack(*wired.sent())
    marker, message = map(json.loads, wired.get(timed(TICKERS, 1700000009000)))
    assert (marker["cause"], marker["since_ms"], marker["until_ms"]) == ("disconnect", 1700000000000, 1700000009000)
    assert message["data"]


def test_what_was_asked_for_and_never_came_has_no_hole():
    """Nothing began, so nothing is missing."""
    wired = Wired(markers=True)
    wired.want(TICKERS)
    wired.sent()
    wired.reconnect()
    wired.ack(*wired.sent())
    assert len(wired.get(timed(TICKERS, 1700000009000))) == 1


def test_the_bounds_hold_every_time_a_message_names():
    """A position's row names when it was pushed and when it last changed, long before, perhaps."""
    wired = Wired(markers=True)
    wired.want(TICKERS)
    wired.ack(*wired.sent())
    row = {"pTime": "1700000000000", "uTime": "1600000000000"}
    wired.get({"arg": TICKERS, "data": [row]})
    wired.reconnect()
    wired.ack(*wired.sent())
    after = {"pTime": "1700000005000", "uTime": "1600000000000"}
    marker = json.loads(wired.get({"arg": TICKERS, "data": [after]})[0])
    assert (marker["since_ms"], marker["until_ms"]) == (1700000000000, 1700000005000)


@pytest.mark.parametrize(
    ("arg", "cause", "healed"),
    [
        (TICKERS, "disconnect", True),
        (TICKERS, "malformed", True),
        (TICKERS, "overflow", False),
        ({"channel": "books", "instId": "X"}, "disconnect", True),
        ({"channel": "books", "instId": "X"}, "malformed", False),
        ({"channel": "books5", "instId": "X"}, "malformed", True),
        ({"channel": "account"}, "stall", True),
        ({"channel": "account"}, "malformed", False),
        (TRADES, "disconnect", False),
        ({"channel": "orders", "instType": "ANY"}, "disconnect", False),
        ({"channel": "opt-summary", "instFamily": "BTC-USD"}, "disconnect", False),
    ],
)
def test_the_next_message_makes_up_for_a_hole_where_it_holds_the_whole_state(arg, cause, healed):
    """Where a snapshot comes with each subscription: not for a message that could not be read."""
    assert json.loads(gaps.marker(arg, cause, 1, 2))["repaired"] is healed


def test_who_wants_again_what_is_leaving_has_nothing_of_what_was_before():
    """More is missing before the first message of his own subscription: the old one's are for who has left."""
    wired = Wired(markers=True)
    (stream,) = wired.want(TRADES)
    wired.ack(*wired.sent())
    assert wired.get(timed(TRADES, 1_700_000_000_001))
    wired.session.unsubscribe(stream, "me")
    (leaving,) = wired.sent()
    assert wired.want(TRADES, holder="another") == [stream]
    assert wired.get(timed(TRADES, 1_700_000_000_002)) == []
    wired.ack(leaving)
    wired.ack(*wired.sent())
    assert [json.loads(m)["data"] for m in wired.get(timed(TRADES, 1_700_000_000_004))] == [[{"ts": "1700000000004"}]]
    assert "gap" not in [event.type for event in wired.told()]


@pytest.mark.parametrize("end", ["refused", "overdue", "lost"])
def test_what_could_not_be_left_is_for_who_wants_it_again(end):
    """The server refused, did not answer, or the link was lost: messages come again."""
    wired = Wired(markers=True)
    (stream,) = wired.want(TRADES)
    wired.ack(*wired.sent())
    wired.session.unsubscribe(stream, "me")
    (leaving,) = wired.sent()
    wired.want(TRADES, holder="another")
    if end == "refused":
        wired.refuse("60014", "too many requests", leaving["id"])
    elif end == "overdue":
        wired.now += 11
        wired.get(b"pong")
        wired.sent()
    else:
        wired.reconnect()
        wired.sent()
    assert len(wired.get(timed(TRADES, 1_700_000_000_004))) == 1
    assert "gap" not in [event.type for event in wired.told()]


def test_the_hole_of_who_has_left_is_not_that_of_who_comes():
    """The link was lost and is back; no message has come, and another one wants it now."""
    wired = Wired(markers=True)
    (stream,) = wired.want(TRADES)
    wired.ack(*wired.sent())
    wired.get(timed(TRADES, 1_700_000_000_001))
    wired.reconnect()
    wired.ack(*wired.sent())
    wired.session.unsubscribe(stream, "me")
    wired.want(TRADES, holder="another")
    assert len(wired.get(timed(TRADES, 1_700_000_000_009))) == 1
