"""Whatever a server sends: the session raises nothing, and tells no secret."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from okx_ws.config import Credentials
from okx_ws.errors import OkxWsError
from okx_ws.protocol.calls import Call
from okx_ws.protocol.replies import only_result
from okx_ws.reporting import Reporter

from .wired import ORDERS, TICKERS, TRADES, Wired

#: What a server might repeat: the key, and words that mean something to a client.
WORDS = st.sampled_from(
    [
        "SECRET",
        "hidden",
        "phrase",
        "event",
        "error",
        "subscribe",
        "unsubscribe",
        "login",
        "notice",
        "60018",
        "60011",
        "0",
    ]
    + [
        "channel",
        "tickers",
        "trades",
        "orders",
        "instId",
        "BTC-USDT",
        "s1",
        "u1",
        "call1",
        "snapshot",
        "update",
        "64008",
    ]
) | st.text(max_size=8)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ARGS = st.sampled_from([TICKERS, TRADES, ORDERS, {**ORDERS, "uid": "1"}]) | VALUES
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("event", "op", "code", "msg", "id", "connId", "data", "action", "curPage"), VALUES),
        "arg": ARGS,
        "channel": WORDS,
        "connCount": VALUES,
    },
)
PAYLOADS = (
    st.binary(max_size=60)
    | FRAMES.map(lambda frame: json.dumps(frame, separators=(",", ":")).encode())
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"ping", b"pong", b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":'])
)


@given(st.lists(st.lists(PAYLOADS, min_size=1, max_size=4), max_size=8), st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_session_survives_whatever_comes_and_keeps_secrets(reads, markers):
    """Bytes, JSON, and frames made of OKX's own words, with a key among them."""
    wired = Wired(credentials=True, markers=markers)
    wired.want(TICKERS, TRADES)
    wired.want(ORDERS, login=True)
    wired.sent()
    reporter = Reporter(Credentials("SECRET", "hidden", "phrase"), lambda: None, lambda: None, lambda reason: None)
    reporter.add(lambda event: None)
    for payloads in reads:
        wired.get(*payloads)
        wired.now += 0.5
        for event in wired.told():
            reporter.tell(event)
            shown = repr(reporter.thread.events.pop()[1])
            assert not any(secret in shown for secret in ("SECRET", "hidden", "phrase")), shown
        wired.session.pump(wired.now)


def outcome_of(reply):
    """Return the error that a call ends with."""
    wired = Wired(credentials=True)
    wired.session.login_again()
    wired.session.login_wanted = True
    wired.sent()
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c"})
    call = Call("order", [{"sz": "1"}], wired.now + 5, lambda call, outcome: None)
    wired.session.calls.add(call)
    wired.sent()
    wired.get({"id": call.id, **reply})
    _, outcome = wired.session.calls.settled.pop()
    if isinstance(outcome, OkxWsError):
        return outcome
    with pytest.raises(OkxWsError) as caught:
        only_result(outcome)
    return caught.value


@pytest.mark.parametrize(
    "reply",
    [
        {"op": "order", "code": "60012", "msg": "Invalid request: SECRET"},
        {"op": "order", "code": "SECRET", "msg": ""},
        {"op": "order", "msg": "SECRET"},
        {"op": "order", "code": "1", "msg": "", "data": [{"sCode": "51000", "sMsg": "hidden"}]},
        {"op": "order", "code": "0", "msg": "", "data": [{"sCode": ["phrase"], "sMsg": ""}]},
        {"op": "order", "code": "0", "msg": "", "data": [{"result": False, "sMsg": "phrase"}]},
        {"event": "error", "code": ["SECRET"], "msg": ""},
        {"event": "error", "code": "60012", "msg": "SECRET"},
    ],
)
def test_the_error_of_a_call_tells_no_secret_that_a_server_repeats(reply):
    """In whatever field: acceptance 94."""
    shown = repr(outcome_of(reply))
    assert not any(secret in shown for secret in ("SECRET", "hidden", "phrase")), shown


@pytest.mark.parametrize("code", ["SECRET", ["SECRET"], {"SECRET": 1}])
def test_the_error_of_a_login_tells_no_secret_though_it_came_as_the_code(code):
    """A code that is no number may be anything."""
    wired = Wired(credentials=True)
    (orders,) = wired.want(ORDERS, login=True)
    wired.sent()
    wired.refuse(code, "no")
    assert "SECRET" not in repr([wired.session.login.error, orders.refusal, wired.told()])


def test_the_error_of_a_subscription_tells_no_secret_whatever_field_it_came_in():
    """Codes, and counts of connections."""
    wired = Wired(credentials=True)
    tickers, trades = wired.want(TICKERS, TRADES)
    (request,) = wired.sent()
    wired.ack(request, TICKERS)
    wired.refuse("SECRET", "no", request["id"])
    wired.get({"event": "channel-conn-count-error", "channel": "tickers", "connCount": "SECRET", "connId": "c0"})
    assert tickers.refusal is not None and trades.refusal is not None
    assert "SECRET" not in repr([tickers.refusal, trades.refusal, wired.told()])
