"""Whatever a server sends: the session raises nothing, and tells no secret."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from okx_ws.config import Credentials
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
