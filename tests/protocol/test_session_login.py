"""`protocol.session`: logging in, and what waits for it."""

import pytest

from okx_ws import LoginError
from okx_ws.protocol.session import ANSWER_S, LinkFault

from .wired import ORDERS, TICKERS, Wired, push


def test_what_needs_a_login_waits_for_its_answer_and_the_rest_does_not():
    """Acceptance 22, 36: public subscribes go at once, private ones after the ack."""
    wired = Wired(credentials=True)
    wired.want(TICKERS)
    wired.want(ORDERS, login=True)
    assert [(r["op"], r.get("args")) for r in wired.sent()] == [("login", None), ("subscribe", [TICKERS])]
    assert wired.sent() == []
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    assert [(r["op"], r["args"]) for r in wired.sent()] == [("subscribe", [ORDERS])]


def test_each_link_logs_in_anew_before_it_subscribes():
    """Acceptance 22: also on reconnect."""
    wired = Wired(credentials=True)
    wired.want(ORDERS, login=True)
    for _ in range(3):
        assert [r["op"] for r in wired.sent()] == ["login"]
        wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
        wired.ack(*wired.sent())
        wired.reconnect()


@pytest.mark.parametrize("code", ["60005", "60009", "60024", "60032", "50101", "50110"])
def test_a_refused_login_fails_what_needs_it_and_is_not_tried_again(code):
    """Acceptance 20: an auth error with code and msg, nothing subscribed, no retry."""
    wired = Wired(credentials=True)
    (stream,) = wired.want(ORDERS, login=True)
    wired.sent()
    wired.refuse(code, "no such SECRET key")
    assert isinstance(stream.refusal, LoginError)
    assert (stream.refusal.code, stream.refusal.msg) == (code, "no such *** key")
    assert wired.events() == [("login_failed", None, code), ("subscribe_failed", ORDERS, code)]
    with pytest.raises(LinkFault):
        wired.sent()
    wired.session.link_down()
    assert not wired.session.needed
    assert wired.want({"channel": "account"}, login=True)[0].refusal is stream.refusal


def test_a_refused_login_leaves_public_streams_alive():
    """On a mixed endpoint only what needs the login fails."""
    wired = Wired(credentials=True)
    (orders,) = wired.want({"channel": "orders-algo"}, login=True)
    (candles,) = wired.want({"channel": "candle1m", "instId": "BTC-USDT"})
    login, request = wired.sent()
    wired.refuse("60009", "Login failed.")
    wired.ack(request)
    assert orders.refusal and candles.wire == "on"
    wired.reconnect()
    assert [r["op"] for r in wired.sent()] == ["subscribe"]


def test_a_login_without_answer_ends_the_link():
    """Acceptance 21: it fails after its limit; unrelated frames do not count."""
    wired = Wired(credentials=True)
    wired.want(ORDERS, login=True)
    wired.sent()
    wired.get({"event": "channel-conn-count", "channel": "orders", "connCount": "1"}, push(TICKERS))
    wired.now += ANSWER_S - 0.1
    assert wired.sent() == []
    wired.now += 0.1
    with pytest.raises(LinkFault, match="login"):
        wired.sent()


def test_a_second_login_counts_as_logged_in():
    """60031 says so itself."""
    wired = Wired(credentials=True)
    wired.want(ORDERS, login=True)
    wired.sent()
    wired.refuse("60031", "No multiple or repeated logins")
    assert [r["op"] for r in wired.sent()] == ["subscribe"]


def test_please_log_in_is_answered_by_logging_in_if_there_is_a_key():
    """A channel nobody knew to need a login: log in, and subscribe once more; a second refusal is final."""
    wired = Wired(credentials=True)
    (stream,) = wired.want({"channel": "brand-new"})
    (request,) = wired.sent()
    wired.refuse("60011", "Please log in", request["id"])
    assert [r["op"] for r in wired.sent()] == ["login"]
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    (request,) = wired.sent()
    wired.refuse("60011", "Please log in", request["id"])
    assert stream.refusal.code == "60011"


def test_please_log_in_without_a_key_rejects():
    """There is nothing to log in with."""
    wired = Wired()
    (stream,) = wired.want({"channel": "brand-new"})
    (request,) = wired.sent()
    wired.refuse("60011", "Please log in", request["id"])
    assert stream.refusal.code == "60011" and "apiKey" in str(stream.refusal)


CANDLES = {"channel": "candle1m", "instId": "BTC-USDT"}
ALGO = {"channel": "orders-algo", "instType": "ANY"}


@pytest.mark.parametrize(
    ("code", "msg"),
    [
        ("60018", "Wrong URL or channel:candle1m, instId:BTC-USDT doesn't exist."),
        ("60033", "channel:candle1m, instId:BTC-USDT parameter error"),
    ],
)
def test_an_error_about_a_channel_is_no_answer_to_the_login_in_flight(code, msg):
    """A key is not given up because an instrument does not exist."""
    wired = Wired(credentials=True)
    (candles,) = wired.want(CANDLES)
    (algo,) = wired.want(ALGO, login=True)
    assert [r["op"] for r in wired.sent()] == ["login", "subscribe"]
    wired.refuse(code, msg)
    assert candles.refusal.code == code and algo.refusal is None
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    assert [r["args"] for r in wired.sent()] == [[ALGO]]


@pytest.mark.parametrize(
    ("code", "msg"),
    [
        ("60012", 'Illegal request: {"op":"login","args":[{"apiKey":"x'),
        ("60027", "Parameter apiKey can not be empty"),
    ],
)
def test_an_error_about_the_login_harms_no_channel_in_flight(code, msg):
    """It repeats the login, or speaks of its fields."""
    wired = Wired(credentials=True)
    (candles,) = wired.want(CANDLES)
    (algo,) = wired.want(ALGO, login=True)
    _, request = wired.sent()
    wired.refuse(code, msg)
    wired.ack(request)
    assert candles.wire == "on" and algo.refusal.code == code


def test_a_stale_timestamp_after_a_busy_answer_is_still_retried():
    """What one refusal has used up is not the other's."""
    clock = SettledClock()
    wired = Wired(credentials=True, clock=clock)
    (stream,) = wired.want(ORDERS, login=True)
    wired.sent()
    wired.refuse("63999", "internal error")
    wired.now += 1
    assert [r["op"] for r in wired.sent()] == ["login"]
    wired.refuse("60006", "Timestamp request expired")
    assert stream.refusal is None and clock.doubts == 1
    assert [r["op"] for r in wired.sent()] == ["login"]


class SettledClock:
    """A clock that is always known."""

    known = settled = True
    offset_s = 0.0
    doubts = 0

    def want(self):
        raise AssertionError("it is known")

    def doubt(self):
        self.doubts += 1


def test_the_wait_of_a_refused_login_is_no_matter_of_the_hours_budget():
    """Nothing is told of a limit that was not reached."""
    wired = Wired(credentials=True)
    wired.want(ORDERS, login=True)
    wired.sent()
    for _ in range(3):
        wired.refuse("60023", "too frequent")
        wired.sent()
        wired.now += 8
        wired.get(b"pong")
        wired.sent()
    assert {kind for kind, _, _ in wired.events()} == {"login_failed"}


def test_a_login_without_answer_spares_the_link_of_others():
    """Streams that need none go on; the login is tried again later."""
    wired = Wired(credentials=True)
    (candles,) = wired.want(CANDLES)
    wired.want(ALGO, login=True)
    _, request = wired.sent()
    wired.ack(request)
    wired.now += ANSWER_S
    wired.get(b"pong")
    assert wired.sent() == [] and candles.wire == "on"
    assert wired.events()[-1][0] == "login_failed"
    wired.now += 1
    assert [r["op"] for r in wired.sent()] == ["login"]
